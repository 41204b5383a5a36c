//! Feeds a recording to a machine of its own.

use super::{Header, Turn};
use crate::failover::{Action, Machine};

/// The most actions that one turn carries out. The rest waits for the next turn.
pub const ACTIONS_A_TURN: usize = 4096;

/// A machine that repeats a recording.
#[derive(Debug, Clone)]
pub struct Replay {
    machine: Machine,
}

impl Replay {
    /// Creates the machine that the header describes.
    ///
    /// # Panics
    /// If the roster does not contain this node. A header that was read always does.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self { machine: header.machine() }
    }

    /// Feeds one turn's inputs to the machine and returns the actions. The recorded actions are
    /// not used; compare them by [`difference`].
    pub fn turn(&mut self, turn: &Turn) -> Vec<Action> {
        for input in &turn.inputs {
            self.machine.handle(input.clone(), turn.at);
        }
        if turn.tick {
            self.machine.tick(turn.at);
        }
        std::iter::from_fn(|| self.machine.poll_action()).take(ACTIONS_A_TURN).collect()
    }

    /// The machine in its current state.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

/// The first place where two lists of actions differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The index in both lists.
    pub index: usize,
    /// The recorded action, unless the recorded list is shorter.
    pub expected: Option<Action>,
    /// The replayed action, unless the replayed list is shorter.
    pub got: Option<Action>,
}

/// Compares recorded actions with replayed ones.
#[must_use]
pub fn difference(expected: &[Action], got: &[Action]) -> Option<Difference> {
    let index = (0..expected.len().max(got.len())).find(|at| expected.get(*at) != got.get(*at))?;
    Some(Difference { index, expected: expected.get(index).cloned(), got: got.get(index).cloned() })
}
