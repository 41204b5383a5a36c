//! Facts about the host, read before planning.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{OtherChain, TableState};
use crate::types::NetworkInterfaceId;

/// A sysctl by its path below `/proc/sys`. One that is read from the journal is checked: that file
/// may belong to another user than the one who sets the sysctl.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SysctlKey(String);

/// The sysctls that natha sets are below these directories.
const BRANCHES: [&str; 2] = ["net/ipv4/", "net/netfilter/"];

/// The longest key; an interface's name has at most 15 bytes.
const KEY_MAX: usize = 100;

/// A text that is no sysctl of natha's.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no sysctl that natha sets")]
pub struct InvalidSysctl(String);

impl TryFrom<String> for SysctlKey {
    type Error = InvalidSysctl;

    fn try_from(path: String) -> Result<Self, InvalidSysctl> {
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
        let is_name = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(is_plain);
        let known = BRANCHES.iter().any(|branch| path.starts_with(branch));
        if known && path.len() <= KEY_MAX && path.split('/').all(is_name) {
            Ok(Self(path))
        } else {
            Err(InvalidSysctl(path))
        }
    }
}

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

    /// The path below `/proc/sys`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SysctlKey {
    /// As `sysctl(8)` prints it: dots between the parts, and a slash for a dot inside a part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let swapped = self.0.chars().map(|c| match c {
            '/' => '.',
            '.' => '/',
            other => other,
        });
        f.write_str(&swapped.collect::<String>())
    }
}

/// The facts that the plan is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// The network interfaces without loopback.
    pub links: Vec<Link>,
    /// Every IPv4 address of the host, loopback included, with its interface.
    pub own: BTreeMap<Ipv4Addr, String>,
    /// The IPv4 routes of the main routing table.
    pub routes: Vec<Route>,
    /// `MemTotal` in bytes.
    pub memory: u64,
    /// The sysctls that the plan may set, without those that do not exist.
    pub sysctls: BTreeMap<SysctlKey, Reading>,
    /// The nft table `ip natha`.
    pub table: TableState,
    /// Chains of other programs at the forward hook.
    pub others: Vec<OtherChain>,
    /// Facts from the instance metadata and EC2; `None` if they were not read.
    pub cloud: Option<CloudFacts>,
}

/// A network interface as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Interface name, such as `ens5`.
    pub name: String,
    /// MAC address, lower case with colons; empty if there is none.
    pub mac: String,
    /// IPv4 addresses with their prefix lengths.
    pub addresses: Vec<Ipv4Net>,
}

/// An IPv4 route of the main routing table. One with several next hops is several of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The destination; `0.0.0.0/0` for a default route.
    pub destination: Ipv4Net,
    /// Of routes with one destination, the kernel uses the one with the lowest metric.
    pub metric: u32,
    /// Name of the outgoing interface; `None` for a blackhole.
    pub link: Option<String>,
}

impl Route {
    /// The interface of a default route; `None` for other routes.
    #[must_use]
    pub fn default_link(&self) -> Option<&String> {
        self.link.as_ref().filter(|_| self.destination.prefix_len() == 0)
    }
}

/// A sysctl as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The current value.
    pub value: u64,
    /// Whether it is writable. Some are read-only inside a network namespace.
    pub settable: bool,
}

/// Facts about this instance from the instance metadata and EC2.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudFacts {
    /// The VPC's IPv4 CIDR blocks.
    pub vpc_cidrs: Vec<Ipv4Net>,
    /// The interfaces attached to this instance.
    pub interfaces: Vec<CloudInterface>,
}

/// A network interface as EC2 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudInterface {
    /// EC2's id of the interface.
    pub id: NetworkInterfaceId,
    /// MAC address, lower case with colons. Identifies the matching [`Link`].
    pub mac: String,
    /// Its primary private address; `None` if the metadata lists no address.
    pub primary: Option<Ipv4Addr>,
    /// Whether EC2 drops packets that are neither from nor to the interface's own addresses; `None`
    /// if not read.
    pub source_dest_check: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sysctl_of_the_network_is_read_from_a_journal() {
        let read = |path: &str| serde_json::from_value::<SysctlKey>(path.into());
        for good in ["net/ipv4/ip_forward", "net/ipv4/conf/ens5.100/forwarding"] {
            assert_eq!(read(good).unwrap().path(), good);
        }
        for bad in [
            "",
            "kernel/core_pattern",
            "/etc/passwd",
            "/net/ipv4/ip_forward",
            "net/ipv4",
            "net/ipv4/",
            "net/ipv4/../../kernel/core_pattern",
            "net/ipv4/./ip_forward",
            "net/ipv4//ip_forward",
            "net/ipv4/ip forward",
            "net/ipv4/ip_forward\n",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
