//! A hard kill where Elastic IPs take effect seconds after routes.

use std::time::Duration;

use anyhow::Result;

use super::loaded::NODES;
use super::{EARLY, replicating, wait_own_address};
use crate::bench::figures::Figures;
use crate::bench::pair::{PACE_MS, api, outage, power_cycle, spread};
use crate::bench::{Bench, summary};
use crate::meter::ping::Outage;
use crate::meter::tcp::{Aim, Greeting};
use crate::net::internet::{ECHO_PORT, INTERNET_HOST};
use crate::scene::Scene;
use crate::spec::Ec2Spec;

/// The outages of a connection that lives, then those of new ones.
pub(in crate::bench) const SLOW: [&str; 4] = [
    "hard_kill.api300_prop1000_eip3000.outage_ms.median",
    "hard_kill.api300_prop1000_eip3000.outage_ms.max",
    "hard_kill.api300_prop1000_eip3000.new_outage_ms.median",
    "hard_kill.api300_prop1000_eip3000.new_outage_ms.max",
];

/// The interval of heartbeats, whose phase a kill should meet anywhere.
const PHASE: Duration = Duration::from_millis(100);
/// How long a new connection may take.
const TIMEOUT_MS: u64 = 250;

/// An API call takes 300 ms, a route takes effect after 1 s and an Elastic IP after 3 s.
#[must_use]
pub(in crate::bench) fn slow_effects() -> Ec2Spec {
    Ec2Spec { propagation_ms: 1_000, elastic_ms: Some(3_000), ..api(300) }
}

pub(in crate::bench) fn slow(bench: &Bench<'_>) -> Result<Figures> {
    let scene = replicating(bench, slow_effects(), EARLY)?;
    let rounds = bench.scale.slow_kills;
    let (mut living, mut new) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Pings are one connection: their identifier stays.
        let pings = scene.ping("host-a", PACE_MS)?;
        scene.wait_replicated("nat-a", "nat-b", 1)?;
        let meter = connects(&scene)?;
        spread(round, rounds, PHASE);
        scene.panic("nat-a")?;
        scene.wait_route(0, "nat-b")?;
        wait_own_address(&scene)?;
        living.push(outage(&scene, pings)?);
        new.push(span(&scene.connected(meter)?.outages));
        Bench::say(&format!(
            "kill {} of {rounds}: {:.0} ms, new connections {:.0} ms",
            round + 1,
            living.last().copied().unwrap_or_default(),
            new.last().copied().unwrap_or_default(),
        ));
        power_cycle(&scene, "nat-a")?;
        scene.wait_route(0, "nat-a")?;
        wait_own_address(&scene)?;
        // The hand-back has taken effect, too.
        scene.wait_copies_ended(&NODES)?;
        scene.wait_well()?;
    }
    let mut figures = summary(&[SLOW[0], SLOW[1]], &living)?;
    figures.extend(summary(&[SLOW[2], SLOW[3]], &new)?);
    Ok(figures)
}

/// Opens connections to the internet one after the other, from a private host of the first zone.
pub(super) fn connects(scene: &Scene) -> Result<u64> {
    let aim = Aim {
        port: ECHO_PORT,
        name: None,
        greeting: Greeting::Connected,
        interval_ms: PACE_MS,
        timeout_ms: TIMEOUT_MS,
    };
    scene.connect("host-a", INTERNET_HOST, aim)
}

/// From the begin of the first outage to the end of the last one, in milliseconds.
pub(super) fn span(outages: &[Outage]) -> f64 {
    let ends = outages.first().zip(outages.last());
    ends.map_or(0.0, |(first, last)| last.end_ms - first.start_ms)
}
