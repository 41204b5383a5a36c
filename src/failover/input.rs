//! The inputs of the machine.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::action::ActionId;
use crate::types::{
    Beat, CloudFault, Evidence, Fitness, GroupName, InstanceId, Location, PowerReport, Resource,
    Roster, RouteEntry, RouteTableId, SessionId, Time,
};

/// An input. Everything that the machine knows came in as one of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Input {
    /// A heartbeat arrived: authentic, not replayed, from a member.
    Beat {
        /// The sender.
        from: InstanceId,
        /// Its session. A new one means that its monitor restarted.
        session: SessionId,
        /// The body.
        beat: Beat,
        /// When the kernel received it.
        #[serde(rename = "at_ns")]
        at: Time,
    },
    /// A peer answered an ICMP echo request.
    Echo {
        /// The peer.
        from: InstanceId,
        /// When the kernel received the answer.
        #[serde(rename = "at_ns")]
        at: Time,
    },
    /// What the host found out about itself, except `Fault::Late`, which the machine detects.
    Fitness {
        /// The faults found.
        fitness: Fitness,
    },
    /// A probe of this host was answered, the first of its kind since `Action::Probe`.
    Answered {
        /// What it shows.
        evidence: Evidence,
        /// When its round was sent, after that action.
        #[serde(rename = "sent_ns")]
        sent: Time,
    },
    /// The groups whose service checks fail here now. Before the first of these, this node does
    /// not know whether it can serve a group that has a check.
    ServiceChecks {
        /// All such groups.
        failing: BTreeSet<GroupName>,
    },
    /// Membership and groups as discovered now.
    Roster {
        /// The roster, this node included.
        roster: Roster,
    },
    /// An action ended.
    Done {
        /// The action.
        id: ActionId,
        /// Its outcome.
        outcome: Outcome,
    },
    /// A command of an operator or of the service manager.
    Command {
        /// The command.
        command: Command,
    },
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Of `Action::ReadRoutes`. A requested table that is missing does not exist.
    Routes {
        /// The tables' routes.
        result: Result<BTreeMap<RouteTableId, Routes>, CloudFault>,
    },
    /// Of `Action::ReadHolders`.
    Holders {
        /// Where each requested resource points.
        result: Result<Vec<(Resource, Location)>, CloudFault>,
    },
    /// Of `Action::ReadPower`.
    Power {
        /// The node's state.
        result: Result<PowerReport, CloudFault>,
    },
    /// Of `Action::WriteRoute`, `Action::Assign`, `Action::Stop`, `Action::Start` and
    /// `Action::Remember`.
    Written {
        /// Whether it was accepted.
        result: Result<(), CloudFault>,
    },
    /// The action's `not_after` passed before it was begun: nothing was sent.
    Expired,
}

/// The IPv4 routes of one table, by destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Routes(pub BTreeMap<Ipv4Net, RouteEntry>);

/// A command to a running monitor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Hand everything over, and take nothing more until the monitor restarts (`natha drain`).
    Leave,
    /// Be ready to exit at once, and tell the peers that this monitor will be back (SIGTERM).
    Restart,
    /// Take part again after `Leave` (`natha undrain`).
    Stay,
    /// Begin nothing on this cluster's own account, until `Unlatch` (`natha latch`).
    Latch {
        /// The author, as the command found out.
        by: String,
        /// The author's reason.
        reason: String,
    },
    /// End the latch of this node, and what it keeps of silent peers' latches (`natha unlatch`).
    Unlatch,
    /// Give one group to a node.
    HandOver {
        /// The group.
        group: GroupName,
        /// The receiver; none for the first heir that can take it.
        to: Option<InstanceId>,
    },
}
