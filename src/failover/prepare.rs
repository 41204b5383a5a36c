//! What hosts do beside the calls: the receiver of a planned move is told before it begins, and a
//! node carries the addresses of what it holds or is about to get.

use super::group::{Group, Wish};
use super::machine::Machine;
use super::slot::Slot;
use crate::types::{GroupName, InstanceId, Resource, Time};
use std::collections::BTreeMap;

/// After so many heartbeats without an answer, a receiver is not waited for any longer.
const PATIENCE: u32 = 3;

/// A planned move that its receiver is told of before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Gift {
    pub(super) to: InstanceId,
    /// When the first heartbeat that tells of it was sent.
    pub(super) told: Option<Time>,
}

impl Machine {
    /// The groups whose addresses this node's host must carry (`true`), and those whose addresses
    /// it must not (`false`), as of the last [`Machine::tick`]. Of a group that is not in it, not
    /// enough is known: what the host has stays as it is.
    #[must_use]
    pub fn local(&self) -> BTreeMap<GroupName, bool> {
        let known = |(name, group): (&GroupName, &Group)| Some((name.clone(), group.local?));
        self.groups.iter().filter_map(known).collect()
    }

    /// Whether the receiver of a planned move is ready for its first write, as far as it must be.
    /// Tells it from now on.
    pub(super) fn is_announced(&mut self, name: &GroupName, wish: &Wish, now: Time) -> bool {
        let heard = self.peers.get(&wish.to).and_then(|peer| peer.heard_me_at(self));
        let patience = self.numbers.interval.saturating_mul(PATIENCE);
        let Some(group) = self.groups.get_mut(name) else { return false };
        if !group.traits.prepared || wish.to == self.me.id {
            return true;
        }
        match group.gift.as_ref().filter(|gift| gift.to == wish.to) {
            Some(Gift { told: Some(told), .. }) => {
                heard.is_some_and(|at| at >= *told) || now.since(*told) >= patience
            }
            Some(Gift { told: None, .. }) => false,
            None => {
                group.gift = Some(Gift { to: wish.to.clone(), told: None });
                false
            }
        }
    }

    /// Drops an announcement that nothing more comes of. A move under way is told of by itself.
    pub(super) fn settle_gift(&mut self, name: &GroupName, now: Time) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(gift) = &group.gift else { return };
        let goes_there =
            |slot: &Slot| self.wish(group, slot, now).is_some_and(|wish| wish.to == gift.to);
        if group.slots.iter().any(goes_there) {
            return;
        }
        if let Some(group) = self.groups.get_mut(name) {
            group.gift = None;
        }
    }

    /// Notes that heartbeats go out which tell of every planned move.
    pub(super) fn note_told(&mut self, now: Time) {
        for gift in self.groups.values_mut().filter_map(|group| group.gift.as_mut()) {
            gift.told.get_or_insert(now);
        }
    }

    /// Settles what the host must carry.
    pub(super) fn settle_local(&mut self, now: Time) {
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(group) = self.groups.get(&name) else { continue };
            let promised = if self.is_promised(group, now) { Some(now) } else { group.promised };
            let local = self.duty(group, promised, now);
            if let Some(group) = self.groups.get_mut(&name) {
                group.local = local;
                group.promised = promised.filter(|_| local != Some(false));
            }
        }
    }

    /// Whether this node must carry the addresses of a group; none where that is not known.
    /// `promised` is when a peer last told that it is about to give the group to this node.
    fn duty(&self, group: &Group, promised: Option<Time>, now: Time) -> Option<bool> {
        let is_here = |slot: &Slot| {
            let here = slot.resource.target(&self.me);
            here.as_ref().is_some_and(|here| slot.is_led_to(here)) || self.is_on(slot, &self.me.id)
        };
        if promised == Some(now) || carried(group).any(is_here) {
            return Some(true);
        }
        // A read soon after a promise may still show how it was before the gift.
        let earliest = promised.map_or(Time::default(), |at| at + self.numbers.read_valid);
        let is_gone = |slot: &Slot| slot.pending.is_none() && slot.is_read_since(earliest);
        carried(group).all(is_gone).then_some(false)
    }

    /// Whether a peer tells that it is about to give the group to this node.
    fn is_promised(&self, group: &Group, now: Time) -> bool {
        self.peers.values().filter(|peer| peer.is_fresh(now, &self.numbers)).any(|peer| {
            let claims = peer.heard.iter().flat_map(|heard| &heard.beat.holds);
            let mut ours = claims.filter(|claim| claim.group == group.name);
            ours.any(|claim| claim.to.as_ref() == Some(&self.me.id))
        })
    }
}

/// The resources of a group that need an address on the host; all of them where none does.
fn carried(group: &Group) -> impl Iterator<Item = &Slot> {
    let has_address =
        |slot: &Slot| matches!(slot.resource, Resource::Vip { .. } | Resource::PrivateIp { .. });
    let any = group.slots.iter().any(has_address);
    group.slots.iter().filter(move |slot| !any || has_address(slot))
}
