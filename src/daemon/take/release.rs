//! `natha release`: takes a group's addresses off this host once they are elsewhere. The other half
//! of `natha take` for hosts without a monitor: the one that lost a group has to notice by itself.
//!
//! It goes by what is so and not by what happened: as long as packets come to this node, the
//! addresses stay, and the group is served by the old node until the new one has it.

use std::time::Duration;

use anyhow::bail;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::host_change::HostChange;
use super::lock::TakeLock;
use super::shared::{carries, carry, find, monitor_runs, take_run};
use crate::config::{Flags, load};
use crate::daemon::clock;
use crate::types::{GroupName, InstanceId};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long EC2 may go on to show what was before a change. A read soon after `natha take` may
/// still show the group elsewhere.
const READS_LAG: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReleaseReport {
    /// The group.
    pub(crate) group: GroupName,
    /// This node.
    pub(crate) node: InstanceId,
    /// Its addresses whose packets still come to this node: they stay on the host.
    pub(crate) here: Vec<String>,
    /// What was changed on this host, and what failed there.
    pub(crate) host: Vec<HostChange>,
    /// Whether the host carries nothing of the group any more.
    pub(crate) released: bool,
    /// Whether a monitor runs on this host, which sees to all of this by itself.
    pub(crate) monitor: bool,
}

/// Waits until nothing of the group comes to this node, and takes its addresses off the host then.
/// At the end of `limit`, what still comes here stays.
///
/// # Errors
/// Where the settings are wrong, the cluster or the holder cannot be found in time, or there is no
/// such group: nothing was changed then.
pub(crate) async fn release(
    flags: &Flags,
    group: &GroupName,
    limit: Duration,
) -> anyhow::Result<ReleaseReport> {
    let deadline = Instant::now() + limit;
    let settings = load(flags, None)?.settings;
    let (socket, state_dir) = (settings.socket.clone(), settings.state_dir.clone());
    let found = find(flags, settings, deadline).await?;
    let run = take_run(&found, group, deadline)?;
    let mut released = ReleaseReport {
        group: group.clone(),
        node: found.cluster.me.id.clone(),
        here: Vec::new(),
        host: Vec::new(),
        released: true,
        monitor: monitor_runs(&socket).await,
    };
    if released.monitor || !carries(&found.discovery.settings, group) {
        return Ok(released);
    }
    let mut rounds = interval(LOOK_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // The lock is released between two looks: a `natha take` must not wait for this.
        let lock = TakeLock::wait(&state_dir, deadline).await?;
        let fresh = lock.last_taken().is_some_and(|at| clock::now().since(at) < READS_LAG);
        let looked = run.addresses_here().await;
        match &looked {
            Ok(here) if here.is_empty() && !fresh => {
                released.here.clear();
                released.host = carry(&found, group, false).await;
                released.released = !released.host.iter().any(HostChange::is_failure);
                return Ok(released);
            }
            Ok(here) => released.here = here.iter().map(ToString::to_string).collect(),
            Err(error) => tracing::warn!("who holds the group cannot be read now: {error:#}"),
        }
        drop(lock);
        if timeout_at(deadline, rounds.tick()).await.is_err() {
            released.released = false;
            return match looked {
                Ok(_) => Ok(released),
                Err(error) => bail!("nothing was changed: {error:#}"),
            };
        }
    }
}
