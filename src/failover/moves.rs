//! From what is wanted to writes, and from their outcomes to what is reported.

use std::collections::BTreeSet;

use super::fallback::is_default_route;
use super::group::{DesiredMove, GroupState, Move, MoveKind, Receiver};
use super::known::Known;
use super::outbox::{About, Outbox};
use super::peer::words;
use super::reads::Reads;
use super::retry::{backoff, throttled};
use super::slot::{Slot, Write};
use super::wants::Wants;
use super::{Action, ActionId, EventKind, Level};
use crate::types::{
    CloudFault, CloudFaultKind, Holder, InstanceId, Location, ResourceKind, RouteTarget, Time,
};

/// What a group's moves tell about a peer, for the hand-backs to come.
pub(super) enum PeerNote {
    /// A takeover from it has begun.
    TakenFrom(InstanceId),
    /// A hand-back to it has ended.
    HandedBack(InstanceId),
}

/// A write that may go out now.
struct DueWrite {
    desired: DesiredMove,
    write: Write,
    target: RouteTarget,
}

impl GroupState {
    /// Looks at every resource once: sends the writes that are due, and ends the move under way
    /// when it is complete.
    pub(super) fn advance(
        &mut self,
        known: &Known,
        reads: &mut Reads,
        out: &mut Outbox,
        now: Time,
    ) -> Vec<PeerNote> {
        let mut notes = Vec::new();
        // A move that begins, and one that ends and leaves its order behind, change what is wanted
        // of the group's other resources in this same turn.
        let mut wants = Wants::of(known, self, now);
        for at in 0..self.slots.len() {
            if let Some(due) = self.due_write(at, &wants, known, reads, now) {
                let begins = !self.is_under_way(&due.desired);
                notes.extend(self.send_write(at, due, known, out, now));
                if begins {
                    wants = Wants::of(known, self, now);
                }
            }
        }
        if let Some((moving, arrived)) = self.conclude_move(&wants, known, reads) {
            report_concluded(self, &moving, arrived, out, now);
            if let (MoveKind::HandBack, true, Some(to)) = (moving.kind, arrived, moving.to.node()) {
                notes.push(PeerNote::HandedBack(to.clone()));
            }
            wants = Wants::of(known, self, now);
        }
        self.update_announcement(&wants);
        self.drop_order(known, out, now);
        self.report_foreign(known, out, now);
        self.report_fallback(known, out, now);
        self.clear_reclaims(known);
        notes
    }

    /// The write that is wanted of the resource at this place, once everything it needs is there.
    fn due_write(
        &mut self,
        at: usize,
        wants: &Wants,
        known: &Known,
        reads: &mut Reads,
        now: Time,
    ) -> Option<DueWrite> {
        let slot = &self.slots[at];
        if slot.pending.is_some() || slot.retry_at.is_some_and(|retry| now < retry) {
            return None;
        }
        let desired = wants.get(at)?;
        if self.waits_for_others(slot, wants) {
            return None;
        }
        let read_since = now - known.timing.read_valid;
        // The first write of a takeover may use the last known target: it saves a call, and the
        // next read corrects the worst that can come of it. After a failure there is time.
        let has_failed = self.moving.as_ref().is_some_and(|moving| moving.has_failed);
        let is_urgent = desired.kind == MoveKind::Takeover && slot.failures == 0 && !has_failed;
        if !is_urgent && !slot.is_read_since(read_since) {
            reads.hurry_for(slot.resource.kind());
            return None;
        }
        // A hand-back can wait: it begins once the whole group is known, and so can end.
        if desired.kind == MoveKind::HandBack && self.moving.is_none() {
            let unread = self.kinds_unread_since(read_since);
            if !unread.is_empty() {
                for kind in unread {
                    reads.hurry_for(kind);
                }
                return None;
            }
        }
        if !self.is_announced(desired, known, now) {
            return None;
        }
        let slot = &self.slots[at];
        let (write, target) = match &desired.to {
            Receiver::Node(node) => {
                let member = known.receiver(node)?;
                (slot.write_to(member)?, slot.resource.target(member)?)
            }
            Receiver::Fallback(gateway) => {
                (slot.write_to_gateway(gateway)?, RouteTarget::Other(gateway.to_string()))
            }
        };
        Some(DueWrite { desired: desired.clone(), write, target })
    }

    fn send_write(
        &mut self,
        at: usize,
        due: DueWrite,
        known: &Known,
        out: &mut Outbox,
        now: Time,
    ) -> Option<PeerNote> {
        let note = self.begin_move(&due.desired, known, out, now);
        let id = out.new_id();
        let not_after = known.not_after(now);
        self.slots[at].sent(id, due.target);
        out.push(match due.write {
            Write::Route(write) => Action::WriteRoute { id, write, not_after },
            Write::Assign(assignment) => Action::Assign { id, assignment, not_after },
        });
        note
    }

    /// The kinds of which a resource was not read at or after `earliest`.
    fn kinds_unread_since(&self, earliest: Time) -> BTreeSet<ResourceKind> {
        let unread = self.slots.iter().filter(|slot| !slot.is_read_since(earliest));
        unread.map(|slot| slot.resource.kind()).collect()
    }

    /// Whether a resource's turn has not come: those of an earlier stage are still on their way, at
    /// their first attempt. One that fails does not hold up the others.
    fn waits_for_others(&self, slot: &Slot, wants: &Wants) -> bool {
        let stage = slot.resource.stage();
        let mut earlier = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, other)| other.resource.stage() < stage && other.failures == 0);
        earlier.any(|(at, other)| other.pending.is_some() || wants.get(at).is_some())
    }

    pub(super) fn is_under_way(&self, desired: &DesiredMove) -> bool {
        let is_it = |moving: &Move| moving.kind == desired.kind && moving.to == desired.to;
        self.moving.as_ref().is_some_and(is_it)
    }

    /// Notes a move when its first write goes out.
    fn begin_move(
        &mut self,
        desired: &DesiredMove,
        known: &Known,
        out: &mut Outbox,
        now: Time,
    ) -> Option<PeerNote> {
        let DesiredMove { kind, from, to, reason } = desired;
        if self.is_under_way(desired) {
            return None;
        }
        self.moving = Some(Move {
            kind: *kind,
            from: from.clone(),
            to: to.clone(),
            begun: now,
            has_failed: false,
            reason: reason.clone(),
        });
        self.generation = self.generation.saturating_add(1);
        if *kind == MoveKind::Reclaim {
            self.reclaims += 1;
        }
        self.note_fallback_move(*kind, known.timing.hand_back.hold_max, now);
        let (event, verb, level) = match kind {
            MoveKind::Takeover => (EventKind::TakeoverBegun, "taking it over", Level::Warning),
            MoveKind::HandOver => (EventKind::HandOverBegun, "handing it over", Level::Info),
            MoveKind::HandBack => (EventKind::HandOverBegun, "handing it back", Level::Info),
            MoveKind::Reclaim => (EventKind::Drift, "reclaiming its own group", Level::Alert),
            MoveKind::Drift => (EventKind::Drift, "correcting it", Level::Warning),
            MoveKind::Fallback => {
                (EventKind::Fallback, "moving it to its fallback", Level::Warning)
            }
            MoveKind::Return => {
                (EventKind::Fallback, "taking it back from its fallback", Level::Warning)
            }
        };
        let source = from.as_ref().map_or_else(|| "nowhere".to_owned(), ToString::to_string);
        let text = format!("{verb} (from {source} to {to}): {reason}");
        let about = About { node: from.clone(), ..About::group(&self.name, text) };
        out.report(now, level, event, about);
        let taken = from.clone().filter(|_| *kind == MoveKind::Takeover);
        taken.map(PeerNote::TakenFrom)
    }

    /// Ends a move once a read shows every resource at the receiver, or that it went elsewhere.
    /// Returns the move and whether all of it arrived.
    fn conclude_move(
        &mut self,
        wants: &Wants,
        known: &Known,
        reads: &mut Reads,
    ) -> Option<(Move, bool)> {
        let moving = self.moving.as_ref()?;
        if self.slots.iter().any(|slot| slot.pending.is_some() || slot.retry_at.is_some()) {
            return None;
        }
        let unread = self.kinds_unread_since(moving.begun);
        if !unread.is_empty() {
            // Route 53 takes up to a minute until a change is everywhere: the usual pace will do.
            for kind in unread.into_iter().filter(|kind| !kind.confirms_slowly()) {
                reads.hurry_for(kind);
            }
            return None;
        }
        let arrived = match &moving.to {
            Receiver::Node(node) => self.slots.iter().all(|slot| known.is_on(slot, node)),
            Receiver::Fallback(_) => {
                let mut routes = self.slots.iter().filter(|slot| is_default_route(slot));
                routes.all(|slot| self.is_at_fallback(known, slot))
            }
        };
        if !arrived && wants.all().next().is_some() {
            return None;
        }
        self.ordered_to = None;
        for slot in &mut self.slots {
            slot.failures = 0;
        }
        self.moving.take().map(|moving| (moving, arrived))
    }

    /// Drops an order that cannot be carried out now: much later, no operator would expect it.
    fn drop_order(&mut self, known: &Known, out: &mut Outbox, now: Time) {
        if self.moving.is_some() {
            return;
        }
        let Some(to) = &self.ordered_to else { return };
        let peer = known.peers.get(to);
        let can_take = peer.is_some_and(|peer| peer.can_take(&self.name));
        let may_give = peer.is_some_and(|peer| known.may_give(self, peer));
        let may_be_here = |slot: &Slot| match known.location(slot) {
            None | Some(Location::Absent | Location::Pending) => true,
            Some(location) => location.member() == Some(&known.me.id),
        };
        let why = if !can_take {
            format!("{to} cannot take it")
        } else if !may_give {
            format!("{to} has not proven that it can serve it")
        } else if !self.slots.iter().any(may_be_here) {
            "this node does not hold it".to_owned()
        } else {
            return;
        };
        self.ordered_to = None;
        self.report_dropped(&why, out, now);
    }

    /// Reports that an ordered hand-over will not happen.
    pub(super) fn report_dropped(&self, why: &str, out: &mut Outbox, now: Time) {
        let text = format!("not handed over as ordered: {why}");
        let about = About::group(&self.name, text);
        out.report(now, Level::Warning, EventKind::HandOverDropped, about);
    }

    /// Alerts once about a resource that points out of the cluster, and reports once that none
    /// does any more.
    fn report_foreign(&mut self, known: &Known, out: &mut Outbox, now: Time) {
        let foreign = self.slots.iter().find_map(|slot| match known.location(slot)? {
            Location::At(Holder::Foreign { target, .. }) if !self.is_fallback(&target) => {
                Some((&slot.resource, target))
            }
            _ => None,
        });
        // A resource that cannot be read may point anywhere: it neither clears an alert nor holds
        // one up.
        let is_known = self.slots.iter().all(|slot| slot.current().is_some());
        if foreign.is_some() == self.foreign_reported || (foreign.is_none() && !is_known) {
            return;
        }
        let (level, text) = match &foreign {
            Some((resource, target)) => (
                Level::Alert,
                format!("{resource} points to {target}, which is not a member; it is left alone"),
            ),
            None => (Level::Info, "no resource points out of the cluster any more".to_owned()),
        };
        self.foreign_reported = foreign.is_some();
        out.report(now, level, EventKind::Foreign, About::group(&self.name, text));
    }

    /// Forgets earlier reclaims once every peer hears this node again.
    fn clear_reclaims(&mut self, known: &Known) {
        let hears_me = known
            .peers
            .values()
            .all(|peer| peer.is_alive() && peer.hears(&known.me.id, known.session, &known.timing));
        if hears_me {
            self.reclaims = 0;
        }
    }

    /// Takes in the outcome of a resource's write. Says whether `id` was one of this group.
    pub(super) fn take_outcome(
        &mut self,
        id: ActionId,
        result: &Result<(), CloudFault>,
        reads: &mut Reads,
        out: &mut Outbox,
        now: Time,
    ) -> bool {
        let Some(at) = self.find_pending(id) else { return false };
        match result {
            Ok(()) => self.slots[at].accepted(now),
            Err(fault) if self.is_refused(at, fault, out, now) => {}
            Err(fault) => self.write_failed(at, fault, out, now),
        }
        reads.hurry_for(self.slots[at].resource.kind());
        true
    }

    /// Whether EC2 refused the fallback to which a write would have pointed a resource: the
    /// resource is then read, and what is wanted of it does without the fallback.
    fn is_refused(&mut self, at: usize, fault: &CloudFault, out: &mut Outbox, now: Time) -> bool {
        let gateway = self.traits.fallback.as_ref().map(|id| RouteTarget::Other(id.to_string()));
        let is_its = gateway.is_some_and(|target| self.slots[at].has_pending_write_to(&target));
        let is_refused = is_its && self.note_refusal(fault, out, now);
        if is_refused {
            self.slots[at].refused(now);
        }
        is_refused
    }

    /// Takes in that a resource's write was given up before it was sent. Says whether `id` was one
    /// of this group.
    pub(super) fn take_expiry(&mut self, id: ActionId, reads: &mut Reads, now: Time) -> bool {
        let Some(at) = self.find_pending(id) else { return false };
        self.slots[at].failed(now, now);
        self.note_failure();
        reads.hurry_for(self.slots[at].resource.kind());
        true
    }

    fn write_failed(&mut self, at: usize, fault: &CloudFault, out: &mut Outbox, now: Time) {
        let jitter = out.jitter();
        self.note_failure();
        let others = self.slots.iter().enumerate().filter(|(other, _)| *other != at);
        let failed: Vec<u32> =
            others.map(|(_, slot)| slot.failures).filter(|failures| *failures > 0).collect();
        let waiting = 1 + failed.len();
        let slot = &mut self.slots[at];
        let wait = match fault.kind {
            CloudFaultKind::Throttled => {
                let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
                throttled(waiting, slot.failures + 1, jitter)
            }
            kind => backoff(kind, slot.failures + 1, jitter),
        };
        slot.failed(now + wait, now);
        let level = match fault.kind {
            CloudFaultKind::Denied | CloudFaultKind::Unsupported | CloudFaultKind::Other => {
                Level::Alert
            }
            _ => Level::Warning,
        };
        let failures = slot.failures;
        // An API that is down for hours is reported at each doubling. What it refuses to all
        // resources of a group alike is reported of the first.
        let is_shared = matches!(
            fault.kind,
            CloudFaultKind::Throttled | CloudFaultKind::Unreachable | CloudFaultKind::Unknown
        );
        let is_known = is_shared && failed.iter().any(|other| *other >= failures);
        if !failures.is_power_of_two() || is_known {
            return;
        }
        let text = format!(
            "{fault} (failure {failures} in a row); reading it, then trying again in {}",
            words(wait)
        );
        out.report(now, level, EventKind::ApiFailed, About::group(&self.name, text));
    }

    fn find_pending(&self, id: ActionId) -> Option<usize> {
        let is_it = |slot: &Slot| slot.pending.as_ref().is_some_and(|pending| pending.id == id);
        self.slots.iter().position(is_it)
    }
}

fn report_concluded(group: &GroupState, moving: &Move, arrived: bool, out: &mut Outbox, now: Time) {
    let took = now.since(moving.begun);
    let (done, failed, verb) = match moving.kind {
        MoveKind::Takeover => (EventKind::TakeoverDone, EventKind::TakeoverFailed, "taken over"),
        MoveKind::HandOver => (EventKind::HandOverDone, EventKind::HandOverDropped, "handed over"),
        MoveKind::HandBack => (EventKind::HandOverDone, EventKind::HandOverDropped, "handed back"),
        MoveKind::Reclaim => (EventKind::Drift, EventKind::Drift, "reclaimed"),
        MoveKind::Drift => (EventKind::Drift, EventKind::Drift, "corrected"),
        MoveKind::Fallback => (EventKind::Fallback, EventKind::Fallback, "moved to its fallback"),
        MoveKind::Return => (EventKind::Fallback, EventKind::Fallback, "taken back"),
    };
    let (level, kind, text) = if arrived {
        let text = format!("{verb}: every resource is on {}; {}", moving.to, moving.reason);
        (Level::Info, done, text)
    } else {
        (Level::Warning, failed, format!("not {verb}: some of its resources are elsewhere"))
    };
    let about =
        About { node: moving.from.clone(), took: Some(took), ..About::group(&group.name, text) };
    out.report(now, level, kind, about);
}
