//! A node that leaves in order, and what must hold of that.

use natha::failover::{Command, Input};

use super::cloud::Target;
use super::fault::Fault;
use super::judge::{DETECTION, SURELY_CALM};
use super::rule::Rule;
use super::world::World;

impl World {
    /// Node `n` is drained.
    pub(super) fn drain(&mut self, n: usize) {
        self.nodes[n].notes.leaving = SURELY_CALM;
        self.nodes[n].inbox.push(Input::Command { command: Command::Leave });
    }

    /// It takes part again: by a command, or by its next monitor where the drain has ended the last
    /// one.
    pub(super) fn undrain(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.machine.is_some() {
            node.inbox.push(Input::Command { command: Command::Stay });
        } else if node.kernel {
            self.boot(n);
        }
    }

    /// Whether node `n` is leaving, or was a moment ago: it may still complete what it has begun,
    /// and its peers may not know yet that it stays.
    pub(super) fn is_leaving(&self, n: usize) -> bool {
        self.nodes[n].notes.leaving > 0
    }

    /// Notes at the end of a tick whether node `n` is leaving.
    pub(super) fn note_drain(&mut self, n: usize) {
        let is_drained = self.is_broken(Fault::Drain(n));
        let leaving = &mut self.nodes[n].notes.leaving;
        *leaving = if is_drained { SURELY_CALM } else { leaving.saturating_sub(1) };
    }

    /// Judges what a drained node still has when its monitor ends.
    pub(super) fn judge_goodbye(&self, n: usize) -> Option<Rule> {
        Rule::Behind.try_it();
        let can_take = |m: usize, at: usize| {
            let is_heard = self.nodes[n].notes.heard[m] < DETECTION;
            let is_well = self.nodes[m].notes.well >= SURELY_CALM && !self.is_leaving(m);
            m != n && is_heard && is_well && (!self.is_address(at) || !self.is_landless(m))
        };
        let is_left = |at: &usize| {
            let is_here = self.cloud.now.routes[*at] == Target::Node(n);
            is_here && self.led[*at] >= SURELY_CALM
        };
        let mut left = (0..self.led.len()).filter(is_left);
        let broken = left.any(|at| (0..self.nodes.len()).any(|m| can_take(m, at)));
        broken.then_some(Rule::Behind)
    }
}
