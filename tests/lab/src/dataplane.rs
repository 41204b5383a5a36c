//! What the simulated EC2 tells the simulated network: a snapshot of what the VPC's packets
//! should meet right now. The EC2 side computes it (propagation delay included), the network
//! side makes the namespaces equal to it; neither knows the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The whole VPC as its packets should find it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dataplane {
    /// The VPC's address blocks.
    pub blocks: BTreeSet<Ipv4Net>,
    /// Every interface that is attached to an instance or is a NAT gateway's, by `eni-…` id.
    pub interfaces: BTreeMap<String, Interface>,
    /// Every subnet, by `subnet-…` id.
    pub subnets: BTreeMap<String, Subnet>,
    /// Every instance that is not terminated, by `i-…` id.
    pub instances: BTreeMap<String, Instance>,
    /// Every NAT gateway that exists, by `nat-…` id.
    pub nat_gateways: BTreeSet<String>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its instance or NAT gateway.
    pub instance: String,
    /// Its place on the instance: 0 becomes `ens5`, 1 `ens6` and so on.
    pub device_index: u32,
    /// Its hardware address.
    pub mac: String,
    /// Its subnet.
    pub subnet: String,
    /// Its private addresses, the primary one first.
    pub addresses: Vec<Ipv4Addr>,
    /// Private address to public address, for what the internet gateway maps.
    pub public: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// Whether packets that are neither from nor to its own addresses are dropped.
    pub source_dest_check: bool,
    /// What may come in: the union of its security groups' rules.
    pub ingress: Vec<Permission>,
    /// What may go out.
    pub egress: Vec<Permission>,
}

/// One security group rule, groups resolved to addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// `tcp`, `udp`, `icmp` or none for everything.
    pub protocol: Option<String>,
    /// Ports, for TCP and UDP; none for all.
    pub ports: Option<(u16, u16)>,
    /// The other side.
    pub peer: Ipv4Net,
}

/// A subnet and the routes that are in force for what its interfaces send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its addresses. The first one is its gateway.
    pub cidr: Ipv4Net,
    /// Its route table after propagation, without the VPC's local route.
    pub routes: BTreeMap<Ipv4Net, Target>,
}

/// Where a route in force leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To this interface.
    Interface(String),
    /// To the internet gateway.
    InternetGateway,
    /// Nowhere.
    Blackhole,
}

/// What name servers and resolvers answer about a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lookup {
    /// Its addresses, and for how many seconds they may be kept.
    Addresses {
        /// The record's TTL, in seconds.
        ttl: u32,
        /// At least one.
        addresses: Vec<Ipv4Addr>,
    },
    /// It exists, but has no address of this kind.
    NoAddress,
    /// It does not exist.
    Unknown,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its `Name` tag, or its id.
    pub name: String,
    /// What the hypervisor is doing with it.
    pub power: Power,
    /// Counts boots: it grows by one each time the instance starts.
    pub boot: u64,
    /// What it runs at every boot, as root: `#!` script.
    pub user_data: Option<String>,
}

/// Power of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Booting or running.
    On,
    /// Asked to shut down: the guest gets SIGTERM and may finish.
    ShuttingDown,
    /// Off: nothing runs, the link is down.
    Off,
}
