//! Watches by which interfaces this host reaches the private hosts that it serves. No probe takes
//! the way to each of them. A wrong one raises an alert and triggers no failover: another node may
//! have the same routes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::alerts::Alert;
use crate::daemon::looks::Looks;
use crate::kernel::{journal, links};
use crate::plan::misrouted;

/// Time between two looks without news: the kernel's news do not include routes.
const EVERY: Duration = Duration::from_mins(1);
/// The least time between two looks. A look reads interfaces and routes, and runs no program.
const LEAST: Duration = Duration::from_secs(1);

/// Runs for as long as the runtime lives. A failed look changes nothing.
pub(crate) async fn watch(state_dir: PathBuf, mut alert: Alert) {
    let mut looks = Looks::new(EVERY, LEAST);
    loop {
        looks.next().await;
        match complaints(&state_dir).await {
            Ok(found) => alert.set((!found.is_empty()).then(|| found.join("; "))).await,
            Err(error) => tracing::debug!(%error, "cannot look at the routes of this host"),
        }
    }
}

/// What is wrong; nothing without a plan, which `drift` reports.
async fn complaints(state_dir: &Path) -> anyhow::Result<Vec<String>> {
    let Some(plan) = journal::last_plan(state_dir)? else { return Ok(Vec::new()) };
    let (links, routes) = links::read().await?;
    Ok(misrouted(&plan.table, &links, &routes))
}
