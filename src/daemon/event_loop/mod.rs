//! The loop: everything that decides runs in this one thread, one turn at a time.
//!
//! A turn reads the clock once; takes in everything that has arrived, from the sockets and from
//! other threads; lets the machine do what is due; carries its actions out or hands them over;
//! and sleeps until the next deadline or the next arrival. Nothing in it waits for anything else.

mod notifier;
mod realtime;
mod recorder;

pub(crate) use notifier::{Notifier, notify};
pub(crate) use realtime::{prioritise, stay_in_memory};
pub(crate) use recorder::Recorder;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tokio::sync::{Notify, watch};

use super::calls::{CloudChange, CloudRead, Executors};
use super::carrier::MustCarry;
use super::clock;
use super::inbox::{Inbox, Note};
use super::peers::Exchange;
use crate::failover::{Action, ActionId, Command, Event, Input, Machine, Outcome, Verdict, View};
use crate::record::ACTIONS_A_TURN;
use crate::status::{Counters, Report};
use crate::types::{Fault, Fitness, GroupName, InstanceId, Roster, SessionId, Time};
use notifier::Notification;

/// Events kept for the status.
const HISTORY: usize = 200;
/// Notes taken in one turn.
const NOTES_A_TURN: usize = 1024;
/// The longest sleep, so that the service manager's watchdog is fed whatever the machine plans.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The shortest sleep after something could not be handed over, so that it is not tried again at
/// once.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(20);

/// The sleep after something that did not count came in a peer's name: should it be a flood, the
/// loop reads it in batches. Arrivals are told by the kernel, so nothing is judged by this.
const DISTURBED_PAUSE: Duration = Duration::from_millis(5);

/// For so long after its start, what a loop knows of the members is fresh.
const FRESH: Duration = Duration::from_secs(10);

/// What the loop is made of.
#[derive(Debug)]
pub(crate) struct EventLoop {
    /// The decisions.
    pub(crate) machine: Machine,
    /// The peers.
    pub(crate) exchange: Exchange,
    /// Other threads.
    pub(crate) inbox: Inbox,
    /// Whoever does the slow work.
    pub(crate) executors: Executors,
    /// Whoever tells the outside.
    pub(crate) notifier: Notifier,
    /// Whoever writes down what the machine is told and what it wants, where that is wished.
    pub(crate) recorder: Option<Recorder>,
    /// Where this node says which groups its host has to carry, where any has a part on it.
    pub(crate) local: Option<watch::Sender<MustCarry>>,
    /// Whoever looks at the cluster: told when a peer has started anew.
    pub(crate) looking: Arc<Notify>,
    /// Half the service manager's watchdog time, where it has one.
    pub(crate) watchdog: Option<Duration>,
    /// How long it goes on once everything is handed over: for as many heartbeats as tell every
    /// peer that this node leaves, even if one of them is lost.
    pub(crate) linger: Duration,
    /// How long the kernel must have refused every heartbeat before this node is unfit.
    pub(crate) severed_after: Duration,
    /// What the loop remembers for the status.
    pub(crate) memory: Memory,
}

/// What the loop remembers for the status and for itself.
#[derive(Debug)]
pub(crate) struct Memory {
    cluster: String,
    roster: Arc<Roster>,
    started: Time,
    events: VecDeque<Event>,
    alerts: BTreeMap<&'static str, String>,
    counters: Counters,
    lateness_max: Duration,
    planned: Option<Time>,
    refused: Vec<(ActionId, Outcome)>,
    fed: Option<Time>,
    ready: bool,
    exit_at: Option<Time>,
    /// What the checks of this host found last.
    checked: Fitness,
    severed: bool,
    /// The peers' monitors, as they were last heard.
    sessions: BTreeMap<InstanceId, SessionId>,
}

impl Memory {
    /// Of a loop that starts now.
    pub(crate) fn new(cluster: String, roster: Roster, now: Time) -> Self {
        Self {
            cluster,
            roster: Arc::new(roster),
            started: now,
            events: VecDeque::with_capacity(HISTORY),
            alerts: BTreeMap::new(),
            counters: Counters::default(),
            lateness_max: Duration::ZERO,
            planned: None,
            refused: Vec::new(),
            fed: None,
            ready: false,
            exit_at: None,
            checked: Fitness::fit(),
            severed: false,
            sessions: BTreeMap::new(),
        }
    }
}

impl EventLoop {
    /// EventLoop until the machine says that this node may go, and then a little longer.
    pub(crate) fn run(mut self) {
        loop {
            let now = clock::now();
            if self.memory.exit_at.is_some_and(|at| at <= now) {
                break;
            }
            self.turn(now);
            self.sleep();
        }
        if let Some(recorder) = self.recorder {
            recorder.finish();
        }
    }

    fn turn(&mut self, now: Time) {
        self.note_lateness(now);
        for (id, outcome) in std::mem::take(&mut self.memory.refused) {
            self.feed(Input::Done { id, outcome }, now);
        }
        for input in self.exchange.receive(now) {
            self.feed(input, now);
        }
        self.inbox.quiet();
        for _ in 0..NOTES_A_TURN {
            let Some(note) = self.inbox.take() else { break };
            self.take_note(note, now);
        }
        self.note_severed(now);
        self.machine.tick(now);
        self.say_local();
        for _ in 0..ACTIONS_A_TURN {
            let Some(action) = self.machine.poll_action() else { break };
            if let Some(recorder) = &mut self.recorder {
                recorder.action(&action);
            }
            self.perform(action, now);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.turn(now);
        }
        self.feed_watchdog(now);
        self.memory.planned = Some(self.machine.next_deadline());
    }

    /// Says which groups this host has to carry. Before the calls of this turn are handed over, so
    /// that a host is about to answer when the first packet can come.
    fn say_local(&self) {
        let Some(sender) = &self.local else { return };
        let must_carry = self.machine.must_carry();
        sender.send_if_modified(|said| {
            let news = *said != must_carry;
            *said = must_carry;
            news
        });
    }

    /// The one place where the machine is told anything: what passes here, in order and with its
    /// time, is all it takes to repeat every decision.
    fn feed(&mut self, input: Input, now: Time) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(&input);
        }
        if let Input::Beat { from, session, .. } = &input {
            self.note_session(from, *session, now);
        }
        self.machine.handle(input, now);
    }

    /// An instance that was stopped and started has another public address, and a record that
    /// gives it the old one would lead to nobody: the cluster is looked at again.
    fn note_session(&mut self, from: &InstanceId, session: SessionId, now: Time) {
        let anew = match self.memory.sessions.get(from) {
            Some(known) if *known == session => return,
            Some(_) => true,
            None => now.since(self.memory.started) > FRESH,
        };
        self.memory.sessions.insert(from.clone(), session);
        if anew {
            self.looking.notify_one();
        }
    }

    fn take_note(&mut self, note: Note, now: Time) {
        match note {
            Note::Input(input) => {
                if let Input::Roster { roster } = &input {
                    self.exchange.set_roster(roster, now);
                    self.memory.roster = Arc::new(roster.clone());
                }
                if let Input::Fitness { fitness } = input {
                    self.memory.checked = fitness;
                    self.feed_fitness(now);
                } else {
                    self.feed(input, now);
                }
            }
            Note::Done { id, call, outcome } => {
                self.memory.counters.count_call(call, &ending(&outcome));
                self.feed(Input::Done { id, outcome }, now);
            }
            Note::Command { command, answer } => {
                let verdict = self.check_command(&command, now);
                let sound = verdict.is_ok();
                // Whoever asked may have gone; the command then still counts.
                let _ = answer.send(verdict);
                if sound {
                    self.feed(Input::Command { command }, now);
                }
            }
            Note::Alert { name, text: Some(text) } => drop(self.memory.alerts.insert(name, text)),
            Note::Alert { name, text: None } => drop(self.memory.alerts.remove(name)),
            Note::Status(answer) => {
                let _ = answer.send(Box::new(self.report(now)));
            }
        }
    }

    /// A node that cannot even send from its forwarding interface forwards nothing, and the
    /// silence of its peers is its own. It must know before it would judge them lost, which no
    /// check that runs every few seconds is in time for.
    fn note_severed(&mut self, now: Time) {
        let since = self.exchange.severed_since();
        let severed = since.is_some_and(|since| now.since(since) >= self.severed_after);
        if severed != self.memory.severed {
            self.memory.severed = severed;
            self.feed_fitness(now);
        }
    }

    fn feed_fitness(&mut self, now: Time) {
        let mut fitness = self.memory.checked.clone();
        if self.memory.severed {
            fitness.faults.insert(Fault::Forwarding);
        }
        self.feed(Input::Fitness { fitness }, now);
    }

    /// Refuses what the machine could only ignore, with the reason.
    fn check_command(&self, command: &Command, now: Time) -> Result<(), String> {
        let Command::HandOver { group, to } = command else { return Ok(()) };
        let view = self.machine.view(now);
        let Some(found) = view.groups.get(group) else {
            let known: Vec<&str> = view.groups.keys().map(GroupName::as_str).collect();
            return Err(format!("there is no group {group}; there are: {}", known.join(", ")));
        };
        match &found.holder {
            Some(holder) if *holder == view.me => {}
            Some(holder) => {
                return Err(format!(
                    "group {group} is held by {}, and only its holder gives it away: run this \
                     there",
                    self.memory.roster.node_name(holder)
                ));
            }
            None => return Err(format!("group {group} is held by no single node now")),
        }
        match to {
            Some(to) if *to == view.me => {
                Err(format!("group {group} is held by this node already"))
            }
            Some(to) if !view.peers.contains_key(to) => {
                Err(format!("{to} is no peer of this node"))
            }
            to => self.check_receivers(group, to.as_ref(), &view),
        }
    }

    /// Refuses to give a group to a peer that is not alive, or to any where none is.
    fn check_receivers(
        &self,
        group: &GroupName,
        to: Option<&InstanceId>,
        view: &View,
    ) -> Result<(), String> {
        let asked = || view.peers.iter().filter(|(id, _)| to.is_none_or(|to| to == *id));
        if asked().any(|(_, peer)| peer.verdict == Verdict::Alive) {
            return Ok(());
        }
        let name = |id| self.memory.roster.node_name(id);
        let why = asked().map(|(id, peer)| format!("{} is {}", name(id), peer.verdict.name()));
        let why: Vec<String> = why.collect();
        let why = if why.is_empty() { "this node has no peers".to_owned() } else { why.join(", ") };
        Err(format!("group {group} cannot be handed over now: {why}"))
    }

    fn perform(&mut self, action: Action, now: Time) {
        let doers = &self.executors;
        let (id, handed_over) = match action {
            Action::SendBeat { to, beat } => {
                self.exchange.send_beat(&to, beat, now);
                self.become_ready();
                return;
            }
            Action::SendEcho { to } => return self.exchange.send_echo(&to),
            Action::Report { event } => return self.report_event(event),
            Action::MayExit => {
                self.memory.exit_at = Some(now + self.linger);
                return;
            }
            Action::ReadRoutes { id, tables } => (id, doers.read(id, CloudRead::Routes(tables))),
            Action::ReadHolders { id, resources } => {
                (id, doers.read(id, CloudRead::Holders(resources)))
            }
            Action::ReadPower { id, node } => (id, doers.read(id, CloudRead::Power(node))),
            Action::WriteRoute { id, write, not_after } => {
                (id, doers.change(id, CloudChange::Route(write), not_after))
            }
            Action::Assign { id, assignment, not_after } => {
                (id, doers.change(id, CloudChange::Assign(assignment), not_after))
            }
            Action::Stop { id, node, force, not_after } => {
                (id, doers.change(id, CloudChange::Stop { node, force }, not_after))
            }
            Action::Start { id, node, not_after } => {
                (id, doers.change(id, CloudChange::Start { node }, not_after))
            }
            Action::Remember { id, stopped } => (id, doers.keep(id, stopped)),
        };
        if let Err(outcome) = handed_over {
            self.memory.refused.push((id, outcome));
        }
    }

    fn report_event(&mut self, event: Event) {
        let state = Notification::State(event.text.clone());
        if self.memory.events.len() == HISTORY {
            self.memory.events.pop_front();
        }
        self.memory.events.push_back(event.clone());
        if !self.notifier.send(Notification::Event(event)) {
            self.memory.counters.log_lines_dropped += 1;
        }
        self.notifier.send(state);
    }

    fn become_ready(&mut self) {
        if !self.memory.ready {
            self.memory.ready = self.notifier.send(Notification::Ready);
        }
    }

    fn feed_watchdog(&mut self, now: Time) {
        let Some(every) = self.watchdog else { return };
        if self.memory.fed.is_none_or(|last| now.since(last) >= every) {
            self.memory.fed = Some(now);
            self.notifier.send(Notification::Watchdog);
        }
    }

    fn note_lateness(&mut self, now: Time) {
        if let Some(planned) = self.memory.planned {
            self.memory.lateness_max = self.memory.lateness_max.max(now.since(planned));
        }
    }

    fn report(&self, now: Time) -> Report {
        let mut counters = self.memory.counters.clone();
        counters.peers = self.exchange.counters().clone();
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            cluster: self.memory.cluster.clone(),
            now,
            uptime: now.since(self.memory.started),
            roster: Roster::clone(&self.memory.roster),
            view: self.machine.view(now),
            alerts: self.memory.alerts.values().cloned().collect(),
            events: self.memory.events.iter().cloned().collect(),
            counters,
            lateness_max: self.memory.lateness_max,
        }
    }

    /// Sleeps until something is due or arrives.
    fn sleep(&self) {
        let now = clock::now();
        let mut pause = self.machine.next_deadline().since(now).min(SLEEP_MAX);
        if !self.memory.refused.is_empty() {
            pause = pause.min(OVERLOAD_PAUSE);
        }
        let disturbed = self.exchange.is_disturbed();
        if disturbed {
            pause = pause.min(DISTURBED_PAUSE);
        }
        let sockets = (!disturbed).then(|| self.exchange.fds()).into_iter().flatten();
        let watched = sockets.chain([self.inbox.wake_fd()]);
        let mut fds: Vec<PollFd<'_>> =
            watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // An interrupted or failed wait only means an early turn.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(pause)), None);
    }
}

/// How an action ended, for the counters.
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
