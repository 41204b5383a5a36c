//! Makes the lines of a recording.

use super::codec::Codec;
use super::lines::Line;
use super::{Header, Turn};

/// Makes the lines of one recording, in order. Each ends in a line break; whoever has it writes it.
#[derive(Debug, Clone)]
pub struct Writer {
    codec: Codec,
}

impl Writer {
    /// Begins a recording: its writer and its first line.
    #[must_use]
    pub fn begin(header: &Header) -> (Self, String) {
        (Self { codec: Codec::new(header.start) }, json(header))
    }

    /// The line of the next turn.
    #[must_use]
    pub fn turn(&mut self, turn: &Turn) -> String {
        json(&self.codec.encode(turn))
    }

    /// The last line of a recording that is ended on purpose: why.
    #[must_use]
    pub fn end(&self, reason: &str) -> String {
        let end = Some(reason.to_owned());
        json(&Line { t: None, inputs: Vec::new(), tick: true, actions: Vec::new(), end })
    }
}

fn json(value: &impl serde::Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("maps in a recording have text as keys");
    line.push('\n');
    line
}
