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
/// The trigger, which is there whether or not the machine's kernel has one of its own.
const TRIGGER: &str = "run/sysrq-trigger";
/// The kernel's own trigger, in whose place it is, too.
const KERNELS: &str = "proc/sysrq-trigger";
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
    let trigger = root.join(TRIGGER);
    mkfifo(&trigger, own).with_context(|| format!("cannot make /{TRIGGER}"))?;
    let panic = root.join("run/kernel-panic");
    fs::write(&panic, "0\n").context("cannot write a reaction to panics")?;
    // A kernel may be built without them.
    for (made, shown) in [(&trigger, root.join(KERNELS)), (&panic, root.join(PANIC))] {
        if shown.exists() {
            mount(Some(made), &shown, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .with_context(|| format!("cannot hide {}", shown.display()))?;
        }
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

/// The environment in which programs find the trigger where the kernel has none.
#[must_use]
pub(crate) fn environment() -> (String, String) {
    ("SYSRQ_TRIGGER".to_owned(), format!("/{TRIGGER}"))
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
