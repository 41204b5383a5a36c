//! How other threads reach the loop: a bounded queue and an eventfd that wakes it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

use crate::failover::{ActionId, Input, Outcome};
use crate::status::Report;

/// Notes that may wait for the loop. A sender beyond that waits, the loop never does.
const CAPACITY: usize = 1024;

/// One thing for the loop.
#[derive(Debug)]
pub(super) enum Note {
    /// For the machine as it is.
    Input(Input),
    /// An action ended.
    Done {
        /// Which one.
        id: ActionId,
        /// What was called, for the counters.
        call: &'static str,
        /// How it ended.
        outcome: Outcome,
    },
    /// An operator asks for something and wants to know whether it makes sense.
    Command {
        /// What.
        command: crate::failover::Command,
        /// Why not, or nothing.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// An alert stands with this text, or no longer.
    Alert {
        /// Which one.
        name: &'static str,
        /// Its text while it stands.
        text: Option<String>,
    },
    /// Someone wants to see everything.
    Status(oneshot::Sender<Box<Report>>),
}

/// The sending side.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    queue: mpsc::Sender<Note>,
    wake: Arc<EventFd>,
}

/// The loop's side.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: mpsc::Receiver<Note>,
    wake: Arc<EventFd>,
}

/// A connected pair.
pub(super) fn channel() -> std::io::Result<(Notes, Inbox)> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let wake = Arc::new(EventFd::from_flags(flags)?);
    let (sender, receiver) = mpsc::channel(CAPACITY);
    Ok((Notes { queue: sender, wake: wake.clone() }, Inbox { queue: receiver, wake }))
}

impl Notes {
    /// Leaves a note, waiting for room; false if the loop has ended.
    pub(super) async fn send(&self, note: Note) -> bool {
        if self.queue.send(note).await.is_err() {
            return false;
        }
        // It fails only where the counter is full, and then the loop is being woken anyway.
        let _ = self.wake.write(1);
        true
    }

    /// Leaves an input for the machine.
    pub(super) async fn input(&self, input: Input) -> bool {
        self.send(Note::Input(input)).await
    }
}

impl Inbox {
    /// The next note, if there is one.
    pub(super) fn take(&mut self) -> Option<Note> {
        self.queue.try_recv().ok()
    }

    /// The next note, waited for: for tests, which have no loop.
    #[cfg(test)]
    pub(super) async fn next(&mut self) -> Option<Note> {
        self.queue.recv().await
    }

    /// Makes the wake-up silent until the next note. Call before taking the notes out, so that
    /// one that arrives meanwhile wakes again.
    pub(super) fn quiet(&self) {
        // Nothing to read means that nobody has rung.
        let _ = self.wake.read();
    }

    /// Becomes readable when there is a note.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
