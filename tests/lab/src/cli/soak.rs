//! `natha-lab soak`.

use std::fs;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::Args;
use natha_lab::bench::number;
use natha_lab::soak::{self, Options};
use serde_json::{Map, Value};

use super::run::say;

#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// For how many minutes; a cycle that has begun is finished.
    #[arg(value_parser = minutes)]
    minutes: Duration,
    /// Nodes of the cluster; without it, a cluster of 2 and one of 3, side by side.
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=3))]
    nodes: Option<u8>,
    /// What the faults are drawn from: the same seed, the same faults [default: the time].
    #[arg(long)]
    seed: Option<u64>,
    /// Begin with this cycle of the seed.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    cycle: u64,
    /// natha's default settings instead of short waits.
    #[arg(long)]
    defaults: bool,
    /// Where the figures are written to, as one JSON object.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The natha binary; without it, the one beside this program.
    #[arg(long, value_name = "FILE")]
    natha: Option<PathBuf>,
    /// Where schedules go, and the consoles and logs of whatever breaks a rule.
    #[arg(long, value_name = "DIR", default_value = "natha-soak-logs")]
    logs: PathBuf,
}

/// Soaks; 1 where a rule was broken or a lab could not be run to its end.
pub(super) fn run(asked: Soak) -> Result<ExitCode> {
    let natha = match asked.natha {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("natha"),
    };
    let natha = natha.canonicalize().with_context(|| format!("no {}", natha.display()))?;
    let options = Options {
        natha,
        nodes: asked.nodes.map_or_else(|| vec![2, 3], |nodes| vec![nodes]),
        lasting: asked.minutes,
        seed: asked.seed.unwrap_or_else(now),
        first: asked.cycle,
        defaults: asked.defaults,
        logs: asked.logs,
    };
    if let Some(path) = &asked.json {
        // Now, rather than when an hour has been run for nothing.
        fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let outcome = soak::run(&options);
    let mut all: Map<String, Value> =
        outcome.figures.iter().map(|(name, value)| ((*name).to_owned(), number(*value))).collect();
    all.insert("soak.seed".into(), options.seed.into());
    let text = serde_json::to_string_pretty(&all)?;
    match &asked.json {
        Some(path) => fs::write(path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => say(&text)?,
    }
    for line in outcome.violations.iter().chain(&outcome.failed) {
        writeln!(stderr(), "natha-lab: {line}")?;
    }
    let good = outcome.violations.is_empty() && outcome.failed.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("`{text}` is no number of minutes"))?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|problem| problem.to_string())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map(|since| since.as_secs()).unwrap_or_default()
}
