//! The cluster, from what was read and configured.

use std::collections::BTreeMap;
use std::fmt;

use super::groups;
use super::inventory::{CLUSTER_TAG, Inventory, Selector, forwarding_interface, inventory_query};
use super::resources::Context;
use crate::config::{Problem, Problems, Settings};
use crate::types::{
    Group, InstanceId, InstanceInfo, InstanceState, InterfaceInfo, Member, Resource, Roster,
    RouteTableId, RouteTableInfo, VpcId, printable,
};

/// The most members that a cluster has.
const MAX_MEMBERS: usize = 16;

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
    let mut groups = if settings.groups.is_empty() {
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
        let context = Context { vpc, members: &members, interfaces, inventory };
        groups::configured(settings, &context, &mut warnings).map_err(DiscoveryError::Refused)?
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
