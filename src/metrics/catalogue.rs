//! Every metric of the monitor itself: what it knows, decides and does.

use super::declare::metrics;
use super::host_catalogue::HOST_AGE;
use super::metric::{Kind, Metric};

metrics! {
    BUILD: Gauge "natha_build_info" ["version"] "1"
        from "the program" aged REPORT_AGE: "The version of the monitor.";
    NODE: Gauge "natha_node_info" ["cluster", "node", "name", "zone"] "1"
        from "discovery" aged DISCOVERY_AGE:
        "This node, to join the instance id and the name to other metrics.";
    UPTIME: Gauge "natha_uptime_seconds" [] "seconds"
        from "the monitor" aged REPORT_AGE: "How long the monitor has been running.";
    REPORT_AGE: Gauge "natha_report_age_seconds" [] "seconds"
        from "the monitor":
        "The age of the event loop's report, the source of the following metrics, when the page \
         was made.";
    DISCOVERY_AGE: Gauge "natha_discovery_age_seconds" [] "seconds"
        from "discovery":
        "How long ago the members and the groups were last discovered. They are as of then.";
    FIT: Gauge "natha_fit" [] "0 or 1"
        from "the checks of the host" aged FITNESS_AGE:
        "Whether this node finds itself able to serve.";
    DATAPATH: Gauge "natha_datapath_proven" [] "0 or 1"
        from "replies to probes" aged FITNESS_AGE:
        "Whether this node is fit and probes have shown that its own packets and those of private \
         hosts get out and back.";
    FITNESS_AGE: Gauge "natha_fitness_age_seconds" [] "seconds"
        from "the monitor": "How long fitness and proof have not changed.";
    FAULT: Gauge "natha_fault" ["fault"] "0 or 1"
        from "the checks of the host" aged FITNESS_AGE:
        "Whether this node has the fault and so cannot serve.";
    UNPROVEN: Gauge "natha_unproven" ["evidence"] "0 or 1"
        from "replies to probes" aged FITNESS_AGE:
        "Whether no probe of the kind has been answered since the host booted.";
    DRAINED: Gauge "natha_drained" [] "0 or 1"
        from "the monitor" aged REPORT_AGE:
        "Whether this node was drained and has handed over all groups.";
    ALERTS: Gauge "natha_alerts" [] "alerts"
        from "the monitor" aged REPORT_AGE: "How many alerts `natha status` shows.";
    ALERT: Gauge "natha_alert" ["alert"] "1"
        from "the monitor" aged REPORT_AGE:
        "An alert that `natha status` shows. It has no value while it is not raised.";

    VERDICT: Gauge "natha_peer_verdict" ["peer", "name", "verdict"] "1"
        from "the machine" aged VERDICT_AGE:
        "The verdict about the peer. The other verdicts have no value.";
    VERDICT_AGE: Gauge "natha_peer_verdict_age_seconds" ["peer", "name"] "seconds"
        from "the machine": "How long the verdict has not changed.";
    HEARTBEAT_AGE: Gauge "natha_peer_heartbeat_age_seconds" ["peer", "name"] "seconds"
        from "heartbeats": "The age of the peer's last heartbeat. No value before the first.";
    ECHO_AGE: Gauge "natha_peer_echo_age_seconds" ["peer", "name"] "seconds"
        from "ICMP echo": "The age of the peer's last echo reply. No value before the first.";
    PEER_FIT: Gauge "natha_peer_fit" ["peer", "name"] "0 or 1"
        from "heartbeats" aged HEARTBEAT_AGE:
        "Whether the peer's last heartbeat says that it can serve.";
    PEER_PROVEN: Gauge "natha_peer_datapath_proven" ["peer", "name"] "0 or 1"
        from "heartbeats" aged HEARTBEAT_AGE:
        "Whether the peer's last heartbeat says that its datapath is proven.";
    HEARS_ME: Gauge "natha_peer_hears_this_node" ["peer", "name"] "0 or 1"
        from "heartbeats" aged HEARTBEAT_AGE: "Whether the peer hears this node.";
    SETTINGS_DIFFER: Gauge "natha_peer_settings_differ" ["peer", "name"] "0 or 1"
        from "heartbeats" aged HEARTBEAT_AGE:
        "Whether the peer runs with other settings, so that neither repairs the other.";
    PEER_INFO: Gauge "natha_peer_info" ["peer", "name", "version"] "1"
        from "heartbeats" aged HEARTBEAT_AGE:
        "The version of natha in the peer's last heartbeat. No value for a build that sends none.";
    POWER: Gauge "natha_peer_power_state" ["peer", "name", "state"] "1"
        from "DescribeInstances" aged POWER_AGE:
        "The instance state that EC2 last reported of the peer.";
    POWER_AGE: Gauge "natha_peer_power_age_seconds" ["peer", "name"] "seconds"
        from "DescribeInstances":
        "The age of that report. EC2 is asked while the peer is not well.";
    MISSED: Counter "natha_peer_heartbeats_missed_total" ["peer", "name"] "heartbeats"
        from "heartbeats":
        "Heartbeats missing between two that arrived. Those missed while a peer is silent are \
         added when it is heard again.";
    GAP: Histogram "natha_peer_heartbeat_gap_seconds" ["peer", "name"] "seconds"
        from "the kernel's receive times": "The time between two heartbeats of the peer.";
    JITTER: Histogram "natha_peer_heartbeat_jitter_seconds" ["peer", "name"] "seconds"
        from "the kernel's receive times":
        "By how much that time differs from heartbeat.interval. A missing heartbeat adds an \
         interval.";

    HOLDER: Gauge "natha_group_holder" ["group", "holder", "name"] "1"
        from "EC2 and Route 53" aged READ_AGE:
        "The member that all resources of the group were last seen on. No value if there is none.";
    HELD: Gauge "natha_group_held" ["group"] "0 or 1"
        from "EC2 and Route 53" aged READ_AGE: "Whether that member is this node.";
    AT_HOME: Gauge "natha_group_at_home" ["group"] "0 or 1"
        from "EC2 and Route 53" aged READ_AGE:
        "Whether the group is where it belongs. No value for a group that goes to no home.";
    AT_FALLBACK: Gauge "natha_group_at_fallback" ["group"] "0 or 1"
        from "EC2" aged READ_AGE:
        "Whether a route of the group is at its fallback, because no node could serve the group.";
    ROUTE_MATCH: Gauge "natha_group_route_match" ["group"] "0 or 1"
        from "EC2 and Route 53" aged READ_AGE:
        "Whether the last answer shows every resource of the group on one member. Also 0 while a \
         resource has no target, or one outside the cluster. No value before the first answer.";
    ADDRESS_MATCH: Gauge "natha_group_address_match" ["group"] "0 or 1"
        from "the kernel's addresses" aged HOST_AGE:
        "Whether this host has the addresses of the group exactly if it must carry them. Only for \
         groups with addresses on the host.";
    READ_AGE: Gauge "natha_group_read_age_seconds" ["group"] "seconds"
        from "EC2 and Route 53": "The age of the oldest answer about the group's resources.";
    GENERATION: Gauge "natha_group_generation" ["group"] "moves"
        from "the machine" aged REPORT_AGE:
        "How often the group has moved, as far as this node knows.";
    MOVING: Gauge "natha_group_moving" ["group"] "0 or 1"
        from "the machine" aged REPORT_AGE: "Whether this node is moving the group.";
    CHECK_FAILING: Gauge "natha_group_check_failing" ["group"] "0 or 1"
        from "service checks" aged CHECK_AGE:
        "Whether the group's service check fails on this host. Only for groups with a check.";
    CHECK_AGE: Gauge "natha_group_check_age_seconds" ["group"] "seconds"
        from "service checks": "How long ago the group's service check last ended.";

    EGRESS_HERE: Gauge "natha_egress_ip_here" ["group", "allocation", "address"] "0 or 1"
        from "DescribeAddresses" aged READ_AGE: "Whether EC2 shows the egress IP on this node.";
    EGRESS_PROVEN: Gauge "natha_egress_ip_proven" ["group", "allocation", "address"] "0 or 1"
        from "replies to probes" aged EGRESS_AGE: "Whether a probe by the egress IP was answered.";
    EGRESS_AGE: Gauge "natha_egress_ip_here_seconds" ["group", "allocation", "address"] "seconds"
        from "DescribeAddresses":
        "How long EC2 has shown the egress IP on this node. No value while it does not.";
    LANDING: Gauge "natha_egress_ip_landing_on_host" ["group", "allocation", "address"] "0 or 1"
        from "the kernel's addresses" aged LANDING_AGE:
        "Whether this host has the landing address. Without it, it cannot hold the egress IP.";
    LANDING_AGE: Gauge "natha_egress_ip_landing_age_seconds" ["group", "allocation", "address"]
        "seconds"
        from "the kernel's addresses": "How long ago the landing addresses were last looked at.";

    EVENTS: Counter "natha_events_total" ["kind"] "events"
        from "the monitor": "Events that the monitor has logged, by kind.";
    EVENT_AGE: Gauge "natha_last_event_age_seconds" ["kind"] "seconds"
        from "the monitor":
        "How long ago the last event of the kind was. No value before the first.";
    TAKEOVERS: Counter "natha_takeovers_total" ["reason"] "takeovers"
        from "the machine":
        "Groups that this node began to take over, by the verdict about the node that had them. \
         `alive`: it cannot serve the group; `vacant`: none had it; `removed`: it is no longer a \
         member.";
    PHASE: Histogram "natha_phase_seconds" ["phase"] "seconds"
        from "the machine":
        "`detection`: from a lost node's last heartbeat to the takeover. `takeover-done` and \
         `hand-over-done`: from the first call until EC2 shows the group on its receiver. The \
         others: up to the event of that kind.";
    CALLS: Counter "natha_api_calls_total" ["action", "result"] "calls"
        from "executors":
        "API calls that have ended, by result: `ok`, `expired`, or the kind of fault.";
    CALL: Histogram "natha_api_call_seconds" ["action"] "seconds"
        from "executors": "How long API calls took, including failed ones.";
    LATENESS: Histogram "natha_loop_lateness_seconds" [] "seconds"
        from "the event loop": "How late turns of the event loop began.";
    LATENESS_MAX: Gauge "natha_loop_lateness_max_seconds" [] "seconds"
        from "the event loop" aged REPORT_AGE: "The maximum since the monitor started.";
    LINES: Counter "natha_log_lines_dropped_total" [] "lines"
        from "the log": "Log lines that were dropped because the log was too slow.";
    BEATS_SENT: Counter "natha_heartbeats_sent_total" [] "heartbeats"
        from "heartbeats": "Heartbeats handed to the kernel.";
    BEATS_RECEIVED: Counter "natha_heartbeats_received_total" [] "heartbeats"
        from "heartbeats": "Heartbeats that were authentic and not replayed.";
    ECHOES_SENT: Counter "natha_echoes_sent_total" [] "packets"
        from "ICMP echo": "Echo requests handed to the kernel.";
    ECHOES_RECEIVED: Counter "natha_echoes_received_total" [] "packets"
        from "ICMP echo": "Echo replies of peers.";
    SEND_FAILURES: Counter "natha_send_failures_total" [] "packets"
        from "the kernel": "Heartbeats and echo requests that the kernel refused to send.";
    CLAIMS: Counter "natha_claims_omitted_total" [] "heartbeats"
        from "heartbeats": "Heartbeats that had no room to name every group that this node holds.";
    REJECTED: Counter "natha_packets_rejected_total" ["reason"] "packets"
        from "heartbeats": "Packets to the heartbeat port that were dropped, by reason.";

    FLOWS_AGE: Gauge "natha_replication_age_seconds" [] "seconds"
        from "replication":
        "The age of the report of replication, the source of the following metrics.";
    LIVE: Gauge "natha_replication_live" ["peer", "name"] "0 or 1"
        from "replication" aged FLOWS_AGE: "Whether the stream of connections to the peer is live.";
    REPLICATED: Gauge "natha_replication_connections" ["peer", "name"] "connections"
        from "replication" aged FLOWS_AGE:
        "Connections of this node that are replicated to the peer.";
    PEER_HOLDS: Gauge "natha_replication_held_connections" ["peer", "name"] "connections"
        from "replication" aged FLOWS_AGE: "How many of them the peer reports that it holds.";
    WAITING: Gauge "natha_replication_waiting_changes" ["peer", "name"] "changes"
        from "replication" aged FLOWS_AGE: "Changes that wait to be sent to the peer.";
    LAG: Gauge "natha_replication_lag_seconds" ["peer", "name"] "seconds"
        from "replication" aged FLOWS_AGE:
        "From a change in the kernel to the peer's acknowledgement. No value before the first.";
    SENT: Counter "natha_replication_bytes_total" ["peer", "name"] "bytes"
        from "replication": "Bytes sent to the peer.";
    RESYNCS: Counter "natha_replication_resyncs_total" ["peer", "name"] "resyncs"
        from "replication": "How often all connections were sent to the peer again.";
    UNREPLICATED: Counter "natha_replication_skipped_total" ["peer", "name", "reason"] "changes"
        from "replication":
        "What was not replicated: `overrun`, `overflow`, `no-room`, `too-short`.";
    REPLICA: Gauge "natha_replica_connections" ["peer", "name"] "connections"
        from "replication" aged REPLICA_AGE FLOWS_AGE:
        "Connections of the peer that this node holds.";
    REPLICA_AGE: Gauge "natha_replica_age_seconds" ["peer", "name"] "seconds"
        from "replication": "How long ago the peer's stream was heard. No value if never.";
    INSERTED: Counter "natha_replica_inserted_total" ["peer", "name", "result"] "connections"
        from "replication":
        "Connections of the peer that were inserted here on a takeover, by result.";

    COPIES_READY: Gauge "natha_copies_ready" ["peer", "name"] "0 or 1"
        from "echo through the tunnel" aged COPIES_ANSWER_AGE FLOWS_AGE:
        "Whether the peer answers through the tunnel, so that packets can be copied to it during a \
         planned move. No value with replicate.relay = false.";
    COPIES_ANSWER_AGE: Gauge "natha_copies_answer_age_seconds" ["peer", "name"] "seconds"
        from "echo through the tunnel":
        "The age of the peer's last answer through the tunnel. No value before the first.";
    COPIES_ACTIVE: Gauge "natha_copies_active" ["peer", "name"] "0 or 1"
        from "the table `ip natha_relay`" aged FLOWS_AGE:
        "Whether packets are copied now, because a planned move from or to the peer takes effect.";
    COPIES_MADE: Counter "natha_copies_made_packets_total" [] "packets"
        from "nft counter `copied`":
        "Packets of which this node made a copy for the other node of a planned move.";
    COPIES_MADE_BYTES: Counter "natha_copies_made_bytes_total" [] "bytes"
        from "nft counter `copied`": "Their bytes, with IP headers, without those of the tunnel.";
    COPIES_SENT_ON: Counter "natha_copies_sent_on_packets_total" [] "packets"
        from "nft counter `taken`":
        "Copies from the other node of a planned move that this node sent on to the internet.";
    COPIES_SENT_ON_BYTES: Counter "natha_copies_sent_on_bytes_total" [] "bytes"
        from "nft counter `taken`": "Their bytes, with IP headers.";

    PORT_ERRORS: Counter "natha_port_allocation_errors_total" [] "connections"
        from "/proc/net/stat/nf_conntrack":
        "Connections that were dropped because no port was left for them, since the host booted. \
         ErrorPortAllocation of a managed gateway.";
    PORTS_USED: Gauge "natha_port_space_used" ["protocol", "address", "destination"] "ports"
        from "connection tracking" aged PORTS_AGE:
        "Ports in use of the address and destination with the most. No value while all connections \
         together are fewer than half of a port space.";
    PORTS_LIMIT: Gauge "natha_port_space_limit" ["protocol", "address", "destination"] "ports"
        from "connection tracking" aged PORTS_AGE: "How many ports there are.";
    PORTS_AGE: Gauge "natha_port_space_age_seconds" [] "seconds"
        from "connection tracking": "How long ago the port space was last looked at.";
}
