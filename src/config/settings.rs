//! Validated settings, as the rest of the program reads them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::group::{GroupSetting, ResourceSetting};
use super::metrics::Metrics;
use super::notify::{HistorySettings, Notify};
use super::replicate::Replicate;
use super::spans;
use super::values::{Range, Value};
use crate::types::InstanceId;

/// All settings, with defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's name: the value of the tag `natha:cluster`. None until it is read from the
    /// instance's own tags, or if members are listed.
    pub cluster: Option<String>,
    /// Access to the AWS APIs.
    pub api: Api,
    /// What `natha setup` configures.
    pub host: Host,
    /// The heartbeat exchange.
    pub heartbeat: Heartbeat,
    /// The timing of takeover, repair and hand-back.
    pub timing: Timing,
    /// The uplink probes.
    pub uplink: Uplink,
    /// How the node reacts to interruptions that AWS announces.
    pub interruptions: Interruptions,
    /// The replication of connections.
    pub replicate: Replicate,
    /// Where and how the monitor gives its metrics.
    pub metrics: Metrics,
    /// Groups from the file or flags; empty if tags define them.
    pub groups: Vec<GroupSetting>,
    /// Members from the file or flags; empty if tags define them. This node may be missing.
    pub members: Vec<InstanceId>,
    /// Whether other software decides which node holds the addresses, and natha only follows.
    pub observe: bool,
    /// The Unix socket on which the monitor serves `natha status`.
    pub socket: PathBuf,
    /// The directory with the undo journal of `natha setup`.
    pub state_dir: PathBuf,
    /// Whether and where the monitor records its inputs.
    pub record: Record,
    /// How much of the history is kept.
    pub history: HistorySettings,
    /// Where notices go. Boxed: many futures hold the settings.
    pub notify: Box<Notify>,
}

/// The kind of host that `natha setup` configures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// It translates and forwards packets.
    pub nat: bool,
    /// It answers on virtual IPs, which the VPC does not know as its own.
    pub vips: bool,
}

impl Settings {
    /// Whether the cluster moves default routes: those of tagged tables, or those of a group.
    #[must_use]
    pub fn moves_default_routes(&self) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|group| !group.tables.is_empty())
    }

    /// Whether this host is a NAT: as `host.nat` says, else if default routes or egress IPs are
    /// moved.
    #[must_use]
    pub fn is_nat(&self) -> bool {
        let has_egress = || self.groups.iter().any(GroupSetting::has_egress);
        self.host.nat.unwrap_or_else(|| self.moves_default_routes() || has_egress())
    }

    /// Whether the host receives packets for other addresses than its own, as a NAT or for a
    /// virtual IP. EC2's source/destination check would drop them.
    #[must_use]
    pub fn takes_foreign_packets(&self) -> bool {
        self.role() != Role { nat: false, vips: false }
    }

    /// The kind of this host.
    #[must_use]
    pub fn role(&self) -> Role {
        let vips = self.groups.iter().any(|group| group.vips().next().is_some());
        Role { nat: self.is_nat(), vips: vips || !self.host.accept.is_empty() }
    }

    /// Whether the public address of a node can change while it runs, because an Elastic IP moves.
    #[must_use]
    pub fn moves_public_addresses(&self) -> bool {
        let mut moved = self.groups.iter().flat_map(|group| &group.resources);
        moved.any(|resource| matches!(resource, ResourceSetting::Eip { .. }))
    }

    /// Whether a group moves an Elastic IP.
    #[must_use]
    pub fn moves_elastic_ips(&self) -> bool {
        let mut moved = self.groups.iter().flat_map(|group| &group.resources);
        moved.any(|resource| resource.elastic_ip().is_some())
    }
}

/// Access to the APIs of EC2 and Route 53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Region; none means that of the instance metadata.
    pub region: Option<String>,
    /// EC2 endpoint; none for the region's.
    pub endpoint: Option<String>,
    /// Route 53 endpoint; none for the global one.
    pub route53_endpoint: Option<String>,
    /// Time limit of one call, including the connection.
    pub timeout: Duration,
}

/// What `natha setup` configures on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Host {
    /// Whether it is a NAT; none if the groups decide, see [`Settings::is_nat`].
    pub nat: Option<bool>,
    /// Virtual IPs that this host answers on without holding them, because a load balancer sends it
    /// their packets.
    pub accept: Vec<Ipv4Addr>,
    /// How it accepts these packets.
    pub accept_mode: AcceptMode,
    /// The interface that faces the internet; none means the one with the default route.
    pub uplink: Option<String>,
    /// The networks whose traffic is translated; empty means the VPC's address blocks.
    pub sources: Vec<Ipv4Net>,
    /// The network of the packets with which the monitor tests that this host forwards.
    pub transit_network: TransitNetwork,
    /// Whether to clamp the MSS of TCP connections to the internet, to the path MTU and to `mss`.
    pub clamp_mss: bool,
    /// The largest TCP segment towards the internet, in bytes.
    pub mss: u16,
    /// Whether established flows use the kernel's fast path (an nft flowtable).
    pub flowtable: bool,
    /// Whether to disable EC2's source/destination check.
    pub source_dest_check: bool,
    /// `nf_conntrack_max`; none means sized from RAM.
    pub conntrack_max: Option<u32>,
    /// Raise an alert when the conntrack table is at least this full, in percent.
    pub conntrack_alert: u32,
    /// Whether the kernel counts the bytes of each connection.
    pub accounting: bool,
    /// `nf_conntrack_tcp_timeout_established`.
    pub established_timeout: Duration,
    /// Whether a private host that continues a TCP connection after that gets a reset.
    pub reset_idle: bool,
    /// Whether a NAT accepts nothing from private hosts but echo, for itself.
    pub protect: bool,
    /// Networks from which it accepts everything all the same.
    pub protect_except: Vec<Ipv4Net>,
}

/// The network, a /30, of the packets with which the monitor tests that this host forwards; none if
/// it does not test that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransitNetwork(pub Option<Ipv4Net>);

impl TransitNetwork {
    /// The number of addresses: one for the host, one for the monitor.
    const PREFIX: u8 = 30;
}

impl Default for TransitNetwork {
    /// The end of the range for benchmarks (RFC 2544), which no VPC needs and no one routes.
    fn default() -> Self {
        Self(Ipv4Net::new(Ipv4Addr::new(198, 18, 255, 252), Self::PREFIX).ok())
    }
}

impl Value for TransitNetwork {
    fn read(text: &str, range: Range) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let net = Ipv4Net::read(text, range)?;
        let first = net.network();
        if net.prefix_len() != Self::PREFIX {
            let such = Self::default().show();
            return Err(format!("`{text}` has the wrong size\nwrite a /30 such as {such}, or off"));
        }
        if first.is_loopback() || first.is_multicast() || first.is_link_local() {
            return Err(format!("`{text}` is in a network that is not forwarded"));
        }
        Ok(Self(Some(net)))
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |net| net.to_string())
    }
}

/// The heartbeat exchange between members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// UDP port.
    pub port: u16,
    /// The cluster key, at least 16 bytes; none means unauthenticated.
    pub key: Option<ClusterKey>,
    /// The file with the key; none means the systemd credential `natha.key`, if present.
    pub key_file: Option<PathBuf>,
    /// A second key that is accepted and never used to send, while the key is replaced.
    pub second_key: Option<ClusterKey>,
    /// The file with the second key.
    pub second_key_file: Option<PathBuf>,
    /// Local address; none means the primary address of the forwarding interface.
    pub bind: Option<Ipv4Addr>,
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey(pub Vec<u8>);

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

/// The shortest time between two rounds of probes, however short the heartbeat's interval is.
const LEAST_PROBE_PACE: Duration = Duration::from_millis(50);

/// The timing of all decisions. `docs/failover.md` explains each value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// Time between two heartbeats: 20 ms to 10 s.
    #[serde(with = "spans")]
    pub interval: Duration,
    /// Consecutive missed heartbeats after which a peer is lost: 2 to 100.
    pub lost_after: u32,
    /// How long a peer keeps its groups if its monitor is silent but its host still answers.
    #[serde(with = "spans")]
    pub daemon_grace: Duration,
    /// How long after this node's start a peer that it has not heard yet keeps its groups, whatever
    /// its echo and EC2's status check show.
    #[serde(with = "spans")]
    pub first_contact: Duration,
    /// The maximum age of a read that a write or a repair relies on.
    #[serde(with = "spans")]
    pub read_valid: Duration,
    /// Time between two reads of the routes while the cluster is healthy.
    #[serde(with = "spans")]
    pub reread: Duration,
    /// Stopping and starting a failed peer.
    pub repair: Repair,
    /// Handing a group back to its home.
    pub hand_back: HandBack,
    /// Whether a target outside the cluster is replaced (`true`) or respected (`false`).
    pub adopt: bool,
    /// Time between two rounds of this node's probes while they are answered.
    #[serde(with = "spans")]
    pub probe_interval: Duration,
}

impl Timing {
    /// How long a peer may be silent before it is lost.
    #[must_use]
    pub fn detection(&self) -> Duration {
        self.interval * self.lost_after
    }

    /// Time between two rounds of probes while something is in doubt.
    #[must_use]
    pub fn probe_pace(&self) -> Duration {
        self.interval.max(LEAST_PROBE_PACE).min(self.probe_interval)
    }
}

/// The timing and limits of repair.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repair {
    /// Whether a failed peer is stopped and started.
    pub enabled: bool,
    /// How long it must have been suspected without interruption.
    #[serde(with = "spans")]
    pub after: Duration,
    /// How long every route must have been observed on this node.
    #[serde(with = "spans")]
    pub settle: Duration,
    /// Extra delay per rank, so that two nodes never start a repair together.
    #[serde(with = "spans")]
    pub stagger: Duration,
    /// Stops per hour, after which repair stays off and an alert is raised.
    pub max_per_hour: u32,
    /// How long to wait for `stopped` before forcing the stop, and for `running` before raising an
    /// alert.
    #[serde(with = "spans")]
    pub patience: Duration,
}

/// When a group is handed back to its home.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandBack {
    /// Whether it happens automatically.
    pub enabled: bool,
    /// How long the home must be healthy first. Doubles with each flap.
    #[serde(with = "spans")]
    pub hold: Duration,
    /// The upper limit to which `hold` grows.
    #[serde(with = "spans")]
    pub hold_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(90),
            lost_after: 5,
            daemon_grace: Duration::from_secs(15),
            first_contact: Duration::from_secs(30),
            read_valid: Duration::from_secs(5),
            reread: Duration::from_secs(10),
            repair: Repair::default(),
            hand_back: HandBack::default(),
            adopt: false,
            probe_interval: Duration::from_millis(500),
        }
    }
}

impl Default for Repair {
    fn default() -> Self {
        Self {
            enabled: true,
            after: Duration::from_mins(1),
            settle: Duration::from_secs(30),
            stagger: Duration::from_secs(20),
            max_per_hour: 3,
            patience: Duration::from_mins(5),
        }
    }
}

impl Default for HandBack {
    fn default() -> Self {
        Self { enabled: true, hold: Duration::from_secs(30), hold_max: Duration::from_mins(30) }
    }
}

/// How this node checks its uplink, and that it forwards. One reply from any target is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The hosts that are probed.
    pub targets: Vec<Probe>,
    /// Consecutive rounds, at the pace of the heartbeats, without a reply after which the uplink
    /// is lost.
    pub lost_after: u32,
}

/// How the node reacts to interruptions that AWS announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interruptions {
    /// Whether natha polls for them.
    pub enabled: bool,
    /// How long before a scheduled event this node becomes unfit.
    pub lead_time: Duration,
}

/// One uplink probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// ICMP echo.
    Icmp(Ipv4Addr),
    /// A TCP connection, opened and closed.
    Tcp(SocketAddr),
}

impl Probe {
    /// Whether one host may have this address, and this port be open.
    fn can_be_answered(self) -> bool {
        let (address, port) = match self {
            Self::Icmp(address) => (IpAddr::V4(address), None),
            Self::Tcp(address) => (address.ip(), Some(address.port())),
        };
        let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
        !address.is_unspecified() && !address.is_multicast() && !is_broadcast && port != Some(0)
    }
}

impl Value for Probe {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        let (kind, target) = text.split_once(':').unwrap_or(("icmp", text));
        let found = match kind {
            "icmp" => target.parse::<Ipv4Addr>().ok().map(Self::Icmp),
            "tcp" => target.parse::<SocketAddr>().ok().map(Self::Tcp),
            _ => None,
        };
        let found = found.ok_or_else(|| format!("`{text}` is not a probe"))?;
        if found.can_be_answered() {
            return Ok(found);
        }
        Err(format!("no host can answer at `{target}`"))
    }

    fn show(&self) -> String {
        match self {
            Self::Icmp(address) => format!("icmp:{address}"),
            Self::Tcp(address) => format!("tcp:{address}"),
        }
    }
}

/// The recording of a monitor's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The file; none means no recording.
    pub file: Option<PathBuf>,
    /// The size in MiB at which it ends.
    pub max_mib: u32,
}

/// How a host accepts packets to virtual IPs that it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptMode {
    /// Each is an address of `lo`.
    Lo,
    /// They are redirected to the primary address of the interface they arrive on.
    Redirect,
}

impl Value for AcceptMode {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        match text {
            "lo" => Ok(Self::Lo),
            "redirect" => Ok(Self::Redirect),
            _ => Err("is not a mode".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Lo => "lo".to_owned(),
            Self::Redirect => "redirect".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_shown_as_it_is_read() {
        for text in ["icmp:192.0.2.1", "tcp:192.0.2.1:443"] {
            assert_eq!(Probe::read(text, Range::Words("")).unwrap().show(), text);
        }
        assert_eq!(
            Probe::read("192.0.2.1", Range::Words("")).unwrap(),
            Probe::Icmp(Ipv4Addr::new(192, 0, 2, 1))
        );
        for wrong in [
            "udp:192.0.2.1:53",
            "tcp:192.0.2.1",
            "tcp:192.0.2.1:0",
            "tcp:0.0.0.0:443",
            "tcp:[ff02::1]:443",
            "icmp:0.0.0.0",
            "icmp:224.0.0.1",
            "icmp:255.255.255.255",
        ] {
            assert!(Probe::read(wrong, Range::Words("")).is_err(), "{wrong}");
        }
    }
}
