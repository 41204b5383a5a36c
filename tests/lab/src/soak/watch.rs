//! Collects what happens in a lab and shows it to the observer, in the order of time.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::facts::{Cast, Fact, Phase, Seen};
use super::observer::Observer;
use super::pace::Pace;
use super::schedule::host_name;
use crate::lab::Lab;

/// From one ping to the next, in milliseconds.
const PACE_MS: u64 = 10;
/// How often the lab is asked what is new.
const TICK: Duration = Duration::from_millis(150);
/// How late the observer sees things: what a ping's fate is, is known a second after it was sent.
pub(super) const LATE: Duration = Duration::from_millis(1_500);
/// A process that wanted to sleep for a moment and woke up so much later was not let run.
const STALL: Duration = Duration::from_millis(250);
/// How long it wanted to sleep.
const NAP: Duration = Duration::from_millis(20);

/// Collects what happens in a lab and shows it to the observer.
pub(super) struct Watch<'a> {
    lab: &'a Lab,
    pub(super) observer: Observer,
    began: Instant,
    events: usize,
    calls: usize,
    /// For each zone, its ping meter and how many pings were seen.
    pings: Vec<(u64, usize)>,
    queue: Vec<Fact>,
    stalls: Receiver<(Instant, Duration)>,
    nap: Duration,
}

impl<'a> Watch<'a> {
    /// Starts the pings. The cluster is as it should be.
    pub(super) fn start(lab: &'a Lab, pace: Pace) -> Result<Self> {
        let status = lab.status()?;
        let began = Instant::now()
            .checked_sub(Duration::from_secs_f64(status.now_ms / 1e3))
            .unwrap_or_else(Instant::now);
        let cast = Cast::of(&status.account, &status.hosts);
        let news = lab.news(0, 0)?;
        let mut pings = Vec::new();
        for zone in 0..cast.tables.len() {
            pings.push((lab.ping(&host_name(zone), PACE_MS)?, 0));
        }
        Ok(Self {
            lab,
            observer: Observer::new(cast, pace, began.elapsed()),
            began,
            events: news.events.len(),
            calls: news.calls.len(),
            pings,
            queue: Vec::new(),
            stalls: stalls(),
            nap: TICK,
        })
    }

    /// The time since the lab began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Tells the observer something that it cannot see in the lab.
    pub(super) fn tell(&mut self, at: Duration, what: Seen) {
        self.queue.push(Fact { at, what });
    }

    /// Tells the observer what the cluster goes through from now on.
    pub(super) fn phase(&mut self, phase: Phase) {
        let now = self.now();
        self.tell(now, Seen::Phase(phase));
    }

    /// Waits a moment, then shows the observer what is certain by now.
    pub(super) fn tick(&mut self) -> Result<()> {
        thread::sleep(self.nap);
        let news = self.lab.news(self.events, self.calls)?;
        self.events += news.events.len();
        self.calls += news.calls.len();
        let events = news.events.into_iter().map(|event| Fact {
            at: Duration::from_secs_f64(event.at_ms / 1e3),
            what: Seen::Event(event.what),
        });
        self.queue.extend(events);
        let calls = news.calls.into_iter();
        self.queue.extend(calls.map(|call| Fact { at: call.at, what: Seen::Call(call) }));
        let horizon = self.now().saturating_sub(LATE);
        for (zone, (meter, seen)) in self.pings.iter_mut().enumerate() {
            let probes = self.lab.probes(*meter, *seen)?;
            *seen += probes.len();
            self.queue.extend(probes.into_iter().map(|(at_ms, answer)| Fact {
                at: Duration::from_secs_f64(at_ms / 1e3),
                what: Seen::Ping(zone, answer.is_some()),
            }));
        }
        let began = self.began;
        let stalls = self.stalls.try_iter().map(|(at, lasting)| Fact {
            at: at.saturating_duration_since(began),
            what: Seen::Stall(lasting),
        });
        self.queue.extend(stalls);
        self.queue.sort_by_key(|fact| fact.at);
        let certain = self.queue.partition_point(|fact| fact.at <= horizon);
        for fact in self.queue.drain(..certain) {
            self.observer.see(&fact);
        }
        Ok(())
    }

    /// Lets this much time pass, and until the observer has seen it all.
    pub(super) fn pass(&mut self, lasting: Duration) -> Result<()> {
        let end = self.now() + lasting;
        while self.now() < end {
            self.tick()?;
        }
        Ok(())
    }
}

/// When this machine let a thread sleep for much longer than it wanted, and for how long.
fn stalls() -> Receiver<(Instant, Duration)> {
    let (send, receive) = channel();
    thread::spawn(move || {
        loop {
            let before = Instant::now();
            thread::sleep(NAP);
            let late = before.elapsed().saturating_sub(NAP);
            let over = late >= STALL && send.send((Instant::now(), late)).is_err();
            // The soak may end without any stall; its receiver is then gone unnoticed until one.
            if over {
                return;
            }
        }
    });
    receive
}
