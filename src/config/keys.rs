//! Every setting: its name, range and meaning, and where its value is stored.

use super::key::{SettingKey, key};
use super::values::{Range, Value};

/// Every setting, in the order of the reference.
pub(super) fn all() -> impl Iterator<Item = &'static SettingKey> {
    KEYS.iter().chain(operations::KEYS)
}

/// The setting with this name.
pub(super) fn find(name: &str) -> Option<&'static SettingKey> {
    all().find(|key| key.name == name)
}

const BOOL: Range = Range::Words("true or false");
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

mod operations;

static KEYS: &[SettingKey] = &[
    key!(
        "cluster",
        cluster,
        Range::Words("text"),
        "The cluster's name, which is the value of the tag `natha:cluster` on its instances and \
         route tables. Not needed if `members` and groups are configured.",
        if_unset = "this instance's tag `natha:cluster`"
    ),
    key!(
        "members",
        members,
        Range::Words("1 to 16 instance ids"),
        "The cluster's instances. This node need not be listed, except for `natha policy` where a \
         group has an Elastic IP.",
        if_unset = "instances with the tag `natha:cluster`"
    ),
    key!(
        "observe",
        observe,
        BOOL,
        "Whether natha only follows: each group's resources move to the node that has the group's \
         address, which keepalived or other software assigns. Every group behaves as with the \
         check `address = true` and `local = \"off\"`, and `repair.enabled` and \
         `hand_back.enabled` are false. Same as `natha monitor --observe`."
    ),
    key!(
        "socket",
        socket,
        Range::Words("absolute path"),
        "The Unix socket on which the monitor serves `natha status`.",
        host_only
    ),
    key!(
        "state_dir",
        state_dir,
        Range::Words("absolute path"),
        "The directory in which `natha setup` records what `natha teardown` restores.",
        host_only
    ),
    key!(
        "api.region",
        api.region,
        Range::Words("a region such as eu-west-1"),
        "The AWS region.",
        if_unset = "`AWS_REGION`, else the region in the instance metadata"
    ),
    key!(
        "api.endpoint",
        api.endpoint,
        Range::Words("http:// or https:// URL"),
        "The EC2 endpoint, for example that of a VPC endpoint.",
        host_only,
        if_unset = "the region's endpoint"
    ),
    key!(
        "api.route53_endpoint",
        api.route53_endpoint,
        Range::Words("http:// or https:// URL"),
        "The Route 53 endpoint, for example that of a VPC endpoint.",
        host_only,
        if_unset = "the global endpoint"
    ),
    key!(
        "api.sns_endpoint",
        notify.sns_endpoint,
        Range::Words("http:// or https:// URL"),
        "The SNS endpoint, for example that of a VPC endpoint.",
        host_only,
        if_unset = "that of the topic's region"
    ),
    key!(
        "api.timeout",
        api.timeout,
        Range::Millis(500, MINUTE),
        "Time limit of one API call, including the connection."
    ),
    key!(
        "host.nat",
        host.nat,
        BOOL,
        "Whether this host is a NAT.",
        if_unset = "true unless groups are configured and none of them has `tables`"
    ),
    key!(
        "host.accept",
        host.accept,
        Range::Words("IPv4 addresses"),
        "Virtual IPs that this host answers on without holding them, because a load balancer sends \
         it their packets with the destination address unchanged."
    ),
    key!(
        "host.accept_mode",
        host.accept_mode,
        Range::Words("lo or redirect"),
        "How the host accepts these packets. `lo`: the virtual IPs become addresses of `lo`. \
         `redirect`: packets are redirected to the primary address of the interface they arrive on."
    ),
    key!(
        "host.uplink",
        host.uplink,
        Range::Words("interface name"),
        "The interface that faces the internet.",
        if_unset = "the interface with the default route"
    ),
    key!(
        "host.sources",
        host.sources,
        Range::Words("IPv4 networks"),
        "The networks whose traffic is translated. `0.0.0.0/0` means any host that sends packets \
         here, as behind a transit gateway: packets to the VPC's or other private addresses are \
         forwarded without translation.",
        if_unset = "the VPC's address blocks"
    ),
    key!(
        "host.transit_network",
        host.transit_network,
        Range::Words("a /30 or off"),
        "The network of the packets with which the monitor tests that this host forwards. They \
         take the path of a private host's packets, through the monitor's own interface `natha0`. \
         It must not be in use in the VPC or behind it. `off`: forwarding is not tested."
    ),
    key!(
        "host.clamp_mss",
        host.clamp_mss,
        BOOL,
        "Whether to clamp the MSS of TCP connections to the internet, to the path MTU and to \
         `host.mss`."
    ),
    key!(
        "host.mss",
        host.mss,
        Range::Number(536, 8_960),
        "The largest TCP segment towards the internet, in bytes. The default fits packets of 1500 \
         bytes; a tunnel needs less."
    ),
    key!(
        "host.flowtable",
        host.flowtable,
        BOOL,
        "Whether established TCP and UDP flows use the kernel's fast path (an nft flowtable). \
         natha's counters do not include offloaded packets."
    ),
    key!(
        "host.source_dest_check",
        host.source_dest_check,
        BOOL,
        "Whether `natha setup` disables EC2's source/destination check."
    ),
    key!(
        "host.conntrack_max",
        host.conntrack_max,
        Range::Number(4096, 16_777_216),
        "The maximum number of tracked connections.",
        if_unset = "sized from memory"
    ),
    key!(
        "host.conntrack_alert",
        host.conntrack_alert,
        Range::Number(1, 100),
        "Raise an alert when the conntrack table is at least this full, in percent."
    ),
    key!(
        "host.accounting",
        host.accounting,
        BOOL,
        "Whether the kernel counts the bytes of each connection (`nf_conntrack_acct`), for the \
         metrics of the hosts with the most traffic. It costs each packet two counters."
    ),
    key!(
        "host.established_timeout",
        host.established_timeout,
        Range::Millis(MINUTE, 30 * DAY),
        "How long an idle TCP connection is tracked. A managed NAT gateway uses 350s; RFC 5382 \
         requires at least 2h 4m."
    ),
    key!(
        "host.reset_idle",
        host.reset_idle,
        BOOL,
        "Whether a private host that continues a TCP connection after \
         `host.established_timeout` gets a TCP reset, as behind a managed NAT gateway."
    ),
    key!(
        "host.protect",
        host.protect,
        BOOL,
        "Whether a NAT accepts nothing from private hosts for itself but echo requests, and what \
         the nodes of the cluster send to each other. Forwarding is not affected. Private hosts \
         are all networks of `host.sources`: without that setting, the whole VPC."
    ),
    key!(
        "host.protect_except",
        host.protect_except,
        Range::Words("IPv4 networks"),
        "Networks of private hosts from which a NAT with `host.protect` accepts everything: those \
         of a bastion, of Prometheus, of a load balancer's health checks."
    ),
    key!(
        "heartbeat.port",
        heartbeat.port,
        Range::Number(1, 65_535),
        "The UDP port for heartbeats, the same on all nodes."
    ),
    key!(
        "heartbeat.interval",
        timing.interval,
        Range::Millis(20, 10 * SECOND),
        "Time between two heartbeats."
    ),
    key!(
        "heartbeat.lost_after",
        timing.lost_after,
        Range::Number(2, 100),
        "The number of consecutive missed heartbeats after which a peer is lost."
    ),
    key!(
        "heartbeat.key_file",
        heartbeat.key_file,
        Range::Words("absolute path"),
        "The file with the cluster key, at least 16 bytes and the same on all nodes. Without a key \
         heartbeats are not authenticated.",
        host_only,
        if_unset = "the systemd credential `natha.key`, if present"
    ),
    key!(
        "heartbeat.second_key_file",
        heartbeat.second_key_file,
        Range::Words("absolute path"),
        "The file with a second key whose heartbeats are accepted, while the cluster key is \
         replaced. Heartbeats are sent with the first key only.",
        host_only,
        if_unset = "one key"
    ),
    key!(
        "heartbeat.bind",
        heartbeat.bind,
        Range::Words("IPv4 address"),
        "The local address for heartbeats.",
        if_unset = "the primary address of the forwarding interface"
    ),
    key!(
        "failover.daemon_grace",
        timing.daemon_grace,
        Range::Millis(0, HOUR),
        "How long a peer keeps its groups if its monitor is silent but its host still answers."
    ),
    key!(
        "failover.first_contact",
        timing.first_contact,
        Range::Millis(SECOND, HOUR),
        "How long after this node's start a peer that it has not heard yet keeps its groups, \
         whatever its echo and EC2's status check show."
    ),
    key!(
        "failover.read_valid",
        timing.read_valid,
        Range::Millis(SECOND, MINUTE),
        "The maximum age of a read that a change relies on."
    ),
    key!(
        "failover.reread",
        timing.reread,
        Range::Millis(SECOND, 5 * MINUTE),
        "Time between two reads of the routes while the cluster is healthy."
    ),
    key!(
        "failover.adopt",
        timing.adopt,
        BOOL,
        "Whether to replace (true) or respect (false) a route whose target is outside the cluster."
    ),
    key!(
        "repair.enabled",
        timing.repair.enabled,
        BOOL,
        "Whether a failed peer is stopped and started.",
        if_unset = "true if default routes are moved (no groups are configured, or one of them has \
                    `tables`), else false"
    ),
    key!(
        "repair.after",
        timing.repair.after,
        Range::Millis(10 * SECOND, DAY),
        "How long a peer must have been suspected without interruption before it is stopped."
    ),
    key!(
        "repair.settle",
        timing.repair.settle,
        Range::Millis(2 * SECOND, HOUR),
        "How long every route must have been observed on this node before the peer may be stopped."
    ),
    key!(
        "repair.stagger",
        timing.repair.stagger,
        Range::Millis(5 * SECOND, HOUR),
        "Extra delay per rank, so that two nodes never stop each other."
    ),
    key!(
        "repair.max_per_hour",
        timing.repair.max_per_hour,
        Range::Number(1, 60),
        "The maximum number of stops per hour. When it is reached, repair stays off until an \
         operator intervenes."
    ),
    key!(
        "repair.patience",
        timing.repair.patience,
        Range::Millis(MINUTE, HOUR),
        "How long to wait for `stopped` before forcing the stop, and for `running` before raising \
         an alert."
    ),
    key!(
        "hand_back.enabled",
        timing.hand_back.enabled,
        BOOL,
        "Whether groups return to their home automatically."
    ),
    key!(
        "hand_back.hold",
        timing.hand_back.hold,
        Range::Millis(SECOND, DAY),
        "How long the home must be healthy before a group is handed back to it. Doubles with each \
         flap."
    ),
    key!(
        "hand_back.hold_max",
        timing.hand_back.hold_max,
        Range::Millis(SECOND, 7 * DAY),
        "The upper limit to which `hand_back.hold` grows."
    ),
    key!(
        "uplink.targets",
        uplink.targets,
        Range::Words("icmp:ADDRESS or tcp:ADDRESS:PORT"),
        "Hosts probed to check the uplink and, on a NAT, that this host forwards; one reply is \
         enough. While an ICMP target replies, TCP targets are not probed. A target that has never \
         replied is ignored.",
        if_unset = "`icmp:1.1.1.1,icmp:8.8.8.8,tcp:1.1.1.1:443` on a NAT, else none"
    ),
    key!(
        "uplink.interval",
        timing.probe_interval,
        Range::Millis(100, MINUTE),
        "Time between two rounds of probes while they are answered. After a round without a reply, \
         rounds follow at `heartbeat.interval`."
    ),
    key!(
        "uplink.lost_after",
        uplink.lost_after,
        Range::Number(2, 100),
        "The number of consecutive rounds at `heartbeat.interval` without a reply after which the \
         uplink is lost, or this host does not forward."
    ),
    key!(
        "interruptions.enabled",
        interruptions.enabled,
        BOOL,
        "Whether a node hands its groups over when AWS announces that the instance will be \
         interrupted: by a Spot notice, a scheduled event, or its Auto Scaling group."
    ),
    key!(
        "interruptions.lead_time",
        interruptions.lead_time,
        Range::Millis(10 * SECOND, DAY),
        "How long before a scheduled event the node hands over. It acts on a Spot notice \
         immediately."
    ),
    key!(
        "replicate.enabled",
        replicate.enabled,
        BOOL,
        "Whether the holder of a group with egress IPs sends its connections to the other members, \
         so that they survive when the group moves. Needs a cluster key."
    ),
    key!(
        "replicate.port",
        replicate.port,
        Range::Number(1, 65_535),
        "The TCP port on which members receive each other's connections, the same on all nodes.",
        if_unset = "the number of `heartbeat.port`"
    ),
    key!(
        "replicate.min_age",
        replicate.min_age,
        Range::Millis(0, HOUR),
        "The age at which a new connection is sent. Shorter ones cost nothing, and are lost when \
         their node dies."
    ),
    key!(
        "replicate.max_flows",
        replicate.max_flows,
        Range::Number(1_000, 4_000_000),
        "The maximum number of connections that are sent to each member, and kept from each \
         member, at some 200 bytes of memory each."
    ),
    key!(
        "replicate.max_waiting",
        replicate.max_waiting,
        Range::Number(1_000, 4_000_000),
        "The maximum number of changes that wait for each member. If there are more, all \
         connections are sent again."
    ),
    key!(
        "replicate.share_percent",
        replicate.share_percent,
        Range::Number(0, 100),
        "The maximum that is sent to each member, in percent of the traffic of the interface to \
         the internet."
    ),
    key!(
        "replicate.min_rate",
        replicate.min_rate,
        Range::Number(16, 1_000_000),
        "How much may always be sent to each member, in KiB a second."
    ),
    key!(
        "replicate.max_rate",
        replicate.max_rate,
        Range::Number(16, 1_000_000),
        "The maximum that is sent to each member, in KiB a second."
    ),
    key!(
        "replicate.relay",
        replicate.relay,
        BOOL,
        "Whether the two nodes of a planned move copy packets to each other until the move has \
         taken effect, so that none is lost."
    ),
    key!(
        "replicate.relay_port",
        replicate.relay_port,
        Range::Number(1, 65_535),
        "The UDP port for these copies, the same on all nodes."
    ),
];

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
