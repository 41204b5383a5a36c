//! What was read of a host before anything is decided about it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{OtherChain, SysctlKey, TableState};
use crate::types::NetworkInterfaceId;

/// Everything the plan is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// The network interfaces, loopback left out.
    pub links: Vec<Link>,
    /// Every IPv4 address of the host, with the interface that has it, loopback included.
    pub own: BTreeMap<Ipv4Addr, String>,
    /// The IPv4 default routes of the main routing table.
    pub default_routes: Vec<DefaultRoute>,
    /// `MemTotal` in bytes.
    pub memory: u64,
    /// The sysctls that could matter. Those that do not exist are absent.
    pub sysctls: BTreeMap<SysctlKey, Reading>,
    /// Natha's own nft table.
    pub table: TableState,
    /// Other programs' chains that see forwarded packets.
    pub others: Vec<OtherChain>,
    /// What the instance metadata and EC2 say; none where they were not asked.
    pub cloud: Option<CloudFacts>,
}

/// A network interface as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its hardware address, lower case with colons; empty where it has none.
    pub mac: String,
    /// Its IPv4 addresses.
    pub addresses: Vec<Ipv4Net>,
}

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefaultRoute {
    /// Its metric: the lowest is used.
    pub metric: u32,
    /// The interface it leads out of.
    pub link: String,
}

/// A sysctl as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its value.
    pub value: u64,
    /// Whether it can be set from here. Inside a network namespace some are read-only.
    pub settable: bool,
}

/// What is known of the instance from outside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudFacts {
    /// The VPC's IPv4 CIDR blocks.
    pub vpc_cidrs: Vec<Ipv4Net>,
    /// The interfaces attached to this instance.
    pub interfaces: Vec<CloudInterface>,
}

/// An interface as EC2 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudInterface {
    /// Its id.
    pub id: NetworkInterfaceId,
    /// Its hardware address, lower case with colons: what ties it to a [`Link`].
    pub mac: String,
    /// Whether EC2 drops packets that are not to or from its own addresses; none where EC2 was
    /// not asked.
    pub source_dest_check: Option<bool>,
}
