//! The nodes, the network between them, and time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use natha::flows::{Rate, SenderLimits};
use natha::types::Time;

use crate::sim::Noise;

use super::moves::Move;
use super::names::{EGRESS_IPS, landing};
use super::node::{Monitor, Node};
use super::rules::Tried;
use super::streams::Stream;

/// One turn.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// How long after an egress IP has left a node its connections are removed there.
pub(super) const LEAVE: Duration = Duration::from_mins(1);

/// An owner and an heir.
pub(super) type Pair = (usize, usize);

/// Everything there is. Its time counts from its beginning; each host has a clock of its own.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) nodes: Vec<Node>,
    /// The node that has each egress IP, according to EC2.
    pub(super) at: Vec<usize>,
    /// By owner and heir.
    pub(super) streams: BTreeMap<Pair, Stream>,
    /// When owners call heirs again.
    pub(super) calls: BTreeMap<Pair, Duration>,
    /// From which node to which nothing arrives.
    pub(super) stalled: BTreeSet<Pair>,
    /// The planned moves that are under way.
    pub(super) moves: Vec<Move>,
    /// When which node finds out that it does not have which egress IP any more.
    pub(super) losses: Vec<(Duration, usize, usize)>,
    pub(super) limits: SenderLimits,
    /// The longest time that octets take.
    pub(super) latency: Duration,
    pub(super) noise: Noise,
    pub(super) tried: Tried,
    pub(super) breaches: Vec<String>,
    pub(super) story: Vec<String>,
    turns: u64,
}

impl World {
    /// Nodes that have just started, each egress IP at one of the first two.
    pub(super) fn new(nodes: usize, max_waiting: usize, per_second: u64, seed: u64) -> Self {
        // Clocks show different times.
        let clock = |n: usize| Duration::from_secs(1_000) * u32::try_from(1 + n).unwrap_or(1);
        let mut world = Self {
            now: Duration::ZERO,
            nodes: (0..nodes).map(|n| Node::new(n, clock(n))).collect(),
            at: (0..EGRESS_IPS).map(|e| e % nodes).collect(),
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
            stalled: BTreeSet::new(),
            moves: Vec::new(),
            losses: Vec::new(),
            limits: SenderLimits {
                max_flows: 1_000,
                max_waiting,
                min_age: Duration::ZERO,
                rate: Rate { max: per_second, share_percent: 0, min: per_second },
            },
            latency: Duration::from_millis(1),
            noise: Noise::new(seed),
            tried: Tried::default(),
            breaches: Vec::new(),
            story: Vec::new(),
            turns: 0,
        };
        (0..nodes).for_each(|n| world.start_monitor(n));
        world
    }

    /// What the clock of node `n` shows.
    pub(super) fn clock(&self, n: usize) -> Time {
        self.nodes[n].clock(self.now)
    }

    pub(super) fn is_stalled(&self, from: usize, to: usize) -> bool {
        self.stalled.contains(&(from, to))
    }

    /// Notes for the story what happens.
    pub(super) fn tell(&mut self, what: &str) {
        self.story.push(format!("{:>8} ms  {what}", self.now.as_millis()));
    }

    /// Lets time pass. The private hosts do something in a turn of so many of a thousand.
    pub(super) fn run(&mut self, time: Duration, per_mille: u64) {
        let end = self.now + time;
        while self.now < end {
            if self.noise.chance(per_mille) {
                self.act();
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.now += TICK;
        for n in 0..self.nodes.len() {
            self.turn_node(n);
        }
        self.turn_moves();
        for pair in self.pairs() {
            self.turn_stream(pair);
        }
        self.turns += 1;
        self.judge(self.turns.is_multiple_of(5));
    }

    fn turn_node(&mut self, n: usize) {
        let now = self.clock(n);
        let (at, total) = (&self.at, self.now);
        let node = &mut self.nodes[n];
        if node.down_since.is_some() {
            return;
        }
        node.kernel.expire(now);
        let due = node.leaves.extract_if(.., |_, at| *at <= total);
        let due: Vec<usize> = due.map(|(e, _)| e).collect();
        for e in due {
            if at[e] != n && !node.served.contains(&e) {
                node.kernel.remove_of(landing(n, e));
            }
        }
        match &mut node.monitor {
            Some(monitor) => {
                let (is_slow, fails) = (node.is_slow, node.fails_dump);
                if monitor.turn(&mut node.kernel, is_slow, fails, now) {
                    node.fails_dump = false;
                }
            }
            // Nothing listens.
            None => drop(node.kernel.take_news()),
        }
    }

    /// Node `n`'s monitor starts, and reads where the egress IPs are.
    pub(super) fn start_monitor(&mut self, n: usize) {
        let (now, leave) = (self.clock(n), self.now + LEAVE);
        let all = 0..self.nodes.len();
        let is_here = |e: &usize| self.at[*e] == n;
        let (here, elsewhere) = (0..EGRESS_IPS).partition::<BTreeSet<_>, _>(is_here);
        let node = &mut self.nodes[n];
        node.served = here;
        node.leaves = elsewhere.into_iter().map(|e| (e, leave)).collect();
        let heirs = all.filter(|heir| *heir != n);
        node.monitor = Some(Monitor::new(self.limits, heirs, &node.landings(), now));
    }

    /// Node `n`'s monitor ends. What it has sent still arrives.
    pub(super) fn stop_monitor(&mut self, n: usize) {
        self.nodes[n].monitor = None;
        for (_, stream) in self.streams.iter_mut().filter(|((owner, _), _)| *owner == n) {
            stream.is_orphaned = true;
        }
        self.abandon_moves(|one| one.from == n || one.to == n);
    }

    /// The same, and another one starts at once, if its host runs and had one.
    pub(super) fn restart_monitor(&mut self, n: usize) {
        if self.nodes[n].runs() {
            self.stop_monitor(n);
            self.start_monitor(n);
        }
    }

    /// Node `n`'s host stops at once.
    pub(super) fn crash(&mut self, n: usize) {
        self.stop_monitor(n);
        self.nodes[n].crash(self.now);
    }

    /// Node `n`'s host boots.
    pub(super) fn boot(&mut self, n: usize) {
        self.nodes[n].boot(self.now);
        self.start_monitor(n);
    }
}
