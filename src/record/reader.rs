//! Reads the lines of a recording.

use super::turn::Line;
use super::{Header, Turn};
use crate::types::Time;

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Unreadable {
    /// The number of the line; the first is 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A line after the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedLine {
    /// A turn of the event loop.
    Turn(Turn),
    /// The reason why the recording ended. No line follows it.
    End(String),
}

/// Reads the lines of one recording, in order.
#[derive(Debug, Clone)]
pub struct RecordingReader {
    /// The number of the last line that was read.
    line: usize,
    /// The time of the last turn.
    last: Time,
    ended: bool,
}

impl RecordingReader {
    /// Starts with the first line.
    ///
    /// # Errors
    /// If the line is not a header, has another version of the format, or describes a machine that
    /// cannot exist.
    pub fn begin(line: &str) -> Result<(Self, Header), Unreadable> {
        let header = Header::read(line).map_err(|reason| Unreadable { line: 1, reason })?;
        Ok((Self { line: 1, last: header.start, ended: false }, header))
    }

    /// Reads the next line.
    ///
    /// # Errors
    /// If it is neither a turn nor the end, goes back in time, or follows the end.
    pub fn next(&mut self, line: &str) -> Result<RecordedLine, Unreadable> {
        self.line += 1;
        self.read(line).map_err(|reason| Unreadable { line: self.line, reason })
    }

    /// The number of the last line that was read; the first is 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    fn read(&mut self, line: &str) -> Result<RecordedLine, String> {
        if self.ended {
            return Err("there is a line after the end".to_owned());
        }
        let line: Line<Turn, String> =
            serde_json::from_str(line).map_err(|error| error.to_string())?;
        match line {
            Line::Turn(turn) if turn.at < self.last => Err("it goes back in time".to_owned()),
            Line::Turn(turn) => {
                self.last = turn.at;
                Ok(RecordedLine::Turn(turn))
            }
            Line::End(reason) => {
                self.ended = true;
                Ok(RecordedLine::End(reason))
            }
        }
    }
}
