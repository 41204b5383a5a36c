//! Groups of a default route and an egress IP: their landing addresses, and what must hold of the
//! translation on their hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use natha::failover::Machine;
use natha::types::{AllocationId, Assignment, Resource, RouteTarget};

use super::bounds::NOW;
use super::cloud::Target;
use super::fault::{Fault, Half};
use super::judge::SURELY_CALM;
use super::names::{allocation, assigned, group, told_as};
use super::node::{Ask, Change};
use super::rule::Rule;
use super::world::World;

/// The landing address of node `n` for an egress IP.
fn landing(n: usize, at: usize) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    [10, 0, byte(1 + n), byte(at)].into()
}

impl World {
    /// The landing addresses of node `n`.
    pub(super) fn landings(&self, n: usize) -> BTreeMap<AllocationId, Ipv4Addr> {
        let all = (0..self.led.len()).filter(|at| self.pattern.egress && self.is_address(*at));
        all.filter(|_| !self.is_landless(n)).map(|at| (allocation(at), landing(n, at))).collect()
    }

    /// Whether node `n` has no landing address.
    pub(super) fn is_landless(&self, n: usize) -> bool {
        self.is_broken(Fault::Landless(n))
    }

    /// An address at node `n`, as EC2 tells it.
    pub(super) fn address_told_as(&self, at: usize, n: usize) -> RouteTarget {
        if self.pattern.egress { RouteTarget::Address(landing(n, at)) } else { told_as(n) }
    }

    /// Whether reads of one half of the groups, or of anything else, show the past.
    pub(super) fn is_stale(&self, half: Option<Half>) -> bool {
        let of_half = half.is_some_and(|half| self.is_broken(Fault::HalfStale(half)));
        of_half || self.is_broken(Fault::Stale)
    }

    /// Whether any reads do.
    pub(super) fn is_any_stale(&self) -> bool {
        Half::ALL.into_iter().any(|half| self.is_stale(Some(half)))
    }

    fn half(&self, at: usize) -> Half {
        if self.is_address(at) { Half::Address } else { Half::Routes }
    }

    /// What a call is about.
    pub(super) fn half_of(&self, ask: &Ask) -> Option<Half> {
        let Ask::Write(change) = ask else { return None };
        Some(self.half(change.what))
    }

    /// Whether node `n` can have a resource led to itself.
    pub(super) fn can_write(&self, n: usize, at: usize) -> bool {
        let has_place = !self.is_address(at) || !self.is_landless(n);
        has_place && self.nodes[n].api.writes(self.half(at))
    }

    /// The host of node `n` translates, and holds back, as its monitor shows.
    pub(super) fn translate(&mut self, n: usize, machine: &Machine) {
        // Where too little is known, the host keeps what it does.
        let Some(groups) = machine.egress(NOW) else { return };
        let (mut carries, mut translates) = (BTreeSet::new(), BTreeSet::new());
        for home in 0..self.groups() {
            let name = group(home);
            let mut ips = groups.iter().filter(|one| one.name == name).flat_map(|one| &one.ips);
            let Some(ip) = ips.next() else { continue };
            translates.extend(ip.is_here.then_some(home));
            carries.extend((ip.is_here || ip.is_coming).then_some(home));
        }
        self.nodes[n].carries = carries;
        self.nodes[n].translates = translates;
    }

    /// Judges to which address a node asks EC2 to move an egress IP.
    pub(super) fn judge_landing(&self, assignment: &Assignment) -> Option<Rule> {
        let Resource::EgressIp { .. } = assignment.resource else { return None };
        Rule::Landing.try_it();
        let Change { what, to, .. } = assigned(assignment);
        let is_there = !self.is_landless(to) && assignment.address == landing(to, what);
        (!is_there).then_some(Rule::Landing)
    }

    /// Judges whether node `n`, in the turn that is about to end, asked for one half of a group
    /// that it takes over and not for the other.
    pub(super) fn judge_side_by_side(&mut self, n: usize) {
        let notes = &self.nodes[n].notes;
        if notes.well < SURELY_CALM || self.is_landless(n) {
            return;
        }
        let is_asked = |t: &usize| {
            let is_it = |ask: &Ask| matches!(ask, Ask::Write(change) if change.what == *t);
            self.nodes[n].outbox.iter().any(|call| is_it(&call.ask))
        };
        let stays = |t: &usize| {
            let rests = self.led[*t] >= SURELY_CALM && notes.taking.contains(t);
            rests && matches!(self.cloud.now.routes[*t], Target::Node(of) if of != n)
        };
        let mut broken = false;
        for home in 0..self.groups() {
            let parts = self.parts_of(home);
            if parts.clone().all(|t| stays(&t)) && parts.clone().any(|t| is_asked(&t)) {
                Rule::SideBySide.try_it();
                broken |= !parts.clone().all(|t| is_asked(&t));
            }
        }
        if broken {
            self.breach(Rule::SideBySide);
        }
    }

    /// Judges which hosts translate to each egress IP.
    pub(super) fn note_translation(&mut self) {
        if !self.pattern.egress {
            return;
        }
        let rests = |at: &usize| self.is_address(*at) && self.led[*at] >= SURELY_CALM;
        let all: Vec<usize> = (0..self.led.len()).filter(rests).collect();
        for n in 0..self.nodes.len() {
            if self.nodes[n].notes.well < SURELY_CALM {
                continue;
            }
            for at in &all {
                Rule::Translation.try_it();
                let is_here = self.cloud.now.routes[*at] == Target::Node(n);
                if self.nodes[n].translates.contains(&self.home(*at)) != is_here {
                    self.breach(Rule::Translation);
                }
            }
        }
    }
}
