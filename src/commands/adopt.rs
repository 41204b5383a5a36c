//! `natha adopt` and `natha retire`: move route tables from another NAT to this node, and back.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::control::MonitorStatus;
use super::{control, lines_of, needs_attention, print_result};
use crate::config::Flags;
use crate::daemon::{AdoptReport, AdoptRequest, AdoptResult, AdoptStep, adopt, retire};
use crate::types::RouteTableId;

const AFTER_HELP: &str = "\
Examples:
  natha adopt                      show which tables would be moved here
  natha adopt --yes rtb-0123abcd   move one
  natha adopt --yes                move all whose home this node is, one after the other

Tag a table with natha:cluster first. natha moves one table at a time, and then waits until one of
its hosts has an established connection. Without one, and after Ctrl-C or a lost session, it
restores the table's old target and stops.
`natha retire --yes` restores all of them later. Each move ends the hosts' open connections.

Exit codes: 0 nothing to move, or all moved; 3 something would be moved, or was not moved.";

/// Flags of `natha adopt`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct AdoptArgs {
    /// Only these tables [default: all that point outside the cluster]
    #[arg(value_name = "TABLE")]
    pub(crate) tables: Vec<RouteTableId>,

    /// Make the changes; without it, they are only shown
    #[arg(long)]
    pub(crate) yes: bool,

    /// How long to wait until a connection of a table's hosts works
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = super::take::limit)]
    pub(crate) proof: Duration,

    /// Keep a table whose hosts send nothing in that time
    #[arg(long)]
    pub(crate) keep_quiet: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `natha retire`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RetireArgs {
    /// Only these tables [default: all that `natha adopt` moved here]
    #[arg(value_name = "TABLE")]
    pub(crate) tables: Vec<RouteTableId>,

    /// Make the changes; without it, they are only shown
    #[arg(long)]
    pub(crate) yes: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs `natha adopt`.
///
/// # Errors
/// If nothing was changed; the message gives the reason.
pub(crate) async fn run(
    args: &AdoptArgs,
    flags: &Flags,
    socket: &Path,
) -> anyhow::Result<ExitCode> {
    let AdoptArgs { tables, yes, proof, keep_quiet, json } = args.clone();
    if yes {
        may_take(socket).await?;
    }
    let tables = tables.into_iter().collect();
    let report = adopt(flags, &AdoptRequest { tables, yes, proof, keep_quiet }).await?;
    print_result(json, &report, to_text)?;
    Ok(code(&report, &[AdoptResult::Served, AdoptResult::Quiet]))
}

/// Runs `natha retire`.
///
/// # Errors
/// If nothing was changed; the message gives the reason.
pub(crate) async fn run_retire(args: &RetireArgs, flags: &Flags) -> anyhow::Result<ExitCode> {
    let tables = args.tables.iter().cloned().collect();
    let report = retire(flags, &tables, args.yes).await?;
    print_result(args.json, &report, to_text)?;
    Ok(code(&report, &[AdoptResult::GivenBack]))
}

/// A table is moved only to a node that serves it and whose monitor covers it from then on.
async fn may_take(socket: &Path) -> anyhow::Result<()> {
    let report = match control::status(socket).await? {
        MonitorStatus::Running(report) => report,
        MonitorStatus::Starting(starting) => {
            bail!("nothing was changed: the monitor is starting: {}", starting.starting)
        }
    };
    if !report.view.fitness.is_proven() {
        bail!("nothing was changed: this node is now: {}", report.view.fitness);
    }
    if report.view.latches.is_latched() {
        bail!("nothing was changed: the cluster is latched; see `natha status`");
    }
    Ok(())
}

fn code(report: &AdoptReport, well: &[AdoptResult]) -> ExitCode {
    let is_well = |step: &AdoptStep| well.contains(&step.result);
    if report.tables.iter().all(is_well) { ExitCode::SUCCESS } else { needs_attention() }
}

fn to_text(report: &AdoptReport) -> String {
    if report.tables.is_empty() {
        return "There is nothing to move.\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["TABLE", "GROUP", "FOR", "OLD TARGET", "RESULT", "NOTE"]);
    for step in &report.tables {
        table.add_row([
            step.table.to_string(),
            step.group.to_string(),
            step.destination.to_string(),
            step.before.clone(),
            words(step.result).to_owned(),
            step.note.clone(),
        ]);
    }
    let mut text = lines_of(&table);
    if report.tables.iter().any(|step| step.result == AdoptResult::WouldMove) {
        text.push_str("Nothing was changed: --yes makes these changes.\n");
    }
    text
}

const fn words(result: AdoptResult) -> &'static str {
    match result {
        AdoptResult::WouldMove => "would move",
        AdoptResult::LeftAlone => "left alone",
        AdoptResult::Served => "moved, its hosts are served",
        AdoptResult::Quiet => "moved, not proven",
        AdoptResult::GivenBack => "given back",
        AdoptResult::Failed => "failed",
        AdoptResult::Skipped => "not tried",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(results: &[AdoptResult]) -> AdoptReport {
        let step = |result: &AdoptResult| AdoptStep {
            group: "eu-west-1a".parse().unwrap(),
            table: "rtb-0123abcd".parse().unwrap(),
            destination: "0.0.0.0/0".parse().unwrap(),
            before: "nat-0123abcd".to_owned(),
            result: *result,
            note: "3 new connections of its hosts, and none works".to_owned(),
        };
        AdoptReport {
            node: "i-0123abcd".parse().unwrap(),
            tables: results.iter().map(step).collect(),
        }
    }

    #[test]
    fn the_result_says_what_became_of_each_table() {
        assert_eq!(to_text(&report(&[])), "There is nothing to move.\n");
        let planned = to_text(&report(&[AdoptResult::WouldMove]));
        assert!(planned.contains("nat-0123abcd") && planned.contains("--yes"), "{planned}");
        let back = to_text(&report(&[AdoptResult::GivenBack]));
        assert!(back.contains("given back") && back.contains("none works"), "{back}");
        assert!(!back.contains("--yes"), "{back}");
    }

    #[test]
    fn the_exit_code_is_0_only_if_all_is_moved() {
        let well = [AdoptResult::Served, AdoptResult::Quiet];
        let is_well = |results: &[AdoptResult]| {
            format!("{:?}", code(&report(results), &well)) == format!("{:?}", ExitCode::SUCCESS)
        };
        assert!(is_well(&[]) && is_well(&[AdoptResult::Served]));
        assert!(!is_well(&[AdoptResult::Served, AdoptResult::GivenBack]));
        assert!(!is_well(&[AdoptResult::WouldMove]));
    }
}
