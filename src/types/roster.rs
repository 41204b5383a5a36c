//! The members and groups of the cluster.

use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::millis;
use super::{GroupName, InstanceId, Member, NatGatewayId, Resource};

/// Resources that move together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// The same on every node.
    pub name: GroupName,
    /// The node that normally holds the group; `None` if the rank order decides.
    pub home: Option<InstanceId>,
    /// Nodes in order of preference, the home first. Nodes that are not listed come last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<InstanceId>,
    /// The resources, ordered by kind.
    pub resources: Vec<Resource>,
    /// Settings that differ from the cluster's defaults.
    #[serde(default, skip_serializing_if = "Traits::is_plain")]
    pub traits: Traits,
    /// What its egress IPs are for.
    #[serde(default, skip_serializing_if = "Egress::is_plain")]
    pub egress: Egress,
    /// The blocks of the subnets that use its route tables, without overlaps. Subnets that use the
    /// VPC's main table without an association are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Ipv4Net>,
}

impl Group {
    /// A group without traits, which prefers its home.
    #[must_use]
    pub fn new(name: GroupName, home: Option<InstanceId>, resources: Vec<Resource>) -> Self {
        let prefer = home.iter().cloned().collect();
        let (traits, egress) = (Traits::default(), Egress::default());
        Self { name, home, prefer, resources, traits, egress, networks: Vec::new() }
    }
}

/// What the egress IPs of a group are for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// The networks whose hosts reach the internet by them, without overlaps.
    pub sources: Vec<Ipv4Net>,
    /// Whether new connections wait while the group's holder does not have the egress IPs. If not,
    /// they leave by the holder's own public address meanwhile.
    pub strict: bool,
}

impl Egress {
    /// Whether the group has no egress IP.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Settings of a group that differ from the cluster's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traits {
    /// Whether a service check decides if a node can hold the group. A node does not take the group
    /// before its check has a result.
    pub checked: bool,
    /// Whether the group returns automatically to a more preferred node; `None`: as for all groups.
    pub hand_back: Option<bool>,
    /// How long, in ms, a preferred node must be healthy before the group is handed back to it;
    /// `None`: as for all groups.
    #[serde(rename = "hold_ms", with = "millis::option")]
    pub hold: Option<Duration>,
    /// Whether the receiver of a planned move must first put addresses on its host. The move is
    /// then announced to it shortly before.
    pub prepared: bool,
    /// The NAT gateway that gets its default routes while no node can serve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<NatGatewayId>,
}

impl Traits {
    /// Whether all traits have their defaults.
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

    /// The node's name, or its id if it has none.
    #[must_use]
    pub fn node_name(&self, id: &InstanceId) -> String {
        let name = self.member(id).and_then(|member| member.name.clone());
        name.unwrap_or_else(|| id.to_string())
    }
}
