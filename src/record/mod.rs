//! Recordings of a monitor's decisions: what came in and when, and what followed from it.
//!
//! The machine knows nothing but its inputs and the time they come with. So a file with these
//! repeats every decision: [`Writer`] makes its lines, [`Reader`] reads them, and [`Replay`] feeds
//! them to a machine of its own. Nothing here opens a file or reads a clock, and a recording of a
//! simulated node is no different from one of a live one.
//!
//! The format is JSON, one line each: the [`Header`], the [`Turn`]s, and, where the recording was
//! ended rather than cut short, the reason for it. `docs/recordings.md` describes it.

mod codec;
mod header;
mod lines;
mod reader;
mod replay;
mod story;
mod writer;

pub use header::{FORMAT, Header};
pub use reader::{Entry, Reader, Unreadable};
pub use replay::{ACTIONS_A_TURN, Difference, Replay, difference};
pub use story::{Kind, Moment, Story, clock};
pub use writer::Writer;

use crate::failover::{Action, Input};
use crate::types::Time;

#[cfg(test)]
mod tests;

/// One turn of the loop: everything that a machine was told at one time, and what it wanted done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// When.
    pub at: Time,
    /// What it was told, in order.
    pub inputs: Vec<Input>,
    /// Whether `Machine::tick` ran after the inputs.
    pub tick: bool,
    /// What it wanted done, in order.
    pub actions: Vec<Action>,
}
