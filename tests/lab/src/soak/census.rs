//! What each node's monitor uses: memory, descriptors, threads, as the kernel counts them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Lab;

/// How long a monitor has run before its figures count: caches and connections are there by then.
const WARM: Duration = Duration::from_mins(1);
/// What a monitor's memory may grow by: the allocator's slack over hours, but no leak.
pub(super) const MEMORY_MIB: f64 = 4.0;
/// Connections to EC2 and to the metadata service come and go.
pub(super) const DESCRIPTORS: i64 = 8;
/// So do the runtime's threads for blocking calls.
pub(super) const THREADS: i64 = 8;

/// Prints for each monitor: process id, start time, resident KiB, descriptors, threads.
const SCRIPT: &str = "for p in /proc/[0-9]*; do
  [ \"$(cat $p/comm 2>/dev/null)\" = natha ] || continue
  tr '\\0' ' ' <$p/cmdline | grep -q ' monitor' || continue
  echo \"${p#/proc/} $(cut -d' ' -f22 $p/stat) $(awk '/^VmRSS/{print $2}' $p/status) \
$(ls $p/fd | wc -l) $(awk '/^Threads/{print $2}' $p/status)\"
done";

/// What a monitor used at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    at: Duration,
    rss_kib: i64,
    descriptors: i64,
    threads: i64,
}

/// A monitor's process: its node, boot, id and start.
type Process = (usize, u64, u64, u64);

/// Every monitor that was ever looked at, while nothing was done to its cluster.
#[derive(Debug, Default)]
pub(super) struct Census {
    seen: BTreeMap<Process, Vec<Sample>>,
}

/// How much monitors have grown since they were warm.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Growth {
    pub(super) rss_mib: f64,
    pub(super) descriptors: i64,
    pub(super) threads: i64,
    /// The longest time over which growth was seen.
    pub(super) over: Duration,
}

impl Census {
    /// Looks at a node's monitor.
    pub(super) fn look(&mut self, lab: &Lab, node: usize, at: Duration) -> Result<()> {
        let host = lab.host(&super::schedule::node_name(node))?;
        let out = lab.sh(&host.name, SCRIPT)?;
        for line in out.lines() {
            let (process, sample) =
                read(line, at).with_context(|| format!("no figures of a process: {line}"))?;
            let key = (node, host.boot, process.0, process.1);
            self.seen.entry(key).or_default().push(sample);
        }
        Ok(())
    }

    /// What has grown the most.
    pub(super) fn growth(&self) -> Growth {
        let mut most = Growth::default();
        for samples in self.seen.values() {
            let Some(first) = samples.first() else { continue };
            let warm = samples.iter().find(|sample| sample.at >= first.at + WARM);
            let (Some(warm), Some(last)) = (warm, samples.last()) else { continue };
            let kib = i32::try_from(last.rss_kib - warm.rss_kib).unwrap_or(i32::MAX);
            most.rss_mib = most.rss_mib.max(f64::from(kib) / 1024.0);
            most.descriptors = most.descriptors.max(last.descriptors - warm.descriptors);
            most.threads = most.threads.max(last.threads - warm.threads);
            most.over = most.over.max(last.at.saturating_sub(warm.at));
        }
        most
    }

    /// The most memory that a monitor had, in MiB.
    pub(super) fn rss_mib(&self) -> f64 {
        let most = self.seen.values().flatten().map(|sample| sample.rss_kib).max();
        f64::from(i32::try_from(most.unwrap_or_default()).unwrap_or(i32::MAX)) / 1024.0
    }

    /// A line about each node's present monitor, for the log.
    pub(super) fn told(&self) -> String {
        let mut last: BTreeMap<usize, (u64, &Sample, usize)> = BTreeMap::new();
        for ((node, boot, ..), samples) in &self.seen {
            let Some(sample) = samples.last() else { continue };
            let newer = last.get(node).is_none_or(|(_, other, _)| other.at <= sample.at);
            if newer {
                last.insert(*node, (*boot, sample, samples.len()));
            }
        }
        let lines = last.into_iter().map(|(node, (boot, it, count))| {
            let name = super::schedule::node_name(node);
            let Sample { rss_kib, descriptors, threads, .. } = it;
            format!(
                "{name} (boot {boot}, look {count}): {rss_kib} KiB, {descriptors} fds, \
                 {threads} threads"
            )
        });
        lines.collect::<Vec<_>>().join("; ")
    }
}

fn read(line: &str, at: Duration) -> Option<((u64, u64), Sample)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [pid, start, rss, descriptors, threads] = words.as_slice() else { return None };
    let sample = Sample {
        at,
        rss_kib: rss.parse().ok()?,
        descriptors: descriptors.parse().ok()?,
        threads: threads.parse().ok()?,
    };
    Some(((pid.parse().ok()?, start.parse().ok()?), sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(samples: &[(u64, i64)]) -> Census {
        let sample = |&(at, rss_kib): &(u64, i64)| Sample {
            at: Duration::from_secs(at),
            rss_kib,
            descriptors: 10 + rss_kib / 1024,
            threads: 3,
        };
        let samples = samples.iter().map(sample).collect();
        Census { seen: BTreeMap::from([((0, 1, 42, 7), samples)]) }
    }

    #[test]
    fn growth_counts_from_when_a_monitor_is_warm() {
        let grown = census(&[(0, 1024), (30, 10_240), (60, 12_288), (400, 14_336)]).growth();
        assert!((grown.rss_mib - 2.0).abs() < 1e-9);
        assert_eq!((grown.descriptors, grown.threads, grown.over.as_secs()), (2, 0, 340));
    }

    #[test]
    fn a_monitor_that_was_just_started_has_not_grown() {
        assert_eq!(census(&[(0, 1024), (30, 99_999)]).growth(), Growth::default());
    }

    #[test]
    fn a_line_of_the_script_is_read() {
        let (process, sample) = read("42 12345 13312 14 5", Duration::ZERO).unwrap();
        assert_eq!(process, (42, 12_345));
        assert_eq!((sample.rss_kib, sample.descriptors, sample.threads), (13_312, 14, 5));
        assert!(read("42 12345", Duration::ZERO).is_none());
    }
}
