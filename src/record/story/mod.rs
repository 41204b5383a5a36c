//! A recording told as a story: what came in and mattered, what followed from it and why.
//!
//! Heartbeats, echoes and reads that told nothing new are counted and folded into one line.

mod actions;
mod fold;
mod inputs;
mod state;
mod words;

use std::time::Duration;

use serde::Serialize;

pub use words::clock;

use self::actions::Pending;
use self::fold::Fold;
use self::inputs::Known;
use self::words::Names;
use super::{Header, Replay, Turn};
use crate::failover::Action;
use crate::types::{Time, millis};

/// What a line of the story is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Something came in.
    Input,
    /// What the node made of it, in its own words.
    Event,
    /// Something was done.
    Action,
    /// What came and went meanwhile without telling anything new.
    Folded,
    /// What the node knows, and what it waits for.
    State,
}

/// A line of the story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When, since the start of the recording.
    #[serde(rename = "at_ms", with = "millis")]
    pub at: Duration,
    /// What it is.
    pub kind: Kind,
    /// What happened, in a sentence.
    pub text: String,
}

/// Tells the story of one recording, turn by turn.
#[derive(Debug, Clone)]
pub struct Story {
    start: Time,
    verbose: bool,
    names: Names,
    known: Known,
    pending: Pending,
    fold: Fold,
}

impl Story {
    /// Begins one. With `verbose`, reads are told one by one, and everything that happened is
    /// followed by what the node knew then.
    #[must_use]
    pub fn new(header: &Header, verbose: bool) -> Self {
        Self {
            start: header.start,
            verbose,
            names: Names::new(&header.roster),
            known: Known::new(&header.me, header.session, &header.numbers, &header.roster),
            pending: Pending::default(),
            fold: Fold::default(),
        }
    }

    /// Who and what the recording is of, before anything happens.
    #[must_use]
    pub fn opening(&self, header: &Header) -> String {
        state::opening(header, &self.names)
    }

    /// What is to be told of a turn. `got` is what came out of it, and `replay` what it was fed to.
    pub fn turn(&mut self, turn: &Turn, got: &[Action], replay: &Replay) -> Vec<Moment> {
        let at = turn.at.since(self.start);
        let mut told = Vec::new();
        for input in &turn.inputs {
            let text = self.known.learn(input, turn.at, &mut self.names, &mut self.pending);
            match text {
                inputs::News::Worth(texts) => {
                    told.extend(texts.into_iter().map(|text| (Kind::Input, text)));
                }
                inputs::News::Routine(what) => self.fold.count(what, at),
            }
        }
        for action in got {
            let (kind, text) = actions::tell(action, got, turn.at, replay, &self.names);
            self.pending.begins(action, turn.at, &self.names);
            match actions::routine(action) {
                Some(what) if !(self.verbose && what.is_read()) => self.fold.count(what, at),
                _ => told.push((kind, text)),
            }
        }
        if told.is_empty() {
            return Vec::new();
        }
        let moment = |(kind, text)| Moment { at, kind, text };
        let folded = self.close();
        let mut moments: Vec<Moment> = folded.into_iter().collect();
        moments.extend(told.into_iter().map(moment));
        if self.verbose {
            let view = state::lines(replay.machine(), turn.at, &self.names);
            moments.extend(view.into_iter().map(|text| moment((Kind::State, text))));
        }
        moments
    }

    /// What was counted since the last line that was told.
    pub fn close(&mut self) -> Option<Moment> {
        let (at, text) = self.fold.take(&self.names)?;
        Some(Moment { at, kind: Kind::Folded, text })
    }
}
