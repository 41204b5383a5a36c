//! A few machines, a network, and as much of EC2 as they see, on one virtual clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::cloud::{Api, Done, Mutation, Snapshot};
use super::rules::Watch;
use crate::config::Failover;
use crate::failover::retry::Noise;
use crate::failover::{Action, ActionId, Command, Event, EventKind, Input, Machine, Outcome};
use crate::types::{
    Fitness, Group, InstanceId, InstanceState, Member, NetworkInterfaceId, Resource, Roster,
    RouteTableId, RouteTarget, SessionId, StopOrigin, Time,
};

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
    pub(super) watch: Watch,
    remembered: BTreeSet<InstanceId>,
    /// What arrived while it was frozen.
    backlog: VecDeque<Input>,
    pub(super) events: Vec<Event>,
}

pub(super) enum What {
    Input(usize, Input),
    /// An outcome, for the run of the monitor that waits for it.
    Outcome(usize, u64, ActionId, Outcome),
    Apply(usize, u64, ActionId, Mutation),
    Power(usize, InstanceState),
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
    /// Packets lost of a thousand, for heartbeats and echo alike, by directed pair.
    pub(super) loss: BTreeMap<(usize, usize), u64>,
    /// The longest extra time that a packet takes.
    pub(super) jitter: Duration,
    pub(super) numbers: Failover,
    pub(super) latency: Duration,
    /// How far a read may lag behind what EC2 does.
    pub(super) read_lag: Duration,
    /// Whether stops are held up on their way.
    pub(super) hold_stops: bool,
    /// The stops that are, and by whom they were sent.
    pub(super) held: Vec<(usize, Mutation)>,
    /// Whether the rules of `rules.rs` are enforced.
    pub(super) strict: bool,
    /// What is staged, for messages.
    pub(super) label: String,
    pub(super) noise: Noise,
    pub(super) past: VecDeque<Snapshot>,
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

pub(super) fn roster(nodes: usize) -> Roster {
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
    /// `nodes` healthy nodes that have run for three seconds, each group on its home.
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
            loss: BTreeMap::new(),
            jitter: Duration::ZERO,
            numbers,
            latency: Duration::from_millis(50),
            read_lag: Duration::ZERO,
            hold_stops: false,
            held: Vec::new(),
            strict: true,
            label: "a plain run".to_owned(),
            noise: Noise::new(1),
            past: VecDeque::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            sessions: 0,
            outage: BTreeMap::new(),
            roster: roster(nodes),
        };
        for _ in 0..nodes {
            sim.nodes.push(Node {
                machine: None,
                power: InstanceState::Running,
                origin: StopOrigin::Unknown,
                kernel: true,
                frozen: false,
                api: Api::Works,
                watch: Watch::default(),
                remembered: BTreeSet::new(),
                backlog: VecDeque::new(),
                events: Vec::new(),
            });
        }
        sim.photograph();
        (0..nodes).for_each(|n| sim.boot(n));
        sim.run(3_000);
        sim
    }

    /// Starts node `n`'s monitor.
    pub(super) fn boot(&mut self, n: usize) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let numbers = self.numbers.clone();
        let mut machine = Machine::new(&id(n), session, numbers, 1, &self.roster, self.now);
        let node = &mut self.nodes[n];
        machine.recall(node.remembered.clone());
        node.machine = Some(machine);
        node.kernel = true;
        node.backlog.clear();
        node.watch = Watch::default();
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

    /// Nothing in node `n` runs until it is thawed.
    pub(super) fn freeze(&mut self, n: usize) {
        self.nodes[n].frozen = true;
        self.nodes[n].watch.frozen_at = Some(self.now);
    }

    pub(super) fn thaw(&mut self, n: usize) {
        let (now, numbers) = (self.now, &self.numbers);
        let node = &mut self.nodes[n];
        node.frozen = false;
        if node.watch.frozen_at.take().is_some_and(|at| now.since(at) > numbers.detection()) {
            node.watch.go_blind();
        }
    }

    pub(super) fn set_fitness(&mut self, n: usize, fitness: Fitness) {
        self.schedule(Duration::ZERO, What::Input(n, Input::Fitness { fitness }));
    }

    pub(super) fn command(&mut self, n: usize, command: Command) {
        self.nodes[n].watch.leaving |= command == Command::Leave;
        self.schedule(Duration::ZERO, What::Input(n, Input::Command { command }));
    }

    /// Every node learns of a new roster.
    pub(super) fn enrol(&mut self, roster: Roster) {
        for n in 0..self.nodes.len() {
            let input = Input::Roster { roster: roster.clone() };
            self.schedule(Duration::ZERO, What::Input(n, input));
        }
        self.roster = roster;
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
            self.watch();
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

    pub(super) fn schedule(&mut self, after: Duration, what: What) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), what);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Input(n, input) => self.give(n, input),
            What::Outcome(n, session, id, outcome) => {
                if self.session_of(n) == session {
                    self.give(n, Input::Done { id, outcome });
                }
            }
            What::Apply(n, session, action, mutation) => self.apply(n, session, action, mutation),
            What::Power(n, state) => self.change_power(n, state),
        }
    }

    fn give(&mut self, n: usize, input: Input) {
        let now = self.now;
        let node = &mut self.nodes[n];
        if node.frozen {
            node.backlog.push_back(input);
        } else if let Some(machine) = &mut node.machine {
            node.watch.note_input(&input);
            machine.handle(input, now);
        }
    }

    fn change_power(&mut self, n: usize, state: InstanceState) {
        self.nodes[n].power = state;
        match state {
            InstanceState::Stopped => self.panic(n),
            InstanceState::Running => {
                self.nodes[n].frozen = false;
                self.boot(n);
            }
            _ => {}
        }
        self.photograph();
    }

    pub(super) fn index(&self, node: &InstanceId) -> usize {
        (0..self.nodes.len()).find(|n| id(*n) == *node).unwrap()
    }

    fn turn(&mut self, n: usize) {
        if self.nodes[n].frozen {
            return;
        }
        while let Some(input) = self.nodes[n].backlog.pop_front() {
            self.give(n, input);
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
            if self.nodes[n].machine.is_some() {
                self.act(n, action);
            }
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        self.check_sent(n, &action);
        match action {
            Action::SendBeat { to, beat } => {
                let to = self.index(&to);
                let session = SessionId(self.session_of(n));
                if let Some(wire) = self.wire(n, to).filter(|_| !self.deaf.contains(&(n, to))) {
                    let at = self.now + wire;
                    let input = Input::Beat { from: id(n), session, beat, at };
                    self.schedule(wire, What::Input(to, input));
                }
            }
            Action::SendEcho { to } => {
                let to = self.index(&to);
                let answers = self.nodes[to].kernel && !self.nodes[to].frozen;
                let wires = (self.wire(n, to), self.wire(to, n));
                if let (Some(there), Some(back)) = wires
                    && answers
                    && !self.no_echo.contains(&(n, to))
                {
                    let wire = (there + back) / 2;
                    let input = Input::Echo { from: id(to), at: self.now + wire };
                    self.schedule(wire, What::Input(n, input));
                }
            }
            Action::ReadRoutes { id, tables } => self.read_routes(n, id, &tables),
            Action::ReadPower { id, node } => self.read_power(n, id, &node),
            Action::WriteRoute { id, write, .. } => self.send(n, id, Mutation::Route(write)),
            Action::Stop { id, node, .. } => self.send(n, id, Mutation::Stop(node)),
            Action::Start { id, node, .. } => self.send(n, id, Mutation::Start(node)),
            Action::Remember { id, stopped } => {
                self.nodes[n].remembered = stopped;
                let outcome = Outcome::Written { result: Ok(()) };
                let session = self.session_of(n);
                self.schedule(Duration::from_millis(1), What::Outcome(n, session, id, outcome));
            }
            Action::Report { event } => self.nodes[n].events.push(event),
            Action::MayExit => self.nodes[n].machine = None,
        }
    }

    /// How long a packet takes, if it arrives.
    fn wire(&mut self, from: usize, to: usize) -> Option<Duration> {
        let lost = self.loss.get(&(from, to)).copied().unwrap_or(0);
        if lost > 0 && self.noise.next() % 1_000 < lost {
            return None;
        }
        let most = u64::try_from(self.jitter.as_micros()).unwrap();
        Some(Duration::from_millis(1) + Duration::from_micros(self.noise.next() % (most + 1)))
    }

    pub(super) fn session_of(&self, n: usize) -> u64 {
        self.nodes[n].machine.as_ref().map_or(0, |machine| machine.session.0)
    }
}
