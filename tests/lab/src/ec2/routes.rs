//! CreateRoute, ReplaceRoute, DeleteRoute.

use ipnet::Ipv4Net;

use super::error::{self, ApiError};
use super::model::{Route, RouteTarget, State, find, find_mut};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{beyond, others};

/// Blocks that no route may lead into: EC2's own services at link-local addresses.
const RESERVED: &str = "169.254.168.0/22";

pub(super) fn create(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let table_id = params.need("RouteTableId")?;
    if let Some(destination) = others::destination(params)? {
        let target = target(state, table_id, params)?;
        return others::create(state, table_id, destination, target);
    }
    let block = params.cidr("DestinationCidrBlock")?;
    // Only ReplaceRoute leads a route back to the VPC.
    if params.get("GatewayId") == Some("local") {
        return Err(unknown_gateway("local"));
    }
    let target = target(state, table_id, params)?;
    check_destination(state, table_id, block, &target)?;
    let table = find_mut(&mut state.tables, &error::TABLE, table_id)?;
    if table.routes.contains_key(&block) {
        return Err(ApiError::client(
            "RouteAlreadyExists",
            format!("The route identified by {block} already exists."),
        ));
    }
    if table.routes.len() >= 51 {
        return Err(ApiError::client(
            "RouteLimitExceeded",
            format!("The route table '{table_id}' has reached its limit of 50 routes"),
        ));
    }
    table.routes.insert(block, Route { target, origin: "CreateRoute" });
    Ok(XmlBody::yes())
}

pub(super) fn replace(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let table_id = params.need("RouteTableId")?;
    if let Some(destination) = others::destination(params)? {
        let target = target(state, table_id, params)?;
        return others::replace(state, table_id, destination, target);
    }
    let block = params.cidr("DestinationCidrBlock")?;
    let target = target(state, table_id, params)?;
    let table = find_mut(&mut state.tables, &error::TABLE, table_id)?;
    let Some(route) = table.routes.get_mut(&block) else {
        return Err(ApiError::value(format!(
            "There is no route defined for '{block}' in the route table. Use CreateRoute instead."
        )));
    };
    match target {
        RouteTarget::Local if route.origin != "CreateRouteTable" => {
            return Err(ApiError::value(format!(
                "The destination CIDR block {block} cannot have this target in route table \
                 {table_id}"
            )));
        }
        RouteTarget::Gateway(_) | RouteTarget::NatGateway(_) | RouteTarget::Beyond(_)
            if route.origin == "CreateRouteTable" =>
        {
            return Err(only_interfaces());
        }
        _ => {}
    }
    route.target = target;
    Ok(XmlBody::new())
}

pub(super) fn delete(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let table_id = params.need("RouteTableId")?;
    if let Some(destination) = others::destination(params)? {
        return others::delete(state, table_id, destination);
    }
    let block = params.cidr("DestinationCidrBlock")?;
    let table = find_mut(&mut state.tables, &error::TABLE, table_id)?;
    match table.routes.get(&block) {
        None => Err(ApiError::client(
            "InvalidRoute.NotFound",
            format!("no route with destination-cidr-block {block} in route table {table_id}"),
        )),
        Some(route) if route.origin == "CreateRouteTable" => Err(ApiError::value(format!(
            "cannot remove local route {block} in route table {table_id}"
        ))),
        Some(_) => {
            table.routes.remove(&block);
            Ok(XmlBody::yes())
        }
    }
}

/// The one target of a request: the parameter and its value.
fn named_target(params: &Params) -> Result<(&'static str, &str), ApiError> {
    const SUPPORTED: &[&str] = &[
        "GatewayId",
        "InstanceId",
        "NetworkInterfaceId",
        "NatGatewayId",
        "TransitGatewayId",
        "VpcPeeringConnectionId",
        "EgressOnlyInternetGatewayId",
        "LocalTarget",
    ];
    const ABSENT: &[(&str, &str)] = &[
        ("VpcEndpointId", "InvalidVpcEndpointId.NotFound"),
        ("LocalGatewayId", "InvalidLocalGatewayID.NotFound"),
        ("CarrierGatewayId", "InvalidCarrierGatewayID.NotFound"),
        ("CoreNetworkArn", "InvalidParameterValue"),
    ];
    let all = SUPPORTED.iter().copied().chain(ABSENT.iter().map(|(name, _)| *name));
    let given: Vec<&'static str> = all.filter(|name| params.get(name).is_some()).collect();
    let [name] = given.as_slice() else {
        let message = "The request must contain exactly one of gatewayId, natGatewayId, \
                       networkInterfaceId, vpcPeeringConnectionId, egressOnlyInternetGatewayId, \
                       transitGatewayId, vpcEndpointId, localGatewayId, carrierGatewayId, \
                       coreNetworkArn or instanceId";
        return Err(match given.len() {
            0 => ApiError::client("MissingParameter", message),
            _ => ApiError::combination(message),
        });
    };
    let value = params.need(name)?;
    match ABSENT.iter().find(|(absent, _)| absent == name) {
        None => Ok((name, value)),
        Some((_, code)) => Err(ApiError::client(code, format!("The ID '{value}' does not exist"))),
    }
}

fn unknown_gateway(id: &str) -> ApiError {
    let message = format!("The gateway ID '{id}' does not exist");
    ApiError::client("InvalidGatewayID.NotFound", message)
}

/// What EC2 says of a route for one of the VPC's own blocks that leads out of the VPC.
fn only_interfaces() -> ApiError {
    ApiError::value(
        "Route target is not supported. This route only supports interface and instance targets.",
    )
}

/// Reads the one target of a request and checks that the table's VPC can reach it.
fn target(state: &State, table_id: &str, params: &Params) -> Result<RouteTarget, ApiError> {
    let vpc = &find(&state.tables, &error::TABLE, table_id)?.vpc;
    let (name, value) = match named_target(params)? {
        // EC2 takes a NAT gateway here, too, and shows it as what it is.
        ("GatewayId", value) if value.starts_with("nat-") => ("NatGatewayId", value),
        named => named,
    };
    let foreign = |what: &str| {
        ApiError::value(format!(
            "route table {table_id} and {what} {value} belong to different networks"
        ))
    };
    match name {
        "LocalTarget" => Ok(RouteTarget::Local),
        "GatewayId" if value == "local" => Ok(RouteTarget::Local),
        "TransitGatewayId" | "VpcPeeringConnectionId" | "EgressOnlyInternetGatewayId" => {
            beyond::check(state, vpc, name, value)?;
            Ok(RouteTarget::Beyond(value.to_owned()))
        }
        "GatewayId" if value.starts_with("vgw-") => {
            beyond::check(state, vpc, name, value)?;
            Ok(RouteTarget::Beyond(value.to_owned()))
        }
        "GatewayId" => {
            let gateway = state.gateways.get(value).ok_or_else(|| unknown_gateway(value))?;
            let same = gateway.vpc.as_ref() == Some(vpc);
            same.then(|| RouteTarget::Gateway(value.to_owned()))
                .ok_or_else(|| foreign("network gateway"))
        }
        "NatGatewayId" => {
            let gateway = find(&state.nat_gateways, &error::NAT_GATEWAY, value)?;
            if !gateway.phase.exists() {
                return Err(ApiError::not_found(&error::NAT_GATEWAY, value));
            }
            let same = &gateway.vpc == vpc;
            same.then(|| RouteTarget::NatGateway(value.to_owned()))
                .ok_or_else(|| foreign("NAT gateway"))
        }
        "NetworkInterfaceId" => {
            let interface = find(&state.interfaces, &error::INTERFACE, value)?;
            let same = &interface.vpc == vpc;
            same.then(|| RouteTarget::Interface(value.to_owned()))
                .ok_or_else(|| foreign("interface"))
        }
        _ => {
            let interface = only_interface(state, value)?;
            let same = state.interfaces.get(&interface).is_some_and(|i| &i.vpc == vpc);
            same.then_some(RouteTarget::Interface(interface)).ok_or_else(|| foreign("instance"))
        }
    }
}

/// The interface of an instance that has just one: the others must be named themselves.
pub(super) fn only_interface(state: &State, instance: &str) -> Result<String, ApiError> {
    find(&state.instances, &error::INSTANCE, instance)?;
    match state.interfaces_of(instance).as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(ApiError::client(
            "InvalidInstanceID",
            format!("The instance '{instance}' has no network interface"),
        )),
        _ => Err(ApiError::client(
            "InvalidInstanceID",
            format!(
                "There are multiple interfaces attached to instance '{instance}'. Please specify \
                 an interface ID for the operation instead."
            ),
        )),
    }
}

/// A route may not be more specific than the local one, unless it covers a whole subnet.
fn check_destination(
    state: &State,
    table_id: &str,
    block: Ipv4Net,
    target: &RouteTarget,
) -> Result<(), ApiError> {
    if *target == RouteTarget::Local {
        return Err(ApiError::value("A local route cannot be created"));
    }
    let reserved: Ipv4Net = RESERVED.parse().expect("the text is a valid block");
    let link_local: Ipv4Net = "169.254.0.0/16".parse().expect("the text is a valid block");
    if reserved.contains(&block) || link_local.contains(&block) {
        return Err(ApiError::value(format!(
            "The destination CIDR block {block} is not supported: it is reserved for EC2's own \
             services"
        )));
    }
    let table = find(&state.tables, &error::TABLE, table_id)?;
    let vpc = find(&state.vpcs, &error::VPC, &table.vpc)?;
    let to_interface = matches!(target, RouteTarget::Interface(_));
    if !to_interface && vpc.blocks.iter().any(|whole| whole.cidr == block) {
        return Err(only_interfaces());
    }
    let inside = vpc.block_of(block).filter(|whole| *whole != block);
    let whole_subnet = state.subnets.values().any(|s| s.vpc == vpc.id && s.cidr == block);
    if let Some(whole) = inside.filter(|_| !(whole_subnet && to_interface)) {
        return Err(ApiError::value(format!(
            "The destination CIDR block {block} is more specific than the VPC's CIDR block \
             {whole} and does not match a subnet of it"
        )));
    }
    Ok(())
}
