//! `natha undrain`: takes part again after `natha drain`.

use std::path::Path;
use std::process::ExitCode;

use super::{control, print};
use crate::failover::Command;

const AFTER_HELP: &str = "\
Groups whose home this node is return to it as after a failure, once it has been healthy for
hand_back.hold.";

/// Flags of `natha undrain`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {}

/// Has the monitor take part again. Without a drain before, that changes nothing.
///
/// # Errors
/// If no monitor is running, or it has not started yet.
pub(crate) async fn run(socket: &Path) -> anyhow::Result<ExitCode> {
    control::command(socket, &Command::Stay).await?;
    print("This node takes part again: it can take groups, and its own return to it.\n")?;
    Ok(ExitCode::SUCCESS)
}
