//! The lag of the heir while many connections are opened.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::loaded::{By, Loaded};
use crate::bench::figures::Figures;
use crate::bench::{Bench, stats};

/// Connections a second, and how many in all: the kernel's table has room for 262,144.
const LOADS: [(u32, u32); 3] = [(1_000, 30_000), (5_000, 100_000), (20_000, 200_000)];

/// Of each load the lag, processor time of both monitors, and how often everything was sent anew.
pub(in crate::bench) const LAG: &[[&str; 5]; 3] = &[
    [
        "flows.new1000.lag_ms.p50",
        "flows.new1000.lag_ms.p99",
        "flows.new1000.owner_cpu_percent",
        "flows.new1000.heir_cpu_percent",
        "flows.new1000.resyncs",
    ],
    [
        "flows.new5000.lag_ms.p50",
        "flows.new5000.lag_ms.p99",
        "flows.new5000.owner_cpu_percent",
        "flows.new5000.heir_cpu_percent",
        "flows.new5000.resyncs",
    ],
    [
        "flows.new20000.lag_ms.p50",
        "flows.new20000.lag_ms.p99",
        "flows.new20000.owner_cpu_percent",
        "flows.new20000.heir_cpu_percent",
        "flows.new20000.resyncs",
    ],
];

pub(in crate::bench) fn lags(bench: &Bench<'_>) -> Result<Figures> {
    let mut loaded = Loaded::start(bench, By::Natha)?;
    let mut figures = Figures::new();
    for ((rate, count), names) in LOADS.into_iter().zip(LAG) {
        let before = loaded.counts()?;
        let cost = loaded.create(count, rate)?;
        loaded.wait_held()?;
        let after = loaded.counts()?;
        let lags = difference(&after.lags, &before.lags);
        let at = |percent| quantile(&lags, percent).context("no change was acknowledged");
        let resyncs = usize::try_from(after.resyncs - before.resyncs)?;
        let values = [at(50)?, at(99)?, cost.owner, cost.heir, stats::count(resyncs)];
        Bench::say(&format!("{rate} new connections a second: {lags:?}, {resyncs} resyncs"));
        figures.extend(names.iter().copied().zip(values));
        loaded.clear()?;
    }
    Ok(figures)
}

/// What was counted since `before`.
fn difference(after: &BTreeMap<u32, u64>, before: &BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
    let since = |bound: &u32, count: u64| count - before.get(bound).copied().unwrap_or(0);
    let all = after.iter().map(|(bound, count)| (*bound, since(bound, *count)));
    all.filter(|(_, count)| *count > 0).collect()
}

/// The upper bound below which so many per cent are; none without any.
fn quantile(counts: &BTreeMap<u32, u64>, percent: u64) -> Option<f64> {
    let place = (counts.values().sum::<u64>() * percent).div_ceil(100);
    let mut passed = 0;
    let mut bounds = counts.iter().filter(|(_, count)| {
        passed += **count;
        passed >= place
    });
    bounds.next().map(|(bound, _)| f64::from(*bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_its_class() {
        let counts = BTreeMap::from([(1, 50), (5, 48), (20, 1), (100, 1)]);
        let at = |percent| quantile(&counts, percent);
        assert_eq!([at(50), at(51), at(98), at(99)], [1.0, 5.0, 5.0, 20.0].map(Some));
        assert_eq!(at(100), Some(100.0));
        assert_eq!(quantile(&BTreeMap::new(), 50), None);
    }

    #[test]
    fn only_what_is_new_counts() {
        let before = BTreeMap::from([(1, 10), (5, 3)]);
        let after = BTreeMap::from([(1, 12), (5, 3), (8, 1)]);
        assert_eq!(difference(&after, &before), BTreeMap::from([(1, 2), (8, 1)]));
    }

    #[test]
    fn each_load_has_figures_of_its_own() {
        for ((rate, _), names) in LOADS.into_iter().zip(LAG) {
            assert!(names.iter().all(|name| name.contains(&format!("new{rate}."))), "{names:?}");
        }
    }
}
