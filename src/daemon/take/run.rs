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
    Assignment, CloudFault, CloudFaultKind, Group, InstanceId, Member, Resource, ResourceKind,
    Roster, RouteTarget, RouteWrite, RouteWriteVerb, Seen, millis,
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

/// Where a resource was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// It does not exist.
    Absent,
    /// It leads nowhere. `exists` tells of a route whether it is there and only its target is gone.
    Vacant { exists: bool },
    /// This node's own change is on its way.
    Settling,
    /// At this node.
    Here,
    /// At another member.
    Peer(InstanceId),
    /// Out of the cluster.
    Foreign(String),
}

/// What became of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepResult {
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
pub struct TakeStep {
    #[serde(skip)]
    what: Resource,
    /// Its name, as in the status.
    pub resource: String,
    /// Its kind.
    pub kind: ResourceKind,
    /// Where it led, in words.
    pub before: String,
    /// What became of it.
    pub fate: StepResult,
    /// Why it moves, or why it is not here; empty where it was here.
    pub reason: String,
    /// From the first change to the read that showed it here, in milliseconds.
    #[serde(rename = "took_ms", with = "millis::option")]
    pub took: Option<Duration>,
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
    fn new(found: &Place, result: Result<(), CloudFault>, pace: Pace) -> Self {
        let at = Instant::now();
        match result {
            Ok(()) => {
                let why = format!("it was written, but leads to {} still", shown(found));
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

/// What a read found, by resource.
type Places = BTreeMap<Resource, Place>;

impl<C: Cloud> TakeRun<'_, C> {
    /// What would have to be done. Nothing is changed.
    ///
    /// # Errors
    /// Where a resource cannot be read, cannot be taken or must not be.
    pub(super) async fn survey(&self) -> anyhow::Result<Vec<TakeStep>> {
        let mut steps = Vec::new();
        let mut refusals = Vec::new();
        for kind in KINDS {
            for (resource, place) in self.read(kind).await? {
                match self.need(&resource, &place) {
                    Ok(reason) => steps.push(TakeStep {
                        fate: if reason.is_empty() {
                            StepResult::WasHere
                        } else {
                            StepResult::WouldMove
                        },
                        ..self.step(&resource, &place, reason)
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
    ///
    /// # Errors
    /// Where that cannot be read.
    pub(super) async fn addresses_here(&self) -> anyhow::Result<Vec<Resource>> {
        let mut here = Vec::new();
        for kind in [ResourceKind::Route, ResourceKind::PrivateIp] {
            let places = self.read(kind).await?.into_iter();
            let comes = places.filter(|(_, place)| matches!(place, Place::Here | Place::Settling));
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
                Ok(places) => {
                    for step in steps.iter_mut().filter(|step| is_open(step)) {
                        if places.get(&step.what) == Some(&Place::Here) {
                            step.fate = StepResult::Moved;
                            step.took = Some(begun.elapsed());
                        }
                    }
                    let open = steps.iter().filter(|step| is_open(step)).map(|step| &step.what);
                    self.write_due(&places, &open.collect(), &mut attempts).await;
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
        places: &Places,
        open: &BTreeSet<&Resource>,
        attempts: &mut BTreeMap<Resource, Attempt>,
    ) {
        let is_due = |(resource, place): &(&Resource, &Place)| {
            open.contains(resource)
                && !matches!(place, Place::Settling | Place::Absent)
                && attempts.get(*resource).is_none_or(Attempt::is_over)
        };
        let due: Vec<(&Resource, &Place)> = places.iter().filter(is_due).collect();
        let writes = due.iter().map(|(resource, place)| self.write(resource, place));
        let results = futures_util::future::join_all(writes).await;
        for ((resource, place), result) in due.into_iter().zip(results) {
            attempts.insert(resource.clone(), Attempt::new(place, result, self.pace));
        }
    }

    /// Where all resources of a kind lead.
    async fn read(&self, kind: ResourceKind) -> anyhow::Result<Places> {
        let resources: Vec<Resource> =
            self.group.resources.iter().filter(|one| one.kind() == kind).cloned().collect();
        if resources.is_empty() {
            return Ok(Places::new());
        }
        let late = || anyhow!("no answer within {}", humantime::format_duration(self.call_limit));
        if kind != ResourceKind::Route {
            let asked = timeout(self.call_limit, self.cloud.holders(&resources)).await;
            let seen = asked.map_err(|_| late())??;
            return Ok(seen.into_iter().map(|(one, seen)| self.judge(one, seen)).collect());
        }
        let tables: BTreeSet<_> = resources
            .iter()
            .filter_map(|one| one.route().map(|(table, _)| table.clone()))
            .collect();
        let tables: Vec<_> = tables.into_iter().collect();
        let found = timeout(self.call_limit, self.cloud.routes(&tables)).await;
        let found = found.map_err(|_| late())??;
        let place = |resource: Resource| {
            let (table, cidr) = resource.route()?;
            let place = match found.get(table).map(|routes| routes.0.get(&cidr)) {
                None => Place::Absent,
                Some(None) => Place::Vacant { exists: false },
                Some(Some(entry)) => match self.at(&resource, &entry.target) {
                    Place::Foreign(_) if entry.blackhole => Place::Vacant { exists: true },
                    place => place,
                },
            };
            Some((resource, place))
        };
        Ok(resources.into_iter().filter_map(place).collect())
    }

    fn judge(&self, resource: Resource, seen: Seen) -> (Resource, Place) {
        let place = match seen {
            Seen::Absent => Place::Absent,
            Seen::Free => Place::Vacant { exists: false },
            Seen::Settling => Place::Settling,
            Seen::At(target) => self.at(&resource, &target),
        };
        (resource, place)
    }

    fn at(&self, resource: &Resource, target: &RouteTarget) -> Place {
        let leads_to = |member: &&Member| resource.target(member).as_ref() == Some(target);
        if leads_to(&self.me) {
            return Place::Here;
        }
        match self.roster.members.iter().find(leads_to) {
            Some(member) => Place::Peer(member.id.clone()),
            None => Place::Foreign(target.to_string()),
        }
    }

    /// Why a resource has to be moved; empty where it is here, or on its way.
    fn need(&self, resource: &Resource, place: &Place) -> Result<String, String> {
        if resource.target(self.me).is_none() {
            return Err("this node has no public address to give".to_owned());
        }
        match place {
            Place::Here => Ok(String::new()),
            Place::Absent => Err("it does not exist, as far as EC2 tells".to_owned()),
            Place::Vacant { .. } => Ok("nobody held it".to_owned()),
            Place::Settling => Ok("a change of it is on its way".to_owned()),
            Place::Peer(node) => Ok(format!("{} held it", self.name(node))),
            Place::Foreign(target) if self.adopt => Ok(format!("adopted from {target}")),
            Place::Foreign(target) => Err(format!(
                "it leads to {target}, which is not in the cluster; --adopt takes it nevertheless"
            )),
        }
    }

    fn step(&self, resource: &Resource, place: &Place, reason: String) -> TakeStep {
        let before = match place {
            Place::Peer(node) => self.name(node),
            Place::Here => "here".to_owned(),
            other => shown(other),
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

    async fn write(&self, resource: &Resource, place: &Place) -> Result<(), CloudFault> {
        let change = match resource.route() {
            Some((table, cidr)) => CloudChange::Route(RouteWrite {
                verb: match place {
                    Place::Vacant { exists: false } => RouteWriteVerb::Create,
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

fn shown(place: &Place) -> String {
    match place {
        Place::Absent | Place::Vacant { .. } => "nowhere".to_owned(),
        Place::Settling => "this node soon".to_owned(),
        Place::Here => "this node".to_owned(),
        Place::Peer(node) => node.to_string(),
        Place::Foreign(target) => target.clone(),
    }
}

/// Whether the same call would fail in the same way again.
const fn is_final(kind: CloudFaultKind) -> bool {
    matches!(kind, CloudFaultKind::Denied | CloudFaultKind::Unsupported | CloudFaultKind::Other)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
