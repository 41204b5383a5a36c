//! What happened in a stretch of time, as lanes: nodes, groups, evidence and API calls.

use std::collections::BTreeMap;
use std::time::Duration;

use super::change::{Change, ChangeResult};
use super::fact::{AlertChange, Call, Fact, Line, Run};
use super::select::bounds;
use crate::failover::{Event, EventKind, Level};
use crate::status::kind_name;
use crate::types::{InstanceId, Time, display_duration};

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// What it is about, in one line.
    pub title: String,
    /// The node and its cluster, one line each.
    pub about: Vec<String>,
    /// Where it begins.
    pub from: Time,
    /// Where it ends.
    pub to: Time,
    /// The wall clock at its begin, in milliseconds since 1970; 0 if it is not known.
    pub wall_ms: u64,
    /// The lanes, in the order in which they are shown.
    pub lanes: Vec<Lane>,
    /// Everything that has a text, in order.
    pub moments: Vec<Moment>,
    /// The changes in it.
    pub changes: Vec<Change>,
    /// The names of the nodes.
    pub names: BTreeMap<InstanceId, String>,
}

/// What a lane is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneKind {
    /// The state of a node, as the writing node saw it.
    Node,
    /// Who has a group.
    Group,
    /// One kind of evidence, or an alert.
    Evidence,
    /// One kind of API call.
    Call,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// What it is about.
    pub kind: LaneKind,
    /// Its name.
    pub name: String,
    /// What lasts, in order.
    pub spans: Vec<Span>,
    /// What happens at one time, in order.
    pub marks: Vec<Mark>,
}

/// Something that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// When it begins.
    pub from: Time,
    /// When it ends.
    pub to: Time,
    /// How good it is.
    pub tone: Tone,
    /// What it is.
    pub label: String,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When it happens.
    pub at: Time,
    /// How good it is.
    pub tone: Tone,
    /// What it is.
    pub label: String,
}

/// A line of the list below the lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When it happened.
    pub at: Time,
    /// How good it is.
    pub tone: Tone,
    /// Its kind.
    pub what: String,
    /// The text.
    pub text: String,
}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Neither.
    Plain,
    /// It changes.
    Busy,
    /// In doubt.
    Doubt,
    /// Wrong.
    Bad,
}

impl Story {
    /// What lines of one node show from their first time to their last one; none if there are no
    /// lines.
    #[must_use]
    pub fn of(title: &str, lines: &[&Line], changes: Vec<Change>) -> Option<Self> {
        let (from, to) = bounds(lines)?;
        let first = lines.iter().find(|line| line.at == from)?;
        let mut draft = Draft::new(from, to.max(from + Duration::from_millis(1)));
        for line in lines {
            draft.line(line);
        }
        for change in &changes {
            draft.change(change);
        }
        let mut story = draft.finish(title, changes);
        story.wall_ms = first.wall_ms;
        Some(story)
    }
}

/// The lanes so far, by what they are about.
#[derive(Debug)]
struct Draft {
    from: Time,
    to: Time,
    run: Option<Run>,
    lanes: BTreeMap<(LaneKind, String), Lane>,
    moments: Vec<Moment>,
}

impl Draft {
    fn new(from: Time, to: Time) -> Self {
        Self { from, to, run: None, lanes: BTreeMap::new(), moments: Vec::new() }
    }

    fn line(&mut self, line: &Line) {
        match &line.fact {
            Fact::Run(run) => self.run(run, line.at),
            Fact::Event(event) => self.event(event, line.at),
            Fact::Alert(alert) => self.alert(alert, line.at),
            Fact::Call(call) => self.call(call, line.at),
            Fact::Proof(proof) => {
                let label = format!("a probe by {} was answered", proof.address);
                let group = proof.group.as_ref().map_or("no group".to_owned(), ToString::to_string);
                self.mark((LaneKind::Group, group), line.at, Tone::Good, &label);
                self.moment(line.at, Tone::Good, "proof", &label);
            }
        }
    }

    fn run(&mut self, run: &Run, at: Time) {
        if !run.continued {
            let name = run.name_of(&run.node);
            self.mark((LaneKind::Node, name), at, Tone::Plain, "the monitor starts");
            self.moment(at, Tone::Plain, "run", &format!("natha {} starts", run.natha));
        }
        self.run = Some(run.clone());
    }

    fn event(&mut self, event: &Event, at: Time) {
        let text = self.named(&event.text);
        let tone = tone(event.level);
        let kind = kind_name(event.kind);
        self.moment(at, tone, kind, &about(event, &text, |id| self.name(id)));
        match (event.kind, &event.node) {
            (EventKind::Verdict, Some(node)) => {
                let lane = (LaneKind::Node, self.name(node));
                match verdicts(&text) {
                    Some((now, before)) => self.state(lane, at, (now, tone_of(now)), Some(before)),
                    None => self.mark(lane, at, tone, &text),
                }
            }
            (EventKind::Fitness, _) => {
                let me = self.run.as_ref().map_or("this node".to_owned(), |r| r.name_of(&r.node));
                let fitness = text.strip_prefix("this node is now: ").unwrap_or(&text).to_owned();
                self.state((LaneKind::Node, me), at, (fitness.as_str(), tone), None);
            }
            // They are spans of their group, or calls.
            (
                EventKind::TakeoverBegun
                | EventKind::TakeoverDone
                | EventKind::HandOverBegun
                | EventKind::HandOverDone,
                _,
            ) => {}
            _ => self.mark((LaneKind::Evidence, kind.to_owned()), at, tone, &text),
        }
    }

    fn alert(&mut self, alert: &AlertChange, at: Time) {
        let lane = (LaneKind::Evidence, format!("alert {}", alert.name));
        let (tone, text) = match &alert.text {
            Some(text) => (Tone::Doubt, self.named(text)),
            None => (Tone::Good, "over".to_owned()),
        };
        self.moment(at, tone, "alert", &format!("{}: {text}", alert.name));
        if alert.text.is_some() {
            self.state(lane, at, (text.as_str(), tone), None);
        } else if let Some(span) = self.lanes.get_mut(&lane).and_then(|lane| lane.spans.last_mut())
        {
            span.to = at;
        }
    }

    fn call(&mut self, call: &Call, at: Time) {
        let tone = if call.is_ok() { Tone::Good } else { Tone::Bad };
        let fault = call.fault.as_ref().map_or(String::new(), |fault| format!(": {fault}"));
        let took = display_duration(call.took);
        let text = self.named(&format!("{}, {} after {took}{fault}", call.what, call.result));
        let span = Span { from: at - call.took, to: at, tone, label: text.clone() };
        self.lane((LaneKind::Call, call.name.clone())).spans.push(span);
        self.moment(at, tone, &call.name, &text);
    }

    /// A change as a span in its group's lane, between those of its holders.
    fn change(&mut self, change: &Change) {
        let Some(group) = &change.group else { return };
        let key = (LaneKind::Group, group.to_string());
        let decided = change.decided();
        let from = self.holder(change.from.as_ref());
        let to = change.gateway.clone().unwrap_or_else(|| self.holder(change.to.as_ref()));
        let label = change.headline(|id| self.name(id));
        let (begin, end) = (self.from, self.to);
        let spans = &mut self.lane(key).spans;
        match spans.last_mut() {
            Some(last) => last.to = last.to.min(decided),
            None if decided > begin => {
                let label = format!("on {from}");
                spans.push(Span { from: begin, to: decided, tone: Tone::Plain, label });
            }
            None => {}
        }
        let tone = if change.result == ChangeResult::Failed { Tone::Bad } else { Tone::Busy };
        spans.push(Span { from: decided, to: change.end().max(decided), tone, label });
        if change.result == ChangeResult::Done && change.end() < end {
            let label = format!("on {to}");
            let tone = if change.gateway.is_some() { Tone::Bad } else { Tone::Good };
            spans.push(Span { from: change.end(), to: end, tone, label });
        }
    }

    /// Ends the lane's last state and begins a new one, which lasts until the next or to the end.
    /// `before` is what the first one followed.
    fn state(
        &mut self,
        lane: (LaneKind, String),
        at: Time,
        (label, tone): (&str, Tone),
        before: Option<&str>,
    ) {
        let (begin, end) = (self.from, self.to);
        let spans = &mut self.lane(lane).spans;
        match (spans.last_mut(), before) {
            (Some(last), _) => last.to = last.to.min(at),
            (None, Some(before)) if at > begin => {
                let (tone, label) = (tone_of(before), before.to_owned());
                spans.push(Span { from: begin, to: at, tone, label });
            }
            (None, _) => {}
        }
        spans.push(Span { from: at, to: end, tone, label: label.to_owned() });
    }

    fn mark(&mut self, lane: (LaneKind, String), at: Time, tone: Tone, label: &str) {
        self.lane(lane).marks.push(Mark { at, tone, label: label.to_owned() });
    }

    fn moment(&mut self, at: Time, tone: Tone, what: &str, text: &str) {
        let (what, text) = (what.to_owned(), text.to_owned());
        self.moments.push(Moment { at, tone, what, text });
    }

    fn lane(&mut self, key: (LaneKind, String)) -> &mut Lane {
        let (kind, name) = key.clone();
        let empty = Lane { kind, name, spans: Vec::new(), marks: Vec::new() };
        self.lanes.entry(key).or_insert(empty)
    }

    fn name(&self, node: &InstanceId) -> String {
        self.run.as_ref().map_or_else(|| node.to_string(), |run| run.name_of(node))
    }

    fn holder(&self, node: Option<&InstanceId>) -> String {
        node.map_or("no node".to_owned(), |node| self.name(node))
    }

    /// A text with the names of the nodes in place of their ids.
    fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in self.run.iter().flat_map(|run| &run.names) {
            if text.contains(id.as_str()) {
                text = text.replace(id.as_str(), name);
            }
        }
        text
    }

    fn finish(self, title: &str, changes: Vec<Change>) -> Story {
        let about = self.run.as_ref().map_or(Vec::new(), |run| {
            let cluster = if run.cluster.is_empty() { "no name" } else { &run.cluster };
            vec![
                format!("Seen by {} ({}), natha {}", run.name_of(&run.node), run.node, run.natha),
                format!("Cluster: {cluster}"),
            ]
        });
        Story {
            title: title.to_owned(),
            about,
            from: self.from,
            to: self.to,
            wall_ms: 0,
            lanes: self.lanes.into_values().collect(),
            moments: self.moments,
            changes,
            names: self.run.map(|run| run.names).unwrap_or_default(),
        }
    }
}

const fn tone(level: Level) -> Tone {
    match level {
        Level::Info => Tone::Plain,
        Level::Warning => Tone::Doubt,
        Level::Alert => Tone::Bad,
    }
}

/// The tone of a verdict, by its name.
fn tone_of(verdict: &str) -> Tone {
    match verdict {
        "alive" => Tone::Good,
        "leaving" | "unmet" => Tone::Plain,
        "suspected" | "sick" | "daemon down" => Tone::Doubt,
        _ => Tone::Bad,
    }
}

/// The verdicts now and before in the text of an event: `suspected (was alive): the evidence`.
fn verdicts(text: &str) -> Option<(&str, &str)> {
    let (now, rest) = text.split_once(" (was ")?;
    let (before, _) = rest.split_once(')')?;
    Some((now, before))
}

/// The text of an event, after what it is about.
fn about(event: &Event, text: &str, name: impl Fn(&InstanceId) -> String) -> String {
    let group = event.group.as_ref().map(|group| format!("group {group}"));
    let node = event.node.as_ref().map(name);
    let about: Vec<String> = group.into_iter().chain(node).collect();
    let took = event.took.map_or(String::new(), |took| format!(" ({})", display_duration(took)));
    if about.is_empty() {
        format!("{text}{took}")
    } else {
        format!("{}: {text}{took}", about.join(", "))
    }
}
