//! Random faults, many at once, on two and three nodes: the rules of `rules.rs` hold throughout,
//! and when all is repaired, each group ends at home and stays there.
//!
//! A failure names its seed. `NATHA_SEEDS=FIRST..LAST` runs others than the usual ones.

use std::time::Duration;

use super::cloud::Api;
use super::sim::{Sim, id};
use crate::config::Failover;
use crate::failover::Command;
use crate::failover::retry::Noise;
use crate::types::{CloudFaultKind, Fault, Fitness, InstanceState};

/// How long faults come.
const STORM: u64 = 5 * 60_000;
/// How long everything may take to be as it should be afterwards.
const CALM: u64 = 4 * 60_000;
/// And how long it is then watched.
const REST: u64 = 60_000;

/// A fault that ends.
enum Trouble {
    Loss(usize, usize),
    Deaf(usize, usize),
    Echo(usize, usize),
    Api(usize),
    Frozen(usize),
    Unfit(usize),
    NoDaemon(usize),
}

struct Chaos {
    sim: Sim,
    noise: Noise,
    /// What is broken, and when it is mended.
    troubles: Vec<(u64, Trouble)>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut noise = Noise::new(seed);
        let nodes = if noise.next().is_multiple_of(3) { 3 } else { 2 };
        let mut numbers = Failover::default();
        // People's patience is not what is tested.
        numbers.hand_back.hold = Duration::from_secs(10);
        numbers.hand_back.hold_max = Duration::from_secs(40);
        let mut sim = Sim::with(nodes, numbers);
        sim.label = format!("seed {seed}, {nodes} nodes");
        sim.noise = Noise::new(seed ^ 0x5eed);
        sim.jitter = Duration::from_millis(noise.next() % 60);
        sim.latency = Duration::from_millis(10 + noise.next() % 700);
        sim.read_lag = Duration::from_millis([0, 0, 500, 3_000][(noise.next() % 4) as usize]);
        Self { sim, noise, troubles: Vec::new() }
    }

    fn pick(&mut self, below: usize) -> usize {
        usize::try_from(self.noise.next() % u64::try_from(below).unwrap()).unwrap()
    }

    /// A time: short ones and long ones alike.
    fn span(&mut self) -> u64 {
        let most = [400, 3_000, 20_000, 120_000][self.pick(4)];
        50 + self.noise.next() % most
    }

    fn storm(&mut self) {
        let mut left = STORM;
        while left > 0 {
            let pause = (self.span() / 4).min(left);
            self.pass(pause);
            left -= pause;
            self.strike();
        }
        // Commands of the last moment arrive.
        self.pass(10);
    }

    /// Lets time pass and mends what is due.
    fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let next = self.troubles.iter().map(|(after, _)| *after).min().unwrap_or(left);
            let step = next.clamp(1, left);
            self.sim.run(step);
            left -= step;
            for (after, _) in &mut self.troubles {
                *after = after.saturating_sub(step);
            }
            while let Some(at) = self.troubles.iter().position(|(after, _)| *after == 0) {
                let (_, trouble) = self.troubles.swap_remove(at);
                self.mend(&trouble);
            }
        }
    }

    /// Breaks one more thing.
    fn strike(&mut self) {
        let nodes = self.sim.nodes.len();
        let n = self.pick(nodes);
        let m = (n + 1 + self.pick(nodes - 1)) % nodes;
        let span = self.span();
        let kind = self.pick(14);
        let trouble = match kind {
            0 | 1 => {
                let lost = [20, 100, 300, 700][self.pick(4)];
                self.sim.loss.insert((n, m), lost);
                Trouble::Loss(n, m)
            }
            2 | 3 => {
                self.sim.deaf.insert((n, m));
                Trouble::Deaf(n, m)
            }
            4 => {
                self.sim.no_echo.insert((n, m));
                Trouble::Echo(n, m)
            }
            5 => {
                self.sim.block_echo(n, m);
                self.sim.block_heartbeats(n, m);
                self.troubles.extend([
                    (span, Trouble::Deaf(m, n)),
                    (span, Trouble::Echo(n, m)),
                    (span, Trouble::Echo(m, n)),
                ]);
                Trouble::Deaf(n, m)
            }
            6 | 7 => {
                self.sim.nodes[n].api = [
                    Api::Hangs,
                    Api::Delays,
                    Api::LosesReplies,
                    Api::Fails(CloudFaultKind::Throttled),
                    Api::Fails(CloudFaultKind::Unreachable),
                ][self.pick(5)];
                Trouble::Api(n)
            }
            8 => {
                self.sim.freeze(n);
                Trouble::Frozen(n)
            }
            9 => {
                self.sim.set_fitness(n, Fitness::unfit(Fault::Uplink));
                Trouble::Unfit(n)
            }
            10 => {
                self.sim.kill_daemon(n);
                Trouble::NoDaemon(n)
            }
            11 if self.sim.nodes[n].kernel => return self.sim.boot(n),
            12 => return self.sim.panic(n),
            13 => {
                self.sim.command(n, Command::Leave);
                Trouble::NoDaemon(n)
            }
            _ => return,
        };
        self.troubles.push((span, trouble));
    }

    fn mend(&mut self, trouble: &Trouble) {
        let sim = &mut self.sim;
        match *trouble {
            Trouble::Loss(n, m) => drop(sim.loss.remove(&(n, m))),
            Trouble::Deaf(n, m) => drop(sim.deaf.remove(&(n, m))),
            Trouble::Echo(n, m) => drop(sim.no_echo.remove(&(n, m))),
            Trouble::Api(n) => sim.nodes[n].api = Api::Works,
            Trouble::Frozen(n) => sim.thaw(n),
            Trouble::Unfit(n) => sim.set_fitness(n, Fitness::fit()),
            Trouble::NoDaemon(n) => {
                let node = &sim.nodes[n];
                if node.kernel && (node.machine.is_none() || node.watch.leaving) {
                    sim.boot(n);
                }
            }
        }
    }

    /// Mends everything, as people would: what is dead is started by them.
    fn mend_all(&mut self) {
        for (_, trouble) in std::mem::take(&mut self.troubles) {
            self.mend(&trouble);
        }
        let sim = &mut self.sim;
        // What waited for a frozen node arrives.
        sim.run(10);
        for n in 0..sim.nodes.len() {
            sim.set_fitness(n, Fitness::fit());
            let power = sim.nodes[n].power;
            if power == InstanceState::Running && sim.nodes[n].machine.is_none() {
                sim.boot(n);
            }
        }
    }

    /// A person starts what stays stopped.
    fn start_stopped(&mut self) {
        for n in 0..self.sim.nodes.len() {
            if self.sim.nodes[n].power == InstanceState::Stopped {
                let start = super::cloud::Mutation::Start(id(n));
                self.sim.commit(n, start).expect("a stopped instance can be started");
            }
        }
    }

    fn check_rest(&mut self) {
        let sim = &mut self.sim;
        let label = sim.label.clone();
        let outage: Vec<u128> = (0..sim.nodes.len()).map(|n| sim.outage_ms(n)).collect();
        for n in 0..sim.nodes.len() {
            assert_eq!(sim.holder(n), Some(n), "{label}: group {n} is not at home");
        }
        let rest = sim.now;
        sim.run(REST);
        assert_eq!(sim.writes_since(rest), 0, "{label}: no rest: {:?}", sim.done);
        let after: Vec<u128> = (0..sim.nodes.len()).map(|n| sim.outage_ms(n)).collect();
        assert_eq!(outage, after, "{label}: an outage without a fault");
    }
}

fn weather(seed: u64) {
    let mut chaos = Chaos::new(seed);
    chaos.storm();
    chaos.mend_all();
    chaos.sim.run(CALM / 2);
    chaos.start_stopped();
    chaos.sim.run(CALM / 2);
    chaos.check_rest();
}

/// Four parts, so that they can run side by side.
fn usual(part: u64) {
    let range = std::env::var("NATHA_SEEDS").unwrap_or_else(|_| "0..28".to_owned());
    let ends = range.split_once("..").map(|(first, last)| (first.parse(), last.parse()));
    let Some((Ok(first), Ok(last))) = ends else { panic!("NATHA_SEEDS is not FIRST..LAST") };
    (first..last).filter(|seed| seed % 4 == part).for_each(weather);
}

#[test]
fn random_faults_break_no_rule_and_leave_every_group_at_home_1() {
    usual(0);
}

#[test]
fn random_faults_break_no_rule_and_leave_every_group_at_home_2() {
    usual(1);
}

#[test]
fn random_faults_break_no_rule_and_leave_every_group_at_home_3() {
    usual(2);
}

#[test]
fn random_faults_break_no_rule_and_leave_every_group_at_home_4() {
    usual(3);
}
