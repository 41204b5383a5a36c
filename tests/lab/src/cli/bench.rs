//! Measuring, and showing what was measured.

use std::fs;
use std::io::{Write, stderr};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use natha_lab::bench::{self, Options, survival, table};

use super::Bench;
use super::run::{NOT_SO, say};

/// Measures and writes the figures. What could not be measured is an error, and not in the file.
pub(super) fn run(asked: Bench) -> Result<ExitCode> {
    let natha = match asked.natha {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("natha"),
    };
    let natha = natha.canonicalize().with_context(|| format!("no {}", natha.display()))?;
    let Bench { aws, only, without, quick, .. } = asked;
    let options = Options { natha, aws, only, without, quick };
    let outcome = bench::run(&options)?;
    let text = serde_json::to_string_pretty(&outcome.all)?;
    let path = &asked.json;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    for problem in &outcome.failed {
        writeln!(stderr(), "natha-lab: not measured: {problem}")?;
    }
    for figure in &outcome.over {
        writeln!(stderr(), "natha-lab: over budget: {figure}")?;
    }
    Ok(match (outcome.failed.is_empty(), outcome.over.is_empty()) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(NOT_SO),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Prints the tables of a run, or puts them into a document.
pub(super) fn table(file: &Path, is_survival: bool, into: Option<&Path>) -> Result<()> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let markdown = if is_survival { survival::table::markdown } else { table::markdown };
    let tables = markdown(&read(file)?)?;
    let Some(path) = into else { return say(tables.trim_end()) };
    let document = table::insert(&read(path)?, &tables)
        .with_context(|| format!("{} is left as it is", path.display()))?;
    fs::write(path, document).with_context(|| format!("cannot write {}", path.display()))
}
