//! One monitor a host.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Holds the host's lock for as long as it lives. The kernel lets go of it when the process
/// ends, however it ends.
#[derive(Debug)]
pub(super) struct OnlyMonitor(#[expect(dead_code, reason = "held, never looked at")] Flock<File>);

/// Takes the lock `monitor.lock` in `directory`, which is made if missing.
///
/// # Errors
/// Where another monitor runs, naming it, or the directory cannot be written to.
pub(super) fn lock(directory: &Path) -> anyhow::Result<OnlyMonitor> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("cannot make {}: run this as root", directory.display()))?;
    let path = directory.join("monitor.lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(&path)
        .with_context(|| format!("cannot open {}: run this as root", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut locked) => {
            locked
                .set_len(0)
                .and_then(|()| locked.rewind())
                .and_then(|()| writeln!(locked, "{}", std::process::id()))
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(OnlyMonitor(locked))
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            // The number only helps the reader of the message.
            let _ = file.read_to_string(&mut pid);
            bail!("a monitor runs on this host already (pid {}): see `natha status`", pid.trim());
        }
        Err((_, errno)) => bail!("cannot lock {}: {errno}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_monitor_is_refused_by_pid_until_the_first_ends() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path()).unwrap();
        let refusal = lock(directory.path()).unwrap_err().to_string();
        assert!(refusal.contains(&format!("(pid {})", std::process::id())), "{refusal}");
        drop(first);
        assert!(lock(directory.path()).is_ok());
    }
}
