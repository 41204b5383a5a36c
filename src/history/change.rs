//! A change: one move of a group, or one repair of a node, with its reason and its result.

use std::time::Duration;

use serde::Serialize;

use super::fact::Call;
use crate::types::{GroupName, InstanceId, Time, display_duration, millis};

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When its first phase was, by the wall clock: milliseconds since 1970.
    pub wall_ms: u64,
    /// When its first phase was.
    #[serde(rename = "at_ms", with = "millis::time")]
    pub at: Time,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// The node that made it.
    pub by: InstanceId,
    /// The group that moved; none in a repair.
    pub group: Option<GroupName>,
    /// The node that had the group, or was repaired.
    pub from: Option<InstanceId>,
    /// The node that was to have it.
    pub to: Option<InstanceId>,
    /// The NAT gateway that was to have it, of a move to the group's fallback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Why, in the words of the log.
    pub reason: String,
    /// What was reported of `from` since it was last alive, oldest first.
    pub evidence: Vec<Evidence>,
    /// How it ended.
    pub result: ChangeResult,
    /// How it ended, in the words of the log.
    pub ended: Option<String>,
    /// From the first phase to the last one, in ms.
    #[serde(rename = "took_ms", with = "millis")]
    pub took: Duration,
    /// Its phases, in order.
    pub phases: Vec<PhaseAt>,
    /// The API calls of it that ended, in order.
    pub calls: Vec<Call>,
    /// Its place among the changes of one ledger.
    #[serde(skip)]
    pub(super) serial: u64,
}

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// A group was taken from a failed node.
    Takeover,
    /// A group was given to another node.
    HandOver,
    /// A resource of an own group was written again.
    Correction,
    /// A group that no node could serve was given to its fallback.
    Fallback,
    /// It was taken back from there.
    Return,
    /// A failed node was stopped and started.
    Repair,
}

impl ChangeKind {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Takeover => "takeover",
            Self::HandOver => "hand-over",
            Self::Correction => "correction",
            Self::Fallback => "fallback",
            Self::Return => "return",
            Self::Repair => "repair",
        }
    }
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeResult {
    /// It is complete.
    Done,
    /// A part is elsewhere.
    Failed,
    /// It could not begin.
    Dropped,
    /// Another change of the same group or node began first.
    Superseded,
    /// The monitor ended first.
    Interrupted,
    /// It has not ended.
    UnderWay,
}

impl ChangeResult {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Superseded => "superseded",
            Self::Interrupted => "interrupted",
            Self::UnderWay => "under-way",
        }
    }
}

/// One report about a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// How long after the change's first phase it was reported, in ms.
    #[serde(rename = "after_ms", with = "millis")]
    pub after: Duration,
    /// The report.
    pub text: String,
}

/// A step of a change. `docs/history.md` defines each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The node was first found not well.
    Noticed,
    /// The change began.
    Decided,
    /// Its first API call was sent.
    Asked,
    /// Its last API call was accepted.
    Accepted,
    /// A read showed that it is complete.
    Confirmed,
    /// A packet has proven it.
    Effective,
}

impl Phase {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noticed => "noticed",
            Self::Decided => "decided",
            Self::Asked => "asked",
            Self::Accepted => "accepted",
            Self::Confirmed => "confirmed",
            Self::Effective => "effective",
        }
    }
}

/// When a phase was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PhaseAt {
    /// The phase.
    pub phase: Phase,
    /// How long after the first one, in ms.
    #[serde(rename = "after_ms", with = "millis")]
    pub after: Duration,
}

impl Change {
    /// When the phase was; none if it has not been, or is not known.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Option<Duration> {
        self.phases.iter().find(|one| one.phase == phase).map(|one| one.after)
    }

    /// Sets when a phase was, in place of what was known of it.
    pub(super) fn set_phase(&mut self, phase: Phase, at: Time) {
        let after = at.since(self.at);
        self.phases.retain(|one| one.phase != phase);
        let place = self.phases.iter().position(|one| one.phase > phase);
        self.phases.insert(place.unwrap_or(self.phases.len()), PhaseAt { phase, after });
        self.took = self.phases.iter().map(|one| one.after).max().unwrap_or_default();
    }

    /// When it was decided.
    #[must_use]
    pub fn decided(&self) -> Time {
        self.at + self.phase(Phase::Decided).unwrap_or_default()
    }

    /// When it ended, or its last phase so far.
    #[must_use]
    pub fn end(&self) -> Time {
        self.at + self.took
    }

    /// One line about it; `name` gives the name of a node.
    #[must_use]
    pub fn headline(&self, name: impl Fn(&InstanceId) -> String) -> String {
        let by = name(&self.by);
        let node = |id: &Option<InstanceId>| id.as_ref().map_or("no node".to_owned(), &name);
        let group = self.group.as_ref().map_or(String::new(), |group| format!("group {group}"));
        let (from, to) = (node(&self.from), node(&self.to));
        let what = match self.kind {
            ChangeKind::Takeover => format!("{by} takes {group} over from {from}"),
            ChangeKind::HandOver if self.to.is_none() => format!("{by} hands {group} over"),
            ChangeKind::HandOver => format!("{by} hands {group} over to {to}"),
            ChangeKind::Correction => format!("{by} corrects {group}"),
            ChangeKind::Fallback => {
                let gateway = self.gateway.as_deref().unwrap_or("its fallback");
                format!("{by} gives {group} to {gateway}, its fallback")
            }
            ChangeKind::Return => format!("{by} takes {group} back from its fallback"),
            ChangeKind::Repair => format!("{by} stops and starts {from}"),
        };
        match self.result {
            ChangeResult::Done => format!("{what}: done in {}", display_duration(self.took)),
            ChangeResult::UnderWay => format!("{what}: under way"),
            other => format!("{what}: {}", other.name()),
        }
    }
}
