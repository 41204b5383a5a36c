//! `natha take`: one takeover of a group by this node, on request.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::{lines_of, needs_attention, on_this_host, print_result};
use crate::config::Flags;
use crate::daemon::{StepResult, TakeReport, TakeRequest, TakeStep, take};
use crate::types::{GroupName, display_duration};

const AFTER_HELP: &str = "\
Examples:
  natha take web                   move everything in group web to this node
  natha take web --dry-run         show what that would change

  notify_master \"/usr/bin/natha take web\"
                                   in keepalived.conf: the group follows VRRP

If `natha monitor` also runs on the nodes, it must follow and not decide: use `natha monitor
--observe`. It learns of the takeover from its next read.";

/// Flags of `natha take`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The group to take
    #[arg(value_name = "GROUP")]
    pub(crate) group: GroupName,

    /// Show what would change without changing it; exits with 3 if anything would
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Also take resources that point to a target outside the cluster
    #[arg(long)]
    pub(crate) adopt: bool,

    /// Time limit for the whole takeover
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = limit)]
    pub(crate) limit: Duration,
}

/// Parses `--limit`.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    let limit = humantime::parse_duration(text)
        .map_err(|_| "use a duration with a unit, such as 90s".to_owned())?;
    let range = Duration::from_secs(1)..=Duration::from_hours(1);
    if range.contains(&limit) { Ok(limit) } else { Err("use 1s to 1h".to_owned()) }
}

/// Runs `natha take`. Exit code 0: this node has the whole group. 3: it has not, or, with
/// `--dry-run`, something would have to move.
///
/// # Errors
/// If nothing was changed; the message gives the reason.
pub(crate) async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let Args { group, adopt, dry_run, limit, .. } = args.clone();
    let taken = take(flags, &TakeRequest { group, adopt, dry_run, limit }).await?;
    print_result(args.json, &taken, to_text)?;
    Ok(if taken.all_here { ExitCode::SUCCESS } else { needs_attention() })
}

fn to_text(taken: &TakeReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["what", "before", "result", "why"]);
    for step in &taken.resources {
        let (fate, why) = (fate(step), step.reason.clone());
        table.add_row([step.resource.clone(), step.before.clone(), fate, why]);
    }
    let mut text = lines_of(&table);
    text.push_str(&on_this_host(&taken.host));
    if taken.monitor {
        text.push_str("The monitor on this host will see this at its next read.\n");
    }
    let would = taken.resources.iter().any(|step| step.result == StepResult::WouldMove);
    let summary = match (taken.all_here, would) {
        (true, _) => "is on this node",
        (false, true) => "is not on this node; nothing was changed",
        (false, false) => "is not completely on this node: run this again, or see `natha status`",
    };
    text + &format!("Group {} {summary}.\n", taken.group)
}

fn fate(step: &TakeStep) -> String {
    match (step.result, step.took) {
        (StepResult::WasHere, _) => "was here".to_owned(),
        (StepResult::Moved, Some(took)) => format!("moved in {}", display_duration(took)),
        (StepResult::Moved, None) => "moved".to_owned(),
        (StepResult::WouldMove, _) => "would move".to_owned(),
        (StepResult::NotHere, _) => "not here".to_owned(),
    }
}
