//! Reads the lines of a recording.

use super::codec::Codec;
use super::lines::Line;
use super::{Header, Turn};
use crate::types::Time;

/// A line that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Unreadable {
    /// Which line, the first being 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// What a line after the first one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A turn.
    Turn(Turn),
    /// The end, and why the recording was ended. No line follows.
    End(String),
}

/// Reads the lines of one recording, in order.
#[derive(Debug, Clone)]
pub struct Reader {
    codec: Codec,
    /// The number of the last line that was read.
    line: usize,
    last: Time,
    ended: bool,
}

impl Reader {
    /// Begins with the first line.
    ///
    /// # Errors
    /// Where it is no header, one of another version of the format, or one that no machine can be
    /// made of.
    pub fn begin(line: &str) -> Result<(Self, Header), Unreadable> {
        let header = Header::read(line).map_err(|reason| Unreadable { line: 1, reason })?;
        let codec = Codec::new(header.start);
        Ok((Self { codec, line: 1, last: header.start, ended: false }, header))
    }

    /// Reads the next line.
    ///
    /// # Errors
    /// Where it makes no sense.
    pub fn next(&mut self, line: &str) -> Result<Entry, Unreadable> {
        self.line += 1;
        self.entry(line).map_err(|reason| Unreadable { line: self.line, reason })
    }

    /// The number of the last line that was read, the first being 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    fn entry(&mut self, line: &str) -> Result<Entry, String> {
        if self.ended {
            return Err("there is a line after the end".to_owned());
        }
        let mut line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        match (line.t, line.end.take()) {
            (Some(t), None) => {
                let turn = self.codec.decode(t, line)?;
                if turn.at < self.last {
                    return Err("it goes back in time".to_owned());
                }
                self.last = turn.at;
                Ok(Entry::Turn(turn))
            }
            (None, Some(reason)) => {
                self.ended = true;
                Ok(Entry::End(reason))
            }
            _ => Err("it is neither a turn (`t`) nor the end (`end`)".to_owned()),
        }
    }
}
