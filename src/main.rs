//! The `natha` program.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = natha::cli::Cli::parse();
    match natha::cli::run(cli) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints what went wrong, one line per cause.
fn complain(error: &anyhow::Error) {
    let mut lines = format!("natha: {error}\n");
    for cause in error.chain().skip(1) {
        lines.push_str(&format!("  because: {cause}\n"));
    }
    // Where standard error is closed, the exit code still tells.
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}
