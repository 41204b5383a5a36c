//! The `natha` program.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = natha::cli::parse();
    match natha::cli::run(&cli) {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            if natha::cli::is_wrong_usage(&error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Prints the error and its causes to stderr, one per line.
fn print_error(error: &anyhow::Error) {
    let mut lines = format!("natha: {error}\n");
    for cause in error.chain().skip(1) {
        let _ = writeln!(lines, "  because: {cause}");
    }
    // If stderr is closed, the exit code still reports the failure.
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}
