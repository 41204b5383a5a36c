//! The comparison as Markdown, for `docs/connections.md`.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{SHARES, names, of};
use crate::bench::stats;
use crate::survival::{Move, Tier};

/// The table of a run, from the object that the run wrote. Without a figure of it, a sentence says
/// so.
///
/// # Errors
/// When that is no object or lacks facts about the run.
pub fn markdown(run: &str) -> Result<String> {
    let run: BTreeMap<String, Value> =
        serde_json::from_str(run).context("not an object of figures")?;
    let figure = |name: &str| run.get(name).and_then(Value::as_f64);
    if !names().any(|name| figure(name).is_some()) {
        return Ok("Not measured yet.\n".to_owned());
    }
    let fact = |name: &str| run.get(name).with_context(|| format!("no {name}"));
    let date = fact("run.date")?.as_str().context("run.date is no text")?;
    let mut text = format!(
        "{} connections for each move, half of them of each host; measured {date}.\n\n",
        fact("run.connections")?,
    );
    text.push_str(
        "| tier | move | idle | busy | server sends | download | UDP | changed ports \
         | applications | stall: median, ms | longest | new connections, ms |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for tier in Tier::ALL {
        for (event, names) in Move::ALL.into_iter().zip(of(tier)) {
            write!(text, "| {} | {} |", tier_name(tier), move_name(event))?;
            for (place, name) in names.iter().enumerate() {
                write!(text, " {} |", shown(figure(name), place < SHARES))?;
            }
            text.push('\n');
        }
    }
    Ok(text)
}

/// A figure as it stands in the table: a share in per cent.
fn shown(value: Option<f64>, is_share: bool) -> String {
    match value {
        None => "–".to_owned(),
        Some(share) if is_share => format!("{} %", stats::rounded(share * 100.0, 1)),
        Some(ms) => ms.to_string(),
    }
}

const fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Nothing => "nothing",
        Tier::EgressIp => "egress IP",
        Tier::Replication => "replication",
        Tier::Conntrackd => "conntrackd",
    }
}

const fn move_name(event: Move) -> &'static str {
    match event {
        Move::HandOver => "hand-over",
        Move::HandBack => "hand-back",
        Move::HardKill => "hard kill",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_has_a_row_for_each_tier_and_move() {
        let run = json!({
            "run.connections": 5000,
            "run.date": "2026-12-01",
            "survival.replication.hard_kill.idle_ratio": 1,
            "survival.replication.hard_kill.udp_ratio": 0.998,
            "survival.replication.hard_kill.stall_ms.median": 4420,
        });
        let text = markdown(&run.to_string()).unwrap();
        assert!(text.starts_with("5000 connections for each move, half of them of each host; m"));
        let row = "| replication | hard kill | 100 % | – | – | – | 99.8 % | – | – | 4420 | – | – |";
        assert!(text.lines().any(|line| line == row), "{text}");
        let rows = text.lines().filter(|line| line.starts_with("| ") && !line.contains("tier"));
        assert_eq!(rows.count(), Tier::ALL.len() * Move::ALL.len());
        assert!(text.lines().all(|line| line.matches('|').count() % 13 == 0), "{text}");
    }

    #[test]
    fn a_run_without_the_figures_says_so() {
        let text = markdown("{\"binary.mib\": 9}").unwrap();
        assert_eq!(text, "Not measured yet.\n");
        assert!(markdown("[]").is_err());
    }
}
