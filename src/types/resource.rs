//! What a group is made of, and where each part of it leads.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{
    AllocationId, DnsName, HostedZoneId, Member, NetworkInterfaceId, RouteTableId, RouteTarget,
};

/// Something that one node holds at a time and that an API call moves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Resource {
    /// The route for `cidr` (`0.0.0.0/0` unless configured) in one table.
    DefaultRoute {
        /// The table.
        table: RouteTableId,
        /// The destination.
        cidr: Ipv4Net,
    },
    /// The route for a virtual IP, which is outside the VPC, in one table.
    Vip {
        /// The table.
        table: RouteTableId,
        /// The virtual IP; its route is for `address/32`.
        address: Ipv4Addr,
    },
    /// A secondary private IP of a subnet that all members are in.
    PrivateIp {
        /// The address.
        address: Ipv4Addr,
    },
    /// An Elastic IP.
    Eip {
        /// Its allocation.
        allocation: AllocationId,
        /// The public address, for people.
        address: Ipv4Addr,
        /// The private IP of the holder that it belongs to; none for the forwarding interface's
        /// primary one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<Ipv4Addr>,
    },
    /// An A record in Route 53 with the holder's address.
    Dns {
        /// The hosted zone.
        zone: HostedZoneId,
        /// The record's name.
        name: DnsName,
        /// Its time to live, in seconds.
        ttl: u32,
        /// Whether it gives the holder's public address and not its private one.
        #[serde(default)]
        public: bool,
    },
}

/// The kinds of resources that are read by one call each. In a group, the resources of a kind move
/// side by side, and after those of the kinds before it: a new Elastic IP breaks the connections
/// over which the other calls go, and a private IP must be there for an Elastic IP to be put on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// A route of a table, be it a default route or one to a virtual IP.
    Route,
    /// A secondary private IP.
    PrivateIp,
    /// An Elastic IP.
    Eip,
    /// A DNS record.
    Dns,
}

impl Resource {
    /// How it is read, and when it moves.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::DefaultRoute { .. } | Self::Vip { .. } => ResourceKind::Route,
            Self::PrivateIp { .. } => ResourceKind::PrivateIp,
            Self::Eip { .. } => ResourceKind::Eip,
            Self::Dns { .. } => ResourceKind::Dns,
        }
    }

    /// The table and the destination, where it is a route.
    #[must_use]
    pub fn route(&self) -> Option<(&RouteTableId, Ipv4Net)> {
        match self {
            Self::DefaultRoute { table, cidr } => Some((table, *cidr)),
            Self::Vip { table, address } => Some((table, Ipv4Net::from(*address))),
            Self::PrivateIp { .. } | Self::Eip { .. } | Self::Dns { .. } => None,
        }
    }

    /// Where it leads while `member` holds it; none where that member can never hold it: it has no
    /// public address for a record that gives one.
    #[must_use]
    pub fn target(&self, member: &Member) -> Option<RouteTarget> {
        match self {
            Self::Dns { public: true, .. } => member.public.map(RouteTarget::Address),
            Self::Dns { public: false, .. } => Some(RouteTarget::Address(member.address)),
            _ => Some(RouteTarget::Interface(member.interface.clone())),
        }
    }
}

/// Its name for people and in the status: the table for a default route, else the address or name
/// that moves, and for a virtual IP the table as well.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultRoute { table, cidr } if cidr.prefix_len() == 0 => {
                f.write_str(table.as_str())
            }
            Self::DefaultRoute { table, cidr } => write!(f, "{cidr} of {table}"),
            Self::Vip { table, address } => write!(f, "{address} of {table}"),
            Self::PrivateIp { address } | Self::Eip { address, .. } => write!(f, "{address}"),
            Self::Dns { name, .. } => f.write_str(name.as_str()),
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Route => "routes",
            Self::PrivateIp => "private IPs",
            Self::Eip => "Elastic IPs",
            Self::Dns => "DNS records",
        })
    }
}

/// One resource that is no route, to be given to a member.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Assignment {
    /// The resource.
    pub resource: Resource,
    /// The member's interface that gets it; for a DNS record, only told to people.
    pub interface: NetworkInterfaceId,
    /// The address that a DNS record is to give; for others, the member's own.
    pub address: Ipv4Addr,
}
