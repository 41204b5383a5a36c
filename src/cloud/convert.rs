//! Converts the SDK's types to natha's own.

use std::collections::BTreeMap;

use aws_sdk_ec2::types as sdk;
use ipnet::Ipv4Net;

use super::errors::unexpected;
use crate::types::{
    CloudFault, InstanceInfo, InstanceState, InterfaceInfo, RouteEntry, RouteTableInfo,
    RouteTarget, StopOrigin, SubnetInfo, printable,
};

/// A required text field, parsed.
pub(super) fn field<T>(call: &str, name: &str, value: Option<&str>) -> Result<T, CloudFault>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    value
        .ok_or_else(|| unexpected(call, format!("the answer has no {name}")))?
        .parse()
        .map_err(|error| unexpected(call, format!("the answer's {name}: {error}")))
}

pub(super) fn tags(from: &[sdk::Tag]) -> BTreeMap<String, String> {
    from.iter()
        .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or("").to_owned())))
        .collect()
}

/// An instance of `DescribeInstances`.
pub(super) fn instance(call: &str, from: &sdk::Instance) -> Result<InstanceInfo, CloudFault> {
    let id = field(call, "instanceId", from.instance_id())?;
    let vpc = from.vpc_id().map(|id| field(call, "vpcId", Some(id))).transpose()?;
    let zone = from.placement().and_then(|place| place.availability_zone());
    let zone = zone.map(|name| field(call, "availabilityZone", Some(name))).transpose()?;
    let mut interfaces = from
        .network_interfaces()
        .iter()
        .filter_map(|interface| attached(call, interface).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    interfaces.sort_by_key(|interface| interface.device_index);
    Ok(InstanceInfo {
        id,
        state: state(call, from.state())?,
        vpc,
        zone,
        interfaces,
        loses_public: loses_public(from.network_interfaces()),
        tags: tags(from.tags()),
    })
}

/// The owner of a public address that EC2 assigned. An Elastic IP is owned by an account.
pub(super) const EC2_OWNS: &str = "amazon";

/// Whether an instance with these interfaces has a public address that EC2 assigned, which a stop
/// releases, and would get none at the next start (EC2 user guide, "Public IPv4 addresses": an
/// instance with a second interface gets none). With an Elastic IP it keeps that one.
fn loses_public(interfaces: &[sdk::InstanceNetworkInterface]) -> bool {
    let associations = interfaces.iter().filter_map(|interface| interface.association());
    let is_assigned = |one: &sdk::InstanceNetworkInterfaceAssociation| {
        one.ip_owner_id().is_none_or(|owner| owner == EC2_OWNS)
    };
    let mut assigned = associations.map(is_assigned);
    let first = assigned.next().unwrap_or(false);
    interfaces.len() > 1 && assigned.fold(first, |all, one| all && one)
}

/// An interface of an instance; none if it has no IPv4 address (IPv6-only subnet).
fn attached(
    call: &str,
    from: &sdk::InstanceNetworkInterface,
) -> Result<Option<InterfaceInfo>, CloudFault> {
    let Some(address) = from.private_ip_address() else { return Ok(None) };
    let index = from.attachment().and_then(sdk::InstanceNetworkInterfaceAttachment::device_index);
    let index = index.ok_or_else(|| unexpected(call, "an interface has no deviceIndex"))?;
    Ok(Some(InterfaceInfo {
        id: field(call, "networkInterfaceId", from.network_interface_id())?,
        device_index: u32::try_from(index)
            .map_err(|_| unexpected(call, format!("deviceIndex {index}")))?,
        mac: from.mac_address().unwrap_or("").to_ascii_lowercase(),
        address: field(call, "privateIpAddress", Some(address))?,
        secondary: from
            .private_ip_addresses()
            .iter()
            .filter(|one| one.primary() == Some(false))
            .map(|one| field(call, "privateIpAddress", one.private_ip_address()))
            .collect::<Result<_, _>>()?,
        public: from
            .association()
            .and_then(sdk::InstanceNetworkInterfaceAssociation::public_ip)
            .map(|address| field(call, "publicIp", Some(address)))
            .transpose()?,
        subnet: field(call, "subnetId", from.subnet_id())?,
        // If the answer lacks it, assume EC2's default: on.
        source_dest_check: from.source_dest_check().unwrap_or(true),
    }))
}

fn state(call: &str, from: Option<&sdk::InstanceState>) -> Result<InstanceState, CloudFault> {
    let code = from.and_then(sdk::InstanceState::code);
    code.and_then(InstanceState::of_code)
        .ok_or_else(|| unexpected(call, format!("instance state code {code:?}")))
}

/// The longest reason that natha keeps, in characters. EC2's own are far shorter.
const REASON_MAX: usize = 300;

pub(super) fn stop_origin(from: &sdk::Instance) -> StopOrigin {
    StopOrigin::of_reason(from.state_reason().and_then(sdk::StateReason::code))
}

/// EC2's reason for the instance's state, as one printable line.
pub(super) fn reason(from: &sdk::Instance) -> Option<String> {
    let reason = from.state_reason()?;
    let code = reason.code().unwrap_or_default();
    // The message usually begins with the code.
    let text = match reason.message() {
        Some(message) if message.starts_with(code) => message.to_owned(),
        Some(message) => format!("{code}: {message}"),
        None => code.to_owned(),
    };
    let text: String = printable(&text).chars().take(REASON_MAX).collect();
    (!text.is_empty()).then_some(text)
}

/// Whether one of the two status checks says `impaired`.
pub(super) fn impaired(from: &sdk::InstanceStatus) -> bool {
    [from.system_status(), from.instance_status()]
        .into_iter()
        .flatten()
        .any(|summary| summary.status() == Some(&sdk::SummaryStatus::Impaired))
}

pub(super) fn table(call: &str, from: &sdk::RouteTable) -> Result<RouteTableInfo, CloudFault> {
    // A route that a virtual private gateway propagates may have the destination of a static one,
    // which wins: it is taken in last.
    let (propagated, fixed): (Vec<_>, Vec<_>) =
        from.routes().iter().partition(|route| is_propagated(route));
    let routes = propagated
        .into_iter()
        .chain(fixed)
        // IPv6 and prefix list destinations are not moved by natha.
        .filter_map(|route| Some((route.destination_cidr_block()?, route)))
        .map(|(cidr, route)| {
            let cidr: Ipv4Net = field(call, "destinationCidrBlock", Some(cidr))?;
            Ok((cidr, entry(call, route)?))
        })
        .collect::<Result<_, CloudFault>>()?;
    let subnets = from
        .associations()
        .iter()
        .filter_map(sdk::RouteTableAssociation::subnet_id)
        .map(|id| field(call, "subnetId", Some(id)))
        .collect::<Result<_, _>>()?;
    let main = from.associations().iter().any(|one| one.main() == Some(true));
    Ok(RouteTableInfo {
        id: field(call, "routeTableId", from.route_table_id())?,
        vpc: field(call, "vpcId", from.vpc_id())?,
        routes,
        subnets,
        main,
        tags: tags(from.tags()),
    })
}

/// Whether a virtual private gateway made the route.
fn is_propagated(route: &sdk::Route) -> bool {
    route.origin() == Some(&sdk::RouteOrigin::EnableVgwRoutePropagation)
}

/// One route. EC2 returns an interface's instance too; the interface is what counts.
fn entry(call: &str, from: &sdk::Route) -> Result<RouteEntry, CloudFault> {
    let target = match from.network_interface_id() {
        Some(id) => RouteTarget::Interface(field(call, "networkInterfaceId", Some(id))?),
        None => RouteTarget::Other(
            [
                from.gateway_id(),
                from.nat_gateway_id(),
                from.transit_gateway_id(),
                from.vpc_peering_connection_id(),
                from.local_gateway_id(),
                from.carrier_gateway_id(),
                from.core_network_arn(),
                from.odb_network_arn(),
                from.egress_only_internet_gateway_id(),
                from.instance_id(),
            ]
            .into_iter()
            .flatten()
            .next()
            .unwrap_or("a target of a kind that natha does not know")
            .to_owned(),
        ),
    };
    Ok(RouteEntry { target, blackhole: from.state() == Some(&sdk::RouteState::Blackhole) })
}

/// A subnet; none if it has no IPv4 block.
pub(super) fn subnet(call: &str, from: &sdk::Subnet) -> Result<Option<SubnetInfo>, CloudFault> {
    let Some(cidr) = from.cidr_block() else { return Ok(None) };
    Ok(Some(SubnetInfo {
        id: field(call, "subnetId", from.subnet_id())?,
        vpc: field(call, "vpcId", from.vpc_id())?,
        zone: field(call, "availabilityZone", from.availability_zone())?,
        cidr: field(call, "cidrBlock", Some(cidr))?,
    }))
}
