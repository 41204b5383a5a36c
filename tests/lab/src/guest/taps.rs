//! What a guest writes to its machine: lines to the console, and commands to the kernel's own
//! trigger (`sysrq`, see the kernel's admin guide). The machine's kernel is that of all guests, so
//! none of them may reach its real trigger or its reaction to a panic.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// The console device.
const CONSOLE: &str = "dev/console";
/// The kernel's trigger.
const TRIGGER: &str = "proc/sysrq-trigger";
/// After how many seconds the kernel reboots when it has panicked; 0 for never.
const PANIC: &str = "proc/sys/kernel/panic";
/// The command that makes a kernel panic.
const CRASH: u8 = b'c';

/// Makes them below a root file system, in which `/dev`, `/run` and `/proc` are mounted.
///
/// # Errors
/// When one cannot be made, with which one.
pub(super) fn make(root: &Path) -> Result<()> {
    let own = Mode::S_IRUSR | Mode::S_IWUSR;
    mkfifo(&root.join(CONSOLE), own).context("cannot make /dev/console")?;
    let trigger = root.join("run/sysrq-trigger");
    mkfifo(&trigger, own).context("cannot make a trigger")?;
    let panic = root.join("run/kernel-panic");
    fs::write(&panic, fs::read(Path::new("/").join(PANIC))?)?;
    for (made, shown) in [(&trigger, TRIGGER), (&panic, PANIC)] {
        mount(Some(made), &root.join(shown), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot put a file in the place of /{shown}"))?;
    }
    Ok(())
}

/// What is written to the console from now on. It never ends.
///
/// # Errors
/// When it was not made.
pub(super) fn console() -> Result<File> {
    open(CONSOLE)
}

/// Calls `crash` when something has the kernel crash by its trigger.
///
/// # Errors
/// When it was not made.
pub(super) fn watch_trigger(crash: impl FnOnce() + Send + 'static) -> Result<()> {
    let commands = open(TRIGGER)?;
    thread::spawn(move || {
        if crashed(commands).unwrap_or(false) {
            crash();
        }
    });
    Ok(())
}

/// Reads commands until one is to crash. All others are ignored.
fn crashed(commands: impl Read) -> io::Result<bool> {
    for command in io::BufReader::new(commands).bytes() {
        if command? == CRASH {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opened for writing too, so that it does not end when its last writer closes it.
fn open(path: &str) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).open(Path::new("/").join(path));
    opened.with_context(|| format!("cannot read /{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_command_to_crash_crashes() {
        assert!(crashed(&b"sc\n"[..]).unwrap());
        assert!(!crashed(&b"su\n"[..]).unwrap());
    }
}
