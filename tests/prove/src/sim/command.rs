//! `natha-prove sim`: storms by seed.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::chaos::{Made, Storm, storm};
use super::report::{Published, flat};
use super::study::{measure_promise, study};
use super::uplink;
use super::weather::Beats;
use super::workers::side_by_side;
use crate::processors;

/// Seeds done between two looks at whether one failed.
const BATCH: usize = 256;

/// What to simulate.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    natha-prove sim --seeds 0..2000          random faults, until one seed fails\n  \
    natha-prove sim --seed 1234 --story      one of them, told from beginning to end\n  \
    natha-prove sim --several --seeds 0..500 the same with groups of several kinds\n  \
    natha-prove sim --seeds 0..2000 --hours 1000 --json sim.json\n  \
    natha-prove sim --study docs/evidence    every heartbeat setting on every network\n\n\
    Exit status: 0 all rules were kept, 3 one was broken, 1 error, 2 wrong usage.")]
pub struct Options {
    /// Random faults by these seeds.
    #[arg(long, value_name = "FIRST..LAST", value_parser = crate::seeds, default_value = "0..2000")]
    seeds: Range<u64>,
    /// Random faults by this one seed.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// The groups have resources of several kinds, and some a service check; otherwise each is one
    /// default route.
    #[arg(long, conflicts_with_all = ["hours", "study"])]
    several: bool,
    /// Tell what happened in the run of --seed.
    #[arg(long, requires = "seed")]
    story: bool,
    /// Besides the seeds, simulate the default settings for so many hours with 2 % loss, 50 ms
    /// jitter and pauses of 200 ms: nothing may be taken over.
    #[arg(long, value_name = "N", default_value_t = 0)]
    hours: u64,
    /// Write the figures into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure every heartbeat setting on every simulated network, for up to --effort hours each
    /// and --hours for the default, and write sim.json, sim.svg and the table of heartbeat.md into
    /// this directory. Runs nothing else.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["seed", "json"])]
    study: Option<PathBuf>,
    /// Measure every setting of the uplink probes on every simulated network, for --hours hours
    /// each, and write uplink.json and the tables of uplink.md into this directory. Runs nothing
    /// else.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["seed", "json", "study"])]
    uplink_study: Option<PathBuf>,
    /// With --study, measure this setting alone, such as 100x4, and keep what the directory has of
    /// the others.
    #[arg(long, value_name = "MSxN", value_parser = beats, requires = "study")]
    setting: Option<Beats>,
    /// Hours for each setting on each network of --study; fewer where heartbeats are frequent.
    #[arg(long, value_name = "N", default_value_t = 40)]
    effort: u64,
    /// Threads; as many as processors if not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

fn beats(text: &str) -> Result<Beats, String> {
    let parts = text.split_once('x').map(|(ms, times)| (ms.parse(), times.parse()));
    match parts {
        Some((Ok(interval_ms), Ok(lost_after))) => Ok(Beats { interval_ms, lost_after }),
        _ => Err("it must be the interval in milliseconds, x and lost_after: 100x4".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// Where a file or the standard output cannot be written.
pub fn command(options: &Options) -> anyhow::Result<ExitCode> {
    let threads = options.threads.unwrap_or_else(processors);
    let mut out = std::io::stdout().lock();
    let made = if options.several { Made::Several } else { Made::Plain };
    if let Some(seed) = options.seed {
        return one(seed, made, options.story, &mut out);
    }
    if let Some(directory) = &options.uplink_study {
        let cells = uplink::measure(options.hours.max(1), threads);
        uplink::Published { cells }.write(directory)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(directory) = &options.study {
        let hours = options.hours.max(options.effort);
        let mut cells = study(options.effort, hours, options.setting, threads);
        if let Some(setting) = options.setting {
            let others = Published::read(directory)?.cells;
            cells.extend(others.into_iter().filter(|cell| cell.beats != setting));
        }
        let published = Published { cells };
        published.write(directory)?;
        for (name, text) in published.render(directory)? {
            let path = directory.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let storms = storms(&options.seeds, made, threads, &mut out)?;
    let mut good = storms.failed.is_none();
    let cell = (options.hours > 0).then(|| measure_promise(options.hours, threads));
    if let Some(cell) = &cell {
        writeln!(
            out,
            "{} hours of 2 % loss, 50 ms jitter and pauses of 200 ms: {} takeovers, {} stops",
            cell.hours, cell.false_takeovers, cell.false_stops
        )
        .context(WRITING)?;
        good &= cell.false_takeovers == 0 && cell.false_stops == 0;
    }
    if let Some(path) = &options.json {
        let figures =
            flat(cell.as_ref(), made, storms.seeds, storms.hours, storms.failed.is_some());
        let text = serde_json::to_string_pretty(&figures).context("writing figures as JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

const WRITING: &str = "writing to the standard output";

/// What came of many seeds.
struct Storms {
    seeds: usize,
    hours: f64,
    failed: Option<u64>,
}

/// Runs seeds until one breaks a rule.
fn storms(
    seeds: &Range<u64>,
    made: Made,
    threads: usize,
    out: &mut impl Write,
) -> anyhow::Result<Storms> {
    let all: Vec<u64> = seeds.clone().collect();
    let mut done = Storms { seeds: 0, hours: 0.0, failed: None };
    let mut faults = 0;
    for some in all.chunks(BATCH) {
        for brief in side_by_side(some, threads, |seed| Brief::of(&storm(*seed, made))) {
            done.seeds += 1;
            done.hours += brief.hours;
            faults += brief.faults;
            if !brief.breaches.is_empty() && done.failed.is_none() {
                tell(brief.seed, made, &brief.breaches, out)?;
                done.failed = Some(brief.seed);
            }
        }
        if done.failed.is_some() {
            return Ok(done);
        }
    }
    let Storms { seeds, hours, .. } = done;
    writeln!(out, "{seeds} seeds, {hours:.0} simulated hours, {faults} faults: no rule broken")
        .context(WRITING)?;
    Ok(done)
}

/// What is kept of a storm.
struct Brief {
    seed: u64,
    breaches: Vec<String>,
    hours: f64,
    faults: usize,
}

impl Brief {
    fn of(storm: &Storm) -> Self {
        Self {
            seed: storm.seed,
            breaches: storm.breaches.clone(),
            hours: storm.lasted.as_secs_f64() / 3_600.0,
            faults: storm.faults,
        }
    }
}

fn one(seed: u64, made: Made, story: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let run = storm(seed, made);
    if story {
        for line in run.sim.story() {
            writeln!(out, "{line}").context(WRITING)?;
        }
    }
    if run.breaches.is_empty() {
        writeln!(out, "{}: no rule broken", run.sim.label).context(WRITING)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(seed, made, &run.breaches, out)?;
    Ok(ExitCode::from(3))
}

fn tell(seed: u64, made: Made, breaches: &[String], out: &mut impl Write) -> anyhow::Result<()> {
    for breach in breaches {
        writeln!(out, "seed {seed}: {breach}").context(WRITING)?;
    }
    let several = if made == Made::Several { " --several" } else { "" };
    writeln!(out, "to see how it came: natha-prove sim{several} --seed {seed} --story")
        .context(WRITING)
}
