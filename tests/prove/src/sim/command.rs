//! `natha-prove sim`: storms by seed.

use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;

use super::chaos::{Storm, storm};
use super::workers::{processors, side_by_side};

/// Seeds done between two looks at whether one failed.
const BATCH: usize = 256;

/// What to simulate.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    natha-prove sim --seeds 0..2000        random faults, until one seed fails\n  \
    natha-prove sim --seed 1234 --story    one of them, told from beginning to end\n\n\
    Exit status: 0 all rules were kept, 3 one was broken, 1 error, 2 wrong usage.")]
pub struct Options {
    /// Random faults by these seeds.
    #[arg(long, value_name = "FIRST..LAST", value_parser = range, default_value = "0..2000")]
    seeds: Range<u64>,
    /// Random faults by this one seed.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Tell what happened in the run of --seed.
    #[arg(long, requires = "seed")]
    story: bool,
    /// Threads; as many as processors if not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").map(|(first, last)| (first.parse(), last.parse()));
    match ends {
        Some((Ok(first), Ok(last))) if first < last => Ok(first..last),
        _ => Err("it must be FIRST..LAST, such as 0..2000; LAST is left out".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// Where nothing can be written.
pub fn command(options: &Options) -> anyhow::Result<ExitCode> {
    let threads = options.threads.unwrap_or_else(processors);
    let mut out = std::io::stdout().lock();
    if let Some(seed) = options.seed {
        return one(seed, options.story, &mut out);
    }
    let seeds: Vec<u64> = options.seeds.clone().collect();
    let begun = Instant::now();
    let mut hours = 0.0;
    let mut faults = 0;
    for some in seeds.chunks(BATCH) {
        let storms = side_by_side(some, threads, |seed| brief(&storm(*seed)));
        for (seed, breaches, lasted, staged) in storms {
            if !breaches.is_empty() {
                tell(seed, &breaches, &mut out)?;
                return Ok(ExitCode::from(3));
            }
            hours += lasted;
            faults += staged;
        }
    }
    let (count, took) = (seeds.len(), begun.elapsed().as_secs_f64());
    writeln!(
        out,
        "{count} seeds, {hours:.0} simulated hours, {faults} faults, no rule broken ({took:.0} s)"
    )
    .context("writing to the standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// What is kept of a storm: its seed, broken rules, hours and faults.
fn brief(storm: &Storm) -> (u64, Vec<String>, f64, usize) {
    let hours = storm.lasted.as_secs_f64() / 3_600.0;
    (storm.seed, storm.breaches.clone(), hours, storm.sim.staged.len())
}

fn one(seed: u64, story: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let storm = storm(seed);
    if story {
        for line in storm.sim.story() {
            writeln!(out, "{line}").context("writing to the standard output")?;
        }
    }
    if storm.breaches.is_empty() {
        writeln!(out, "{}: no rule broken", storm.sim.label)
            .context("writing to the standard output")?;
        return Ok(ExitCode::SUCCESS);
    }
    tell(seed, &storm.breaches, out)?;
    Ok(ExitCode::from(3))
}

fn tell(seed: u64, breaches: &[String], out: &mut impl Write) -> anyhow::Result<()> {
    if breaches.is_empty() {
        bail!("seed {seed} broke no rule");
    }
    for breach in breaches {
        writeln!(out, "seed {seed}: {breach}").context("writing to the standard output")?;
    }
    writeln!(out, "to see how it came: natha-prove sim --seed {seed} --story")
        .context("writing to the standard output")
}
