//! One simulated node: a machine, its session, and the host around both.

use std::collections::{BTreeSet, VecDeque};

use natha::failover::{ActionId, Event, Input, Latches, Machine};
use natha::types::{Evidence, Fitness, GroupName, InstanceId, InstanceState, SessionId, Time};
use natha::wire::{Packet, Sessions};

use super::ec2::Api;
use super::moved::Changes;
use super::prober::Prober;
use super::recording::Recording;
use super::rules::Watch;

/// Packets that a node which does not run may have waiting for it; later ones are lost.
const BACKLOG: usize = 1_024;

/// Everything one node is.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its decisions; none while its monitor does not run.
    pub machine: Option<Machine>,
    /// Its instance state as EC2 has it.
    pub power: InstanceState,
    /// Its kernel runs: it forwards and answers echo.
    pub kernel: bool,
    /// The whole instance is paused: nothing in it runs, what arrives waits.
    pub frozen: bool,
    /// Its monitor alone is paused; the kernel forwards and answers echo.
    pub stalled: bool,
    /// The ways to the internet on which nothing is answered: that of its own packets, and with it
    /// the other, or that of the packets that it forwards alone.
    pub(super) broken: BTreeSet<Evidence>,
    /// Its probes and what they have found, if they are simulated.
    pub(super) prober: Option<(Prober, Fitness)>,
    /// When the last probe passed its forward path that was answered, since its host booted.
    pub(super) passed: Option<Time>,
    /// How the API treats it.
    pub api: Api,
    /// What it has said so far.
    pub events: Vec<Event>,
    /// How many heartbeats were dropped as late or repeated.
    pub replays: u64,
    pub(super) watch: Watch,
    pub(super) session: SessionId,
    pub(super) sequence: u64,
    /// What it keeps over a restart of its monitor.
    pub(super) remembered: BTreeSet<InstanceId>,
    /// The peers that it heard since its host booted, which it keeps over such a restart, too.
    pub(super) met: BTreeSet<InstanceId>,
    /// Those that it heard before its host booted.
    pub(super) met_long_ago: BTreeSet<InstanceId>,
    /// The latches that it obeys, which it keeps over both.
    pub(super) latches: Latches,
    sessions: Sessions,
    /// What has arrived and was not yet taken in.
    arrived: VecDeque<Arrival>,
    /// Who asked for an echo while the instance was paused.
    pub(super) asked: VecDeque<usize>,
    /// The calls without an outcome so far.
    pub(super) awaited: BTreeSet<ActionId>,
    /// Its monitor's changes of DNS records.
    pub(super) changes: Changes,
    /// The groups whose service checks fail on it; none where nobody has looked yet.
    pub(super) failing: Option<BTreeSet<GroupName>>,
    /// Its recording in progress, if it is recorded.
    pub(super) recording: Option<Recording>,
}

/// Something that arrived at a node.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    /// A heartbeat, and when the kernel received it.
    Packet(Packet, Time),
    /// Anything else.
    Input(Input),
}

impl Node {
    /// A running host without a monitor.
    pub(super) fn new(me: &InstanceId) -> Self {
        Self {
            machine: None,
            power: InstanceState::Running,
            kernel: true,
            frozen: false,
            stalled: false,
            broken: BTreeSet::new(),
            prober: None,
            passed: None,
            api: Api::Works,
            events: Vec::new(),
            replays: 0,
            watch: Watch::default(),
            session: SessionId(0),
            sequence: 0,
            remembered: BTreeSet::new(),
            met: BTreeSet::new(),
            met_long_ago: BTreeSet::new(),
            latches: Latches::default(),
            sessions: Sessions::new(me.clone(), SessionId(0)),
            arrived: VecDeque::new(),
            asked: VecDeque::new(),
            awaited: BTreeSet::new(),
            changes: Changes::new(),
            failing: None,
            recording: None,
        }
    }

    /// A new run of its monitor.
    pub(super) fn begin(&mut self, mut machine: Machine, me: &InstanceId, session: SessionId) {
        machine.recall(self.remembered.clone());
        self.machine = Some(machine);
        self.session = session;
        self.sessions = Sessions::new(me.clone(), session);
        self.sequence = 0;
        self.kernel = true;
        self.stalled = false;
        self.arrived.clear();
        self.awaited.clear();
        self.changes.clear();
        self.watch = Watch::default();
    }

    /// Whether its monitor takes turns.
    pub(super) fn runs(&self) -> bool {
        self.machine.is_some() && !self.frozen && !self.stalled
    }

    /// Whether packets that are routed to it are forwarded.
    pub(super) fn forwards(&self) -> bool {
        self.kernel && !self.frozen
    }

    /// Whether packets that take this way to the internet get out and back.
    pub(super) fn passes(&self, way: Evidence) -> bool {
        let works = |way: Evidence| !self.broken.contains(&way);
        self.forwards() && works(Evidence::Uplink) && works(way)
    }

    /// Whether packets that are routed to it get out and back.
    pub(super) fn serves(&self) -> bool {
        self.passes(Evidence::Transit)
    }

    /// When its monitor must turn next.
    pub(super) fn due(&self) -> Option<Time> {
        self.machine.as_ref().filter(|_| self.runs()).map(Machine::next_deadline)
    }

    /// Something arrives; without a monitor nobody takes it.
    pub(super) fn receive(&mut self, arrival: Arrival) {
        if self.machine.is_some() && self.has_room() {
            self.arrived.push_back(arrival);
        }
    }

    /// Whether what arrives now is kept.
    pub(super) fn has_room(&self) -> bool {
        self.arrived.len() < BACKLOG
    }

    /// Whether something waits to be taken in.
    pub(super) fn has_mail(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// The next input, with heartbeats judged as the monitor does.
    pub(super) fn next_input(&mut self) -> Option<Input> {
        loop {
            match self.arrived.pop_front()? {
                Arrival::Input(input) => return Some(input),
                Arrival::Packet(mut packet, at) => {
                    if self.sessions.accept(&mut packet, at).is_ok() {
                        let Packet { from, session, beat, .. } = packet;
                        return Some(Input::Beat { from, session, beat, at });
                    }
                    self.replays += 1;
                }
            }
        }
    }

    /// The guest's kernel stamps what has waited for it only now.
    pub(super) fn stamp(&mut self, now: Time) {
        for arrival in &mut self.arrived {
            match arrival {
                Arrival::Packet(_, at) | Arrival::Input(Input::Echo { at, .. }) => *at = now,
                Arrival::Input(_) => {}
            }
        }
    }

    /// The next packet to a peer.
    pub(super) fn packet(
        &mut self,
        me: &InstanceId,
        to: &InstanceId,
        mut beat: natha::types::Beat,
        now: Time,
    ) -> Packet {
        self.sessions.acknowledge(to, &mut beat, now);
        self.sequence += 1;
        let (session, sequence) = (self.session, self.sequence);
        let (from, version) = (me.clone(), None);
        Packet { from, session, sequence, version, beat, claims_omitted: false }
    }
}
