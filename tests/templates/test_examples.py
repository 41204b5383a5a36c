"""Each example of templates/terraform is valid, and makes what its README.md tells."""

import unittest

from inputs import DATA, REGION, blocks
from plan import Case
from terraform import EXAMPLES, ROOT, TEMPLATES

NATHA = "module.natha."
ZONES = [REGION + letter for letter in "abc"]


class ExampleCase(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.workspace.provider.data = {
            **DATA,
            "aws_availability_zones": {"names": ZONES},
            "aws_ssm_parameter": {"insecure_value": "ami-al2023"},
        }


class Valid:
    """A test that each example has."""

    def test_it_is_valid(self):
        self.assertIn("The configuration is valid", self.workspace.validate())


class Pair(Valid, ExampleCase):
    example = "examples/pair"

    def test_a_vpc_has_two_nodes_and_a_private_host(self):
        planned = len(self.workspace.plan().changes())
        page = (TEMPLATES / self.example / "README.md").read_text(encoding="utf-8")
        self.assertIn(f"Terraform plans {planned} resources", page)
        made = self.workspace.apply()
        subnets = [made.of("aws_subnet", it) for it in ("public", "private")]
        networks = {it["cidr_block"] for found in subnets for it in found.values()}
        self.assertEqual(len(networks), 4)
        for table in made.of("aws_route_table", "private").values():
            self.assertEqual(table["tags"]["natha:cluster"], "blue")
        # The tables have their tag from where they are made.
        self.assertEqual(made.of("aws_ec2_tag", "table", NATHA), {})
        launch = made.of("aws_launch_template", module=NATHA)
        self.assertEqual(set(launch), {"one", "two"})
        for key, it in launch.items():
            [interface] = it["network_interfaces"]
            self.assertEqual(interface["subnet_id"], subnets[0][key]["id"])
        host = made.of("aws_instance", "host")[""]
        self.assertEqual(host["subnet_id"], subnets[1]["one"]["id"])
        self.assertFalse(host["associate_public_ip_address"])
        self.assertEqual(host["ami"], "ami-al2023")
        self.assertIn(host["id"], made.outputs["host_command"]["value"])
        self.assertEqual(len(made.outputs["nat_instance_eips"]["value"]), 2)
        self.assertEqual(self.workspace.plan().changes(), {})


class ThreeZones(Valid, ExampleCase):
    example = "examples/three-zones"

    def inputs(self, count):
        nodes = {
            az: {"public_subnet_id": f"subnet-{az}", "route_table_ids": {"app": f"rtb-{az}"}}
            for az in ZONES[:count]
        }
        return {"ami_id": "ami-1", "vpc_id": "vpc-1", "vpc_az_maps": nodes}

    def test_three_zones_are_three_groups(self):
        plan = self.workspace.plan(**self.inputs(3))
        groups = plan.of("aws_autoscaling_group", module=NATHA)
        self.assertEqual(set(groups), set(ZONES))
        self.assertEqual(len(plan.of("aws_ec2_tag", "table", NATHA)), 3)
        self.assertEqual(len(plan.of("aws_cloudwatch_metric_alarm", "status_check", NATHA)), 3)
        self.assertIn("Name three zones.", self.refused(**self.inputs(2)))

    def test_a_table_gets_another_key_by_a_block_of_the_caller_s(self):
        """As docs/templates.md has it."""
        block, page = "moved {\n", (ROOT / "docs/templates.md").read_text(encoding="utf-8")
        told = block + page.partition(block)[2].partition("```")[0]
        inputs = self.inputs(3)
        zone = inputs["vpc_az_maps"][ZONES[0]]
        zone["route_table_ids"] = {"0": "rtb-1"}
        self.workspace.plan(**inputs)
        self.workspace.apply()
        path = self.workspace.directory / "moved.tf"
        path.write_text(told, encoding="utf-8")
        self.addCleanup(path.unlink)
        zone["route_table_ids"] = {"app": "rtb-1"}
        plan = self.workspace.plan(**inputs)
        names = [f'{NATHA}aws_ec2_tag.table["{ZONES[0]}/{key}"]' for key in ("0", "app")]
        self.assertEqual(plan.moved, {names[0]: names[1]})
        self.assertEqual(plan.changes(), {})


class VpcModule(Valid, ExampleCase):
    """With a stand-in for the module, which has some of its inputs and outputs (6.6.0)."""

    example = "examples/vpc-module"
    modules = {
        "terraform-aws-modules/vpc/aws": {
            "variables.tf": "".join(
                f'variable "{name}" {{\n  type = {kind}\n}}\n'
                for name, kind in (
                    ("name", "string"),
                    ("cidr", "string"),
                    ("azs", "list(string)"),
                    ("public_subnets", "list(string)"),
                    ("private_subnets", "list(string)"),
                    ("enable_nat_gateway", "bool"),
                    ("private_route_table_tags", "map(string)"),
                )
            ),
            "main.tf": """
                resource "aws_vpc" "this" {
                  cidr_block = var.cidr
                }

                resource "aws_subnet" "public" {
                  count = length(var.public_subnets)

                  vpc_id            = aws_vpc.this.id
                  cidr_block        = var.public_subnets[count.index]
                  availability_zone = var.azs[count.index]
                }

                resource "aws_subnet" "private" {
                  count = length(var.private_subnets)

                  vpc_id            = aws_vpc.this.id
                  cidr_block        = var.private_subnets[count.index]
                  availability_zone = var.azs[count.index]
                }

                resource "aws_route_table" "private" {
                  count = length(var.private_subnets)

                  vpc_id = aws_vpc.this.id
                  tags   = var.private_route_table_tags
                }
            """,
            "outputs.tf": """
                output "vpc_id" {
                  value = aws_vpc.this.id
                }

                output "public_subnets" {
                  value = aws_subnet.public[*].id
                }

                output "private_route_table_ids" {
                  value = aws_route_table.private[*].id
                }
            """,
        }
    }

    def test_each_zone_of_the_vpc_has_a_node(self):
        self.workspace.plan()
        made = self.workspace.apply()
        subnets = made.of("aws_subnet", "public", "module.vpc.")
        launch = made.of("aws_launch_template", module=NATHA)
        found = {key: it["network_interfaces"][0]["subnet_id"] for key, it in launch.items()}
        wanted = {az: subnets[str(number)]["id"] for number, az in enumerate(ZONES)}
        self.assertEqual(found, wanted)
        networks = {it["cidr_block"] for it in subnets.values()}
        networks |= {
            it["cidr_block"] for it in made.of("aws_subnet", "private", "module.vpc.").values()
        }
        self.assertEqual(len(networks), 6)
        for table in made.of("aws_route_table", "private", "module.vpc.").values():
            self.assertEqual(table["tags"], {"natha:cluster": "blue"})


class FromNatGateway(Valid, ExampleCase):
    """From the state of a VPC with gateways, step by step."""

    example = "examples/from-nat-gateway"
    before = """
        resource "aws_route" "private" {
          for_each = var.zones

          route_table_id         = each.value.route_table_ids["private"]
          destination_cidr_block = "0.0.0.0/0"
          nat_gateway_id         = aws_nat_gateway.this[each.key].id
        }
    """

    def test_addresses_stay_and_routes_are_forgotten(self):
        workspace = self.workspace
        zones = {
            az: {"public_subnet_id": f"subnet-{az}", "route_table_ids": {"private": f"rtb-{az}"}}
            for az in ZONES[:2]
        }
        inputs = {"vpc_id": "vpc-1", "zones": zones}

        def step(**more):
            plan = workspace.plan(**inputs, **more)
            for address, actions in plan.changes().items():
                if address.startswith("aws_eip."):
                    self.fail(f"{address}: {actions}")
            made = workspace.apply()
            return plan.changes(), made

        # What there was: gateways, their addresses, and routes to them.
        main = workspace.directory / "main.tf"
        text = main.read_text(encoding="utf-8")
        start = text.index("# Before natha,")
        own = text[:start]
        main.write_text(own + self.before, encoding="utf-8")
        workspace.plan(**inputs)
        had = workspace.apply()
        self.assertEqual(len(had.of("aws_route", "private")), 2)
        main.write_text(text, encoding="utf-8")

        workspace.must("init", "-backend=false")
        workspace.plan(**inputs)
        # As the example's page quotes it.
        told = "will no longer be managed by Terraform, but will not be destroyed"
        self.assertEqual(workspace.must("show", "plan").count(told), 2)
        changes, _ = step()
        forgotten = {it: ["forget"] for it in had.resources if it.startswith("aws_route.")}
        self.assertEqual({it: changes[it] for it in forgotten}, forgotten)
        others = {it: of for it, of in changes.items() if it not in forgotten}
        self.assertEqual({tuple(it) for it in others.values()}, {("create",)})
        # No table has a tag yet: the nodes carry nothing.
        tags = {it for it in others if ".aws_ec2_tag." in it}
        self.assertEqual(tags, {f'{NATHA}aws_ec2_tag.interface["{az}"]' for az in zones})

        changes, _ = step(tag_route_tables=True)
        tags = {f'{NATHA}aws_ec2_tag.table["{az}/private"]': ["create"] for az in zones}
        self.assertEqual(changes, tags)
        changes, _ = step(tag_route_tables=True, keep_gateways=False)
        gone = {f'aws_nat_gateway.this["{az}"]': ["delete"] for az in zones}
        self.assertEqual(changes, gone)
        changes, made = step(tag_route_tables=True, keep_gateways=False, keep_addresses=True)
        self.assertEqual({tuple(it) for it in changes.values()}, {("create",)})
        given = made.of("aws_ec2_tag", "egress", NATHA)
        addresses = {it["allocation_id"] for it in had.of("aws_eip", "nat").values()}
        self.assertEqual({it["resource_id"] for it in given.values()}, addresses)
        # Removing a zone would release its address.
        del zones[ZONES[1]]
        zones["other"] = {"public_subnet_id": "subnet-o", "route_table_ids": {}}
        said = self.refused(**inputs)
        self.assertIn("has lifecycle.prevent_destroy set", said)


class Eks(Valid, ExampleCase):
    example = "examples/eks"

    def test_pods_and_workers_of_a_zone_have_one_home(self):
        data = self.workspace.provider.data
        data["aws_vpc"] = blocks("10.0.0.0/16", "100.64.0.0/16")
        zones = {
            az: {
                "public_subnet_id": f"subnet-{az}",
                "worker_route_table_id": f"rtb-w-{az}",
                "pod_route_table_id": f"rtb-p-{az}",
            }
            for az in ZONES[:2]
        }
        plan = self.workspace.plan(cluster_name="apps", vpc_id="vpc-1", zones=zones)
        tags = plan.of("aws_ec2_tag", "table", NATHA)
        self.assertEqual(set(tags), {f"{az}/{it}" for az in zones for it in ("pods", "workers")})
        self.assertEqual({it["value"] for it in tags.values()}, {"eks-apps"})
        [rule] = plan.of("aws_security_group_rule", "source", NATHA).values()
        self.assertEqual(rule["cidr_blocks"], ["10.0.0.0/16", "100.64.0.0/16"])


class All(unittest.TestCase):
    def test_each_example_is_tested_and_has_a_page(self):
        tested = {it.example for it in ExampleCase.__subclasses__()}
        self.assertEqual(tested, {f"examples/{path.name}" for path in EXAMPLES})
        for path in EXAMPLES:
            text = (path / "README.md").read_text(encoding="utf-8")
            self.assertIn("terraform init", text, path)
            self.assertIn("## What to expect", text, path)


if __name__ == "__main__":
    unittest.main()
