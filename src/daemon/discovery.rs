//! Finds out who is in the cluster: at the start, and again every minute.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::inbox::Notes;
use crate::cloud::Ec2;
use crate::config::{Settings, discover};
use crate::failover::Input;
use crate::types::{
    CloudFault, InstanceId, InstanceInfo, Member, Roster, RouteTableId, RouteTableInfo, SubnetId,
    SubnetInfo, VpcId,
};

/// Time between two looks at the cluster.
const EVERY: Duration = Duration::from_mins(1);

/// Why the cluster is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiscoveryFault {
    /// EC2 could not be asked.
    #[error("{0}")]
    Cloud(#[from] CloudFault),
    /// EC2 does not know this very instance.
    #[error("EC2 does not know this instance, {0}")]
    Unknown(InstanceId),
    /// What is there makes no cluster.
    #[error("{0}")]
    Problems(String),
}

/// What discovery found.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// Its name, or what stands in for one: the same on all its nodes.
    pub(super) name: String,
    /// Members and groups.
    pub(super) roster: Roster,
    /// This node.
    pub(super) me: Member,
}

/// Asks EC2 about the cluster that `settings` names.
///
/// # Errors
/// Where EC2 cannot be asked, or what it tells makes no cluster.
pub(super) async fn look(
    ec2: &Ec2,
    me: &InstanceInfo,
    settings: &Settings,
) -> Result<Cluster, DiscoveryFault> {
    let vpc = me.vpc.as_ref().ok_or_else(|| DiscoveryFault::Unknown(me.id.clone()))?;
    let instances = instances(ec2, me, settings, vpc).await?;
    let tables = tables(ec2, settings, vpc).await?;
    let subnets = subnets(ec2, &tables).await?;
    let roster = discover(me, settings, &instances, &tables, &subnets)
        .map_err(|problems| DiscoveryFault::Problems(problems.to_string()))?;
    let member = roster.member(&me.id).cloned();
    let member = member.ok_or_else(|| DiscoveryFault::Unknown(me.id.clone()))?;
    let name = settings.cluster.clone().unwrap_or_else(|| stand_in(&roster));
    Ok(Cluster { name, roster, me: member })
}

/// A name for a cluster without one: what it holds, which is the same on all its nodes.
fn stand_in(roster: &Roster) -> String {
    let names: Vec<&str> = roster.groups.iter().map(|group| group.name.as_str()).collect();
    names.join("+")
}

async fn instances(
    ec2: &Ec2,
    me: &InstanceInfo,
    settings: &Settings,
    vpc: &VpcId,
) -> Result<Vec<InstanceInfo>, CloudFault> {
    let mut listed: Vec<&InstanceId> = settings.members.iter().collect();
    listed.extend(settings.pair.as_ref().map(|pair| &pair.peer));
    if listed.is_empty() {
        return match &settings.cluster {
            Some(cluster) => ec2.cluster_instances(vpc, cluster).await,
            None => Ok(vec![me.clone()]),
        };
    }
    let mut found = vec![me.clone()];
    for id in listed {
        if *id != me.id {
            found.extend(ec2.instance(id).await?);
        }
    }
    Ok(found)
}

async fn tables(
    ec2: &Ec2,
    settings: &Settings,
    vpc: &VpcId,
) -> Result<Vec<RouteTableInfo>, CloudFault> {
    let grouped = settings.groups.iter().flat_map(|group| group.tables.iter().cloned());
    let mut listed: Vec<RouteTableId> = grouped.collect();
    if let Some(pair) = &settings.pair {
        listed.extend([pair.peer_table.clone(), pair.my_table.clone()]);
    }
    match (&settings.cluster, listed.is_empty()) {
        (_, false) => ec2.route_tables(&listed).await,
        (Some(cluster), true) => ec2.cluster_route_tables(vpc, cluster).await,
        (None, true) => Ok(Vec::new()),
    }
}

async fn subnets(ec2: &Ec2, tables: &[RouteTableInfo]) -> Result<Vec<SubnetInfo>, CloudFault> {
    let mut ids: Vec<SubnetId> =
        tables.iter().flat_map(|table| table.subnets.iter().cloned()).collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() { Ok(Vec::new()) } else { ec2.subnets(&ids).await }
}

/// Looks again every minute for as long as the loop runs, and passes on what has changed. What
/// cannot be read now changes nothing: the roster stays as it was.
pub(super) async fn keep_looking(
    ec2: Ec2,
    me: InstanceInfo,
    settings: Settings,
    mut roster: Roster,
    notes: Notes,
) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds.tick().await;
    loop {
        rounds.tick().await;
        match look(&ec2, &me, &settings).await {
            Ok(cluster) if cluster.roster == roster => {}
            Ok(cluster) => {
                roster = cluster.roster;
                if !notes.input(Input::Roster { roster: roster.clone() }).await {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "the cluster could not be looked at again"),
        }
    }
}
