//! The event loop's side: copies of what is of interest, in bounded queues.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use crate::daemon::clock;
use crate::failover::{Action, ActionId, Event, Outcome};
use crate::history::{AlertChange, Fact, Line, Scribe};
use crate::types::{InstanceId, Roster, Time, whole_millis};

/// Observations that may wait in a queue. A takeover of a hundred tables makes a few hundred.
pub(in crate::daemon) const CAPACITY: usize = 2_048;
/// How long the monitor, when it exits, waits for the last ones to be dealt with.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// Something that the event loop saw or did.
#[derive(Debug, Clone)]
pub(in crate::daemon) enum Observation {
    /// An event was reported.
    Event(Event),
    /// An API call that changes something was handed to the executors.
    Began(Action, Time),
    /// A call ended.
    Ended(ActionId, Outcome, Time),
    /// An alert was raised, changed or cleared.
    Alert(AlertChange, Time),
    /// Members or groups changed.
    Roster(Arc<Roster>),
    /// The landing addresses whose probes are answered changed.
    Proven(BTreeSet<Ipv4Addr>, Time),
    /// The members that are alive and fit changed.
    Alive(Vec<InstanceId>),
}

/// Those who get the observations.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Observers {
    all: Vec<Observer>,
    /// Observations that found a queue full.
    dropped: u64,
}

/// The sending end of a queue.
#[derive(Debug)]
struct Observer {
    queue: Queue,
    /// Resolves when all is dealt with, after the queue was closed.
    finished: Receiver<()>,
}

/// A queue to a thread, or to a task.
#[derive(Debug)]
pub(in crate::daemon) enum Queue {
    Thread(SyncSender<Observation>),
    Task(tokio::sync::mpsc::Sender<Observation>),
}

impl Queue {
    /// False if it is full, or its reader has ended.
    fn send(&self, observation: Observation) -> bool {
        match self {
            Self::Thread(queue) => queue.try_send(observation).is_ok(),
            Self::Task(queue) => queue.try_send(observation).is_ok(),
        }
    }
}

impl Observers {
    /// Adds one. `finished` gets a message, or closes, when it has dealt with everything after its
    /// queue was closed.
    pub(in crate::daemon) fn add(&mut self, queue: Queue, finished: Receiver<()>) {
        self.all.push(Observer { queue, finished });
    }

    /// Gives all of them a copy. This never waits.
    pub(in crate::daemon) fn tell(&mut self, observation: &Observation) {
        for observer in &self.all {
            if !observer.queue.send(observation.clone()) {
                self.dropped += 1;
            }
        }
    }

    /// Observations that were dropped since the start.
    pub(in crate::daemon) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Ends them, and waits up to [`FINISH_LIMIT`] for what is in the queues.
    pub(in crate::daemon) fn finish(self) {
        let until = clock::now() + FINISH_LIMIT;
        let all: Vec<Receiver<()>> = self.all.into_iter().map(|one| one.finished).collect();
        for finished in all {
            // A disk or a receiver that hangs must not keep the monitor from exiting.
            let _ = finished.recv_timeout(until.since(clock::now()));
        }
    }
}

/// The facts in an observation, with their times. These have no fractions of a millisecond, as in
/// the file, so that a notice has the same figures as the history.
pub(in crate::daemon) fn lines_of(scribe: &mut Scribe, observation: Observation) -> Vec<Line> {
    let line = |at: Time, fact| Line { wall_ms: clock::wall_ms_at(at), at, fact };
    match observation {
        Observation::Event(mut event) => {
            event.at = event.at.whole_millis();
            event.took = event.took.map(whole_millis);
            vec![line(event.at, Fact::Event(event))]
        }
        Observation::Began(action, at) => {
            let at = at.whole_millis();
            let fact = scribe.action(&action, at);
            fact.map(|fact| line(at, fact)).into_iter().collect()
        }
        Observation::Ended(id, outcome, at) => {
            let at = at.whole_millis();
            let fact = scribe.ended(id, &outcome, at);
            fact.map(|fact| line(at, fact)).into_iter().collect()
        }
        Observation::Alert(alert, at) => vec![line(at.whole_millis(), Fact::Alert(alert))],
        Observation::Proven(proven, at) => {
            let at = at.whole_millis();
            scribe.proofs(&proven).into_iter().map(|fact| line(at, fact)).collect()
        }
        Observation::Roster(roster) => {
            scribe.enrol(&roster);
            Vec::new()
        }
        Observation::Alive(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts_and_holds_up_no_other() {
        let mut observers = Observers::default();
        let (slow, _unread) = sync_channel(1);
        let (quick, read) = sync_channel(CAPACITY);
        for queue in [slow, quick] {
            let (done, finished) = sync_channel(1);
            drop(done);
            observers.add(Queue::Thread(queue), finished);
        }
        for _ in 0..3 {
            observers.tell(&Observation::Alive(Vec::new()));
        }
        assert_eq!(observers.dropped(), 2);
        assert_eq!(read.try_iter().count(), 3);
        observers.finish();
    }
}
