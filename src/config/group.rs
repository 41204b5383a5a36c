//! Groups as configured, before members are known. What serde reads here is checked before against
//! the tables in `group_keys.rs`, which are also the reference.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::group_keys::{COUNT, HOLD, INTERVAL, TIMEOUT, TTL};
use super::group_modes::{EgressMode, Local};
use super::reading::{list, scalar, texts, value, value_in};
use super::spans;
use super::values::{Range, Value};
use crate::types::{
    AllocationId, DnsName, GroupName, HostedZoneId, InstanceId, NatGatewayId, RouteTableId,
    printable,
};

/// A group as configured, before members are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSetting {
    /// Its name.
    #[serde(deserialize_with = "value")]
    pub name: GroupName,
    /// Its home; none where the rank order decides.
    #[serde(default, deserialize_with = "value")]
    pub home: Option<Home>,
    /// Further nodes in order of preference, after the home.
    #[serde(default, deserialize_with = "list")]
    pub prefer: Vec<Home>,
    /// The tables whose route to `cidr` the group moves.
    #[serde(default, deserialize_with = "list")]
    pub tables: Vec<RouteTableId>,
    /// The destination of these routes: `0.0.0.0/0` unless configured.
    #[serde(default, deserialize_with = "value")]
    pub cidr: Ipv4Net,
    /// What moves in addition to these routes.
    #[serde(default, rename = "resource")]
    pub resources: Vec<ResourceSetting>,
    /// How the holder accepts packets to the group's addresses.
    #[serde(default = "Local::unset", deserialize_with = "value")]
    pub local: Local,
    /// The service check; none where the node's own fitness is enough.
    #[serde(default)]
    pub check: Option<ServiceCheck>,
    /// Whether the group returns automatically to a more preferred node; none: as
    /// `hand_back.enabled` says.
    #[serde(default, deserialize_with = "value")]
    pub hand_back: Option<bool>,
    /// How long that node must be healthy first; none: as `hand_back.hold` says.
    #[serde(default, deserialize_with = "hold", serialize_with = "shown")]
    pub hold: Option<Duration>,
    /// What new connections do while the holder does not have the group's egress IPs.
    #[serde(default, deserialize_with = "value", skip_serializing_if = "EgressMode::is_default")]
    pub egress: EgressMode,
    /// Networks whose hosts reach the internet by the egress IPs, beside the subnets of `tables`.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub egress_sources: Vec<Ipv4Net>,
    /// The NAT gateway that gets its default routes while no node can serve it.
    #[serde(default, deserialize_with = "value", skip_serializing_if = "Option::is_none")]
    pub fallback: Option<NatGatewayId>,
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
            egress: EgressMode::Eager,
            egress_sources: Vec::new(),
            fallback: None,
        }
    }

    /// Whether it has an egress IP.
    #[must_use]
    pub fn has_egress(&self) -> bool {
        self.resources.iter().any(|one| matches!(one, ResourceSetting::EgressIp { .. }))
    }

    /// The virtual IPs that it moves.
    pub fn vips(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.resources.iter().filter_map(|one| match one {
            ResourceSetting::Vip { address, .. } => Some(*address),
            ResourceSetting::PrivateIp { .. }
            | ResourceSetting::Eip { .. }
            | ResourceSetting::EgressIp { .. }
            | ResourceSetting::Dns { .. } => None,
        })
    }

    /// The secondary private IPs that it moves.
    pub fn private_ips(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.resources.iter().filter_map(|one| match one {
            ResourceSetting::PrivateIp { address } => Some(*address),
            ResourceSetting::Vip { .. }
            | ResourceSetting::Eip { .. }
            | ResourceSetting::EgressIp { .. }
            | ResourceSetting::Dns { .. } => None,
        })
    }

    /// Whether it moves an address that its holder receives packets for: a virtual or a private IP.
    #[must_use]
    pub fn has_addresses(&self) -> bool {
        self.first_address().is_some()
    }

    /// The first of these addresses. It shows who holds the group where other software, such as
    /// keepalived, chooses the holder.
    #[must_use]
    pub fn first_address(&self) -> Option<Ipv4Addr> {
        self.resources.iter().find_map(|one| match one {
            ResourceSetting::Vip { address, .. } | ResourceSetting::PrivateIp { address } => {
                Some(*address)
            }
            ResourceSetting::Eip { .. }
            | ResourceSetting::EgressIp { .. }
            | ResourceSetting::Dns { .. } => None,
        })
    }

    /// Whether other software, such as keepalived, chooses the holder and natha follows it.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.probe == ServiceProbe::Address)
    }
}

/// Something other than a default route that a group moves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ResourceSetting {
    /// A virtual IP outside the VPC.
    Vip {
        /// The address.
        #[serde(deserialize_with = "value")]
        address: Ipv4Addr,
        /// The tables that route it; empty means every table of the VPC that does.
        #[serde(default, deserialize_with = "list")]
        tables: Vec<RouteTableId>,
    },
    /// A secondary private IP.
    PrivateIp {
        /// The address.
        #[serde(deserialize_with = "value")]
        address: Ipv4Addr,
    },
    /// An Elastic IP.
    Eip {
        /// Its allocation.
        #[serde(deserialize_with = "value")]
        allocation: AllocationId,
        /// The private IP that it is associated with; none for the forwarding interface's primary
        /// one.
        #[serde(default, deserialize_with = "value")]
        on: Option<Ipv4Addr>,
    },
    /// An Elastic IP by which the group's private hosts reach the internet.
    EgressIp {
        /// Its allocation.
        #[serde(deserialize_with = "value")]
        allocation: AllocationId,
        /// The landing addresses, one on each node; empty: the nodes' secondary private IPs, in
        /// order.
        #[serde(default, deserialize_with = "list")]
        landing: Vec<Ipv4Addr>,
    },
    /// An A record in Route 53.
    Dns {
        /// The hosted zone.
        #[serde(deserialize_with = "value")]
        zone: HostedZoneId,
        /// The record's name.
        #[serde(deserialize_with = "value")]
        name: DnsName,
        /// Its time to live, in seconds.
        #[serde(default = "default_ttl", deserialize_with = "ttl")]
        ttl: u32,
        /// Whether it holds the holder's public address instead of its private one.
        #[serde(default, deserialize_with = "value")]
        public: bool,
    },
}

/// What other modules need to know of a resource without naming its kind.
impl ResourceSetting {
    /// The route tables that it names.
    #[must_use]
    pub fn tables(&self) -> &[RouteTableId] {
        match self {
            Self::Vip { tables, .. } => tables,
            Self::PrivateIp { .. }
            | Self::Eip { .. }
            | Self::EgressIp { .. }
            | Self::Dns { .. } => &[],
        }
    }

    /// Sorts what has no order, so that equal settings have equal digests.
    pub(super) fn normalize(&mut self) {
        match self {
            Self::Vip { tables, .. } => tables.sort(),
            Self::EgressIp { landing, .. } => landing.sort(),
            Self::PrivateIp { .. } | Self::Eip { .. } | Self::Dns { .. } => {}
        }
    }

    /// The virtual IP whose routes are found by reading all tables of the VPC.
    #[must_use]
    pub fn in_any_table(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Vip { address, tables } => tables.is_empty().then_some(*address),
            Self::PrivateIp { .. }
            | Self::Eip { .. }
            | Self::EgressIp { .. }
            | Self::Dns { .. } => None,
        }
    }

    /// The Elastic IP that it is.
    #[must_use]
    pub const fn elastic_ip(&self) -> Option<&AllocationId> {
        match self {
            Self::Eip { allocation, .. } | Self::EgressIp { allocation, .. } => Some(allocation),
            Self::Vip { .. } | Self::PrivateIp { .. } | Self::Dns { .. } => None,
        }
    }

    /// The zone and the name of the record that it is.
    #[must_use]
    pub const fn record(&self) -> Option<(&HostedZoneId, &DnsName)> {
        match self {
            Self::Dns { zone, name, .. } => Some((zone, name)),
            Self::Vip { .. }
            | Self::PrivateIp { .. }
            | Self::Eip { .. }
            | Self::EgressIp { .. } => None,
        }
    }
}

/// Its kind and name, as the settings have them.
impl fmt::Display for ResourceSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vip { address, .. } => write!(f, "vip {address}"),
            Self::PrivateIp { address } => write!(f, "private-ip {address}"),
            Self::Eip { allocation, on: None } => write!(f, "eip {allocation}"),
            Self::Eip { allocation, on: Some(on) } => write!(f, "eip {allocation} on {on}"),
            Self::EgressIp { allocation, .. } => write!(f, "egress-ip {allocation}"),
            Self::Dns { zone, name, .. } => write!(f, "dns {name} in {zone}"),
        }
    }
}

/// A service check: what is probed, how often, and how many results count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceCheck {
    /// What is probed.
    pub probe: ServiceProbe,
    /// Time between two probes.
    #[serde(
        default = "second",
        deserialize_with = "interval",
        serialize_with = "spans::serialize"
    )]
    pub interval: Duration,
    /// Time limit of one probe.
    #[serde(default = "second", deserialize_with = "timeout", serialize_with = "spans::serialize")]
    pub timeout: Duration,
    /// Consecutive failures after which the service counts as failed.
    #[serde(default = "default_fall", deserialize_with = "count")]
    pub fall: u32,
    /// Consecutive successes after which it counts as working again.
    #[serde(default = "default_rise", deserialize_with = "count")]
    pub rise: u32,
}

impl ServiceCheck {
    /// A check with this probe and the default numbers.
    #[must_use]
    pub const fn of(probe: ServiceProbe) -> Self {
        let (interval, timeout) = (second(), second());
        Self { probe, interval, timeout, fall: default_fall(), rise: default_rise() }
    }
}

/// What a service check probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceProbe {
    /// Succeeds if a TCP connection to this address is accepted.
    #[serde(deserialize_with = "tcp")]
    Tcp(SocketAddr),
    /// Succeeds if a GET of this path at this address is answered with a status below 400.
    #[serde(deserialize_with = "http")]
    Http(SocketAddr, String),
    /// Succeeds if this program, given by its absolute path, exits with status 0.
    #[serde(deserialize_with = "exec")]
    Exec(PathBuf, Vec<String>),
    /// Succeeds while the group's first virtual or private IP is on an interface of this host:
    /// other software, such as keepalived, chooses the holder, and natha follows.
    #[serde(deserialize_with = "address")]
    Address,
}

/// How settings name a node: as a group's home, or in its order of preference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// By instance.
    Instance(InstanceId),
    /// By its `Name` tag or its zone; the lowest instance id of several.
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

impl Value for Home {
    fn read(text: &str, _: Range) -> Result<Self, String> {
        if text.starts_with("i-") {
            let id = text.parse::<InstanceId>().map_err(|error| error.to_string())?;
            return Ok(Self::Instance(id));
        }
        match text.trim() {
            "" => Err("is empty".to_owned()),
            // As members' names are kept.
            name => Ok(Self::Named(printable(name))),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Serialize for Home {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

const fn default_ttl() -> u32 {
    60
}

const fn second() -> Duration {
    Duration::from_secs(1)
}

const fn default_fall() -> u32 {
    3
}

const fn default_rise() -> u32 {
    2
}

fn ttl<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    value_in(from, TTL)
}

fn hold<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    value_in(from, HOLD)
}

fn interval<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    value_in(from, INTERVAL)
}

fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    value_in(from, TIMEOUT)
}

fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    value_in(from, COUNT)
}

/// A value as it is shown, empty where there is none.
fn shown<T: Value, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.show())
}

/// A port of this host, or an address and a port.
fn tcp<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = scalar(from)?;
    let port = text.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    match port.or_else(|_| text.parse::<SocketAddr>()) {
        Ok(address) if address.port() > 0 => Ok(address),
        _ => Err(D::Error::custom(format!("`{text}` is not a place to connect to"))),
    }
}

/// A URL whose host is an address. No name is resolved: a resolver that is down would look like a
/// service that is down.
fn http<'de, D: Deserializer<'de>>(from: D) -> Result<(SocketAddr, String), D::Error> {
    let text = scalar(from)?;
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(D::Error::custom(format!(
            "`{text}` does not begin with http://\nwrite http://ADDRESS:PORT/PATH, or for https run a \
             program such as curl with `exec`"
        )));
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let host = host
        .strip_prefix("localhost")
        .map_or_else(|| host.to_owned(), |port| format!("{}{port}", Ipv4Addr::LOCALHOST));
    let address = host
        .parse::<SocketAddr>()
        .ok()
        .or_else(|| Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, 80)))
        .filter(|address| address.port() > 0)
        .ok_or_else(|| D::Error::custom(format!("`{text}` has no address after http://")))?;
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = format!("`{text}` has spaces or characters that a path cannot have");
        return Err(D::Error::custom(what));
    }
    Ok((address, path.to_owned()))
}

/// A program and its arguments.
fn exec<'de, D: Deserializer<'de>>(from: D) -> Result<(PathBuf, Vec<String>), D::Error> {
    let texts = texts(from)?;
    let [program, arguments @ ..] = texts.as_slice() else {
        return Err(D::Error::custom("is empty"));
    };
    if !Path::new(program).is_absolute() {
        let what = format!("`{program}` is not an absolute path\nwrite one that begins with /");
        return Err(D::Error::custom(what));
    }
    Ok((PathBuf::from(program), arguments.to_vec()))
}

/// `address = true`: only true selects this probe.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    if value(from)? { Ok(()) } else { Err(D::Error::custom("cannot be false")) }
}
