//! Which version of natha the nodes run.

use std::collections::BTreeMap;

use super::Report;
use crate::types::{InstanceId, ProgramVersion};

impl Report {
    /// This node's version, as its heartbeats have it.
    #[must_use]
    pub fn own_version(&self) -> String {
        ProgramVersion::of(&self.version).to_string()
    }

    /// The version of each peer that was heard; none for a build whose heartbeats have no version.
    /// `None` if this report is from such a build itself, which knows no versions.
    #[must_use]
    pub fn peer_versions(&self) -> Option<BTreeMap<&InstanceId, Option<&str>>> {
        let versions = self.versions.as_ref()?;
        let heard = self.view.peers.iter().filter(|(_, peer)| peer.heartbeat_age.is_some());
        Some(heard.map(|(id, _)| (id, versions.get(id).map(String::as_str))).collect())
    }

    /// Whether a peer that was heard runs another version than this node.
    #[must_use]
    pub fn versions_differ(&self) -> bool {
        let own = self.own_version();
        self.peer_versions().is_some_and(|versions| {
            versions.into_values().any(|version| version != Some(own.as_str()))
        })
    }
}
