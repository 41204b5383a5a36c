//! `natha release`: removes a group's addresses from this host once another node has the group.

use std::process::ExitCode;
use std::time::Duration;

use super::{needs_attention, on_this_host, print_result};
use crate::config::Flags;
use crate::daemon::{ReleaseReport, release};
use crate::types::GroupName;

const AFTER_HELP: &str = "\
Examples:
  natha release web                wait until another node has group web, then remove its addresses

  notify_backup \"/usr/bin/natha release web\"
  notify_fault \"/usr/bin/natha release web\"
                                   in keepalived.conf, with `natha take web` for notify_master

This moves nothing: the addresses stay for as long as the group points to this node. A running
`natha monitor` does all of this automatically.";

/// Flags of `natha release`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The group whose addresses to remove
    #[arg(value_name = "GROUP")]
    pub(crate) group: GroupName,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// How long to wait for another node to have the group
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = super::take::limit)]
    pub(crate) limit: Duration,
}

/// Runs `natha release`. Exit code 0: this host has none of the group's addresses left. 3: the
/// group still points to this node, or an address could not be removed.
///
/// # Errors
/// If nothing was changed; the message gives the reason.
pub(crate) async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    let released = release(flags, &args.group, args.limit).await?;
    print_result(args.json, &released, to_text)?;
    Ok(if released.released { ExitCode::SUCCESS } else { needs_attention() })
}

fn to_text(released: &ReleaseReport) -> String {
    let ReleaseReport { group, .. } = released;
    on_this_host(&released.host)
        + &if released.monitor {
            format!("The monitor on this host manages the addresses of group {group}.\n")
        } else if released.released {
            format!("This host has no addresses of group {group}.\n")
        } else if released.here.is_empty() {
            format!(
                "Another node has group {group}, but some of its addresses are still on this host: \
                 run this again.\n"
            )
        } else {
            let here = released.here.join(", ");
            format!(
                "Group {group} still points to this node ({here}), so its addresses stay. Run this \
                 again once another node has taken it.\n"
            )
        }
}
