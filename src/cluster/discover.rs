//! Makes the cluster from the settings and what was read.

use std::collections::BTreeMap;
use std::fmt;

use super::inventory::{CLUSTER_TAG, Inventory, Selector, forwarding_interface, inventory_query};
use super::resources::Context;
use super::{egress, groups, transit};
use crate::config::{Problem, Problems, Settings};
use crate::types::{
    Group, InstanceId, InstanceInfo, InstanceState, InterfaceInfo, Member, Resource, Roster,
    RouteTableId, RouteTableInfo, VpcId, printable,
};

/// The maximum number of members.
const MAX_MEMBERS: usize = 16;

/// A cluster, and what is wrong with its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Its members and groups.
    pub roster: Roster,
    /// What the operator should correct. natha works without it.
    pub warnings: Vec<Problem>,
    /// What keeps natha from covering a table or repairing a node until the operator corrects it.
    pub findings: Vec<Problem>,
    /// The number of landing addresses that EC2 should assign to this node's forwarding interface.
    pub unassigned: usize,
}

/// Why there is no cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryError {
    /// Not discoverable yet. A later attempt succeeds once the problems are corrected.
    NotYet(Problems),
    /// The settings ask for something that AWS cannot do or that does not exist. Waiting does not
    /// help.
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
/// `inventory` is the result of [`inventory_query`]. What is not in the cluster is ignored.
///
/// # Errors
/// If there is no cluster with this node in it, or a group asks for something impossible. The
/// caller then keeps an earlier roster.
pub fn discover(
    me: &InstanceInfo,
    settings: &Settings,
    inventory: &Inventory,
) -> Result<Discovered, DiscoveryError> {
    let query = inventory_query(me, settings).map_err(DiscoveryError::NotYet)?;
    let Some(vpc) = &me.vpc else {
        let problem =
            Problem::new(format!("instance {}", me.id), "has no VPC yet", "natha will retry");
        return Err(DiscoveryError::NotYet(Problems(vec![problem])));
    };
    let mut warnings = Vec::new();
    let mut findings = Vec::new();
    let found = members(me, vpc, &query.instances, &inventory.instances, &mut warnings);
    let (mut members, interfaces) = found.map_err(DiscoveryError::NotYet)?;
    let forwarding = interfaces.clone();
    let instances = instances_of(&members, inventory.instances.iter().chain([me]));
    let mut groups = if settings.groups.is_empty() {
        let mut groups = groups::tagged(
            &groups::Tagged {
                wanted: &query.tables,
                vpc,
                members: &members,
                instances: &instances,
                inventory,
            },
            &mut warnings,
            &mut findings,
        );
        egress::tagged(&mut groups, &forwarding, inventory, &mut warnings);
        groups
    } else {
        let context = Context { vpc, members: &members, instances, interfaces, inventory };
        groups::configured(settings, &context, &mut warnings).map_err(DiscoveryError::Refused)?
    };
    for group in &mut groups {
        group.networks = egress::networks(group, inventory);
    }
    let landings = egress::Landings::new(&groups, &settings.groups);
    landings.give(&mut members, &forwarding, &mut findings);
    let own = members.iter().find(|member| member.id == me.id);
    let unassigned = own.map_or(0, |member| landings.unassigned(member));
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    warn_of_tables(&query.tables, vpc, &inventory.tables, &mut warnings);
    if settings.replicate.enabled {
        // Who gets connections inserts them before the group's packets come.
        let with_egress = groups.iter_mut().filter(|group| !group.egress.is_plain());
        with_egress.for_each(|group| group.traits.prepared = true);
    }
    findings.extend(transit::finding(settings, vpc, &inventory.tables));
    if settings.timing.repair.enabled {
        findings.extend(members.iter().filter(|one| one.loses_public).map(not_repaired));
    }
    forget_public(&mut members, &groups);
    Ok(Discovered { roster: Roster { members, groups }, warnings, findings, unassigned })
}

/// The finding about a member that repair does not stop.
fn not_repaired(member: &Member) -> Problem {
    Problem::new(
        format!("instance {}", member.id),
        "is not repaired: it has several network interfaces and a public address that EC2 \
         assigned, so after a stop and a start it would have none",
        "associate an Elastic IP with it",
    )
}

/// Removes the members' public addresses unless a record contains them. Otherwise the roster would
/// change whenever an Elastic IP moves.
fn forget_public(members: &mut [Member], groups: &[Group]) {
    let mut resources = groups.iter().flat_map(|group| &group.resources);
    if !resources.any(Resource::is_public_address) {
        for member in members {
            member.public = None;
        }
    }
}

/// The instances of the members, ordered by id.
fn instances_of<'a>(
    members: &[Member],
    all: impl Iterator<Item = &'a InstanceInfo>,
) -> Vec<&'a InstanceInfo> {
    let is_member = |one: &&InstanceInfo| members.iter().any(|member| member.id == one.id);
    let found: BTreeMap<&InstanceId, &InstanceInfo> =
        all.filter(is_member).map(|one| (&one.id, one)).collect();
    found.into_values().collect()
}

/// Members, and the forwarding interface of each, in the same order.
type WithInterfaces<'a> = (Vec<Member>, Vec<&'a InterfaceInfo>);

/// All members, ordered by id.
fn members<'a>(
    me: &'a InstanceInfo,
    vpc: &VpcId,
    which: &Selector<InstanceId>,
    instances: &'a [InstanceInfo],
    warnings: &mut Vec<Problem>,
) -> Result<WithInterfaces<'a>, Problems> {
    let belongs = |instance: &InstanceInfo| match which {
        Selector::Ids(ids) => instance.id == me.id || ids.contains(&instance.id),
        Selector::Tagged(name) => instance.tags.get(CLUSTER_TAG) == Some(name),
    };
    if let Selector::Tagged(name) = which
        && !belongs(me)
    {
        return Err(Problems(vec![Problem::new(
            format!("instance {}", me.id),
            format!("is not tagged {CLUSTER_TAG} = {name}"),
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
            warnings.push(Problem::new(subject, format!("is not in {vpc}"), "remove it"));
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
            let what = "is listed as a member but does not exist";
            warnings.push(Problem::new(format!("instance {id}"), what, "correct the list"));
        }
    }
    if found.len() > MAX_MEMBERS {
        let what = format!("has {} members; the maximum is {MAX_MEMBERS}", found.len());
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
        // A tag may contain any text, and this one is printed to terminals and logs.
        name: instance.tags.get("Name").map(|name| printable(name)),
        public: interface.public,
        loses_public: instance.loses_public,
        landings: BTreeMap::new(),
    };
    Ok((member, interface))
}

/// Configured tables that do not exist or are not in this VPC.
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
                    None => "does not exist".to_owned(),
                    Some(table) if table.vpc != *vpc => format!("is not in {vpc}"),
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
