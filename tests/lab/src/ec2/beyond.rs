//! What routes lead to besides: transit gateways, peering connections, egress-only internet
//! gateways and virtual private gateways. They exist, are shown in routes and carry no packet.

use std::collections::BTreeMap;

use super::error::{self, ApiError, Kind};
use super::model::{State, find, find_mut};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;

/// Something that routes of these VPCs may lead to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Beyond {
    /// VPCs, and what each is attached by.
    pub(super) vpcs: BTreeMap<String, String>,
}

impl Beyond {
    fn of(vpcs: &[&str]) -> Self {
        let vpcs = vpcs.iter().map(|vpc| ((*vpc).to_owned(), String::new()));
        Self { vpcs: vpcs.collect() }
    }
}

/// How routes name these targets: the parameter, the element, the filter, and the kind.
const NAMES: [(&str, &str, &str, Kind); 4] = [
    (
        "TransitGatewayId",
        "transitGatewayId",
        "route.transit-gateway-id",
        Kind { code: "InvalidTransitGatewayID", word: "transitGateway", prefix: "tgw" },
    ),
    (
        "VpcPeeringConnectionId",
        "vpcPeeringConnectionId",
        "route.vpc-peering-connection-id",
        Kind { code: "InvalidVpcPeeringConnectionID", word: "vpcPeeringConnection", prefix: "pcx" },
    ),
    (
        "EgressOnlyInternetGatewayId",
        "egressOnlyInternetGatewayId",
        "route.egress-only-internet-gateway-id",
        Kind { code: "InvalidGatewayID", word: "egressOnlyInternetGateway", prefix: "eigw" },
    ),
    (
        "GatewayId",
        "gatewayId",
        "route.gateway-id",
        Kind { code: "InvalidVpnGatewayID", word: "vpnGateway", prefix: "vgw" },
    ),
];

fn named(id: &str) -> &'static (&'static str, &'static str, &'static str, Kind) {
    let prefix = id.split('-').next().unwrap_or_default();
    let found = NAMES.iter().find(|(.., kind)| kind.prefix == prefix);
    // Endpoints are shown as gateways, and so is what no route can lead to.
    found.unwrap_or(&NAMES[3])
}

/// The parameter by which a route is led to one of these.
pub(super) fn parameter(id: &str) -> &'static str {
    named(id).0
}

/// The element of a route to one of these.
pub(super) fn element(id: &str) -> &'static str {
    named(id).1
}

/// The filter that finds a route to one of these.
pub(super) fn filter(id: &str) -> &'static str {
    named(id).2
}

/// Refuses what a parameter names where it does not exist or is not attached to the VPC.
pub(super) fn check(state: &State, vpc: &str, parameter: &str, id: &str) -> Result<(), ApiError> {
    let found = NAMES.iter().find(|(name, ..)| *name == parameter);
    let kind = &found.unwrap_or_else(|| named(id)).3;
    let found = find(&state.beyond, kind, id)?;
    found.vpcs.contains_key(vpc).then_some(()).ok_or_else(|| ApiError::not_found(kind, id))
}

fn add(state: &mut State, prefix: &str, made: Beyond) -> String {
    let id = state.new_id(prefix);
    state.beyond.insert(id.clone(), made);
    id
}

#[expect(clippy::unnecessary_wraps, reason = "every call has this form")]
pub(super) fn create_transit_gateway(
    state: &mut State,
    ctx: &Ctx<'_>,
    _: &Params,
) -> Result<XmlBody, ApiError> {
    let id = add(state, "tgw", Beyond::of(&[]));
    let mut body = XmlBody::new();
    body.nest("transitGateway", |x| {
        x.put("transitGatewayId", &id);
        x.put("ownerId", &ctx.settings.account);
        x.put("state", "available");
    });
    Ok(body)
}

pub(super) fn attach_transit_gateway(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let (gateway, vpc) = (params.need("TransitGatewayId")?, params.need("VpcId")?);
    find(&state.vpcs, &error::VPC, vpc)?;
    let subnets = params.list("SubnetIds");
    if subnets.is_empty() {
        return Err(ApiError::missing("SubnetIds"));
    }
    for subnet in &subnets {
        find(&state.subnets, &error::SUBNET, subnet)?;
    }
    let attachment = state.new_id("tgw-attach");
    let found = find_mut(&mut state.beyond, &named(gateway).3, gateway)?;
    if found.vpcs.contains_key(vpc) {
        let message = format!("{gateway} has an attachment to the VPC {vpc} already");
        return Err(ApiError::client("DuplicateTransitGatewayAttachment", message));
    }
    found.vpcs.insert(vpc.to_owned(), attachment.clone());
    Ok(show_attachment(gateway, vpc, &attachment, "available"))
}

/// Routes to the gateway are blackholes from now on (VPC guide, transit gateways).
pub(super) fn detach_transit_gateway(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let attachment = params.need("TransitGatewayAttachmentId")?;
    for (gateway, found) in &mut state.beyond {
        let by = found.vpcs.iter().find(|(_, by)| *by == attachment);
        let Some(vpc) = by.map(|(vpc, _)| vpc.clone()) else { continue };
        found.vpcs.remove(&vpc);
        return Ok(show_attachment(gateway, &vpc, attachment, "deleting"));
    }
    Err(ApiError::client(
        "InvalidTransitGatewayAttachmentID.NotFound",
        format!("Transit Gateway Attachment {attachment} was not found"),
    ))
}

fn show_attachment(gateway: &str, vpc: &str, attachment: &str, state: &str) -> XmlBody {
    let mut body = XmlBody::new();
    body.nest("transitGatewayVpcAttachment", |x| {
        x.put("transitGatewayAttachmentId", attachment);
        x.put("transitGatewayId", gateway);
        x.put("vpcId", vpc);
        x.put("state", state);
    });
    body
}

/// Between two VPCs of the account. The lab needs no acceptance: routes to a connection can be made
/// from the start, as on EC2.
pub(super) fn create_peering(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let ends = [params.need("VpcId")?, params.need("PeerVpcId")?];
    for vpc in ends {
        find(&state.vpcs, &error::VPC, vpc)?;
    }
    let id = add(state, "pcx", Beyond::of(&ends));
    let mut body = XmlBody::new();
    body.nest("vpcPeeringConnection", |x| {
        x.put("vpcPeeringConnectionId", &id);
        for (end, vpc) in ["requesterVpcInfo", "accepterVpcInfo"].into_iter().zip(ends) {
            x.nest(end, |x| {
                x.put("ownerId", &ctx.settings.account);
                x.put("vpcId", vpc);
            });
        }
        x.nest("status", |x| x.put("code", "pending-acceptance"));
    });
    Ok(body)
}

pub(super) fn delete_peering(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    remove(state, params.need("VpcPeeringConnectionId")?)?;
    Ok(XmlBody::yes())
}

pub(super) fn create_egress_only(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let vpc = params.need("VpcId")?;
    find(&state.vpcs, &error::VPC, vpc)?;
    let id = add(state, "eigw", Beyond::of(&[vpc]));
    let mut body = XmlBody::new();
    body.nest("egressOnlyInternetGateway", |x| {
        x.put("egressOnlyInternetGatewayId", &id);
        x.list("attachmentSet", [vpc], |x, vpc| {
            x.put("state", "attached");
            x.put("vpcId", vpc);
        });
    });
    Ok(body)
}

pub(super) fn delete_egress_only(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    remove(state, params.need("EgressOnlyInternetGatewayId")?)?;
    let mut body = XmlBody::new();
    body.put("returnCode", true);
    Ok(body)
}

#[expect(clippy::unnecessary_wraps, reason = "every call has this form")]
pub(super) fn create_vpn_gateway(
    state: &mut State,
    _: &Ctx<'_>,
    _: &Params,
) -> Result<XmlBody, ApiError> {
    let id = add(state, "vgw", Beyond::of(&[]));
    let mut body = XmlBody::new();
    body.nest("vpnGateway", |x| {
        x.put("vpnGatewayId", &id);
        x.put("state", "available");
        x.put("type", "ipsec.1");
    });
    Ok(body)
}

pub(super) fn attach_vpn_gateway(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let (id, vpc) = (params.need("VpnGatewayId")?, params.need("VpcId")?);
    find(&state.vpcs, &error::VPC, vpc)?;
    let found = find_mut(&mut state.beyond, &named(id).3, id)?;
    found.vpcs.insert(vpc.to_owned(), String::new());
    let mut body = XmlBody::new();
    body.nest("attachment", |x| {
        x.put("vpcId", vpc);
        x.put("state", "attached");
    });
    Ok(body)
}

fn remove(state: &mut State, id: &str) -> Result<(), ApiError> {
    find(&state.beyond, &named(id).3, id)?;
    state.beyond.remove(id);
    Ok(())
}
