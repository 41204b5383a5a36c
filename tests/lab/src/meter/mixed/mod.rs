//! Flows of several kinds side by side, each checked octet by octet: how many of them live through
//! what happens, and for how long each stands still.
//!
//! Both ends compute what a flow carries, so either notices a lost, changed or foreign octet.

mod client;
mod content;
mod datagrams;
mod newcomers;
mod progress;
pub(crate) mod server;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use client::Mixed;

/// The port of the internet host for these flows, over TCP and UDP.
pub const PORT: u16 = 7100;

/// How long a flow may stand still, retransmissions included, before it counts as broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Who sends, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// TCP: the host sends and gets an answer, once at the beginning and once at the end.
    Idle,
    /// TCP: the host sends and gets an answer, at a steady pace.
    Busy,
    /// TCP: the server sends at a steady pace. The host is silent.
    ServerFirst,
    /// TCP: the server sends as much as `download_rate` allows. The host is silent.
    Download,
    /// UDP: the host sends and gets an answer, at a steady pace, always from the same port. Broken
    /// as soon as the server sees it by another address or port.
    Datagrams,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Idle, Self::Busy, Self::ServerFirst, Self::Download, Self::Datagrams];
}

/// What to open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mix {
    /// How many flows of each kind.
    pub flows: BTreeMap<Kind, u16>,
    /// From one message of a flow to the next, in milliseconds.
    pub interval_ms: u64,
    /// What each download receives, in octets per second.
    pub download_rate: u32,
    /// The first flow's source port; each next flow has the next one. Two hosts with the same ports
    /// make their NAT change those of one. Without it, the kernel chooses.
    pub source_ports: Option<u16>,
    /// From one new connection to the next, in milliseconds. Without it, none is opened meanwhile.
    pub newcomers_ms: Option<u64>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of each kind.
    pub kinds: BTreeMap<Kind, Share>,
    /// For how long those that lived stood still, idle ones aside.
    pub stall: Stalls,
    /// Of the connections that were opened meanwhile.
    pub newcomers: Option<Newcomers>,
    /// The addresses by which the internet host saw all of them.
    pub seen: BTreeSet<Ipv4Addr>,
}

/// The flows of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Flows that were opened.
    pub flows: usize,
    /// Flows that carried everything to the end.
    pub alive: usize,
    /// Why the others did not, and how many of them.
    pub broken: BTreeMap<String, usize>,
    /// Octets that arrived as they were sent, in both directions.
    pub octets: u64,
    /// For how long those that lived stood still.
    pub stall: Stalls,
}

/// Times without progress, the pace of the flow aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stalls {
    /// The median of the flows' longest, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile likewise.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Connections that were opened one after the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Newcomers {
    /// How many were tried.
    pub tried: usize,
    /// How many of them had no answer within 100 ms.
    pub failed: usize,
    /// The longest time from one that was answered to the next, the pace aside, in milliseconds.
    pub stall_ms: f64,
}

impl Report {
    /// Flows that were opened, of all kinds.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.kinds.values().map(|share| share.flows).sum()
    }

    /// How many flows of a kind carried everything to the end.
    #[must_use]
    pub fn alive(&self, kind: Kind) -> usize {
        self.kinds.get(&kind).map_or(0, |share| share.alive)
    }

    /// Flows that did not live to the end, of all kinds.
    #[must_use]
    pub fn broken(&self) -> usize {
        self.kinds.values().map(|share| share.flows - share.alive).sum()
    }
}
