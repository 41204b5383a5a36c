//! From facts to changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::change::{Change, ChangeKind, ChangeResult, Evidence, Phase};
use super::fact::{Call, Fact, Line, Proof, Run};
use crate::failover::{Event, EventKind, Level};
use crate::types::{GroupName, InstanceId, Roster, Time};

/// Reports about a node that are kept as evidence, at most. The first and the last ones count most.
const REPORTS_MAX: usize = 16;
/// Reports of one change that are kept, at most.
const EVIDENCE_MAX: usize = 64;
/// Calls of one change that are kept, at most.
const CALLS_MAX: usize = 200;
/// How long after a change began a proof can belong to it.
const LATE_PROOF: Duration = Duration::from_mins(2);

/// Follows the facts of one node and makes changes of them. It holds the open changes only, so it
/// can run for years.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    run: Option<Run>,
    open: BTreeMap<Subject, Change>,
    /// What was reported of each node since it was last alive.
    reports: BTreeMap<InstanceId, Vec<Report>>,
    serial: u64,
}

/// What a change is about. There is one change of each at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Group(GroupName),
    Node(InstanceId),
}

#[derive(Debug, Clone)]
struct Report {
    at: Time,
    text: String,
}

impl Ledger {
    /// Takes in the next line. Returns the changes that ended with it.
    pub fn add(&mut self, line: &Line) -> Vec<Change> {
        match &line.fact {
            Fact::Run(run) => self.begin_run(run),
            Fact::Event(event) => self.event(event, line),
            Fact::Call(call) => {
                self.call(call, line.at);
                Vec::new()
            }
            Fact::Proof(proof) => {
                self.proof(proof, line.at);
                Vec::new()
            }
            Fact::Alert(_) => Vec::new(),
        }
    }

    /// The changes that have not ended.
    pub fn open(&self) -> impl Iterator<Item = &Change> {
        self.open.values()
    }

    /// Forgets what is known of groups and nodes that have left the cluster. Their open changes
    /// never end.
    pub fn enrol(&mut self, roster: &Roster) {
        self.reports.retain(|id, _| roster.member(id).is_some());
        self.open.retain(|subject, _| match subject {
            Subject::Group(name) => roster.groups.iter().any(|group| group.name == *name),
            Subject::Node(id) => roster.member(id).is_some(),
        });
    }

    fn begin_run(&mut self, run: &Run) -> Vec<Change> {
        let before = self.run.replace(run.clone());
        if run.continued || before.is_none() {
            return Vec::new();
        }
        self.reports.clear();
        let open = std::mem::take(&mut self.open).into_values();
        open.map(|change| Change { result: ChangeResult::Interrupted, ..change }).collect()
    }

    fn event(&mut self, event: &Event, line: &Line) -> Vec<Change> {
        let is_end = event.took.is_some();
        let ended = match event.kind {
            EventKind::Verdict => {
                self.report(event, line.at);
                None
            }
            EventKind::TakeoverBegun => self.begin(ChangeKind::Takeover, event, line),
            EventKind::HandOverBegun => self.begin(ChangeKind::HandOver, event, line),
            EventKind::Drift if !is_end => self.begin(ChangeKind::Correction, event, line),
            EventKind::Drift if event.level != Level::Info => {
                self.end(ChangeResult::Failed, event, line.at)
            }
            EventKind::Fallback => self.fallback(event, line),
            EventKind::TakeoverFailed => self.end(ChangeResult::Failed, event, line.at),
            EventKind::HandOverDropped if is_end => self.end(ChangeResult::Failed, event, line.at),
            EventKind::HandOverDropped => {
                let dropped = self.draft(ChangeKind::HandOver, event, line);
                dropped.map(|change| Change { result: ChangeResult::Dropped, ..change })
            }
            EventKind::TakeoverDone
            | EventKind::HandOverDone
            | EventKind::Drift
            | EventKind::RepairDone => self.end(ChangeResult::Done, event, line.at),
            EventKind::RepairStop | EventKind::RepairStart | EventKind::RepairBlocked => {
                self.repair(event, line)
            }
            _ => None,
        };
        ended.into_iter().collect()
    }

    /// Notes what is reported of a node.
    fn report(&mut self, event: &Event, at: Time) {
        let Some(node) = &event.node else { return };
        if let Some(repair) = self.open.get_mut(&Subject::Node(node.clone())) {
            add_evidence(repair, at, &event.text);
        }
        if event.level == Level::Info {
            // It is well, leaving on purpose, or was never heard: what was before is over.
            self.reports.remove(node);
            return;
        }
        let reports = self.reports.entry(node.clone()).or_default();
        if reports.len() == REPORTS_MAX {
            // The first one says when it was noticed.
            reports.remove(1);
        }
        reports.push(Report { at, text: event.text.clone() });
    }

    /// Begins a change. Returns the one before it, if that has not ended.
    fn begin(&mut self, kind: ChangeKind, event: &Event, line: &Line) -> Option<Change> {
        let (subject, change) = (subject(event)?, self.draft(kind, event, line)?);
        let before = self.open.insert(subject, change);
        before.map(|change| Change { result: ChangeResult::Superseded, ..change })
    }

    /// A change that is decided now.
    fn draft(&mut self, kind: ChangeKind, event: &Event, line: &Line) -> Option<Change> {
        let by = self.run.as_ref()?.node.clone();
        let reports = match kind {
            ChangeKind::Takeover | ChangeKind::Repair => {
                event.node.as_ref().and_then(|node| self.reports.get(node))
            }
            ChangeKind::HandOver
            | ChangeKind::Correction
            | ChangeKind::Fallback
            | ChangeKind::Return => None,
        };
        let noticed = reports.and_then(|reports| reports.first()).map(|report| report.at);
        let at = noticed.unwrap_or(line.at).min(line.at);
        let before = u64::try_from(line.at.since(at).as_millis()).unwrap_or(u64::MAX);
        let evidence = reports
            .into_iter()
            .flatten()
            .map(|report| Evidence { after: report.at.since(at), text: report.text.clone() });
        let to = match kind {
            ChangeKind::Takeover | ChangeKind::Correction | ChangeKind::Return => Some(by.clone()),
            ChangeKind::HandOver | ChangeKind::Fallback | ChangeKind::Repair => None,
        };
        self.serial += 1;
        let mut change = Change {
            wall_ms: line.wall_ms.saturating_sub(before),
            at,
            kind,
            by,
            group: event.group.clone(),
            from: event.node.clone(),
            to,
            gateway: receiver(&event.text).filter(|_| kind == ChangeKind::Fallback),
            reason: reason(&event.text).to_owned(),
            evidence: evidence.collect(),
            result: ChangeResult::UnderWay,
            ended: None,
            took: Duration::ZERO,
            phases: Vec::new(),
            calls: Vec::new(),
            serial: self.serial,
        };
        if noticed.is_some() {
            change.set_phase(Phase::Noticed, at);
        }
        change.set_phase(Phase::Decided, line.at);
        Some(change)
    }

    /// A move to a fallback, which one node makes, or back from it, to that node.
    fn fallback(&mut self, event: &Event, line: &Line) -> Option<Change> {
        match (event.took, event.level) {
            (Some(_), Level::Info) => self.end(ChangeResult::Done, event, line.at),
            (Some(_), _) => self.end(ChangeResult::Failed, event, line.at),
            (None, Level::Warning) if event.text.starts_with("taking it back") => {
                self.begin(ChangeKind::Return, event, line)
            }
            (None, Level::Warning) => self.begin(ChangeKind::Fallback, event, line),
            (None, _) => None,
        }
    }

    fn end(&mut self, result: ChangeResult, event: &Event, at: Time) -> Option<Change> {
        let mut change = self.open.remove(&subject(event)?)?;
        if result == ChangeResult::Done {
            change.set_phase(Phase::Confirmed, at);
        }
        change.took = change.took.max(at.since(change.at));
        Some(Change { result, ended: Some(event.text.clone()), ..change })
    }

    /// A repair has several steps, each of which is reported.
    fn repair(&mut self, event: &Event, line: &Line) -> Option<Change> {
        let subject = subject(event)?;
        if let Some(change) = self.open.get_mut(&subject) {
            add_evidence(change, line.at, &event.text);
            return None;
        }
        if event.kind == EventKind::RepairBlocked {
            return None;
        }
        self.begin(ChangeKind::Repair, event, line)
    }

    fn call(&mut self, call: &Call, at: Time) {
        let changes = !call.name.starts_with("Describe") && !call.name.starts_with("List");
        let subject = match (&call.group, &call.node) {
            (Some(group), _) => Subject::Group(group.clone()),
            (None, Some(node)) => Subject::Node(node.clone()),
            (None, None) => return,
        };
        let Some(change) = self.open.get_mut(&subject).filter(|_| changes) else { return };
        if change.phase(Phase::Asked).is_none() {
            change.set_phase(Phase::Asked, at - call.took);
        }
        if call.is_ok() {
            change.set_phase(Phase::Accepted, at);
        }
        if change.kind == ChangeKind::HandOver {
            change.to = call.node.clone().or(change.to.take());
        }
        if change.calls.len() < CALLS_MAX {
            change.calls.push(call.clone());
        }
    }

    fn proof(&mut self, proof: &Proof, at: Time) {
        let Some(group) = &proof.group else { return };
        let Some(change) = self.open.get_mut(&Subject::Group(group.clone())) else { return };
        if is_here(change) {
            change.set_phase(Phase::Effective, at);
        }
    }
}

/// All changes in the lines of one node, in the order in which they were decided; the open ones
/// included.
#[must_use]
pub fn changes<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Vec<Change> {
    let mut ledger = Ledger::default();
    let mut found = Vec::new();
    for line in lines {
        if let Fact::Proof(proof) = &line.fact {
            note_late_proof(&mut found, proof, line.at);
        }
        found.extend(ledger.add(line));
    }
    found.extend(ledger.open().cloned());
    found.sort_by_key(|change| change.serial);
    found
}

/// A probe may be answered after the read that ended the change.
pub(super) fn note_late_proof(found: &mut [Change], proof: &Proof, at: Time) {
    let mut latest = found.iter_mut().rev();
    let of_group = |change: &&mut Change| change.group.is_some() && change.group == proof.group;
    let Some(change) = latest.find(of_group) else { return };
    let is_recent = change.at <= at && at.since(change.at) <= LATE_PROOF;
    let is_open = change.phase(Phase::Effective).is_none();
    if is_recent && is_open && is_here(change) && change.result == ChangeResult::Done {
        change.set_phase(Phase::Effective, at);
    }
}

/// Adds what was reported while the change was under way.
fn add_evidence(change: &mut Change, at: Time, text: &str) {
    if change.evidence.len() < EVIDENCE_MAX {
        let after = at.since(change.at);
        change.evidence.push(Evidence { after, text: text.to_owned() });
    }
}

/// Whether the group came to the node that writes.
fn is_here(change: &Change) -> bool {
    change.to.as_ref() == Some(&change.by)
}

fn subject(event: &Event) -> Option<Subject> {
    let group = event.group.clone().map(Subject::Group);
    group.or_else(|| event.node.clone().map(Subject::Node))
}

/// The receiver in the text of a change that begins.
fn receiver(text: &str) -> Option<String> {
    let (_, inner) = text.split_once(" (from ")?;
    let (_, to) = inner.split_once("): ")?.0.split_once(" to ")?;
    Some(to.to_owned())
}

/// The reason in the text of a change that begins: `taking it over (from i-… to i-…): the reason`.
fn reason(text: &str) -> &str {
    text.split_once("): ").map_or(text, |(_, reason)| reason)
}
