//! The status report of a running monitor, and the findings that need attention. Pure.

mod ages;
mod flows;
mod meters;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failover::{Event, EventKind, GroupView, PeerView, Verdict, View};
use crate::types::millis;
use crate::types::{
    AllocationId, Fitness, GroupName, InstanceId, Resource, Roster, RouteTarget, Time,
};

pub use ages::ReadingAges;
pub use flows::{CopiesReport, FlowsReport, HeirReport, OwnerReport, PacketCount};
pub(crate) use meters::label;
pub use meters::{EventCount, HeartbeatGaps, Histogram, Meters};

/// The reject reasons that occur when two nodes have different keys.
pub(crate) const KEY_REASONS: [&str; 3] = ["untagged", "unverifiable", "bad-tag"];

/// The alerts of a node because of which planned work waits: an operator works on the cluster, or
/// this node's settings are not those that it runs with.
pub const BLOCKING_ALERTS: [&str; 4] = ["drain", "latch", "reload", "settings"];

/// A snapshot of a running monitor: the JSON of `natha status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the monitor, which may differ from that of the program that prints the report.
    pub version: String,
    /// Process id of the monitor.
    pub pid: u32,
    /// The cluster's name.
    pub cluster: String,
    /// When the snapshot was taken: time since boot, in ms.
    #[serde(rename = "now_ms", with = "millis::time")]
    pub now: Time,
    /// How long the monitor has been running, in ms.
    #[serde(rename = "uptime_ms", with = "millis")]
    pub uptime: Duration,
    /// Members and groups as of the last discovery.
    pub roster: Roster,
    /// State of the failover machine.
    pub view: View,
    /// The version of natha in each peer's last heartbeat. A peer whose build sends none is not in
    /// it. None in the report of such a build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<BTreeMap<InstanceId, String>>,
    /// Active alerts about this host that the view does not contain.
    #[serde(default)]
    pub alerts: Vec<String>,
    /// What EC2 allows each forwarding interface, by name. Empty if this host is no NAT.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allowances: BTreeMap<String, Allowances>,
    /// How full the port space of the translation is; none before the monitor of a NAT has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortUse>,
    /// The egress IPs of all groups. Empty if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<EgressStatus>,
    /// Who latched this node; none unless it is latched itself. The latches of the peers are in the
    /// view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<LatchNote>,
    /// Whether this node has handed over everything, because it was drained.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// The replication of connections. Empty if it is off.
    #[serde(default, skip_serializing_if = "FlowsReport::is_empty")]
    pub flows: FlowsReport,
    /// How old the readings are that other tasks than the event loop make.
    #[serde(default, skip_serializing_if = "ReadingAges::is_empty")]
    pub ages: ReadingAges,
    /// Recent events, oldest first.
    pub events: Vec<Event>,
    /// Counts since the monitor started.
    pub counters: Counters,
    /// Longest delay of any turn of the event loop since the start, in ms.
    #[serde(rename = "lateness_max_ms", with = "millis")]
    pub lateness_max: Duration,
}

/// What a NAT has forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// Packets of private hosts to the internet since the rules were loaded.
    pub packets: u64,
}

/// A latch, as an operator set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatchNote {
    /// The author.
    pub by: String,
    /// The author's reason.
    pub reason: String,
    /// When, by the node's wall clock (RFC 3339).
    pub since: String,
}

/// The port space of the translation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortUse {
    /// Connections since the host booted that the kernel dropped because the port after translation
    /// was taken.
    pub failures: u64,
    /// The address and destination with the most connections; none while all connections together
    /// are fewer than half of a port space.
    pub fullest: Option<PortSpace>,
}

/// The connections that share the ports of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpace {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The private address of this node that their sources are translated to.
    pub address: Ipv4Addr,
    /// What they lead to.
    pub destination: SocketAddrV4,
    /// How many there are.
    pub used: u32,
    /// How many there can be.
    pub of: u32,
}

/// An egress IP, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressStatus {
    /// The group whose private hosts use it.
    pub group: GroupName,
    /// The allocation id of the Elastic IP.
    pub allocation: AllocationId,
    /// The public address.
    pub address: Ipv4Addr,
    /// The member that has it; none if none has, or it has not been read yet.
    pub holder: Option<InstanceId>,
    /// How far it has arrived; none unless it is on this node.
    pub arrival: Option<EgressArrival>,
    /// The landing address of this node; none if it has none, and cannot hold the egress IP.
    pub landing: Option<Ipv4Addr>,
    /// Whether the landing address is on this host; none before the monitor has looked.
    pub landing_on_host: Option<bool>,
    /// How long ago the monitor looked, in ms; none before it has.
    #[serde(rename = "landing_age_ms", with = "millis::option", default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landing_age: Option<Duration>,
}

/// How far an egress IP has arrived on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressArrival {
    /// How long EC2 has shown it here, in ms.
    #[serde(rename = "here_ms", with = "millis")]
    pub here: Duration,
    /// What shows that packets by it pass.
    pub proof: EgressProof,
}

/// What shows that packets by an egress IP pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EgressProof {
    /// Nothing yet: probes by it have had no reply.
    None,
    /// A probe by it had a reply.
    Probe,
    /// No probe had a reply, but EC2 has shown it here for so long that it counts as arrived.
    Time,
}

/// What the monitor knows of the landing addresses of this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LandingState {
    /// Those that are on the host.
    pub on_host: BTreeSet<Ipv4Addr>,
    /// When that was read; none if it was not.
    pub read: Option<Time>,
    /// Those whose egress IP is here: since when, and what shows it.
    pub here: BTreeMap<Ipv4Addr, (Time, EgressProof)>,
}

impl EgressStatus {
    /// The egress IPs of the groups, from where their resources were last seen and from what is
    /// known of this host; `landings` is none before the monitor has looked.
    #[must_use]
    pub fn of(
        roster: &Roster,
        view: &View,
        landings: Option<&LandingState>,
        now: Time,
    ) -> Vec<Self> {
        let me = roster.member(&view.me);
        let mut found = Vec::new();
        for group in &roster.groups {
            let targets = view.groups.get(&group.name).map(|group| &group.targets);
            for resource in &group.resources {
                let Resource::EgressIp { allocation, address } = resource else { continue };
                let target = targets.and_then(|targets| targets.get(&resource.to_string()));
                let holder = roster.members.iter().find(|member| {
                    let landing = member.landings.get(allocation).copied();
                    matches!(target, Some(Some(RouteTarget::Address(on))) if Some(*on) == landing)
                });
                let landing = me.and_then(|me| me.landings.get(allocation).copied());
                let here = landing.zip(landings).and_then(|(own, all)| all.here.get(&own));
                let arrival =
                    here.map(|(at, proof)| EgressArrival { here: now.since(*at), proof: *proof });
                found.push(Self {
                    group: group.name.clone(),
                    allocation: allocation.clone(),
                    address: *address,
                    holder: holder.map(|member| member.id.clone()),
                    arrival,
                    landing,
                    landing_on_host: landing
                        .zip(landings)
                        .map(|(own, all)| all.on_host.contains(&own)),
                    landing_age: landing
                        .and(landings)
                        .and_then(|all| all.read)
                        .map(|read| now.since(read)),
                });
            }
        }
        found
    }
}

/// Counters of EC2's network allowances, as the driver of an interface has them. They count since
/// the driver started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allowances {
    /// How many statistics the driver has in all; 0 if they cannot be read.
    pub statistics: usize,
    /// Packets that EC2 dropped or delayed, by the driver's name of the allowance.
    pub exceeded: BTreeMap<String, u64>,
    /// How many more connections EC2 can track.
    #[serde(default)]
    pub conntrack_available: Option<u64>,
}

impl Allowances {
    /// Whether the driver has such counters; only ENA has.
    #[must_use]
    pub fn are_counted(&self) -> bool {
        !self.exceeded.is_empty() || self.conntrack_available.is_some()
    }
}

/// The status of a monitor that has not discovered its cluster yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starting {
    /// What the monitor is waiting for and why, for people.
    pub starting: String,
}

/// Counts since the monitor started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Packets exchanged with the peers.
    pub peers: PeerCounters,
    /// API calls by name, then by result: `ok`, `expired`, or the kind of fault.
    pub calls: BTreeMap<String, BTreeMap<String, u64>>,
    /// Log lines dropped because the log sink could not keep up.
    pub log_lines_dropped: u64,
    /// Facts that the history or the notices lack because a queue was full.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub history_dropped: u64,
    /// Notices to people and programs.
    #[serde(default, skip_serializing_if = "NoticeCounters::is_empty")]
    pub notices: NoticeCounters,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Meters::is_empty")]
    pub meters: Meters,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Notices since the monitor started, each counted once for each way that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NoticeCounters {
    /// Delivered.
    pub sent: u64,
    /// Given up after an error.
    pub failed: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
}

impl NoticeCounters {
    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Packets exchanged with the peers since the monitor started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PeerCounters {
    /// Heartbeats handed to the kernel.
    pub beats_sent: u64,
    /// Heartbeats that passed authentication and the replay check.
    pub beats_received: u64,
    /// ICMP echo requests handed to the kernel.
    pub echoes_sent: u64,
    /// ICMP echo replies from peers.
    pub echoes_received: u64,
    /// Datagrams that the kernel refused to send.
    pub send_failures: u64,
    /// Heartbeats that had no room to list every group held.
    pub claims_omitted: u64,
    /// Dropped packets, by the stable name of the reason.
    pub rejected: BTreeMap<String, u64>,
}

impl PeerCounters {
    /// Adds `packets` dropped for `reason`.
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
    /// Counts one completed API call.
    pub fn count_call(&mut self, call: &str, result: &str) {
        let results = self.calls.entry(call.to_owned()).or_default();
        *results.entry(result.to_owned()).or_default() += 1;
    }
}

impl Report {
    /// Everything that needs attention, one sentence each. Empty if there is nothing.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        self.findings_with(self.alerts.clone())
    }

    /// The findings because of which planned work on a node waits: those about the nodes and the
    /// groups, and the alerts [`BLOCKING_ALERTS`].
    #[must_use]
    pub fn blockers(&self) -> Vec<String> {
        let names = &self.counters.meters.alerts;
        if names.len() != self.alerts.len() {
            // A monitor of another version does not say which alert is which.
            return self.findings();
        }
        let blocking = names
            .iter()
            .zip(&self.alerts)
            .filter(|(name, _)| BLOCKING_ALERTS.contains(&name.as_str()));
        self.findings_with(blocking.map(|(_, text)| text.clone()).collect())
    }

    fn findings_with(&self, alerts: Vec<String>) -> Vec<String> {
        let mut findings = Vec::new();
        if !self.view.fitness.is_fit() {
            findings.push(format!("this node is not fit: {}", self.view.fitness));
        } else if !self.view.fitness.is_proven() {
            findings.push(unproven("this node", &self.view.fitness));
        }
        findings.extend(alerts);
        findings.extend(self.view.peers.iter().filter_map(|(id, peer)| self.of_peer(id, peer)));
        findings.extend(self.of_keys());
        findings
            .extend(self.view.groups.iter().filter_map(|(name, group)| self.of_group(name, group)));
        if self.view.groups.is_empty() {
            findings.push("there are no groups: tag route tables, or list groups".to_owned());
        }
        findings
    }

    fn of_peer(&self, id: &InstanceId, peer: &PeerView) -> Option<String> {
        let name = self.node_name(id);
        let open = peer.fitness.as_ref().filter(|fitness| !fitness.is_proven());
        match peer.verdict {
            Verdict::Alive if peer.settings_differ => Some(format!(
                "{name} has different settings from this node: neither node repairs the other, \
                 and no group is handed back to it"
            )),
            Verdict::Alive if !peer.hears_me => Some(format!("{name} does not hear this node")),
            Verdict::Alive => open.map(|fitness| unproven(&name, fitness)),
            Verdict::Unmet => Some(format!(
                "{name} is unmet: it was never heard since this monitor started; let the nodes' \
                 security groups pass heartbeats (UDP) and ICMP between the nodes"
            )),
            other => Some(format!("{name} is {}", other.name())),
        }
    }

    /// Reports failed authentication only while a peer is not heard: any host in the VPC can send
    /// forged heartbeats.
    pub(crate) fn of_keys(&self) -> Option<String> {
        let unheard = self.view.peers.values().any(|peer| peer.verdict != Verdict::Alive);
        let rejected = &self.counters.peers.rejected;
        let rejected: u64 = KEY_REASONS.iter().filter_map(|reason| rejected.get(*reason)).sum();
        (unheard && rejected > 0).then(|| {
            format!(
                "{rejected} heartbeats failed authentication: give all nodes the same key \
                 (heartbeat.key_file)"
            )
        })
    }

    fn of_group(&self, name: &GroupName, group: &GroupView) -> Option<String> {
        if let Some(gateway) = &group.fallback {
            return Some(format!(
                "group {name} is at its fallback {gateway}, because no node could serve it: it \
                 returns once a node has been fit and proven for its hold"
            ));
        }
        let Some(holder) = &group.holder else {
            return Some(match group.read_age {
                Some(_) => format!("group {name} is not held by a single node"),
                None => format!("group {name} has not been read yet"),
            });
        };
        if *holder == self.view.me && self.view.failing.contains(name) {
            return Some(format!(
                "group {name} is held by this node, but its service check fails here"
            ));
        }
        let home = group.home.as_ref().filter(|_| group.goes_home)?;
        (home != holder).then(|| {
            let (holder, home) = (self.node_name(holder), self.node_name(home));
            format!("group {name} is held by {holder}, but its home is {home}")
        })
    }

    /// The node's name, or its id if it has none.
    #[must_use]
    pub fn node_name(&self, id: &InstanceId) -> String {
        self.roster.node_name(id)
    }

    /// The node with this id or name; `None` if there is none, or more than one.
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

/// The finding about a node that is fit, but lacks evidence.
fn unproven(name: &str, fitness: &Fitness) -> String {
    format!(
        "{name} is {fitness}: no probe of that kind has been answered since it booted, and until \
         one is, no group is handed to it. Check its public address, the route of its subnet to \
         the internet, and the targets of its probes"
    )
}

/// The stable name of an event kind, as used in logs and in JSON.
#[must_use]
pub const fn kind_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Verdict => "verdict",
        EventKind::Fitness => "fitness",
        EventKind::TakeoverBegun => "takeover-begun",
        EventKind::TakeoverDone => "takeover-done",
        EventKind::TakeoverFailed => "takeover-failed",
        EventKind::HandOverBegun => "hand-over-begun",
        EventKind::HandOverDone => "hand-over-done",
        EventKind::HandOverDropped => "hand-over-dropped",
        EventKind::Drift => "drift",
        EventKind::Foreign => "foreign",
        EventKind::Fallback => "fallback",
        EventKind::RepairStop => "repair-stop",
        EventKind::RepairStart => "repair-start",
        EventKind::RepairDone => "repair-done",
        EventKind::RepairBlocked => "repair-blocked",
        EventKind::ApiFailed => "api-failed",
        EventKind::Paused => "paused",
        EventKind::HostDrift => "host-drift",
        EventKind::Settings => "settings",
        EventKind::Connections => "connections",
        EventKind::Latch => "latch",
    }
}
