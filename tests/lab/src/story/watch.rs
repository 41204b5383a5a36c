//! Following what happens: the lab's own history, its EC2's calls, and what natha on the nodes
//! tells of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::names::Names;
use super::record::{Moment, What};
use crate::cluster;
use crate::control::protocol::Timeline;
use crate::daemon::shared::{Happening, Power};
use crate::ec2::{CallRecord, Principal};
use crate::lab::Lab;

/// How much later than it happened natha may tell about something.
const SLACK_MS: f64 = 50.0;

/// Follows what happens in a lab.
pub(super) struct Watch {
    names: Names,
    nodes: Vec<String>,
    /// The lab's time at which the machine booted: natha's times are counted from there.
    boot_ms: f64,
    /// What was seen already, and held back to be in order.
    events: usize,
    calls: usize,
    told: BTreeMap<String, f64>,
    waiting: Vec<Moment>,
    /// The last status of every node that answers.
    pub(super) status: BTreeMap<String, Value>,
}

impl Watch {
    /// Follows a lab from its beginning.
    pub(super) fn new(lab: &Lab, nodes: &[&str]) -> Result<Self> {
        let status = lab.status()?;
        Ok(Self {
            names: Names::of(&status),
            nodes: nodes.iter().map(|&name| name.to_owned()).collect(),
            boot_ms: boot_ms(lab)?,
            events: 0,
            calls: 0,
            told: BTreeMap::new(),
            waiting: Vec::new(),
            status: BTreeMap::new(),
        })
    }

    /// What happened since the last time, in order.
    pub(super) fn gather(&mut self, lab: &Lab) -> Result<Vec<Moment>> {
        let before = lab.status()?;
        for name in self.nodes.clone() {
            // A frozen host answers nobody, so it is not asked.
            let on = before.hosts.iter().any(|host| host.name == name && host.power == Power::On);
            match if on { cluster::status(lab, &name).ok() } else { None } {
                Some(status) => {
                    self.listen(&name, &status);
                    self.status.insert(name, status);
                }
                None => drop(self.status.remove(&name)),
            }
        }
        let timeline = lab.timeline()?;
        self.look(&timeline);
        self.waiting.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
        let complete = before.now_ms - SLACK_MS;
        let ready = self.waiting.partition_point(|moment| moment.at_ms <= complete);
        Ok(self.waiting.drain(..ready).collect())
    }

    fn look(&mut self, timeline: &Timeline) {
        for event in timeline.events.iter().skip(self.events) {
            if let Some((who, what, text)) = self.happening(&event.what) {
                let at_ms = event.at_ms;
                self.waiting.push(Moment { at_ms, who, what, text, took_ms: None });
            }
        }
        self.events = timeline.events.len();
        for call in timeline.calls.iter().skip(self.calls) {
            self.waiting.extend(self.call(call));
        }
        self.calls = timeline.calls.len();
    }

    fn happening(&self, happening: &Happening) -> Option<(String, What, String)> {
        match happening {
            Happening::Route(route) if route.is_default_of(&route.subnet) => {
                let zone = self.names.zone(&route.subnet)?.clone();
                let text = format!("packets of {zone}'s private hosts now go to {}", route.to);
                let what = What::Route { zone, to: route.to.clone() };
                Some(("network".to_owned(), what, text))
            }
            Happening::Power { host, power, boot } => {
                let (who, text) = match power {
                    Power::On if *boot > 1 => ("EC2", format!("{host} boots (boot {boot})")),
                    Power::On => ("EC2", format!("{host} runs")),
                    Power::Off => ("EC2", format!("{host} is off")),
                    Power::ShuttingDown => ("EC2", format!("{host} is asked to shut down")),
                    Power::Frozen => ("demo", format!("{host} is frozen")),
                    Power::Panicked => (
                        "demo",
                        format!(
                            "{host}'s kernel panics: nothing on it runs, answers or forwards any \
                             more, and EC2 still reports it as `running`"
                        ),
                    ),
                };
                let what = What::Power { host: host.clone(), power: *power, boot: *boot };
                Some((who.to_owned(), what, text))
            }
            Happening::Problem { text } => {
                let what = What::Told { event: "problem".to_owned(), node: None, group: None };
                Some(("lab".to_owned(), what, text.clone()))
            }
            Happening::Route(_)
            | Happening::RouteRemoved(_)
            | Happening::Faults(_)
            | Happening::Killed { .. } => None,
        }
    }

    /// A call of natha's that changes something, or that failed.
    fn call(&self, call: &CallRecord) -> Option<Moment> {
        let Principal::Instance(id) = &call.principal else { return None };
        if call.error.is_none() && call.action.starts_with("Describe") {
            return None;
        }
        let by = self.names.host(id);
        let ended = call.error.as_ref().map_or_else(String::new, |code| format!(": {code}"));
        let about = self.names.all_in(&call.params);
        let text = format!("{} by {by}: {}{ended}", call.action, about.join(" to "));
        let (action, error) = (call.action.clone(), call.error.clone());
        let what = What::Call { action, about, error };
        let at_ms = ms(call.at);
        Some(Moment { at_ms, who: "EC2".to_owned(), what, text, took_ms: None })
    }

    /// Takes in what a node's natha tells, as far as it is new.
    fn listen(&mut self, node: &str, status: &Value) {
        let last = self.told.get(node).copied().unwrap_or(f64::NEG_INFINITY);
        let events = status["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for event in events {
            let Some(at_ms) = event["at_ms"].as_f64().map(|at| at + self.boot_ms) else { continue };
            // All that one turn of natha's loop decides has one time and is shown together.
            if at_ms > last {
                self.told.insert(node.to_owned(), at_ms);
                self.waiting.push(self.event(node, at_ms, event));
            }
        }
    }

    fn event(&self, node: &str, at_ms: f64, event: &Value) -> Moment {
        let word = |key: &str| event[key].as_str().map(str::to_owned);
        let about = word("node").map(|id| self.names.host(&id));
        let (kind, group) = (word("kind").unwrap_or_default(), word("group"));
        let text = self.names.plain(event["text"].as_str().unwrap_or_default());
        let text = match (&group, &about) {
            (Some(group), _) => format!("{group}: {text}"),
            (None, Some(about)) => format!("{about}: {text}"),
            (None, None) => text,
        };
        let what = What::Told { event: kind, node: about, group };
        let took_ms = event["took_ms"].as_f64();
        Moment { at_ms, who: node.to_owned(), what, text, took_ms }
    }
}

/// When the machine booted, on the lab's clock: negative. The quickest of some answers is the most
/// exact.
fn boot_ms(lab: &Lab) -> Result<f64> {
    let clock = || clock_gettime(ClockId::CLOCK_BOOTTIME).map(|time| ms(Duration::from(time)));
    let mut best: Option<(f64, f64)> = None;
    for _ in 0..10 {
        let before = clock()?;
        let now = lab.status()?.now_ms;
        let after = clock()?;
        let sample = (after - before, now - f64::midpoint(before, after));
        best = Some(best.map_or(sample, |best| if sample.0 < best.0 { sample } else { best }));
    }
    best.map(|(_, offset)| offset).context("no sample of the clocks")
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
