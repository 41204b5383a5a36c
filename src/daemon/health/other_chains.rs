//! Watches for chains of other programs, such as Docker or ufw, that may drop what this host
//! forwards. natha cannot override them. That packets are dropped is for the probes to find; the
//! log says whose chain it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::looks::{Cause, Looks};
use crate::kernel::forwarding::{ForwardingError, other_chains};

/// Time between two looks without news.
const EVERY: Duration = Duration::from_mins(1);
/// The least time between two looks. A look runs `nft` once for each table that filters forwarded
/// packets, which may be large.
const LEAST: Duration = Duration::from_secs(1);

/// Runs for as long as the runtime lives. A failed look changes nothing.
pub(crate) async fn watch(state_dir: PathBuf) {
    let mut looks = Looks::new(EVERY, LEAST);
    let mut known = BTreeSet::new();
    loop {
        if matches!(looks.next().await, Cause::News { changed, .. } if !changed.ruleset) {
            continue;
        }
        match dropping(&state_dir).await {
            Ok(now) => {
                for chain in now.difference(&known) {
                    tracing::warn!(
                        "{chain} drops packets that none of its rules accept, and natha cannot \
                         override it; `natha setup --dry-run` prints the rules to add"
                    );
                }
                for chain in known.difference(&now) {
                    tracing::info!("{chain} no longer drops what this host forwards");
                }
                known = now;
            }
            Err(error) => tracing::debug!(%error, "cannot look at other programs' chains"),
        }
    }
}

async fn dropping(state_dir: &Path) -> Result<BTreeSet<String>, ForwardingError> {
    Ok(other_chains(state_dir).await?.iter().map(ToString::to_string).collect())
}
