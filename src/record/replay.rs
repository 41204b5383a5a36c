//! The same inputs at the same times, to a machine of its own.

use super::{Header, Turn};
use crate::failover::{Action, Machine};

/// The most actions that one turn carries out; what is left is for the next one.
pub const ACTIONS_A_TURN: usize = 4096;

/// A machine that is fed a recording.
#[derive(Debug, Clone)]
pub struct Replay {
    machine: Machine,
}

impl Replay {
    /// Makes the machine that the header tells of.
    ///
    /// # Panics
    /// If the roster does not contain this node. No header that was read is so.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self { machine: header.machine() }
    }

    /// Feeds one turn's inputs; what the machine wants done now. The recorded actions play no
    /// part in it: see [`difference`].
    pub fn turn(&mut self, turn: &Turn) -> Vec<Action> {
        for input in &turn.inputs {
            self.machine.handle(input.clone(), turn.at);
        }
        if turn.tick {
            self.machine.tick(turn.at);
        }
        std::iter::from_fn(|| self.machine.poll_action()).take(ACTIONS_A_TURN).collect()
    }

    /// The machine as it is now.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

/// The first place where two lists of actions differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its index in both lists.
    pub index: usize,
    /// What was recorded; none where nothing more was.
    pub expected: Option<Action>,
    /// What came out now; none where nothing more did.
    pub got: Option<Action>,
}

/// Compares what was recorded with what came out.
#[must_use]
pub fn difference(expected: &[Action], got: &[Action]) -> Option<Difference> {
    let index = (0..expected.len().max(got.len())).find(|at| expected.get(*at) != got.get(*at))?;
    Some(Difference { index, expected: expected.get(index).cloned(), got: got.get(index).cloned() })
}
