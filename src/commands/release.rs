//! `natha release`: take a group's addresses off this host once they are elsewhere.

use std::process::ExitCode;
use std::time::Duration;

use super::{on_this_host, tell, unwell};
use crate::config::Flags;
use crate::daemon::{ReleaseReport, release};
use crate::types::GroupName;

const AFTER_HELP: &str = "\
Examples:
  natha release web                wait until group web is elsewhere, then take its addresses off

  notify_backup \"/usr/bin/natha release web\"
  notify_fault \"/usr/bin/natha release web\"
                                   in keepalived.conf, beside notify_master with `natha take web`

Nothing is moved: as long as packets to the group come to this node, its addresses stay. Where
`natha monitor` runs, it does all of this by itself.";

/// Flags of `natha release`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The group that this host is to carry no longer
    #[arg(value_name = "GROUP")]
    pub group: GroupName,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// How long to wait until another node has the group
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = super::take::limit)]
    pub limit: Duration,
}

/// Runs it. 0: this host carries nothing of the group any more. 3: its packets still come here, or
/// something could not be taken off.
///
/// # Errors
/// Where nothing was changed, with the reason.
pub async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let released = release(flags, &args.group, args.limit).await?;
    tell(args.json, &released, shown)?;
    Ok(if released.released { ExitCode::SUCCESS } else { unwell() })
}

/// What came of it, for people.
fn shown(released: &ReleaseReport) -> String {
    let ReleaseReport { group, .. } = released;
    on_this_host(&released.host)
        + &if released.monitor {
            format!("A monitor runs on this host: it sees to the addresses of group {group}.\n")
        } else if released.released {
            format!("This host carries nothing of group {group}.\n")
        } else if released.here.is_empty() {
            format!(
                "Group {group} is elsewhere, and not all of it is off this host: run this again.\n"
            )
        } else {
            let here = released.here.join(", ");
            format!(
                "Group {group} still comes to this node ({here}): its addresses stay until another \
             node takes it. Run this again then.\n"
            )
        }
}
