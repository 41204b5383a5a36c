//! Long runs: random faults on clusters under traffic, watched from outside.
//!
//! A run goes in cycles. A *storm* of faults, drawn from a seed; then everything is mended, and the
//! cluster must find back by itself: every group at home, every node running. Then it is left
//! alone, and must leave everything alone; then an operator orders a group away, and it comes
//! home. What it does all the while is judged by an observer, which sees EC2's calls, power
//! and packets, and nothing that natha says.

mod census;
mod cycle;
mod director;
mod evidence;
mod facts;
mod figures;
mod model;
mod observer;
mod pace;
mod rules;
mod schedule;
mod story;
#[cfg(test)]
mod tests;
mod watch;

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::scene::user_data;
use crate::spec::Spec;
use crate::{Lab, cluster};
use census::Census;
use cycle::{Soak, Tally};
use director::{Director, HOLD};
use evidence::{Evidence, RECORDINGS};
use pace::Pace;
use watch::Watch;

pub use figures::{Figures, NAMES};

/// How long a cluster may take until it is first well.
const PATIENCE: Duration = Duration::from_mins(2);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The natha binary.
    pub natha: PathBuf,
    /// The sizes of the clusters, each in a lab of its own, side by side.
    pub nodes: Vec<u8>,
    /// How long; a cycle that has begun is finished.
    pub lasting: Duration,
    /// What the faults are drawn from.
    pub seed: u64,
    /// The first cycle's number, to run again what failed.
    pub first: u64,
    /// natha's default settings instead of short waits.
    pub defaults: bool,
    /// Where schedules, and the evidence of violations, go.
    pub logs: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The figures of all labs together.
    pub figures: Figures,
    /// The violations, a line each.
    pub violations: Vec<String>,
    /// Labs that could not be run to their end, and why.
    pub failed: Vec<String>,
}

/// Tells how it goes.
#[derive(Debug, Clone)]
struct Progress {
    nodes: u8,
    began: Instant,
}

impl Progress {
    fn say(&self, text: &str) {
        let minutes = self.began.elapsed().as_secs_f64() / 60.0;
        // A run whose progress nobody can read is still a run.
        let _ = writeln!(stderr(), "[{} nodes, {minutes:5.1} min] {text}", self.nodes);
    }
}

/// Runs every lab to its end.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    let results: Vec<(u8, Result<Figures>, Vec<String>)> = thread::scope(|scope| {
        let labs: Vec<_> = options
            .nodes
            .iter()
            .map(|nodes| (*nodes, scope.spawn(|| one(options, *nodes))))
            .collect();
        let joined = labs.into_iter().map(|(nodes, lab)| {
            let (figures, violations) =
                lab.join().unwrap_or_else(|_| (Err(anyhow!("it panicked")), Vec::new()));
            (nodes, figures, violations)
        });
        joined.collect()
    });
    let (mut all, mut violations, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (nodes, figures, found) in results {
        violations.extend(found.into_iter().map(|line| format!("{nodes} nodes: {line}")));
        match figures {
            Ok(figures) => all.push(figures),
            Err(problem) => failed.push(format!("{nodes} nodes: {problem:#}")),
        }
    }
    Outcome { figures: figures::together(&all), violations, failed }
}

/// Runs one lab to its end, or to where it cannot go on.
fn one(options: &Options, nodes: u8) -> (Result<Figures>, Vec<String>) {
    let pace = if options.defaults { Pace::default_settings() } else { Pace::quick() };
    let progress = Progress { nodes, began: Instant::now() };
    let defaults = if options.defaults { " --defaults" } else { "" };
    let again = format!(
        "again: scripts/soak 1 --nodes {nodes} --seed {}{defaults} --cycle NUMBER",
        options.seed
    );
    let directory = options.logs.join(format!("seed-{}-nodes-{nodes}", options.seed));
    let lab = match start(options, nodes, &pace) {
        Ok(lab) => lab,
        Err(problem) => return (Err(problem), Vec::new()),
    };
    let prepared = Watch::start(&lab, pace.clone())
        .and_then(|watch| Ok((watch, Evidence::new(&directory, usize::from(nodes), &again)?)));
    let (watch, evidence) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => return (Err(problem), Vec::new()),
    };
    let count = usize::from(nodes);
    let mut soak = Soak {
        lab: &lab,
        watch,
        director: Director::new(&lab, count),
        census: Census::default(),
        evidence,
        progress,
        tally: Tally::default(),
        pace,
        nodes: count,
        seed: options.seed,
    };
    let begun = Instant::now();
    let ended = cycles(&mut soak, options, begun);
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    if ended.is_err() {
        let last = soak.evidence.directory().join("end");
        let reason = format!("{ended:?}");
        if let Err(problem) = soak.evidence.save(&lab, &last, &reason) {
            soak.progress.say(&format!("no evidence of how it ended: {problem:#}"));
        }
    }
    let violations = soak.watch.observer.violations().iter();
    let violations =
        violations.map(|it| format!("{:?} at {:.1} s: {}", it.rule, it.at.as_secs_f64(), it.text));
    (ended.map(|()| figures::of(&soak, minutes)), violations.collect())
}

fn cycles(soak: &mut Soak<'_>, options: &Options, begun: Instant) -> Result<()> {
    soak.progress.say(&format!(
        "seed {}, schedule and logs in {}",
        options.seed,
        soak.evidence.directory().display()
    ));
    for number in options.first.. {
        soak.cycle(number).with_context(|| format!("cycle {number}"))?;
        if begun.elapsed() >= options.lasting {
            break;
        }
    }
    let problems = soak.lab.status()?.problems;
    anyhow::ensure!(problems.is_empty(), "the lab is not healthy: {}", problems.join("; "));
    soak.watch.pass(watch::LATE * 2)
}

fn start(options: &Options, nodes: u8, pace: &Pace) -> Result<Lab> {
    let lab = Lab::start(&spec(nodes, &options.natha, pace))?;
    let names: Vec<String> = (0..usize::from(nodes)).map(schedule::node_name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster::wait_well(&lab, &names, PATIENCE)?;
    Ok(lab)
}

/// Nodes that run what the documented service does: set up, then the monitor, and both again a
/// second after either has ended; unless they are held. Recorded, where natha can record.
fn spec(nodes: u8, natha: &Path, pace: &Pace) -> Spec {
    let commands = format!(
        "trap 'exit 0' TERM
mkdir -p {RECORDINGS}
records=$(natha monitor --help | grep -c -e --record)
while :; do
  [ -e {HOLD} ] && {{ sleep 0.1; continue; }}
  set --
  [ \"$records\" = 0 ] || set -- --record {RECORDINGS}/$(date +%s%N).jsonl
  natha setup; natha monitor \"$@\"
  sleep 1
done"
    );
    let mut spec = cluster::spec(nodes, natha.to_owned(), &pace.config)
        .with_node_user_data(&user_data(&pace.config, &commands));
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    spec.ec2.stop_ms = ms(pace::STOPPING);
    spec.ec2.force_ms = ms(pace::STOPPING);
    spec.ec2.boot_ms = ms(pace::STARTING);
    spec.ec2.latency_ms = ms(pace::LATENCY);
    spec.ec2.status_fail_ms = ms(pace::STATUS);
    spec
}
