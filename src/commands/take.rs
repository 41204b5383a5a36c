//! `natha take`: one takeover of a group by this node.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::{on_this_host, render, tell, unwell};
use crate::config::Flags;
use crate::daemon::{StepResult, TakeReport, TakeRequest, TakeStep, take};
use crate::types::GroupName;

const AFTER_HELP: &str = "\
Examples:
  natha take web                   give everything of group web to this node
  natha take web --dry-run         show what that would change

  notify_master \"/usr/bin/natha take web\"
                                   in keepalived.conf: the group follows VRRP

Where `natha monitor` runs on the nodes too, it must follow and not decide: `natha monitor
--observe`. It sees by its own reads what was taken.";

/// Flags of `natha take`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The group to take
    #[arg(value_name = "GROUP")]
    pub group: GroupName,

    /// Show what would be changed and change nothing; exit with 3 if there is something
    #[arg(long)]
    pub dry_run: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Take what leads out of the cluster as well
    #[arg(long)]
    pub adopt: bool,

    /// How long everything may take before it is given up
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = limit)]
    pub limit: Duration,
}

/// A time limit for all of a run.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    let limit = humantime::parse_duration(text)
        .map_err(|_| "write a duration with a unit, such as 90s".to_owned())?;
    let range = Duration::from_secs(1)..=Duration::from_hours(1);
    if range.contains(&limit) { Ok(limit) } else { Err("it is 1s to 1h".to_owned()) }
}

/// Runs it. 0: all of the group is here. 3: not all of it is, or would have to be moved, with
/// `--dry-run`.
///
/// # Errors
/// Where nothing was changed, with the reason.
pub async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let Args { group, adopt, dry_run, limit, .. } = args.clone();
    let taken = take(flags, &TakeRequest { group, adopt, dry_run, limit }).await?;
    tell(args.json, &taken, shown)?;
    Ok(if taken.all_here { ExitCode::SUCCESS } else { unwell() })
}

/// What came of it, for people.
fn shown(taken: &TakeReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["what", "before", "", "why"]);
    for step in &taken.resources {
        let (fate, why) = (fate(step), step.reason.clone());
        table.add_row([step.resource.clone(), step.before.clone(), fate, why]);
    }
    let mut text = table.lines().map(|line| line.trim().to_owned() + "\n").collect::<String>();
    text.push_str(&on_this_host(&taken.host));
    if taken.monitor {
        text.push_str("A monitor runs on this host: it sees this by its next read.\n");
    }
    let would = taken.resources.iter().any(|step| step.result == StepResult::WouldMove);
    let summary = match (taken.all_here, would) {
        (true, _) => "is at this node",
        (false, true) => "is not at this node; nothing was changed",
        (false, false) => {
            "is not at this node, or not all of it: run this again, or `natha status`"
        }
    };
    text + &format!("Group {} {summary}.\n", taken.group)
}

fn fate(step: &TakeStep) -> String {
    match (step.result, step.took) {
        (StepResult::WasHere, _) => "was here".to_owned(),
        (StepResult::Moved, Some(took)) => format!("moved in {}", render::short(took)),
        (StepResult::Moved, None) => "moved".to_owned(),
        (StepResult::WouldMove, _) => "would move".to_owned(),
        (StepResult::NotHere, _) => "not here".to_owned(),
    }
}
