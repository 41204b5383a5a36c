//! `natha status`: prints the state of the monitor on this host.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::control::MonitorStatus;
use super::{control, needs_attention, print, render, watch};

const AFTER_HELP: &str = "\
Columns:
  VERDICT, SINCE   what this node concludes about the node, and for how long it has
  HEARTBEAT, ECHO  age of the node's last heartbeat, and of its last reply to an ICMP echo
  HEARS THIS NODE  whether its heartbeats say that it hears this node
  EC2              its state by EC2, which is asked only while something is wrong
  VERSION          its version of natha; shown only while the versions of the nodes differ
  HOME, HOLDER     the node that holds the group in normal operation, and the one that does now
  MOVES            how often the group has moved, as far as this node knows
  LAST READ        how long ago this node read from EC2 where the group is
  ACTIVITY         a move under way, or `left alone`: the group points outside the cluster

operations.md in natha's documentation explains the verdicts and what needs attention.

Exit codes:
  0  all is well
  1  error: no monitor runs on this host, or it does not reply
  2  wrong usage
  3  the monitor is starting, or something needs attention";

/// Flags of `natha status`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
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
