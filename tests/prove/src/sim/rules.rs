//! What no simulated run may ever do, whatever is staged: checked on every change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use natha::failover::{Action, ActionId, EventKind, Input, Machine, Outcome};
use natha::types::{
    Evidence, Fault, Fitness, InstanceState, Member, NatGatewayId, NetworkInterfaceId, Resource,
    ResourceKind, RouteVia, Time,
};

use super::account::Part;
use super::cluster::Sim;
use super::ec2::{Api, Mutation};

/// How long a node must have been well before a stop of it is wrong whatever was seen: less than
/// `repair.after`, within which a node that is well shows it.
const SURELY_WELL: Duration = Duration::from_secs(45);
/// How long a route must have led to a node before its stop is wrong: the oldest read that a stop
/// relies on, EC2's lag, and the time limit of the call.
const SURELY_SERVING: Duration = Duration::from_secs(15);
/// How long two nodes must have been well and connected before a theft between them is wrong.
const SURELY_CALM: Duration = Duration::from_secs(20);
/// How long a node must have said that it cannot serve, or lacks evidence, before it is wrong to
/// give it a group.
const SURELY_TOLD: Duration = Duration::from_secs(5);
/// The most jitter with which two nodes count as connected.
const CALM_JITTER: Duration = Duration::from_millis(60);

/// What the rules know of one node.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    paused_at: Option<Time>,
    /// It was paused and has read nothing since.
    blind: bool,
    /// The kinds of which it was paused and has read nothing since.
    unread: BTreeSet<ResourceKind>,
    /// The latest read of each kind since then.
    asked: BTreeMap<ResourceKind, ActionId>,
    /// The reads without an outcome so far: their kinds, and when they were requested.
    reading: BTreeMap<ActionId, (ResourceKind, Time)>,
    /// When the last read of each kind was requested that succeeded.
    read_at: BTreeMap<ResourceKind, Time>,
    /// Since when its monitor has run without a pause.
    pub(super) awake_since: Time,
    pub(super) leaving: bool,
    /// Whether its monitor was told what its service checks find.
    checked: bool,
    /// Since when it has been well and its API has worked.
    well_since: Option<Time>,
    /// Since when it has lacked evidence.
    unproven_since: Option<Time>,
    /// When it last could not hear each other node, or not be heard, properly.
    trouble: BTreeMap<usize, Time>,
    /// Since when the service of each group has passed or failed on it.
    serves: BTreeMap<usize, (bool, Time)>,
}

impl Watch {
    /// Whether its monitor was asked to leave.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Notes that a pause begins.
    pub(super) fn pause(&mut self, now: Time) {
        self.paused_at = self.paused_at.or(Some(now));
    }

    /// Notes that a pause has ended, of the node or of its monitor. One that was longer than
    /// `detection` is followed by reads of all these `kinds`.
    pub(super) fn resume(
        &mut self,
        now: Time,
        detection: Duration,
        kinds: impl Iterator<Item = ResourceKind>,
    ) {
        self.awake_since = now;
        let paused_at = self.paused_at.take();
        if paused_at.is_some_and(|at| now.since(at) > detection) {
            self.blind = true;
            self.unread = kinds.collect();
            self.asked.clear();
        }
    }

    /// When the last read of this kind was requested that has come in.
    pub(super) fn read_at(&self, kind: ResourceKind) -> Option<Time> {
        self.read_at.get(&kind).copied()
    }

    /// Notes that the monitor requests a read.
    fn note_request(&mut self, kind: ResourceKind, id: ActionId, now: Time) {
        self.asked.insert(kind, id);
        self.reading.insert(id, (kind, now));
    }

    /// Notes what has come in: reads, the first of a kind after a pause among them, and service
    /// checks.
    pub(super) fn note_input(&mut self, input: &Input) {
        match input {
            Input::ServiceChecks { .. } => self.checked = true,
            Input::Done { id, outcome } => {
                let read = self.reading.remove(id);
                if let Outcome::Routes { result: Ok(_) } | Outcome::Holders { result: Ok(_) } =
                    outcome
                {
                    self.read_at.extend(read);
                    self.unread.retain(|kind| self.asked.get(kind) != Some(id));
                    self.blind &= !self.asked.values().any(|asked| asked == id);
                }
            }
            _ => {}
        }
    }
}

impl Sim {
    /// Whether everything in node `n` works.
    pub(super) fn is_well(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let fit = self.fitness(n).is_some_and(Fitness::is_fit);
        let mut faults = self.world.faults().rules.iter();
        let met = |whom: &Option<_>| whom.as_ref().is_none_or(|one| *one == self.principals[n]);
        fit && node.kernel
            && node.runs()
            && node.api == Api::Works
            && !faults.any(|rule| met(&rule.principal))
            && node.power == InstanceState::Running
    }

    pub(super) fn is_calm(&self, n: usize) -> bool {
        let since = self.nodes[n].watch.well_since;
        since.is_some_and(|since| self.now.since(since) >= SURELY_CALM)
    }

    /// Takes down how things are.
    pub(super) fn watch(&mut self) {
        let now = self.now;
        let shaky = self.jitter > CALM_JITTER;
        for n in 0..self.nodes.len() {
            let well = self.is_well(n);
            let quiet = |a: usize, b: usize| {
                let pair = (a, b);
                shaky
                    || self.deaf.contains(&pair)
                    || self.loss.contains_key(&pair)
                    || self.bursts.contains_key(&pair)
            };
            let troubled: Vec<usize> = (0..self.nodes.len())
                .filter(|m| n != *m && (quiet(n, *m) || quiet(*m, n)))
                .collect();
            let runs = self.nodes[n].runs();
            let lacks_evidence = self.fitness(n).is_some_and(|it| !it.unproven.is_empty());
            let watch = &mut self.nodes[n].watch;
            let lacks = runs && lacks_evidence;
            watch.unproven_since = if lacks { watch.unproven_since.or(Some(now)) } else { None };
            watch.well_since = if well { watch.well_since.or(Some(now)) } else { None };
            watch.trouble.extend(troubled.into_iter().map(|m| (m, now)));
        }
        self.watch_services();
        self.watch_groups();
    }

    /// Takes down since when each service has passed or failed on each node.
    fn watch_services(&mut self) {
        let checked = self.groups.iter().enumerate().filter(|(_, group)| group.traits.checked);
        for (of, group) in checked {
            for node in &mut self.nodes {
                let fails = node.failing.as_ref().is_some_and(|them| them.contains(&group.name));
                let told = node.watch.serves.entry(of).or_insert((!fails, self.now));
                if told.0 == fails {
                    *told = (!fails, self.now);
                }
            }
        }
    }

    /// Notes a broken rule.
    pub(super) fn breach(&mut self, rule: &str) {
        assert!(self.tolerant, "{}: {rule}", self.label);
        self.breaches.push(format!("at {} ms: {rule}", self.now.since_boot().as_millis()));
    }

    /// Judges what a machine has just decided.
    pub(super) fn check_sent(&mut self, by: usize, action: &Action) {
        let now = self.now;
        match action {
            Action::SendBeat { beat, .. } => self.check_proof(by, &beat.fitness),
            Action::ReadRoutes { id, .. } => {
                self.nodes[by].watch.note_request(ResourceKind::Route, *id, now);
            }
            Action::ReadHolders { id, resources } => {
                if let Some(kind) = resources.first().map(Resource::kind) {
                    self.nodes[by].watch.note_request(kind, *id, now);
                }
            }
            Action::WriteRoute { write, .. } => {
                let route = Some((&write.table, write.cidr));
                let at = self.parts.iter().position(|part| part.resource.route() == route);
                match &write.via {
                    RouteVia::Interface(interface) => self.check_write(by, at, interface, action),
                    RouteVia::NatGateway(gateway) => self.check_fallback(by, at, gateway, action),
                }
            }
            Action::Assign { assignment, .. } => {
                let at = self.parts.iter().position(|part| part.resource == assignment.resource);
                let of = |member: &Member| member.interface == assignment.interface;
                if let Some(to) = self.members.iter().position(of) {
                    self.check_guard(by, at, to, action);
                }
                self.check_outside(by, assignment, action);
                self.check_write(by, at, &assignment.interface, action);
            }
            Action::Report { event } if event.kind == EventKind::TakeoverBegun => {
                self.check_latch(by, action);
            }
            Action::Stop { .. } => {
                self.check_latch(by, action);
                let is_blind = !self.nodes[by].watch.unread.is_empty();
                self.check_blind(by, is_blind, action);
                self.check_fit(by, action);
            }
            Action::Start { .. } => self.check_blind(by, self.nodes[by].watch.blind, action),
            Action::MayExit => self.check_goodbye(by),
            _ => {}
        }
    }

    /// Judges that a part is to be led to `interface`.
    fn check_write(
        &mut self,
        by: usize,
        at: Option<usize>,
        interface: &NetworkInterfaceId,
        action: &Action,
    ) {
        let Some(at) = at else {
            return self.breach(&format!("node {by} writes what is in no group: {action:?}"));
        };
        let part = self.parts[at].clone();
        let is_blind = self.nodes[by].watch.unread.contains(&part.resource.kind());
        self.check_blind(by, is_blind, action);
        let Some(to) = self.members.iter().position(|member| member.interface == *interface) else {
            return self.breach(&format!("node {by} writes to no member: {action:?}"));
        };
        if to != by {
            if self.surely_fails(to, part.group) && self.is_connected(by, to) {
                self.breach(&format!("node {by} gives node {to} what it cannot serve: {action:?}"));
            }
            self.check_proven(by, to, action);
            return;
        }
        let is_free = part.holder.is_none_or(|holder| holder == by || self.may_be_dead(by, holder));
        if !is_free || !self.may_forward(by) {
            self.check_fit(by, action);
        }
        if self.groups[part.group].traits.checked && !self.may_serve(by, part.group) {
            self.breach(&format!("node {by} takes what it cannot serve: {action:?}"));
        }
        if let Some(holder) = part.holder.filter(|holder| *holder != by)
            && self.is_theft(by, at, holder)
        {
            self.breach(&format!("node {by} robs node {holder}: {action:?}"));
        }
    }

    /// Judges that a part is to be led to a fallback: its group must name it, and no node may have
    /// been able to serve the group for long.
    fn check_fallback(
        &mut self,
        by: usize,
        at: Option<usize>,
        gateway: &NatGatewayId,
        action: &Action,
    ) {
        let group = at.map(|at| &self.groups[self.parts[at].group]);
        if group.is_none_or(|group| group.traits.fallback.as_ref() != Some(gateway)) {
            self.breach(&format!("node {by} writes to no fallback of its group: {action:?}"));
        }
        let is_blind = self.nodes[by].watch.unread.contains(&ResourceKind::Route);
        self.check_blind(by, is_blind, action);
        let serves = |n: &usize| self.is_calm(*n) && !self.nodes[*n].watch.leaving;
        if let Some(n) = (0..self.nodes.len()).find(serves) {
            self.breach(&format!("node {by} gives away what node {n} can serve: {action:?}"));
        }
    }

    /// Judges a change by what was read since a pause: a write needs a read of its kind, a stop
    /// one of every kind, and a start any.
    fn check_blind(&mut self, by: usize, is_blind: bool, action: &Action) {
        if is_blind {
            self.breach(&format!("node {by} did not read after its pause: {action:?}"));
        }
    }

    /// Judges that a node asks EC2 for an egress IP, or to give one to another node: from that turn
    /// on the receiver's host must hold back what would be translated anew, and insert what is
    /// replicated. Of a planned move it has heard, where there is time for that.
    fn check_guard(&mut self, by: usize, at: Option<usize>, to: usize, action: &Action) {
        let Some(part) = at.map(|at| &self.parts[at]) else { return };
        let Resource::EgressIp { address, .. } = part.resource else { return };
        let must_hear = self.groups[part.group].traits.prepared;
        if to != by && !(must_hear && self.is_told(by, to)) {
            return;
        }
        let groups = self.nodes[to].machine.as_ref().and_then(|machine| machine.egress(self.now));
        let is_known = to == by || groups.is_some();
        let mut ips = groups.iter().flatten().flat_map(|group| &group.ips);
        if is_known && !ips.any(|ip| ip.address == address && (ip.is_here || ip.is_coming)) {
            self.breach(&format!("node {to} has no guard for what node {by} asks for: {action:?}"));
        }
    }

    /// Whether two nodes have been well and have heard each other for so long that each knows what
    /// the other says now.
    fn is_told(&self, a: usize, b: usize) -> bool {
        let is_well = |n: usize| {
            let since = self.nodes[n].watch.well_since;
            since.is_some_and(|since| self.now.since(since) >= SURELY_TOLD)
        };
        is_well(a) && is_well(b) && self.is_linked(a, b, SURELY_TOLD)
    }

    /// Judges what a heartbeat says of the forward path by what the world let through: a node that
    /// calls itself proven has had an answer on that way a moment ago, not counting the time for
    /// which its monitor did not run.
    fn check_proof(&mut self, by: usize, said: &Fitness) {
        let node = &self.nodes[by];
        let Some((prober, _)) = node.prober.as_ref().filter(|_| said.is_proven()) else { return };
        let counts_from = node.watch.awake_since;
        let age = node.passed.map(|at| self.now.since(at.max(counts_from)));
        if age.is_none_or(|age| age > prober.oldest_proof()) {
            self.breach(&format!("node {by} calls itself proven, by a proof that is {age:?} old"));
        }
    }

    /// Judges what a node begins on its own account.
    fn check_latch(&mut self, by: usize, action: &Action) {
        if self.nodes[by].latches.is_latched() {
            self.breach(&format!("node {by} acts in spite of the latch: {action:?}"));
        }
    }

    /// Judges what a node does for itself.
    fn check_fit(&mut self, by: usize, action: &Action) {
        if !self.fitness(by).is_some_and(Fitness::is_fit) {
            self.breach(&format!("node {by} is unfit: {action:?}"));
        }
    }

    /// Judges what a node gives to another by what either has proven.
    fn check_proven(&mut self, by: usize, to: usize, action: &Action) {
        let is_proven = self.fitness(by).is_some_and(Fitness::is_proven);
        let told = self.nodes[to].watch.unproven_since;
        let told = told.is_some_and(|since| self.now.since(since) >= SURELY_TOLD);
        let may = self.nodes[by].watch.leaving || !self.is_connected(by, to);
        if is_proven && told && !may {
            self.breach(&format!("node {by} is proven, node {to} is not: {action:?}"));
        }
    }

    /// Judges what a drained node still holds when its monitor ends: nothing that another node has
    /// been able to take for long, as both knew.
    fn check_goodbye(&mut self, by: usize) {
        let is_long = |since: Time| self.now.since(since) >= SURELY_CALM;
        let can_take = |n: &usize, of: usize| {
            let is_other = *n != by && !self.nodes[*n].watch.leaving;
            is_other && self.surely_serves(*n, of) && self.is_connected(by, *n)
        };
        let left = self.parts.iter().find_map(|part| {
            let is_left = part.holder == Some(by) && is_long(part.since);
            let heir = (0..self.nodes.len()).find(|n| can_take(n, part.group));
            heir.filter(|_| is_left).map(|heir| (part.resource.clone(), heir))
        });
        if let Some((resource, heir)) = left.filter(|_| is_long(self.nodes[by].watch.awake_since)) {
            self.breach(&format!("node {by} leaves {resource} behind, and not to node {heir}"));
        }
    }

    fn fitness(&self, n: usize) -> Option<&Fitness> {
        self.nodes[n].machine.as_ref().map(Machine::fitness)
    }

    /// Whether a node's probes found all its faults.
    fn may_forward(&self, n: usize) -> bool {
        let is_of_probe = |fault: &Fault| Evidence::ALL.iter().any(|kind| kind.fault() == *fault);
        self.fitness(n).is_some_and(|fitness| fitness.faults.iter().all(is_of_probe))
    }

    /// Whether node `by` may think that node `n` is dead: it is, or it is not heard and was not
    /// well all along.
    fn may_be_dead(&self, by: usize, n: usize) -> bool {
        let node = &self.nodes[n];
        let well = node.watch.well_since.is_some_and(|at| self.now.since(at) >= SURELY_WELL);
        let is_dead = !node.forwards() || node.power != InstanceState::Running;
        is_dead || (!well && !self.is_connected(by, n))
    }

    /// Whether a node's monitor was told that it can serve group `of`.
    fn may_serve(&self, n: usize, of: usize) -> bool {
        let node = &self.nodes[n];
        let name = &self.groups[of].name;
        node.watch.checked && node.failing.as_ref().is_none_or(|failing| !failing.contains(name))
    }

    /// Whether the service of group `of` has failed on a node for so long that its peers know.
    fn surely_fails(&self, n: usize, of: usize) -> bool {
        let told = self.nodes[n].watch.serves.get(&of);
        told.is_some_and(|(passes, since)| !passes && self.now.since(*since) >= SURELY_TOLD)
    }

    /// Whether a node has been well, and the service of group `of` has passed on it, for so long
    /// that everybody knows.
    fn surely_serves(&self, n: usize, of: usize) -> bool {
        let told = self.nodes[n].watch.serves.get(&of);
        self.is_calm(n)
            && told.is_none_or(|(passes, since)| *passes && self.now.since(*since) >= SURELY_CALM)
    }

    /// Whether two nodes have heard each other for so long that each knows the other.
    pub(super) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.is_linked(a, b, SURELY_CALM)
    }

    fn is_linked(&self, a: usize, b: usize, least: Duration) -> bool {
        let trouble = self.nodes[a].watch.trouble.get(&b).copied().unwrap_or_default();
        self.now.since(trouble) >= least
    }

    /// A live holder that can serve a group is never robbed of any part of it.
    fn is_theft(&self, by: usize, at: usize, holder: usize) -> bool {
        let part = &self.parts[at];
        let settled = self.now.since(part.since) >= SURELY_CALM;
        let calm = self.is_calm(by) && self.is_connected(by, holder) && settled;
        calm && self.surely_serves(holder, part.group) && !self.nodes[holder].watch.leaving
    }

    /// Judges what EC2 is about to do.
    pub(super) fn check_applied(&mut self, by: usize, mutation: &Mutation) {
        let Mutation::Stop(node) = mutation else { return };
        let n = self.index(node);
        if by == n {
            self.breach(&format!("node {n} stops itself"));
        }
        let well_for = self.nodes[n].watch.well_since.map(|since| self.now.since(since));
        if well_for >= Some(SURELY_WELL) {
            self.breach(&format!("node {by} stops node {n}, well for {well_for:?}"));
        }
        let held =
            |part: &&Part| part.holder == Some(n) && self.now.since(part.since) >= SURELY_SERVING;
        if self.nodes[n].forwards()
            && let Some(Part { resource, since, .. }) = self.parts.iter().find(held).cloned()
        {
            let since = self.now.since(since);
            self.breach(&format!(
                "node {by} stops node {n}, which has served {resource} for {since:?}"
            ));
        }
        let power = self.nodes[by].power;
        if power != InstanceState::Running {
            self.breach(&format!("node {by}, itself {power}, stops node {n}"));
        }
    }
}
