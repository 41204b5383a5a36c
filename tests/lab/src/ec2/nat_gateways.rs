//! Public NAT gateways of one zone.

use std::time::Duration;

use super::error::{self, ApiError};
use super::filter::{self, Filtered, PageSize};
use super::model::{Interface, State, Subnet, Tags, find, find_mut, named};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{addresses, interfaces, tags};

/// What EC2 calls the interface of a NAT gateway in its answers. Botocore's model has another word,
/// `natGateway`.
pub(super) const INTERFACE_TYPE: &str = "nat_gateway";
/// How long EC2 still lists a gateway that failed or was deleted (VPC guide, NAT gateways).
const REMEMBERED: Duration = Duration::from_hours(1);

/// A NAT gateway. Its interface holds its private address, and the Elastic one on that.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NatGateway {
    pub(super) id: String,
    pub(super) vpc: String,
    pub(super) subnet: String,
    pub(super) allocation: String,
    pub(super) phase: Phase,
    /// None for one that failed.
    pub(super) interface: Option<String>,
    created: Duration,
    /// When the phase ends.
    until: Option<Duration>,
    ended: Option<Duration>,
    /// Code and text.
    failure: Option<(&'static str, String)>,
    pub(super) tags: Tags,
}

/// State of a NAT gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Failed,
    Available,
    /// It still forwards (VPC guide: "may still be processing traffic").
    Deleting,
    Deleted,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Available => "available",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }

    /// Whether a route can be made to it.
    pub(super) fn exists(self) -> bool {
        !matches!(self, Self::Failed | Self::Deleted)
    }

    /// Whether it forwards.
    pub(super) fn forwards(self) -> bool {
        matches!(self, Self::Available | Self::Deleting)
    }
}

pub(super) fn create(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    if let Some(kind) = params.get("ConnectivityType").filter(|kind| *kind != "public") {
        return Err(ApiError::value(format!("The lab has no NAT gateways of the kind '{kind}'")));
    }
    let subnet = find(&state.subnets, &error::SUBNET, params.need("SubnetId")?)?.clone();
    let allocation = params.need("AllocationId")?.to_owned();
    addresses::allocation(state, &allocation)?;
    let id = state.new_id(error::NAT_GATEWAY.prefix);
    let failure = failure(state, &subnet, &allocation);
    let interface = match failure {
        None => Some(interface(state, ctx, &subnet, &id, &allocation)?),
        Some(_) => None,
    };
    let gateway = NatGateway {
        id: id.clone(),
        vpc: subnet.vpc,
        subnet: subnet.id,
        allocation,
        phase: Phase::Pending,
        interface,
        created: ctx.now,
        until: Some(ctx.now + ctx.settings.timings.nat_gateway()),
        ended: None,
        failure,
        tags: params.tags_for("natgateway"),
    };
    let mut body = XmlBody::new();
    body.maybe("clientToken", params.get("ClientToken"));
    body.nest("natGateway", |x| show(x, &Shown { gateway: &gateway, state }, ctx));
    state.nat_gateways.insert(id, gateway);
    Ok(body)
}

/// Why a gateway will fail. EC2 tells that in its state and not in the answer to the call
/// (botocore's model: `FailureCode`).
fn failure(state: &State, subnet: &Subnet, allocation: &str) -> Option<(&'static str, String)> {
    if addresses::place_of(state, allocation).is_some() {
        let text = format!("Elastic IP address [{allocation}] is already associated");
        return Some(("Resource.AlreadyAssociated", text));
    }
    let attached = state.gateways.values().any(|gateway| gateway.vpc.as_ref() == Some(&subnet.vpc));
    let text = || format!("Network {} has no Internet gateway attached", subnet.vpc);
    (!attached).then(|| ("Gateway.NotAttached", text()))
}

fn interface(
    state: &mut State,
    ctx: &Ctx<'_>,
    subnet: &Subnet,
    gateway: &str,
    allocation: &str,
) -> Result<String, ApiError> {
    let wanted = interfaces::Wanted {
        subnet: &subnet.id,
        address: None,
        groups: Vec::new(),
        description: format!("Interface for NAT Gateway {gateway}"),
        tags: Tags::new(),
    };
    let id = interfaces::add(state, wanted)?;
    let made = find_mut(&mut state.interfaces, &error::INTERFACE, &id)?;
    made.service = Some(INTERFACE_TYPE);
    made.source_dest_check = false;
    made.groups.clear();
    let private = made.address();
    addresses::put(state, ctx.settings, allocation, &id, private)?;
    Ok(id)
}

pub(super) fn delete(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = params.need("NatGatewayId")?;
    let gateway = find_mut(&mut state.nat_gateways, &error::NAT_GATEWAY, id).map_err(worded)?;
    match gateway.phase {
        Phase::Deleted => return Err(worded(ApiError::not_found(&error::NAT_GATEWAY, id))),
        Phase::Deleting => {}
        Phase::Pending | Phase::Failed | Phase::Available => {
            gateway.phase = Phase::Deleting;
            gateway.until = Some(ctx.now + ctx.settings.timings.nat_gateway());
        }
    }
    let mut body = XmlBody::new();
    body.put("natGatewayId", id);
    Ok(body)
}

/// The next moment at which a timed state of a NAT gateway ends.
pub(super) fn next(state: &State) -> Option<Duration> {
    state.nat_gateways.values().filter_map(|gateway| gateway.until).min()
}

/// Ends the timed states that end at this moment. The interface goes with a deleted gateway, and
/// its Elastic IP address is free; routes to it stay.
pub(super) fn end_phases(state: &mut State, at: Duration) {
    let State { nat_gateways, interfaces, .. } = state;
    let due = |gateway: &NatGateway| gateway.until.is_some_and(|until| until <= at);
    nat_gateways.retain(|_, gateway| !due(gateway) || gateway.phase.exists());
    for gateway in nat_gateways.values_mut().filter(|gateway| due(gateway)) {
        gateway.phase = match gateway.phase {
            Phase::Pending if gateway.failure.is_none() => Phase::Available,
            Phase::Pending | Phase::Failed => Phase::Failed,
            _ => Phase::Deleted,
        };
        gateway.until = None;
        if !gateway.phase.exists() {
            gateway.until = Some(at + REMEMBERED);
            gateway.ended = Some(at);
            gateway.interface.take().map(|interface| interfaces.remove(&interface));
        }
    }
}

pub(super) fn describe(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let ids = params.list("NatGatewayId");
    let filters = params.filters();
    filter::check::<Shown<'_>>(&filters)?;
    let found = named(&state.nat_gateways, &error::NAT_GATEWAY, &ids).map_err(worded)?;
    let found = found
        .into_iter()
        .map(|gateway| Shown { gateway, state })
        .filter(|shown| filter::matches(shown, &filters))
        .collect();
    let size = PageSize { most: 1000, default: None };
    let page = filter::page(found, |s: &Shown<'_>| &s.gateway.id, !ids.is_empty(), size, params)?;
    let mut body = XmlBody::new();
    body.list("natGatewaySet", &page.items, |x, shown| show(x, shown, ctx));
    body.maybe("nextToken", page.next);
    Ok(body)
}

/// The calls about NAT gateways have codes of their own (EC2 API error codes page).
fn worded(error: ApiError) -> ApiError {
    let code = match error.code.rsplit_once('.') {
        Some((_, "Malformed")) => "NatGatewayMalformed",
        _ => "NatGatewayNotFound",
    };
    ApiError { code: code.to_owned(), ..error }
}

/// A gateway with what is needed to describe it.
struct Shown<'a> {
    gateway: &'a NatGateway,
    state: &'a State,
}

impl Shown<'_> {
    fn interface(&self) -> Option<&Interface> {
        self.state.interfaces.get(self.gateway.interface.as_ref()?)
    }
}

fn show(x: &mut XmlBody, shown: &Shown<'_>, ctx: &Ctx<'_>) {
    let gateway = shown.gateway;
    x.put("natGatewayId", &gateway.id);
    x.put("vpcId", &gateway.vpc);
    x.put("subnetId", &gateway.subnet);
    x.put("state", gateway.phase.name());
    x.put("connectivityType", "public");
    x.put("createTime", ctx.settings.stamp(gateway.created));
    x.maybe("deleteTime", gateway.ended.map(|at| ctx.settings.stamp(at)));
    if let Some((code, text)) = gateway.failure.as_ref().filter(|_| gateway.ended.is_some()) {
        x.put("failureCode", code);
        x.put("failureMessage", text);
    }
    x.list("natGatewayAddressSet", [shown], |x, shown| {
        x.put("allocationId", &shown.gateway.allocation);
        if let Some(interface) = shown.interface() {
            let public = interface.public.get(&interface.address());
            x.put("networkInterfaceId", &interface.id);
            x.put("privateIp", interface.address());
            x.maybe("publicIp", public.map(|public| public.address));
            let association = public.and_then(|public| public.elastic.as_ref());
            x.maybe("associationId", association.map(|(_, association)| association));
        }
        x.put("isPrimary", true);
    });
    tags::show_any(x, &gateway.tags);
}

impl Filtered for Shown<'_> {
    const NAMES: &'static [&'static str] = &["nat-gateway-id", "state", "subnet-id", "vpc-id"];

    fn tags(&self) -> &Tags {
        &self.gateway.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        let gateway = self.gateway;
        match name {
            "nat-gateway-id" => vec![gateway.id.clone()],
            "state" => vec![gateway.phase.name().to_owned()],
            "subnet-id" => vec![gateway.subnet.clone()],
            "vpc-id" => vec![gateway.vpc.clone()],
            _ => Vec::new(),
        }
    }
}
