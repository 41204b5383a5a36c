//! Writes natha's manual pages and shell completions, for `scripts/package`.
//!
//! A program of its own, so that none of this is in the program that a host runs. It uses natha's
//! own definition of the command line, so the pages cannot differ from `--help`.

mod manual;

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use clap::Parser;
use clap_complete::Shell;

/// Shells that get completions, each with the directory in which Debian's package of that shell
/// looks for those of other packages.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/natha"),
    (Shell::Zsh, "zsh/vendor-completions/_natha"),
    (Shell::Fish, "fish/vendor_completions.d/natha.fish"),
];

/// Writes natha's manual pages and its completions for bash, zsh and fish
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The package's /usr/share: pages go to man/man1, completions to where each shell looks
    directory: PathBuf,
}

fn main() -> Result<()> {
    let Args { directory } = Args::parse();
    let command = natha::cli::command();
    manual::write(command.clone(), &directory.join("man/man1"))?;
    write_completions(command, &directory)
}

fn write_completions(mut command: clap::Command, directory: &Path) -> Result<()> {
    for (shell, path) in SHELLS {
        let path = directory.join(path);
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, "natha", &mut text);
        write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Writes a file, in a directory that need not exist.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}
