//! What EC2 says of an instance and its security groups that only `natha doctor` needs.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{NatGatewayId, NetworkInterfaceId};

/// An instance's options and addresses (`DescribeInstances`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InstanceOptions {
    /// Its type, such as `c7gn.large`.
    pub instance_type: Option<String>,
    /// The options of its metadata service; `None` if the answer lacks them.
    pub metadata: Option<MetadataOptions>,
    /// Whether its root device is an EBS volume. If not, it cannot be stopped and started.
    pub root_is_ebs: Option<bool>,
    /// Its public IPv4 addresses.
    pub public: Vec<PublicAddress>,
    /// How many network interfaces it has.
    pub interfaces: usize,
    /// The security groups of each interface, by the interface's primary private address.
    pub groups: Vec<(Ipv4Addr, Vec<String>)>,
}

/// The options of the instance metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataOptions {
    /// Whether requests without a session token are refused (version 2 only).
    pub token_required: bool,
    /// How many hops the answer to a token request may take.
    pub hop_limit: u32,
}

/// A public address of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The interface that has it.
    pub interface: NetworkInterfaceId,
    /// Whether it is an Elastic IP. Otherwise EC2 assigned it, and a stop releases it.
    pub is_elastic: bool,
}

/// This host's clock against that of EC2, whose answers tell whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockDifference {
    /// How far they are apart.
    pub apart: Duration,
    /// Whether this host's clock is ahead.
    pub is_ahead: bool,
}

/// A security group (`DescribeSecurityGroups`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its id.
    pub id: String,
    /// What may reach the interfaces that have it.
    pub inbound: Vec<TrafficRule>,
    /// What these interfaces may send.
    pub outbound: Vec<TrafficRule>,
}

/// A rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficRule {
    /// `tcp`, `udp`, `icmp`, the number of another protocol, or `-1` for all protocols.
    pub protocol: String,
    /// The first and last port, or the type and code of ICMP; -1 stands for all of them. `None`: as
    /// for -1.
    pub ports: Option<(i32, i32)>,
    /// The other sides that it admits.
    pub peers: Vec<TrafficPeer>,
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrafficPeer {
    /// Addresses in this block.
    Block(Ipv4Net),
    /// The private addresses of interfaces with this security group.
    Group(String),
    /// A list of prefixes, whose contents are not read.
    PrefixList(String),
}

/// A NAT gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatGatewayInfo {
    /// Its id.
    pub id: NatGatewayId,
    /// Its VPC; none if EC2 does not say.
    pub vpc: Option<String>,
    /// Its state, as EC2 names it: `available` if it forwards.
    pub state: String,
    /// Whether it leads to the internet, and not only to other private networks.
    pub is_public: bool,
}
