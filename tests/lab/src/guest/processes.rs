//! The processes of one instance, found by their process namespace, and signals to them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Rounds of signalling after which processes that keep multiplying win.
const ROUNDS: usize = 500;

/// A process of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id as the lab sees it.
    pub pid: Pid,
    /// What the kernel calls it: the first fifteen letters of its program's name.
    pub name: String,
    /// Its state, a letter as in `proc(5)`.
    pub state: char,
}

/// Every process in the process namespace of `init`, `init` itself included.
///
/// # Errors
/// When `init` does not run.
pub fn of(init: Pid) -> Result<Vec<Process>> {
    let space = |pid: Pid| fs::read_link(Path::new("/proc").join(pid.to_string()).join("ns/pid"));
    let own = space(init).with_context(|| format!("process {init} does not run"))?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list processes")? {
        let Ok(number) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        let pid = Pid::from_raw(number);
        if space(pid).ok().as_ref() != Some(&own) {
            continue;
        }
        if let Some((name, state)) = stat(pid) {
            found.push(Process { pid, name, state });
        }
    }
    Ok(found)
}

fn stat(pid: Pid) -> Option<(String, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = text.split_once('(')?.1.rsplit_once(')')?;
    Some((name.to_owned(), rest.trim_start().chars().next()?))
}

/// Sends a signal to every process but `init` and returns how many there were.
///
/// # Errors
/// When `init` does not run.
pub fn signal_all(init: Pid, signal: Signal) -> Result<usize> {
    signal_where(init, signal, |process| process.pid != init)
}

/// Sends a signal to every process with this name and returns how many there were.
///
/// # Errors
/// When `init` does not run.
pub fn signal_named(init: Pid, name: &str, signal: Signal) -> Result<usize> {
    let known: String = name.chars().take(15).collect();
    signal_where(init, signal, |process| process.name == known)
}

fn signal_where(init: Pid, signal: Signal, which: impl Fn(&Process) -> bool) -> Result<usize> {
    let mut count = 0;
    for process in of(init)?.iter().filter(|process| process.state != 'Z' && which(process)) {
        match kill(process.pid, signal) {
            Ok(()) => count += 1,
            Err(Errno::ESRCH) => {}
            Err(problem) => bail!("cannot signal {}: {problem}", process.name),
        }
    }
    Ok(count)
}

/// Stops every process, `init` included, so that none runs when this returns.
///
/// # Errors
/// When some still run after many rounds.
pub fn freeze(init: Pid) -> Result<()> {
    let mut told = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut running = false;
        for process in of(init)? {
            // One that waits in the kernel, say for a child of vfork, stops when it leaves it.
            let still = matches!(process.state, 'T' | 't' | 'Z' | 'D');
            if told.insert(process.pid) || !still {
                running = true;
                // It may have ended since it was listed.
                let _ = kill(process.pid, Signal::SIGSTOP);
            }
        }
        if !running {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    bail!("its processes do not stop")
}

/// Lets every process run again, `init` last: nothing sees another one stopped.
///
/// # Errors
/// When `init` does not run.
pub fn thaw(init: Pid) -> Result<()> {
    signal_all(init, Signal::SIGCONT)?;
    kill(init, Signal::SIGCONT).context("cannot resume an instance")
}
