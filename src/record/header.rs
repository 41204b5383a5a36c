//! The first line: everything that a machine is made from.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::turn::json_line;
use crate::config::Timing;
use crate::failover::{Latches, Machine};
use crate::types::{Fitness, InstanceId, Roster, SessionId, Time};

/// The version of the format that is written and read.
pub const FORMAT: u32 = 2;

/// A longer duration than any setting allows. A file that has one is damaged.
const LONGEST: Duration = Duration::from_hours(24 * 366);
/// More lost heartbeats than any setting allows.
const MOST_LOST: u32 = 10_000;

/// Everything that a machine is made from, and where the recording comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of the format.
    #[serde(rename = "natha_recording")]
    pub format: u32,
    /// The version of natha that made the decisions.
    pub natha: String,
    /// What the recording shows, or which regression a kept case guards against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The wall clock's time when the machine was created (RFC 3339), to find the matching log
    /// lines. No decision uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<String>,
    /// The recorded node.
    pub me: InstanceId,
    /// The session of its monitor, which also seeds its jitter.
    pub session: SessionId,
    /// When the machine was created, in nanoseconds since the host booted.
    #[serde(rename = "start_ns")]
    pub start: Time,
    /// The digest of the settings that all members share.
    pub settings_digest: u64,
    /// The timing and failover settings.
    pub timing: Timing,
    /// The cluster as it was known at the start.
    pub roster: Roster,
    /// The peers that an earlier run of the monitor had stopped.
    pub stopped: BTreeSet<InstanceId>,
    /// The nodes that earlier runs of the monitor had heard since the host booted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub heard: BTreeSet<InstanceId>,
    /// The nodes that were heard before the host booted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub heard_long_ago: BTreeSet<InstanceId>,
    /// The latches that were in force when the last run ended.
    #[serde(default, skip_serializing_if = "is_unlatched")]
    pub latches: Latches,
    /// What the host knew of itself when the machine was created.
    #[serde(default, skip_serializing_if = "Fitness::is_proven")]
    pub fitness: Fitness,
}

/// Whether a header says nothing of latches.
fn is_unlatched(latches: &Latches) -> bool {
    !latches.is_latched()
}

impl Header {
    /// The header of a machine that is created with these values, on a host with no fault and all
    /// evidence, and that has stopped and heard no peer yet.
    #[must_use]
    pub fn new(
        me: &InstanceId,
        session: SessionId,
        timing: Timing,
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
            timing,
            roster: roster.clone(),
            stopped: BTreeSet::new(),
            heard: BTreeSet::new(),
            heard_long_ago: BTreeSet::new(),
            latches: Latches::default(),
            fitness: Fitness::fit(),
        }
    }

    /// Creates the machine that this describes.
    ///
    /// # Panics
    /// If the roster does not contain this node. A header that was read always does.
    #[must_use]
    pub fn machine(&self) -> Machine {
        let mut machine = Machine::new(
            &self.me,
            self.session,
            self.timing.clone(),
            self.settings_digest,
            &self.roster,
            self.start,
        );
        machine.recall(self.stopped.clone());
        machine.recognize(self.heard.clone(), self.heard_long_ago.clone());
        machine.recall_latches(self.latches.clone());
        machine.presume(self.fitness.clone());
        machine
    }

    /// The header as the first line of a recording, line break included.
    #[must_use]
    pub fn to_line(&self) -> String {
        json_line(self)
    }

    /// Reads the first line of a recording.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        /// The two fields that every version of the format has.
        #[derive(Deserialize)]
        struct Origin {
            natha_recording: u32,
            natha: Option<String>,
        }
        let origin: Origin = serde_json::from_str(line)
            .map_err(|error| format!("this is not a recording made by natha: {error}"))?;
        if origin.natha_recording != FORMAT {
            let writer = origin.natha.unwrap_or_else(|| "of unknown version".to_owned());
            return Err(format!(
                "the recording has format {}, written by natha {writer}. This natha ({}) reads \
                 only format {FORMAT}. Replay the file with the build that recorded it, or record \
                 again",
                origin.natha_recording,
                env!("CARGO_PKG_VERSION"),
            ));
        }
        let header: Self = serde_json::from_str(line).map_err(|error| error.to_string())?;
        header.check()?;
        Ok(header)
    }

    /// Checks what a machine relies on.
    fn check(&self) -> Result<(), String> {
        if self.roster.member(&self.me).is_none() {
            return Err(format!("the roster does not contain this node, {}", self.me));
        }
        let Timing { repair, hand_back, .. } = &self.timing;
        let spans = [
            ("interval", self.timing.interval),
            ("daemon_grace", self.timing.daemon_grace),
            ("first_contact", self.timing.first_contact),
            ("read_valid", self.timing.read_valid),
            ("reread", self.timing.reread),
            ("repair.after", repair.after),
            ("repair.settle", repair.settle),
            ("repair.stagger", repair.stagger),
            ("repair.patience", repair.patience),
            ("hand_back.hold", hand_back.hold),
            ("hand_back.hold_max", hand_back.hold_max),
        ];
        if let Some((name, _)) = spans.iter().find(|(_, span)| *span > LONGEST) {
            return Err(format!("timing: {name} is longer than a year"));
        }
        if self.timing.lost_after > MOST_LOST || self.timing.lost_after == 0 {
            return Err(format!("timing: lost_after is not in 1 to {MOST_LOST}"));
        }
        Ok(())
    }
}
