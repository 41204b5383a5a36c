//! What the monitor has measured of its own work since it started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kind_name;
use crate::failover::{Event, EventKind, Verdict};
use crate::types::{InstanceId, SessionId, Time, millis};

/// The upper ends of the buckets, in ms. They are close to each other where failover decides.
const BOUNDS_MS: [u64; 25] = [
    1, 2, 5, 10, 20, 50, 100, 200, 300, 400, 500, 600, 800, 1_000, 1_500, 2_000, 3_000, 5_000,
    10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
];

/// Peers whose heartbeats are measured. A cluster has at most 15 at a time.
const PEERS_MAX: usize = 64;

/// The phase from a node's last heartbeat until another began to take over from it. The other
/// phases have the names of the events that end them.
const DETECTION: &str = "detection";

/// How often a duration was in which range.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// Measurements by bucket. The last bucket has those above every bound. Empty before the first.
    counts: Vec<u64>,
    /// The sum of all, in µs.
    sum_us: u64,
}

impl Histogram {
    /// Takes in a measurement.
    pub fn observe(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_MS.partition_point(|bound| bound.saturating_mul(1_000) < us);
        if self.counts.len() <= BOUNDS_MS.len() {
            self.counts.resize(BOUNDS_MS.len() + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many measurements there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all measurements.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// The upper end of the bucket that has the quantile, with `share` from 0 to 1; none before the
    /// first measurement, and for a quantile above every bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let mut up_to = 0;
        let mut buckets = self.buckets().filter(|_| count > 0);
        let (end, _) = buckets.find(|(_, measured)| {
            up_to += measured;
            as_f64(up_to) >= share * as_f64(count)
        })?;
        Some(end)
    }

    /// For each bucket its upper end and its measurements; not those above every bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.counts.iter().copied().chain(std::iter::repeat(0));
        BOUNDS_MS.iter().map(|bound| Duration::from_millis(*bound)).zip(counts)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a quantile of 2^53 measurements is good enough")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

/// How often events of a kind were reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCount {
    /// How often.
    pub count: u64,
    /// When the last one was, in ms since boot.
    #[serde(rename = "last_ms", with = "millis::time")]
    pub last: Time,
}

/// The heartbeats of one peer, by the times at which the kernel received them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeartbeatGaps {
    /// How many would have had room between those that came. What is missing while a peer is silent
    /// counts when it is heard again in the same session.
    pub missed: u64,
    /// The times between two.
    pub gaps: Histogram,
    /// By how much these differ from the time between two that are sent.
    #[serde(default)]
    pub jitter: Histogram,
    /// The session and the time of the last one.
    #[serde(skip)]
    last: Option<(SessionId, Time)>,
}

/// What the monitor has measured of its own work since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Meters {
    /// Events by kind.
    pub events: BTreeMap<String, EventCount>,
    /// Takeovers that began, by the verdict about the node that had the group; `vacant` if none
    /// had it, `removed` if it is no member.
    pub takeovers: BTreeMap<String, u64>,
    /// How long the phases of changes took.
    pub phases: BTreeMap<String, Histogram>,
    /// How long API calls took, by name.
    pub calls: BTreeMap<String, Histogram>,
    /// The heartbeats of each peer.
    pub heartbeats: BTreeMap<InstanceId, HeartbeatGaps>,
    /// By how much turns of the event loop began too late.
    pub lateness: Histogram,
    /// The names of the alerts that are raised.
    pub alerts: BTreeSet<String>,
}

impl Meters {
    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes in an event, and the verdict about its node if that is a member.
    pub fn event(&mut self, event: &Event, verdict: Option<Verdict>) {
        let kind = kind_name(event.kind);
        let first = EventCount { count: 0, last: event.at };
        let count = self.events.entry(kind.to_owned()).or_insert(first);
        *count = EventCount { count: count.count + 1, last: event.at };
        if let Some(took) = event.took {
            self.phase(kind, took);
        }
        if event.kind == EventKind::TakeoverBegun {
            self.takeover(event, verdict);
        }
    }

    fn takeover(&mut self, event: &Event, verdict: Option<Verdict>) {
        let reason = match (&event.node, verdict) {
            (None, _) => "vacant".to_owned(),
            (Some(_), None) => "removed".to_owned(),
            (Some(_), Some(verdict)) => label(verdict),
        };
        *self.takeovers.entry(reason).or_default() += 1;
        // The heartbeats of the others did not stop.
        let is_heard = matches!(verdict, Some(Verdict::Alive | Verdict::Sick | Verdict::Leaving));
        let heard = event.node.as_ref().and_then(|node| self.heartbeats.get(node)?.last);
        if let Some((_, at)) = heard.filter(|_| !is_heard) {
            self.phase(DETECTION, event.at.since(at));
        }
    }

    fn phase(&mut self, name: &str, took: Duration) {
        entry(&mut self.phases, name).observe(took);
    }

    /// Takes in a heartbeat that the kernel received at `at`. `interval`: the time between two.
    pub fn beat(&mut self, from: &InstanceId, session: SessionId, at: Time, interval: Duration) {
        if !self.heartbeats.contains_key(from) {
            self.make_room();
        }
        let known = self.heartbeats.entry(from.clone()).or_default();
        if let Some((_, before)) = known.last.filter(|(last, _)| *last == session) {
            let gap = at.since(before);
            known.gaps.observe(gap);
            known.jitter.observe(gap.abs_diff(interval));
            let intervals = (gap + interval / 2).as_micros() / interval.as_micros().max(1);
            let missed = intervals.saturating_sub(1);
            known.missed = known.missed.saturating_add(u64::try_from(missed).unwrap_or(u64::MAX));
        }
        known.last = Some((session, at));
    }

    /// Nodes come and go for years: forgets the one that was heard longest ago.
    fn make_room(&mut self) {
        if self.heartbeats.len() < PEERS_MAX {
            return;
        }
        let heard = |known: &HeartbeatGaps| known.last.map(|(_, at)| at);
        let oldest = self.heartbeats.iter().min_by_key(|(_, known)| heard(known));
        if let Some(id) = oldest.map(|(id, _)| id.clone()) {
            self.heartbeats.remove(&id);
        }
    }

    /// Takes in how long an API call took.
    pub fn call(&mut self, name: &str, took: Duration) {
        entry(&mut self.calls, name).observe(took);
    }
}

/// The histogram of this name.
fn entry<'a>(map: &'a mut BTreeMap<String, Histogram>, name: &str) -> &'a mut Histogram {
    map.entry(name.to_owned()).or_default()
}

/// The verdict as the value of a label.
pub(crate) fn label(verdict: Verdict) -> String {
    verdict.name().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::Level;

    const INTERVAL: Duration = Duration::from_millis(90);

    fn peer(number: usize) -> InstanceId {
        format!("i-{number:08x}").parse().unwrap()
    }

    fn event(at_ms: u64, kind: EventKind, node: Option<InstanceId>) -> Event {
        let at = Time::from_millis(at_ms);
        let text = String::new();
        Event { at, level: Level::Info, kind, node, group: None, text, took: None }
    }

    #[test]
    fn a_quantile_is_the_end_of_its_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in [90, 95, 99, 150] {
            histogram.observe(Duration::from_millis(ms));
        }
        let ends = [0.5, 0.75, 0.99, 1.0].map(|share| histogram.quantile(share));
        assert_eq!(ends, [100, 100, 200, 200].map(|ms| Some(Duration::from_millis(ms))));
        histogram.observe(Duration::from_hours(1));
        assert_eq!(histogram.quantile(1.0), None, "above every bound");
    }

    #[test]
    fn a_measurement_is_in_the_first_bucket_whose_end_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for ms in [1, 450, 500, 501, 700_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let filled: Vec<(u128, u64)> = histogram
            .buckets()
            .filter(|(_, count)| *count > 0)
            .map(|(end, count)| (end.as_millis(), count))
            .collect();
        assert_eq!(filled, [(1, 1), (500, 2), (600, 1)]);
        assert_eq!(histogram.count(), 5, "one is above every bound");
        assert_eq!(histogram.sum(), Duration::from_millis(701_452));
    }

    #[test]
    fn heartbeats_that_would_have_had_room_are_missed_ones() {
        let mut meters = Meters::default();
        for (session, ms) in [(1, 1_000), (1, 1_090), (1, 1_200), (1, 1_470), (2, 9_000)] {
            meters.beat(&peer(1), SessionId(session), Time::from_millis(ms), INTERVAL);
        }
        let known = &meters.heartbeats[&peer(1)];
        assert_eq!(known.missed, 2, "of 270 ms; a restart is no gap");
        assert_eq!(known.gaps.count(), 3);
    }

    #[test]
    fn jitter_is_how_far_gaps_are_from_the_interval_in_either_direction() {
        let mut meters = Meters::default();
        for ms in [1_000, 1_090, 1_199, 1_270, 1_450] {
            meters.beat(&peer(1), SessionId(1), Time::from_millis(ms), INTERVAL);
        }
        let jitter = &meters.heartbeats[&peer(1)].jitter;
        let differences = [0, 19, 19, 90];
        assert_eq!(jitter.count(), 4);
        assert_eq!(jitter.sum(), Duration::from_millis(differences.iter().sum()));
        assert_eq!(jitter.quantile(0.5), Some(Duration::from_millis(20)));
    }

    #[test]
    fn the_peers_of_years_take_no_more_room_than_those_of_a_day() {
        let mut meters = Meters::default();
        for number in 0..PEERS_MAX + 3 {
            let at = Time::from_millis(u64::try_from(number).unwrap());
            meters.beat(&peer(number), SessionId(1), at, INTERVAL);
        }
        assert_eq!(meters.heartbeats.len(), PEERS_MAX);
        assert!(!meters.heartbeats.contains_key(&peer(2)));
        assert!(meters.heartbeats.contains_key(&peer(3)));
    }

    #[test]
    fn a_takeover_counts_by_verdict_and_its_detection_begins_with_the_last_heartbeat() {
        let mut meters = Meters::default();
        meters.beat(&peer(1), SessionId(1), Time::from_millis(1_000), INTERVAL);
        let begun = |node| event(1_480, EventKind::TakeoverBegun, node);
        meters.event(&begun(Some(peer(1))), Some(Verdict::DaemonDown));
        meters.event(&begun(Some(peer(1))), Some(Verdict::Sick));
        meters.event(&begun(Some(peer(2))), None);
        meters.event(&begun(None), None);
        let reasons: Vec<&str> = meters.takeovers.keys().map(String::as_str).collect();
        assert_eq!(reasons, ["daemon-down", "removed", "sick", "vacant"]);
        let detection = &meters.phases[DETECTION];
        assert_eq!((detection.count(), detection.sum()), (1, Duration::from_millis(480)));
        assert_eq!(meters.events["takeover-begun"].count, 4);
    }

    #[test]
    fn what_took_time_is_a_phase_with_the_name_of_its_end() {
        let mut meters = Meters::default();
        let took = Some(Duration::from_secs(1));
        let done = event(5, EventKind::TakeoverDone, None);
        meters.event(&Event { took, ..done }, None);
        assert_eq!(meters.phases["takeover-done"].sum(), Duration::from_secs(1));
        assert_eq!(meters.events["takeover-done"].last, Time::from_millis(5));
    }
}
