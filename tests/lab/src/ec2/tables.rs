//! Route tables: making, associating and describing them.

use super::error::{self, ApiError};
use super::filter::{self, Filtered, PageSize};
use super::model::{Association, RouteTarget, State, Table, Tags, find, find_mut, named};
use super::others::Destination;
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{beyond, blocks, tags};

/// A table with what is needed to describe its routes.
struct Shown<'a> {
    table: &'a Table,
    state: &'a State,
    main: bool,
}

pub(super) fn create(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let vpc = params.need("VpcId")?;
    find(&state.vpcs, &error::VPC, vpc)?;
    let id = add(state, vpc, params.tags_for("route-table"))?;
    let mut body = XmlBody::new();
    let table = find(&state.tables, &error::TABLE, &id)?;
    body.nest("routeTable", |x| show(x, &Shown { table, state, main: false }, ctx));
    Ok(body)
}

/// Makes a table with the VPC's local routes.
pub(super) fn add(state: &mut State, vpc: &str, tags: Tags) -> Result<String, ApiError> {
    let blocks = &find(&state.vpcs, &error::VPC, vpc)?.blocks;
    let routes = blocks.iter().map(|block| (block.cidr, blocks::local())).collect();
    let id = state.new_id(error::TABLE.prefix);
    let table = Table {
        id: id.clone(),
        vpc: vpc.to_owned(),
        routes,
        others: Vec::new(),
        associations: Vec::new(),
        tags,
    };
    state.tables.insert(id.clone(), table);
    Ok(id)
}

pub(super) fn associate(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let table_id = params.need("RouteTableId")?;
    let subnet_id = params.need("SubnetId")?;
    let subnet = find(&state.subnets, &error::SUBNET, subnet_id)?;
    let table = find(&state.tables, &error::TABLE, table_id)?;
    if subnet.vpc != table.vpc {
        return Err(ApiError::value(format!(
            "Route table {table_id} and subnet {subnet_id} belong to different networks"
        )));
    }
    let taken = state
        .tables
        .values()
        .flat_map(|t| &t.associations)
        .find(|a| a.subnet.as_deref() == Some(subnet_id));
    if let Some(taken) = taken {
        return Err(ApiError::client(
            "Resource.AlreadyAssociated",
            format!(
                "the specified association for route table {table_id} conflicts with an existing \
                 association {}",
                taken.id
            ),
        ));
    }
    let id = state.new_id("rtbassoc");
    let table = find_mut(&mut state.tables, &error::TABLE, table_id)?;
    table.associations.push(Association { id: id.clone(), subnet: Some(subnet_id.to_owned()) });
    let mut body = XmlBody::new();
    body.put("associationId", &id);
    body.nest("associationState", |x| x.put("state", "associated"));
    Ok(body)
}

/// The main association of a VPC stays: it can only move to another table.
pub(super) fn disassociate(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = params.need("AssociationId")?;
    let mut all = state.tables.values_mut();
    let Some(table) = all.find(|table| table.associations.iter().any(|it| it.id == id)) else {
        return Err(ApiError::not_found(&error::TABLE_ASSOCIATION, id));
    };
    if table.associations.iter().any(|it| it.id == id && it.subnet.is_none()) {
        return Err(ApiError::value(format!(
            "cannot disassociate the main route table association {id}"
        )));
    }
    table.associations.retain(|association| association.id != id);
    Ok(XmlBody::yes())
}

pub(super) fn delete(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("RouteTableId")?;
    if !find(&state.tables, &error::TABLE, id)?.associations.is_empty() {
        return Err(ApiError::depended_upon(&error::TABLE, id));
    }
    state.tables.remove(id);
    Ok(XmlBody::yes())
}

pub(super) fn describe(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let ids = params.list("RouteTableId");
    let filters = params.filters();
    filter::check::<Shown<'_>>(&filters)?;
    let main = |t: &Table| state.vpcs.get(&t.vpc).is_some_and(|vpc| vpc.main_table == t.id);
    let shown: Vec<Shown<'_>> = named(&state.tables, &error::TABLE, &ids)?
        .into_iter()
        .map(|table| Shown { table, state, main: main(table) })
        .filter(|shown| filter::matches(shown, &filters))
        .collect();
    let size = PageSize { most: 100, default: None };
    let page = filter::page(shown, |s| &s.table.id, !ids.is_empty(), size, params)?;
    let mut body = XmlBody::new();
    body.list("routeTableSet", &page.items, |x, shown| self::show(x, shown, ctx));
    body.maybe("nextToken", page.next);
    Ok(body)
}

fn show(x: &mut XmlBody, shown: &Shown<'_>, ctx: &Ctx<'_>) {
    let Shown { table, state, main } = shown;
    x.put("routeTableId", &table.id);
    x.put("vpcId", &table.vpc);
    x.put("ownerId", &ctx.settings.account);
    // Longer prefixes first, wherever they lead; those of prefix lists last.
    let mut routes: Vec<_> = shown.routes().collect();
    routes.sort_by_key(|(destination, ..)| destination.rank());
    x.list("routeSet", routes, |x, (destination, target, origin)| {
        let (element, _, text) = destination.shown();
        x.put(element, text);
        show_target(x, state, target, ctx);
        x.put("state", state_of(state, table, target));
        x.put("origin", origin);
    });
    x.list("associationSet", &table.associations, |x, association| {
        x.put("routeTableAssociationId", &association.id);
        x.put("routeTableId", &table.id);
        x.maybe("subnetId", association.subnet.as_ref());
        x.put("main", association.subnet.is_none() && *main);
        x.nest("associationState", |x| x.put("state", "associated"));
    });
    x.list("propagatingVgwSet", table.propagating(), |x, id| x.put("gatewayId", id));
    tags::show(x, &table.tags);
}

fn show_target(x: &mut XmlBody, state: &State, target: &RouteTarget, ctx: &Ctx<'_>) {
    match target {
        RouteTarget::Local => x.put("gatewayId", "local"),
        RouteTarget::Gateway(id) => x.put("gatewayId", id),
        RouteTarget::NatGateway(id) => x.put("natGatewayId", id),
        RouteTarget::Beyond(id) => x.put(beyond::element(id), id),
        RouteTarget::Interface(id) => {
            if let Some(instance) = instance_behind(state, target) {
                x.put("instanceId", instance);
                x.put("instanceOwnerId", &ctx.settings.account);
            }
            x.put("networkInterfaceId", id);
        }
    }
}

/// The instance to which a route's interface is attached.
fn instance_behind<'a>(state: &'a State, target: &RouteTarget) -> Option<&'a str> {
    let RouteTarget::Interface(id) = target else { return None };
    let attachment = state.interfaces.get(id)?.attachment.as_ref()?;
    Some(&attachment.instance)
}

fn state_of(state: &State, table: &Table, target: &RouteTarget) -> &'static str {
    if state.is_blackhole(&table.vpc, target) { "blackhole" } else { "active" }
}

impl Shown<'_> {
    /// Destination, target and origin of every route.
    fn routes(&self) -> impl Iterator<Item = (Destination, &RouteTarget, &'static str)> {
        let routes = self.table.routes.iter();
        let routes = routes.map(|(block, it)| (Destination::V4(*block), &it.target, it.origin));
        routes.chain(self.table.others.iter().map(|it| (it.destination, &it.target, it.origin)))
    }

    /// The values of a filter on routes.
    fn of_routes(&self, name: &str) -> Vec<String> {
        let value = |(destination, target, origin): (Destination, &RouteTarget, &str)| {
            let (_, by_destination, text) = destination.shown();
            match (name, target) {
                ("route.origin", _) => Some(origin.to_owned()),
                ("route.state", _) => Some(state_of(self.state, self.table, target).to_owned()),
                ("route.gateway-id", RouteTarget::Local) => Some("local".to_owned()),
                ("route.gateway-id", RouteTarget::Gateway(id))
                | ("route.nat-gateway-id", RouteTarget::NatGateway(id)) => Some(id.clone()),
                ("route.instance-id", _) => instance_behind(self.state, target).map(str::to_owned),
                (_, RouteTarget::Beyond(id)) if beyond::filter(id) == name => Some(id.clone()),
                _ => (by_destination == name).then_some(text),
            }
        };
        self.routes().filter_map(value).collect()
    }
}

impl Filtered for Shown<'_> {
    const NAMES: &'static [&'static str] = &[
        "association.gateway-id",
        "association.main",
        "association.route-table-association-id",
        "association.route-table-id",
        "association.subnet-id",
        "owner-id",
        "route-table-id",
        "route.destination-cidr-block",
        "route.destination-ipv6-cidr-block",
        "route.destination-prefix-list-id",
        "route.egress-only-internet-gateway-id",
        "route.gateway-id",
        "route.instance-id",
        "route.nat-gateway-id",
        "route.origin",
        "route.state",
        "route.transit-gateway-id",
        "route.vpc-peering-connection-id",
        "vpc-id",
    ];

    fn tags(&self) -> &Tags {
        &self.table.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        let Self { table, main, .. } = self;
        if name.starts_with("route.") {
            return self.of_routes(name);
        }
        let associations = table.associations.iter();
        match name {
            "association.main" => {
                associations.map(|a| (a.subnet.is_none() && *main).to_string()).collect()
            }
            "association.route-table-association-id" => {
                associations.map(|a| a.id.clone()).collect()
            }
            "association.route-table-id" => associations.map(|_| table.id.clone()).collect(),
            "association.subnet-id" => associations.filter_map(|a| a.subnet.clone()).collect(),
            "route-table-id" => vec![table.id.clone()],
            "vpc-id" => vec![table.vpc.clone()],
            _ => Vec::new(),
        }
    }
}
