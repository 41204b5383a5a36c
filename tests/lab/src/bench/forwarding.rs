//! What keeps a NAT from forwarding while it runs and answers: rules that are gone, another
//! program's rules, a full connection table.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::figures::Figures;
use super::pair::{CONFIG, PACE_MS, PROBE, spread};
use super::{Bench, summary};
use crate::meter::ping::Outage;
use crate::meter::tcp::{Aim, Greeting};
use crate::net::internet::{ECHO_PORT, INTERNET_HOST};
use crate::scene::{self, Scene};

pub(super) const FLUSH: [&str; 2] = ["flush.outage_ms.median", "flush.outage_ms.max"];
pub(super) const FOREIGN: [&str; 2] =
    ["foreign_drop.outage_ms.median", "foreign_drop.outage_ms.max"];
pub(super) const CONNTRACK: [&str; 2] =
    ["conntrack_full.outage_ms.median", "conntrack_full.outage_ms.max"];

/// How long nothing may be lost before an outage counts as over.
const CALM: Duration = Duration::from_millis(1500);
/// A node that was not well itself within 5 s takes nothing from a sick peer, and both have just
/// started.
const SETTLED: Duration = Duration::from_secs(6);
/// A connection through a NAT whose table is full is refused nothing: its packets are dropped.
const CONNECT_LIMIT_MS: u64 = 250;
const FOREIGN_TABLE: &str = "nft add table inet other && nft add chain inet other forward \
                             '{ type filter hook forward priority 0; policy drop; }'";

/// `nft flush ruleset`, as a reload of nftables.service does it.
pub(super) fn flushed(bench: &Bench<'_>) -> Result<Figures> {
    let flush = |scene: &Scene| scene.sh("nat-a", "nft flush ruleset").map(drop);
    rounds(bench, &FLUSH, &Break { start: ping, stop: pinged, make: &flush, mend: "true" })
}

/// Another program's table drops what is forwarded.
pub(super) fn foreign_drop(bench: &Bench<'_>) -> Result<Figures> {
    let drops = |scene: &Scene| {
        scene.sh("nat-a", FOREIGN_TABLE)?;
        scene.wait_route(0, "nat-b")
    };
    let mend = "nft delete table inet other";
    rounds(bench, &FOREIGN, &Break { start: ping, stop: pinged, make: &drops, mend })
}

/// No flow finds room in the connection table; those that are in it go on. The outage is that of
/// new connections.
pub(super) fn conntrack_full(bench: &Bench<'_>) -> Result<Figures> {
    let fill = |scene: &Scene| {
        scene.fill_connections("nat-a", 0)?;
        scene.wait_route(0, "nat-b")
    };
    let start = |scene: &Scene| {
        scene.connect(
            "host-a",
            INTERNET_HOST,
            Aim {
                port: ECHO_PORT,
                name: None,
                greeting: Greeting::Connected,
                interval_ms: PACE_MS,
                timeout_ms: CONNECT_LIMIT_MS,
            },
        )
    };
    let stop = |scene: &Scene, meter| Ok(scene.connected(meter)?.outages);
    rounds(bench, &CONNTRACK, &Break { start, stop, make: &fill, mend: "conntrack -F" })
}

/// A way to break forwarding on nat-a, and to measure what a private host notices.
struct Break<'a, Start, Stop> {
    start: Start,
    stop: Stop,
    /// Breaks it, and waits until it is covered, if it must be.
    make: &'a dyn Fn(&Scene) -> Result<()>,
    /// What undoes it on nat-a.
    mend: &'a str,
}

fn rounds<Start, Stop>(
    bench: &Bench<'_>,
    names: &[&'static str; 2],
    what: &Break<'_, Start, Stop>,
) -> Result<Figures>
where
    Start: Fn(&Scene) -> Result<u64>,
    Stop: Fn(&Scene, u64) -> Result<Vec<Outage>>,
{
    let scene = Scene::start(&scene::spec(2, &bench.options.natha, CONFIG))?;
    scene.pass(SETTLED);
    let rounds = bench.scale.broken;
    let mut times = Vec::new();
    for round in 0..rounds {
        let meter = (what.start)(&scene)?;
        spread(round, rounds, PROBE);
        (what.make)(&scene)?;
        scene.pass(CALM);
        let outages = (what.stop)(&scene, meter)?;
        // Less than from one probe to the next is none.
        let ends = outages.first().zip(outages.last());
        let ms = ends.map_or(0.0, |(first, last)| last.end_ms - first.start_ms);
        Bench::say(&format!("{} {} of {rounds}: {ms:.0} ms", names[0], round + 1));
        times.push(ms);
        scene.sh("nat-a", what.mend)?;
        scene.wait_route(0, "nat-a")?;
        scene.wait_well()?;
    }
    summary(names, &times)
}

fn ping(scene: &Scene) -> Result<u64> {
    scene.ping("host-a", PACE_MS)
}

fn pinged(scene: &Scene, meter: u64) -> Result<Vec<Outage>> {
    let report = scene.pinged(meter)?;
    ensure!(report.probes.last().is_some_and(|(_, answer)| answer.is_some()), "still out");
    Ok(report.outages)
}
