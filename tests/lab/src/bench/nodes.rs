//! What a cluster costs as it grows: processor time, packets and calls of EC2, at rest and after a
//! zone was lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::host::{TICKS, ticks};
use super::pair::CONFIG;
use super::{Bench, stats};
use crate::scene::{self, Scene};
use crate::spec::{Role, Spec};

/// The figures of two nodes: of each state its processor time, packets and calls.
pub(super) const TWO: [&str; 6] = [
    "nodes2.rest.cpu_percent",
    "nodes2.rest.packets_per_s",
    "nodes2.rest.ec2_calls_per_s",
    "nodes2.zone_lost.cpu_percent",
    "nodes2.zone_lost.packets_per_s",
    "nodes2.zone_lost.ec2_calls_per_s",
];
/// The same of eight.
pub(super) const EIGHT: [&str; 6] = [
    "nodes8.rest.cpu_percent",
    "nodes8.rest.packets_per_s",
    "nodes8.rest.ec2_calls_per_s",
    "nodes8.zone_lost.cpu_percent",
    "nodes8.zone_lost.packets_per_s",
    "nodes8.zone_lost.ec2_calls_per_s",
];
/// The same of sixteen, and the calls of the state that takes more of them.
pub(super) const SIXTEEN: [&str; 7] = [
    "nodes16.rest.cpu_percent",
    "nodes16.rest.packets_per_s",
    "nodes16.rest.ec2_calls_per_s",
    "nodes16.zone_lost.cpu_percent",
    "nodes16.zone_lost.packets_per_s",
    "nodes16.zone_lost.ec2_calls_per_s",
    "nodes16.ec2_calls_per_s",
];

/// How long a cluster is left alone before it counts as at rest: each node looks for members a
/// second time ten seconds after its start.
const CALM: Duration = Duration::from_secs(15);

pub(super) fn two(bench: &Bench<'_>) -> Result<Figures> {
    measure(bench, 2, &TWO)
}

pub(super) fn eight(bench: &Bench<'_>) -> Result<Figures> {
    measure(bench, 8, &EIGHT)
}

pub(super) fn sixteen(bench: &Bench<'_>) -> Result<Figures> {
    let mut figures = measure(bench, 16, &SIXTEEN)?;
    let calls = [SIXTEEN[2], SIXTEEN[5]].map(|name| figures[name]);
    figures.insert(SIXTEEN[6], calls[0].max(calls[1]));
    Ok(figures)
}

/// A cluster at rest for a while, and in the same time after its last zone was lost.
fn measure(bench: &Bench<'_>, nodes: u8, names: &[&'static str]) -> Result<Figures> {
    let spec = spec(bench, nodes);
    let scene = Scene::start(&spec)?;
    scene.pass(CALM);
    scene.wait_well()?;
    let all: Vec<&str> = in_zones(&spec, |_| true).collect();
    let before = scene.route_writes()?;
    let rest = watch(&scene, &all, bench.scale.idle)?;
    ensure!(scene.route_writes()? == before, "routes moved, though nothing was wrong");
    let last = nodes.min(3) - 1;
    for node in in_zones(&spec, |zone| zone == last) {
        scene.panic(node)?;
    }
    let left: Vec<&str> = in_zones(&spec, |zone| zone != last).collect();
    let without = watch(&scene, &left, bench.scale.idle)?;
    for (state, [cpu, packets, calls]) in [("at rest", rest), ("with a zone lost", without)] {
        Bench::say(&format!(
            "{nodes} nodes {state}: {cpu} % of a core and {packets} packets a second each, \
             {calls} calls a second together"
        ));
    }
    Ok(names.iter().copied().zip(rest.into_iter().chain(without)).collect())
}

/// Nodes in three zones, each the home of a route table.
fn spec(bench: &Bench<'_>, nodes: u8) -> Spec {
    let mut spec = scene::spec(nodes, &bench.options.natha, CONFIG);
    let natters = spec.hosts.iter().filter(|host| host.role == Role::Node);
    // The first node of each zone has the zone's own.
    spec.more_tables = natters.skip(3).map(|host| host.name.clone()).collect();
    spec
}

/// The nodes in some of the zones.
fn in_zones(spec: &Spec, is_meant: impl Fn(u8) -> bool) -> impl Iterator<Item = &str> {
    let nodes =
        spec.hosts.iter().filter(move |host| host.role == Role::Node && is_meant(host.zone));
    nodes.map(|host| host.name.as_str())
}

/// What a monitor has used, and its host sent and received.
struct Sample {
    at: Instant,
    ticks: u32,
    packets: u64,
}

/// Watches nodes for a while: processor time in per cent of a core and packets a second of each
/// node on average, and the calls a second of all together.
fn watch(scene: &Scene, nodes: &[&str], lasting: Duration) -> Result<[f64; 3]> {
    let samples = || -> Result<Vec<Sample>> {
        nodes.iter().map(|node| sample(scene, node).with_context(|| (*node).to_owned())).collect()
    };
    let (begun, calls) = (Instant::now(), scene.calls()?.len());
    let before = samples()?;
    scene.pass(lasting.saturating_sub(begun.elapsed()));
    let (calls, elapsed) = (scene.calls()?.len() - calls, begun.elapsed());
    let after = samples()?;
    let (mut cpu, mut packets) = (0.0, 0.0);
    for (before, after) in before.iter().zip(&after) {
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        cpu += f64::from(after.ticks - before.ticks) / f64::from(TICKS) / seconds * 100.0;
        let sent = usize::try_from(after.packets - before.packets)?;
        packets += stats::count(sent) / seconds;
    }
    let nodes = stats::count(nodes.len());
    Ok([
        stats::rounded(cpu / nodes, 2),
        stats::rounded(packets / nodes, 1),
        stats::rounded(stats::count(calls) / elapsed.as_secs_f64(), 2),
    ])
}

fn sample(scene: &Scene, node: &str) -> Result<Sample> {
    let script = "set -e; comm=$(grep -slx natha /proc/[0-9]*/comm || true); \
                  cat \"${comm%comm}stat\" /proc/net/dev";
    let text = scene.sh(node, script)?;
    let at = Instant::now();
    let (stat, devices) = text.split_once('\n').context("no line of a process")?;
    let ticks = ticks(stat).context("no CPU time")?;
    Ok(Sample { at, ticks, packets: packets(devices) })
}

/// The packets that all links of a `/proc/net/dev` have received and sent; the loopback and the
/// interface of the transit probes are no links.
fn packets(devices: &str) -> u64 {
    let of_link = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let is_link = !["lo", "natha0"].contains(&name.trim());
        Some(numbers.get(1)? + numbers.get(9)?).filter(|_| is_link)
    };
    devices.lines().filter_map(of_link).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packets_of_links_count() {
        let devices = "Inter-|   Receive                 |  Transmit\n \
            face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n\
                lo: 100 9 0 0 0 0 0 0 100 9 0 0 0 0 0 0\n\
              ens5: 100 2 0 0 0 0 0 0 100 3 0 0 0 0 0 0\n\
            natha0: 100 9 0 0 0 0 0 0 100 9 0 0 0 0 0 0\n";
        assert_eq!(packets(devices), 5);
    }
}
