//! Connections over a hard kill, a hand-back and a hand-over, and the bandwidth of their
//! replication.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{replicating, slow_effects, wait_own_address};
use crate::bench::figures::Figures;
use crate::bench::pair::power_cycle;
use crate::bench::{Bench, stats};
use crate::egress::Load;
use crate::scene::Scene;
use crate::spec::Ec2Spec;
use crate::survival::mix;

/// The figures of [`survived`].
pub(in crate::bench) const SURVIVED: [&str; 3] =
    ["flows.survived_ratio", "flows.planned_broken", "flows.bandwidth_ratio"];

/// How long the connections run before the kill.
const BEFORE: Duration = Duration::from_secs(10);
/// From a move to the last message of each connection.
const CALM: Duration = Duration::from_secs(3);
/// The source port of the first connection.
const FIRST_PORT: u16 = 8_000;

/// Sums over all rounds.
#[derive(Debug, Default)]
struct Sums {
    /// How often connections were opened, each time from other ports: the kernel keeps those that
    /// were closed for a minute.
    loads: u16,
    opened: usize,
    alive: usize,
    broken: usize,
    /// Octets of the stream to the heir, and those that the owner's interface received.
    replicated: u64,
    received: u64,
}

impl Sums {
    /// Opens connections.
    fn open(&mut self, bench: &Bench<'_>, scene: &Scene) -> Result<Load> {
        let flows = bench.scale.flows;
        let port = FIRST_PORT + self.loads * flows;
        self.loads += 1;
        Load::open(scene, &mix(flows, port))
    }
}

/// What takes effect first, and what later: the routes, or the Elastic IPs.
fn effects() -> [Ec2Spec; 2] {
    let route_first = slow_effects();
    let elastic_first =
        Ec2Spec { propagation_ms: 3_000, elastic_ms: Some(1_000), ..slow_effects() };
    [route_first, elastic_first]
}

pub(in crate::bench) fn survived(bench: &Bench<'_>) -> Result<Figures> {
    let (mut sums, rounds) = (Sums::default(), bench.scale.flow_rounds);
    for ec2 in effects() {
        let (route_ms, elastic_ms) = (ec2.propagation_ms, ec2.elastic_ms.unwrap_or_default());
        let scene = replicating(bench, ec2, "")?;
        sums.loads = 0;
        for round in 1..=rounds {
            killed(bench, &scene, &mut sums)?;
            moved(bench, &scene, &mut sums)?;
            let Sums { opened, alive, broken, .. } = sums;
            Bench::say(&format!(
                "connections, route after {route_ms} ms, Elastic IP after {elastic_ms} ms, round \
                 {round} of {rounds}: {alive} of {opened} survived the kills, {broken} broken by \
                 planned moves"
            ));
        }
    }
    let ratio = stats::count(sums.alive) / stats::count(sums.opened).max(1.0);
    let sent = usize::try_from(sums.replicated)?;
    let received = usize::try_from(sums.received)?;
    let share = stats::count(sent) / stats::count(received).max(1.0);
    let values = [
        // Never rounded up to 1.
        (ratio * 1e5).floor() / 1e5,
        stats::count(sums.broken),
        stats::rounded(share, 4),
    ];
    Ok(SURVIVED.into_iter().zip(values).collect())
}

/// The home panics; then it gets its group back under load.
fn killed(bench: &Bench<'_>, scene: &Scene, sums: &mut Sums) -> Result<()> {
    let before = octets(scene)?;
    let load = sums.open(bench, scene)?;
    scene.wait_replicated("nat-a", "nat-b", 2 * usize::from(bench.scale.flows))?;
    scene.pass(BEFORE);
    let after = octets(scene)?;
    sums.replicated += after[0].saturating_sub(before[0]);
    sums.received += after[1].saturating_sub(before[1]);
    scene.panic("nat-a")?;
    scene.wait_route(0, "nat-b")?;
    wait_own_address(scene)?;
    scene.pass(CALM);
    let ended = load.close(scene)?;
    sums.opened += ended.flows();
    sums.alive += ended.flows() - ended.broken();
    let load = sums.open(bench, scene)?;
    power_cycle(scene, "nat-a")?;
    scene.wait_route(0, "nat-a")?;
    wait_own_address(scene)?;
    scene.pass(CALM);
    sums.broken += load.close(scene)?.broken();
    scene.wait_well()
}

/// The home hands its group over, and gets it back.
fn moved(bench: &Bench<'_>, scene: &Scene, sums: &mut Sums) -> Result<()> {
    let load = sums.open(bench, scene)?;
    scene.wait_replicated("nat-a", "nat-b", 2 * usize::from(bench.scale.flows))?;
    scene.wait_copies_ended(&["nat-a", "nat-b"])?;
    scene.hand_over("nat-a", "a", "nat-b")?;
    for holder in ["nat-b", "nat-a"] {
        scene.wait_route(0, holder)?;
        wait_own_address(scene)?;
    }
    scene.pass(CALM);
    sums.broken += load.close(scene)?.broken();
    scene.wait_well()
}

/// Octets that the home has sent to its heir, and those that its interface has received.
fn octets(scene: &Scene) -> Result<[u64; 2]> {
    let sent = scene.sent("nat-a", "nat-b")?["octets"].as_u64().context("no stream to nat-b")?;
    let received = scene.sh("nat-a", "cat /sys/class/net/ens5/statistics/rx_bytes")?;
    Ok([sent, received.trim().parse()?])
}
