//! Which alerts are open, which of them were sent, and what is to be sent now.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alerts::{Effect, READS, Scope, THIS_NODE, of_event, of_host};
use super::notice::{FORMAT, Notice, NoticeKind, change_text, subject};
use crate::failover::Level;
use crate::history::{Change, ChangeKind, ChangeResult, Fact, Ledger, Line, names_of, wall_text};
use crate::types::{InstanceId, Roster, Time, display_duration, printable};

/// The shortest time between two messages that begin an alert of the same key.
const AGAIN: Duration = Duration::from_mins(10);
/// How long a monitor that has started looks for the alerts of the run before.
const RECALL: Duration = Duration::from_mins(2);
/// How long a change may take before that is an alert.
const PATIENCE: Duration = Duration::from_mins(1);
/// The same for a repair: an instance stops and starts in minutes.
const PATIENCE_REPAIR: Duration = Duration::from_mins(5);

/// The node that sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The node.
    pub me: InstanceId,
    /// The cluster's name; empty if it has none.
    pub cluster: String,
    /// The names of the members that have one.
    pub names: BTreeMap<InstanceId, String>,
}

/// What outlives the monitor: what was sent, so that it is not sent again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The alerts that were sent and have not ended, by key.
    pub open: BTreeMap<String, Remembered>,
    /// When each alert was last sent, in milliseconds since 1970, by key.
    pub sent_ms: BTreeMap<String, u64>,
}

/// An alert that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// How severe it is.
    pub level: Level,
    /// Its text.
    pub text: String,
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The node that sent it.
    pub by: InstanceId,
    /// Whether all members have it.
    pub shared: bool,
    /// The node that it is about.
    pub subject: Option<InstanceId>,
}

/// The alerts of one node, and what is to be sent.
#[derive(Debug, Clone)]
pub struct Book {
    sender: Sender,
    ledger: Ledger,
    /// The members that are alive and fit.
    alive: Vec<InstanceId>,
    open: BTreeMap<String, OpenAlert>,
    /// When each alert was last sent.
    sent: BTreeMap<String, Time>,
    /// What is to be sent at the next poll.
    ready: Vec<Notice>,
    /// Notices so far.
    count: u64,
    /// Until when alerts of the run before are looked for.
    recall_until: Time,
    /// Whether the memory differs from what was last asked for.
    changed: bool,
}

#[derive(Debug, Clone)]
struct OpenAlert {
    level: Level,
    text: String,
    scope: Scope,
    since_ms: u64,
    /// When it is sent, if it still lasts.
    due: Time,
    /// The node that sends it; none before it is due.
    by: Option<InstanceId>,
    /// Whether this run has found it.
    found: bool,
}

impl Book {
    /// A book that goes on from what was remembered. `wall_ms` is the wall clock's time now, in
    /// milliseconds since 1970.
    #[must_use]
    pub fn new(sender: Sender, memory: Memory, now: Time, wall_ms: u64) -> Self {
        let at = |ms: u64| now - Duration::from_millis(wall_ms.saturating_sub(ms));
        let recalled = |one: Remembered| OpenAlert {
            level: one.level,
            text: one.text,
            scope: if one.shared { Scope::Shared(one.subject) } else { Scope::Own },
            since_ms: one.since_ms,
            due: now,
            by: Some(one.by),
            found: false,
        };
        let Memory { open, sent_ms } = memory;
        Self {
            alive: vec![sender.me.clone()],
            sender,
            ledger: Ledger::default(),
            open: open.into_iter().map(|(key, one)| (key, recalled(one))).collect(),
            sent: sent_ms.into_iter().map(|(key, ms)| (key, at(ms))).collect(),
            ready: Vec::new(),
            count: 0,
            recall_until: now + RECALL,
            changed: false,
        }
    }

    /// Takes in a fact.
    pub fn take(&mut self, line: &Line) {
        for change in self.ledger.add(line) {
            self.end(&stuck_key(&change), line.at, line.wall_ms);
            self.report_change(change, line);
        }
        let effects = match &line.fact {
            Fact::Alert(alert) => of_host(alert).into_iter().collect(),
            Fact::Event(event) => of_event(event),
            Fact::Run(_) | Fact::Call(_) | Fact::Proof(_) => Vec::new(),
        };
        for effect in effects {
            self.apply(effect, line.at, line.wall_ms);
        }
    }

    /// Takes in which members are alive and fit now, this node included if it is.
    pub fn set_alive(&mut self, alive: Vec<InstanceId>) {
        self.alive = alive;
    }

    /// Takes in the members and groups. An alert about one that is in the cluster no more ends.
    pub fn enrol(&mut self, roster: &Roster, now: Time, wall_ms: u64) {
        self.ledger.enrol(roster);
        let is_gone = |key: &&String| {
            let about = key.split_once('/').map_or("", |(_, about)| about);
            let is_member = |id: &InstanceId| roster.member(id).is_some();
            let mut names = roster.groups.iter().map(|group| group.name.as_str());
            match key.split('/').next() {
                Some("node" | "repair") => {
                    !about.parse::<InstanceId>().is_ok_and(|id| is_member(&id))
                }
                Some("foreign" | "fallback") => !names.any(|name| name == about),
                Some("change" | "api") if about != READS => {
                    let is_node = about.parse::<InstanceId>().is_ok_and(|id| is_member(&id));
                    !is_node && !names.any(|name| name == about)
                }
                _ => false,
            }
        };
        let gone: Vec<String> = self.open.keys().filter(is_gone).cloned().collect();
        for key in gone {
            self.end(&key, now, wall_ms);
        }
        self.sender.names = names_of(roster);
    }

    /// What is to be sent now.
    pub fn poll(&mut self, now: Time, wall_ms: u64) -> Vec<Notice> {
        let stuck: Vec<Change> =
            self.stuck().filter(|(due, _)| *due <= now).map(|(_, one)| one.clone()).collect();
        for change in stuck {
            let (key, text) = (stuck_key(&change), self.stuck_text(&change));
            let (level, scope, settle) = (Level::Alert, Scope::Own, Duration::ZERO);
            self.apply(Effect::Begin { key, level, text, scope, settle }, now, wall_ms);
        }
        let due: Vec<String> =
            self.due().filter(|(at, _)| *at <= now).map(|(_, key)| key.to_owned()).collect();
        for key in due {
            self.begin(&key, now, wall_ms);
        }
        if now >= self.recall_until {
            self.end_unfound(now, wall_ms);
        }
        self.sent.retain(|_, at| now.since(*at) < AGAIN);
        std::mem::take(&mut self.ready)
    }

    /// When to poll next; none if only a fact can change something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let recall = self.open.values().any(|one| !one.found).then_some(self.recall_until);
        let due = self.due().map(|(at, _)| at).chain(self.stuck().map(|(at, _)| at));
        due.chain(recall).min()
    }

    /// Whether the memory has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What is to outlive the monitor.
    #[must_use]
    pub fn memory(&self, now: Time, wall_ms: u64) -> Memory {
        let ms = |at: Time| {
            let ago = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
            wall_ms.saturating_sub(ago)
        };
        let remembered = |one: &OpenAlert| {
            let (shared, subject) = match &one.scope {
                Scope::Own => (false, None),
                Scope::Shared(subject) => (true, subject.clone()),
            };
            let (level, text, since_ms) = (one.level, one.text.clone(), one.since_ms);
            Some(Remembered { level, text, since_ms, by: one.by.clone()?, shared, subject })
        };
        let open = self.open.iter();
        Memory {
            open: open.filter_map(|(key, one)| Some((key.clone(), remembered(one)?))).collect(),
            sent_ms: self.sent.iter().map(|(key, at)| (key.clone(), ms(*at))).collect(),
        }
    }

    /// The notice of `natha notify test`.
    #[must_use]
    pub fn test(sender: &Sender, wall_ms: u64) -> Notice {
        let book = Self::new(sender.clone(), Memory::default(), Time::default(), wall_ms);
        let what = format!("test from {}", book.name(&sender.me));
        let text = "This is a test of the notices. Nothing has happened.".to_owned();
        book.notice(NoticeKind::Test, Level::Info, "test", &what, text, wall_ms)
    }

    fn apply(&mut self, effect: Effect, at: Time, wall_ms: u64) {
        match effect {
            Effect::Begin { key, level, text, scope, settle } => {
                let text = self.named(&text);
                if let Some(one) = self.open.get_mut(&key) {
                    (one.level, one.text, one.scope, one.found) = (level, text, scope, true);
                    return;
                }
                let again = self.sent.get(&key).map(|sent| *sent + AGAIN);
                let due = again.unwrap_or_default().max(at + settle);
                let (since_ms, by, found) = (wall_ms, None, true);
                self.open.insert(key, OpenAlert { level, text, scope, since_ms, due, by, found });
            }
            Effect::Once { key, level, text } => {
                if self.sent.get(&key).is_some_and(|sent| at.since(*sent) < AGAIN) {
                    return;
                }
                let text = self.named(&text);
                let what = self.worded(&key, &text);
                self.push(NoticeKind::Alert, level, &key, &what, String::new(), wall_ms);
                self.note_sent(&key, at);
            }
            Effect::End { key } => self.end(&key, at, wall_ms),
        }
    }

    /// Ends the alerts of the run before that this one has not found. A node that this monitor has
    /// never heard is in no alert, and is not well for that: its alert lasts until it is heard.
    fn end_unfound(&mut self, now: Time, wall_ms: u64) {
        let Self { open, alive, .. } = self;
        let mut over = Vec::new();
        for (key, one) in open.iter_mut().filter(|(_, one)| !one.found) {
            let node = key.strip_prefix("node/").and_then(|id| id.parse::<InstanceId>().ok());
            if node.is_some_and(|id| !alive.contains(&id)) {
                one.found = true;
            } else {
                over.push(key.clone());
            }
        }
        for key in over {
            self.end(&key, now, wall_ms);
        }
    }

    /// Decides who sends an alert that is due, and sends it if this node does.
    fn begin(&mut self, key: &str, now: Time, wall_ms: u64) {
        let Some(one) = self.open.get(key) else { return };
        let by = self.reporter(&one.scope).clone();
        if by == self.sender.me {
            let what = self.worded(key, &one.text);
            let (level, since) = (one.level, one.since_ms);
            self.push(NoticeKind::Alert, level, key, &what, String::new(), wall_ms);
            self.date_last(since);
        }
        if let Some(one) = self.open.get_mut(key) {
            one.by = Some(by);
        }
        self.note_sent(key, now);
    }

    /// Ends an alert, and sends that if this node sent its begin, or for a node that cannot.
    fn end(&mut self, key: &str, at: Time, wall_ms: u64) {
        let Some(OpenAlert { text, scope, since_ms, by: Some(by), found, .. }) =
            self.open.remove(key)
        else {
            return;
        };
        self.changed = true;
        let me = &self.sender.me;
        let stands_in = !self.alive.contains(&by) && self.reporter(&scope) == me;
        if by != *me && !stands_in {
            return;
        }
        let what = format!("over: {}", self.worded(key, &text));
        let lasted = Duration::from_millis(wall_ms.saturating_sub(since_ms));
        let mut about = format!("It lasted {}.", display_duration(lasted));
        if !found {
            about.push_str(" The monitor was restarted meanwhile, and has not found it again.");
        }
        self.push(NoticeKind::AlertEnd, Level::Info, key, &what, about, wall_ms);
        self.date_last(since_ms);
        self.note_sent(key, at);
    }

    fn report_change(&mut self, change: Change, line: &Line) {
        let level = match (change.result, change.kind) {
            (ChangeResult::Done, ChangeKind::HandOver) => Level::Info,
            (ChangeResult::Done | ChangeResult::Dropped, _) => Level::Warning,
            (ChangeResult::Failed, _) => Level::Alert,
            // The change that took its place is reported, or is still to end.
            (ChangeResult::Superseded | ChangeResult::Interrupted | ChangeResult::UnderWay, _) => {
                return;
            }
        };
        let what = change.headline(|id| self.name(id));
        let text = change_text(&change, |text| self.named(text));
        self.push(NoticeKind::Change, level, &change_key(&change), &what, text, line.wall_ms);
        if let Some(notice) = self.ready.last_mut() {
            notice.change = Some(change);
        }
    }

    fn push(
        &mut self,
        kind: NoticeKind,
        level: Level,
        key: &str,
        what: &str,
        text: String,
        wall_ms: u64,
    ) {
        self.count += 1;
        let notice = self.notice(kind, level, key, what, text, wall_ms);
        self.ready.push(notice);
    }

    fn note_sent(&mut self, key: &str, at: Time) {
        self.sent.insert(key.to_owned(), at);
        self.changed = true;
    }

    /// Says of the last notice when its alert began.
    fn date_last(&mut self, since_ms: u64) {
        if let Some(notice) = self.ready.last_mut() {
            notice.since = Some(wall_text(since_ms));
        }
    }

    fn notice(
        &self,
        kind: NoticeKind,
        level: Level,
        key: &str,
        what: &str,
        text: String,
        wall_ms: u64,
    ) -> Notice {
        let Sender { me, cluster, .. } = &self.sender;
        let subject = subject(cluster, what);
        let first = if cluster.is_empty() { what.to_owned() } else { format!("{cluster}: {what}") };
        let lines = [printable(&first), text];
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        Notice {
            format: FORMAT,
            id: format!("{me}-{wall_ms}-{}", self.count),
            kind,
            level,
            key: key.to_owned(),
            cluster: cluster.clone(),
            node: me.clone(),
            node_name: self.name(me),
            time: wall_text(wall_ms),
            subject,
            text: lines.join("\n"),
            change: None,
            since: None,
        }
    }

    /// The alerts that wait to be sent, with their times.
    fn due(&self) -> impl Iterator<Item = (Time, &str)> {
        let waiting = self.open.iter().filter(|(_, one)| one.by.is_none());
        waiting.map(|(key, one)| (one.due, key.as_str()))
    }

    /// The open changes that are no alert yet, and when they become one.
    fn stuck(&self) -> impl Iterator<Item = (Time, &Change)> {
        let open =
            self.ledger.open().filter(move |change| !self.open.contains_key(&stuck_key(change)));
        open.map(|change| (change.decided() + patience(change), change))
    }

    fn stuck_text(&self, change: &Change) -> String {
        let what = change.headline(|id| self.name(id));
        format!("{what} for more than {}", display_duration(patience(change)))
    }

    /// The node that sends an alert: the one that has it, or the first of those that have it.
    fn reporter(&self, scope: &Scope) -> &InstanceId {
        let Scope::Shared(subject) = scope else { return &self.sender.me };
        let others = self.alive.iter().filter(|id| Some(*id) != subject.as_ref());
        others.min().unwrap_or(&self.sender.me)
    }

    /// A text after what its key is about. That about a change says it itself.
    fn worded(&self, key: &str, text: &str) -> String {
        if key.starts_with("change/") {
            text.to_owned()
        } else {
            format!("{}: {text}", self.about(key))
        }
    }

    /// What a key is about, in words.
    fn about(&self, key: &str) -> String {
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        let last = rest.rsplit('/').next().unwrap_or(rest);
        match (kind, last.parse::<InstanceId>()) {
            (_, Ok(node)) => self.name(&node),
            ("foreign" | "fallback" | "api" | "event", _)
                if ![READS, THIS_NODE].contains(&last) =>
            {
                format!("group {last}")
            }
            _ => self.name(&self.sender.me),
        }
    }

    fn name(&self, node: &InstanceId) -> String {
        self.sender.names.get(node).cloned().unwrap_or_else(|| node.to_string())
    }

    /// A text with the names of the nodes in place of their ids.
    fn named(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.sender.names {
            if text.contains(id.as_str()) {
                text = text.replace(id.as_str(), name);
            }
        }
        text
    }
}

fn change_key(change: &Change) -> String {
    let group = change.group.as_ref().map(ToString::to_string);
    let node = || change.from.as_ref().map(ToString::to_string);
    group.or_else(node).unwrap_or_default()
}

fn stuck_key(change: &Change) -> String {
    format!("change/{}", change_key(change))
}

fn patience(change: &Change) -> Duration {
    if change.kind == ChangeKind::Repair { PATIENCE_REPAIR } else { PATIENCE }
}
