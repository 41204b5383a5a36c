//! `natha monitor`: watch the peers and keep the groups served.

use std::process::ExitCode;

use crate::config::{Flags, PairFlags};
use crate::daemon;

/// Flags of `natha monitor`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// A cluster of two without tags
    #[command(flatten)]
    pub pair: PairFlags,
}

/// Runs until it is told to end.
///
/// # Errors
/// Where the monitor cannot run, or could not hand everything over at its end.
pub async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    daemon::run(flags, &args.pair).await?;
    Ok(ExitCode::SUCCESS)
}
