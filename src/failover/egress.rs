//! Which egress IPs this node has, for the translation on its host.

use std::net::Ipv4Addr;

use super::group::GroupState;
use super::known::Known;
use crate::types::{Egress, EgressId, GroupName, Resource, RouteTarget, Time};

/// One egress IP on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressIp {
    /// Which one it is.
    pub id: EgressId,
    /// The public address.
    pub address: Ipv4Addr,
    /// The landing address of this node.
    pub landing: Ipv4Addr,
    /// Whether EC2 has accepted or shown that it is here. Packets may still go elsewhere for some
    /// seconds.
    pub is_here: bool,
    /// Whether it is about to be here: this node asks EC2 for it, or its holder announces that it
    /// gives it to this node.
    pub is_coming: bool,
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
    pub(super) fn egress_here(&self, known: &Known, now: Time) -> Option<EgressGroup> {
        let is_announced = self.is_announced_by_peer(known, now);
        let mut ips = Vec::new();
        let mut is_complete = true;
        for slot in &self.slots {
            let Resource::EgressIp { address, allocation } = &slot.resource else { continue };
            let holder = known.resolve(slot, slot.presumed()?);
            let target = slot.resource.target(&known.me);
            let is_asked = target.as_ref().is_some_and(|target| slot.has_pending_write_to(target));
            let Some(RouteTarget::Address(landing)) = target else {
                is_complete = false;
                continue;
            };
            let is_here = holder.member() == Some(&known.me.id);
            let is_asked = is_asked || slot.is_retrying();
            let is_coming = !is_here && (is_asked || is_announced);
            let id = EgressId::from(allocation);
            ips.push(EgressIp { id, address: *address, landing, is_here, is_coming });
        }
        let (name, egress) = (self.name.clone(), self.egress.clone());
        Some(EgressGroup { name, egress, ips, is_complete })
    }
}
