//! One node of the cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{AllocationId, InstanceId, NetworkInterfaceId, Zone};

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node's instance.
    pub id: InstanceId,
    /// The forwarding interface: routes that the node holds point to it.
    pub interface: NetworkInterfaceId,
    /// Source and destination address of its heartbeats.
    pub address: Ipv4Addr,
    /// Availability zone.
    pub zone: Option<Zone>,
    /// The instance's `Name` tag.
    pub name: Option<String>,
    /// Public address of the forwarding interface's primary private address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Ipv4Addr>,
    /// Whether a stop and a start would leave it without a public address, which it has now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loses_public: bool,
    /// Its landing addresses: the secondary private IPs of the forwarding interface that egress IPs
    /// are associated with while it holds them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub landings: BTreeMap<AllocationId, Ipv4Addr>,
}
