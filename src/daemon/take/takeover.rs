//! `natha take`: everything around one takeover on request.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::host_change::HostChange;
use super::lock::TakeLock;
use super::run::{StepResult, TakeStep};
use super::shared::{LIMIT_FLAG, carries, carry, find, monitor_runs, take_run};
use crate::config::{Flags, load};
use crate::daemon::waiting::Waiting;
use crate::types::{GroupName, InstanceId};

#[derive(Debug, Clone)]
pub(crate) struct TakeRequest {
    pub(crate) group: GroupName,
    /// Also take resources that point outside the cluster.
    pub(crate) adopt: bool,
    /// Only report what would be changed.
    pub(crate) dry_run: bool,
    /// Time limit of the whole run.
    pub(crate) limit: Duration,
}

/// The result of [`take`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TakeReport {
    pub(crate) group: GroupName,
    pub(crate) node: InstanceId,
    pub(crate) resources: Vec<TakeStep>,
    /// Attempted changes of this host's own addresses.
    pub(crate) host: Vec<HostChange>,
    /// Whether this node now has the whole group and no change of this host failed.
    pub(crate) all_here: bool,
    /// Whether a monitor runs on this host. It then manages the host's addresses.
    pub(crate) monitor: bool,
}

/// Takes the group once.
///
/// # Errors
/// If the settings are wrong, the cluster cannot be found in time, there is no such group, or a
/// resource cannot be read or must not be taken. Nothing was changed then.
pub(crate) async fn take(flags: &Flags, request: &TakeRequest) -> anyhow::Result<TakeReport> {
    let deadline = Instant::now() + request.limit;
    let settings = load(flags, None)?.settings;
    // Before anything is read: keepalived runs scripts concurrently, and the later run must see
    // what the earlier one did.
    let lock = if request.dry_run {
        None
    } else {
        Some(TakeLock::wait(&settings.state_dir, deadline).await?)
    };
    let socket = settings.socket.clone();
    let waiting = Waiting::at_most(request.limit, Some(LIMIT_FLAG));
    let found = find(flags, settings, deadline, waiting).await?;
    let monitor = monitor_runs(&socket).await;
    let mut run = take_run(&found, &request.group, deadline)?;
    run.adopt |= request.adopt;
    let steps = run.survey().await?;
    let mut host = Vec::new();
    let resources = if request.dry_run {
        steps
    } else {
        let ours = !monitor && carries(&found.discovery.settings, &request.group);
        if ours {
            host.extend(carry(&found, &request.group, true).await);
        }
        let steps = run.carry_out(steps).await;
        if ours && !any_address_here(&steps) {
            // None of the addresses arrived here, so none may stay on this host.
            host.extend(carry(&found, &request.group, false).await);
        }
        lock.as_ref().map_or(Ok(()), TakeLock::stamp)?;
        steps
    };
    Ok(TakeReport {
        group: request.group.clone(),
        node: found.cluster.me.id.clone(),
        all_here: resources
            .iter()
            .all(|step| matches!(step.result, StepResult::WasHere | StepResult::Moved))
            && !host.iter().any(HostChange::is_failure),
        resources,
        host,
        monitor,
    })
}

fn any_address_here(steps: &[TakeStep]) -> bool {
    steps.iter().any(|step| {
        step.kind.carries_addresses()
            && matches!(step.result, StepResult::WasHere | StepResult::Moved)
    })
}
