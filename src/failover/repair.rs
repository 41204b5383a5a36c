//! Stopping and starting a failed peer, under the repair rule.
//!
//! A takeover is cheap and can be undone; a stop is neither. So a stop needs everything that
//! [`Machine::may_stop`] asks for, and the first thing missing is told and nothing done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::machine::{About, Machine};
use super::order::rank;
use super::peer::{Peer, straggler};
use super::retry::backoff;
use super::{Action, ActionId, EventKind, Level, Verdict};
use crate::types::{CloudFault, CloudFaultKind, InstanceId, InstanceState, StopOrigin, Time};

const HOUR: Duration = Duration::from_hours(1);
/// How long an accepted start may leave the state at `stopped` before it is asked for again.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// A power call under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Noting down that the stop is natha's, so that a restart of this monitor knows it.
    Note,
    Stop,
    Start,
}

/// Why a repair does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// It is under way, or its time has not come.
    Quiet,
    /// Something is missing.
    For(&'static str),
    /// EC2 does not get on.
    Stuck(&'static str),
    /// It has not helped so far.
    TooMany,
}

const TOO_MANY: &str =
    "too many stops within an hour; none follows until this monitor is restarted";

const PENDING: &str = "EC2 has shown it as pending for longer than repair.patience";

/// The repair of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Repair {
    pending: Option<(ActionId, Step, Time)>,
    failures: u32,
    not_before: Time,
    stop_asked: Option<Time>,
    /// EC2 accepted a start, so that what is heard from now on is a new life.
    started: bool,
    forced: bool,
    /// What it waits for.
    held: Option<&'static str>,
    /// What was told of that since the peer was last heard.
    told: BTreeSet<&'static str>,
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
    /// When stops were asked for within the last hour.
    stops: VecDeque<Time>,
    latched: bool,
}

impl Repairs {
    pub(super) fn recall(&mut self, stopped: BTreeSet<InstanceId>) {
        self.stopped = stopped;
    }

    /// Shows every time in it to `visit`.
    pub(super) fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self { of, stopped: _, stops, latched: _ } = self;
        stops.iter_mut().for_each(&mut *visit);
        for Repair {
            pending,
            failures: _,
            not_before,
            stop_asked,
            started: _,
            forced: _,
            held: _,
            told: _,
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

    /// Whether this node stopped `node` and has not heard it since.
    pub(super) fn has_stopped(&self, node: &InstanceId) -> bool {
        self.stopped.contains(node)
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
        doing.or_else(|| repair.held.as_ref().map(|reason| format!("held: {reason}")))
    }
}

impl Machine {
    /// One look at every peer.
    pub(super) fn repair(&mut self, now: Time) {
        while self.repairs.stops.front().is_some_and(|at| now.since(*at) >= HOUR) {
            self.repairs.stops.pop_front();
        }
        let peers: Vec<(InstanceId, Verdict)> =
            self.peers.iter().map(|(id, peer)| (id.clone(), peer.verdict)).collect();
        for (node, verdict) in peers {
            match verdict {
                Verdict::Alive | Verdict::Sick => self.repaired(&node, now),
                Verdict::Suspected | Verdict::Unreachable => self.pursue_stop(&node, now),
                Verdict::Down => self.pursue_start(&node, now),
                Verdict::Gone => {
                    self.repairs.stopped.remove(&node);
                    self.repairs.of.remove(&node);
                }
                Verdict::Left | Verdict::DaemonDown | Verdict::CutOff | Verdict::Unmet => {}
            }
        }
    }

    /// A peer that is heard needs no repair. But one whose stop was asked for may be heard in its
    /// old life still, which is about to end: it is done with when EC2 has accepted its start, or
    /// calls it running in words that are surely younger than the stop.
    fn repaired(&mut self, node: &InstanceId, now: Time) {
        let Some(peer) = self.peers.get(node) else { return };
        let repair = self.repairs.of.get(node);
        // What is only noted down was not stopped yet: it came back by itself.
        let is_noting = repair.is_some_and(Repair::is_noting);
        let stop = repair.and_then(|repair| repair.stop_asked);
        let is_started = repair.is_some_and(|repair| repair.started);
        if self.repairs.has_stopped(node) && !is_noting && !is_started {
            let surely = stop.unwrap_or(self.started) + straggler(&self.numbers);
            let runs = peer.power.as_ref().is_some_and(|(power, asked)| {
                power.state == Some(InstanceState::Running) && *asked >= surely
            });
            if !runs {
                return;
            }
        }
        self.repairs.of.remove(node);
        if !self.repairs.stopped.remove(node) {
            return;
        }
        self.remember();
        if is_noting {
            return;
        }
        let took = stop.map(|asked| now.since(asked));
        let text = "it is heard again after its stop and start".to_owned();
        let about = About { took, ..About::node(node, text) };
        self.report(now, Level::Info, EventKind::RepairDone, about);
    }

    /// Writes down which peers are stopped by this node. The outcome is waited for by nobody but
    /// a stop.
    fn remember(&mut self) -> ActionId {
        let id = self.new_id();
        let stopped = self.repairs.stopped.clone();
        self.push(Action::Remember { id, stopped });
        id
    }

    /// Whether nothing is under way for this peer and no failure makes it wait.
    fn is_free(&self, node: &InstanceId, now: Time) -> bool {
        let patience = self.numbers.repair.patience;
        self.repairs.of.get(node).is_none_or(|repair| {
            let idle = repair.pending.is_none_or(|(_, _, asked)| now.since(asked) >= patience);
            idle && now >= repair.not_before
        })
    }

    fn pursue_stop(&mut self, node: &InstanceId, now: Time) {
        let Some(peer) = self.peers.get(node) else { return };
        let suspected_for = peer.suspected_since.map_or(Duration::ZERO, |at| now.since(at));
        if suspected_for < self.numbers.repair.after || !self.is_free(node, now) {
            return;
        }
        if let Err(reason) = self.may_stop(peer, now) {
            return self.hold_repair(node, "it is not stopped", reason, now);
        }
        self.repairs.stopped.insert(node.clone());
        let id = self.remember();
        let repair = self.repairs.of.entry(node.clone()).or_default();
        repair.held = None;
        repair.forced = false;
        repair.pending = Some((id, Step::Note, now));
    }

    /// The repair rule: why the peer may not be stopped now, or `Ok` if it may.
    fn may_stop(&self, peer: &Peer, now: Time) -> Result<(), Hold> {
        let rules = &self.numbers.repair;
        let recent = |at: Time| now.since(at) <= self.numbers.read_valid;
        // A stop that is under way is not held; EC2 has yet to show it.
        let asked = self.repairs.of.get(&peer.member.id).and_then(|repair| repair.stop_asked);
        if asked.is_some_and(|at| now.since(at) < rules.patience) {
            return Err(Hold::Quiet);
        }
        if !rules.enabled {
            return Err(Hold::For("repair is switched off"));
        }
        if self.leaving {
            return Err(Hold::For("this node is leaving"));
        }
        let suspected = peer.suspected_since.ok_or(Hold::Quiet)?;
        if self.fit_since.is_none_or(|fit| fit > suspected) {
            return Err(Hold::For("this node was not fit the whole time"));
        }
        let power = peer.power.as_ref().filter(|(_, at)| recent(*at));
        let (power, _) = power.ok_or(Hold::For("EC2 has not told its state"))?;
        if power.state != Some(InstanceState::Running) {
            return Err(Hold::For("EC2 does not say that it is running"));
        }
        if peer.heard.is_none() && !power.impaired {
            return Err(Hold::For("it was never heard, so its silence says nothing"));
        }
        if !power.impaired && !self.could_show_life(peer) {
            return Err(Hold::For("it has no group of its own to take back if it lives"));
        }
        let own = self.reads.own_power.as_ref().filter(|(_, at)| recent(*at));
        if own.is_none_or(|(own, _)| own.state != Some(InstanceState::Running)) {
            return Err(Hold::For("EC2 does not say that this node is running"));
        }
        if peer.settings_differ(self.settings_digest) {
            return Err(Hold::For("its settings differ from this node's"));
        }
        if peer.started_at.is_some_and(|at| now.since(at) < rules.patience) {
            return Err(Hold::For("it was started a short while ago and may still boot"));
        }
        self.may_stop_by_resources(peer, now)?;
        let place = rank(&self.me.id, self.everyone());
        if now.since(suspected) < rules.after + rules.stagger.saturating_mul(place) {
            return Err(Hold::Quiet);
        }
        if self.repairs.latched || self.repairs.stops.len() >= rules.max_per_hour as usize {
            return Err(Hold::TooMany);
        }
        Ok(())
    }

    /// The part of the repair rule that the resources and the other members decide: a peer that is
    /// alive and cut off shows it by what it holds, and with three or more a majority must agree.
    fn may_stop_by_resources(&self, peer: &Peer, now: Time) -> Result<(), Hold> {
        let node = &peer.member.id;
        let agrees = |other: &InstanceId| {
            *other == self.me.id
                || self.peers.get(other).is_some_and(|p| p.is_alive() && p.judges_failed(node))
        };
        let has_any = self.groups.values().any(|group| !group.slots.is_empty());
        let settled = self.all_settled_on(agrees, now).filter(|_| has_any);
        if settled.is_none_or(|settled| settled < self.numbers.repair.settle) {
            return Err(Hold::For("not everything has been seen on this side for long enough"));
        }
        let members = self.peers.len() + 1;
        let agreeing = self.everyone().filter(|other| agrees(other)).count();
        if members > 2 && agreeing * 2 <= members {
            return Err(Hold::For("no majority of the members judges it failed"));
        }
        Ok(())
    }

    /// Tells why a repair does not go on, each reason once until the peer is heard again. `what`
    /// is what is not done.
    fn hold_repair(&mut self, node: &InstanceId, what: &str, hold: Hold, now: Time) {
        let (reason, level) = match hold {
            Hold::Quiet => return,
            Hold::For(reason) => (reason, Level::Warning),
            Hold::Stuck(reason) => (reason, Level::Alert),
            Hold::TooMany => (TOO_MANY, Level::Alert),
        };
        self.repairs.latched |= hold == Hold::TooMany;
        let repair = self.repairs.of.entry(node.clone()).or_default();
        repair.held = Some(reason);
        if repair.told.insert(reason) {
            let text = format!("{what}: {reason}");
            self.report(now, level, EventKind::RepairHeld, About::node(node, text));
        }
    }

    fn pursue_start(&mut self, node: &InstanceId, now: Time) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        // What EC2 said a while ago, before it became silent, may be long over.
        let valid = self.numbers.read_valid;
        let recent = peer.power.clone().filter(|(_, asked)| now.since(*asked) <= valid);
        let Some((power, _)) = recent else { return };
        let was_started = peer.started_at.is_some_and(|at| now.since(at) < START_PATIENCE);
        match power.state {
            Some(InstanceState::Pending) => {
                let since = *peer.started_at.get_or_insert(now);
                if now.since(since) >= self.numbers.repair.patience {
                    self.hold_repair(node, "it does not start", Hold::Stuck(PENDING), now);
                }
            }
            Some(InstanceState::Stopping) => self.force_stop(node, now),
            Some(InstanceState::Stopped) if !was_started && self.is_free(node, now) => {
                match self.may_start(node, power.stop_origin, now) {
                    Ok(()) => self.start(node, now),
                    Err(reason) => self.hold_repair(node, "it is not started", reason, now),
                }
            }
            _ => {}
        }
    }

    /// Whether a stopped peer is natha's to start.
    fn may_start(&self, node: &InstanceId, origin: StopOrigin, now: Time) -> Result<(), Hold> {
        if !self.numbers.repair.enabled || self.leaving {
            return Err(Hold::Quiet);
        }
        if self.repairs.stopped.contains(node) {
            return Ok(());
        }
        let Some(peer) = self.peers.get(node) else { return Err(Hold::Quiet) };
        if peer.heard.as_ref().is_some_and(|heard| heard.beat.leaving) {
            return Err(Hold::For("it left on purpose before it stopped"));
        }
        match origin {
            StopOrigin::User => Err(Hold::For("a user stopped it")),
            StopOrigin::Unknown => Err(Hold::For("EC2 does not tell who stopped it")),
            StopOrigin::Guest | StopOrigin::Service => {
                let place = rank(&self.me.id, self.everyone());
                let wait = self.numbers.repair.stagger.saturating_mul(place);
                if now.since(peer.verdict_since) >= wait { Ok(()) } else { Err(Hold::Quiet) }
            }
        }
    }

    fn start(&mut self, node: &InstanceId, now: Time) {
        let id = self.new_id();
        let not_after = self.not_after(now);
        let repair = self.repairs.of.entry(node.clone()).or_default();
        repair.pending = Some((id, Step::Start, now));
        repair.held = None;
        self.push(Action::Start { id, node: node.clone(), not_after });
        let text = "starting it".to_owned();
        self.report(now, Level::Warning, EventKind::RepairStart, About::node(node, text));
    }

    /// A peer that natha stopped and that hangs in `stopping` is stopped by force, once.
    fn force_stop(&mut self, node: &InstanceId, now: Time) {
        let patience = self.numbers.repair.patience;
        let not_after = self.not_after(now);
        let Some(repair) = self.repairs.of.get(node) else { return };
        let hangs = repair.stop_asked.is_some_and(|asked| now.since(asked) >= patience);
        let may = self.is_fit() && !self.leaving && self.repairs.stopped.contains(node);
        if !hangs || repair.forced || !may {
            return;
        }
        let id = self.new_id();
        if let Some(repair) = self.repairs.of.get_mut(node) {
            repair.forced = true;
            repair.pending = Some((id, Step::Stop, now));
        }
        self.push(Action::Stop { id, node: node.clone(), force: true, not_after });
        let text = "it hangs in `stopping`; stopping it by force".to_owned();
        self.report(now, Level::Alert, EventKind::RepairStop, About::node(node, text));
    }

    /// Takes in the outcome of a power call or of the note before it.
    pub(super) fn power_written(
        &mut self,
        id: ActionId,
        result: &Result<(), CloudFault>,
        now: Time,
    ) {
        let Some((node, step)) = self.take_power_step(id) else { return };
        match (step, result) {
            // Without a note a restart of this monitor would leave the peer stopped; that is
            // told, but a full disk does not keep a failed peer from being repaired.
            (Step::Note, result) => {
                if let Err(fault) = result {
                    let text = format!("{fault}; if this monitor restarts now, start it by hand");
                    let about = About::node(&node, text);
                    self.report(now, Level::Alert, EventKind::RepairHeld, about);
                }
                self.stop(&node, now);
            }
            (Step::Stop, Ok(())) => {}
            (Step::Start, Ok(())) => {
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.started_at = Some(now);
                }
                if let Some(repair) = self.repairs.of.get_mut(&node) {
                    repair.started = true;
                }
            }
            (Step::Stop | Step::Start, Err(fault)) => self.power_failed(&node, step, fault, now),
        }
    }

    /// The stop itself, decided anew: the note took time, and the peer may have been heard.
    fn stop(&mut self, node: &InstanceId, now: Time) {
        self.judge_peers(now);
        let Some(peer) = self.peers.get(node) else { return };
        if let Err(reason) = self.may_stop(peer, now) {
            self.repairs.stopped.remove(node);
            self.remember();
            return self.hold_repair(node, "it is not stopped", reason, now);
        }
        let evidence = peer.evidence(now);
        let id = self.new_id();
        let not_after = self.not_after(now);
        let repair = self.repairs.of.entry(node.clone()).or_default();
        repair.pending = Some((id, Step::Stop, now));
        repair.stop_asked = Some(now);
        repair.started = false;
        self.repairs.stops.push_back(now);
        self.push(Action::Stop { id, node: node.clone(), force: false, not_after });
        let text = format!("stopping it, to start it again: {evidence}");
        self.report(now, Level::Alert, EventKind::RepairStop, About::node(node, text));
    }

    fn power_failed(&mut self, node: &InstanceId, step: Step, fault: &CloudFault, now: Time) {
        let noise = self.noise.next();
        // HTTP 503 counts as throttled and does not surely mean that nothing was done.
        if step == Step::Stop
            && !matches!(fault.kind, CloudFaultKind::Unknown | CloudFaultKind::Throttled)
        {
            self.stop_not_done(node);
        }
        let repair = self.repairs.of.entry(node.clone()).or_default();
        repair.failures += 1;
        if fault.kind == CloudFaultKind::Throttled && !repair.forced {
            repair.stop_asked = None;
        }
        let wait = backoff(fault.kind, repair.failures, noise);
        repair.not_before = now + wait;
        let level = match fault.kind {
            CloudFaultKind::Throttled | CloudFaultKind::Unknown => Level::Warning,
            _ => Level::Alert,
        };
        let text = format!("{fault}; next try in {} s at the earliest", wait.as_secs());
        self.report(now, level, EventKind::ApiFailed, About::node(node, text));
    }

    /// Takes in that a power call was given up before it was sent.
    pub(super) fn power_expired(&mut self, id: ActionId) {
        let Some((node, Step::Stop)) = self.take_power_step(id) else { return };
        self.stop_not_done(&node);
    }

    /// A stop that was surely not carried out leaves nothing to start again. Where it was the
    /// second one, by force, the first one stands.
    fn stop_not_done(&mut self, node: &InstanceId) {
        let Some(repair) = self.repairs.of.get_mut(node).filter(|repair| !repair.forced) else {
            return;
        };
        repair.stop_asked = None;
        if self.repairs.stopped.remove(node) {
            self.remember();
        }
    }

    fn take_power_step(&mut self, id: ActionId) -> Option<(InstanceId, Step)> {
        self.repairs.of.iter_mut().find_map(|(node, repair)| {
            let (_, step, _) = repair.pending.filter(|(pending, _, _)| *pending == id)?;
            repair.pending = None;
            Some((node.clone(), step))
        })
    }
}
