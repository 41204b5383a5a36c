//! What the kernel and the network driver have counted, as metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::host_catalogue as of;
use super::metric::Metric;
use super::page::Page;
use super::talkers::TopTalkers;
use crate::plan::Passing;
use crate::status::Allowances;
use crate::types::GroupName;

/// A reading of the host. What could not be read is missing.
#[derive(Debug, Clone, Default)]
pub struct HostReading {
    /// Connection tracking.
    pub conntrack: Option<ConntrackReading>,
    /// What natha's table has counted; none if this host is no NAT.
    pub passing: Option<Passing>,
    /// What passed the interfaces, by name.
    pub links: BTreeMap<String, LinkReading>,
    /// The most in the last minute; none if this host is no NAT, or in its first 10 s.
    pub peak: Option<Peak>,
    /// EC2's allowances, by interface.
    pub allowances: BTreeMap<String, Allowances>,
    /// Of each group with addresses on the host, whether it has them exactly if it must.
    pub addresses: BTreeMap<GroupName, bool>,
    /// The monitor's memory, in bytes.
    pub memory: Option<u64>,
    /// How many files it has open.
    pub open_files: Option<u64>,
}

/// A reading of connection tracking.
#[derive(Debug, Clone, Default)]
pub struct ConntrackReading {
    /// Connections that are tracked.
    pub entries: u64,
    /// The most that are.
    pub limit: u64,
    /// The sums over all processors, by the kernel's names.
    pub statistics: BTreeMap<String, u64>,
}

/// What passed an interface since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkReading {
    /// Bytes received and sent.
    pub bytes: [u64; 2],
    /// Packets received and sent.
    pub packets: [u64; 2],
    /// Packets dropped in receiving and in sending.
    pub drops: [u64; 2],
}

/// The greatest averages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peak {
    /// Bytes per second.
    pub bytes: u64,
    /// Packets per second.
    pub packets: u64,
}

/// The two directions of an interface, as in [`LinkReading`].
const DIRECTIONS: [&str; 2] = ["in", "out"];

/// Adds the readings of the host, which are this old.
pub(super) fn add(page: &mut Page, host: &HostReading, age: Duration) {
    page.put(&of::HOST_AGE, &[], age);
    if let Some(conntrack) = &host.conntrack {
        add_conntrack(page, conntrack);
    }
    if let Some(passing) = &host.passing {
        add_passing(page, passing);
    }
    for (link, reading) in &host.links {
        let LinkReading { bytes, packets, drops } = reading;
        for (metric, values) in
            [(&of::LINK_BYTES, bytes), (&of::LINK_PACKETS, packets), (&of::LINK_DROPS, drops)]
        {
            for (direction, value) in DIRECTIONS.iter().zip(values) {
                page.put(metric, &[link, direction], *value);
            }
        }
    }
    page.put_if(&of::PEAK_BYTES, &[], host.peak.map(|peak| peak.bytes));
    page.put_if(&of::PEAK_PACKETS, &[], host.peak.map(|peak| peak.packets));
    for (link, allowances) in &host.allowances {
        for (name, packets) in &allowances.exceeded {
            page.put(&of::EXCEEDED, &[link, name], *packets);
        }
        page.put_if(&of::AVAILABLE, &[link], allowances.conntrack_available);
    }
    for (group, matches) in &host.addresses {
        page.put(&super::catalogue::ADDRESS_MATCH, &[group.as_str()], *matches);
    }
    page.put_if(&of::MEMORY, &[], host.memory);
    page.put_if(&of::FDS, &[], host.open_files);
}

fn add_conntrack(page: &mut Page, conntrack: &ConntrackReading) {
    page.put(&of::ACTIVE, &[], conntrack.entries);
    page.put(&of::ENTRIES, &[], conntrack.entries);
    page.put(&of::ENTRIES_LIMIT, &[], conntrack.limit);
    let named: [(&str, &'static Metric); 8] = [
        ("found", &of::STAT_FOUND),
        ("invalid", &of::STAT_INVALID),
        ("ignore", &of::STAT_IGNORE),
        ("insert", &of::STAT_INSERT),
        ("insert_failed", &of::STAT_INSERT_FAILED),
        ("drop", &of::STAT_DROP),
        ("early_drop", &of::STAT_EARLY_DROP),
        ("search_restart", &of::STAT_SEARCH_RESTART),
    ];
    for (name, metric) in named {
        page.put_if(metric, &[], conntrack.statistics.get(name).copied());
    }
}

/// natha's table counts a packet once, where it accepts it: what comes in goes out.
fn add_passing(page: &mut Page, passing: &Passing) {
    let Passing { to_uplink, from_uplink, new_flows, dropped, idle_resets } = passing;
    for (metric, value) in [
        (&of::BYTES_FROM_SOURCE, to_uplink.bytes),
        (&of::BYTES_OUT, to_uplink.bytes),
        (&of::BYTES_IN, from_uplink.bytes),
        (&of::BYTES_TO_SOURCE, from_uplink.bytes),
        (&of::PACKETS_FROM_SOURCE, to_uplink.packets),
        (&of::PACKETS_OUT, to_uplink.packets),
        (&of::PACKETS_IN, from_uplink.packets),
        (&of::PACKETS_TO_SOURCE, from_uplink.packets),
        (&of::ATTEMPTS, new_flows.packets),
        (&of::DROPPED, dropped.packets),
        (&of::IDLE_RESETS, idle_resets.packets),
    ] {
        page.put(metric, &[], value);
    }
}

/// Adds the hosts with the most traffic, as of a listing that is this old.
pub(super) fn add_talkers(page: &mut Page, talkers: &TopTalkers, age: Duration) {
    page.put(&of::TALKERS_AGE, &[], age);
    let sides = [
        (&talkers.sources, &of::SOURCE_BYTES, &of::SOURCE_CONNECTIONS),
        (&talkers.destinations, &of::DESTINATION_BYTES, &of::DESTINATION_CONNECTIONS),
    ];
    for (hosts, bytes, connections) in sides {
        for (host, usage) in hosts {
            let host = host.to_string();
            page.put(bytes, &[&host, "out"], usage.sent);
            page.put(bytes, &[&host, "in"], usage.received);
            page.put(connections, &[&host], usage.connections);
        }
    }
    let totals = talkers.totals;
    page.put(&of::ATTRIBUTED, &["out"], totals.usage.sent);
    page.put(&of::ATTRIBUTED, &["in"], totals.usage.received);
    page.put(&of::ESTABLISHED, &[], totals.established);
    page.put(&of::UNFOLLOWED, &[], totals.unfollowed);
}
