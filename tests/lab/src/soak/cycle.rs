//! One cycle after the other: things go wrong, are mended, and the cluster finds back.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Progress;
use super::census::{self, Census};
use super::director::Director;
use super::evidence::Evidence;
use super::facts::Phase;
use super::observer::Rule;
use super::pace::Pace;
use super::schedule::{self, host_name, letter};
use super::watch::{LATE, Watch};
use crate::lab::Lab;
use crate::meter::{What, flows};
use crate::net::internet::INTERNET_HOST;

/// How long a cluster that is as it should be must have been left alone to be at rest.
const SETTLED: Duration = Duration::from_secs(5);
/// Between the end of a rest and the first strike: pings that are on their way arrive.
const BREATH: Duration = Duration::from_millis(300);
/// How long an operator's order may take until the group is away.
const OBEYED: Duration = Duration::from_secs(15);
/// TCP flows of each private host, as many UDP flows, and how often each sends.
const FLOWS: u16 = 3;
const FLOW_MS: u64 = 200;

/// A cluster in a lab, and everything that is done to it and seen of it.
pub(super) struct Soak<'a> {
    pub(super) lab: &'a Lab,
    pub(super) watch: Watch<'a>,
    pub(super) director: Director<'a>,
    pub(super) census: Census,
    pub(super) evidence: Evidence<'a>,
    pub(super) progress: Progress,
    pub(super) tally: Tally,
    pub(super) pace: Pace,
    pub(super) nodes: usize,
    pub(super) seed: u64,
}

/// What was counted besides what the observer counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) cycles: u64,
    pub(super) faults: u64,
    pub(super) orders: u64,
    pub(super) helped: u64,
    pub(super) flows: usize,
    pub(super) broken: usize,
    /// The longest time from the last mending to everything at home.
    pub(super) home: Duration,
}

impl Soak<'_> {
    /// One cycle.
    pub(super) fn cycle(&mut self, number: u64) -> Result<()> {
        let meters = self.open_flows()?;
        self.storm(number)?;
        self.mend()?;
        let flows = self.close_flows(&meters)?;
        self.tally.flows += flows.iter().map(|report| report.flows).sum::<usize>();
        self.tally.broken += flows.iter().map(|report| report.broken).sum::<usize>();
        self.rest(number)?;
        self.tally.cycles += 1;
        self.tell_cycle(number);
        Ok(())
    }

    fn tell_cycle(&self, number: u64) {
        let counts = self.watch.observer.counts();
        let violations = self.watch.observer.violations().len();
        self.progress.say(&format!(
            "cycle {number}: {} faults, {} takeovers, {} repairs, {} of {} pings lost, \
             {violations} violations so far; {}",
            self.tally.faults,
            counts.takeovers,
            counts.repairs,
            counts.lost,
            counts.sent,
            self.census.told()
        ));
    }

    /// Lets a moment pass: the observer sees what happened, and evidence is kept of what is wrong.
    fn tick(&mut self) -> Result<()> {
        for (at, what) in std::mem::take(&mut self.director.tells) {
            self.watch.tell(at, what);
        }
        self.watch.tick()?;
        self.evidence.keep(self.lab, &self.watch.observer, &self.progress)
    }

    fn pass(&mut self, lasting: Duration) -> Result<()> {
        let end = self.watch.now() + lasting;
        while self.watch.now() < end {
            self.tick()?;
        }
        Ok(())
    }

    fn storm(&mut self, number: u64) -> Result<()> {
        let mut troubles = schedule::storm(self.seed, number, self.nodes, &self.pace);
        self.watch.phase(Phase::Storm);
        self.pass(BREATH)?;
        let start = self.watch.now();
        self.evidence.note(&format!("cycle {number} at {:.1} s", start.as_secs_f64()));
        for trouble in &troubles {
            self.evidence.note(&format!("  {trouble}"));
        }
        while !troubles.is_empty() || !self.director.is_done() {
            let now = self.watch.now();
            while troubles.first().is_some_and(|next| start + next.at <= now) {
                let trouble = troubles.remove(0);
                let begun = self.director.strike(&trouble, now)?;
                self.tally.faults += u64::from(begun);
                let how = if begun { "" } else { " (not possible now)" };
                let at = now.as_secs_f64();
                self.evidence.note(&format!("  {at:.1} s: {}{how}", trouble.what));
            }
            for over in self.director.mend(now, false)? {
                self.evidence.note(&format!("  {:.1} s: over: {over}", now.as_secs_f64()));
            }
            self.tick()?;
            if troubles.is_empty() && now > start + self.pace.storm {
                break;
            }
        }
        let now = self.watch.now();
        self.director.mend(now, true)?;
        self.watch.phase(Phase::Mending);
        Ok(())
    }

    /// Waits until everything is as it should be.
    fn mend(&mut self) -> Result<()> {
        let mended = self.watch.now();
        let (people, end) = (self.pace.people_come(self.nodes), self.pace.home_again(self.nodes));
        let (mut helped, mut late) = (false, false);
        loop {
            self.tick()?;
            let now = self.watch.now();
            self.director.mend(now, true)?;
            let observer = &self.watch.observer;
            let seen = now.saturating_sub(LATE);
            let quiet = seen.saturating_sub(observer.last_change().max(mended)) >= SETTLED;
            if observer.is_home() && self.director.is_done() && quiet {
                let home = observer.last_change().saturating_sub(mended);
                self.tally.home = self.tally.home.max(home);
                self.evidence.note(&format!("  {:.1} s: at home", now.as_secs_f64()));
                return Ok(());
            }
            if now > mended + people && !helped {
                helped = true;
                for (node, power) in self.watch.observer.down() {
                    self.tally.helped += 1;
                    self.evidence.note(&format!("  a person helps {}: {power:?}", letter(node)));
                    self.director.help(node, power)?;
                }
            }
            if now > mended + end && !late {
                late = true;
                let text = format!("not at home {} s after the mending", end.as_secs());
                self.watch.observer.violated(Rule::NotHome, now, text);
            }
            if now > mended + end * 2 {
                bail!("the cluster does not find back; its logs are kept");
            }
        }
    }

    /// Leaves a cluster that is as it should be alone, then has one group handed over and back.
    fn rest(&mut self, number: u64) -> Result<()> {
        for node in 0..self.nodes {
            let now = self.watch.now();
            self.census.look(self.lab, node, now)?;
        }
        self.watch.phase(Phase::Rest);
        let meters = self.open_flows()?;
        self.pass(self.pace.rest)?;
        self.watch.phase(Phase::Order);
        let zone = usize::try_from(number).unwrap_or_default() % self.nodes;
        self.order(zone)?;
        let now = self.watch.now();
        let reports = self.close_flows(&meters)?;
        for (at, report) in reports.iter().enumerate() {
            // Two meters for each zone. Connections of what was handed over are reset: the other
            // node has another address.
            if at / 2 != zone && report.broken > 0 {
                let text = format!("{} of {}: {:?}", report.broken, report.flows, report.reasons);
                let text = format!("connections of {} broke: {text}", host_name(at / 2));
                self.watch.observer.violated(Rule::BrokenAtRest, now, text);
            }
        }
        self.judge_growth();
        self.tick()
    }

    /// An operator orders a group away; it goes, and comes home by itself.
    fn order(&mut self, zone: usize) -> Result<()> {
        let ordered = self.watch.now();
        self.tally.orders += 1;
        self.director.hand_over(zone, ordered)?;
        let mut away = false;
        let end = ordered + self.pace.home_again(self.nodes);
        loop {
            self.tick()?;
            let now = self.watch.now();
            let observer = &mut self.watch.observer;
            away |= observer.holder(zone) != Some(zone);
            if !away && now > ordered + OBEYED + LATE {
                let text = format!("the order to hand {} over was not followed", letter(zone));
                observer.violated(Rule::NotHome, now, text);
                return Ok(());
            }
            let seen = now.saturating_sub(LATE);
            let quiet = seen.saturating_sub(observer.last_change()) >= SETTLED / 2;
            if away && observer.is_home() && quiet {
                return Ok(());
            }
            if now > end {
                let text = format!("{} did not come home after an order", letter(zone));
                observer.violated(Rule::NotHome, now, text);
                return Ok(());
            }
        }
    }

    fn judge_growth(&mut self) {
        let growth = self.census.growth();
        let grown = growth.rss_mib > census::MEMORY_MIB
            || growth.descriptors > census::DESCRIPTORS
            || growth.threads > census::THREADS;
        if grown {
            let now = self.watch.now();
            self.watch.observer.violated(Rule::Grown, now, format!("a monitor grew: {growth:?}"));
        }
    }

    fn open_flows(&self) -> Result<Vec<u64>> {
        let mut meters = Vec::new();
        for zone in 0..self.nodes {
            let host = host_name(zone);
            let (count, interval_ms) = (FLOWS, FLOW_MS);
            for what in [What::Flows { count, interval_ms }, What::Datagrams { count, interval_ms }]
            {
                meters.push(self.lab.measure(&host, INTERNET_HOST, what)?);
            }
        }
        Ok(meters)
    }

    /// Side by side: a flow that broke takes its time to notice.
    fn close_flows(&self, meters: &[u64]) -> Result<Vec<flows::Report>> {
        thread::scope(|scope| {
            let closing: Vec<_> =
                meters.iter().map(|meter| scope.spawn(|| self.lab.flowed(*meter))).collect();
            let reports = closing.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
            });
            reports.collect()
        })
    }
}
