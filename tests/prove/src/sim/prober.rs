//! A node's probes: the monitor's own judge, and the replies that are under way to it.

use std::time::Duration;

use natha::evidence::{Judge, Pacing, Proof, Proven, Round};
use natha::types::{Evidence, Fault, Fitness, Time};

use super::cluster::Sim;
use super::node::Node;
use super::queue::What;

/// Targets that a round usually asks, and all of them: natha's defaults are two by ICMP and one by
/// TCP.
const TARGETS: (usize, usize) = (2, 3);
/// From a probe to its reply where nothing delays either: a target in the same region.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(10);
/// Rounds without a reply after which a way is lost: natha's default.
const LOST_AFTER: u32 = 5;
/// The longest time that the judge takes replies to need: natha's own.
const SLOWEST: Duration = Duration::from_secs(1);

/// What sends probes and judges their replies.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    pub(super) judge: Judge,
    pacing: Pacing,
    /// When replies arrive, and to which round: to the node's own probes, and to those of the
    /// forward path.
    replies: [Vec<(Time, u16)>; 2],
}

impl Prober {
    pub(super) fn new(pacing: Pacing, proven: Proven) -> Self {
        let judge = Judge::new(pacing, proven);
        Self { judge, pacing, replies: [Vec::new(), Vec::new()] }
    }

    /// The probes of the next run of the monitor, and what the host knows of itself before the
    /// first of them. What was proven counts until the host boots again.
    fn next_run(&self, has_booted: bool) -> (Self, Fitness) {
        let nothing = Proven { uplink: false, transit: Some(false) };
        let proven = if has_booted { nothing } else { self.judge.proven() };
        (Self::new(self.pacing, proven), proven.fitness())
    }

    /// How old the last proof of the forward path of a node can be that is proven. The next round
    /// follows after an interval. Silence on that way alone counts after the patience. Where the
    /// node's own probes are answered no longer, either, half of that may pass before, and a round:
    /// their silence then counts after the patience, too.
    pub(super) fn oldest_proof(&self) -> Duration {
        let Pacing { interval, pace, lost_after } = self.pacing;
        let patience = (pace * lost_after).max(SLOWEST * 2 + pace);
        interval * 2 + pace * 3 + patience * 3 / 2
    }

    /// Takes in the replies that have arrived.
    pub(super) fn hear(&mut self, now: Time) {
        let arrived = |replies: &mut Vec<(Time, u16)>| {
            let round = replies.iter().filter(|(at, _)| *at <= now).map(|(_, round)| *round).max();
            replies.retain(|(at, _)| *at > now);
            round
        };
        let [own, transit] = self.replies.each_mut().map(arrived);
        if let Some(round) = own {
            self.judge.own_answered(round, now);
        }
        if let Some(round) = transit {
            self.judge.transit_answered(round, now);
        }
    }

    /// Sends a round if one is due. `replies` says when the reply arrives to each of so many probes
    /// of a way, the node's own (0) or the forward path's (1). Says whether it sent one.
    pub(super) fn ask(
        &mut self,
        now: Time,
        mut replies: impl FnMut(usize, usize) -> Vec<Time>,
    ) -> bool {
        let Some(round) = self.judge.due(now) else { return false };
        let targets = if round == Round::All { TARGETS.1 } else { TARGETS.0 };
        let number = self.judge.sent(now, true);
        for (way, waiting) in self.replies.iter_mut().enumerate() {
            waiting.extend(replies(way, targets).into_iter().map(|at| (at, number)));
        }
        true
    }

    /// What the replies show.
    fn fitness(&self, now: Time) -> Fitness {
        let mut fitness = Fitness::fit();
        let transit = self.judge.transit(now).unwrap_or(Proof::Works);
        for (kind, proof) in
            [(Evidence::Uplink, self.judge.uplink(now)), (Evidence::Transit, transit)]
        {
            match proof {
                Proof::Works => {}
                Proof::Fails => drop(fitness.faults.insert(kind.fault())),
                Proof::Unproven => drop(fitness.unproven.insert(kind)),
            }
        }
        fitness
    }
}

impl Node {
    /// A monitor starts on it. What the host knows of itself before its first probe.
    pub(super) fn restart_probes(&mut self) -> Fitness {
        let has_booted = !self.kernel;
        if has_booted {
            self.passed = None;
        }
        let Some((prober, found)) = &mut self.prober else { return Fitness::fit() };
        (*prober, *found) = prober.next_run(has_booted);
        found.clone()
    }
}

impl Sim {
    /// From now on each node sends probes as the daemon does, each at a time of its own, and its
    /// fitness is what they show. Both ways have been proven before.
    pub fn start_probes(&mut self) {
        let timing = &self.timing;
        let (interval, pace) = (timing.probe_interval, timing.probe_pace());
        let pacing = Pacing { interval, pace, lost_after: LOST_AFTER };
        for n in 0..self.nodes.len() {
            let proven = Proven { uplink: true, transit: Some(true) };
            self.nodes[n].prober = Some((Prober::new(pacing, proven), Fitness::fit()));
            self.nodes[n].passed = Some(self.now);
            let phase = self.noise.up_to(interval);
            self.schedule(phase, What::Probes(n));
        }
    }

    /// Packets of node `n` to the internet get no reply from now on, its own and those of private
    /// hosts; or get one again.
    pub fn set_uplink(&mut self, n: usize, works: bool) {
        self.set_way(n, Evidence::Uplink, works);
    }

    /// The same of the packets of private hosts alone.
    pub fn set_forwarding(&mut self, n: usize, works: bool) {
        self.set_way(n, Evidence::Transit, works);
    }

    pub(super) fn set_way(&mut self, n: usize, way: Evidence, works: bool) {
        let broken = &mut self.nodes[n].broken;
        if works {
            broken.remove(&way);
        } else {
            broken.insert(way);
        }
    }

    /// A fault of the uplink is what the probes of node `n` have found.
    #[must_use]
    pub fn finds_uplink_lost(&self, n: usize) -> bool {
        let prober = self.nodes[n].prober.as_ref();
        prober.is_some_and(|(_, found)| found.faults.contains(&Fault::Uplink))
    }

    /// One turn of node `n`'s probes, and the next one after the pace of rounds in doubt.
    pub(super) fn turn_probes(&mut self, n: usize) {
        self.probe(n, false);
        self.schedule(self.timing.probe_pace(), What::Probes(n));
    }

    /// Takes in replies, tells the monitor what is new, and sends a round if one is due.
    pub(super) fn probe(&mut self, n: usize, hurry: bool) {
        let now = self.now;
        let node = &mut self.nodes[n];
        // They are the monitor's own; and what they find must reach it.
        if !node.runs() || !node.has_room() {
            return;
        }
        let passes = Evidence::ALL.map(|way| node.passes(way));
        let Some((prober, found)) = &mut node.prober else { return };
        if hurry {
            prober.judge.hurry(now);
        }
        prober.hear(now);
        let fitness = prober.fitness(now);
        let is_new = fitness != *found;
        found.clone_from(&fitness);
        let news = prober.judge.take_news();
        let reply = |way: usize, targets: usize| {
            if passes[way] { vec![now + ROUND_TRIP; targets] } else { vec![] }
        };
        if prober.ask(now, reply) && node.serves() {
            node.passed = Some(now);
        }
        if is_new {
            self.set_fitness(n, fitness);
        }
        for (evidence, sent) in news {
            self.tell(n, natha::failover::Input::Answered { evidence, sent });
        }
    }
}
