//! `natha monitor`: watches the peers and takes over their groups when they fail.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{Flags, PairFlags};
use crate::daemon::{self, Ending};
use crate::logging;

const AFTER_HELP: &str = "\
Examples:
  natha monitor                    members and groups come from tags or the settings file
  natha monitor --peer i-… --peer-table rtb-… --my-table rtb-…
                                   a two-node cluster without tags
  natha monitor --observe          follow keepalived: routes point to the node with the address
  natha monitor --record /var/lib/natha/run.jsonl.gz
                                   record every input; see `natha replay --help`";

/// Flags of `natha monitor`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A two-node cluster without tags
    #[command(flatten)]
    pub(crate) pair: PairFlags,

    /// Only follow: move a group's resources to the node that has the group's address
    ///
    /// Another program, such as keepalived, decides which node has the address and assigns it. All
    /// nodes must use the same value. Sets `observe`.
    #[arg(long)]
    pub(crate) observe: bool,

    /// Record everything the monitor decides from, for `natha replay`
    ///
    /// Only the owner can read the file. An existing file is never overwritten: the new one gets a
    /// number. An error ends the recording, not the monitor.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Size in MiB at which the recording ends [default: 256]
    #[arg(long, value_name = "MIB")]
    pub(crate) record_max_mib: Option<u32>,
}

/// Runs until SIGTERM or SIGINT. On SIGHUP it reads its settings again.
///
/// # Errors
/// If the monitor cannot run, or its loop does not end when it should.
pub(crate) async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
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
    match daemon::run(&flags, &args.pair, logging::dropped_lines).await? {
        Ending::Stopped => Ok(ExitCode::SUCCESS),
        Ending::Changed(changed) => {
            // What is queued would end with this program.
            logging::flush();
            Err(daemon::run_again(&changed))
        }
    }
}

fn absolute(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let path = std::path::absolute(file).with_context(|| format!("--record {shown}"))?;
    let text = path.to_str().with_context(|| format!("--record {shown}: the name is not UTF-8"))?;
    Ok(text.to_owned())
}
