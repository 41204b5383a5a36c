//! `natha adopt` and `natha retire`: route tables go from another NAT to this node, one after the
//! other, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ipnet::Ipv4Net;
use serde::Serialize;
use tokio::time::Instant;

use super::adopted::{AdoptedFile, AdoptedRoute};
use super::lock::TakeLock;
use super::proof::{Connections, Served};
use super::run::{Pace, StepResult, TakeRun};
use super::shared::{FIND, find};
use crate::config::{Flags, Settings, load};
use crate::daemon::discovery::Membership;
use crate::daemon::waiting::Waiting;
use crate::kernel::signals::Endings;
use crate::types::{
    Group, GroupName, Holder, InstanceId, Location, NatGatewayId, Resource, RouteTableId,
    RouteTableInfo, RouteTarget,
};

/// A read may take several calls, each with the API's time limit: its limit in units of that.
const CALL_LIMITS: u32 = 3;
/// Why a table is not moved from or to the fallback of its group.
const FALLBACK_TARGET: &str = "that is the group's fallback: the monitors take back what is there. \
                               Remove the fallback first (`fallback`, or the tag natha:fallback)";
/// How long one change may take until reads show it.
const CHANGE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(crate) struct AdoptRequest {
    /// Only these tables; all where it is empty.
    pub(crate) tables: BTreeSet<RouteTableId>,
    /// Whether to make the changes.
    pub(crate) yes: bool,
    /// How long to wait for the proof that the hosts of a table are served.
    pub(crate) proof: Duration,
    /// Keep a table whose hosts send nothing meanwhile.
    pub(crate) keep_quiet: bool,
}

/// What becomes of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AdoptResult {
    /// It would be moved.
    WouldMove,
    /// It is not for this node to move.
    LeftAlone,
    /// It points to this node, and connections of its hosts work.
    Served,
    /// It points to this node, and its hosts have sent nothing.
    Quiet,
    /// It points to its old target again.
    GivenBack,
    /// It could not be moved, or not be given back.
    Failed,
    /// It was not its turn, after another failed.
    Skipped,
}

/// One route of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AdoptStep {
    pub(crate) group: GroupName,
    pub(crate) table: RouteTableId,
    pub(crate) destination: Ipv4Net,
    /// Its old target.
    pub(crate) before: String,
    pub(crate) result: AdoptResult,
    /// Why.
    pub(crate) note: String,
}

/// The result of [`adopt`] or [`retire`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AdoptReport {
    pub(crate) node: InstanceId,
    pub(crate) tables: Vec<AdoptStep>,
}

/// A route to move, and its target.
struct Candidate {
    step: AdoptStep,
    resource: Resource,
    before: RouteTarget,
}

/// Points the tables that point outside the cluster to this node, one after the other.
///
/// # Errors
/// If the settings are wrong, the cluster cannot be found, a table is named that is not this
/// cluster's, or the tables cannot be read. Nothing was changed then.
pub(crate) async fn adopt(flags: &Flags, request: &AdoptRequest) -> anyhow::Result<AdoptReport> {
    let (found, _lock) = begin(flags, request.yes).await?;
    let tables = read_tables(&found).await?;
    let mut candidates = plan(&found, &tables, &request.tables)?;
    if request.yes {
        let mut adopted = AdoptedFile::load(&found.discovery.settings.state_dir)?;
        // From here on, a signal ends no move half-way.
        let mut endings = Endings::listen()?;
        let mut has_failed = false;
        for one in candidates.iter_mut().filter(|one| one.step.result == AdoptResult::WouldMove) {
            if has_failed || endings.pending().await.is_some() {
                has_failed = true;
                one.step.result = AdoptResult::Skipped;
                continue;
            }
            let sources = sources(&found, &tables, &one.step.table).await?;
            let (result, note) =
                move_one(&found, request, one, sources, (&mut adopted, &mut endings)).await?;
            has_failed = !matches!(result, AdoptResult::Served | AdoptResult::Quiet);
            (one.step.result, one.step.note) = (result, note);
        }
    }
    let steps = candidates.into_iter().map(|one| one.step).collect();
    Ok(AdoptReport { node: found.cluster.me.id.clone(), tables: steps })
}

/// Points adopted tables back to their old targets.
///
/// # Errors
/// As for [`adopt`].
pub(crate) async fn retire(
    flags: &Flags,
    tables: &BTreeSet<RouteTableId>,
    yes: bool,
) -> anyhow::Result<AdoptReport> {
    let (found, _lock) = begin(flags, yes).await?;
    let mut adopted = AdoptedFile::load(&found.discovery.settings.state_dir)?;
    let is_meant = |route: &AdoptedRoute| tables.is_empty() || tables.contains(&route.table);
    if let Some(other) =
        tables.iter().find(|one| !adopted.routes().keys().any(|it| it.table == **one))
    {
        bail!("this node did not adopt {other}: use `aws ec2 replace-route`");
    }
    let routes: Vec<_> =
        adopted.routes().clone().into_iter().filter(|(it, _)| is_meant(it)).collect();
    let mut steps = Vec::new();
    for (route, before) in routes {
        let group = group_of(&found, &route);
        let is_fallback = group.is_some_and(|group| is_fallback(group, &before));
        let group = group.map(|group| group.name.clone());
        let (result, note) = if is_fallback {
            (AdoptResult::LeftAlone, FALLBACK_TARGET.to_owned())
        } else if yes {
            give_back(&found, &route, &before, &mut adopted).await?
        } else {
            (AdoptResult::WouldMove, String::new())
        };
        let Some(group) = group.or_else(|| "none".parse().ok()) else { continue };
        let AdoptedRoute { table, cidr: destination } = route;
        let before = before.to_string();
        steps.push(AdoptStep { group, table, destination, before, result, note });
    }
    Ok(AdoptReport { node: found.cluster.me.id.clone(), tables: steps })
}

/// Finds the cluster, and keeps other runs away if something is to be changed.
async fn begin(flags: &Flags, changes: bool) -> anyhow::Result<(Membership, Option<TakeLock>)> {
    let deadline = Instant::now() + FIND;
    let settings = load(flags, None)?.settings;
    if settings.timing.adopt {
        bail!(
            "failover.adopt is on: the monitors take every table that points outside the cluster. \
             Turn it off on all nodes to move tables one after the other"
        );
    }
    let lock =
        if changes { Some(TakeLock::wait(&settings.state_dir, deadline).await?) } else { None };
    let waiting = Waiting::at_most(FIND, None);
    Ok((find(flags, settings, deadline, waiting).await?, lock))
}

async fn read_tables(found: &Membership) -> anyhow::Result<BTreeMap<RouteTableId, RouteTableInfo>> {
    let groups = found.cluster.roster.groups.iter();
    let routes = groups.flat_map(|group| &group.resources).filter_map(Resource::route);
    let ids: BTreeSet<RouteTableId> = routes.map(|(table, _)| table.clone()).collect();
    let ids: Vec<RouteTableId> = ids.into_iter().collect();
    let tables = found.discovery.clouds.ec2().route_tables(&ids).await?;
    Ok(tables.into_iter().map(|table| (table.id.clone(), table)).collect())
}

/// The routes that point outside the cluster.
fn plan(
    found: &Membership,
    tables: &BTreeMap<RouteTableId, RouteTableInfo>,
    only: &BTreeSet<RouteTableId>,
) -> anyhow::Result<Vec<Candidate>> {
    if let Some(unknown) = only.iter().find(|id| !tables.contains_key(id)) {
        let cluster = &found.cluster.name;
        bail!(
            "{unknown} is not a table of cluster {cluster}: tag it with natha:cluster={cluster}, \
             and wait until `natha status` shows it"
        );
    }
    let roster = &found.cluster.roster;
    let mut candidates = Vec::new();
    for group in &roster.groups {
        for resource in &group.resources {
            let Resource::DefaultRoute { table, cidr } = resource else { continue };
            if !only.is_empty() && !only.contains(table) {
                continue;
            }
            let entry = tables.get(table).and_then(|info| info.routes.get(cidr));
            let Some(entry) = entry else { continue };
            let holder = Location::At(entry.clone()).resolve(resource, &roster.members);
            let Location::At(Holder::Foreign { target, blackhole: false }) = holder else {
                continue;
            };
            let home = group.home.as_ref().filter(|home| **home != found.cluster.me.id);
            let (result, note) = match home {
                _ if is_fallback(group, &target) => {
                    (AdoptResult::LeftAlone, FALLBACK_TARGET.to_owned())
                }
                None => (AdoptResult::WouldMove, String::new()),
                Some(home) => {
                    let home = roster.node_name(home);
                    (AdoptResult::LeftAlone, format!("its home is {home}: run this command there"))
                }
            };
            candidates.push(Candidate {
                step: AdoptStep {
                    group: group.name.clone(),
                    table: table.clone(),
                    destination: *cidr,
                    before: target.to_string(),
                    result,
                    note,
                },
                resource: resource.clone(),
                before: target,
            });
        }
    }
    Ok(candidates)
}

/// The networks whose hosts use a table.
async fn sources(
    found: &Membership,
    tables: &BTreeMap<RouteTableId, RouteTableInfo>,
    table: &RouteTableId,
) -> anyhow::Result<Vec<Ipv4Net>> {
    let info = tables.get(table).context("the table is gone")?;
    if info.main {
        return Ok(found.cluster.vpc_blocks.clone());
    }
    let subnets = found.discovery.clouds.ec2().subnets(&info.subnets).await?;
    Ok(subnets.into_iter().map(|subnet| subnet.cidr).collect())
}

/// Moves one route here, waits for the proof, and gives it back without one. A signal that ends the
/// wait is no proof.
async fn move_one(
    found: &Membership,
    request: &AdoptRequest,
    one: &Candidate,
    sources: Vec<Ipv4Net>,
    (adopted, endings): (&mut AdoptedFile, &mut Endings),
) -> anyhow::Result<(AdoptResult, String)> {
    let route = AdoptedRoute { table: one.step.table.clone(), cidr: one.step.destination };
    let connections = Connections::of(sources).await?;
    // Before the change: a run that is killed leaves a way back.
    adopted.add(route.clone(), one.before.clone())?;
    let (is_here, why) = match point_here(found, one).await {
        Ok(None) => match unless_ended(endings, connections.wait(request.proof)).await {
            Ok(Served::Quiet) if request.keep_quiet => {
                return Ok((AdoptResult::Quiet, "no host has sent anything".to_owned()));
            }
            Ok(served) => match served.complaint() {
                Some(why) => (true, why),
                None => return Ok((AdoptResult::Served, String::new())),
            },
            Err(error) => (true, format!("{error:#}")),
        },
        // The change may have been made all the same.
        Ok(Some(why)) => (false, why),
        Err(error) => (false, format!("{error:#}")),
    };
    match give_back(found, &route, &one.before, adopted).await {
        Ok((AdoptResult::GivenBack, _)) if !is_here => Ok((AdoptResult::Failed, why)),
        Ok((result, note)) if note.is_empty() => Ok((result, why)),
        Ok((result, note)) => Ok((result, format!("{why}; {note}"))),
        Err(error) => {
            let note = format!("{why}; unknown whether it points back: {error:#}");
            Ok((AdoptResult::Failed, note))
        }
    }
}

/// Waits for the proof, or for a signal, which is the error.
async fn unless_ended<T>(
    endings: &mut Endings,
    proof: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        ending = endings.next() => Err(anyhow!("{ending} before the proof")),
        proved = proof => proved,
    }
}

/// Points a route at this node. Returns why it does not point here.
async fn point_here(found: &Membership, one: &Candidate) -> anyhow::Result<Option<String>> {
    let group = Group::new(one.step.group.clone(), None, vec![one.resource.clone()]);
    let settings: &Settings = &found.discovery.settings;
    let run = TakeRun {
        cloud: &found.discovery.clouds,
        roster: &found.cluster.roster,
        me: &found.cluster.me,
        group: &group,
        adopt: true,
        call_limit: settings.api.timeout * CALL_LIMITS,
        deadline: Instant::now() + CHANGE,
        pace: Pace::default(),
    };
    let steps = run.survey().await?;
    let left = run
        .carry_out(steps)
        .await
        .into_iter()
        .find(|step| !matches!(step.result, StepResult::WasHere | StepResult::Moved));
    Ok(left.map(|step| step.reason))
}

/// Points a route at its old target, if a member holds it now.
async fn give_back(
    found: &Membership,
    route: &AdoptedRoute,
    before: &RouteTarget,
    adopted: &mut AdoptedFile,
) -> anyhow::Result<(AdoptResult, String)> {
    let ec2 = found.discovery.clouds.ec2();
    let AdoptedRoute { table, cidr } = route;
    let target = async || {
        let info = ec2.route_table(table).await?;
        anyhow::Ok(info.and_then(|info| info.routes.get(cidr).cloned()).map(|entry| entry.target))
    };
    match target().await? {
        // The read may be older than this node's own write: the old target is written in any case.
        Some(target) if target == *before || is_members(found, &target) => {
            if let Err(fault) = ec2.point_route(table, *cidr, before).await {
                return Ok((AdoptResult::Failed, fault.to_string()));
            }
        }
        Some(target) => {
            return Ok((AdoptResult::LeftAlone, format!("it now points to {target}")));
        }
        None => return Ok((AdoptResult::LeftAlone, "the route is gone".to_owned())),
    }
    adopted.remove(route)?;
    Ok((AdoptResult::GivenBack, String::new()))
}

fn is_members(found: &Membership, target: &RouteTarget) -> bool {
    let is_its = |interface| matches!(target, RouteTarget::Interface(id) if id == interface);
    found.cluster.roster.members.iter().any(|member| is_its(&member.interface))
}

/// Whether `target` is the group's fallback. A node that is proven takes a table from there, even
/// if an operator pointed it there.
fn is_fallback(group: &Group, target: &RouteTarget) -> bool {
    let fallback = group.traits.fallback.as_ref().map(NatGatewayId::as_str);
    matches!(target, RouteTarget::Other(id) if Some(id.as_str()) == fallback)
}

fn group_of<'a>(found: &'a Membership, route: &AdoptedRoute) -> Option<&'a Group> {
    let is_it = |one: &Resource| one.route() == Some((&route.table, route.cidr));
    found.cluster.roster.groups.iter().find(|group| group.resources.iter().any(is_it))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use nix::sys::signal::raise;

    use super::*;
    use crate::kernel::signals::Ending;

    #[tokio::test]
    async fn a_lost_session_ends_the_wait_for_the_proof() {
        let mut endings = Endings::listen().unwrap();
        raise(Ending::HangUp.signal()).unwrap();
        let proof = pending::<anyhow::Result<Served>>();
        let error = unless_ended(&mut endings, proof).await.unwrap_err();
        assert_eq!(error.to_string(), "the session was lost before the proof");
    }
}
