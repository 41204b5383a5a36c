//! Whether the private hosts of a route table are served by this node: by their connections in the
//! kernel's table.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use ipnet::Ipv4Net;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::flows::{Entry, Tuple};
use crate::kernel::conntrack::Requests;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// What the connections of the hosts show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// A connection that began after the move had a reply.
    Yes,
    /// So many connections began, and none had a reply.
    No(usize),
    /// No host has sent anything.
    Quiet,
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

    /// Waits until a new connection has had a reply, for at most `limit`.
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
        let mut new =
            now.iter().filter(|entry| !self.before.contains(&entry.flow.tuple)).peekable();
        if new.peek().is_none() {
            return Served::Quiet;
        }
        let silent = new.clone().filter(|entry| !entry.flow.seen_reply).count();
        if new.any(|entry| entry.flow.seen_reply) { Served::Yes } else { Served::No(silent) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::{Flow, Protocol};

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

    #[test]
    fn only_replies_to_connections_that_began_after_the_move_count() {
        let before = BTreeSet::from([entry(1, true).flow.tuple]);
        let seen = Connections { sources: Vec::new(), before };
        assert_eq!(seen.judge(&[entry(1, true)]), Served::Quiet);
        assert_eq!(seen.judge(&[entry(1, true), entry(2, false)]), Served::No(1));
        assert_eq!(seen.judge(&[entry(2, false), entry(3, true)]), Served::Yes);
    }
}
