//! Settings of the replication of connections.

use std::time::Duration;

/// Whether and how connections are replicated. `docs/connections.md` explains each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicate {
    /// Whether connections by egress IPs are replicated to the other members.
    pub enabled: bool,
    /// TCP port; none for the number of the heartbeats' UDP port.
    pub port: Option<u16>,
    /// A new connection is sent when it is this old.
    pub min_age: Duration,
    /// Most connections that are sent to each heir, and kept of each owner.
    pub max_flows: u32,
    /// Most changes that wait for each heir.
    pub max_waiting: u32,
    /// Share of the forwarded traffic that may be sent to each heir, in percent.
    pub share_percent: u8,
    /// What may be sent to each heir in any case, in KiB a second.
    pub min_rate: u32,
    /// What is never exceeded, in KiB a second.
    pub max_rate: u32,
    /// Whether the nodes of a planned move copy packets to each other while it takes effect.
    pub relay: bool,
    /// UDP port of the tunnel for these copies.
    pub relay_port: u16,
}

impl Default for Replicate {
    fn default() -> Self {
        Self {
            enabled: false,
            port: None,
            min_age: Duration::ZERO,
            max_flows: 200_000,
            max_waiting: 50_000,
            share_percent: 10,
            min_rate: 1_024,
            max_rate: 16_384,
            relay: true,
            relay_port: 6_286,
        }
    }
}
