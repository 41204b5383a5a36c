//! A few machines, a network, and EC2, on one virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use natha::config::Timing;
use natha::failover::{Command, Event, EventKind, Input, Verdict};
use natha::record::Header;
use natha::types::{
    Fitness, Group, InstanceId, InstanceState, Member, Resource, ResourceKind, Roster, SessionId,
    Time,
};
use natha_lab::ec2::{Principal, World};

use super::account::{Part, account};
use super::ec2::{Done, Mutation};
use super::names::roster;
use super::net::Burst;
use super::node::{Arrival, Node};
use super::noise::Noise;
use super::queue::{Queue, What};

/// How long a monitor has run when its first service checks have an outcome.
const CHECKED_AFTER: Duration = Duration::from_millis(300);

/// A directed pair of nodes.
pub type Pair = (usize, usize);

/// The whole world. In a plain one, node `n` has its home group `g<n>` with table `table(n)`.
#[derive(Debug)]
pub struct Sim {
    /// What time it is.
    pub now: Time,
    /// The nodes, by number.
    pub nodes: Vec<Node>,
    /// Every change that EC2 accepted.
    pub done: Vec<Done>,
    /// How often a node read something; one such read may be two calls.
    pub reads: usize,
    /// How many API calls have reached EC2.
    pub calls: u64,
    /// Directed pairs whose heartbeats are lost.
    pub deaf: BTreeSet<Pair>,
    /// Directed pairs whose echo requests or replies are lost.
    pub no_echo: BTreeSet<Pair>,
    /// Packets lost of a thousand, for heartbeats and echo alike.
    pub loss: BTreeMap<Pair, u64>,
    /// Links that fail for a while again and again.
    pub bursts: BTreeMap<Pair, Burst>,
    /// Packets delivered twice, of a thousand.
    pub duplicates: u64,
    /// The least time that a packet takes.
    pub wire: Duration,
    /// The longest extra time that a packet takes. More than `interval`, and packets overtake.
    pub jitter: Duration,
    /// Pauses of each whole node: the mean time between two, and how long each lasts.
    pub pauses: Option<(Duration, Duration)>,
    /// The settings of all nodes.
    pub timing: Timing,
    /// How long an API call takes, half of it on the way there.
    pub latency: Duration,
    /// How far a read may lag behind what EC2 does.
    pub read_lag: Duration,
    /// How often a list with a filter lacks an entry, and an answer by ids all of them, of a
    /// thousand times.
    pub omits: u64,
    /// How long a guest boots once its instance runs.
    pub guest_boot: Duration,
    /// Whether stops are held up on their way.
    pub hold_stops: bool,
    /// The stops that are, and by whom they were sent.
    pub held: Vec<(usize, Mutation)>,
    /// Whether the rules are enforced.
    pub strict: bool,
    /// Whether a broken rule is only noted in `breaches`; otherwise it panics.
    pub tolerant: bool,
    /// The rules that were broken.
    pub breaches: Vec<String>,
    /// What is staged, for messages.
    pub label: String,
    /// What was staged, for the story.
    pub staged: Vec<(Time, String)>,
    /// Chance.
    pub noise: Noise,
    pub(super) world: World,
    pub(super) principals: Vec<Principal>,
    pub(super) gateway: String,
    /// The public subnet of the account.
    pub(super) subnet: String,
    /// An interface outside of the cluster, if there is one.
    pub(super) outsider: Option<String>,
    /// Since when it has had each of its private IPs.
    pub(super) outside: BTreeMap<Ipv4Addr, Time>,
    /// When EC2 next does something by itself.
    pub(super) ec2_due: Option<Time>,
    /// The groups that the account was made for, and the nodes.
    pub(super) groups: Vec<Group>,
    pub(super) members: Vec<Member>,
    /// Everything that they are made of, by group.
    pub(super) parts: Vec<Part>,
    /// Since when each node's host has carried each group's addresses, or not, wrongly.
    pub(super) carried_since: BTreeMap<Pair, Time>,
    /// When the hosts are looked at next.
    pub(super) hosts_due: Time,
    pub(super) queue: Queue,
    pub(super) ids: Vec<InstanceId>,
    /// Since when each group has been split with nothing wrong.
    pub(super) split_since: Vec<Option<Time>>,
    runs: u64,
    /// Time each group led, in whole or in part, to a node that does not forward.
    outage: Vec<Duration>,
    pub(super) roster: Roster,
}

impl Sim {
    /// `nodes` healthy nodes that have run for three seconds, each group on its home.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self::with(nodes, Timing::default())
    }

    /// The same with these settings.
    #[must_use]
    pub fn with(nodes: usize, timing: Timing) -> Self {
        Self::seeded(nodes, timing, 1)
    }

    /// The same with chance drawn from `seed`.
    #[must_use]
    pub fn seeded(nodes: usize, timing: Timing, seed: u64) -> Self {
        Self::of(roster(nodes), timing, seed)
    }

    /// The same of other nodes and groups, each of which has a home.
    ///
    /// # Panics
    /// Where a group has none, or two resources are in each other's place.
    #[must_use]
    pub fn of(roster: Roster, timing: Timing, seed: u64) -> Self {
        let now = Time::from_millis(1_000_000);
        let (world, gateway, subnet) = account(&roster, now);
        let members = roster.members.clone();
        let ids: Vec<InstanceId> = members.iter().map(|member| member.id.clone()).collect();
        let parts = roster.groups.iter().enumerate().flat_map(|(group, spec)| {
            let part = move |resource: &Resource| Part {
                group,
                resource: resource.clone(),
                holder: None,
                since: now,
            };
            spec.resources.iter().map(part)
        });
        let mut sim = Self {
            now,
            nodes: ids.iter().map(Node::new).collect(),
            done: Vec::new(),
            reads: 0,
            calls: 0,
            deaf: BTreeSet::new(),
            no_echo: BTreeSet::new(),
            loss: BTreeMap::new(),
            bursts: BTreeMap::new(),
            duplicates: 0,
            wire: Duration::from_millis(1),
            jitter: Duration::ZERO,
            pauses: None,
            timing,
            latency: Duration::from_millis(50),
            read_lag: Duration::ZERO,
            omits: 0,
            guest_boot: Duration::ZERO,
            hold_stops: false,
            held: Vec::new(),
            strict: true,
            tolerant: false,
            breaches: Vec::new(),
            label: "a plain run".to_owned(),
            staged: Vec::new(),
            noise: Noise::new(seed),
            world,
            principals: ids.iter().map(|id| Principal::Instance(id.to_string())).collect(),
            gateway,
            subnet,
            outsider: None,
            outside: BTreeMap::new(),
            ec2_due: None,
            parts: parts.collect(),
            members,
            outage: vec![Duration::ZERO; roster.groups.len()],
            groups: roster.groups.clone(),
            split_since: vec![None; roster.groups.len()],
            carried_since: BTreeMap::new(),
            hosts_due: now,
            queue: Queue::default(),
            ids,
            runs: 0,
            roster,
        };
        sim.refresh();
        for n in 0..sim.nodes.len() {
            sim.nodes[n].failing = Some(BTreeSet::new());
            sim.boot(n);
        }
        sim.run(3_000);
        sim
    }

    /// Starts node `n`'s monitor.
    pub fn boot(&mut self, n: usize) {
        self.boot_as(n);
    }

    /// The same; what its machine is made of.
    pub(super) fn boot_as(&mut self, n: usize) -> Header {
        self.runs += 1;
        // Any numbers will do that differ; the machine draws its jitter from them.
        let session = SessionId(Noise::new(self.noise.draw() ^ self.runs).draw());
        let timing = self.timing.clone();
        let node = &mut self.nodes[n];
        if !node.kernel {
            node.met_long_ago.append(&mut node.met);
        }
        let fitness = node.restart_probes();
        let header = Header {
            fitness,
            stopped: self.nodes[n].remembered.clone(),
            heard: self.nodes[n].met.clone(),
            heard_long_ago: self.nodes[n].met_long_ago.clone(),
            latches: self.nodes[n].latches.clone(),
            ..Header::new(&self.ids[n], session, timing, 1, &self.roster, self.now)
        };
        self.nodes[n].begin(header.machine(), &self.ids[n], session);
        self.nodes[n].watch.awake_since = self.now;
        self.tell_checks(n, CHECKED_AFTER);
        header
    }

    /// The service checks of exactly these groups fail on node `n` from now on.
    pub fn set_failing(&mut self, n: usize, failing: &[usize]) {
        let names = failing.iter().map(|of| self.groups[*of].name.clone());
        self.nodes[n].failing = Some(names.collect());
        self.tell_checks(n, Duration::ZERO);
    }

    /// Tells node `n`'s monitor what its service checks find, where there are any.
    fn tell_checks(&mut self, n: usize, after: Duration) {
        if self.groups.iter().any(|group| group.traits.checked) {
            self.schedule(after, What::Checked(n, self.nodes[n].session));
        }
    }

    /// Everything in node `n` stops at once; EC2 sees nothing of it.
    pub fn panic(&mut self, n: usize) {
        self.nodes[n].machine = None;
        self.nodes[n].kernel = false;
    }

    /// Only the monitor dies.
    pub fn kill_daemon(&mut self, n: usize) {
        self.nodes[n].machine = None;
    }

    /// Nothing in node `n` runs until it is thawed.
    pub fn freeze(&mut self, n: usize) {
        self.nodes[n].frozen = true;
        self.nodes[n].watch.pause(self.now);
    }

    /// Ends what [`Sim::freeze`] began. What arrived meanwhile is taken in and answered now.
    pub fn thaw(&mut self, n: usize) {
        let now = self.now;
        self.nodes[n].frozen = false;
        self.nodes[n].stamp(now);
        for from in std::mem::take(&mut self.nodes[n].asked) {
            self.answer_echo(n, from);
        }
        self.nodes[n].watch.resume(now, self.timing.detection(), kinds(&self.parts));
    }

    /// From now on each node is paused for `lasting` once in `every` on average.
    pub fn pause_often(&mut self, every: Duration, lasting: Duration) {
        self.pauses = Some((every, lasting));
        (0..self.nodes.len()).for_each(|n| self.plan_pause(n));
    }

    pub(super) fn plan_pause(&mut self, n: usize) {
        if let Some((every, _)) = self.pauses {
            let after = self.noise.wait(every);
            self.schedule(after, What::Pause(n));
        }
    }

    /// Node `n`'s monitor alone does not run until it is resumed.
    pub fn stall(&mut self, n: usize) {
        self.nodes[n].stalled = true;
        self.nodes[n].watch.pause(self.now);
    }

    /// Ends what [`Sim::stall`] began.
    pub fn resume(&mut self, n: usize) {
        self.nodes[n].stalled = false;
        self.nodes[n].watch.resume(self.now, self.timing.detection(), kinds(&self.parts));
    }

    /// Node `n` finds this out about itself.
    pub fn set_fitness(&mut self, n: usize, fitness: Fitness) {
        self.tell(n, Input::Fitness { fitness });
    }

    /// Node `n`'s host tells its monitor something.
    pub fn tell(&mut self, n: usize, input: Input) {
        self.schedule(Duration::ZERO, What::Arrives(n, Arrival::Input(input)));
    }

    /// An operator asks something of node `n`.
    pub fn command(&mut self, n: usize, command: Command) {
        self.nodes[n].watch.leaving |= command == Command::Leave;
        let arrival = Arrival::Input(Input::Command { command });
        self.schedule(Duration::ZERO, What::Arrives(n, arrival));
    }

    /// Every node learns of a new roster.
    pub fn enrol(&mut self, roster: Roster) {
        for n in 0..self.nodes.len() {
            let arrival = Arrival::Input(Input::Roster { roster: roster.clone() });
            self.schedule(Duration::ZERO, What::Arrives(n, arrival));
        }
        self.roster = roster;
    }

    /// No heartbeat between `a` and `b`, in either direction.
    pub fn block_heartbeats(&mut self, a: usize, b: usize) {
        self.deaf.extend([(a, b), (b, a)]);
    }

    /// No echo between `a` and `b`, in either direction.
    pub fn block_echo(&mut self, a: usize, b: usize) {
        self.no_echo.extend([(a, b), (b, a)]);
    }

    /// Node `by`'s verdict on node `of`.
    ///
    /// # Panics
    /// Where node `by` runs no monitor.
    #[must_use]
    pub fn verdict(&self, of: usize, by: usize) -> Verdict {
        let machine = self.nodes[by].machine.as_ref().expect("its monitor runs");
        machine.view(self.now).peers[&self.ids[of]].verdict
    }

    /// For how many milliseconds group `of`, or a part of it, led to a node through which no packet
    /// got out and back.
    #[must_use]
    pub fn outage_ms(&self, of: usize) -> u128 {
        self.outage[of].as_millis()
    }

    /// What node `n` said of one kind.
    #[must_use]
    pub fn events(&self, n: usize, kind: EventKind) -> Vec<&Event> {
        self.nodes[n].events.iter().filter(|event| event.kind == kind).collect()
    }

    /// Lets time pass until `holds`, for at most `ms` milliseconds.
    ///
    /// # Panics
    /// If it never does.
    pub fn run_until(&mut self, ms: u64, holds: impl Fn(&Self) -> bool) {
        assert!(self.comes(ms, holds), "{}: did not come true within {ms} ms", self.label);
    }

    /// Lets time pass until `holds`, for at most `ms` milliseconds. Says whether it does.
    pub fn comes(&mut self, ms: u64, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end && !holds(self) {
            self.run(1);
        }
        holds(self)
    }

    /// Notes for the story what is done to the cluster.
    pub fn stage(&mut self, what: String) {
        self.staged.push((self.now, what));
    }

    /// The number of a node.
    pub(super) fn index(&self, node: &InstanceId) -> usize {
        let found = self.ids.iter().position(|id| id == node);
        found.expect("machines speak only of members")
    }

    /// Books an outage for every group of which a part leads to a node through which no packet gets
    /// out and back.
    pub(super) fn account(&mut self, passed: Duration) {
        let is_dark = |part: &&Part| part.holder.is_none_or(|n| !self.nodes[n].serves());
        let mut last = None;
        for part in self.parts.iter().filter(is_dark) {
            // The parts of a group are side by side.
            if last.replace(part.group) != Some(part.group) {
                self.outage[part.group] += passed;
            }
        }
    }

    /// An instance enters a state.
    pub(super) fn enter(&mut self, n: usize, state: InstanceState) {
        self.nodes[n].power = state;
        match state {
            InstanceState::Stopped | InstanceState::Terminated => self.panic(n),
            InstanceState::Running if self.guest_boot.is_zero() => self.come_up(n),
            InstanceState::Running => self.schedule(self.guest_boot, What::GuestUp(n)),
            _ => {}
        }
    }

    /// A guest has booted.
    pub(super) fn come_up(&mut self, n: usize) {
        if self.nodes[n].power == InstanceState::Running {
            self.nodes[n].frozen = false;
            self.boot(n);
        }
    }
}

/// The kinds of resources that there are.
fn kinds(parts: &[Part]) -> impl Iterator<Item = ResourceKind> {
    parts.iter().map(|part| part.resource.kind())
}
