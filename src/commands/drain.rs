//! `natha drain`: hands over everything that this node holds, before the host shuts down.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use humantime::parse_duration;
use tokio::time::timeout;

use super::control::MonitorStatus;
use super::{control, needs_attention, polls, print};
use crate::failover::Command;
use crate::status::Report;
use crate::types::display_duration;

/// Time between two reads of the monitor's status.
const POLL: Duration = Duration::from_millis(50);

const AFTER_HELP: &str = "\
The node then takes nothing until `natha undrain`, or until its monitor restarts.
natha-drain.service runs this when the host shuts down.";

/// Flags of `natha drain`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How long to wait for the hand-over
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

/// Has the monitor hand over all groups and waits for that. Exit code 0: this node holds nothing
/// that a peer could take. 3: not everything was handed over in time; the monitor goes on with it.
///
/// # Errors
/// If no monitor is running, or it has not started yet.
pub(crate) async fn run(args: &Args, socket: &Path) -> anyhow::Result<ExitCode> {
    control::command(socket, &Command::Leave).await?;
    match timeout(args.timeout, drained(socket)).await {
        Ok(report) => {
            let kept = kept(&*report?);
            if kept.is_empty() {
                print("This node holds no group. It takes none until `natha undrain`.\n")?;
                return Ok(ExitCode::SUCCESS);
            }
            print(&format!("No peer can take what is left here: {}.\n", kept.join(", ")))?;
        }
        Err(_) => print(&format!(
            "Not everything was handed over within {}: see `natha status` for the reason.\n",
            display_duration(args.timeout)
        ))?,
    }
    Ok(needs_attention())
}

/// Hands everything over. Returns the groups of which this node may still hold a part when no peer
/// can take more, or when the time is up.
pub(super) async fn hand_over(socket: &Path, limit: Duration) -> anyhow::Result<Vec<String>> {
    control::command(socket, &Command::Leave).await?;
    match timeout(limit, drained(socket)).await {
        Ok(report) => Ok(kept(&*report?)),
        Err(_) => match control::status(socket).await? {
            MonitorStatus::Running(report) => Ok(kept_or_moving(&report)),
            MonitorStatus::Starting(_) => bail!("the monitor was restarted meanwhile"),
        },
    }
}

/// Waits until the monitor has handed over all that its peers can take.
async fn drained(socket: &Path) -> anyhow::Result<Box<Report>> {
    let mut ticks = polls(POLL);
    loop {
        ticks.tick().await;
        match control::status(socket).await? {
            MonitorStatus::Running(report) if report.drained => return Ok(report),
            MonitorStatus::Running(_) => {}
            MonitorStatus::Starting(_) => bail!("the monitor was restarted meanwhile"),
        }
    }
}

/// The groups that this node still holds.
fn kept(report: &Report) -> Vec<String> {
    let groups = report.view.groups.iter();
    let mine = groups.filter(|(_, group)| group.holder.as_ref() == Some(&report.view.me));
    mine.map(|(name, _)| name.to_string()).collect()
}

/// The groups that this node still holds, and, unless the monitor says that it has handed over all
/// that it can, those that are on their way: a group in two parts has no holder.
fn kept_or_moving(report: &Report) -> Vec<String> {
    let mut left = kept(report);
    if !report.drained {
        let moving = report.view.groups.iter().filter(|(name, group)| {
            let is_whole = group.holder.is_some() && group.doing.is_none();
            !is_whole && !left.contains(&name.to_string())
        });
        left.extend(moving.map(|(name, _)| name.to_string()).collect::<Vec<_>>());
    }
    left
}

#[cfg(test)]
mod tests {
    use super::super::render::tests::well;
    use super::*;

    #[test]
    fn a_group_in_two_parts_is_not_handed_over() {
        let mut report = well();
        report.drained = false;
        let held = kept(&report);
        assert_eq!(kept_or_moving(&report), held);
        let (name, group) = report.view.groups.iter_mut().next().unwrap();
        let name = name.to_string();
        group.holder = None;
        assert!(!kept(&report).contains(&name));
        assert!(kept_or_moving(&report).contains(&name));
        report.drained = true;
        assert!(!kept_or_moving(&report).contains(&name), "no peer can take it");
    }
}
