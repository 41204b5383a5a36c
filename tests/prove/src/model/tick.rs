//! One second of the world.

use natha::failover::{Action, ActionId, EventKind, Input, Level, Machine, Outcome};
use natha::types::{Beat, GroupName, InstanceState, SessionId, Time};

use super::bounds::{FAR, NEAR, NOW, SLOW, TICK};
use super::cloud::Power;
use super::fault::Fault;
use super::names::{assigned, group, id, node_of, written};
use super::node::{Ask, Awaited, Call, Node};
use super::rule::Rule;
use super::world::{Packet, World};

impl World {
    /// Lets a second pass.
    pub(super) fn tick(&mut self) {
        self.change_power();
        self.carry_out_held();
        self.notice_probes();
        for n in 0..self.nodes.len() {
            self.send_calls(n);
        }
        self.deliver();
        self.notice_probes();
        self.nodes.iter_mut().for_each(Node::tell_answers);
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
        if self.nodes[n].heard != *machine.heard() {
            self.nodes[n].heard.clone_from(machine.heard());
        }
        let mut beats = 0;
        let mut done = false;
        while let Some(action) = machine.poll_action() {
            self.judge_decision(n, &machine, &action);
            match action {
                Action::SendBeat { to, beat } => {
                    beats += 1;
                    self.send_beat(n, node_of(&to), beat);
                }
                Action::SendEcho { to } => self.send_echo(n, node_of(&to)),
                Action::Probe => self.nodes[n].probes.asked = true,
                Action::ReadRoutes { id, .. } => self.ask(n, id, Ask::ReadRoutes, None),
                Action::ReadPower { id, node } => {
                    self.ask(n, id, Ask::ReadPower(node_of(&node)), None);
                }
                Action::WriteRoute { id, write, not_after } => {
                    self.ask(n, id, Ask::Write(written(&write)), Some(not_after));
                }
                Action::ReadHolders { id, .. } => self.ask(n, id, Ask::ReadHolders, None),
                Action::Assign { id, assignment, not_after } => {
                    let change = assigned(&assignment);
                    self.ask(n, id, Ask::Write(change), Some(not_after));
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
                    self.note_event(n, event.kind, event.level, event.group);
                }
                Action::MayExit => done = true,
            }
        }
        Rule::HeldUp.try_it();
        if beats < machine.peers().count() && !done {
            self.breach(Rule::HeldUp);
        }
        self.prepare_host(n, &machine);
        self.nodes[n].machine = (!done).then_some(machine);
    }

    /// The host does what its monitor shows of its groups' addresses.
    fn prepare_host(&mut self, n: usize, machine: &Machine) {
        if self.pattern.eip {
            for (name, carries) in machine.must_carry() {
                self.carry(n, &name, carries);
            }
        }
        if self.pattern.egress {
            self.judge_side_by_side(n);
            self.translate(n, machine);
        }
    }

    /// The host puts a group's addresses on, or takes them off.
    fn carry(&mut self, n: usize, name: &GroupName, carries: bool) {
        let Some(g) = (0..self.nodes.len()).find(|g| group(*g) == *name) else { return };
        if carries {
            self.nodes[n].carries.insert(g);
        } else {
            self.nodes[n].carries.remove(&g);
        }
    }

    fn ask(&mut self, n: usize, id: ActionId, ask: Ask, not_after: Option<Time>) {
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
            (EventKind::RepairBlocked, Level::Alert, _) => notes.latched = true,
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

fn rebase_input(input: &mut Input, floor: Time) {
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
