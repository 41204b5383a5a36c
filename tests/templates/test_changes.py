"""What Terraform does to a deployed cluster when one entry of the inputs changes: nothing else."""

import unittest

from inputs import REGION, ModuleCase, given, zone, zones

ZONE, OTHER, THIRD = (REGION + letter for letter in "abc")
# What a node has. Each is named after its key.
OF_NODE = ("eip", "eip_association", "instance", "launch_template")


def of_node(key, *tables):
    made = {f'aws_{it}.this["{key}"]' for it in OF_NODE}
    made.add(f'aws_ec2_tag.interface["{key}"]')
    return made | {f'aws_ec2_tag.table["{key}/{table}"]' for table in tables}


class Entries(ModuleCase):
    """Each test plans from the same state: two nodes with two tables each, and fixed addresses."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.applied(vpc_az_maps=cls.nodes(), instance_type="t4g.medium")

    @staticmethod
    def nodes():
        nodes = zones("ab")
        nodes[ZONE] |= {
            "egress_ips": ["mail", "web"],
            "egress_allocation_ids": {"old": "eipalloc-1", "older": "eipalloc-2"},
        }
        return nodes

    def changed(self, nodes):
        return self.planned(vpc_az_maps=nodes, instance_type="t4g.medium").changes()

    def test_no_change_is_no_change(self):
        self.assertEqual(self.changed(self.nodes()), {})

    def test_a_table_less_is_one_tag_less(self):
        nodes = self.nodes()
        del nodes[ZONE]["route_table_ids"]["app"]
        tag = f'aws_ec2_tag.table["{ZONE}/app"]'
        self.assertEqual(self.changed(nodes), {tag: ["delete"]})

    def test_a_table_more_is_one_tag_more(self):
        nodes = self.nodes()
        nodes[ZONE]["route_table_ids"]["aaa"] = "rtb-new"
        tag = f'aws_ec2_tag.table["{ZONE}/aaa"]'
        self.assertEqual(self.changed(nodes), {tag: ["create"]})

    def test_a_zone_in_front_leaves_the_other_nodes_alone(self):
        """With their addresses."""
        nodes = {"a-first": zone("c", az=THIRD), **self.nodes()}
        made = of_node("a-first", "app", "data")
        self.assertEqual(self.changed(nodes), {it: ["create"] for it in made})

    def test_a_zone_less_leaves_the_other_nodes_alone(self):
        nodes = {THIRD: zone("c"), **self.nodes()}
        del nodes[OTHER]
        gone, made = of_node(OTHER, "app", "data"), of_node(THIRD, "app", "data")
        wanted = {it: ["delete"] for it in gone} | {it: ["create"] for it in made}
        self.assertEqual(self.changed(nodes), wanted)

    def test_fixed_addresses_come_and_go_alone(self):
        nodes = self.nodes()
        nodes[ZONE]["egress_ips"] = ["web"]
        del nodes[ZONE]["egress_allocation_ids"]["old"]
        wanted = {f'aws_eip.egress["{ZONE}/mail"]': ["delete"]}
        for tag in ("cluster", "group", "egress"):
            wanted[f'aws_ec2_tag.egress["{ZONE}/old/natha:{tag}"]'] = ["delete"]
        self.assertEqual(self.changed(nodes), wanted)

    def test_an_address_of_the_caller_moves_one_node(self):
        nodes = self.nodes()
        nodes[OTHER]["eip_allocation_id"] = "eipalloc-kept"
        wanted = {
            f'aws_eip.this["{OTHER}"]': ["delete"],
            f'aws_eip_association.this["{OTHER}"]': ["create", "delete"],
        }
        self.assertEqual(self.changed(nodes), wanted)

    def test_a_replaced_node_has_its_tags_before_the_old_one_ends(self):
        replace = f'-replace=aws_instance.this["{OTHER}"]'
        inputs = given(vpc_az_maps=self.nodes(), instance_type="t4g.medium")
        plan = self.workspace.plan(replace, **inputs)
        names = ("aws_instance.this", "aws_eip_association.this", "aws_ec2_tag.interface")
        wanted = {f'{name}["{OTHER}"]': ["create", "delete"] for name in names}
        self.assertEqual(plan.changes(), wanted)

    def test_a_type_or_an_image_replaces_no_node(self):
        nodes = self.nodes()
        nodes[OTHER]["instance_type"] = "c7gn.large"
        launch = f'aws_launch_template.this["{OTHER}"]'
        self.assertEqual(self.changed(nodes), {launch: ["update"]})


class Upgrade(ModuleCase):
    """From the module whose vpc_az_maps was a list: its addresses were by zone and position."""

    def test_nothing_is_made_or_destroyed(self):
        self.applied()
        old = [
            "aws_iam_role.this",
            "aws_iam_instance_profile.this",
            "aws_iam_role_policy.natha",
            "aws_security_group_rule.source",
        ]
        self.workspace.without_count(old)
        plan = self.planned()
        self.assertEqual(plan.moved, {it: f"{it}[0]" for it in old})
        self.assertEqual(plan.changes(), {})

    def test_positions_as_keys_keep_the_tags_of_tables(self):
        keys = {"0": "rtb-a1", "1": "rtb-a2"}
        nodes = {ZONE: zone("a", route_table_ids=keys), OTHER: zone("b")}
        plan = self.planned(vpc_az_maps=nodes)
        tags = plan.of("aws_ec2_tag", "table")
        self.assertEqual({tags[f"{ZONE}/{it}"]["resource_id"] for it in "01"}, {"rtb-a1", "rtb-a2"})


if __name__ == "__main__":
    unittest.main()
