//! Watches what EC2 drops or delays because the instance exceeds its network allowances. The
//! counters are in the statistics of the driver ENA. What is exceeded here would be exceeded on any
//! node of the same size: this raises an alert and triggers no failover.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::growth::Growth;
use crate::daemon::alerts::Alert;
use crate::daemon::clock;
use crate::daemon::inbox::{Note, Notes};
use crate::kernel::{ethtool, journal};
use crate::status::Allowances;
use crate::types::Time;

/// Time between two reads.
const EVERY: Duration = Duration::from_secs(10);

/// A counter of the driver.
struct Allowance {
    /// Its name in the driver's statistics.
    counter: &'static str,
    /// What the instance has exceeded.
    what: &'static str,
    /// What an operator can do about it.
    remedy: &'static str,
}

const LARGER: &str = "use a larger instance type, or spread the private subnets over more nodes";

/// The counters of packets that EC2 delayed or dropped, by the documentation of ENA.
const EXCEEDED: [Allowance; 5] = [
    Allowance { counter: "bw_in_allowance_exceeded", what: "inbound bandwidth", remedy: LARGER },
    Allowance { counter: "bw_out_allowance_exceeded", what: "outbound bandwidth", remedy: LARGER },
    Allowance { counter: "pps_allowance_exceeded", what: "packets per second", remedy: LARGER },
    Allowance {
        counter: "conntrack_allowance_exceeded",
        what: "connections that EC2 tracks",
        remedy: "shorten the idle timeouts of the interface's connection tracking in EC2, give it \
                 a security group that allows all traffic both ways, so that EC2 tracks nothing, \
                 or use a larger instance type",
    },
    Allowance {
        counter: "linklocal_allowance_exceeded",
        what: "packets per second to DNS, NTP and the instance metadata",
        remedy: "run a caching resolver on this node, and find out which program asks so often",
    },
];

/// How many more connections EC2 can track for the instance.
const AVAILABLE: &str = "conntrack_allowance_available";

/// Reads the counters of all interfaces that forward, for as long as the loop runs. The alert is
/// raised while a counter grows, and until it has been calm for some minutes.
pub(crate) async fn watch(state_dir: PathBuf, notes: Notes, mut alert: Alert) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut judge = Judge::default();
    let mut published = None;
    loop {
        rounds.tick().await;
        let directory = state_dir.clone();
        let Ok(found) = spawn_blocking(move || read(&directory)).await else { continue };
        alert.set(judge.complaint(&found, clock::now())).await;
        if published.as_ref() == Some(&found) {
            continue;
        }
        published = Some(found.clone());
        if !notes.send(Note::Allowances(found)).await {
            return;
        }
    }
}

/// The counters of each interface of the plan; none without a plan, which `drift` reports.
pub(crate) fn read(state_dir: &std::path::Path) -> BTreeMap<String, Allowances> {
    let plan = journal::last_plan(state_dir).ok().flatten();
    let links = plan.map(|plan| plan.table.links).unwrap_or_default();
    links
        .into_iter()
        .map(|link| {
            let found = parse(ethtool::statistics(&link));
            (link, found)
        })
        .collect()
}

/// The counters among all of a driver's statistics.
pub(crate) fn parse(statistics: impl IntoIterator<Item = (String, u64)>) -> Allowances {
    let mut found = Allowances::default();
    for (name, value) in statistics {
        found.statistics += 1;
        if name == AVAILABLE {
            found.conntrack_available = Some(value);
        } else if EXCEEDED.iter().any(|one| one.counter == name) {
            found.exceeded.insert(name, value);
        }
    }
    found
}

/// Tells growing counters from those that stand still.
#[derive(Debug, Default)]
struct Judge {
    counters: BTreeMap<(String, &'static str), Growth>,
}

impl Judge {
    /// Takes in a reading. Returns the alert's text if a counter grows.
    fn complaint(&mut self, found: &BTreeMap<String, Allowances>, now: Time) -> Option<String> {
        let mut seen = BTreeSet::new();
        for (link, allowances) in found {
            for allowance in &EXCEEDED {
                let Some(value) = allowances.exceeded.get(allowance.counter) else { continue };
                let key = (link.clone(), allowance.counter);
                self.counters.entry(key.clone()).or_default().note(*value, now);
                seen.insert(key);
            }
        }
        self.counters.retain(|key, _| seen.contains(key));
        let complaints: Vec<String> = self.counters.iter().filter_map(describe).collect();
        (!complaints.is_empty()).then(|| complaints.join("; "))
    }
}

fn describe(((link, name), counter): (&(String, &'static str), &Growth)) -> Option<String> {
    let packets = counter.grown()?;
    let allowance = EXCEEDED.iter().find(|one| one.counter == *name)?;
    Some(format!(
        "{link}: EC2 has dropped or delayed {packets} packets, because this instance exceeds its \
         allowance of {} ({name}): {}",
        allowance.what, allowance.remedy
    ))
}

#[cfg(test)]
#[path = "allowances_tests.rs"]
mod tests;
