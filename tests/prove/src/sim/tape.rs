//! The recording of one node, as its monitor would make it.

use natha::failover::{Action, Input};
use natha::record::{Header, Turn, Writer};
use natha::types::Time;

use super::cluster::Sim;

/// A recording under way.
#[derive(Debug, Clone)]
pub(super) struct Tape {
    writer: Writer,
    text: String,
}

impl Tape {
    fn begin(header: &Header) -> Self {
        let (writer, text) = Writer::begin(header);
        Self { writer, text }
    }

    /// Notes a turn.
    pub(super) fn note(&mut self, at: Time, inputs: Vec<Input>, actions: &[Action]) {
        let turn = Turn { at, inputs, tick: true, actions: actions.to_vec() };
        self.text.push_str(&self.writer.turn(&turn));
    }
}

impl Sim {
    /// Restarts node `n`'s monitor and records what it is told and does from then on: see
    /// [`Sim::recording`]. `why` is what the recording is kept for.
    pub fn record(&mut self, n: usize, why: &str) {
        let header = self.boot_as(n);
        let header = Header { why: Some(why.to_owned()), ..header };
        self.nodes[n].tape = Some(Tape::begin(&header));
    }

    /// Ends the recording of node `n`; its text.
    pub fn recording(&mut self, n: usize) -> Option<String> {
        let tape = self.nodes[n].tape.take()?;
        Some(tape.text + &tape.writer.end("the simulation is over"))
    }
}
