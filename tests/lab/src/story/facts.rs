//! The story's facts, for programs.

use serde::Serialize;

use super::record::Moment;
use crate::meter::ping;
use crate::spec::Ec2Spec;

/// Everything that `demo --json` writes. Times are in milliseconds after the kill, negative
/// before it, unless said otherwise.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    /// Whether every step happened.
    pub ok: bool,
    /// The first step that did not happen.
    pub failed: Option<String>,
    /// Every step that was come to, in order.
    pub steps: Vec<Done>,
    /// What it comes to.
    pub summary: Summary,
    /// What the nodes' settings file said.
    pub settings: String,
    /// How the simulated EC2 behaved.
    pub ec2: Ec2Spec,
    /// What happened since the kill, from every source.
    pub timeline: Vec<Moment>,
}

/// A step that was come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Done {
    /// Its name.
    pub name: String,
    /// Whether it happened.
    pub ok: bool,
    /// When it happened; none for a step that did not, or that is no single moment.
    pub at_ms: Option<f64>,
    /// How long after the step before it.
    pub took_ms: Option<f64>,
    /// How long it was waited for at most.
    pub limit_ms: u64,
    /// What was expected.
    pub expects: String,
    /// What was seen.
    pub detail: String,
}

/// What the story comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How long the victim's private host was cut off.
    pub outage_ms: Option<f64>,
    /// What the design allows for it.
    pub outage_allowed_ms: f64,
    /// The probes during kill and takeover, from the victim's private host.
    pub takeover: Option<Pings>,
    /// The same from the heir's private host.
    pub takeover_other: Option<Pings>,
    /// The probes from the takeover until after the hand-back, from the victim's private host.
    pub hand_back: Option<Pings>,
    /// The same from the heir's private host.
    pub hand_back_other: Option<Pings>,
    /// From the kill until the hand-back.
    pub total_ms: Option<f64>,
    /// The whole run, from the lab's beginning.
    pub run_ms: f64,
}

/// How many probes were sent and lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pings {
    /// Sent.
    pub sent: usize,
    /// Not answered.
    pub lost: usize,
}

impl Pings {
    pub(super) fn of(report: &ping::Report) -> Self {
        Self { sent: report.sent, lost: report.lost }
    }

    /// As people say it.
    pub(super) fn words(self) -> String {
        format!("{} of {} pings lost", self.lost, self.sent)
    }
}
