//! Whether everything comes to rest once nothing is broken any more.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use natha::types::InstanceState;

use super::cloud::{Power, Stopper, Target};
use super::fault::Fault;
use super::rule::Rule;
use super::world::World;

/// How long it may take. Long enough for two repairs, one after the other, and a wait of 60 s that
/// an API error may cause.
const PATIENCE: u16 = 400;
/// For how long rest must last to be believed: several times the pace of reads.
const REST: u16 = 12;

/// States from which everything is known to come to rest. They are many and alike: from wherever
/// one schedule ends, what follows soon joins what followed from another.
#[derive(Debug, Default)]
pub(super) struct Restful(Mutex<HashSet<u64>>);

impl Restful {
    fn knows(&self, print: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.contains(&print)
    }

    fn learn(&self, prints: Vec<u64>) {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.extend(prints);
    }

    /// The rule that is broken by what follows from `world`, if nothing more goes wrong.
    pub(super) fn judge(&self, world: &World) -> Option<Rule> {
        let mut world = world.clone();
        world.mend_all();
        let mut prints = Vec::new();
        let mut rest = 0;
        Rule::NoRest.try_it();
        if world.cloud.now.power.iter().any(|power| power.state != InstanceState::Running) {
            Rule::LeftStopped.try_it();
        }
        for _ in 0..PATIENCE {
            let print = print(&world);
            if self.knows(print) {
                self.learn(prints);
                return None;
            }
            prints.push(print);
            world.tick();
            if world.broken.is_some() {
                return world.broken;
            }
            rest = if world.is_at_rest() { rest + 1 } else { 0 };
            if rest == REST {
                self.learn(prints);
                return None;
            }
            // Nobody is left to start the dead: a person does.
            world.revive();
        }
        let stopped = world.cloud.now.power.iter().any(|p| p.state == InstanceState::Stopped);
        Some(if stopped { Rule::LeftStopped } else { Rule::NoRest })
    }
}

fn print(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

impl World {
    /// Mends all that is broken, and what a person led out of the cluster.
    pub(super) fn mend_all(&mut self) {
        self.strikes = 0;
        let faults: Vec<Fault> = self.faults.iter().map(|(fault, _)| *fault).collect();
        for fault in faults {
            self.mend(fault);
        }
        for t in 0..self.led.len() {
            if self.cloud.now.routes[t] == Target::Out {
                self.lead(t, Target::Node(self.home(t)));
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        let is_served = self.is_at_home() || (self.is_alerted() && self.is_served());
        is_served && self.quiet > 1 && self.all_are_up() && !self.is_calling()
    }

    /// Whether an alert says that a node needs a person.
    fn is_alerted(&self) -> bool {
        self.nodes.iter().any(|node| node.notes.latched)
    }

    /// Whether every route leads to a node that forwards.
    fn is_served(&self) -> bool {
        let forwards = |target: &Target| match target {
            Target::Node(n) => self.nodes[*n].forwards(),
            Target::Out => true,
            Target::Nowhere => false,
        };
        self.cloud.now.routes.iter().all(forwards)
    }

    /// Whether every node runs, or an alert says that it needs a person.
    fn all_are_up(&self) -> bool {
        self.is_alerted() || self.nodes.iter().all(|node| node.machine.is_some() && node.kernel)
    }

    /// What a person stopped is started by the same person. Where no majority is left that could
    /// agree on a repair, and none of two, a person restarts the rest.
    pub(super) fn revive(&mut self) {
        for n in 0..self.nodes.len() {
            let power = self.cloud.now.power[n];
            if power.state == InstanceState::Stopped
                && matches!(power.by, Some(Stopper::User { .. }))
            {
                let _ = self.start(n);
            }
        }
        // An alert that nothing is repaired any more brings a person, too.
        if self.nodes.iter().any(|node| node.notes.latched) {
            for n in 0..self.nodes.len() {
                let running = self.cloud.now.power[n].state == InstanceState::Running;
                if running && !self.nodes[n].kernel {
                    self.boot(n);
                }
            }
        }
        let works = |n: usize| self.nodes[n].machine.is_some() && self.nodes[n].forwards();
        let all = self.nodes.len();
        let working = (0..all).filter(|n| works(*n)).count();
        if working * 2 > all || (all == 2 && working == 1) {
            return;
        }
        // What natha stopped is natha's to start, by any node that works.
        let is_nathas = |power: &Power| {
            power.state == InstanceState::Stopped && matches!(power.by, Some(Stopper::Natha(_)))
        };
        if working > 0 && self.cloud.now.power.iter().any(is_nathas) {
            return;
        }
        let resting = |state| matches!(state, InstanceState::Running | InstanceState::Stopped);
        if !self.cloud.now.power.iter().all(|power| resting(power.state)) {
            return;
        }
        for n in 0..self.nodes.len() {
            match self.cloud.now.power[n].state {
                InstanceState::Running => self.boot(n),
                _ => drop(self.start(n)),
            }
        }
    }
}
