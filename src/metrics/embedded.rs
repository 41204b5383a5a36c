//! CloudWatch's embedded metric format: a line of JSON that CloudWatch Logs turns into metrics
//! (Amazon CloudWatch user guide, "Specification: Embedded metric format"). The names are those of
//! a managed NAT gateway (Amazon VPC user guide, "NAT gateway metrics and dimensions") where the
//! meaning is the same.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::host::HostReading;
use crate::plan::{Passing, Tally};
use crate::status::Report;

/// The namespace of the metrics in CloudWatch.
const NAMESPACE: &str = "natha";

/// What the counters were at the last line.
#[derive(Debug, Default)]
pub struct Embedded(Option<Counted>);

/// Counters. What could not be read is as it was last.
#[derive(Debug, Clone, Copy)]
struct Counted {
    passing: Option<Passing>,
    port_errors: Option<u64>,
    takeovers: u64,
}

impl Counted {
    fn of(report: &Report, host: &HostReading, last: Option<Self>) -> Self {
        let port_errors = report.ports.as_ref().map(|ports| ports.failures);
        Self {
            passing: host.passing.or(last.and_then(|last| last.passing)),
            port_errors: port_errors.or(last.and_then(|last| last.port_errors)),
            takeovers: report.counters.meters.takeovers.values().sum(),
        }
    }
}

impl Embedded {
    /// The line for the time since the last one; none the first time. `wall` is the time since
    /// 1970.
    pub fn line(&mut self, report: &Report, host: &HostReading, wall: Duration) -> Option<String> {
        let now = Counted::of(report, host, self.0);
        let before = self.0.replace(now)?;
        let values = values(report, host, before, now);
        let metrics: Vec<Value> =
            values.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
        let wall = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        let directive = json!({
            "Namespace": NAMESPACE,
            "Dimensions": [["Cluster", "Node"]],
            "Metrics": metrics,
        });
        let mut line = Map::new();
        line.insert(
            "_aws".to_owned(),
            json!({ "Timestamp": wall, "CloudWatchMetrics": [directive] }),
        );
        line.insert("Cluster".to_owned(), json!(report.cluster));
        line.insert("Node".to_owned(), json!(report.view.me));
        line.insert("Name".to_owned(), json!(report.node_name(&report.view.me)));
        for (name, _, value) in values {
            line.insert(name.to_owned(), json!(value));
        }
        Some(Value::Object(line).to_string())
    }
}

/// Each metric with its unit and its value.
fn values(
    report: &Report,
    host: &HostReading,
    before: Counted,
    now: Counted,
) -> Vec<(&'static str, &'static str, u64)> {
    let view = &report.view;
    let held = view.groups.values().filter(|group| group.holder.as_ref() == Some(&view.me));
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut found = vec![
        ("Fit", "None", u64::from(view.fitness.is_fit())),
        ("DatapathProven", "None", u64::from(view.fitness.is_proven())),
        ("GroupsHeld", "Count", wide(held.count())),
        ("Alerts", "Count", wide(report.alerts.len())),
        ("TakeoverCount", "Count", more(before.takeovers, now.takeovers)),
    ];
    if let (Some(before), Some(now)) = (before.passing, now.passing) {
        found.extend(passed(before, now));
    }
    if let (Some(before), Some(now)) = (before.port_errors, now.port_errors) {
        found.push(("ErrorPortAllocation", "Count", more(before, now)));
    }
    if let Some(conntrack) = &host.conntrack {
        found.push(("ActiveConnectionCount", "Count", conntrack.entries));
    }
    if let Some(peak) = host.peak {
        found.push(("PeakBytesPerSecond", "Bytes/Second", peak.bytes));
        found.push(("PeakPacketsPerSecond", "Count/Second", peak.packets));
    }
    found
}

fn passed(before: Passing, now: Passing) -> [(&'static str, &'static str, u64); 10] {
    let out = (before.to_uplink, now.to_uplink);
    let back = (before.from_uplink, now.from_uplink);
    let bytes = |(before, now): (Tally, Tally)| more(before.bytes, now.bytes);
    let packets = |(before, now): (Tally, Tally)| more(before.packets, now.packets);
    [
        ("BytesInFromSource", "Bytes", bytes(out)),
        ("BytesOutToDestination", "Bytes", bytes(out)),
        ("BytesInFromDestination", "Bytes", bytes(back)),
        ("BytesOutToSource", "Bytes", bytes(back)),
        ("PacketsInFromSource", "Count", packets(out)),
        ("PacketsOutToDestination", "Count", packets(out)),
        ("PacketsInFromDestination", "Count", packets(back)),
        ("PacketsOutToSource", "Count", packets(back)),
        ("PacketsDropCount", "Count", packets((before.dropped, now.dropped))),
        ("ConnectionAttemptCount", "Count", packets((before.new_flows, now.new_flows))),
    ]
}

/// What a counter has grown by. One that is smaller has begun again at 0.
const fn more(before: u64, now: u64) -> u64 {
    if now < before { now } else { now - before }
}
