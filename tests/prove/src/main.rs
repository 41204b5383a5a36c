//! The `natha-prove` program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use natha_prove::{bugs, model};
#[cfg(feature = "sim")]
use natha_prove::{flows, sim};

/// Model check and simulation of natha's decision core.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Visit every state of a small world: all schedules of faults, within bounds.
    Check(model::Options),
    /// Run simulated clusters: random faults by seed, or the study of networks and settings.
    #[cfg(feature = "sim")]
    Sim(sim::Options),
    /// Run the replication of connections on simulated hosts and streams: random faults by seed.
    #[cfg(feature = "sim")]
    Flows(flows::Options),
    /// Put bugs into the decision core, one at a time: the check must find each.
    Bugs(bugs::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().what {
        What::Check(options) => model::command(&options),
        #[cfg(feature = "sim")]
        What::Sim(options) => sim::command(&options),
        #[cfg(feature = "sim")]
        What::Flows(options) => flows::command(&options),
        What::Bugs(options) => bugs::command(&options),
    };
    match done {
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
