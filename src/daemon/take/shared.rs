//! What `natha take` and `natha release` share: the cluster, the group, and this host's side of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::net::UnixStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::host_change::HostChange;
use super::run::{Pace, TakeRun};
use crate::cloud::{Clouds, Imds};
use crate::config::{Flags, PairFlags, Settings, load};
use crate::daemon::carrier::{self, MustCarry};
use crate::daemon::discovery::{self, Membership};
use crate::daemon::waiting::{Obstacle, Waiting};
use crate::plan::parts_of;
use crate::types::GroupName;

/// A read may take several calls, each with the API's time limit: its limit in units of that.
const CALL_LIMITS: u32 = 3;
/// The flag that sets how long `natha take` and `natha release` try.
pub(super) const LIMIT_FLAG: &str = "--limit";
/// Time between two attempts to find the cluster.
const FIND_EVERY: Duration = Duration::from_secs(1);

/// Whether a monitor runs on this host: one that was killed leaves a socket that refuses
/// connections.
pub(super) async fn monitor_runs(socket: &Path) -> bool {
    UnixStream::connect(socket).await.is_ok()
}

/// A takeover of this group. Fails if there is no such group.
pub(super) fn take_run<'a>(
    found: &'a Membership,
    name: &GroupName,
    deadline: Instant,
) -> anyhow::Result<TakeRun<'a, Clouds>> {
    let (roster, settings) = (&found.cluster.roster, &found.discovery.settings);
    let group = roster.groups.iter().find(|group| group.name == *name);
    let group = group.ok_or_else(|| {
        let known: Vec<&str> = roster.groups.iter().map(|group| group.name.as_str()).collect();
        anyhow!("there is no group {name}; there are: {}", known.join(", "))
    })?;
    Ok(TakeRun {
        cloud: &found.discovery.clouds,
        roster,
        me: &found.cluster.me,
        group,
        adopt: settings.timing.adopt,
        call_limit: settings.api.timeout * CALL_LIMITS,
        deadline,
        pace: Pace::default(),
    })
}

/// Whether this host carries anything for the group while it holds it.
pub(super) fn carries(settings: &Settings, group: &GroupName) -> bool {
    settings.groups.iter().any(|one| one.name == *group && !parts_of(one, "").is_empty())
}

/// Makes this host carry the group's addresses, or stop carrying them.
pub(super) async fn carry(found: &Membership, group: &GroupName, held: bool) -> Vec<HostChange> {
    let must_carry = MustCarry::from([(group.clone(), held)]);
    let (settings, cluster) = (&found.discovery.settings, &found.cluster);
    let carried =
        carrier::carry(settings, cluster.me.address, &cluster.primaries, &must_carry).await;
    match carried {
        Ok(outcome) => {
            let made = outcome.changes.iter().map(|change| HostChange::Made(change.to_string()));
            let failed = outcome.errors.iter().map(|error| HostChange::Failed(error.to_string()));
            made.chain(failed).collect()
        }
        Err(error) => vec![HostChange::Failed(format!("{error:#}"))],
    }
}

/// How long the cluster may take to be found where no time limit is given.
pub(super) const FIND: Duration = Duration::from_secs(30);

/// Finds the cluster as the monitor does, for commands without a time limit of their own.
///
/// # Errors
/// If the settings are wrong, or the cluster cannot be found in time.
pub(in crate::daemon) async fn find_cluster(flags: &Flags) -> anyhow::Result<Membership> {
    let settings = load(flags, None)?.settings;
    Box::pin(find(flags, settings, Instant::now() + FIND, Waiting::at_most(FIND, None))).await
}

/// Finds the cluster as the monitor does. keepalived runs its script once per transition, so a
/// failure that may pass is retried until `deadline`. `waiting` says what is logged meanwhile.
pub(super) async fn find(
    flags: &Flags,
    settings: Settings,
    deadline: Instant,
    mut waiting: Waiting,
) -> anyhow::Result<Membership> {
    let imds = Imds::new();
    let begun = Instant::now();
    let mut rounds = interval(FIND_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Obstacle::from("the instance metadata service does not answer".to_owned());
    loop {
        let attempt = async {
            rounds.tick().await;
            Box::pin(discovery::attempt(flags, &PairFlags::default(), &settings, &imds)).await
        };
        match timeout_at(deadline, attempt).await {
            Ok(Ok(Ok(found))) => return Ok(found),
            Ok(Ok(Err(why))) => {
                if let Some(line) = waiting.line(&why, begun.elapsed()) {
                    tracing::warn!("{line}");
                }
                last = why;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => bail!("nothing was changed: {last}"),
        }
    }
}
