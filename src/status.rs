//! What a running monitor tells about itself, and what of it is not as it should be. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failover::{Event, EventKind, GroupView, PeerView, Verdict, View};
use crate::types::millis;
use crate::types::{GroupName, InstanceId, Roster, Time};

/// Reasons for which a packet is rejected where two nodes do not have the same key.
pub(crate) const KEY_REASONS: [&str; 3] = ["untagged", "unverifiable", "bad-tag"];

/// Everything about a running monitor at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The program's version.
    pub version: String,
    /// The monitor's process id.
    pub pid: u32,
    /// The cluster's name.
    pub cluster: String,
    /// When this was taken, on the monitor's clock.
    #[serde(rename = "now_ms", with = "millis::time")]
    pub now: Time,
    /// How long the monitor has run.
    #[serde(rename = "uptime_ms", with = "millis")]
    pub uptime: Duration,
    /// Members and groups as discovered last.
    pub roster: Roster,
    /// What the decision core knows and does.
    pub view: View,
    /// What a person should look at on this node, besides what the decisions show.
    #[serde(default)]
    pub alerts: Vec<String>,
    /// The last events, oldest first.
    pub events: Vec<Event>,
    /// What was counted since the start.
    pub counters: Counters,
    /// The most that one turn of the loop was ever late.
    #[serde(rename = "lateness_max_ms", with = "millis")]
    pub lateness_max: Duration,
}

/// What a monitor that has no roster yet tells: it waits for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starting {
    /// What it waits for and why, in a sentence.
    pub starting: String,
}

/// Counted since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// The exchange with the peers.
    pub peers: PeerCounters,
    /// API calls: by call, then by how they ended (`ok`, `expired`, or the kind of fault).
    pub calls: BTreeMap<String, BTreeMap<String, u64>>,
    /// Log lines that were dropped because the log could not keep up.
    pub log_lines_dropped: u64,
}

/// Counted about the exchange with the peers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PeerCounters {
    /// Heartbeats sent.
    pub beats_sent: u64,
    /// Heartbeats that counted.
    pub beats_received: u64,
    /// Echo requests sent.
    pub echoes_sent: u64,
    /// Echo replies received.
    pub echoes_received: u64,
    /// Datagrams that the kernel refused to send.
    pub send_failures: u64,
    /// Heartbeats that could not name everything held.
    pub claims_omitted: u64,
    /// Packets that did not count, by reason.
    pub rejected: BTreeMap<String, u64>,
}

impl PeerCounters {
    /// Counts packets that were dropped.
    pub fn count_rejected(&mut self, reason: &str, packets: u64) {
        match self.rejected.get_mut(reason) {
            Some(count) => *count += packets,
            None => {
                self.rejected.insert(reason.to_owned(), packets);
            }
        }
    }
}

impl Counters {
    /// Counts an ended API call.
    pub fn count_call(&mut self, call: &str, ending: &str) {
        let endings = self.calls.entry(call.to_owned()).or_default();
        *endings.entry(ending.to_owned()).or_default() += 1;
    }
}

impl Report {
    /// Everything that is not as it should be, a sentence each. Empty when all is well.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if !self.view.fitness.is_fit() {
            findings.push(format!("this node is not fit: {}", self.view.fitness));
        }
        findings.extend(self.alerts.iter().cloned());
        findings.extend(self.view.peers.iter().filter_map(|(id, peer)| self.of_peer(id, peer)));
        findings.extend(self.of_keys());
        findings
            .extend(self.view.groups.iter().filter_map(|(name, group)| self.of_group(name, group)));
        if self.view.groups.is_empty() {
            findings.push("there is no group: tag route tables, or list groups".to_owned());
        }
        findings
    }

    fn of_peer(&self, id: &InstanceId, peer: &PeerView) -> Option<String> {
        let name = self.node_name(id);
        match peer.verdict {
            Verdict::Alive if peer.settings_differ => Some(format!(
                "{name} runs with other settings than this node: neither repairs the other, and \
                 no group goes back to it"
            )),
            Verdict::Alive if peer.hears_me => None,
            Verdict::Alive => Some(format!("{name} does not hear this node")),
            other => Some(format!("{name} is {}", other.name())),
        }
    }

    /// Heartbeats that do not authenticate are worth a word only while some peer is not heard:
    /// anybody in the VPC can send forged ones.
    fn of_keys(&self) -> Option<String> {
        let unheard = self.view.peers.values().any(|peer| peer.verdict != Verdict::Alive);
        let rejected = &self.counters.peers.rejected;
        let rejected: u64 = KEY_REASONS.iter().filter_map(|reason| rejected.get(*reason)).sum();
        (unheard && rejected > 0).then(|| {
            format!(
                "{rejected} heartbeats did not authenticate: give all nodes the same key \
                 (heartbeat.key_file)"
            )
        })
    }

    fn of_group(&self, name: &GroupName, group: &GroupView) -> Option<String> {
        let Some(holder) = &group.holder else {
            return Some(match group.read_age {
                Some(_) => format!("group {name} is held by no single node"),
                None => format!("group {name} has not been read yet"),
            });
        };
        if *holder == self.view.me && self.view.failing.contains(name) {
            return Some(format!(
                "group {name} is held by this node, where its service check fails"
            ));
        }
        let home = group.home.as_ref().filter(|_| group.goes_home)?;
        (home != holder).then(|| {
            let (holder, home) = (self.node_name(holder), self.node_name(home));
            format!("group {name} is held by {holder}, its home is {home}")
        })
    }

    /// A node as people know it: its name where it has one, else its id.
    #[must_use]
    pub fn node_name(&self, id: &InstanceId) -> String {
        self.roster.node_name(id)
    }

    /// The node that is called `text`, by id or by name; none if there is none or several.
    #[must_use]
    pub fn find_node(&self, text: &str) -> Option<&InstanceId> {
        let mut matching =
            self.roster.members.iter().filter(|member| {
                member.id.as_str() == text || member.name.as_deref() == Some(text)
            });
        let found = matching.next()?;
        matching.next().is_none().then_some(&found.id)
    }
}

/// An event's kind as it stands in logs and in JSON.
#[must_use]
pub const fn kind_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Verdict => "verdict",
        EventKind::Fitness => "fitness",
        EventKind::TakeoverBegun => "takeover-begun",
        EventKind::TakeoverDone => "takeover-done",
        EventKind::HandOverBegun => "hand-over-begun",
        EventKind::HandOverDone => "hand-over-done",
        EventKind::Drift => "drift",
        EventKind::Foreign => "foreign",
        EventKind::RepairStop => "repair-stop",
        EventKind::RepairStart => "repair-start",
        EventKind::RepairDone => "repair-done",
        EventKind::RepairHeld => "repair-held",
        EventKind::ApiFailed => "api-failed",
        EventKind::Paused => "paused",
        EventKind::Roster => "roster",
    }
}
