//! How often and how long is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// How often and how long is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// Hard kills with API calls of 50 ms.
    pub(super) kills: u32,
    /// Hard kills with API calls of 300 ms and a propagation of 1 s.
    pub(super) slow_kills: u32,
    /// Hard kills under the 2013 algorithm.
    pub(super) yardsticks: u32,
    /// Freezes of 20 s.
    pub(super) freezes: u32,
    /// Lost uplinks.
    pub(super) uplinks: u32,
    /// Each way to break forwarding, and boots without EC2.
    pub(super) broken: u32,
    /// Kills of the holder of an address or name, for each kind.
    pub(super) patterns: u32,
    /// Hand-backs, with 1,000 pings around each.
    pub(super) hand_backs: u32,
    /// Hard kills and planned moves under a load of connections.
    pub(super) flow_rounds: u32,
    /// Connections of each of two hosts for that.
    pub(super) flows: u16,
    /// Hard kills with many connections, and with few.
    pub(super) loaded_kills: u32,
    /// What one download must transfer at least, in MiB.
    pub(super) transfer_mib: u64,
    /// Rounds of forwarding, with each table once.
    pub(super) dataplane: u32,
    /// Starts of the monitor.
    pub(super) starts: u32,
    /// Runs of `natha setup`.
    pub(super) setups: u32,
    /// How long the monitor stays dead after it was killed.
    pub(super) daemon_dead: Duration,
    /// How long traffic between two nodes is blocked.
    pub(super) blocked: Duration,
    /// How long an idle monitor is watched.
    pub(super) idle: Duration,
    /// How long clusters are soaked in random faults.
    pub(super) soak: Duration,
}

impl Scale {
    /// For figures that are published.
    #[must_use]
    pub(super) const fn full() -> Self {
        Self {
            kills: 20,
            slow_kills: 10,
            yardsticks: 5,
            freezes: 3,
            uplinks: 5,
            broken: 5,
            patterns: 5,
            hand_backs: 3,
            flow_rounds: 2,
            flows: 2_500,
            loaded_kills: 3,
            transfer_mib: 10_240,
            dataplane: 101,
            starts: 10,
            setups: 20,
            daemon_dead: Duration::from_secs(90),
            blocked: Duration::from_mins(5),
            idle: Duration::from_mins(1),
            soak: Duration::from_hours(1),
        }
    }

    /// For a look within five minutes. The block is still longer than it takes until a repair.
    #[must_use]
    pub(super) const fn quick() -> Self {
        Self {
            kills: 3,
            slow_kills: 1,
            yardsticks: 1,
            freezes: 1,
            uplinks: 1,
            broken: 1,
            patterns: 1,
            hand_backs: 1,
            flow_rounds: 1,
            flows: 250,
            loaded_kills: 1,
            transfer_mib: 500,
            dataplane: 3,
            starts: 2,
            setups: 5,
            daemon_dead: Duration::from_secs(18),
            blocked: Duration::from_secs(75),
            idle: Duration::from_secs(30),
            soak: Duration::from_mins(2),
        }
    }

    /// The same as facts about the run.
    #[must_use]
    pub(super) fn facts(&self) -> BTreeMap<String, Value> {
        let fact = |name: &str, value: Value| (format!("run.{name}"), value);
        BTreeMap::from([
            fact("rounds.hard_kill.api50", json!(self.kills)),
            fact("rounds.hard_kill.api300_prop1000", json!(self.slow_kills)),
            fact("rounds.yardstick.api50", json!(self.yardsticks)),
            fact("rounds.frozen", json!(self.freezes)),
            fact("rounds.uplink_lost", json!(self.uplinks)),
            fact("rounds.broken", json!(self.broken)),
            fact("rounds.patterns", json!(self.patterns)),
            fact("rounds.hand_back", json!(self.hand_backs)),
            fact("rounds.flows", json!(self.flow_rounds)),
            fact("rounds.loaded_kills", json!(self.loaded_kills)),
            fact("connections", json!(2 * u32::from(self.flows))),
            fact("rounds.dataplane", json!(self.dataplane)),
            fact("rounds.monitor_start", json!(self.starts)),
            fact("rounds.setup", json!(self.setups)),
            fact("daemon_dead_s", json!(self.daemon_dead.as_secs())),
            fact("blocked_s", json!(self.blocked.as_secs())),
            fact("idle_s", json!(self.idle.as_secs())),
            fact("soak_s", json!(self.soak.as_secs())),
        ])
    }
}
