//! Routine inputs and actions, which are counted instead of listed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::names::{Names, counted};
use crate::types::InstanceId;

/// A kind of routine input or action.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Routine {
    /// A heartbeat from a peer.
    Heard(InstanceId),
    /// An echo reply from a peer.
    Answered(InstanceId),
    /// A heartbeat to a peer.
    Sent(InstanceId),
    /// An echo request to a peer.
    Asked(InstanceId),
    /// A call that reads.
    Read,
    /// A read that showed no change.
    NothingNew,
    /// A call that failed in the same way as the one before it.
    FailedAgain,
    /// A report about this host that shows no change.
    SameFitness,
    /// A roster that shows no change.
    SameRoster,
}

impl Routine {
    /// Whether it is a call that reads.
    pub(super) fn is_read(&self) -> bool {
        *self == Self::Read
    }

    fn words(&self, count: u64, names: &Names) -> String {
        let with = |one, many, word, id| {
            format!("{} {word} {}", counted(count, one, many), names.node(id))
        };
        match self {
            Self::Heard(id) => with("heartbeat", "heartbeats", "from", id),
            Self::Answered(id) => with("echo reply", "echo replies", "from", id),
            Self::Sent(id) => with("heartbeat", "heartbeats", "to", id),
            Self::Asked(id) => with("echo request", "echo requests", "to", id),
            Self::Read => counted(count, "read started", "reads started"),
            Self::NothingNew => counted(count, "result", "results") + " without changes",
            Self::FailedAgain => counted(count, "call", "calls") + " failed in the same way again",
            Self::SameFitness => {
                counted(count, "check", "checks") + " of this host without changes"
            }
            Self::SameRoster => counted(count, "roster", "rosters") + " without changes",
        }
    }
}

/// The counters since the last line of the timeline.
#[derive(Debug, Clone, Default)]
pub(super) struct RoutineCounts {
    /// When the last one was counted.
    last: Duration,
    counts: BTreeMap<Routine, u64>,
}

impl RoutineCounts {
    /// Counts one.
    pub(super) fn count(&mut self, what: Routine, at: Duration) {
        self.last = at;
        *self.counts.entry(what).or_default() += 1;
    }

    /// The counters as text, with the time of the last count; resets them.
    pub(super) fn take(&mut self, names: &Names) -> Option<(Duration, String)> {
        let counts = std::mem::take(&mut self.counts);
        if counts.is_empty() {
            return None;
        }
        let parts: Vec<String> =
            counts.iter().map(|(what, count)| what.words(*count, names)).collect();
        Some((self.last, parts.join(", ")))
    }
}
