//! What setup and teardown print.

use std::fmt;
use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use crate::config::GroupSetting;

/// What became of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It was as planned.
    Right,
    /// It was changed.
    Changed,
    /// It would be changed.
    WouldChange,
    /// It cannot be set from here.
    NotSettable,
    /// It is again as it was before setup.
    Restored,
    /// It would be restored.
    WouldRestore,
    /// Someone else has changed it since.
    LeftAlone,
    /// It could not be done.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "already right",
            Self::Changed => "changed",
            Self::WouldChange => "would change",
            Self::NotSettable => "not settable here",
            Self::Restored => "restored",
            Self::WouldRestore => "would restore",
            Self::LeftAlone => "left alone",
            Self::Failed => "failed",
        })
    }
}

/// One thing.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// What.
    pub(super) what: String,
    /// As it was found; none where it was not there.
    pub(super) before: Option<String>,
    /// As it is now, or would be; none where it is not there.
    pub(super) after: Option<String>,
    /// What became of it.
    pub(super) outcome: Outcome,
}

/// A group as the settings have it, for whom the host is set up.
#[derive(Debug, Serialize)]
pub(super) struct GroupRow {
    /// Its name.
    pub(super) name: String,
    /// What it moves.
    pub(super) moves: Vec<String>,
    /// Who holds it rather than whom, the home first; empty where the rank order decides.
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

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// In a word: `changed`, `nothing-to-do`, `would-change`, `not-as-planned`, `failed`.
    pub(super) result: &'static str,
    /// The same in a sentence.
    pub(super) summary: String,
    /// Each thing.
    pub(super) rows: Vec<Row>,
    /// The groups of the settings; empty where tags tell them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<GroupRow>,
    /// What a person should know or do.
    pub(super) warnings: Vec<String>,
}

impl Report {
    /// Prints it on standard output.
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
            // A line for each thing that moves: there may be many.
            for (index, moved) in group.moves.iter().enumerate() {
                let (name, prefer) = if index == 0 { (&*group.name, prefer) } else { ("", "") };
                table.add_row([name, moved, prefer]);
            }
        }
        lines(&table)
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["what", "before", "after", ""]);
        for row in &self.rows {
            let or_absent = |text: &Option<String>| text.clone().unwrap_or("not there".to_owned());
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

/// A table without what is left of its first column and right of its last one.
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
        let report = Report {
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
