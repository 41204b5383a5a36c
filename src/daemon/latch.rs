//! The latch in the state directory. It outlives restarts and reboots: only an operator ends it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::failover::Latches;
use crate::kernel::durable;
use crate::status::LatchNote;
use crate::types::InstanceId;

/// Its name in the state directory.
const FILE: &str = "latch.json";

/// The latches in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LatchRecord {
    /// Who latched this node, and why.
    pub(super) here: Option<LatchNote>,
    /// The peers that had the latch when they were last heard.
    pub(super) peers: BTreeSet<InstanceId>,
}

impl LatchRecord {
    /// The same for the machine, which needs no author.
    pub(super) fn latches(&self) -> Latches {
        Latches { here: self.here.is_some(), peers: self.peers.clone() }
    }
}

/// Returns what the last run left, and where the loop publishes each change. A task on the current
/// runtime writes that down.
pub(super) fn start(state_dir: &Path) -> (LatchRecord, watch::Sender<LatchRecord>) {
    let path = state_dir.join(FILE);
    let before = load(&path);
    let (sender, published) = watch::channel(before.clone());
    tokio::spawn(keep(path, published));
    (before, sender)
}

/// A file that cannot be read counts as no latch: natha then protects the cluster.
fn load(path: &Path) -> LatchRecord {
    let text = match durable::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return LatchRecord::default();
        }
        Err(error) => {
            tracing::error!("cannot read {}, this node is not latched: {error}", path.display());
            return LatchRecord::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::error!("cannot parse {}, this node is not latched: {error}", path.display());
        LatchRecord::default()
    })
}

/// Writes down each change, one write after the other, until the loop has ended.
async fn keep(path: PathBuf, mut published: watch::Receiver<LatchRecord>) {
    while published.changed().await.is_ok() {
        let record = published.borrow_and_update().clone();
        let path = path.clone();
        // In a thread of its own: a volume that hangs must not hold up the runtime.
        let write = tokio::task::spawn_blocking(move || write(&path, &record));
        // The thread of a write cannot panic: what fails in it is logged there.
        drop(write.await);
    }
}

fn write(path: &Path, record: &LatchRecord) {
    let text = serde_json::to_vec(record).unwrap_or_default();
    if let Err(error) = durable::replace(path, &text) {
        tracing::error!(
            "cannot write {}: a restart of this monitor will not know of the change of its \
             latch: {error}",
            path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> LatchNote {
        LatchNote {
            by: "ann".to_owned(),
            reason: "new firewall".to_owned(),
            since: "2026-01-02T03:04:05Z".to_owned(),
        }
    }

    #[tokio::test]
    async fn the_next_run_obeys_the_latches_of_the_last_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(start(directory.path()).0, LatchRecord::default());
        let peers = BTreeSet::from(["i-0123abcd".parse().unwrap()]);
        for wanted in [
            LatchRecord { here: Some(note()), peers: BTreeSet::new() },
            LatchRecord { here: None, peers },
            LatchRecord::default(),
        ] {
            let (sender, published) = watch::channel(load(&path));
            sender.send(wanted.clone()).unwrap();
            drop(sender);
            keep(path.clone(), published).await;
            let (found, _sender) = start(directory.path());
            assert_eq!(found, wanted);
            assert_eq!(found.latches().is_latched(), wanted != LatchRecord::default());
        }
    }

    #[test]
    fn a_damaged_file_is_no_latch() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        std::fs::write(&path, "{\"here\":").unwrap();
        assert_eq!(load(&path), LatchRecord::default());
    }
}
