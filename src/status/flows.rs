//! The state of replication, for the status.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::InstanceId;
use crate::types::millis;

/// The streams of connections to and from the other members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FlowsReport {
    /// To each member: this node's connections.
    pub heirs: BTreeMap<InstanceId, HeirReport>,
    /// From each member: its connections, and what became of those that were inserted here.
    pub owners: BTreeMap<InstanceId, OwnerReport>,
    /// Connections to the TCP port from addresses of no member, which were closed.
    pub strangers: u64,
    /// What was copied for planned moves; none if natha copies nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<CopiesReport>,
}

/// Packets copied between the two nodes of planned moves, since the monitor started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CopiesReport {
    /// Packets of which this node made a copy for the other node.
    pub made: PacketCount,
    /// Copies from the other node that this node sent on to the internet.
    pub sent_on: PacketCount,
}

/// Packets and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PacketCount {
    /// Packets.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

/// The stream to one heir. Counts are since the monitor started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeirReport {
    /// `live`, `resync`, `connecting`, or why there is no stream.
    pub state: String,
    /// Connections of this node's egress IPs that are replicated.
    pub flows: u64,
    /// Connections that the heir says it holds.
    pub held: u32,
    /// Changes that wait to be sent.
    pub waiting: u64,
    /// From a change in the kernel to the heir's answer; none before the first answer.
    #[serde(rename = "lag_ms", with = "millis::option")]
    pub lag: Option<Duration>,
    /// Changes by how long it took until the heir had acknowledged them: the upper bound in
    /// milliseconds, and how many.
    #[serde(default)]
    pub lags: BTreeMap<u32, u64>,
    /// Records sent.
    pub records: u64,
    /// Removals sent.
    pub removals: u64,
    /// Bytes sent.
    pub octets: u64,
    /// Resyncs begun.
    pub resyncs: u64,
    /// How often the kernel had no room for its news.
    pub overruns: u64,
    /// How often more than `replicate.max_waiting` changes waited.
    pub overflows: u64,
    /// Changes of connections beyond `replicate.max_flows`.
    pub no_room: u64,
    /// Connections that ended before `replicate.min_age`.
    pub too_short: u64,
    /// Whether packets can be copied to it during a planned move; none if natha copies none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<bool>,
    /// Whether packets are copied now, because a planned move from or to it takes effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copying: bool,
    /// How long ago it answered through the tunnel for copies; none if it has not since the tunnel
    /// was made.
    #[serde(
        rename = "copies_answer_age_ms",
        with = "millis::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub copies_answer_age: Option<Duration>,
}

/// The stream from one owner. Counts are since the monitor started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OwnerReport {
    /// `live`, `resync`, or why the last stream ended.
    pub state: String,
    /// Connections that this node holds of the owner.
    pub flows: u64,
    /// How long ago the owner was heard; none if never.
    #[serde(rename = "heard_age_ms", with = "millis::option")]
    pub heard_age: Option<Duration>,
    /// Resyncs completed.
    pub resyncs: u64,
    /// Records beyond `replicate.max_flows`.
    pub no_room: u64,
    /// Insertions into this node's kernel, by result: `new`, `exists`, `port-taken`, `table-full`,
    /// `other`.
    pub inserted: BTreeMap<String, u64>,
}

impl HeirReport {
    /// Whether there is a stream.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.state.as_str(), "live" | "resync")
    }
}

impl FlowsReport {
    /// Whether there is anything to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heirs.is_empty() && self.owners.is_empty()
    }
}
