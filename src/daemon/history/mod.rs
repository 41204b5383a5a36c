//! The history: what the event loop saw and did, written down by a thread of its own.

mod file;
mod observers;
mod writer;

pub(crate) use file::files;
pub(super) use observers::{CAPACITY, Observation, Observers, Queue, lines_of};
pub(super) use writer::{HistoryFileAt, start};
