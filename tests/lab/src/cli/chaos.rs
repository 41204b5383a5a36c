//! The results of `scripts/chaos`, and their table.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use natha_lab::chaos::{results, table};

use super::run::say;

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Makes figures of a test runner's report and writes or prints them.
pub(super) fn figures(report: &Path, json: Option<&Path>) -> Result<()> {
    let figures = results::figures(&read(report)?)
        .with_context(|| format!("{} is not a whole run", report.display()))?;
    let text = serde_json::to_string_pretty(&figures)?;
    let Some(path) = json else { return say(&text) };
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// Prints the table with the results of a run, or puts it into a document.
pub(super) fn table(file: &Path, into: Option<&Path>) -> Result<()> {
    let table = table::markdown(&read(file)?)?;
    let Some(path) = into else { return say(table.trim_end()) };
    let document = table::insert(&read(path)?, &table)
        .with_context(|| format!("{} is left as it is", path.display()))?;
    fs::write(path, document).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints the tests that a run must contain, one a line, as `FILE::TEST`.
pub(super) fn tests() -> Result<()> {
    say(&results::wanted().join("\n"))
}
