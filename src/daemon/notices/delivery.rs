//! Delivers notices by one way, in order, with repetitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::ways::{Undelivered, Way};
use crate::daemon::alerts::Alert;
use crate::daemon::clock;
use crate::notify::{Notice, pause};
use crate::status::NoticeCounters;

/// How long the alert stands after a notice was given up, where no other one follows. The counter
/// of failures keeps the evidence.
const STANDS: Duration = Duration::from_hours(1);

/// How notices fared since the start.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Tally {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    /// The counts for the status.
    pub(in crate::daemon) fn counters(&self) -> NoticeCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (sent, failed) = (read(&self.sent), read(&self.failed));
        NoticeCounters { sent, failed, dropped: read(&self.dropped) }
    }

    /// Counts one that found its queue full.
    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Delivers what comes in until the queue is closed.
pub(super) async fn deliver(
    way: Way,
    mut queue: mpsc::Receiver<Arc<Notice>>,
    tally: Arc<Tally>,
    mut alert: Alert,
) {
    loop {
        let notice = match timeout(STANDS, queue.recv()).await {
            Ok(Some(notice)) => notice,
            Ok(None) => return,
            Err(_) => {
                alert.set(None).await;
                continue;
            }
        };
        match insist(&way, &notice, &mut alert).await {
            Ok(()) => {
                tally.sent.fetch_add(1, Ordering::Relaxed);
                alert.set(None).await;
            }
            Err(why) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                let (way, subject) = (way.name(), &notice.subject);
                tracing::error!(way, "a notice was given up: {subject}: {why}");
            }
        }
    }
}

/// Tries until the notice is delivered, or another attempt makes no sense. The alert stands
/// meanwhile.
async fn insist(way: &Way, notice: &Notice, alert: &mut Alert) -> Result<(), String> {
    let begun = clock::now();
    let mut attempts = 0;
    loop {
        let Err(Undelivered { why, again }) = way.send(notice).await else { return Ok(()) };
        attempts += 1;
        let (name, target) = (way.name(), way.target());
        alert.set(Some(format!("notices by {name} to {target} fail: {why}"))).await;
        let next = pause(attempts, clock::now().since(begun)).filter(|_| again);
        let Some(next) = next else { return Err(why) };
        pause_for(next).await;
    }
}

/// The pause between two attempts.
#[expect(
    clippy::disallowed_methods,
    reason = "a receiver that fails does not announce when it works again; the end of the runtime \
              ends the pause"
)]
async fn pause_for(pause: Duration) {
    tokio::time::sleep(pause).await;
}
