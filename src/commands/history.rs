//! `natha history`: the changes that the monitor of this host has written down.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail};
use serde::Serialize;

use super::{print, render, write_page};
use crate::config::{Flags, load};
use crate::daemon::{history_files, wall_ms};
use crate::history::{
    Change, Fact, Filter, Line, Phase, Story, around, changes, page, since, wall_text,
};
use crate::kernel::durable;
use crate::types::{GroupName, InstanceId, display_duration, printable};

const AFTER_HELP: &str = "\
Examples:
  natha history                    every change that is kept, newest last
  natha history --since 24h --group eu-west-1a
  natha history --since 2026-11-29T03:00:00Z --node nat-a
  natha history --json | jq '.[-1]'
                                   the last change with evidence, phases and API calls
  natha history --html incident.html
                                   the last change as a page, with the events around it

A node records only its own changes. To see what happened to a group, use the node that took it.
This needs no running monitor. Times are UTC.

Exit codes:
  0  success, also if there is no such change
  1  there is no history, or it cannot be read
  2  wrong usage";

/// Flags of `natha history`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Show changes that ended after this time, for example 24h (ago) or 2026-11-29T03:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Moment>,

    /// Show changes of this group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<GroupName>,

    /// Show changes that concern this node: its id or name
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,

    /// Print the changes as JSON, with evidence, phases and API calls
    #[arg(long, conflicts_with = "html")]
    pub(crate) json: bool,

    /// Write a page about the last such change to this file, or about all since `--since`
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// The directory with the history [default: `state_dir`]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) dir: Option<PathBuf>,
}

/// A time of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So long ago.
    Ago(Duration),
    /// In milliseconds since 1970.
    At(u64),
}

/// Reads `24h` or a time in RFC 3339, of which a part may be missing.
fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(Moment::Ago(ago));
    }
    let at = humantime::parse_rfc3339_weak(text).ok();
    let at = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let ms = at.and_then(|at| u64::try_from(at.as_millis()).ok());
    ms.map(Moment::At).ok_or_else(|| {
        "expected how long ago, such as 24h, or a time such as 2026-11-29T03:00:00Z".to_owned()
    })
}

/// Prints the changes, or writes the page.
///
/// # Errors
/// If there is no history, it cannot be read, or the page cannot be written.
pub(crate) fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let directory = match &args.dir {
        Some(directory) => directory.clone(),
        None => load(flags, None)?.settings.state_dir,
    };
    let history = History::read(&directory)?;
    if history.skipped > 0 {
        tracing::warn!("{} lines of the history cannot be read", history.skipped);
    }
    let since_ms = args.since.map(|moment| match moment {
        Moment::Ago(ago) => {
            wall_ms().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
        }
        Moment::At(ms) => ms,
    });
    let node = args.node.as_ref().map(|name| history.node(name)).transpose()?;
    let filter = Filter { since_ms, group: args.group.clone(), node };
    let found: Vec<Change> =
        changes(&history.lines).into_iter().filter(|change| filter.takes(change)).collect();
    if let Some(file) = &args.html {
        write_page(file, &history.page(&found, &filter)?)?;
        print(&format!("{} is written.\n", file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = if args.json { to_json(&found)? } else { history.to_text(&found) };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What is kept in a directory.
#[derive(Debug)]
struct History {
    lines: Vec<Line>,
    /// Lines that cannot be read.
    skipped: usize,
    names: BTreeMap<InstanceId, String>,
}

impl History {
    /// Reads the files. A line that is torn or of a later version is skipped.
    fn read(directory: &Path) -> anyhow::Result<Self> {
        let (mut lines, mut skipped, mut files) = (Vec::new(), 0, 0);
        for path in history_files(directory) {
            let text = match durable::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    let hint = format!("cannot read {}: run this as root", path.display());
                    return Err(error).context(hint);
                }
            };
            files += 1;
            let text = String::from_utf8_lossy(&text);
            for line in text.lines().filter(|line| !line.is_empty()) {
                match Line::read(line) {
                    Some(line) => lines.push(line),
                    None => skipped += 1,
                }
            }
        }
        if files == 0 {
            let directory = directory.display();
            bail!(
                "there is no history in {directory}: no monitor has run on this host yet, or it \
                 has another `state_dir`"
            );
        }
        let last_run = lines.iter().rev().find_map(|line| match &line.fact {
            Fact::Run(run) => Some(run.names.clone()),
            _ => None,
        });
        Ok(Self { lines, skipped, names: last_run.unwrap_or_default() })
    }

    /// The node with this id or name.
    fn node(&self, text: &str) -> anyhow::Result<InstanceId> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let mut named = self.names.iter().filter(|(_, name)| *name == text).map(|(id, _)| id);
        let found = named.next().with_context(|| {
            let known: Vec<&str> = self.names.values().map(String::as_str).collect();
            format!("no node is called {text}; known names: {}", known.join(", "))
        })?;
        if named.next().is_some() {
            bail!("several nodes are called {text}: give the id of one");
        }
        Ok(found.clone())
    }

    fn name(&self, node: &InstanceId) -> String {
        self.names.get(node).cloned().unwrap_or_else(|| node.to_string())
    }

    /// The page about the last change, or about everything since a time.
    fn page(&self, found: &[Change], filter: &Filter) -> anyhow::Result<String> {
        let story = match (filter.since_ms, found.last()) {
            (Some(ms), _) => {
                let title = format!("natha since {}", wall_text(ms));
                let lines = since(&self.lines, ms);
                let all = changes(lines.iter().copied()).into_iter();
                Story::of(&title, &lines, all.filter(|change| filter.takes(change)).collect())
            }
            (None, Some(last)) => {
                let title = last.headline(|id| self.name(id));
                Story::of(&title, &around(&self.lines, last), vec![last.clone()])
            }
            (None, None) => None,
        };
        let story = story.context("there is no such change: see `natha history`")?;
        Ok(page(&story))
    }

    fn to_text(&self, found: &[Change]) -> String {
        if found.is_empty() {
            return "No such change is kept.\n".to_owned();
        }
        let header = ["TIME", "CHANGE", "OF", "FROM", "TO", "RESULT", "TOOK", "NOTICED", "REASON"];
        let mut table = render::table(&header);
        for change in found {
            table.add_row(self.row(change));
        }
        let mut text = String::new();
        render::push_table(&mut text, &table);
        text
    }

    fn row(&self, change: &Change) -> [String; 9] {
        let node = |id: &Option<InstanceId>| id.as_ref().map_or("-".to_owned(), |id| self.name(id));
        let of = change.group.as_ref().map_or_else(|| node(&change.from), ToString::to_string);
        let mut reason = printable(&change.reason);
        for (id, name) in &self.names {
            reason = reason.replace(id.as_str(), name);
        }
        // From when a fault was noticed to when natha decided: none where there was no fault.
        let noticed = change.phase(Phase::Noticed).and_then(|_| change.phase(Phase::Decided));
        [
            wall_text(change.wall_ms),
            change.kind.name().to_owned(),
            of,
            node(&change.from),
            change.gateway.clone().unwrap_or_else(|| node(&change.to)),
            change.result.name().to_owned(),
            display_duration(change.took),
            noticed.map_or("-".to_owned(), |before| format!("{} before", display_duration(before))),
            reason,
        ]
    }
}

/// A change with its time as text.
#[derive(Serialize)]
struct Shown<'a> {
    time: String,
    #[serde(flatten)]
    change: &'a Change,
}

fn to_json(found: &[Change]) -> anyhow::Result<String> {
    let shown: Vec<Shown<'_>> =
        found.iter().map(|change| Shown { time: wall_text(change.wall_ms), change }).collect();
    let text = serde_json::to_string_pretty(&shown).context("cannot encode the history as JSON")?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::history::{FORMAT, Run};
    use crate::types::Time;

    fn line(ms: u64, fact: Fact) -> String {
        Line { wall_ms: 1_800_000_000_000 + ms, at: Time::from_millis(ms), fact }.to_text()
    }

    fn run(continued: bool) -> Fact {
        let node: InstanceId = "i-0000000b".parse().unwrap();
        let names = BTreeMap::from([(node.clone(), "nat-b".to_owned())]);
        let (natha, cluster, boot) = ("0.1.0".to_owned(), "blue".to_owned(), "one".to_owned());
        Fact::Run(Run { format: FORMAT, natha, cluster, node, boot, names, continued })
    }

    fn event(ms: u64, kind: &str, text: &str) -> String {
        let event = serde_json::json!({
            "at_ms": ms, "level": "warning", "kind": kind, "node": "i-0000000a", "group": "web",
            "text": text, "took_ms": null,
        });
        line(ms, Fact::Event(serde_json::from_value(event).unwrap()))
    }

    fn kept(directory: &Path) -> History {
        let [older, newer] = history_files(directory);
        let begun = "taking it over (from i-0000000a to i-0000000b): i-0000000b is well";
        fs::write(older, line(0, run(false)) + &event(1_000, "takeover-begun", begun)).unwrap();
        let rest = line(1_100, run(true)) + "torn\n" + &event(1_500, "takeover-done", "done");
        fs::write(newer, rest).unwrap();
        History::read(directory).unwrap()
    }

    #[test]
    fn a_change_is_read_across_both_files_and_torn_lines_are_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let history = kept(directory.path());
        assert_eq!(history.skipped, 1);
        let found = changes(&history.lines);
        let text = history.to_text(&found);
        let row: Vec<&str> = text.lines().nth(1).unwrap().split("  ").map(str::trim).collect();
        let row: Vec<&str> = row.into_iter().filter(|cell| !cell.is_empty()).collect();
        let wanted = [
            "2027-01-15T08:00:01.000Z",
            "takeover",
            "web",
            "i-0000000a",
            "nat-b",
            "done",
            "500 ms",
            "-",
            "nat-b is well",
        ];
        assert_eq!(row, wanted);
        let json: serde_json::Value = serde_json::from_str(&to_json(&found).unwrap()).unwrap();
        assert_eq!(json[0]["time"], "2027-01-15T08:00:01.000Z");
        assert_eq!(json[0]["phases"][0]["phase"], "decided");
    }

    #[test]
    fn nodes_are_found_by_id_and_name() {
        let directory = tempfile::tempdir().unwrap();
        let history = kept(directory.path());
        assert_eq!(history.node("nat-b").unwrap(), history.node("i-0000000b").unwrap());
        let error = history.node("nat-x").unwrap_err().to_string();
        assert!(error.contains("nat-x") && error.contains("nat-b"), "{error}");
    }

    #[test]
    fn a_page_is_about_the_last_change_or_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let history = kept(directory.path());
        let text = history.page(&changes(&history.lines), &Filter::default()).unwrap();
        assert!(text.contains("nat-b takes group web over"), "{text}");
        assert!(history.page(&[], &Filter::default()).is_err());
    }

    #[test]
    fn a_directory_without_history_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = History::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
    }

    #[test]
    fn times_are_spans_and_dates() {
        assert_eq!(moment("24h"), Ok(Moment::Ago(Duration::from_hours(24))));
        assert_eq!(moment("2027-01-15T08:00:00Z"), Ok(Moment::At(1_800_000_000_000)));
        assert_eq!(moment("2027-01-15 08:00:00"), Ok(Moment::At(1_800_000_000_000)));
        assert!(moment("yesterday").is_err());
    }
}
