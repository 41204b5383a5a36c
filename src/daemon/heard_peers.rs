//! Which peers were heard since the host booted, and before, for a monitor that starts again. The
//! silence of a peer that was heard counts, and what was never heard may run no natha.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::boot_memory::BootMemory;
use crate::types::InstanceId;

/// Its name in the state directory.
const FILE: &str = "heard.json";

/// Nodes that were heard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct HeardPeers {
    /// Since the host booted.
    pub(super) heard: BTreeSet<InstanceId>,
    /// Before that.
    pub(super) long_ago: BTreeSet<InstanceId>,
}

impl HeardPeers {
    /// What is left of this when the host has booted anew.
    fn aged(self) -> Self {
        let long_ago = self.long_ago.into_iter().chain(self.heard).collect();
        Self { heard: BTreeSet::new(), long_ago }
    }
}

fn load(state_dir: &Path) -> BootMemory<HeardPeers> {
    BootMemory::load(state_dir, FILE, HeardPeers::aged)
}

/// Returns what earlier runs heard, and where the loop publishes whom it has heard since the host
/// booted. A task on the current runtime writes that down.
pub(super) fn start(state_dir: &Path) -> (HeardPeers, watch::Sender<BTreeSet<InstanceId>>) {
    let memory = load(state_dir);
    let before = memory.content().clone();
    let (sender, published) = watch::channel(before.heard.clone());
    tokio::spawn(keep(memory, published));
    (before, sender)
}

/// Writes down each change, one write after the other, until the loop has ended.
async fn keep(
    mut memory: BootMemory<HeardPeers>,
    mut published: watch::Receiver<BTreeSet<InstanceId>>,
) {
    while published.changed().await.is_ok() {
        let heard = published.borrow_and_update().clone();
        let long_ago = memory.content().long_ago.clone();
        if let Some(write) = memory.save(&HeardPeers { heard, long_ago }) {
            // A failure was logged: the next run then has to hear the peer itself.
            drop(write.await);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn write(directory: &Path, heard: &BTreeSet<InstanceId>) {
        let (sender, published) = watch::channel(BTreeSet::new());
        sender.send(heard.clone()).unwrap();
        drop(sender);
        keep(load(directory), published).await;
    }

    #[tokio::test]
    async fn the_next_run_knows_whom_earlier_ones_heard_in_this_boot_and_before() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = BTreeSet::new;
        let only = |id: &str| BTreeSet::from([id.parse::<InstanceId>().unwrap()]);
        assert_eq!(start(directory.path()).0, HeardPeers::default());
        write(directory.path(), &only("i-0123abcd")).await;
        let known = HeardPeers { heard: only("i-0123abcd"), long_ago: nothing() };
        assert_eq!(start(directory.path()).0, known);

        let file = directory.path().join(FILE);
        let text = fs::read_to_string(&file).unwrap();
        let boot = crate::kernel::journal::boot_id().unwrap();
        fs::write(&file, text.replace(&boot, "another boot")).unwrap();
        let known = HeardPeers { heard: nothing(), long_ago: only("i-0123abcd") };
        assert_eq!(start(directory.path()).0, known);
        write(directory.path(), &only("i-0456abcd")).await;
        let known = HeardPeers { heard: only("i-0456abcd"), ..known };
        assert_eq!(start(directory.path()).0, known);
    }
}
