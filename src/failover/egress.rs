//! Which egress IPs this node has, for the translation on its host.

use std::net::Ipv4Addr;

use super::group::GroupState;
use super::known::Known;
use crate::types::{Egress, GroupName, Resource, RouteTarget};

/// One egress IP on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressIp {
    /// The public address.
    pub address: Ipv4Addr,
    /// The landing address of this node.
    pub landing: Ipv4Addr,
    /// Whether EC2 has accepted or shown that it is here. Packets may still go elsewhere for some
    /// seconds.
    pub is_here: bool,
}

/// The egress IPs of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressGroup {
    /// The group.
    pub name: GroupName,
    /// What they are for.
    pub egress: Egress,
    /// Those that this node has a landing address for, in the order of their allocation ids.
    pub ips: Vec<EgressIp>,
    /// Whether this node has a landing address for each. Without, it never has all of them.
    pub is_complete: bool,
}

impl GroupState {
    /// The group's egress IPs on this node; none before each was read once.
    pub(super) fn egress_here(&self, known: &Known) -> Option<EgressGroup> {
        let mut ips = Vec::new();
        let mut is_complete = true;
        for slot in &self.slots {
            let Resource::EgressIp { address, .. } = &slot.resource else { continue };
            slot.current()?;
            if let Some(RouteTarget::Address(landing)) = slot.resource.target(&known.me) {
                let is_here = known.is_on(slot, &known.me.id);
                ips.push(EgressIp { address: *address, landing, is_here });
            } else {
                is_complete = false;
            }
        }
        let (name, egress) = (self.name.clone(), self.egress.clone());
        Some(EgressGroup { name, egress, ips, is_complete })
    }
}
