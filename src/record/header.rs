//! The first line: everything a machine is made of.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Failover;
use crate::failover::Machine;
use crate::types::{InstanceId, Roster, SessionId, Time};

/// The version of the format that is written and read.
pub const FORMAT: u32 = 1;

/// No setting is longer. Where a file says so, it is damaged.
const LONGEST: Duration = Duration::from_hours(24 * 366);
/// No setting asks for more lost heartbeats.
const MOST_LOST: u32 = 10_000;

/// Everything a machine is made of, and where the recording comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of the format.
    #[serde(rename = "natha_recording")]
    pub format: u32,
    /// The version of natha that made the decisions.
    pub natha: String,
    /// What the recording is of, or, for a kept case, what it keeps from coming back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The wall clock's time when the machine was made (RFC 3339), for finding the log lines that
    /// belong to it. No decision uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<String>,
    /// The node that decided.
    pub me: InstanceId,
    /// The session of its monitor; also what its noise is made from.
    pub session: SessionId,
    /// When the machine was made, in nanoseconds since the host booted. All other times are
    /// relative to it.
    #[serde(rename = "start_ns", with = "nanoseconds")]
    pub start: Time,
    /// The digest of the settings that all members share.
    pub settings_digest: u64,
    /// The numbers behind every decision.
    pub numbers: Failover,
    /// The cluster as it was known at the start.
    pub roster: Roster,
    /// The peers that an earlier run of the monitor had stopped.
    pub stopped: BTreeSet<InstanceId>,
}

impl Header {
    /// The header of a machine that was made with these values, `stopped` recalled.
    #[must_use]
    pub fn new(
        me: &InstanceId,
        session: SessionId,
        numbers: Failover,
        settings_digest: u64,
        roster: &Roster,
        start: Time,
    ) -> Self {
        Self {
            format: FORMAT,
            natha: env!("CARGO_PKG_VERSION").to_owned(),
            why: None,
            wall: None,
            me: me.clone(),
            session,
            start,
            settings_digest,
            numbers,
            roster: roster.clone(),
            stopped: BTreeSet::new(),
        }
    }

    /// The machine that this tells of.
    ///
    /// # Panics
    /// If the roster does not contain this node. No header that was read is so.
    #[must_use]
    pub fn machine(&self) -> Machine {
        let mut machine = Machine::new(
            &self.me,
            self.session,
            self.numbers.clone(),
            self.settings_digest,
            &self.roster,
            self.start,
        );
        machine.recall(self.stopped.clone());
        machine
    }

    /// Reads the first line of a recording.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            natha_recording: u32,
        }
        let format: Format = serde_json::from_str(line)
            .map_err(|error| format!("this is no recording of natha: {error}"))?;
        if format.natha_recording != FORMAT {
            return Err(format!(
                "the recording has format {}, and natha {} reads format {FORMAT} only: replay it \
                 with the version that wrote it",
                format.natha_recording,
                env!("CARGO_PKG_VERSION"),
            ));
        }
        let header: Self = serde_json::from_str(line).map_err(|error| error.to_string())?;
        header.check()?;
        Ok(header)
    }

    /// What a machine relies on.
    fn check(&self) -> Result<(), String> {
        if self.roster.member(&self.me).is_none() {
            return Err(format!("the roster does not contain this node, {}", self.me));
        }
        let Failover { repair, hand_back, .. } = &self.numbers;
        let spans = [
            ("interval", self.numbers.interval),
            ("daemon_grace", self.numbers.daemon_grace),
            ("first_contact", self.numbers.first_contact),
            ("read_valid", self.numbers.read_valid),
            ("reread", self.numbers.reread),
            ("repair.after", repair.after),
            ("repair.settle", repair.settle),
            ("repair.stagger", repair.stagger),
            ("repair.patience", repair.patience),
            ("hand_back.hold", hand_back.hold),
            ("hand_back.hold_max", hand_back.hold_max),
        ];
        if let Some((name, _)) = spans.iter().find(|(_, span)| *span > LONGEST) {
            return Err(format!("numbers: {name} is longer than a year"));
        }
        if self.numbers.lost_after > MOST_LOST || self.numbers.lost_after == 0 {
            return Err(format!("numbers: lost_after is not in 1 to {MOST_LOST}"));
        }
        Ok(())
    }
}

mod nanoseconds {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::Time;

    pub(super) fn serialize<S: Serializer>(value: &Time, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.since_boot().as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        u64::deserialize(from).map(|ns| Time::from_boot(std::time::Duration::from_nanos(ns)))
    }
}
