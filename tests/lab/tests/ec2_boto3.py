"""Drives every call of the lab's EC2 with boto3. Argument: the endpoint."""

import sys
import time

from ec2_model import client, fault, outcome, watch

ENDPOINT = sys.argv[1]
ec2 = watch(client(ENDPOINT))


def until(what, probe, wanted, patience=20):
    """Asks again until the answer is as wanted."""
    deadline = time.monotonic() + patience
    while (found := probe()) != wanted:
        assert time.monotonic() < deadline, f"{what} is {found}, not {wanted}"
        time.sleep(0.02)


def state(instance):
    answer = ec2.describe_instances(InstanceIds=[instance])
    return answer["Reservations"][0]["Instances"][0]["State"]["Name"]


def routes(table):
    answer = ec2.describe_route_tables(RouteTableIds=[table])
    return {r["DestinationCidrBlock"]: r for r in answer["RouteTables"][0]["Routes"]}


def named(kind, name):
    return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]


def build():
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=named("vpc", "lab"))["Vpc"]
    vpc = vpc["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    public = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone="eu-central-1a")
    private = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
    public, private = (answer["Subnet"]["SubnetId"] for answer in (public, private))
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=named("route-table", "private"))
    table = table["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=private)
    group = ec2.create_security_group(VpcId=vpc, GroupName="nat", Description="for the nodes")
    group = group["GroupId"]
    run = dict(
        ImageId="ami-0123456789abcdef0", InstanceType="t4g.large", MinCount=1, MaxCount=1,
        UserData="#!/bin/sh\n", IamInstanceProfile={"Name": "natha"},
        NetworkInterfaces=[{
            "DeviceIndex": 0, "SubnetId": public, "Groups": [group],
            "AssociatePublicIpAddress": True,
        }],
    )
    nodes = []
    for name in ("node-a", "node-b"):
        answer = ec2.run_instances(TagSpecifications=named("instance", name), **run)
        assert answer["Instances"][0]["State"]["Name"] == "pending"
        nodes.append(answer["Instances"][0]["InstanceId"])
    for node in nodes:
        until(node, lambda node=node: state(node), "running")
    return vpc, gateway, public, private, table, group, nodes


def primary(instance):
    answer = ec2.describe_instances(InstanceIds=[instance])
    return answer["Reservations"][0]["Instances"][0]["NetworkInterfaces"][0]


def check_routes(vpc, gateway, table, nodes):
    a, b = (primary(node)["NetworkInterfaceId"] for node in nodes)
    everywhere = dict(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    code, status, text = fault(ec2.replace_route, **everywhere, NetworkInterfaceId=a)
    assert (code, status) == ("InvalidParameterValue", 400)
    assert text == (
        "There is no route defined for '0.0.0.0/0' in the route table. Use CreateRoute instead."
    ), text
    code, status, _ = fault(ec2.create_route, **everywhere, NetworkInterfaceId=a, DryRun=True)
    assert (code, status) == ("DryRunOperation", 412)
    assert "0.0.0.0/0" not in routes(table)
    ec2.create_route(**everywhere, NetworkInterfaceId=a)
    assert outcome(ec2.create_route, **everywhere, NetworkInterfaceId=a) == "RouteAlreadyExists"
    route = routes(table)["0.0.0.0/0"]
    assert route == {
        "DestinationCidrBlock": "0.0.0.0/0", "InstanceId": nodes[0],
        "InstanceOwnerId": "123456789012", "NetworkInterfaceId": a, "Origin": "CreateRoute",
        "State": "active",
    }, route
    ec2.replace_route(**everywhere, NetworkInterfaceId=b)
    assert routes(table)["0.0.0.0/0"]["InstanceId"] == nodes[1]
    found = ec2.describe_route_tables(Filters=[
        {"Name": "route.instance-id", "Values": [nodes[1]]},
        {"Name": "route.state", "Values": ["active"]},
        {"Name": "tag:Name", "Values": ["priv*"]},
        {"Name": "vpc-id", "Values": [vpc]},
    ])
    assert [t["RouteTableId"] for t in found["RouteTables"]] == [table]
    unknown = [{"Name": "route.network-interface-id", "Values": [a]}]
    assert fault(ec2.describe_route_tables, Filters=unknown)[:2] == ("InvalidParameterValue", 400)
    two = dict(NetworkInterfaceId=a, GatewayId=gateway)
    assert outcome(ec2.replace_route, **everywhere, **two) == "InvalidParameterCombination"
    assert outcome(ec2.replace_route, **everywhere) == "MissingParameter"
    assert routes(table)["0.0.0.0/0"]["NetworkInterfaceId"] == b
    ec2.create_route(
        RouteTableId=table, DestinationCidrBlock="100.68.0.18/18", NetworkInterfaceId=a
    )
    assert "100.68.0.0/18" in routes(table)
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="100.68.0.0/18")
    gone = dict(RouteTableId=table, DestinationCidrBlock="100.68.0.0/18")
    assert outcome(ec2.delete_route, **gone) == "InvalidRoute.NotFound"
    return a, b


def check_interfaces(public, group, nodes, eni):
    ec2.modify_network_interface_attribute(
        NetworkInterfaceId=eni, SourceDestCheck={"Value": False}
    )
    assert primary(nodes[0])["SourceDestCheck"] is False
    ec2.modify_instance_attribute(InstanceId=nodes[0], SourceDestCheck={"Value": True})
    answer = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    assert answer["SourceDestCheck"] is True
    assert answer["Attachment"]["InstanceId"] == nodes[0]
    assert answer["Association"]["IpOwnerId"] == "amazon"
    filters = [{"Name": "attachment.instance-id", "Values": [nodes[0]]},
               {"Name": "group-id", "Values": [group]}]
    assert len(ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]) == 1
    second = ec2.create_network_interface(SubnetId=public, Groups=[group])["NetworkInterface"]
    attach = dict(NetworkInterfaceId=second["NetworkInterfaceId"], InstanceId=nodes[0])
    assert outcome(ec2.attach_network_interface, **attach, DeviceIndex=0) == "InvalidParameterValue"
    attached = ec2.attach_network_interface(**attach, DeviceIndex=1)["AttachmentId"]
    first = answer["Attachment"]["AttachmentId"]
    assert outcome(ec2.detach_network_interface, AttachmentId=first) == "OperationNotPermitted"
    ec2.detach_network_interface(AttachmentId=attached)
    gone = outcome(ec2.detach_network_interface, AttachmentId=attached)
    assert gone == "InvalidAttachmentID.NotFound", gone
    ec2.attach_network_interface(**attach, DeviceIndex=1)
    attach["InstanceId"] = nodes[1]
    again = outcome(ec2.attach_network_interface, **attach, DeviceIndex=1)
    assert again == "InvalidNetworkInterface.InUse", again
    code, _, text = fault(
        ec2.modify_instance_attribute, InstanceId=nodes[0], SourceDestCheck={"Value": False}
    )
    assert code == "InvalidInstanceID" and "multiple interfaces" in text


def check_power(table, nodes):
    a, b = nodes
    before = ec2.describe_instances(InstanceIds=[b])["Reservations"][0]["Instances"][0]
    answer = ec2.stop_instances(InstanceIds=[b])["StoppingInstances"][0]
    assert (answer["PreviousState"]["Name"], answer["CurrentState"]["Name"]) == (
        "running", "stopping")
    assert routes(table)["0.0.0.0/0"]["State"] == "active"
    assert outcome(ec2.start_instances, InstanceIds=[b]) == "IncorrectInstanceState"
    until("b", lambda: state(b), "stopped")
    assert routes(table)["0.0.0.0/0"]["State"] == "blackhole"
    stopped = ec2.describe_instances(InstanceIds=[b])["Reservations"][0]["Instances"][0]
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert stopped["StateTransitionReason"].startswith("User initiated (")
    assert stopped["PrivateIpAddress"] == before["PrivateIpAddress"]
    assert "PublicIpAddress" not in stopped
    assert outcome(ec2.reboot_instances, InstanceIds=[b]) == "IncorrectInstanceState"
    states = ec2.describe_instance_status(InstanceIds=[b])["InstanceStatuses"]
    assert states == []
    states = ec2.describe_instance_status(InstanceIds=[b], IncludeAllInstances=True)
    assert states["InstanceStatuses"][0]["SystemStatus"]["Status"] == "not-applicable"
    ec2.start_instances(InstanceIds=[b])
    until("b", lambda: state(b), "running")
    started = ec2.describe_instances(InstanceIds=[b])["Reservations"][0]["Instances"][0]
    assert started["PublicIpAddress"] != before["PublicIpAddress"]
    healthy = ec2.describe_instance_status(InstanceIds=[b])["InstanceStatuses"][0]
    assert healthy["InstanceStatus"]["Status"] == "ok"
    assert healthy["AttachedEbsStatus"]["Status"] == "ok"
    ec2.reboot_instances(InstanceIds=[a])
    ec2.modify_instance_attribute(InstanceId=a, DisableApiStop={"Value": True})
    assert outcome(ec2.stop_instances, InstanceIds=[a]) == "OperationNotPermitted"
    ec2.modify_instance_attribute(InstanceId=a, Attribute="disableApiStop", Value="false")
    ec2.stop_instances(InstanceIds=[a], Force=True)
    until("a", lambda: state(a), "stopped")
    ec2.terminate_instances(InstanceIds=[b])
    until("b", lambda: state(b), "terminated")
    route = routes(table)["0.0.0.0/0"]
    assert route["State"] == "blackhole" and "InstanceId" not in route
    assert outcome(ec2.start_instances, InstanceIds=[b]) == "IncorrectInstanceState"


def check_groups(group):
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 81,
            "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "web"}]}
    for authorize, revoke in (
        (ec2.authorize_security_group_ingress, ec2.revoke_security_group_ingress),
        (ec2.authorize_security_group_egress, ec2.revoke_security_group_egress),
    ):
        made = authorize(GroupId=group, IpPermissions=[rule])["SecurityGroupRules"]
        assert made[0]["CidrIpv4"] == "10.0.0.0/8"
        again = outcome(authorize, GroupId=group, IpPermissions=[rule])
        assert again == "InvalidPermission.Duplicate", again
        revoke(GroupId=group, IpPermissions=[rule])
        gone = outcome(revoke, GroupId=group, IpPermissions=[rule])
        assert gone == "InvalidPermission.NotFound", gone
    peers = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[peers])
    shown = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert shown["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == group


def check_addresses(nodes, enis, alone):
    """Two nodes of which the second one is `alone`: it has one interface."""
    a, b = enis
    made = ec2.allocate_address(Domain="vpc", TagSpecifications=named("elastic-ip", "web"))
    eip, public = made["AllocationId"], made["PublicIp"]
    shown = ec2.describe_addresses(AllocationIds=[eip])["Addresses"]
    assert [t["Value"] for t in shown[0]["Tags"]] == ["web"] and "AssociationId" not in shown[0]
    first = ec2.associate_address(AllocationId=eip, NetworkInterfaceId=a)["AssociationId"]
    again = ec2.associate_address(AllocationId=eip, NetworkInterfaceId=a)["AssociationId"]
    assert first == again
    strict = dict(AllocationId=eip, NetworkInterfaceId=b, AllowReassociation=False)
    code, status, text = fault(ec2.associate_address, **strict)
    assert (code, status) == ("Resource.AlreadyAssociated", 400)
    assert text == f"resource {eip} is already associated with associate-id {first}", text
    dry = dict(AllocationId=eip, NetworkInterfaceId=b, DryRun=True)
    assert fault(ec2.associate_address, **dry)[:2] == ("DryRunOperation", 412)
    several = outcome(ec2.associate_address, AllocationId=eip, InstanceId=nodes[0])
    assert several == "InvalidInstanceID", several
    assert alone == nodes[1]
    second = ec2.associate_address(AllocationId=eip, InstanceId=alone)["AssociationId"]
    filters = [{"Name": "network-interface-id", "Values": [b]},
               {"Name": "public-ip", "Values": [public]},
               {"Name": "association-id", "Values": [second]}]
    shown = ec2.describe_addresses(Filters=filters)["Addresses"][0]
    assert (shown["InstanceId"], shown["Domain"]) == (alone, "vpc"), shown
    instance = ec2.describe_instances(InstanceIds=[alone])["Reservations"][0]["Instances"][0]
    assert instance["PublicIpAddress"] == public
    ec2.disassociate_address(AssociationId=second)
    gone = outcome(ec2.disassociate_address, AssociationId=second)
    assert gone == "InvalidAssociationID.NotFound", gone
    unknown = outcome(ec2.associate_address, AllocationId="eipalloc-1", NetworkInterfaceId=a)
    assert unknown == "InvalidAllocationID.NotFound", unknown
    return eip


def check_nat_gateways(public, table, eni, eip):
    def state():
        answer = ec2.describe_nat_gateways(NatGatewayIds=[gateway])
        return answer["NatGateways"][0]["State"]

    made = ec2.create_nat_gateway(
        SubnetId=public, AllocationId=eip, TagSpecifications=named("natgateway", "old"))
    gateway = made["NatGateway"]["NatGatewayId"]
    assert made["NatGateway"]["State"] == "pending"
    until(gateway, state, "available")
    filters = [{"Name": "subnet-id", "Values": [public]}, {"Name": "tag:Name", "Values": ["old"]}]
    shown = ec2.describe_nat_gateways(Filters=filters)["NatGateways"][0]
    address = shown["NatGatewayAddresses"][0]
    assert address["AllocationId"] == eip and address["PrivateIp"].startswith("10.0.0."), shown
    own = ec2.describe_network_interfaces(NetworkInterfaceIds=[address["NetworkInterfaceId"]])
    assert own["NetworkInterfaces"][0]["InterfaceType"] == "nat_gateway"
    busy = outcome(ec2.associate_address, AllocationId=eip, NetworkInterfaceId=eni)
    assert busy == "AuthFailure", busy
    there = dict(RouteTableId=table, DestinationCidrBlock="198.18.0.0/15")
    ec2.create_route(**there, NatGatewayId=gateway)
    route = routes(table)["198.18.0.0/15"]
    assert (route["NatGatewayId"], route["State"]) == (gateway, "active"), route
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    until(gateway, state, "deleted")
    assert routes(table)["198.18.0.0/15"]["State"] == "blackhole"
    ec2.delete_route(**there)
    unknown = outcome(ec2.delete_nat_gateway, NatGatewayId="nat-0123456789abcdef0")
    assert unknown == "NatGatewayNotFound", unknown


def check_others(vpc, public, table):
    def shown(**wanted):
        all = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
        return [r for r in all if wanted.items() <= r.items()]

    there = dict(RouteTableId=table)
    transit = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    attached = ec2.create_transit_gateway_vpc_attachment(
        TransitGatewayId=transit, VpcId=vpc, SubnetIds=[public])["TransitGatewayVpcAttachment"]
    ec2.create_route(**there, DestinationCidrBlock="10.0.0.0/8", TransitGatewayId=transit)
    other = ec2.create_vpc(CidrBlock="172.31.0.0/16")["Vpc"]["VpcId"]
    peer = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=other)["VpcPeeringConnection"]
    peer = peer["VpcPeeringConnectionId"]
    ec2.create_route(
        **there, DestinationCidrBlock="172.31.0.0/16", VpcPeeringConnectionId=peer)
    only = ec2.create_egress_only_internet_gateway(VpcId=vpc)["EgressOnlyInternetGateway"]
    only = only["EgressOnlyInternetGatewayId"]
    ec2.create_route(
        **there, DestinationIpv6CidrBlock="::/0", EgressOnlyInternetGatewayId=only)
    endpoint = ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName="com.amazonaws.eu-central-1.s3", RouteTableIds=[table])
    endpoint = endpoint["VpcEndpoint"]["VpcEndpointId"]
    private = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]["VpnGatewayId"]
    ec2.attach_vpn_gateway(VpcId=vpc, VpnGatewayId=private)
    ec2.enable_vgw_route_propagation(RouteTableId=table, GatewayId=private)
    assert shown(TransitGatewayId=transit, State="active")
    assert shown(VpcPeeringConnectionId=peer, State="active")
    assert shown(EgressOnlyInternetGatewayId=only, DestinationIpv6CidrBlock="::/0")
    assert shown(GatewayId=endpoint)[0]["DestinationPrefixListId"].startswith("pl-")
    assert shown(GatewayId=private, Origin="EnableVgwRoutePropagation")
    ec2.delete_transit_gateway_vpc_attachment(
        TransitGatewayAttachmentId=attached["TransitGatewayAttachmentId"])
    ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peer)
    ec2.delete_egress_only_internet_gateway(EgressOnlyInternetGatewayId=only)
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    ec2.disable_vgw_route_propagation(RouteTableId=table, GatewayId=private)
    assert len(shown(State="blackhole")) >= 3 and not shown(GatewayId=endpoint)
    assert not shown(GatewayId=private)
    for destination in (dict(DestinationCidrBlock="10.0.0.0/8"),
                        dict(DestinationCidrBlock="172.31.0.0/16"),
                        dict(DestinationIpv6CidrBlock="::/0")):
        ec2.delete_route(**there, **destination)


def private_of(eni):
    answer = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    return answer["PrivateIpAddresses"]


def check_secondary(enis, eip):
    a, b = enis
    one = dict(PrivateIpAddresses=["10.0.0.50"])
    made = ec2.assign_private_ip_addresses(NetworkInterfaceId=a, **one)
    assert made["AssignedPrivateIpAddresses"] == [{"PrivateIpAddress": "10.0.0.50"}], made
    ec2.associate_address(
        AllocationId=eip, NetworkInterfaceId=a, PrivateIpAddress="10.0.0.50")
    code, _, text = fault(ec2.assign_private_ip_addresses, NetworkInterfaceId=b, **one)
    assert (code, text) == (
        "InvalidParameterValue", "[10.0.0.50] assigned, but move is not allowed."), text
    ec2.assign_private_ip_addresses(NetworkInterfaceId=b, AllowReassignment=True, **one)
    assert [p["PrivateIpAddress"] for p in private_of(a)] == [private_of(a)[0]["PrivateIpAddress"]]
    moved = private_of(b)[1]
    assert (moved["Primary"], moved["Association"]["AllocationId"]) == (False, eip), moved
    found = ec2.describe_network_interfaces(
        Filters=[{"Name": "addresses.private-ip-address", "Values": ["10.0.0.50"]}])
    assert [i["NetworkInterfaceId"] for i in found["NetworkInterfaces"]] == [b]
    primary = private_of(b)[0]["PrivateIpAddress"]
    for call in (ec2.assign_private_ip_addresses, ec2.unassign_private_ip_addresses):
        code = outcome(call, NetworkInterfaceId=b, PrivateIpAddresses=[primary])
        assert code == "InvalidParameterValue", code
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=b, **one)
    assert len(private_of(b)) == 1
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[eip])["Addresses"][0]


def check_blocks(vpc):
    made = ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="100.64.0.0/16")
    association = made["CidrBlockAssociation"]["AssociationId"]
    shown = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]
    assert [a["CidrBlock"] for a in shown["CidrBlockAssociationSet"]] == [
        "10.0.0.0/16", "100.64.0.0/16"], shown
    again = outcome(ec2.associate_vpc_cidr_block, VpcId=vpc, CidrBlock="100.64.0.0/24")
    assert again == "CidrConflict", again
    ec2.disassociate_vpc_cidr_block(AssociationId=association)
    primary = shown["CidrBlockAssociationSet"][0]["AssociationId"]
    for id, code in ((association, "InvalidVpcCidrBlockAssociationID.NotFound"),
                     (primary, "OperationNotPermitted")):
        refused = outcome(ec2.disassociate_vpc_cidr_block, AssociationId=id)
        assert refused == code, refused


def check_listings(vpc, public, table, nodes):
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    assert [s["AvailabilityZone"] for s in subnets] == ["eu-central-1a"] * 2
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlock"] == "10.0.0.0/16"
    ec2.create_tags(Resources=[table, nodes[0]], Tags=[{"Key": "natha:cluster", "Value": "c"}])
    tagged = [{"Name": "tag:natha:cluster", "Values": ["c"]}]
    assert len(ec2.describe_route_tables(Filters=tagged)["RouteTables"]) == 1
    ec2.delete_tags(Resources=[table], Tags=[{"Key": "natha:cluster"}])
    assert ec2.describe_route_tables(Filters=tagged)["RouteTables"] == []
    for _ in range(11):
        ec2.create_route_table(VpcId=vpc)
    pages = ec2.get_paginator("describe_route_tables").paginate(PaginationConfig={"PageSize": 5})
    sizes = [len(page["RouteTables"]) for page in pages]
    assert sizes == [5, 5, 3], sizes
    reservations = ec2.describe_instances(Filters=[
        {"Name": "instance-state-name", "Values": ["running"]},
        {"Name": "network-interface.subnet-id", "Values": [public]},
    ])["Reservations"]
    assert len(reservations) == 2
    unknown = "i-0123456789abcdef0"
    code, status, text = fault(ec2.describe_instances, InstanceIds=[unknown])
    assert (code, status) == ("InvalidInstanceID.NotFound", 400) and unknown in text
    assert outcome(ec2.describe_instances, InstanceIds=["x"]) == "InvalidInstanceID.Malformed"
    code, status, _ = fault(ec2.describe_instances, DryRun=True)
    assert (code, status) == ("DryRunOperation", 412)
    code, status, _ = fault(ec2.describe_regions)
    assert (code, status) == ("InvalidAction", 400)


def check_removal():
    """A VPC of its own: made, taken apart in a wrong order first, and gone."""
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway(TagSpecifications=named("internet-gateway", "gone"))
    gateway = gateway["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    shown = ec2.describe_internet_gateways(
        Filters=[{"Name": "tag:Name", "Values": ["gone"]}])["InternetGateways"][0]
    assert shown["Attachments"] == [{"State": "available", "VpcId": vpc}], shown
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    group = ec2.create_security_group(VpcId=vpc, GroupName="gone", Description="gone")["GroupId"]
    for call, named_by in (
        (ec2.delete_vpc, dict(VpcId=vpc)), (ec2.delete_route_table, dict(RouteTableId=table)),
        (ec2.delete_internet_gateway, dict(InternetGatewayId=gateway)),
    ):
        assert outcome(call, **named_by) == "DependencyViolation", named_by
    eni = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    assert outcome(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    ec2.disassociate_route_table(AssociationId=association)
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_subnet(SubnetId=subnet)
    assert ec2.delete_security_group(GroupId=group)["GroupId"] == group
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_vpc(VpcId=vpc)
    assert outcome(ec2.describe_vpcs, VpcIds=[vpc]) == "InvalidVpcID.NotFound"
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.release_address(AllocationId=address)


def check_offerings_and_console(node):
    offered = ec2.describe_instance_type_offerings(
        LocationType="availability-zone",
        Filters=[{"Name": "instance-type", "Values": ["t4g.nano"]}])["InstanceTypeOfferings"]
    assert [o["Location"][-1] for o in offered] == ["a", "b", "c"], offered
    console = ec2.get_console_output(InstanceId=node, Latest=True)
    assert console["InstanceId"] == node and console["Output"] == "", console


def check_signatures():
    wrong = client(ENDPOINT, secret="no")
    assert fault(wrong.describe_vpcs)[:2] == ("SignatureDoesNotMatch", 403)
    stranger = client(ENDPOINT, key="AKIAUNKNOWN")
    assert fault(stranger.describe_vpcs)[:2] == ("AuthFailure", 401)
    token = client(ENDPOINT, token="made up")
    assert fault(token.describe_vpcs)[:2] == ("AuthFailure", 401)
    elsewhere = client(ENDPOINT, region="us-east-1")
    assert fault(elsewhere.describe_vpcs)[:2] == ("AuthFailure", 401)


vpc, gateway, public, private, table, group, nodes = build()
check_listings(vpc, public, table, nodes)
check_blocks(vpc)
check_groups(group)
a, b = check_routes(vpc, gateway, table, nodes)
check_power(table, [nodes[0], nodes[1]])
replacement = ec2.run_instances(
    ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1, SubnetId=public,
    SecurityGroupIds=[group],
)["Instances"][0]["InstanceId"]
ec2.start_instances(InstanceIds=[nodes[0]])
for node in (nodes[0], replacement):
    until(node, lambda node=node: state(node), "running")
check_interfaces(public, group, [nodes[0], replacement], a)
enis = [a, primary(replacement)["NetworkInterfaceId"]]
eip = check_addresses([nodes[0], replacement], enis, replacement)
check_secondary(enis, eip)
check_nat_gateways(public, table, a, eip)
check_others(vpc, public, table)
check_removal()
check_offerings_and_console(nodes[0])
check_signatures()
print("every check passed")
