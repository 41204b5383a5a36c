//! The lines of a history file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::failover::Event;
use crate::types::{GroupName, InstanceId, Time, millis};

/// The version of the format. A reader skips lines that it does not know.
pub const FORMAT: u32 = 1;

/// The last millisecond of the year 9999, after which RFC 3339 has no text.
const WALL_MAX: u64 = 253_402_300_799_999;

/// A fact and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The wall clock's time in milliseconds since 1970. For display.
    pub wall_ms: u64,
    /// The time since the host booted, which durations are made of. Milliseconds in JSON.
    #[serde(rename = "at_ms", with = "millis::time")]
    pub at: Time,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

impl Line {
    /// The line as text, line break included.
    ///
    /// # Panics
    /// Never: every fact has a form in JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("every map in a fact has text keys");
        text.push('\n');
        text
    }

    /// Reads a line; none if it is not one, or is of a kind that this version does not know.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// A monitor began, or a file did.
    Run(Run),
    /// The monitor reported an event.
    Event(Event),
    /// An alert about this host was raised, changed or cleared.
    Alert(AlertChange),
    /// An API call ended.
    Call(Call),
    /// A packet has proven that an address works here.
    Proof(Proof),
}

/// The monitor that writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The version of the format.
    #[serde(rename = "natha_history")]
    pub format: u32,
    /// The version of natha.
    pub natha: String,
    /// The cluster's name; empty if it has none.
    pub cluster: String,
    /// The node.
    pub node: InstanceId,
    /// The kernel's id of this boot.
    pub boot: String,
    /// The names of the members at that time.
    pub names: BTreeMap<InstanceId, String>,
    /// Whether only a file begins, and the monitor goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
}

impl Run {
    /// A node's name, or its id if it has none.
    #[must_use]
    pub fn name_of(&self, node: &InstanceId) -> String {
        self.names.get(node).cloned().unwrap_or_else(|| node.to_string())
    }
}

/// The state of an alert about this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertChange {
    /// Its name.
    pub name: String,
    /// Its text while it lasts.
    pub text: Option<String>,
}

/// An API call that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The API's name for it.
    pub name: String,
    /// What it was to do, in words.
    pub what: String,
    /// The group whose resource it moves.
    pub group: Option<GroupName>,
    /// The node that receives the resource, or is stopped or started.
    pub node: Option<InstanceId>,
    /// From the decision to the outcome. Milliseconds in JSON.
    #[serde(rename = "took_ms", with = "millis")]
    pub took: Duration,
    /// `ok`, `expired`, or the kind of the fault.
    pub result: String,
    /// The fault's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Call {
    /// Whether it was accepted.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.result == "ok"
    }
}

/// An answered probe by an egress IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The landing address that the egress IP is associated with here.
    pub address: Ipv4Addr,
    /// The group of the egress IP.
    pub group: Option<GroupName>,
}

/// A time of the wall clock as text (RFC 3339, UTC).
#[must_use]
pub fn wall_text(wall_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(wall_ms.min(WALL_MAX));
    humantime::format_rfc3339_millis(at).to_string()
}
