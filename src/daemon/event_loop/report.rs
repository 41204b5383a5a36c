//! What the loop measures of its own work, and its report of everything.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{EventLoop, Stage};
use crate::failover::{Event, Outcome};
use crate::status::{EgressStatus, ReadingAges, Report};
use crate::types::{GroupName, InstanceId, Roster, SessionId, Time};

/// When other tasks have read their sources last.
#[derive(Debug)]
pub(super) struct ReadTimes {
    /// The members and the groups.
    pub(super) discovery: Time,
    /// None before the first report of the replication, and without it.
    pub(super) flows: Option<Time>,
    /// None before the first look at the port space.
    pub(super) ports: Option<Time>,
    /// When the service check of each group ended.
    checks: BTreeMap<GroupName, Time>,
}

impl ReadTimes {
    /// Of a monitor that starts now: it has just discovered its cluster.
    pub(super) const fn of_start(now: Time) -> Self {
        Self { discovery: now, flows: None, ports: None, checks: BTreeMap::new() }
    }

    /// Takes in that the service check of a group has ended.
    pub(super) fn note_check(&mut self, group: GroupName, now: Time) {
        self.checks.insert(group, now);
    }

    fn ages(&self, now: Time) -> ReadingAges {
        let age = |at: Time| now.since(at);
        let checks = self.checks.iter().map(|(group, at)| (group.to_string(), age(*at)));
        ReadingAges {
            discovery: Some(age(self.discovery)),
            flows: self.flows.map(age),
            ports: self.ports.map(age),
            checks: checks.collect(),
        }
    }
}

impl EventLoop {
    /// Measures an event.
    pub(super) fn measure_event(&mut self, event: &Event) {
        let verdict = event.node.as_ref().and_then(|node| self.machine.verdict(node));
        self.state.counters.meters.event(event, verdict);
    }

    /// Measures a heartbeat that the kernel received at `at`.
    pub(super) fn measure_beat(&mut self, from: &InstanceId, session: SessionId, at: Time) {
        self.state.counters.meters.beat(from, session, at, self.interval);
    }

    /// Counts and measures an API call that has ended.
    pub(super) fn measure_call(&mut self, call: &str, outcome: &Outcome, took: Duration) {
        self.state.counters.count_call(call, &ending(outcome));
        self.state.counters.meters.call(call, took);
    }

    /// Measures by how much this turn began too late.
    pub(super) fn measure_lateness(&mut self, now: Time) {
        let Some(planned) = self.state.planned else { return };
        let late = now.since(planned);
        self.state.lateness_max = self.state.lateness_max.max(late);
        self.state.counters.meters.lateness.observe(late);
    }

    /// Everything, for the status and the metrics.
    pub(super) fn report(&self, now: Time) -> Report {
        let mut counters = self.state.counters.clone();
        counters.peers = self.exchange.counters().clone();
        counters.log_lines_dropped += (self.dropped_lines)();
        counters.history_dropped = self.observers.dropped();
        counters.notices = self.tally.as_ref().map(|all| all.counters()).unwrap_or_default();
        counters.meters.alerts = self.state.alerts.keys().map(|name| (*name).to_owned()).collect();
        let (roster, view) = (Roster::clone(&self.state.roster), self.machine.view(now));
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            cluster: self.state.cluster.clone(),
            now,
            uptime: now.since(self.state.started),
            ports: self.state.ports.clone(),
            egress: EgressStatus::of(&roster, &view, self.state.landings.as_ref(), now),
            roster,
            view,
            versions: Some(self.exchange.versions()),
            alerts: self.state.alerts.values().cloned().collect(),
            allowances: self.state.allowances.clone(),
            latch: self.state.latch.clone(),
            drained: self.state.stage == Stage::Drained,
            flows: self.state.flows.clone(),
            ages: self.state.read_at.ages(now),
            events: self.state.events.iter().cloned().collect(),
            counters,
            lateness_max: self.state.lateness_max,
        }
    }
}

/// The outcome of an action as the counters name it.
fn ending(outcome: &Outcome) -> String {
    let fault = match outcome {
        Outcome::Routes { result } => result.as_ref().err(),
        Outcome::Holders { result } => result.as_ref().err(),
        Outcome::Power { result } => result.as_ref().err(),
        Outcome::Written { result } => result.as_ref().err(),
        Outcome::Expired => return "expired".to_owned(),
    };
    fault.map_or_else(|| "ok".to_owned(), |fault| fault.kind.to_string())
}
