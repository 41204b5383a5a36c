//! The recording of one node, as its monitor would write it.

use natha::failover::{Action, Input};
use natha::record::{Header, Turn, end_line};
use natha::types::Time;

use super::cluster::Sim;

/// A recording in progress, as plain text.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    text: String,
}

impl Recording {
    fn new(header: &Header) -> Self {
        Self { text: header.to_line() }
    }

    /// Adds a turn.
    pub(super) fn add(&mut self, at: Time, inputs: Vec<Input>, actions: &[Action]) {
        let turn = Turn { at, inputs, tick: true, actions: actions.to_vec() };
        self.text.push_str(&turn.to_line());
    }
}

impl Sim {
    /// Restarts node `n`'s monitor and records its inputs and actions from then on: see
    /// [`Sim::recording`]. `why` says what the recording shows.
    pub fn record(&mut self, n: usize, why: &str) {
        let header = self.boot_as(n);
        let header = Header { why: Some(why.to_owned()), ..header };
        self.nodes[n].recording = Some(Recording::new(&header));
    }

    /// Ends the recording of node `n` and returns its text.
    pub fn recording(&mut self, n: usize) -> Option<String> {
        let recording = self.nodes[n].recording.take()?;
        Some(recording.text + &end_line("the simulation is over"))
    }
}
