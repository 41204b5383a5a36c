//! A recording as a timeline: the inputs that changed something, and the actions that followed,
//! with their reasons.
//!
//! Heartbeats, echoes and reads that showed no change are counted and folded into one line.

mod actions;
mod inputs;
mod names;
mod routine;
mod state;

use std::time::Duration;

use serde::Serialize;

pub use names::clock;

use self::actions::CallsInFlight;
use self::inputs::Observed;
use self::names::Names;
use self::routine::RoutineCounts;
use super::{Header, Replay, Turn};
use crate::failover::Action;
use crate::types::{Roster, Time, millis};

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// An input.
    Input,
    /// An event, in the words of the node's log.
    Event,
    /// An action.
    Action,
    /// Routine inputs and actions since the line before, counted.
    Folded,
    /// What the node knows, and its timers.
    State,
}

/// A line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// The time since the start of the recording. Milliseconds in JSON.
    #[serde(rename = "at_ms", with = "millis")]
    pub at: Duration,
    /// The kind of the line.
    pub kind: EntryKind,
    /// The text.
    pub text: String,
}

/// A call to EC2 or to the disk, in words, with the names of the roster; none for other actions.
#[must_use]
pub fn call_words(action: &Action, roster: &Roster) -> Option<String> {
    actions::call(action, &Names::new(roster))
}

/// Turns one recording into a timeline, turn by turn.
#[derive(Debug, Clone)]
pub struct Timeline {
    start: Time,
    verbose: bool,
    names: Names,
    observed: Observed,
    in_flight: CallsInFlight,
    routine: RoutineCounts,
}

impl Timeline {
    /// Starts a timeline. With `verbose`, each read gets a line, and each turn that gets any lines
    /// is followed by the state of the node.
    #[must_use]
    pub fn new(header: &Header, verbose: bool) -> Self {
        Self {
            start: header.start,
            verbose,
            names: Names::new(&header.roster),
            observed: Observed::new(header),
            in_flight: CallsInFlight::default(),
            routine: RoutineCounts::default(),
        }
    }

    /// The recorded node and its cluster at the start.
    #[must_use]
    pub fn opening(&self, header: &Header) -> String {
        state::opening(header, &self.names)
    }

    /// The lines of a turn. `got` are the replayed actions, and `replay` the machine after them.
    pub fn turn(&mut self, turn: &Turn, got: &[Action], replay: &Replay) -> Vec<TimelineEntry> {
        let at = turn.at.since(self.start);
        let mut lines = Vec::new();
        for input in &turn.inputs {
            let text = self.observed.learn(input, turn.at, &mut self.names, &mut self.in_flight);
            match text {
                inputs::Significance::Notable(texts) => {
                    lines.extend(texts.into_iter().map(|text| (EntryKind::Input, text)));
                }
                inputs::Significance::Routine(what) => self.routine.count(what, at),
            }
        }
        for action in got {
            let (kind, text) = actions::describe(action, got, turn.at, replay, &self.names);
            self.in_flight.start(action, turn.at, &self.names);
            match actions::routine(action) {
                Some(what) if !(self.verbose && what.is_read()) => self.routine.count(what, at),
                _ => lines.push((kind, text)),
            }
        }
        if lines.is_empty() {
            return Vec::new();
        }
        let entry = |(kind, text)| TimelineEntry { at, kind, text };
        let folded = self.close();
        let mut entries: Vec<TimelineEntry> = folded.into_iter().collect();
        entries.extend(lines.into_iter().map(entry));
        if self.verbose {
            let view = state::lines(replay.machine(), turn.at, &self.names);
            entries.extend(view.into_iter().map(|text| entry((EntryKind::State, text))));
        }
        entries
    }

    /// The routine inputs and actions since the last line.
    pub fn close(&mut self) -> Option<TimelineEntry> {
        let (at, text) = self.routine.take(&self.names)?;
        Some(TimelineEntry { at, kind: EntryKind::Folded, text })
    }
}
