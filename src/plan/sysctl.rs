//! The sysctls a NAT needs, and how large its connection table should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{HostFacts, Reading};
use crate::config::{Host, Role};

/// Memory one tracked connection takes, in bytes, rounded up: `struct nf_conn` with its
/// extensions comes from slabs of 256 to 384 bytes on 64-bit kernels.
const ENTRY_BYTES: u64 = 512;
/// At most this fraction of RAM goes to tracked connections.
const MEMORY_SHARE: u64 = 8;
/// The kernel allocates buckets by whole pages, of up to 64 KiB on some arm64 kernels. A multiple
/// of that many pointers is kept as it is written.
const BUCKETS_STEP: u64 = 8192;
/// Never fewer than the kernel's own default on a host with 1 GiB.
const MAX_FLOOR: u64 = 65_536;
/// More than any instance has been seen to need; 2 GiB when full.
const MAX_CEILING: u64 = 4_194_304;

/// A sysctl by its path below `/proc/sys`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SysctlKey(String);

impl SysctlKey {
    /// The sysctl at `path` below `/proc/sys`, such as `net/ipv4/ip_forward`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// `net.ipv4.conf.LINK.NAME`.
    #[must_use]
    pub fn conf(link: &str, name: &str) -> Self {
        Self(format!("net/ipv4/conf/{link}/{name}"))
    }

    /// Its path below `/proc/sys`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SysctlKey {
    /// As `sysctl(8)` writes it: dots between the parts, and a slash for a dot inside one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let swapped = self.0.chars().map(|c| match c {
            '/' => '.',
            '.' => '/',
            other => other,
        });
        f.write_str(&swapped.collect::<String>())
    }
}

/// `net.ipv4.ip_forward`.
const IP_FORWARD: &str = "net/ipv4/ip_forward";
/// The most connections that are tracked at once.
const CONNTRACK_MAX: &str = "net/netfilter/nf_conntrack_max";
/// The size of the hash table of connections.
const CONNTRACK_BUCKETS: &str = "net/netfilter/nf_conntrack_buckets";
/// Whether TCP packets outside the known window are still part of their connection.
const CONNTRACK_LIBERAL: &str = "net/netfilter/nf_conntrack_tcp_be_liberal";
/// How long an idle established connection is remembered, in seconds.
const CONNTRACK_ESTABLISHED: &str = "net/netfilter/nf_conntrack_tcp_timeout_established";

/// Which values are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// This one.
    Exactly(u64),
    /// This one or a larger one: whoever made it larger had a reason.
    AtLeast(u64),
}

impl Want {
    /// Whether `value` is right.
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

/// One sysctl and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Which.
    pub key: SysctlKey,
    /// What it should be.
    pub want: Want,
    /// Whether the host serves worse, but does serve, where it cannot be set.
    pub optional: bool,
}

impl Sysctl {
    /// Whether packets are forwarded depends on it.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.key.path() == IP_FORWARD || self.key.path().ends_with("/forwarding")
    }

    fn must(key: SysctlKey, value: u64) -> Self {
        Self { key, want: Want::Exactly(value), optional: false }
    }
}

/// `nf_conntrack_max` for a host with so much memory, in bytes: an eighth of it at 512 bytes per
/// connection, so 262,144 connections per GiB, between 65,536 and 4,194,304.
#[must_use]
pub fn conntrack_max(memory: u64) -> u64 {
    let fitting = memory / MEMORY_SHARE / ENTRY_BYTES;
    (fitting / BUCKETS_STEP * BUCKETS_STEP).clamp(MAX_FLOOR, MAX_CEILING)
}

/// Every sysctl in the order it is to be set: forwarding comes last, so that no packet is
/// forwarded by a host that is half set up. (Turning it on also makes the kernel set
/// `all.accept_redirects` to 0, and turning it off to 1: undone first, it does no harm either.)
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
    // The kernel sends redirects if `all` or the interface says so, and copies `default` to
    // interfaces that are attached later.
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

fn conntrack(host: &Host, facts: &HostFacts) -> Vec<Sysctl> {
    let (max, buckets) = match host.conntrack_max {
        Some(max) => (Want::Exactly(max.into()), u64::from(max)),
        None => (Want::AtLeast(conntrack_max(facts.memory)), conntrack_max(facts.memory)),
    };
    // One bucket per connection is the kernel's own ratio since 5.15.
    let buckets = buckets.div_ceil(BUCKETS_STEP) * BUCKETS_STEP;
    let key = SysctlKey::new;
    vec![
        Sysctl { key: key(CONNTRACK_BUCKETS), want: Want::AtLeast(buckets), optional: true },
        Sysctl { key: key(CONNTRACK_MAX), want: max, optional: true },
        // After a takeover the survivor meets connections in their middle, without their window.
        Sysctl::must(key(CONNTRACK_LIBERAL), 1),
        Sysctl::must(key(CONNTRACK_ESTABLISHED), host.established_timeout.as_secs()),
    ]
}

/// With several interfaces, a source behind the inner one is also reachable by the default route
/// through the uplink, and the strict filter drops what it sends. A virtual IP's packets come in by
/// whichever interface its route points at, wherever the way back to their sender leads. The larger
/// value of `all` and the interface counts, and 2 is loose, so the interface's own value is enough.
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
    fn a_dot_inside_an_interface_name_is_shown_as_sysctl_shows_it() {
        let key = SysctlKey::conf("ens5.100", "forwarding");
        assert_eq!(key.path(), "net/ipv4/conf/ens5.100/forwarding");
        assert_eq!(key.to_string(), "net.ipv4.conf.ens5/100.forwarding");
    }

    #[test]
    fn a_larger_value_than_needed_is_left_alone() {
        assert!(Want::AtLeast(10).accepts(11));
        assert!(!Want::AtLeast(10).accepts(9));
        assert!(!Want::Exactly(10).accepts(11));
    }
}
