//! Random faults by seed: the rules hold throughout, and when all is mended, every heir ends up
//! with what its owners have.

use std::time::Duration;

use crate::sim::Noise;

use super::names::EGRESS_IPS;
use super::node::Keyring;
use super::rules::Tried;
use super::world::World;

/// How long faults come.
const STORM: Duration = Duration::from_mins(3);
/// How long nodes may take afterwards, while the private hosts go on, and then without them: longer
/// than an owner's looks are apart.
const CALM: Duration = Duration::from_secs(30);
const REST: Duration = Duration::from_secs(45);
/// In how many turns of a thousand something happens on the private hosts.
const ACTS: u64 = 300;
/// For how long a host is down that boots before it is missed.
const BLINK: Duration = Duration::from_millis(300);

/// A fault that ends.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Nothing arrives from one node at another.
    Stalled(usize, usize),
    /// A node's kernel has no room for its news.
    Full(usize),
    /// A node's monitor does not come to read them.
    Slow(usize),
    /// It does not run.
    Stopped(usize),
    /// A node's host does not run.
    Down(usize),
    /// A node has other settings.
    Settings(usize),
    /// It has another cluster's key.
    Key(usize),
}

/// A storm and what is left of it.
struct Chaos {
    world: World,
    faults: usize,
    /// What is broken, and when it is mended.
    troubles: Vec<(Duration, Trouble)>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut noise = Noise::new(seed);
        let (nodes, waiting) = (noise.pick(&[2, 3]), noise.pick(&[20, 1_000]));
        let per_second = noise.pick(&[30_000, 10_000_000]);
        let latency = Duration::from_millis(noise.pick(&[1, 40, 150]));
        let mut world = World::new(nodes, waiting, per_second, noise.draw());
        world.latency = latency;
        Self { world, faults: 0, troubles: Vec::new() }
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.world.noise.below(end)).unwrap_or_default()
    }

    /// A time: short ones and long ones alike.
    fn span(&mut self) -> Duration {
        let most = self.world.noise.pick(&[300, 2_000, 10_000, 40_000]);
        Duration::from_millis(50 + self.world.noise.below(most))
    }

    fn storm(&mut self) {
        while self.world.now < STORM {
            let pause = self.span() / 3;
            self.pass(pause);
            self.strike();
        }
    }

    /// Lets time pass and mends what is due.
    fn pass(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            let next = self.troubles.iter().map(|(at, _)| *at).min().unwrap_or(end).min(end);
            let step = next.saturating_sub(self.world.now);
            self.world.run(step, ACTS);
            while let Some(due) = self.troubles.iter().position(|(at, _)| *at <= self.world.now) {
                let (_, trouble) = self.troubles.swap_remove(due);
                self.mend(trouble);
            }
        }
    }

    /// Breaks one more thing.
    fn strike(&mut self) {
        let nodes = self.world.nodes.len();
        let n = self.below(nodes);
        let m = (n + 1 + self.below(nodes - 1)) % nodes;
        self.faults += 1;
        let trouble = match self.below(20) {
            0..=2 => self.stall(n, m),
            3 => {
                let back = self.stall(m, n);
                self.trouble(back);
                self.stall(n, m)
            }
            4 => return self.world.close((n, m)),
            5 => return self.attack(n, m, true),
            6 => return self.attack(n, m, false),
            7 => return self.world.restart_monitor(n),
            8 => self.stop(n),
            9 => self.crash(n),
            10 | 11 => return self.blink(n),
            12 | 13 => Some(self.fill(n)),
            14 => Some(self.slow_down(n)),
            15 => return self.fail_dump(n),
            16 => return self.give(m),
            17 => return self.seize(n),
            18 => Some(self.misconfigure(n)),
            _ => return self.roll_key(),
        };
        self.trouble(trouble);
    }

    fn trouble(&mut self, trouble: Option<Trouble>) {
        let Some(trouble) = trouble else { return };
        let span = self.span();
        self.world.tell(&format!("for {} ms: {trouble:?}", span.as_millis()));
        self.troubles.push((self.world.now + span, trouble));
    }

    fn stall(&mut self, from: usize, to: usize) -> Option<Trouble> {
        self.world.stalled.insert((from, to)).then_some(Trouble::Stalled(from, to))
    }

    /// An attacker changes what is under way between two nodes, or repeats what was sent before.
    fn attack(&mut self, owner: usize, heir: usize, damages: bool) {
        let World { streams, noise, now, .. } = &mut self.world;
        let Some(stream) = streams.get_mut(&(owner, heir)) else { return };
        let pipe = if noise.chance(700) { &mut stream.to_heir } else { &mut stream.to_owner };
        let is_done = if damages { pipe.damage(noise) } else { pipe.replay(*now, noise) };
        stream.is_damaged |= is_done && damages;
        if is_done {
            self.world.tell(&format!("the stream of {owner} to {heir} is attacked"));
        }
    }

    fn stop(&mut self, n: usize) -> Option<Trouble> {
        let runs = self.world.nodes[n].runs();
        self.world.stop_monitor(n);
        runs.then_some(Trouble::Stopped(n))
    }

    fn crash(&mut self, n: usize) -> Option<Trouble> {
        let is_up = self.world.nodes[n].down_since.is_none();
        if is_up {
            self.world.crash(n);
        }
        is_up.then_some(Trouble::Down(n))
    }

    /// A host boots so soon that no other node has missed it.
    fn blink(&mut self, n: usize) {
        if let Some(trouble) = self.crash(n) {
            self.world.tell(&format!("node {n} reboots"));
            self.troubles.push((self.world.now + BLINK, trouble));
        }
    }

    fn fill(&mut self, n: usize) -> Trouble {
        self.world.nodes[n].kernel.set_full(true);
        Trouble::Full(n)
    }

    fn slow_down(&mut self, n: usize) -> Trouble {
        self.world.nodes[n].is_slow = true;
        Trouble::Slow(n)
    }

    fn fail_dump(&mut self, n: usize) {
        self.world.nodes[n].fails_dump = true;
    }

    /// One of the egress IPs goes to node `to`, as planned.
    fn give(&mut self, to: usize) {
        let e = self.below(EGRESS_IPS);
        self.world.begin_move(e, to);
    }

    /// Node `n` takes what another has for dead, though that may live.
    fn seize(&mut self, n: usize) {
        let e = self.below(EGRESS_IPS);
        if self.world.nodes[n].runs() && self.world.at[e] != n {
            self.world.take_over(n, e);
        }
    }

    /// Node `n` gets other settings, or another cluster's key.
    fn misconfigure(&mut self, n: usize) -> Trouble {
        let node = &mut self.world.nodes[n];
        let trouble = if self.world.noise.chance(500) {
            node.settings = 2;
            Trouble::Settings(n)
        } else {
            node.keyring.is_foreign = true;
            Trouble::Key(n)
        };
        self.world.restart_monitor(n);
        trouble
    }

    /// One of the nodes that are behind goes one step further in the replacement of the key.
    fn roll_key(&mut self) {
        let step = |n: usize| self.world.nodes[n].keyring.step;
        let first = (0..self.world.nodes.len()).min_by_key(|n| step(*n)).unwrap_or_default();
        self.world.nodes[first].keyring.step += 1;
        self.world.restart_monitor(first);
    }

    fn mend(&mut self, trouble: Trouble) {
        self.world.tell(&format!("ends: {trouble:?}"));
        let world = &mut self.world;
        match trouble {
            Trouble::Stalled(from, to) => drop(world.stalled.remove(&(from, to))),
            Trouble::Full(n) => world.nodes[n].kernel.set_full(false),
            Trouble::Slow(n) => world.nodes[n].is_slow = false,
            Trouble::Stopped(n) => {
                let node = &world.nodes[n];
                if node.down_since.is_none() && !node.runs() {
                    world.start_monitor(n);
                }
            }
            Trouble::Down(n) => {
                if world.nodes[n].down_since.is_some() {
                    world.boot(n);
                }
            }
            Trouble::Settings(n) => {
                world.nodes[n].settings = 1;
                world.restart_monitor(n);
            }
            Trouble::Key(n) => {
                world.nodes[n].keyring.is_foreign = false;
                world.restart_monitor(n);
            }
        }
    }

    /// Mends everything, and gives all nodes the newest key.
    fn mend_all(&mut self) {
        for (_, trouble) in std::mem::take(&mut self.troubles) {
            self.mend(trouble);
        }
        let world = &mut self.world;
        let step = world.nodes.iter().map(|node| node.keyring.step).max().unwrap_or_default();
        for n in 0..world.nodes.len() {
            world.nodes[n].keyring = Keyring { step, is_foreign: false };
            if world.nodes[n].runs() {
                world.restart_monitor(n);
            } else {
                world.start_monitor(n);
            }
        }
    }
}

/// What came of one seed.
#[derive(Debug)]
pub struct Storm {
    /// The seed.
    pub seed: u64,
    /// The broken rules; none where all is well.
    pub breaches: Vec<String>,
    /// What happened, a line each.
    pub story: Vec<String>,
    /// How often the rules had something to judge.
    pub tried: Tried,
    /// How many faults there were.
    pub faults: usize,
    /// How much time passed in it.
    pub lasted: Duration,
}

/// Random faults by this seed, then calm.
#[must_use]
pub fn storm(seed: u64) -> Storm {
    let mut chaos = Chaos::new(seed);
    chaos.storm();
    chaos.mend_all();
    let Chaos { mut world, faults, .. } = chaos;
    world.tell("calm");
    world.run(CALM, ACTS);
    world.run(REST, 0);
    world.judge_rest();
    let (lasted, tried) = (world.now, world.tried);
    Storm { seed, breaches: world.breaches, story: world.story, tried, faults, lasted }
}
