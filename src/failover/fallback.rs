//! When a group's routes go to its fallback, a NAT gateway, and when they come back.

use std::time::Duration;

use super::group::{DesiredMove, GroupState, MoveKind, Receiver};
use super::known::Known;
use super::order;
use super::outbox::{About, Outbox};
use super::peer::Peer;
use super::relief::{HEIR_PATIENCE, has_only_probe_faults};
use super::slot::Slot;
use super::{EventKind, Level, Verdict};
use crate::types::{
    CloudFault, CloudFaultKind, Evidence, Fault, Fitness, Holder, InstanceId, Location,
    NatGatewayId, Resource, RouteTarget, Time,
};

/// How long every member must be out before a node writes.
const SURE: Duration = Duration::from_secs(10);
/// The same where only probes found that a member is out.
const PROBED: Duration = Duration::from_secs(30);
/// The same for what a drained node holds: its host may shut down in seconds. Of two nodes that are
/// drained together for planned work, one takes part again within this time.
const DRAINED: Duration = Duration::from_secs(5);
/// How long a fallback that EC2 refused is not used.
const REFUSED: Duration = Duration::from_mins(1);

/// How the alert about a fallback that EC2 refuses begins.
pub const FALLBACK_REFUSED: &str = "EC2 refuses its fallback";

/// Since when a member has been out, and whether only probes found that.
#[derive(Debug, Clone, Copy)]
struct Out {
    since: Time,
    is_probed: bool,
}

impl Out {
    /// From when on it counts.
    fn due(self) -> Time {
        self.since + if self.is_probed { PROBED } else { SURE }
    }
}

/// The move of a resource to the group's fallback, while every member is out; none while one may
/// serve, or the group has no fallback that it may use.
pub(super) struct LastWay {
    gateway: NatGatewayId,
    /// When every member has been out for long enough.
    due: Time,
    /// When the last member was out.
    since: Time,
}

impl LastWay {
    pub(super) fn of(known: &Known, group: &GroupState, now: Time) -> Option<Self> {
        let gateway = usable(group, now)?.clone();
        let mine = own(known, now)?;
        let (mut due, mut since) = (mine.due(), mine.since);
        for peer in known.peers.values() {
            if peer.verdict == Verdict::Unmet && peer.is_mute(now, &known.timing) {
                continue;
            }
            let out = of_peer(known, group, peer, now)?;
            (due, since) = (due.max(out.due()), since.max(out.since));
        }
        Some(Self { gateway, due, since })
    }

    /// What is wanted of a resource of the group. `location` is where it points.
    pub(super) fn want(
        &self,
        known: &Known,
        group: &GroupState,
        slot: &Slot,
        location: &Location<Holder>,
        now: Time,
    ) -> Option<DesiredMove> {
        if !is_default_route(slot) {
            return None;
        }
        let from = match location {
            Location::Vacant if known.has_looked(now) => None,
            Location::At(Holder::Member { node, .. }) => Some(node.clone()),
            _ => return None,
        };
        let holder = from.as_ref().and_then(|node| known.peers.get(node));
        if holder.is_some_and(|holder| holder.verdict == Verdict::Unmet) {
            return None;
        }
        let is_given = known.leaving && from.as_ref() == Some(&known.me.id);
        let turn = HEIR_PATIENCE.saturating_mul(place(known, group, now));
        if now < if is_given { self.since + DRAINED } else { self.due + turn } {
            return None;
        }
        let reason = "no node can serve it".to_owned();
        let to = Receiver::Fallback(self.gateway.clone());
        Some(DesiredMove { kind: MoveKind::Fallback, from, to, reason })
    }
}

/// Whether a resource is of the kind that a fallback can take.
pub(super) fn is_default_route(slot: &Slot) -> bool {
    matches!(slot.resource, Resource::DefaultRoute { .. })
}

/// The fallback of the group, if it has one that it may use now.
fn usable(group: &GroupState, now: Time) -> Option<&NatGatewayId> {
    let gateway = group.fallback_target()?;
    group.fallback.refused_until.is_none_or(|until| now >= until).then_some(gateway)
}

/// Since when this node has been out; none while it can serve the group.
fn own(known: &Known, now: Time) -> Option<Out> {
    if known.leaving {
        return Some(Out { since: known.started, is_probed: false });
    }
    let since = known.steady_since;
    let is_unfit = !known.fitness.is_fit();
    is_unfit.then(|| of_faults(known, &known.me.id, &known.fitness, (since, since), now)).flatten()
}

/// Since when a peer has been out; none while it can serve the group, or may.
fn of_peer(known: &Known, group: &GroupState, peer: &Peer, now: Time) -> Option<Out> {
    let sure = |since| Some(Out { since, is_probed: false });
    let since = peer.verdict_since;
    match peer.verdict {
        Verdict::Down | Verdict::Gone | Verdict::Leaving => sure(since),
        Verdict::Sick => {
            let probed = peer.probes_fail_since.unwrap_or(since);
            let node = &peer.member.id;
            of_faults(known, node, peer.fitness()?, (since, probed), now)
        }
        Verdict::DaemonDown => {
            let grace = since + known.timing.daemon_grace;
            (!known.holds_a_part(group, &peer.member.id)).then_some(grace).and_then(sure)
        }
        Verdict::Unreachable => {
            let was_out = peer.said_goodbye() || peer.fitness().is_some_and(|last| !last.is_fit());
            let is_impaired = peer.power_since_heard().is_some_and(|power| power.impaired);
            (known.is_fit() || was_out || is_impaired).then_some(since).and_then(sure)
        }
        Verdict::Alive | Verdict::Suspected | Verdict::Partitioned | Verdict::Unmet => None,
    }
}

/// Since when a node with these faults has been out: `since`, or `probed` if only probes found
/// them. A fault of the uplink alone may be one of the targets, unless another node reaches them.
fn of_faults(
    known: &Known,
    node: &InstanceId,
    fitness: &Fitness,
    (since, probed): (Time, Time),
    now: Time,
) -> Option<Out> {
    if !has_only_probe_faults(fitness) {
        return Some(Out { since, is_probed: false });
    }
    let is_own = fitness.faults.contains(&Fault::Transit)
        || live(known, now).any(|(other, fitness)| other != node && has_uplink(fitness));
    is_own.then_some(Out { since: probed, is_probed: true })
}

fn has_uplink(fitness: &Fitness) -> bool {
    let kind = Evidence::Uplink;
    !fitness.faults.contains(&kind.fault()) && !fitness.unproven.contains(&kind)
}

/// This node and the peers that are heard, each with its fitness.
fn live(known: &Known, now: Time) -> impl Iterator<Item = (&InstanceId, &Fitness)> {
    let fresh = known.peers.iter().filter(move |(_, peer)| peer.is_fresh(now, &known.timing));
    let peers = fresh.filter_map(|(id, peer)| Some((id, peer.fitness()?)));
    peers.chain([(&known.me.id, &known.fitness)])
}

/// How many members that are heard may write before this node.
fn place(known: &Known, group: &GroupState, now: Time) -> u32 {
    let all = live(known, now).map(|(node, _)| node);
    let order = order::heirs(&group.name, &group.prefer, all);
    let place = order.iter().take_while(|node| ***node != known.me.id).count();
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl GroupState {
    /// The NAT gateway that may get its default routes.
    pub(super) fn fallback_target(&self) -> Option<&NatGatewayId> {
        let is_fit_for_it = |slot: &Slot| {
            matches!(slot.resource, Resource::DefaultRoute { .. } | Resource::EgressIp { .. })
        };
        let is_plain = !self.egress.strict && self.slots.iter().all(is_fit_for_it);
        self.traits.fallback.as_ref().filter(|_| is_plain)
    }

    /// Whether a resource that points to `target` is at the group's fallback.
    pub(super) fn is_fallback(&self, target: &RouteTarget) -> bool {
        match target {
            RouteTarget::Other(id) => {
                self.traits.fallback.as_ref().is_some_and(|gateway| gateway.as_str() == id)
            }
            RouteTarget::Interface(_) | RouteTarget::Address(_) => false,
        }
    }

    /// Whether a resource is at the group's fallback, as far as is known.
    pub(super) fn is_at_fallback(&self, known: &Known, slot: &Slot) -> bool {
        let location = known.location(slot);
        matches!(location, Some(Location::At(Holder::Foreign { target, .. }))
            if self.is_fallback(&target))
    }

    /// How long a node must have been fit, and the routes at the fallback, before it takes them.
    pub(super) fn return_hold(&self, known: &Known) -> Duration {
        let rules = &known.timing.hand_back;
        let hold = self.traits.hold.unwrap_or(rules.hold);
        let flaps = self.fallback.flaps.min(16);
        hold.saturating_mul(1 << flaps).min(rules.hold_max.max(hold))
    }

    /// Notes that a move to the fallback, or back from it, begins.
    pub(super) fn note_fallback_move(&mut self, kind: MoveKind, hold_max: Duration, now: Time) {
        match kind {
            MoveKind::Return => self.fallback.returned_at = Some(now),
            MoveKind::Fallback => {
                let soon = |at: Time| now.since(at) < hold_max;
                let again = self.fallback.returned_at.take().is_some_and(soon);
                self.fallback.flaps = if again { self.fallback.flaps.saturating_add(1) } else { 0 };
            }
            _ => {}
        }
    }

    /// Takes in that EC2 did not accept a write to the fallback. Says whether it refused the
    /// fallback itself: the group then does without it for a while.
    pub(super) fn note_refusal(&mut self, fault: &CloudFault, out: &mut Outbox, now: Time) -> bool {
        let Some(gateway) = self.traits.fallback.clone() else { return false };
        // A route that is missing is not found either.
        let is_named = || fault.message.to_lowercase().contains("natgateway");
        let is_refusal = fault.kind.is_final()
            || fault.kind == CloudFaultKind::State
            || (fault.kind == CloudFaultKind::NotFound && is_named());
        if !is_refusal {
            return false;
        }
        self.fallback.refused_until = Some(now + REFUSED);
        self.moving = self.moving.take().filter(|moving| moving.kind != MoveKind::Fallback);
        if !std::mem::replace(&mut self.fallback.refusal_reported, true) {
            let text = format!(
                "{FALLBACK_REFUSED} {gateway}: {fault}; the group does without it, and \
                 natha tries it again every minute"
            );
            let about = About::group(&self.name, text);
            out.report(now, Level::Alert, EventKind::Fallback, about);
        }
        true
    }

    /// Alerts once while a resource is at the fallback, and reports once that none is any more.
    pub(super) fn report_fallback(&mut self, known: &Known, out: &mut Outbox, now: Time) {
        let is_there = self.slots.iter().any(|slot| self.is_at_fallback(known, slot));
        let is_known = self.slots.iter().all(|slot| slot.current().is_some());
        if is_there == self.fallback.reported || (!is_there && !is_known) {
            return;
        }
        self.fallback.reported = is_there;
        let (level, text) = if is_there {
            self.fallback.refusal_reported = false;
            let gateway = self.traits.fallback.as_ref().map_or("", |gateway| gateway.as_str());
            (
                Level::Alert,
                format!("its routes are at its fallback {gateway}, because no node can serve it"),
            )
        } else {
            (Level::Info, "none of its routes is at its fallback any more".to_owned())
        };
        out.report(now, level, EventKind::Fallback, About::group(&self.name, text));
    }
}
