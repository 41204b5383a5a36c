//! The `natha-prove` program.

use std::process::ExitCode;

use clap::Parser;

/// Model check and simulation of natha's decision core.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {}

fn main() -> ExitCode {
    let Cli {} = Cli::parse();
    ExitCode::SUCCESS
}
