//! A number that tells whether two nodes run with the same settings.

use sha2::{Digest, Sha256};

use super::group::{Check, GroupSetting, ResourceSetting};
use super::keys::KEYS;
use super::settings::Settings;
use super::values::Value;
use crate::types::RouteTableId;

/// Settings that nodes of one cluster may rightly have different: about this host alone, or, for
/// `members`, listing the others.
const OWN: [&str; 10] = [
    "cluster",
    "members",
    "socket",
    "state_dir",
    "api.region",
    "api.endpoint",
    "api.route53_endpoint",
    "heartbeat.key_file",
    "heartbeat.bind",
    "host.uplink",
];

/// A digest over what all members must share: every timing, limit and group. Two nodes with
/// different digests do not stop each other.
#[must_use]
pub fn settings_digest(settings: &Settings) -> u64 {
    let mut text = String::new();
    let own = |name: &str| {
        ["host.", "uplink.", "notices.", "record."].iter().any(|of| name.starts_with(of))
    };
    let shared = |name: &str| !own(name);
    for key in KEYS.iter().filter(|key| shared(key.name) && !OWN.contains(&key.name)) {
        text.extend([key.name, "=", &key.get(settings), "\n"]);
    }
    let mut groups: Vec<String> = settings.groups.iter().map(group_line).collect();
    if let Some(pair) = &settings.pair {
        // Each node calls the other one the peer: the same two tables in either order.
        groups.extend([format!("group {}", pair.peer_table), format!("group {}", pair.my_table)]);
    }
    groups.sort();
    text.push_str(&groups.join("\n"));
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn group_line(group: &GroupSetting) -> String {
    let GroupSetting { name, home, prefer, tables, cidr, .. } = group;
    let GroupSetting { resources, local, check, hand_back, hold, .. } = group;
    let mut tables: Vec<&str> = tables.iter().map(RouteTableId::as_str).collect();
    tables.sort_unstable();
    let mut line = format!("group {name} {} {cidr} {}", home.show(), tables.join(","));
    line.extend([" prefer ", &prefer.show(), " local ", &local.show()]);
    line.extend([" hand_back ", &hand_back.show(), " hold ", &hold.show()]);
    let mut resources: Vec<String> = resources.iter().map(resource_text).collect();
    resources.sort();
    for resource in resources {
        line.extend([" and ", &resource]);
    }
    if let Some(Check { probe, interval, timeout, fall, rise }) = check {
        let numbers = [interval.show(), timeout.show(), fall.show(), rise.show()];
        line.extend([" check ", &format!("{probe:?} {}", numbers.join(" "))]);
    }
    line
}

fn resource_text(resource: &ResourceSetting) -> String {
    match resource {
        ResourceSetting::Vip { address, tables } => {
            let mut tables: Vec<&str> = tables.iter().map(RouteTableId::as_str).collect();
            tables.sort_unstable();
            format!("vip {address} {}", tables.join(","))
        }
        ResourceSetting::PrivateIp { address } => format!("private-ip {address}"),
        ResourceSetting::Eip { allocation, on } => format!("eip {allocation} {}", on.show()),
        ResourceSetting::Dns { zone, name, ttl, public } => {
            format!("dns {zone} {name} {ttl} {public}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_about_one_host_does_not_count_and_what_is_shared_does() {
        let base = settings_digest(&Settings::default());
        let members = vec!["i-00000001".parse().unwrap()];
        let mut own = Settings { members, ..Settings::default() };
        own.api.region = Some("eu-west-1".to_owned());
        own.host.uplink = Some("ens5".to_owned());
        assert_eq!(settings_digest(&own), base);
        let mut shared = Settings::default();
        shared.failover.repair.stagger += Duration::from_secs(1);
        assert_ne!(settings_digest(&shared), base);
    }

    #[test]
    fn groups_count_in_whatever_order_they_are_written() {
        let group = |name: &str, table: &str| {
            let tables = vec![table.parse().unwrap()];
            GroupSetting::of_tables(name.parse().unwrap(), None, tables, ipnet::Ipv4Net::default())
        };
        let (a, b) = (group("a", "rtb-00000001"), group("b", "rtb-00000002"));
        let with = |groups| settings_digest(&Settings { groups, ..Settings::default() });
        assert_eq!(with(vec![a.clone(), b.clone()]), with(vec![b, a.clone()]));
        assert_ne!(with(vec![a]), with(vec![]));
    }
}
