//! `natha teardown`: undoes what `natha setup` did, by its journal.
//!
//! It does all it can and reports all of it: what could not be undone stays in the journal, and
//! running it again tries that again.

use std::process::ExitCode;

use anyhow::bail;

use super::report::{Outcome, Report, Row};
use super::setup::preflight;
use super::source_dest::{SourceDestChecks, word};
use crate::config::{Api, Settings};
use crate::kernel::apply::{Applier, Undone};
use crate::kernel::journal::{self, JournalEntry, JournalStore};
use crate::kernel::nft::Nft;
use crate::plan::{Subject, TableState};
use crate::types::NetworkInterfaceId;

/// Flags of `natha teardown`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Show what would be restored and change nothing; exit with 3 if there is something.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs it. Exit code 0: nothing is left of setup. 3: with `--dry-run`, something is.
///
/// # Errors
/// When something could not be undone.
pub async fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let nft = preflight()?;
    if args.dry_run {
        let journal = journal::peek(&settings.state_dir)?;
        let entries = journal.map_or_else(Vec::new, |j| j.entries.into_iter().rev().collect());
        let entries = with_table(entries, &nft).await?;
        return dry_run(&entries, args.json);
    }
    if journal::peek(&settings.state_dir)?.is_none() && nft.table().await? == TableState::Absent {
        Report {
            result: "nothing-to-do",
            summary: "Nothing to do: this host is not set up.".to_owned(),
            rows: Vec::new(),
            groups: Vec::new(),
            warnings: Vec::new(),
        }
        .print(args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let applier = Applier::new(nft, JournalStore::open(&settings.state_dir)?)?;
    let entries = with_table(applier.undoable(), &applier.nft).await?;
    let mut ec2 = Lazy { api: &settings.api, checks: None };
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    let mut errors = Vec::new();
    for entry in &entries {
        match undo(&applier, entry, &mut ec2).await {
            Ok(undone) => rows.push(row(entry, &undone)),
            Err(error) => {
                errors.push(format!("{}: {error:#}", entry.subject));
                failed.push(entry.clone());
                rows.push(Row { outcome: Outcome::Failed, ..row(entry, &Undone::Restored) });
            }
        }
    }
    applier.keep(&failed)?;
    finish(rows, &errors, args.json)
}

fn finish(rows: Vec<Row>, errors: &[String], json: bool) -> anyhow::Result<ExitCode> {
    let (result, summary) = if errors.is_empty() {
        ("changed", "This host is no longer set up.")
    } else {
        ("failed", "Not everything could be undone.")
    };
    let left = rows.iter().filter(|row| row.outcome == Outcome::LeftAlone);
    let warnings = left
        .map(|row| format!("{} has been changed by someone else since; it stays", row.what))
        .collect();
    Report { result, summary: summary.to_owned(), rows, groups: Vec::new(), warnings }
        .print(json)?;
    if !errors.is_empty() {
        bail!(
            "could not undo {}. It is kept in the journal: run `natha teardown` again",
            errors.join("; ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The table is natha's by its name. One that no journal knows of (because the journal was lost)
/// is removed too.
async fn with_table(
    mut entries: Vec<JournalEntry>,
    nft: &Nft,
) -> anyhow::Result<Vec<JournalEntry>> {
    let known = entries.iter().any(|entry| entry.subject == Subject::Table);
    if !known && nft.table().await? != TableState::Absent {
        entries.push(JournalEntry {
            subject: Subject::Table,
            original: None,
            set: "there".to_owned(),
        });
    }
    Ok(entries)
}

/// EC2, connected to only when something of it is to be undone.
struct Lazy<'a> {
    api: &'a Api,
    checks: Option<SourceDestChecks>,
}

impl Lazy<'_> {
    async fn get(&mut self) -> anyhow::Result<&SourceDestChecks> {
        if self.checks.is_none() {
            self.checks = Some(SourceDestChecks::connect(self.api, None).await?);
        }
        Ok(self.checks.as_ref().expect("it was just connected"))
    }
}

async fn undo(
    applier: &Applier,
    entry: &JournalEntry,
    ec2: &mut Lazy<'_>,
) -> anyhow::Result<Undone> {
    match &entry.subject {
        Subject::SourceDestCheck(id) => restore_check(id, entry, ec2.get().await?).await,
        // Whatever was under the name before setup, a table of natha's stays no longer.
        Subject::Table | Subject::Sysctl(_) | Subject::Address(_) => {
            Ok(applier.undo(entry, None).await?)
        }
    }
}

async fn restore_check(
    id: &NetworkInterfaceId,
    entry: &JournalEntry,
    checks: &SourceDestChecks,
) -> anyhow::Result<Undone> {
    let was_on = entry.original.as_deref() == Some(word(true));
    if !was_on || checks.get(id).await? != Some(false) {
        return Ok(Undone::Already);
    }
    checks.set(id, true).await?;
    Ok(Undone::Restored)
}

fn original(entry: &JournalEntry) -> Option<String> {
    // What a table was made from means nothing once it is gone.
    entry.original.clone().filter(|_| entry.subject != Subject::Table)
}

fn row(entry: &JournalEntry, undone: &Undone) -> Row {
    let original = original(entry);
    let (before, after, outcome) = match undone {
        Undone::Restored => (Some(entry.set.clone()), original, Outcome::Restored),
        Undone::Already => (original.clone(), original, Outcome::Right),
        Undone::LeftAlone { found } => {
            (Some(found.clone()), Some(found.clone()), Outcome::LeftAlone)
        }
    };
    Row { what: entry.subject.to_string(), before, after, outcome }
}

fn dry_run(entries: &[JournalEntry], json: bool) -> anyhow::Result<ExitCode> {
    let rows: Vec<Row> = entries
        .iter()
        .map(|entry| Row { outcome: Outcome::WouldRestore, ..row(entry, &Undone::Restored) })
        .collect();
    let (result, summary, code) = if rows.is_empty() {
        ("nothing-to-do", "Nothing to do: this host is not set up.", 0)
    } else {
        ("would-change", "Nothing was changed.", 3)
    };
    let (groups, warnings) = (Vec::new(), Vec::new());
    Report { result, summary: summary.to_owned(), rows, groups, warnings }.print(json)?;
    Ok(ExitCode::from(code))
}
