//! From wishes to writes, and from outcomes to what is told about them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::group::{Group, Move, MoveKind, Wish};
use super::machine::{About, Machine};
use super::peer::words;
use super::retry::backoff;
use super::slot::{Slot, Write};
use super::{Action, ActionId, EventKind, Level};
use crate::types::{
    CloudFault, CloudFaultKind, GroupName, Holder, Location, Member, ResourceKind, Time,
};

impl Machine {
    /// One look at every resource of every group.
    pub(super) fn decide(&mut self, now: Time) {
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        for name in names {
            let slots = self.groups.get(&name).map_or(0, |group| group.slots.len());
            for at in 0..slots {
                self.pursue(&name, at, now);
            }
            self.conclude_move(&name, now);
            self.settle_gift(&name, now);
            self.drop_order(&name, now);
            self.tell_foreign(&name, now);
            self.settle_asserts(&name);
        }
    }

    /// Sends the write that a wish asks for, once all that it needs is there.
    fn pursue(&mut self, name: &GroupName, at: usize, now: Time) {
        let Some(group) = self.groups.get(name) else { return };
        let slot = &group.slots[at];
        if slot.pending.is_some() || slot.retry_at.is_some_and(|retry| now < retry) {
            return;
        }
        let Some(wish) = self.wish(group, slot, now) else { return };
        if self.waits_for_others(group, slot, now) {
            return;
        }
        let kind = slot.resource.kind();
        let read_since = now - self.numbers.read_valid;
        // The first write of a takeover may use the last known target: it saves a call, and the
        // worst that can come of it is undone by the next read. After a failure there is time.
        let has_failed = group.moving.as_ref().is_some_and(|moving| moving.has_failed);
        let is_urgent = wish.kind == MoveKind::Takeover && slot.failures == 0 && !has_failed;
        if !is_urgent && !slot.is_read_since(read_since) {
            self.reads.hurry_for(kind);
            return;
        }
        // A hand-back can wait: it begins once all of the group is known, and so can end.
        if wish.kind == MoveKind::HandBack && group.moving.is_none() {
            let unread = group.slots.iter().filter(|slot| !slot.is_read_since(read_since));
            let unread: BTreeSet<ResourceKind> = unread.map(|slot| slot.resource.kind()).collect();
            if !unread.is_empty() {
                for kind in unread {
                    self.reads.hurry_for(kind);
                }
                return;
            }
        }
        if !self.is_announced(name, &wish, now) {
            return;
        }
        let Some(group) = self.groups.get(name) else { return };
        let slot = &group.slots[at];
        let Some(member) = self.receiver(&wish) else { return };
        let (Some(write), Some(target)) = (slot.write_to(member), slot.resource.target(member))
        else {
            return;
        };
        self.begin_move(name, &wish, now);
        let id = self.new_id();
        let not_after = self.not_after(now);
        if let Some(group) = self.groups.get_mut(name) {
            group.slots[at].sent(id, target);
        }
        self.push(match write {
            Write::Route(write) => Action::WriteRoute { id, write, not_after },
            Write::Assign(assignment) => Action::Assign { id, assignment, not_after },
        });
    }

    /// Whether a resource's turn has not come: those of an earlier kind are still on their way, at
    /// their first attempt. One that fails holds nobody up.
    fn waits_for_others(&self, group: &Group, slot: &Slot, now: Time) -> bool {
        let kind = slot.resource.kind();
        group
            .slots
            .iter()
            .filter(|other| other.resource.kind() < kind && other.failures == 0)
            .any(|other| other.pending.is_some() || self.wish(group, other, now).is_some())
    }

    pub(super) fn receiver(&self, wish: &Wish) -> Option<&Member> {
        if wish.to == self.me.id {
            return Some(&self.me);
        }
        self.peers.get(&wish.to).map(|peer| &peer.member)
    }

    /// Notes a move when its first write goes out.
    fn begin_move(&mut self, name: &GroupName, wish: &Wish, now: Time) {
        let flap_window = self.numbers.hand_back.hold_max;
        let Some(group) = self.groups.get_mut(name) else { return };
        let same = group.moving.as_ref().is_some_and(|m| m.kind == wish.kind && m.to == wish.to);
        if same {
            return;
        }
        group.moving = Some(Move {
            kind: wish.kind,
            from: wish.from.clone(),
            to: wish.to.clone(),
            begun: now,
            has_failed: false,
            reason: wish.reason.clone(),
        });
        group.generation = group.generation.saturating_add(1);
        if wish.kind == MoveKind::Assert {
            group.asserts += 1;
        }
        if let Some(peer) = wish.from.as_ref().and_then(|from| self.peers.get_mut(from)) {
            let soon = peer.handed_back_at.is_some_and(|at| now.since(at) < flap_window);
            if wish.kind == MoveKind::Takeover && soon {
                peer.flaps += 1;
                peer.handed_back_at = None;
            }
        }
        let (kind, verb, level) = match wish.kind {
            MoveKind::Takeover => (EventKind::TakeoverBegun, "taking it over", Level::Warning),
            MoveKind::HandOver => (EventKind::HandOverBegun, "handing it over", Level::Info),
            MoveKind::HandBack => (EventKind::HandOverBegun, "handing it back", Level::Info),
            MoveKind::Assert => (EventKind::Drift, "keeping its own group", Level::Alert),
            MoveKind::Drift => (EventKind::Drift, "setting it right", Level::Warning),
        };
        let text = format!("{verb} ({} to {}): {}", from_words(wish), wish.to, wish.reason);
        let about = About { node: wish.from.clone(), ..About::group(name, text) };
        self.report(now, level, kind, about);
    }

    /// Ends a move once a read shows every resource where it was to go, or that it went elsewhere.
    fn conclude_move(&mut self, name: &GroupName, now: Time) {
        let Some(group) = self.groups.get(name) else { return };
        let Some(moving) = group.moving.clone() else { return };
        if group.slots.iter().any(|slot| slot.pending.is_some() || slot.retry_at.is_some()) {
            return;
        }
        let unread: BTreeSet<ResourceKind> = group
            .slots
            .iter()
            .filter(|slot| !slot.is_read_since(moving.begun))
            .map(|slot| slot.resource.kind())
            .collect();
        if !unread.is_empty() {
            // Route 53 takes up to a minute until a change is everywhere: the usual pace will do.
            for kind in unread.into_iter().filter(|kind| *kind != ResourceKind::Dns) {
                self.reads.hurry_for(kind);
            }
            return;
        }
        let arrived = group.slots.iter().all(|slot| self.is_on(slot, &moving.to));
        if !arrived && group.slots.iter().any(|slot| self.wish(group, slot, now).is_some()) {
            return;
        }
        if let Some(group) = self.groups.get_mut(name) {
            group.moving = None;
            group.ordered_to = None;
            for slot in &mut group.slots {
                slot.failures = 0;
            }
        }
        self.tell_moved(name, &moving, arrived, now);
    }

    fn tell_moved(&mut self, name: &GroupName, moving: &Move, arrived: bool, now: Time) {
        let took = now.since(moving.begun);
        if moving.kind == MoveKind::HandBack
            && arrived
            && let Some(peer) = self.peers.get_mut(&moving.to)
        {
            peer.handed_back_at = Some(now);
        }
        let (kind, done) = match moving.kind {
            MoveKind::Takeover => (EventKind::TakeoverDone, "taken over"),
            MoveKind::HandOver => (EventKind::HandOverDone, "handed over"),
            MoveKind::HandBack => (EventKind::HandOverDone, "handed back"),
            MoveKind::Assert => (EventKind::Drift, "kept"),
            MoveKind::Drift => (EventKind::Drift, "set"),
        };
        let (level, text) = if arrived {
            (Level::Info, format!("{done}: all of it is with {}; {}", moving.to, moving.reason))
        } else {
            (Level::Warning, format!("not {done}: a part of it is elsewhere now"))
        };
        let about =
            About { node: moving.from.clone(), took: Some(took), ..About::group(name, text) };
        self.report(now, level, kind, about);
    }

    /// Drops an order that cannot be carried out now: nobody expects it to be, much later.
    fn drop_order(&mut self, name: &GroupName, now: Time) {
        let Some(group) = self.groups.get(name).filter(|group| group.moving.is_none()) else {
            return;
        };
        let Some(to) = group.ordered_to.clone() else { return };
        let can_take = self.peers.get(&to).is_some_and(|peer| peer.can_take(name));
        let may_be_here = |slot: &Slot| match self.location(slot) {
            None | Some(Location::Absent | Location::Pending) => true,
            Some(location) => location.member() == Some(&self.me.id),
        };
        let why = if !can_take {
            format!("{to} cannot take it")
        } else if !group.slots.iter().any(may_be_here) {
            "this node does not hold it".to_owned()
        } else {
            return;
        };
        if let Some(group) = self.groups.get_mut(name) {
            group.ordered_to = None;
        }
        self.tell_dropped(name, &why, now);
    }

    /// Tells whoever ordered a hand-over that nothing comes of it.
    pub(super) fn tell_dropped(&mut self, name: &GroupName, why: &str, now: Time) {
        let text = format!("not handed over as ordered: {why}");
        self.report(now, Level::Warning, EventKind::HandOverDone, About::group(name, text));
    }

    /// Alerts once about what leads out of the cluster, and once when it is back.
    fn tell_foreign(&mut self, name: &GroupName, now: Time) {
        let Some(group) = self.groups.get(name) else { return };
        let foreign = group.slots.iter().find_map(|slot| match self.location(slot)? {
            Location::At(Holder::Foreign { target, .. }) => {
                Some((slot.resource.to_string(), target))
            }
            _ => None,
        });
        // What cannot be read may lead anywhere: it takes no alert back, and it holds none up.
        let is_known = group.slots.iter().all(|slot| slot.current().is_some());
        if foreign.is_some() == group.foreign_told || (foreign.is_none() && !is_known) {
            return;
        }
        let (level, text) = match &foreign {
            Some((resource, target)) => (
                Level::Alert,
                format!("{resource} leads to {target}, which is no member; it is left alone"),
            ),
            None => (Level::Info, "nothing leads out of the cluster any more".to_owned()),
        };
        if let Some(group) = self.groups.get_mut(name) {
            group.foreign_told = foreign.is_some();
        }
        self.report(now, level, EventKind::Foreign, About::group(name, text));
    }

    /// Forgets earlier assertions once every peer hears this node again.
    fn settle_asserts(&mut self, name: &GroupName) {
        let heard = self
            .peers
            .values()
            .all(|peer| peer.is_alive() && peer.hears(&self.me.id, self.session, &self.numbers));
        if let Some(group) = self.groups.get_mut(name).filter(|_| heard) {
            group.asserts = 0;
        }
    }

    /// Takes in the outcome of a resource's write. Says whether `id` was one.
    pub(super) fn resource_written(
        &mut self,
        id: ActionId,
        result: &Result<(), CloudFault>,
        now: Time,
    ) -> bool {
        let Some((name, at)) = self.find_pending(id) else { return false };
        match result {
            Ok(()) => {
                if let Some(group) = self.groups.get_mut(&name) {
                    group.slots[at].accepted(now);
                }
            }
            Err(fault) => self.write_failed(&name, at, fault, now),
        }
        self.hurry_slot(&name, at);
        true
    }

    /// Asks for the resources of a slot's kind to be read soon.
    fn hurry_slot(&mut self, name: &GroupName, at: usize) {
        let slot = self.groups.get(name).map(|group| &group.slots[at]);
        if let Some(kind) = slot.map(|slot| slot.resource.kind()) {
            self.reads.hurry_for(kind);
        }
    }

    /// Takes in that a resource's write was given up before it was sent.
    pub(super) fn resource_expired(&mut self, id: ActionId, now: Time) {
        let Some((name, at)) = self.find_pending(id) else { return };
        if let Some(group) = self.groups.get_mut(&name) {
            group.slots[at].failed(now);
            group.note_failure();
        }
        self.hurry_slot(&name, at);
    }

    fn write_failed(&mut self, name: &GroupName, at: usize, fault: &CloudFault, now: Time) {
        let noise = self.noise.next();
        let Some(group) = self.groups.get_mut(name) else { return };
        group.note_failure();
        let slot = &mut group.slots[at];
        let wait = backoff(fault.kind, slot.failures + 1, noise);
        slot.failed(now + wait);
        let level = match fault.kind {
            CloudFaultKind::Denied | CloudFaultKind::Unsupported | CloudFaultKind::Other => {
                Level::Alert
            }
            _ => Level::Warning,
        };
        let failures = slot.failures;
        // An API that is down for hours is told at each doubling.
        if !failures.is_power_of_two() {
            return;
        }
        let text = format!(
            "{fault} (failure {failures} in a row); reading it, then trying again in {}",
            words(wait)
        );
        self.report(now, level, EventKind::ApiFailed, About::group(name, text));
    }

    fn find_pending(&self, id: ActionId) -> Option<(GroupName, usize)> {
        self.groups.values().find_map(|group| {
            let is_it = |slot: &Slot| slot.pending.as_ref().is_some_and(|pending| pending.id == id);
            group.slots.iter().position(is_it).map(|at| (group.name.clone(), at))
        })
    }

    /// How long this node's reads have shown every resource of every group on nodes that
    /// `accept` agrees with; none where they do not.
    pub(super) fn all_settled_on(
        &self,
        accept: impl Fn(&crate::types::InstanceId) -> bool,
        now: Time,
    ) -> Option<Duration> {
        let read_since = now - self.numbers.read_valid;
        let mut settled = Duration::MAX;
        for slot in self.groups.values().flat_map(|group| &group.slots) {
            let location = self.location(slot)?;
            if !accept(location.member()?)
                || !slot.is_read_since(read_since)
                || slot.pending.is_some()
            {
                return None;
            }
            settled = settled.min(now.since(slot.since));
        }
        Some(settled)
    }
}

fn from_words(wish: &Wish) -> String {
    wish.from.as_ref().map_or_else(|| "from nowhere".to_owned(), |from| format!("from {from}"))
}
