//! The figures of `scripts/bench`: measured in labs, one after the other, never made up.

mod blocked;
mod dataplane;
mod failures;
mod figures;
mod flows;
mod forwarding;
mod host;
mod kills;
mod nodes;
mod package;
mod pair;
mod patterns;
mod planned;
mod scale;
mod soak;
mod stats;
pub mod survival;
pub mod table;
mod tables;
mod yardstick;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use figures::Figures;
use scale::Scale;

pub use host::first_packet;

/// What to measure, and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The natha binary that is measured.
    pub natha: PathBuf,
    /// The AWS CLI, for the 2013 algorithm.
    pub aws: Option<PathBuf>,
    /// Names of figures, or beginnings of names; all of them where it is empty.
    pub only: Vec<String>,
    /// Figures that are left out, named likewise.
    pub without: Vec<String>,
    /// Fewer rounds and shorter times.
    pub quick: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The figures and the facts about the run, by name.
    pub all: BTreeMap<String, Value>,
    /// What could not be measured, and why.
    pub failed: Vec<String>,
    /// Figures that are over their budget.
    pub over: Vec<String>,
}

/// A measurement of figures that belong together.
struct Section {
    names: &'static [&'static str],
    run: fn(&Bench<'_>) -> Result<Figures>,
}

/// All of them, in the order in which they are made.
const SECTIONS: [Section; 41] = [
    Section { names: &["binary.mib"], run: host::binary },
    Section { names: &package::NAMES, run: package::sizes },
    Section { names: &["setup.unchanged_ms", "setup.unchanged_ms.max"], run: host::setup },
    Section { names: &["monitor.start_ms", "monitor.start_ms.max"], run: host::start },
    Section { names: &["monitor.rss_mib", "monitor.cpu_percent"], run: host::idle },
    Section { names: &kills::FAST, run: kills::fast },
    Section { names: &kills::SLOW, run: kills::slow },
    Section { names: &yardstick::KILLS, run: yardstick::kills },
    Section { names: &failures::FROZEN, run: failures::frozen },
    Section { names: &failures::UPLINK, run: failures::uplink_lost },
    Section { names: &forwarding::FLUSH, run: forwarding::flushed },
    Section { names: &forwarding::FOREIGN, run: forwarding::foreign_drop },
    Section { names: &forwarding::CONNTRACK, run: forwarding::conntrack_full },
    Section { names: &planned::RESTARTS, run: planned::restarts },
    Section { names: &planned::BLIP, run: planned::shared_blip },
    Section { names: &planned::BOOT, run: planned::boot_without_api },
    Section { names: &failures::DAEMON, run: failures::daemon_killed },
    Section { names: &["hand_back.pings_lost"], run: kills::hand_back },
    Section { names: &flows::SLOW, run: flows::slow },
    Section { names: &flows::SURVIVED, run: flows::survived },
    Section { names: &flows::TRANSFER, run: flows::transfer },
    Section { names: &flows::FOREIGN, run: flows::foreign_packets },
    Section { names: flows::LAG.as_flattened(), run: flows::lags },
    Section { names: &flows::COMMIT, run: flows::commits },
    Section { names: &flows::ADDED, run: flows::added },
    Section { names: &flows::CONNTRACKD, run: flows::conntrackd },
    Section { names: survival::NOTHING.as_flattened(), run: survival::nothing },
    Section { names: survival::EGRESS_IP.as_flattened(), run: survival::egress_ip },
    Section { names: survival::REPLICATION.as_flattened(), run: survival::replication },
    Section { names: survival::CONNTRACKD.as_flattened(), run: survival::conntrackd },
    Section { names: &patterns::VIP, run: patterns::vip },
    Section { names: &patterns::PRIVATE_IP, run: patterns::private_ip },
    Section { names: &patterns::EIP, run: patterns::eip },
    Section { names: &patterns::DNS, run: patterns::dns },
    Section { names: &patterns::KEEPALIVED, run: patterns::keepalived },
    Section { names: &tables::NAMES, run: tables::takeovers },
    Section { names: &nodes::TWO, run: nodes::two },
    Section { names: &nodes::EIGHT, run: nodes::eight },
    Section { names: &nodes::SIXTEEN, run: nodes::sixteen },
    Section { names: &dataplane::NAMES, run: dataplane::ratios },
    Section { names: &soak::NAMES, run: soak::soak },
];

/// A figure that is computed from two others.
const RATIO: (&str, &str, &str) = (
    "hard_kill.ratio_to_yardstick",
    "hard_kill.api50.outage_ms.median",
    "yardstick.api50.outage_ms.median",
);

/// What every measurement needs.
struct Bench<'a> {
    options: &'a Options,
    scale: Scale,
}

impl Bench<'_> {
    /// Tells how it goes.
    fn say(text: &str) {
        // A run whose progress nobody can read is still a run.
        let _ = writeln!(stderr(), "  {text}");
    }

    fn aws(&self) -> Result<&Path> {
        self.options.aws.as_deref().context("the 2013 algorithm needs the AWS CLI: set NATHA_AWS")
    }
}

/// Measures.
///
/// # Errors
/// When a name in `only` or `without` is the beginning of no figure's. What cannot be measured is
/// in the outcome, and its figures are not.
pub fn run(options: &Options) -> Result<Outcome> {
    let wanted = figures::wanted(&options.only, &options.without).map_err(|unknown| {
        let known: Vec<_> = figures::names().collect();
        anyhow::anyhow!(
            "no figure begins with {}; there are {}",
            unknown.join(", "),
            known.join(" ")
        )
    })?;
    let begun = Instant::now();
    let scale = if options.quick { Scale::quick() } else { Scale::full() };
    let bench = Bench { options, scale };
    let load = load();
    let mut found = Figures::new();
    let mut failed = Vec::new();
    let needed = with_sources(&wanted);
    let mut take = |names: &[&'static str], outcome: Result<Figures>| match outcome {
        Ok(figures) => found.extend(figures),
        Err(problem) => failed.push(format!("{}: {problem:#}", names.join(", "))),
    };
    for section in &SECTIONS {
        if section.names.iter().any(|name| needed.contains(name)) {
            Bench::say(&format!("measuring {}", section.names[0]));
            take(section.names, (section.run)(&bench));
        }
    }
    for (names, outcome) in blocked::run(&bench, &needed) {
        take(names, outcome);
    }
    if let (Some(natha), Some(yardstick)) = (found.get(RATIO.1), found.get(RATIO.2)) {
        found.insert(RATIO.0, stats::rounded(natha / yardstick, 3));
    }
    found.retain(|name, _| wanted.contains(name));
    if failed.is_empty() {
        // Every section brings all of its figures; one that did not must not pass unnoticed.
        let missing = wanted.iter().filter(|name| !found.contains_key(*name));
        failed.extend(missing.map(|name| format!("{name}: for no known reason")));
    }
    let over = figures::over_budget(&found);
    let mut all = facts(options, &scale)?;
    all.insert("run.load_before".into(), json!(load));
    all.insert("run.seconds".into(), json!(begun.elapsed().as_secs()));
    all.extend(found.into_iter().map(|(name, value)| (name.to_owned(), number(value))));
    Ok(Outcome { all, failed, over })
}

/// A figure in JSON: a whole number without a fraction; null for one that is not a number, because
/// there was nothing to measure.
#[must_use]
pub fn number(value: f64) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or_else(|_| json!(value))
}

/// The wanted figures and those that they are computed from.
fn with_sources(wanted: &[&'static str]) -> Vec<&'static str> {
    let mut needed = wanted.to_vec();
    if wanted.contains(&RATIO.0) {
        needed.extend([RATIO.1, RATIO.2]);
    }
    needed
}

/// The median and the largest of some times, under two names.
fn summary(names: &[&'static str; 2], times: &[f64]) -> Result<Figures> {
    let (Some(median), Some(largest)) = (stats::median(times), stats::largest(times)) else {
        bail!("no round was measured")
    };
    let values = [median, largest].map(|value| stats::rounded(value, 1));
    Ok(names.iter().copied().zip(values).collect())
}

/// What there is to know about the run.
fn facts(options: &Options, scale: &Scale) -> Result<BTreeMap<String, Value>> {
    let mut facts = scale.facts();
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let profile = options.natha.parent().and_then(Path::file_name);
    let profile = profile.map(|name| name.to_string_lossy()).unwrap_or_default();
    let profile = if profile == "debug" { "dev" } else { &*profile };
    for (name, value) in [
        ("date", json!(date)),
        ("kernel", json!(first_line("/proc/sys/kernel/osrelease")?)),
        ("cpu", json!(cpu())),
        ("cores", json!(std::thread::available_parallelism()?.get())),
        ("profile", json!(profile)),
        ("quick", json!(options.quick)),
    ] {
        facts.insert(format!("run.{name}"), value);
    }
    Ok(facts)
}

/// How many tasks wanted to run in the last minute before the run: what else the machine did.
fn load() -> f64 {
    let line = first_line("/proc/loadavg").unwrap_or_default();
    line.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map(|(_, name)| name.to_owned()).unwrap_or_default()
}

fn first_line(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_measured_once() {
        let mut names: Vec<_> =
            SECTIONS.iter().flat_map(|section| section.names.iter().copied()).collect();
        names.extend(blocked::names().copied());
        names.push(RATIO.0);
        let mut all: Vec<_> = figures::names().collect();
        names.sort_unstable();
        all.sort_unstable();
        assert_eq!(names, all);
    }

    #[test]
    fn a_count_is_written_without_a_fraction() {
        assert_eq!(number(3.0).to_string(), "3");
        assert_eq!(number(0.25).to_string(), "0.25");
        assert_eq!(number(f64::NAN), Value::Null, "the stall of connections of which none lives");
    }

    #[test]
    fn a_ratio_needs_both_its_sides() {
        let needed = with_sources(&[RATIO.0]);
        assert!(needed.contains(&RATIO.1) && needed.contains(&RATIO.2));
        assert_eq!(with_sources(&["binary.mib"]), ["binary.mib"]);
    }

    #[test]
    fn a_summary_has_a_median_and_a_maximum() {
        let figures = summary(&["a", "b"], &[3.04, 1.0, 2.0]).unwrap();
        assert_eq!(figures, Figures::from([("a", 2.0), ("b", 3.0)]));
        assert!(summary(&["a", "b"], &[]).is_err());
    }
}
