//! Which egress IPs this node has, which private hosts it serves, and to which node it copies their
//! packets during a planned move, for the translation on its host.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::group::{GroupState, Relay};
use super::known::Known;
use super::slot::Slot;
use crate::types::{Egress, EgressId, GroupName, InstanceId, Resource, RouteTarget, Time};

/// The maximum age of a read that shows that a group is served, or three rounds of reads if these
/// take longer.
const READ_MAX: Duration = Duration::from_mins(1);
/// How long the nodes of a planned move copy packets to each other after its end: longer than EC2
/// takes until packets follow an Elastic IP or a route, by all published reports.
const RELAY: Duration = Duration::from_secs(20);

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
    /// The planned move that takes effect.
    pub relay: Option<Relay>,
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
        let relay = self.relay.as_ref().map(|(relay, _)| relay.clone());
        Some(EgressGroup { name, egress, ips, is_complete, relay })
    }

    /// Decides anew whether a planned move of the group takes effect.
    pub(super) fn update_relay(&mut self, known: &Known, now: Time) {
        if self.egress.is_plain() || !self.traits.prepared {
            self.relay = None;
            return;
        }
        let gives = self.given_to(known).map(|peer| Relay { peer: peer.clone(), gives: true });
        let gets = || self.announced_by(known, now).map(|peer| Relay { peer, gives: false });
        if let Some(relay) = gives.or_else(gets) {
            self.relay = Some((relay, now + RELAY));
        }
        // Not whether it is alive: a giver that is being drained is leaving, and forwards.
        let is_heard = |peer: &InstanceId| {
            known.peers.get(peer).is_some_and(|peer| peer.is_fresh(now, &known.timing))
        };
        self.relay.take_if(|(relay, until)| now >= *until || !is_heard(&relay.peer));
    }

    /// How much longer the giver of the last planned move to this node copies packets to it; none
    /// if none does. A further planned move waits: it could not tell copies of the last one from
    /// its own.
    pub(super) fn copies_end(&self, now: Time) -> Option<Duration> {
        let (_, until) = self.relay.as_ref().filter(|(relay, _)| !relay.gives)?;
        Some(until.since(now))
    }
}
