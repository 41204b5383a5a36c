//! `natha latch` and `natha unlatch`: the cluster leaves everything as it is.

use std::path::Path;
use std::process::ExitCode;

use nix::unistd::{Uid, User};

use super::{control, print};
use crate::failover::Command;

/// The longest reason, in characters: it is one line of the status.
const REASON_MAX: usize = 200;

const AFTER_HELP: &str = "\
The latch holds for the whole cluster until `natha unlatch` on this node, also after restarts and
reboots. No node takes over from one that dies meanwhile. `natha handover` and `natha drain` still
work.";

const AFTER_HELP_OF_UNLATCH: &str = "\
Use it on the node that was latched: `natha status` on each node names it. If that node is dead, use
it on each of the others.";

/// Flags of `natha latch`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Why; the status of this node shows it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,
}

/// Flags of `natha unlatch`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP_OF_UNLATCH)]
pub(crate) struct UnlatchArgs {}

fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("say why: the status shows the reason".to_owned());
    }
    let length = text.chars().count();
    if length > REASON_MAX {
        return Err(format!("it has {length} characters, more than {REASON_MAX}"));
    }
    Ok(text.to_owned())
}

/// Latches the cluster.
///
/// # Errors
/// If no monitor is running, or it has not started yet.
pub(crate) async fn run(args: &Args, socket: &Path) -> anyhow::Result<ExitCode> {
    let latch = Command::Latch { by: author(), reason: args.reason.clone() };
    control::command(socket, &latch).await?;
    print(
        "The cluster is latched: natha leaves everything as it is, on all nodes, until \
         `natha unlatch` here.\n",
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the latch.
///
/// # Errors
/// If no monitor is running, it has not started yet, this node is not latched, or the latch is on a
/// peer that is heard.
pub(crate) async fn run_unlatch(socket: &Path) -> anyhow::Result<ExitCode> {
    control::command(socket, &Command::Unlatch).await?;
    print("This node has no latch any more. `natha status` shows whether another node has one.\n")?;
    Ok(ExitCode::SUCCESS)
}

/// Who runs this command: the user behind `sudo`, or else the effective user.
fn author() -> String {
    let behind_sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    behind_sudo.unwrap_or_else(|| {
        let uid = Uid::effective();
        let user = User::from_uid(uid).ok().flatten();
        user.map_or_else(|| format!("uid {uid}"), |user| user.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(reason("  new firewall "), Ok("new firewall".to_owned()));
        assert!(reason(" ").unwrap_err().contains("say why"));
        assert!(reason(&"x".repeat(201)).unwrap_err().contains("201 characters"));
    }
}
