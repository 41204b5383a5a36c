//! What will happen when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use natha::failover::{ActionId, Outcome};
use natha::types::{Resource, SessionId, Time};
use natha_lab::ec2::Conduct;

use super::cluster::Sim;
use super::ec2::Ask;
use super::node::Arrival;

/// One thing that will happen.
#[derive(Debug)]
pub(super) enum What {
    /// It arrives at a node.
    Arrives(usize, Arrival),
    /// An echo request of the second node arrives at the first.
    EchoAsked(usize, usize),
    /// An outcome, for the run of the monitor that waits for it.
    Outcome(Answer),
    /// A call reaches EC2; where it was held up before, with what it meets.
    Call(Call, Option<Conduct>),
    /// This run of a node's monitor is told what its service checks find.
    Checked(usize, SessionId),
    /// A turn of a node's probes is due.
    Probes(usize),
    /// A guest has booted.
    GuestUp(usize),
    /// The whole node is paused for a while.
    Pause(usize),
    /// That ends.
    Thaw(usize),
}

/// The outcome of an action on its way back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) by: usize,
    pub(super) session: SessionId,
    pub(super) id: ActionId,
    pub(super) outcome: Outcome,
    /// A DNS record that was changed, and the id of the change.
    pub(super) change: Option<(Resource, String)>,
}

/// A call on its way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) by: usize,
    pub(super) session: SessionId,
    pub(super) id: ActionId,
    pub(super) ask: Ask,
}

/// Things to come, the earliest first, and in the order in which they were put in.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    count: u64,
}

#[derive(Debug)]
struct Entry {
    at: Time,
    place: u64,
    what: What,
}

impl Entry {
    fn key(&self) -> (Time, u64) {
        (self.at, self.place)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Queue {
    /// When the first thing happens.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|entry| entry.0.at)
    }

    /// The next thing that happens by `now`.
    pub(super) fn pop(&mut self, now: Time) -> Option<What> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.0.what)
    }

    fn push(&mut self, at: Time, what: What) {
        self.count += 1;
        self.heap.push(Reverse(Entry { at, place: self.count, what }));
    }
}

impl Sim {
    pub(super) fn schedule(&mut self, after: Duration, what: What) {
        self.queue.push(self.now + after, what);
    }
}
