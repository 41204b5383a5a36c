//! Networks and heartbeat settings, and how a cluster fares with them.

use std::time::Duration;

use natha::config::{Settings, Timing, least_repair_after};
use natha::failover::EventKind;
use serde::{Deserialize, Serialize};

use super::cluster::Sim;
use super::net::Burst;

/// How long a part of a long run is; each has a seed of its own.
const STRETCH: u64 = 10 * 60_000;
/// How long a dead node may take to be relieved.
const RELIEF: u64 = 5 * 60_000;
/// How long it may take until it has its group back.
const RETURN: u64 = 20 * 60_000;

/// What the network and the hosts are like. The same in each direction and for each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// A short name.
    pub name: &'static str,
    /// Packets lost, each by itself, of a thousand.
    pub loss: u64,
    /// Times of complete loss: the mean time between two, and how long one lasts on average.
    pub bursts: Option<(Duration, Duration)>,
    /// The longest extra time that a packet takes; each takes a random part of it.
    pub jitter: Duration,
    /// Pauses of a whole node: the mean time between two, and how long each lasts.
    pub pauses: Option<(Duration, Duration)>,
}

/// Heartbeat settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Beats {
    /// Time between two heartbeats, in milliseconds.
    pub interval_ms: u64,
    /// Heartbeats missed after which a peer is lost.
    pub lost_after: u32,
}

impl Beats {
    /// natha's settings with these heartbeats, and with the least patience before a stop that
    /// goes with them.
    #[must_use]
    pub fn timing(self) -> Timing {
        let mut settings = Settings::default();
        settings.timing.interval = Duration::from_millis(self.interval_ms);
        settings.timing.lost_after = self.lost_after;
        let least = least_repair_after(&settings);
        let mut timing = settings.timing;
        timing.repair.after = timing.repair.after.max(least);
        timing
    }
}

/// What came of a time in which nothing died.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calm {
    /// How long it was.
    pub lasted: Duration,
    /// Takeovers from a node that was not dead.
    pub false_takeovers: u64,
    /// Stops of a node that was not dead.
    pub false_stops: u64,
    /// API calls.
    pub calls: u64,
}

/// What came of one death, in milliseconds; none where it never came true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// From the death to the survivor's first write.
    pub detection_ms: Option<u64>,
    /// From the death until every route leads to the survivor.
    pub convergence_ms: Option<u64>,
    /// API calls until the dead node was repaired and has its group back.
    pub calls: u64,
    /// How long that took.
    pub return_ms: Option<u64>,
}

/// Two nodes in this weather.
fn pair(weather: &Weather, beats: Beats, seed: u64) -> Sim {
    let mut sim = Sim::seeded(2, beats.timing(), seed);
    // What is measured here is how often a rule of thumb fails, not whether a rule is kept.
    sim.strict = false;
    sim.jitter = weather.jitter;
    for link in [(0, 1), (1, 0)] {
        sim.loss.insert(link, weather.loss);
        if let Some((good, bad)) = weather.bursts {
            sim.bursts.insert(link, Burst::new(good, bad));
        }
    }
    if let Some((every, lasting)) = weather.pauses {
        sim.pause_often(every, lasting);
    }
    sim
}

/// `hours` hours without a death.
#[must_use]
pub fn calm(weather: &Weather, beats: Beats, seed: u64, hours: u64) -> Calm {
    let mut sim = pair(weather, beats, seed);
    let begun = sim.now;
    let end = begun + Duration::from_hours(hours);
    let mut calm = Calm::default();
    sim.calls = 0;
    while sim.now < end {
        sim.run(STRETCH);
        for node in &mut sim.nodes {
            // One takeover, however many groups it moves.
            let mut last = None;
            for event in node.events.drain(..) {
                if event.kind == EventKind::TakeoverBegun && last != Some(event.at) {
                    last = Some(event.at);
                    calm.false_takeovers += 1;
                }
            }
        }
        calm.false_stops += u64::try_from(sim.stops().len()).unwrap_or(u64::MAX);
        sim.done.clear();
    }
    calm.calls = sim.calls;
    calm.lasted = sim.now.since(begun);
    calm
}

/// One death of a node that holds its group, at any moment. With `to_the_end`, the node's repair
/// and return are waited for. None where the node does not come to hold its group before.
#[must_use]
pub fn death(weather: &Weather, beats: Beats, seed: u64, to_the_end: bool) -> Option<Death> {
    let mut sim = pair(weather, beats, seed);
    let settle = 10_000 + sim.noise.below(10_000);
    sim.run(settle);
    if !sim.comes(RETURN, |sim| sim.holder(0) == Some(0) && sim.nodes[1].runs()) {
        return None;
    }
    sim.panic(0);
    let (died, calls) = (sim.now, sim.calls);
    let since = |sim: &Sim| u64::try_from(sim.now.since(died).as_millis()).unwrap_or(u64::MAX);
    sim.nodes[1].events.clear();
    let relieved = sim.comes(RELIEF, |sim| (0..2).all(|of| sim.holder(of) == Some(1)));
    let convergence_ms = relieved.then(|| since(&sim));
    let begun = sim.nodes[1].events.iter().find(|e| e.kind == EventKind::TakeoverBegun);
    let detection_ms =
        begun.map(|e| u64::try_from(e.at.since(died).as_millis()).unwrap_or(u64::MAX));
    let returned =
        to_the_end && sim.comes(RETURN, |sim| sim.holder(0) == Some(0) && sim.nodes[0].runs());
    let return_ms = returned.then(|| since(&sim));
    Some(Death { detection_ms, convergence_ms, calls: sim.calls - calls, return_ms })
}
