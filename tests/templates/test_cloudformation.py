"""templates/cloudformation: taken by cfn-lint, by moto's CloudFormation, and in agreement with
natha. What moto leaves out is looked at in the template, with its conditions worked out."""

import copy
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

# For moto, which must not find this machine's own.
REGION, ACCOUNT = "eu-west-1", "123456789012"
os.environ.update(
    AWS_ACCESS_KEY_ID="moto",
    AWS_SECRET_ACCESS_KEY="moto",
    AWS_DEFAULT_REGION=REGION,
    AWS_CONFIG_FILE="/dev/null",
    AWS_SHARED_CREDENTIALS_FILE="/dev/null",
)

import boto3
from moto import mock_aws

from cloudformation import TEMPLATES, Stack, read
from natha import ROOT, heartbeat_port, metrics_port, policy, relay_port
from settings import OF_STACK, known, pattern

FILES = {"pair.yaml": "AB", "three-zones.yaml": "ABC"}
# Bytes of a template that a request may have in it (CloudFormation guide, quotas). A larger one
# goes by a bucket. The room is for what the next change adds.
INLINE, ROOM = 51_200, 2_048
VPC, KEY, TOPIC = "vpc-0123456789abcdef0", "/natha/blue/key", f"arn:aws:sns:{REGION}:{ACCOUNT}:t"


def values(letters, **more):
    """Values for all that must be said of a template with these nodes."""
    given = {"VpcId": VPC, "IngressCidrBlock": "10.0.0.0/16", "ImageId": "ami-0123456789abcdef0"}
    given |= {f"SubnetId{it}": f"subnet-{it.lower() * 17}" for it in letters}
    return given | more


def groups(letters, **more):
    """The same with Auto Scaling groups."""
    zones = {f"AvailabilityZone{it}": REGION + it.lower() for it in letters}
    return values(letters, UseAutoScalingGroups="true", **zones, **more)


def stacks(**more):
    """Both templates, with and without groups."""
    for file, letters in FILES.items():
        for make in (values, groups):
            yield file, letters, make is groups, Stack(read(file), **make(letters, **more))


def lint(path):
    command = [Path(sys.executable).with_name("cfn-lint"), "--format", "parseable", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


class Written(unittest.TestCase):
    def test_cfn_lint_has_nothing_to_say(self):
        for file in FILES:
            done = lint(TEMPLATES / file)
            self.assertEqual((done.returncode, done.stdout), (0, ""), file)

    def test_cfn_lint_finds_what_is_wrong(self):
        """One with the apostrophe that EC2 refuses in a security group's description."""
        text = (TEMPLATES / "pair.yaml").read_text(encoding="utf-8")
        text = text.replace("The nodes of the natha cluster", "Natha's nodes", 1)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "wrong.yaml"
            path.write_text(text, encoding="utf-8")
            done = lint(path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("does not match", done.stdout)

    def test_the_documented_command_suits_the_size_of_each_template(self):
        page = (ROOT / "docs/templates.md").read_text(encoding="utf-8")
        commands = re.findall(r"^aws cloudformation deploy (?:.*\\\n)*.*\n", page, re.M)
        by_bucket = {}
        for command in commands:
            [file] = re.findall(r"templates/cloudformation/(\S+\.yaml)", command)
            by_bucket[file] = "--s3-bucket " in command
        sizes = {file: (TEMPLATES / file).stat().st_size for file in FILES}
        self.assertEqual(by_bucket, {file: it > INLINE for file, it in sizes.items()}, sizes)
        self.assertLessEqual(sizes["pair.yaml"], INLINE - ROOM)

    def test_nodes_differ_in_their_letter_only(self):
        """The templates repeat themselves, as CloudFormation has no better way: B and C are A."""

        def node(template, letter, others):
            text = json.dumps(template, sort_keys=True)
            text = re.sub(rf"(?<=[a-z]){letter}\b", "_", text)
            text = re.sub(rf"\b([Nn]ode) {letter}\b", r"\1 _", text)
            text = text.replace("${Name}-" + letter.lower(), "${Name}-_")
            found = json.loads(text)
            for section in ("Resources", "Outputs", "Conditions", "Parameters"):
                yield section, {
                    name: it for name, it in found[section].items() if name.endswith("_")
                }

        for file, letters in FILES.items():
            template = read(file)
            for place, letter in enumerate(letters[1:]):
                group = template["Resources"][f"Group{letter}"]
                # The groups are updated one after the other.
                self.assertEqual(group["DependsOn"].pop(), f"Group{letters[place]}", file)
            for name in ("SubnetId", "LaunchTemplateVersion"):
                for letter in letters:
                    said = template["Parameters"][f"{name}{letter}"].pop("Description")
                    self.assertIn(f"ode {letter}'s", said)
            first = dict(node(template, "A", letters))
            self.assertGreaterEqual(len(first["Resources"]), 7)
            for letter in letters[1:]:
                self.assertEqual(dict(node(template, letter, letters)), first, f"{file}: {letter}")

    def test_three_zones_are_a_pair_with_a_node_c(self):
        def of_pair(template):
            del template["Description"], template["Metadata"]
            kept = copy.deepcopy(template)
            for section, entries in template.items():
                if isinstance(entries, dict):
                    for name in entries:
                        if re.search("[a-z]C$", name):
                            del kept[section][name]
            assertions = kept["Rules"]["Groups"]["Assertions"]
            kept["Rules"]["Groups"]["Assertions"] = assertions[:2]
            rule = kept["Rules"]["EgressIps"]
            rule["RuleCondition"] = rule["RuleCondition"].get("Fn::Or", [rule["RuleCondition"]])[0]
            [default, *own] = rule["Assertions"]
            own_types = default["Assert"]["Fn::Or"][1]["Fn::And"]
            default["Assert"]["Fn::Or"][1]["Fn::And"] = own_types[:2]
            rule["Assertions"] = [default, *own[:2]]
            return kept

        self.assertEqual(of_pair(read("three-zones.yaml")), of_pair(read("pair.yaml")))


class Agreed(unittest.TestCase):
    """What must be the same here and in natha."""

    def test_the_policy_is_what_natha_prints(self):
        places = {"Partition": "aws", "Region": REGION, "AccountId": ACCOUNT}
        fixed = ["--partition", "aws", "--region", REGION, "--account", ACCOUNT, "--vpc", VPC]
        for key, topic in (("", ""), (KEY, ""), ("", TOPIC)):
            for file, _, has_groups, stack in stacks(KeyParameter=key, NoticeTopicArn=topic):
                [made] = stack.of_type("AWS::IAM::Policy").values()
                text = json.dumps(made["PolicyDocument"])
                text = re.sub(r"\$\{AWS::(\w+)\}", lambda it: places[it[1]], text)
                document = json.loads(re.sub(r'\{"Fn::Sub": ("[^"]*")\}', r"\1", text))
                arguments = ["--cluster", "blue", *fixed]
                arguments += ["--key-parameter", key] if key else []
                arguments += ["--set", f"notify.sns_topic={topic}"] if topic else []
                arguments += ["--set", "repair.enabled=false"] if has_groups else []
                printed = json.loads(policy("json", *arguments))
                self.assertEqual(listed(document), listed(printed), (file, key, has_groups))

    def test_a_topic_for_notices_is_a_tag_of_the_nodes(self):
        tag = {"Key": "natha:notify.sns_topic", "Value": TOPIC}
        for file, letters, has_groups, stack in stacks(NoticeTopicArn=TOPIC):
            for letter in letters:
                if has_groups:
                    launch = stack.of_type("AWS::EC2::LaunchTemplate")[f"LaunchTemplate{letter}"]
                    tags = launch["LaunchTemplateData"]["TagSpecifications"][0]["Tags"]
                else:
                    tags = stack.of_type("AWS::EC2::Instance")[f"Instance{letter}"]["Tags"]
                self.assertIn(tag, tags, (file, letter))

    def test_nodes_that_start_each_other_may_use_the_keys_that_are_named(self):
        """KmsKeyId is also the volumes' key. Keys that volumes have without it are only granted."""
        chosen, given = (f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{it}" for it in ("blue", "default"))
        more = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/image"
        only_for_ec2 = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
        for inputs, wanted in (
            ({}, []),
            ({"KmsKeyId": chosen}, [[chosen]]),
            ({"VolumeKeyArns": f"{given},{more}"}, [[given, more]]),
            ({"KmsKeyId": chosen, "VolumeKeyArns": given}, [[chosen], [given]]),
        ):
            for file, _, has_groups, stack in stacks(**inputs):
                found = stack.of_type("AWS::IAM::Policy")
                is_granted = bool(wanted) and not has_groups
                self.assertEqual("VolumeKeyPolicy" in found, is_granted, (file, inputs))
                for launch in stack.of_type("AWS::EC2::LaunchTemplate").values():
                    [volume] = launch["LaunchTemplateData"]["BlockDeviceMappings"]
                    self.assertEqual(volume["Ebs"].get("KmsKeyId"), inputs.get("KmsKeyId"))
                if is_granted:
                    statements = found["VolumeKeyPolicy"]["PolicyDocument"]["Statement"]
                    self.assertEqual([it["Resource"] for it in statements], wanted, file)
                    self.assertEqual(len({it["Sid"] for it in statements}), len(wanted), file)
                    for it in statements:
                        self.assertEqual(it["Action"], ["kms:CreateGrant"])
                        self.assertEqual(it["Condition"], only_for_ec2)
        for wrong in ("alias/aws/ebs", f"{given},1234", given.replace(":key/", ":alias/")):
            with self.assertRaisesRegex(AssertionError, "VolumeKeyArns cannot be"):
                Stack(read("pair.yaml"), **values("AB", VolumeKeyArns=wrong))

    def test_ec2_may_assume_the_role_in_each_partition(self):
        for partition, principal in (
            ("aws", "ec2.amazonaws.com"),
            ("aws-us-gov", "ec2.amazonaws.com"),
            ("aws-cn", "ec2.amazonaws.com.cn"),
        ):
            for file, _, _, stack in stacks(partition=partition):
                [role] = stack.of_type("AWS::IAM::Role").values()
                [statement] = role["AssumeRolePolicyDocument"]["Statement"]
                self.assertEqual(statement["Principal"], {"Service": principal}, file)

    def test_a_zone_gets_a_fixed_address_by_the_tags_that_natha_reads(self):
        config = (ROOT / "docs/config.md").read_text(encoding="utf-8")
        zone = REGION + "a"
        for file, _, _, stack in stacks(EgressGroupA=zone, EgressMode="strict"):
            made = {
                name: it
                for name, it in stack.of_type("AWS::EC2::EIP").items()
                if name.startswith("EgressIp")
            }
            self.assertEqual(set(made), {"EgressIpA"}, file)
            tags = {it["Key"]: it["Value"] for it in made["EgressIpA"]["Tags"]}
            wanted = {"natha:cluster": "blue", "natha:group": zone, "natha:egress": "strict"}
            self.assertEqual({key: tags[key] for key in wanted}, wanted, file)
            for key in wanted:
                self.assertIn(f"`{key}`", config)

    def test_heartbeats_connections_and_echo_pass_between_the_nodes(self):
        for file, _, _, stack in stacks():
            group = {"Fn::GetAtt": ["SecurityGroup", "GroupId"]}
            rules = {
                (it["IpProtocol"], it.get("FromPort"), it.get("ToPort")): it
                for it in stack.of_type("AWS::EC2::SecurityGroupIngress").values()
            }
            port = heartbeat_port()
            between = {("udp", port, port), ("tcp", port, port), ("icmp", 8, -1)}
            between.add(("udp", relay_port(), relay_port()))
            expected = between | {("icmp", 3, 4), ("-1", None, None)}
            self.assertEqual(set(rules), expected, file)
            for (protocol, first, _), rule in rules.items():
                self.assertEqual(rule["GroupId"], group)
                anyone = "0.0.0.0/0" if first == 3 else group
                source = "10.0.0.0/16" if protocol == "-1" else anyone
                said = rule.get("CidrIp", rule.get("SourceSecurityGroupId"))
                self.assertEqual(said, source, (file, protocol))
            [made] = stack.of_type("AWS::EC2::SecurityGroup").values()
            [egress] = made["SecurityGroupEgress"]
            self.assertEqual((egress["IpProtocol"], egress["CidrIp"]), ("-1", "0.0.0.0/0"))

    def test_metrics_are_served_to_the_network_that_is_named(self):
        port = metrics_port()
        listen = {"Key": "natha:metrics.listen", "Value": f"0.0.0.0:{port}"}
        for network in ("", "10.7.0.0/16"):
            for file, letters, has_groups, stack in stacks(MetricsCidrBlock=network):
                rules = stack.of_type("AWS::EC2::SecurityGroupIngress")
                self.assertEqual("MetricsIngress" in rules, network != "", file)
                if network:
                    rule = rules["MetricsIngress"]
                    found = (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], rule["CidrIp"])
                    self.assertEqual(found, ("tcp", port, port, network), file)
                templates = stack.of_type("AWS::EC2::LaunchTemplate").values()
                tags = [
                    it["LaunchTemplateData"]["TagSpecifications"][0]["Tags"] for it in templates
                ]
                tags += [it["Tags"] for it in stack.of_type("AWS::EC2::Instance").values()]
                self.assertEqual(len(tags), len(letters) * (1 if has_groups else 2), file)
                for told in tags:
                    self.assertEqual(listen in told, network != "", (file, told))


def listed(document):
    """A policy with lists wherever IAM also takes a single text."""

    def many(it):
        return it if isinstance(it, list) else [it]

    for statement in document["Statement"]:
        for key in ("Action", "Resource"):
            statement[key] = many(statement[key])
        for tests in statement.get("Condition", {}).values():
            tests.update({key: many(it) for key, it in tests.items()})
    return document


def tags(it):
    return {tag["Key"]: tag["Value"] for tag in it}


class Nodes(unittest.TestCase):
    """What a launch is told, with all conditions worked out."""

    def test_every_instance_is_one_that_natha_finds(self):
        for file, letters, has_groups, stack in stacks():
            launches = stack.of_type("AWS::EC2::LaunchTemplate")
            self.assertEqual(len(launches), len(letters), file)
            for letter in letters:
                data = launches[f"LaunchTemplate{letter}"]["LaunchTemplateData"]
                self.assertEqual(data["MetadataOptions"]["HttpTokens"], "required")
                [volume] = data["BlockDeviceMappings"]
                self.assertEqual(volume["Ebs"]["Encrypted"], "true")
                self.assertNotIn("KmsKeyId", volume["Ebs"])
                self.assertNotIn("UserData", data)
                self.assertNotIn("InstanceMarketOptions", data)
                said = {it["ResourceType"]: tags(it["Tags"]) for it in data["TagSpecifications"]}
                named = {"Name": f"blue-{letter.lower()}", "natha:cluster": "blue"}
                [interface] = data["NetworkInterfaces"]
                if has_groups:
                    # The group alone brings a failed node back.
                    named_instance = {**named, "natha:repair.enabled": "false"}
                    self.assertEqual(said["instance"], named_instance)
                    self.assertNotIn("network-interface", said)
                    expected = {"Ref": f"Interface{letter}"}
                    self.assertEqual(interface["NetworkInterfaceId"], expected)
                    self.assertIs(interface["DeleteOnTermination"], False)
                    own = stack.of_type("AWS::EC2::NetworkInterface")[f"Interface{letter}"]
                    self.assertIs(own["SourceDestCheck"], False)
                    subnet, security, marked = own["SubnetId"], own["GroupSet"], own["Tags"]
                else:
                    self.assertEqual(said["network-interface"], named)
                    self.assertIs(interface["AssociatePublicIpAddress"], True)
                    own = stack.of_type("AWS::EC2::Instance")[f"Instance{letter}"]
                    self.assertIs(own["SourceDestCheck"], False)
                    subnet, security = interface["SubnetId"], interface["Groups"]
                    marked = own["Tags"]
                self.assertEqual(tags(marked), named)
                self.assertEqual(subnet, f"subnet-{letter.lower() * 17}")
                self.assertEqual(security, [{"Fn::GetAtt": ["SecurityGroup", "GroupId"]}])

    def test_a_group_holds_one_instance_in_the_interface_s_zone(self):
        for file, letters, has_groups, stack in stacks(UseSpotInstances="true"):
            found = stack.of_type("AWS::AutoScaling::AutoScalingGroup")
            instances = stack.of_type("AWS::EC2::Instance")
            if not has_groups:
                self.assertEqual((len(found), len(instances)), (0, len(letters)))
                continue
            self.assertEqual((len(found), len(instances)), (len(letters), 0))
            for letter in letters:
                group = found[f"Group{letter}"]
                sizes = [group[it] for it in ("MinSize", "MaxSize", "DesiredCapacity")]
                self.assertEqual(sizes, ["1", "1", "1"], file)
                self.assertEqual(group["AvailabilityZones"], [REGION + letter.lower()])
                self.assertNotIn("VPCZoneIdentifier", group)
                self.assertEqual(group["LaunchTemplate"]["Version"], "1")
                launch = stack.of_type("AWS::EC2::LaunchTemplate")[f"LaunchTemplate{letter}"]
                market = launch["LaunchTemplateData"]["InstanceMarketOptions"]
                self.assertEqual(market["SpotOptions"]["SpotInstanceType"], "one-time")

    def test_elastic_ips_are_made_or_taken(self):
        for file, letters, has_groups, stack in stacks(EipAllocationIdB="eipalloc-0b"):
            made = set(stack.of_type("AWS::EC2::EIP"))
            self.assertEqual(made, {f"Eip{it}" for it in letters if it != "B"}, file)
            self.assertEqual({it for it in stack.outputs if it.startswith("Eip")}, made)
            for letter in letters:
                it = stack.of_type("AWS::EC2::EIPAssociation")[f"EipAssociation{letter}"]
                own = {"Fn::GetAtt": [f"Eip{letter}", "AllocationId"]}
                self.assertEqual(it["AllocationId"], "eipalloc-0b" if letter == "B" else own)
                kind = "Interface" if has_groups else "Instance"
                key = "NetworkInterfaceId" if has_groups else "InstanceId"
                expected = {"AllocationId": it["AllocationId"], key: {"Ref": f"{kind}{letter}"}}
                self.assertEqual(it, expected)

    def test_what_is_asked_for_is_there(self):
        more = {"KmsKeyId": "arn:key", "AdditionalSecurityGroupIds": "sg-1,sg-2"}
        more |= {"AlarmTopicArn": TOPIC, "KeyParameter": KEY, "AttachSsmPolicy": "true"}
        for _, letters, has_groups, stack in stacks(**more):
            for letter in letters:
                launch = stack.of_type("AWS::EC2::LaunchTemplate")[f"LaunchTemplate{letter}"]
                data = launch["LaunchTemplateData"]
                self.assertEqual(data["BlockDeviceMappings"][0]["Ebs"]["KmsKeyId"], "arn:key")
                self.assertIn(f"    {KEY}\n", data["UserData"]["Fn::Base64"])
                self.assertTrue(data["UserData"]["Fn::Base64"].startswith("#cloud-config\n"))
                own = stack.of_type("AWS::EC2::NetworkInterface").get(f"Interface{letter}", {})
                security = own.get("GroupSet", data["NetworkInterfaces"][0].get("Groups"))
                text = {"Fn::Sub": "${SecurityGroup.GroupId},sg-1,sg-2"}
                self.assertEqual(security, {"Fn::Split": [",", text]})
                alarm = stack.of_type("AWS::CloudWatch::Alarm")[f"Alarm{letter}"]
                self.assertEqual(alarm["AlarmActions"], [TOPIC])
                name = "AutoScalingGroupName" if has_groups else "InstanceId"
                about = {"Ref": f"{'Group' if has_groups else 'Instance'}{letter}"}
                self.assertEqual(alarm["Dimensions"], [{"Name": name, "Value": about}])
            [role] = stack.of_type("AWS::IAM::Role").values()
            self.assertIn("AmazonSSMManagedInstanceCore", json.dumps(role["ManagedPolicyArns"]))
        for _, _, _, stack in stacks(AttachSsmPolicy="false"):
            [role] = stack.of_type("AWS::IAM::Role").values()
            self.assertEqual(role["ManagedPolicyArns"], [])
            self.assertNotIn("PermissionsBoundary", role)
            self.assertEqual(stack.of_type("AWS::CloudWatch::Alarm"), {})

    def test_a_node_can_have_a_type_of_its_own(self):
        more = {"InstanceTypeB": "c7gn.large", "CreditSpecification": "standard"}
        for file, letters, _, stack in stacks(**more, RootVolumeSize="20"):
            for letter in letters:
                launch = stack.of_type("AWS::EC2::LaunchTemplate")[f"LaunchTemplate{letter}"]
                data = launch["LaunchTemplateData"]
                wanted = "c7gn.large" if letter == "B" else "t4g.micro"
                self.assertEqual(data["InstanceType"], wanted, (file, letter))
                self.assertEqual(data["CreditSpecification"], {"CpuCredits": "standard"})
                self.assertEqual(data["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"], "20")

    def test_further_networks_are_admitted(self):
        more = {"IngressCidrBlock2": "100.64.0.0/16", "IngressCidrBlock3": "10.8.0.0/16"}
        for file, _, _, stack in stacks(**more):
            rules = stack.of_type("AWS::EC2::SecurityGroupIngress").values()
            found = {it["CidrIp"] for it in rules if it["IpProtocol"] == "-1"}
            self.assertEqual(found, {"10.0.0.0/16", *more.values()}, file)

    def test_settings_are_tags_of_the_nodes(self):
        given = {"Setting1": "hand_back.hold=1m", "Setting4": "uplink.targets=icmp:1.1.1.1,1.0.0.1"}
        wanted = {f"natha:{key}": it for key, _, it in (it.partition("=") for it in given.values())}
        for file, letters, has_groups, stack in stacks(**given):
            for letter in letters:
                launch = stack.of_type("AWS::EC2::LaunchTemplate")[f"LaunchTemplate{letter}"]
                [told, _] = launch["LaunchTemplateData"]["TagSpecifications"]
                found = tags(told["Tags"])
                self.assertEqual({key: found.get(key) for key in wanted}, wanted, (file, letter))
                if not has_groups:
                    own = tags(stack.of_type("AWS::EC2::Instance")[f"Instance{letter}"]["Tags"])
                    self.assertEqual({key: own.get(key) for key in wanted}, wanted, (file, letter))

    def test_only_settings_that_natha_knows_and_the_stack_does_not_set_are_taken(self):
        # The ports are those of the security group.
        own = {"cluster", "api.region", "notify.sns_topic", "repair.enabled"}
        ports = {"heartbeat.port", "replicate.port", "replicate.relay_port", "metrics.listen"}
        self.assertEqual(OF_STACK, own | ports)
        names = {key for key, _ in known()}
        self.assertLess(OF_STACK, names)
        allowed = pattern()
        taken = {it for it in names if re.fullmatch(allowed, f"{it}=1")}
        self.assertEqual(taken, names - OF_STACK)
        self.assertTrue(re.fullmatch(allowed, ""))
        wrong = ["hand_back.holds=1m", "hand_backxhold=1m", "host.nat", "host.nat=", "hold=1m"]
        # A name of another section, a section alone, and two settings in one.
        wrong += ["repair.hold=1m", "host=1", "host.=1", "host.nat=true=false", "members.nat=1"]
        for it in wrong:
            self.assertFalse(re.fullmatch(allowed, it), it)
        for file in FILES:
            parameters = read(file)["Parameters"]
            for number in range(1, 5):
                found = parameters[f"Setting{number}"]["AllowedPattern"]
                self.assertEqual(found, allowed, f"{file}: run tests/templates/settings.py")

    def test_the_role_can_be_bounded_or_exist(self):
        boundary = f"arn:aws:iam::{ACCOUNT}:policy/b"
        for file, _, _, stack in stacks(PermissionsBoundaryArn=boundary):
            [role] = stack.of_type("AWS::IAM::Role").values()
            self.assertEqual(role["PermissionsBoundary"], boundary, file)
        for file, _, _, stack in stacks(ExistingRoleName="ours", KmsKeyId="arn:key"):
            self.assertEqual(stack.of_type("AWS::IAM::Role"), {}, file)
            self.assertNotIn("RoleArn", stack.outputs)
            for kind in ("Policy", "InstanceProfile"):
                for it in stack.of_type(f"AWS::IAM::{kind}").values():
                    self.assertEqual(it["Roles"], ["ours"], file)

    def test_outputs_have_the_next_commands(self):
        for file, letters, has_groups, stack in stacks():
            names = {f"StatusCommand{it}" for it in letters} | {"NodesCommand", "TagCommand"}
            self.assertLessEqual(names, set(stack.outputs), file)
            # An interface of a group has its tag from the stack.
            self.assertEqual("InterfaceTagCommand" in stack.outputs, not has_groups, file)
            if not has_groups:
                said = json.dumps(stack.outputs["InterfaceTagCommand"])
                self.assertIn("aws ec2 create-tags ", said)
                self.assertIn("--tags Key=natha:cluster,Value=blue ", said)
                self.assertIn("Name=tag:natha:cluster,Values=blue ", said)
            for letter in letters:
                said = json.dumps(stack.outputs[f"StatusCommand{letter}"])
                self.assertIn(f"Name=tag:Name,Values=blue-{letter.lower()} ", said)
                self.assertIn("sudo natha status", said)

    def test_values_that_do_not_go_together_are_refused(self):
        for file, letters in FILES.items():
            template = read(file)
            good = [values(letters), groups(letters), groups(letters, UseSpotInstances="true")]
            for given in good:
                self.assertEqual(list(Stack(template, **given).broken_rules()), [])
            [said] = Stack(template, **values(letters, UseSpotInstances="true")).broken_rules()
            self.assertIn("Spot instances need UseAutoScalingGroups", said)
            wrong = Stack(template, **values(letters, UseAutoScalingGroups="true"))
            said = list(wrong.broken_rules())
            expected = [f"Auto Scaling groups need AvailabilityZone{it}." for it in letters]
            self.assertEqual(said, expected)

    def test_a_small_type_has_no_room_for_two_fixed_addresses(self):
        for file, letters in FILES.items():
            template = read(file)

            def said(**given):
                return list(Stack(template, **values(letters, **given)).broken_rules())

            last = letters[-1]
            one, two = {"EgressGroupA": "a"}, {"EgressGroupA": "a", f"EgressGroup{last}": "b"}
            own = {f"InstanceType{it}": "t4g.small" for it in letters}
            for fits in (one, {**two, "InstanceType": "t4g.small"}, {**two, **own}):
                self.assertEqual(said(**fits), [], file)
            [told] = said(**two)
            self.assertIn("use an InstanceType larger than micro", told)
            [told] = said(**two, InstanceType="t4g.small", InstanceTypeB="t3.micro")
            self.assertIn("use an InstanceTypeB larger than micro", told)


NOT_IN_MOTO = {"AWS::EC2::EIPAssociation", "AWS::CloudWatch::Alarm"}


def for_moto(stack):
    """The template as moto 5.2 can take it: conditions worked out, as it leaves nulls of them in
    lists; what a launch template says told to instances themselves, as it looks there alone; a size
    for volumes, as its images have none."""
    resources = copy.deepcopy(stack.resources)
    for resource in resources.values():
        if resource["Type"] == "AWS::EC2::LaunchTemplate":
            [volume] = resource["Properties"]["LaunchTemplateData"]["BlockDeviceMappings"]
            volume["Ebs"]["VolumeSize"] = 8
    for resource in resources.values():
        launch = resource.get("Properties", {}).get("LaunchTemplate")
        if resource["Type"] == "AWS::EC2::Instance":
            name = launch["LaunchTemplateId"]["Ref"]
            data = resources[name]["Properties"]["LaunchTemplateData"]
            told = {key: data[key] for key in ("ImageId", "InstanceType")}
            [interface] = data["NetworkInterfaces"]
            resource["Properties"] |= {**told, "SubnetId": interface["SubnetId"]}
            resource["Properties"]["SecurityGroupIds"] = interface["Groups"]
    return {"Resources": resources, "Outputs": stack.outputs}


class Deployed(unittest.TestCase):
    """Made by moto's CloudFormation: every reference leads somewhere, and what comes of it."""

    @classmethod
    def setUpClass(cls):
        moto = mock_aws()
        moto.start()
        cls.addClassCleanup(moto.stop)
        # It tells of NOT_IN_MOTO each time.
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        cls.addClassCleanup(logging.disable, logging.NOTSET)

    def deploy(self, file, letters, make):
        ec2 = boto3.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        image = ec2.register_image(Name=f"{make.__name__} {file}")["ImageId"]
        given = make(letters, VpcId=vpc, ImageId=image)
        for place, letter in enumerate(letters):
            zone, block = REGION + letter.lower(), f"10.0.{place}.0/24"
            made = ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=zone)
            given[f"SubnetId{letter}"] = made["Subnet"]["SubnetId"]
        stack = Stack(read(file), **given)
        client = boto3.client("cloudformation")
        name = f"{make.__name__}-{file.removesuffix('.yaml')}"
        client.create_stack(
            StackName=name,
            TemplateBody=json.dumps(for_moto(stack)),
            Capabilities=["CAPABILITY_IAM"],
        )
        [made] = client.describe_stacks(StackName=name)["Stacks"]
        self.assertEqual(made["StackStatus"], "CREATE_COMPLETE")
        resources = client.list_stack_resources(StackName=name)["StackResourceSummaries"]
        ids = {it["LogicalResourceId"]: it["PhysicalResourceId"] for it in resources}
        ids.pop("", None)
        known = {name for name, it in stack.resources.items() if it["Type"] not in NOT_IN_MOTO}
        self.assertEqual(set(ids), known)
        outputs = {it["OutputKey"]: it["OutputValue"] for it in made["Outputs"]}
        self.assertEqual(set(outputs), set(stack.outputs))
        return ec2, given | {"letters": letters}, ids, outputs

    def check_common(self, ec2, given, outputs):
        [group] = ec2.describe_security_groups(GroupIds=[outputs["SecurityGroupId"]])[
            "SecurityGroups"
        ]
        self.assertEqual(group["VpcId"], given["VpcId"])
        allowed = {
            (it["IpProtocol"], it.get("FromPort")): (
                [one["CidrIp"] for one in it["IpRanges"]]
                + [one["GroupId"] for one in it["UserIdGroupPairs"]]
            )
            for it in group["IpPermissions"]
        }
        own = [outputs["SecurityGroupId"]]
        expected = {
            ("udp", heartbeat_port()): own,
            ("udp", relay_port()): own,
            ("tcp", heartbeat_port()): own,
            ("icmp", 8): own,
            ("icmp", 3): ["0.0.0.0/0"],
            ("-1", None): ["10.0.0.0/16"],
        }
        self.assertEqual(allowed, expected)
        iam = boto3.client("iam")
        role = outputs["RoleArn"].rpartition("/")[2]
        [trust] = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(trust["Principal"], {"Service": "ec2.amazonaws.com"})
        [profile] = iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"]
        for letter in given["letters"]:
            data = self.launched(ec2, outputs[f"LaunchTemplateId{letter}"])
            self.assertEqual(data["IamInstanceProfile"]["Arn"], profile["Arn"])
        found = iam.get_role_policy(RoleName=role, PolicyName="natha")
        statements = {it["Sid"]: it for it in found["PolicyDocument"]["Statement"]}
        [route] = statements["MoveRoutes"]["Resource"]
        self.assertEqual(route, f"arn:aws:ec2:{REGION}:{ACCOUNT}:route-table/*")
        [place] = statements["MoveRoutes"]["Condition"]["ArnLike"]["ec2:Vpc"]
        self.assertEqual(place, f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/{given['VpcId']}")
        return statements

    def launched(self, ec2, identity):
        found = ec2.describe_launch_template_versions(LaunchTemplateId=identity, Versions=["1"])
        return found["LaunchTemplateVersions"][0]["LaunchTemplateData"]

    def test_instances(self):
        for file, letters in FILES.items():
            with self.subTest(file):
                ec2, given, _, outputs = self.deploy(file, letters, values)
                statements = self.check_common(ec2, given, outputs)
                self.assertIn("Repair", statements)
                for letter in letters:
                    found = ec2.describe_instances(InstanceIds=[outputs[f"InstanceId{letter}"]])
                    [instance] = found["Reservations"][0]["Instances"]
                    self.assertEqual(instance["SubnetId"], given[f"SubnetId{letter}"])
                    named = {"Name": f"blue-{letter.lower()}", "natha:cluster": "blue"}
                    own = {key: it for key, it in tags(instance["Tags"]).items() if key in named}
                    self.assertEqual(own, named)
                    found = ec2.describe_addresses(PublicIps=[outputs[f"Eip{letter}"]])
                    self.assertEqual(len(found["Addresses"]), 1)
                    data = self.launched(ec2, outputs[f"LaunchTemplateId{letter}"])
                    self.assertEqual(data["MetadataOptions"]["HttpTokens"], "required")
                    [interface] = data["NetworkInterfaces"]
                    self.assertEqual(interface["Groups"], [outputs["SecurityGroupId"]])

    def test_groups(self):
        for file, letters in FILES.items():
            with self.subTest(file):
                ec2, given, ids, outputs = self.deploy(file, letters, groups)
                statements = self.check_common(ec2, given, outputs)
                self.assertNotIn("Repair", statements)
                scaling = boto3.client("autoscaling")
                for letter in letters:
                    name = outputs[f"AutoScalingGroupName{letter}"]
                    found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
                    [group] = found["AutoScalingGroups"]
                    self.assertEqual(group["AvailabilityZones"], [REGION + letter.lower()])
                    self.assertEqual((group["MinSize"], group["MaxSize"]), (1, 1))
                    launch = outputs[f"LaunchTemplateId{letter}"]
                    self.assertEqual(group["LaunchTemplate"]["LaunchTemplateId"], launch)
                    interface = ids[f"Interface{letter}"]
                    [found] = self.launched(ec2, launch)["NetworkInterfaces"]
                    self.assertEqual(found["NetworkInterfaceId"], interface)
                    found = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])
                    [found] = found["NetworkInterfaces"]
                    self.assertEqual(found["SubnetId"], given[f"SubnetId{letter}"])


if __name__ == "__main__":
    unittest.main()
