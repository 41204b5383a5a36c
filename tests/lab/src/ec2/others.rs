//! The routes of a table that are not static routes of IPv4: those of IPv6, of the prefix lists of
//! gateway endpoints, and those that a virtual private gateway propagates.

use ipnet::{Ipv4Net, Ipv6Net};

use super::beyond;
use super::error::{self, ApiError, Kind};
use super::model::{RouteTarget, State, Table, find, find_mut};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;

/// What every virtual private gateway of the lab has learned of its customer's network: a default
/// route, which a static one hides, and a block.
const ADVERTISED: [&str; 2] = ["0.0.0.0/0", "192.168.128.0/17"];
/// The origin of what is learned.
const PROPAGATED: &str = "EnableVgwRoutePropagation";
const ENDPOINT: Kind = Kind { code: "InvalidVpcEndpointId", word: "vpcEndpoint", prefix: "vpce" };

/// Such a route.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OtherRoute {
    pub(super) destination: Destination,
    pub(super) target: RouteTarget,
    pub(super) origin: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Destination {
    V4(Ipv4Net),
    V6(Ipv6Net),
    /// The number of a prefix list.
    PrefixList(u32),
}

impl Destination {
    /// Its place among the routes of a table. Where EC2 puts those of IPv6 is not known.
    pub(super) fn rank(&self) -> (u8, u8) {
        match self {
            Self::V4(block) => (0, 32 - block.prefix_len()),
            Self::V6(block) => (1, 128 - block.prefix_len()),
            Self::PrefixList(_) => (2, 0),
        }
    }

    /// The element of the destination, the filter that finds it, and its text.
    pub(super) fn shown(&self) -> (&'static str, &'static str, String) {
        match self {
            Self::V4(block) => {
                ("destinationCidrBlock", "route.destination-cidr-block", block.to_string())
            }
            Self::V6(block) => {
                let text = block.to_string();
                ("destinationIpv6CidrBlock", "route.destination-ipv6-cidr-block", text)
            }
            Self::PrefixList(number) => {
                let text = format!("pl-{number:08x}");
                ("destinationPrefixListId", "route.destination-prefix-list-id", text)
            }
        }
    }
}

/// The destination of a call about a route where it is none of IPv4.
pub(super) fn destination(params: &Params) -> Result<Option<Destination>, ApiError> {
    if params.get("DestinationPrefixListId").is_some() {
        let message = "The lab has no prefix lists but those of gateway endpoints";
        return Err(ApiError::value(message));
    }
    let block: Option<Ipv6Net> = params.parsed("DestinationIpv6CidrBlock")?;
    Ok(block.map(|block| Destination::V6(block.trunc())))
}

impl Table {
    fn other(&mut self, destination: Destination) -> Option<&mut OtherRoute> {
        self.others.iter_mut().find(|route| route.destination == destination)
    }
}

pub(super) fn create(
    state: &mut State,
    table: &str,
    destination: Destination,
    target: RouteTarget,
) -> Result<XmlBody, ApiError> {
    let table = find_mut(&mut state.tables, &error::TABLE, table)?;
    if table.other(destination).is_some() {
        let (.., text) = destination.shown();
        return Err(ApiError::client(
            "RouteAlreadyExists",
            format!("The route identified by {text} already exists."),
        ));
    }
    table.others.push(OtherRoute { destination, target, origin: "CreateRoute" });
    Ok(XmlBody::yes())
}

pub(super) fn replace(
    state: &mut State,
    table: &str,
    destination: Destination,
    target: RouteTarget,
) -> Result<XmlBody, ApiError> {
    let table = find_mut(&mut state.tables, &error::TABLE, table)?;
    let Some(route) = table.other(destination) else {
        let (.., text) = destination.shown();
        return Err(ApiError::value(format!(
            "There is no route defined for '{text}' in the route table. Use CreateRoute instead."
        )));
    };
    route.target = target;
    Ok(XmlBody::new())
}

pub(super) fn delete(
    state: &mut State,
    table: &str,
    destination: Destination,
) -> Result<XmlBody, ApiError> {
    let found = find_mut(&mut state.tables, &error::TABLE, table)?;
    if found.other(destination).is_none() {
        let (.., text) = destination.shown();
        return Err(ApiError::client(
            "InvalidRoute.NotFound",
            format!("no route with destination {text} in route table {table}"),
        ));
    }
    found.others.retain(|route| route.destination != destination);
    Ok(XmlBody::yes())
}

/// A gateway endpoint: a route for its service's prefix list in each of the tables.
pub(super) fn create_endpoint(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let (vpc, service) = (params.need("VpcId")?, params.need("ServiceName")?);
    find(&state.vpcs, &error::VPC, vpc)?;
    if params.get("VpcEndpointType").is_some_and(|kind| kind != "Gateway") {
        return Err(ApiError::value("The lab has gateway endpoints only"));
    }
    let tables = params.list("RouteTableId");
    let id = state.new_id(ENDPOINT.prefix);
    // The same for each endpoint of a service.
    let number = service.bytes().fold(1, |n: u32, byte| n.wrapping_mul(31) ^ u32::from(byte));
    for table in &tables {
        let found = find_mut(&mut state.tables, &error::TABLE, table)?;
        let destination = Destination::PrefixList(number);
        if found.other(destination).is_some() {
            let message = format!("route table {table} already has a route for '{service}'");
            return Err(ApiError::client("RouteAlreadyExists", message));
        }
        let target = RouteTarget::Beyond(id.clone());
        found.others.push(OtherRoute { destination, target, origin: "CreateRoute" });
    }
    let mut body = XmlBody::new();
    body.nest("vpcEndpoint", |x| {
        x.put("vpcEndpointId", &id);
        x.put("vpcEndpointType", "Gateway");
        x.put("vpcId", vpc);
        x.put("serviceName", service);
        x.put("state", "Available");
        x.list("routeTableIdSet", tables, XmlBody::text);
        x.put("ownerId", &ctx.settings.account);
    });
    Ok(body)
}

/// The routes of an endpoint go with it.
pub(super) fn delete_endpoints(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    for id in params.list("VpcEndpointId") {
        let target = RouteTarget::Beyond(id.clone());
        let is_of = |route: &OtherRoute| route.target == target;
        if !state.tables.values().any(|table| table.others.iter().any(is_of)) {
            return Err(ApiError::not_found(&ENDPOINT, &id));
        }
        for table in state.tables.values_mut() {
            table.others.retain(|route| !is_of(route));
        }
    }
    let mut body = XmlBody::new();
    body.list("unsuccessful", std::iter::empty::<()>(), |_, ()| {});
    Ok(body)
}

pub(super) fn propagate(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let (table, gateway) = (params.need("RouteTableId")?, params.need("GatewayId")?);
    let vpc = find(&state.tables, &error::TABLE, table)?.vpc.clone();
    beyond::check(state, &vpc, "GatewayId", gateway)?;
    let found = find_mut(&mut state.tables, &error::TABLE, table)?;
    if found.propagating().any(|other| other == gateway) {
        return Ok(XmlBody::yes());
    }
    for block in ADVERTISED {
        let block = block.parse().map_err(|_| ApiError::value("what is advertised is no block"))?;
        found.others.push(OtherRoute {
            destination: Destination::V4(block),
            target: RouteTarget::Beyond(gateway.to_owned()),
            origin: PROPAGATED,
        });
    }
    Ok(XmlBody::yes())
}

pub(super) fn end_propagation(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let (table, gateway) = (params.need("RouteTableId")?, params.need("GatewayId")?);
    let learned = RouteTarget::Beyond(gateway.to_owned());
    let table = find_mut(&mut state.tables, &error::TABLE, table)?;
    table.others.retain(|route| route.origin != PROPAGATED || route.target != learned);
    Ok(XmlBody::yes())
}

impl Table {
    /// The gateways whose routes are propagated to it.
    pub(super) fn propagating(&self) -> impl Iterator<Item = &str> {
        let first = ADVERTISED[0];
        self.others.iter().filter_map(move |route| match (&route.destination, &route.target) {
            (Destination::V4(block), RouteTarget::Beyond(id))
                if route.origin == PROPAGATED && block.to_string() == first =>
            {
                Some(id.as_str())
            }
            _ => None,
        })
    }
}
