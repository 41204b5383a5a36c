//! Tells the outside what the loop has to say: the log and the service manager.
//!
//! The loop itself writes nothing: a full pipe or a slow journal must not delay a heartbeat. What
//! the herald cannot take at once is counted and dropped.

use tokio::sync::mpsc;

use crate::failover::{Event, Level};
use crate::status::kind_name;

/// Lines that may wait.
const CAPACITY: usize = 512;

/// One thing to tell.
#[derive(Debug)]
pub(crate) enum Notification {
    /// Something happened.
    Event(Event),
    /// The first heartbeat has gone out.
    Ready,
    /// The loop turns.
    Watchdog,
    /// One line about the state of things, for the service manager.
    State(String),
}

/// The loop's side.
#[derive(Debug, Clone)]
pub(crate) struct Notifier(mpsc::Sender<Notification>);

impl Notifier {
    /// Starts it on the current runtime. It ends when the last clone of the result is dropped.
    pub(crate) fn start() -> Self {
        let (sender, mut queue) = mpsc::channel(CAPACITY);
        tokio::spawn(async move {
            while let Some(notification) = queue.recv().await {
                deliver(notification);
            }
        });
        Self(sender)
    }

    /// Passes something on; false if it had to be dropped.
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

/// Tells the service manager, where there is one.
pub(crate) fn notify(state: &sd_notify::NotifyState<'_>) {
    // Without a service manager this does nothing; with a broken one, going on is right.
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::debug!(%error, "the service manager could not be told");
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
