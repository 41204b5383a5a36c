//! One takeover of one group by this node, for people and for keepalived's notify scripts: it reads
//! where everything leads, gives this node what it does not have, and reads back until it has it.
//!
//! It decides nothing about who should hold the group. Whoever calls it has decided that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{anyhow, bail};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::cloud::{Gate, Sent};
use crate::daemon::calls::{Cloud, CloudChange};
use crate::types::{
    Assignment, CloudFault, CloudFaultKind, Group, Holder, InstanceId, Location, Member, Resource,
    ResourceKind, Roster, RouteEntry, RouteTarget, RouteWrite, RouteWriteVerb, millis,
};

/// The kinds in the order in which they move.
const KINDS: [ResourceKind; 4] =
    [ResourceKind::Route, ResourceKind::PrivateIp, ResourceKind::Eip, ResourceKind::Dns];

/// How often things are asked and tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Time between two reads while a change is awaited.
    read: Duration,
    /// The same for DNS records.
    read_dns: Duration,
    /// How long after a change that failed the next one is tried.
    again_after: Duration,
    /// How long a change that was accepted may take to be seen, before it is made again.
    seen_within: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            read: Duration::from_millis(250),
            // Route 53 answers five requests a second of a whole account.
            read_dns: Duration::from_secs(1),
            again_after: Duration::from_secs(1),
            seen_within: Duration::from_secs(5),
        }
    }
}

/// What became of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepResult {
    /// It was here already.
    WasHere,
    /// It was moved here and read back.
    Moved,
    /// It would be moved here.
    WouldMove,
    /// It is not here.
    NotHere,
}

/// One resource of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TakeStep {
    #[serde(skip)]
    what: Resource,
    /// Its name, as in the status.
    pub(crate) resource: String,
    /// Its kind.
    pub(crate) kind: ResourceKind,
    /// Where it led, in words.
    pub(crate) before: String,
    /// What became of it.
    pub(crate) fate: StepResult,
    /// Why it moves, or why it is not here; empty where it was here.
    pub(crate) reason: String,
    /// From the first change to the read that showed it here, in milliseconds.
    #[serde(rename = "took_ms", with = "millis::option")]
    pub(crate) took: Option<Duration>,
}

/// One takeover.
pub(super) struct TakeRun<'a, C> {
    /// Who is asked.
    pub(super) cloud: &'a C,
    /// The cluster.
    pub(super) roster: &'a Roster,
    /// This node.
    pub(super) me: &'a Member,
    /// What is taken.
    pub(super) group: &'a Group,
    /// Whether what leads out of the cluster is taken, too.
    pub(super) adopt: bool,
    /// Time limit of one call.
    pub(super) call_limit: Duration,
    /// When it is given up.
    pub(super) deadline: Instant,
    /// How often things are asked and tried.
    pub(super) pace: Pace,
}

/// The last change of a resource that was tried.
struct Attempt {
    at: Instant,
    /// How long to wait for it to be seen, or before the next one.
    patience: Duration,
    /// What to say if it stays without success.
    why: String,
    /// Whether the next one would fail in the same way.
    last: bool,
}

impl Attempt {
    fn new(found: String, result: Result<(), CloudFault>, pace: Pace) -> Self {
        let at = Instant::now();
        match result {
            Ok(()) => {
                let why = format!("it was written, but leads to {found} still");
                Self { at, patience: pace.seen_within, why, last: false }
            }
            Err(fault) => {
                let last = is_final(fault.kind);
                Self { at, patience: pace.again_after, why: fault.to_string(), last }
            }
        }
    }

    /// Whether there may be another one.
    fn is_over(&self) -> bool {
        !self.last && self.at.elapsed() >= self.patience
    }
}

/// Where a read found each resource.
type Locations = BTreeMap<Resource, Location<RouteEntry>>;

impl<C: Cloud> TakeRun<'_, C> {
    /// What would have to be done. Nothing is changed.
    ///
    /// # Errors
    /// Where a resource cannot be read, cannot be taken or must not be.
    pub(super) async fn survey(&self) -> anyhow::Result<Vec<TakeStep>> {
        let mut steps = Vec::new();
        let mut refusals = Vec::new();
        for kind in KINDS {
            for (resource, location) in self.read(kind).await? {
                let location = self.resolve(&resource, location);
                match self.need(&resource, &location) {
                    Ok(reason) => steps.push(TakeStep {
                        fate: if reason.is_empty() {
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

    /// The addresses of the group whose packets come to this node, or are about to.
    pub(super) async fn addresses_here(&self) -> anyhow::Result<Vec<Resource>> {
        let mut here = Vec::new();
        for kind in [ResourceKind::Route, ResourceKind::PrivateIp] {
            let comes = |(resource, location): &(Resource, Location<RouteEntry>)| {
                *location == Location::Pending || self.is_here(resource, location)
            };
            let comes = self.read(kind).await?.into_iter().filter(comes);
            here.extend(comes.map(|(resource, _)| resource));
        }
        here.retain(|one| matches!(one, Resource::Vip { .. } | Resource::PrivateIp { .. }));
        Ok(here)
    }

    /// Takes everything that `survey` found not to be here, kind by kind, and returns what became
    /// of each. A kind that cannot be moved does not hold up those after it: the more of a group
    /// is together, the better.
    pub(super) async fn carry_out(&self, mut steps: Vec<TakeStep>) -> Vec<TakeStep> {
        for kind in KINDS {
            if steps.iter().any(|step| step.kind == kind && step.fate == StepResult::WouldMove) {
                self.take_kind(kind, &mut steps).await;
            }
        }
        steps
    }

    /// Reads until everything of a kind is here, and writes what is not, side by side.
    async fn take_kind(&self, kind: ResourceKind, steps: &mut [TakeStep]) {
        let begun = Instant::now();
        let dns = kind == ResourceKind::Dns;
        let mut rounds = interval(if dns { self.pace.read_dns } else { self.pace.read });
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut attempts: BTreeMap<Resource, Attempt> = BTreeMap::new();
        let is_open = |step: &TakeStep| step.kind == kind && step.fate == StepResult::WouldMove;
        loop {
            rounds.tick().await;
            match self.read(kind).await {
                Ok(locations) => {
                    for step in steps.iter_mut().filter(|step| is_open(step)) {
                        let location = locations.get(&step.what);
                        if location.is_some_and(|one| self.is_here(&step.what, one)) {
                            step.fate = StepResult::Moved;
                            step.took = Some(begun.elapsed());
                        }
                    }
                    let open = steps.iter().filter(|step| is_open(step)).map(|step| &step.what);
                    self.write_due(&locations, &open.collect(), &mut attempts).await;
                }
                Err(error) => tracing::warn!("{kind} cannot be read now: {error:#}"),
            }
            let hopeless = |step: &TakeStep| attempts.get(&step.what).is_some_and(|one| one.last);
            let left = steps.iter().any(|step| is_open(step) && !hopeless(step));
            if !left || Instant::now() >= self.deadline {
                break;
            }
        }
        for step in steps.iter_mut().filter(|step| is_open(step)) {
            step.fate = StepResult::NotHere;
            let why = attempts.remove(&step.what).map(|attempt| attempt.why);
            step.reason = why.unwrap_or_else(|| "it could not be read again".to_owned());
        }
    }

    /// Writes what is open and was not written a moment ago, side by side.
    async fn write_due(
        &self,
        locations: &Locations,
        open: &BTreeSet<&Resource>,
        attempts: &mut BTreeMap<Resource, Attempt>,
    ) {
        let is_due = |(resource, location): &(&Resource, &Location<RouteEntry>)| {
            open.contains(resource)
                && !matches!(location, Location::Pending | Location::Absent)
                && attempts.get(*resource).is_none_or(Attempt::is_over)
        };
        let due: Vec<_> = locations.iter().filter(is_due).collect();
        let writes = due.iter().map(|(resource, location)| self.write(resource, location));
        let results = futures_util::future::join_all(writes).await;
        for ((resource, location), result) in due.into_iter().zip(results) {
            let found = shown(&self.resolve(resource, location.clone()), self.me);
            attempts.insert(resource.clone(), Attempt::new(found, result, self.pace));
        }
    }

    /// Where all resources of a kind lead.
    async fn read(&self, kind: ResourceKind) -> anyhow::Result<Locations> {
        let resources: Vec<Resource> =
            self.group.resources.iter().filter(|one| one.kind() == kind).cloned().collect();
        if resources.is_empty() {
            return Ok(Locations::new());
        }
        let late = || anyhow!("no answer within {}", humantime::format_duration(self.call_limit));
        if kind != ResourceKind::Route {
            let asked = timeout(self.call_limit, self.cloud.holders(&resources)).await;
            let seen = asked.map_err(|_| late())??;
            let entries = seen.into_iter().map(|(one, seen)| (one, seen.map(RouteEntry::active)));
            return Ok(entries.collect());
        }
        let tables: BTreeSet<_> = resources
            .iter()
            .filter_map(|one| one.route().map(|(table, _)| table.clone()))
            .collect();
        let tables: Vec<_> = tables.into_iter().collect();
        let found = timeout(self.call_limit, self.cloud.routes(&tables)).await;
        let found = found.map_err(|_| late())??;
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

    /// Who holds a resource that points there. A route to anything deleted counts as vacant, for
    /// an operator who asks for it may take it.
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

    /// Why a resource has to be moved; empty where it is here, or on its way.
    fn need(&self, resource: &Resource, location: &Location<Holder>) -> Result<String, String> {
        if resource.target(self.me).is_none() {
            return Err("this node has no public address to give".to_owned());
        }
        match location {
            Location::Absent => Err("it does not exist, as far as EC2 tells".to_owned()),
            Location::Vacant => Ok("nobody held it".to_owned()),
            Location::Pending => Ok("a change of it is on its way".to_owned()),
            Location::At(Holder::Member { node, .. }) if *node == self.me.id => Ok(String::new()),
            Location::At(Holder::Member { node, .. }) => Ok(format!("{} held it", self.name(node))),
            Location::At(Holder::Foreign { target, .. }) if self.adopt => {
                Ok(format!("adopted from {target}"))
            }
            Location::At(Holder::Foreign { target, .. }) => Err(format!(
                "it leads to {target}, which is not in the cluster; --adopt takes it nevertheless"
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
            fate: StepResult::NotHere,
            reason,
            took: None,
        }
    }

    fn name(&self, node: &InstanceId) -> String {
        let name = self.roster.member(node).and_then(|member| member.name.as_ref());
        name.map_or_else(|| node.to_string(), |name| format!("{name} ({node})"))
    }

    async fn write(
        &self,
        resource: &Resource,
        location: &Location<RouteEntry>,
    ) -> Result<(), CloudFault> {
        let change = match resource.route() {
            Some((table, cidr)) => CloudChange::Route(RouteWrite {
                verb: match location {
                    Location::Vacant => RouteWriteVerb::Create,
                    _ => RouteWriteVerb::Replace,
                },
                table: table.clone(),
                cidr,
                interface: self.me.interface.clone(),
            }),
            None => CloudChange::Assign(Assignment {
                resource: resource.clone(),
                interface: self.me.interface.clone(),
                address: match resource.target(self.me) {
                    Some(RouteTarget::Address(address)) => address,
                    _ => self.me.address,
                },
            }),
        };
        match timeout(self.call_limit, self.cloud.change(&change, &Gate::open())).await {
            // An open gate stops nothing.
            Ok(Ok(Sent::Accepted | Sent::Expired)) => Ok(()),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Err(CloudFault {
                kind: CloudFaultKind::Unknown,
                call: change.name().to_owned(),
                message: format!(
                    "no answer within {}",
                    humantime::format_duration(self.call_limit)
                ),
            }),
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

/// Whether the same call would fail in the same way again.
const fn is_final(kind: CloudFaultKind) -> bool {
    matches!(kind, CloudFaultKind::Denied | CloudFaultKind::Unsupported | CloudFaultKind::Other)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
