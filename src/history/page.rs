//! A story as one self-contained page.
//!
//! The page is well-formed XML as well as HTML, and its own policy forbids every request. All texts
//! are escaped by the template engine; characters that could reorder or end text are shown by their
//! numbers.

use std::time::Duration;

use askama::Template;

use super::change::{Change, Phase};
use super::fact::wall_text;
use super::lanes::{Lane, LaneKind, Story, Tone};
use crate::types::{Time, display_duration, printable};

/// Spans and marks of a lane that are shown, at most.
const LANE_MAX: usize = 2_000;
/// Moments that are shown, at most.
const MOMENTS_MAX: usize = 5_000;
/// Divisions of the time axis, at most.
const TICKS_MAX: u32 = 5;

/// The page.
#[derive(Debug, Template)]
#[template(path = "page.html")]
struct Page {
    title: String,
    about: Vec<String>,
    ticks: Vec<Tick>,
    lanes: Vec<LaneRow>,
    changes: Vec<ChangeBox>,
    moments: Vec<MomentRow>,
    /// How many moments are not shown.
    more: usize,
}

/// A division of the time axis.
#[derive(Debug)]
struct Tick {
    left: String,
    text: String,
}

#[derive(Debug)]
struct LaneRow {
    /// The heading of its kind, on the first lane of it.
    heading: Option<&'static str>,
    name: String,
    spans: Vec<SpanBox>,
    marks: Vec<MarkBox>,
}

#[derive(Debug)]
struct SpanBox {
    left: String,
    width: String,
    tone: &'static str,
    label: String,
    when: String,
}

#[derive(Debug)]
struct MarkBox {
    left: String,
    tone: &'static str,
    label: String,
    when: String,
}

#[derive(Debug)]
struct ChangeBox {
    headline: String,
    wall: String,
    tone: &'static str,
    reason: String,
    phases: Vec<PhaseBox>,
    evidence: Vec<(String, String)>,
    calls: Vec<String>,
}

/// A phase, and how long it lasted until the next one.
#[derive(Debug)]
struct PhaseBox {
    name: &'static str,
    after: String,
    left: String,
}

#[derive(Debug)]
struct MomentRow {
    when: String,
    wall: String,
    tone: &'static str,
    what: String,
    text: String,
}

/// The story as a page.
///
/// # Panics
/// Never: writing to a string does not fail.
#[must_use]
pub fn page(story: &Story) -> String {
    let scale = Scale::of(story);
    let mut kind = None;
    let lanes = story.lanes.iter().map(|lane| {
        let heading = (kind != Some(lane.kind)).then_some(heading(lane.kind));
        kind = Some(lane.kind);
        scale.lane(lane, heading)
    });
    let page = Page {
        title: printable(&story.title),
        about: scale.about(story),
        ticks: scale.ticks(),
        lanes: lanes.collect(),
        changes: story.changes.iter().map(|change| change_box(change, story)).collect(),
        moments: scale.moments(story),
        more: story.moments.len().saturating_sub(MOMENTS_MAX),
    };
    page.render().expect("writing to a string does not fail")
}

const fn heading(kind: LaneKind) -> &'static str {
    match kind {
        LaneKind::Node => "Nodes",
        LaneKind::Group => "Routes and addresses",
        LaneKind::Evidence => "Evidence",
        LaneKind::Call => "API calls",
    }
}

/// The name of a tone in the style sheet.
const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Plain => "plain",
        Tone::Busy => "busy",
        Tone::Doubt => "doubt",
        Tone::Bad => "bad",
    }
}

/// The time axis.
#[derive(Debug, Clone, Copy)]
struct Scale {
    from: Time,
    length: Duration,
    wall_ms: u64,
}

impl Scale {
    fn of(story: &Story) -> Self {
        let length = story.to.since(story.from).max(Duration::from_millis(1));
        Self { from: story.from, length, wall_ms: story.wall_ms }
    }

    /// A duration in percent of the axis.
    fn percent(self, duration: Duration) -> String {
        let part = duration.as_secs_f64() / self.length.as_secs_f64();
        format!("{:.3}%", (part * 100.0).clamp(0.0, 100.0))
    }

    fn left(self, at: Time) -> String {
        self.percent(at.since(self.from))
    }

    /// A time as text, since the begin.
    fn when(self, at: Time) -> String {
        format!("+{:.3} s", at.since(self.from).as_secs_f64())
    }

    /// A time of the wall clock as text; empty if it is not known.
    fn wall(self, at: Time) -> String {
        if self.wall_ms == 0 {
            return String::new();
        }
        let after = u64::try_from(at.since(self.from).as_millis()).unwrap_or(u64::MAX);
        wall_text(self.wall_ms.saturating_add(after))
    }

    fn about(self, story: &Story) -> Vec<String> {
        let mut about: Vec<String> = story.about.iter().map(|line| printable(line)).collect();
        let length = display_duration(self.length);
        about.push(match self.wall_ms {
            0 => format!("{length} are shown"),
            begin => format!("{length} are shown, from {} on", wall_text(begin)),
        });
        about
    }

    /// Divisions of 1, 2 or 5 times a power of ten.
    fn ticks(self) -> Vec<Tick> {
        let steps = (0..10_u32).flat_map(|power| [1, 2, 5].map(|one| one * 10_u64.pow(power)));
        let mut steps = steps.map(Duration::from_millis);
        let Some(step) = steps.find(|step| *step * TICKS_MAX >= self.length) else {
            return Vec::new();
        };
        let places = (0..=TICKS_MAX).map(|number| step * number);
        places
            .filter(|place| *place <= self.length)
            .map(|place| Tick { left: self.percent(place), text: tick_text(place) })
            .collect()
    }

    fn lane(self, lane: &Lane, heading: Option<&'static str>) -> LaneRow {
        let spans = lane.spans.iter().take(LANE_MAX).map(|span| SpanBox {
            left: self.left(span.from),
            width: self.percent(span.to.since(span.from.max(self.from))),
            tone: class(span.tone),
            label: printable(&span.label),
            when: format!("{} to {}", self.when(span.from), self.when(span.to)),
        });
        let marks = lane.marks.iter().take(LANE_MAX).map(|mark| MarkBox {
            left: self.left(mark.at),
            tone: class(mark.tone),
            label: printable(&mark.label),
            when: self.when(mark.at),
        });
        let name = printable(&lane.name);
        LaneRow { heading, name, spans: spans.collect(), marks: marks.collect() }
    }

    fn moments(self, story: &Story) -> Vec<MomentRow> {
        let shown = story.moments.iter().take(MOMENTS_MAX);
        let row = |moment: &super::lanes::Moment| MomentRow {
            when: self.when(moment.at),
            wall: self.wall(moment.at),
            tone: class(moment.tone),
            what: printable(&moment.what),
            text: printable(&moment.text),
        };
        shown.map(row).collect()
    }
}

fn tick_text(place: Duration) -> String {
    if place.is_zero() { "0".to_owned() } else { format!("+{}", display_duration(place)) }
}

fn change_box(change: &Change, story: &Story) -> ChangeBox {
    use super::change::ChangeResult::{Done, UnderWay};
    let name = |id: &crate::types::InstanceId| {
        story.names.get(id).cloned().unwrap_or_else(|| id.to_string())
    };
    let scale =
        Scale { from: change.at, length: change.took.max(Duration::from_millis(1)), wall_ms: 0 };
    let phase = |phase: Phase, after: Duration| PhaseBox {
        name: phase.name(),
        after: format!("+{} ms", after.as_millis()),
        left: scale.percent(after),
    };
    let calls = change.calls.iter().map(|call| {
        let fault = call.fault.as_ref().map_or(String::new(), |fault| format!(": {fault}"));
        let took = display_duration(call.took);
        printable(&format!("{}: {}, {} after {took}{fault}", call.name, call.what, call.result))
    });
    let evidence = change.evidence.iter();
    ChangeBox {
        headline: printable(&change.headline(name)),
        wall: if story.wall_ms == 0 { String::new() } else { wall_text(change.wall_ms) },
        tone: match change.result {
            Done => "good",
            UnderWay => "busy",
            _ => "bad",
        },
        reason: printable(&change.reason),
        phases: change.phases.iter().map(|one| phase(one.phase, one.after)).collect(),
        evidence: evidence
            .map(|one| (format!("+{} ms", one.after.as_millis()), printable(&one.text)))
            .collect(),
        calls: calls.collect(),
    }
}
