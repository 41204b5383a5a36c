//! Every check: its name, what it is about, and why it matters. `docs/doctor.md` explains each.

use std::fmt;

use super::facts::Facts;
use super::finding::{Judged, Section};
use super::{
    capacity, host, kernel, members, metadata, monitor, permissions, restart, settings, tables,
};

/// One check.
pub struct Check {
    /// Its name, in kebab case.
    pub name: &'static str,
    /// What it is about.
    pub section: Section,
    /// Whether it also makes sense before natha is installed.
    pub pre: bool,
    /// Why it matters, in a sentence without a full stop.
    pub why: &'static str,
    pub(super) judge: fn(&Facts) -> Judged,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Whether a check is made before natha is installed.
const PRE: bool = true;
const INSTALLED: bool = false;

const fn check(
    name: &'static str,
    section: Section,
    pre: bool,
    judge: fn(&Facts) -> Judged,
    why: &'static str,
) -> Check {
    Check { name, section, pre, why, judge }
}

/// Every check, in the order of the report.
pub static CHECKS: &[Check] = &[
    check(
        "settings-valid",
        Section::Settings,
        PRE,
        settings::valid,
        "with wrong settings a monitor does not start, or keeps those from before",
    ),
    check(
        "key-present",
        Section::Settings,
        PRE,
        settings::key,
        "without a key that only the nodes know, a host in the VPC can send forged heartbeats",
    ),
    check(
        "metadata-answers",
        Section::Metadata,
        PRE,
        metadata::answers,
        "natha learns from it which instance it runs on, and the role's credentials come from it",
    ),
    check(
        "metadata-token",
        Section::Metadata,
        PRE,
        metadata::token,
        "with version 1, a program that fetches URLs for others can reveal the role's credentials",
    ),
    check(
        "metadata-hop-limit",
        Section::Metadata,
        PRE,
        metadata::hop_limit,
        "tokens that travel further than this host can be used by hosts behind it",
    ),
    check(
        "role-allows",
        Section::Permissions,
        PRE,
        permissions::allows,
        "an action that the role refuses fails when a takeover or a repair needs it",
    ),
    check(
        "role-excess",
        Section::Permissions,
        INSTALLED,
        permissions::excess,
        "a host that is taken over can do what its role allows",
    ),
    check(
        "interface-tag",
        Section::Permissions,
        INSTALLED,
        permissions::interface_tag,
        "the role's policy lets addresses move only to interfaces with the cluster's tag",
    ),
    check(
        "kernel-nft",
        Section::Kernel,
        PRE,
        kernel::nft,
        "all packet rules of natha are in one nft table",
    ),
    check(
        "kernel-flowtable",
        Section::Kernel,
        PRE,
        kernel::flowtable,
        "`natha setup` refuses to set up a host whose kernel lacks what the settings ask for",
    ),
    check(
        "kernel-timeouts",
        Section::Kernel,
        PRE,
        kernel::timeouts,
        "translation needs connection tracking, and natha sets how long it keeps idle connections",
    ),
    check(
        "kernel-tun",
        Section::Kernel,
        PRE,
        kernel::tun,
        "the monitor tests by a TUN interface that packets of private hosts get out and back",
    ),
    check(
        "kernel-conntrack",
        Section::Kernel,
        PRE,
        kernel::conntrack,
        "natha reads and inserts connections by netlink, to replicate them and to look at them",
    ),
    check(
        "kernel-copies",
        Section::Kernel,
        PRE,
        kernel::copies,
        "until a planned move has taken effect everywhere, both nodes need the hosts' packets",
    ),
    check(
        "setup-done",
        Section::Host,
        INSTALLED,
        host::setup_done,
        "a host that is not set up drops the packets of private hosts",
    ),
    check(
        "source-dest-check",
        Section::Host,
        INSTALLED,
        host::source_dest_check,
        "while the check is on, the VPC drops all packets that this node forwards",
    ),
    check(
        "uplink-route",
        Section::Host,
        PRE,
        host::uplink_route,
        "what this node sends and forwards to the internet takes the default route of its subnet",
    ),
    check(
        "other-firewalls",
        Section::Host,
        INSTALLED,
        host::other_firewalls,
        "a packet is dropped if any program's rules drop it, whatever natha's rules accept",
    ),
    check(
        "private-routes",
        Section::Host,
        INSTALLED,
        host::private_routes,
        "replies to private hosts that leave by another interface do not arrive",
    ),
    check(
        "mtu-mss",
        Section::Host,
        INSTALLED,
        host::mtu_mss,
        "connections hang once a packet is larger than its path carries",
    ),
    check(
        "address-refresh",
        Section::Host,
        PRE,
        host::address_refresh,
        "a node that loses its own address for a moment is taken over by its peers",
    ),
    check(
        "clock-skew",
        Section::Host,
        PRE,
        restart::clock,
        "EC2 refuses requests whose signature is more than 5 minutes old or in the future",
    ),
    check(
        "conntrack-size",
        Section::Capacity,
        PRE,
        capacity::conntrack_size,
        "the kernel drops new connections that it has no room to track",
    ),
    check(
        "conntrack-use",
        Section::Capacity,
        INSTALLED,
        capacity::conntrack_use,
        "the kernel drops new connections that it has no room to track",
    ),
    check(
        "port-space",
        Section::Capacity,
        INSTALLED,
        capacity::port_space,
        "a new connection for which no port is left is dropped",
    ),
    check(
        "ena-allowances",
        Section::Capacity,
        PRE,
        capacity::allowances,
        "EC2 delays or drops what exceeds the allowances of the instance type",
    ),
    check(
        "ring-sizes",
        Section::Capacity,
        PRE,
        capacity::rings,
        "a burst that does not fit the receive ring is dropped before the kernel sees it",
    ),
    check(
        "monitor-runs",
        Section::Monitor,
        INSTALLED,
        monitor::runs,
        "a node without a monitor covers for no peer, and its peers take its groups",
    ),
    check(
        "monitor-version",
        Section::Monitor,
        INSTALLED,
        monitor::version,
        "the fixes of an upgrade take effect once the monitor has been restarted",
    ),
    check(
        "node-fit",
        Section::Monitor,
        INSTALLED,
        monitor::fit,
        "a node that is not fit takes over nothing, and loses what it has to a fit one",
    ),
    check(
        "uplink-proof",
        Section::Monitor,
        INSTALLED,
        monitor::uplink,
        "no group is handed to a node that has not shown that it reaches the internet",
    ),
    check(
        "transit-proof",
        Section::Monitor,
        INSTALLED,
        monitor::transit,
        "no group is handed to a node that has not shown that it forwards",
    ),
    check(
        "service-checks",
        Section::Monitor,
        INSTALLED,
        monitor::service_checks,
        "a node whose service fails gives the group away, and takes it from no peer",
    ),
    check(
        "takes-part",
        Section::Monitor,
        INSTALLED,
        monitor::takes_part,
        "while this node takes nothing over, its peers have one node fewer to rely on",
    ),
    check(
        "monitor-alerts",
        Section::Monitor,
        INSTALLED,
        monitor::alerts,
        "an alert stands for as long as its cause does",
    ),
    check(
        "members-found",
        Section::Members,
        INSTALLED,
        members::found,
        "a node without a peer has no other node that takes over",
    ),
    check(
        "cluster-sound",
        Section::Members,
        INSTALLED,
        members::sound,
        "natha leaves out what it cannot understand, and does not cover it",
    ),
    check(
        "members-heard",
        Section::Members,
        INSTALLED,
        members::heard,
        "a peer that is not heard counts as lost, and its groups may be taken",
    ),
    check(
        "members-echo",
        Section::Members,
        INSTALLED,
        members::echo,
        "echo tells a host that is dead from one whose monitor is",
    ),
    check(
        "security-groups",
        Section::Members,
        INSTALLED,
        members::security,
        "nodes that cannot hear each other take each other for dead",
    ),
    check(
        "same-key",
        Section::Members,
        INSTALLED,
        members::same_key,
        "nodes with different keys do not hear each other",
    ),
    check(
        "same-settings",
        Section::Members,
        INSTALLED,
        members::same_settings,
        "nodes with different settings do not repair each other, and hand nothing back",
    ),
    check(
        "same-version",
        Section::Members,
        INSTALLED,
        members::same_version,
        "versions may differ in their defaults, and then the nodes do not repair each other",
    ),
    check(
        "tables-found",
        Section::Tables,
        INSTALLED,
        tables::found,
        "a private subnet is covered if its route table belongs to the cluster",
    ),
    check(
        "table-homes",
        Section::Tables,
        INSTALLED,
        tables::homes,
        "traffic to a node in another zone costs more and takes longer",
    ),
    check(
        "table-targets",
        Section::Tables,
        INSTALLED,
        tables::targets,
        "natha leaves a route that points outside the cluster alone: its hosts are not covered",
    ),
    check(
        "fallback-ready",
        Section::Tables,
        INSTALLED,
        tables::fallbacks,
        "EC2 refuses a route to a NAT gateway that is not there, when no node can serve",
    ),
    check(
        "resources-held",
        Section::Tables,
        INSTALLED,
        tables::held,
        "a service is reached by its group's address, which one node must have",
    ),
    check(
        "table-count",
        Section::Tables,
        INSTALLED,
        tables::count,
        "a takeover of many tables lasts for as long as EC2 limits the rate of changes",
    ),
    check(
        "public-address",
        Section::Restart,
        PRE,
        restart::public_address,
        "others may admit this address only, and natha repairs a dead node by a stop and a start",
    ),
    check(
        "units-enabled",
        Section::Restart,
        INSTALLED,
        restart::units,
        "a node that a peer or AWS has restarted must come back without a person",
    ),
    check(
        "root-disk",
        Section::Restart,
        PRE,
        restart::root_disk,
        "natha repairs a dead node by a stop and a start, and keeps its plan on the disk",
    ),
];
