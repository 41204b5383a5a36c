//! Finds out who is in the cluster: at the start, and again every minute.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::inbox::Notes;
use crate::cloud::Ec2;
use crate::config::{Discovered, Problem, Settings, Wanted, Which, discover, wanted};
use crate::failover::Input;
use crate::types::{
    CloudFault, InstanceId, InstanceInfo, Member, Roster, RouteTableInfo, SubnetId, SubnetInfo,
};

/// Time between two looks at the cluster.
const EVERY: Duration = Duration::from_mins(1);

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

/// Asks EC2 about the cluster that `settings` or the tags of this instance name.
///
/// # Errors
/// In words, where EC2 cannot be asked, or what it tells makes no cluster.
pub(super) async fn look(
    ec2: &Ec2,
    id: &InstanceId,
    settings: &Settings,
) -> Result<Cluster, String> {
    let unknown = || format!("EC2 does not know this instance, {id}");
    let me = ec2.instance(id).await.map_err(|fault| fault.to_string())?.ok_or_else(unknown)?;
    let wanted = wanted(&me, settings).map_err(|problems| problems.to_string())?;
    let read = read(ec2, &me, &wanted).await.map_err(|fault| fault.to_string())?;
    let (instances, tables, subnets) = read;
    let Discovered { roster, warnings } = discover(&me, settings, &instances, &tables, &subnets)
        .map_err(|problems| problems.to_string())?;
    let member = roster.member(&me.id).cloned().ok_or_else(unknown)?;
    let name = match &wanted.tables {
        Which::Tagged(cluster) => cluster.clone(),
        Which::Listed(_) => settings.cluster.clone().unwrap_or_else(|| stand_in(&roster)),
    };
    Ok(Cluster { name, roster, me: member, warnings })
}

/// A name for a cluster without one: what it holds, which is the same on all its nodes.
fn stand_in(roster: &Roster) -> String {
    let names: Vec<&str> = roster.groups.iter().map(|group| group.name.as_str()).collect();
    names.join("+")
}

type Things = (Vec<InstanceInfo>, Vec<RouteTableInfo>, Vec<SubnetInfo>);

async fn read(ec2: &Ec2, me: &InstanceInfo, wanted: &Wanted) -> Result<Things, CloudFault> {
    let Some(vpc) = &me.vpc else { return Ok(Things::default()) };
    let mut instances = match &wanted.instances {
        Which::Tagged(cluster) => ec2.cluster_instances(vpc, cluster).await?,
        Which::Listed(ids) => {
            let mut found = Vec::new();
            for id in ids {
                found.extend(ec2.instance(id).await?);
            }
            found
        }
    };
    if instances.iter().all(|one| one.id != me.id) {
        instances.push(me.clone());
    }
    let tables = match &wanted.tables {
        Which::Tagged(cluster) => ec2.cluster_route_tables(vpc, cluster).await?,
        Which::Listed(ids) => ec2.route_tables(ids).await?,
    };
    let subnets = subnets(ec2, &tables).await?;
    Ok((instances, tables, subnets))
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
    me: InstanceId,
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
