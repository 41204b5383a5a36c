//! Discovers the cluster's members and groups: at the start, every minute or so, and when a peer
//! restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::alerts::Alert;
use super::inbox::{Note, Notes};
use super::landings::Landings;
use super::waiting::Obstacle;
use crate::cloud::{Clouds, Connections, Expected, Identity, Imds};
use crate::cluster::{
    Discovered, DiscoveryError, Selector, discover, first_look, inventory_query, look_every,
};
use crate::config::{
    Flags, Given, PairFlags, Problem, Problems, Resolved, Settings, load_with_pair,
};
use crate::failover::Input;
use crate::kernel::forwarding::{ForwardingError, take_in};
use crate::types::{
    CloudFault, Group, GroupName, InstanceId, Location, Member, Resource, Roster, Time,
};

/// For how long a node that is no member is not asked for again.
const STRANGER_EVERY: Duration = Duration::from_mins(1);
/// Time between the first discovery and the second. Right after instances were launched, lists by
/// tag lack some of them for a few seconds.
const SECOND: Duration = Duration::from_secs(10);
/// Nodes that are not members and that EC2 is asked for in [`STRANGER_EVERY`], each once: a bound
/// for clusters without a key, where anyone can send a heartbeat in any name.
const MAX_STRANGERS: usize = 16;
/// The least time between two discoveries that restarted peers trigger. It doubles with each that
/// fails, up to the time between two regular ones.
const LEAST: Duration = Duration::from_secs(2);

/// The result of one discovery.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// Its name, or a substitute that is the same on all its nodes.
    pub(super) name: String,
    /// Members and groups.
    pub(super) roster: Roster,
    /// This node.
    pub(super) me: Member,
    /// The primary private addresses of its interfaces.
    pub(super) primaries: BTreeSet<Ipv4Addr>,
    /// Problems for the operator that do not prevent operation.
    pub(super) warnings: Vec<Problem>,
    /// What keeps natha from covering a table or repairing a node. The status shows it.
    pub(super) findings: Vec<Problem>,
    /// The IPv4 blocks of its VPC.
    pub(super) vpc_blocks: Vec<Ipv4Net>,
    /// The number of landing addresses that EC2 should assign to this node's interface.
    pub(super) unassigned: usize,
}

/// Makes the discovery look again before its time.
#[derive(Debug, Clone, Default)]
pub(super) struct Rediscover {
    asked: Arc<Notify>,
    /// Nodes to ask EC2 for by id.
    strangers: Arc<Mutex<BTreeSet<InstanceId>>>,
    /// When it was asked to look for each.
    asked_for: BTreeMap<InstanceId, Time>,
}

impl Rediscover {
    /// Asks for a discovery.
    pub(super) fn wake(&self) {
        self.asked.notify_one();
    }

    /// Asks for a discovery that looks for `stranger`, a node that is heard and that the lists by
    /// tag lack. Ignored for a node that was asked for within [`STRANGER_EVERY`].
    pub(super) fn look_for(&mut self, stranger: InstanceId, now: Time) {
        self.asked_for.retain(|_, asked| now.since(*asked) < STRANGER_EVERY);
        if self.asked_for.len() >= MAX_STRANGERS || self.asked_for.contains_key(&stranger) {
            return;
        }
        self.asked_for.insert(stranger.clone(), now);
        self.lock().insert(stranger);
        self.wake();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<InstanceId>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This node's cluster as first discovered, and the means to discover it again.
pub(super) struct Membership {
    pub(super) discovery: Discovery,
    pub(super) cluster: Cluster,
    /// Every setting by name, with its source.
    pub(super) given: BTreeMap<&'static str, Given>,
}

/// Why the cluster could not be discovered.
#[derive(Debug)]
pub(super) enum NotFound {
    /// A later attempt may succeed.
    Yet(String),
    /// The settings cannot be satisfied.
    Ever(Problems),
}

impl From<String> for NotFound {
    fn from(why: String) -> Self {
        Self::Yet(why)
    }
}

/// Discovers the cluster.
#[derive(Debug, Clone)]
pub(super) struct Discovery {
    pub(super) clouds: Clouds,
    /// This instance.
    pub(super) me: InstanceId,
    /// The VPC's IPv4 blocks according to the instance metadata, which needs no permission and no
    /// API call. Blocks added since then appear in the route tables.
    pub(super) vpc_cidrs: Vec<Ipv4Net>,
    pub(super) settings: Settings,
}

impl Discovery {
    /// Reads the cluster that the settings or the tags of this instance name. A member or table of
    /// `known`, the roster so far, is missing from the result only if EC2 was asked for it by id.
    /// So is one of `strangers`: nodes that are heard and that are not in that roster.
    ///
    /// # Errors
    /// If an API call fails, the answers do not make a cluster, or the settings cannot be
    /// satisfied.
    pub(super) async fn look(
        &self,
        known: &Roster,
        strangers: &BTreeSet<InstanceId>,
    ) -> Result<Cluster, NotFound> {
        let Self { clouds, me: id, vpc_cidrs, settings, .. } = self;
        let unknown = || format!("EC2 does not know this instance, {id}");
        let told = |fault: CloudFault| fault.to_string();
        let me = clouds.ec2().instance(id).await.map_err(told)?.ok_or_else(unknown)?;
        let query = inventory_query(&me, settings).map_err(|problems| problems.to_string())?;
        let expected = Expected::of(known, strangers);
        let inventory = clouds.inventory(&me, &query, &expected, vpc_cidrs).await.map_err(told)?;
        let found = discover(&me, settings, &inventory).map_err(|error| match error {
            DiscoveryError::NotYet(problems) => NotFound::Yet(problems.to_string()),
            DiscoveryError::Refused(problems) => NotFound::Ever(problems),
        });
        let Discovered { roster, warnings, findings, unassigned } = found?;
        clouds.remember_members(&roster.members);
        let member = roster.member(&me.id).cloned().ok_or_else(unknown)?;
        let name = match &query.tables {
            Selector::Tagged(cluster) => cluster.clone(),
            Selector::Ids(_) => settings.cluster.clone().unwrap_or_else(|| stand_in(settings)),
        };
        let blocks = me.vpc.iter().flat_map(|vpc| inventory.vpc_blocks(vpc));
        let vpc_blocks = Ipv4Net::aggregate(&blocks.copied().collect());
        Ok(Cluster {
            name,
            roster,
            me: member,
            primaries: me.interfaces.iter().map(|interface| interface.address).collect(),
            warnings,
            findings,
            vpc_blocks,
            unassigned,
        })
    }
}

/// One attempt to find the cluster. The outer error is a wrong setting, which a retry cannot fix;
/// the inner one may pass.
pub(super) async fn attempt(
    flags: &Flags,
    pair: &PairFlags,
    settings: &Settings,
    imds: &Imds,
) -> anyhow::Result<Result<Membership, Obstacle>> {
    let asked = async {
        let identity = imds.identity().await?;
        let (region, vpc) = (Some(identity.region.as_str()), identity.vpc);
        let connections =
            if settings.moves_public_addresses() { Connections::Closed } else { Connections::Kept };
        let clouds = Clouds::connect(&settings.api, region, vpc, connections).await;
        let clouds = clouds.map_err(|error| error.to_string())?;
        let info = clouds.ec2().instance(&identity.instance).await;
        let unknown = || format!("EC2 does not know this instance, {}", identity.instance);
        let info = info.map_err(|error| error.to_string())?.ok_or_else(unknown)?;
        Ok::<_, Obstacle>((clouds, info, identity.vpc_cidrs))
    };
    let (clouds, info, vpc_cidrs) = match asked.await {
        Ok(known) => known,
        Err(why) => return Ok(Err(why)),
    };
    let resolved = load_with_pair(flags, pair, Some(&info))?;
    warn(&resolved.warnings, &[]);
    let Resolved { settings, given, .. } = resolved;
    let discovery = Discovery { clouds, me: info.id, vpc_cidrs, settings };
    match discovery.look(&Roster::default(), &BTreeSet::new()).await {
        Ok(cluster) => Ok(Ok(Membership { discovery, cluster, given })),
        Err(NotFound::Yet(why)) => Ok(Err(why.into())),
        Err(NotFound::Ever(problems)) => Err(problems.into()),
    }
}

/// An egress IP, as `natha setup` can know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EgressOutlook {
    pub(crate) group: GroupName,
    /// The public address.
    pub(crate) address: Ipv4Addr,
    /// The landing address that EC2 has assigned to this node.
    pub(crate) landing: Option<Ipv4Addr>,
    /// Where it is; none if EC2 did not answer.
    pub(crate) location: Option<Location>,
}

/// What `natha setup` can know of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    /// What is wrong. A cluster whose settings cannot be satisfied has those as findings.
    pub(crate) findings: Vec<Problem>,
    /// The groups; none if the cluster cannot be discovered now.
    pub(crate) groups: Option<Vec<Group>>,
    /// Their egress IPs.
    pub(crate) egress: Vec<EgressOutlook>,
}

/// Discovers the cluster of this instance, if that is possible now.
pub(crate) async fn outlook(settings: &Settings, identity: &Identity) -> Outlook {
    let (region, vpc) = (Some(identity.region.as_str()), identity.vpc.clone());
    let Ok(clouds) = Clouds::connect(&settings.api, region, vpc, Connections::Closed).await else {
        return Outlook::default();
    };
    let (me, settings) = (identity.instance.clone(), settings.clone());
    let discovery = Discovery { clouds, me, vpc_cidrs: identity.vpc_cidrs.clone(), settings };
    match discovery.look(&Roster::default(), &BTreeSet::new()).await {
        Ok(Cluster { me, roster, findings, .. }) => {
            let egress = egress(&discovery.clouds, &me, &roster.groups).await;
            Outlook { findings, groups: Some(roster.groups), egress }
        }
        Err(NotFound::Yet(_)) => Outlook::default(),
        Err(NotFound::Ever(Problems(findings))) => Outlook { findings, ..Outlook::default() },
    }
}

/// The egress IPs of these groups, and what `me` has for them.
async fn egress(clouds: &Clouds, me: &Member, groups: &[Group]) -> Vec<EgressOutlook> {
    let of_group = |group: &Group| {
        let name = group.name.clone();
        group.resources.clone().into_iter().map(move |one| (name.clone(), one))
    };
    let all: Vec<(GroupName, Resource)> = groups
        .iter()
        .flat_map(of_group)
        .filter(|(_, resource)| matches!(resource, Resource::EgressIp { .. }))
        .collect();
    let resources: Vec<Resource> = all.iter().map(|(_, resource)| resource.clone()).collect();
    let read: BTreeMap<Resource, Location> =
        clouds.holders(&resources).await.unwrap_or_default().into_iter().collect();
    let outlook = |(group, resource): (GroupName, Resource)| {
        let Resource::EgressIp { allocation, address } = &resource else { return None };
        let landing = me.landings.get(allocation).copied();
        let location = read.get(&resource).cloned();
        Some(EgressOutlook { group, address: *address, landing, location })
    };
    all.into_iter().filter_map(outlook).collect()
}

/// A substitute name for a cluster without one: the names of its groups, which are the same on all
/// its nodes.
fn stand_in(settings: &Settings) -> String {
    let mut names: Vec<&str> = settings.groups.iter().map(|group| group.name.as_str()).collect();
    names.sort_unstable();
    names.join("+")
}

/// The alerts that discovery raises.
#[derive(Debug)]
pub(super) struct DiscoveryAlerts {
    /// The settings cannot be satisfied.
    pub(super) refused: Alert,
    /// The last discovery had findings.
    pub(super) findings: Alert,
}

/// Repeats the discovery at the pace of [`look_every`] and when `rediscover` asks for it, for as
/// long as the loop runs, and sends changes to the loop. If a discovery fails, the roster stays as
/// it was.
pub(super) async fn keep_looking(
    discovery: Discovery,
    cluster: Cluster,
    mut alerts: DiscoveryAlerts,
    rediscover: Rediscover,
    notes: Notes,
) {
    let mut landings = Landings::default();
    let assigned =
        landings.assign(&discovery.clouds, cluster.unassigned, &cluster.me.interface).await;
    if assigned {
        rediscover.wake();
    }
    let Cluster { mut roster, mut warnings, findings, vpc_blocks, .. } = cluster;
    alerts.findings.set(listed(&findings)).await;
    take_in_blocks(&discovery.settings, &vpc_blocks).await;
    let mut due = Instant::now() + SECOND;
    let mut is_second = true;
    let mut on_request = OnRequest::default();
    loop {
        let asked = tokio::select! {
            () = sleep_until(due) => false,
            () = rediscover.asked.notified() => true,
        };
        let pace = look_every(roster.members.len());
        if asked {
            sleep_until(on_request.due(pace)).await;
            on_request.last = Some(Instant::now());
        } else {
            let wait = if is_second { first_look(&roster, &discovery.me) } else { pace };
            (due, is_second) = (Instant::now() + wait, false);
        }
        let strangers = std::mem::take(&mut *rediscover.lock());
        match discovery.look(&roster, &strangers).await {
            Ok(cluster) => {
                on_request.failures = 0;
                let Cluster { unassigned, me, .. } = &cluster;
                if landings.assign(&discovery.clouds, *unassigned, &me.interface).await {
                    rediscover.wake();
                }
                alerts.refused.set(None).await;
                alerts.findings.set(listed(&cluster.findings)).await;
                warn(&cluster.warnings, &warnings);
                warnings = cluster.warnings;
                take_in_blocks(&discovery.settings, &cluster.vpc_blocks).await;
                if cluster.roster != roster {
                    roster = cluster.roster;
                    notes.input(Input::Roster { roster: roster.clone() }).await;
                }
                if !notes.send(Note::Discovered).await {
                    return;
                }
            }
            Err(NotFound::Yet(error)) => {
                tracing::warn!(%error, "cannot discover the cluster again");
                rediscover.lock().extend(strangers);
                if asked {
                    on_request.failures += 1;
                    rediscover.wake();
                }
            }
            Err(NotFound::Ever(problems)) => {
                alerts.refused.set(Some(complaint(&problems))).await;
            }
        }
    }
}

/// The discoveries that restarted peers and unknown nodes trigger.
#[derive(Debug, Default)]
struct OnRequest {
    last: Option<Instant>,
    /// How many have failed since one succeeded. All members of a cluster fail together where EC2
    /// throttles, and must not keep it throttled.
    failures: u32,
}

impl OnRequest {
    /// When the next one may begin, where regular ones are `pace` apart.
    fn due(&self, pace: Duration) -> Instant {
        let pause = LEAST.saturating_mul(2_u32.saturating_pow(self.failures)).min(pace);
        self.last.map_or_else(Instant::now, |last| last + pause)
    }
}

/// Adds the VPC's blocks to the plan of a NAT. A block that was added to the VPC since `natha
/// setup` would be cut off until its next run. A block is never removed: an answer of EC2 that
/// lacks one is no evidence.
async fn take_in_blocks(settings: &Settings, blocks: &[Ipv4Net]) {
    if !settings.is_nat() {
        return;
    }
    let also_sources = settings.host.sources.is_empty();
    match take_in(&settings.state_dir, blocks, also_sources).await {
        Ok(changed) if changed => {
            tracing::warn!("the VPC has new address blocks; its blocks are now {}", list(blocks));
        }
        // Without a plan there is nothing to extend; `health` reports that.
        Ok(_) | Err(ForwardingError::NotSetUp) => {}
        Err(error) => tracing::error!(
            %error,
            "cannot take in the VPC's new address blocks; natha tries again in a minute"
        ),
    }
}

fn list(blocks: &[Ipv4Net]) -> String {
    blocks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The alert's text for these findings; none without any.
fn listed(findings: &[Problem]) -> Option<String> {
    let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The alert's text for settings that can no longer be satisfied.
fn complaint(problems: &Problems) -> String {
    format!(
        "members and groups stay as they were, because the settings cannot be satisfied: {problems}"
    )
}

/// Logs the warnings that were not there before.
pub(super) fn warn(now: &[Problem], before: &[Problem]) {
    for warning in now.iter().filter(|warning| !before.contains(warning)) {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: usize) -> InstanceId {
        format!("i-{n:08x}").parse().unwrap()
    }

    #[tokio::test]
    async fn a_stranger_is_asked_for_once_a_minute_and_no_more_than_sixteen_are() {
        let mut rediscover = Rediscover::default();
        let start = Time::from_millis(1_000_000);
        rediscover.look_for(node(1), start);
        rediscover.asked.notified().await;
        assert_eq!(std::mem::take(&mut *rediscover.lock()), BTreeSet::from([node(1)]));
        rediscover.look_for(node(1), start + STRANGER_EVERY - Duration::from_secs(1));
        assert_eq!(*rediscover.lock(), BTreeSet::new());
        rediscover.look_for(node(1), start + STRANGER_EVERY);
        for n in 0..100 {
            rediscover.look_for(node(n), start + STRANGER_EVERY);
        }
        assert_eq!(rediscover.lock().len(), MAX_STRANGERS);
    }
}
