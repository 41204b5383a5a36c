//! Validated settings: what the rest of the program reads. Every field is sound once built.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::spans;
use crate::types::{
    AllocationId, DnsName, GroupName, HostedZoneId, InstanceId, RouteTableId, Zone,
};

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
    pub notices: Notices,
    /// Groups given by file or flags; empty where tags tell.
    pub groups: Vec<GroupSetting>,
    /// Members given by file or flags; empty where tags tell. This node needs no entry.
    pub members: Vec<InstanceId>,
    /// A cluster of two given by the flags of `natha monitor`; none where tags or the file tell.
    pub pair: Option<Pair>,
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
            api: Api { region: None, endpoint: None, timeout: Duration::from_secs(5) },
            host: Host {
                nat: None,
                accept: Vec::new(),
                accept_mode: AcceptMode::Lo,
                uplink: None,
                sources: Vec::new(),
                clamp_mss: true,
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
            notices: Notices { heed: true, lead: Duration::from_mins(2) },
            groups: Vec::new(),
            members: Vec::new(),
            pair: None,
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
    /// What kind of host this is. Where `host.nat` does not say, it is a NAT unless groups are
    /// configured and none of them has a default route.
    #[must_use]
    pub fn role(&self) -> Role {
        let routes = self.groups.iter().any(|group| !group.tables.is_empty());
        let is_vip = |one: &ResourceSetting| matches!(one, ResourceSetting::Vip { .. });
        let mut resources = self.groups.iter().flat_map(|group| &group.resources);
        Role {
            nat: self.host.nat.unwrap_or(self.groups.is_empty() || routes),
            vips: !self.host.accept.is_empty() || resources.any(is_vip),
        }
    }
}

/// How to reach the EC2 API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Region; none means the instance metadata tells.
    pub region: Option<String>,
    /// Endpoint in place of the regional one (a VPC endpoint, a test); none for the default.
    pub endpoint: Option<String>,
    /// Time limit of one call, connection included.
    pub timeout: Duration,
}

/// What `natha setup` makes true of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Whether this host is a NAT; none means as [`Settings::role`] finds.
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
    pub key: Option<Key>,
    /// The file that the key is read from; none means the service manager's credential
    /// `natha.key`, where there is one.
    pub key_file: Option<PathBuf>,
    /// Address to bind; none means the primary address of the forwarding interface.
    pub bind: Option<Ipv4Addr>,
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
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
pub struct Notices {
    /// Whether they are looked for at all.
    pub heed: bool,
    /// How long before a scheduled one this node counts itself unfit.
    pub lead: Duration,
}

/// One uplink probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// ICMP echo.
    Icmp(Ipv4Addr),
    /// A TCP connection, opened and closed.
    Tcp(SocketAddr),
}

/// The recording of a monitor's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The file; none means no recording.
    pub file: Option<PathBuf>,
    /// Its size in MiB at which the recording ends.
    pub max_mib: u32,
}

/// A group as configured, before members are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSetting {
    /// Its name.
    pub name: GroupName,
    /// Its home, by instance or by zone; none where the rank order decides.
    pub home: Option<Home>,
    /// Who holds it rather than whom, after the home.
    pub prefer: Vec<Home>,
    /// The tables whose default route it has.
    pub tables: Vec<RouteTableId>,
    /// The destination that is routed there: `0.0.0.0/0` unless configured.
    pub cidr: Ipv4Net,
    /// What moves besides the default routes.
    pub resources: Vec<ResourceSetting>,
    /// How the holder takes in packets to its virtual IPs.
    pub local: Local,
    /// How a node finds out whether it can serve the group; none where its fitness is enough.
    pub check: Option<Check>,
    /// Whether it goes back to who is preferred by itself; none: as `hand_back.enabled` says.
    pub hand_back: Option<bool>,
    /// How long that one must have been well before; none: as `hand_back.hold` says.
    pub hold: Option<Duration>,
}

impl GroupSetting {
    /// A group of default routes alone.
    #[must_use]
    pub fn of_tables(
        name: GroupName,
        home: Option<Home>,
        tables: Vec<RouteTableId>,
        cidr: Ipv4Net,
    ) -> Self {
        Self {
            name,
            home,
            prefer: Vec::new(),
            tables,
            cidr,
            resources: Vec::new(),
            local: Local::Off,
            check: None,
            hand_back: None,
            hold: None,
        }
    }
}

/// Something besides default routes that a group moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceSetting {
    /// A virtual IP outside the VPC.
    Vip {
        /// The address.
        address: Ipv4Addr,
        /// The tables that route it; empty means every table of the VPC that does.
        tables: Vec<RouteTableId>,
    },
    /// A secondary private IP.
    PrivateIp {
        /// The address.
        address: Ipv4Addr,
    },
    /// An Elastic IP.
    Eip {
        /// Its allocation.
        allocation: AllocationId,
        /// The private IP that it belongs to; none for the forwarding interface's primary one.
        on: Option<Ipv4Addr>,
    },
    /// An A record in Route 53.
    Dns {
        /// The hosted zone.
        zone: HostedZoneId,
        /// The record's name.
        name: DnsName,
        /// Its time to live, in seconds.
        ttl: u32,
        /// Whether it gives the holder's public address and not its private one.
        public: bool,
    },
}

/// How a node takes in packets to the virtual IPs of a group that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// Each is an address of `lo`: services that listen on all addresses, or on it, answer.
    Lo,
    /// They are redirected to the address of the interface that they come in by, whatever the port.
    Redirect,
    /// TCP and UDP go to this port of that address.
    Dnat(u16),
    /// Somebody else sees to it: keepalived, a static address.
    Off,
}

/// How a host takes in packets to virtual IPs that it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptMode {
    /// Each is an address of `lo`.
    Lo,
    /// They are redirected to the address of the interface that they come in by.
    Redirect,
}

/// A service check: what is asked, how often, and how many answers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub probe: ServiceProbe,
    /// Time between two rounds.
    pub interval: Duration,
    /// Time limit of one.
    pub timeout: Duration,
    /// Failures in a row after which the service counts as failed.
    pub fall: u32,
    /// Successes in a row after which it counts as working again.
    pub rise: u32,
}

/// What a service check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceProbe {
    /// A TCP connection is accepted there.
    Tcp(SocketAddr),
    /// A GET of this path there is answered with a status below 400.
    Http(SocketAddr, String),
    /// This program, by its absolute path and with these arguments, ends with status 0.
    Exec(PathBuf, Vec<String>),
    /// The group's first virtual or private IP is on an interface of this host: somebody else, such
    /// as keepalived, decides who holds it, and natha follows.
    Address,
}

/// Two nodes and their tables: the inputs of the `nat_monitor.sh` that AWS published in 2013.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The other node (`NAT_ID`).
    pub peer: InstanceId,
    /// The table whose home is the other node (`NAT_RT_ID`).
    pub peer_table: RouteTableId,
    /// The table whose home is this node (`My_RT_ID`).
    pub my_table: RouteTableId,
}

/// How a home is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// By instance.
    Instance(InstanceId),
    /// By zone: the node in it, the first by id where there are several.
    Zone(Zone),
}
