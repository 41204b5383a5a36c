//! Random faults, many at once, on two to four nodes: the rules of `rules.rs` and `whole.rs` hold
//! throughout, and when all is repaired, each group ends at home and stays there.

use std::time::Duration;

use natha::config::Timing;
use natha::failover::Command;
use natha::types::{CloudFaultKind, Evidence, Fault, Fitness, InstanceState};
use natha_lab::ec2::{Fault as CallFault, FaultRule};

use super::cluster::Sim;
use super::ec2::Api;
use super::names::{documented, egress, many, replicated, roster};
use super::net::Burst;
use super::noise::Noise;

/// How long faults come.
const STORM: u64 = 5 * 60_000;
/// How long everything may take to be as it should be afterwards.
const CALM: u64 = 4 * 60_000;
/// And how long it is then watched.
const REST: u64 = 60_000;
/// For how long a private IP is outside of the cluster at least: until reads must show it, and
/// some lists lack it.
const OUTSIDE: u64 = 60_000;
/// How often lists lack an entry, of a thousand times, in clusters in which they do.
const OMITS: u64 = 100;

/// What groups consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// One default route each.
    Plain,
    /// Resources of several kinds; some groups have a service check.
    Several,
}

/// The calls that a fault can be about alone.
const CALLS: [&str; 8] = [
    "ReplaceRoute",
    "AssignPrivateIpAddresses",
    "AssociateAddress",
    "ChangeResourceRecordSets",
    "DescribeRouteTables",
    "DescribeNetworkInterfaces",
    "DescribeAddresses",
    "ListResourceRecordSets",
];

/// A fault that ends.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Loss(usize, usize),
    Bursts(usize, usize),
    Jitter,
    Duplicates,
    Stalled(usize),
    Deaf(usize, usize),
    Echo(usize, usize),
    Api(usize),
    Frozen(usize),
    Unfit(usize),
    /// No probe of any node is answered.
    Silent,
    /// A node booted and has not proven that packets pass it.
    Unproven(usize),
    /// Nothing is answered on one of a node's ways to the internet.
    Way(usize, Evidence),
    /// The private IP of a group is outside of the cluster.
    Outside(usize),
    NoDaemon(usize),
    Call(usize, &'static str),
    Service(usize),
}

/// A storm and what is left of it.
#[derive(Debug)]
struct Chaos {
    sim: Sim,
    noise: Noise,
    made: Made,
    /// The jitter of a good day.
    jitter: Duration,
    /// How often something was broken.
    faults: usize,
    /// What is broken, and when it is mended.
    troubles: Vec<(u64, Trouble)>,
    /// Whether all nodes are latched while faults come.
    latched: bool,
    /// Whether nodes find out by probes what they know of themselves.
    probing: bool,
    /// Whether lists lack entries, and private IPs are assigned outside of the cluster.
    lacking: bool,
}

impl Chaos {
    fn new(seed: u64, made: Made) -> Self {
        let mut noise = Noise::new(seed);
        let some = noise.draw();
        let nodes = match made {
            Made::Plain if some.is_multiple_of(3) => 3,
            Made::Plain => 2,
            Made::Several => noise.pick(&[2, 3, 4]),
        };
        let roster = match made {
            Made::Plain => roster(nodes),
            Made::Several if seed % 8 == 5 => egress(nodes),
            Made::Several if seed % 8 == 7 => replicated(nodes),
            Made::Several if some.is_multiple_of(3) => many(nodes, noise.pick(&[1, 5, 9])),
            Made::Several => documented(nodes),
        };
        let mut timing = Timing::default();
        // People's patience is not what is tested.
        timing.hand_back.hold = Duration::from_secs(10);
        timing.hand_back.hold_max = Duration::from_secs(40);
        let groups = roster.groups.len();
        let mut sim = Sim::of(roster, timing, seed ^ 0x5eed);
        sim.tolerant = true;
        sim.label = format!("seed {seed}, {nodes} nodes, {groups} groups");
        sim.jitter = Duration::from_millis(noise.draw() % 60);
        sim.latency = Duration::from_millis(10 + noise.draw() % 700);
        sim.read_lag = Duration::from_millis(noise.pick(&[0, 0, 500, 3_000]));
        sim.guest_boot = Duration::from_millis(noise.pick(&[0, 5_000, 40_000]));
        let jitter = sim.jitter;
        let is_one_of_eight = |which: u64| made == Made::Several && seed % 8 == which;
        let [lacking, probing, latched] = [1, 3, 6].map(is_one_of_eight);
        if probing {
            sim.start_probes();
        }
        if lacking {
            sim.omits = OMITS;
        }
        let troubles = Vec::new();
        Self { sim, noise, made, jitter, faults: 0, troubles, latched, probing, lacking }
    }

    fn latch(&mut self) {
        for n in 0..self.sim.nodes.len() {
            let command = Command::Latch { by: "ann".to_owned(), reason: "storm".to_owned() };
            self.sim.command(n, command);
        }
        self.sim.run(10);
    }

    fn unlatch(&mut self) {
        for n in 0..self.sim.nodes.len() {
            self.sim.command(n, Command::Unlatch);
        }
    }

    fn pick(&mut self, below: usize) -> usize {
        let below = u64::try_from(below).unwrap_or(u64::MAX);
        usize::try_from(self.noise.below(below)).unwrap_or_default()
    }

    /// A time: short ones and long ones alike.
    fn span(&mut self) -> u64 {
        let most = self.noise.pick(&[400, 3_000, 20_000, 120_000]);
        50 + self.noise.draw() % most
    }

    fn storm(&mut self) {
        if self.latched {
            self.latch();
        }
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
                self.mend(trouble);
            }
        }
    }

    /// Breaks one more thing.
    fn strike(&mut self) {
        let nodes = self.sim.nodes.len();
        let n = self.pick(nodes);
        let m = (n + 1 + self.pick(nodes - 1)) % nodes;
        let span = self.span();
        self.faults += 1;
        let Some(trouble) = self.break_something(n, m, span) else { return };
        self.sim.stage(format!("for {span} ms: {trouble:?}"));
        self.troubles.push((span, trouble));
    }

    /// What breaks around nodes `n` and `m` and has an end.
    fn break_something(&mut self, n: usize, m: usize, span: u64) -> Option<Trouble> {
        let among = match self.made {
            Made::Plain => 20,
            Made::Several if self.lacking => 28,
            Made::Several => 26,
        };
        Some(match self.pick(among) {
            0 | 1 => {
                let lost = self.noise.pick(&[20, 100, 300, 700]);
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
            5 => self.partition(n, m, span),
            6 | 7 => self.break_api(n),
            8 => {
                self.sim.freeze(n);
                Trouble::Frozen(n)
            }
            9 => self.break_fitness(n),
            10 => {
                self.sim.kill_daemon(n);
                Trouble::NoDaemon(n)
            }
            11 => {
                if self.sim.nodes[n].kernel {
                    self.sim.stage(format!("the monitor of node {n} restarts"));
                    self.sim.boot(n);
                }
                return None;
            }
            12 => return self.kill(n),
            13 => {
                self.sim.command(n, Command::Leave);
                Trouble::NoDaemon(n)
            }
            14 => {
                let good = Duration::from_millis(200 + self.noise.below(5_000));
                let bad = Duration::from_millis(20 + self.noise.below(1_000));
                self.sim.bursts.insert((n, m), Burst::new(good, bad));
                Trouble::Bursts(n, m)
            }
            15 => {
                self.sim.jitter = Duration::from_millis(50 + self.noise.below(400));
                Trouble::Jitter
            }
            16 => {
                self.sim.duplicates = 300;
                Trouble::Duplicates
            }
            17 => {
                self.sim.stall(n);
                Trouble::Stalled(n)
            }
            18 => self.silence_targets(),
            19 => return self.boot_unproven(n),
            20..=23 => self.break_call(n),
            24 | 25 => self.break_services(n),
            26 | 27 => return self.give_outside(),
            _ => return None,
        })
    }

    fn kill(&mut self, n: usize) -> Option<Trouble> {
        self.sim.stage(format!("node {n} dies"));
        self.sim.panic(n);
        None
    }

    /// Node `n` is unfit. Where nodes probe, one of its ways to the internet breaks.
    fn break_fitness(&mut self, n: usize) -> Trouble {
        if !self.probing {
            self.sim.set_fitness(n, Fitness::unfit(Fault::Uplink));
            return Trouble::Unfit(n);
        }
        let way = self.noise.pick(&Evidence::ALL);
        self.sim.set_way(n, way, false);
        Trouble::Way(n, way)
    }

    /// No probe of any node is answered.
    fn silence_targets(&mut self) -> Trouble {
        for n in 0..self.sim.nodes.len() {
            if self.probing {
                self.sim.set_uplink(n, false);
            } else {
                self.sim.set_fitness(n, Fitness::unfit(Fault::Uplink));
            }
        }
        Trouble::Silent
    }

    fn boot_unproven(&mut self, n: usize) -> Option<Trouble> {
        if !self.sim.nodes[n].kernel {
            return None;
        }
        if self.probing {
            self.sim.set_uplink(n, false);
            self.sim.panic(n);
            self.sim.boot(n);
            return Some(Trouble::Way(n, Evidence::Uplink));
        }
        self.sim.boot(n);
        self.sim.set_fitness(n, Fitness::unproven(Evidence::Transit));
        Some(Trouble::Unproven(n))
    }

    /// A person assigns a private IP to an interface outside of the cluster, and later to its home
    /// again.
    fn give_outside(&mut self) -> Option<Trouble> {
        let groups: Vec<usize> = self.sim.with_private_ip().collect();
        let of = self.noise.pick(&groups);
        let span = OUTSIDE + self.span();
        self.sim.stage(format!("for {span} ms: the private IP of group {of} is outside"));
        self.sim.give_outside(of);
        self.troubles.push((span, Trouble::Outside(of)));
        None
    }

    fn break_services(&mut self, n: usize) -> Trouble {
        let checked: Vec<usize> = self.sim.checked().collect();
        self.sim.set_failing(n, &checked);
        Trouble::Service(n)
    }

    /// One call of a node fails, and all its others work.
    fn break_call(&mut self, n: usize) -> Trouble {
        let call = self.noise.pick(&CALLS);
        let fault = self.noise.pick(&[
            CallFault::Deny,
            CallFault::Throttle,
            CallFault::ServerError,
            CallFault::Hang,
            CallFault::LostReply,
            CallFault::LatencyBefore { ms: 3_000 },
        ]);
        let rule = FaultRule::on(call, fault).by(self.sim.principal(n));
        self.sim.world_mut().faults_mut().add(rule);
        Trouble::Call(n, call)
    }

    /// Nothing passes between two nodes.
    fn partition(&mut self, n: usize, m: usize, span: u64) -> Trouble {
        self.sim.block_echo(n, m);
        self.sim.block_heartbeats(n, m);
        self.troubles.extend([
            (span, Trouble::Deaf(m, n)),
            (span, Trouble::Echo(n, m)),
            (span, Trouble::Echo(m, n)),
        ]);
        Trouble::Deaf(n, m)
    }

    fn break_api(&mut self, n: usize) -> Trouble {
        self.sim.nodes[n].api = self.noise.pick(&[
            Api::Hangs,
            Api::Delays,
            Api::LosesReplies,
            Api::Fails(CloudFaultKind::Throttled),
            Api::Fails(CloudFaultKind::Unreachable),
        ]);
        Trouble::Api(n)
    }

    fn mend(&mut self, trouble: Trouble) {
        self.sim.stage(format!("ends: {trouble:?}"));
        let sim = &mut self.sim;
        match trouble {
            Trouble::Loss(n, m) => drop(sim.loss.remove(&(n, m))),
            Trouble::Bursts(n, m) => drop(sim.bursts.remove(&(n, m))),
            Trouble::Jitter => sim.jitter = self.jitter,
            Trouble::Duplicates => sim.duplicates = 0,
            Trouble::Stalled(n) => sim.resume(n),
            Trouble::Deaf(n, m) => drop(sim.deaf.remove(&(n, m))),
            Trouble::Echo(n, m) => drop(sim.no_echo.remove(&(n, m))),
            Trouble::Api(n) => sim.nodes[n].api = Api::Works,
            Trouble::Frozen(n) => sim.thaw(n),
            Trouble::Call(n, call) => {
                let whom = Some(sim.principal(n));
                let rules = &mut sim.world_mut().faults_mut().rules;
                rules.retain(|rule| rule.principal != whom || rule.action.as_deref() != Some(call));
            }
            Trouble::Service(n) => sim.set_failing(n, &[]),
            Trouble::Way(n, way) => sim.set_way(n, way, true),
            Trouble::Outside(of) => sim.give_home(of),
            Trouble::Silent if self.probing => {
                (0..sim.nodes.len()).for_each(|n| sim.set_uplink(n, true));
            }
            Trouble::Unfit(n) | Trouble::Unproven(n) => sim.set_fitness(n, Fitness::fit()),
            Trouble::Silent => {
                (0..sim.nodes.len()).for_each(|n| sim.set_fitness(n, Fitness::fit()));
            }
            Trouble::NoDaemon(n) => {
                let node = &sim.nodes[n];
                if node.kernel && (node.machine.is_none() || node.watch.is_leaving()) {
                    sim.boot(n);
                }
            }
        }
    }

    /// Mends everything, as people would: what is dead is started by them.
    fn mend_all(&mut self) {
        for (_, trouble) in std::mem::take(&mut self.troubles) {
            self.mend(trouble);
        }
        let sim = &mut self.sim;
        sim.omits = 0;
        // What waited for a frozen node arrives.
        sim.run(10);
        for n in 0..sim.nodes.len() {
            if !self.probing {
                sim.set_fitness(n, Fitness::fit());
            }
            let power = sim.nodes[n].power;
            if power == InstanceState::Running && sim.nodes[n].machine.is_none() {
                sim.boot(n);
            }
        }
        if self.latched {
            self.unlatch();
        }
    }

    /// A person starts what stays stopped.
    fn start_stopped(&mut self) {
        for n in 0..self.sim.nodes.len() {
            if self.sim.nodes[n].power == InstanceState::Stopped {
                self.sim.start_by_user(n);
            }
        }
    }

    /// Whether each group is at home and all is quiet; the first thing that is not.
    fn check_rest(&mut self) -> Result<(), String> {
        let sim = &mut self.sim;
        if let Some(of) = (0..sim.groups()).find(|of| sim.holder(*of) != sim.home(*of)) {
            let placed = sim.placed(of);
            return Err(format!("group {of} is not at home after the calm: {placed}"));
        }
        sim.rests(REST)
    }
}

/// What came of one seed.
#[derive(Debug)]
pub struct Storm {
    /// The seed.
    pub seed: u64,
    /// The broken rules; none where all is well.
    pub breaches: Vec<String>,
    /// The cluster at the end, with its story.
    pub sim: Sim,
    /// How many faults there were.
    pub faults: usize,
    /// How much time passed in it.
    pub lasted: Duration,
}

/// Random faults by this seed on a cluster of such groups, then calm.
#[must_use]
pub fn storm(seed: u64, made: Made) -> Storm {
    let mut chaos = Chaos::new(seed, made);
    let begun = chaos.sim.now;
    chaos.storm();
    chaos.mend_all();
    chaos.sim.run(CALM / 2);
    chaos.start_stopped();
    chaos.sim.run(CALM / 2);
    let rest = chaos.check_rest();
    let mut sim = chaos.sim;
    let mut breaches = std::mem::take(&mut sim.breaches);
    breaches.extend(rest.err());
    let lasted = sim.now.since(begun);
    Storm { seed, breaches, sim, faults: chaos.faults, lasted }
}
