//! A node whose kernel panics, and the way back.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::pair::{PACE_MS, Pair, api, outage, power_cycle, power_off, power_on, spread};
use super::{Bench, stats, summary};
use crate::spec::Ec2Spec;

/// Outages with API calls of 50 ms.
pub(super) const FAST: [&str; 2] =
    ["hard_kill.api50.outage_ms.median", "hard_kill.api50.outage_ms.max"];
/// Outages with API calls of 300 ms and a propagation of a second.
pub(super) const SLOW: [&str; 2] =
    ["hard_kill.api300_prop1000.outage_ms.median", "hard_kill.api300_prop1000.outage_ms.max"];
/// The pings around a hand-back, and the time for half of them.
const PINGS: usize = 1000;
const HALF: Duration = Duration::from_secs(5);
/// The interval of heartbeats, whose phase a kill should meet anywhere.
const PHASE: Duration = Duration::from_millis(100);

pub(super) fn fast(bench: &Bench<'_>) -> Result<Figures> {
    summary(&FAST, &outages(bench, api(50), bench.scale.kills)?)
}

pub(super) fn slow(bench: &Bench<'_>) -> Result<Figures> {
    let ec2 = Ec2Spec { propagation_ms: 1000, ..api(300) };
    summary(&SLOW, &outages(bench, ec2, bench.scale.slow_kills)?)
}

/// Kills one node again and again, each time after it has its routes again.
fn outages(bench: &Bench<'_>, ec2: Ec2Spec, rounds: u32) -> Result<Vec<f64>> {
    let pair = Pair::start(bench.options.natha.clone(), ec2)?;
    let mut outages = Vec::new();
    for round in 0..rounds {
        let meter = pair.lab.ping("host-a", PACE_MS)?;
        spread(round, rounds, PHASE);
        pair.lab.panic("nat-a")?;
        pair.await_route(0, "nat-b")?;
        let ms = outage(&pair.lab, meter).with_context(|| format!("kill {}", round + 1))?;
        Bench::say(&format!("kill {} of {rounds}: {ms:.0} ms", round + 1));
        outages.push(ms);
        power_cycle(&pair.lab, "nat-a")?;
        pair.await_home()?;
    }
    Ok(outages)
}

/// Pings while a node that comes back gets its routes again.
pub(super) fn hand_back(bench: &Bench<'_>) -> Result<Figures> {
    let pair = Pair::start(bench.options.natha.clone(), api(50))?;
    let mut worst = 0;
    for round in 0..bench.scale.hand_backs {
        pair.lab.panic("nat-a")?;
        pair.await_route(0, "nat-b")?;
        power_off(&pair.lab, "nat-a")?;
        let begun = pair.lab.status()?.now_ms;
        let meter = pair.lab.ping("host-a", PACE_MS)?;
        thread::sleep(HALF);
        power_on(&pair.lab, "nat-a")?;
        pair.await_route(0, "nat-a")?;
        let back = pair.lab.status()?.now_ms;
        thread::sleep(HALF + Duration::from_millis(500));
        let probes = pair.lab.pinged(meter)?.probes;
        let middle = probes.iter().position(|(at, _)| *at >= back).context("pings ended early")?;
        let first = middle.saturating_sub(PINGS / 2).min(probes.len().saturating_sub(PINGS));
        let around = &probes[first..];
        ensure!(around.len() >= PINGS, "only {} pings since {begun} ms", probes.len());
        let lost = around[..PINGS].iter().filter(|(_, answer)| answer.is_none()).count();
        Bench::say(&format!("hand-back {}: {lost} of {PINGS} pings lost", round + 1));
        worst = worst.max(lost);
        pair.await_home()?;
    }
    Ok(Figures::from([("hand_back.pings_lost", stats::count(worst))]))
}
