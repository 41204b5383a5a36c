//! The event loop: all decisions are made on this one thread, one turn at a time.
//!
//! A turn reads the clock once, takes in everything that has arrived from the sockets and from
//! other threads, runs the machine, performs its actions or hands them to executors, and sleeps
//! until the next deadline or arrival. It never waits for anything else.

mod commands;
mod latch;
mod notifier;
mod observing;
mod operator;
mod publish;
mod realtime;
mod recorder;
mod report;
mod watchdog;

pub(crate) use notifier::{Notifier, notify, notify_all};
pub(crate) use realtime::{prioritise, stay_in_memory};
pub(crate) use recorder::Recorder;
pub(crate) use watchdog::Watchdog;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tokio::sync::{Notify, watch};

use super::calls::{CloudChange, CloudRead, Executors};
use super::carrier::MustCarry;
use super::clock;
use super::discovery::Rediscover;
use super::egress;
use super::history::Observers;
use super::inbox::{Inbox, Note};
use super::latch::LatchRecord;
use super::notices::Tally;
use super::peers::Exchange;
use crate::failover::{Action, ActionId, Event, Input, Machine, Outcome};
use crate::record::ACTIONS_A_TURN;
use crate::status::{Allowances, Counters, FlowsReport, LandingState, LatchNote, PortUse};
use crate::types::{Fault, Fitness, InstanceId, Member, Roster, SessionId, Time};
use notifier::Notification;
use observing::Observed;
use report::ReadTimes;

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
    /// How many log lines of all threads have been dropped.
    pub(crate) dropped_lines: fn() -> u64,
    /// Set if the run is recorded.
    pub(crate) recorder: Option<Recorder>,
    /// The history and the notices.
    pub(crate) observers: Observers,
    /// Counts the notices; none without a way to send one.
    pub(crate) tally: Option<Arc<Tally>>,
    /// Tells the carrier which groups this host must carry; none if no group has anything on it.
    pub(crate) must_carry: Option<watch::Sender<MustCarry>>,
    /// Tells the translation where the egress IPs are; none on a host that is not a NAT.
    pub(crate) egress: Option<egress::Publishers>,
    /// Tells the replication who the members are; none without it.
    pub(crate) members: Option<watch::Sender<Vec<Member>>>,
    /// Publishes which peers were heard since the host booted, to be written down.
    pub(crate) heard: watch::Sender<BTreeSet<InstanceId>>,
    /// Publishes which latches this node obeys, to be written down.
    pub(crate) latches: watch::Sender<LatchRecord>,
    /// Wakes the discovery when a peer has restarted, or a node is heard that is not a member.
    pub(crate) rediscover: Rediscover,
    /// Asks for a round of probes at once.
    pub(crate) hurry_probes: Arc<Notify>,
    /// The service manager's watchdog, if it has one.
    pub(crate) watchdog: Option<Watchdog>,
    /// How long the loop runs after everything is handed over: enough heartbeats for every peer to
    /// hear that this node is leaving, even if one heartbeat is lost.
    pub(crate) linger: Duration,
    /// How long the kernel must refuse every heartbeat before this node is unfit.
    pub(crate) severed_after: Duration,
    /// Time between two heartbeats.
    pub(crate) interval: Duration,
    pub(crate) state: LoopState,
}

/// How far this monitor is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// It was asked to hand everything over, and has done so.
    Drained,
    /// It was asked to end, not only to be drained.
    Ending,
}

/// State of the loop itself, apart from the machine: for the status report and between turns.
#[derive(Debug)]
pub(crate) struct LoopState {
    cluster: String,
    roster: Arc<Roster>,
    started: Time,
    events: VecDeque<Event>,
    alerts: BTreeMap<&'static str, String>,
    allowances: BTreeMap<String, Allowances>,
    /// None before the first look, and on a host that is no NAT.
    ports: Option<PortUse>,
    read_at: ReadTimes,
    /// None before the task for egress IPs has looked.
    landings: Option<LandingState>,
    counters: Counters,
    lateness_max: Duration,
    flows: FlowsReport,
    planned: Option<Time>,
    refused: Vec<(ActionId, Outcome)>,
    fed: Option<Time>,
    ready: bool,
    exit_at: Option<Time>,
    stage: Stage,
    /// Who latched this node; none unless it is latched itself.
    latch: Option<LatchNote>,
    /// The latest result of the checks of this host.
    checked: Fitness,
    severed: bool,
    /// Each peer's session, from its latest heartbeat.
    sessions: BTreeMap<InstanceId, SessionId>,
    observed: Observed,
}

impl LoopState {
    /// Of a monitor that starts now. `latch` is what the last run left.
    pub(crate) fn new(cluster: String, roster: Roster, latch: &LatchRecord, now: Time) -> Self {
        Self {
            cluster,
            roster: Arc::new(roster),
            started: now,
            events: VecDeque::with_capacity(HISTORY),
            alerts: latch::alert(latch).map(|text| ("latch", text)).into_iter().collect(),
            allowances: BTreeMap::new(),
            ports: None,
            read_at: ReadTimes::of_start(now),
            landings: None,
            counters: Counters::default(),
            lateness_max: Duration::ZERO,
            flows: FlowsReport::default(),
            planned: None,
            refused: Vec::new(),
            fed: None,
            ready: false,
            exit_at: None,
            stage: Stage::Running,
            latch: latch.here.clone(),
            checked: Fitness::fit(),
            severed: false,
            sessions: BTreeMap::new(),
            observed: Observed::default(),
        }
    }
}

impl EventLoop {
    /// EventLoop until the machine says that this node may go, and then a little longer.
    pub(crate) fn run(mut self) {
        loop {
            let now = clock::now();
            if self.state.exit_at.is_some_and(|at| at <= now) {
                break;
            }
            self.turn(now);
            self.sleep();
        }
        if let Some(recorder) = self.recorder {
            recorder.finish();
        }
        self.observers.finish();
    }

    fn turn(&mut self, now: Time) {
        self.measure_lateness(now);
        for (id, outcome) in std::mem::take(&mut self.state.refused) {
            self.feed(Input::Done { id, outcome }, now);
        }
        for input in self.exchange.receive(now) {
            self.feed(input, now);
        }
        for stranger in self.exchange.take_strangers() {
            self.rediscover.look_for(stranger, now);
        }
        self.inbox.quiet();
        for _ in 0..NOTES_A_TURN {
            let Some(note) = self.inbox.take() else { break };
            self.take_note(note, now);
        }
        self.note_severed(now);
        self.machine.tick(now);
        self.exchange.set_peers(self.machine.peers(), now);
        self.publish_must_carry();
        self.publish_egress(now);
        self.publish_members();
        self.publish_heard();
        self.publish_latches(now);
        for _ in 0..ACTIONS_A_TURN {
            let Some(action) = self.machine.poll_action() else { break };
            if let Some(recorder) = &mut self.recorder {
                recorder.action(&action);
            }
            let observed = observing::observed(&action, now);
            self.perform(action, now);
            if let Some(observed) = observed {
                self.observers.tell(&observed);
            }
        }
        self.tell_alive();
        if let Some(recorder) = &mut self.recorder {
            recorder.turn(now);
        }
        self.feed_watchdog(now);
        self.state.planned = Some(self.machine.next_deadline());
    }

    /// The only place that gives the machine an input. A recording of these inputs and their times
    /// is enough to repeat every decision.
    fn feed(&mut self, input: Input, now: Time) {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(&input);
        }
        self.tell_input(&input, now);
        match &input {
            Input::Beat { from, session, at, .. } => {
                self.measure_beat(from, *session, *at);
                self.note_session(from, *session, now);
            }
            Input::Command { command } => self.note_command(command, now),
            _ => {}
        }
        self.machine.handle(input, now);
    }

    /// An instance that was stopped and started has a new public address, and a DNS record with the
    /// old one would point nowhere. A new session therefore triggers a discovery.
    fn note_session(&mut self, from: &InstanceId, session: SessionId, now: Time) {
        let restarted = match self.state.sessions.get(from) {
            Some(known) if *known == session => return,
            Some(_) => true,
            None => now.since(self.state.started) > FRESH,
        };
        self.state.sessions.insert(from.clone(), session);
        if restarted {
            self.rediscover.wake();
        }
    }

    fn take_note(&mut self, note: Note, now: Time) {
        self.tell_note(&note, now);
        match note {
            Note::Input(input) => {
                if let Input::Roster { roster } = &input {
                    self.state.roster = Arc::new(roster.clone());
                }
                if let Input::Fitness { fitness } = input {
                    self.state.checked = fitness;
                    self.feed_fitness(now);
                } else {
                    self.feed(input, now);
                }
            }
            Note::Done { id, call, took, outcome } => {
                self.measure_call(call, &outcome, took);
                self.feed(Input::Done { id, outcome }, now);
            }
            Note::Command { command, answer } => {
                let verdict =
                    commands::check(&command, &self.machine.view(now), &self.state.roster);
                let accepted = verdict.is_ok();
                // If the client has disconnected, the command still counts.
                let _ = answer.send(verdict);
                if accepted {
                    self.feed(Input::Command { command }, now);
                }
            }
            Note::Event(event) => self.report_event(event),
            Note::Alert { name, text } => self.set_alert(name, text, now),
            Note::Allowances(found) => self.state.allowances = found,
            Note::Discovered => self.state.read_at.discovery = now,
            Note::Checked(group) => self.state.read_at.note_check(group, now),
            Note::Flows(found) => {
                self.state.flows = found;
                self.state.read_at.flows = Some(now);
            }
            Note::Ports(found) => {
                self.state.ports = Some(found);
                self.state.read_at.ports = Some(now);
            }
            Note::Landings(found) => self.state.landings = Some(found),
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
        if severed != self.state.severed {
            self.state.severed = severed;
            self.feed_fitness(now);
        }
    }

    fn feed_fitness(&mut self, now: Time) {
        let mut fitness = self.state.checked.clone();
        if self.state.severed {
            fitness.faults.insert(Fault::Forwarding);
        }
        self.feed(Input::Fitness { fitness }, now);
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
            Action::Probe => return self.hurry_probes.notify_one(),
            Action::Report { event } => return self.report_event(event),
            Action::MayExit if self.state.stage == Stage::Ending => {
                self.state.exit_at = Some(now + self.linger);
                return;
            }
            Action::MayExit => {
                self.state.stage = Stage::Drained;
                return self.note_drain("is drained", now);
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
            self.state.refused.push((id, outcome));
        }
    }

    fn report_event(&mut self, event: Event) {
        self.measure_event(&event);
        let status = Notification::State(event.text.clone());
        if self.state.events.len() == HISTORY {
            self.state.events.pop_front();
        }
        self.state.events.push_back(event.clone());
        if !self.notifier.send(Notification::Event(event)) {
            self.state.counters.log_lines_dropped += 1;
        }
        self.notifier.send(status);
    }

    fn become_ready(&mut self) {
        if !self.state.ready {
            self.state.ready = self.notifier.send(Notification::Ready);
        }
    }

    fn feed_watchdog(&mut self, now: Time) {
        let Some(watchdog) = &self.watchdog else { return };
        let due = self.state.fed.is_none_or(|last| now.since(last) >= watchdog.every);
        if due && watchdog.feed() {
            self.state.fed = Some(now);
        }
    }

    /// Sleeps until the next deadline or arrival.
    fn sleep(&self) {
        let now = clock::now();
        let mut pause = self.machine.next_deadline().since(now).min(SLEEP_MAX);
        if !self.state.refused.is_empty() {
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
