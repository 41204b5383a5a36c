//! The calls that exist, and what each of them takes.

use super::error::ApiError;
use super::model::{State, Tags};
use super::params::Params;
use super::service::Service;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{
    addresses, beyond, blocks, console, gateways, groups, instances, interfaces, listing,
    nat_gateways, offerings, others, power, route53, routes, secondary, status, tables, tags, vpcs,
};

/// A call that only looks.
pub(super) type Read = fn(&State, &Ctx<'_>, &Params) -> Result<XmlBody, ApiError>;
/// A call that changes; what it changes counts only where it succeeds.
pub(super) type Write = fn(&mut State, &Ctx<'_>, &Params) -> Result<XmlBody, ApiError>;

/// How a call is carried out.
#[derive(Clone, Copy)]
pub(super) enum Run {
    Read(Read),
    Write(Write),
}

/// One call.
pub(super) struct Action {
    pub(super) name: &'static str,
    pub(super) service: Service,
    pub(super) run: Run,
    /// The parameter that names what a permission is about.
    resource: &'static str,
    /// Further ones.
    also: &'static [&'static str],
    /// Parameters that other calls of its kind have and this one has not.
    lacks: &'static [&'static str],
    /// The first parts of the names of its parameters, besides those that all calls have.
    params: &'static [&'static str],
}

/// Parameters of every call.
const COMMON: &[&str] = &["Action", "Version", "DryRun"];
/// Parameters of every listing.
const LIST: &[&str] = &["Filter", "MaxResults", "NextToken"];

const fn read(name: &'static str, run: Read, ids: &'static [&'static str]) -> Action {
    Action {
        name,
        service: Service::Ec2,
        run: Run::Read(run),
        resource: "",
        also: &[],
        lacks: &[],
        params: ids,
    }
}

const fn write(
    name: &'static str,
    run: Write,
    resource: &'static str,
    params: &'static [&'static str],
) -> Action {
    Action {
        name,
        service: Service::Ec2,
        run: Run::Write(run),
        resource,
        also: &[],
        lacks: &[],
        params,
    }
}

/// A call of Route 53: nothing about it is common with those of EC2.
const fn route53(
    name: &'static str,
    run: Run,
    resource: &'static str,
    params: &'static [&'static str],
) -> Action {
    let lacks = &["DryRun", "Filter", "MaxResults", "NextToken"];
    Action { name, service: Service::Route53, run, resource, also: &[], lacks, params }
}

/// What a route may lead to.
const TARGETS: &[&str] = &[
    "RouteTableId",
    "DestinationCidrBlock",
    "DestinationIpv6CidrBlock",
    "DestinationPrefixListId",
    "GatewayId",
    "InstanceId",
    "NetworkInterfaceId",
    "NatGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "EgressOnlyInternetGatewayId",
    "VpcEndpointId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
    "LocalTarget",
];
const RULES: &[&str] =
    &["GroupId", "IpPermissions", "TagSpecification", "IpProtocol", "FromPort", "ToPort", "CidrIp"];
const ASSOCIATE: &[&str] = &[
    "AllocationId",
    "PublicIp",
    "InstanceId",
    "NetworkInterfaceId",
    "PrivateIpAddress",
    "AllowReassociation",
];
const ASSIGN: &[&str] = &[
    "NetworkInterfaceId",
    "PrivateIpAddress",
    "SecondaryPrivateIpAddressCount",
    "AllowReassignment",
];
const GATEWAY_OF: &[&str] = &["InternetGatewayId", "VpcId"];
const REVOKE: &[&str] = &["GroupId", "IpPermissions", "SecurityGroupRuleId"];

const ACTIONS: &[Action] = &[
    read("DescribeVpcs", vpcs::describe_vpcs, &["VpcId"]),
    read("DescribeSubnets", vpcs::describe_subnets, &["SubnetId"]),
    read("DescribeRouteTables", tables::describe, &["RouteTableId"]),
    read("DescribeNatGateways", nat_gateways::describe, &["NatGatewayId"]),
    read("DescribeSecurityGroups", groups::describe, &["GroupId", "GroupName"]),
    read("DescribeNetworkInterfaces", interfaces::describe, &["NetworkInterfaceId"]),
    read("DescribeInstances", listing::describe, &["InstanceId"]),
    read("DescribeInstanceStatus", status::describe, &["InstanceId", "IncludeAllInstances"]),
    read("DescribeInternetGateways", gateways::describe, &["InternetGatewayId"]),
    // The list is never long enough here for a second page.
    Action {
        lacks: &["MaxResults", "NextToken"],
        ..read("DescribeInstanceTypeOfferings", offerings::describe, &["LocationType"])
    },
    Action {
        lacks: &["Filter", "MaxResults", "NextToken"],
        ..read("GetConsoleOutput", console::output, &["InstanceId", "Latest"])
    },
    write("CreateVpc", vpcs::create_vpc, "", &["CidrBlock", "TagSpecification"]),
    // These two have no DryRun in botocore's model.
    Action {
        lacks: &["DryRun"],
        ..write("AssociateVpcCidrBlock", blocks::associate, "VpcId", &["VpcId", "CidrBlock"])
    },
    Action {
        lacks: &["DryRun"],
        ..write(
            "DisassociateVpcCidrBlock",
            blocks::disassociate,
            "AssociationId",
            &["AssociationId"],
        )
    },
    write(
        "CreateSubnet",
        vpcs::create_subnet,
        "VpcId",
        &["VpcId", "CidrBlock", "AvailabilityZone", "TagSpecification"],
    ),
    write("DeleteVpc", vpcs::delete_vpc, "VpcId", &["VpcId"]),
    write("DeleteSubnet", vpcs::delete_subnet, "SubnetId", &["SubnetId"]),
    write("CreateInternetGateway", gateways::create, "", &["TagSpecification"]),
    write("AttachInternetGateway", gateways::attach, "InternetGatewayId", GATEWAY_OF),
    write("DetachInternetGateway", gateways::detach, "InternetGatewayId", GATEWAY_OF),
    write("DeleteInternetGateway", gateways::delete, "InternetGatewayId", &["InternetGatewayId"]),
    Action {
        also: &["AllocationId"],
        ..write(
            "CreateNatGateway",
            nat_gateways::create,
            "SubnetId",
            &["SubnetId", "AllocationId", "ConnectivityType", "ClientToken", "TagSpecification"],
        )
    },
    write("CreateTransitGateway", beyond::create_transit_gateway, "", &[]),
    write(
        "CreateTransitGatewayVpcAttachment",
        beyond::attach_transit_gateway,
        "TransitGatewayId",
        &["TransitGatewayId", "VpcId", "SubnetIds"],
    ),
    write(
        "DeleteTransitGatewayVpcAttachment",
        beyond::detach_transit_gateway,
        "TransitGatewayAttachmentId",
        &["TransitGatewayAttachmentId"],
    ),
    write("CreateVpcPeeringConnection", beyond::create_peering, "VpcId", &["VpcId", "PeerVpcId"]),
    write(
        "DeleteVpcPeeringConnection",
        beyond::delete_peering,
        "VpcPeeringConnectionId",
        &["VpcPeeringConnectionId"],
    ),
    write("CreateEgressOnlyInternetGateway", beyond::create_egress_only, "VpcId", &["VpcId"]),
    write(
        "DeleteEgressOnlyInternetGateway",
        beyond::delete_egress_only,
        "EgressOnlyInternetGatewayId",
        &["EgressOnlyInternetGatewayId"],
    ),
    write("CreateVpnGateway", beyond::create_vpn_gateway, "", &["Type"]),
    write(
        "AttachVpnGateway",
        beyond::attach_vpn_gateway,
        "VpnGatewayId",
        &["VpcId", "VpnGatewayId"],
    ),
    write(
        "EnableVgwRoutePropagation",
        others::propagate,
        "RouteTableId",
        &["GatewayId", "RouteTableId"],
    ),
    write(
        "DisableVgwRoutePropagation",
        others::end_propagation,
        "RouteTableId",
        &["GatewayId", "RouteTableId"],
    ),
    write(
        "CreateVpcEndpoint",
        others::create_endpoint,
        "VpcId",
        &["VpcId", "ServiceName", "VpcEndpointType", "RouteTableId"],
    ),
    write("DeleteVpcEndpoints", others::delete_endpoints, "VpcEndpointId", &["VpcEndpointId"]),
    write("DeleteNatGateway", nat_gateways::delete, "NatGatewayId", &["NatGatewayId"]),
    write(
        "CreateRouteTable",
        tables::create,
        "VpcId",
        &["VpcId", "TagSpecification", "ClientToken"],
    ),
    write("AssociateRouteTable", tables::associate, "RouteTableId", &["RouteTableId", "SubnetId"]),
    write("DisassociateRouteTable", tables::disassociate, "AssociationId", &["AssociationId"]),
    write("DeleteRouteTable", tables::delete, "RouteTableId", &["RouteTableId"]),
    write("CreateRoute", routes::create, "RouteTableId", TARGETS),
    write("ReplaceRoute", routes::replace, "RouteTableId", TARGETS),
    write("DeleteRoute", routes::delete, "RouteTableId", TARGETS),
    write(
        "CreateSecurityGroup",
        groups::create,
        "VpcId",
        &["VpcId", "GroupName", "GroupDescription", "TagSpecification"],
    ),
    write("DeleteSecurityGroup", groups::delete, "GroupId", &["GroupId"]),
    write("AuthorizeSecurityGroupIngress", groups::authorize_ingress, "GroupId", RULES),
    write("AuthorizeSecurityGroupEgress", groups::authorize_egress, "GroupId", RULES),
    write("RevokeSecurityGroupIngress", groups::revoke_ingress, "GroupId", REVOKE),
    write("RevokeSecurityGroupEgress", groups::revoke_egress, "GroupId", REVOKE),
    write(
        "CreateNetworkInterface",
        interfaces::create,
        "SubnetId",
        &[
            "SubnetId",
            "Description",
            "PrivateIpAddress",
            "SecurityGroupId",
            "TagSpecification",
            "ClientToken",
        ],
    ),
    write(
        "AttachNetworkInterface",
        interfaces::attach,
        "NetworkInterfaceId",
        &["NetworkInterfaceId", "InstanceId", "DeviceIndex"],
    ),
    write("DetachNetworkInterface", interfaces::detach, "AttachmentId", &["AttachmentId", "Force"]),
    write(
        "DeleteNetworkInterface",
        interfaces::delete,
        "NetworkInterfaceId",
        &["NetworkInterfaceId"],
    ),
    write(
        "ModifyNetworkInterfaceAttribute",
        interfaces::modify,
        "NetworkInterfaceId",
        &["NetworkInterfaceId", "SourceDestCheck", "Description", "SecurityGroupId", "Attachment"],
    ),
    write(
        "ModifyInstanceAttribute",
        instances::modify,
        "InstanceId",
        &[
            "InstanceId",
            "Attribute",
            "Value",
            "SourceDestCheck",
            "DisableApiStop",
            "DisableApiTermination",
            "UserData",
            "InstanceType",
            "GroupId",
        ],
    ),
    write(
        "RunInstances",
        instances::run,
        "SubnetId",
        &[
            "ImageId",
            "InstanceType",
            "MinCount",
            "MaxCount",
            "SubnetId",
            "PrivateIpAddress",
            "SecurityGroupId",
            "NetworkInterface",
            "UserData",
            "TagSpecification",
            "DisableApiStop",
            "DisableApiTermination",
            "IamInstanceProfile",
            "InstanceMarketOptions",
            "MetadataOptions",
            "ClientToken",
        ],
    ),
    write("StartInstances", power::start, "InstanceId", &["InstanceId"]),
    write(
        "StopInstances",
        power::stop,
        "InstanceId",
        &["InstanceId", "Force", "SkipOsShutdown", "Hibernate"],
    ),
    write("RebootInstances", power::reboot, "InstanceId", &["InstanceId"]),
    write(
        "TerminateInstances",
        power::terminate,
        "InstanceId",
        &["InstanceId", "Force", "SkipOsShutdown"],
    ),
    Action {
        lacks: &["MaxResults", "NextToken"],
        ..read("DescribeAddresses", addresses::describe, &["AllocationId", "PublicIp"])
    },
    write("AllocateAddress", addresses::allocate, "", &["Domain", "TagSpecification"]),
    write("ReleaseAddress", addresses::release, "AllocationId", &["AllocationId", "PublicIp"]),
    Action {
        also: &["NetworkInterfaceId", "InstanceId"],
        ..write("AssociateAddress", addresses::associate, "AllocationId", ASSOCIATE)
    },
    write(
        "DisassociateAddress",
        addresses::disassociate,
        "AssociationId",
        &["AssociationId", "PublicIp"],
    ),
    // These two have no DryRun in botocore's model.
    Action {
        lacks: &["DryRun"],
        ..write("AssignPrivateIpAddresses", secondary::assign, "NetworkInterfaceId", ASSIGN)
    },
    Action {
        lacks: &["DryRun"],
        ..write(
            "UnassignPrivateIpAddresses",
            secondary::unassign,
            "NetworkInterfaceId",
            &["NetworkInterfaceId", "PrivateIpAddress"],
        )
    },
    write("CreateTags", tags::create, "ResourceId", &["ResourceId", "Tag"]),
    write("DeleteTags", tags::delete, "ResourceId", &["ResourceId", "Tag"]),
    route53(
        "ChangeResourceRecordSets",
        Run::Write(route53::change),
        "HostedZoneId",
        &["HostedZoneId", "Comment", "Change"],
    ),
    route53("GetChange", Run::Read(route53::get_change), "", &["Id"]),
    route53(
        "ListResourceRecordSets",
        Run::Read(route53::list_records),
        "HostedZoneId",
        &["HostedZoneId", "StartRecordName", "StartRecordType", "MaxItems"],
    ),
    route53("GetHostedZone", Run::Read(route53::get_zone), "HostedZoneId", &["HostedZoneId"]),
    route53(
        "ListHostedZonesByName",
        Run::Read(route53::list_zones),
        "",
        &["DNSName", "HostedZoneId", "MaxItems"],
    ),
];

/// The names of all calls.
pub fn names() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().map(|action| action.name)
}

/// Finds a call.
pub(super) fn find(name: &str) -> Result<&'static Action, ApiError> {
    ACTIONS.iter().find(|action| action.name == name).ok_or_else(|| unknown(name))
}

/// What EC2 says about an action that it does not have.
pub(super) fn unknown(name: &str) -> ApiError {
    ApiError::client(
        "InvalidAction",
        format!("The action {name} is not valid for this web service."),
    )
}

impl Action {
    /// The ids that a permission must cover, with the tags of what they name.
    pub(super) fn resources(&self, params: &Params, state: &State) -> Vec<(String, Tags)> {
        let mut ids = params.list(self.resource);
        let single = [self.resource].into_iter().chain(self.also.iter().copied());
        ids.extend(single.filter_map(|name| params.get(name)).map(str::to_owned));
        let known = ids.iter().map(|id| addresses::permitted_as(state, id));
        known.map(|id| (id.clone(), tags::of(state, &id).cloned().unwrap_or_default())).collect()
    }

    /// Refuses parameters that the call does not have.
    pub(super) fn check(&self, params: &Params) -> Result<(), ApiError> {
        let list: &[&str] = if matches!(self.run, Run::Read(_)) { LIST } else { &[] };
        let known = |root: &str| {
            let usual = COMMON.contains(&root) || list.contains(&root);
            self.params.contains(&root) || (usual && !self.lacks.contains(&root))
        };
        let root = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
        match params.names().find(|name| !known(&root(name))) {
            None => Ok(()),
            Some(name) => Err(ApiError::client(
                "UnknownParameter",
                format!("The parameter {name} is not recognized"),
            )),
        }
    }
}
