//! The `natha-prove` program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use natha_prove::sim;

/// Model check and simulation of natha's decision core.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run simulated clusters: random faults by seed, or the study of networks and settings.
    Sim(sim::Options),
}

fn main() -> ExitCode {
    let What::Sim(options) = Cli::parse().what;
    match sim::command(&options) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn complain(error: &anyhow::Error) {
    use std::io::Write;
    // A closed terminal leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}
