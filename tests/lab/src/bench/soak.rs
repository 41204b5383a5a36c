//! A soak: random faults on a cluster of two and one of three, side by side.

use anyhow::{Result, bail};

use super::Bench;
use super::figures::Figures;
use crate::soak::{Options, run};

/// What is published of a soak.
pub(super) const NAMES: [&str; 13] = [
    "soak.minutes",
    "soak.cycles",
    "soak.faults",
    "soak.violations",
    "soak.takeovers",
    "soak.repairs",
    "soak.hand_backs",
    "soak.pings_sent",
    "soak.pings_lost",
    "soak.rss_growth_mib",
    "soak.rss_growth_over_minutes",
    "soak.fd_growth",
    "soak.thread_growth",
];
/// The same faults in every run.
const SEED: u64 = 1;

pub(super) fn soak(bench: &Bench<'_>) -> Result<Figures> {
    let outcome = run(&Options {
        natha: bench.options.natha.clone(),
        nodes: vec![2, 3],
        lasting: bench.scale.soak,
        seed: SEED,
        first: 0,
        defaults: false,
        logs: std::env::temp_dir().join("natha-soak-logs"),
    });
    if !outcome.failed.is_empty() {
        bail!("{}", outcome.failed.join("; "));
    }
    for violation in &outcome.violations {
        Bench::say(violation);
    }
    let published = NAMES.iter().filter_map(|name| Some((*name, *outcome.figures.get(name)?)));
    Ok(published.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_figure_is_one_of_a_soak() {
        assert!(NAMES.iter().all(|name| crate::soak::NAMES.contains(name)));
    }
}
