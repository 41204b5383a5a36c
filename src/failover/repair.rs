//! Stopping and starting a failed peer, under the repair rule.
//!
//! A takeover is cheap and can be undone; a stop is neither. So a stop needs everything that
//! [`rule::may_stop`] demands. If anything is missing, the first such thing is reported and nothing
//! is done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::group::Groups;
use super::known::Known;
use super::outbox::{About, Outbox};
use super::peer::{Peer, max_request_age};
use super::retry::backoff;
use super::rule::{self, Blocked};
use super::starts;
use super::{Action, ActionId, EventKind, Level, Verdict};
use crate::types::{CloudFault, CloudFaultKind, InstanceId, InstanceState, Time};

const HOUR: Duration = Duration::from_hours(1);

/// A power call under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Noting down that the stop is natha's, so that a restart of this monitor knows it.
    Note,
    Stop,
    Start,
}

/// What follows from the outcome of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// The stop of this peer is noted down: send it, if it is still allowed.
    Stop(InstanceId),
    /// EC2 accepted the start of this peer.
    Started(InstanceId),
}

const TOO_MANY: &str = "too many stops within an hour; no more until the first is an hour old";

const PENDING: &str = "EC2 has reported it as pending for longer than repair.patience";

/// The repair of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Repair {
    pending: Option<(ActionId, Step, Time)>,
    failures: u32,
    not_before: Time,
    stop_asked: Option<Time>,
    /// EC2 accepted a start: heartbeats from now on come from the new boot.
    started: bool,
    /// How many starts in a row EC2 accepted, without a heartbeat since.
    starts: u32,
    forced: bool,
    /// EC2's reason for its last stop.
    reason: Option<String>,
    /// Why it is blocked now.
    blocked_by: Option<&'static str>,
    /// The reasons reported since the peer was last heard.
    reported: BTreeSet<&'static str>,
}

impl Repair {
    /// Whether the stop waits for its note.
    fn is_noting(&self) -> bool {
        self.pending.is_some_and(|(_, step, _)| step == Step::Note)
    }
}

/// All repairs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Repairs {
    of: BTreeMap<InstanceId, Repair>,
    /// Peers that this cluster's monitor on this node stopped and has not heard since.
    stopped: BTreeSet<InstanceId>,
    /// When stops were asked for within the last hour, apart from those that were surely not done.
    stops: VecDeque<Time>,
}

impl Repairs {
    pub(super) fn recall(&mut self, stopped: BTreeSet<InstanceId>) {
        self.stopped = stopped;
    }

    /// Shows every time in it to `visit`.
    pub(super) fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self { of, stopped: _, stops } = self;
        stops.iter_mut().for_each(&mut *visit);
        for Repair {
            pending,
            failures: _,
            not_before,
            stop_asked,
            started: _,
            starts: _,
            forced: _,
            reason: _,
            blocked_by: _,
            reported: _,
        } in of.values_mut()
        {
            visit(not_before);
            let pending = pending.as_mut().map(|(_, _, asked)| asked);
            pending.into_iter().chain(stop_asked).for_each(&mut *visit);
        }
    }

    /// Shows the id of every call under way to `visit`.
    pub(super) fn each_id(&mut self, visit: &mut dyn FnMut(&mut ActionId)) {
        let repairs = self.of.values_mut();
        repairs.filter_map(|repair| repair.pending.as_mut()).for_each(|(id, ..)| visit(id));
    }

    /// Shows every count of failures in a row to `visit`.
    pub(super) fn each_failures(&mut self, visit: &mut dyn FnMut(&mut u32)) {
        self.of.values_mut().for_each(|repair| visit(&mut repair.failures));
    }

    /// The peers that this node stopped and has not heard since.
    pub(super) const fn stopped(&self) -> &BTreeSet<InstanceId> {
        &self.stopped
    }

    /// What the repair of `node` is doing, in words.
    pub(super) fn words(&self, node: &InstanceId) -> Option<String> {
        let repair = self.of.get(node)?;
        let doing = match repair.pending {
            Some((_, Step::Note | Step::Stop, _)) => Some("stopping it".to_owned()),
            Some((_, Step::Start, _)) => Some("starting it".to_owned()),
            None if self.stopped.contains(node) => Some("stopped, to be started".to_owned()),
            None => None,
        };
        doing.or_else(|| repair.blocked_by.as_ref().map(|reason| format!("blocked: {reason}")))
    }

    /// Looks at every peer once.
    pub(super) fn advance(&mut self, known: &Known, groups: &Groups, out: &mut Outbox, now: Time) {
        while self.stops.front().is_some_and(|at| now.since(*at) >= HOUR) {
            self.stops.pop_front();
            for repair in self.of.values_mut() {
                repair.reported.remove(TOO_MANY);
            }
        }
        for (node, peer) in &known.peers {
            match peer.verdict {
                Verdict::Alive | Verdict::Sick => self.end(peer, known, out, now),
                Verdict::Suspected | Verdict::Unreachable => {
                    self.advance_stop(peer, known, groups, out, now);
                }
                Verdict::Down => self.advance_start(peer, known, out, now),
                Verdict::Gone => {
                    self.stopped.remove(node);
                    self.of.remove(node);
                }
                Verdict::Leaving | Verdict::DaemonDown | Verdict::Partitioned | Verdict::Unmet => {}
            }
        }
    }

    /// Ends the repair of a peer that is heard. After a stop request it may still be heard until
    /// it shuts down: then the repair is over once EC2 has accepted its start, or reports
    /// `running` in a read issued safely after the stop.
    fn end(&mut self, peer: &Peer, known: &Known, out: &mut Outbox, now: Time) {
        let node = &peer.member.id;
        let repair = self.of.get(node);
        // A stop that was only noted down was not sent: the peer came back on its own.
        let is_noting = repair.is_some_and(Repair::is_noting);
        let stop = repair.and_then(|repair| repair.stop_asked);
        let is_started = repair.is_some_and(|repair| repair.started);
        if self.stopped.contains(node) && !is_noting && !is_started {
            let safely = stop.unwrap_or(known.started) + max_request_age(&known.timing);
            let runs = peer.power.as_ref().is_some_and(|(power, asked)| {
                power.state == Some(InstanceState::Running) && *asked >= safely
            });
            if !runs {
                return;
            }
        }
        self.of.remove(node);
        if !self.stopped.remove(node) {
            return;
        }
        self.remember(out);
        if is_noting {
            return;
        }
        let took = stop.map(|asked| now.since(asked));
        let text = "it is heard again after its stop and start".to_owned();
        let about = About { took, ..About::node(node, text) };
        out.report(now, Level::Info, EventKind::RepairDone, about);
    }

    /// Has the set of stopped peers written down. Only a stop waits for the outcome.
    fn remember(&self, out: &mut Outbox) -> ActionId {
        let id = out.new_id();
        let stopped = self.stopped.clone();
        out.push(Action::Remember { id, stopped });
        id
    }

    /// Whether nothing is under way for this peer and no failure makes it wait.
    fn is_free(&self, node: &InstanceId, patience: Duration, now: Time) -> bool {
        self.of.get(node).is_none_or(|repair| {
            let idle = repair.pending.is_none_or(|(_, _, asked)| now.since(asked) >= patience);
            idle && now >= repair.not_before
        })
    }

    fn advance_stop(
        &mut self,
        peer: &Peer,
        known: &Known,
        groups: &Groups,
        out: &mut Outbox,
        now: Time,
    ) {
        let node = &peer.member.id;
        let rules = &known.timing.repair;
        let since = rule::suspects_since(peer, known).or(peer.suspected_since);
        let suspected_for = since.map_or(Duration::ZERO, |at| now.since(at));
        if suspected_for < rules.after || !self.is_free(node, rules.patience, now) {
            return;
        }
        if let Err(reason) = self.may_stop(peer, known, groups, now) {
            return self.block(node, "it is not stopped", reason, out, now);
        }
        self.stopped.insert(node.clone());
        let id = self.remember(out);
        let repair = self.of.entry(node.clone()).or_default();
        repair.blocked_by = None;
        repair.forced = false;
        repair.pending = Some((id, Step::Note, now));
    }

    /// Whether the peer may be stopped now, or why not.
    fn may_stop(
        &self,
        peer: &Peer,
        known: &Known,
        groups: &Groups,
        now: Time,
    ) -> Result<(), Blocked> {
        let rules = &known.timing.repair;
        // A stop that is under way is not blocked; EC2 has yet to show it.
        let asked = self.of.get(&peer.member.id).and_then(|repair| repair.stop_asked);
        if asked.is_some_and(|at| now.since(at) < rules.patience) {
            return Err(Blocked::Quiet);
        }
        rule::may_stop(peer, known, groups, now)?;
        if self.stops.len() >= rules.max_per_hour as usize {
            return Err(Blocked::TooMany);
        }
        Ok(())
    }

    /// Reports why a repair is blocked, each reason once until the peer is heard again. `what` says
    /// what is not done.
    fn block(
        &mut self,
        node: &InstanceId,
        what: &str,
        blocked: Blocked,
        out: &mut Outbox,
        now: Time,
    ) {
        let (reason, level) = match blocked {
            Blocked::Quiet => return,
            Blocked::For(reason) => (reason, Level::Warning),
            Blocked::Stuck(reason) => (reason, Level::Alert),
            Blocked::TooMany => (TOO_MANY, Level::Alert),
        };
        let repair = self.of.entry(node.clone()).or_default();
        repair.blocked_by = Some(reason);
        if repair.reported.insert(reason) {
            let text = format!("{what}: {reason}");
            out.report(now, level, EventKind::RepairBlocked, About::node(node, text));
        }
    }

    fn advance_start(&mut self, peer: &Peer, known: &Known, out: &mut Outbox, now: Time) {
        let node = &peer.member.id;
        let patience = known.timing.repair.patience;
        // What EC2 said a while ago, before it became silent, may be long over.
        let valid = known.timing.read_valid;
        let recent = peer.power.as_ref().filter(|(_, asked)| now.since(*asked) <= valid);
        let Some((power, _)) = recent else { return };
        let was_started = peer.started_at.is_some_and(|at| now.since(at) < starts::PATIENCE);
        match power.state {
            Some(InstanceState::Pending)
                if peer.started_at.is_some_and(|since| now.since(since) >= patience) =>
            {
                self.block(node, "it does not start", Blocked::Stuck(PENDING), out, now);
            }
            Some(InstanceState::Stopping) => self.force_stop(node, known, out, now),
            Some(InstanceState::Stopped) if !was_started && self.is_free(node, patience, now) => {
                match rule::may_start(peer, power.stop_origin, &self.stopped, known, now) {
                    Ok(()) => {
                        self.take_over_stop(peer, out);
                        self.start(node, known, out, now);
                    }
                    Err(reason) => self.block(node, "it is not started", reason, out, now),
                }
            }
            _ => {}
        }
    }

    /// Makes the stop by a member that is silent this node's own: it is noted down, and this node
    /// starts the peer until it is heard.
    fn take_over_stop(&mut self, peer: &Peer, out: &mut Outbox) {
        if peer.stopped_by_other.is_some() && self.stopped.insert(peer.member.id.clone()) {
            self.remember(out);
        }
    }

    fn start(&mut self, node: &InstanceId, known: &Known, out: &mut Outbox, now: Time) {
        let id = out.new_id();
        let not_after = known.not_after(now);
        let repair = self.of.entry(node.clone()).or_default();
        repair.pending = Some((id, Step::Start, now));
        repair.blocked_by = None;
        let power = known.peers.get(node).and_then(|peer| peer.power.as_ref());
        repair.reason = power.and_then(|(power, _)| power.reason.clone());
        out.push(Action::Start { id, node: node.clone(), not_after });
        let text = "starting it".to_owned();
        out.report(now, Level::Warning, EventKind::RepairStart, About::node(node, text));
    }

    /// Notes that EC2 accepted a start. It may stop the instance again at once, because a volume or
    /// a key is gone, for example: the next start then waits longer each time.
    fn start_accepted(&mut self, node: &InstanceId, out: &mut Outbox, now: Time) {
        let Some(repair) = self.of.get_mut(node) else { return };
        repair.started = true;
        repair.starts = (repair.starts + 1).min(starts::COUNTED);
        repair.not_before = now + starts::pause(repair.starts);
        if repair.starts != starts::ALERTED {
            return;
        }
        let text = starts::alert(repair.reason.as_deref());
        out.report(now, Level::Alert, EventKind::RepairBlocked, About::node(node, text));
    }

    /// A peer that natha stopped and that hangs in `stopping` is stopped by force, once.
    fn force_stop(&mut self, node: &InstanceId, known: &Known, out: &mut Outbox, now: Time) {
        let patience = known.timing.repair.patience;
        let not_after = known.not_after(now);
        let Some(repair) = self.of.get_mut(node) else { return };
        let hangs = repair.stop_asked.is_some_and(|asked| now.since(asked) >= patience);
        let may = known.is_fit() && !known.leaving && self.stopped.contains(node);
        if !hangs || repair.forced || !may {
            return;
        }
        let id = out.new_id();
        repair.forced = true;
        repair.pending = Some((id, Step::Stop, now));
        out.push(Action::Stop { id, node: node.clone(), force: true, not_after });
        let text = "it hangs in `stopping`; stopping it by force".to_owned();
        out.report(now, Level::Alert, EventKind::RepairStop, About::node(node, text));
    }

    /// Takes in the outcome of a power call or of the note before it.
    pub(super) fn take_outcome(
        &mut self,
        id: ActionId,
        result: &Result<(), CloudFault>,
        out: &mut Outbox,
        now: Time,
    ) -> Next {
        let Some((node, step)) = self.take_power_step(id) else { return Next::Nothing };
        match (step, result) {
            (Step::Note, result) => {
                // Without a note, a restart of this monitor would leave the peer stopped. That is
                // reported, but a full disk does not keep a failed peer from being repaired.
                if let Err(fault) = result {
                    let text = format!(
                        "{fault}; if this monitor restarts now, start the instance manually"
                    );
                    let about = About::node(&node, text);
                    out.report(now, Level::Alert, EventKind::RepairBlocked, about);
                }
                return Next::Stop(node);
            }
            (Step::Stop, Ok(())) => {}
            (Step::Start, Ok(())) => {
                self.start_accepted(&node, out, now);
                return Next::Started(node);
            }
            (Step::Stop | Step::Start, Err(fault)) => {
                self.power_failed(&node, step, fault, out, now);
            }
        }
        Next::Nothing
    }

    /// Sends the stop that was noted down, if it is still allowed: the note took time, and the
    /// peer may have been heard.
    pub(super) fn stop(
        &mut self,
        node: &InstanceId,
        known: &Known,
        groups: &Groups,
        out: &mut Outbox,
        now: Time,
    ) {
        let Some(peer) = known.peers.get(node) else { return };
        if let Err(reason) = self.may_stop(peer, known, groups, now) {
            self.stopped.remove(node);
            self.remember(out);
            return self.block(node, "it is not stopped", reason, out, now);
        }
        let evidence = peer.evidence(now);
        let id = out.new_id();
        let not_after = known.not_after(now);
        let repair = self.of.entry(node.clone()).or_default();
        repair.pending = Some((id, Step::Stop, now));
        repair.stop_asked = Some(now);
        repair.started = false;
        repair.starts = 0;
        self.stops.push_back(now);
        out.push(Action::Stop { id, node: node.clone(), force: false, not_after });
        let text = format!("stopping it, to start it again: {evidence}");
        out.report(now, Level::Alert, EventKind::RepairStop, About::node(node, text));
    }

    fn power_failed(
        &mut self,
        node: &InstanceId,
        step: Step,
        fault: &CloudFault,
        out: &mut Outbox,
        now: Time,
    ) {
        let jitter = out.jitter();
        if step == Step::Stop && fault.kind != CloudFaultKind::Unknown {
            self.uncount_stop(node);
        }
        // HTTP 503 counts as throttled and does not surely mean that nothing was done.
        if step == Step::Stop
            && !matches!(fault.kind, CloudFaultKind::Unknown | CloudFaultKind::Throttled)
        {
            self.stop_not_done(node, out);
        }
        let repair = self.of.entry(node.clone()).or_default();
        repair.failures += 1;
        if fault.kind == CloudFaultKind::Throttled && !repair.forced {
            repair.stop_asked = None;
        }
        let wait = backoff(fault.kind, repair.failures, jitter);
        repair.not_before = now + wait;
        let level = match fault.kind {
            CloudFaultKind::Throttled | CloudFaultKind::Unknown => Level::Warning,
            _ => Level::Alert,
        };
        let text = format!("{fault}; next try in {} s at the earliest", wait.as_secs());
        out.report(now, level, EventKind::ApiFailed, About::node(node, text));
    }

    /// Takes in that a power call was given up before it was sent.
    pub(super) fn take_expiry(&mut self, id: ActionId, out: &mut Outbox) {
        let Some((node, Step::Stop)) = self.take_power_step(id) else { return };
        self.uncount_stop(&node);
        self.stop_not_done(&node, out);
    }

    /// A stop that was refused or never sent does not count against the stops of an hour. The
    /// second one, by force, is not counted in the first place.
    fn uncount_stop(&mut self, node: &InstanceId) {
        let repair = self.of.get(node).filter(|repair| !repair.forced);
        let asked = repair.and_then(|repair| repair.stop_asked);
        self.stops.retain(|at| Some(*at) != asked);
    }

    /// A stop that was surely not carried out leaves nothing to start again. Where it was the
    /// second one, by force, the first one stands.
    fn stop_not_done(&mut self, node: &InstanceId, out: &mut Outbox) {
        let Some(repair) = self.of.get_mut(node).filter(|repair| !repair.forced) else {
            return;
        };
        repair.stop_asked = None;
        if self.stopped.remove(node) {
            self.remember(out);
        }
    }

    fn take_power_step(&mut self, id: ActionId) -> Option<(InstanceId, Step)> {
        self.of.iter_mut().find_map(|(node, repair)| {
            let (_, step, _) = repair.pending.filter(|(pending, _, _)| *pending == id)?;
            repair.pending = None;
            Some((node.clone(), step))
        })
    }
}
