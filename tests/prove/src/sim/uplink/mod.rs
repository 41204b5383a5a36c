//! The study of uplinks that lose probes: how often a node that is well calls its uplink or its
//! forwarding broken, and how soon it notices that they are.
//!
//! The real judge of the monitor runs on a virtual clock. What is simulated is the way of the
//! probes and of their replies.

mod page;

use std::time::Duration;

use natha::config::Settings;
use natha::evidence::{Pacing, Proof, Proven};
use natha::types::Time;
use serde::{Deserialize, Serialize};

pub use page::Published;

use super::net::Burst;
use super::noise::Noise;
use super::prober::{Prober, ROUND_TRIP};
use super::study::{Spread, weathers};
use super::weather::Weather;
use super::workers::side_by_side;

/// Losses of the uplink, and of forwarding, for each setting and network.
const LOSSES: u64 = 500;
/// Hours in one share of the work; each has a seed of its own.
const SHARE: u64 = 50;

/// When rounds of probes are sent, and how many without a reply mean that a way is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    /// Time between two rounds while replies come, in milliseconds.
    pub interval_ms: u64,
    /// Time between two rounds while something is in doubt, in milliseconds.
    pub pace_ms: u64,
    /// Rounds without a reply.
    pub lost_after: u32,
}

impl Rounds {
    const fn new(interval_ms: u64, pace_ms: u64, lost_after: u32) -> Self {
        Self { interval_ms, pace_ms, lost_after }
    }

    fn pacing(self) -> Pacing {
        let ms = Duration::from_millis;
        let Self { interval_ms, pace_ms, lost_after } = self;
        Pacing { interval: ms(interval_ms), pace: ms(pace_ms), lost_after }
    }
}

/// natha's default settings.
///
/// # Panics
/// Never: the default times are a few milliseconds.
#[must_use]
pub fn default_rounds() -> Rounds {
    let settings = Settings::default();
    let ms = |time: Duration| u64::try_from(time.as_millis()).expect("a short time");
    Rounds {
        interval_ms: ms(settings.timing.probe_interval),
        pace_ms: ms(settings.timing.interval),
        lost_after: settings.uplink.lost_after,
    }
}

/// The settings that are compared. The first is natha's earlier default, without a quicker pace in
/// doubt.
fn settings() -> Vec<Rounds> {
    let others = [(500, 90, 3), (500, 90, 8), (250, 90, 5), (1_000, 90, 5), (500, 500, 3)];
    let mut all = vec![Rounds::new(250, 250, 4), default_rounds()];
    all.extend(others.map(|(interval, pace, lost)| Rounds::new(interval, pace, lost)));
    all
}

/// What was measured with one setting on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The network's name.
    pub network: String,
    /// The setting.
    #[serde(flatten)]
    pub rounds: Rounds,
    /// Simulated hours in which both ways worked.
    pub hours: u64,
    /// Times that one of them was called lost in these hours.
    pub false_alarms: u64,
    /// Rounds sent in an hour.
    pub rounds_per_hour: u64,
    /// From the loss of the uplink to the fault, in milliseconds.
    pub uplink_lost_ms: Spread,
    /// From the loss of forwarding to the fault, in milliseconds.
    pub forwarding_lost_ms: Spread,
    /// Losses that were not noticed within a minute.
    pub unnoticed: u64,
}

impl Cell {
    /// False alarms in 1,000 hours.
    #[must_use]
    pub fn rate(&self) -> u64 {
        (self.false_alarms * 1_000).div_ceil(self.hours.max(1))
    }
}

/// Which way has been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Nothing,
    Uplink,
    Forwarding,
}

/// One node, its probes, and the way to its targets.
struct World {
    prober: Prober,
    weather: Weather,
    pace: Duration,
    burst: Option<Burst>,
    next_pause: Option<Time>,
    noise: Noise,
    now: Time,
    lost: Lost,
    sent: u64,
}

impl World {
    fn new(weather: Weather, rounds: Rounds, seed: u64) -> Self {
        let pacing = rounds.pacing();
        let proven = Proven { uplink: false, transit: Some(false) };
        let mut noise = Noise::new(seed);
        let now = Time::from_millis(1);
        Self {
            prober: Prober::new(pacing, proven),
            pace: pacing.pace,
            burst: weather.bursts.map(|(good, bad)| Burst::new(good, bad)),
            next_pause: weather.pauses.map(|(every, _)| now + noise.wait(every)),
            weather,
            noise,
            now,
            lost: Lost::Nothing,
            sent: 0,
        }
    }

    /// One turn of the monitor's task, then the time until the next. Which ways fail: the uplink,
    /// forwarding.
    fn turn(&mut self) -> [bool; 2] {
        let now = self.now;
        self.prober.hear(now);
        let judge = &self.prober.judge;
        let found = [Some(judge.uplink(now)), judge.transit(now)];
        self.send();
        self.now = now + self.pace + self.pause();
        found.map(|proof| proof == Some(Proof::Fails))
    }

    /// Sends a round if one is due.
    fn send(&mut self) {
        let Self { prober, now, burst, noise, weather, .. } = self;
        let (now, mut is_lost) = (*now, None);
        let works = [self.lost != Lost::Uplink, self.lost == Lost::Nothing];
        let sent = prober.ask(now, |way, targets| {
            let mut bursts = || burst.as_mut().is_some_and(|burst| burst.loses(now, noise));
            if *is_lost.get_or_insert_with(&mut bursts) || !works[way] {
                return Vec::new();
            }
            let reply = |_| {
                let both_ways = [(); 2].map(|()| !noise.chance(weather.loss));
                let delay = noise.up_to(weather.jitter) + noise.up_to(weather.jitter);
                (both_ways == [true; 2]).then(|| now + ROUND_TRIP + delay)
            };
            (0..targets).filter_map(reply).collect()
        });
        self.sent += u64::from(sent);
    }

    /// How long the node stands still now.
    fn pause(&mut self) -> Duration {
        match (self.weather.pauses, self.next_pause) {
            (Some((every, lasting)), Some(at)) if at <= self.now => {
                self.next_pause = Some(at + lasting + self.noise.wait(every));
                lasting
            }
            _ => Duration::ZERO,
        }
    }

    /// Lets time pass; how often a way that worked was called lost.
    fn run(&mut self, time: Duration) -> u64 {
        let end = self.now + time;
        let (mut alarms, mut before) = (0, [false; 2]);
        while self.now < end {
            let fails = self.turn();
            let begun = before.into_iter().zip(fails).filter(|(before, fails)| !before && *fails);
            alarms += count(begun.count());
            before = fails;
        }
        alarms
    }

    /// Breaks a way between two turns; how long it takes until that is a fault. None where that
    /// takes more than a minute.
    fn lose(&mut self, lost: Lost) -> Option<Duration> {
        let (next, since) = (self.now, self.noise.up_to(self.pace));
        self.lost = lost;
        let which = usize::from(lost == Lost::Forwarding);
        while self.now.since(next) < Duration::from_mins(1) {
            let now = self.now;
            if self.turn()[which] {
                return Some(now.since(next) + since);
            }
        }
        None
    }
}

/// One share of the work.
#[derive(Debug, Clone, Copy)]
enum Job {
    Calm { weather: Weather, rounds: Rounds, seed: u64 },
    Losses { weather: Weather, rounds: Rounds, lost: Lost },
}

#[derive(Debug)]
enum Outcome {
    Calm { alarms: u64, sent: u64 },
    Losses(Vec<Option<Duration>>),
}

impl Job {
    fn run(&self) -> Outcome {
        match *self {
            Self::Calm { weather, rounds, seed } => {
                let mut world = World::new(weather, rounds, seed);
                let alarms = world.run(Duration::from_hours(SHARE));
                Outcome::Calm { alarms, sent: world.sent }
            }
            Self::Losses { weather, rounds, lost } => {
                let one = |seed| {
                    let mut world = World::new(weather, rounds, seed);
                    let settle =
                        Duration::from_mins(1) + world.noise.up_to(rounds.pacing().interval);
                    world.run(settle);
                    world.lose(lost)
                };
                Outcome::Losses((0..LOSSES).map(one).collect())
            }
        }
    }
}

/// Measures every setting on every network, for `hours` hours each, in whole shares of 50.
#[must_use]
pub fn measure(hours: u64, threads: usize) -> Vec<Cell> {
    let plan: Vec<(Weather, Rounds)> = weathers()
        .into_iter()
        .flat_map(|weather| settings().into_iter().map(move |rounds| (weather, rounds)))
        .collect();
    let shares = hours.div_ceil(SHARE);
    let jobs = |(weather, rounds): &(Weather, Rounds)| {
        let (weather, rounds) = (*weather, *rounds);
        let calm = (0..shares).map(move |seed| Job::Calm { weather, rounds, seed });
        let losses = [Lost::Uplink, Lost::Forwarding];
        calm.chain(losses.map(|lost| Job::Losses { weather, rounds, lost })).collect::<Vec<_>>()
    };
    let all: Vec<Job> = plan.iter().flat_map(jobs).collect();
    let mut outcomes = side_by_side(&all, threads, Job::run).into_iter();
    let each = usize::try_from(shares).unwrap_or(usize::MAX).saturating_add(2);
    let cell = |(weather, rounds): &(Weather, Rounds)| {
        sum_up(weather, *rounds, shares * SHARE, outcomes.by_ref().take(each))
    };
    plan.iter().map(cell).collect()
}

fn sum_up(
    weather: &Weather,
    rounds: Rounds,
    hours: u64,
    outcomes: impl Iterator<Item = Outcome>,
) -> Cell {
    let (mut false_alarms, mut sent, mut losses) = (0, 0, Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Calm { alarms, sent: some } => {
                false_alarms += alarms;
                sent += some;
            }
            Outcome::Losses(times) => losses.push(times),
        }
    }
    let unnoticed = losses.iter().flatten().filter(|time| time.is_none()).count();
    let mut spreads = losses.into_iter().map(|times| {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Spread::of(times.into_iter().flatten().map(ms).collect())
    });
    let mut next = || spreads.next().unwrap_or_default();
    Cell {
        network: weather.name.to_owned(),
        rounds,
        hours,
        false_alarms,
        rounds_per_hour: sent / hours.max(1),
        uplink_lost_ms: next(),
        forwarding_lost_ms: next(),
        unnoticed: count(unnoticed),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::study::promise;
    use super::*;

    fn fair() -> Weather {
        weathers().remove(0)
    }

    #[test]
    fn on_a_fair_network_nothing_is_called_lost_and_what_is_lost_is_noticed() {
        let mut world = World::new(fair(), default_rounds(), 1);
        assert_eq!(world.run(Duration::from_hours(1)), 0);
        for lost in [Lost::Uplink, Lost::Forwarding] {
            let mut world = World::new(fair(), default_rounds(), 2);
            world.run(Duration::from_mins(1));
            let took = world.lose(lost).unwrap();
            let Pacing { interval, pace, lost_after } = default_rounds().pacing();
            assert!(took <= interval + pace * (lost_after + 2), "{lost:?}: {took:?}");
        }
    }

    #[test]
    fn an_uplink_that_loses_everything_for_longer_than_the_patience_is_called_lost() {
        let bursts = Some((Duration::from_mins(1), Duration::from_secs(5)));
        let mut world = World::new(Weather { bursts, ..fair() }, default_rounds(), 3);
        assert!(world.run(Duration::from_hours(1)) > 5);
    }

    #[test]
    fn a_measurement_is_the_same_whoever_does_it() {
        let jobs =
            [1, 2].map(|seed| Job::Calm { weather: promise(), rounds: default_rounds(), seed });
        let measured = |threads| format!("{:?}", side_by_side(&jobs, threads, Job::run));
        assert_eq!(measured(1), measured(2));
    }
}
