//! From a recording to a story, with what the history does not keep: heartbeats, echo and reads.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::fact::{FORMAT, Fact, Line, Run};
use super::lanes::{Lane, LaneKind, Mark, Span, Story, Tone};
use super::ledger::changes;
use super::scribe::Scribe;
use crate::failover::{Action, Input};
use crate::record::{Header, Turn};
use crate::types::{Evidence, InstanceId, Roster, Time, display_duration};

/// How long echo replies may be apart and still be shown as one span: they are asked for once a
/// second while all is well.
const ECHO_GAP: Duration = Duration::from_millis(2_500);

/// Collects what a recording shows.
#[derive(Debug, Clone)]
pub struct Recorded {
    start: Time,
    wall_ms: u64,
    lines: Vec<Line>,
    scribe: Scribe,
    /// The longest time between two heartbeats that is no silence.
    beat_gap: Duration,
    beats: BTreeMap<InstanceId, Vec<Span>>,
    echoes: BTreeMap<InstanceId, Vec<Span>>,
    answers: Vec<Mark>,
}

impl Recorded {
    /// Begins with the header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let wall = header.wall.as_deref().and_then(|text| humantime::parse_rfc3339(text).ok());
        let since_1970 = wall.and_then(|wall| wall.duration_since(UNIX_EPOCH).ok());
        let wall_ms = since_1970.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(0));
        let run = Run {
            format: FORMAT,
            natha: header.natha.clone(),
            cluster: String::new(),
            node: header.me.clone(),
            boot: String::new(),
            names: names_of(&header.roster),
            continued: false,
        };
        let mut recorded = Self {
            start: header.start,
            wall_ms,
            lines: Vec::new(),
            scribe: Scribe::new(header.me.clone(), header.roster.clone()).with_reads(),
            beat_gap: header.timing.interval * 2,
            beats: BTreeMap::new(),
            echoes: BTreeMap::new(),
            answers: Vec::new(),
        };
        recorded.add(header.start, Fact::Run(run));
        recorded
    }

    /// Takes in a turn; `got` are the actions of the replay.
    pub fn turn(&mut self, turn: &Turn, got: &[Action]) {
        for input in &turn.inputs {
            match input {
                Input::Beat { from, at, .. } => {
                    heard(self.beats.entry(from.clone()).or_default(), *at, self.beat_gap);
                }
                Input::Echo { from, at } => {
                    heard(self.echoes.entry(from.clone()).or_default(), *at, ECHO_GAP);
                }
                Input::Answered { evidence, .. } => {
                    let label = match evidence {
                        Evidence::Uplink => "a probe of the uplink was answered",
                        Evidence::Transit => "a probe of the forward path was answered",
                    };
                    let (at, label) = (turn.at, label.to_owned());
                    self.answers.push(Mark { at, tone: Tone::Good, label });
                }
                Input::Roster { roster } => self.scribe.enrol(roster),
                Input::Done { id, outcome } => {
                    if let Some(fact) = self.scribe.ended(*id, outcome, turn.at) {
                        self.add(turn.at, fact);
                    }
                }
                Input::Fitness { .. } | Input::ServiceChecks { .. } | Input::Command { .. } => {}
            }
        }
        for action in got {
            if let Some(fact) = self.scribe.action(action, turn.at) {
                self.add(turn.at, fact);
            }
        }
    }

    /// The facts so far.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The story from one time to another, both since the start of the recording; none if nothing
    /// happened between them.
    #[must_use]
    pub fn story(
        &self,
        title: &str,
        from: Option<Duration>,
        to: Option<Duration>,
    ) -> Option<Story> {
        let begin = self.start + from.unwrap_or_default();
        let is_in = |at: Time| at >= begin && to.is_none_or(|to| at <= self.start + to);
        // The first line says whose recording it is. It is always shown.
        let (first, rest) = self.lines.split_first()?;
        let first = Line { at: begin, wall_ms: self.wall_at(begin), ..first.clone() };
        let shown = rest.iter().filter(|line| is_in(line.at));
        let shown: Vec<&Line> = std::iter::once(&first).chain(shown).collect();
        let all = changes(&self.lines).into_iter();
        let changes = all.filter(|change| is_in(change.decided()) || is_in(change.end())).collect();
        let mut story = Story::of(title, &shown, changes)?;
        story.wall_ms = first.wall_ms;
        let names = &story.names;
        let mut lanes = Vec::new();
        for (what, of) in [("heartbeats from", &self.beats), ("echo from", &self.echoes)] {
            for (node, spans) in of {
                let name = names.get(node).cloned().unwrap_or_else(|| node.to_string());
                let spans = cut(spans, story.from, story.to);
                let (kind, name, marks) =
                    (LaneKind::Evidence, format!("{what} {name}"), Vec::new());
                lanes.push(Lane { kind, name, spans, marks });
            }
        }
        let marks: Vec<Mark> = self.answers.iter().filter(|mark| is_in(mark.at)).cloned().collect();
        if !marks.is_empty() {
            let (kind, name) = (LaneKind::Evidence, "probes of this host".to_owned());
            lanes.push(Lane { kind, name, spans: Vec::new(), marks });
        }
        let place = story.lanes.iter().position(|lane| lane.kind >= LaneKind::Evidence);
        let place = place.unwrap_or(story.lanes.len());
        story.lanes.splice(place..place, lanes);
        Some(story)
    }

    fn add(&mut self, at: Time, fact: Fact) {
        self.lines.push(Line { wall_ms: self.wall_at(at), at, fact });
    }

    /// The wall clock's time, in milliseconds since 1970; 0 if it is not known.
    fn wall_at(&self, at: Time) -> u64 {
        if self.wall_ms == 0 {
            return 0;
        }
        let after = u64::try_from(at.since(self.start).as_millis()).unwrap_or(u64::MAX);
        self.wall_ms.saturating_add(after)
    }
}

/// The names of the members that have one.
#[must_use]
pub fn names_of(roster: &Roster) -> BTreeMap<InstanceId, String> {
    let named = roster.members.iter().map(|member| (member.id.clone(), member.name.clone()));
    named.filter_map(|(id, name)| Some((id, name.filter(|name| !name.is_empty())?))).collect()
}

/// Adds a sign of life: to the last span, or as a new one if it comes more than `gap` later.
fn heard(spans: &mut Vec<Span>, at: Time, gap: Duration) {
    match spans.last_mut() {
        Some(last) if at.since(last.to) <= gap => last.to = last.to.max(at),
        before => {
            let label = before.map_or("heard".to_owned(), |last| {
                format!("heard again after {}", display_duration(at.since(last.to)))
            });
            spans.push(Span { from: at, to: at, tone: Tone::Good, label });
        }
    }
}

/// The spans as far as they are between two times.
fn cut(spans: &[Span], from: Time, to: Time) -> Vec<Span> {
    let shown = spans.iter().filter(|span| span.to >= from && span.from <= to);
    shown
        .map(|span| Span { from: span.from.max(from), to: span.to.min(to), ..span.clone() })
        .collect()
}
