//! The study: every weather with every heartbeat setting, counted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::weather::{Beats, Calm, Death, Weather, calm, death};
use super::workers::side_by_side;

/// The settings that are compared.
pub(super) const SETTINGS: [Beats; 9] = [
    Beats { interval_ms: 20, lost_after: 3 },
    Beats { interval_ms: 50, lost_after: 3 },
    Beats { interval_ms: 90, lost_after: 5 },
    Beats { interval_ms: 100, lost_after: 3 },
    Beats { interval_ms: 100, lost_after: 4 },
    Beats { interval_ms: 100, lost_after: 5 },
    Beats { interval_ms: 200, lost_after: 3 },
    Beats { interval_ms: 500, lost_after: 3 },
    Beats { interval_ms: 1_000, lost_after: 3 },
];

/// The weather of the promise: see [`promise`].
pub(super) const PROMISED: &str = "promised";

const MS: fn(u64) -> Duration = Duration::from_millis;
/// How often a node pauses in the weathers with pauses.
const PAUSE_EVERY: Duration = Duration::from_mins(5);
/// Bursts of complete loss, 2 % of the time.
const BURSTS: (Duration, Duration) = (MS_9_800, MS_200);
const MS_9_800: Duration = Duration::from_millis(9_800);
const MS_200: Duration = Duration::from_millis(200);

/// Deaths per setting and weather.
const DEATHS: u64 = 100;
/// Hours in one part of the promise; each has a seed of its own.
const PART: u64 = 40;
/// A setting that has failed this often is measured well enough.
const ENOUGH: u64 = 50;
/// Hours between two looks at that.
const LOOK: u64 = 2;

/// The weathers that are compared.
#[must_use]
pub fn weathers() -> Vec<Weather> {
    let fair =
        Weather { name: "fair", loss: 0, bursts: None, jitter: Duration::ZERO, pauses: None };
    let pauses = |ms| Some((PAUSE_EVERY, MS(ms)));
    vec![
        fair,
        Weather { name: "loss 1 %", loss: 10, ..fair },
        Weather { name: "loss 2 %", loss: 20, ..fair },
        Weather { name: "loss 5 %", loss: 50, ..fair },
        Weather { name: "loss 10 %", loss: 100, ..fair },
        Weather { name: "bursts", bursts: Some(BURSTS), ..fair },
        Weather { name: "jitter 50 ms", jitter: MS(50), ..fair },
        Weather { name: "jitter 200 ms", jitter: MS(200), ..fair },
        Weather { name: "pauses 200 ms", pauses: pauses(200), ..fair },
        Weather { name: "pauses 1 s", pauses: pauses(1_000), ..fair },
        promise(),
        Weather {
            name: "rough",
            loss: 50,
            bursts: Some(BURSTS),
            jitter: MS(50),
            pauses: pauses(200),
        },
    ]
}

/// The weather in which the default settings take nothing over without need: 2 % of all packets
/// lost, up to 50 ms of jitter, and pauses of 200 ms in each node.
#[must_use]
pub fn promise() -> Weather {
    Weather {
        name: PROMISED,
        loss: 20,
        bursts: None,
        jitter: MS(50),
        pauses: Some((PAUSE_EVERY, MS(200))),
    }
}

/// natha's default settings.
///
/// # Panics
/// Never: the default interval is a few milliseconds.
#[must_use]
pub fn default_beats() -> Beats {
    let timing = natha::config::Timing::default();
    let interval_ms = u64::try_from(timing.interval.as_millis()).expect("a short time");
    Beats { interval_ms, lost_after: timing.lost_after }
}

/// What was measured with one setting in one weather.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The weather's name.
    pub weather: String,
    /// The setting.
    #[serde(flatten)]
    pub beats: Beats,
    /// Simulated hours in which nothing died.
    pub hours: u64,
    /// Takeovers in them.
    pub false_takeovers: u64,
    /// Stops in them.
    pub false_stops: u64,
    /// API calls in an hour in which nothing died, both nodes together.
    pub calls_per_hour: u64,
    /// How many nodes were let die.
    pub deaths: u64,
    /// How many of them nobody relieved within minutes.
    pub unrelieved: u64,
    /// From a death to the survivor's first write, in milliseconds.
    pub detection_ms: Spread,
    /// From a death until every route leads to the survivor, in milliseconds.
    pub convergence_ms: Spread,
    /// API calls from a death until the node is repaired and has its group back.
    pub calls_per_failover: u64,
    /// How long that takes, in milliseconds.
    pub return_ms: Spread,
}

/// How a few numbers are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub p50: u64,
    /// 99 of a hundred are not larger.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    /// Of these numbers.
    #[must_use]
    pub fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        let at = |per_mille: usize| {
            let place = (all.len() * per_mille).div_ceil(1_000).max(1) - 1;
            all.get(place).copied().unwrap_or_default()
        };
        Self { p50: at(500), p99: at(990), max: at(1_000) }
    }
}

impl Cell {
    /// Takeovers of a living peer in 1,000 hours.
    #[must_use]
    pub fn rate(&self) -> u64 {
        (self.false_takeovers * 1_000).div_ceil(self.hours.max(1))
    }
}

/// One share of the work.
#[derive(Debug, Clone, Copy)]
enum Job {
    Calm { weather: Weather, beats: Beats, seed: u64, hours: u64 },
    Deaths { weather: Weather, beats: Beats, count: u64 },
}

#[derive(Debug)]
enum Outcome {
    Calm(Calm),
    Deaths(Vec<Death>),
}

impl Job {
    fn run(&self) -> Outcome {
        match *self {
            Self::Calm { weather, beats, seed, hours } => {
                let mut sum = Calm::default();
                let mut passed = 0;
                while passed < hours && sum.false_takeovers < ENOUGH {
                    let part = calm(&weather, beats, seed * 1_000 + passed, LOOK);
                    sum.lasted += part.lasted;
                    sum.false_takeovers += part.false_takeovers;
                    sum.false_stops += part.false_stops;
                    sum.calls += part.calls;
                    passed += LOOK;
                }
                Outcome::Calm(sum)
            }
            Self::Deaths { weather, beats, count } => {
                let to_the_end = matches!(weather.name, "fair" | PROMISED);
                let all = (0..count).filter_map(|seed| death(&weather, beats, seed, to_the_end));
                Outcome::Deaths(all.collect())
            }
        }
    }
}

/// Measures `beats` in `weather` for up to `hours`, and with `count` deaths.
fn jobs(weather: Weather, beats: Beats, hours: u64, count: u64) -> Vec<Job> {
    let parts = hours.div_ceil(PART);
    let calm = (0..parts).map(|seed| Job::Calm { weather, beats, seed, hours: hours.min(PART) });
    std::iter::once(Job::Deaths { weather, beats, count }).chain(calm).collect()
}

/// Hours for a setting: short intervals take long to simulate, and fail often.
fn hours_for(beats: Beats, effort: u64) -> u64 {
    (beats.interval_ms * effort / 100).max(effort / 5).clamp(LOOK, effort)
}

/// Measures every setting, or one only, in every weather: up to `effort` hours each, fewer where
/// heartbeats are frequent, and `promised` hours for the promise.
#[must_use]
pub fn study(effort: u64, promised: u64, only: Option<Beats>, threads: usize) -> Vec<Cell> {
    let mut plan = Vec::new();
    for weather in weathers() {
        for beats in SETTINGS.into_iter().filter(|beats| only.is_none_or(|only| only == *beats)) {
            let is_promise = weather.name == PROMISED && beats == default_beats();
            let hours = if is_promise { promised } else { hours_for(beats, effort) };
            plan.push((weather, beats, hours));
        }
    }
    measure(&plan, DEATHS, threads)
}

/// Measures the promise alone.
#[must_use]
pub fn measure_promise(hours: u64, threads: usize) -> Cell {
    let mut cells = measure(&[(promise(), default_beats(), hours)], DEATHS, threads);
    cells.remove(0)
}

fn measure(plan: &[(Weather, Beats, u64)], deaths: u64, threads: usize) -> Vec<Cell> {
    let each: Vec<Vec<Job>> =
        plan.iter().map(|(w, b, hours)| jobs(*w, *b, *hours, deaths)).collect();
    let all: Vec<Job> = each.iter().flatten().copied().collect();
    let mut outcomes = side_by_side(&all, threads, Job::run).into_iter();
    let cell = |((weather, beats, _), jobs): (&(Weather, Beats, u64), &Vec<Job>)| {
        sum_up(weather, *beats, outcomes.by_ref().take(jobs.len()))
    };
    plan.iter().zip(&each).map(cell).collect()
}

fn sum_up(weather: &Weather, beats: Beats, outcomes: impl Iterator<Item = Outcome>) -> Cell {
    let (mut calm, mut deaths) = (Calm::default(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Calm(part) => {
                calm.lasted += part.lasted;
                calm.false_takeovers += part.false_takeovers;
                calm.false_stops += part.false_stops;
                calm.calls += part.calls;
            }
            Outcome::Deaths(some) => deaths.extend(some),
        }
    }
    let hours = (calm.lasted.as_secs() / 3_600).max(1);
    let count = |some: usize| u64::try_from(some).unwrap_or(u64::MAX);
    let spread = |of: fn(&Death) -> Option<u64>| Spread::of(deaths.iter().filter_map(of).collect());
    let returned: Vec<&Death> = deaths.iter().filter(|death| death.return_ms.is_some()).collect();
    let calls: u64 = returned.iter().map(|death| death.calls).sum();
    Cell {
        weather: weather.name.to_owned(),
        beats,
        hours,
        false_takeovers: calm.false_takeovers,
        false_stops: calm.false_stops,
        calls_per_hour: calm.calls / hours,
        deaths: count(deaths.len()),
        unrelieved: count(deaths.iter().filter(|death| death.convergence_ms.is_none()).count()),
        detection_ms: spread(|death| death.detection_ms),
        convergence_ms: spread(|death| death.convergence_ms),
        calls_per_failover: calls / count(returned.len()).max(1),
        return_ms: spread(|death| death.return_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_numbers_that_occurred() {
        assert_eq!(Spread::of((1..=100).collect()), Spread { p50: 50, p99: 99, max: 100 });
        assert_eq!(Spread::of(vec![7]), Spread { p50: 7, p99: 7, max: 7 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    fn measured(threads: usize) -> Cell {
        measure(&[(promise(), default_beats(), LOOK)], 5, threads).remove(0)
    }

    #[test]
    fn a_rate_that_is_not_zero_is_not_shown_as_zero() {
        let cell = measured(1);
        assert_eq!(Cell { false_takeovers: 1, hours: 3_000, ..cell.clone() }.rate(), 1);
        assert_eq!(Cell { false_takeovers: 0, ..cell }.rate(), 0);
    }

    #[test]
    fn a_measurement_is_the_same_whoever_does_it() {
        assert_eq!(measured(1), measured(3));
    }
}
