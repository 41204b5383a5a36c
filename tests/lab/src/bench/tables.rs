//! A takeover of many route tables, which EC2 lets an account change only so fast.

use std::time::Duration;

use anyhow::{Context, Result};

use super::figures::Figures;
use super::pair::{CONFIG, NODES};
use super::{Bench, stats};
use crate::daemon::account::REGION;
use crate::daemon::shared::Power;
use crate::ec2::CallRecord;
use crate::scene::{self, Scene, is_route_write};

/// The route tables that lead to the node that dies.
const SIZES: [usize; 4] = [1, 50, 100, 200];
/// From a kernel panic to the last change, for each of them; and for the last of them the time of
/// the changes, divided by what EC2 allows.
pub(super) const NAMES: [&str; 5] = [
    "tables1.takeover_ms",
    "tables50.takeover_ms",
    "tables100.takeover_ms",
    "tables200.takeover_ms",
    "tables200.ratio_to_bucket",
];
/// So many changes of routes EC2 grants an account at once, and so many a second after that.
const BUCKET: (usize, usize) = (50, 5);

pub(super) fn takeovers(bench: &Bench<'_>) -> Result<Figures> {
    let mut figures = Figures::new();
    for (size, name) in SIZES.into_iter().zip(NAMES) {
        let changes = takeover(bench, size)?;
        figures.insert(name, stats::rounded(changes.after.as_secs_f64() * 1e3, 1));
        let took = changes.lasted.as_secs_f64();
        Bench::say(&format!("{size} tables: {took:.1} s from the first change to the last"));
        if size == SIZES[SIZES.len() - 1] {
            let ratio = took / allowed(size).as_secs_f64();
            figures.insert(NAMES[SIZES.len()], stats::rounded(ratio, 3));
        }
    }
    Ok(figures)
}

/// The changes of a takeover.
struct Changes {
    /// From the death to the last of them.
    after: Duration,
    /// From the first of them to the last.
    lasted: Duration,
}

/// The holder of so many tables dies.
fn takeover(bench: &Bench<'_>, tables: usize) -> Result<Changes> {
    let [holder, heir] = NODES;
    let mut spec = scene::spec(2, &bench.options.natha, CONFIG);
    // The table of its zone is the first one, and they are one group.
    spec.more_tables = vec![format!("{REGION}a"); tables - 1];
    let scene = Scene::start(&spec)?;
    scene.panic(holder)?;
    let changes = || -> Result<Vec<CallRecord>> {
        let mut calls = scene.calls_by(heir)?;
        calls.retain(|call| is_route_write(call) && call.error.is_none());
        Ok(calls)
    };
    scene.wait_for(|| Ok(changes()?.len() >= tables))?;
    let died = scene.power_at(holder, Power::Panicked)?;
    let changes = changes()?;
    let times = || changes.iter().map(|call| call.at);
    let (first, last) = times().min().zip(times().max()).context("no table was taken")?;
    Ok(Changes { after: last.saturating_sub(died), lasted: last.saturating_sub(first) })
}

/// The time in which EC2 grants so many changes.
fn allowed(changes: usize) -> Duration {
    let (at_once, a_second) = BUCKET;
    Duration::from_secs_f64(stats::count(changes.saturating_sub(at_once)) / stats::count(a_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ec2_grants_fifty_changes_at_once_and_then_five_a_second() {
        assert_eq!(allowed(50), Duration::ZERO);
        assert_eq!(allowed(200), Duration::from_secs(30));
    }
}
