//! What conntrackd uses under the loads of natha's replication.

use anyhow::Result;

use super::commit::mib;
use super::loaded::{By, Loaded};
use crate::bench::Bench;
use crate::bench::figures::Figures;

/// Connections a second, and how many in all: 200,000 together.
const LOADS: [(u32, u32); 3] = [(1_000, 30_000), (5_000, 70_000), (20_000, 100_000)];

/// Processor time of both ends at each rate, then memory of both ends with all connections.
pub(in crate::bench) const CONNTRACKD: [&str; 8] = [
    "conntrackd.new1000.owner_cpu_percent",
    "conntrackd.new1000.heir_cpu_percent",
    "conntrackd.new5000.owner_cpu_percent",
    "conntrackd.new5000.heir_cpu_percent",
    "conntrackd.new20000.owner_cpu_percent",
    "conntrackd.new20000.heir_cpu_percent",
    "conntrackd.entries200000.owner_rss_mib",
    "conntrackd.entries200000.heir_rss_mib",
];

pub(in crate::bench) fn conntrackd(bench: &Bench<'_>) -> Result<Figures> {
    let mut loaded = Loaded::start(bench, By::Conntrackd)?;
    let mut values = Vec::new();
    for (rate, count) in LOADS {
        let cost = loaded.create(count, rate)?;
        loaded.wait_held()?;
        Bench::say(&format!(
            "conntrackd, {rate} new connections a second: {} and {} % of a core",
            cost.owner, cost.heir
        ));
        values.extend([cost.owner, cost.heir]);
    }
    values.extend(loaded.usages()?.map(mib));
    Ok(CONNTRACKD.into_iter().zip(values).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loads_are_as_many_connections_as_the_memory_is_measured_with() {
        assert_eq!(LOADS.iter().map(|(_, count)| count).sum::<u32>(), 200_000);
        for ((rate, _), names) in LOADS.into_iter().zip(CONNTRACKD.chunks(2)) {
            assert!(names.iter().all(|name| name.contains(&format!("new{rate}."))), "{names:?}");
        }
    }
}
