"""What templates/terraform comes to with inputs. plan.py tells how, and what stands in for what
only AWS knows."""

import base64
import json
import unittest

import yaml

from natha import heartbeat_port, metrics_port, policy
from plan import Plan
from terraform import MODULES, TEMPLATES, Module

MODULE = Module.read(TEMPLATES)
ROOT, PAIR, THREE = MODULES
REGION, KEY, TOPIC = "eu-west-1", "/natha/blue/key", "arn:aws:sns:eu-west-1:123456789012:t"


def data(**found):
    """What the data sources find. The policy is natha's own, with every statement there is."""
    notices = ["--set", f"notify.sns_topic={TOPIC}"]
    document = policy("json", "--cluster", "blue", "--key-parameter", KEY, *notices)
    return {
        ("aws_vpc", "this"): {"cidr_block_associations": [{"cidr_block": "10.0.0.0/16"}]},
        ("aws_ami", "this"): {"root_device_name": "/dev/xvda"},
        ("aws_iam_policy_document", "natha"): {"json": document},
        ("aws_iam_policy_document", "assume"): {"json": "{}"},
        ("aws_partition", "current"): {"partition": "aws-cn"},
        ("aws_region", "current"): {"id": REGION},
        ("aws_caller_identity", "current"): {"account_id": "123456789012"},
        **found,
    }


def zones(letters):
    return [
        {
            "az": REGION + letter,
            "public_subnet_id": f"subnet-{letter}",
            "route_table_ids": [f"rtb-{letter}1", f"rtb-{letter}2"],
        }
        for letter in letters
    ]


def planned(letters="ab", **inputs):
    given = {"name": "blue", "vpc_id": "vpc-1", "ami_id": "ami-1", "vpc_az_maps": zones(letters)}
    return Plan(MODULE, data(), **given | inputs)


def named(letter, **more):
    return {"Name": f"blue-{REGION}{letter}", "natha:cluster": "blue", **more}


class Instances(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plan = planned()

    def test_one_stands_in_each_zone_with_its_tags(self):
        self.assertEqual(list(self.plan.refused()), [])
        self.assertEqual(self.plan.of("aws_autoscaling_group"), {})
        self.assertEqual(self.plan.of("aws_network_interface"), {})
        instances = self.plan.of("aws_instance")
        self.assertEqual(set(instances), {REGION + "a", REGION + "b"})
        for letter in "ab":
            zone = REGION + letter
            instance, launch = instances[zone], self.plan.of("aws_launch_template")[zone]
            self.assertEqual(instance["tags"], named(letter))
            self.assertIs(instance["source_dest_check"], False)
            template = {"id": f"<aws_launch_template.this[{zone}].id>", "version": "$Latest"}
            [found] = instance["launch_template"]
            self.assertEqual(found, {**template, "refused": []})
            [interface] = launch["network_interfaces"]
            self.assertEqual(interface["subnet_id"], f"subnet-{letter}")
            self.assertEqual(interface["security_groups"], ["<aws_security_group.this.id>"])
            self.assertIs(interface["associate_public_ip_address"], True)
            self.assertIsNone(interface["network_interface_id"])
            made = {it["resource_type"]: it["tags"] for it in launch["tag_specifications"]}
            self.assertEqual(made, {"volume": named(letter), "network-interface": named(letter)})
            [metadata] = launch["metadata_options"]
            self.assertEqual(metadata["http_tokens"], "required")
            [volume] = launch["block_device_mappings"]
            self.assertEqual(volume["device_name"], "/dev/xvda")
            self.assertIs(volume["ebs"][0]["encrypted"], True)
            self.assertEqual((launch["user_data"], launch["instance_market_options"]), (None, []))
            eip = self.plan.of("aws_eip_association")[zone]
            self.assertEqual(eip["allocation_id"], f"<aws_eip.this[{zone}].allocation_id>")
            self.assertEqual(eip["instance_id"], f"<aws_instance.this[{zone}].id>")
            self.assertIsNone(eip["network_interface_id"])

    def test_every_route_table_is_tagged(self):
        tagged = self.plan.of("aws_ec2_tag", "table").values()
        found = {it["resource_id"]: (it["key"], it["value"]) for it in tagged}
        tables = ("rtb-a1", "rtb-a2", "rtb-b1", "rtb-b2")
        self.assertEqual(found, {table: ("natha:cluster", "blue") for table in tables})
        self.assertEqual(planned(update_route_tables=False).of("aws_ec2_tag", "table"), {})

    def test_heartbeats_echo_and_private_traffic_come_in(self):
        names = ("heartbeat", "replication", "echo")
        rules = [self.plan.of("aws_security_group_rule", it) for it in names]
        ports = [(it["protocol"], str(it["from_port"]), str(it["to_port"])) for it in rules]
        port = str(heartbeat_port())
        self.assertEqual(ports, [("udp", port, port), ("tcp", port, port), ("icmp", "8", "-1")])
        self.assertTrue(all(it["self"] and it["type"] == "ingress" for it in rules))
        too_large = self.plan.of("aws_security_group_rule", "path_mtu")
        shown = [str(too_large[it]) for it in ("type", "protocol", "from_port", "to_port")]
        self.assertEqual(shown, ["ingress", "icmp", "3", "4"])
        self.assertEqual(too_large["cidr_blocks"], ["0.0.0.0/0"])
        source = self.plan.of("aws_security_group_rule", "source")
        self.assertEqual((source["protocol"], source["cidr_blocks"]), ("-1", ["10.0.0.0/16"]))
        other = planned(
            ingress_security_group_cidr_blocks=["10.9.0.0/16"],
            settings={"heartbeat.port": "7000"},
        )
        source = other.of("aws_security_group_rule", "source")
        self.assertEqual(source["cidr_blocks"], ["10.9.0.0/16"])
        for name in ("heartbeat", "replication"):
            rule = other.of("aws_security_group_rule", name)
            self.assertEqual((rule["from_port"], rule["to_port"]), ("7000", "7000"))

    def test_metrics_are_served_to_the_networks_that_are_named(self):
        listen, zone = "natha:metrics.listen", REGION + "a"
        self.assertEqual(self.plan.of("aws_security_group_rule", "metrics"), [])
        self.assertNotIn(listen, self.plan.of("aws_instance")[zone]["tags"])
        plan = planned(metrics_cidr_blocks=["10.7.0.0/16"])
        [rule] = plan.of("aws_security_group_rule", "metrics")
        port = str(metrics_port())
        ports = (rule["protocol"], str(rule["from_port"]), str(rule["to_port"]))
        self.assertEqual(ports, ("tcp", port, port))
        self.assertEqual((rule["type"], rule["cidr_blocks"]), ("ingress", ["10.7.0.0/16"]))
        self.assertEqual(plan.of("aws_instance")[zone]["tags"][listen], f"0.0.0.0:{port}")

    def test_outputs_tell_where_the_nodes_are(self):
        zone = REGION + "a"
        eips = self.plan.output("nat_instance_eips")
        self.assertEqual(eips[zone], f"<aws_eip_association.this[{zone}].public_ip>")
        interface = f"<aws_instance.this[{zone}].primary_network_interface_id>"
        self.assertEqual(self.plan.output("eni_ids")[zone], interface)
        self.assertEqual(self.plan.output("autoscaling_group_names"), {})


class Groups(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plan = planned(
            "abc",
            use_autoscaling_groups=True,
            use_spot_instances=True,
            alarm_actions=[TOPIC],
            key_parameter=KEY,
            additional_security_group_ids=["sg-9"],
            settings={"hand_back.hold": "1m"},
            tags={"team": "net"},
            kms_key_id="arn:key",
        )

    def test_each_holds_one_instance_with_the_interface_that_stays(self):
        self.assertEqual(list(self.plan.refused()), [])
        self.assertEqual(self.plan.of("aws_instance"), {})
        groups = self.plan.of("aws_autoscaling_group")
        self.assertEqual(len(groups), 3)
        settings = {"natha:hand_back.hold": "1m", "natha:repair.enabled": "false"}
        for letter in "abc":
            zone = REGION + letter
            group, launch = groups[zone], self.plan.of("aws_launch_template")[zone]
            self.assertEqual(group["availability_zones"], [zone])
            self.assertEqual([group[it] for it in ("min_size", "max_size")], [1, 1])
            interface = self.plan.of("aws_network_interface")[zone]
            self.assertEqual(interface["subnet_id"], f"subnet-{letter}")
            self.assertIs(interface["source_dest_check"], False)
            security = ["<aws_security_group.this.id>", "sg-9"]
            self.assertEqual(interface["security_groups"], security)
            [found] = launch["network_interfaces"]
            stays = f"<aws_network_interface.this[{zone}].id>"
            self.assertEqual(found["network_interface_id"], stays)
            self.assertIs(found["delete_on_termination"], False)
            for other in ("subnet_id", "security_groups", "associate_public_ip_address"):
                self.assertIsNone(found[other])
            made = {it["resource_type"]: it["tags"] for it in launch["tag_specifications"]}
            tags = named(letter, team="net", **settings)
            self.assertEqual(made, {"volume": tags, "instance": tags})
            [market] = launch["instance_market_options"]
            self.assertEqual(market["spot_options"][0]["spot_instance_type"], "one-time")
            self.assertEqual(launch["block_device_mappings"][0]["ebs"][0]["kms_key_id"], "arn:key")
            eip = self.plan.of("aws_eip_association")[zone]
            self.assertEqual((eip["network_interface_id"], eip["instance_id"]), (stays, None))

    def test_user_data_names_the_key_and_nothing_secret(self):
        launch = self.plan.of("aws_launch_template")[REGION + "a"]
        text = base64.b64decode(launch["user_data"]).decode()
        self.assertTrue(text.startswith("#cloud-config\n"))
        file = {"path": "/etc/natha/key.ssm", "content": KEY + "\n"}
        self.assertEqual(yaml.safe_load(text), {"write_files": [file]})

    def test_somebody_is_told_of_a_failed_status_check(self):
        alarms = self.plan.of("aws_cloudwatch_metric_alarm", "status_check")
        self.assertEqual(len(alarms), 3)
        for zone, alarm in alarms.items():
            about = {"AutoScalingGroupName": f"<aws_autoscaling_group.this[{zone}].name>"}
            self.assertEqual((alarm["dimensions"], alarm["alarm_actions"]), (about, [TOPIC]))
        alone = planned(alarm_actions=[TOPIC]).of("aws_cloudwatch_metric_alarm", "status_check")
        for zone, alarm in alone.items():
            self.assertEqual(alarm["dimensions"], {"InstanceId": f"<aws_instance.this[{zone}].id>"})
        self.assertEqual(len(alone), 2)


class Inputs(unittest.TestCase):
    def test_the_role_may_do_what_these_nodes_do(self):
        cases = [
            ({}, []),
            ({"key_parameter": KEY}, ["--key-parameter", KEY]),
            ({"sns_topic_arn": TOPIC}, ["--set", f"notify.sns_topic={TOPIC}"]),
            ({"use_autoscaling_groups": True}, ["--set", "repair.enabled=false"]),
            ({"settings": {"repair.enabled": "false"}}, ["--set", "repair.enabled=false"]),
        ]
        for inputs, arguments in cases:
            made = planned(**inputs).of("aws_iam_role_policy", "natha")["policy"]
            printed = policy("json", "--cluster", "blue", *arguments)
            self.assertEqual(json.loads(made), json.loads(printed), inputs)

    def test_a_topic_for_notices_is_a_tag_of_the_nodes(self):
        instances = planned(sns_topic_arn=TOPIC).of("aws_instance").values()
        tags = [instance["tags"] for instance in instances]
        self.assertEqual([it.get("natha:notify.sns_topic") for it in tags], [TOPIC, TOPIC])

    def test_nodes_that_start_each_other_may_use_a_key_of_one_s_own(self):
        arn = "arn:aws-cn:kms:eu-west-1:123456789012:key/blue"
        groups = {"use_autoscaling_groups": True}
        no_repair = {"settings": {"repair.enabled": "false"}}
        for inputs in ({}, {"kms_key_id": arn, **groups}, {"kms_key_id": arn, **no_repair}):
            self.assertEqual(planned(**inputs).of("aws_iam_role_policy", "volume_key"), [])
        [made] = planned(kms_key_id=arn).of("aws_iam_role_policy", "volume_key")
        [statement] = json.loads(made["policy"])["Statement"]
        self.assertEqual((statement["Action"], statement["Resource"]), (["kms:CreateGrant"], [arn]))
        self.assertEqual(statement["Condition"], {"Bool": {"kms:GrantIsForAWSResource": "true"}})

    def test_session_manager_is_allowed_on_request(self):
        self.assertEqual(planned().of("aws_iam_role_policy_attachment", "ssm"), [])
        plan = planned(attach_ssm_policy=True)
        [attached] = plan.of("aws_iam_role_policy_attachment", "ssm")
        arn = "arn:aws-cn:iam::aws:policy/AmazonSSMManagedInstanceCore"
        self.assertEqual(attached["policy_arn"], arn)

    def test_elastic_ips_that_are_given_are_used(self):
        plan = planned(eip_allocation_ids=["eipalloc-1", "eipalloc-2"])
        self.assertEqual(plan.of("aws_eip"), {})
        found = {az: it["allocation_id"] for az, it in plan.of("aws_eip_association").items()}
        self.assertEqual(found, {REGION + "a": "eipalloc-1", REGION + "b": "eipalloc-2"})

    def test_fixed_addresses_are_tagged_for_the_group_of_their_zone(self):
        zone, other = REGION + "a", REGION + "b"
        plan = planned(
            egress_ips={zone: 2},
            egress_allocation_ids={other: ["eipalloc-1"]},
            egress_mode="strict",
            tags={"team": "net"},
        )
        self.assertEqual(list(plan.refused()), [])
        made = plan.of("aws_eip", "egress")
        tags = {
            "natha:cluster": "blue",
            "natha:group": zone,
            "natha:egress": "strict",
            "team": "net",
        }
        found = {key: it["tags"] for key, it in made.items()}
        names = {f"{zone}/{place}": f"blue-egress-{zone}/{place}" for place in (0, 1)}
        self.assertEqual(found, {key: {**tags, "Name": name} for key, name in names.items()})
        given = plan.of("aws_ec2_tag", "egress").values()
        self.assertEqual({it["resource_id"] for it in given}, {"eipalloc-1"})
        wanted = {"natha:cluster": "blue", "natha:group": other, "natha:egress": "strict"}
        self.assertEqual({it["key"]: it["value"] for it in given}, wanted)
        place = f"{zone}/0"
        public = f"<aws_eip.egress[{place}].public_ip>"
        self.assertEqual(plan.output("egress_ips")[place], public)
        none = planned()
        self.assertEqual(none.of("aws_eip", "egress"), {})
        self.assertEqual(none.of("aws_ec2_tag", "egress"), {})

    def test_inputs_that_cannot_be_are_refused(self):
        cases = [
            ({"egress_mode": "lazy"}, "Use eager or strict"),
            ({"egress_ips": {"eu-west-1z": 1}}, "Name only zones of vpc_az_maps"),
            ({"use_spot_instances": True}, "Spot instances need use_autoscaling_groups"),
            ({"eip_allocation_ids": ["eipalloc-1"]}, "one Elastic IP per entry of vpc_az_maps"),
            ({"key_parameter": "natha/key"}, "Use a parameter name"),
            ({"sns_topic_arn": f"{TOPIC}.fifo"}, "Use the ARN of a standard topic"),
            ({"name": "a b"}, "Use 1 to 32 letters"),
            ({"vpc_az_maps": zones("a")}, "Use 2 to 16 zones"),
            ({"vpc_az_maps": zones("abcdefghijklmnopq")}, "Use 2 to 16 zones"),
        ]
        for inputs, expected in cases:
            said = set(planned(**inputs).refused())
            self.assertEqual(len(said), 1, (inputs, said))
            self.assertIn(expected, said.pop(), inputs)


class Examples(unittest.TestCase):
    def test_the_pair_is_a_vpc_whose_private_tables_are_natha_s(self):
        example = Plan(Module.read(PAIR), {}, ami_id="ami-1")
        self.assertEqual(list(example.refused()), [])
        public, private = (example.of("aws_subnet", it) for it in ("public", "private"))
        blocks = [it["cidr_block"] for it in [*public.values(), *private.values()]]
        self.assertEqual(len(set(blocks)), 4, blocks)
        for table in example.of("aws_route_table", "private").values():
            self.assertEqual(table["tags"]["natha:cluster"], "blue")
        plan = Plan(MODULE, data(), **example.call("natha"))
        self.assertEqual(list(plan.refused()), [])
        self.assertEqual(set(plan.of("aws_instance")), {REGION + "a", REGION + "b"})
        # The tables have their tag from where they are made.
        self.assertEqual(plan.of("aws_ec2_tag", "table"), {})

    def test_three_zones_are_three_groups(self):
        inputs = {"ami_id": "ami-1", "vpc_id": "vpc-1", "vpc_az_maps": zones("abc")}
        example = Plan(Module.read(THREE), {}, **inputs)
        self.assertEqual(list(example.refused()), [])
        # What is known only once it is applied cannot be checked here.
        call = {**example.call("natha"), "sns_topic_arn": TOPIC}
        plan = Plan(MODULE, data(), **call)
        self.assertEqual(list(plan.refused()), [])
        self.assertEqual(len(plan.of("aws_autoscaling_group")), 3)
        self.assertEqual(len(plan.of("aws_ec2_tag", "table")), 6)
        few = Plan(Module.read(THREE), {}, **{**inputs, "vpc_az_maps": zones("ab")})
        self.assertEqual(list(few.refused()), ["Name three zones."])


if __name__ == "__main__":
    unittest.main()
