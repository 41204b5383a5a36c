//! Writes the loop's events to the log and its state to the service manager.
//!
//! The loop itself writes nothing: a full pipe or a slow journal must not delay a heartbeat. If the
//! notifier's queue is full, the message is counted and dropped.

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
    /// The loop is alive.
    Watchdog,
    /// One line of status for the service manager.
    State(String),
}

/// The loop's end of the queue.
#[derive(Debug, Clone)]
pub(crate) struct Notifier(mpsc::Sender<Notification>);

impl Notifier {
    /// Starts the task on the current runtime. It ends when the last clone of the result is
    /// dropped.
    pub(crate) fn start() -> Self {
        let (sender, mut queue) = mpsc::channel(CAPACITY);
        tokio::spawn(async move {
            while let Some(notification) = queue.recv().await {
                deliver(notification);
            }
        });
        Self(sender)
    }

    /// Queues a message; false if it was dropped because the queue is full.
    pub(crate) fn send(&self, notification: Notification) -> bool {
        self.0.try_send(notification).is_ok()
    }
}

fn deliver(notification: Notification) {
    match notification {
        Notification::Event(event) => log(&event),
        Notification::Ready => notify(&sd_notify::NotifyState::Ready),
        Notification::Watchdog => notify(&sd_notify::NotifyState::Watchdog),
        Notification::State(text) => notify(&sd_notify::NotifyState::Status(&text)),
    }
}

/// Notifies the service manager, if there is one.
pub(crate) fn notify(state: &sd_notify::NotifyState<'_>) {
    // Without a service manager this does nothing. If the notification fails, carry on.
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
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
