//! The latch: while one member has it, all begin nothing on their own account.

use super::group::{DesiredMove, GroupState, MoveKind};
use super::known::Known;
use super::outbox::{About, Outbox};
use super::{EventKind, Level};
use crate::types::{InstanceId, Time};

impl Known {
    /// Takes in whether a peer has the latch, from its heartbeat.
    pub(super) fn note_latch_of(&mut self, peer: &InstanceId, latched: bool) {
        if !latched {
            self.latches.peers.remove(peer);
        } else if !self.latches.peers.contains(peer) {
            self.latches.peers.insert(peer.clone());
        }
    }

    /// Drops the latches of nodes that are no members any more, and reports a latch that is new and
    /// the end of the last one.
    pub(super) fn review_latches(&mut self, out: &mut Outbox, now: Time) {
        let Self { latches, peers, .. } = self;
        latches.peers.retain(|node| peers.contains_key(node));
        if *latches == self.latches_reported {
            return;
        }
        let text = if self.latches.is_latched() {
            format!("latched {}", self.latches.describe())
        } else {
            "no longer latched: this node acts on its own account again".to_owned()
        };
        self.latches_reported = self.latches.clone();
        out.report(now, Level::Warning, EventKind::Latch, About::text(text));
    }

    /// Whether the latch lets a move go out: it has begun, or a person has ordered it.
    pub(super) fn is_past_the_latch(&self, group: &GroupState, desired: &DesiredMove) -> bool {
        let is_ordered = self.leaving || group.ordered_to.is_some();
        !self.latches.is_latched()
            || group.is_under_way(desired)
            || (desired.kind == MoveKind::HandOver && is_ordered)
            || (desired.kind == MoveKind::Fallback
                && self.leaving
                && desired.from.as_ref() == Some(&self.me.id))
    }
}
