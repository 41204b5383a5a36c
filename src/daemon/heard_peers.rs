//! Which peers were heard since the host booted, for a monitor that starts again: their silence
//! counts, that of a peer which was never heard does not.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::boot_memory::BootMemory;
use crate::types::InstanceId;

/// Its name in the state directory.
const FILE: &str = "heard.json";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct HeardPeers {
    heard: BTreeSet<InstanceId>,
}

/// Returns what earlier runs heard in this boot, and where the loop publishes whom it has heard.
/// A task on the current runtime writes that down.
pub(super) fn start(
    state_dir: &Path,
) -> (BTreeSet<InstanceId>, watch::Sender<BTreeSet<InstanceId>>) {
    let memory = BootMemory::<HeardPeers>::load(state_dir, FILE);
    let heard = memory.content().heard.clone();
    let (sender, published) = watch::channel(heard.clone());
    tokio::spawn(keep(memory, published));
    (heard, sender)
}

/// Writes down each change, one write after the other, until the loop has ended.
async fn keep(
    mut memory: BootMemory<HeardPeers>,
    mut published: watch::Receiver<BTreeSet<InstanceId>>,
) {
    while published.changed().await.is_ok() {
        let heard = published.borrow_and_update().clone();
        if let Some(write) = memory.save(&HeardPeers { heard }) {
            // A failure was logged: the next run then has to hear the peer itself.
            drop(write.await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_run_knows_whom_this_one_heard() {
        let directory = tempfile::tempdir().unwrap();
        let (heard, _sender) = start(directory.path());
        assert_eq!(heard, BTreeSet::new());

        let peer = BTreeSet::from(["i-0123abcd".parse().unwrap()]);
        let (sender, published) = watch::channel(heard);
        let memory = BootMemory::load(directory.path(), FILE);
        sender.send(peer.clone()).unwrap();
        drop(sender);
        keep(memory, published).await;
        let (heard, _sender) = start(directory.path());
        assert_eq!(heard, peer);
    }
}
