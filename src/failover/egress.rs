//! Which egress IPs this node has and which private hosts it serves, for the translation on its
//! host.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::group::GroupState;
use super::known::Known;
use super::slot::Slot;
use crate::types::{Egress, EgressId, GroupName, Resource, RouteTarget, Time};

/// The maximum age of a read that shows that a group is served, or three rounds of reads if these
/// take longer.
const READ_MAX: Duration = Duration::from_mins(1);

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

/// A group whose private hosts reach the internet through this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedGroup {
    /// The group.
    pub name: GroupName,
    /// The networks of its private hosts, as far as they are known.
    pub networks: Vec<Ipv4Net>,
    /// When the last of its resources came here, or was found here first. Packets may have gone to
    /// its earlier holder for some seconds after that.
    pub since: Time,
}

impl GroupState {
    /// The group if its default routes and everything else of it are here, as reads show that are
    /// not too old, and nothing of it is being moved.
    pub(super) fn served_here(&self, known: &Known, now: Time) -> Option<ServedGroup> {
        let earliest = now - READ_MAX.max(known.timing.reread * 3);
        let is_here = |slot: &Slot| {
            slot.pending.is_none()
                && slot.is_read_since(earliest)
                && known.is_on(slot, &known.me.id)
        };
        let is_route = |slot: &Slot| matches!(slot.resource, Resource::DefaultRoute { .. });
        if !self.slots.iter().any(is_route) || !self.slots.iter().all(is_here) {
            return None;
        }
        let since = self.slots.iter().map(|slot| slot.since).max()?;
        let networks = if self.egress.is_plain() { &self.networks } else { &self.egress.sources };
        Some(ServedGroup { name: self.name.clone(), networks: networks.clone(), since })
    }

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
