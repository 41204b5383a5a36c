//! What setup and teardown print.

use std::fmt;
use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

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

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// In a word: `changed`, `nothing-to-do`, `would-change`, `not-as-planned`, `failed`.
    pub(super) result: &'static str,
    /// The same in a sentence.
    pub(super) summary: String,
    /// Each thing.
    pub(super) rows: Vec<Row>,
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
            writeln!(out, "{}\n", self.table())?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}\n")?;
        }
        writeln!(out, "{}", self.summary)
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
        table.lines().map(|line| line.trim().to_owned() + "\n").collect::<String>()
    }
}
