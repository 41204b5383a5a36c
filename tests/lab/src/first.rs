//! The first process of a lab: reaps, and ends as soon as its owner or the lab itself does. The
//! kernel then ends everything else inside.

use std::io::{Read, stdin};
use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;

/// Starts the lab's daemon and watches over it. Does not return once the daemon has been started.
///
/// # Errors
/// When the daemon cannot be started.
pub fn run(directory: &Path) -> Result<()> {
    // Whatever signals the owner held back: nothing in the lab should.
    SigSet::all().thread_unblock().context("cannot let signals through")?;
    let program = std::env::current_exe().context("the lab cannot find its own program")?;
    let daemon = Command::new(program)
        .arg("daemon")
        .arg(directory)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the lab's daemon")?;
    let daemon = Pid::from_raw(i32::try_from(daemon.id()).context("a process id out of range")?);
    thread::spawn(|| {
        // Nobody writes to the pipe: this returns when its other end is closed.
        let mut end = [0; 1];
        let closed = stdin().read(&mut end);
        exit(i32::from(closed.is_err()));
    });
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == daemon => exit(code),
            Ok(WaitStatus::Signaled(pid, ..)) if pid == daemon => exit(1),
            Err(Errno::ECHILD) => exit(1),
            Ok(_) | Err(_) => {}
        }
    }
}
