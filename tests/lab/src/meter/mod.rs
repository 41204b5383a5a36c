//! Meters: traffic from a host, watched closely enough to say how long it was interrupted.

pub mod flows;
pub mod mixed;
pub mod ping;
pub mod tcp;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::net::netns::Netns;

/// What to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// From which host.
    pub host: String,
    /// To which address: one of the internet host for flows; of no account for connections to a
    /// name.
    pub target: Ipv4Addr,
    /// How.
    pub what: What,
}

/// A kind of measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum What {
    /// ICMP echo.
    Ping {
        /// From one probe to the next, in milliseconds.
        interval_ms: u64,
    },
    /// The same over UDP: messages to the echo port, each flow from a port of its own.
    Datagrams {
        /// How many.
        count: u16,
        /// From one message on a flow to the next, in milliseconds.
        interval_ms: u64,
    },
    /// New TCP connections, one after the other.
    Tcp(tcp::Aim),
    /// Flows of several kinds, each checked octet by octet.
    Mixed(mixed::Mix),
    /// TCP connections that stay open and send a little now and then.
    Flows {
        /// How many.
        count: u16,
        /// From one message on a flow to the next, in milliseconds.
        interval_ms: u64,
    },
}

/// What was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Report {
    /// Of [`What::Ping`].
    Ping(ping::Report),
    /// Of [`What::Flows`] and [`What::Datagrams`].
    Flows(flows::Report),
    /// Of [`What::Mixed`].
    Mixed(mixed::Report),
    /// Of [`What::Tcp`].
    Tcp(tcp::Report),
}

/// The meters that run.
#[derive(Default)]
pub struct Meters {
    running: Mutex<(u64, BTreeMap<u64, Running>)>,
}

enum Running {
    Ping(ping::Ping),
    Flows(flows::Flows),
    Mixed(mixed::Mixed),
    Tcp(tcp::Tcp),
}

impl Meters {
    /// Starts one in a host's network, where `resolver` looks names up, and returns its number.
    ///
    /// # Errors
    /// When its sockets cannot be opened, or a flow cannot be established.
    pub fn start(
        &self,
        order: &Order,
        netns: &Netns,
        resolver: Ipv4Addr,
        clock: Clock,
    ) -> Result<u64> {
        let meter = match order.what {
            What::Tcp(ref aim) => {
                let (target, aim) = (order.target, aim.clone());
                Running::Tcp(tcp::Tcp::start(netns, target, resolver, aim, clock)?)
            }
            What::Mixed(ref mix) => {
                Running::Mixed(mixed::Mixed::start(netns, order.target, mix.clone())?)
            }
            What::Ping { interval_ms } => {
                Running::Ping(ping::Ping::start(netns, order.target, interval_ms, clock)?)
            }
            What::Datagrams { count, interval_ms } => {
                let (target, pace) = (order.target, interval_ms);
                Running::Flows(flows::Flows::datagrams(netns, target, count, pace)?)
            }
            What::Flows { count, interval_ms } => {
                Running::Flows(flows::Flows::start(netns, order.target, count, interval_ms)?)
            }
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.0 += 1;
        let number = running.0;
        running.1.insert(number, meter);
        Ok(number)
    }

    /// What a ping meter knows for certain of its probes after the first `seen`; it goes on.
    ///
    /// # Errors
    /// When no ping meter has this number.
    pub fn probes(&self, number: u64, seen: usize) -> Result<Vec<ping::Probe>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.1.get(&number) {
            Some(Running::Ping(ping)) => Ok(ping.probes(seen)),
            _ => anyhow::bail!("no ping meter has number {number}"),
        }
    }

    /// What a meter of connections has measured so far; it goes on.
    ///
    /// # Errors
    /// When no such meter has this number.
    pub fn so_far(&self, number: u64) -> Result<tcp::Report> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match running.1.get(&number) {
            Some(Running::Tcp(tcp)) => Ok(tcp.so_far()),
            _ => anyhow::bail!("no meter of connections has number {number}"),
        }
    }

    /// Stops one and returns what it measured.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn stop(&self, number: u64) -> Result<Report> {
        let meter = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.1.remove(&number).with_context(|| format!("no meter has number {number}"))?
        };
        match meter {
            Running::Ping(ping) => ping.stop().map(Report::Ping),
            Running::Flows(flows) => Ok(Report::Flows(flows.stop())),
            Running::Mixed(mixed) => mixed.stop().map(Report::Mixed),
            Running::Tcp(tcp) => tcp.stop().map(Report::Tcp),
        }
    }
}
