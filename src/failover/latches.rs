//! Which nodes have latched the cluster, as one node knows it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::types::InstanceId;

/// The latches that a node obeys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Latches {
    /// Whether this node has the latch.
    pub here: bool,
    /// The peers that had it in the last heartbeat that this node heard of each.
    pub peers: BTreeSet<InstanceId>,
}

impl Latches {
    /// Whether there is any.
    #[must_use]
    pub fn is_latched(&self) -> bool {
        self.here || !self.peers.is_empty()
    }

    /// Where the latch is, in words.
    pub(super) fn describe(&self) -> String {
        let here = self.here.then(|| "on this node".to_owned());
        let peers = self.peers.iter().map(|peer| format!("by {peer}"));
        let places: Vec<String> = here.into_iter().chain(peers).collect();
        format!("{}; the cluster is left as it is", places.join(", "))
    }
}
