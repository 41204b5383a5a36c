//! Follows which hosts have the most traffic, while the metrics are read.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Exporter, rounds};
use crate::daemon::clock;
use crate::kernel::conntrack::{ConntrackError, Requests};
use crate::kernel::sysctl;
use crate::metrics::Talkers;
use crate::plan::SysctlKey;
use crate::types::Time;

/// Time between two listings. The kernel keeps each connection for 10 s or longer after its last
/// packet.
const EVERY: Duration = Duration::from_secs(8);
/// A listing of very many connections takes long: the next one then waits this many times as long.
const PAUSE: u32 = 20;
/// After so long without a reader, nothing is listed any more.
const UNREAD: Duration = Duration::from_mins(5);

/// Lists connections for as long as the runtime lives. `named`: how many hosts are shown.
pub(super) async fn follow(exporter: Rc<Exporter>, named: u32) {
    let new = || Talkers::new(usize::try_from(named).unwrap_or(usize::MAX));
    let mut rounds = rounds(EVERY);
    let mut talkers = new();
    let mut next = Time::default();
    loop {
        rounds.tick().await;
        let begun = clock::now();
        let is_read = exporter.asked.get().is_some_and(|at| begun.since(at) < UNREAD);
        if !is_read || !is_counted() {
            if exporter.talkers.take().is_some() {
                talkers = new();
            }
            continue;
        }
        if begun < next {
            continue;
        }
        let Ok((listed, result)) = spawn_blocking(move || list(talkers)).await else { return };
        talkers = listed;
        if let Err(error) = result {
            tracing::debug!(%error, "cannot list the connections for the metrics");
        }
        let ended = clock::now();
        next = ended + ended.since(begun) * PAUSE;
        *exporter.talkers.borrow_mut() = Some((talkers.top(), ended));
    }
}

/// Whether the kernel counts the bytes of connections, because of `host.accounting` or otherwise.
fn is_counted() -> bool {
    let accounting = sysctl::read(&SysctlKey::new("net/netfilter/nf_conntrack_acct"));
    accounting.ok().flatten().is_some_and(|reading| reading.value == 1)
}

fn list(mut talkers: Talkers) -> (Talkers, Result<(), ConntrackError>) {
    let mut listing = talkers.listing();
    let result = Requests::open().and_then(|mut requests| {
        requests.dump_usage(|entry, usage| {
            // One without was there before the kernel began to count.
            if let Some(usage) = usage {
                listing.count(&entry, usage);
            }
        })
    });
    listing.end(result.is_ok());
    (talkers, result)
}
