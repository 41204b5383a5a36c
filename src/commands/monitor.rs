//! `natha monitor`: watch the peers and keep the groups served.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{Flags, PairFlags};
use crate::daemon;

const AFTER_HELP: &str = "\
Examples:
  natha monitor                    the cluster is told by tags or the settings file
  natha monitor --peer i-… --peer-table rtb-… --my-table rtb-…
                                   a cluster of two without tags
  natha monitor --observe          follow keepalived: routes go to the node with the address
  natha monitor --record /var/lib/natha/run.jsonl
                                   write down what it decides from; see `natha replay --help`";

/// Flags of `natha monitor`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// A cluster of two without tags
    #[command(flatten)]
    pub pair: PairFlags,

    /// Only follow: what a group moves goes to the node that has the group's address
    ///
    /// Somebody else, such as keepalived, decides who has it, and puts it there. The same on all
    /// nodes. It is the setting `observe`.
    #[arg(long)]
    pub observe: bool,

    /// Record everything the monitor decides from, for `natha replay`
    ///
    /// The file is created for its owner only. One of this name is never overwritten: the new one
    /// is numbered. What goes wrong with the recording ends it and not the monitor.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// The size in MiB at which the recording ends [default: 256]
    #[arg(long, value_name = "MIB")]
    pub record_max_mib: Option<u32>,
}

/// Runs until it is told to end.
///
/// # Errors
/// Where the monitor cannot run, or could not hand everything over at its end.
pub async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let mut flags = flags.clone();
    if args.observe {
        flags.set.push("observe=true".to_owned());
    }
    if let Some(file) = &args.record {
        flags.set.push(format!("record.file={}", absolute(file)?));
    }
    if let Some(mib) = args.record_max_mib {
        flags.set.push(format!("record.max_mib={mib}"));
    }
    daemon::run(&flags, &args.pair).await?;
    Ok(ExitCode::SUCCESS)
}

fn absolute(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let path = std::path::absolute(file).with_context(|| format!("--record {shown}"))?;
    let text = path.to_str().with_context(|| format!("--record {shown}: the name is not UTF-8"))?;
    Ok(text.to_owned())
}
