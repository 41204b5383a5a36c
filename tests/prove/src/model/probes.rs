//! What nodes find out by probes, and whether what follows from it may happen.

use natha::failover::{Input, Machine};
use natha::types::{Evidence, Fault as Trouble, Fitness};

use super::bounds::NOW;
use super::cloud::Target;
use super::fault::{Fault, Half};
use super::judge::{DETECTION, SURELY_CALM, SURELY_TOLD, SURELY_WELL, count};
use super::node::{Change, Node};
use super::rule::Rule;
use super::world::World;

/// How much later than the first node the others notice that no probe is answered any more, or that
/// probes are answered again, in halves of a tick: the time between two rounds of probes.
const SKEW: u8 = 8;

/// How long a node must have lacked evidence before it is wrong to give it a route: each heartbeat
/// that still counts says so, unless it came late.
const SURELY_LACKING: u8 = DETECTION + 1;

/// What one node can find out by probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Probes {
    /// They are answered.
    pub(super) answered: bool,
    /// What the node will notice of them, and in how many ticks.
    late: Option<(u8, bool)>,
    /// One that went through its forward path was answered since it booted.
    pub(super) proven: bool,
    /// Its monitor waits for the answer to a round.
    pub(super) asked: bool,
}

impl Probes {
    pub(super) const WORK: Self = Self { answered: true, late: None, proven: true, asked: false };
}

impl Node {
    /// What the host knows of itself.
    pub(super) fn fitness(&self) -> Fitness {
        let mut fitness = Fitness::fit();
        if !self.fit || !self.probes.answered {
            fitness.faults.insert(Trouble::Uplink);
        }
        if !self.probes.proven {
            fitness.unproven.insert(Evidence::Transit);
        }
        fitness
    }

    /// Tells the monitor what the host knows of itself.
    pub(super) fn tell_fitness(&mut self) {
        if self.machine.is_some() {
            let fitness = self.fitness();
            self.inbox.push(Input::Fitness { fitness });
        }
    }

    /// Tells the monitor, if it has asked, that its probes are answered now: what it has not
    /// noticed yet counts already.
    pub(super) fn tell_answers(&mut self) {
        let Probes { answered, late, proven, asked } = self.probes;
        let answered = late.map_or(answered, |(_, answered)| answered);
        if !(asked && answered && self.fit && self.machine.is_some() && !self.frozen) {
            return;
        }
        self.probes.asked = false;
        let tested = |kind: &Evidence| *kind == Evidence::Uplink || proven;
        let answer = |evidence| Input::Answered { evidence, sent: NOW };
        self.inbox.extend(Evidence::ALL.into_iter().filter(tested).map(answer));
    }

    fn notice(&mut self, answered: bool) {
        self.probes.late = None;
        self.probes.answered = answered;
        self.tell_fitness();
    }

    /// Whether it could forward as far as it can tell without probes.
    pub(super) fn may_forward(&self) -> bool {
        let writes = |half: &Half| self.api.writes(*half);
        self.machine.is_some() && self.forwards() && self.fit && Half::ALL.iter().any(writes)
    }
}

impl World {
    /// Breaks or mends the probes of one node.
    pub(super) fn set_probes(&mut self, n: usize, answered: bool) {
        self.nodes[n].notice(answered);
    }

    /// Breaks or mends the probes of all nodes. `first` notices at once.
    pub(super) fn set_all_probes(&mut self, first: usize, answered: bool) {
        for (n, node) in self.nodes.iter_mut().enumerate() {
            if n == first {
                node.notice(answered);
            } else {
                node.probes.late = Some((SKEW, answered));
            }
        }
    }

    /// The monitor of node `n` starts and has, or obtains, evidence that packets pass it.
    pub(super) fn set_proven(&mut self, n: usize, proven: bool) {
        self.nodes[n].probes.proven = proven;
        self.nodes[n].tell_fitness();
    }

    /// What is due is noticed.
    pub(super) fn notice_probes(&mut self) {
        for node in &mut self.nodes {
            match &mut node.probes.late {
                Some((0, answered)) => {
                    let answered = *answered;
                    node.notice(answered);
                }
                Some((left, _)) => *left -= 1,
                None => {}
            }
        }
    }

    /// Whether a fault that all nodes share strikes a cluster in which all else is well, so that
    /// nothing may move.
    pub(super) fn is_all_calm(&self) -> bool {
        let pairs = 0..self.nodes.len() * self.nodes.len();
        let is_linked = |pair: usize| {
            pair.is_multiple_of(self.nodes.len() + 1) || self.linked[pair] >= SURELY_CALM
        };
        self.nodes.iter().all(|node| node.notes.well >= SURELY_WELL)
            && pairs.into_iter().all(is_linked)
            && self.faults.is_empty()
            && self.is_at_home()
    }

    /// Notes, at the end of a tick, whether only what all share is broken.
    pub(super) fn note_probes(&mut self) {
        for node in &mut self.nodes {
            let lacks = !node.probes.proven && node.machine.is_some();
            count(&mut node.notes.unproven, lacks, SURELY_LACKING);
        }
        let calm = self.nodes.iter().all(|node| node.notes.well >= SURELY_CALM);
        let is_over = calm && self.faults.is_empty();
        self.shared &= !is_over;
        self.restarted &= !is_over;
    }

    /// Judges a route that node `n` takes although it is not fit.
    pub(super) fn judge_unfit(&self, n: usize, machine: &Machine, at: usize) -> Option<Rule> {
        let may_forward = machine.fitness().faults.iter().all(|fault| *fault == Trouble::Uplink);
        let is_free = match self.cloud.now.routes[at] {
            // What it hears, it does not rob; and not what lives and was not as sick as itself.
            Target::Node(of) => {
                let lost = self.nodes[n].notes.heard[of] >= DETECTION;
                of == n || (lost && self.nodes[of].notes.well < SURELY_WELL)
            }
            Target::Nowhere => true,
            Target::Out => false,
        };
        (!may_forward || !is_free).then_some(Rule::Unfit)
    }

    /// Judges a route that a node takes for itself where nothing but a fault that all share, or
    /// restarts of monitors, has happened.
    pub(super) fn judge_shared(&self, n: usize, at: usize) -> Option<Rule> {
        // A node that has died meanwhile is taken over from for that.
        let lives = |of: usize| self.nodes[of].machine.is_some();
        let is_moved =
            matches!(self.cloud.now.routes[at], Target::Node(of) if of != n && lives(of));
        let broken = if self.restarted { Rule::Restarted } else { Rule::Shared };
        ((self.shared || self.restarted) && is_moved).then_some(broken)
    }

    /// Judges a route that node `n` gives to a peer.
    pub(super) fn judge_proof(&self, n: usize, write: Change) -> Option<Rule> {
        if self.nodes[n].probes.proven && !self.nodes[write.to].probes.proven {
            Rule::Unproven.try_it();
        }
        let lacks = self.nodes[write.to].notes.unproven >= SURELY_LACKING;
        let linked = self.linked[n * self.nodes.len() + write.to] >= SURELY_TOLD;
        let told = linked && self.nodes[n].notes.heard[write.to] < DETECTION;
        let may_wait = self.nodes[n].probes.proven && !self.is_leaving(n);
        (may_wait && lacks && told).then_some(Rule::Unproven)
    }

    /// Breaks what only probes can tell.
    pub(super) fn strike_probes(&mut self, fault: Fault) {
        match fault {
            Fault::NoProbe(n) => self.set_probes(n, false),
            Fault::Blip(first) => {
                self.shared = self.is_all_calm();
                if self.shared {
                    Rule::Shared.try_it();
                }
                self.set_all_probes(first, false);
            }
            Fault::Unproven(n) => {
                self.boot(n);
                self.set_proven(n, false);
            }
            _ => {}
        }
    }

    /// Mends it.
    pub(super) fn mend_probes(&mut self, fault: Fault) {
        match fault {
            Fault::NoProbe(n) => self.set_probes(n, true),
            Fault::Blip(first) => self.set_all_probes(first, true),
            Fault::Unproven(n) => self.set_proven(n, true),
            _ => {}
        }
    }
}
