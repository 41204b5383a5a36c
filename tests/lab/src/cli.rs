use anyhow::Result;
use clap::{Parser, Subcommand};
use natha_lab::{daemon, first, guest, launch};
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    #[command(hide = true)]
    First { directory: PathBuf },
    #[command(hide = true)]
    Daemon { directory: PathBuf },
    #[command(hide = true)]
    Guest { boot: String },
}

pub(crate) fn main() -> ExitCode {
    match run(Cli::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            drop(writeln!(std::io::stderr(), "natha-lab: {problem:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<()> {
    match what {
        What::First { directory } => first::run(&directory),
        What::Daemon { directory } => {
            tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(daemon::run(daemon::Places { outside: directory }))
        }
        What::Guest { boot } => guest::init::run(&serde_json::from_str(&boot)?),
    }
}
