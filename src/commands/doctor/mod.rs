//! `natha doctor`: checks this node and its cluster, and says how to fix what is wrong.
//!
//! It only reads: files, the kernel, the monitor's status, EC2. Of the calls that change something
//! it sends dry runs, one for each, so that hardly any of the account's requests are used up.
//! What needs no result of another read is read at the same time, each item with a time limit, and
//! what cannot be read keeps nothing else from being checked.

mod aws;
mod bundle;
mod contents;
mod gather;
mod host;
mod limit;
mod permissions;
mod refresh;
mod text;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use self::bundle::Bundle;
use self::gather::Gathered;
use super::{needs_attention, print};
use crate::config::Flags;
use crate::doctor::{Diagnosis, Selection, is_selectable};

const AFTER_HELP: &str = "\
Examples:
  sudo natha doctor                check everything
  sudo natha doctor --pre --cluster blue
                                   check a host before natha is installed on it
  sudo natha doctor --only members --only security-groups
                                   check only these
  sudo natha doctor --json | jq -r '.findings[] | select(.state == \"failed\") | .remedy'
  sudo natha doctor --bundle natha.tar.gz
                                   also write an archive for a bug report

doctor.md in natha's documentation explains each check.

Exit codes:
  0  every check that applies has passed
  1  error: the archive cannot be written; see stderr for the reason
  2  wrong usage
  3  a check has failed, has a warning, or could not be made";

/// Flags of `natha doctor`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Check a host before natha is installed on it
    #[arg(long)]
    pub(crate) pre: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Make only this check, or only those of this section; may be repeated
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) only: Vec<String>,

    /// Do not make this check, or those of this section; may be repeated
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) skip: Vec<String>,

    /// Also write an archive (tar.gz) for a bug report; the file must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    if is_selectable(text) {
        Ok(text.to_owned())
    } else {
        Err("there is no such check or section: `natha doctor` lists all".to_owned())
    }
}

/// Makes the checks and prints what they found. Exit code 0: all is well. 3: something needs
/// attention, or could not be checked.
///
/// # Errors
/// If the archive cannot be written, or the output.
pub(crate) async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    // A file that exists is refused before anything is read.
    let bundle = args.bundle.as_deref().map(Bundle::create).transpose()?;
    let Gathered { facts, given } = Box::pin(gather::gather(flags, args.pre)).await;
    let selection = Selection { only: args.only.clone(), skip: args.skip.clone() };
    let diagnosis = Diagnosis::of(&facts, &selection);
    let shown = if args.json {
        serde_json::to_string_pretty(&diagnosis).context("cannot encode the result as JSON")? + "\n"
    } else {
        text::diagnosis(&diagnosis, std::io::stdout().is_terminal())
    };
    print(&shown)?;
    if let Some(bundle) = bundle {
        // A report has all checks, whichever were asked for.
        let all = Diagnosis::of(&facts, &Selection::default());
        let contents = contents::gather(&facts, &given, &all).await;
        let summary = bundle.write(&contents)?;
        // JSON on stdout stays JSON.
        if args.json { tracing::info!("{summary}") } else { print(&format!("\n{summary}\n"))? }
    }
    Ok(if diagnosis.is_well { ExitCode::SUCCESS } else { needs_attention() })
}
