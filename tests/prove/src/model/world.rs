//! A small world, and one second of it.

use std::collections::BTreeSet;

use natha::failover::{Action, EventKind, Input, Level, Machine, Outcome};
use natha::types::{
    Beat, CloudFaultKind, Fault as Trouble, Fitness, Group, GroupName, InstanceId, InstanceState,
    Member, NetworkInterfaceId, Resource, Roster, RouteTableId, RouteTarget, SessionId,
};

use super::cloud::{Cloud, Knowledge, Power, Stopper, Target};
use super::fault::{Api, Fault, Led};
use super::judge::SURELY_CALM;
use super::node::{Ask, Awaited, Call, Node, Notes};
use super::numbers::{FAR, NEAR, NOW, SLOW, TICK, settings};
use super::rule::Rule;
use super::scope::{Kind, Scope};

/// A packet that is on its way, in so many ticks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Packet {
    pub(super) left: u8,
    pub(super) to: usize,
    pub(super) input: Input,
}

/// A change that EC2 will carry out later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) left: u8,
    pub(super) by: usize,
    pub(super) ask: Ask,
}

/// Everything there is. The time is always [`NOW`]: what passes is subtracted from the past.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) cloud: Cloud,
    pub(super) packets: Vec<Packet>,
    pub(super) held: Vec<Held>,
    /// What is broken, and for how many ticks where the scope bounds that.
    pub(super) faults: Vec<(Fault, u8)>,
    /// How much may still go wrong.
    pub(super) strikes: u8,
    pub(super) tables: usize,
    /// Ticks for which each route has led where it leads.
    pub(super) led: Vec<u8>,
    /// Ticks for which each pair of nodes has heard each other; row by row.
    pub(super) linked: Vec<u8>,
    /// Route writes since something was last broken or mended.
    pub(super) writes: u8,
    /// Ticks since the last of them.
    pub(super) quiet: u8,
    /// The node that alone has been well, while the others forwarded nothing, and for how many
    /// ticks.
    pub(super) sole: Option<(usize, u8)>,
    /// The rule that the last step broke.
    pub(super) broken: Option<Rule>,
}

pub(super) fn id(n: usize) -> InstanceId {
    format!("i-{:08x}", n + 1).parse().expect("a well-formed id")
}

pub(super) fn interface(n: usize) -> NetworkInterfaceId {
    format!("eni-{:08x}", n + 1).parse().expect("a well-formed id")
}

pub(super) fn table(n: usize) -> RouteTableId {
    format!("rtb-{:08x}", n + 1).parse().expect("a well-formed id")
}

pub(super) fn group(n: usize) -> GroupName {
    format!("g{n}").parse().expect("a well-formed name")
}

pub(super) fn node_of(id: &InstanceId) -> usize {
    number(id.as_str())
}

pub(super) fn table_of(id: &RouteTableId) -> usize {
    number(id.as_str())
}

pub(super) fn owner_of(id: &NetworkInterfaceId) -> usize {
    number(id.as_str())
}

/// The number behind an id made above.
fn number(id: &str) -> usize {
    let digits = id.rsplit('-').next().unwrap_or_default();
    usize::from_str_radix(digits, 16).map_or(0, |number| number - 1)
}

impl World {
    /// A cluster whose monitors start now, with the routes as given.
    pub(super) fn booting(scope: &Scope, routes: Vec<Target>) -> Self {
        let nodes = scope.nodes;
        let knowledge = Knowledge { routes, power: vec![Power::RUNNING; nodes] };
        let mut world = Self {
            nodes: (0..nodes).map(|_| Node::new()).collect(),
            cloud: Cloud::new(knowledge, scope.kinds.contains(&Kind::Stale)),
            packets: Vec::new(),
            held: Vec::new(),
            faults: Vec::new(),
            strikes: scope.strikes,
            tables: scope.tables,
            led: vec![0; scope.all_tables()],
            linked: vec![0; nodes * nodes],
            writes: 0,
            quiet: 0,
            sole: None,
            broken: None,
        };
        (0..nodes).for_each(|n| world.boot(n));
        world
    }

    /// The home of a table's group.
    pub(super) fn home(&self, table: usize) -> usize {
        table / self.tables
    }

    fn roster(&self) -> Roster {
        let member = |n: usize| Member {
            id: id(n),
            interface: interface(n),
            address: [10, 0, 0, u8::try_from(10 + n).unwrap_or(u8::MAX)].into(),
            zone: None,
            name: None,
        };
        let group = |n: usize| Group {
            name: group(n),
            home: Some(id(n)),
            resources: (0..self.tables)
                .map(|t| Resource::DefaultRoute {
                    table: table(n * self.tables + t),
                    cidr: "0.0.0.0/0".parse().expect("a well-formed network"),
                })
                .collect(),
        };
        let nodes = 0..self.nodes.len();
        Roster { members: nodes.clone().map(member).collect(), groups: nodes.map(group).collect() }
    }

    /// Starts node `n`'s monitor.
    pub(super) fn boot(&mut self, n: usize) {
        let roster = self.roster();
        let (nodes, tables) = (self.nodes.len(), self.cloud.now.routes.len());
        let node = &mut self.nodes[n];
        node.end_monitor();
        node.boots += 1;
        let session = SessionId(u64::from(node.boots) << 8 | n as u64);
        let numbers = settings().failover;
        let mut machine = Machine::new(&id(n), session, numbers, 1, &roster, NOW);
        machine.recall(node.remembered.clone());
        node.machine = Some(machine);
        node.kernel = true;
        node.frozen = false;
        if !node.fit {
            node.inbox.push(Input::Fitness { fitness: Fitness::unfit(Trouble::Uplink) });
        }
        node.notes = Notes {
            routes_read: vec![None; tables],
            power_read: vec![None; nodes],
            heard: vec![u8::MAX; nodes],
            echoed: vec![u8::MAX; nodes],
            // A monitor that is back before it was missed was never away.
            up: node.notes.up,
            down: node.notes.down,
            ..Notes::default()
        };
    }

    /// Breaks something.
    pub(super) fn strike(&mut self, fault: Fault) {
        self.strikes -= 1;
        self.sole = None;
        self.writes = 0;
        match fault {
            Fault::Crash(n) => {
                self.nodes[n].end_monitor();
                self.nodes[n].kernel = false;
                self.nodes[n].frozen = false;
            }
            Fault::Restart(n) => self.boot(n),
            Fault::Kill(n) => self.nodes[n].end_monitor(),
            Fault::Freeze(n) => self.nodes[n].frozen = true,
            Fault::Unfit(n) => {
                self.nodes[n].api = Api::Hangs;
                self.set_fit(n, false);
            }
            Fault::Api(n, api) => self.nodes[n].api = api,
            Fault::Led(table, led) => {
                let target = match led {
                    Led::To(n) => Target::Node(n),
                    Led::Out => Target::Out,
                    Led::Nowhere => Target::Nowhere,
                };
                self.lead(table, target);
            }
            Fault::UserStop(n) => {
                let calm = self.nodes[n].notes.well >= SURELY_CALM;
                self.stop(n, Stopper::User { calm });
            }
            Fault::Deaf(..)
            | Fault::Cut(..)
            | Fault::NoEcho(..)
            | Fault::Slow(..)
            | Fault::Stale
            | Fault::Overdue => {}
        }
        if !fault.is_momentary() {
            self.faults.push((fault, 0));
            self.faults.sort_unstable();
        }
    }

    /// Mends what is broken.
    pub(super) fn mend(&mut self, fault: Fault) {
        self.writes = 0;
        self.sole = None;
        self.faults.retain(|(broken, _)| *broken != fault);
        match fault {
            Fault::Kill(n) => {
                if self.nodes[n].kernel && self.nodes[n].machine.is_none() {
                    self.boot(n);
                }
            }
            Fault::Freeze(n) => self.nodes[n].frozen = false,
            Fault::Unfit(n) => {
                self.nodes[n].api = Api::Works;
                self.set_fit(n, true);
            }
            Fault::Api(n, _) => self.nodes[n].api = Api::Works,
            Fault::UserStop(n) => {
                let _ = self.start(n);
            }
            Fault::Overdue => {
                for held in &mut self.held {
                    held.left = 0;
                }
            }
            _ => {}
        }
    }

    fn set_fit(&mut self, n: usize, fit: bool) {
        let node = &mut self.nodes[n];
        node.fit = fit;
        let fitness = if fit { Fitness::fit() } else { Fitness::unfit(Trouble::Uplink) };
        if node.machine.is_some() {
            node.inbox.push(Input::Fitness { fitness });
        }
    }

    pub(super) fn is_broken(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(broken, _)| *broken == fault)
    }

    /// Whether heartbeats from one node reach another.
    pub(super) fn is_heard(&self, from: usize, to: usize) -> bool {
        let (a, b) = (from.min(to), from.max(to));
        !self.is_broken(Fault::Deaf(from, to)) && !self.is_broken(Fault::Cut(a, b))
    }

    /// Breaks a rule; of several in one step the first in [`Rule::ALL`] is told.
    pub(super) fn breach(&mut self, rule: Rule) {
        self.broken = Some(self.broken.map_or(rule, |broken| broken.min(rule)));
    }

    /// Lets a second pass.
    pub(super) fn tick(&mut self) {
        self.change_power();
        self.carry_out_held();
        for n in 0..self.nodes.len() {
            self.send_calls(n);
        }
        self.deliver();
        for n in 0..self.nodes.len() {
            self.turn(n);
        }
        self.note();
        self.cloud.remember();
        self.rebase();
    }

    fn change_power(&mut self) {
        for n in 0..self.nodes.len() {
            let power = &mut self.cloud.now.power[n];
            if power.left == 0 {
                continue;
            }
            power.left -= 1;
            if power.left > 0 {
                continue;
            }
            if power.state == InstanceState::Stopping {
                power.state = InstanceState::Stopped;
                let node = &mut self.nodes[n];
                node.end_monitor();
                node.kernel = false;
                node.frozen = false;
            } else {
                *power = Power::RUNNING;
                self.boot(n);
            }
        }
    }

    /// Packets that are due arrive: at the machine, or in the socket of a host that is paused.
    fn deliver(&mut self) {
        let mut due = Vec::new();
        self.packets.retain_mut(|packet| {
            if packet.left == 0 {
                due.push((packet.to, packet.input.clone()));
                return false;
            }
            packet.left -= 1;
            true
        });
        for (to, mut input) in due {
            let node = &mut self.nodes[to];
            if node.machine.is_none() {
                continue;
            }
            if let Input::Beat { at, .. } | Input::Echo { at, .. } = &mut input {
                *at = NOW;
            }
            node.inbox.retain(|waiting| !is_outdated_by(waiting, &input));
            node.inbox.push(input);
        }
        for node in self.nodes.iter_mut().filter(|node| !node.frozen) {
            let inbox = &mut node.inbox;
            node.awaited.retain_mut(|awaited| {
                if awaited.left == 0 {
                    let outcome = awaited.outcome.clone();
                    inbox.push(Input::Done { id: awaited.id, outcome });
                    return false;
                }
                awaited.left -= 1;
                true
            });
        }
    }

    /// A turn of node `n`'s loop.
    fn turn(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.frozen {
            return;
        }
        let Some(mut machine) = node.machine.take() else { return };
        for input in std::mem::take(&mut node.inbox) {
            self.hear(n, &input);
            machine.handle(input, NOW);
        }
        machine.tick(NOW);
        let mut beats = 0;
        let mut done = false;
        let mut begun = BTreeSet::new();
        while let Some(action) = machine.poll_action() {
            self.judge_decision(n, &machine, &action, &mut begun);
            match action {
                Action::SendBeat { to, beat } => {
                    beats += 1;
                    self.send_beat(n, node_of(&to), beat);
                }
                Action::SendEcho { to } => self.send_echo(n, node_of(&to)),
                Action::ReadRoutes { id, .. } => self.ask(n, id, Ask::ReadRoutes, None),
                Action::ReadPower { id, node } => {
                    self.ask(n, id, Ask::ReadPower(node_of(&node)), None);
                }
                Action::WriteRoute { id, write, not_after } => {
                    self.ask(n, id, Ask::Write(write), Some(not_after));
                }
                Action::Stop { id, node, not_after, .. } => {
                    self.ask(n, id, Ask::Stop(node_of(&node)), Some(not_after));
                }
                Action::Start { id, node, not_after } => {
                    self.ask(n, id, Ask::Start(node_of(&node)), Some(not_after));
                }
                Action::Remember { id, stopped } => {
                    let outcome = Outcome::Written { result: Ok(()) };
                    self.nodes[n].remembered = stopped;
                    self.nodes[n].awaited.push(Awaited { left: 0, id, outcome });
                }
                Action::Report { event } => {
                    self.note_event(n, event.kind, event.level, event.group)
                }
                Action::MayExit => done = true,
            }
        }
        Rule::HeldUp.try_it();
        if beats + 1 < self.nodes.len() && !done {
            self.breach(Rule::HeldUp);
        }
        self.nodes[n].machine = (!done).then_some(machine);
    }

    fn ask(
        &mut self,
        n: usize,
        id: natha::failover::ActionId,
        ask: Ask,
        not_after: Option<natha::types::Time>,
    ) {
        self.nodes[n].outbox.push(Call { id, ask, not_after });
    }

    fn send_beat(&mut self, from: usize, to: usize, beat: Beat) {
        if !self.is_heard(from, to) {
            return;
        }
        let left = if self.is_broken(Fault::Slow(from, to)) { SLOW } else { 0 };
        let session = self.session(from);
        let input = Input::Beat { from: id(from), session, beat, at: NOW };
        self.packets.push(Packet { left, to, input });
    }

    fn session(&self, n: usize) -> SessionId {
        SessionId(u64::from(self.nodes[n].boots) << 8 | n as u64)
    }

    /// An echo request and its answer: at the next tick, if the other side's kernel runs now.
    fn send_echo(&mut self, from: usize, to: usize) {
        let (a, b) = (from.min(to), from.max(to));
        let passes = !self.is_broken(Fault::Cut(a, b)) && !self.is_broken(Fault::NoEcho(a, b));
        if passes && self.nodes[to].forwards() {
            let input = Input::Echo { from: id(to), at: NOW };
            self.packets.push(Packet { left: 0, to: from, input });
        }
    }

    fn note_event(&mut self, n: usize, kind: EventKind, level: Level, name: Option<GroupName>) {
        let notes = &mut self.nodes[n].notes;
        match (kind, level, name) {
            (EventKind::Foreign, Level::Alert, Some(name)) => {
                notes.told.extend((0..usize::from(u8::MAX)).find(|g| group(*g) == name));
            }
            (EventKind::Foreign, Level::Info, Some(name)) => {
                notes.told.retain(|told| group(*told) != name);
            }
            (EventKind::RepairHeld, Level::Alert, _) => notes.latched = true,
            _ => {}
        }
    }

    /// Moves everything to where it is [`NOW`] again.
    fn rebase(&mut self) {
        let floor = NOW - NEAR;
        for node in &mut self.nodes {
            if let Some(machine) = &mut node.machine {
                machine.rebase(TICK, floor, NOW - FAR);
                machine.cap_counts();
            }
            node.inbox.iter_mut().for_each(|input| rebase_input(input, floor));
            for call in &mut node.outbox {
                call.not_after = call.not_after.map(|time| (time - TICK).max(floor));
            }
            node.renumber();
        }
        for packet in &mut self.packets {
            rebase_input(&mut packet.input, floor);
        }
    }

    pub(super) fn lead(&mut self, table: usize, target: Target) {
        if self.cloud.now.routes[table] != target {
            self.cloud.now.routes[table] = target;
            self.led[table] = 0;
        }
    }

    /// Whether every route leads to its home, but for those led out of the cluster.
    pub(super) fn is_at_home(&self) -> bool {
        let routes = self.cloud.now.routes.iter().enumerate();
        routes.into_iter().all(|(table, target)| {
            matches!(target, Target::Out) || *target == Target::Node(self.home(table))
        })
    }

    pub(super) fn is_calling(&self) -> bool {
        let mutates = |ask: &Ask| matches!(ask, Ask::Write(_) | Ask::Stop(_) | Ask::Start(_));
        !self.held.is_empty()
            || self.nodes.iter().any(|node| node.outbox.iter().any(|call| mutates(&call.ask)))
    }
}

/// Whether `newer` tells all that `waiting` does: a socket that nobody drains holds the last
/// heartbeat of each peer, which is all that a machine keeps of them.
fn is_outdated_by(waiting: &Input, newer: &Input) -> bool {
    match (waiting, newer) {
        (
            Input::Beat { from: old, session: was, .. },
            Input::Beat { from: new, session: is, .. },
        ) => old == new && was == is,
        (Input::Echo { from: old, .. }, Input::Echo { from: new, .. }) => old == new,
        _ => false,
    }
}

fn rebase_input(input: &mut Input, floor: natha::types::Time) {
    if let Input::Beat { at, beat, .. } = input {
        *at = (*at - TICK).max(floor);
        for claim in &mut beat.holds {
            claim.generation = 0;
        }
    }
    if let Input::Echo { at, .. } = input {
        *at = (*at - TICK).max(floor);
    }
}

/// A target of the model as EC2 tells it.
pub(super) fn told_as(n: usize) -> RouteTarget {
    RouteTarget::Interface(interface(n))
}

/// A failure without an answer.
pub(super) const SILENCE: CloudFaultKind = CloudFaultKind::Unknown;
