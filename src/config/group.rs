//! Groups as configured, before members are known.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::types::{AllocationId, DnsName, GroupName, HostedZoneId, InstanceId, RouteTableId};

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

    /// The virtual IPs that it moves.
    pub fn vips(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.resources.iter().filter_map(|one| match one {
            ResourceSetting::Vip { address, .. } => Some(*address),
            _ => None,
        })
    }

    /// The secondary private IPs that it moves.
    pub fn private_ips(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.resources.iter().filter_map(|one| match one {
            ResourceSetting::PrivateIp { address } => Some(*address),
            _ => None,
        })
    }

    /// Whether it moves an address that its holder takes packets to: a virtual or a private IP.
    #[must_use]
    pub fn has_addresses(&self) -> bool {
        self.vips().chain(self.private_ips()).next().is_some()
    }

    /// Whether its holder is somebody else's decision, which natha follows.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.probe == ServiceProbe::Address)
    }
}

/// Something besides default routes that a group moves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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

/// Its kind and name, as the settings have them.
impl fmt::Display for ResourceSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vip { address, .. } => write!(f, "vip {address}"),
            Self::PrivateIp { address } => write!(f, "private-ip {address}"),
            Self::Eip { allocation, on: None } => write!(f, "eip {allocation}"),
            Self::Eip { allocation, on: Some(on) } => write!(f, "eip {allocation} on {on}"),
            Self::Dns { zone, name, .. } => write!(f, "dns {name} in {zone}"),
        }
    }
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

impl Check {
    /// Of this kind, with the numbers that hold unless others are given.
    #[must_use]
    pub const fn of(probe: ServiceProbe) -> Self {
        let (interval, timeout) = (Duration::from_secs(1), Duration::from_secs(1));
        Self { probe, interval, timeout, fall: 3, rise: 2 }
    }
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

/// How a node is named: its home, or one that a group prefers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// By instance.
    Instance(InstanceId),
    /// By its `Name` tag, or by its zone: the node in it, the first by id where there are several.
    Named(String),
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => f.write_str(id.as_str()),
            Self::Named(name) => f.write_str(name),
        }
    }
}
