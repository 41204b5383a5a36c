//! What this node wants of each route, from nothing but what it observes now.

use std::time::Duration;

use super::Verdict;
use super::group::{Group, MoveKind, Wish};
use super::machine::Machine;
use super::order::heirs;
use super::peer::{Peer, straggler, words};
use super::slot::{Sight, Slot};
use crate::types::{InstanceId, RouteTarget, Time};

/// How long each heir waits for the one before it to act.
const HEIR_PATIENCE: Duration = Duration::from_secs(3);
/// How long a group may be split over two live nodes before one gives its part away.
const SPLIT_PATIENCE: Duration = Duration::from_secs(5);
/// How often a node takes its own group back unasked before it leaves that to people.
const MAX_ASSERTS: u32 = 3;

/// Where a route leads, in terms of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Not known, or nothing that can be written.
    Unknown,
    /// Nowhere: there is no route, or it leads to an interface that is gone.
    Vacant,
    /// To a member.
    Member { node: InstanceId, blackhole: bool },
    /// Out of the cluster, on somebody's purpose.
    Foreign(String),
}

impl Machine {
    pub(super) fn place(&self, slot: &Slot) -> Place {
        let entry = match slot.current() {
            None | Some(Sight::NoTable) => return Place::Unknown,
            Some(Sight::NoRoute) => return Place::Vacant,
            Some(Sight::Route(entry)) => entry,
        };
        let RouteTarget::Interface(interface) = &entry.target else {
            return Place::Foreign(entry.target.to_string());
        };
        let owner = std::iter::once(&self.me)
            .chain(self.peers.values().map(|peer| &peer.member))
            .find(|member| member.interface == *interface);
        match owner {
            Some(member) => Place::Member { node: member.id.clone(), blackhole: entry.blackhole },
            None if entry.blackhole => Place::Vacant,
            None => Place::Foreign(interface.to_string()),
        }
    }

    /// Whether any route leads here that should be given away before this node leaves.
    pub(super) fn holds_something_to_give(&self) -> bool {
        let can_give = self.peers.values().any(Peer::can_hold);
        can_give
            && self.groups.values().flat_map(|group| &group.slots).any(|slot| {
                slot.pending.is_some()
                    || slot.is_unconfirmed()
                    || matches!(self.place(slot), Place::Member { node, .. } if node == self.me.id)
                    || self.place(slot) == Place::Unknown
            })
    }

    /// What this node wants of one route, if anything.
    pub(super) fn wish(&self, group: &Group, slot: &Slot, now: Time) -> Option<Wish> {
        match self.place(slot) {
            Place::Unknown => None,
            Place::Member { node, .. } if node == self.me.id => self.wish_mine(group, slot, now),
            // Who cannot serve takes nothing.
            _ if !self.is_fit() || self.leaving => None,
            Place::Foreign(target) => self.wish_foreign(group, slot, &target, now),
            Place::Vacant => self.wish_vacant(group, slot, now),
            Place::Member { node, blackhole } => {
                let peer = self.peers.get(&node)?;
                self.wish_taken(group, slot, peer, blackhole, now)
            }
        }
    }

    fn wish_foreign(&self, group: &Group, slot: &Slot, target: &str, now: Time) -> Option<Wish> {
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
        Some(self.to_me(MoveKind::Drift, None, "the route was missing or led nowhere".to_owned()))
    }

    /// A route that leads here: keep it, or give it away on purpose.
    fn wish_mine(&self, group: &Group, slot: &Slot, now: Time) -> Option<Wish> {
        let give = |kind, to: &InstanceId, reason: String| {
            let from = Some(self.me.id.clone());
            Some(Wish { kind, from, to: to.clone(), reason })
        };
        let able = self.able();
        if self.leaving {
            let order = heirs(&group.name, group.home.as_ref(), able.iter().copied());
            let heir = order.into_iter().find(|node| **node != self.me.id)?;
            return give(MoveKind::HandOver, heir, "this node is leaving".to_owned());
        }
        if let Some(to) = group.ordered_to.as_ref().filter(|to| **to != self.me.id) {
            let peer = self.peers.get(to).filter(|peer| peer.can_hold())?;
            return give(MoveKind::HandOver, &peer.member.id, "an operator asked".to_owned());
        }
        if let Some(home) = group.home.as_ref().filter(|home| **home != self.me.id)
            && let Some(reason) = self.may_hand_back(group, home, now)
        {
            return give(MoveKind::HandBack, home, reason);
        }
        let other = self.other_holder(group).filter(|other| {
            now.since(slot.since) >= SPLIT_PATIENCE
                && heirs(&group.name, group.home.as_ref(), [&self.me.id, *other])[0] == *other
        })?;
        give(MoveKind::HandOver, other, format!("{other} holds the rest of the group"))
    }

    /// A route that leads to a peer: take it if the peer cannot serve it.
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
        let since = self.loss(peer, slot, blackhole, now)?;
        if !self.is_claimant(group, since, HEIR_PATIENCE, now) {
            return None;
        }
        let reason =
            format!("{} is {}: {}", peer.member.id, peer.verdict.name(), peer.evidence(now));
        Some(self.to_me(MoveKind::Takeover, from, reason))
    }

    /// Since when a peer's groups may be taken; none while they may not.
    fn loss(&self, peer: &Peer, slot: &Slot, blackhole: bool, now: Time) -> Option<Time> {
        let waited = |since: Time, wait: Duration| {
            let from = since + wait;
            (now >= from).then_some(from)
        };
        match peer.verdict {
            Verdict::Alive => None,
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
    /// first heir that can, or those before it let their time pass.
    fn is_claimant(&self, group: &Group, since: Time, patience: Duration, now: Time) -> bool {
        let unmet_home = group
            .home
            .as_ref()
            .and_then(|home| self.peers.get(home))
            .is_some_and(|home| home.verdict == Verdict::Unmet);
        let order = heirs(&group.name, group.home.as_ref(), self.able());
        let Some(place) = order.iter().position(|node| **node == self.me.id) else { return false };
        let place = u32::try_from(place).unwrap_or(u32::MAX).saturating_add(unmet_home.into());
        now >= since + patience.saturating_mul(place)
    }

    /// The reason for giving `group` back to its home now, if it may be. What an operator has
    /// just sent here stays for as long as a home must be well.
    fn may_hand_back(&self, group: &Group, home: &InstanceId, now: Time) -> Option<String> {
        let rules = &self.numbers.hand_back;
        let peer = self.peers.get(home)?;
        let hold = self.hold(peer);
        let alive_for = now.since(peer.alive_since?);
        // What somebody has just moved here on purpose does not bounce back.
        let moved = group.slots.iter().map(|slot| slot.since).max()?;
        let heard = peer.heard.as_ref()?;
        let ready = rules.enabled
            && peer.can_hold()
            && !self.repairs.has_stopped(home)
            && alive_for >= hold
            && now.since(moved) >= hold
            && peer.hears(&self.me.id, self.session, &self.numbers)
            && !peer.settings_differ(self.settings_digest)
            && heard.beat.holds.iter().all(|claim| claim.group != group.name);
        ready.then(|| format!("{home} has been alive and fit for {}", words(alive_for)))
    }

    /// How long a home must have been well before it gets its groups back.
    pub(super) fn hold(&self, peer: &Peer) -> Duration {
        let rules = &self.numbers.hand_back;
        rules.hold.saturating_mul(1 << peer.flaps.min(16)).min(rules.hold_max)
    }

    /// Another live node that holds a part of the group.
    fn other_holder(&self, group: &Group) -> Option<&InstanceId> {
        group.slots.iter().find_map(|slot| match self.place(slot) {
            Place::Member { node, .. } => {
                let (id, peer) = self.peers.get_key_value(&node)?;
                (peer.can_hold() && !slot.is_unconfirmed() && slot.pending.is_none()).then_some(id)
            }
            _ => None,
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

    fn to_me(&self, kind: MoveKind, from: Option<InstanceId>, reason: String) -> Wish {
        Wish { kind, from, to: self.me.id.clone(), reason }
    }
}
