//! What the machine shows of itself, for the status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::millis;
use crate::types::{Fitness, GroupName, InstanceId, PowerReport, RouteTarget};

/// What follows from the evidence about a peer. The table in `docs/failover.md` is the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Heartbeats are fresh and it is fit.
    Alive,
    /// Heartbeats are fresh and it says that it cannot serve.
    Sick,
    /// It left on purpose.
    Left,
    /// Heartbeats and echo lost; EC2 not asked yet.
    Suspected,
    /// Heartbeats lost, but its host answers.
    DaemonDown,
    /// Heartbeats and echo lost, EC2 says running.
    Unreachable,
    /// Lost, but it moved a route after it was lost: alive by its deeds.
    CutOff,
    /// EC2 says stopping or stopped, or it is on its way up.
    Down,
    /// EC2 says terminated, or does not know it.
    Gone,
    /// Never heard since this monitor started.
    Unmet,
}

impl Verdict {
    /// Its name for people, as in the table of verdicts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Sick => "sick",
            Self::Left => "left",
            Self::Suspected => "suspected",
            Self::DaemonDown => "daemon down",
            Self::Unreachable => "unreachable",
            Self::CutOff => "cut off",
            Self::Down => "down",
            Self::Gone => "gone",
            Self::Unmet => "unmet",
        }
    }
}

/// A peer as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// What follows from the evidence below.
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
    /// What its last heartbeat said of itself.
    pub fitness: Option<Fitness>,
    /// Whether it hears this node.
    pub hears_me: bool,
    /// Whether its last heartbeat showed other settings than this node's: then neither repairs
    /// the other, and no group is handed back.
    pub settings_differ: bool,
    /// What EC2 said last.
    pub power: Option<PowerReport>,
    /// How long ago it said so.
    #[serde(rename = "power_age_ms", with = "millis::option")]
    pub power_age: Option<Duration>,
    /// What the repair of it is doing, in words; none where there is no repair.
    pub repair: Option<String>,
}

/// A group as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Its home.
    pub home: Option<InstanceId>,
    /// Whether it goes back there by itself (`hand_back`). One that does not is well elsewhere.
    #[serde(default = "goes_home")]
    pub goes_home: bool,
    /// The member all its resources were last seen on; none if split, foreign or unknown.
    pub holder: Option<InstanceId>,
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
    /// Every pending deadline, by name, and how far off it is.
    #[serde(rename = "timers_ms", with = "millis::map")]
    pub timers: BTreeMap<String, Duration>,
}
