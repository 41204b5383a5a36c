//! From what EC2 tells and what is configured to the cluster's members and groups. Pure, and the
//! same on every node that sees the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::{Problem, Problems, ResourceSetting, Settings};
use crate::types::{
    AllocationId, DnsName, Group, HostedZoneId, InstanceId, InstanceInfo, InstanceState,
    InterfaceInfo, Member, Resource, Roster, RouteTableId, RouteTableInfo, SubnetInfo, VpcId,
    printable,
};

mod groups;
mod resources;

/// The tag that makes an instance a member and a route table part of a group.
pub const CLUSTER_TAG: &str = "natha:cluster";

/// The tag of a route table that names its home: an instance id, an instance's `Name`, or a zone.
pub const HOME_TAG: &str = "natha:home";

/// The tag of an instance that names its forwarding interface: an interface id or a device index.
pub const INTERFACE_TAG: &str = "natha:interface";

/// The most members that a cluster has.
const MAX_MEMBERS: usize = 16;

/// What has to be read from EC2 and Route 53 before [`discover`] can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryQuery {
    /// The instances beside this one.
    pub instances: Selector<InstanceId>,
    /// The route tables.
    pub tables: Selector<RouteTableId>,
    /// Virtual IPs whose tables are those of the VPC that have a route to them.
    pub vips: Vec<Ipv4Addr>,
    /// Whether the subnets of the members' interfaces are needed.
    pub members_subnets: bool,
    /// Elastic IPs.
    pub allocations: Vec<AllocationId>,
    /// Hosted zones.
    pub zones: Vec<HostedZoneId>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The instances that were asked for and are there.
    pub instances: Vec<InstanceInfo>,
    /// The route tables that were asked for and are there, and those of the VPC that have a route
    /// to a virtual IP that was asked for.
    pub tables: Vec<RouteTableInfo>,
    /// The subnets of these tables, and of the members where they were asked for.
    pub subnets: Vec<SubnetInfo>,
    /// The VPC's IPv4 blocks, as far as known besides what the tables tell.
    pub vpc_cidrs: Vec<Ipv4Net>,
    /// The public addresses of the Elastic IPs that were asked for and are there.
    pub elastic: BTreeMap<AllocationId, Ipv4Addr>,
    /// The hosted zones that were asked for and are there, with their names where these could be
    /// told.
    pub zones: BTreeMap<HostedZoneId, Option<DnsName>>,
}

/// Things by their ids or by the cluster they are tagged with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector<T> {
    /// These.
    Ids(Vec<T>),
    /// Those with `natha:cluster` of this value.
    Tagged(String),
}

/// A cluster, and what about it is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// The cluster.
    pub roster: Roster,
    /// What a person should put right; natha works without.
    pub warnings: Vec<Problem>,
}

/// Why there is no cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryError {
    /// It cannot be told yet. Once somebody has put right what the problems say, it can.
    NotYet(Problems),
    /// The settings ask for what AWS cannot do, or for what is not there. Waiting does not help.
    Refused(Problems),
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(problems) | Self::Refused(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for DiscoveryError {}

/// The cluster's name, from the settings or this instance's own tag.
fn cluster<'a>(me: &'a InstanceInfo, settings: &'a Settings) -> Option<&'a str> {
    settings.cluster.as_deref().or_else(|| me.tags.get(CLUSTER_TAG).map(String::as_str))
}

/// What has to be read from EC2, from the settings and this instance.
///
/// # Errors
/// Where neither settings nor tags tell which instances and tables belong together.
pub fn inventory_query(me: &InstanceInfo, settings: &Settings) -> Result<InventoryQuery, Problems> {
    if let Some(pair) = &settings.pair {
        return Ok(InventoryQuery {
            instances: Selector::Ids(vec![pair.peer.clone()]),
            tables: Selector::Ids(vec![pair.peer_table.clone(), pair.my_table.clone()]),
            vips: Vec::new(),
            members_subnets: false,
            allocations: Vec::new(),
            zones: Vec::new(),
        });
    }
    let tagged = || {
        cluster(me, settings).map(str::to_owned).ok_or_else(|| {
            Problems(vec![Problem::new(
                format!("instance {}", me.id),
                "it is not known which cluster this is",
                format!(
                    "tag the instances and route tables with {CLUSTER_TAG}, set `cluster`, or \
                     list `members` and groups"
                ),
            )])
        })
    };
    let instances = if settings.members.is_empty() {
        Selector::Tagged(tagged()?)
    } else {
        Selector::Ids(settings.members.iter().filter(|id| **id != me.id).cloned().collect())
    };
    let tables = if settings.groups.is_empty() {
        Selector::Tagged(tagged()?)
    } else {
        Selector::Ids(listed_tables(settings))
    };
    let resources = || settings.groups.iter().flat_map(|group| &group.resources);
    let anywhere = |resource: &_| match resource {
        ResourceSetting::Vip { address, tables } if tables.is_empty() => Some(*address),
        _ => None,
    };
    let vips: BTreeSet<Ipv4Addr> = resources().filter_map(anywhere).collect();
    let allocations: BTreeSet<&AllocationId> = resources()
        .filter_map(|resource| match resource {
            ResourceSetting::Eip { allocation, .. } => Some(allocation),
            _ => None,
        })
        .collect();
    let zones: BTreeSet<&HostedZoneId> = resources()
        .filter_map(|resource| match resource {
            ResourceSetting::Dns { zone, .. } => Some(zone),
            _ => None,
        })
        .collect();
    Ok(InventoryQuery {
        instances,
        tables,
        vips: vips.into_iter().collect(),
        members_subnets: settings.groups.iter().any(|group| group.private_ips().next().is_some()),
        allocations: allocations.into_iter().cloned().collect(),
        zones: zones.into_iter().cloned().collect(),
    })
}

/// Every table that a group names.
fn listed_tables(settings: &Settings) -> Vec<RouteTableId> {
    let mut tables = BTreeSet::new();
    for group in &settings.groups {
        tables.extend(&group.tables);
        for resource in &group.resources {
            if let ResourceSetting::Vip { tables: of_vip, .. } = resource {
                tables.extend(of_vip);
            }
        }
    }
    tables.into_iter().cloned().collect()
}

/// The cluster that `me` belongs to.
///
/// `inventory` is what the APIs answered to [`inventory_query`]; things in it that do not belong to the cluster
/// are left out, and never touched.
///
/// # Errors
/// Where there is no cluster with this node in it, or where a group asks for what cannot be. A
/// roster that was discovered before stays the better knowledge then.
pub fn discover(
    me: &InstanceInfo,
    settings: &Settings,
    inventory: &Inventory,
) -> Result<Discovered, DiscoveryError> {
    let query = inventory_query(me, settings).map_err(DiscoveryError::NotYet)?;
    let Some(vpc) = &me.vpc else {
        let problem = Problem::new(format!("instance {}", me.id), "it is in no VPC", "wait");
        return Err(DiscoveryError::NotYet(Problems(vec![problem])));
    };
    let mut warnings = Vec::new();
    let found = members(me, vpc, &query.instances, &inventory.instances, &mut warnings);
    let (mut members, interfaces) = found.map_err(DiscoveryError::NotYet)?;
    let mut groups = if let Some(pair) = &settings.pair {
        let group = |table: &RouteTableId, home: &InstanceId| {
            let home = members.iter().any(|member| member.id == *home).then(|| home.clone());
            let routes = vec![default_route(table, Ipv4Net::default())];
            Group::new(groups::named(table.as_str(), table), home, routes)
        };
        vec![group(&pair.my_table, &me.id), group(&pair.peer_table, &pair.peer)]
    } else if settings.groups.is_empty() {
        groups::tagged(
            &groups::Tagged {
                wanted: &query.tables,
                vpc,
                members: &members,
                tables: &inventory.tables,
                subnets: &inventory.subnets,
            },
            &mut warnings,
        )
    } else {
        let ground = resources::Ground { vpc, members: &members, interfaces, inventory };
        groups::configured(settings, &ground, &mut warnings).map_err(DiscoveryError::Refused)?
    };
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    warn_of_tables(&query.tables, vpc, &inventory.tables, &mut warnings);
    forget_public(&mut members, &groups);
    Ok(Discovered { roster: Roster { members, groups }, warnings })
}

/// Leaves the members' public addresses out where no record gives them. Else the roster would
/// change whenever an Elastic IP moves.
fn forget_public(members: &mut [Member], groups: &[Group]) {
    let mut resources = groups.iter().flat_map(|group| &group.resources);
    if !resources.any(|resource| matches!(resource, Resource::Dns { public: true, .. })) {
        for member in members {
            member.public = None;
        }
    }
}

/// Members, and the forwarding interface of each, in the same order.
type Found<'a> = (Vec<Member>, Vec<&'a InterfaceInfo>);

/// All members, ordered by id.
fn members<'a>(
    me: &'a InstanceInfo,
    vpc: &VpcId,
    which: &Selector<InstanceId>,
    instances: &'a [InstanceInfo],
    warnings: &mut Vec<Problem>,
) -> Result<Found<'a>, Problems> {
    let belongs = |instance: &InstanceInfo| match which {
        Selector::Ids(ids) => instance.id == me.id || ids.contains(&instance.id),
        Selector::Tagged(name) => instance.tags.get(CLUSTER_TAG) == Some(name),
    };
    if let Selector::Tagged(name) = which
        && !belongs(me)
    {
        return Err(Problems(vec![Problem::new(
            format!("instance {}", me.id),
            format!("it is not tagged {CLUSTER_TAG} = {name}"),
            "tag it, or list `members`",
        )]));
    }
    let mut found = BTreeMap::new();
    for instance in instances.iter().chain([me]).filter(|instance| belongs(instance)) {
        let gone =
            matches!(instance.state, InstanceState::ShuttingDown | InstanceState::Terminated);
        if gone && instance.id != me.id {
            continue;
        }
        let subject = format!("instance {}", instance.id);
        if instance.vpc.as_ref() != Some(vpc) {
            warnings.push(Problem::new(subject, format!("it is not in {vpc}"), "leave it out"));
            continue;
        }
        match member(instance) {
            Ok((member, interface)) => {
                found.insert(member.id.clone(), (member, interface));
            }
            Err(problem) if instance.id == me.id => return Err(Problems(vec![problem])),
            Err(problem) => warnings.push(problem),
        }
    }
    if let Selector::Ids(ids) = which {
        for id in ids.iter().filter(|id| !found.contains_key(id)) {
            let what = "it is listed as a member, but is not there";
            warnings.push(Problem::new(format!("instance {id}"), what, "correct the list"));
        }
    }
    if found.len() > MAX_MEMBERS {
        let what = format!("it has {} members, {MAX_MEMBERS} is the most", found.len());
        return Err(Problems(vec![Problem::new("cluster", what, "split it")]));
    }
    Ok(found.into_values().unzip())
}

/// An instance as a member, and its forwarding interface.
fn member(instance: &InstanceInfo) -> Result<(Member, &InterfaceInfo), Problem> {
    let interface = forwarding_interface(instance)?;
    let member = Member {
        id: instance.id.clone(),
        interface: interface.id.clone(),
        address: interface.address,
        zone: instance.zone.clone(),
        // A tag may hold anything, and this one goes to terminals and logs.
        name: instance.tags.get("Name").map(|name| printable(name)),
        public: interface.public,
    };
    Ok((member, interface))
}

/// The interface that routes point at while this instance holds them: the one that its tag
/// names, else the primary one.
///
/// # Errors
/// Where there is no such interface.
pub fn forwarding_interface(instance: &InstanceInfo) -> Result<&InterfaceInfo, Problem> {
    let tag = instance.tags.get(INTERFACE_TAG).map_or("0", String::as_str);
    let mut all = instance.interfaces.iter();
    all.find(|one| one.id.as_str() == tag || one.device_index.to_string() == tag).ok_or_else(|| {
        Problem::new(
            format!("instance {}", instance.id),
            format!("it has no IPv4 interface `{tag}`"),
            format!("correct its tag {INTERFACE_TAG}: an interface id or a device index"),
        )
    })
}

fn default_route(table: &RouteTableId, cidr: Ipv4Net) -> Resource {
    Resource::DefaultRoute { table: table.clone(), cidr }
}

/// Tables that are asked for and not there, or not in this VPC.
fn warn_of_tables(
    which: &Selector<RouteTableId>,
    vpc: &VpcId,
    tables: &[RouteTableInfo],
    warnings: &mut Vec<Problem>,
) {
    match which {
        Selector::Ids(ids) => {
            for id in ids {
                let what = match tables.iter().find(|table| table.id == *id) {
                    None => "it does not exist".to_owned(),
                    Some(table) if table.vpc != *vpc => format!("it is not in {vpc}"),
                    Some(_) => continue,
                };
                let subject = format!("route table {id}");
                warnings.push(Problem::new(subject, what, "correct the settings"));
            }
        }
        Selector::Tagged(name) => {
            let ours = |table: &RouteTableInfo| table.tags.get(CLUSTER_TAG) == Some(name);
            if !tables.iter().any(ours) {
                let what = format!("none in {vpc} is tagged {CLUSTER_TAG} = {name}");
                let remedy = "tag the private subnets' route tables";
                warnings.push(Problem::new("route tables", what, remedy));
            }
        }
    }
}

#[cfg(test)]
mod tests;
