//! A small world, and one second of it.

use natha::failover::{Input, Machine};
use natha::types::{
    CloudFaultKind, Egress, Group, InstanceId, Member, Resource, Roster, SessionId, Traits,
};

use super::bounds::{NOW, settings};
use super::cloud::{Cloud, Knowledge, Power, Stopper, Target};
use super::fault::{Api, Fault, Led};
use super::judge::SURELY_CALM;
use super::names::{allocation, group, id, interface, node_of, table};
use super::node::{Ask, Node, Notes};
use super::rule::Rule;
use super::scope::{Pattern, Scope};

/// A packet that is on its way, in so many ticks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Packet {
    pub(super) left: u8,
    pub(super) to: usize,
    pub(super) input: Input,
}

/// A change that EC2 will carry out later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) left: u8,
    pub(super) by: usize,
    pub(super) ask: Ask,
}

/// Everything there is. The time is always `NOW`: what passes is subtracted from the past.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) cloud: Cloud,
    pub(super) packets: Vec<Packet>,
    pub(super) held: Vec<Held>,
    /// What is broken, and for how many ticks where the scope bounds that.
    pub(super) faults: Vec<(Fault, u8)>,
    /// How much may still go wrong.
    pub(super) strikes: u8,
    /// How many resources a group has.
    pub(super) parts: usize,
    pub(super) pattern: Pattern,
    /// Ticks for which each resource has led where it leads.
    pub(super) led: Vec<u8>,
    /// Whether each had led where it led before for so long that every node had seen it there.
    pub(super) rested: Vec<bool>,
    /// Ticks for which each pair of nodes has heard each other; row by row.
    pub(super) linked: Vec<u8>,
    /// Route writes since something was last broken or mended.
    pub(super) writes: u8,
    /// Ticks since the last of them.
    pub(super) quiet: u8,
    /// The node that alone has been well, while the others forwarded nothing, and for how many
    /// ticks.
    pub(super) sole: Option<(usize, u8)>,
    /// All that is broken is what all nodes share, in a cluster that was at rest before.
    pub(super) shared: bool,
    /// All that has happened to a cluster at rest is that monitors restarted.
    pub(super) restarted: bool,
    /// What is being carried out was held up on its way.
    pub(super) is_late: bool,
    /// The rule that the last step broke.
    pub(super) broken: Option<Rule>,
}

impl World {
    /// A cluster whose monitors start now, with the routes as given.
    pub(super) fn booting(scope: &Scope, routes: Vec<Target>) -> Self {
        let nodes = scope.nodes;
        let knowledge = Knowledge { routes, power: vec![Power::RUNNING; nodes] };
        let mut world = Self {
            nodes: (0..nodes).map(|_| Node::new()).collect(),
            cloud: Cloud::new(knowledge, scope.lags()),
            packets: Vec::new(),
            held: Vec::new(),
            faults: Vec::new(),
            strikes: scope.strikes,
            parts: scope.pattern.parts(scope.tables),
            pattern: scope.pattern,
            led: vec![0; scope.all_parts()],
            rested: vec![true; scope.all_parts()],
            linked: vec![0; nodes * nodes],
            writes: 0,
            quiet: 0,
            sole: None,
            shared: false,
            restarted: false,
            is_late: false,
            broken: None,
        };
        for n in 0..nodes {
            // A cluster that has run before: what never spoke is never repaired.
            let others = (0..nodes).filter(|other| *other != n);
            world.nodes[n].heard_long_ago = others.map(id).collect();
            world.boot(n);
        }
        world
    }

    /// The home of a resource's group.
    pub(super) fn home(&self, at: usize) -> usize {
        at / self.parts
    }

    /// How many groups there are.
    pub(super) fn groups(&self) -> usize {
        self.led.len() / self.parts
    }

    /// Whether it is an address; all others are routes.
    pub(super) fn is_address(&self, at: usize) -> bool {
        self.pattern.has_address() && at % self.parts == self.parts - 1
    }

    /// All that is of the home group of node `n`.
    pub(super) fn parts_of(&self, n: usize) -> std::ops::Range<usize> {
        n * self.parts..(n + 1) * self.parts
    }

    pub(super) fn resource(&self, at: usize) -> Resource {
        let last = u8::try_from(at).unwrap_or(u8::MAX);
        if self.is_address(at) {
            let (allocation, address) = (allocation(at), [192, 0, 2, last].into());
            return if self.pattern.egress {
                Resource::EgressIp { allocation, address }
            } else {
                Resource::Eip { allocation, address, on: None }
            };
        }
        if self.pattern.eip {
            return Resource::Vip { table: table(at), address: [192, 168, 0, last].into() };
        }
        let cidr = "0.0.0.0/0".parse().expect("a well-formed network");
        Resource::DefaultRoute { table: table(at), cidr }
    }

    fn roster(&self) -> Roster {
        let member = |n: usize| Member {
            id: id(n),
            interface: interface(n),
            address: [10, 0, 0, u8::try_from(10 + n).unwrap_or(u8::MAX)].into(),
            zone: None,
            name: None,
            public: None,
            loses_public: false,
            landings: self.landings(n),
        };
        let traits = Traits {
            checked: self.pattern.checked,
            prepared: self.pattern.has_address(),
            ..Traits::default()
        };
        let sources = self.pattern.egress.then(|| "10.0.100.0/24".parse());
        let sources = sources.into_iter().map(|block| block.expect("a well-formed network"));
        let egress = Egress { sources: sources.collect(), strict: self.pattern.egress };
        let group = |n: usize| {
            let resources = self.parts_of(n).map(|at| self.resource(at)).collect();
            let (traits, egress) = (traits.clone(), egress.clone());
            Group { traits, egress, ..Group::new(group(n), Some(id(n)), resources) }
        };
        let nodes = 0..self.nodes.len();
        let groups = (0..self.groups()).map(group);
        Roster { members: nodes.map(member).collect(), groups: groups.collect() }
    }

    /// Starts node `n`'s monitor.
    pub(super) fn boot(&mut self, n: usize) {
        let roster = self.roster();
        let (nodes, tables) = (self.nodes.len(), self.cloud.now.routes.len());
        let groups = self.groups();
        // A restart ends a drain.
        self.faults.retain(|(fault, _)| *fault != Fault::Drain(n));
        let node = &mut self.nodes[n];
        node.end_monitor();
        node.boots += 1;
        let session = SessionId(u64::from(node.boots) << 8 | n as u64);
        let timing = settings().timing;
        let mut machine = Machine::new(&id(n), session, timing, 1, &roster, NOW);
        if !node.kernel {
            node.carries.clear();
            node.translates.clear();
            node.heard_long_ago.append(&mut node.heard);
            node.met.clear();
        }
        machine.recall(node.remembered.clone());
        machine.recognize(node.heard.clone(), node.heard_long_ago.clone());
        node.machine = Some(machine);
        node.kernel = true;
        node.frozen = false;
        if !node.fitness().is_proven() {
            node.tell_fitness();
        }
        if self.pattern.checked {
            node.tell_checks();
        }
        node.notes = Notes {
            routes_read: vec![None; tables],
            power_read: vec![None; nodes],
            heard: vec![u8::MAX; nodes],
            echoed: vec![u8::MAX; nodes],
            // A monitor that is back before it was missed was never away.
            serves: vec![(0, 0); groups],
            up: node.notes.up,
            down: node.notes.down,
            ..Notes::default()
        };
    }

    /// Breaks something.
    pub(super) fn strike(&mut self, fault: Fault) {
        self.strikes -= 1;
        self.sole = None;
        self.shared = false;
        let only_restarts = self.restarted || self.is_all_calm();
        self.restarted = false;
        let calls = self.quiet < SURELY_CALM || self.is_calling();
        self.writes = 0;
        match fault {
            Fault::Crash(n) => {
                self.nodes[n].end_monitor();
                self.nodes[n].kernel = false;
                self.nodes[n].frozen = false;
                self.nodes[n].notes.died = (!calls).then_some(0);
            }
            Fault::Restart(n) => {
                self.boot(n);
                self.restarted = only_restarts;
                if only_restarts {
                    Rule::Restarted.try_it();
                }
            }
            Fault::Kill(n) => self.nodes[n].end_monitor(),
            Fault::Freeze(n) => self.nodes[n].frozen = true,
            Fault::Unfit(n) => {
                self.nodes[n].api = Api::Hangs;
                self.set_fit(n, false);
            }
            Fault::Service(n, group) => {
                self.nodes[n].failing.insert(group);
                self.nodes[n].tell_checks();
            }
            Fault::Api(n, api) => self.nodes[n].api = api,
            Fault::Led(table, led) => {
                let target = match led {
                    Led::To(n) => {
                        self.nodes[n].notes.died = None;
                        Target::Node(n)
                    }
                    Led::Out => Target::Out,
                    Led::Nowhere => Target::Nowhere,
                };
                self.lead(table, target);
            }
            Fault::UserStop(n) => {
                let calm = self.nodes[n].notes.well >= SURELY_CALM;
                self.stop(n, Stopper::User { calm });
            }
            Fault::NoProbe(_) | Fault::Blip(_) | Fault::Unproven(_) => self.strike_probes(fault),
            Fault::Drain(n) => self.drain(n),
            Fault::Deaf(..)
            | Fault::Cut(..)
            | Fault::NoEcho(..)
            | Fault::Slow(..)
            | Fault::Stale
            | Fault::HalfStale(_)
            | Fault::Unlisted(..)
            | Fault::Landless(_)
            | Fault::Overdue => {}
        }
        if !fault.is_momentary() {
            self.faults.push((fault, 0));
            self.faults.sort_unstable();
        }
        self.strike_lists(fault);
    }

    /// Mends what is broken.
    pub(super) fn mend(&mut self, fault: Fault) {
        self.writes = 0;
        self.sole = None;
        self.faults.retain(|(broken, _)| *broken != fault);
        match fault {
            Fault::Kill(n) if self.nodes[n].kernel && self.nodes[n].machine.is_none() => {
                self.boot(n);
            }
            Fault::Freeze(n) => self.nodes[n].frozen = false,
            Fault::Unfit(n) => {
                self.nodes[n].api = Api::Works;
                self.set_fit(n, true);
            }
            Fault::Service(n, group) => {
                self.nodes[n].failing.remove(&group);
                self.nodes[n].tell_checks();
            }
            Fault::Api(n, _) => self.nodes[n].api = Api::Works,
            Fault::Drain(n) => self.undrain(n),
            Fault::UserStop(n) => {
                let _ = self.start(n);
            }
            Fault::Unlisted(..) | Fault::Landless(_) => self.list_after(fault),
            Fault::Overdue => {
                for held in &mut self.held {
                    held.left = 0;
                }
            }
            _ => self.mend_probes(fault),
        }
    }

    /// Changes what lists show.
    fn strike_lists(&mut self, fault: Fault) {
        if let Fault::Landless(n) = fault {
            for at in 0..self.led.len() {
                if self.is_address(at) && self.cloud.now.routes[at] == Target::Node(n) {
                    self.lead(at, Target::Nowhere);
                }
            }
        }
        self.list_after(fault);
    }

    /// Whose lists have changed with this fault lists the cluster anew.
    fn list_after(&mut self, fault: Fault) {
        match fault {
            Fault::Unlisted(n, _) => self.list(n),
            Fault::Landless(_) => (0..self.nodes.len()).for_each(|n| self.list(n)),
            _ => {}
        }
    }

    /// Node `n` lists the cluster and finds all of it, but for what its lists lack.
    fn list(&mut self, n: usize) {
        let mut roster = self.roster();
        let is_lacking = |of: &InstanceId| self.is_broken(Fault::Unlisted(n, node_of(of)));
        roster.members.retain(|member| !is_lacking(&member.id));
        if self.nodes[n].machine.is_some() {
            self.nodes[n].inbox.push(Input::Roster { roster });
        }
    }

    fn set_fit(&mut self, n: usize, fit: bool) {
        self.nodes[n].fit = fit;
        self.nodes[n].tell_fitness();
    }

    pub(super) fn is_broken(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(broken, _)| *broken == fault)
    }

    /// Whether heartbeats from one node reach another.
    pub(super) fn is_heard(&self, from: usize, to: usize) -> bool {
        let (a, b) = (from.min(to), from.max(to));
        !self.is_broken(Fault::Deaf(from, to)) && !self.is_broken(Fault::Cut(a, b))
    }

    /// Breaks a rule; of several in one step the first in [`Rule::ALL`] is told.
    pub(super) fn breach(&mut self, rule: Rule) {
        self.broken = Some(self.broken.map_or(rule, |broken| broken.min(rule)));
    }

    pub(super) fn lead(&mut self, table: usize, target: Target) {
        if self.cloud.now.routes[table] != target {
            self.cloud.now.routes[table] = target;
            // Only of groups of several is it asked.
            self.rested[table] = self.parts == 1 || self.led[table] >= SURELY_CALM;
            self.led[table] = 0;
        }
    }

    /// Whether every route leads to its home, but for those led out of the cluster.
    pub(super) fn is_at_home(&self) -> bool {
        let routes = self.cloud.now.routes.iter().enumerate();
        routes.into_iter().all(|(table, target)| {
            matches!(target, Target::Out) || *target == Target::Node(self.home(table))
        })
    }

    pub(super) fn is_calling(&self) -> bool {
        let mutates = |ask: &Ask| matches!(ask, Ask::Write(_) | Ask::Stop(_) | Ask::Start(_));
        !self.held.is_empty()
            || self.nodes.iter().any(|node| node.outbox.iter().any(|call| mutates(&call.ask)))
    }
}

impl Node {
    /// Tells the monitor which services fail on its host.
    fn tell_checks(&mut self) {
        if self.machine.is_some() {
            let failing = self.failing.iter().map(|n| group(*n)).collect();
            self.inbox.push(Input::ServiceChecks { failing });
        }
    }
}

/// A failure without an answer.
pub(super) const SILENCE: CloudFaultKind = CloudFaultKind::Unknown;
