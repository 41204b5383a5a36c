//! `natha take`: everything around one takeover on request.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::host_change::HostChange;
use super::lock::TakeLock;
use super::run::{StepResult, TakeStep};
use super::shared::{carries, carry, find, monitor_runs, take_run};
use crate::config::{Flags, load};
use crate::types::{GroupName, InstanceId, ResourceKind};

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct TakeRequest {
    /// The group.
    pub(crate) group: GroupName,
    /// Take what leads out of the cluster, too.
    pub(crate) adopt: bool,
    /// Change nothing.
    pub(crate) dry_run: bool,
    /// When to give up.
    pub(crate) limit: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TakeReport {
    /// The group.
    pub(crate) group: GroupName,
    /// This node.
    pub(crate) node: InstanceId,
    /// Each of its resources.
    pub(crate) resources: Vec<TakeStep>,
    /// What was changed on this host, and what failed there.
    pub(crate) host: Vec<HostChange>,
    /// Whether all of it is here now.
    pub(crate) all_here: bool,
    /// Whether a monitor runs on this host, whose business the host's side is then.
    pub(crate) monitor: bool,
}

/// Takes the group once.
///
/// # Errors
/// Where the settings are wrong, the cluster cannot be found in time, there is no such group, or a
/// resource cannot be read or must not be taken: nothing was changed then.
pub(crate) async fn take(flags: &Flags, request: &TakeRequest) -> anyhow::Result<TakeReport> {
    let deadline = Instant::now() + request.limit;
    let settings = load(flags, None)?.settings;
    // Before anything is read: keepalived starts its scripts side by side, and the later one has
    // to see what the earlier one did.
    let lock = if request.dry_run {
        None
    } else {
        Some(TakeLock::wait(&settings.state_dir, deadline).await?)
    };
    let socket = settings.socket.clone();
    let found = find(flags, settings, deadline).await?;
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
            // Nothing of it came, so that nothing of it may stay on the host.
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
            .all(|step| matches!(step.fate, StepResult::WasHere | StepResult::Moved))
            && !host.iter().any(HostChange::is_failure),
        resources,
        host,
        monitor,
    })
}

fn any_address_here(steps: &[TakeStep]) -> bool {
    steps.iter().any(|step| {
        matches!(step.kind, ResourceKind::Route | ResourceKind::PrivateIp)
            && matches!(step.fate, StepResult::WasHere | StepResult::Moved)
    })
}
