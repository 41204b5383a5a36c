//! `natha-prove flows`: storms by seed.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::chaos::{Storm, storm};
use super::rules::Tried;
use crate::processors;
use crate::sim::side_by_side;

/// Seeds done between two looks at whether one failed.
const BATCH: usize = 64;

const WRITING: &str = "writing to the standard output";

/// What to simulate.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    natha-prove flows --seeds 0..500      random faults, until one seed fails\n  \
    natha-prove flows --seed 123 --story  one of them, told from beginning to end\n\n\
    Exit status: 0 all rules were kept, 3 one was broken, 1 error, 2 wrong usage.")]
pub struct Options {
    /// Random faults by these seeds.
    #[arg(long, value_name = "FIRST..LAST", value_parser = crate::seeds, default_value = "0..200")]
    seeds: Range<u64>,
    /// Random faults by this one seed.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Tell what happened in the run of --seed.
    #[arg(long, requires = "seed")]
    story: bool,
    /// Write the figures into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads; as many as processors if not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// Where a file or the standard output cannot be written.
pub fn command(options: &Options) -> anyhow::Result<ExitCode> {
    let threads = options.threads.unwrap_or_else(processors);
    let mut out = std::io::stdout().lock();
    if let Some(seed) = options.seed {
        return one(seed, options.story, &mut out);
    }
    let all: Vec<u64> = options.seeds.clone().collect();
    let (mut seeds, mut faults, mut hours, mut tried) = (0_u64, 0, 0.0, Tried::default());
    let mut failed = false;
    for some in all.chunks(BATCH) {
        for run in side_by_side(some, threads, |seed| storm(*seed)) {
            seeds += 1;
            faults += run.faults;
            hours += run.lasted.as_secs_f64() / 3_600.0;
            tried.include(&run.tried);
            if !run.breaches.is_empty() && !failed {
                tell(&run, &mut out)?;
                failed = true;
            }
        }
        if failed {
            break;
        }
    }
    if !failed {
        writeln!(
            out,
            "{seeds} seeds, {hours:.0} simulated hours, {faults} faults: no rule broken. \
             {} comparisons of {} connections, {} insertions, {} boots, {} planned moves",
            tried.compared, tried.connections, tried.inserted, tried.booted, tried.moves
        )
        .context(WRITING)?;
        for (fault, times) in &tried.faults {
            writeln!(out, "  {times:>6} streams ended: {fault}").context(WRITING)?;
        }
    }
    if let Some(path) = &options.json {
        let figures = json!({
            "sim.flows.seeds": seeds,
            "sim.flows.storm_hours": hours.round(),
            "sim.flows.seeds_failed": u8::from(failed),
        });
        let text = serde_json::to_string_pretty(&figures).context("writing figures as JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(if failed { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn one(seed: u64, story: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let run = storm(seed);
    if story {
        for line in &run.story {
            writeln!(out, "{line}").context(WRITING)?;
        }
    }
    if run.breaches.is_empty() {
        writeln!(out, "seed {seed}: no rule broken").context(WRITING)?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(&run, out)?;
    Ok(ExitCode::from(3))
}

fn tell(run: &Storm, out: &mut impl Write) -> anyhow::Result<()> {
    let Storm { seed, breaches, .. } = run;
    for breach in breaches {
        writeln!(out, "seed {seed}: {breach}").context(WRITING)?;
    }
    writeln!(out, "to see how it came: natha-prove flows --seed {seed} --story").context(WRITING)
}
