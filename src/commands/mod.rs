//! One file per verb of the command line.
//!
//! Each verb ends in one of the exit codes that `natha --help` documents: 0 all well, 1 an error,
//! 2 wrong usage, 3 done, but something is not as it should be.

use std::process::ExitCode;

use crate::daemon::HostChange;

mod control;
pub mod handover;
pub mod monitor;
pub mod policy;
pub mod release;
mod render;
pub mod replay;
mod report;
pub mod setup;
mod source_dest;
pub mod status;
pub mod take;
pub mod teardown;

/// Done, but something is not as it should be.
#[must_use]
pub fn unwell() -> ExitCode {
    ExitCode::from(3)
}

/// Prints what came of it, as JSON or in words.
///
/// # Errors
/// As [`print`].
fn tell<T: serde::Serialize>(
    json: bool,
    result: &T,
    words: fn(&T) -> String,
) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(result)? + "\n" } else { words(result) };
    print(&text)
}

/// What was changed on this host, a line each.
fn on_this_host(changes: &[HostChange]) -> String {
    changes.iter().map(|change| format!("on this host: {change}\n")).collect()
}

/// Prints to standard output. A reader that has gone (`natha status | head`) is no error.
///
/// # Errors
/// Where it cannot be written for another reason, such as a full disk.
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
