//! What comes and goes without telling anything new: counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::words::{Names, counted};
use crate::types::InstanceId;

/// Something that is counted.
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
    /// A read that told nothing new.
    NothingNew,
    /// A call that failed as the one before it did.
    FailedAgain,
    /// A report about this host, the same as before.
    SameFitness,
    /// The same roster again.
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
            Self::Read => counted(count, "read begun", "reads begun"),
            Self::NothingNew => counted(count, "answer", "answers") + " with nothing new",
            Self::FailedAgain => counted(count, "call", "calls") + " failed the same way again",
            Self::SameFitness => {
                counted(count, "report", "reports") + " that this host is as it was"
            }
            Self::SameRoster => counted(count, "roster", "rosters") + " with nothing new",
        }
    }
}

/// The counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Fold {
    last: Duration,
    counts: BTreeMap<Routine, u64>,
}

impl Fold {
    /// Counts one.
    pub(super) fn count(&mut self, what: Routine, at: Duration) {
        self.last = at;
        *self.counts.entry(what).or_default() += 1;
    }

    /// What was counted, in words, and when the last of it happened; the counters begin anew.
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
