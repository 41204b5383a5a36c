//! The message.

use serde::Serialize;

use crate::failover::Level;
use crate::history::{Change, ChangeResult, wall_text};
use crate::types::{InstanceId, printable};

/// The version of the message's format. New fields do not change it.
pub const FORMAT: u32 = 1;

/// The longest subject, in characters: what SNS takes (SNS API reference, `Publish`).
pub const SUBJECT_MAX: usize = 99;

/// A notice, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The version of this format.
    #[serde(rename = "natha_notice")]
    pub format: u32,
    /// Unique. A repeated delivery has the same.
    pub id: String,
    /// What it reports.
    pub kind: NoticeKind,
    /// How severe it is.
    pub level: Level,
    /// What it is about. An alert and its end have the same.
    pub key: String,
    /// The cluster's name; empty if it has none.
    pub cluster: String,
    /// The node that sends it.
    pub node: InstanceId,
    /// That node's name, or its id if it has none.
    pub node_name: String,
    /// When it happened (RFC 3339).
    pub time: String,
    /// One line.
    pub subject: String,
    /// Some lines for people.
    pub text: String,
    /// The change that it reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// When the alert began (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What a notice reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// A change has ended.
    Change,
    /// An alert has begun.
    Alert,
    /// An alert has ended.
    AlertEnd,
    /// Nothing has happened: it tests the delivery.
    Test,
}

impl Notice {
    /// The message as JSON, on one line.
    ///
    /// # Panics
    /// Never: every notice has a form in JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a notice has no map and no number that JSON lacks")
    }
}

/// A subject: one line of at most [`SUBJECT_MAX`] characters.
pub(super) fn subject(cluster: &str, what: &str) -> String {
    let about = if cluster.is_empty() { String::new() } else { format!(" {cluster}") };
    let line = printable(&format!("natha{about}: {what}"));
    match line.char_indices().nth(SUBJECT_MAX) {
        None => line,
        Some(_) => line.chars().take(SUBJECT_MAX - 1).chain(['…']).collect(),
    }
}

/// The text about a change, after its subject.
pub(super) fn change_text(change: &Change, named: impl Fn(&str) -> String) -> String {
    let mut lines = vec![format!("Reason: {}", named(&change.reason))];
    let phases: Vec<String> = change
        .phases
        .iter()
        .map(|one| format!("{} +{} ms", one.phase.name(), one.after.as_millis()))
        .collect();
    lines.push(format!("Phases from {} on: {}", wall_text(change.wall_ms), phases.join(", ")));
    let failed = change.calls.iter().filter(|call| !call.is_ok());
    let failed: Vec<String> =
        failed.map(|call| named(&format!("{}: {}", call.what, call.result))).collect();
    if !failed.is_empty() {
        lines.push(format!("Failed calls: {}", failed.join("; ")));
    }
    if change.result != ChangeResult::Done
        && let Some(ended) = &change.ended
    {
        lines.push(format!("Result: {}", named(ended)));
    }
    lines.into_iter().map(|line| printable(&line)).collect::<Vec<_>>().join("\n")
}
