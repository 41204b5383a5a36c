//! From what EC2 tells and what is configured to the cluster's members and groups. Pure, and the
//! same on every node that sees the same.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::problem::{Problem, Problems};
use super::settings::{Home, Settings};
use crate::types::{
    Group, GroupName, InstanceId, InstanceInfo, InstanceState, InterfaceInfo, Member, Resource,
    Roster, RouteTableId, RouteTableInfo, SubnetId, SubnetInfo, VpcId, Zone, printable,
};

/// The tag that makes an instance a member and a route table part of a group.
pub const CLUSTER_TAG: &str = "natha:cluster";

/// The tag of a route table that names its home: an instance id, an instance's `Name`, or a zone.
pub const HOME_TAG: &str = "natha:home";

/// The tag of an instance that names its forwarding interface: an interface id or a device index.
pub const INTERFACE_TAG: &str = "natha:interface";

/// The most members that a cluster has.
const MAX_MEMBERS: usize = 16;

/// What has to be read from EC2 before [`discover`] can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The instances beside this one.
    pub instances: Which<InstanceId>,
    /// The route tables.
    pub tables: Which<RouteTableId>,
}

/// Things by their ids or by the cluster they are tagged with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which<T> {
    /// These.
    Listed(Vec<T>),
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

/// The cluster's name, from the settings or this instance's own tag.
fn cluster<'a>(me: &'a InstanceInfo, settings: &'a Settings) -> Option<&'a str> {
    settings.cluster.as_deref().or_else(|| me.tags.get(CLUSTER_TAG).map(String::as_str))
}

/// What has to be read from EC2, from the settings and this instance.
///
/// # Errors
/// Where neither settings nor tags tell which instances and tables belong together.
pub fn wanted(me: &InstanceInfo, settings: &Settings) -> Result<Wanted, Problems> {
    if let Some(pair) = &settings.pair {
        return Ok(Wanted {
            instances: Which::Listed(vec![pair.peer.clone()]),
            tables: Which::Listed(vec![pair.peer_table.clone(), pair.my_table.clone()]),
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
        Which::Tagged(tagged()?)
    } else {
        Which::Listed(settings.members.iter().filter(|id| **id != me.id).cloned().collect())
    };
    let tables = if settings.groups.is_empty() {
        Which::Tagged(tagged()?)
    } else {
        let tables: BTreeSet<_> = settings.groups.iter().flat_map(|group| &group.tables).collect();
        Which::Listed(tables.into_iter().cloned().collect())
    };
    Ok(Wanted { instances, tables })
}

/// The cluster that `me` belongs to.
///
/// `instances`, `tables` and `subnets` are what EC2 answered to [`wanted`]; things in them that
/// do not belong to the cluster are left out, and never touched.
///
/// # Errors
/// Where there is no cluster with this node in it. A roster that was discovered before stays the
/// better knowledge then.
pub fn discover(
    me: &InstanceInfo,
    settings: &Settings,
    instances: &[InstanceInfo],
    tables: &[RouteTableInfo],
    subnets: &[SubnetInfo],
) -> Result<Discovered, Problems> {
    let wanted = wanted(me, settings)?;
    let Some(vpc) = &me.vpc else {
        let what = "it is in no VPC";
        return Err(Problems(vec![Problem::new(format!("instance {}", me.id), what, "wait")]));
    };
    let mut warnings = Vec::new();
    let members = members(me, vpc, &wanted.instances, instances, &mut warnings)?;
    let mut groups = if let Some(pair) = &settings.pair {
        let group = |table: &RouteTableId, home: &InstanceId| {
            let home = members.iter().any(|member| member.id == *home).then(|| home.clone());
            let routes = vec![default_route(table, Ipv4Net::default())];
            Group::new(named(table.as_str(), table), home, routes)
        };
        vec![group(&pair.my_table, &me.id), group(&pair.peer_table, &pair.peer)]
    } else if settings.groups.is_empty() {
        tagged_groups(
            &Tagged { wanted: &wanted.tables, vpc, members: &members, tables, subnets },
            &mut warnings,
        )
    } else {
        configured_groups(settings, &members, &mut warnings)
    };
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    warn_of_tables(&wanted.tables, vpc, tables, &mut warnings);
    Ok(Discovered { roster: Roster { members, groups }, warnings })
}

/// All members, ordered by id.
fn members(
    me: &InstanceInfo,
    vpc: &VpcId,
    which: &Which<InstanceId>,
    instances: &[InstanceInfo],
    warnings: &mut Vec<Problem>,
) -> Result<Vec<Member>, Problems> {
    let belongs = |instance: &InstanceInfo| match which {
        Which::Listed(ids) => instance.id == me.id || ids.contains(&instance.id),
        Which::Tagged(name) => instance.tags.get(CLUSTER_TAG) == Some(name),
    };
    if let Which::Tagged(name) = which
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
            Ok(member) => drop(found.insert(member.id.clone(), member)),
            Err(problem) if instance.id == me.id => return Err(Problems(vec![problem])),
            Err(problem) => warnings.push(problem),
        }
    }
    if let Which::Listed(ids) = which {
        for id in ids.iter().filter(|id| !found.contains_key(id)) {
            let what = "it is listed as a member, but is not there";
            warnings.push(Problem::new(format!("instance {id}"), what, "correct the list"));
        }
    }
    if found.len() > MAX_MEMBERS {
        let what = format!("it has {} members, {MAX_MEMBERS} is the most", found.len());
        return Err(Problems(vec![Problem::new("cluster", what, "split it")]));
    }
    Ok(found.into_values().collect())
}

/// An instance as a member.
fn member(instance: &InstanceInfo) -> Result<Member, Problem> {
    let interface = forwarding_interface(instance)?;
    Ok(Member {
        id: instance.id.clone(),
        interface: interface.id.clone(),
        address: interface.address,
        zone: instance.zone.clone(),
        // A tag may hold anything, and this one goes to terminals and logs.
        name: instance.tags.get("Name").map(|name| printable(name)),
        public: interface.public,
    })
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

/// Groups as the settings have them.
fn configured_groups(
    settings: &Settings,
    members: &[Member],
    warnings: &mut Vec<Problem>,
) -> Vec<Group> {
    let mut groups = Vec::new();
    for group in &settings.groups {
        let home = group.home.as_ref().and_then(|home| {
            let found = match home {
                Home::Instance(id) => members.iter().find(|member| member.id == *id),
                Home::Zone(zone) => in_zone(members, zone),
            };
            if found.is_none() {
                warnings.push(homeless(&format!("group {}", group.name), home_text(home)));
            }
            found.map(|member| member.id.clone())
        });
        let routes = group.tables.iter().map(|table| default_route(table, group.cidr)).collect();
        groups.push(Group::new(group.name.clone(), home, routes));
    }
    groups
}

fn home_text(home: &Home) -> &str {
    match home {
        Home::Instance(id) => id.as_str(),
        Home::Zone(zone) => zone.as_str(),
    }
}

fn homeless(subject: &str, home: &str) -> Problem {
    Problem::new(
        subject,
        format!("no member is its home `{home}`"),
        "correct the home, or start a member there; the rank order decides meanwhile",
    )
}

/// What the groups of tagged tables are found from.
struct Tagged<'a> {
    wanted: &'a Which<RouteTableId>,
    vpc: &'a VpcId,
    members: &'a [Member],
    tables: &'a [RouteTableInfo],
    subnets: &'a [SubnetInfo],
}

/// Groups of tagged tables: one for each home, and one for each table without.
fn tagged_groups(from: &Tagged<'_>, warnings: &mut Vec<Problem>) -> Vec<Group> {
    let Which::Tagged(cluster) = from.wanted else { return Vec::new() };
    let zones: BTreeMap<&SubnetId, &Zone> =
        from.subnets.iter().map(|subnet| (&subnet.id, &subnet.zone)).collect();
    let ours: BTreeMap<&RouteTableId, &RouteTableInfo> = from
        .tables
        .iter()
        .filter(|table| table.tags.get(CLUSTER_TAG) == Some(cluster) && table.vpc == *from.vpc)
        .map(|table| (&table.id, table))
        .collect();
    let mut by_home: BTreeMap<String, Vec<&RouteTableId>> = BTreeMap::new();
    for (id, table) in &ours {
        let home = match table.tags.get(HOME_TAG).map(|tag| tag.trim()) {
            Some(tag) if !tag.is_empty() => tag.to_owned(),
            _ => match only_zone(table, &zones) {
                Some(zone) => zone.to_string(),
                None => id.to_string(),
            },
        };
        by_home.entry(home).or_default().push(id);
    }
    let mut taken = BTreeSet::new();
    let mut groups = Vec::new();
    for (home, tables) in by_home {
        let found = find_home(from.members, &home);
        let unhomed = tables.iter().any(|id| id.as_str() == home);
        if found.is_none() && !unhomed {
            warnings.push(homeless(&format!("route table {}", tables[0]), &home));
        }
        let mut name = named(&home, tables[0]);
        if !taken.insert(name.clone()) {
            name = named(tables[0].as_str(), tables[0]);
        }
        let routes = tables.iter().map(|id| default_route(id, Ipv4Net::default())).collect();
        groups.push(Group::new(name, found.map(|member| member.id.clone()), routes));
    }
    groups
}

/// The zone of a table's subnets, where they are all in one.
fn only_zone<'a>(
    table: &RouteTableInfo,
    zones: &BTreeMap<&SubnetId, &'a Zone>,
) -> Option<&'a Zone> {
    let mut of_table = table.subnets.iter().map(|id| zones.get(id).copied());
    let first = of_table.next()??;
    of_table.all(|zone| zone == Some(first)).then_some(first)
}

/// The member that a home names: by its id, its `Name`, or its zone; the lowest id of several.
fn find_home<'a>(members: &'a [Member], home: &str) -> Option<&'a Member> {
    let by_id = members.iter().find(|member| member.id.as_str() == home);
    let by_name = || members.iter().find(|member| member.name.as_deref() == Some(home));
    let by_zone = || in_zone(members, &home.parse().ok()?);
    by_id.or_else(by_name).or_else(by_zone)
}

/// The member in a zone, the lowest id of several.
fn in_zone<'a>(members: &'a [Member], zone: &Zone) -> Option<&'a Member> {
    members.iter().find(|member| member.zone.as_ref() == Some(zone))
}

/// A group's name from its home's, with what a name may not have replaced; the table's id where
/// nothing is left.
fn named(home: &str, table: &RouteTableId) -> GroupName {
    let fitting = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = home.chars().map(fitting).take(64).collect();
    name.parse()
        .or_else(|_| table.as_str().parse())
        .expect("a route table id is short and of letters, digits and a dash")
}

fn default_route(table: &RouteTableId, cidr: Ipv4Net) -> Resource {
    Resource::DefaultRoute { table: table.clone(), cidr }
}

/// Tables that are asked for and not there, or not in this VPC.
fn warn_of_tables(
    which: &Which<RouteTableId>,
    vpc: &VpcId,
    tables: &[RouteTableInfo],
    warnings: &mut Vec<Problem>,
) {
    match which {
        Which::Listed(ids) => {
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
        Which::Tagged(name) => {
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
