//! `natha version`: the version of this program, and of the formats that it reads and writes.

use std::process::ExitCode;

use serde::Serialize;

use super::print_result;
use crate::{history, notify, record};

/// Flags of `natha version`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The versions, as JSON has them.
#[derive(Debug, Serialize)]
struct Versions {
    natha: &'static str,
    /// The architecture that it is built for.
    arch: &'static str,
    /// The format of recordings.
    recording: u32,
    /// The format of the history's files.
    history: u32,
    /// The format of notices.
    notice: u32,
}

/// Prints the versions.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let versions = Versions {
        natha: env!("CARGO_PKG_VERSION"),
        arch: std::env::consts::ARCH,
        recording: record::FORMAT,
        history: history::FORMAT,
        notice: notify::FORMAT,
    };
    print_result(args.json, &versions, to_text)?;
    Ok(ExitCode::SUCCESS)
}

fn to_text(versions: &Versions) -> String {
    let Versions { natha, arch, recording, history, notice } = versions;
    format!(
        "natha {natha} for {arch}\nformats: recording {recording}, history {history}, notice \
         {notice}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_version() {
        let versions =
            Versions { natha: "1.2.3", arch: "x86_64", recording: 2, history: 1, notice: 3 };
        let wanted = "natha 1.2.3 for x86_64\nformats: recording 2, history 1, notice 3\n";
        assert_eq!(to_text(&versions), wanted);
    }
}
