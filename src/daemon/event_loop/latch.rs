//! What the loop does about the latch: it keeps the author and the reason, and publishes changes.

use super::EventLoop;
use crate::daemon::clock;
use crate::daemon::latch::LatchRecord;
use crate::failover::Command;
use crate::status::LatchNote;
use crate::types::{InstanceId, Time, printable};

impl EventLoop {
    /// Keeps who latched this node and why.
    pub(super) fn note_latch(&mut self, command: &Command) {
        self.state.latch = match command {
            Command::Latch { by, reason } => Some(LatchNote {
                by: by.clone(),
                reason: reason.clone(),
                since: clock::wall_text(),
            }),
            Command::Unlatch => None,
            _ => return,
        };
    }

    /// Publishes the latches that this node obeys, to be written down. Without anything new,
    /// nothing is sent.
    pub(super) fn publish_latches(&mut self, now: Time) {
        let peers = &self.machine.latches().peers;
        let here = &self.state.latch;
        let changed = self.latches.send_if_modified(|published| {
            let changed = published.here != *here || published.peers != *peers;
            if changed {
                *published = LatchRecord { here: here.clone(), peers: peers.clone() };
            }
            changed
        });
        if changed {
            let text = alert(&self.latches.borrow());
            self.set_alert("latch", text, now);
        }
    }
}

/// What stands in the status while the node is latched.
pub(super) fn alert(record: &LatchRecord) -> Option<String> {
    if let Some(LatchNote { by, reason, since }) = &record.here {
        let (by, reason) = (printable(by), printable(reason));
        return Some(format!(
            "{by} latched the cluster here at {since}: {reason}. natha leaves everything as it is \
             until `natha unlatch`"
        ));
    }
    let nodes: Vec<&str> = record.peers.iter().map(InstanceId::as_str).collect();
    (!nodes.is_empty()).then(|| {
        format!(
            "the cluster is latched on {}: natha leaves everything as it is until `natha unlatch` \
             there, or here if it is dead",
            nodes.join(", ")
        )
    })
}
