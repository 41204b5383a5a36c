//! Who is in the cluster and what they hold.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::millis;
use super::{GroupName, InstanceId, NetworkInterfaceId, Resource, Zone};

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
    /// The public address of its forwarding interface's primary private one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Ipv4Addr>,
}

/// Resources that move together, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// Its name, the same on every node.
    pub name: GroupName,
    /// The node that holds it when all is well; none where the rank order decides.
    pub home: Option<InstanceId>,
    /// Who holds it rather than whom, its home first; those not named come after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<InstanceId>,
    /// What moves, ordered by kind.
    pub resources: Vec<Resource>,
    /// How it differs from the other groups.
    #[serde(default, skip_serializing_if = "Traits::is_plain")]
    pub traits: Traits,
}

impl Group {
    /// A group like all others, whose home comes first.
    #[must_use]
    pub fn new(name: GroupName, home: Option<InstanceId>, resources: Vec<Resource>) -> Self {
        let prefer = home.iter().cloned().collect();
        Self { name, home, prefer, resources, traits: Traits::default() }
    }
}

/// How a group differs from the cluster's other groups.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traits {
    /// A service check tells whether a node can hold it. As long as a node does not know, it does
    /// not take it.
    pub checked: bool,
    /// Whether it goes back to who is preferred by itself; none: as for all groups.
    pub hand_back: Option<bool>,
    /// How long that one must have been well before; none: as for all groups.
    #[serde(rename = "hold_ms", with = "millis::option")]
    pub hold: Option<Duration>,
    /// The receiver of a planned move puts addresses on its host first: it is told a little before.
    pub prepared: bool,
}

impl Traits {
    /// Whether it differs in nothing.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
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

    /// A node as people know it: its name where it has one, else its id.
    #[must_use]
    pub fn node_name(&self, id: &InstanceId) -> String {
        let name = self.member(id).and_then(|member| member.name.clone());
        name.unwrap_or_else(|| id.to_string())
    }

    /// The member that owns this interface.
    #[must_use]
    pub fn owner_of(&self, interface: &NetworkInterfaceId) -> Option<&Member> {
        self.members.iter().find(|member| member.interface == *interface)
    }
}
