//! What the page for people shows, as JSON: the status and what passes the host.

use serde::Serialize;

use super::{HostReading, HostUsage, TopTalkers};
use crate::status::Report;

/// The content of one moment. The page computes rates from two of them.
#[derive(Debug, Serialize)]
pub struct Board<'a> {
    /// The JSON of `natha status --json`.
    report: &'a Report,
    /// What needs attention; empty if all is well.
    findings: Vec<String>,
    /// None on a host that is no NAT.
    traffic: Option<Traffic>,
    /// None if connection tracking cannot be read.
    connections: Option<Connections>,
    /// None while no traffic is attributed to hosts.
    talkers: Option<Talkers>,
}

/// What natha's table has counted since it was loaded.
#[derive(Debug, Serialize)]
struct Traffic {
    bytes_out: u64,
    bytes_in: u64,
    packets_out: u64,
    packets_in: u64,
    new_connections: u64,
    dropped: u64,
}

/// Connections that are tracked.
#[derive(Debug, Serialize)]
struct Connections {
    now: u64,
    limit: u64,
}

/// The hosts with the most traffic, the first one first.
#[derive(Debug, Serialize)]
struct Talkers {
    sources: Vec<Talker>,
    destinations: Vec<Talker>,
}

#[derive(Debug, Serialize)]
struct Talker {
    host: String,
    sent: u64,
    received: u64,
    connections: u64,
}

impl<'a> Board<'a> {
    /// The content, from what was read at about the same time.
    #[must_use]
    pub fn new(report: &'a Report, host: &HostReading, talkers: Option<&TopTalkers>) -> Self {
        Self {
            report,
            findings: report.findings(),
            traffic: host.passing.as_ref().map(|passing| Traffic {
                bytes_out: passing.to_uplink.bytes,
                bytes_in: passing.from_uplink.bytes,
                packets_out: passing.to_uplink.packets,
                packets_in: passing.from_uplink.packets,
                new_connections: passing.new_flows.packets,
                dropped: passing.dropped.packets,
            }),
            connections: host
                .conntrack
                .as_ref()
                .map(|tracked| Connections { now: tracked.entries, limit: tracked.limit }),
            talkers: talkers.map(|top| Talkers {
                sources: top.sources.iter().map(talker).collect(),
                destinations: top.destinations.iter().map(talker).collect(),
            }),
        }
    }
}

fn talker((host, usage): &(std::net::Ipv4Addr, HostUsage)) -> Talker {
    let HostUsage { sent, received, connections } = *usage;
    Talker { host: host.to_string(), sent, received, connections }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_null() {
        let golden = include_str!("../../tests/golden/status_resources_json.snap");
        let (_, json) = golden.split_once("\n---\n").unwrap();
        let report: Report = serde_json::from_str(json).unwrap();
        let host = HostReading::default();
        let board = serde_json::to_value(Board::new(&report, &host, None)).unwrap();
        for part in ["traffic", "connections", "talkers"] {
            assert!(board[part].is_null(), "{part}: {board:#}");
        }
        assert_eq!(board["report"]["cluster"], report.cluster);
    }
}
