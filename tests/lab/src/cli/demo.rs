//! `natha-lab demo`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use natha_lab::Lab;
use natha_lab::lab::program;
use natha_lab::story::{self, Options, Under, scene};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::run::NOT_SO;

/// What the shell says of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;
/// How often the removal of an ended lab's directory is tried.
const ENDING: usize = 50;

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Write the facts to a file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leave the lab up afterwards.
    #[arg(long)]
    keep: bool,
    /// The natha binary; without it, the one beside this program.
    #[arg(long, value_name = "FILE")]
    natha: Option<PathBuf>,
    /// A root file system, such as scripts/image makes, that the nodes boot instead.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "natha")]
    image: Option<PathBuf>,
    /// A settings file for the nodes, instead of the demo's shorter waits.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long each step may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    patience: u64,
    /// Where logs go when a step does not happen.
    #[arg(long, value_name = "DIR", default_value = "natha-demo-logs")]
    logs: PathBuf,
}

/// Tells the story; 3 when a step did not happen.
pub(super) fn run(demo: &Demo) -> Result<ExitCode> {
    let settings = match &demo.config {
        None => scene::SETTINGS.to_owned(),
        Some(path) => {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        }
    };
    let options = Options {
        natha: under(demo)?,
        settings,
        patience: Duration::from_secs(demo.patience),
        logs: demo.logs.clone(),
        keep: demo.keep,
    };
    if let Some(path) = &demo.json {
        // Now, rather than when the story has been told for nothing.
        write_facts(path, "")?;
    }
    let signals = hold_signals()?;
    let facts = story::tell(&options, |lab| end_when_told(signals, lab))?;
    if let Some(path) = &demo.json {
        let mut text = serde_json::to_string_pretty(&facts)?;
        text.push('\n');
        write_facts(path, &text)?;
    }
    Ok(if facts.ok { ExitCode::SUCCESS } else { ExitCode::from(NOT_SO) })
}

fn under(demo: &Demo) -> Result<Under> {
    if let Some(image) = &demo.image {
        let image = fs::canonicalize(image).with_context(|| {
            format!("no image at {}: make one with scripts/image", image.display())
        })?;
        return Ok(Under::Image(image));
    }
    let natha = match &demo.natha {
        Some(path) => path.clone(),
        None => program()?.with_file_name("natha"),
    };
    let natha = fs::canonicalize(&natha).with_context(|| {
        format!("no natha binary at {}: build the workspace, or name it", natha.display())
    })?;
    Ok(Under::Binary(natha))
}

fn write_facts(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Keeps Ctrl-C and its like back until there is a lab to end.
fn hold_signals() -> Result<SigSet> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    signals.thread_block().context("cannot hold signals")?;
    Ok(signals)
}

/// Ends the lab and this program on Ctrl-C.
fn end_when_told(signals: SigSet, lab: &Lab) {
    let (pid, directory) = (lab.pid().cast_signed(), lab.directory().to_owned());
    thread::spawn(move || {
        if signals.wait().is_ok() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            for _ in 0..ENDING {
                // Until the last of its processes is gone, files may be made in it.
                drop(fs::remove_dir_all(&directory));
                if !directory.exists() {
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
            exit(INTERRUPTED);
        }
    });
}
