//! How old the readings are that other tasks than the event loop make.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::millis;

/// How long ago each source was read last. What was not read yet is missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadingAges {
    /// The members and the groups: the last discovery that succeeded.
    #[serde(
        rename = "discovery_ms",
        with = "millis::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub discovery: Option<Duration>,
    /// The state of the replication of connections.
    #[serde(rename = "flows_ms", with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub flows: Option<Duration>,
    /// How full the port space is.
    #[serde(rename = "ports_ms", with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub ports: Option<Duration>,
    /// The service checks, by group.
    #[serde(
        rename = "checks_ms",
        with = "millis::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub checks: BTreeMap<String, Duration>,
}

impl ReadingAges {
    /// Whether nothing was read yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
