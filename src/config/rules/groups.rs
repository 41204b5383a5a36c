//! Rules in groups and between them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::breach::{Breach, show};
use crate::config::group::{GroupSetting, ResourceSetting};
use crate::config::group_modes::{EgressMode, Local};
use crate::config::problem::{LocatedGroup, Problem};
use crate::config::settings::Settings;
use crate::types::{AllocationId, DnsName, HostedZoneId, RouteTableId};

/// Something that only one group can move.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum MovedItem<'a> {
    /// The route of a table to a destination.
    Route(&'a RouteTableId, Ipv4Net),
    Vip(Ipv4Addr),
    PrivateIp(Ipv4Addr),
    Eip(&'a AllocationId),
    /// The private IP of an Elastic IP: it can have only one. None: the primary one.
    EipOn(Option<Ipv4Addr>),
    Record(&'a HostedZoneId, &'a DnsName),
}

impl fmt::Display for MovedItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(table, cidr) if cidr.prefix_len() == 0 => write!(f, "{table}"),
            Self::Route(table, cidr) => write!(f, "the route to {cidr} of {table}"),
            Self::Vip(address) => write!(f, "the virtual IP {address}"),
            Self::PrivateIp(address) => write!(f, "the private IP {address}"),
            Self::Eip(allocation) => write!(f, "the Elastic IP {allocation}"),
            Self::EipOn(Some(address)) => write!(f, "an Elastic IP on {address}"),
            Self::EipOn(None) => f.write_str("an Elastic IP on the primary private IP"),
            Self::Record(zone, name) => write!(f, "the record {name} of {zone}"),
        }
    }
}

/// All problems of the groups, which are those of `settings`.
pub(super) fn problems(settings: &Settings, groups: &[LocatedGroup]) -> Vec<Problem> {
    let mut found = twice(groups);
    for group in groups {
        found.extend(of_group(settings, &group.setting).into_iter().map(|(key, what, remedy)| {
            let subject = format!("group {}, {key} ({})", group.setting.name, group.origin);
            Problem::new(subject, what, remedy)
        }));
    }
    found
}

/// Names of several groups, and items that would be moved twice.
fn twice(groups: &[LocatedGroup]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut names = BTreeMap::new();
    let mut things = BTreeMap::new();
    for LocatedGroup { setting: group, origin } in groups {
        if let Some(first) = names.insert(&group.name, origin) {
            let subject = format!("groups ({first}, {origin})");
            let what = format!("group {} is defined twice", group.name);
            found.push(Problem::new(subject, what, "merge the two, or rename one"));
        }
        for thing in moved(group) {
            let Some((other, first)) = things.insert(thing.clone(), (&group.name, origin)) else {
                continue;
            };
            let what = if first == origin {
                format!("group {other} has {thing} twice")
            } else {
                format!("{thing} is in the groups {other} and {}", group.name)
            };
            let subject = format!("groups ({first}, {origin})");
            found.push(Problem::new(subject, what, "keep only one of them"));
        }
    }
    found
}

/// Everything that a group moves.
fn moved(group: &GroupSetting) -> Vec<MovedItem<'_>> {
    let mut things: Vec<MovedItem<'_>> =
        group.tables.iter().map(|table| MovedItem::Route(table, group.cidr)).collect();
    for resource in &group.resources {
        match resource {
            ResourceSetting::Vip { address, tables } => {
                things.push(MovedItem::Vip(*address));
                let cidr = Ipv4Net::from(*address);
                things.extend(tables.iter().map(|table| MovedItem::Route(table, cidr)));
            }
            ResourceSetting::PrivateIp { address } => things.push(MovedItem::PrivateIp(*address)),
            ResourceSetting::Eip { allocation, on } => {
                things.extend([MovedItem::Eip(allocation), MovedItem::EipOn(*on)]);
            }
            ResourceSetting::EgressIp { allocation, landing } => {
                things.push(MovedItem::Eip(allocation));
                things.extend(landing.iter().map(|address| MovedItem::EipOn(Some(*address))));
            }
            ResourceSetting::Dns { zone, name, .. } => things.push(MovedItem::Record(zone, name)),
        }
    }
    things
}

/// A key, what is wrong with it, and the remedy.
type GroupFault = (&'static str, String, String);

/// The faults of one group, regardless of the others.
fn of_group(settings: &Settings, group: &GroupSetting) -> Vec<GroupFault> {
    let mut found = Vec::new();
    let mut note = |key, what: &str, remedy: &str| {
        found.push((key, what.to_owned(), remedy.to_owned()));
    };
    if group.tables.is_empty() && group.resources.is_empty() {
        note("tables", "there is nothing to move", "list tables or resources, or remove the group");
    }
    let vips = group.vips().next().is_some();
    match group.local {
        Local::Redirect | Local::Dnat(_) if !vips => note(
            "local",
            "there is no virtual IP whose packets could be redirected",
            "remove it, or add a `vip` to the group",
        ),
        Local::Lo if !group.has_addresses() => note(
            "local",
            "there is no virtual or private IP to add to the host",
            "remove it, or add a `vip` or a `private-ip` to the group",
        ),
        Local::Lo | Local::Redirect | Local::Dnat(_) if group.follows() => note(
            "local",
            "natha itself would add the address that the `address` check looks for",
            "remove it: where natha follows, other software adds the address to the host",
        ),
        _ => {}
    }
    if group.follows() && !group.has_addresses() {
        let key = if settings.observe { "observe" } else { "check.address" };
        let remedy = "add a `vip` or a `private-ip` to the group, or remove this";
        note(key, "there is no virtual or private IP that natha could follow", remedy);
    }
    for resource in &group.resources {
        if let ResourceSetting::Vip { address, .. } = resource
            && let Some(what) = never_routed(*address)
        {
            let what = format!("{address} is {what}; VPC routes cannot send it to a node");
            note(
                "resource.address",
                &what,
                "choose an address outside the VPC, from 10.0.0.0/8, \
                 172.16.0.0/12 or 192.168.0.0/16",
            );
        }
    }
    found.extend(public_twice(group));
    found.extend(fallback(group));
    found.extend(egress(settings, group));
    found.extend(timing(settings, group));
    found
}

/// Egress IPs without private hosts, and what is about egress IPs without one.
fn egress(settings: &Settings, group: &GroupSetting) -> Option<GroupFault> {
    let fault = |key, what: &str, remedy: &str| Some((key, what.to_owned(), remedy.to_owned()));
    if group.has_egress() {
        if group.tables.is_empty() && group.egress_sources.is_empty() {
            let what = "no private host would reach the internet by it";
            return fault("egress-ip", what, "list `tables`, or networks as `egress_sources`");
        }
        if !settings.is_nat() {
            let what = "this host translates nothing: host.nat is false";
            return fault("egress-ip", what, "remove host.nat = false, or the `egress-ip`");
        }
        return None;
    }
    let remedy = "remove it, or add an `egress-ip` to the group";
    if group.egress != EgressMode::Eager {
        return fault("egress", "there is no egress IP to wait for", remedy);
    }
    if !group.egress_sources.is_empty() {
        return fault("egress_sources", "there is no egress IP for these networks", remedy);
    }
    None
}

/// A fallback of a group that it cannot serve.
fn fallback(group: &GroupSetting) -> Option<GroupFault> {
    group.fallback.as_ref()?;
    let fault = |what: &str, remedy: &str| Some(("fallback", what.to_owned(), remedy.to_owned()));
    let of_egress = |one: &ResourceSetting| matches!(one, ResourceSetting::EgressIp { .. });
    if group.tables.is_empty() || !group.resources.iter().all(of_egress) {
        return fault(
            "a NAT gateway can take default routes only",
            "remove it, or give the `tables` a group without other resources",
        );
    }
    if group.egress == EgressMode::Strict {
        return fault(
            "the NAT gateway has its own address, and the group allows only its egress IPs",
            "remove it, or set egress = \"eager\"",
        );
    }
    None
}

/// A record with the holder's public address, together with an Elastic IP that becomes it.
fn public_twice(group: &GroupSetting) -> Option<GroupFault> {
    let primary = |one: &ResourceSetting| matches!(one, ResourceSetting::Eip { on: None, .. });
    let public = |one: &ResourceSetting| matches!(one, ResourceSetting::Dns { public: true, .. });
    let both = group.resources.iter().any(primary) && group.resources.iter().any(public);
    both.then(|| {
        (
            "resource.public",
            "the holder's public address is always the group's Elastic IP".to_owned(),
            "create a static record of the Elastic IP, and remove the `dns` resource".to_owned(),
        )
    })
}

/// Addresses that this host always accepts packets for, although only the holder of their group
/// may: a node that lost the group would continue to answer.
pub(super) fn accepted_too(settings: &Settings, groups: &[LocatedGroup]) -> Vec<Breach> {
    let both = |placed: &LocatedGroup| {
        let LocatedGroup { setting: group, origin } = placed;
        let mut own = group.vips().chain(group.private_ips());
        let address = own.find(|address| settings.host.accept.contains(address))?;
        (group.local != Local::Off).then(|| Breach {
            keys: &["host.accept"],
            what: format!(
                "{address} also belongs to group {} ({origin}); only its holder may accept packets \
                 to it",
                group.name
            ),
            remedy: format!(
                "remove {address} from host.accept, or set local = \"off\" in the group if a load \
                 balancer sends this host packets to it"
            ),
        })
    };
    groups.iter().filter_map(both).collect()
}

fn timing(settings: &Settings, group: &GroupSetting) -> Vec<GroupFault> {
    let hand_back = &settings.timing.hand_back;
    let mut found = Vec::new();
    if !group.hand_back.unwrap_or(hand_back.enabled) {
        return found;
    }
    if let Some(hold) = group.hold
        && hold > hand_back.hold_max
    {
        found.push((
            "hold",
            format!("is longer than hand_back.hold_max ({})", show(hand_back.hold_max)),
            "raise hand_back.hold_max, or shorten the hold".to_owned(),
        ));
    }
    let hold = group.hold.unwrap_or(hand_back.hold);
    if let Some(check) = &group.check
        && hold < check.interval * check.fall
    {
        let least = show(check.interval * check.fall);
        found.push((
            "hold",
            format!(
                "the group could return after {} to a node whose check takes {least} to fail \
                 (check.interval × check.fall)",
                show(hold)
            ),
            format!("set hold, or hand_back.hold, to at least {least}, or shorten check.interval"),
        ));
    }
    found
}

/// Why an address cannot be a virtual IP on AWS; none if it can.
fn never_routed(address: Ipv4Addr) -> Option<&'static str> {
    let [first, ..] = address.octets();
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_link_local() {
        Some("a link-local address, which AWS uses for its own services")
    } else if first == 0 {
        Some("not the address of a host")
    } else if first >= 224 {
        Some("a multicast or reserved address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
