//! The actions that the machine requests, and the events that it reports.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::millis;
use crate::types::{
    Assignment, Beat, GroupName, InstanceId, Resource, RouteTableId, RouteWrite, Time,
};

/// Ties an outcome to its action. The late outcome of an action that was given up is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActionId(pub u64);

/// One thing to do. Those with an id end in exactly one `Input::Done`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Send this heartbeat to a peer, now.
    SendBeat {
        /// The receiver.
        to: InstanceId,
        /// The body.
        beat: Beat,
    },
    /// Send an ICMP echo request to a peer, now.
    SendEcho {
        /// The receiver.
        to: InstanceId,
    },
    /// Send a round of this host's own probes now, and say with `Input::Answered` when it, or a
    /// later one, is answered.
    Probe,
    /// Read these tables.
    ReadRoutes {
        /// The id of its outcome.
        id: ActionId,
        /// The tables, all in one call.
        tables: Vec<RouteTableId>,
    },
    /// Read where these resources point, all of one kind other than routes.
    ReadHolders {
        /// The id of its outcome.
        id: ActionId,
        /// The resources.
        resources: Vec<Resource>,
    },
    /// Read the state of one node, which may be this one.
    ReadPower {
        /// The id of its outcome.
        id: ActionId,
        /// The node. One per call: an id in a failed zone can fail the whole call.
        node: InstanceId,
    },
    /// Write one route.
    WriteRoute {
        /// The id of its outcome.
        id: ActionId,
        /// The write.
        write: RouteWrite,
        /// If the request has not been sent by then, it must not be sent: this node was paused.
        #[serde(rename = "not_after_ns")]
        not_after: Time,
    },
    /// Give one resource other than a route to a member.
    Assign {
        /// The id of its outcome.
        id: ActionId,
        /// The resource and its receiver.
        assignment: Assignment,
        /// As for `WriteRoute`.
        #[serde(rename = "not_after_ns")]
        not_after: Time,
    },
    /// Stop a failed node.
    Stop {
        /// The id of its outcome.
        id: ActionId,
        /// The node.
        node: InstanceId,
        /// Skip the guest's orderly shutdown.
        force: bool,
        /// As for `WriteRoute`.
        #[serde(rename = "not_after_ns")]
        not_after: Time,
    },
    /// Start a stopped node.
    Start {
        /// The id of its outcome.
        id: ActionId,
        /// The node.
        node: InstanceId,
        /// As for `WriteRoute`.
        #[serde(rename = "not_after_ns")]
        not_after: Time,
    },
    /// Persist, across restarts of the monitor, the peers that this node stopped and has not heard
    /// since. Ends in an `Outcome::Written`.
    Remember {
        /// The id of its outcome.
        id: ActionId,
        /// All such peers.
        stopped: BTreeSet<InstanceId>,
    },
    /// Report an event to operators.
    Report {
        /// What happened, when and why.
        #[serde(with = "exact")]
        event: Event,
    },
    /// The monitor may exit (after `Command::Leave`): everything that could be handed over has
    /// been.
    MayExit,
}

impl Action {
    /// The id that this action's `Input::Done` will carry, if it ends in one.
    #[must_use]
    pub fn id(&self) -> Option<ActionId> {
        match self {
            Self::ReadRoutes { id, .. }
            | Self::ReadHolders { id, .. }
            | Self::ReadPower { id, .. }
            | Self::WriteRoute { id, .. }
            | Self::Assign { id, .. }
            | Self::Stop { id, .. }
            | Self::Start { id, .. }
            | Self::Remember { id, .. } => Some(*id),
            Self::SendBeat { .. }
            | Self::SendEcho { .. }
            | Self::Probe
            | Self::Report { .. }
            | Self::MayExit => None,
        }
    }
}

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Normal operation.
    Info,
    /// Something is wrong, and natha handles it.
    Warning,
    /// An operator should act.
    Alert,
}

/// The kind of an event. The names are stable: history, metrics and alerts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The verdict about a peer changed.
    Verdict,
    /// This node's own fitness changed.
    Fitness,
    /// A takeover began.
    TakeoverBegun,
    /// A takeover ended with every resource read back on this node.
    TakeoverDone,
    /// A takeover ended, but a part of the group is elsewhere.
    TakeoverFailed,
    /// A hand-over or hand-back began.
    HandOverBegun,
    /// A hand-over or hand-back ended with every resource read back on the receiver.
    HandOverDone,
    /// An ordered hand-over cannot be carried out, or one ended with a part of the group elsewhere.
    HandOverDropped,
    /// A resource was missing, misplaced or taken without cause, and is written again.
    Drift,
    /// A resource points out of the cluster and is left alone, or no longer does.
    Foreign,
    /// A group's routes move to its fallback, are there, or come back; or EC2 refuses it.
    Fallback,
    /// A repair's stop was sent.
    RepairStop,
    /// A repair's start was sent.
    RepairStart,
    /// A repaired node is heard again.
    RepairDone,
    /// A repair is blocked.
    RepairBlocked,
    /// An API call failed.
    ApiFailed,
    /// This node was paused or starved and read everything anew.
    Paused,
    /// This host was no longer as `natha setup` left it, or lacked an address of a group that it
    /// holds, and was repaired.
    HostDrift,
    /// The monitor has read its settings again, or refused to use them.
    Settings,
    /// Replicated connections were inserted into this host's kernel.
    Connections,
    /// The cluster was latched, or is no longer.
    Latch,
}

impl EventKind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [Self; 21] = [
        Self::Verdict,
        Self::Fitness,
        Self::TakeoverBegun,
        Self::TakeoverDone,
        Self::TakeoverFailed,
        Self::HandOverBegun,
        Self::HandOverDone,
        Self::HandOverDropped,
        Self::Drift,
        Self::Foreign,
        Self::Fallback,
        Self::RepairStop,
        Self::RepairStart,
        Self::RepairDone,
        Self::RepairBlocked,
        Self::ApiFailed,
        Self::Paused,
        Self::HostDrift,
        Self::Settings,
        Self::Connections,
        Self::Latch,
    ];
}

/// An event, for the log, the status and the history.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    #[serde(rename = "at_ms", with = "millis::time")]
    pub at: Time,
    /// Its severity.
    pub level: Level,
    /// Its kind.
    pub kind: EventKind,
    /// The peer it is about.
    pub node: Option<InstanceId>,
    /// The group it is about.
    pub group: Option<GroupName>,
    /// What happened and why, in a sentence.
    pub text: String,
    /// How long it took, where something ended.
    #[serde(rename = "took_ms", with = "millis::option")]
    pub took: Option<Duration>,
}

/// An event in an action, which a recording must read back unchanged: what its milliseconds cut
/// off is given in nanoseconds next to them.
mod exact {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Event;
    use crate::types::Time;

    #[derive(Serialize, Deserialize)]
    struct Exact<E> {
        #[serde(flatten)]
        event: E,
        at_ns: Time,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ns: Option<u64>,
    }

    pub(super) fn serialize<S: Serializer>(event: &Event, to: S) -> Result<S::Ok, S::Error> {
        let nanoseconds = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        Exact { event, at_ns: event.at, took_ns: event.took.map(nanoseconds) }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Event, D::Error> {
        let Exact { event, at_ns, took_ns } = Exact::<Event>::deserialize(from)?;
        Ok(Event { at: at_ns, took: took_ns.map(Duration::from_nanos), ..event })
    }
}

#[cfg(test)]
mod tests {
    use super::EventKind;

    #[test]
    fn every_kind_of_event_is_in_the_list() {
        for (at, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind:?}");
        }
        // A new kind does not compile here: add it to the list and to this pattern's last place.
        let is_last = |kind| match kind {
            EventKind::Verdict
            | EventKind::Fitness
            | EventKind::TakeoverBegun
            | EventKind::TakeoverDone
            | EventKind::TakeoverFailed
            | EventKind::HandOverBegun
            | EventKind::HandOverDone
            | EventKind::HandOverDropped
            | EventKind::Drift
            | EventKind::Foreign
            | EventKind::Fallback
            | EventKind::RepairStop
            | EventKind::RepairStart
            | EventKind::RepairDone
            | EventKind::RepairBlocked
            | EventKind::ApiFailed
            | EventKind::Paused
            | EventKind::HostDrift
            | EventKind::Settings
            | EventKind::Connections => false,
            EventKind::Latch => true,
        };
        assert_eq!(EventKind::ALL.into_iter().rposition(is_last), Some(EventKind::ALL.len() - 1));
    }
}
