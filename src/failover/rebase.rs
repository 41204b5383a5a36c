//! The machine as a state that can be compared: whenever it is, and however it numbered its
//! actions.
//!
//! A model checker must see that a cluster at rest is the same cluster a minute later. So the
//! present can be moved to one and the same moment, and what is older than any rule looks back is
//! all equally old. Nothing else of the core depends on this file.

use std::time::Duration;

use super::group::{Fallback, GroupState};
use super::known::Known;
use super::machine::Machine;
use super::outbox::Outbox;
use super::peer::Peer;
use super::{Action, ActionId};
use crate::config::Timing;
use crate::types::Time;

/// Failures in a row after which a wait does not grow any more.
const MOST_FAILURES: u32 = 8;

impl Machine {
    /// Moves every time in it back by `by`, but not to before `near`, and not to before `far` where
    /// a rule has patience before a repair. A machine that is told times that are earlier by `by`
    /// from now on does what it would have done, as long as no rule looks further back.
    pub fn rebase(&mut self, by: Duration, near: Time, far: Time) {
        let timing = &self.known.timing;
        for peer in self.known.peers.values_mut() {
            peer.conclude_old(timing, near + by);
        }
        self.each_time(&mut |time| *time = (*time - by).max(near));
        self.each_far_time(&mut |time| *time = (*time - by).max(far));
    }

    /// Renames every action whose outcome it waits for, so that the ids do not tell how many there
    /// were before. `next` is the highest id that is in use afterwards.
    pub fn renumber(&mut self, mut rename: impl FnMut(ActionId) -> ActionId, next: u64) {
        for slot in self.groups.values_mut().flat_map(|group| &mut group.slots) {
            if let Some(pending) = &mut slot.pending {
                pending.id = rename(pending.id);
            }
        }
        self.reads.each_id(&mut |id| *id = rename(*id));
        self.repairs.each_id(&mut |id| *id = rename(*id));
        self.out.last_id = next;
    }

    /// Stops every counter where nothing depends on it any more. How often groups moved is told to
    /// people and decides nothing; after so many failures the next pause is the longest there is;
    /// and where the stream of jitter is does not matter.
    pub fn cap_counts(&mut self) {
        for group in self.groups.values_mut() {
            group.generation = 0;
            for slot in &mut group.slots {
                slot.failures = slot.failures.min(MOST_FAILURES);
            }
        }
        for peer in self.known.peers.values_mut() {
            peer.moves_while_lost = peer.moves_while_lost.min(2);
            peer.flaps = peer.flaps.min(16);
            for claim in peer.heard.iter_mut().flat_map(|heard| &mut heard.beat.holds) {
                claim.generation = 0;
            }
        }
        let cap = |failures: &mut u32| *failures = (*failures).min(MOST_FAILURES);
        self.reads.each_failures(&mut { cap });
        self.repairs.each_failures(&mut { cap });
        self.out.noise = super::retry::Noise::new(0);
    }

    fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self {
            known,
            groups,
            reads,
            repairs,
            out,
            reported: _,
            pauses,
            may_exit_sent: _,
            next_beat,
            next_look,
            due,
        } = self;
        [next_beat, next_look, due].into_iter().chain(pauses).for_each(&mut *visit);
        known.each_time(visit);
        for group in groups.values_mut() {
            group.each_time(visit);
        }
        reads.each_time(visit);
        repairs.each_time(visit);
        out.each_time(visit);
    }

    fn each_far_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        self.known.fit_since.iter_mut().for_each(&mut *visit);
        for peer in self.known.peers.values_mut() {
            let Peer { lost_since, suspected_since, started_at, stopped_by_other, .. } = peer;
            [lost_since, suspected_since, started_at, stopped_by_other]
                .into_iter()
                .flatten()
                .for_each(&mut *visit);
        }
    }
}

impl Known {
    fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self {
            me: _,
            session: _,
            timing: _,
            settings_digest: _,
            started,
            peers,
            ever_heard: _,
            heard_long_ago: _,
            stopped: _,
            fitness: _,
            fit_since: _,
            steady_since,
            failing: _,
            leaving: _,
            restarting: _,
            latches: _,
            latches_reported: _,
            own_power,
        } = self;
        visit(started);
        visit(steady_since);
        for peer in peers.values_mut() {
            peer.each_time(visit);
        }
        if let Some((_, asked)) = own_power {
            visit(asked);
        }
    }
}

impl Outbox {
    fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self { actions, last_id: _, noise: _ } = self;
        for action in actions {
            action.each_time(visit);
        }
    }
}

impl Action {
    fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        match self {
            Self::WriteRoute { not_after: time, .. }
            | Self::Assign { not_after: time, .. }
            | Self::Stop { not_after: time, .. }
            | Self::Start { not_after: time, .. } => visit(time),
            Self::Report { event } => visit(&mut event.at),
            Self::SendBeat { .. }
            | Self::SendEcho { .. }
            | Self::Probe
            | Self::ReadRoutes { .. }
            | Self::ReadHolders { .. }
            | Self::ReadPower { .. }
            | Self::Remember { .. }
            | Self::MayExit => {}
        }
    }
}

impl Peer {
    /// Draws the conclusions of comparisons between two times that are both about to be too old to
    /// be told apart.
    fn conclude_old(&mut self, timing: &Timing, old: Time) {
        if self.moved_at.is_some_and(|at| at <= old) {
            if self.is_move_late(timing) {
                self.moves_while_lost = self.moves_while_lost.max(2);
            } else if self.moves_while_lost < 2 {
                self.moved_at = None;
            }
        }
        // No wait that it could cause is longer than `hand_back.hold_max`.
        if self.relieved_at.is_some_and(|at| at <= old) {
            (self.reliefs, self.relieved_at) = (0, None);
        }
        let heard_at = self.heard.as_ref().map(|heard| heard.at);
        let asked = self.power.as_ref().map(|(_, asked)| *asked);
        if heard_at.is_some_and(|at| at <= old) && asked < heard_at {
            self.power = None;
        }
        // A goodbye counts for longer than times are told apart, and would never end. It ends here.
        if self.said_goodbye()
            && let Some(heard) = self.heard.as_mut().filter(|heard| heard.at <= old)
        {
            heard.at = Time::default();
            self.excused = Time::default();
        }
    }

    /// Whether its goodbye has ended, so that its last heartbeat is older than all others.
    fn has_left(&self) -> bool {
        self.heard.as_ref().is_some_and(|heard| heard.at == Time::default())
    }

    fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let has_left = self.has_left();
        let Self {
            member: _,
            listed: _,
            met,
            heard_before: _,
            unheard_reported: _,
            heard,
            excused,
            echo_at,
            echo_asked,
            power,
            moves_while_lost: _,
            moved_at,
            verdict: _,
            verdict_since,
            lost_since: _,
            suspected_since: _,
            alive_since,
            probes_fail_since,
            not_shared,
            proven_since,
            reliefs: _,
            relieved_at,
            serving,
            deaf_since,
            stopped_by_other: _,
            started_at: _,
            flaps: _,
            handed_back_at,
        } = self;
        [met, verdict_since].into_iter().for_each(&mut *visit);
        for (_, since) in serving.values_mut() {
            visit(since);
        }
        not_shared.values_mut().for_each(&mut *visit);
        if !has_left {
            visit(excused);
            if let Some(heard) = heard {
                visit(&mut heard.at);
            }
        }
        if let Some((_, asked)) = power {
            visit(asked);
        }
        let others = [echo_at, echo_asked, moved_at, alive_since, deaf_since, handed_back_at];
        for time in
            others.into_iter().chain([probes_fail_since, proven_since, relieved_at]).flatten()
        {
            visit(time);
        }
    }
}

impl GroupState {
    fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self {
            name: _,
            home: _,
            prefer: _,
            traits: _,
            egress: _,
            networks: _,
            slots,
            generation: _,
            moving,
            ordered_to: _,
            announcement,
            must_carry: _,
            announced_by_peer,
            relay,
            foreign_reported: _,
            reclaims: _,
            fallback,
        } = self;
        let Fallback { refused_until, returned_at, .. } = fallback;
        refused_until.iter_mut().chain(returned_at).for_each(&mut *visit);
        if let Some(moving) = moving {
            visit(&mut moving.begun);
        }
        let sent = announcement.as_mut().and_then(|announcement| announcement.sent.as_mut());
        let until = relay.as_mut().map(|(_, until)| until);
        sent.into_iter().chain(announced_by_peer).chain(until).for_each(&mut *visit);
        for slot in slots {
            slot.each_time(visit);
        }
    }
}
