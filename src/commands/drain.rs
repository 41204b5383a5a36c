//! `natha drain`: hands over everything that this node holds, before the host shuts down.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use humantime::parse_duration;
use tokio::time::{Instant, timeout_at};

use super::control::MonitorStatus;
use super::{control, needs_attention, polls, print};
use crate::failover::Command;
use crate::status::Report;
use crate::types::display_duration;

/// Time between two reads of the monitor's status.
const POLL: Duration = Duration::from_millis(50);
/// Time between two reads of the packets that pass, each of which runs `nft`.
const PACKET_POLL: Duration = Duration::from_millis(250);
/// Without a packet of a private host for so long, the moves have taken effect. A connection that
/// is in use sends more often, and an idle one loses nothing.
const QUIET: Duration = Duration::from_secs(2);

const AFTER_HELP: &str = "\
The node then takes nothing until `natha undrain`, or until its monitor restarts.
natha-drain.service runs this when the host shuts down.";

/// Flags of `natha drain`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// How long to wait for the hand-over, and until private hosts send through this node no more
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

/// Has the monitor hand over all groups, and waits for that and until private hosts send through
/// this node no more. Exit code 0: this node holds nothing that a peer could take. 3: not
/// everything was handed over in time; the monitor goes on with it.
///
/// # Errors
/// If no monitor is running, or it has not started yet.
pub(crate) async fn run(args: &Args, socket: &Path) -> anyhow::Result<ExitCode> {
    let Drain { left, is_complete, is_quiet } = drain(socket, args.timeout).await?;
    if !is_complete {
        print(&format!(
            "Not everything was handed over within {}: see `natha status` for the reason.\n",
            display_duration(args.timeout)
        ))?;
    } else if !left.is_empty() {
        print(&format!("No peer can take what is left here: {}.\n", left.join(", ")))?;
    } else {
        print("This node holds no group. It takes none until `natha undrain`.\n")?;
        if !is_quiet {
            print("Private hosts still send packets through this node.\n")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    Ok(needs_attention())
}

/// Hands everything over, and waits until private hosts send through this node no more. Returns the
/// groups of which this node may still hold a part when no peer can take more, or when the time is
/// up.
pub(super) async fn hand_over(socket: &Path, limit: Duration) -> anyhow::Result<Vec<String>> {
    Ok(drain(socket, limit).await?.left)
}

/// How a drain ended.
struct Drain {
    /// The groups that are left here, at least in part.
    left: Vec<String>,
    /// Whether the monitor has handed over all that its peers can take.
    is_complete: bool,
    /// Whether private hosts no longer send through this node: the moves have taken effect.
    is_quiet: bool,
}

async fn drain(socket: &Path, limit: Duration) -> anyhow::Result<Drain> {
    let end = Instant::now() + limit;
    control::command(socket, &Command::Leave).await?;
    let Ok(report) = timeout_at(end, drained(socket)).await else {
        let left = kept_or_moving(&*control::running(socket).await?);
        return Ok(Drain { left, is_complete: false, is_quiet: false });
    };
    let left = kept(&*report?);
    let is_quiet = left.is_empty() && timeout_at(end, quiet(socket)).await.is_ok();
    Ok(Drain { left, is_complete: true, is_quiet })
}

/// Waits until no packets of private hosts have been forwarded for [`QUIET`], or the monitor cannot
/// tell any more.
async fn quiet(socket: &Path) {
    let mut ticks = polls(PACKET_POLL);
    let (mut before, mut since) = (None, Instant::now());
    loop {
        ticks.tick().await;
        let Ok(Some(packets)) = control::forwarded(socket).await else { return };
        if before != Some(packets) {
            (before, since) = (Some(packets), Instant::now());
        } else if since.elapsed() >= QUIET {
            return;
        }
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
