//! How often this node reads EC2. The members share the request rates of one account, so those that
//! may have to act read often and the others rarely.

use std::time::Duration;

use super::Verdict;
use super::group::{GroupState, Groups};
use super::known::Known;
use super::order::rank;
use super::peer::{Peer, max_request_age};
use super::rule::{is_my_turn_after, suspects_since};
use crate::types::{InstanceId, Time};

/// Pace of reads by a node that may have to act, while one peer is not well.
const ATTENTIVE: Duration = Duration::from_secs(2);
/// The time in which the nodes that only look on read the state of one instance, all together.
const LOOK_ON: Duration = Duration::from_secs(4);
/// How much younger than `read_valid` the reads of a node that acts stay: a read takes time.
const CALL: Duration = Duration::from_secs(1);
/// The time in which all live members together read the resources of one kind once, at rest.
const TOGETHER: Duration = Duration::from_millis(400);

/// This node's share of the cluster's reads at one moment.
pub(super) struct Share<'a> {
    known: &'a Known,
    groups: &'a Groups,
    now: Time,
    /// The members that are alive and fit, in the cluster's order.
    live: Vec<&'a InstanceId>,
    /// How many peers are watched.
    watched: u32,
}

impl<'a> Share<'a> {
    pub(super) fn of(known: &'a Known, groups: &'a Groups, now: Time) -> Self {
        let alive = known.peers.values().filter(|peer| peer.is_alive());
        let me = known.is_fit().then_some(&known.me.id);
        let mut live: Vec<&InstanceId> = alive.map(|peer| &peer.member.id).chain(me).collect();
        live.sort_unstable();
        let watched = known.peers.values().filter(|peer| is_watched(known, peer)).count();
        Self { known, groups, now, live, watched: u32::try_from(watched).unwrap_or(u32::MAX) }
    }

    /// The peers whose state this node reads now, and how often. A node that only looks on takes
    /// its turn for the first read: not all of them read when a peer is lost.
    pub(super) fn powers(&self) -> impl Iterator<Item = (&'a InstanceId, Duration)> {
        let all = self.known.peers.values().filter(|peer| is_watched(self.known, peer));
        all.filter_map(|peer| {
            let pace = self.pace_of(peer);
            let looks_on = !(self.is_keeper() || self.acts_on(peer));
            let lost_for = peer.lost_since.map_or(Duration::ZERO, |at| self.now.since(at));
            let waits = looks_on && lost_for < pace.mul_f64(self.turn());
            (!waits).then_some((&peer.member.id, pace))
        })
    }

    /// How often this node reads its own state, which the repair rule asks for before a stop: as
    /// often as that of the peers that it may have to stop.
    pub(super) fn own_power(&self) -> Option<Duration> {
        let may_stop_soon = |since: Time| self.is_keeper() || self.may_stop_soon(since);
        let suspects = self.known.peers.values();
        let mine =
            suspects.filter(|peer| suspects_since(peer, self.known).is_some_and(may_stop_soon));
        mine.map(|peer| self.pace_of(peer)).min()
    }

    /// How often the resources of one of `kinds` kinds are read where nothing hurries.
    pub(super) fn resources(&self, kinds: usize) -> Duration {
        let attentive = ATTENTIVE.min(self.known.timing.reread);
        if self.groups.values().any(|group| group.moving.is_some()) {
            return attentive;
        }
        let mut troubled = self.known.peers.values().filter(|peer| !rests(self.known, peer));
        let concerned = |peer: &Peer| {
            self.is_keeper()
                || self.acts_on(peer)
                || self.took_from(peer)
                || (peer.verdict == Verdict::Sick && self.is_heir_of(peer))
        };
        if troubled.any(concerned) { attentive } else { self.at_rest(kinds) }
    }

    /// How often a node without a reason to hurry reads the resources of one kind.
    fn at_rest(&self, kinds: usize) -> Duration {
        let reads = u32::try_from(kinds).unwrap_or(u32::MAX).saturating_mul(self.count());
        self.known.timing.reread.max(TOGETHER.saturating_mul(reads))
    }

    /// How often the state of a watched peer is read.
    fn pace_of(&self, peer: &Peer) -> Duration {
        let timing = &self.known.timing;
        let attentive = ATTENTIVE.min(timing.reread);
        let base = if rests(self.known, peer) { timing.reread } else { attentive };
        let spread = attentive * self.watched.max(1);
        let is_stopped = self.known.stopped.contains(&peer.member.id);
        if base == attentive && self.acts_on(peer) && !is_stopped {
            return spread.min(timing.read_valid.saturating_sub(CALL)).max(attentive);
        }
        if self.is_keeper() || is_stopped {
            return base.max(spread.min(timing.reread));
        }
        let reads = self.count().saturating_mul(self.watched.saturating_add(1));
        base.max(LOOK_ON.saturating_mul(reads))
    }

    /// How many members are alive and fit; one where none is.
    fn count(&self) -> u32 {
        u32::try_from(self.live.len()).unwrap_or(u32::MAX).max(1)
    }

    /// Whether this node is the one that watches failed peers closely: the first of the fit
    /// members, and each one where none is fit.
    fn is_keeper(&self) -> bool {
        self.live.first().is_none_or(|first| **first == self.known.me.id)
    }

    /// This node's place among the fit members, as a part of all.
    fn turn(&self) -> f64 {
        let before = rank(&self.known.me.id, self.live.iter().copied());
        f64::from(before) / f64::from(self.count())
    }

    /// Whether this node is about to act on the peer, or has begun to.
    fn acts_on(&self, peer: &Peer) -> bool {
        let known = self.known;
        let is_mine_to_start = |stop: Time| is_my_turn_after(stop, known, self.now);
        known.stopped.contains(&peer.member.id)
            || peer.stopped_by_other.is_some_and(is_mine_to_start)
            || suspects_since(peer, known).is_some_and(|since| self.may_stop_soon(since))
            || (peer.power_since_heard().is_none() && self.is_heir_of(peer))
    }

    /// Whether it is this node's turn to stop a peer that it has suspected since then.
    fn may_stop_soon(&self, since: Time) -> bool {
        let rules = &self.known.timing.repair;
        let place = rank(&self.known.me.id, self.known.everyone());
        let turn = rules.after + rules.stagger.saturating_mul(place);
        let passed = self.now.since(since) + self.known.timing.read_valid;
        passed >= turn && passed < turn + rules.stagger + self.known.timing.read_valid
    }

    /// Whether this node is taking a group of this peer, or would be the first to.
    fn is_heir_of(&self, peer: &Peer) -> bool {
        let (node, me) = (&peer.member.id, &self.known.me.id);
        let is_its = |group: &&GroupState| {
            group.home.as_ref() == Some(node) || self.known.holds_a_part(group, node)
        };
        let is_mine = |group: &GroupState| {
            let moves_here = group.moving.as_ref().is_some_and(|moving| moving.to.is(me));
            moves_here || self.known.heirs(group).first() == Some(&me)
        };
        self.groups.values().filter(is_its).any(is_mine)
    }

    /// Whether this node took a group of the peer that was lost a moment ago. The peer's own last
    /// requests, or those of another heir, may still take effect.
    fn took_from(&self, peer: &Peer) -> bool {
        let timing = &self.known.timing;
        let patience = max_request_age(timing) + timing.read_valid;
        let is_recent = peer.lost_since.is_some_and(|at| self.now.since(at) < patience);
        let mut groups = self.groups.values();
        is_recent
            && groups.any(|group| {
                group.home.as_ref() == Some(&peer.member.id)
                    && self.known.holds_a_part(group, &self.known.me.id)
            })
    }
}

/// Whether the state of a peer is read at all.
fn is_watched(known: &Known, peer: &Peer) -> bool {
    !matches!(peer.verdict, Verdict::Alive | Verdict::Sick)
        || known.stopped.contains(&peer.member.id)
}

/// Whether nothing about the peer asks for attention. One that is gone, that left, or that is
/// stopped and not natha's to start can stay so for days.
fn rests(known: &Known, peer: &Peer) -> bool {
    match peer.verdict {
        Verdict::Alive => !known.stopped.contains(&peer.member.id),
        Verdict::Gone | Verdict::Leaving => true,
        Verdict::Down => peer.rests_stopped(&known.stopped),
        _ => false,
    }
}
