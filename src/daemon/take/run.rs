//! One takeover of one group by this node, for operators and keepalived's notify scripts. It reads
//! where the group's resources point, points at this node those that do not, and reads back until
//! all of them do.
//!
//! It does not decide which node should hold the group: its caller has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::bail;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cloud::{Gate, Sent};
use crate::daemon::calls::{Cloud, CloudChange, CloudRead, within};
use crate::failover::slot::{Slot, Write};
use crate::types::{
    CloudFault, Group, Holder, InstanceId, Location, Member, Resource, ResourceKind, Roster,
    RouteEntry, Time, millis,
};

/// Intervals of reads and retries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Time between two reads while waiting for a change to appear.
    read: Duration,
    /// The same for DNS records.
    read_dns: Duration,
    /// Pause before a failed change is retried.
    again_after: Duration,
    /// How long an accepted change may take to appear in a read before it is made again.
    seen_within: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            read: Duration::from_millis(250),
            // Route 53 allows five requests per second for a whole account.
            read_dns: Duration::from_secs(1),
            again_after: Duration::from_secs(1),
            seen_within: Duration::from_secs(5),
        }
    }
}

/// The result for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepResult {
    /// It was here already.
    WasHere,
    /// It was moved here and read back.
    Moved,
    /// It would be moved here.
    WouldMove,
    /// It could not be moved here.
    NotHere,
}

/// One resource of the group and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TakeStep {
    #[serde(skip)]
    what: Resource,
    /// Its name, as in the status.
    pub(crate) resource: String,
    pub(crate) kind: ResourceKind,
    /// Where it pointed before, as text.
    pub(crate) before: String,
    #[serde(rename = "fate")]
    pub(crate) result: StepResult,
    /// Why it moves, or why it is not here; empty if it was here.
    pub(crate) reason: String,
    /// From the first change to the read that showed it here, in milliseconds.
    #[serde(rename = "took_ms", with = "millis::option")]
    pub(crate) took: Option<Duration>,
}

pub(super) struct TakeRun<'a, C> {
    pub(super) cloud: &'a C,
    pub(super) roster: &'a Roster,
    pub(super) me: &'a Member,
    pub(super) group: &'a Group,
    /// Whether resources that point outside the cluster are taken, too.
    pub(super) adopt: bool,
    /// Time limit of one call.
    pub(super) call_limit: Duration,
    /// When to give up.
    pub(super) deadline: Instant,
    /// Intervals of reads and retries.
    pub(super) pace: Pace,
}

/// The latest attempt to write a resource.
struct Attempt {
    at: Instant,
    /// How long to wait before the next attempt.
    patience: Duration,
    /// The reason to report if there is no success.
    why: String,
    /// Whether a further attempt would fail in the same way.
    last: bool,
}

impl Attempt {
    fn new(found: &str, result: Result<(), CloudFault>, pace: Pace) -> Self {
        let at = Instant::now();
        match result {
            Ok(()) => {
                let why = format!("it was written, but still points to {found}");
                Self { at, patience: pace.seen_within, why, last: false }
            }
            Err(fault) => {
                let last = fault.kind.is_final();
                Self { at, patience: pace.again_after, why: fault.to_string(), last }
            }
        }
    }

    /// Whether the next attempt is due.
    fn is_over(&self) -> bool {
        !self.last && self.at.elapsed() >= self.patience
    }
}

/// Where a read found each resource.
type Locations = BTreeMap<Resource, Location<RouteEntry>>;

impl<C: Cloud> TakeRun<'_, C> {
    /// Reads what would have to be moved. Changes nothing.
    ///
    /// # Errors
    /// If a resource cannot be read, cannot be taken or must not be taken.
    pub(super) async fn survey(&self) -> anyhow::Result<Vec<TakeStep>> {
        let mut steps = Vec::new();
        let mut refusals = Vec::new();
        for kind in self.kinds() {
            for (resource, location) in self.read(kind).await? {
                let location = self.resolve(&resource, location);
                match self.need(&resource, &location) {
                    Ok(reason) => steps.push(TakeStep {
                        result: if reason.is_empty() {
                            StepResult::WasHere
                        } else {
                            StepResult::WouldMove
                        },
                        ..self.step(&resource, &location, reason)
                    }),
                    Err(why) => refusals.push(format!("{resource}: {why}")),
                }
            }
        }
        if !refusals.is_empty() {
            bail!("nothing was changed: {}", refusals.join("; "));
        }
        Ok(steps)
    }

    /// The kinds of the group's resources, in the order in which they move.
    fn kinds(&self) -> BTreeSet<ResourceKind> {
        self.group.resources.iter().map(Resource::kind).collect()
    }

    /// The addresses of the group whose packets come to this node, or will shortly.
    pub(super) async fn addresses_here(&self) -> anyhow::Result<Vec<Resource>> {
        let mut here = Vec::new();
        for kind in self.kinds().into_iter().filter(|kind| kind.carries_addresses()) {
            let comes = |(resource, location): &(Resource, Location<RouteEntry>)| {
                *location == Location::Pending || self.is_here(resource, location)
            };
            let comes = self.read(kind).await?.into_iter().filter(comes);
            here.extend(comes.map(|(resource, _)| resource));
        }
        here.retain(|one| one.carried_address().is_some());
        Ok(here)
    }

    /// Takes everything that `survey` did not find here, kind by kind, and returns the results. If
    /// a kind cannot be moved, the following kinds are moved nevertheless.
    pub(super) async fn carry_out(&self, mut steps: Vec<TakeStep>) -> Vec<TakeStep> {
        for kind in self.kinds() {
            if steps.iter().any(|step| step.kind == kind && step.result == StepResult::WouldMove) {
                self.take_kind(kind, &mut steps).await;
            }
        }
        steps
    }

    /// Takes the resources of one kind concurrently, until all of them are here.
    async fn take_kind(&self, kind: ResourceKind, steps: &mut [TakeStep]) {
        let begun = Instant::now();
        let slow = kind.confirms_slowly();
        let mut rounds = interval(if slow { self.pace.read_dns } else { self.pace.read });
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut attempts: BTreeMap<Resource, Attempt> = BTreeMap::new();
        let is_open = |step: &TakeStep| step.kind == kind && step.result == StepResult::WouldMove;
        loop {
            rounds.tick().await;
            match self.read(kind).await {
                Ok(locations) => {
                    for step in steps.iter_mut().filter(|step| is_open(step)) {
                        let location = locations.get(&step.what);
                        if location.is_some_and(|one| self.is_here(&step.what, one)) {
                            step.result = StepResult::Moved;
                            step.took = Some(begun.elapsed());
                        }
                    }
                    let open = steps.iter().filter(|step| is_open(step)).map(|step| &step.what);
                    self.write_due(&locations, &open.collect(), &mut attempts).await;
                }
                Err(error) => tracing::warn!("cannot read {kind}: {error:#}"),
            }
            let hopeless = |step: &TakeStep| attempts.get(&step.what).is_some_and(|one| one.last);
            let left = steps.iter().any(|step| is_open(step) && !hopeless(step));
            if !left || Instant::now() >= self.deadline {
                break;
            }
        }
        for step in steps.iter_mut().filter(|step| is_open(step)) {
            step.result = StepResult::NotHere;
            let why = attempts.remove(&step.what).map(|attempt| attempt.why);
            step.reason = why.unwrap_or_else(|| "it could not be read again".to_owned());
        }
    }

    /// Concurrently writes the open resources whose next attempt is due.
    async fn write_due(
        &self,
        locations: &Locations,
        open: &BTreeSet<&Resource>,
        attempts: &mut BTreeMap<Resource, Attempt>,
    ) {
        let is_due = |resource: &Resource| {
            open.contains(resource) && attempts.get(resource).is_none_or(Attempt::is_over)
        };
        let due: Vec<_> = locations
            .iter()
            .filter(|(resource, _)| is_due(resource))
            .filter_map(|(one, location)| Some((one, location, self.request(one, location)?)))
            .collect();
        let writes = due.iter().map(|(_, _, change)| self.write(change));
        let results = futures_util::future::join_all(writes).await;
        for ((resource, location, _), result) in due.into_iter().zip(results) {
            let found = shown(&self.resolve(resource, location.clone()), self.me);
            attempts.insert(resource.clone(), Attempt::new(&found, result, self.pace));
        }
    }

    /// Reads where all resources of a kind point.
    async fn read(&self, kind: ResourceKind) -> anyhow::Result<Locations> {
        let resources: Vec<Resource> =
            self.group.resources.iter().filter(|one| one.kind() == kind).cloned().collect();
        if resources.is_empty() {
            return Ok(Locations::new());
        }
        if !kind.is_route() {
            let call = CloudRead::Holders(resources.clone()).name();
            let seen = within(self.call_limit, call, self.cloud.holders(&resources)).await?;
            let entries = seen.into_iter().map(|(one, seen)| (one, seen.map(RouteEntry::active)));
            return Ok(entries.collect());
        }
        let tables: BTreeSet<_> =
            resources.iter().filter_map(|one| Some(one.route()?.0.clone())).collect();
        let tables: Vec<_> = tables.into_iter().collect();
        let call = CloudRead::Routes(Vec::new()).name();
        let found = within(self.call_limit, call, self.cloud.routes(&tables)).await?;
        let locate = |resource: Resource| {
            let (table, cidr) = resource.route()?;
            let location = match found.get(table).map(|routes| routes.0.get(&cidr)) {
                None => Location::Absent,
                Some(None) => Location::Vacant,
                Some(Some(entry)) => Location::At(entry.clone()),
            };
            Some((resource, location))
        };
        Ok(resources.into_iter().filter_map(locate).collect())
    }

    /// The holder of a resource at this location. A route to anything deleted counts as vacant: an
    /// operator who asks for it may take it.
    fn resolve(&self, resource: &Resource, location: Location<RouteEntry>) -> Location<Holder> {
        let members = std::iter::once(self.me).chain(&self.roster.members);
        match location.resolve(resource, members) {
            Location::At(Holder::Foreign { blackhole: true, .. }) => Location::Vacant,
            location => location,
        }
    }

    fn is_here(&self, resource: &Resource, location: &Location<RouteEntry>) -> bool {
        self.resolve(resource, location.clone()).member() == Some(&self.me.id)
    }

    /// Why a resource must be moved; empty if it is here. The error says why it must not be.
    fn need(&self, resource: &Resource, location: &Location<Holder>) -> Result<String, String> {
        if resource.target(self.me).is_none() {
            return Err("this node has no public address to give".to_owned());
        }
        match location {
            Location::Absent => Err("it does not exist, according to EC2".to_owned()),
            Location::Vacant => Ok("it had no target".to_owned()),
            Location::Pending => Ok("a change of it is pending".to_owned()),
            Location::At(Holder::Member { node, .. }) if *node == self.me.id => Ok(String::new()),
            Location::At(Holder::Member { node, .. }) => Ok(format!("{} held it", self.name(node))),
            Location::At(Holder::Foreign { target, .. }) if self.adopt => {
                Ok(format!("adopted from {target}"))
            }
            Location::At(Holder::Foreign { target, .. }) => Err(format!(
                "it points to {target}, which is not in the cluster; --adopt takes it nevertheless"
            )),
        }
    }

    fn step(&self, resource: &Resource, location: &Location<Holder>, reason: String) -> TakeStep {
        let before = match location.member() {
            Some(node) if *node == self.me.id => "here".to_owned(),
            Some(node) => self.name(node),
            None => shown(location, self.me),
        };
        TakeStep {
            what: resource.clone(),
            resource: resource.to_string(),
            kind: resource.kind(),
            before,
            result: StepResult::NotHere,
            reason,
            took: None,
        }
    }

    fn name(&self, node: &InstanceId) -> String {
        let name = self.roster.member(node).and_then(|member| member.name.as_ref());
        name.map_or_else(|| node.to_string(), |name| format!("{name} ({node})"))
    }

    /// The request that points `resource`, last read at `location`, at this node; none where there
    /// is nothing to write to, or its own change is still pending.
    fn request(&self, resource: &Resource, location: &Location<RouteEntry>) -> Option<CloudChange> {
        let mut slot = Slot::new(resource.clone(), Time::default());
        slot.observe(location.clone(), Time::default(), Duration::ZERO);
        Some(match slot.write_to(self.me)? {
            Write::Route(write) => CloudChange::Route(write),
            Write::Assign(assignment) => CloudChange::Assign(assignment),
        })
    }

    async fn write(&self, change: &CloudChange) -> Result<(), CloudFault> {
        let gate = Gate::open();
        let sent = within(self.call_limit, change.name(), self.cloud.change(change, &gate)).await?;
        match sent {
            // An open gate stops nothing.
            Sent::Accepted | Sent::Expired => Ok(()),
        }
    }
}

fn shown(location: &Location<Holder>, me: &Member) -> String {
    match location {
        Location::Absent | Location::Vacant => "nowhere".to_owned(),
        Location::Pending => "this node soon".to_owned(),
        Location::At(Holder::Member { node, .. }) if *node == me.id => "this node".to_owned(),
        Location::At(Holder::Member { node, .. }) => node.to_string(),
        Location::At(Holder::Foreign { target, .. }) => target.to_string(),
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
