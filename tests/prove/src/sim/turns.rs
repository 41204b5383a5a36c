//! How time passes: what is due happens, then each node that has something to do takes a turn.

use std::iter;
use std::time::Duration;

use natha::failover::{Action, Outcome};
use natha::types::Time;

use super::cluster::Sim;
use super::ec2::{Ask, Mutation};
use super::node::Arrival;
use super::queue::{Answer, What};

/// How long it takes to note something on disk.
const DISK: Duration = Duration::from_millis(1);
/// The least time between two turns of a loop: a process does not wake up sooner.
const STEP: Duration = Duration::from_millis(1);
/// How long the clock runs at most without a look at it.
const IDLE: Duration = Duration::from_secs(1);

impl Sim {
    /// Lets `ms` milliseconds pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            let step = self.next_moment().max(self.now + STEP).min(end);
            self.account(step.since(self.now));
            self.now = step;
            if self.strict {
                self.watch();
            }
            if self.ec2_due.is_some_and(|due| due <= step) {
                self.refresh();
            }
            while let Some(what) = self.queue.pop(step) {
                self.happen(what);
            }
            for n in 0..self.nodes.len() {
                self.turn(n);
            }
        }
    }

    /// When something happens next.
    fn next_moment(&self) -> Time {
        let due = self.nodes.iter().filter_map(super::node::Node::due);
        due.chain(self.queue.next()).chain(self.ec2_due).min().unwrap_or(self.now + IDLE)
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrives(n, arrival) => self.nodes[n].receive(arrival),
            What::EchoAsked(n, from) => self.echo_asked(n, from),
            What::Outcome(Answer { by, session, id, outcome, change }) => {
                let node = &mut self.nodes[by];
                if node.session == session && node.awaited.remove(&id) {
                    node.changes.extend(change);
                    let input = natha::failover::Input::Done { id, outcome };
                    node.receive(Arrival::Input(input));
                }
            }
            What::Call(call, held_up) => self.reach_ec2(call, held_up),
            What::Checked(n, session) => {
                let node = &mut self.nodes[n];
                if node.session == session
                    && let Some(failing) = node.failing.clone()
                {
                    let input = natha::failover::Input::ServiceChecks { failing };
                    node.receive(Arrival::Input(input));
                }
            }
            What::Probes(n) => self.turn_probes(n),
            What::GuestUp(n) => self.come_up(n),
            What::Pause(n) => {
                if let Some((_, lasting)) = self.pauses
                    && self.nodes[n].forwards()
                {
                    self.freeze(n);
                    self.schedule(lasting, What::Thaw(n));
                }
                self.plan_pause(n);
            }
            What::Thaw(n) => self.thaw(n),
        }
    }

    /// One turn of a node's loop, as the daemon takes it: everything that has arrived, then what
    /// is due, then the actions.
    fn turn(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        if !node.runs() || !(node.has_mail() || node.due().is_some_and(|due| due <= now)) {
            return;
        }
        let mut inputs = Vec::new();
        while let Some(input) = node.next_input() {
            node.watch.note_input(&input);
            if node.recording.is_some() {
                inputs.push(input.clone());
            }
            if let Some(machine) = &mut node.machine {
                machine.handle(input, now);
            }
        }
        if let Some(machine) = &mut node.machine {
            machine.tick(now);
            if node.met != *machine.heard() {
                node.met.clone_from(machine.heard());
            }
            if node.latches != *machine.latches() {
                node.latches.clone_from(machine.latches());
            }
        }
        let machine = node.machine.iter_mut();
        let actions: Vec<Action> =
            machine.flat_map(|machine| iter::from_fn(|| machine.poll_action())).collect();
        if let Some(recording) = &mut node.recording {
            recording.add(now, inputs, &actions);
        }
        for action in actions {
            self.act(n, action);
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        if self.strict {
            self.check_sent(n, &action);
        }
        match action {
            Action::SendBeat { to, beat } => {
                let to = self.index(&to);
                self.send_beat(n, to, beat);
            }
            Action::SendEcho { to } => {
                let to = self.index(&to);
                self.send_echo(n, to);
            }
            Action::Probe => self.probe(n, true),
            Action::ReadRoutes { id, tables } => self.ask(n, id, Ask::Routes(tables)),
            Action::ReadPower { id, node } => self.ask(n, id, Ask::Power(node)),
            Action::WriteRoute { id, write, .. } => {
                self.ask(n, id, Ask::Change(Mutation::Route(write)));
            }
            Action::ReadHolders { id, resources } => self.ask(n, id, Ask::Holders(resources)),
            Action::Assign { id, assignment, .. } => {
                self.ask(n, id, Ask::Change(Mutation::Assign(assignment)));
            }
            Action::Stop { id, node, .. } => self.ask(n, id, Ask::Change(Mutation::Stop(node))),
            Action::Start { id, node, .. } => self.ask(n, id, Ask::Change(Mutation::Start(node))),
            Action::Remember { id, stopped } => {
                self.nodes[n].remembered = stopped;
                self.nodes[n].awaited.insert(id);
                let outcome = Outcome::Written { result: Ok(()) };
                let session = self.nodes[n].session;
                let answer = Answer { by: n, session, id, outcome, change: None };
                self.schedule(DISK, What::Outcome(answer));
            }
            Action::Report { event } => self.nodes[n].events.push(event),
            Action::MayExit => self.nodes[n].machine = None,
        }
    }
}
