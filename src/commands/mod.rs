//! One file per verb of the command line.
//!
//! Each verb returns one of the exit codes that `natha --help` documents: 0 success, 1 error,
//! 2 wrong usage, 3 completed, but something needs attention.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use comfy_table::Table;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::daemon::HostChange;

pub(crate) mod adopt;
pub(crate) mod config;
mod control;
pub(crate) mod doctor;
pub(crate) mod drain;
pub(crate) mod handover;
pub(crate) mod history;
pub(crate) mod latch;
pub(crate) mod measure;
pub(crate) mod monitor;
pub(crate) mod notify;
pub(crate) mod policy;
pub(crate) mod release;
mod render;
pub(crate) mod replay;
mod report;
pub(crate) mod setup;
mod source_dest;
pub(crate) mod status;
pub(crate) mod take;
pub(crate) mod teardown;
pub(crate) mod turns;
pub(crate) mod undrain;
pub(crate) mod version;
mod watch;

/// Exit code 3: completed, but something needs attention.
#[must_use]
pub(crate) fn needs_attention() -> ExitCode {
    ExitCode::from(3)
}

/// The lines of a table without a frame, each without the space around it.
fn lines_of(table: &Table) -> String {
    table.lines().map(|line| line.trim().to_owned() + "\n").collect()
}

/// Ticks for reading the monitor's status: the first at once, and none in a burst after a delay.
fn polls(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Prints a result as JSON or as text.
///
/// # Errors
/// As for [`print`].
fn print_result<T: serde::Serialize>(
    json: bool,
    result: &T,
    to_text: fn(&T) -> String,
) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(result)? + "\n" } else { to_text(result) };
    print(&text)
}

/// The changes made on this host, one line each.
fn on_this_host(changes: &[HostChange]) -> String {
    let mut text = String::new();
    for change in changes {
        let _ = writeln!(text, "on this host: {change}");
    }
    text
}

/// Writes a page to a file, which may exist.
///
/// # Errors
/// If it cannot be written.
fn write_page(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Prints to stdout. A closed pipe (`natha status | head`) is not an error.
///
/// # Errors
/// If writing fails for another reason, such as a full disk.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}
