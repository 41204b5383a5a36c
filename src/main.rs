//! The program.

use std::process::ExitCode;

use clap::Parser;
use natha::commands::{setup, teardown};
use natha::config::{Flags, PairFlags, load};

#[derive(Parser)]
#[command(name = "natha")]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Setup(setup::Args),
    Teardown(teardown::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    run().await.unwrap_or_else(|error| {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}

async fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let settings = load(&cli.flags, &PairFlags::default(), None)?.settings;
    match cli.verb {
        Verb::Setup(args) => setup::run(args, &settings).await,
        Verb::Teardown(args) => teardown::run(args, &settings).await,
    }
}
