//! `natha release`: removes a group's addresses from this host once another node has them. It is
//! the counterpart of `natha take` on the node that loses the group, for hosts without a monitor.
//!
//! It goes by where the group's resources point, not by the event that started it: as long as
//! packets come to this node, the addresses stay and this node keeps serving the group.

use std::time::Duration;

use anyhow::bail;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::host_change::HostChange;
use super::lock::TakeLock;
use super::shared::{LIMIT_FLAG, carries, carry, find, monitor_runs, take_run};
use crate::config::{Flags, load};
use crate::daemon::clock;
use crate::daemon::waiting::Waiting;
use crate::types::{GroupName, InstanceId};

/// Time between two reads.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long EC2's reads may lag behind a change. A read soon after `natha take` may still show the
/// group on another node.
const READS_LAG: Duration = Duration::from_secs(5);

/// The result of [`release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReleaseReport {
    pub(crate) group: GroupName,
    pub(crate) node: InstanceId,
    /// The group's addresses whose packets still come to this node; they stay on the host.
    pub(crate) here: Vec<String>,
    /// Attempted changes of this host's own addresses.
    pub(crate) host: Vec<HostChange>,
    /// Whether this host no longer carries any address of the group.
    pub(crate) released: bool,
    /// Whether a monitor runs on this host. It then manages the host's addresses.
    pub(crate) monitor: bool,
}

/// Waits until no packets to the group come to this node, then removes its addresses from the host.
/// When `limit` is over, addresses whose packets still come here stay.
///
/// # Errors
/// If the settings are wrong, the cluster or the holder cannot be found in time, or there is no
/// such group. Nothing was changed then.
pub(crate) async fn release(
    flags: &Flags,
    group: &GroupName,
    limit: Duration,
) -> anyhow::Result<ReleaseReport> {
    let deadline = Instant::now() + limit;
    let settings = load(flags, None)?.settings;
    let (socket, state_dir) = (settings.socket.clone(), settings.state_dir.clone());
    let found = find(flags, settings, deadline, Waiting::at_most(limit, Some(LIMIT_FLAG))).await?;
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
        // The lock is released between two reads: a `natha take` must not wait for this.
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
            Err(error) => tracing::warn!("cannot read which node holds the group: {error:#}"),
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
