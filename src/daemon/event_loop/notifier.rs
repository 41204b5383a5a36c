//! Writes the loop's events to the log and its state to the service manager.
//!
//! The loop itself writes nothing: a full pipe or a slow journal must not delay a heartbeat. If the
//! notifier's queue is full, the message is counted and dropped, and the count is logged once the
//! log flows again. The notifier has a thread of its own, which may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::failover::{Event, Level};
use crate::status::kind_name;

/// Messages that may wait.
const CAPACITY: usize = 512;

#[derive(Debug)]
pub(crate) enum Notification {
    Event(Event),
    /// The first heartbeat has gone out.
    Ready,
    /// One line of status for the service manager.
    State(String),
    /// So many events were dropped since the last such message.
    Dropped(u64),
}

/// The loop's end of the queue.
#[derive(Debug, Clone)]
pub(crate) struct Notifier {
    queue: mpsc::Sender<Notification>,
    /// Events dropped so far.
    dropped: Arc<AtomicU64>,
}

impl Notifier {
    /// Starts the thread. It ends when the last clone of the result is dropped.
    ///
    /// # Errors
    /// If the kernel refuses a thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        Self::with(deliver)
    }

    fn with(mut deliver: impl FnMut(Notification) + Send + 'static) -> std::io::Result<Self> {
        let (sender, mut queue) = mpsc::channel(CAPACITY);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        std::thread::Builder::new().name("natha-notifier".to_owned()).spawn(move || {
            let mut told = 0;
            while let Some(notification) = queue.blocking_recv() {
                deliver(notification);
                let dropped = counted.load(Ordering::Relaxed);
                if dropped > told {
                    deliver(Notification::Dropped(dropped - told));
                    told = dropped;
                }
            }
        })?;
        Ok(Self { queue: sender, dropped })
    }

    /// Queues a message; false if it was dropped because the queue is full.
    pub(crate) fn send(&self, notification: Notification) -> bool {
        let is_event = matches!(notification, Notification::Event(_));
        let queued = self.queue.try_send(notification).is_ok();
        if is_event && !queued {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }
}

fn deliver(notification: Notification) {
    match notification {
        Notification::Event(event) => log(&event),
        Notification::Ready => notify(&sd_notify::NotifyState::Ready),
        Notification::Dropped(events) => {
            tracing::warn!(events, "the log was full: {events} events are missing from it");
        }
        Notification::State(text) => notify(&sd_notify::NotifyState::Status(&text)),
    }
}

/// Notifies the service manager, if there is one.
pub(crate) fn notify(state: &sd_notify::NotifyState<'_>) {
    notify_all(std::slice::from_ref(state));
}

/// Notifies the service manager, if there is one, of several things at once.
pub(crate) fn notify_all(states: &[sd_notify::NotifyState<'_>]) {
    // Without a service manager this does nothing. If the notification fails, carry on.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}

fn log(event: &Event) {
    let kind = kind_name(event.kind);
    let node = event.node.as_ref().map(tracing::field::display);
    let group = event.group.as_ref().map(tracing::field::display);
    let took = event.took.map(|took| {
        let ms = std::time::Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(0));
        tracing::field::display(humantime::format_duration(ms))
    });
    match event.level {
        Level::Info => tracing::info!(kind, node, group, took, "{}", event.text),
        Level::Warning => tracing::warn!(kind, node, group, took, "{}", event.text),
        Level::Alert => tracing::error!(kind, node, group, took, "{}", event.text),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    #[test]
    fn a_log_that_waits_delays_no_sender_and_tells_afterwards_what_is_missing() {
        let (started, has_started) = std_mpsc::channel();
        let (release, released) = std_mpsc::channel::<()>();
        let (delivered, all) = std_mpsc::channel();
        let notifier = Notifier::with(move |notification| {
            let _ = started.send(());
            // Waits for each message until the test has dropped its end.
            let _ = released.recv();
            let _ = delivered.send(notification);
        });
        let notifier = notifier.unwrap();
        let send = || notifier.send(Notification::Event(event()));
        assert!(send());
        has_started.recv().unwrap();
        let dropped = (0..CAPACITY + 7).filter(|_| !send()).count();
        assert_eq!(dropped, 7, "one is being delivered, and the queue is full");
        assert!(!notifier.send(Notification::State("full".to_owned())));
        drop((release, notifier));
        let missing: Vec<u64> = all
            .iter()
            .filter_map(|told| match told {
                Notification::Dropped(events) => Some(events),
                _ => None,
            })
            .collect();
        assert_eq!(missing, [7], "a status that is dropped is no lost log line");
    }

    fn event() -> Event {
        Event {
            at: crate::types::Time::from_millis(1),
            level: Level::Info,
            kind: crate::failover::EventKind::Fitness,
            node: None,
            group: None,
            text: "well".to_owned(),
            took: None,
        }
    }
}
