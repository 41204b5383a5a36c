//! Every metric of the host: what the kernel and the network driver have counted.

use super::declare::metrics;
use super::metric::{Kind, Metric};

metrics! {
    HOST_AGE: Gauge "natha_host_age_seconds" [] "seconds"
        from "the monitor":
        "The age of the readings of the kernel and the driver when the page was made.";
    BYTES_OUT: Counter "natha_bytes_out_to_destination_total" [] "bytes"
        from "nft counter `to_uplink`":
        "From private hosts to the internet. BytesOutToDestination of a managed gateway.";
    BYTES_FROM_SOURCE: Counter "natha_bytes_in_from_source_total" [] "bytes"
        from "nft counter `to_uplink`":
        "The same bytes, as received: they count once, where natha accepts them. BytesInFromSource \
         of a managed gateway, less what is dropped.";
    BYTES_IN: Counter "natha_bytes_in_from_destination_total" [] "bytes"
        from "nft counter `from_uplink`":
        "From the internet to private hosts. BytesInFromDestination of a managed gateway.";
    BYTES_TO_SOURCE: Counter "natha_bytes_out_to_source_total" [] "bytes"
        from "nft counter `from_uplink`":
        "The same bytes, as sent. BytesOutToSource of a managed gateway.";
    PACKETS_OUT: Counter "natha_packets_out_to_destination_total" [] "packets"
        from "nft counter `to_uplink`": "As for the bytes. PacketsOutToDestination.";
    PACKETS_FROM_SOURCE: Counter "natha_packets_in_from_source_total" [] "packets"
        from "nft counter `to_uplink`": "As for the bytes. PacketsInFromSource.";
    PACKETS_IN: Counter "natha_packets_in_from_destination_total" [] "packets"
        from "nft counter `from_uplink`": "As for the bytes. PacketsInFromDestination.";
    PACKETS_TO_SOURCE: Counter "natha_packets_out_to_source_total" [] "packets"
        from "nft counter `from_uplink`": "As for the bytes. PacketsOutToSource.";
    DROPPED: Counter "natha_packets_drop_total" [] "packets"
        from "nft counter `dropped`":
        "Packets that natha's rules dropped: strangers' connections, invalid packets, link-local \
         addresses. PacketsDropCount of a managed gateway.";
    IDLE_RESETS: Counter "natha_idle_resets_total" [] "packets"
        from "nft counter `resets`":
        "TCP packets from the middle of a connection that the kernel has forgotten, which natha \
         answered with a reset. Always 0 with host.reset_idle = false. It begins again at 0 when \
         the monitor loads its rules anew. IdleTimeoutCount of a managed gateway counts timeouts, \
         and this does not.";
    ATTEMPTS: Counter "natha_connection_attempts_total" [] "connections"
        from "nft counter `new_flows`":
        "Connections of private hosts to the internet that were opened, including UDP and ICMP. \
         ConnectionAttemptCount of a managed gateway counts only TCP.";
    ESTABLISHED: Counter "natha_connections_established_total" [] "connections"
        from "connection tracking":
        "TCP connections whose handshake was completed, since the metrics were first read. Needs \
         host.accounting. ConnectionEstablishedCount of a managed gateway.";
    ACTIVE: Gauge "natha_active_connections" [] "connections"
        from "nf_conntrack_count" aged HOST_AGE:
        "Connections that the kernel tracks, including this host's own. ActiveConnectionCount of a \
         managed gateway counts only TCP.";
    PEAK_BYTES: Gauge "natha_peak_bytes_per_second" [] "bytes per second"
        from "the interfaces' counters" aged HOST_AGE:
        "The maximum of any 10 s in the last minute, in both directions of the interface to the \
         internet. PeakBytesPerSecond of a managed gateway.";
    PEAK_PACKETS: Gauge "natha_peak_packets_per_second" [] "packets per second"
        from "the interfaces' counters" aged HOST_AGE: "The same in packets. PeakPacketsPerSecond.";

    ENTRIES: Gauge "node_nf_conntrack_entries" [] "connections"
        from "nf_conntrack_count" aged HOST_AGE:
        "Connections that the kernel tracks, named as node_exporter does.";
    ENTRIES_LIMIT: Gauge "node_nf_conntrack_entries_limit" [] "connections"
        from "nf_conntrack_max" aged HOST_AGE:
        "The maximum that it tracks. New connections above it are dropped.";
    STAT_FOUND: Gauge "node_nf_conntrack_stat_found" [] "packets"
        from "/proc/net/stat/nf_conntrack" aged HOST_AGE: "Searches that found a connection.";
    STAT_INVALID: Gauge "node_nf_conntrack_stat_invalid" [] "packets"
        from "/proc/net/stat/nf_conntrack" aged HOST_AGE: "Packets that belong to no connection.";
    STAT_IGNORE: Gauge "node_nf_conntrack_stat_ignore" [] "packets"
        from "/proc/net/stat/nf_conntrack" aged HOST_AGE:
        "Packets that already belong to a connection.";
    STAT_INSERT: Gauge "node_nf_conntrack_stat_insert" [] "connections"
        from "/proc/net/stat/nf_conntrack" aged HOST_AGE: "Connections that were entered.";
    STAT_INSERT_FAILED: Gauge "node_nf_conntrack_stat_insert_failed" [] "connections"
        from "/proc/net/stat/nf_conntrack" aged HOST_AGE:
        "Connections that could not be entered: their port was taken.";
    STAT_DROP: Gauge "node_nf_conntrack_stat_drop" [] "packets"
        from "/proc/net/stat/nf_conntrack" aged HOST_AGE:
        "Packets that were dropped because their connection could not be entered.";
    STAT_EARLY_DROP: Gauge "node_nf_conntrack_stat_early_drop" [] "connections"
        from "/proc/net/stat/nf_conntrack" aged HOST_AGE:
        "Connections that were removed to make room, because the table was full.";
    STAT_SEARCH_RESTART: Gauge "node_nf_conntrack_stat_search_restart" [] "searches"
        from "/proc/net/stat/nf_conntrack" aged HOST_AGE:
        "Searches that began again because the table was being resized.";

    EXCEEDED: Counter "natha_ena_allowance_exceeded_total" ["interface", "allowance"] "packets"
        from "the driver ENA":
        "Packets that EC2 dropped or delayed because the instance exceeded the allowance.";
    AVAILABLE: Gauge "natha_ena_conntrack_available" ["interface"] "connections"
        from "the driver ENA" aged HOST_AGE:
        "How many more connections EC2 can track for the instance.";
    LINK_BYTES: Counter "natha_interface_bytes_total" ["interface", "direction"] "bytes"
        from "/sys/class/net":
        "Bytes that passed the interface, including flows in a flowtable.";
    LINK_PACKETS: Counter "natha_interface_packets_total" ["interface", "direction"] "packets"
        from "/sys/class/net": "The same in packets.";
    LINK_DROPS: Counter "natha_interface_drops_total" ["interface", "direction"] "packets"
        from "/sys/class/net": "Packets that the kernel or the driver dropped at the interface.";

    SOURCE_BYTES: Counter "natha_source_bytes_total" ["host", "direction"] "bytes"
        from "connection tracking":
        "The bytes of the private hosts with the most traffic, `out` to the internet and `in` from \
         it. Needs host.accounting.";
    SOURCE_CONNECTIONS: Counter "natha_source_connections_total" ["host"] "connections"
        from "connection tracking": "The connections that these hosts opened.";
    DESTINATION_BYTES: Counter "natha_destination_bytes_total" ["host", "direction"] "bytes"
        from "connection tracking":
        "The bytes of the destinations with the most traffic, `out` to them and `in` from them. \
         Needs host.accounting.";
    DESTINATION_CONNECTIONS: Counter "natha_destination_connections_total" ["host"] "connections"
        from "connection tracking": "The connections to these destinations.";
    ATTRIBUTED: Counter "natha_attributed_bytes_total" ["direction"] "bytes"
        from "connection tracking":
        "The bytes of all hosts, including those not listed here: the total for shares.";
    UNFOLLOWED: Gauge "natha_unfollowed_connections" [] "connections"
        from "connection tracking" aged TALKERS_AGE:
        "Connections whose bytes are not counted, because more than 131,072 are open.";
    TALKERS_AGE: Gauge "natha_talkers_age_seconds" [] "seconds"
        from "connection tracking": "The age of the last listing of connections.";

    MEMORY: Gauge "process_resident_memory_bytes" [] "bytes"
        from "/proc/self/statm" aged HOST_AGE: "Memory of the monitor.";
    FDS: Gauge "process_open_fds" [] "files"
        from "/proc/self/fd" aged HOST_AGE: "Open files of the monitor.";
}
