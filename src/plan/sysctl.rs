//! The sysctls that a NAT needs, and the size of its connection table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::relay::RELAY_LINK;
use super::table::TRANSIT_LINK;
use super::{HostFacts, Reading, SysctlKey};
use crate::config::{Host, Role};

/// Memory per tracked connection, in bytes, rounded up: `struct nf_conn` with its extensions comes
/// from slabs of 256 to 384 bytes on 64-bit kernels.
const ENTRY_BYTES: u64 = 512;
/// Tracked connections may use up to one eighth of RAM.
const MEMORY_SHARE: u64 = 8;
/// The kernel allocates buckets in whole pages, of up to 64 KiB on some arm64 kernels. A multiple
/// of the pointers in such a page reads back as written.
const BUCKETS_STEP: u64 = 8192;
/// The kernel's own default on a host with 1 GiB.
const MAX_FLOOR: u64 = 65_536;
/// More than any known instance has needed; 2 GiB when full.
const MAX_CEILING: u64 = 4_194_304;

/// `net.ipv4.ip_forward`.
const IP_FORWARD: &str = "net/ipv4/ip_forward";
/// Maximum number of tracked connections.
const CONNTRACK_MAX: &str = "net/netfilter/nf_conntrack_max";
/// Buckets in the hash table of connections.
const CONNTRACK_BUCKETS: &str = "net/netfilter/nf_conntrack_buckets";
/// Whether TCP packets outside the known window still belong to their connection.
const CONNTRACK_LIBERAL: &str = "net/netfilter/nf_conntrack_tcp_be_liberal";
/// Whether the packets and bytes of each connection are counted. A change holds for connections
/// that begin later.
const CONNTRACK_ACCT: &str = "net/netfilter/nf_conntrack_acct";
/// How long an idle established connection is kept, in seconds. A policy of nft (`ct timeout`)
/// could do the same for some connections, but not for those that a takeover inserts, nor for those
/// of a flowtable, and replacing its table takes it from all connections.
const CONNTRACK_ESTABLISHED: &str = "net/netfilter/nf_conntrack_tcp_timeout_established";

/// The values that a sysctl may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SysctlValue {
    /// No other value is accepted.
    Exactly(u64),
    /// A larger value is kept: it was probably set on purpose.
    AtLeast(u64),
}

impl SysctlValue {
    /// Whether a current value of `value` needs no change.
    #[must_use]
    pub fn accepts(self, value: u64) -> bool {
        match self {
            Self::Exactly(wanted) => value == wanted,
            Self::AtLeast(wanted) => value >= wanted,
        }
    }

    /// The value to write.
    #[must_use]
    pub fn value(self) -> u64 {
        match self {
            Self::Exactly(value) | Self::AtLeast(value) => value,
        }
    }
}

/// A sysctl and its planned value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// The sysctl.
    pub key: SysctlKey,
    /// The planned value.
    pub want: SysctlValue,
    /// Whether the host can work, with less capacity, if this sysctl is read-only.
    pub optional: bool,
}

impl Sysctl {
    /// Whether this sysctl turns forwarding on.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.key.path() == IP_FORWARD || self.key.path().ends_with("/forwarding")
    }

    fn must(key: SysctlKey, value: u64) -> Self {
        Self { key, want: SysctlValue::Exactly(value), optional: false }
    }
}

/// `nf_conntrack_max` for a host with `memory` bytes of RAM: one eighth of it at 512 bytes per
/// connection. That is 262,144 connections per GiB, between 65,536 and 4,194,304.
#[must_use]
pub fn conntrack_max(memory: u64) -> u64 {
    let fitting = memory / MEMORY_SHARE / ENTRY_BYTES;
    (fitting / BUCKETS_STEP * BUCKETS_STEP).clamp(MAX_FLOOR, MAX_CEILING)
}

/// Every sysctl in the order in which to set it. Forwarding comes last, so that a partly set-up
/// host forwards nothing. (Turning forwarding on also makes the kernel set `all.accept_redirects`
/// to 0, and turning it off sets it to 1. Undo turns it off first, so this does no harm.)
pub(super) fn wanted(
    host: &Host,
    role: Role,
    facts: &HostFacts,
    links: &BTreeSet<String>,
) -> Vec<Sysctl> {
    let loose = || loose_rp_filter(&facts.sysctls, links);
    if !role.nat {
        return if role.vips { loose() } else { Vec::new() };
    }
    let mut list = conntrack(host, facts);
    // The kernel sends redirects if either `all` or the interface allows it, and copies `default`
    // to interfaces that are attached later.
    let scopes: Vec<&str> =
        ["all", "default"].into_iter().chain(links.iter().map(String::as_str)).collect();
    for name in ["send_redirects", "accept_redirects"] {
        list.extend(scopes.iter().map(|s| Sysctl::must(SysctlKey::conf(s, name), 0)));
    }
    if links.len() > 1 || role.vips {
        list.extend(loose());
    }
    list.extend(links.iter().map(|link| Sysctl::must(SysctlKey::conf(link, "forwarding"), 1)));
    list.push(Sysctl::must(SysctlKey::new(IP_FORWARD), 1));
    list
}

/// How long these sysctls have an idle established connection tracked, if they say so.
pub(super) fn established_timeout(sysctls: &[Sysctl]) -> Option<Duration> {
    let found = sysctls.iter().find(|sysctl| sysctl.key.path() == CONNTRACK_ESTABLISHED);
    found.map(|sysctl| Duration::from_secs(sysctl.want.value()))
}

/// What the interface of the tunnel needs: its packets have sources to which the route leads by
/// another interface, and are forwarded.
#[must_use]
pub fn tunnel_sysctls() -> [Sysctl; 2] {
    let conf = |name, value| Sysctl::must(SysctlKey::conf(RELAY_LINK, name), value);
    [conf("rp_filter", 2), conf("forwarding", 1)]
}

/// What the interface of the transit probes needs: they are forwarded. Any reverse path filter lets
/// them pass, because the route to their source leads by this interface.
#[must_use]
pub fn transit_sysctls() -> [Sysctl; 1] {
    [Sysctl::must(SysctlKey::conf(TRANSIT_LINK, "forwarding"), 1)]
}

fn conntrack(host: &Host, facts: &HostFacts) -> Vec<Sysctl> {
    let (max, buckets) = match host.conntrack_max {
        Some(max) => (SysctlValue::Exactly(max.into()), u64::from(max)),
        None => (SysctlValue::AtLeast(conntrack_max(facts.memory)), conntrack_max(facts.memory)),
    };
    // One bucket per connection is the kernel's own ratio since 5.15.
    let buckets = buckets.div_ceil(BUCKETS_STEP) * BUCKETS_STEP;
    let key = SysctlKey::new;
    let mut list = vec![
        Sysctl { key: key(CONNTRACK_BUCKETS), want: SysctlValue::AtLeast(buckets), optional: true },
        Sysctl { key: key(CONNTRACK_MAX), want: max, optional: true },
        // After a takeover the survivor sees connections midway and does not know their window.
        Sysctl::must(key(CONNTRACK_LIBERAL), 1),
        Sysctl::must(key(CONNTRACK_ESTABLISHED), host.established_timeout.as_secs()),
    ];
    // Without it, the sysctl stays as the host has it: another program may need it.
    if host.accounting {
        list.push(Sysctl { optional: true, ..Sysctl::must(key(CONNTRACK_ACCT), 1) });
    }
    list
}

/// Loose reverse path filters for interfaces that have a strict one.
///
/// With several interfaces, a source behind the inner one is also reachable by the default route
/// through the uplink, and the strict filter drops its packets. A virtual IP's packets arrive on
/// the interface that its route points to, which need not be the one with the route back to the
/// sender. The kernel uses the larger value of `all` and the interface, and 2 is loose, so setting
/// the interface's own value is enough.
fn loose_rp_filter(read: &BTreeMap<SysctlKey, Reading>, links: &BTreeSet<String>) -> Vec<Sysctl> {
    let value = |scope: &str| {
        read.get(&SysctlKey::conf(scope, "rp_filter")).map_or(0, |reading| reading.value)
    };
    links
        .iter()
        .filter(|link| value("all").max(value(link)) != 0)
        .map(|link| Sysctl::must(SysctlKey::conf(link, "rp_filter"), 2))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_connection_table_grows_with_memory_within_its_bounds() {
        assert_eq!(conntrack_max(GIB / 8), 65_536);
        assert_eq!(conntrack_max(GIB / 2), 131_072);
        assert_eq!(conntrack_max(GIB), 262_144);
        assert_eq!(conntrack_max(8 * GIB), 2_097_152);
        assert_eq!(conntrack_max(768 * GIB), 4_194_304);
    }

    #[test]
    fn connections_are_counted_only_where_that_is_wanted() {
        let role = Role { nat: true, vips: false };
        let accounted = |accounting: bool| {
            let host = Host { accounting, ..crate::config::Settings::default().host };
            let all = wanted(&host, role, &HostFacts::default(), &BTreeSet::new());
            all.into_iter().find(|one| one.key.path() == CONNTRACK_ACCT)
        };
        assert_eq!(accounted(false), None);
        let on = accounted(true).unwrap();
        assert!(on.want == SysctlValue::Exactly(1) && on.optional, "{on:?}");
    }

    #[test]
    fn a_dot_inside_an_interface_name_is_shown_as_sysctl_shows_it() {
        let key = SysctlKey::conf("ens5.100", "forwarding");
        assert_eq!(key.path(), "net/ipv4/conf/ens5.100/forwarding");
        assert_eq!(key.to_string(), "net.ipv4.conf.ens5/100.forwarding");
    }

    #[test]
    fn a_larger_value_than_needed_is_left_alone() {
        assert!(SysctlValue::AtLeast(10).accepts(11));
        assert!(!SysctlValue::AtLeast(10).accepts(9));
        assert!(!SysctlValue::Exactly(10).accepts(11));
    }
}
