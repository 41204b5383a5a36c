//! What this node wants of each resource, from nothing but what it observes now.

use std::time::Duration;

use super::Verdict;
use super::group::{Group, MoveKind, Wish};
use super::machine::Machine;
use super::peer::{Peer, straggler, words};
use super::slot::Slot;
use crate::types::{Holder, InstanceId, Location, ResourceKind, RouteTarget, Time};

/// How long each heir waits for the one before it to act.
const HEIR_PATIENCE: Duration = Duration::from_secs(3);
/// How long a group may be split over two live nodes before one gives its part away.
const SPLIT_PATIENCE: Duration = Duration::from_secs(5);
/// How long one that has failed again must be well at least, however short the hold is.
const LEAST_HOLD: Duration = Duration::from_secs(1);
/// How often a node takes its own group back unasked before it leaves that to people.
const MAX_ASSERTS: u32 = 3;

impl Machine {
    /// Where a resource points, in terms of the cluster; none where that is not known.
    pub(super) fn location(&self, slot: &Slot) -> Option<Location<Holder>> {
        let peers = self.peers.values().map(|peer| &peer.member);
        let members = std::iter::once(&self.me).chain(peers);
        Some(slot.current()?.resolve(&slot.resource, members))
    }

    /// Whether `node` holds a resource, as far as is known.
    pub(super) fn is_on(&self, slot: &Slot, node: &InstanceId) -> bool {
        self.location(slot).is_some_and(|location| location.member() == Some(node))
    }

    /// Whether anything is here that should be given away before this node leaves.
    pub(super) fn holds_something_to_give(&self) -> bool {
        let is_to_give = |slot: &Slot| {
            let is_here = self.is_on(slot, &self.me.id);
            // A DNS record that was accepted needs nobody any more, and up to a minute.
            let may_fail = slot.is_unconfirmed() && slot.resource.kind() != ResourceKind::Dns;
            slot.pending.is_some() || may_fail || is_here || slot.current().is_none()
        };
        let can_take = |peer: &Peer, group: &Group, slot: &Slot| {
            peer.can_take(&group.name) && slot.resource.target(&peer.member).is_some()
        };
        self.groups.values().any(|group| {
            group
                .slots
                .iter()
                .filter(|slot| is_to_give(slot))
                .any(|slot| self.peers.values().any(|peer| can_take(peer, group, slot)))
        })
    }

    /// What this node wants of one resource, if anything that can be.
    pub(super) fn wish(&self, group: &Group, slot: &Slot, now: Time) -> Option<Wish> {
        let wish = self.wish_for(group, slot, now)?;
        slot.resource.target(self.receiver(&wish)?).map(|_| wish)
    }

    fn wish_for(&self, group: &Group, slot: &Slot, now: Time) -> Option<Wish> {
        match self.location(slot)? {
            Location::Absent | Location::Pending => None,
            Location::At(Holder::Member { node, .. }) if node == self.me.id => {
                self.wish_mine(group, slot, now)
            }
            // Who cannot serve takes nothing.
            _ if !self.serves(group) || self.leaving => None,
            Location::At(Holder::Foreign { target, .. }) => {
                self.wish_foreign(group, slot, &target, now)
            }
            Location::Vacant => self.wish_vacant(group, slot, now),
            Location::At(Holder::Member { node, blackhole }) => {
                let peer = self.peers.get(&node)?;
                self.wish_taken(group, slot, peer, blackhole, now)
            }
        }
    }

    fn wish_foreign(
        &self,
        group: &Group,
        slot: &Slot,
        target: &RouteTarget,
        now: Time,
    ) -> Option<Wish> {
        if !self.numbers.adopt || !self.is_claimant(group, slot.since, self.gap_patience(), now) {
            return None;
        }
        Some(self.to_me(MoveKind::Drift, None, format!("adopted from {target}")))
    }

    fn wish_vacant(&self, group: &Group, slot: &Slot, now: Time) -> Option<Wish> {
        let patience = self.gap_patience();
        if !self.has_looked(now) || !self.is_claimant(group, slot.since, patience, now) {
            return None;
        }
        let reason = match slot.resource.kind() {
            ResourceKind::Route => "the route was missing or led nowhere",
            _ => "nobody held it",
        };
        Some(self.to_me(MoveKind::Drift, None, reason.to_owned()))
    }

    /// A resource that is here: keep it, or give it away on purpose.
    fn wish_mine(&self, group: &Group, slot: &Slot, now: Time) -> Option<Wish> {
        let give = |kind, to: &InstanceId, reason: String| {
            let from = Some(self.me.id.clone());
            Some(Wish { kind, from, to: to.clone(), reason })
        };
        if let Some(wish) = self.wish_under_way(group) {
            return Some(wish);
        }
        if self.leaving {
            let heir = self.heirs(group).into_iter().find(|node| **node != self.me.id)?;
            return give(MoveKind::HandOver, heir, "this node is leaving".to_owned());
        }
        if let Some(to) = group.ordered_to.as_ref().filter(|to| **to != self.me.id) {
            let peer = self.peers.get(to).filter(|peer| peer.can_take(&group.name))?;
            return give(MoveKind::HandOver, &peer.member.id, "an operator asked".to_owned());
        }
        for preferred in group.prefer.iter().take_while(|node| **node != self.me.id) {
            if let Some(reason) = self.may_hand_back(group, preferred, now) {
                return give(MoveKind::HandBack, preferred, reason);
            }
        }
        let other = self.other_holder(group).filter(|other| {
            let first =
                self.heirs(group).into_iter().find(|one| [*other, &self.me.id].contains(one));
            now.since(slot.since) >= SPLIT_PATIENCE && first == Some(*other)
        })?;
        give(MoveKind::HandOver, other, format!("{other} holds the rest of the group"))
    }

    /// What began to go to a peer goes there as a whole, as long as that peer can take it.
    fn wish_under_way(&self, group: &Group) -> Option<Wish> {
        let moving = group.moving.as_ref().filter(|moving| moving.to != self.me.id)?;
        let elsewhere = group.ordered_to.as_ref().is_some_and(|to| *to != moving.to);
        let peer = self.peers.get(&moving.to).filter(|peer| peer.can_take(&group.name))?;
        let goes_on = !elsewhere
            && moving.from.as_ref() == Some(&self.me.id)
            && !self.repairs.has_stopped(&peer.member.id)
            && self.holds_a_part(group, &moving.to);
        let (kind, reason) = (moving.kind, moving.reason.clone());
        goes_on.then(|| Wish { kind, from: moving.from.clone(), to: moving.to.clone(), reason })
    }

    /// A resource that a peer has: take it if the peer cannot serve it.
    fn wish_taken(
        &self,
        group: &Group,
        slot: &Slot,
        peer: &Peer,
        blackhole: bool,
        now: Time,
    ) -> Option<Wish> {
        let from = Some(peer.member.id.clone());
        if self.may_assert(group, slot, peer, now) {
            let reason = format!("{} took it and does not hear this node", peer.member.id);
            return Some(self.to_me(MoveKind::Assert, from, reason));
        }
        let since = self.loss(group, peer, slot, blackhole, now)?;
        if !self.is_claimant(group, since, HEIR_PATIENCE, now) {
            return None;
        }
        let verdict = match peer.verdict {
            Verdict::Alive => "alive, but its service check fails",
            verdict => verdict.name(),
        };
        let reason = format!("{} is {verdict}: {}", peer.member.id, peer.evidence(now));
        Some(self.to_me(MoveKind::Takeover, from, reason))
    }

    /// Since when a peer's part of a group may be taken; none while it may not.
    fn loss(
        &self,
        group: &Group,
        peer: &Peer,
        slot: &Slot,
        blackhole: bool,
        now: Time,
    ) -> Option<Time> {
        let waited = |since: Time, wait: Duration| {
            let from = since + wait;
            (now >= from).then_some(from)
        };
        match peer.verdict {
            Verdict::Alive => peer.unfit_for_since(&group.name),
            Verdict::Sick
            | Verdict::Suspected
            | Verdict::Unreachable
            | Verdict::Down
            | Verdict::Gone => Some(peer.verdict_since),
            // It gives its groups away by itself; what is left after that is taken.
            Verdict::Left => waited(peer.verdict_since, HEIR_PATIENCE),
            Verdict::DaemonDown => waited(peer.verdict_since, self.numbers.daemon_grace),
            Verdict::CutOff | Verdict::Unmet => blackhole.then_some(slot.since),
        }
    }

    /// How long each heir waits for the one before it where only reads show the gap: a node at
    /// rest reads rarely.
    fn gap_patience(&self) -> Duration {
        self.numbers.reread + HEIR_PATIENCE
    }

    /// Whether it is this node's turn to fill a gap that has been there `since` then: it is the
    /// first heir that can, or those before it let their time pass. Where a living node holds a
    /// part of the group already, the rest is its to take before anybody else's.
    fn is_claimant(&self, group: &Group, since: Time, patience: Duration, now: Time) -> bool {
        let unmet_home = group
            .home
            .as_ref()
            .and_then(|home| self.peers.get(home))
            .is_some_and(|home| home.verdict == Verdict::Unmet);
        let mut order = self.heirs(group);
        order.sort_by_key(|node| !self.holds_a_part(group, node));
        let Some(place) = order.iter().position(|node| **node == self.me.id) else { return false };
        let place = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(unmet_home.into());
        now >= since + patience.saturating_mul(place)
    }

    /// Whether `node` has a resource of the group, as far as is known.
    fn holds_a_part(&self, group: &Group, node: &InstanceId) -> bool {
        group.slots.iter().any(|slot| self.is_on(slot, node))
    }

    /// The reason for giving `group` back to `home`, a node that is preferred to this one, now, if
    /// it may be. What an operator has just sent here stays for as long as a home must be well.
    fn may_hand_back(&self, group: &Group, home: &InstanceId, now: Time) -> Option<String> {
        let peer = self.peers.get(home)?;
        let hold = self.hold(group, peer);
        let alive_for = now.since(peer.well_since(&group.name)?);
        // What somebody has just moved here on purpose does not bounce back.
        let moved = group.slots.iter().map(|slot| slot.since).max()?;
        let heard = peer.heard.as_ref()?;
        let ready = self.hands_back(group)
            && peer.is_alive()
            && !self.repairs.has_stopped(home)
            && alive_for >= hold
            && now.since(moved) >= hold
            && peer.hears(&self.me.id, self.session, &self.numbers)
            && !peer.settings_differ(self.settings_digest)
            && heard.beat.holds.iter().all(|claim| claim.group != group.name);
        ready.then(|| format!("{home} has been alive and fit for {}", words(alive_for)))
    }

    /// Whether `group` goes back to who is preferred by itself.
    pub(super) fn hands_back(&self, group: &Group) -> bool {
        group.traits.hand_back.unwrap_or(self.numbers.hand_back.enabled)
    }

    /// How long a node that is preferred must have been well before it gets the group back.
    pub(super) fn hold(&self, group: &Group, peer: &Peer) -> Duration {
        let rules = &self.numbers.hand_back;
        let mut hold = group.traits.hold.unwrap_or(rules.hold);
        if peer.flaps > 0 {
            hold = hold.max(LEAST_HOLD);
        }
        hold.saturating_mul(1 << peer.flaps.min(16)).min(rules.hold_max.max(hold))
    }

    /// Another live node that holds a part of the group.
    fn other_holder(&self, group: &Group) -> Option<&InstanceId> {
        group.slots.iter().find_map(|slot| {
            let (id, peer) = self.peers.get_key_value(self.location(slot)?.member()?)?;
            let can_take = peer.can_take(&group.name);
            (can_take && !slot.is_unconfirmed() && slot.pending.is_none()).then_some(id)
        })
    }

    /// Whether this node should show a peer that it lives. The peer took this node's own group
    /// and does not hear it: for the peer, routes are the only sign of life left, and a node
    /// without one is repaired. It waits until nothing of an earlier life can be under way, and
    /// until the silence is more than a few lost packets.
    fn may_assert(&self, group: &Group, slot: &Slot, peer: &Peer, now: Time) -> bool {
        let patience = straggler(&self.numbers) + Duration::from_secs(1);
        peer.deaf_since.is_some_and(|since| now.since(since) >= patience)
            && group.home.as_ref() == Some(&self.me.id)
            && group.asserts < MAX_ASSERTS
            && now.since(slot.since) >= patience
            && self.fit_since.is_some_and(|since| now.since(since) >= patience)
    }

    /// Whether a peer that is alive and cut off would show it: it is the home of a group that it
    /// could serve when it was last heard, and would take that back. See [`Machine::may_assert`].
    pub(super) fn could_show_life(&self, peer: &Peer) -> bool {
        let is_its_own = |group: &Group| group.home.as_ref() == Some(&peer.member.id);
        self.groups.values().any(|group| is_its_own(group) && peer.serves(&group.name))
    }

    fn to_me(&self, kind: MoveKind, from: Option<InstanceId>, reason: String) -> Wish {
        Wish { kind, from, to: self.me.id.clone(), reason }
    }
}
