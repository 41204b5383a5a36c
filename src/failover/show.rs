//! What this node shows of itself: to its peers in heartbeats, to operators in the status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::group::{GroupState, Groups, MoveKind};
use super::known::Known;
use super::repair::Repairs;
use super::rule::suspects_since;
use super::slot::Slot;
use super::wants::{hands_back, hold};
use super::{GroupView, PeerView, View};
use crate::types::{
    Beat, Claim, GroupName, Hears, Location, NatGatewayId, RouteTarget, SessionId, Time,
};

/// Stands for the session of a peer that was never heard.
const NO_SESSION: SessionId = SessionId(0);

/// The heartbeat to send now.
pub(super) fn beat(known: &Known, groups: &Groups, now: Time) -> Beat {
    let hears = known.peers.iter().filter_map(|(id, peer)| {
        // Of a peer that was never heard, only the judgement goes out, and whether this node
        // stopped it: a majority may need the one, an heir of the repair the other.
        let failed = peer.is_failed();
        let stopped = known.stopped.contains(id);
        let (session, age) = match &peer.heard {
            Some(heard) => (heard.session, now.since(heard.at).as_millis()),
            None if failed || stopped => (NO_SESSION, u128::MAX),
            None => return None,
        };
        let age_ms = u16::try_from(age).unwrap_or(u16::MAX);
        Some(Hears { node: id.clone(), session, age_ms, failed, stopped })
    });
    let is_claimed = |group: &&GroupState| {
        let is_given = group.traits.prepared && group.given_to(known).is_some();
        is_given || known.holder(group) == Some(&known.me.id)
    };
    let claimed = groups.values().filter(is_claimed);
    Beat {
        fitness: known.fitness.clone(),
        leaving: known.leaving,
        // A drained node does not ask for time: it has nothing to keep.
        restarting: known.restarting && !known.leaving,
        latched: known.latches.here,
        settings_digest: known.settings_digest,
        hears: hears.collect(),
        holds: claimed.map(|group| claim(known, group)).collect(),
        unfit_for: unfit_for(known, groups),
    }
}

/// Only a node that prepares for a group needs to know who is about to get it.
fn claim(known: &Known, group: &GroupState) -> Claim {
    let to = group.given_to(known).filter(|_| group.traits.prepared).cloned();
    Claim { group: group.name.clone(), generation: group.generation, to }
}

/// The groups that this node reports as unable to serve. Before the first results of its service
/// checks, these are only the groups that it surely does not hold: a restart of its monitor must
/// not cost it the others.
fn unfit_for(known: &Known, groups: &Groups) -> BTreeSet<GroupName> {
    let is_elsewhere = |group: &GroupState| {
        group.slots.iter().all(|slot| {
            let location = known.location(slot);
            location.as_ref().and_then(Location::member).is_some_and(|node| *node != known.me.id)
        })
    };
    let checked = groups.values().filter(|group| group.traits.checked);
    let unfit = checked.filter(|group| match &known.failing {
        Some(failing) => failing.contains(&group.name),
        None => is_elsewhere(group),
    });
    unfit.map(|group| group.name.clone()).collect()
}

/// Everything, for the status.
pub(super) fn view(known: &Known, groups: &Groups, repairs: &Repairs, now: Time) -> View {
    let peers = known.peers.iter().map(|(id, peer)| {
        let view = PeerView {
            verdict: peer.verdict,
            verdict_age: now.since(peer.verdict_since),
            heartbeat_age: peer.heard.as_ref().map(|heard| now.since(heard.at)),
            echo_age: peer.echo_at.map(|at| now.since(at)),
            fitness: peer.fitness().cloned(),
            settings_differ: peer.settings_differ(known.settings_digest),
            hears_me: peer.hears(&known.me.id, known.session, &known.timing),
            power: peer.power.as_ref().map(|(report, _)| report.clone()),
            power_age: peer.power.as_ref().map(|(_, at)| now.since(*at)),
            repair: repairs.words(id).or_else(|| {
                let by_other = peer.stopped_by_other.is_some();
                by_other.then(|| "stopped by another member, to be started".to_owned())
            }),
        };
        (id.clone(), view)
    });
    let shown = groups.iter().map(|(name, group)| (name.clone(), group_view(known, group, now)));
    View {
        me: known.me.id.clone(),
        fitness: known.fitness.clone(),
        peers: peers.collect(),
        groups: shown.collect(),
        failing: known.failing.clone().unwrap_or_default(),
        latches: known.latches.clone(),
        timers: timers(known, groups, now),
    }
}

/// Whether the home of the group is away for long, so that the group is in order elsewhere.
fn has_no_home(known: &Known, group: &GroupState, now: Time) -> bool {
    let home = group.home.as_ref().and_then(|home| known.peers.get(home));
    home.is_some_and(|home| home.is_no_home(&known.stopped, &known.timing, now))
}

fn group_view(known: &Known, group: &GroupState, now: Time) -> GroupView {
    let doing = group.moving.as_ref().map(|moving| {
        let verb = match moving.kind {
            MoveKind::Takeover => "taking over",
            MoveKind::HandOver => "handing over",
            MoveKind::HandBack => "handing back",
            MoveKind::Reclaim | MoveKind::Drift => "correcting it",
            MoveKind::Fallback => "no node can serve it",
            MoveKind::Return => "taking it back from its fallback",
        };
        format!("{verb}, to {}", moving.to)
    });
    GroupView {
        home: group.home.clone(),
        goes_home: hands_back(known, group) && !has_no_home(known, group, now),
        holder: known.holder(group).cloned(),
        fallback: fallback_of(known, group),
        targets: group.slots.iter().map(target_of).collect(),
        read_age: group.read_age(now),
        generation: group.generation,
        doing,
        copies_end: group.copies_end(now),
    }
}

/// The fallback of the group, while a resource is there.
fn fallback_of(known: &Known, group: &GroupState) -> Option<NatGatewayId> {
    let is_there = group.slots.iter().any(|slot| group.is_at_fallback(known, slot));
    group.traits.fallback.clone().filter(|_| is_there)
}

/// Pending deadlines, for operators.
fn timers(known: &Known, groups: &Groups, now: Time) -> BTreeMap<String, Duration> {
    let mut timers = BTreeMap::new();
    for (id, peer) in &known.peers {
        let left = |since: Option<Time>, wait: Duration| {
            since.map(|at| wait.saturating_sub(now.since(at))).filter(|left| !left.is_zero())
        };
        let repair = left(suspects_since(peer, known), known.timing.repair.after);
        let away = groups.values().filter(|group| {
            let mut preferred = group.prefer.iter().take_while(|node| **node != known.me.id);
            preferred.any(|node| node == id) && known.holder(group) == Some(&known.me.id)
        });
        let holds =
            away.filter_map(|group| left(peer.well_since(&group.name), hold(known, group, peer)));
        let hold = holds.min();
        if let Some(left) = repair.filter(|_| known.timing.repair.enabled) {
            timers.insert(format!("repair of {id} at the earliest"), left);
        }
        if let Some(left) = hold {
            timers.insert(format!("hand-back to {id} at the earliest"), left);
        }
    }
    timers
}

fn target_of(slot: &Slot) -> (String, Option<RouteTarget>) {
    let target = match slot.current() {
        Some(Location::At(entry)) => Some(entry.target),
        Some(Location::Vacant | Location::Absent | Location::Pending) | None => None,
    };
    (slot.resource.to_string(), target)
}
