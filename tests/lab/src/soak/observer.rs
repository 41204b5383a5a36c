//! Watches a cluster from outside and judges it by rules that hold whatever goes wrong.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::facts::{Cast, Fact, Phase, Seen};
use super::model::{Model, Stopper, Target};
use super::pace::Pace;
use super::story::told;
use crate::daemon::shared::{Happening, Power};
use crate::ec2::{CallRecord, Principal};

/// How much of what was seen is kept for the story of a violation.
const STORY: usize = 400;
/// The same violation is told once in this time.
const AGAIN: Duration = Duration::from_secs(30);

/// A rule that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// natha never has every NAT stopped, or the last one that works.
    LastNat,
    /// natha never stops a node that is well.
    WellStopped,
    /// natha never stops a node that routes lead to.
    ServingStopped,
    /// A node that is itself being stopped stops nobody.
    StoppedStops,
    /// natha starts only what natha stopped.
    PersonsStop,
    /// natha changes nothing but its own routes.
    NotItsOwn,
    /// natha leaves alone what a person led out of the cluster.
    ForeignTaken,
    /// A live, calm holder is never robbed.
    Robbed,
    /// While a node is well, every private host is served.
    Unserved,
    /// Once all is mended, every group comes home and every node runs.
    NotHome,
    /// A cluster that is as it should be is left as it is.
    NoRest,
    /// It loses no packet, not even where a group is handed over and back.
    LostAtRest,
    /// It breaks no connection.
    BrokenAtRest,
    /// Changes and calls are bounded.
    TooMany,
    /// A monitor's memory, descriptors and threads do not grow.
    Grown,
}

/// A rule that was broken.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    /// Which.
    pub(super) rule: Rule,
    /// When, since the lab began.
    pub(super) at: Duration,
    /// How.
    pub(super) text: String,
    /// What was seen before.
    pub(super) story: Vec<String>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Routes that a node took from another member, or from nowhere.
    pub(super) takeovers: u64,
    /// Stops.
    pub(super) repairs: u64,
    /// Routes that a node gave to another one.
    pub(super) hand_backs: u64,
    /// Pings.
    pub(super) sent: u64,
    /// Pings without an answer.
    pub(super) lost: u64,
    /// Calls of the nodes.
    pub(super) calls: u64,
    /// The most changes, tried or done, that one node made within a minute.
    pub(super) busiest_minute: usize,
    /// How often the machine stood still.
    pub(super) stalls: u64,
}

/// Watches and judges.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) model: Model,
    pub(super) pace: Pace,
    pub(super) phase: (Phase, Duration),
    pub(super) counts: Counts,
    pub(super) violations: Vec<Violation>,
    /// When each node changed or tried to change something, within the last minute.
    pub(super) changes: Vec<VecDeque<Duration>>,
    /// When each node called, within the last second.
    pub(super) calls: Vec<VecDeque<Duration>>,
    pub(super) last_change: Duration,
    pub(super) stalled: Option<Duration>,
    told: BTreeMap<(Rule, String), Duration>,
    story: VecDeque<String>,
}

impl Observer {
    /// An observer of a cluster that is as it should be.
    #[must_use]
    pub(super) fn new(cast: Cast, pace: Pace, now: Duration) -> Self {
        let nodes = cast.nodes.len();
        Self {
            model: Model::new(cast, now),
            pace,
            phase: (Phase::Rest, now),
            counts: Counts::default(),
            violations: Vec::new(),
            changes: vec![VecDeque::new(); nodes],
            calls: vec![VecDeque::new(); nodes],
            last_change: now,
            stalled: None,
            told: BTreeMap::new(),
            story: VecDeque::new(),
        }
    }

    /// Takes in one fact; facts come in the order of their times.
    pub(super) fn see(&mut self, fact: &Fact) {
        let now = fact.at;
        self.model.pass(now);
        if let Some(line) = told(&fact.what, &self.model.cast) {
            if self.story.len() == STORY {
                self.story.pop_front();
            }
            self.story.push_back(format!("{:10.3}  {line}", now.as_secs_f64()));
        }
        match &fact.what {
            Seen::Call(call) => self.see_call(call),
            Seen::Event(event) => self.see_event(event, now),
            Seen::Ping(zone, answered) => self.see_ping(*zone, *answered, now),
            Seen::Api(node, works) => {
                self.model.nodes[*node].api = *works;
                self.model.judge(now);
            }
            Seen::Monitor(node, alone) => {
                self.model.nodes[*node].monitor = *alone;
                self.model.judge(now);
            }
            Seen::Order(zone) => self.model.tables[*zone].ordered = Some(now),
            Seen::Phase(phase) => self.phase = (*phase, now),
            Seen::Stall(_) => {
                self.counts.stalls += 1;
                self.stalled = Some(now);
            }
        }
    }

    fn see_event(&mut self, event: &Happening, now: Duration) {
        match event {
            Happening::Faults(faults) => self.model.set_faults(faults.clone(), now),
            Happening::Power { host, power, .. } => {
                if let Some(node) = self.model.cast.node(host) {
                    self.model.set_power(node, *power, now);
                }
            }
            _ => {}
        }
    }

    fn see_call(&mut self, call: &CallRecord) {
        let Principal::Instance(id) = &call.principal else {
            return self.see_person(call);
        };
        let Some(by) = self.model.cast.node(id) else { return };
        self.counts.calls += 1;
        self.judge_rate(by, call);
        if call.action.starts_with("Describe") {
            return;
        }
        let done = call.error.is_none();
        if done || call.error.as_deref() == Some("UnauthorizedOperation") {
            self.judge_scope(by, call);
        }
        match &*call.action {
            "ReplaceRoute" | "CreateRoute" if done => {
                self.judge_write(by, call);
                self.count_write(by, call);
                self.model.route(call, Some(by));
                self.last_change = call.at;
            }
            "StopInstances" if done => self.see_stop(by, call),
            "StartInstances" if done => {
                self.judge_start(by, call);
                self.last_change = call.at;
            }
            _ => {}
        }
    }

    fn see_stop(&mut self, by: usize, call: &CallRecord) {
        self.last_change = call.at;
        let victim = super::model::param(call, "InstanceId.1");
        let Some(victim) = victim.and_then(|id| self.model.cast.node(id)) else {
            let text = format!("{} stops what is no member: {}", self.name(by), call.params);
            return self.violated(Rule::NotItsOwn, call.at, text);
        };
        let repeated = matches!(self.model.nodes[victim].stopped, Some((_, Stopper::Natha)));
        if !repeated {
            self.counts.repairs += 1;
            self.judge_stop(by, victim, call.at);
        }
        let node = &mut self.model.nodes[victim];
        if node.stopped.is_none() {
            node.stopped = Some((call.at, Stopper::Natha));
        }
        self.model.judge(call.at);
    }

    fn see_person(&mut self, call: &CallRecord) {
        if call.error.is_some() {
            return;
        }
        match &*call.action {
            "ReplaceRoute" | "CreateRoute" | "DeleteRoute" => self.model.route(call, None),
            "StopInstances" => {
                let id = super::model::param(call, "InstanceId.1");
                if let Some(node) = id.and_then(|id| self.model.cast.node(id)) {
                    // Whoever came first has stopped it.
                    let stopped = &mut self.model.nodes[node].stopped;
                    stopped.get_or_insert((call.at, Stopper::Person));
                    self.model.judge(call.at);
                }
            }
            _ => {}
        }
    }

    fn count_write(&mut self, by: usize, call: &CallRecord) {
        let Some(zone) =
            super::model::param(call, "RouteTableId").and_then(|table| self.model.cast.zone(table))
        else {
            return;
        };
        let to = super::model::param(call, "NetworkInterfaceId");
        match (to.and_then(|id| self.model.cast.node(id)), self.model.tables[zone].target) {
            (Some(to), Target::Node(holder)) if to == by && holder != by => {
                self.counts.takeovers += 1;
            }
            (Some(to), _) if to != by => self.counts.hand_backs += 1,
            _ => {}
        }
    }

    /// A node's name.
    pub(super) fn name(&self, node: usize) -> String {
        self.model.cast.nodes[node].name.clone()
    }

    /// Takes down that a rule was broken.
    pub(super) fn violated(&mut self, rule: Rule, at: Duration, text: String) {
        // Numbers that differ make the same violation no other one.
        let plain: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let last = self.told.get(&(rule, plain.clone())).copied();
        if last.is_some_and(|last| at.saturating_sub(last) < AGAIN) {
            return;
        }
        self.told.insert((rule, plain), at);
        let story = self.story.iter().cloned().collect();
        self.violations.push(Violation { rule, at, text, story });
    }

    /// Whether every route leads home and every node runs.
    #[must_use]
    pub(super) fn is_home(&self) -> bool {
        self.model.is_home()
    }

    /// When a node last changed something.
    #[must_use]
    pub(super) fn last_change(&self) -> Duration {
        self.last_change
    }

    /// Where a zone's route leads: a node's number, if it leads to one.
    #[must_use]
    pub(super) fn holder(&self, zone: usize) -> Option<usize> {
        match self.model.tables[zone].target {
            Target::Node(node) => Some(node),
            Target::Foreign | Target::Absent => None,
        }
    }

    /// The nodes whose power is not as it should be, and how it is.
    #[must_use]
    pub(super) fn down(&self) -> Vec<(usize, Power)> {
        let nodes = self.model.nodes.iter().enumerate();
        nodes.filter(|(_, it)| it.power != Power::On).map(|(n, it)| (n, it.power)).collect()
    }

    /// What was counted.
    #[must_use]
    pub(super) fn counts(&self) -> Counts {
        let tables = self.model.tables.iter();
        let (sent, lost) = tables.fold((0, 0), |(sent, lost), it| (sent + it.sent, lost + it.lost));
        Counts { sent, lost, ..self.counts }
    }

    /// Every violation so far.
    #[must_use]
    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
