//! `natha status`: prints the state of the monitor on this host.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::control::MonitorStatus;
use super::{control, needs_attention, print, render, watch};

/// Flags of `natha status`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Print the whole status as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Show the status and update it every second, until `q` is pressed
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
}

/// Prints the status. Exit code 0: no findings. 3: something needs attention, or the monitor is
/// still starting.
///
/// # Errors
/// If no monitor is running on this host.
pub(crate) async fn run(args: &Args, socket: &Path) -> anyhow::Result<ExitCode> {
    if args.watch {
        return watch::run(socket).await;
    }
    match control::status(socket).await? {
        MonitorStatus::Starting(starting) => {
            let text = if args.json {
                to_json(&starting)?
            } else {
                format!("The monitor is starting: {}\n", starting.starting)
            };
            print(&text)?;
            Ok(needs_attention())
        }
        MonitorStatus::Running(report) => {
            let colours = std::io::stdout().is_terminal();
            let text = if args.json { to_json(&report)? } else { render::report(&report, colours) };
            print(&text)?;
            Ok(if report.findings().is_empty() { ExitCode::SUCCESS } else { needs_attention() })
        }
    }
}

/// Refuses a monitor of another cluster than the flags name. What else is wrong with it is for the
/// command itself to report.
///
/// # Errors
/// If the monitor is one of another cluster.
pub(crate) async fn expect_cluster(socket: &Path, wanted: &str) -> anyhow::Result<()> {
    match control::status(socket).await {
        Ok(MonitorStatus::Running(report)) if report.cluster != wanted => bail!(
            "the monitor on this host is one of cluster {}, not of {wanted}: leave --cluster out, \
             or run this on a node of {wanted}",
            report.cluster
        ),
        _ => Ok(()),
    }
}

fn to_json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    let mut text =
        serde_json::to_string_pretty(value).context("cannot encode the status as JSON")?;
    text.push('\n');
    Ok(text)
}
