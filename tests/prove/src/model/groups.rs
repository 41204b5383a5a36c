//! What must hold of groups of several kinds, and of groups with a service check.

use natha::failover::{Machine, Verdict};
use natha::types::RouteTarget;

use super::cloud::Target;
use super::judge::{SURELY_CALM, SURELY_LEFT, SURELY_WELL, count};
use super::names::{group, id, told_as};
use super::rule::Rule;
use super::world::World;

/// How long a planned move must have had an undisturbed connection before its receiver must be
/// ready for it.
const SURELY_HEARD: u8 = 4;

impl World {
    /// Judges what node `n` takes as a part of a group.
    pub(super) fn judge_part(&self, n: usize, machine: &Machine, at: usize) -> Vec<Rule> {
        let home = self.home(at);
        let mut broken = Vec::new();
        if self.pattern.checked {
            Rule::Unserving.try_it();
        }
        if self.nodes[n].failing.contains(&home) {
            broken.push(Rule::Unserving);
        }
        let routes = &self.cloud.now.routes;
        let taking = &self.nodes[n].notes.taking;
        if self.pattern.eip && self.is_address(at) && taking.contains(&at) {
            Rule::Order.try_it();
            let stays = |t: usize| {
                taking.contains(&t) && routes[t] == routes[at] && self.led[t] >= SURELY_CALM
            };
            if self.parts_of(home).any(|t| !self.is_address(t) && stays(t)) {
                broken.push(Rule::Order);
            }
        }
        let is_new = self.rested[at] && self.led[at] < SURELY_LEFT;
        let is_gap = routes[at] == Target::Nowhere && is_new;
        if self.parts > 1 && is_gap {
            Rule::Divided.try_it();
            if self.knows_better(n, machine, home) {
                broken.push(Rule::Divided);
            }
        }
        broken
    }

    /// Whether node `n` has nothing of a group and knows a living node that serves it and has a
    /// part of it.
    fn knows_better(&self, n: usize, machine: &Machine, home: usize) -> bool {
        let view = machine.view(super::bounds::NOW);
        let targets: Vec<Option<&RouteTarget>> =
            view.groups[&group(home)].targets.values().map(Option::as_ref).collect();
        let address = |m: usize| self.address_told_as(self.parts_of(home).end - 1, m);
        let has_part = |m: usize| {
            [told_as(m), address(m)].iter().any(|target| targets.contains(&Some(target)))
        };
        let living = |m: usize| {
            m != n
                && view.peers[&id(m)].verdict == Verdict::Alive
                && !self.nodes[m].failing.contains(&home)
                && self.nodes[m].notes.serves[home].1 == 0
        };
        !has_part(n) && (0..self.nodes.len()).any(|m| living(m) && has_part(m))
    }

    /// Judges whether the receiver of a planned move is ready when EC2 carries it out, and the host
    /// of a node that gets an egress IP at its own request.
    pub(super) fn judge_preparation(&mut self, by: usize, at: usize, to: usize) {
        let nodes = self.nodes.len();
        let receiver = &self.nodes[to];
        let hears = self.linked[by * nodes + to] >= SURELY_HEARD
            && self.linked[to * nodes + by] >= SURELY_HEARD
            && receiver.notes.awake >= SURELY_HEARD
            && receiver.notes.well >= SURELY_HEARD
            && receiver.machine.is_some()
            && self.nodes[by].notes.well >= SURELY_HEARD;
        // What was held up on its way is no move that was planned for now.
        let is_late = !self.held.is_empty() || self.is_late;
        let rule = if self.pattern.eip { Rule::Local } else { Rule::Guard };
        // Who asks for itself needs no announcement.
        let is_own = self.pattern.egress && by == to && self.is_address(at) && !self.is_late;
        let is_planned = by != to && hears && !is_late;
        if !self.pattern.has_address() || !(is_own || is_planned) {
            return;
        }
        rule.try_it();
        if !receiver.carries.contains(&self.home(at)) {
            self.breach(rule);
        }
    }

    /// Notes for how long each service has passed and failed on node `n`.
    pub(super) fn note_services(&mut self, n: usize) {
        if !self.pattern.checked {
            return;
        }
        let node = &mut self.nodes[n];
        for (group, (passed, failed)) in node.notes.serves.iter_mut().enumerate() {
            let fails = node.failing.contains(&group);
            count(passed, !fails, SURELY_WELL);
            count(failed, fails, SURELY_CALM);
        }
    }

    /// Judges where groups are while nothing is wrong.
    pub(super) fn note_groups(&mut self) {
        let all = self.nodes.len();
        let others = (0..all * all).filter(|pair| pair / all != pair % all);
        let calm = self.nodes.iter().all(|node| {
            node.notes.well >= SURELY_CALM
                && (!self.pattern.checked
                    || node.notes.serves.iter().all(|(passed, _)| *passed >= SURELY_CALM))
        });
        let linked = others.into_iter().all(|pair| self.linked[pair] >= SURELY_CALM);
        if self.parts == 1 || !calm || !linked || self.is_any_stale() {
            return;
        }
        for home in 0..self.groups() {
            self.note_group(home);
        }
    }

    fn note_group(&mut self, home: usize) {
        let rests: Vec<bool> = self.led.iter().map(|led| *led >= SURELY_CALM).collect();
        let is_held = |t: usize| matches!(self.cloud.now.routes[t], Target::Node(_));
        if self.parts_of(home).all(|t| rests[t] && is_held(t)) {
            Rule::Apart.try_it();
            let first = self.cloud.now.routes[self.parts_of(home).start];
            if self.parts_of(home).any(|t| self.cloud.now.routes[t] != first) {
                self.breach(Rule::Apart);
            }
        }
        // Its routes are what needs an address on the host.
        let routes: Vec<usize> = self.parts_of(home).filter(|t| !self.is_address(*t)).collect();
        // A promise of any part of it puts them there for a while.
        if !self.pattern.eip || !self.parts_of(home).all(|t| rests[t]) {
            return;
        }
        for n in 0..self.nodes.len() {
            Rule::Local.try_it();
            let here = |t: &usize| self.cloud.now.routes[*t] == Target::Node(n);
            let carries = self.nodes[n].carries.contains(&home);
            let too_many = carries && !routes.iter().any(here);
            let too_few = !carries && routes.iter().all(here);
            if too_many || too_few {
                self.breach(Rule::Local);
            }
        }
    }
}
