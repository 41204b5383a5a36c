//! The event loop: all decisions are made on this one thread, one turn at a time.
//!
//! A turn reads the clock once, takes in everything that has arrived from the sockets and from
//! other threads, runs the machine, performs its actions or hands them to executors, and sleeps
//! until the next deadline or arrival. It never waits for anything else.

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
/// The longest sleep. It keeps the service manager's watchdog fed whatever the machine plans.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The longest sleep after an executor's queue was full. The machine then learns soon that the
/// action failed.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(20);

/// The longest sleep after a packet in a peer's name was rejected. In a flood the loop then reads
/// in batches instead of waking for each packet. Arrival times come from the kernel, so this delays
/// no judgement of a peer.
const DISTURBED_PAUSE: Duration = Duration::from_millis(5);

/// How long after its start the loop's roster counts as fresh.
const FRESH: Duration = Duration::from_secs(10);

/// The loop and everything it talks to.
#[derive(Debug)]
pub(crate) struct EventLoop {
    pub(crate) machine: Machine,
    pub(crate) exchange: Exchange,
    pub(crate) inbox: Inbox,
    pub(crate) executors: Executors,
    pub(crate) notifier: Notifier,
    /// Set if the run is recorded.
    pub(crate) recorder: Option<Recorder>,
    /// Tells the carrier which groups this host must carry; none if no group has anything on it.
    pub(crate) must_carry: Option<watch::Sender<MustCarry>>,
    /// Wakes the discovery when a peer has restarted.
    pub(crate) rediscover: Arc<Notify>,
    /// How often the service manager's watchdog is fed, if it has one.
    pub(crate) watchdog: Option<Duration>,
    /// How long the loop runs after everything is handed over: enough heartbeats for every peer to
    /// hear that this node is leaving, even if one heartbeat is lost.
    pub(crate) linger: Duration,
    /// How long the kernel must refuse every heartbeat before this node is unfit.
    pub(crate) severed_after: Duration,
    pub(crate) memory: Memory,
}

/// State of the loop itself, apart from the machine: for the status report and between turns.
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
    /// The latest result of the checks of this host.
    checked: Fitness,
    severed: bool,
    /// Each peer's session, from its latest heartbeat.
    sessions: BTreeMap<InstanceId, SessionId>,
}

impl Memory {
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
        self.publish_must_carry();
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

    /// Publishes which groups this host must carry. This precedes the calls of the same turn: the
    /// host should answer by the time a call brings the first packet.
    fn publish_must_carry(&self) {
        let Some(sender) = &self.must_carry else { return };
        let must_carry = self.machine.local();
        sender.send_if_modified(|published| {
            let changed = *published != must_carry;
            *published = must_carry;
            changed
        });
    }

    /// The only place that gives the machine an input. A recording of these inputs and their times
    /// is enough to repeat every decision.
    fn feed(&mut self, input: Input, now: Time) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(&input);
        }
        if let Input::Beat { from, session, .. } = &input {
            self.note_session(from, *session, now);
        }
        self.machine.handle(input, now);
    }

    /// An instance that was stopped and started has a new public address, and a DNS record with the
    /// old one would point nowhere. A new session therefore triggers a discovery.
    fn note_session(&mut self, from: &InstanceId, session: SessionId, now: Time) {
        let restarted = match self.memory.sessions.get(from) {
            Some(known) if *known == session => return,
            Some(_) => true,
            None => now.since(self.memory.started) > FRESH,
        };
        self.memory.sessions.insert(from.clone(), session);
        if restarted {
            self.rediscover.notify_one();
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
                let accepted = verdict.is_ok();
                // If the client has disconnected, the command still counts.
                let _ = answer.send(verdict);
                if accepted {
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

    /// A node that cannot send from its forwarding interface forwards nothing, and its peers appear
    /// silent for that reason. It must find out before it would judge them lost; a check that runs
    /// every few seconds is too late for that.
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

    /// Refuses a command that the machine would ignore, with the reason.
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
                    "group {group} is held by {}, and only its holder can hand it over: run this \
                     command there",
                    self.memory.roster.node_name(holder)
                ));
            }
            None => return Err(format!("group {group} is not held by a single node now")),
        }
        match to {
            Some(to) if *to == view.me => Err(format!("this node already holds group {group}")),
            Some(to) if !view.peers.contains_key(to) => {
                Err(format!("{to} is not a peer of this node"))
            }
            to => self.check_receivers(group, to.as_ref(), &view),
        }
    }

    /// Refuses a hand-over if the receiver, or without one every peer, is not alive.
    fn check_receivers(
        &self,
        group: &GroupName,
        to: Option<&InstanceId>,
        view: &View,
    ) -> Result<(), String> {
        let candidates = || view.peers.iter().filter(|(id, _)| to.is_none_or(|to| to == *id));
        if candidates().any(|(_, peer)| peer.verdict == Verdict::Alive) {
            return Ok(());
        }
        let name = |id| self.memory.roster.node_name(id);
        let why = candidates().map(|(id, peer)| format!("{} is {}", name(id), peer.verdict.name()));
        let why: Vec<String> = why.collect();
        let why = if why.is_empty() { "this node has no peers".to_owned() } else { why.join(", ") };
        Err(format!("group {group} cannot be handed over now: {why}"))
    }

    fn perform(&mut self, action: Action, now: Time) {
        let executors = &self.executors;
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
            Action::ReadRoutes { id, tables } => {
                (id, executors.read(id, CloudRead::Routes(tables)))
            }
            Action::ReadHolders { id, resources } => {
                (id, executors.read(id, CloudRead::Holders(resources)))
            }
            Action::ReadPower { id, node } => (id, executors.read(id, CloudRead::Power(node))),
            Action::WriteRoute { id, write, not_after } => {
                (id, executors.change(id, CloudChange::Route(write), not_after))
            }
            Action::Assign { id, assignment, not_after } => {
                (id, executors.change(id, CloudChange::Assign(assignment), not_after))
            }
            Action::Stop { id, node, force, not_after } => {
                (id, executors.change(id, CloudChange::Stop { node, force }, not_after))
            }
            Action::Start { id, node, not_after } => {
                (id, executors.change(id, CloudChange::Start { node }, not_after))
            }
            Action::Remember { id, stopped } => (id, executors.keep(id, stopped)),
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

    /// Sleeps until the next deadline or arrival.
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
        // If the wait is interrupted or fails, the next turn is merely early.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(pause)), None);
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
