//! What must hold in groups and between them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Breach, show};
use crate::config::group::{GroupSetting, Local, ResourceSetting};
use crate::config::layers::Placed;
use crate::config::problem::Problem;
use crate::config::settings::Settings;
use crate::types::{AllocationId, DnsName, HostedZoneId, RouteTableId};

/// One thing that two groups cannot both move.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing<'a> {
    /// The route of a table to a destination.
    Route(&'a RouteTableId, Ipv4Net),
    Vip(Ipv4Addr),
    PrivateIp(Ipv4Addr),
    Eip(&'a AllocationId),
    /// The private IP that an Elastic IP is put on: it can have only one. None: the primary one.
    Landing(Option<Ipv4Addr>),
    Record(&'a HostedZoneId, &'a DnsName),
}

impl fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(table, cidr) if cidr.prefix_len() == 0 => write!(f, "{table}"),
            Self::Route(table, cidr) => write!(f, "the route to {cidr} of {table}"),
            Self::Vip(address) => write!(f, "the virtual IP {address}"),
            Self::PrivateIp(address) => write!(f, "the private IP {address}"),
            Self::Eip(allocation) => write!(f, "the Elastic IP {allocation}"),
            Self::Landing(Some(address)) => write!(f, "an Elastic IP on {address}"),
            Self::Landing(None) => f.write_str("an Elastic IP on the primary private IP"),
            Self::Record(zone, name) => write!(f, "the record {name} of {zone}"),
        }
    }
}

/// Everything that is wrong with the groups. They are those of `settings`, with their places.
pub(super) fn problems(settings: &Settings, groups: &[Placed]) -> Vec<Problem> {
    let mut found = twice(groups);
    for group in groups {
        found.extend(of_group(settings, &group.setting).into_iter().map(|(key, what, remedy)| {
            let subject = format!("group {}, {key} ({})", group.setting.name, group.origin);
            Problem::new(subject, what, remedy)
        }));
    }
    found
}

/// Names that two groups have, and things that would be moved twice.
fn twice(groups: &[Placed]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut names = BTreeMap::new();
    let mut things = BTreeMap::new();
    for Placed { setting: group, origin } in groups {
        if let Some(first) = names.insert(&group.name, origin) {
            let subject = format!("groups ({first}, {origin})");
            let what = format!("the group {} is defined twice", group.name);
            found.push(Problem::new(subject, what, "join the two, or rename one"));
        }
        for thing in moved(group) {
            let Some((other, first)) = things.insert(thing.clone(), (&group.name, origin)) else {
                continue;
            };
            let what = if first == origin {
                format!("the group {other} has {thing} twice")
            } else {
                format!("{thing} is in the groups {other} and {}", group.name)
            };
            let subject = format!("groups ({first}, {origin})");
            found.push(Problem::new(subject, what, "leave it in one place"));
        }
    }
    found
}

/// Everything that a group moves.
fn moved(group: &GroupSetting) -> Vec<Thing<'_>> {
    let mut things: Vec<Thing<'_>> =
        group.tables.iter().map(|table| Thing::Route(table, group.cidr)).collect();
    for resource in &group.resources {
        match resource {
            ResourceSetting::Vip { address, tables } => {
                things.push(Thing::Vip(*address));
                let cidr = Ipv4Net::from(*address);
                things.extend(tables.iter().map(|table| Thing::Route(table, cidr)));
            }
            ResourceSetting::PrivateIp { address } => things.push(Thing::PrivateIp(*address)),
            ResourceSetting::Eip { allocation, on } => {
                things.extend([Thing::Eip(allocation), Thing::Landing(*on)]);
            }
            ResourceSetting::Dns { zone, name, .. } => things.push(Thing::Record(zone, name)),
        }
    }
    things
}

type Fault = (&'static str, String, String);

/// What is wrong with one group by itself: the key, what, and the remedy.
fn of_group(settings: &Settings, group: &GroupSetting) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut note = |key, what: &str, remedy: &str| {
        found.push((key, what.to_owned(), remedy.to_owned()));
    };
    if group.tables.is_empty() && group.resources.is_empty() {
        note("tables", "it has nothing to move", "list its tables or resources, or remove it");
    }
    let vips = group.vips().next().is_some();
    match group.local {
        Local::Redirect | Local::Dnat(_) if !vips => note(
            "local",
            "there is no virtual IP whose packets could be translated",
            "remove it, or give the group a `vip`",
        ),
        Local::Lo if !group.has_addresses() => note(
            "local",
            "there is no virtual or private IP to put on the host",
            "remove it, or give the group a `vip` or a `private-ip`",
        ),
        Local::Lo | Local::Redirect | Local::Dnat(_) if group.follows() => note(
            "local",
            "natha would put the address there itself that the check of `address` looks for",
            "remove it: where natha follows, somebody else puts the address on the host",
        ),
        _ => {}
    }
    if group.follows() && !group.has_addresses() {
        let key = if settings.observe { "observe" } else { "check.address" };
        let remedy = "give the group a `vip` or a `private-ip`, or leave this out";
        note(key, "it has no virtual or private IP whose place could be followed", remedy);
    }
    for resource in &group.resources {
        if let ResourceSetting::Vip { address, .. } = resource
            && let Some(what) = never_routed(*address)
        {
            let what = format!("{address} is {what}, which no route of a VPC can lead to a node");
            note(
                "resource.address",
                &what,
                "choose an address outside the VPC, of 10.0.0.0/8, \
                 172.16.0.0/12 or 192.168.0.0/16",
            );
        }
    }
    found.extend(public_twice(group));
    found.extend(timing(settings, group));
    found
}

/// A record with the holder's public address beside an Elastic IP that becomes that address.
fn public_twice(group: &GroupSetting) -> Option<Fault> {
    let primary = |one: &ResourceSetting| matches!(one, ResourceSetting::Eip { on: None, .. });
    let public = |one: &ResourceSetting| matches!(one, ResourceSetting::Dns { public: true, .. });
    let both = group.resources.iter().any(primary) && group.resources.iter().any(public);
    both.then(|| {
        (
            "resource.public",
            "the holder's public address is the group's Elastic IP, on whichever node it is"
                .to_owned(),
            "make a record of the Elastic IP once, and leave the `dns` resource out".to_owned(),
        )
    })
}

/// An address that this host takes packets in for at all times, though only the holder of its group
/// is to: whoever has lost the group would go on answering.
pub(super) fn accepted_too(settings: &Settings, groups: &[Placed]) -> Vec<Breach> {
    let both = |placed: &Placed| {
        let Placed { setting: group, origin } = placed;
        let mut own = group.vips().chain(group.private_ips());
        let address = own.find(|address| settings.host.accept.contains(address))?;
        (group.local != Local::Off).then(|| Breach {
            keys: &["host.accept"],
            what: format!(
                "{address} is also the group {}'s ({origin}), which only its holder takes in \
                 packets to",
                group.name
            ),
            remedy: format!(
                "leave {address} out of host.accept; or, where a load balancer sends this host \
                 packets to it, give the group local = \"off\""
            ),
        })
    };
    groups.iter().filter_map(both).collect()
}

fn timing(settings: &Settings, group: &GroupSetting) -> Vec<Fault> {
    let hand_back = &settings.failover.hand_back;
    let mut found = Vec::new();
    if !group.hand_back.unwrap_or(hand_back.enabled) {
        return found;
    }
    if let Some(hold) = group.hold
        && hold > hand_back.hold_max
    {
        found.push((
            "hold",
            format!("it is longer than hand_back.hold_max ({})", show(hand_back.hold_max)),
            "raise hand_back.hold_max, or shorten it".to_owned(),
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
                "the group could go back after {} to a node whose check needs {least} to fail \
                 (check.interval × check.fall)",
                show(hold)
            ),
            format!("set hold, or hand_back.hold, to at least {least}, or shorten check.interval"),
        ));
    }
    found
}

/// What an address is that cannot be a virtual IP on AWS; none where it can be one.
fn never_routed(address: Ipv4Addr) -> Option<&'static str> {
    let [first, ..] = address.octets();
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_link_local() {
        Some("a link-local address, where AWS has its own services,")
    } else if first == 0 {
        Some("no host's address")
    } else if first >= 224 {
        Some("a multicast or reserved address")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
