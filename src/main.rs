//! The program.

use std::process::ExitCode;

use clap::Parser;
use natha::commands::{setup, teardown};
use natha::config::Settings;

#[derive(Parser)]
#[command(name = "natha")]
enum Cli {
    Setup(setup::Args),
    Teardown(teardown::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut settings = Settings::default();
    if let Some(directory) = std::env::var_os("NATHA_STATE_DIR") {
        settings.state_dir = directory.into();
    }
    let outcome = match Cli::parse() {
        Cli::Setup(args) => setup::run(args, &settings).await,
        Cli::Teardown(args) => teardown::run(args, &settings).await,
    };
    outcome.unwrap_or_else(|error| {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}
