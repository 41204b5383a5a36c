//! How things stand, as far as it can be seen from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use super::facts::Cast;
use crate::daemon::shared::Power;
use crate::ec2::CallRecord;
use crate::net::faults::NetFaults;

/// For how long after something was blocked between two nodes one may still have lost the other:
/// longer than it takes to hear it again.
const UNHEARD: Duration = Duration::from_secs(2);

/// How things stand.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) cast: Cast,
    pub(super) nodes: Vec<Node>,
    pub(super) tables: Vec<Table>,
    /// When two nodes were last kept from hearing each other, the smaller number first.
    troubled: BTreeMap<(usize, usize), Duration>,
    faults: NetFaults,
}

/// A node.
#[expect(clippy::struct_excessive_bools, reason = "each may fail by itself")]
#[derive(Debug)]
pub(super) struct Node {
    pub(super) power: Power,
    /// Whether its API calls meet no fault.
    pub(super) api: bool,
    /// Whether its monitor is left alone.
    pub(super) monitor: bool,
    cut: bool,
    lossy: bool,
    /// Since when everything in it works.
    pub(super) well_since: Option<Duration>,
    /// Since when its kernel runs and its link works, whatever else does not.
    pub(super) reachable_since: Option<Duration>,
    /// Since when EC2 has been stopping it or has stopped it, and who asked for it.
    pub(super) stopped: Option<(Duration, Stopper)>,
}

/// Who has had a node stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopper {
    Natha,
    Person,
}

/// A zone's route.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) target: Target,
    /// Since when it has led there.
    pub(super) since: Duration,
    /// When a person last changed it.
    pub(super) touched: Duration,
    /// When a node that could not be heard by another last led it to itself.
    shown: Duration,
    /// When one of the zone's pings was last answered.
    pub(super) answered: Duration,
    pub(super) sent: u64,
    pub(super) lost: u64,
    /// When its group was last ordered away.
    pub(super) ordered: Option<Duration>,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Node(usize),
    Foreign,
    Absent,
}

impl Model {
    pub(super) fn new(cast: Cast, now: Duration) -> Self {
        let nodes = cast.nodes.iter().map(|_| Node {
            power: Power::On,
            api: true,
            monitor: true,
            cut: false,
            lossy: false,
            well_since: Some(now),
            reachable_since: Some(now),
            stopped: None,
        });
        let tables = (0..cast.tables.len()).map(|zone| Table {
            target: Target::Node(zone),
            since: now,
            touched: Duration::ZERO,
            shown: Duration::ZERO,
            answered: now,
            sent: 0,
            lost: 0,
            ordered: None,
        });
        let (nodes, tables) = (nodes.collect(), tables.collect());
        let (troubled, faults) = (BTreeMap::new(), NetFaults::default());
        Self { cast, nodes, tables, troubled, faults }
    }

    /// Lets time pass up to now: what is broken is broken until now.
    pub(super) fn pass(&mut self, now: Duration) {
        let name = |end: &str| self.cast.node(end);
        for block in &self.faults.blocks {
            if let (Some(from), Some(to)) = (name(&block.from), name(&block.to)) {
                self.troubled.insert((from.min(to), from.max(to)), now);
            }
        }
    }

    pub(super) fn set_faults(&mut self, faults: NetFaults, now: Duration) {
        self.pass(now);
        self.faults = faults;
        self.pass(now);
        for (node, member) in self.nodes.iter_mut().zip(&self.cast.nodes) {
            let link = self.faults.cut_link.contains(&member.name);
            node.cut = link || self.faults.cut_uplink.contains(&member.name);
            node.lossy = self.faults.loss.contains_key(&member.name);
            let reachable = !link && !node.lossy && node.power == Power::On;
            node.reachable_since = reachable.then_some(node.reachable_since.unwrap_or(now));
        }
        self.judge(now);
    }

    pub(super) fn set_power(&mut self, node: usize, power: Power, now: Duration) {
        let one = &mut self.nodes[node];
        let before = std::mem::replace(&mut one.power, power);
        let name = &self.cast.nodes[node].name;
        let reachable = power == Power::On && !one.lossy && !self.faults.cut_link.contains(name);
        one.reachable_since = reachable.then_some(one.reachable_since.unwrap_or(now));
        match power {
            // A boot. A thaw ends no stop that is under way.
            Power::On if before == Power::Off => one.stopped = None,
            Power::Off if one.stopped.is_none() => one.stopped = Some((now, Stopper::Person)),
            _ => {}
        }
        self.judge(now);
    }

    /// Takes down who is well now.
    pub(super) fn judge(&mut self, now: Duration) {
        for node in &mut self.nodes {
            let well = node.is_well();
            node.well_since = well.then_some(node.well_since.unwrap_or(now));
        }
    }

    /// For how long everything in a node has worked.
    pub(super) fn well_for(&self, node: usize, now: Duration) -> Duration {
        lasting(self.nodes[node].well_since, now)
    }

    /// For how long a node's kernel has run and its link has worked.
    pub(super) fn reachable_for(&self, node: usize, now: Duration) -> Duration {
        lasting(self.nodes[node].reachable_since, now)
    }

    /// For how long nothing has been blocked between two nodes.
    pub(super) fn connected_for(&self, a: usize, b: usize, now: Duration) -> Duration {
        let last = self.troubled.get(&(a.min(b), a.max(b)));
        last.map_or(now, |last| now.saturating_sub(*last))
    }

    /// The routes that lead to a node, and since when the oldest has.
    pub(super) fn serves_since(&self, node: usize) -> Option<Duration> {
        let leads = self.tables.iter().filter(|table| table.target == Target::Node(node));
        leads.map(|table| table.since).min()
    }

    /// Carries out a change of a route that EC2 accepted.
    /// `by` is the node that asked for it; none for a person.
    pub(super) fn route(&mut self, call: &CallRecord, by: Option<usize>) {
        let Some(zone) = param(call, "RouteTableId").and_then(|id| self.cast.zone(id)) else {
            return;
        };
        let target = match (&*call.action, param(call, "NetworkInterfaceId")) {
            ("DeleteRoute", _) => Target::Absent,
            (_, Some(id)) => self.cast.node(id).map_or(Target::Foreign, Target::Node),
            (_, None) => Target::Foreign,
        };
        let is_cut_off = |by: usize| {
            let mut others = (0..self.nodes.len()).filter(|other| *other != by);
            others.any(|other| self.connected_for(by, other, call.at) < UNHEARD)
        };
        let shows = by.is_some_and(|by| target == Target::Node(by) && is_cut_off(by));
        let table = &mut self.tables[zone];
        if table.target != target {
            (table.target, table.since) = (target, call.at);
        }
        if by.is_none() {
            table.touched = call.at;
        }
        if shows {
            table.shown = call.at;
        }
    }

    /// Whether every route leads home and every node runs.
    pub(super) fn is_home(&self) -> bool {
        let mut routes = self.tables.iter().enumerate();
        routes.all(|(zone, table)| table.target == Target::Node(zone))
            && self.nodes.iter().all(|node| node.power == Power::On && node.stopped.is_none())
    }
}

impl Table {
    /// Whether it looks as if the node that it leads to lived, whether it does or not: a person
    /// led it there, or that node did when it could not be heard. To its peers, either is a sign
    /// of life.
    pub(super) fn looks_alive(&self) -> bool {
        self.touched.max(self.shown) >= self.since
    }
}

impl Node {
    fn is_well(&self) -> bool {
        let runs = self.power == Power::On && self.stopped.is_none();
        runs && self.api && self.monitor && !self.cut && !self.lossy
    }

    /// Whether its kernel runs, so that it may be alive for all that its peers know.
    pub(super) fn is_on(&self) -> bool {
        self.power == Power::On
    }

    /// Whether packets get through it, as far as the lab can tell.
    pub(super) fn forwards(&self) -> bool {
        self.power == Power::On && self.stopped.is_none() && !self.cut
    }
}

fn lasting(since: Option<Duration>, now: Duration) -> Duration {
    since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
}

/// A parameter of a call.
pub(super) fn param<'a>(call: &'a CallRecord, name: &str) -> Option<&'a str> {
    let mut pairs = call.params.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}
