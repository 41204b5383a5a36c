//! `natha teardown`: undoes the changes that `natha setup` recorded in its journal.
//!
//! A failed step does not stop the others. It stays in the journal, and the next run retries it.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::bail;

use super::report::{Row, RowResult, SetupReport};
use super::setup::preflight;
use super::source_dest::{SourceDestChecks, word};
use crate::config::{Api, Settings};
use crate::kernel::apply::{Applier, Undone};
use crate::kernel::egress;
use crate::kernel::journal::{self, JournalEntry, JournalStore};
use crate::kernel::nft::Nft;
use crate::plan::{Subject, TableState};
use crate::types::NetworkInterfaceId;

/// Flags of `natha teardown`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Args {
    /// Show what would be restored without changing it; exits with 3 if anything would.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs `natha teardown`. Exit code 0: nothing is left of setup. 3: with `--dry-run`, something is.
///
/// # Errors
/// If something could not be undone.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<ExitCode> {
    let nft = preflight()?;
    if args.dry_run {
        let journal = journal::peek(&settings.state_dir)?;
        let entries = journal.map_or_else(Vec::new, |j| j.entries.into_iter().rev().collect());
        let entries = with_table(entries, &nft).await?;
        return dry_run(&entries, args.json);
    }
    if journal::peek(&settings.state_dir)?.is_none() && nft.table().await? == TableState::Absent {
        SetupReport {
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
    let mut ec2 = LazyChecks { api: &settings.api, checks: None };
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    let mut errors = Vec::new();
    for entry in &entries {
        match undo(&applier, entry, &mut ec2).await {
            Ok(undone) => rows.push(row(entry, &undone)),
            Err(error) => {
                errors.push(format!("{}: {error:#}", entry.subject));
                failed.push(entry.clone());
                rows.push(Row { outcome: RowResult::Failed, ..row(entry, &Undone::Restored) });
            }
        }
    }
    // The monitor's, if it was stopped while it translated to egress IPs.
    match egress::remove(&settings.state_dir, &applier.nft).await {
        Ok(removed) => rows.extend(removed.into_iter().map(landing_row)),
        Err(error) => errors.push(format!("the translation to egress IPs: {error}")),
    }
    applier.keep(&failed)?;
    finish(rows, &errors, args.json)
}

fn finish(rows: Vec<Row>, errors: &[String], json: bool) -> anyhow::Result<ExitCode> {
    let (result, summary) = if errors.is_empty() {
        ("changed", "This host is no longer set up.")
    } else {
        ("failed", "Some changes could not be undone.")
    };
    let left = rows.iter().filter(|row| row.outcome == RowResult::LeftAlone);
    let warnings = left
        .map(|row| {
            format!("{} was changed by another program since, so it is left as it is", row.what)
        })
        .collect();
    SetupReport { result, summary: summary.to_owned(), rows, groups: Vec::new(), warnings }
        .print(json)?;
    if !errors.is_empty() {
        bail!(
            "could not undo {}. The journal still has it: run `natha teardown` again",
            errors.join("; ")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds natha's nft table if the journal does not list it, as after a lost journal: its name shows
/// that it is natha's.
async fn with_table(
    mut entries: Vec<JournalEntry>,
    nft: &Nft,
) -> anyhow::Result<Vec<JournalEntry>> {
    let known = entries.iter().any(|entry| entry.subject == Subject::Table);
    if !known && nft.table().await? != TableState::Absent {
        entries.push(JournalEntry {
            subject: Subject::Table,
            original: None,
            set: "present".to_owned(),
        });
    }
    Ok(entries)
}

/// Connects to EC2 only if a source/dest check must be restored.
struct LazyChecks<'a> {
    api: &'a Api,
    checks: Option<SourceDestChecks>,
}

impl LazyChecks<'_> {
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
    ec2: &mut LazyChecks<'_>,
) -> anyhow::Result<Undone> {
    match &entry.subject {
        Subject::SourceDestCheck(id) => restore_check(id, entry, ec2.get().await?).await,
        // natha's table is removed, whatever had that name before setup.
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

/// The row of a landing address that was removed.
fn landing_row(landing: Ipv4Addr) -> Row {
    let what = format!("landing address {landing}");
    Row { what, before: Some("present".to_owned()), after: None, outcome: RowResult::Restored }
}

fn original(entry: &JournalEntry) -> Option<String> {
    // For the table this is a digest, which says nothing once the table is gone.
    entry.original.clone().filter(|_| entry.subject != Subject::Table)
}

fn row(entry: &JournalEntry, undone: &Undone) -> Row {
    let original = original(entry);
    let (before, after, outcome) = match undone {
        Undone::Restored => (Some(entry.set.clone()), original, RowResult::Restored),
        Undone::Already => (original.clone(), original, RowResult::Right),
        Undone::LeftAlone { found } => {
            (Some(found.clone()), Some(found.clone()), RowResult::LeftAlone)
        }
    };
    Row { what: entry.subject.to_string(), before, after, outcome }
}

fn dry_run(entries: &[JournalEntry], json: bool) -> anyhow::Result<ExitCode> {
    let rows: Vec<Row> = entries
        .iter()
        .map(|entry| Row { outcome: RowResult::WouldRestore, ..row(entry, &Undone::Restored) })
        .collect();
    let (result, summary, code) = if rows.is_empty() {
        ("nothing-to-do", "Nothing to do: this host is not set up.", 0)
    } else {
        ("would-change", "Nothing was changed.", 3)
    };
    let (groups, warnings) = (Vec::new(), Vec::new());
    SetupReport { result, summary: summary.to_owned(), rows, groups, warnings }.print(json)?;
    Ok(ExitCode::from(code))
}
