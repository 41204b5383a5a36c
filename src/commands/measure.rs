//! `natha measure`: how long EC2 takes, and how regularly heartbeats arrive, in the user's own
//! cluster.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::builder::RangedI64ValueParser;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use super::{control, lines_of, needs_attention, print, print_result};
use crate::config::Flags;
use crate::daemon::{Measurand, MeasureRequest, Plan, Sample, clean_up_when_stdin_ends, summaries};
use crate::status::{HeartbeatGaps, Report};
use crate::types::{AllocationId, InstanceId, RouteTableId, display_duration, millis};

const AFTER_HELP: &str = "\
Examples:
  natha measure --table rtb-0123abcd --peer nat-b         show the plan
  natha measure --table rtb-0123abcd --peer nat-b --yes   measure
  natha measure --elastic-ip eipalloc-0123abcd --peer nat-b --yes
  natha measure --heartbeats                              show what the monitor has measured

TABLE is the one that this node's own packets follow. The peer must accept packets to 192.0.2.254
(setting host.accept). An Elastic IP must be free: natha moves it between a private address of this
node and one of the peer, which it assigns for that and removes at the end. `natha policy` with
--measure-table or --measure-elastic-ip prints what the role needs.

Exit codes: 0 everything was measured; 1 nothing was; 3 the plan was shown, or some changes had no
effect.";

/// How many rounds there may be.
fn rounds() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1000)
}

/// Flags of `natha measure`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Args {
    /// The route table of this node's subnet
    #[arg(long, value_name = "TABLE", required_unless_present_any = ["elastic_ip", "heartbeats"])]
    pub(crate) table: Option<RouteTableId>,

    /// Move this Elastic IP, which must be associated with nothing, and not a route
    #[arg(long, value_name = "ALLOCATION", conflicts_with_all = ["table", "heartbeats"])]
    pub(crate) elastic_ip: Option<AllocationId>,

    /// The node that replies, by instance id or name
    #[arg(long, value_name = "NODE", required_unless_present_any = ["guard", "heartbeats"])]
    pub(crate) peer: Option<String>,

    /// How often each change is measured
    #[arg(long, value_name = "N", default_value = "10", value_parser = rounds())]
    pub(crate) rounds: u32,

    /// Measure; without it, the plan is shown
    #[arg(long)]
    pub(crate) yes: bool,

    /// Show the times between heartbeats that this node's monitor has measured since it started
    #[arg(long, conflicts_with_all = ["table", "peer", "rounds", "yes", "guard"])]
    pub(crate) heartbeats: bool,

    /// Print JSON: every round, or a line for each peer
    #[arg(long)]
    pub(crate) json: bool,

    /// Clean up once standard input ends: the second process of a run
    #[arg(long, hide = true)]
    pub(crate) guard: bool,
}

/// The result, as JSON has it.
#[derive(Debug, Serialize)]
struct Measured {
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<RouteTableId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elastic_ip: Option<AllocationId>,
    samples: Vec<Sample>,
}

/// Runs `natha measure`.
///
/// # Errors
/// If nothing could be measured; the message gives the reason.
pub(crate) async fn run(args: &Args, flags: &Flags, socket: &Path) -> anyhow::Result<ExitCode> {
    if args.heartbeats {
        return show_heartbeats(args.json, socket).await;
    }
    let (table, elastic_ip) = (args.table.clone(), args.elastic_ip.clone());
    if args.guard {
        clean_up_when_stdin_ends(flags, table).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = match (&table, &elastic_ip) {
        (Some(table), _) => Measurand::Route(table.clone()),
        (None, Some(id)) => Measurand::ElasticIp(id.clone()),
        (None, None) => bail!("--table is missing"),
    };
    let Some(peer) = args.peer.clone() else { bail!("--peer is missing") };
    let request = MeasureRequest { what, peer, rounds: args.rounds };
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
    print_result(args.json, &Measured { table, elastic_ip, samples }, to_text)?;
    Ok(if complete { ExitCode::SUCCESS } else { needs_attention() })
}

/// The times between heartbeats of one peer.
#[derive(Debug, Serialize)]
struct Heartbeats {
    /// The peer, by name and id.
    node: String,
    zone: Option<String>,
    /// How many gaps there were.
    gaps: u64,
    /// The upper ends of the histogram's buckets, in ms; none above the last bound.
    #[serde(rename = "p50_ms", with = "millis::option")]
    median: Option<Duration>,
    #[serde(rename = "p99_ms", with = "millis::option")]
    most: Option<Duration>,
    #[serde(rename = "max_ms", with = "millis::option")]
    max: Option<Duration>,
    /// How far the gaps are from the time between two heartbeats that are sent: likewise.
    #[serde(rename = "jitter_p50_ms", with = "millis::option")]
    jitter_median: Option<Duration>,
    #[serde(rename = "jitter_p99_ms", with = "millis::option")]
    jitter_most: Option<Duration>,
    #[serde(rename = "jitter_max_ms", with = "millis::option")]
    jitter_max: Option<Duration>,
    /// Heartbeats that did not come between two that did.
    missed: u64,
}

async fn show_heartbeats(json: bool, socket: &Path) -> anyhow::Result<ExitCode> {
    let report = control::running(socket).await?;
    print_result(json, &heartbeats(&report), |peers| heartbeats_to_text(peers))?;
    Ok(ExitCode::SUCCESS)
}

fn heartbeats(report: &Report) -> Vec<Heartbeats> {
    let measured = report.counters.meters.heartbeats.iter();
    let of_one = |(id, known): (&InstanceId, &HeartbeatGaps)| {
        let HeartbeatGaps { missed, gaps, jitter, .. } = known;
        let member = report.roster.members.iter().find(|member| member.id == *id);
        Heartbeats {
            node: report.node_name(id),
            zone: member.and_then(|member| member.zone.as_ref()).map(ToString::to_string),
            gaps: gaps.count(),
            median: gaps.quantile(0.5),
            most: gaps.quantile(0.99),
            max: gaps.quantile(1.0),
            jitter_median: jitter.quantile(0.5),
            jitter_most: jitter.quantile(0.99),
            jitter_max: jitter.quantile(1.0),
            missed: *missed,
        }
    };
    measured.map(of_one).collect()
}

fn heartbeats_to_text(peers: &[Heartbeats]) -> String {
    let header = [
        "NODE",
        "ZONE",
        "GAPS",
        "p50 UP TO",
        "p99 UP TO",
        "MAX UP TO",
        "JITTER p50",
        "JITTER p99",
        "JITTER MAX",
        "MISSED",
    ];
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    let shown = |end: Option<Duration>| end.map_or_else(|| "-".to_owned(), display_duration);
    for peer in peers {
        let zone = peer.zone.clone().unwrap_or_else(|| "-".to_owned());
        let mut row = vec![peer.node.clone(), zone, peer.gaps.to_string()];
        row.extend([peer.median, peer.most, peer.max].map(shown));
        row.extend([peer.jitter_median, peer.jitter_most, peer.jitter_max].map(shown));
        row.push(peer.missed.to_string());
        table.add_row(row);
    }
    lines_of(&table)
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
    for (change, summary) in summaries(&measured.samples) {
        let mut row = vec![change.name().to_owned(), summary.rounds.to_string()];
        row.extend(summary.call.map(display_duration));
        match summary.effect {
            Some(effect) => row.extend(effect.map(display_duration)),
            None => row.extend(["-"; 3].map(str::to_owned)),
        }
        row.push(summary.without_effect.to_string());
        table.add_row(row);
    }
    lines_of(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::render::tests::{B, id, well};
    use crate::daemon::Change;
    use crate::types::{SessionId, Time};

    #[test]
    fn the_table_has_a_row_for_each_change() {
        let samples = Change::OF_ROUTE.map(|change| Sample {
            change,
            call: Duration::from_millis(80),
            effect: (change != Change::Delete).then(|| Duration::from_millis(780)),
        });
        let table = "rtb-0123abcd".parse().ok();
        let text = to_text(&Measured { table, elastic_ip: None, samples: samples.into() });
        assert_eq!(text.lines().count(), 5, "{text}");
        let back = text.lines().find(|line| line.starts_with("point at the peer")).unwrap();
        assert!(back.contains("80 ms") && back.contains("780 ms"), "{text}");
        let delete = text.lines().find(|line| line.starts_with("delete")).unwrap();
        assert!(delete.trim_end().ends_with('1'), "{text}");
    }

    #[test]
    fn heartbeats_are_shown_with_gaps_and_jitter_of_each_peer() {
        let mut report = well();
        let interval = Duration::from_millis(90);
        for ms in [1_000, 1_090, 1_185, 1_270] {
            let at = Time::from_millis(ms);
            report.counters.meters.beat(&id(B), SessionId(1), at, interval);
        }
        let peers = heartbeats(&report);
        let json = serde_json::to_value(&peers).unwrap();
        let wanted = serde_json::json!([{
            "node": report.node_name(&id(B)), "zone": "eu-west-1b", "gaps": 3,
            "p50_ms": 100, "p99_ms": 100, "max_ms": 100,
            "jitter_p50_ms": 5, "jitter_p99_ms": 5, "jitter_max_ms": 5,
            "missed": 0,
        }]);
        assert_eq!(json, wanted);
        let text = heartbeats_to_text(&peers);
        let cells: Vec<Vec<&str>> = text.lines().map(split).collect();
        let [header, row] = &cells[..] else { panic!("{text}") };
        let cell = |name: &str| row[header.iter().position(|one| *one == name).unwrap()];
        assert_eq!((cell("p99 UP TO"), cell("JITTER p99")), ("100 ms", "5 ms"), "{text}");
    }

    /// The cells of a line: two spaces or more are between them.
    fn split(line: &str) -> Vec<&str> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
    }
}
