//! `natha measure`: how long EC2 takes, in the user's own cluster.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::builder::RangedI64ValueParser;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use super::{needs_attention, print, print_result};
use crate::config::Flags;
use crate::daemon::{MeasureRequest, Plan, Sample, clean_up_when_stdin_ends, summaries};
use crate::types::{RouteTableId, display_duration};

const AFTER_HELP: &str = "\
Example:
  natha measure --table rtb-0123abcd --peer nat-b         show the plan
  natha measure --table rtb-0123abcd --peer nat-b --yes   measure

TABLE is the one that this node's own packets follow. The peer must accept packets to 192.0.2.254
(setting host.accept). The role needs CreateRoute, ReplaceRoute and DeleteRoute for the table.

Exit codes: 0 everything was measured; 1 nothing was; 3 the plan was shown, or some changes had no
effect.";

/// How many rounds there may be.
fn rounds() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1000)
}

/// Flags of `natha measure`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The route table of this node's subnet
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: RouteTableId,

    /// The node that replies, by instance id or name
    #[arg(long, value_name = "NODE", required_unless_present = "guard")]
    pub(crate) peer: Option<String>,

    /// How often each change is measured
    #[arg(long, value_name = "N", default_value = "10", value_parser = rounds())]
    pub(crate) rounds: u32,

    /// Measure; without it, the plan is shown
    #[arg(long)]
    pub(crate) yes: bool,

    /// Print every round as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Delete the scratch route once standard input ends: the second process of a run
    #[arg(long, hide = true)]
    pub(crate) guard: bool,
}

/// The result, as JSON has it.
#[derive(Debug, Serialize)]
struct Measured {
    table: RouteTableId,
    samples: Vec<Sample>,
}

/// Runs `natha measure`.
///
/// # Errors
/// If nothing could be measured; the message gives the reason.
pub(crate) async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    if args.guard {
        clean_up_when_stdin_ends(flags, &args.table).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(peer) = args.peer.clone() else { bail!("--peer is missing") };
    let request = MeasureRequest { table: args.table.clone(), peer, rounds: args.rounds };
    let plan = Plan::new(flags, &request).await?;
    if !args.yes {
        for line in plan.lines() {
            print(&format!("{line}\n"))?;
        }
        print("Nothing was done: --yes measures.\n")?;
        return Ok(needs_attention());
    }
    let samples = plan.carry_out().await?;
    let all = samples.len() == args.rounds as usize * 4;
    let complete = all && samples.iter().all(|sample| sample.effect.is_some());
    print_result(args.json, &Measured { table: args.table.clone(), samples }, to_text)?;
    Ok(if complete { ExitCode::SUCCESS } else { needs_attention() })
}

fn to_text(measured: &Measured) -> String {
    let header = [
        "CALL",
        "ROUNDS",
        "CALL p50",
        "CALL p99",
        "EFFECT p50",
        "EFFECT p99",
        "EFFECT MAX",
        "WITHOUT EFFECT",
    ];
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    let shown = |duration: Duration| display_duration(duration);
    for (change, summary) in summaries(&measured.samples) {
        let mut row = vec![change.name().to_owned(), summary.rounds.to_string()];
        row.extend(summary.call.map(shown));
        match summary.effect {
            Some(effect) => row.extend(effect.map(shown)),
            None => row.extend(["-"; 3].map(str::to_owned)),
        }
        row.push(summary.without_effect.to_string());
        table.add_row(row);
    }
    table.lines().map(|line| line.trim().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Change;

    #[test]
    fn the_table_has_a_row_for_each_change() {
        let samples = Change::ROUND.map(|change| Sample {
            change,
            call: Duration::from_millis(80),
            effect: (change != Change::Delete).then(|| Duration::from_millis(780)),
        });
        let table = "rtb-0123abcd".parse().unwrap();
        let text = to_text(&Measured { table, samples: samples.into() });
        assert_eq!(text.lines().count(), 5, "{text}");
        let back = text.lines().find(|line| line.starts_with("point at the peer")).unwrap();
        assert!(back.contains("80 ms") && back.contains("780 ms"), "{text}");
        let delete = text.lines().find(|line| line.starts_with("delete")).unwrap();
        assert!(delete.trim_end().ends_with('1'), "{text}");
    }
}
