//! Two healthy nodes that cannot hear each other. Only counts are taken, so the labs run side by
//! side.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::figures::Figures;
use super::pair::{NODES, PACE_MS, Pair, api, stops};
use super::{Bench, stats, yardstick};
use crate::lab::Lab;
use crate::net::faults::Traffic;
use crate::spec::Ec2Spec;

/// The port of the heartbeats.
const BEATS: Traffic = Traffic::Udp(6284);

/// One lab.
struct Case {
    /// The stops, and the pings that were lost.
    names: [&'static str; 2],
    what: &'static [Traffic],
    natha: bool,
}

const CASES: [Case; 4] = [
    Case {
        names: ["icmp_blocked.natha.stops", "icmp_blocked.natha.pings_lost"],
        what: &[Traffic::Icmp],
        natha: true,
    },
    Case {
        names: ["heartbeat_blocked.natha.stops", "heartbeat_blocked.natha.pings_lost"],
        what: &[BEATS],
        natha: true,
    },
    Case {
        names: ["both_blocked.natha.stops", "both_blocked.natha.pings_lost"],
        what: &[Traffic::Icmp, BEATS],
        natha: true,
    },
    Case {
        names: ["icmp_blocked.yardstick.stops", "icmp_blocked.yardstick.pings_lost"],
        what: &[Traffic::Icmp],
        natha: false,
    },
];

/// The names of all of its figures.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static &'static str> {
    CASES.iter().flat_map(|case| &case.names)
}

/// Runs every case of which a figure is needed.
pub(super) fn run(
    bench: &Bench<'_>,
    needed: &[&str],
) -> Vec<(&'static [&'static str], Result<Figures>)> {
    let cases: Vec<_> =
        CASES.iter().filter(|case| case.names.iter().any(|name| needed.contains(name))).collect();
    if !cases.is_empty() {
        let seconds = bench.scale.blocked.as_secs();
        Bench::say(&format!("measuring {} labs with blocked traffic, {seconds} s", cases.len()));
    }
    thread::scope(|scope| {
        let running: Vec<_> =
            cases.iter().map(|case| (case, scope.spawn(|| measure(bench, case)))).collect();
        running
            .into_iter()
            .map(|(case, thread)| {
                let outcome = thread.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
                (case.names.as_slice(), outcome)
            })
            .collect()
    })
}

fn measure(bench: &Bench<'_>, case: &Case) -> Result<Figures> {
    // A stop that takes as long as on AWS: long enough for the other node to be stopped as well.
    let ec2 = Ec2Spec { stop_ms: 20_000, boot_ms: 15_000, ..api(50) };
    let (stops, lost) = if case.natha {
        let pair = Pair::start(bench.options.natha.clone(), ec2)?;
        watch(&pair.lab, case.what, bench.scale.blocked)?
    } else {
        let lab = yardstick::lab(ec2)?;
        yardstick::install(&lab, bench.aws()?, ["nat-a", "nat-b"], [0, 1])?;
        yardstick::install(&lab, bench.aws()?, ["nat-b", "nat-a"], [1, 0])?;
        watch(&lab, case.what, bench.scale.blocked)?
    };
    Bench::say(&format!("{}: {stops}, {lost} pings lost", case.names[0]));
    Ok(case.names.into_iter().zip([stops, lost].map(stats::count)).collect())
}

/// Blocks traffic between the nodes, in both directions, and counts stops and lost pings.
fn watch(lab: &Lab, what: &[Traffic], period: Duration) -> Result<(usize, usize)> {
    let meters = [lab.ping("host-a", PACE_MS)?, lab.ping("host-b", PACE_MS)?];
    let before = stops(lab)?;
    for &traffic in what {
        lab.block(NODES[0], NODES[1], traffic)?;
        lab.block(NODES[1], NODES[0], traffic)?;
    }
    thread::sleep(period);
    let problems = lab.status()?.problems;
    ensure!(problems.is_empty(), "the lab is not healthy: {}", problems.join("; "));
    let mut lost = 0;
    for meter in meters {
        lost += lab.pinged(meter)?.lost;
    }
    Ok((stops(lab)? - before, lost))
}
