//! The lines after the header.

use serde::{Deserialize, Serialize};

use crate::failover::{Action, Input};
use crate::types::Time;

/// One turn of the event loop: the inputs that the machine got at one time, and the actions that
/// it returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// The time that the machine was given.
    #[serde(rename = "at_ns")]
    pub at: Time,
    /// The inputs, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Whether `Machine::tick` ran after the inputs. Written only if it did not.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub tick: bool,
    /// The actions, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

impl Turn {
    /// The turn as a line of a recording, line break included.
    #[must_use]
    pub fn to_line(&self) -> String {
        json_line(&Line::<&Self, &str>::Turn(self))
    }
}

/// The last line of a recording that was ended on purpose, line break included.
#[must_use]
pub fn end_line(reason: &str) -> String {
    json_line(&Line::<&Turn, &str>::End(reason))
}

/// A line after the header, as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line<T, R> {
    Turn(T),
    End(R),
}

/// A value as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("every map in a recording has text keys");
    line.push('\n');
    line
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_yes(value: &bool) -> bool {
    *value
}
