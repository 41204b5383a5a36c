//! The report that setup and teardown print.

use std::fmt;
use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use crate::config::GroupSetting;

/// The result for one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RowResult {
    Right,
    Changed,
    WouldChange,
    /// Read-only inside this network namespace.
    NotSettable,
    Restored,
    WouldRestore,
    /// Another program has changed it since setup.
    LeftAlone,
    /// The monitor sees to it.
    ByMonitor,
    Failed,
}

impl fmt::Display for RowResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "as planned",
            Self::Changed => "changed",
            Self::WouldChange => "would change",
            Self::NotSettable => "not settable here",
            Self::Restored => "restored",
            Self::WouldRestore => "would restore",
            Self::LeftAlone => "left alone",
            Self::ByMonitor => "left to the monitor",
            Self::Failed => "failed",
        })
    }
}

/// One part of the host.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) what: String,
    /// State before the run; `None` if absent.
    pub(super) before: Option<String>,
    /// State after the run, or after a run without `--dry-run`; `None` if absent.
    pub(super) after: Option<String>,
    pub(super) outcome: RowResult,
}

/// A group of the settings.
#[derive(Debug, Serialize)]
pub(super) struct GroupRow {
    pub(super) name: String,
    /// The resources that move with the group.
    pub(super) moves: Vec<String>,
    /// Nodes in order of preference, the home first; empty if the rank order decides.
    pub(super) prefer: Vec<String>,
}

impl From<&GroupSetting> for GroupRow {
    fn from(group: &GroupSetting) -> Self {
        let tables = group.tables.iter().map(|table| match group.cidr.prefix_len() {
            0 => format!("route {table}"),
            _ => format!("route {} of {table}", group.cidr),
        });
        let resources = group.resources.iter().map(ToString::to_string);
        let prefer = group.home.iter().chain(&group.prefer).map(ToString::to_string);
        Self {
            name: group.name.to_string(),
            moves: tables.chain(resources).collect(),
            prefer: prefer.collect(),
        }
    }
}

/// The whole report: the JSON of `natha setup --json` and `natha teardown --json`.
#[derive(Debug, Serialize)]
pub(super) struct SetupReport {
    /// `changed`, `nothing-to-do`, `would-change`, `not-as-planned` or `failed`.
    pub(super) result: &'static str,
    /// The result in a sentence.
    pub(super) summary: String,
    pub(super) rows: Vec<Row>,
    /// The groups of the settings; empty if groups come from tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<GroupRow>,
    pub(super) warnings: Vec<String>,
}

impl SetupReport {
    /// Prints the report on stdout.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, self)?;
            return writeln!(out);
        }
        if !self.rows.is_empty() {
            writeln!(out, "{}", self.table())?;
        }
        if !self.groups.is_empty() {
            writeln!(out, "{}", self.group_table())?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}\n")?;
        }
        writeln!(out, "{}", self.summary)
    }

    fn group_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["group", "moves", "prefers"]);
        for group in &self.groups {
            let prefer = if group.prefer.is_empty() { "any" } else { &group.prefer.join(", ") };
            // One line per resource: there may be many.
            for (index, moved) in group.moves.iter().enumerate() {
                let (name, prefer) = if index == 0 { (&*group.name, prefer) } else { ("", "") };
                table.add_row([name, moved, prefer]);
            }
        }
        lines(&table)
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["what", "before", "after", "result"]);
        for row in &self.rows {
            let or_absent = |text: &Option<String>| text.clone().unwrap_or("absent".to_owned());
            table.add_row([
                row.what.clone(),
                or_absent(&row.before),
                or_absent(&row.after),
                row.outcome.to_string(),
            ]);
        }
        lines(&table)
    }
}

/// The table without its outer margins.
fn lines(table: &Table) -> String {
    let bare = |line: &str| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned() + "\n";
    table.lines().map(|line| bare(&line)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Sources, resolve};

    #[test]
    fn groups_are_shown_with_all_that_they_move() {
        let text = "[[group]]\nname = \"nat\"\ntables = [\"rtb-0123abcd\"]\n\
            [[group]]\nname = \"db\"\nprefer = [\"db-a\", \"i-0123abcd\"]\n\
            tables = [\"rtb-0123abce\"]\ncidr = \"10.9.0.0/16\"\nresource = [\
            { kind = \"vip\", address = \"192.168.9.9\" }, \
            { kind = \"private-ip\", address = \"10.0.0.9\" }, \
            { kind = \"eip\", allocation = \"eipalloc-0123abcd\", on = \"10.0.0.9\" }, \
            { kind = \"dns\", zone = \"Z1\", name = \"a.b\" }]\n";
        let file = Some((PathBuf::from("natha.toml"), text.to_owned()));
        let settings = resolve(&Sources { file, ..Sources::default() }).unwrap().settings;
        let report = SetupReport {
            result: "nothing-to-do",
            summary: "Nothing to do.".to_owned(),
            rows: Vec::new(),
            groups: settings.groups.iter().map(GroupRow::from).collect(),
            warnings: Vec::new(),
        };
        let json = serde_json::to_string_pretty(&report).unwrap();
        insta::with_settings!({
            snapshot_path => "../../tests/golden",
            prepend_module_to_snapshot => false,
        }, { insta::assert_snapshot!("setup_groups", report.group_table() + &json) });
    }
}
