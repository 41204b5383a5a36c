//! The machine's state, for the status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latches::Latches;
use crate::types::millis;
use crate::types::{Fitness, GroupName, InstanceId, NatGatewayId, PowerReport, RouteTarget};

/// The verdict about a peer. The table in `docs/failover.md` defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Heartbeats are fresh and it is fit.
    Alive,
    /// Heartbeats are fresh and report that it cannot serve.
    Sick,
    /// It is leaving on purpose, or has left.
    Leaving,
    /// Heartbeats and echo lost; EC2 not queried yet.
    Suspected,
    /// Heartbeats lost, but its host answers.
    DaemonDown,
    /// Heartbeats and echo lost, EC2 reports running.
    Unreachable,
    /// Lost, but another member hears it, or it moved a resource after it was lost: it is alive.
    Partitioned,
    /// EC2 reports stopping, stopped or pending.
    Down,
    /// EC2 reports terminated, or does not know the instance.
    Gone,
    /// Never heard since this monitor started.
    Unmet,
}

impl Verdict {
    /// Every verdict, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Alive,
        Self::Sick,
        Self::Leaving,
        Self::Suspected,
        Self::DaemonDown,
        Self::Unreachable,
        Self::Partitioned,
        Self::Down,
        Self::Gone,
        Self::Unmet,
    ];

    /// Its name for operators, as in the table of verdicts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Sick => "sick",
            Self::Leaving => "leaving",
            Self::Suspected => "suspected",
            Self::DaemonDown => "daemon down",
            Self::Unreachable => "unreachable",
            Self::Partitioned => "partitioned",
            Self::Down => "down",
            Self::Gone => "gone",
            Self::Unmet => "unmet",
        }
    }
}

/// A peer as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// The verdict drawn from the evidence below.
    pub verdict: Verdict,
    /// How long the verdict has stood.
    #[serde(rename = "verdict_age_ms", with = "millis")]
    pub verdict_age: Duration,
    /// Age of its last heartbeat; none if never heard.
    #[serde(rename = "heartbeat_age_ms", with = "millis::option")]
    pub heartbeat_age: Option<Duration>,
    /// Age of its last echo reply; none if it never answered.
    #[serde(rename = "echo_age_ms", with = "millis::option")]
    pub echo_age: Option<Duration>,
    /// The fitness in its last heartbeat.
    pub fitness: Option<Fitness>,
    /// Whether it hears this node.
    pub hears_me: bool,
    /// Whether the settings digest in its last heartbeat differs from this node's. While it does,
    /// neither repairs the other, and no group is handed back.
    pub settings_differ: bool,
    /// EC2's last report.
    pub power: Option<PowerReport>,
    /// The age of that report.
    #[serde(rename = "power_age_ms", with = "millis::option")]
    pub power_age: Option<Duration>,
    /// The state of its repair, for operators; none where there is no repair.
    pub repair: Option<String>,
}

/// A group as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its home.
    pub home: Option<InstanceId>,
    /// Whether it goes back there without an order: `hand_back` is on, and the home is not away for
    /// long. One that does not is well elsewhere.
    #[serde(default = "goes_home")]
    pub goes_home: bool,
    /// The member all its resources were last seen on; none if split, foreign or unknown.
    pub holder: Option<InstanceId>,
    /// Its fallback, while one of its routes is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<NatGatewayId>,
    /// Where each resource was last seen to lead, by the resource's name: a table, an address, a
    /// DNS name.
    pub targets: BTreeMap<String, Option<RouteTarget>>,
    /// Age of that read; none if never read.
    #[serde(rename = "read_age_ms", with = "millis::option")]
    pub read_age: Option<Duration>,
    /// How often it has moved, as far as known.
    pub generation: u32,
    /// What is being done with it, in words; none when it rests.
    pub doing: Option<String>,
    /// How much longer the giver of the last planned move to this node copies packets to it. It is
    /// not handed over before that.
    #[serde(
        default,
        rename = "copies_end_ms",
        with = "millis::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub copies_end: Option<Duration>,
}

/// Of a group that says nothing about it: that of a monitor from before this was told.
const fn goes_home() -> bool {
    true
}

/// The whole machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// This node.
    pub me: InstanceId,
    /// Its own fitness, lateness included.
    pub fitness: Fitness,
    /// All peers.
    pub peers: BTreeMap<InstanceId, PeerView>,
    /// All groups.
    pub groups: BTreeMap<GroupName, GroupView>,
    /// The groups whose service checks fail here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failing: BTreeSet<GroupName>,
    /// The latches that it obeys.
    #[serde(default)]
    pub latches: Latches,
    /// Every pending deadline, by name, and how far off it is.
    #[serde(rename = "timers_ms", with = "millis::map")]
    pub timers: BTreeMap<String, Duration>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_verdict_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Verdict::ALL.iter().map(|verdict| verdict.name()).collect();
        assert_eq!(names.len(), Verdict::ALL.len());
    }
}
