//! The groups of the settings, or those of tagged tables.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::inventory::{CLUSTER_TAG, FALLBACK_TAG, HOME_TAG, Inventory, Selector, default_route};
use super::resources::Context;
use super::{egress, uplinks};
use crate::config::{Home, Local, Problem, Problems, Settings};
use crate::types::{
    Group, GroupName, InstanceInfo, Member, NatGatewayId, RouteTableId, RouteTableInfo, SubnetId,
    Traits, VpcId, Zone,
};

/// The groups of the settings.
///
/// # Errors
/// Everything impossible that they ask for.
pub(super) fn configured(
    settings: &Settings,
    context: &Context<'_>,
    warnings: &mut Vec<Problem>,
) -> Result<Vec<Group>, Problems> {
    let (mut groups, mut refused) = (Vec::new(), Vec::new());
    for setting in &settings.groups {
        let subject = format!("group {}", setting.name);
        let mut prefer = Vec::new();
        for home in setting.home.iter().chain(&setting.prefer) {
            match preferred(context.members, home) {
                Some(member) if prefer.contains(&member.id) => {}
                Some(member) => prefer.push(member.id.clone()),
                None => warnings.push(homeless(&subject, &home.to_string())),
            }
        }
        let resources = context.resources(setting, warnings, &mut refused);
        if resources.is_empty() {
            // Its routes do not exist yet; a warning lists them.
            continue;
        }
        let mut group = Group::new(setting.name.clone(), prefer.first().cloned(), resources);
        group.prefer = prefer;
        group.egress = egress::configured(setting, context.inventory, warnings);
        group.traits = Traits {
            checked: setting.check.is_some(),
            hand_back: setting.hand_back,
            hold: setting.hold,
            prepared: setting.local != Local::Off,
            fallback: setting.fallback.clone(),
        };
        groups.push(group);
    }
    if refused.is_empty() { Ok(groups) } else { Err(Problems(refused)) }
}

/// The member that a setting names.
fn preferred<'a>(members: &'a [Member], home: &Home) -> Option<&'a Member> {
    match home {
        Home::Instance(id) => members.iter().find(|member| member.id == *id),
        Home::Named(name) => find_home(members, name),
    }
}

fn homeless(subject: &str, home: &str) -> Problem {
    Problem::new(
        subject,
        format!("no member matches its home `{home}`"),
        "correct the home, or start a member there; until then the rank order decides",
    )
}

/// The input of [`tagged`].
pub(super) struct Tagged<'a> {
    pub(super) wanted: &'a Selector<RouteTableId>,
    pub(super) vpc: &'a VpcId,
    pub(super) members: &'a [Member],
    /// The instance of each member.
    pub(super) instances: &'a [&'a InstanceInfo],
    pub(super) inventory: &'a Inventory,
}

/// Groups of tagged tables: one for each home, and one for each table without. The tables of the
/// nodes' own uplinks go to `refused`.
pub(super) fn tagged(
    from: &Tagged<'_>,
    warnings: &mut Vec<Problem>,
    refused: &mut Vec<Problem>,
) -> Vec<Group> {
    let Selector::Tagged(cluster) = from.wanted else { return Vec::new() };
    let subnets = from.inventory.subnets.iter();
    let zones: BTreeMap<&SubnetId, &Zone> =
        subnets.map(|subnet| (&subnet.id, &subnet.zone)).collect();
    let tables = from.inventory.tables.iter();
    let mut ours: BTreeMap<&RouteTableId, &RouteTableInfo> = tables
        .filter(|table| table.tags.get(CLUSTER_TAG) == Some(cluster) && table.vpc == *from.vpc)
        .map(|table| (&table.id, table))
        .collect();
    ours.retain(|_, table| {
        let refusal = uplinks::refusal(table, from.instances.iter().copied(), from.inventory);
        let is_fine = refusal.is_none();
        refused.extend(refusal);
        is_fine
    });
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
        let mut group = Group::new(name, found.map(|member| member.id.clone()), routes);
        group.traits.fallback = tagged_fallback(tables.iter().map(|id| ours[id]), warnings);
        groups.push(group);
    }
    groups
}

/// The fallback that the tags of a group's tables name; none if none does, or not all agree.
fn tagged_fallback<'a>(
    tables: impl Iterator<Item = &'a RouteTableInfo>,
    warnings: &mut Vec<Problem>,
) -> Option<NatGatewayId> {
    let mut found = BTreeMap::new();
    for table in tables {
        let Some(tag) = table.tags.get(FALLBACK_TAG).map(|tag| tag.trim()) else { continue };
        match tag.parse::<NatGatewayId>() {
            Ok(gateway) => {
                found.insert(gateway, &table.id);
            }
            Err(error) => warnings.push(Problem::new(
                format!("route table {}, tag {FALLBACK_TAG}", table.id),
                error.to_string(),
                "name a NAT gateway by its id, or remove the tag; the group has no fallback",
            )),
        }
    }
    if found.len() > 1 {
        let tables: Vec<&str> = found.values().map(|id| id.as_str()).collect();
        warnings.push(Problem::new(
            format!("route tables {}", tables.join(", ")),
            format!("are in one group, and their tags {FALLBACK_TAG} differ"),
            "name the same NAT gateway on each of them; until then the group has no fallback",
        ));
        return None;
    }
    found.into_keys().next()
}

/// The zone of a table's subnets, if they are all in one.
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

/// A group's name from its home's, with invalid characters replaced; the table's id if that gives
/// no valid name.
pub(super) fn named(home: &str, table: &RouteTableId) -> GroupName {
    let fitting = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = home.chars().map(fitting).take(64).collect();
    name.parse()
        .or_else(|_| table.as_str().parse())
        .expect("a route table id is short and of letters, digits and a dash")
}
