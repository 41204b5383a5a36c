//! Who is in the cluster and what they hold.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{GroupName, InstanceId, NetworkInterfaceId, RouteTableId, Zone};

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The instance.
    pub id: InstanceId,
    /// Its forwarding interface: what routes point at while it holds them.
    pub interface: NetworkInterfaceId,
    /// Where it sends heartbeats from and receives them.
    pub address: Ipv4Addr,
    /// Its availability zone.
    pub zone: Option<Zone>,
    /// Its `Name` tag, for people.
    pub name: Option<String>,
}

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
}

/// Resources that move together, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// Its name, the same on every node.
    pub name: GroupName,
    /// The node that holds it when all is well; none where the rank order decides.
    pub home: Option<InstanceId>,
    /// What moves, first to last.
    pub resources: Vec<Resource>,
}

/// The cluster as discovered or configured: the same on every node that sees the same account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Roster {
    /// All nodes, this one included, ordered by id.
    pub members: Vec<Member>,
    /// All groups, ordered by name.
    pub groups: Vec<Group>,
}

impl Roster {
    /// The member with this id.
    #[must_use]
    pub fn member(&self, id: &InstanceId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == *id)
    }

    /// The member that owns this interface.
    #[must_use]
    pub fn owner_of(&self, interface: &NetworkInterfaceId) -> Option<&Member> {
        self.members.iter().find(|member| member.interface == *interface)
    }
}
