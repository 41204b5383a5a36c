//! One machine and, by hand, all that it ever gets to know of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::Timing;
use crate::failover::{
    Action, ActionId, Command, Event, EventKind, Input, Machine, Outcome, PeerView, Routes,
    Verdict, View,
};
use crate::types::{
    Assignment, Beat, CloudFault, CloudFaultKind, Fitness, Group, Hears, InstanceId, InstanceState,
    Location, Member, NetworkInterfaceId, PowerReport, Resource, ResourceKind, Roster, RouteEntry,
    RouteTableId, RouteTarget, RouteWrite, SessionId, StopOrigin, Time,
};

/// The machine's own session.
pub(super) const SESSION: SessionId = SessionId(7);
/// The digest of its settings.
pub(super) const DIGEST: u64 = 1;
/// Stands for a NAT gateway among the numbers of nodes.
pub(super) const GATEWAY: usize = 99;
/// How long EC2 takes for an answer, and how often the bench looks up.
pub(super) const STEP: u64 = 10;

/// What becomes of calls of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    /// Refused.
    No(CloudFaultKind),
    /// It takes effect, and the answer says that nothing is known.
    Lost,
    /// The machine was paused before it was sent.
    Expired,
    /// Answered after seven seconds; reads only.
    Slow,
    /// Never answered.
    Never,
}

/// The machine of node `me`, its peers' voices, and EC2. Node `n` is the home of group `g<n>`
/// with table `table(n)`.
pub(super) struct TestBench {
    pub(super) machine: Machine,
    pub(super) now: Time,
    pub(super) timing: Timing,
    /// Whose heartbeats arrive, and what they say.
    pub(super) beats: BTreeMap<usize, Beat>,
    /// Whose hosts answer echo.
    pub(super) echo: BTreeSet<usize>,
    /// The tables that exist, and where their default route leads.
    pub(super) routes: BTreeMap<RouteTableId, Option<RouteEntry>>,
    /// Who holds what is no route.
    pub(super) holders: BTreeMap<Resource, Location>,
    /// What this node may not write.
    pub(super) denied: BTreeSet<ResourceKind>,
    pub(super) power: BTreeMap<InstanceId, PowerReport>,
    pub(super) reads: Answer,
    /// Whether only reads of routes go without an answer.
    pub(super) hides_routes: bool,
    /// Kinds of what is no route of which nobody answers how they are.
    pub(super) hidden: BTreeSet<ResourceKind>,
    pub(super) writes: Answer,
    pub(super) calls: Answer,
    pub(super) notes: Answer,
    /// Everything the machine wanted done.
    pub(super) told: Vec<(Time, Action)>,
    waiting: Vec<(Time, Input)>,
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

pub(super) fn route(n: usize) -> Resource {
    Resource::DefaultRoute { table: table(n), cidr: "0.0.0.0/0".parse().unwrap() }
}

#[expect(clippy::unnecessary_wraps, reason = "a table may also have no such route")]
pub(super) fn to(n: usize) -> Option<RouteEntry> {
    Some(RouteEntry { target: RouteTarget::Interface(eni(n)), blackhole: false })
}

#[expect(clippy::unnecessary_wraps, reason = "a table may also have no such route")]
pub(super) fn dark(n: usize) -> Option<RouteEntry> {
    Some(RouteEntry { target: RouteTarget::Interface(eni(n)), blackhole: true })
}

#[expect(clippy::unnecessary_wraps, reason = "a table may also have no such route")]
pub(super) fn abroad() -> Option<RouteEntry> {
    Some(RouteEntry { target: RouteTarget::Other("nat-0abc".to_owned()), blackhole: false })
}

pub(super) fn report(state: InstanceState) -> PowerReport {
    PowerReport { state: Some(state), ..stopped_by(StopOrigin::Unknown) }
}

pub(super) fn stopped_by(stop_origin: StopOrigin) -> PowerReport {
    PowerReport { state: Some(InstanceState::Stopped), stop_origin, impaired: false, reason: None }
}

pub(super) fn member(n: usize) -> Member {
    Member {
        id: id(n),
        interface: eni(n),
        address: [10, 0, 0, u8::try_from(10 + n).unwrap()].into(),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: BTreeMap::new(),
    }
}

pub(super) fn group(n: usize) -> Group {
    Group {
        name: format!("g{n}").parse().unwrap(),
        home: Some(id(n)),
        resources: vec![route(n)],
        prefer: Vec::new(),
        traits: crate::types::Traits::default(),
        egress: crate::types::Egress::default(),
        networks: Vec::new(),
    }
}

pub(super) fn roster(nodes: usize) -> Roster {
    Roster { members: (0..nodes).map(member).collect(), groups: (0..nodes).map(group).collect() }
}

/// Numbers of the tests' own, so that a change of the defaults changes no test: a peer is late
/// after 150 ms and lost after 300 ms.
pub(super) fn timing() -> Timing {
    let mut timing = Timing { interval: millis(100), lost_after: 3, ..Timing::default() };
    timing.repair.settle = secs(10);
    timing
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl TestBench {
    /// Node 0 of `nodes`, all well, each group on its home, three seconds after its start.
    pub(super) fn new(nodes: usize) -> Self {
        Self::with(nodes, timing())
    }

    pub(super) fn with(nodes: usize, timing: Timing) -> Self {
        let mut bench = Self::starting(0, nodes, timing);
        bench.run(3_000);
        bench
    }

    /// Node `me`, at the moment of its start.
    pub(super) fn starting(me: usize, nodes: usize, timing: Timing) -> Self {
        Self::of(me, &roster(nodes), timing)
    }

    /// The same in a cluster like this.
    pub(super) fn of(me: usize, roster: &Roster, timing: Timing) -> Self {
        let now = Time::from_millis(1_000_000);
        let nodes = roster.members.len();
        let machine = Machine::new(&id(me), SESSION, timing.clone(), DIGEST, roster, now);
        let peers = (0..nodes).filter(|n| *n != me);
        Self {
            machine,
            now,
            timing,
            beats: peers.clone().map(|n| (n, Self::fine(me))).collect(),
            echo: peers.collect(),
            routes: (0..nodes).map(|n| (table(n), to(n))).collect(),
            holders: BTreeMap::new(),
            denied: BTreeSet::new(),
            power: (0..nodes).map(|n| (id(n), report(InstanceState::Running))).collect(),
            reads: Answer::Yes,
            hides_routes: false,
            hidden: BTreeSet::new(),
            writes: Answer::Yes,
            calls: Answer::Yes,
            notes: Answer::Yes,
            told: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// The heartbeat of a node that is well and hears `me`.
    pub(super) fn fine(me: usize) -> Beat {
        Beat {
            settings_digest: DIGEST,
            hears: vec![Hears {
                node: id(me),
                session: SESSION,
                age_ms: 0,
                failed: false,
                stopped: false,
            }],
            ..Beat::default()
        }
    }

    /// Nothing is heard of node `n` any more, not even an echo.
    pub(super) fn lose(&mut self, n: usize) {
        self.beats.remove(&n);
        self.echo.remove(&n);
    }

    pub(super) fn beat_mut(&mut self, n: usize) -> &mut Beat {
        self.beats.get_mut(&n).unwrap()
    }

    pub(super) fn give(&mut self, input: Input) {
        self.machine.handle(input, self.now);
    }

    pub(super) fn command(&mut self, command: Command) {
        self.give(Input::Command { command });
    }

    pub(super) fn fitness(&mut self, fitness: Fitness) {
        self.give(Input::Fitness { fitness });
    }

    /// Lets time pass without a turn, as when this node is paused.
    pub(super) fn pause(&mut self, ms: u64) {
        self.now = self.now + millis(ms);
    }

    /// Lets `ms` milliseconds pass.
    pub(super) fn run(&mut self, ms: u64) {
        assert!(ms.is_multiple_of(STEP), "the bench looks up every {STEP} ms");
        let end = self.now + millis(ms);
        while self.now < end {
            self.now = self.next_moment().min(end);
            self.step();
        }
    }

    /// Lets time pass until `holds`, for at most `ms` milliseconds. Says how much has passed.
    pub(super) fn run_until(&mut self, ms: u64, holds: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now;
        while !holds(self) {
            assert!(self.now.since(begun) < millis(ms), "did not come true: {:#?}", self.texts());
            self.now = self.next_moment();
            self.step();
        }
        self.now.since(begun)
    }

    /// When something happens next, as seen by one who looks up every [`STEP`].
    fn next_moment(&self) -> Time {
        let grid = |time: Time, step: u128| {
            let ms = time.since_boot().as_micros().div_ceil(1_000).div_ceil(step) * step;
            Time::from_millis(ms.try_into().unwrap())
        };
        let soonest = self.now + millis(STEP);
        let beat = grid(soonest, self.timing.interval.as_millis());
        let waiting = self.waiting.iter().map(|(at, _)| *at);
        let next = waiting.chain([beat, self.machine.next_deadline()]).min();
        grid(next.unwrap_or(beat).max(soonest), u128::from(STEP))
    }

    /// Hands over what EC2 has answered by `now`.
    pub(super) fn answer(&mut self, now: Time) {
        let (due, waiting) = self.waiting.drain(..).partition(|(at, _)| *at <= now);
        self.waiting = waiting;
        let due: Vec<(Time, Input)> = due;
        for (_, input) in due {
            self.give(input);
        }
    }

    fn step(&mut self) {
        let now = self.now;
        self.answer(now);
        let interval = self.timing.interval.as_millis();
        if self.now.since_boot().as_millis().is_multiple_of(interval) {
            for (n, beat) in self.beats.clone() {
                let session = SessionId(100 + n as u64);
                self.give(Input::Beat { from: id(n), session, beat, at: now });
            }
        }
        if self.machine.next_deadline() <= now {
            self.machine.tick(now);
        }
        self.poll();
    }

    /// Takes what the machine wants done, and does it.
    pub(super) fn poll(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            self.told.push((self.now, action.clone()));
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::SendEcho { to } => {
                let at = self.now + millis(STEP);
                if self.echo.iter().any(|n| id(*n) == to) {
                    self.waiting.push((at, Input::Echo { from: to, at }));
                }
            }
            Action::ReadRoutes { .. } if self.hides_routes => {}
            Action::ReadRoutes { id, tables } => {
                let seen = tables.into_iter().filter_map(|table| {
                    let entry = self.routes.get(&table)?.clone();
                    let cidr = "0.0.0.0/0".parse().unwrap();
                    let routes = entry.map(|entry| (cidr, entry)).into_iter().collect();
                    Some((table, Routes(routes)))
                });
                let result = Ok(seen.collect());
                self.answer_read(id, |fault| Outcome::Routes { result: fault.map_or(result, Err) });
            }
            Action::ReadPower { id, node } => {
                let result = Ok(self.power[&node].clone());
                self.answer_read(id, |fault| Outcome::Power { result: fault.map_or(result, Err) });
            }
            Action::WriteRoute { id, .. } if self.denied.contains(&ResourceKind::Route) => {
                self.answer_write(id, Answer::No(CloudFaultKind::Denied));
            }
            Action::WriteRoute { id, write, .. } => {
                if matches!(self.writes, Answer::Yes | Answer::Lost) {
                    let entry = RouteEntry::active(write.via.target());
                    self.routes.insert(write.table, Some(entry));
                }
                self.answer_write(id, self.writes);
            }
            Action::ReadHolders { resources, .. }
                if resources.iter().any(|one| self.hidden.contains(&one.kind())) => {}
            Action::ReadHolders { id, resources } => {
                let seen = |one: Resource| {
                    let seen = self.holders.get(&one).cloned().unwrap_or(Location::Absent);
                    (one, seen)
                };
                let result = Ok(resources.into_iter().map(seen).collect());
                let outcome =
                    |fault: Option<_>| Outcome::Holders { result: fault.map_or(result, Err) };
                self.answer_read(id, outcome);
            }
            Action::Assign { id, assignment, .. } => {
                if self.denied.contains(&assignment.resource.kind()) {
                    return self.answer_write(id, Answer::No(CloudFaultKind::Denied));
                }
                if matches!(self.writes, Answer::Yes | Answer::Lost) {
                    self.assign(assignment);
                }
                self.answer_write(id, self.writes);
            }
            Action::Stop { id, .. } | Action::Start { id, .. } => self.answer_write(id, self.calls),
            Action::Remember { id, .. } => self.answer_write(id, self.notes),
            Action::SendBeat { .. } | Action::Probe | Action::Report { .. } | Action::MayExit => {}
        }
    }

    /// What EC2 and Route 53 do: an Elastic IP goes along with the private IP that it is on.
    fn assign(&mut self, assignment: Assignment) {
        let Assignment { resource, interface, address, only_if_free: _ } = assignment;
        let target = match resource {
            Resource::Dns { .. } | Resource::EgressIp { .. } => RouteTarget::Address(address),
            _ => RouteTarget::Interface(interface),
        };
        for (other, seen) in &mut self.holders {
            let goes_along = match (other, &resource) {
                (Resource::Eip { on, .. }, Resource::PrivateIp { address }) => {
                    *on == Some(*address)
                }
                _ => false,
            };
            if goes_along || *other == resource {
                *seen = Location::At(target.clone());
            }
        }
    }

    fn answer_read(&mut self, id: ActionId, outcome: impl FnOnce(Option<CloudFault>) -> Outcome) {
        let mut wait = millis(STEP);
        let fault = match self.reads {
            Answer::Yes => None,
            Answer::Slow => {
                wait = secs(7);
                None
            }
            Answer::No(kind) => Some(fault(kind)),
            Answer::Lost | Answer::Expired | Answer::Never => return,
        };
        let input = Input::Done { id, outcome: outcome(fault) };
        self.waiting.push((self.now + wait, input));
    }

    fn answer_write(&mut self, id: ActionId, answer: Answer) {
        let outcome = match answer {
            Answer::Yes => Outcome::Written { result: Ok(()) },
            Answer::No(kind) => Outcome::Written { result: Err(fault(kind)) },
            Answer::Lost => Outcome::Written { result: Err(fault(CloudFaultKind::Unknown)) },
            Answer::Expired => Outcome::Expired,
            Answer::Slow | Answer::Never => return,
        };
        self.waiting.push((self.now + millis(STEP), Input::Done { id, outcome }));
    }

    pub(super) fn view(&self) -> View {
        self.machine.view(self.now)
    }

    pub(super) fn peer(&self, n: usize) -> PeerView {
        self.view().peers[&id(n)].clone()
    }

    pub(super) fn verdict(&self, n: usize) -> Verdict {
        self.peer(n).verdict
    }

    /// What this machine makes of `g<n>`, in words.
    pub(super) fn doing(&self, n: usize) -> Option<String> {
        self.view().groups[&group(n).name].doing.clone()
    }

    pub(super) fn writes(&self) -> Vec<RouteWrite> {
        let write = |(_, action): &(Time, Action)| match action {
            Action::WriteRoute { write, .. } => Some(write.clone()),
            _ => None,
        };
        self.told.iter().filter_map(write).collect()
    }

    /// The tables it wrote, and to whose interface, as numbers of nodes or as [`GATEWAY`].
    pub(super) fn moved(&self) -> Vec<(usize, usize)> {
        let number = |write: &RouteWrite| {
            let of = (0..16).find(|n| table(*n) == write.table).unwrap();
            (of, (0..16).find(|n| write.via.interface() == Some(&eni(*n))).unwrap_or(GATEWAY))
        };
        self.writes().iter().map(number).collect()
    }

    pub(super) fn stops(&self) -> Vec<(usize, bool)> {
        let stop = |(_, action): &(Time, Action)| match action {
            Action::Stop { node, force, .. } => {
                Some(((0..16).find(|n| id(*n) == *node).unwrap(), *force))
            }
            _ => None,
        };
        self.told.iter().filter_map(stop).collect()
    }

    pub(super) fn starts(&self) -> usize {
        self.count(|action| matches!(action, Action::Start { .. }))
    }

    pub(super) fn count(&self, is_it: impl Fn(&Action) -> bool) -> usize {
        self.told.iter().filter(|(_, action)| is_it(action)).count()
    }

    /// What it asked to be kept over a restart, last of all.
    pub(super) fn remembered(&self) -> Option<BTreeSet<InstanceId>> {
        self.told.iter().rev().find_map(|(_, action)| match action {
            Action::Remember { stopped, .. } => Some(stopped.clone()),
            _ => None,
        })
    }

    pub(super) fn events(&self, kind: EventKind) -> Vec<Event> {
        let event = |(_, action): &(Time, Action)| match action {
            Action::Report { event } if event.kind == kind => Some(event.clone()),
            _ => None,
        };
        self.told.iter().filter_map(event).collect()
    }

    pub(super) fn texts(&self) -> Vec<String> {
        let text = |(_, action): &(Time, Action)| match action {
            Action::Report { event } => Some(event.text.clone()),
            _ => None,
        };
        self.told.iter().filter_map(text).collect()
    }
}

pub(super) fn fault(kind: CloudFaultKind) -> CloudFault {
    CloudFault { kind, call: "Call".to_owned(), message: "staged".to_owned() }
}

/// EC2's status check of a running node fails.
pub(super) fn impaired() -> PowerReport {
    PowerReport { impaired: true, ..report(InstanceState::Running) }
}
