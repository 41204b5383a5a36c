//! `natha status`: what the monitor on this host knows and does.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::control::Answer;
use super::{control, print, render, unwell};

/// Flags of `natha status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the status. 0 if all is well, 3 if something is not as it should be.
///
/// # Errors
/// Where no monitor runs on this host.
pub async fn run(args: &Args, socket: &Path) -> anyhow::Result<ExitCode> {
    match control::status(socket).await? {
        Answer::Starting(starting) => {
            let text = if args.json {
                to_json(&starting)?
            } else {
                format!("The monitor is starting: {}\n", starting.starting)
            };
            print(&text)?;
            Ok(unwell())
        }
        Answer::Running(report) => {
            let colours = std::io::stdout().is_terminal();
            let text = if args.json { to_json(&report)? } else { render::report(&report, colours) };
            print(&text)?;
            Ok(if report.findings().is_empty() { ExitCode::SUCCESS } else { unwell() })
        }
    }
}

fn to_json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(value).context("cannot be written as JSON")?;
    text.push('\n');
    Ok(text)
}
