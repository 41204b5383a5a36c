//! Recordings of a monitor's decisions: every input with its time, and the actions that followed.
//!
//! The machine depends on nothing but its inputs and their times, so a recording repeats every
//! decision. [`Header`] and [`Turn`] make its lines, [`RecordingReader`] reads them, and [`Replay`]
//! feeds them to a machine of its own. Nothing here opens a file or reads a clock, so a simulated
//! node is recorded in the same way as a live one.
//!
//! A recording is JSON, one object per line: the [`Header`], then the [`Turn`]s, then, unless the
//! file was cut short, the reason why it ended. The turns are the serde form of
//! [`Input`](crate::failover::Input) and [`Action`](crate::failover::Action) and nothing else, so
//! there is no second schema to keep up to date. The monitor compresses the lines with gzip.
//! `docs/recordings.md` describes the format.

mod header;
mod reader;
mod replay;
mod timeline;
mod turn;

pub use header::{FORMAT, Header};
pub use reader::{RecordedLine, RecordingReader, Unreadable};
pub use replay::{ACTIONS_A_TURN, Difference, Replay, difference};
pub use timeline::{EntryKind, Timeline, TimelineEntry, call_words, clock};
pub use turn::{Turn, end_line};

#[cfg(test)]
mod tests;
