"""What Terraform makes of templates/terraform with inputs. plan.py and provider.py tell how, and
what stands in for AWS."""

import base64
import email
import json
import unittest

import yaml

from inputs import DATA, KEY, REGION, TOPIC, ModuleCase, given, named, zone, zones
from natha import heartbeat_port, metrics_port, relay_port

ZONE, OTHER = REGION + "a", REGION + "b"


def policy_of(plan):
    return json.loads(plan.outputs["policy_json"]["value"])


class Instances(ModuleCase):
    """A pair that is applied: the objects refer to each other."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.planned()
        cls.made = cls.workspace.apply()

    def test_one_stands_in_each_zone_with_its_tags(self):
        self.assertEqual(self.made.of("aws_autoscaling_group"), {})
        self.assertEqual(self.made.of("aws_network_interface"), {})
        instances = self.made.of("aws_instance")
        self.assertEqual(set(instances), {ZONE, OTHER})
        profile = self.made.of("aws_iam_instance_profile")["0"]
        group = self.made.of("aws_security_group")[""]
        for letter in "ab":
            key = REGION + letter
            instance, launch = instances[key], self.made.of("aws_launch_template")[key]
            self.assertEqual(instance["tags"], named(letter))
            self.assertIs(instance["source_dest_check"], False)
            [found] = instance["launch_template"]
            self.assertEqual((found["id"], found["version"]), (launch["id"], "$Latest"))
            self.assertEqual(launch["image_id"], "ami-arm")
            self.assertEqual(launch["iam_instance_profile"][0]["arn"], profile["arn"])
            [interface] = launch["network_interfaces"]
            self.assertEqual(interface["subnet_id"], f"subnet-{letter}")
            self.assertEqual(interface["security_groups"], [group["id"]])
            self.assertEqual(interface["associate_public_ip_address"], "true")
            made = {it["resource_type"]: it["tags"] for it in launch["tag_specifications"]}
            self.assertEqual(made, {"volume": named(letter), "network-interface": named(letter)})
            self.assertEqual(launch["metadata_options"][0]["http_tokens"], "required")
            [volume] = launch["block_device_mappings"]
            self.assertEqual(volume["device_name"], "/dev/xvda")
            self.assertEqual(volume["ebs"][0]["encrypted"], "true")
            self.assertEqual(volume["ebs"][0]["volume_type"], "gp3")
            self.assertFalse(launch["user_data"])
            self.assertEqual(launch["instance_market_options"], [])
            self.assertEqual(launch["credit_specification"], [])
            # EC2 need not give an interface what the launch template says.
            tag = self.made.of("aws_ec2_tag", "interface")[key]
            self.assertEqual(tag["resource_id"], instance["primary_network_interface_id"])
            self.assertEqual((tag["key"], tag["value"]), ("natha:cluster", "blue"))
            eip = self.made.of("aws_eip_association")[key]
            own = self.made.of("aws_eip")[key]
            self.assertEqual(eip["allocation_id"], own["allocation_id"])
            self.assertEqual(eip["instance_id"], instance["id"])

    def test_every_route_table_is_tagged(self):
        tagged = self.made.of("aws_ec2_tag", "table")
        found = {key: (it["resource_id"], it["key"], it["value"]) for key, it in tagged.items()}
        tables = {
            f"{REGION}{letter}/{key}": f"rtb-{letter}{number}"
            for letter in "ab"
            for key, number in (("app", 1), ("data", 2))
        }
        self.assertEqual(found, {key: (it, "natha:cluster", "blue") for key, it in tables.items()})

    def test_heartbeats_echo_and_private_traffic_come_in(self):
        names = ("heartbeat", "replication", "relay", "echo")
        rules = [self.made.of("aws_security_group_rule", it)[""] for it in names]
        ports = [(it["protocol"], it["from_port"], it["to_port"]) for it in rules]
        port = heartbeat_port()
        copies = ("udp", relay_port(), relay_port())
        wanted = [("udp", port, port), ("tcp", port, port), copies, ("icmp", 8, -1)]
        self.assertEqual(ports, wanted)
        self.assertTrue(all(it["self"] and it["type"] == "ingress" for it in rules))
        too_large = self.made.of("aws_security_group_rule", "path_mtu")[""]
        shown = [too_large[it] for it in ("type", "protocol", "from_port", "to_port")]
        self.assertEqual(shown, ["ingress", "icmp", 3, 4])
        self.assertEqual(too_large["cidr_blocks"], ["0.0.0.0/0"])
        source = self.made.of("aws_security_group_rule", "source")["0"]
        self.assertEqual((source["protocol"], source["cidr_blocks"]), ("-1", ["10.0.0.0/16"]))
        self.assertEqual(self.made.of("aws_security_group_rule", "metrics"), {})

    def test_session_manager_is_allowed(self):
        [attached] = self.made.of("aws_iam_role_policy_attachment", "ssm").values()
        arn = "arn:aws-cn:iam::aws:policy/AmazonSSMManagedInstanceCore"
        self.assertEqual(attached["policy_arn"], arn)
        self.assertEqual(attached["role"], self.made.of("aws_iam_role")["0"]["name"])

    def test_outputs_tell_where_the_nodes_are(self):
        value = {name: it["value"] for name, it in self.made.outputs.items()}
        eip = self.made.of("aws_eip_association")[ZONE]
        instance = self.made.of("aws_instance")[ZONE]
        self.assertEqual(value["nat_instance_eips"][ZONE], eip["public_ip"])
        self.assertEqual(value["eni_ids"][ZONE], instance["primary_network_interface_id"])
        self.assertEqual(value["private_ips"][ZONE], instance["private_ip"])
        self.assertEqual(value["ami_ids"], {ZONE: "ami-arm", OTHER: "ami-arm"})
        self.assertEqual(value["autoscaling_group_names"], {})
        role, profile = self.made.of("aws_iam_role")["0"], "aws_iam_instance_profile"
        self.assertEqual((value["role_name"], value["role_arn"]), (role["name"], role["arn"]))
        self.assertEqual(value["instance_profile_name"], self.made.of(profile)["0"]["name"])
        [policy] = self.made.of("aws_iam_role_policy", "natha").values()
        self.assertEqual(value["policy_json"], policy["policy"])

    def test_commands_to_verify_name_the_region_the_cluster_and_each_node(self):
        commands = self.made.outputs["verify_commands"]["value"]
        self.assertEqual(set(commands), {"nodes", "tables", f"status {ZONE}", f"status {OTHER}"})
        for name, text in commands.items():
            self.assertIn(f"--region {REGION}", text, name)
            self.assertIn("Name=tag:natha:cluster,Values=blue", text, name)
        self.assertIn(f"Values=blue-{ZONE} ", commands[f"status {ZONE}"])
        self.assertIn("sudo natha status", commands[f"status {ZONE}"])

    def test_a_second_run_changes_nothing(self):
        self.assertEqual(self.planned().changes(), {})


class Groups(ModuleCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made = cls.applied(
            "abc",
            use_autoscaling_groups=True,
            use_spot_instances=True,
            alarm_actions=[TOPIC],
            key_parameter=KEY,
            additional_security_group_ids=["sg-9"],
            settings={"hand_back.hold": "1m"},
            tags={"team": "net"},
            kms_key_id="arn:aws:kms:eu-west-1:123456789012:key/k",
        )

    def test_each_holds_one_instance_with_the_interface_that_stays(self):
        self.assertEqual(self.made.of("aws_instance"), {})
        self.assertEqual(self.made.of("aws_ec2_tag", "interface"), {})
        groups = self.made.of("aws_autoscaling_group")
        self.assertEqual(len(groups), 3)
        settings = {"natha:hand_back.hold": "1m", "natha:repair.enabled": "false"}
        security = self.made.of("aws_security_group")[""]["id"]
        for letter in "abc":
            key = REGION + letter
            group, launch = groups[key], self.made.of("aws_launch_template")[key]
            self.assertEqual(group["availability_zones"], [key])
            self.assertEqual([group[it] for it in ("min_size", "max_size")], [1, 1])
            interface = self.made.of("aws_network_interface")[key]
            self.assertEqual(interface["subnet_id"], f"subnet-{letter}")
            self.assertEqual(interface["tags"]["natha:cluster"], "blue")
            self.assertIs(interface["source_dest_check"], False)
            self.assertEqual(set(interface["security_groups"]), {security, "sg-9"})
            [found] = launch["network_interfaces"]
            self.assertEqual(found["network_interface_id"], interface["id"])
            self.assertEqual(found["delete_on_termination"], "false")
            for other in ("subnet_id", "security_groups", "associate_public_ip_address"):
                self.assertFalse(found[other])
            made = {it["resource_type"]: it["tags"] for it in launch["tag_specifications"]}
            tags = named(letter, team="net", **settings)
            self.assertEqual(made, {"volume": tags, "instance": tags})
            [market] = launch["instance_market_options"]
            self.assertEqual(market["spot_options"][0]["spot_instance_type"], "one-time")
            volume = launch["block_device_mappings"][0]["ebs"][0]
            self.assertTrue(volume["kms_key_id"].endswith("key/k"))
            eip = self.made.of("aws_eip_association")[key]
            self.assertEqual(eip["network_interface_id"], interface["id"])

    def test_the_groups_have_tags_that_instances_do_not_inherit(self):
        group = self.made.of("aws_autoscaling_group")[ZONE]
        found = {it["key"]: it["value"] for it in group["tag"]}
        self.assertEqual(found, named("a", team="net"))
        self.assertFalse(any(it["propagate_at_launch"] for it in group["tag"]))

    def test_user_data_names_the_key_and_nothing_secret(self):
        launch = self.made.of("aws_launch_template")[ZONE]
        text = base64.b64decode(launch["user_data"]).decode()
        self.assertTrue(text.startswith("#cloud-config\n"))
        file = {"path": "/etc/natha/key.ssm", "content": KEY + "\n"}
        self.assertEqual(yaml.safe_load(text), {"write_files": [file]})

    def test_an_alarm_reports_a_failed_status_check(self):
        alarms = self.made.of("aws_cloudwatch_metric_alarm", "status_check")
        groups = self.made.of("aws_autoscaling_group")
        self.assertEqual(len(alarms), 3)
        for key, alarm in alarms.items():
            about = {"AutoScalingGroupName": groups[key]["name"]}
            self.assertEqual((alarm["alarm_actions"], alarm["dimensions"]), ([TOPIC], about))

    def test_the_role_cannot_stop_what_a_group_replaces(self):
        """Nor may it start instances with a volume's key."""
        self.assertNotIn("Repair", {it["Sid"] for it in policy_of(self.made)["Statement"]})
        self.assertEqual(self.made.of("aws_iam_role_policy", "volume_key"), {})


class Role(ModuleCase):
    def sids(self, plan):
        return {it["Sid"] for it in policy_of(plan)["Statement"]}

    def test_it_may_do_what_the_inputs_need(self):
        every = self.sids(self.planned(key_parameter=KEY, sns_topic_arn=TOPIC))
        self.assertTrue({"Read", "MoveRoutes", "Repair", "ReadKey", "PublishNotices"} <= every)
        self.assertEqual(every - self.sids(self.planned()), {"ReadKey", "PublishNotices"})

    def test_a_key_of_the_volumes_needs_a_grant(self):
        arn = "arn:aws:kms:eu-west-1:123456789012:key/k"
        plan = self.planned(kms_key_id=arn)
        made = plan.of("aws_iam_role_policy", "volume_key")["0"]
        [statement] = json.loads(made["policy"])["Statement"]
        self.assertEqual((statement["Action"], statement["Resource"]), (["kms:CreateGrant"], [arn]))
        self.assertEqual(statement["Condition"], {"Bool": {"kms:GrantIsForAWSResource": "true"}})
        self.assertIn("StartWithVolumeKey", self.sids(plan))

    def test_keys_that_volumes_have_without_that_input_are_granted_too(self):
        start = "arn:aws:kms:eu-west-1:123456789012:key/"
        keys = [f"{start}default", f"{start}image"]
        for inputs, wanted in (
            ({"volume_key_arns": keys}, keys),
            ({"volume_key_arns": keys, "kms_key_id": f"{start}k"}, [f"{start}k", *keys]),
        ):
            plan = self.planned(**inputs)
            made = plan.of("aws_iam_role_policy", "volume_key")["0"]
            [statement] = json.loads(made["policy"])["Statement"]
            self.assertEqual(statement["Resource"], wanted)
            launch = plan.of("aws_launch_template")[ZONE]
            volume = launch["block_device_mappings"][0]["ebs"][0]
            # It is not the key of the volumes.
            self.assertEqual(volume["kms_key_id"] or None, inputs.get("kms_key_id"))
        with_own_profile = self.planned(existing_instance_profile_name="ours", volume_key_arns=keys)
        self.assertIn("StartWithVolumeKey", self.sids(with_own_profile))
        replaced = self.planned(use_autoscaling_groups=True, volume_key_arns=keys)
        self.assertEqual(replaced.of("aws_iam_role_policy", "volume_key"), {})

    def test_ec2_may_assume_it_in_each_partition(self):
        data = self.workspace.provider.data
        self.addCleanup(data.update, aws_partition=DATA["aws_partition"])
        for partition, principal in (
            ("aws", "ec2.amazonaws.com"),
            ("aws-us-gov", "ec2.amazonaws.com"),
            ("aws-cn", "ec2.amazonaws.com.cn"),
        ):
            data["aws_partition"] = {"partition": partition}
            role = self.planned().of("aws_iam_role")["0"]
            [statement] = json.loads(role["assume_role_policy"])["Statement"]
            self.assertEqual(statement["Principal"], {"Service": principal})

    def test_it_can_have_a_boundary_a_path_and_further_policies(self):
        boundary = "arn:aws:iam::123456789012:policy/b"
        made = self.planned(
            permissions_boundary=boundary,
            iam_path="/net/",
            iam_name_prefix="corp-",
            additional_policy_arns={"logs": "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"},
            attach_ssm_policy=False,
        )
        role = made.of("aws_iam_role")["0"]
        self.assertEqual(role["permissions_boundary"], boundary)
        profile = made.of("aws_iam_instance_profile")["0"]
        for it in (role, profile):
            self.assertEqual((it["path"], it["name_prefix"]), ("/net/", "corp-"))
        further = made.of("aws_iam_role_policy_attachment", "additional")
        self.assertTrue(further["logs"]["policy_arn"].endswith("CloudWatchAgentServerPolicy"))
        self.assertEqual(made.of("aws_iam_role_policy_attachment", "ssm"), {})

    def test_an_existing_role_gets_the_policies(self):
        made = self.planned(existing_role_name="ours")
        self.assertEqual(made.of("aws_iam_role"), {})
        self.assertEqual(made.of("aws_iam_instance_profile")["0"]["role"], "ours")
        self.assertEqual(made.of("aws_iam_role_policy", "natha")["0"]["role"], "ours")
        self.assertEqual(made.of("aws_iam_role_policy_attachment", "ssm")["0"]["role"], "ours")
        self.assertEqual(made.outputs["role_arn"]["value"], "arn:role/ours")

    def test_an_existing_profile_is_left_as_it_is(self):
        inputs = {"additional_policy_arns": {"logs": "arn:aws:iam::aws:policy/X"}}
        made = self.planned(existing_instance_profile_name="ours", **inputs)
        self.assertEqual([it for it in made.resources if "aws_iam" in it], [])
        launch = made.of("aws_launch_template")[ZONE]
        self.assertEqual(launch["iam_instance_profile"][0]["arn"], "arn:profile")
        self.assertEqual(made.outputs["instance_profile_name"]["value"], "ours")
        self.assertEqual(made.outputs["role_name"]["value"], "r")
        self.assertIn("MoveRoutes", self.sids(made))


class Inputs(ModuleCase):
    def test_a_zone_can_have_its_own_type_image_address_and_name(self):
        nodes = {
            "one": zone("a", az=ZONE, instance_type="c6in.large"),
            "two": zone("b", az=OTHER, eip_allocation_id="eipalloc-b"),
            "three": zone("c", az=REGION + "c", ami_id="ami-mine"),
        }
        made = self.planned(vpc_az_maps=nodes, use_autoscaling_groups=True)
        launch = made.of("aws_launch_template")
        found = {key: (it["instance_type"], it["image_id"]) for key, it in launch.items()}
        small = "t4g.micro"
        wanted = {"one": ("c6in.large", "ami-x86"), "two": (small, "ami-arm")}
        self.assertEqual(found, {**wanted, "three": (small, "ami-mine")})
        self.assertEqual(set(made.of("aws_eip")), {"one", "three"})
        associated = made.of("aws_eip_association")
        self.assertEqual(associated["two"]["allocation_id"], "eipalloc-b")
        groups = made.of("aws_autoscaling_group")
        self.assertEqual(groups["two"]["availability_zones"], [OTHER])
        self.assertIn("blue-two", {it["value"] for it in groups["two"]["tag"]})

    def test_the_image_is_looked_up_by_owner_name_and_architecture(self):
        asked = []

        def found(config):
            asked.append(config)
            return DATA["aws_ami"](config)

        data = self.workspace.provider.data
        data["aws_ami"] = found
        self.addCleanup(data.update, aws_ami=DATA["aws_ami"])
        self.planned(ami_owners=["111122223333"], ami_name_filter="natha-0.1.*-al2023-*")
        filters = {it["name"]: it["values"] for it in asked[0]["filter"]}
        self.assertEqual(filters["name"], ["natha-0.1.*-al2023-*"])
        self.assertEqual(filters["architecture"], ["arm64"])
        self.assertEqual((asked[0]["owners"], asked[0]["most_recent"]), (["111122223333"], True))
        asked.clear()
        self.planned(ami_id="ami-1")
        self.assertEqual({it["name"] for it in asked[0]["filter"]}, {"image-id"})
        self.assertIsNone(asked[0]["owners"])

    def test_credits_are_for_types_that_have_them(self):
        nodes = {ZONE: zone("a"), OTHER: zone("b", instance_type="c7gn.medium")}
        made = self.planned(vpc_az_maps=nodes, credit_specification="standard")
        launch = made.of("aws_launch_template")
        self.assertEqual(launch[ZONE]["credit_specification"], [{"cpu_credits": "standard"}])
        self.assertEqual(launch[OTHER]["credit_specification"], [])

    def test_the_root_volume_is_as_large_as_asked(self):
        made = self.planned(ebs_root_volume_size=20, ebs_root_volume_type="gp2")
        volume = made.of("aws_launch_template")[ZONE]["block_device_mappings"][0]["ebs"][0]
        self.assertEqual((volume["volume_size"], volume["volume_type"]), (20, "gp2"))

    def test_parts_of_user_data_come_before_the_key(self):
        script = {"content_type": "text/x-shellscript", "content": "#!/bin/sh\necho häß\n"}
        made = self.planned(cloud_init_parts=[script], key_parameter=KEY)
        text = base64.b64decode(made.of("aws_launch_template")[ZONE]["user_data"])
        parts = email.message_from_bytes(text).get_payload()
        kinds = ["text/x-shellscript", "text/cloud-config"]
        self.assertEqual([it.get_content_type() for it in parts], kinds)
        self.assertEqual(parts[0].get_payload(decode=True).decode(), script["content"])
        config = yaml.safe_load(parts[1].get_payload(decode=True))
        file = {"path": "/etc/natha/key.ssm", "content": KEY + "\n"}
        self.assertEqual(config["write_files"], [file])
        self.assertEqual(config["merge_how"][0], {"name": "list", "settings": ["append"]})
        alone = self.planned(cloud_init_parts=[script])
        text = base64.b64decode(alone.of("aws_launch_template")[ZONE]["user_data"])
        self.assertEqual(len(email.message_from_bytes(text).get_payload()), 1)

    def test_the_nodes_accept_the_sources_that_are_named(self):
        made = self.planned(ingress_security_group_cidr_blocks=["10.9.0.0/16"])
        source = made.of("aws_security_group_rule", "source")["0"]
        self.assertEqual(source["cidr_blocks"], ["10.9.0.0/16"])
        self.assertIsNone(source["prefix_list_ids"])
        made = self.planned(ingress_prefix_list_ids=["pl-1"])
        source = made.of("aws_security_group_rule", "source")["0"]
        self.assertEqual((source["cidr_blocks"], source["prefix_list_ids"]), (None, ["pl-1"]))
        made = self.planned(ingress_security_group_ids={"pods": "sg-pods"})
        self.assertEqual(made.of("aws_security_group_rule", "source"), {})
        rule = made.of("aws_security_group_rule", "source_group")["pods"]
        self.assertEqual((rule["source_security_group_id"], rule["protocol"]), ("sg-pods", "-1"))

    def test_an_endpoint_admits_every_host_of_the_vpc(self):
        made = self.planned(enable_ec2_endpoint=True)
        endpoint = made.of("aws_vpc_endpoint", "ec2")["0"]
        self.assertEqual(endpoint["service_name"], "cn.com.amazonaws.eu-west-1.ec2")
        self.assertEqual(set(endpoint["subnet_ids"]), {"subnet-a", "subnet-b"})
        self.assertIs(endpoint["private_dns_enabled"], True)
        rule = made.of("aws_security_group_rule", "endpoint")["0"]
        self.assertEqual((rule["from_port"], rule["cidr_blocks"]), (443, ["10.0.0.0/16"]))

    def test_everything_is_in_the_region(self):
        made = self.planned(
            region="eu-west-2",
            egress_mode="strict",
            vpc_az_maps={ZONE: zone("a", egress_ips=["web"]), OTHER: zone("b")},
            enable_ec2_endpoint=True,
            alarm_actions=[TOPIC],
            metrics_cidr_blocks=["10.7.0.0/16"],
        )
        for address, values in made.resources.items():
            if not address.startswith("aws_iam"):
                self.assertEqual(values["region"], "eu-west-2", address)
        self.assertIn("ec2:eu-west-2:", made.outputs["policy_json"]["value"])

    def test_metrics_are_served_to_the_networks_that_are_named(self):
        made = self.planned(metrics_cidr_blocks=["10.7.0.0/16"])
        rule, port = made.of("aws_security_group_rule", "metrics")["0"], metrics_port()
        ports = (rule["protocol"], rule["from_port"], rule["to_port"])
        self.assertEqual(ports, ("tcp", port, port))
        self.assertEqual((rule["type"], rule["cidr_blocks"]), ("ingress", ["10.7.0.0/16"]))
        tags = made.of("aws_instance")[ZONE]["tags"]
        self.assertEqual(tags["natha:metrics.listen"], f"0.0.0.0:{port}")
        settings = {"metrics.listen": "0.0.0.0:9100"}
        made = self.planned(metrics_cidr_blocks=["10.7.0.0/16"], settings=settings)
        rule = made.of("aws_security_group_rule", "metrics")["0"]
        self.assertEqual((rule["from_port"], rule["to_port"]), (9100, 9100))

    def test_fixed_addresses_are_tagged_for_the_group_of_their_zone(self):
        nodes = {
            "one": zone("a", az=ZONE, egress_ips=["web", "mail"]),
            "two": zone("b", az=OTHER, egress_allocation_ids={"old": "eipalloc-1"}),
        }
        more = {"egress_mode": "strict", "tags": {"team": "net"}}
        plan = self.planned(vpc_az_maps=nodes, instance_type="t4g.medium", **more)
        tags = {"natha:cluster": "blue", "natha:group": ZONE, "natha:egress": "strict"}
        found = {key: it["tags"] for key, it in plan.of("aws_eip", "egress").items()}
        names = {it: f"blue-egress-{it}" for it in ("one/mail", "one/web")}
        made = {key: {**tags, "team": "net", "Name": it} for key, it in names.items()}
        self.assertEqual(found, made)
        tagged = plan.of("aws_ec2_tag", "egress")
        self.assertEqual({it["resource_id"] for it in tagged.values()}, {"eipalloc-1"})
        wanted = {**tags, "natha:group": OTHER}
        self.assertEqual({it["key"]: it["value"] for it in tagged.values()}, wanted)

    def test_a_fallback_is_tagged_on_each_table_of_its_node(self):
        gateway = {"nat_gateway_id": "nat-0123456789abcdef0"}
        nodes = {ZONE: zone("a", egress_ips=["web"], fallback=gateway), OTHER: zone("b")}
        tagged = self.planned(vpc_az_maps=nodes).of("aws_ec2_tag", "fallback")
        found = {it["resource_id"]: (it["key"], it["value"]) for it in tagged.values()}
        tag = ("natha:fallback", "nat-0123456789abcdef0")
        self.assertEqual(found, {"rtb-a1": tag, "rtb-a2": tag})
        untagged = self.planned(vpc_az_maps=nodes, tag_route_tables=False)
        self.assertEqual(untagged.of("aws_ec2_tag", "fallback"), {})

    def test_inputs_that_cannot_be_are_refused(self):
        strict = zone("a", egress_ips=["web"], fallback={"nat_gateway_id": "nat-0123"})
        vpn = zone("a", fallback={"nat_gateway_id": "vgw-0123"})
        x86 = zone("a", instance_type="c6in.large", ami_id="ami-1")
        arm = {"vpc_az_maps": {ZONE: x86, OTHER: zone("b")}}
        twice = {"a": zone("a", az=ZONE), "b": zone("b", az=ZONE)}
        fixed = {ZONE: zone("a", egress_ips=["web"]), OTHER: zone("b", egress_ips=["web"])}
        cases = [
            (
                {"vpc_az_maps": fixed},
                f"t4g.micro of {ZONE} may have 2 private addresses, and needs one more than the "
                "cluster has egress IPs (2)",
            ),
            ({"egress_mode": "lazy"}, "Use eager or strict"),
            ({"use_spot_instances": True}, "Spot instances need use_autoscaling_groups"),
            ({"allocate_eips": False}, f"Give {ZONE} an eip_allocation_id"),
            ({"key_parameter": "natha/key"}, "Use a parameter name"),
            ({"sns_topic_arn": f"{TOPIC}.fifo"}, "Use the ARN of a standard topic"),
            ({"kms_key_id": "0123"}, "Use the key's ARN"),
            (
                {"volume_key_arns": ["arn:aws:kms:eu-west-1:123456789012:alias/aws/ebs"]},
                "not of aliases",
            ),
            ({"name": "a b"}, "Use 1 to 32 letters"),
            ({"vpc_az_maps": zones("a")}, "Use 2 to 16 zones"),
            ({"vpc_az_maps": zones("abcdefghijklmnopq")}, "Use 2 to 16 zones"),
            ({"vpc_az_maps": twice}, "Use each zone only once"),
            ({"vpc_az_maps": {"a/b": zone("a", az=ZONE), OTHER: zone("b")}}, "Use keys of 1 to 32"),
            (
                {"vpc_az_maps": {ZONE: strict, OTHER: zone("b")}, "egress_mode": "strict"},
                f"{ZONE} has a fallback",
            ),
            ({"vpc_az_maps": {ZONE: vpn, OTHER: zone("b")}}, "Use the id of a NAT gateway"),
            ({"credit_specification": "none"}, "Use standard or unlimited"),
            ({"ami_owners": []}, "Name at least one account"),
            ({"iam_path": "net"}, "Begin and end the path with a slash"),
            ({"iam_name_prefix": "a" * 39}, "Use 1 to 38 letters"),
            (arm, "The image ami-1 is for arm64, which c6in.large of eu-west-1a is not"),
            (
                {"use_autoscaling_groups": True, "settings": {"repair.enabled": "true"}},
                "repair.enabled: with use_autoscaling_groups the groups repair",
            ),
        ]
        for inputs, expected in cases:
            with self.subTest(expected):
                self.assertIn(expected, self.refused(**{**given(), **inputs}))


if __name__ == "__main__":
    unittest.main()
