//! The `natha` program.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = natha::cli::Cli::parse();
    match natha::cli::run(&cli) {
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
        let _ = writeln!(lines, "  because: {cause}");
    }
    // Where standard error is closed, the exit code still tells.
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}
