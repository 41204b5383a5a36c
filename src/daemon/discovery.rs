//! Finds out who is in the cluster: at the start, again every minute, and when a peer starts anew.

use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::alerts::Alert;
use super::inbox::Notes;
use crate::cloud::{Clouds, Connections, Imds};
use crate::cluster::{Discovered, DiscoveryError, Selector, discover, inventory_query};
use crate::config::{Flags, PairFlags, Problem, Problems, Settings, load_with_pair};
use crate::failover::Input;
use crate::types::{CloudFault, InstanceId, Member, Roster};

/// Time between two looks at the cluster.
const EVERY: Duration = Duration::from_mins(1);
/// The least time between two looks that peers give reason to.
const LEAST: Duration = Duration::from_secs(2);

/// What discovery found.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// Its name, or what stands in for one: the same on all its nodes.
    pub(super) name: String,
    /// Members and groups.
    pub(super) roster: Roster,
    /// This node.
    pub(super) me: Member,
    /// What a person should put right.
    pub(super) warnings: Vec<Problem>,
}

/// Everything that has to be known before the loop can run.
pub(super) struct Membership {
    pub(super) discovery: Discovery,
    pub(super) cluster: Cluster,
}

/// Why there is no cluster.
#[derive(Debug)]
pub(super) enum NotFound {
    /// What may be better at the next look, in words.
    Yet(String),
    /// What the settings ask for cannot be.
    Ever(Problems),
}

impl From<String> for NotFound {
    fn from(why: String) -> Self {
        Self::Yet(why)
    }
}

/// What a look at the cluster needs to know besides.
#[derive(Debug, Clone)]
pub(super) struct Discovery {
    /// The APIs.
    pub(super) clouds: Clouds,
    /// This instance.
    pub(super) me: InstanceId,
    /// The VPC's IPv4 blocks as the instance metadata told them: that needs no permission and no
    /// call, and blocks that were added since stand in the route tables.
    pub(super) vpc_cidrs: Vec<Ipv4Net>,
    /// The settings.
    pub(super) settings: Settings,
}

impl Discovery {
    /// Asks about the cluster that the settings or the tags of this instance name.
    ///
    /// # Errors
    /// Where the APIs cannot be asked, or what they tell makes no cluster, or settings ask for what
    /// cannot be.
    pub(super) async fn look(&self) -> Result<Cluster, NotFound> {
        let Self { clouds, me: id, vpc_cidrs, settings } = self;
        let unknown = || format!("EC2 does not know this instance, {id}");
        let told = |fault: CloudFault| fault.to_string();
        let me = clouds.ec2().instance(id).await.map_err(told)?.ok_or_else(unknown)?;
        let query = inventory_query(&me, settings).map_err(|problems| problems.to_string())?;
        let inventory = clouds.inventory(&me, &query, vpc_cidrs).await.map_err(told)?;
        let found = discover(&me, settings, &inventory).map_err(|error| match error {
            DiscoveryError::NotYet(problems) => NotFound::Yet(problems.to_string()),
            DiscoveryError::Refused(problems) => NotFound::Ever(problems),
        });
        let Discovered { roster, warnings } = found?;
        let member = roster.member(&me.id).cloned().ok_or_else(unknown)?;
        let name = match &query.tables {
            Selector::Tagged(cluster) => cluster.clone(),
            Selector::Ids(_) => settings.cluster.clone().unwrap_or_else(|| stand_in(settings)),
        };
        Ok(Cluster { name, roster, me: member, warnings })
    }
}

/// One attempt: the outer result is about settings, the inner one about what may pass.
pub(super) async fn attempt(
    flags: &Flags,
    pair: &PairFlags,
    settings: &Settings,
    imds: &Imds,
) -> anyhow::Result<Result<Membership, String>> {
    let asked = async {
        let identity = imds.identity().await.map_err(|error| error.to_string())?;
        let (region, vpc) = (Some(identity.region.as_str()), identity.vpc);
        let connections =
            if settings.moves_public_addresses() { Connections::Closed } else { Connections::Kept };
        let clouds = Clouds::connect(&settings.api, region, vpc, connections).await;
        let clouds = clouds.map_err(|error| error.to_string())?;
        let info = clouds.ec2().instance(&identity.instance).await;
        let unknown = || format!("EC2 does not know this instance, {}", identity.instance);
        let info = info.map_err(|error| error.to_string())?.ok_or_else(unknown)?;
        Ok((clouds, info, identity.vpc_cidrs))
    };
    let (clouds, info, vpc_cidrs) = match asked.await {
        Ok(known) => known,
        Err(why) => return Ok(Err(why)),
    };
    let settings = load_with_pair(flags, pair, Some(&info))?.settings;
    let discovery = Discovery { clouds, me: info.id, vpc_cidrs, settings };
    match discovery.look().await {
        Ok(cluster) => Ok(Ok(Membership { discovery, cluster })),
        Err(NotFound::Yet(why)) => Ok(Err(why)),
        Err(NotFound::Ever(problems)) => Err(problems.into()),
    }
}

/// A name for a cluster without one: the names of its groups, which are the same on all its nodes.
fn stand_in(settings: &Settings) -> String {
    let mut names: Vec<&str> = settings.groups.iter().map(|group| group.name.as_str()).collect();
    names.sort_unstable();
    names.join("+")
}

/// Looks again every minute for as long as the loop runs, and when a peer has started `anew`, and
/// passes on what has changed. What
/// cannot be read now, or cannot be, changes nothing: the roster stays as it was. The alert stands
/// while the settings ask for what cannot be.
pub(super) async fn keep_looking(
    discovery: Discovery,
    mut roster: Roster,
    mut warnings: Vec<Problem>,
    mut refused: Alert,
    anew: Arc<Notify>,
    notes: Notes,
) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds.tick().await;
    let mut least = interval(LEAST);
    least.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = rounds.tick() => false,
            () = anew.notified() => true,
        };
        if asked {
            least.tick().await;
        }
        match discovery.look().await {
            Ok(cluster) => {
                refused.set(None).await;
                warn(&cluster.warnings, &warnings);
                warnings = cluster.warnings;
                if cluster.roster == roster {
                    continue;
                }
                roster = cluster.roster;
                if !notes.input(Input::Roster { roster: roster.clone() }).await {
                    return;
                }
            }
            Err(NotFound::Yet(error)) => {
                tracing::warn!(%error, "the cluster could not be looked at again");
                if asked {
                    anew.notify_one();
                }
            }
            Err(NotFound::Ever(problems)) => refused.set(Some(complaint(&problems))).await,
        }
    }
}

/// What a person should know about settings that can no longer be followed.
fn complaint(problems: &Problems) -> String {
    format!(
        "members and groups stay as they were, since the settings cannot be followed: {problems}"
    )
}

/// Logs the warnings that were not there before.
pub(super) fn warn(now: &[Problem], before: &[Problem]) {
    for warning in now.iter().filter(|warning| !before.contains(warning)) {
        tracing::warn!("{warning}");
    }
}
