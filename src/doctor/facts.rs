//! The facts that the checks judge. Each is known, or says why it is not.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::finding::Gap;
use crate::config::{Problem, Settings};
use crate::plan::{HostPlan, Item};
use crate::status::{Allowances, Report};
use crate::types::{
    ClockDifference, InstanceId, InstanceOptions, NatGatewayInfo, NetworkInterfaceId, Roster,
    RouteEntry, RouteTableId, RouteTableInfo, SecurityGroup,
};

/// Something that is known, or why it is not.
pub type Fact<T> = Result<T, Gap>;

/// Everything that the checks need to know.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whether natha is not installed yet.
    pub pre: bool,
    /// The version of this program.
    pub version: String,
    /// The settings, as far as they could be read. The key in them is not used.
    pub settings: Settings,
    /// What is wrong with the settings. The defaults count then.
    pub problems: Vec<Problem>,
    /// What was ignored of the settings.
    pub ignored: Vec<Problem>,
    /// Whether the settings in the instance's tags were read.
    pub tags: Fact<()>,
    /// The file with the cluster key; none if there is none.
    pub key: Fact<Option<KeyFile>>,
    /// This instance, or what is wrong with the metadata service.
    pub metadata: Fact<Result<InstanceId, String>>,
    /// This instance according to EC2.
    pub instance: Fact<InstanceOptions>,
    /// What the role allows.
    pub permissions: Fact<Vec<Permission>>,
    /// The cluster's tag on the forwarding interface.
    pub interface_tag: Fact<InterfaceTag>,
    /// The plan that `natha setup` last applied; none if it never did.
    pub plan: Fact<Option<HostPlan>>,
    /// What differs from the plan.
    pub drift: Fact<Vec<Item>>,
    /// Other programs' rules that may drop what this host forwards, with the remedy for each.
    pub firewalls: Fact<Vec<String>>,
    /// Private hosts that this host reaches by a wrong interface, or by none.
    pub misrouted: Fact<Vec<String>>,
    /// Whether amazon-ec2-net-utils has systemd-networkd reconfigure an interface whenever EC2 has
    /// changed its secondary private addresses.
    pub refresh: Fact<bool>,
    /// EC2's source/dest check of each forwarding interface.
    pub source_dest: Fact<BTreeMap<NetworkInterfaceId, bool>>,
    /// The default route of this node's own subnet.
    pub uplink_route: Fact<UplinkRoute>,
    /// The network interfaces that forward, or before the installation all of them.
    pub links: Fact<BTreeMap<String, LinkFacts>>,
    /// The kernel's table of connections; none while connections are not tracked.
    pub conntrack: Fact<Option<ConntrackFacts>>,
    /// Memory of the host, in bytes.
    pub memory: Fact<u64>,
    /// The nft program's version, or why it cannot be used.
    pub nft: Fact<Result<String, String>>,
    /// Whether the kernel takes nft flowtables.
    pub flowtable: Fact<bool>,
    /// Whether the kernel has timeouts of tracked connections to set.
    pub timeouts: Fact<bool>,
    /// Why no TUN interface can be made; none if one can.
    pub tun: Fact<Option<String>>,
    /// Why tracked connections cannot be listed by netlink; none if they can.
    pub conntrack_netlink: Fact<Option<String>>,
    /// Whether the kernel has the VXLAN driver.
    pub vxlan: Fact<bool>,
    /// Whether the kernel takes nft rules that copy packets.
    pub dup: Fact<bool>,
    /// The monitor of this host.
    pub monitor: Fact<MonitorFacts>,
    /// The cluster according to EC2.
    pub cluster: Fact<ClusterFacts>,
    /// The NAT gateways that groups name as their fallbacks, as far as EC2 knows them.
    pub gateways: Fact<Vec<NatGatewayInfo>>,
    /// The members' security groups.
    pub security: Fact<SecurityFacts>,
    /// This host's clock against EC2's.
    pub clock: Fact<ClockDifference>,
    /// The state of natha's units by name, as systemd has it (`UnitFileState`); none where systemd
    /// does not run.
    pub units: Fact<Option<BTreeMap<String, String>>>,
    /// Free space of the state directory's file system, in bytes.
    pub free: Fact<u64>,
}

impl Default for Facts {
    /// Nothing is known.
    fn default() -> Self {
        fn unread<T>() -> Fact<T> {
            Err(Gap::new("it was not read"))
        }
        Self {
            pre: false,
            version: String::new(),
            settings: Settings::default(),
            problems: Vec::new(),
            ignored: Vec::new(),
            tags: unread(),
            key: unread(),
            metadata: unread(),
            instance: unread(),
            permissions: unread(),
            interface_tag: unread(),
            plan: unread(),
            drift: unread(),
            firewalls: unread(),
            misrouted: unread(),
            refresh: unread(),
            source_dest: unread(),
            uplink_route: unread(),
            links: unread(),
            conntrack: unread(),
            memory: unread(),
            nft: unread(),
            flowtable: unread(),
            timeouts: unread(),
            tun: unread(),
            conntrack_netlink: unread(),
            vxlan: unread(),
            dup: unread(),
            monitor: unread(),
            cluster: unread(),
            gateways: unread(),
            security: unread(),
            clock: unread(),
            units: unread(),
            free: unread(),
        }
    }
}

impl Facts {
    /// The report of the running monitor.
    pub(super) fn report(&self) -> Result<&Report, Gap> {
        match known(&self.monitor)? {
            MonitorFacts::Running(report) => Ok(report),
            MonitorFacts::Starting(_) => Err(Gap::new("the monitor is still starting")),
            MonitorFacts::Absent(_) => Err(Gap::new("no monitor is running on this host")),
        }
    }

    /// The members and groups: as EC2 has them, else as the monitor knows them.
    pub(super) fn roster(&self) -> Result<&Roster, Gap> {
        match (&self.cluster, self.report()) {
            (Ok(cluster), _) => Ok(&cluster.roster),
            (Err(_), Ok(report)) => Ok(&report.roster),
            (Err(gap), Err(_)) => Err(gap.clone()),
        }
    }
}

/// What a fact says.
pub(super) fn known<T>(fact: &Fact<T>) -> Result<&T, Gap> {
    fact.as_ref().map_err(Clone::clone)
}

/// The file with the cluster key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFile {
    /// Its path.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The id of the user that owns it.
    pub owner: u32,
    /// The id of the service's user, which may own it: the owner of the state directory.
    pub service: Option<u32>,
    /// The directories on the way to it. A user who can write to one of them can replace the key.
    pub directories: Vec<KeyDirectory>,
    /// The length of the key, in bytes; none if the settings name a file that is not there.
    pub length: Option<usize>,
}

/// A directory on the way to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDirectory {
    /// Its path.
    pub path: PathBuf,
    /// Its permission bits, with the sticky bit.
    pub mode: u32,
    /// The id of the user that owns it.
    pub owner: u32,
}

/// An action of IAM, and whether the role allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The action, such as `ec2:ReplaceRoute`.
    pub action: String,
    /// Whether `natha policy` lists it for these settings.
    pub is_wanted: bool,
    /// What was found.
    pub result: PermissionResult,
}

/// Whether the role allows an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermissionResult {
    /// EC2 would carry it out.
    Allowed,
    /// EC2 refuses it, with this text.
    Denied(String),
    /// It cannot be tried without being done, for this reason.
    Untestable(&'static str),
    /// EC2 gave another answer, or none.
    Unclear(String),
}

/// The forwarding interface, and the cluster's tag on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceTag {
    /// The interface.
    pub interface: NetworkInterfaceId,
    /// The cluster, by the settings or by this instance's tag `natha:cluster`; none if neither
    /// names one.
    pub cluster: Option<String>,
    /// The value of the interface's tag `natha:cluster`; none without that tag.
    pub found: Option<String>,
}

/// The route table of this node's own subnet, and its default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkRoute {
    /// The table.
    pub table: RouteTableId,
    /// Its default route; none if it has none.
    pub default: Option<RouteEntry>,
    /// Whether the default route has this node itself as target.
    pub is_loop: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkFacts {
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Its driver; none for an interface without a device, such as a bridge.
    pub driver: Option<String>,
    /// Its receive ring; none if the driver has none.
    pub ring: Option<Fact<Ring>>,
    /// The allowance counters of EC2.
    pub allowances: Allowances,
    /// Packets that were dropped because the receive ring was full, since the driver started.
    pub overruns: u64,
}

/// A receive ring, in descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Its size.
    pub size: u32,
    /// Its largest size.
    pub most: u32,
}

/// The kernel's table of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConntrackFacts {
    /// Connections in it.
    pub tracked: u64,
    /// How many there can be.
    pub max: u64,
    /// Whether the maximum can be set here. Inside a network namespace it cannot.
    pub settable: bool,
}

/// The monitor of this host.
#[derive(Debug, Clone)]
pub enum MonitorFacts {
    /// It runs.
    Running(Box<Report>),
    /// It has not found its cluster yet, for this reason.
    Starting(String),
    /// It does not run, with the remedy.
    Absent(String),
}

/// The cluster according to EC2.
#[derive(Debug, Clone)]
pub struct ClusterFacts {
    /// This node.
    pub me: InstanceId,
    /// Members and groups.
    pub roster: Roster,
    /// What the operator should correct. natha works without it.
    pub warnings: Vec<Problem>,
    /// What keeps natha from covering a table or repairing a node.
    pub findings: Vec<Problem>,
    /// The cluster's route tables.
    pub tables: Vec<RouteTableInfo>,
}

/// The members' security groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityFacts {
    /// The ids of the groups of each member's forwarding interface.
    pub of_member: BTreeMap<InstanceId, MemberGroups>,
    /// The groups by id.
    pub groups: BTreeMap<String, SecurityGroup>,
}

/// The groups of a member's forwarding interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberGroups {
    /// The interface's primary private address.
    pub address: Ipv4Addr,
    /// The ids of its groups.
    pub groups: Vec<String>,
}
