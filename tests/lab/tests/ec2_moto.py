"""Asks the lab and moto the same questions and prints both answers as JSON.

Arguments: the lab's endpoint, the id of a hosted zone in it. Each probe builds what it needs in a fresh VPC and returns a short
text: what a caller of the API would see. The Rust test compares the texts with docs/lab.md.
"""

import itertools
import json
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from ec2_model import client, outcome

try:
    import moto
    from moto.server import ThreadedMotoServer
except ImportError as error:
    sys.exit(f"moto[server] is needed and missing ({error}): set NATHA_PYTHON")

PROBES = {}
ALL = "0.0.0.0/0"
FREE = "10.0.0.50"
ZONE = "example.test"


def probe(name, place=None):
    """Asks in a fresh place: a `Site`, or `Records`."""

    def keep(function):
        assert name not in PROBES, name
        PROBES[name] = (function, place or Site)
        return function

    return keep


class Records:
    """A name of its own in the hosted zone."""

    numbers = itertools.count(1)

    def __init__(self, ec2, image, dns, zone):
        self.dns, self.zone = dns, zone
        self.record = f"r{next(Records.numbers)}.{ZONE}"

    def change(self, action, value="192.0.2.1", name=None):
        record = {"Name": name or self.record, "Type": "A", "TTL": 5,
                  "ResourceRecords": [{"Value": value}]}
        return self.dns.change_resource_record_sets(HostedZoneId=self.zone, ChangeBatch={
            "Changes": [{"Action": action, "ResourceRecordSet": record}]})["ChangeInfo"]


class Site:
    """A VPC with two nodes, a private table and a default route to the first node."""

    def __init__(self, ec2, image, *_):
        self.ec2, self.image = ec2, image
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.add_subnet("10.0.0.0/24", "eu-central-1a")
        self.far = self.add_subnet("10.0.2.0/24", "eu-central-1b")
        self.table = ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.nodes = [self.run(self.subnet), self.run(self.subnet)]
        self.enis = [self.describe(node)["NetworkInterfaces"][0]["NetworkInterfaceId"]
                     for node in self.nodes]
        self.create(NetworkInterfaceId=self.enis[0])

    def add_subnet(self, block, zone):
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=block, AvailabilityZone=zone)
        return made["Subnet"]["SubnetId"]

    def run(self, subnet):
        made = self.ec2.run_instances(
            ImageId=self.image, InstanceType="t4g.large", MinCount=1, MaxCount=1, SubnetId=subnet)
        node = made["Instances"][0]["InstanceId"]
        self.settle(node, "running")
        return node

    def second_interface(self, node):
        made = self.ec2.create_network_interface(SubnetId=self.subnet)["NetworkInterface"]
        self.ec2.attach_network_interface(
            NetworkInterfaceId=made["NetworkInterfaceId"], InstanceId=node, DeviceIndex=1)
        return made["NetworkInterfaceId"]

    def describe(self, node):
        answer = self.ec2.describe_instances(InstanceIds=[node])
        return answer["Reservations"][0]["Instances"][0]

    def state(self, node):
        return self.describe(node)["State"]["Name"]

    def settle(self, node, wanted):
        deadline = time.monotonic() + 20
        while self.state(node) != wanted:
            assert time.monotonic() < deadline, f"{node} did not become {wanted}"
            time.sleep(0.02)

    def stop(self, node):
        self.ec2.stop_instances(InstanceIds=[node])
        self.settle(node, "stopped")

    def terminate(self, node):
        self.ec2.terminate_instances(InstanceIds=[node])
        self.settle(node, "terminated")

    def create(self, block=ALL, **target):
        return self.ec2.create_route(
            RouteTableId=self.table, DestinationCidrBlock=block, **target)

    def replace(self, block=ALL, **target):
        return self.ec2.replace_route(
            RouteTableId=self.table, DestinationCidrBlock=block, **target)

    def gateway(self):
        """An internet gateway of the VPC."""
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        return gateway

    def elastic(self):
        """An Elastic IP address, in a VPC that has a gateway."""
        self.gateway()
        return self.ec2.allocate_address(Domain="vpc")["AllocationId"]

    def associate(self, eip, eni, **more):
        return self.ec2.associate_address(AllocationId=eip, NetworkInterfaceId=eni, **more)

    def address(self, eip):
        return self.ec2.describe_addresses(AllocationIds=[eip])["Addresses"][0]

    def at(self, eip):
        """Which interface has an Elastic IP address."""
        holder = self.address(eip).get("NetworkInterfaceId")
        return dict(zip(self.enis, "ab")).get(holder, "nobody")

    def nat_gateway(self, eip):
        """A NAT gateway with this address, once it forwards."""
        made = self.ec2.create_nat_gateway(SubnetId=self.subnet, AllocationId=eip)["NatGateway"]
        self.settle_gateway(made["NatGatewayId"], ["available"])
        return made["NatGatewayId"]

    def delete_gateway(self, gateway):
        self.ec2.delete_nat_gateway(NatGatewayId=gateway)
        self.settle_gateway(gateway, ["deleted", "gone"])

    def settle_gateway(self, gateway, wanted):
        deadline = time.monotonic() + 20
        while self.gateway_state(gateway) not in wanted:
            assert time.monotonic() < deadline, f"{gateway} did not become {wanted}"
            time.sleep(0.02)

    def gateway_state(self, gateway):
        ids = [{"Name": "nat-gateway-id", "Values": [gateway]}]
        found = self.ec2.describe_nat_gateways(Filters=ids)["NatGateways"]
        return found[0]["State"] if found else "gone"

    def assign(self, eni, address=FREE, **more):
        return self.ec2.assign_private_ip_addresses(
            NetworkInterfaceId=eni, PrivateIpAddresses=[address], **more)

    def private(self, eni):
        answer = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])
        return [p["PrivateIpAddress"] for p in answer["NetworkInterfaces"][0]["PrivateIpAddresses"]]

    def holders(self, address=FREE):
        """Which interfaces have a private address."""
        return " ".join(n for n, eni in zip("ab", self.enis) if address in self.private(eni))

    def routes(self):
        answer = self.ec2.describe_route_tables(RouteTableIds=[self.table])
        return {r["DestinationCidrBlock"]: r for r in answer["RouteTables"][0]["Routes"]}

    def holder(self):
        route = self.routes().get(ALL, {})
        names = dict(zip(self.enis + self.nodes, "abab"))
        target = route.get("NetworkInterfaceId") or route.get("InstanceId")
        return names.get(target, "nobody")


@probe("ReplaceRoute with DryRun")
def _(site):
    code = outcome(site.replace, NetworkInterfaceId=site.enis[1], DryRun=True)
    return f"{code}, route at {site.holder()}"


@probe("DeleteRoute with DryRun")
def _(site):
    code = outcome(site.ec2.delete_route, RouteTableId=site.table, DestinationCidrBlock=ALL,
                   DryRun=True)
    return f"{code}, route at {site.holder()}"


@probe("CreateRoute with DryRun")
def _(site):
    code = outcome(site.create, "192.168.0.0/16", NetworkInterfaceId=site.enis[0], DryRun=True)
    return f"{code}, {'made' if '192.168.0.0/16' in site.routes() else 'not made'}"


@probe("DescribeRouteTables with DryRun")
def _(site):
    return outcome(site.ec2.describe_route_tables, DryRun=True)


@probe("Fields of a route made by interface")
def _(site):
    return " ".join(sorted(set(site.routes()[ALL]) - {"DestinationCidrBlock"}))


@probe("State of a route to a stopped instance")
def _(site):
    site.stop(site.nodes[0])
    return site.routes()[ALL]["State"]


@probe("State of a route to a terminated instance")
def _(site):
    site.terminate(site.nodes[0])
    return site.routes().get(ALL, {}).get("State", "no route")


@probe("State just after StopInstances")
def _(site):
    site.ec2.stop_instances(InstanceIds=[site.nodes[0]])
    return site.state(site.nodes[0])


@probe("StartInstances while stopping or stopped")
def _(site):
    site.ec2.stop_instances(InstanceIds=[site.nodes[0]])
    return outcome(site.ec2.start_instances, InstanceIds=[site.nodes[0]])


@probe("StartInstances of a terminated instance")
def _(site):
    site.terminate(site.nodes[0])
    return outcome(site.ec2.start_instances, InstanceIds=[site.nodes[0]])


@probe("RebootInstances of a stopped instance")
def _(site):
    site.stop(site.nodes[0])
    code = outcome(site.ec2.reboot_instances, InstanceIds=[site.nodes[0]])
    return f"{code}, {site.state(site.nodes[0])}"


@probe("Current state in the answer to StopInstances when stopped")
def _(site):
    site.stop(site.nodes[0])
    answer = site.ec2.stop_instances(InstanceIds=[site.nodes[0]])
    return answer["StoppingInstances"][0]["CurrentState"]["Name"]


@probe("Route by InstanceId with two interfaces")
def _(site):
    site.second_interface(site.nodes[1])
    return outcome(site.replace, InstanceId=site.nodes[1])


@probe("ModifyInstanceAttribute SourceDestCheck with two interfaces")
def _(site):
    site.second_interface(site.nodes[1])
    return outcome(site.ec2.modify_instance_attribute, InstanceId=site.nodes[1],
                   SourceDestCheck={"Value": False})


@probe("SourceDestCheck on the interface after ModifyInstanceAttribute")
def _(site):
    site.ec2.modify_instance_attribute(
        InstanceId=site.nodes[0], SourceDestCheck={"Value": False})
    answer = site.ec2.describe_network_interfaces(NetworkInterfaceIds=[site.enis[0]])
    return str(answer["NetworkInterfaces"][0]["SourceDestCheck"]).lower()


@probe("ReplaceRoute without a target")
def _(site):
    return f"{outcome(site.replace)}, route at {site.holder()}"


@probe("ReplaceRoute with two targets")
def _(site):
    code = outcome(site.replace, NetworkInterfaceId=site.enis[1], InstanceId=site.nodes[1])
    return f"{code}, route at {site.holder()}"


@probe("CreateRoute of a /32 inside the VPC")
def _(site):
    return outcome(site.create, "10.0.0.200/32", NetworkInterfaceId=site.enis[0])


@probe("CreateRoute of 169.254.169.254/32")
def _(site):
    return outcome(site.create, "169.254.169.254/32", NetworkInterfaceId=site.enis[0])


@probe("CreateRoute of a /32 outside of the VPC")
def _(site):
    return outcome(site.create, "192.168.100.1/32", NetworkInterfaceId=site.enis[0])


@probe("CreateRoute of 100.68.0.18/18 is kept as")
def _(site):
    site.create("100.68.0.18/18", NetworkInterfaceId=site.enis[0])
    return next(block for block in site.routes() if block.startswith("100."))


@probe("CreateRoute to an interface of another VPC")
def _(site):
    other = Site(site.ec2, site.image)
    return outcome(site.create, "192.168.0.0/16", NetworkInterfaceId=other.enis[0])


@probe("CreateRoute of the VPC's block to a gateway")
def _(site):
    return outcome(site.create, "10.0.0.0/16", GatewayId=site.gateway())


@probe("CreateRoute with GatewayId local")
def _(site):
    return outcome(site.create, "192.168.0.0/16", GatewayId="local")


@probe("CreateRoute with a NAT gateway as GatewayId")
def _(site):
    gateway = site.nat_gateway(site.elastic())
    site.create("192.168.0.0/16", GatewayId=gateway)
    shown = site.routes()["192.168.0.0/16"]
    return next((name for name, value in shown.items() if value == gateway), "no member")


@probe("CreateRoute of a route that exists")
def _(site):
    return outcome(site.create, NetworkInterfaceId=site.enis[1])


@probe("ReplaceRoute of a route that does not exist")
def _(site):
    return outcome(site.replace, "192.168.0.0/16", NetworkInterfaceId=site.enis[1])


@probe("DeleteRoute of a route that does not exist")
def _(site):
    return outcome(site.ec2.delete_route, RouteTableId=site.table,
                   DestinationCidrBlock="192.168.0.0/16")


@probe("ReplaceRoute of an unknown table")
def _(site):
    return outcome(site.ec2.replace_route, RouteTableId="rtb-0123456789abcdef0",
                   DestinationCidrBlock=ALL, NetworkInterfaceId=site.enis[0])


@probe("ReplaceRoute to an unknown interface")
def _(site):
    return outcome(site.replace, NetworkInterfaceId="eni-0123456789abcdef0")


@probe("DescribeInstances of an unknown instance")
def _(site):
    return outcome(site.ec2.describe_instances, InstanceIds=["i-0123456789abcdef0"])


@probe("StopInstances with stop protection")
def _(site):
    site.ec2.modify_instance_attribute(InstanceId=site.nodes[0], DisableApiStop={"Value": True})
    return outcome(site.ec2.stop_instances, InstanceIds=[site.nodes[0]])


@probe("TerminateInstances with stop protection")
def _(site):
    site.ec2.modify_instance_attribute(InstanceId=site.nodes[0], DisableApiStop={"Value": True})
    return outcome(site.ec2.terminate_instances, InstanceIds=[site.nodes[0]])


@probe("RunInstances with an unknown image")
def _(site):
    return outcome(site.ec2.run_instances, ImageId="ami-26fc345b", MinCount=1, MaxCount=1,
                   SubnetId=site.subnet)


@probe("DescribeInstanceStatus lists a stopped instance")
def _(site):
    site.stop(site.nodes[0])
    ask = site.ec2.describe_instance_status
    plain = len(ask(InstanceIds=[site.nodes[0]])["InstanceStatuses"])
    every = len(ask(InstanceIds=[site.nodes[0]], IncludeAllInstances=True)["InstanceStatuses"])
    return f"{plain} of 1, with IncludeAllInstances {every} of 1"


@probe("AttachedEbsStatus of a running instance")
def _(site):
    answer = site.ec2.describe_instance_status(InstanceIds=[site.nodes[0]])
    status = answer["InstanceStatuses"][0].get("AttachedEbsStatus", {})
    return status.get("Status", "missing")


@probe("Filter route.instance-id")
def _(site):
    filters = [{"Name": "route.instance-id", "Values": [site.nodes[0]]}]
    return outcome(site.ec2.describe_route_tables, Filters=filters)


@probe("Filter route.state")
def _(site):
    filters = [{"Name": "route.state", "Values": ["blackhole"]}]
    return outcome(site.ec2.describe_route_tables, Filters=filters)


@probe("Filter that does not exist")
def _(site):
    filters = [{"Name": "colour", "Values": ["red"]}]
    return outcome(site.ec2.describe_route_tables, Filters=filters)


@probe("Filter availability-zone of instances")
def _(site):
    filters = [{"Name": "availability-zone", "Values": ["eu-central-1a"]},
               {"Name": "vpc-id", "Values": [site.vpc]}]
    answer = site.ec2.describe_instances(Filters=filters)
    return f"{sum(len(r['Instances']) for r in answer['Reservations'])} of 2"


@probe("Filter route.destination-cidr-block")
def _(site):
    filters = [{"Name": "route.destination-cidr-block", "Values": [ALL]},
               {"Name": "vpc-id", "Values": [site.vpc]}]
    return f"{len(site.ec2.describe_route_tables(Filters=filters)['RouteTables'])} of 1"


@probe("Filter association.subnet-id")
def _(site):
    site.ec2.associate_route_table(RouteTableId=site.table, SubnetId=site.far)
    filters = [{"Name": "association.subnet-id", "Values": [site.far]}]
    return f"{len(site.ec2.describe_route_tables(Filters=filters)['RouteTables'])} of 1"


@probe("Filter by tag")
def _(site):
    site.ec2.create_tags(Resources=[site.table], Tags=[{"Key": "k", "Value": site.table}])
    filters = [{"Name": "tag:k", "Values": [site.table]}]
    return f"{len(site.ec2.describe_route_tables(Filters=filters)['RouteTables'])} of 1"


@probe("DescribeRouteTables with MaxResults 5 of 8 tables")
def _(site):
    for _ in range(6):
        site.ec2.create_route_table(VpcId=site.vpc)
    filters = [{"Name": "vpc-id", "Values": [site.vpc]}]
    answer = site.ec2.describe_route_tables(MaxResults=5, Filters=filters)
    more = "and a token" if "NextToken" in answer else "no token"
    return f"{len(answer['RouteTables'])}, {more}"


@probe("AttachNetworkInterface to a second instance")
def _(site):
    eni = site.second_interface(site.nodes[0])
    return outcome(site.ec2.attach_network_interface, NetworkInterfaceId=eni,
                   InstanceId=site.nodes[1], DeviceIndex=1)


@probe("AttachNetworkInterface across zones")
def _(site):
    made = site.ec2.create_network_interface(SubnetId=site.far)["NetworkInterface"]
    return outcome(site.ec2.attach_network_interface, InstanceId=site.nodes[0], DeviceIndex=1,
                   NetworkInterfaceId=made["NetworkInterfaceId"])


@probe("Unknown action")
def _(site):
    return outcome(site.ec2.modify_instance_maintenance_options, InstanceId=site.nodes[0])


@probe("Private address after stop and start")
def _(site):
    before = site.describe(site.nodes[0])["PrivateIpAddress"]
    site.stop(site.nodes[0])
    site.ec2.start_instances(InstanceIds=[site.nodes[0]])
    site.settle(site.nodes[0], "running")
    return "kept" if site.describe(site.nodes[0])["PrivateIpAddress"] == before else "lost"


@probe("Wrong secret key")
def _(site):
    return outcome(client(site.ec2.meta.endpoint_url, secret="wrong").describe_vpcs)


@probe("AssociateAddress to another interface")
def _(site):
    eip = site.elastic()
    site.associate(eip, site.enis[0])
    return f"{outcome(site.associate, eip, site.enis[1])}, address at {site.at(eip)}"


@probe("AssociateAddress with AllowReassociation false to another interface")
def _(site):
    eip = site.elastic()
    site.associate(eip, site.enis[0])
    code = outcome(site.associate, eip, site.enis[1], AllowReassociation=False)
    return f"{code}, address at {site.at(eip)}"


@probe("AssociateAddress to the same interface again")
def _(site):
    eip = site.elastic()
    site.associate(eip, site.enis[0])
    return f"{outcome(site.associate, eip, site.enis[0])}, address at {site.at(eip)}"


@probe("AssociateAddress with DryRun")
def _(site):
    eip = site.elastic()
    return f"{outcome(site.associate, eip, site.enis[0], DryRun=True)}, address at {site.at(eip)}"


@probe("AssociateAddress to a private address that the interface does not have")
def _(site):
    return outcome(site.associate, site.elastic(), site.enis[0], PrivateIpAddress="10.0.0.77")


@probe("AssociateAddress by InstanceId with two interfaces")
def _(site):
    site.second_interface(site.nodes[1])
    return outcome(site.ec2.associate_address, AllocationId=site.elastic(),
                   InstanceId=site.nodes[1])


@probe("AssociateAddress in a VPC without an internet gateway")
def _(site):
    eip = site.ec2.allocate_address(Domain="vpc")["AllocationId"]
    return outcome(site.associate, eip, site.enis[0])


@probe("AssociateAddress of an unknown allocation")
def _(site):
    return outcome(site.associate, "eipalloc-0123456789abcdef0", site.enis[0])


@probe("DisassociateAddress of an unknown association")
def _(site):
    return outcome(site.ec2.disassociate_address, AssociationId="eipassoc-0123456789abcdef0")


@probe("Instances that show an Elastic IP address after its move")
def _(site):
    eip = site.elastic()
    for eni in site.enis:
        site.associate(eip, eni, AllowReassociation=True)
    public = site.address(eip)["PublicIp"]
    shown = [site.describe(node).get("PublicIpAddress") == public for node in site.nodes]
    return " ".join(name for name, yes in zip("ab", shown) if yes)


@probe("Elastic IP address of a stopped instance")
def _(site):
    eip = site.elastic()
    site.associate(eip, site.enis[0])
    site.stop(site.nodes[0])
    public = site.address(eip)["PublicIp"]
    shown = site.describe(site.nodes[0]).get("PublicIpAddress")
    return f"at {site.at(eip)}, {'shown' if shown == public else 'not shown'}"


@probe("Elastic IP address of a terminated instance")
def _(site):
    eip = site.elastic()
    site.associate(eip, site.enis[0])
    site.terminate(site.nodes[0])
    return f"at {site.at(eip)}"


@probe("Filter instance-id of addresses")
def _(site):
    site.associate(site.elastic(), site.enis[0])
    filters = [{"Name": "instance-id", "Values": [site.nodes[0]]}]
    return f"{len(site.ec2.describe_addresses(Filters=filters)['Addresses'])} of 1"


@probe("AssignPrivateIpAddresses answers with")
def _(site):
    answer = site.assign(site.enis[0])["AssignedPrivateIpAddresses"]
    return "the new address" if [a["PrivateIpAddress"] for a in answer] == [FREE] else "others, too"


@probe("AssignPrivateIpAddresses of a taken address")
def _(site):
    site.assign(site.enis[0])
    return f"{outcome(site.assign, site.enis[1])}, address at {site.holders()}"


@probe("AssignPrivateIpAddresses of a taken address with AllowReassignment")
def _(site):
    site.assign(site.enis[0])
    code = outcome(site.assign, site.enis[1], AllowReassignment=True)
    return f"{code}, address at {site.holders()}"


@probe("AssignPrivateIpAddresses of another's primary address with AllowReassignment")
def _(site):
    own = site.private(site.enis[0])[0]
    code = outcome(site.assign, site.enis[1], own, AllowReassignment=True)
    return f"{code}, address at {site.holders(own)}"


@probe("AssignPrivateIpAddresses outside of the subnet")
def _(site):
    return outcome(site.assign, site.enis[0], "10.0.2.50")


@probe("UnassignPrivateIpAddresses of the primary address")
def _(site):
    own = site.private(site.enis[0])[:1]
    return outcome(site.ec2.unassign_private_ip_addresses, NetworkInterfaceId=site.enis[0],
                   PrivateIpAddresses=own)


@probe("UnassignPrivateIpAddresses of an address that is not there")
def _(site):
    return outcome(site.ec2.unassign_private_ip_addresses, NetworkInterfaceId=site.enis[0],
                   PrivateIpAddresses=[FREE])


@probe("Elastic IP address of a private address that moves")
def _(site):
    eip = site.elastic()
    site.assign(site.enis[0])
    site.associate(eip, site.enis[0], PrivateIpAddress=FREE)
    site.assign(site.enis[1], AllowReassignment=True)
    return f"at {site.at(eip)}"


@probe("Filter addresses.private-ip-address with a secondary address")
def _(site):
    site.assign(site.enis[0])
    filters = [{"Name": "addresses.private-ip-address", "Values": [FREE]},
               {"Name": "vpc-id", "Values": [site.vpc]}]
    found = site.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
    return f"{len(found)} of 1"


@probe("State of a route to a deleted NAT gateway")
def _(site):
    gateway = site.nat_gateway(site.elastic())
    site.replace(NatGatewayId=gateway)
    site.delete_gateway(gateway)
    return site.routes()[ALL]["State"]


@probe("AssociateAddress of a NAT gateway's address")
def _(site):
    eip = site.elastic()
    site.nat_gateway(eip)
    return outcome(site.associate, eip, site.enis[0])


@probe("Elastic IP address of a deleted NAT gateway")
def _(site):
    eip = site.elastic()
    site.delete_gateway(site.nat_gateway(eip))
    return "free" if "AssociationId" not in site.address(eip) else "in use"


@probe("Local routes after AssociateVpcCidrBlock")
def _(site):
    site.ec2.associate_vpc_cidr_block(VpcId=site.vpc, CidrBlock="100.64.0.0/16")
    local = [block for block, route in site.routes().items() if route.get("GatewayId") == "local"]
    return " ".join(sorted(local))


@probe("AssociateVpcCidrBlock of a block that overlaps")
def _(site):
    return outcome(
        site.ec2.associate_vpc_cidr_block, VpcId=site.vpc, CidrBlock="10.0.128.0/20")


@probe("DisassociateVpcCidrBlock of the first block")
def _(site):
    vpc = site.ec2.describe_vpcs(VpcIds=[site.vpc])["Vpcs"][0]
    first = vpc["CidrBlockAssociationSet"][0]["AssociationId"]
    return outcome(site.ec2.disassociate_vpc_cidr_block, AssociationId=first)


@probe("State of a route to a transit gateway without attachment")
def _(site):
    transit = site.ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    made = site.ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=transit, VpcId=site.vpc, SubnetIds=[site.subnet])
    site.create("10.0.0.0/8", TransitGatewayId=transit)
    attachment = made["TransitGatewayVpcAttachment"]["TransitGatewayAttachmentId"]
    site.ec2.delete_transit_gateway_vpc_attachment(TransitGatewayAttachmentId=attachment)
    return site.routes()["10.0.0.0/8"]["State"]


@probe("Origins of two routes to 0.0.0.0/0, one of them propagated")
def _(site):
    private = site.ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"]
    site.ec2.attach_vpn_gateway(VpcId=site.vpc, VpnGatewayId=private)
    site.ec2.enable_vgw_route_propagation(RouteTableId=site.table, GatewayId=private)
    answer = site.ec2.describe_route_tables(RouteTableIds=[site.table])
    routes = answer["RouteTables"][0]["Routes"]
    return " ".join(sorted(r["Origin"] for r in routes if r["DestinationCidrBlock"] == ALL))


def endpoint(site):
    made = site.ec2.create_vpc_endpoint(
        VpcId=site.vpc, ServiceName="com.amazonaws.eu-central-1.s3", VpcEndpointType="Gateway",
        RouteTableIds=[site.table])
    return made["VpcEndpoint"]["VpcEndpointId"]


def endpoint_route(site):
    answer = site.ec2.describe_route_tables(RouteTableIds=[site.table])
    found = [r for r in answer["RouteTables"][0]["Routes"] if "DestinationPrefixListId" in r]
    return f"prefix list, {found[0]['State']}" if found else "none"


@probe("Route of a gateway endpoint")
def _(site):
    endpoint(site)
    return endpoint_route(site)


@probe("Route of a deleted gateway endpoint")
def _(site):
    site.ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint(site)])
    return endpoint_route(site)


@probe("CREATE of a record that exists", Records)
def _(site):
    site.change("CREATE")
    return outcome(site.change, "CREATE", "192.0.2.2")


@probe("DELETE of a record with another value", Records)
def _(site):
    site.change("CREATE")
    return outcome(site.change, "DELETE", "192.0.2.2")


@probe("DELETE of a record that does not exist", Records)
def _(site):
    return outcome(site.change, "DELETE")


@probe("UPSERT of a record twice", Records)
def _(site):
    site.change("UPSERT")
    return outcome(site.change, "UPSERT", "192.0.2.2")


@probe("UPSERT of an A record that is no address", Records)
def _(site):
    return outcome(site.change, "UPSERT", "300.1.1.1")


@probe("UPSERT of a name outside of the zone", Records)
def _(site):
    return outcome(site.change, "UPSERT", name="a.elsewhere.test")


@probe("Status of a change just made", Records)
def _(site):
    return site.change("UPSERT")["Status"]


@probe("Ids of two changes", Records)
def _(site):
    ids = {site.change("UPSERT", value)["Id"] for value in ("192.0.2.1", "192.0.2.2")}
    return "two" if len(ids) == 2 else "one"


@probe("GetHostedZone of an unknown zone", Records)
def _(site):
    return outcome(site.dns.get_hosted_zone, Id="Z0123456789ABC")


def answers(endpoint, zone=None):
    ec2 = client(endpoint)
    dns = client(endpoint, service="route53", region="us-east-1")
    if zone is None:
        zone = dns.create_hosted_zone(Name=ZONE, CallerReference="1")["HostedZone"]["Id"]
    found = {}
    image = "ami-0123456789abcdef0"
    for name, (ask, place) in PROBES.items():
        try:
            found[name] = ask(place(ec2, image, dns, zone))
        except Exception as error:  # an answer that breaks the client is an answer, too
            found[name] = f"{type(error).__name__}"
    return found


logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
try:
    host, port = server.get_host_and_port()
    with ThreadPoolExecutor() as both:
        asked = {"moto": both.submit(answers, f"http://{host}:{port}"),
                 "lab": both.submit(answers, *sys.argv[1:3])}
    judged = {name: answer.result() for name, answer in asked.items()}
finally:
    server.stop()
print(json.dumps({"version": moto.__version__, **judged}))
