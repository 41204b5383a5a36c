//! Validated settings: what the rest of the program reads. Every field is sound once built.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::group::{GroupSetting, ResourceSetting};
use super::spans;
use super::values::{Range, Value};
use crate::types::InstanceId;

/// Everything natha is told, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's name: the value of the `natha:cluster` tag. None until discovered from the
    /// instance's own tags, or where members are listed.
    pub cluster: Option<String>,
    /// How to reach EC2.
    pub api: Api,
    /// What `setup` makes true.
    pub host: Host,
    /// The heartbeat exchange.
    pub heartbeat: Heartbeat,
    /// What decides over takeover, repair and hand-back.
    pub failover: Failover,
    /// How the uplink is watched.
    pub uplink: Uplink,
    /// What is made of interruptions that AWS announces.
    pub interruptions: Interruptions,
    /// Groups given by file or flags; empty where tags tell.
    pub groups: Vec<GroupSetting>,
    /// Members given by file or flags; empty where tags tell. This node needs no entry.
    pub members: Vec<InstanceId>,
    /// Whether this cluster only follows somebody else's decision about who holds the addresses.
    pub observe: bool,
    /// The Unix socket on which the monitor answers `natha status`.
    pub socket: PathBuf,
    /// Where `setup` keeps its undo journal.
    pub state_dir: PathBuf,
    /// Whether and where the monitor records what it decides from.
    pub record: Record,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: None,
            api: Api {
                region: None,
                endpoint: None,
                route53_endpoint: None,
                timeout: Duration::from_secs(5),
            },
            host: Host {
                nat: None,
                accept: Vec::new(),
                accept_mode: AcceptMode::Lo,
                uplink: None,
                sources: Vec::new(),
                clamp_mss: true,
                flowtable: false,
                source_dest_check: true,
                conntrack_max: None,
                conntrack_alert: 90,
                // RFC 5382, REQ-5: not less than 2 hours and 4 minutes.
                established_timeout: Duration::from_mins(124),
            },
            heartbeat: Heartbeat { port: 6284, key: None, key_file: None, bind: None },
            failover: Failover::default(),
            uplink: Uplink {
                targets: vec![
                    Probe::Icmp(Ipv4Addr::new(1, 1, 1, 1)),
                    Probe::Icmp(Ipv4Addr::new(8, 8, 8, 8)),
                ],
                interval: Duration::from_millis(250),
                lost_after: 4,
            },
            interruptions: Interruptions { enabled: true, lead_time: Duration::from_mins(2) },
            groups: Vec::new(),
            members: Vec::new(),
            observe: false,
            socket: PathBuf::from("/run/natha/natha.sock"),
            state_dir: PathBuf::from("/var/lib/natha"),
            record: Record { file: None, max_mib: 256 },
        }
    }
}

/// What kind of host `natha setup` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// It translates and forwards.
    pub nat: bool,
    /// It answers on virtual IPs, which are not its own in the eyes of the VPC.
    pub vips: bool,
}

impl Settings {
    /// Whether the cluster moves default routes: those of tagged tables or of a pair, or those of a
    /// group.
    #[must_use]
    pub fn moves_default_routes(&self) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|group| !group.tables.is_empty())
    }

    /// Whether this host is a NAT: as `host.nat` says, else wherever default routes are moved.
    #[must_use]
    pub fn is_nat(&self) -> bool {
        self.host.nat.unwrap_or_else(|| self.moves_default_routes())
    }

    /// Whether packets that are not to this host's own addresses reach it: as a NAT, or to a
    /// virtual IP. EC2's source/dest check would drop them.
    #[must_use]
    pub fn takes_foreign_packets(&self) -> bool {
        self.role() != Role { nat: false, vips: false }
    }

    /// What kind of host this is.
    #[must_use]
    pub fn role(&self) -> Role {
        let vips = self.groups.iter().any(|group| group.vips().next().is_some());
        Role { nat: self.is_nat(), vips: vips || !self.host.accept.is_empty() }
    }

    /// Whether the public address of a node can change while it runs: an Elastic IP comes and goes.
    #[must_use]
    pub fn moves_public_addresses(&self) -> bool {
        let mut moved = self.groups.iter().flat_map(|group| &group.resources);
        moved.any(|resource| matches!(resource, ResourceSetting::Eip { .. }))
    }
}

/// How to reach the APIs of EC2 and Route 53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Region; none means the instance metadata tells.
    pub region: Option<String>,
    /// Endpoint in place of the regional one (a VPC endpoint, a test); none for the default.
    pub endpoint: Option<String>,
    /// Endpoint in place of Route 53's own; none for the default.
    pub route53_endpoint: Option<String>,
    /// Time limit of one call, connection included.
    pub timeout: Duration,
}

/// What `natha setup` makes true of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Whether it is a NAT; none where the groups tell, see [`Settings::is_nat`].
    pub nat: Option<bool>,
    /// Virtual IPs that this host answers on without holding them: a load balancer sends it their
    /// packets.
    pub accept: Vec<Ipv4Addr>,
    /// How it takes these packets in.
    pub accept_mode: AcceptMode,
    /// The interface towards the internet; none means the one with the default route.
    pub uplink: Option<String>,
    /// Whose traffic is translated; empty means the VPC's own CIDR blocks.
    pub sources: Vec<Ipv4Net>,
    /// Whether TCP's MSS is clamped to the path MTU.
    pub clamp_mss: bool,
    /// Whether established flows take the short way of an nft flowtable.
    pub flowtable: bool,
    /// Whether to turn EC2's source/dest check off.
    pub source_dest_check: bool,
    /// `nf_conntrack_max`; none means sized from RAM.
    pub conntrack_max: Option<u32>,
    /// Percent of `nf_conntrack_max` from which on an alert stands.
    pub conntrack_alert: u32,
    /// `nf_conntrack_tcp_timeout_established`.
    pub established_timeout: Duration,
}

/// The heartbeat exchange between members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// UDP port.
    pub port: u16,
    /// The cluster key, at least 16 bytes; none means unauthenticated.
    pub key: Option<ClusterKey>,
    /// The file that the key is read from; none means the service manager's credential
    /// `natha.key`, where there is one.
    pub key_file: Option<PathBuf>,
    /// Address to bind; none means the primary address of the forwarding interface.
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

/// The numbers behind every decision. `docs/failover.md` explains each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Failover {
    /// Time between two heartbeats: 20 ms to 10 s.
    #[serde(with = "spans")]
    pub interval: Duration,
    /// Heartbeats missed in a row after which a peer is lost: 2 to 100.
    pub lost_after: u32,
    /// How long a peer with a dead daemon, whose host still answers, keeps its groups.
    #[serde(with = "spans")]
    pub daemon_grace: Duration,
    /// How long a peer that was never heard keeps its groups after this node's start.
    #[serde(with = "spans")]
    pub first_contact: Duration,
    /// How old a read may be when a write or a repair relies on it.
    #[serde(with = "spans")]
    pub read_valid: Duration,
    /// How often the routes are read while all is well.
    #[serde(with = "spans")]
    pub reread: Duration,
    /// Stopping and starting a failed peer.
    pub repair: Repair,
    /// Giving a group back to its home.
    pub hand_back: HandBack,
    /// Whether a target outside the cluster is replaced (`true`) or respected (`false`).
    pub adopt: bool,
}

impl Failover {
    /// How long a peer may be silent before it is lost.
    #[must_use]
    pub fn detection(&self) -> Duration {
        self.interval * self.lost_after
    }
}

/// The repair rule's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repair {
    /// Whether a failed peer is stopped and started at all.
    pub enabled: bool,
    /// How long it must have been suspected without a break.
    #[serde(with = "spans")]
    pub after: Duration,
    /// How long every table must have been seen on this side.
    #[serde(with = "spans")]
    pub settle: Duration,
    /// Delay per rank, so that two nodes never start a repair together.
    #[serde(with = "spans")]
    pub stagger: Duration,
    /// Stops per hour, after which repair is latched off and alerted.
    pub max_per_hour: u32,
    /// How long to wait for `stopped` before forcing, and for `running` before alerting.
    #[serde(with = "spans")]
    pub patience: Duration,
}

/// When a group goes back to its home.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HandBack {
    /// Whether it happens by itself.
    pub enabled: bool,
    /// How long the home must have been alive and fit. Doubles with each flap.
    #[serde(with = "spans")]
    pub hold: Duration,
    /// The longest that `hold` grows to.
    #[serde(with = "spans")]
    pub hold_max: Duration,
}

impl Default for Failover {
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

/// How this node knows that its uplink works. Any answer from any target proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Who is asked.
    pub targets: Vec<Probe>,
    /// Time between two rounds.
    pub interval: Duration,
    /// Rounds without any answer after which the uplink is lost.
    pub lost_after: u32,
}

/// What is made of interruptions that AWS announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interruptions {
    /// Whether they are looked for at all.
    pub enabled: bool,
    /// How long before a scheduled one this node counts itself unfit.
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

impl Value for Probe {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        let (kind, target) = text.split_once(':').unwrap_or(("icmp", text));
        let found = match kind {
            "icmp" => target.parse::<Ipv4Addr>().ok().map(Self::Icmp),
            "tcp" => target.parse::<SocketAddr>().ok().map(Self::Tcp),
            _ => None,
        };
        found.ok_or_else(|| format!("`{text}` is not icmp:ADDRESS or tcp:ADDRESS:PORT"))
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
    /// Its size in MiB at which the recording ends.
    pub max_mib: u32,
}

/// How a host takes in packets to virtual IPs that it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptMode {
    /// Each is an address of `lo`.
    Lo,
    /// They are redirected to the address of the interface that they come in by.
    Redirect,
}

impl Value for AcceptMode {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        match text {
            "lo" => Ok(Self::Lo),
            "redirect" => Ok(Self::Redirect),
            _ => Err("is not lo or redirect".to_owned()),
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
        assert!(Probe::read("udp:192.0.2.1:53", Range::Words("")).is_err());
    }
}
