//! Whether the private hosts of a route table are served by this node: by their connections in the
//! kernel's table.
//!
//! A reply that the kernel has seen may still be dropped before it reaches the host. The state of a
//! TCP connection proves more: only the host's own acknowledgement establishes it. If hosts use
//! TCP, nothing else counts. If they do not, a reply counts once the time for the proof is over.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use ipnet::Ipv4Net;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::flows::{Entry, Flow, Protocol, TcpState, Tuple};
use crate::kernel::conntrack::Requests;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// What the connections of the hosts show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// A TCP connection that began after the move was established.
    Yes,
    /// Other traffic that began after the move had a reply, and no host has opened a TCP
    /// connection.
    Replied,
    /// So many connections began, and none got that far.
    No(usize),
    /// No host has sent anything.
    Quiet,
}

impl Served {
    /// Why the hosts do not count as served; none if they do.
    pub(super) fn complaint(self) -> Option<String> {
        match self {
            Self::Yes | Self::Replied => None,
            Self::Quiet => {
                Some("no host has sent anything; --keep-quiet keeps such tables".to_owned())
            }
            Self::No(count) => {
                Some(format!("{count} new connections of its hosts, and none works"))
            }
        }
    }
}

/// The connections of some networks.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections {
    sources: Vec<Ipv4Net>,
    /// Those from before the move.
    before: BTreeSet<Tuple>,
}

impl Connections {
    /// Those of these networks that are there now, before the move.
    ///
    /// # Errors
    /// If the kernel's table cannot be read.
    pub(super) async fn of(sources: Vec<Ipv4Net>) -> anyhow::Result<Self> {
        let none = Self { sources, before: BTreeSet::new() };
        let before = none.read().await?.into_iter().map(|entry| entry.flow.tuple).collect();
        Ok(Self { before, ..none })
    }

    /// Waits until a new TCP connection is established, for at most `limit`.
    ///
    /// # Errors
    /// If the kernel's table cannot be read.
    pub(super) async fn wait(&self, limit: Duration) -> anyhow::Result<Served> {
        let until = Instant::now() + limit;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let served = self.judge(&self.read().await?);
            if served == Served::Yes || Instant::now() >= until {
                return Ok(served);
            }
        }
    }

    fn judge(&self, now: &[Entry]) -> Served {
        let new = now.iter().map(|entry| &entry.flow);
        let new: Vec<&Flow> = new.filter(|flow| !self.before.contains(&flow.tuple)).collect();
        let has_tcp = new.iter().any(|flow| flow.tuple.protocol == Protocol::Tcp);
        if new.iter().any(|flow| is_established(flow)) {
            Served::Yes
        } else if !has_tcp && new.iter().any(|flow| flow.seen_reply) {
            Served::Replied
        } else if new.is_empty() {
            Served::Quiet
        } else {
            Served::No(new.len())
        }
    }

    /// The connections of these networks that this node translates.
    async fn read(&self) -> anyhow::Result<Vec<Entry>> {
        let sources = self.sources.clone();
        let read = move || {
            let mut found = Vec::new();
            Requests::open()?.dump(|entry| {
                if sources.iter().any(|block| block.contains(&entry.flow.tuple.source)) {
                    found.push(entry);
                }
            })?;
            anyhow::Ok(found)
        };
        let found = spawn_blocking(read).await.context("reading the connections panicked")?;
        found.context("cannot read the connections of the private hosts")
    }
}

/// Whether both ends have acknowledged the opening of a TCP connection, which may have ended since.
///
/// The kernel also calls a connection established whose first packet it saw in the middle, such as
/// one that the move has cut (`nf_conntrack_tcp_loose`): that one has no reply.
fn is_established(flow: &Flow) -> bool {
    let state = flow.tcp.map(|tcp| tcp.state).filter(|_| flow.seen_reply);
    matches!(
        state,
        Some(
            TcpState::Established
                | TcpState::FinWait
                | TcpState::CloseWait
                | TcpState::LastAck
                | TcpState::TimeWait
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::{Tcp, TcpSide};

    fn entry(port: u16, seen_reply: bool) -> Entry {
        let tuple = Tuple {
            protocol: Protocol::Udp,
            source: [10, 0, 1, 5].into(),
            destination: [192, 0, 2, 1].into(),
            source_port: port,
            destination_port: 53,
        };
        let flow = Flow {
            tuple,
            translated_port: port,
            seen_reply,
            assured: false,
            tcp: None,
            timeout_s: 30,
            mark: 0,
        };
        Entry { landing: [10, 0, 0, 10].into(), flow }
    }

    fn tcp(port: u16, state: TcpState) -> Entry {
        let (original, reply) = (TcpSide::default(), TcpSide::default());
        let mut entry = entry(port, state != TcpState::SynSent);
        entry.flow.tuple.protocol = Protocol::Tcp;
        entry.flow.tcp = Some(Tcp { state, original, reply });
        entry
    }

    #[test]
    fn where_hosts_use_tcp_a_connection_must_be_established() {
        let seen = Connections::default();
        let lost = tcp(4, TcpState::SynReceived);
        assert_eq!(seen.judge(&[lost, entry(5, true)]), Served::No(2), "lost behind this node");
        assert_eq!(seen.judge(&[lost, tcp(6, TcpState::TimeWait)]), Served::Yes);
        let mut cut = tcp(7, TcpState::Established);
        cut.flow.seen_reply = false;
        assert_eq!(seen.judge(&[cut]), Served::No(1), "picked up in the middle");
    }

    #[test]
    fn only_replies_to_connections_that_began_after_the_move_count() {
        let before = BTreeSet::from([entry(1, true).flow.tuple]);
        let seen = Connections { sources: Vec::new(), before };
        assert_eq!(seen.judge(&[entry(1, true)]), Served::Quiet);
        assert_eq!(seen.judge(&[entry(1, true), entry(2, false)]), Served::No(1));
        assert_eq!(seen.judge(&[entry(2, false), entry(3, true)]), Served::Replied);
    }
}
