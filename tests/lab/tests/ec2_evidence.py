"""Holds the lab's answers to what was recorded of AWS: evidence/shapes.json and answers.json.

Arguments: the endpoint, the id of a hosted zone. A shape names the members of one kind of thing in
the answers of AWS, as boto3 gives them: those that every answer had (`always`, of the answers that
have the member `since`, which AWS added at some time) and those that some had. The lab must have
the first and may have no others, but for what `lab_lacks` and `lab_adds` explain. An answer is a
text; what stands in braces in it is of the lab's own.
"""

import datetime
import functools
import json
import pathlib
import re
import sys
import time

from ec2_model import client, fault

HERE = pathlib.Path(__file__).parent / "evidence"
ENDPOINT, ZONE = sys.argv[1:3]
IMAGE = "ami-0123456789abcdef0"
ALL = "0.0.0.0/0"
ec2 = client(ENDPOINT)
QUESTIONS = {}


def question(text):
    def keep(function):
        assert text not in QUESTIONS, text
        QUESTIONS[text] = function
        return function

    return keep


def refused(call, *args, **kwargs):
    code, status, text = fault(call, *args, **kwargs)
    return f"{status} {code}: {text}"


def named(kind, name):
    return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]


class Site:
    """A VPC with an internet gateway, and a subnet with a route table and a node of its own."""

    def __init__(self, block="172.20.0.0/16"):
        self.block = block
        self.vpc = ec2.create_vpc(CidrBlock=block, TagSpecifications=named("vpc", "v"))["Vpc"]
        self.vpc = self.vpc["VpcId"]
        made = ec2.create_internet_gateway(TagSpecifications=named("internet-gateway", "g"))
        self.gateway = made["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)
        self.subnet = self.add_subnet(0)
        self.table = ec2.create_route_table(
            VpcId=self.vpc, TagSpecifications=named("route-table", "t"))
        self.table = self.table["RouteTable"]["RouteTableId"]
        ec2.associate_route_table(RouteTableId=self.table, SubnetId=self.subnet)

    @functools.cached_property
    def node(self):
        return self.run()

    @functools.cached_property
    def interface(self):
        """The node's."""
        return self.instance()["NetworkInterfaces"][0]["NetworkInterfaceId"]

    def add_subnet(self, number):
        first = self.block.split("/")[0].rsplit(".", 2)[0]
        made = ec2.create_subnet(
            VpcId=self.vpc, CidrBlock=f"{first}.{number}.0/24", AvailabilityZone="eu-central-1a",
            TagSpecifications=named("subnet", f"s{number}"))
        return made["Subnet"]["SubnetId"]

    def run(self, settle="running", **more):
        place = {"DeviceIndex": 0, "SubnetId": self.subnet, "AssociatePublicIpAddress": True}
        wanted = dict(
            ImageId=IMAGE, InstanceType="t4g.large", MinCount=1, MaxCount=1,
            IamInstanceProfile={"Name": "nodes"}, NetworkInterfaces=[place],
            TagSpecifications=named("instance", "node"))
        made = ec2.run_instances(**wanted | more)["Instances"][0]["InstanceId"]
        return self.settle(settle, made)

    def instance(self, node=None):
        found = ec2.describe_instances(InstanceIds=[node or self.node])["Reservations"]
        return found[0]["Instances"][0]

    def settle(self, wanted, node=None):
        deadline = time.monotonic() + 20
        while (state := self.instance(node)["State"]["Name"]) != wanted:
            assert time.monotonic() < deadline, f"{node} is {state} and not {wanted}"
            time.sleep(0.01)
        return node

    def stop(self):
        ec2.stop_instances(InstanceIds=[self.node])
        self.settle("stopped")

    def route(self, block, **target):
        return ec2.create_route(
            RouteTableId=self.table, DestinationCidrBlock=block, **target)

    def routes(self):
        return ec2.describe_route_tables(RouteTableIds=[self.table])["RouteTables"][0]["Routes"]

    def to(self, block):
        return next(r for r in self.routes() if r.get("DestinationCidrBlock") == block)

    def free_interface(self):
        made = ec2.create_network_interface(SubnetId=self.subnet)["NetworkInterface"]
        return made["NetworkInterfaceId"]

    def address(self):
        return ec2.allocate_address(Domain="vpc")["AllocationId"]

    def endpoint(self):
        return ec2.create_vpc_endpoint(
            VpcId=self.vpc, ServiceName="com.amazonaws.eu-central-1.s3",
            RouteTableIds=[self.table])["VpcEndpoint"]["VpcEndpointId"]

    def nat_gateway(self, address):
        made = ec2.create_nat_gateway(
            SubnetId=self.subnet, AllocationId=address,
            TagSpecifications=named("natgateway", "n"))["NatGateway"]["NatGatewayId"]
        deadline = time.monotonic() + 20
        while self.shown_gateway(made)["State"] != "available":
            assert time.monotonic() < deadline, f"{made} is not available"
            time.sleep(0.01)
        return made

    def shown_gateway(self, gateway):
        return ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"][0]

    def shown_interface(self, interface):
        found = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])
        return found["NetworkInterfaces"][0]

    def listed(self, call, what, key):
        found = call(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])[what]
        ids = [one[key] for one in found]
        assert len(ids) > 10, ids
        return "that of the ids" if ids == sorted(ids) else "not that of the ids"


def members(value, path=""):
    """The names of all members of an answer, those inside of others with their whole path."""
    found = set()
    if isinstance(value, dict):
        for name, inside in value.items():
            whole = f"{path}.{name}" if path else name
            found.add(whole)
            if name not in ("Tags", "TagSet"):
                found |= members(inside, whole)
    elif isinstance(value, list):
        for inside in value:
            found |= members(inside, path)
    return found


def stages(site):
    """The stages of an instance's life, one after the other, as the lab shows them."""
    found = {"instance, running": site.instance()}
    ec2.stop_instances(InstanceIds=[site.node])
    found["instance, stopping"] = site.instance()
    site.settle("stopped")
    found["instance, stopped"] = site.instance()
    ec2.terminate_instances(InstanceIds=[site.node])
    found["instance, shutting-down"] = site.instance()
    site.settle("terminated")
    found["instance, terminated"] = site.instance()
    for stage, shown in found.items():
        assert stage.endswith(f", {shown['State']['Name']}"), f"too late for {stage}: {shown}"
    return found


def answers():
    """One thing of each kind as the lab answers it."""
    site = Site()
    site.route(ALL, NetworkInterfaceId=site.interface)
    second = site.free_interface()
    associated, free = site.address(), site.address()
    ec2.associate_address(AllocationId=associated, NetworkInterfaceId=site.interface)
    ec2.attach_network_interface(
        NetworkInterfaceId=second, InstanceId=site.node, DeviceIndex=1)
    gateway = site.nat_gateway(site.address())
    own = site.shown_gateway(gateway)["NatGatewayAddresses"][0]["NetworkInterfaceId"]
    loose = site.free_interface()
    other = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    peer = ec2.create_vpc_peering_connection(VpcId=site.vpc, PeerVpcId=other)
    peer = peer["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    site.endpoint()
    for block, target in (
        ("10.1.0.0/16", {"GatewayId": site.gateway}), ("10.2.0.0/16", {"NatGatewayId": gateway}),
        ("10.3.0.0/16", {"NetworkInterfaceId": loose}),
        ("10.77.0.0/16", {"VpcPeeringConnectionId": peer}),
    ):
        site.route(block, **target)
    table = ec2.describe_route_tables(RouteTableIds=[site.table])["RouteTables"][0]
    addresses = {
        one["AllocationId"]: one
        for one in ec2.describe_addresses(AllocationIds=[associated, free])["Addresses"]}
    groups = ec2.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [site.vpc]}])["SecurityGroups"]
    gateways = ec2.describe_internet_gateways(InternetGatewayIds=[site.gateway])
    found = {
        "instance with two interfaces": site.instance(),
        "subnet": ec2.describe_subnets(SubnetIds=[site.subnet])["Subnets"][0],
        "Elastic IP address, associated": addresses[associated],
        "Elastic IP address, free": addresses[free],
        "network interface of an instance": site.shown_interface(site.interface),
        "network interface, free": site.shown_interface(loose),
        "network interface of a NAT gateway": site.shown_interface(own),
        "route table": table | {"Routes": []},
        "route to the VPC": site.to(site.block),
        "route to an internet gateway": site.to("10.1.0.0/16"),
        "route to an interface without an instance": site.to("10.3.0.0/16"),
        "route to an interface of an instance": site.to(ALL),
        "route to a NAT gateway": site.to("10.2.0.0/16"),
        "route to a gateway endpoint": next(
            r for r in table["Routes"] if "DestinationPrefixListId" in r),
        "route to a peering connection": site.to("10.77.0.0/16"),
        "NAT gateway": site.shown_gateway(gateway),
        "VPC": ec2.describe_vpcs(VpcIds=[site.vpc])["Vpcs"][0],
        "internet gateway": gateways["InternetGateways"][0],
        "security group": groups[0],
    }
    return found | stages(Site())


def check_shapes():
    shapes = json.loads((HERE / "shapes.json").read_text())
    known = {shape["kind"]: shape for shape in shapes["shapes"]}
    shown = answers()
    assert set(known) == set(shown), set(known) ^ set(shown)
    wrong = []
    for kind, shape in known.items():
        assert shape["source"] in shapes["sources"] and shape["answers"] > 0, kind
        lab, always = members(shown[kind]), set(shape["always"])
        lacks, adds = shape.get("lab_lacks", {}), shape.get("lab_adds", {})
        may = always | set(shape["sometimes"]) | set(adds)
        if newer := known.get(shape.get("newer")):
            may |= set(newer["always"]) | set(newer["sometimes"])
        wrong += [f"{kind}: the lab lacks {it}" for it in sorted(always - lab - set(lacks))]
        wrong += [f"{kind}: AWS has no {it}" for it in sorted(lab - may)]
        idle = (set(lacks) & lab) | (set(adds) - lab)
        wrong += [f"{kind}: {it} needs no explanation" for it in sorted(idle)]
    assert not wrong, "\n".join(wrong)
    return len(known)


def pattern(answer, own):
    """An answer of AWS with what is the lab's own in it, as far as the question tells that."""
    parts = re.split(r"\{(\w+)\}", answer)
    filled = (re.escape(own[name]) if name in own else "[^;]+" for name in parts[1::2])
    fixed = (re.escape(part) for part in parts[::2])
    return next(fixed) + "".join(one + other for one, other in zip(filled, fixed))


def check_answers():
    wanted = json.loads((HERE / "answers.json").read_text())
    wanted = {name: one for kind in wanted.values() for name, one in kind.items()}
    assert all(one["source"] for one in wanted.values()), "each answer has its source"
    assert set(wanted) == set(QUESTIONS), set(wanted) ^ set(QUESTIONS)
    wrong = []
    for name, ask in QUESTIONS.items():
        said, own = ask()
        if not re.fullmatch(pattern(wanted[name]["answer"], own), said):
            wrong.append(f"{name}: the lab says\n  {said}\nand AWS\n  {wanted[name]['answer']}")
    assert not wrong, "\n".join(wrong)
    return len(wanted)


@question("StopInstances of an instance that never ran")
def _():
    site = Site()
    node = site.run(settle="pending")
    return refused(ec2.stop_instances, InstanceIds=[node]), {"node": node}


@question("StopInstances while pending after a start")
def _():
    site = Site()
    site.stop()
    ec2.start_instances(InstanceIds=[site.node])
    assert site.instance()["State"]["Name"] == "pending"
    ec2.stop_instances(InstanceIds=[site.node])
    site.settle("stopped")
    return "ok", {}


def protected(attribute, call):
    site = Site()
    ec2.modify_instance_attribute(InstanceId=site.node, **{attribute: {"Value": True}})
    return refused(call, InstanceIds=[site.node]), {"node": site.node}


@question("StopInstances with stop protection")
def _():
    return protected("DisableApiStop", ec2.stop_instances)


@question("TerminateInstances with stop protection")
def _():
    return protected("DisableApiStop", ec2.terminate_instances)


@question("TerminateInstances with termination protection")
def _():
    return protected("DisableApiTermination", ec2.terminate_instances)


@question("TerminateInstances without ids")
def _():
    return refused(ec2.terminate_instances, InstanceIds=[]), {}


@question("StartInstances while stopping")
def _():
    site = Site()
    ec2.stop_instances(InstanceIds=[site.node])
    return refused(ec2.start_instances, InstanceIds=[site.node]), {"node": site.node}


@question("RunInstances on a Dedicated Host that is full")
def _():
    # The fault that the test has switched on is about this type.
    return refused(Site().run, InstanceType="mac2.metal"), {}


@question("Reasons of a stopped instance")
def _():
    site = Site()
    site.stop()
    shown = site.instance()
    reason = shown["StateReason"]
    told = f"{shown['StateTransitionReason']}; {reason['Code']}; {reason['Message']}"
    date = shown["StateTransitionReason"].removeprefix("User initiated (").removesuffix(" GMT)")
    datetime.datetime.strptime(date, "%Y-%m-%d %H:%M:%S")
    return told, {"date": date}


@question("RunInstances with an unknown image")
def _():
    return refused(Site().run, ImageId="ami-26fc345b"), {}


@question("RunInstances with an interface that is in use")
def _():
    site = Site()
    taken = [{"DeviceIndex": 0, "NetworkInterfaceId": site.interface}]
    return refused(site.run, NetworkInterfaces=taken), {"interface": site.interface}


@question("DescribeInstances of an unknown instance")
def _():
    node = "i-0123456789abcdef0"
    return refused(ec2.describe_instances, InstanceIds=[node]), {"node": node}


@question("Microseconds of a launch")
def _():
    return str(Site().instance()["LaunchTime"].microsecond), {}


def tags(shown, name="Tags"):
    return ("some" if shown[name] else "empty") if name in shown else "none"


@question("Tags of an instance without tags")
def _():
    site = Site()
    ec2.delete_tags(Resources=[site.node])
    return tags(site.instance()), {}


@question("Tags of an Elastic IP address without tags")
def _():
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    return tags(ec2.describe_addresses(AllocationIds=[address])["Addresses"][0]), {}


@question("Tags of a route table without tags")
def _():
    made = ec2.create_route_table(VpcId=Site().vpc)["RouteTable"]["RouteTableId"]
    return tags(ec2.describe_route_tables(RouteTableIds=[made])["RouteTables"][0]), {}


@question("Tags of a network interface without tags")
def _():
    site = Site()
    return tags(site.shown_interface(site.free_interface()), "TagSet"), {}


@question("Order of the routes of a table")
def _():
    site = Site()
    site.endpoint()
    for block in (ALL, "10.244.1.0/24"):
        site.route(block, GatewayId=site.gateway)
    routes = site.routes()
    return " ".join(r.get("DestinationCidrBlock", "prefix list") for r in routes), {}


@question("Order of a VPC's route tables")
def _():
    site = Site()
    for _ in range(12):
        ec2.create_route_table(VpcId=site.vpc)
    return site.listed(ec2.describe_route_tables, "RouteTables", "RouteTableId"), {}


@question("Order of a VPC's subnets")
def _():
    site = Site()
    for number in range(1, 13):
        site.add_subnet(number)
    return site.listed(ec2.describe_subnets, "Subnets", "SubnetId"), {}


@question("Order of a VPC's network interfaces")
def _():
    site = Site()
    for _ in range(12):
        site.free_interface()
    listed = ec2.describe_network_interfaces
    return site.listed(listed, "NetworkInterfaces", "NetworkInterfaceId"), {}


@question("State of a route to an interface without an instance")
def _():
    site = Site()
    site.route("10.244.1.0/24", NetworkInterfaceId=site.free_interface())
    return site.to("10.244.1.0/24")["State"], {}


def route(block="10.244.1.0/24", **target):
    site = Site()
    return refused(site.route, block, **target or {"GatewayId": site.gateway}), {}


@question("CreateRoute to an unknown gateway")
def _():
    return route(GatewayId="eni-00a00a0a")


@question("CreateRoute with GatewayId local")
def _():
    return route(GatewayId="local")


@question("CreateRoute of the VPC's block to a gateway")
def _():
    site = Site()
    return refused(site.route, site.block, GatewayId=site.gateway), {}


@question("CreateRoute with a NAT gateway as GatewayId")
def _():
    site = Site()
    gateway = site.nat_gateway(site.address())
    site.route("10.244.1.0/24", GatewayId=gateway)
    shown = site.to("10.244.1.0/24")
    return next(name for name, value in shown.items() if value == gateway), {}


@question("CreateRoute of a route that exists")
def _():
    site = Site()
    site.route(ALL, GatewayId=site.gateway)
    return refused(site.route, ALL, GatewayId=site.gateway), {}


@question("CreateRoute with an empty destination")
def _():
    return route("")


@question("CreateRoute with a destination of IPv6 as one of IPv4")
def _():
    return route("::/0")


@question("CreateRoute without a table")
def _():
    site = Site()
    site.table = ""
    return refused(site.route, ALL, GatewayId=site.gateway), {}


@question("CreateRoute to an unknown transit gateway")
def _():
    return route(TransitGatewayId="tgw-0ed3542b6387ea752")


@question("ReplaceRoute of a route that does not exist")
def _():
    site = Site()
    there = dict(RouteTableId=site.table, DestinationCidrBlock="192.168.0.0/16")
    return refused(ec2.replace_route, **there, GatewayId=site.gateway), {}


@question("CreateTags without resources")
def _():
    return refused(ec2.create_tags, Resources=[], Tags=[{"Key": "a", "Value": "b"}]), {}


@question("DeleteSecurityGroup of an unknown group")
def _():
    return refused(ec2.delete_security_group, GroupId="sg-22992c53"), {}


@question("DescribeSecurityGroups of an unknown group")
def _():
    return refused(ec2.describe_security_groups, GroupIds=["sg-22992c53"]), {}


@question("DescribeSubnets of an unknown subnet")
def _():
    return refused(ec2.describe_subnets, SubnetIds=["subnet-06261c743949f093d"]), {}


@question("DeleteSubnet of a subnet in use")
def _():
    site = Site()
    site.free_interface()
    return refused(ec2.delete_subnet, SubnetId=site.subnet), {"subnet": site.subnet}


@question("DescribeInternetGateways of an unknown gateway")
def _():
    return refused(ec2.describe_internet_gateways, InternetGatewayIds=["igw-5bce113f"]), {}


@question("DeleteInternetGateway of a gateway in use")
def _():
    gateway = Site().gateway
    return refused(ec2.delete_internet_gateway, InternetGatewayId=gateway), {"gateway": gateway}


@question("DescribeNetworkInterfaces of an unknown interface")
def _():
    return refused(ec2.describe_network_interfaces, NetworkInterfaceIds=["eni-d834cdcf"]), {}


@question("ReleaseAddress of an unknown address")
def _():
    return refused(ec2.release_address, AllocationId="eipalloc-bbaf95b2"), {}


@question("AssociateAddress of a NAT gateway's address")
def _():
    site = Site()
    address = site.address()
    site.nat_gateway(address)
    there = dict(AllocationId=address, NetworkInterfaceId=site.free_interface())
    return refused(ec2.associate_address, **there), {}


@question("AssociateAddress in a VPC without an internet gateway")
def _():
    vpc = ec2.create_vpc(CidrBlock="10.78.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.78.0.0/24")["Subnet"]["SubnetId"]
    made = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]
    there = dict(NetworkInterfaceId=made["NetworkInterfaceId"])
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    return refused(ec2.associate_address, AllocationId=address, **there), {"vpc": vpc}


@question("AssociateAddress with AllowReassociation false to another interface")
def _():
    site = Site()
    address = site.address()
    first = dict(AllocationId=address, NetworkInterfaceId=site.free_interface())
    made = ec2.associate_address(**first)
    there = dict(NetworkInterfaceId=site.free_interface(), AllowReassociation=False)
    own = {"address": address, "association": made["AssociationId"]}
    return refused(ec2.associate_address, AllocationId=address, **there), own


@question("DisassociateAddress of an unknown association")
def _():
    return refused(ec2.disassociate_address, AssociationId="eipassoc-c4186cf0"), {}


@question("AssignPrivateIpAddresses of a taken address")
def _():
    site = Site("10.0.0.0/16")
    one = dict(PrivateIpAddresses=["10.0.0.50"])
    ec2.assign_private_ip_addresses(NetworkInterfaceId=site.free_interface(), **one)
    other = site.free_interface()
    return refused(ec2.assign_private_ip_addresses, NetworkInterfaceId=other, **one), {}


@question("Interface of a NAT gateway")
def _():
    site = Site()
    gateway = site.nat_gateway(site.address())
    own = site.shown_gateway(gateway)["NatGatewayAddresses"][0]["NetworkInterfaceId"]
    shown = site.shown_interface(own)
    attachment = shown["Attachment"]
    told = [shown["InterfaceType"], shown["Description"], attachment["InstanceOwnerId"]]
    told.append(attachment["AttachmentId"].rsplit("-", 1)[0])
    return "; ".join(told), {"gateway": gateway}


@question("Unknown action")
def _():
    return refused(ec2.describe_managed_prefix_lists), {}


@question("Call over its rate")
def _():
    # The fault that the test has switched on is about this id.
    unlucky = dict(VpcIds=["vpc-0123456789abcdef0"])
    return refused(ec2.describe_vpcs, **unlucky), {"account": "123456789012"}


@question("UPSERT of an A record that is no address")
def _():
    dns = client(ENDPOINT, service="route53", region="us-east-1")
    record = {"Name": "db.example.test", "Type": "A", "TTL": 5,
              "ResourceRecords": [{"Value": "300.1.1.1"}]}
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
    change = dns.change_resource_record_sets
    return refused(change, HostedZoneId=ZONE, ChangeBatch=batch), {}


print(f"{check_shapes()} shapes and {check_answers()} answers are as recorded")
