//! Host-side preparation: announces a planned move to its receiver, and decides which group
//! addresses this host must carry.

use super::group::{Announcement, DesiredMove, GroupState};
use super::known::Known;
use super::peer::Peer;
use super::slot::Slot;
use super::wants::Wants;
use crate::types::{InstanceId, Time};

/// After this many heartbeats without an answer, a move no longer waits for its receiver.
const PATIENCE: u32 = 3;

impl GroupState {
    /// Whether the receiver of a planned move is ready for its first write, as far as it must be.
    /// Announces the move to it from now on.
    pub(super) fn is_announced(&mut self, desired: &DesiredMove, known: &Known, now: Time) -> bool {
        let Some(to) = desired.to.node() else { return true };
        if !self.traits.prepared || *to == known.me.id {
            return true;
        }
        match self.announcement.as_ref().filter(|one| one.to == *to) {
            Some(Announcement { sent: Some(sent), .. }) => {
                let receiver = known.peers.get(to);
                let heard = receiver.and_then(|peer| peer.heard_me_at(&known.me.id, known.session));
                let patience = known.timing.interval.saturating_mul(PATIENCE);
                heard.is_some_and(|at| at >= *sent) || now.since(*sent) >= patience
            }
            Some(Announcement { sent: None, .. }) => false,
            None => {
                self.announcement = Some(Announcement { to: to.clone(), sent: None });
                false
            }
        }
    }

    /// Clears an announcement of a move that is no longer wanted. A move under way is announced as
    /// such.
    pub(super) fn update_announcement(&mut self, wants: &Wants) {
        let is_wanted = |one: &Announcement| wants.all().any(|desired| desired.to.is(&one.to));
        self.announcement = self.announcement.take().filter(is_wanted);
    }

    /// Notes that heartbeats with the announcement go out.
    pub(super) fn note_announced(&mut self, now: Time) {
        if let Some(announcement) = &mut self.announcement {
            announcement.sent.get_or_insert(now);
        }
    }

    /// Decides anew whether this node's host must carry the group's addresses.
    pub(super) fn update_must_carry(&mut self, known: &Known, now: Time) {
        let announced =
            if self.is_announced_by_peer(known, now) { Some(now) } else { self.announced_by_peer };
        self.must_carry = self.must_carry_now(announced, known, now);
        self.announced_by_peer = announced.filter(|_| self.must_carry != Some(false));
    }

    /// Whether this node must carry the group's addresses; none where that is not known.
    /// `announced` is when a peer last announced that it is about to give the group to this node.
    fn must_carry_now(&self, announced: Option<Time>, known: &Known, now: Time) -> Option<bool> {
        let is_here = |slot: &Slot| {
            let here = slot.resource.target(&known.me);
            here.as_ref().is_some_and(|here| slot.has_pending_write_to(here))
                || known.is_on(slot, &known.me.id)
        };
        if announced == Some(now) || carried(self).any(is_here) {
            return Some(true);
        }
        // A read soon after an announcement may still show the state before the move.
        let earliest = announced.map_or(Time::default(), |at| at + known.timing.read_valid);
        let is_gone = |slot: &Slot| slot.pending.is_none() && slot.is_read_since(earliest);
        carried(self).all(is_gone).then_some(false)
    }

    /// Whether a peer announces that it is about to give the group to this node.
    pub(super) fn is_announced_by_peer(&self, known: &Known, now: Time) -> bool {
        self.announced_by(known, now).is_some()
    }

    /// The peer to which this node is giving the group, or is about to: no node moves to another
    /// what is not its own.
    pub(super) fn given_to(&self, known: &Known) -> Option<&InstanceId> {
        let moving = self.moving.as_ref().and_then(|moving| moving.to.node());
        let moving = moving.filter(|to| **to != known.me.id);
        moving.or(self.announcement.as_ref().map(|announcement| &announcement.to))
    }

    /// The peer that announces that it is about to give the group to this node.
    pub(super) fn announced_by(&self, known: &Known, now: Time) -> Option<InstanceId> {
        let fresh = known.peers.iter().filter(|(_, peer)| peer.is_fresh(now, &known.timing));
        let announces = |peer: &Peer| {
            let claims = peer.heard.iter().flat_map(|heard| &heard.beat.holds);
            let mut ours = claims.filter(|claim| claim.group == self.name);
            ours.any(|claim| claim.to.as_ref() == Some(&known.me.id))
        };
        fresh.into_iter().find(|(_, peer)| announces(peer)).map(|(id, _)| id.clone())
    }
}

/// The resources of a group that need an address on the host; all of them where none does.
fn carried(group: &GroupState) -> impl Iterator<Item = &Slot> {
    let has_address = |slot: &Slot| slot.resource.carried_address().is_some();
    let any = group.slots.iter().any(has_address);
    group.slots.iter().filter(move |slot| !any || has_address(slot))
}
