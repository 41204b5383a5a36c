//! The loop's inbox: a bounded queue from other threads, and an eventfd that wakes the loop.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};

use super::clock;
use super::looks::found_how;
use crate::failover::{ActionId, Event, EventKind, Input, Level, Outcome};
use crate::plan::NftTable;
use crate::status::{Allowances, FlowsReport, LandingState, PortUse, Report};
use crate::types::GroupName;

/// Notes that may wait for the loop. When the inbox is full, the sender waits; the loop never does.
const CAPACITY: usize = 1024;

#[derive(Debug)]
pub(super) enum Note {
    /// Passed on to the machine.
    Input(Input),
    /// An action ended.
    Done {
        id: ActionId,
        /// The API call's name, for the counters.
        call: &'static str,
        /// From when an executor took it up.
        took: Duration,
        outcome: Outcome,
    },
    /// A command from an operator.
    Command {
        command: crate::failover::Command,
        /// Receives `Ok`, or why the command is refused.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Something happened on this host, for the log and the status.
    Event(Event),
    /// An alert was raised, changed or cleared.
    Alert {
        name: &'static str,
        /// Its text while it is raised.
        text: Option<String>,
    },
    /// Members and groups were discovered again. An input precedes it if they have changed.
    Discovered,
    /// A group's service check has ended once more. An input precedes it if its result has changed.
    Checked(GroupName),
    /// The state of the replication of connections.
    Flows(FlowsReport),
    /// A new reading of EC2's network allowances, by interface.
    Allowances(BTreeMap<String, Allowances>),
    /// What is known of the landing addresses of this host.
    Landings(LandingState),
    /// How full the port space is.
    Ports(PortUse),
    /// A request for a status report.
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

pub(super) fn channel() -> std::io::Result<(Notes, Inbox)> {
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let wake = Arc::new(EventFd::from_flags(flags)?);
    let (sender, receiver) = mpsc::channel(CAPACITY);
    Ok((Notes { queue: sender, wake: wake.clone() }, Inbox { queue: receiver, wake }))
}

impl Notes {
    /// Sends a note, waiting for room; false if the loop has ended.
    pub(super) async fn send(&self, note: Note) -> bool {
        if self.queue.send(note).await.is_err() {
            return false;
        }
        // It fails only where the counter is full, and then the loop is being woken anyway.
        let _ = self.wake.write(1);
        true
    }

    pub(super) async fn input(&self, input: Input) -> bool {
        self.send(Note::Input(input)).await
    }
}

impl Notes {
    /// Reports that this host differed from its plan and was repaired. `took`: how long after the
    /// kernel announced the change, where it did.
    pub(super) async fn drift(&self, text: String, took: Option<Duration>) {
        self.event(Level::Warning, EventKind::HostDrift, text, took).await;
    }

    /// Reports that one of natha's nft tables was repaired. `was`: a sentence about how it was.
    pub(super) async fn table_drift<T: NftTable>(&self, was: &str, took: Option<Duration>) {
        let (name, how) = (T::NAME.as_str(), found_how(took));
        self.drift(format!("repaired nft table ip {name}, {how}: {was}"), took).await;
    }

    /// Reports what happened on this host.
    pub(super) async fn event(
        &self,
        level: Level,
        kind: EventKind,
        text: String,
        took: Option<Duration>,
    ) {
        let event = Event { at: clock::now(), level, kind, node: None, group: None, text, took };
        self.send(Note::Event(event)).await;
    }
}

impl Inbox {
    pub(super) fn take(&mut self) -> Option<Note> {
        self.queue.try_recv().ok()
    }

    /// Waits for the next note: for tests, which have no loop.
    #[cfg(test)]
    pub(super) async fn next(&mut self) -> Option<Note> {
        self.queue.recv().await
    }

    /// Resets the wake-up. Call before taking the notes out, so that a note that arrives meanwhile
    /// wakes the loop again.
    pub(super) fn quiet(&self) {
        // An error means that there was nothing to reset.
        let _ = self.wake.read();
    }

    /// Becomes readable when a note arrives.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
