//! A few machines, a network, and as much of EC2 as they see, on one virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::Failover;
use crate::failover::{
    Action, ActionId, Command, Event, EventKind, Input, Machine, Outcome, Routes,
};
use crate::types::{
    CloudFault, CloudFaultKind, Fitness, Group, InstanceId, InstanceState, Member,
    NetworkInterfaceId, PowerReport, Resource, Roster, RouteEntry, RouteTableId, RouteTarget,
    RouteWrite, SessionId, StopOrigin, Time,
};

/// How the API treats one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Works,
    /// Every call is refused.
    Fails(CloudFaultKind),
    /// No call ever ends.
    Hangs,
    /// Writes take effect and are answered with silence.
    LosesReplies,
}

/// Everything one node is, besides its machine.
pub(super) struct Node {
    pub(super) machine: Option<Machine>,
    pub(super) power: InstanceState,
    pub(super) origin: StopOrigin,
    /// Its kernel runs: it forwards and answers echo.
    pub(super) kernel: bool,
    /// Nothing in it runs for now.
    pub(super) frozen: bool,
    pub(super) api: Api,
    remembered: BTreeSet<InstanceId>,
    events: Vec<Event>,
}

enum What {
    Input(usize, Input),
    Apply(usize, ActionId, Mutation),
    Power(usize, InstanceState),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mutation {
    Route(RouteWrite),
    Stop(InstanceId),
    Start(InstanceId),
}

/// A mutation that EC2 accepted.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) at: Time,
    pub(super) by: usize,
    pub(super) what: Mutation,
}

/// The whole world. Node `n` has its home group `g<n>` with table `table(n)`.
pub(super) struct Sim {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    pub(super) routes: BTreeMap<RouteTableId, Option<RouteTarget>>,
    pub(super) done: Vec<Done>,
    /// How often EC2 was asked for something.
    pub(super) reads: usize,
    /// Directed pairs whose heartbeats are lost.
    pub(super) deaf: BTreeSet<(usize, usize)>,
    /// Directed pairs whose echo requests or replies are lost.
    pub(super) no_echo: BTreeSet<(usize, usize)>,
    pub(super) numbers: Failover,
    pub(super) latency: Duration,
    queue: BTreeMap<(Time, u64), What>,
    sequence: u64,
    sessions: u64,
    /// Time each table led to a node that does not forward.
    pub(super) outage: BTreeMap<RouteTableId, Duration>,
    roster: Roster,
}

pub(super) fn id(n: usize) -> InstanceId {
    format!("i-{:08x}", n + 1).parse().unwrap()
}

pub(super) fn eni(n: usize) -> NetworkInterfaceId {
    format!("eni-{:08x}", n + 1).parse().unwrap()
}

pub(super) fn table(n: usize) -> RouteTableId {
    format!("rtb-{:08x}", n + 1).parse().unwrap()
}

fn roster(nodes: usize) -> Roster {
    let member = |n: usize| Member {
        id: id(n),
        interface: eni(n),
        address: [10, 0, 0, u8::try_from(10 + n).unwrap()].into(),
        zone: None,
        name: None,
    };
    let group = |n: usize| Group {
        name: format!("g{n}").parse().unwrap(),
        home: Some(id(n)),
        resources: vec![Resource::DefaultRoute {
            table: table(n),
            cidr: "0.0.0.0/0".parse().unwrap(),
        }],
    };
    Roster { members: (0..nodes).map(member).collect(), groups: (0..nodes).map(group).collect() }
}

impl Sim {
    /// `nodes` healthy nodes that have run for two seconds, each group on its home.
    pub(super) fn new(nodes: usize) -> Self {
        Self::with(nodes, Failover::default())
    }

    pub(super) fn with(nodes: usize, numbers: Failover) -> Self {
        let mut sim = Self {
            now: Time::from_millis(1_000_000),
            nodes: Vec::new(),
            routes: (0..nodes).map(|n| (table(n), Some(RouteTarget::Interface(eni(n))))).collect(),
            done: Vec::new(),
            reads: 0,
            deaf: BTreeSet::new(),
            no_echo: BTreeSet::new(),
            numbers,
            latency: Duration::from_millis(50),
            queue: BTreeMap::new(),
            sequence: 0,
            sessions: 0,
            outage: BTreeMap::new(),
            roster: roster(nodes),
        };
        for n in 0..nodes {
            sim.nodes.push(Node {
                machine: None,
                power: InstanceState::Running,
                origin: StopOrigin::Unknown,
                kernel: true,
                frozen: false,
                api: Api::Works,
                remembered: BTreeSet::new(),
                events: Vec::new(),
            });
            sim.boot(n);
        }
        sim.run(3_000);
        sim
    }

    /// Starts node `n`'s monitor.
    pub(super) fn boot(&mut self, n: usize) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let numbers = self.numbers.clone();
        let mut machine = Machine::new(&id(n), session, numbers, 1, &self.roster, self.now);
        machine.recall(self.nodes[n].remembered.clone());
        self.nodes[n].machine = Some(machine);
        self.nodes[n].kernel = true;
    }

    /// Everything in node `n` stops at once; EC2 sees nothing of it.
    pub(super) fn panic(&mut self, n: usize) {
        self.nodes[n].machine = None;
        self.nodes[n].kernel = false;
    }

    /// Only the monitor dies.
    pub(super) fn kill_daemon(&mut self, n: usize) {
        self.nodes[n].machine = None;
    }

    pub(super) fn set_fitness(&mut self, n: usize, fitness: Fitness) {
        self.schedule(Duration::ZERO, What::Input(n, Input::Fitness { fitness }));
    }

    pub(super) fn command(&mut self, n: usize, command: Command) {
        self.schedule(Duration::ZERO, What::Input(n, Input::Command { command }));
    }

    /// No heartbeat between `a` and `b`, in either direction.
    pub(super) fn block_heartbeats(&mut self, a: usize, b: usize) {
        self.deaf.extend([(a, b), (b, a)]);
    }

    pub(super) fn block_echo(&mut self, a: usize, b: usize) {
        self.no_echo.extend([(a, b), (b, a)]);
    }

    pub(super) fn holder(&self, of: usize) -> Option<usize> {
        let Some(Some(RouteTarget::Interface(target))) = self.routes.get(&table(of)) else {
            return None;
        };
        (0..self.nodes.len()).find(|n| eni(*n) == *target)
    }

    pub(super) fn stops(&self) -> Vec<&Done> {
        self.done.iter().filter(|done| matches!(done.what, Mutation::Stop(_))).collect()
    }

    pub(super) fn writes_since(&self, since: Time) -> usize {
        self.done.iter().filter(|done| done.at >= since).count()
    }

    pub(super) fn outage_ms(&self, of: usize) -> u128 {
        self.outage.get(&table(of)).map_or(0, Duration::as_millis)
    }

    pub(super) fn events(&self, n: usize, kind: EventKind) -> Vec<&Event> {
        self.nodes[n].events.iter().filter(|event| event.kind == kind).collect()
    }

    /// Lets `ms` milliseconds pass.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            let step = self.next_moment().max(self.now + Duration::from_millis(1)).min(end);
            self.account(step.since(self.now));
            self.now = step;
            while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.now) {
                let what = entry.remove();
                self.happen(what);
            }
            for n in 0..self.nodes.len() {
                self.turn(n);
            }
        }
    }

    /// Lets time pass until `holds`, for at most `ms` milliseconds.
    pub(super) fn run_until(&mut self, ms: u64, holds: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            if holds(self) {
                return;
            }
            self.run(1);
        }
        panic!("did not come true within {ms} ms; events: {:#?}", self.nodes[0].events);
    }

    /// When something happens next.
    fn next_moment(&self) -> Time {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let running = self.nodes.iter().filter(|node| !node.frozen);
        let due = running.filter_map(|node| node.machine.as_ref()).map(Machine::next_deadline);
        due.chain(queued).min().unwrap_or(self.now + Duration::from_secs(1))
    }

    /// Books an outage for every table that leads to a node that does not forward.
    fn account(&mut self, passed: Duration) {
        for (table, target) in &self.routes {
            let forwards = self.nodes.iter().enumerate().any(|(n, node)| {
                *target == Some(RouteTarget::Interface(eni(n))) && node.kernel && !node.frozen
            });
            if !forwards {
                *self.outage.entry(table.clone()).or_default() += passed;
            }
        }
    }

    fn schedule(&mut self, after: Duration, what: What) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), what);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Input(n, input) => {
                if self.nodes[n].frozen {
                    return self.schedule(Duration::from_millis(1), What::Input(n, input));
                }
                if let Some(machine) = &mut self.nodes[n].machine {
                    machine.handle(input, self.now);
                }
            }
            What::Apply(n, action, mutation) => self.apply(n, action, mutation),
            What::Power(n, state) => {
                self.nodes[n].power = state;
                match state {
                    InstanceState::Stopped => self.panic(n),
                    InstanceState::Running => {
                        self.nodes[n].frozen = false;
                        self.boot(n);
                    }
                    _ => {}
                }
            }
        }
    }

    fn apply(&mut self, by: usize, action: ActionId, mutation: Mutation) {
        let result = match self.nodes[by].api {
            Api::Hangs => return,
            Api::Fails(kind) => Err(fault(kind)),
            Api::Works | Api::LosesReplies => {
                self.commit(by, mutation);
                Ok(())
            }
        };
        let result = match self.nodes[by].api {
            Api::LosesReplies => Err(fault(CloudFaultKind::Unknown)),
            _ => result,
        };
        let outcome = Outcome::Written { result };
        self.schedule(self.latency / 2, What::Input(by, Input::Done { id: action, outcome }));
    }

    fn commit(&mut self, by: usize, mutation: Mutation) {
        match &mutation {
            Mutation::Route(write) => {
                let target = RouteTarget::Interface(write.interface.clone());
                self.routes.insert(write.table.clone(), Some(target));
            }
            Mutation::Stop(node) => {
                let n = self.index(node);
                self.nodes[n].power = InstanceState::Stopping;
                self.nodes[n].origin = StopOrigin::User;
                self.schedule(Duration::from_secs(20), What::Power(n, InstanceState::Stopped));
            }
            Mutation::Start(node) => {
                let n = self.index(node);
                self.nodes[n].power = InstanceState::Pending;
                self.schedule(Duration::from_secs(15), What::Power(n, InstanceState::Running));
            }
        }
        self.done.push(Done { at: self.now, by, what: mutation });
    }

    fn index(&self, node: &InstanceId) -> usize {
        (0..self.nodes.len()).find(|n| id(*n) == *node).unwrap()
    }

    fn turn(&mut self, n: usize) {
        if self.nodes[n].frozen {
            return;
        }
        let Some(machine) = &mut self.nodes[n].machine else { return };
        if machine.next_deadline() <= self.now {
            machine.tick(self.now);
        }
        let mut actions = Vec::new();
        while let Some(action) = machine.poll_action() {
            actions.push(action);
        }
        for action in actions {
            self.act(n, action);
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        let wire = Duration::from_millis(1);
        match action {
            Action::SendBeat { to, beat } => {
                let to = self.index(&to);
                if !self.deaf.contains(&(n, to)) {
                    let session = SessionId(self.session_of(n));
                    let at = self.now + wire;
                    let input = Input::Beat { from: id(n), session, beat, at };
                    self.schedule(wire, What::Input(to, input));
                }
            }
            Action::SendEcho { to } => {
                let to = self.index(&to);
                let answers = self.nodes[to].kernel && !self.nodes[to].frozen;
                if answers && !self.no_echo.contains(&(n, to)) {
                    let input = Input::Echo { from: id(to), at: self.now + wire };
                    self.schedule(wire, What::Input(n, input));
                }
            }
            Action::ReadRoutes { id, tables } => self.read_routes(n, id, &tables),
            Action::ReadPower { id, node } => self.read_power(n, id, &node),
            Action::WriteRoute { id, write, .. } => {
                self.schedule(self.latency / 2, What::Apply(n, id, Mutation::Route(write)));
            }
            Action::Stop { id, node, .. } => {
                self.schedule(self.latency / 2, What::Apply(n, id, Mutation::Stop(node)));
            }
            Action::Start { id, node, .. } => {
                self.schedule(self.latency / 2, What::Apply(n, id, Mutation::Start(node)));
            }
            Action::Remember { id, stopped } => {
                self.nodes[n].remembered = stopped;
                let outcome = Outcome::Written { result: Ok(()) };
                self.schedule(wire, What::Input(n, Input::Done { id, outcome }));
            }
            Action::Report { event } => self.nodes[n].events.push(event),
            Action::MayExit => self.nodes[n].machine = None,
        }
    }

    fn session_of(&self, n: usize) -> u64 {
        self.nodes[n].machine.as_ref().map_or(0, |machine| machine.session.0)
    }

    fn read_routes(&mut self, n: usize, action: ActionId, tables: &[RouteTableId]) {
        self.reads += 1;
        let result = match self.nodes[n].api {
            Api::Hangs => return,
            Api::Fails(kind) => Err(fault(kind)),
            _ => Ok(tables.iter().map(|table| (table.clone(), self.routes_of(table))).collect()),
        };
        let outcome = Outcome::Routes { result };
        self.schedule(self.latency, What::Input(n, Input::Done { id: action, outcome }));
    }

    fn routes_of(&self, table: &RouteTableId) -> Routes {
        let target = self.routes.get(table).cloned().flatten();
        let blackhole = self.nodes.iter().enumerate().any(|(n, node)| {
            target == Some(RouteTarget::Interface(eni(n))) && node.power == InstanceState::Stopped
        });
        let entry = target.map(|target| RouteEntry { target, blackhole });
        Routes(entry.map(|entry| ("0.0.0.0/0".parse().unwrap(), entry)).into_iter().collect())
    }

    fn read_power(&mut self, n: usize, action: ActionId, node: &InstanceId) {
        self.reads += 1;
        let of = &self.nodes[self.index(node)];
        let report = PowerReport { state: Some(of.power), stop_origin: of.origin, impaired: false };
        let result = match self.nodes[n].api {
            Api::Hangs => return,
            Api::Fails(kind) => Err(fault(kind)),
            _ => Ok(report),
        };
        let outcome = Outcome::Power { result };
        self.schedule(self.latency, What::Input(n, Input::Done { id: action, outcome }));
    }
}

fn fault(kind: CloudFaultKind) -> CloudFault {
    CloudFault { kind, call: "Call".to_owned(), message: "staged".to_owned() }
}
