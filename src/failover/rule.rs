//! The repair rule: when a failed peer may be stopped, and when a stopped one started.

use std::collections::BTreeSet;

use super::group::Groups;
use super::known::Known;
use super::order::rank;
use super::peer::Peer;
use super::slot::Slot;
use crate::types::{InstanceId, InstanceState, StopOrigin, Time};

/// What is said of a member that may run no natha at all.
const MUTE: &str = "it has never said that it runs natha; if it does not, remove its tag";

/// What keeps a latched node from a repair.
const LATCHED: &str = "the cluster is latched; `natha unlatch` ends that";

/// Why a repair is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// It is under way, or its time has not come.
    Quiet,
    /// A condition of the rule is not met.
    For(&'static str),
    /// EC2 makes no progress.
    Stuck(&'static str),
    /// Earlier repairs did not help.
    TooMany,
}

/// Whether the peer may be stopped now, apart from the stops that were sent before, or why not.
pub(super) fn may_stop(
    peer: &Peer,
    known: &Known,
    groups: &Groups,
    now: Time,
) -> Result<(), Blocked> {
    let rules = &known.timing.repair;
    let recent = |at: Time| now.since(at) <= known.timing.read_valid;
    if !rules.enabled {
        return Err(Blocked::For("repair is disabled"));
    }
    if known.leaving {
        return Err(Blocked::For("this node is leaving"));
    }
    if known.latches.is_latched() {
        return Err(Blocked::For(LATCHED));
    }
    if !peer.listed {
        return Err(Blocked::For("it is not listed as a member any more"));
    }
    if peer.suspected_since.is_none() {
        return Err(Blocked::Quiet);
    }
    let since = suspects_since(peer, known).ok_or(Blocked::For("this node is not fit"))?;
    let power = peer.power.as_ref().filter(|(_, at)| recent(*at));
    let (power, _) = power.ok_or(Blocked::For("EC2 has not reported its state"))?;
    if power.state != Some(InstanceState::Running) {
        return Err(Blocked::For("EC2 does not report it as running"));
    }
    if !peer.has_spoken() {
        return Err(Blocked::For(MUTE));
    }
    if peer.heard.is_none() && !power.impaired {
        return Err(Blocked::For("it was never heard, so its silence proves nothing"));
    }
    // Its monitor may have been stopped on purpose, on a host that answers no echo.
    if peer.said_goodbye() && !power.impaired {
        return Err(Blocked::For("it left on purpose, and EC2's status checks find it well"));
    }
    if !power.impaired && !could_show_life(peer, known, groups) {
        return Err(Blocked::For("it has no group of its own to reclaim if it is alive"));
    }
    let own = known.own_power.as_ref().filter(|(_, at)| recent(*at));
    if own.is_none_or(|(own, _)| own.state != Some(InstanceState::Running)) {
        return Err(Blocked::For("EC2 does not report this node as running"));
    }
    if peer.settings_differ(known.settings_digest) {
        return Err(Blocked::For("its settings differ from this node's"));
    }
    if peer.member.loses_public {
        return Err(Blocked::For(
            "it would have no public address after the start: associate an Elastic IP with it",
        ));
    }
    if peer.started_at.is_some_and(|at| now.since(at) < rules.patience) {
        return Err(Blocked::For("it was started recently and may still be booting"));
    }
    may_stop_by_resources(peer, known, groups, now)?;
    let place = rank(&known.me.id, known.everyone());
    if now.since(since) < rules.after + rules.stagger.saturating_mul(place) {
        return Err(Blocked::Quiet);
    }
    Ok(())
}

/// Since when this node has suspected the peer and been fit itself: what it did not hear before
/// that says nothing.
pub(super) fn suspects_since(peer: &Peer, known: &Known) -> Option<Time> {
    Some(peer.suspected_since?.max(known.fit_since?))
}

/// Whether a stopped peer is natha's to start.
pub(super) fn may_start(
    peer: &Peer,
    origin: StopOrigin,
    stopped: &BTreeSet<InstanceId>,
    known: &Known,
    now: Time,
) -> Result<(), Blocked> {
    if !known.timing.repair.enabled || known.leaving {
        return Err(Blocked::Quiet);
    }
    if !peer.listed {
        return Err(Blocked::For("it is not listed as a member any more"));
    }
    if stopped.contains(&peer.member.id) {
        return Ok(());
    }
    if known.latches.is_latched() {
        return Err(Blocked::For(LATCHED));
    }
    if let Some(stop) = peer.stopped_by_other {
        return if is_my_turn_after(stop, known, now) { Ok(()) } else { Err(Blocked::Quiet) };
    }
    if !peer.has_spoken() {
        return Err(Blocked::For(MUTE));
    }
    if peer.said_goodbye() {
        return Err(Blocked::For("it left on purpose before it stopped"));
    }
    match origin {
        StopOrigin::User => Err(Blocked::For("a user stopped it")),
        StopOrigin::Unknown => Err(Blocked::For("EC2 does not report who stopped it")),
        StopOrigin::Guest | StopOrigin::Service => {
            let place = rank(&known.me.id, known.everyone());
            let wait = known.timing.repair.stagger.saturating_mul(place);
            if now.since(peer.verdict_since) >= wait { Ok(()) } else { Err(Blocked::Quiet) }
        }
    }
}

/// Whether this node is to start what another member stopped. `stop` is the last heartbeat that
/// said so: the member is silent or leaving since, and its monitor has had time to restart.
pub(super) fn is_my_turn_after(stop: Time, known: &Known, now: Time) -> bool {
    let timing = &known.timing;
    let place = rank(&known.me.id, known.everyone());
    let wait = timing.daemon_grace + timing.repair.stagger.saturating_mul(place);
    now.since(stop) >= timing.detection() + wait
}

/// The part of the repair rule that the resources and the other members decide: a peer that is
/// alive and cut off shows it by what it holds, and with three or more a majority must agree.
fn may_stop_by_resources(
    peer: &Peer,
    known: &Known,
    groups: &Groups,
    now: Time,
) -> Result<(), Blocked> {
    let node = &peer.member.id;
    let agrees = |other: &InstanceId| {
        *other == known.me.id
            || known.peers.get(other).is_some_and(|p| p.is_alive() && p.judges_failed(node))
    };
    let mut slots = groups.values().flat_map(|group| &group.slots);
    let has_any = slots.any(|slot| !known.is_left_alone(slot));
    let settled = known.settled_without(node, groups.values(), agrees, now).filter(|_| has_any);
    if settled.is_none_or(|settled| settled < known.timing.repair.settle) {
        return Err(Blocked::For(
            "not every resource has been observed on this side for repair.settle yet",
        ));
    }
    // One that never spoke, is stopped and stays so, or is gone, has no say.
    let is_voter = |peer: &&Peer| peer.is_voter(&known.stopped, &known.timing, now);
    let members = 1 + known.peers.values().filter(is_voter).count();
    let agreeing = known.everyone().filter(|other| agrees(other)).count();
    if members > 2 && agreeing * 2 <= members {
        return Err(Blocked::For("no majority of the members considers it failed"));
    }
    Ok(())
}

/// Whether a peer that is alive and partitioned would show it: it is the home of a group that it
/// could serve when it was last heard, and would reclaim that. It leaves alone what points outside
/// the cluster.
fn could_show_life(peer: &Peer, known: &Known, groups: &Groups) -> bool {
    let mut own = groups.values().filter(|group| group.home.as_ref() == Some(&peer.member.id));
    own.any(|group| {
        let is_its = |slot: &Slot| !known.is_left_alone(slot);
        peer.serves(&group.name) && group.slots.iter().any(is_its)
    })
}
