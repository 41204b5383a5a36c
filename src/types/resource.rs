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
    /// An Elastic IP by which the private hosts of its group reach the internet. Its holder
    /// translates them to its own landing address, a secondary private IP that the Elastic IP is
    /// associated with.
    EgressIp {
        /// Its allocation.
        allocation: AllocationId,
        /// The public address, for people.
        address: Ipv4Addr,
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

/// What differs between the kinds. Other modules ask here instead of naming a kind, so that a new
/// kind is described in one place; what each layer does with it is in exhaustive matches.
impl ResourceKind {
    /// Whether a change that was accepted takes up to a minute to be visible everywhere: it is read
    /// rarely meanwhile, and a node that leaves does not wait for it.
    #[must_use]
    pub const fn confirms_slowly(self) -> bool {
        match self {
            Self::Dns => true,
            Self::Route | Self::PrivateIp | Self::Eip => false,
        }
    }

    /// Whether a node that holds one may receive packets to an address of the group, which its
    /// host then carries: see [`Resource::carried_address`].
    #[must_use]
    pub const fn carries_addresses(self) -> bool {
        match self {
            Self::Route | Self::PrivateIp => true,
            Self::Eip | Self::Dns => false,
        }
    }

    /// Whether it is a route: read by its table, and written by calls of its own.
    #[must_use]
    pub const fn is_route(self) -> bool {
        match self {
            Self::Route => true,
            Self::PrivateIp | Self::Eip | Self::Dns => false,
        }
    }

    /// The API call that reads where resources of this kind point.
    #[must_use]
    pub const fn read_call(self) -> &'static str {
        match self {
            Self::Route => "DescribeRouteTables",
            Self::PrivateIp => "DescribeNetworkInterfaces",
            Self::Eip => "DescribeAddresses",
            Self::Dns => "ListResourceRecordSets",
        }
    }

    /// The API call that gives a resource of this kind to a node.
    #[must_use]
    pub const fn write_call(self) -> &'static str {
        match self {
            Self::Route => "ReplaceRoute",
            Self::PrivateIp => "AssignPrivateIpAddresses",
            Self::Eip => "AssociateAddress",
            Self::Dns => "ChangeResourceRecordSets",
        }
    }
}

impl Resource {
    /// The kind with which it moves. An egress IP moves with the routes of its group: no call of
    /// natha leaves by it, and the connections of private hosts wait for both.
    #[must_use]
    pub const fn stage(&self) -> ResourceKind {
        match self {
            Self::EgressIp { .. } => ResourceKind::Route,
            Self::DefaultRoute { .. }
            | Self::Vip { .. }
            | Self::PrivateIp { .. }
            | Self::Eip { .. }
            | Self::Dns { .. } => self.kind(),
        }
    }

    /// How it is read.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::DefaultRoute { .. } | Self::Vip { .. } => ResourceKind::Route,
            Self::PrivateIp { .. } => ResourceKind::PrivateIp,
            Self::Eip { .. } | Self::EgressIp { .. } => ResourceKind::Eip,
            Self::Dns { .. } => ResourceKind::Dns,
        }
    }

    /// The kind's name in the settings; `route` for a default route.
    #[must_use]
    pub const fn name_of_kind(&self) -> &'static str {
        match self {
            Self::DefaultRoute { .. } => "route",
            Self::Vip { .. } => "vip",
            Self::PrivateIp { .. } => "private-ip",
            Self::Eip { .. } => "eip",
            Self::EgressIp { .. } => "egress-ip",
            Self::Dns { .. } => "dns",
        }
    }

    /// The address whose packets reach its holder, and which the holder's host therefore carries.
    #[must_use]
    pub const fn carried_address(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Vip { address, .. } | Self::PrivateIp { address } => Some(*address),
            Self::DefaultRoute { .. }
            | Self::Eip { .. }
            | Self::EgressIp { .. }
            | Self::Dns { .. } => None,
        }
    }

    /// Whether it also moves without a request of its own, when another resource does: an Elastic
    /// IP follows the private IP that it is on.
    #[must_use]
    pub const fn follows_another(&self) -> bool {
        match self {
            Self::Eip { on, .. } => on.is_some(),
            Self::DefaultRoute { .. }
            | Self::Vip { .. }
            | Self::PrivateIp { .. }
            | Self::EgressIp { .. }
            | Self::Dns { .. } => false,
        }
    }

    /// Whether its value is the holder's public address.
    #[must_use]
    pub const fn is_public_address(&self) -> bool {
        match self {
            Self::Dns { public, .. } => *public,
            Self::DefaultRoute { .. }
            | Self::Vip { .. }
            | Self::PrivateIp { .. }
            | Self::Eip { .. }
            | Self::EgressIp { .. } => false,
        }
    }

    /// The table and the destination, where it is a route.
    #[must_use]
    pub fn route(&self) -> Option<(&RouteTableId, Ipv4Net)> {
        match self {
            Self::DefaultRoute { table, cidr } => Some((table, *cidr)),
            Self::Vip { table, address } => Some((table, Ipv4Net::from(*address))),
            Self::PrivateIp { .. }
            | Self::Eip { .. }
            | Self::EgressIp { .. }
            | Self::Dns { .. } => None,
        }
    }

    /// Where it leads while `member` holds it; none where that member can never hold it: it has no
    /// public address for a record that gives one, or no landing address.
    #[must_use]
    pub fn target(&self, member: &Member) -> Option<RouteTarget> {
        match self {
            Self::Dns { public: true, .. } => member.public.map(RouteTarget::Address),
            Self::Dns { public: false, .. } => Some(RouteTarget::Address(member.address)),
            Self::EgressIp { allocation, .. } => {
                member.landings.get(allocation).copied().map(RouteTarget::Address)
            }
            Self::DefaultRoute { .. }
            | Self::Vip { .. }
            | Self::PrivateIp { .. }
            | Self::Eip { .. } => Some(RouteTarget::Interface(member.interface.clone())),
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
            Self::PrivateIp { address }
            | Self::Eip { address, .. }
            | Self::EgressIp { address, .. } => write!(f, "{address}"),
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

/// A resource other than a route, and the member that gets it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Assignment {
    /// The resource.
    pub resource: Resource,
    /// The member's interface that gets it; for a DNS record, only for messages.
    pub interface: NetworkInterfaceId,
    /// The new value of a DNS record; the landing address that an egress IP is associated with; for
    /// others, the member's own address.
    pub address: Ipv4Addr,
    /// Only if no other interface has it: reads showed this private IP on none. EC2 checks that
    /// when it applies the request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_if_free: bool,
}
