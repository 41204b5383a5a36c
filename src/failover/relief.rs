//! When this node takes from a holder that is alive but sick, and when a node that is itself unfit
//! takes from the dead. What a probe shows may be the fault of its target, so a fault that probes
//! found counts only where this node does not share it.

use std::time::Duration;

use super::Verdict;
use super::group::GroupState;
use super::known::Known;
use super::order;
use super::peer::{Heard, Peer, lasting};
use crate::config::Timing;
use crate::types::{Evidence, Fault, Fitness, InstanceId, Time};

/// How long each heir waits for the one before it to act.
pub(super) const HEIR_PATIENCE: Duration = Duration::from_secs(3);
/// How long a node must have been fit again before it takes from a live node.
const RECOVERED: Duration = Duration::from_secs(5);
/// The wait before the second takeover from the same sick peer. It doubles with each further one.
const REPEAT_WAIT: Duration = Duration::from_secs(1);
/// How long an unfit node waits before it takes from the dead.
pub(super) const LAST_RESORT: Duration = Duration::from_secs(5);

/// Whether a probe found every fault that there is, and at least one.
pub(super) fn has_only_probe_faults(fitness: &Fitness) -> bool {
    let is_of_probe = |fault: &Fault| Evidence::ALL.iter().any(|kind| kind.fault() == *fault);
    !fitness.is_fit() && fitness.faults.iter().all(is_of_probe)
}

/// Since when a live peer's part of a group may be taken, if it is due since `due`. A node that was
/// itself sick a moment ago takes nothing from the living, and one that lacks evidence leaves that
/// to any node that has it.
pub(super) fn from_the_living(
    known: &Known,
    group: &GroupState,
    due: Time,
    now: Time,
) -> Option<Time> {
    let has_recovered = known.fit_since? > known.started;
    let since = if has_recovered { due.max(known.fit_since? + RECOVERED) } else { due };
    let first = known.heirs(group).first().copied();
    let may_act = known.fitness.is_proven() || !first.is_some_and(|node| known.is_proven(node));
    (may_act && now >= since).then_some(since)
}

/// Since when a sick peer's part of a group may be taken.
pub(super) fn from_the_sick(
    known: &Known,
    group: &GroupState,
    peer: &Peer,
    now: Time,
) -> Option<Time> {
    let fitness = peer.fitness()?;
    if !has_only_probe_faults(fitness) {
        // About to be interrupted, it gives its groups away on its own; what is left after that is
        // taken.
        let wait = if fitness.is_departing() { HEIR_PATIENCE } else { Duration::ZERO };
        return from_the_living(known, group, peer.verdict_since + wait, now);
    }
    // Without evidence of the same kind, this node does not know that it fares better.
    let lacks = |kind: &Evidence| {
        fitness.faults.contains(&kind.fault()) && known.fitness.unproven.contains(kind)
    };
    if Evidence::ALL.iter().any(lacks) {
        return None;
    }
    let fails_since = peer.probes_fail_since?;
    let waited = fails_since + doubt(&known.timing);
    let known_at = peer.not_shared_at(&known.timing).map_or(waited, |at| at.min(waited));
    let due = known_at.max(fails_since + peer.repeat_wait(&known.timing));
    // What it has found out only just now says little: that it is fit, or that it has evidence.
    let due = due.max(known.steady_since + RECOVERED);
    from_the_living(known, group, due, now)
}

/// How long a node that hears of a fault, and whose own probes show nothing, waits whether it
/// shares that fault. Two nodes can notice the same loss that much apart: by the time between two
/// rounds and one round in doubt.
fn doubt(timing: &Timing) -> Duration {
    timing.probe_interval.max(timing.interval) + timing.probe_pace().max(timing.interval)
}

/// How long after a probe of this node was answered a peer that shares its targets may still say
/// that its own are not: one round until it asks, one until it looks for the reply, one heartbeat.
fn echo_of_fault(timing: &Timing) -> Duration {
    timing.probe_pace() * 2 + timing.interval
}

/// Whether this node may take parts of the group though it is not fit: no fit node could, and it is
/// known to forward as far as it can tell without probes.
pub(super) fn is_last_resort(known: &Known, group: &GroupState) -> bool {
    has_only_probe_faults(&known.fitness)
        && known.passes(group)
        && known.heirs(group).iter().all(|node| **node == known.me.id)
}

/// Since when a dead peer's part of a group may be taken by a node that is not fit.
pub(super) fn from_the_dead(known: &Known, peer: &Peer) -> Option<Time> {
    let is_dead = match peer.verdict {
        Verdict::Down | Verdict::Gone => true,
        // A node that fails where the peer did not may be the cause of the peer's silence.
        Verdict::Unreachable => {
            let was_as_sick =
                peer.fitness().is_some_and(|last| last.faults.is_superset(&known.fitness.faults));
            let power = peer.power_since_heard();
            was_as_sick || power.is_some_and(|power| power.impaired)
        }
        _ => false,
    };
    is_dead.then(|| peer.verdict_since + LAST_RESORT)
}

/// Whether it is this node's turn to take, as an unfit one, what may be taken since `since`: those
/// with fewer faults go first.
pub(super) fn is_least_unfit(known: &Known, group: &GroupState, since: Time, now: Time) -> bool {
    let faults = |node: &InstanceId| {
        let fitness = known.peers.get(node).map_or(Some(&known.fitness), Peer::fitness);
        fitness.map_or(usize::MAX, |fitness| fitness.faults.len())
    };
    let may_forward = |(id, peer): &(&InstanceId, &Peer)| {
        peer.verdict == Verdict::Sick
            && peer.fitness().is_some_and(has_only_probe_faults)
            && peer.serves(&group.name)
            && !known.stopped.contains(*id)
    };
    let peers = known.peers.iter().filter(may_forward).map(|(id, _)| id);
    let mut order = order::heirs(&group.name, &group.prefer, peers.chain([&known.me.id]));
    order.sort_by_key(|node| faults(node));
    let place = order.iter().take_while(|node| ***node != known.me.id).count();
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    now >= since + HEIR_PATIENCE.saturating_mul(place)
}

impl Peer {
    /// Records since when its heartbeats have said that its probes fail, and since when they have
    /// said that it is alive and proven.
    pub(super) fn note_evidence(&mut self, now: Time) {
        let heard = self.heard.as_ref().map(|heard| &heard.beat.fitness);
        let fails = |fitness: &Fitness| {
            Evidence::ALL.iter().any(|kind| fitness.faults.contains(&kind.fault()))
        };
        let is_sick = self.verdict == Verdict::Sick && heard.is_some_and(fails);
        let is_proven = self.verdict == Verdict::Alive && heard.is_some_and(Fitness::is_proven);
        self.probes_fail_since = lasting(self.probes_fail_since, is_sick, now);
        if self.probes_fail_since.is_none() {
            self.not_shared.clear();
        }
        self.proven_since = lasting(self.proven_since, is_proven, now);
    }

    /// Notes that a probe of this node which was sent at `sent` was answered.
    pub(super) fn note_answer(&mut self, kind: Evidence, sent: Time, now: Time) {
        if self.probes_fail_since.is_some_and(|since| sent >= since) {
            self.not_shared.entry(kind).or_insert(now);
        }
    }

    /// Since when this node has known that it does not share the fault that the peer's probes
    /// found: its own were answered meanwhile, and the peer still reported the fault when it would
    /// have found out, too, if it had ended.
    fn not_shared_at(&self, timing: &Timing) -> Option<Time> {
        let Heard { beat, at, .. } = self.heard.as_ref()?;
        let of_fault = |kind: &Evidence| beat.fitness.faults.contains(&kind.fault());
        let answered = |kind| self.not_shared.get(&kind).copied();
        let failing = Evidence::ALL.into_iter().filter(of_fault);
        let all: Option<Vec<Time>> = failing.map(answered).collect();
        let known = all?.into_iter().max()? + echo_of_fault(timing);
        (*at >= known).then_some(known)
    }

    /// Whether its last heartbeat said that it is fit and lacks no evidence.
    pub(super) fn is_proven(&self) -> bool {
        self.fitness().is_some_and(Fitness::is_proven)
    }

    /// Notes a takeover from it. One for a fault that its probes found slows the next such takeover
    /// down; several groups that move for the same fault are one takeover.
    pub(super) fn note_relief(&mut self, timing: &Timing, now: Time) {
        let Some(since) = self.probes_fail_since else { return };
        if !self.fitness().is_some_and(has_only_probe_faults)
            || self.relieved_at.is_some_and(|at| at >= since)
        {
            return;
        }
        if self.relieved_at.is_none_or(|at| now.since(at) >= timing.hand_back.hold_max) {
            self.reliefs = 0;
        }
        self.reliefs += 1;
        self.relieved_at = Some(now);
    }

    /// Notes that its groups leave it because of itself. Soon after a hand-back that is a flap.
    pub(super) fn note_flap(&mut self, timing: &Timing, now: Time) {
        let is_soon = |at: &mut Time| now.since(*at) < timing.hand_back.hold_max;
        if self.handed_back_at.take_if(is_soon).is_some() {
            self.flaps += 1;
        }
    }

    /// How long a takeover for a fault that its probes found waits because there were others.
    fn repeat_wait(&self, timing: &Timing) -> Duration {
        let (Some(since), Some(at)) = (self.probes_fail_since, self.relieved_at) else {
            return Duration::ZERO;
        };
        let limit = timing.hand_back.hold_max;
        // The takeover under way does not slow itself down.
        let before = if at >= since { self.reliefs.saturating_sub(1) } else { self.reliefs };
        if before == 0 || (at < since && since.since(at) >= limit) {
            return Duration::ZERO;
        }
        REPEAT_WAIT.saturating_mul(1 << (before - 1).min(16)).min(limit)
    }
}
