//! One monitor per host.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::kernel::lock::FileLock;

/// Takes the lock `monitor.lock` in `directory`, which is created if missing.
///
/// # Errors
/// If another monitor runs, with its process id, or the directory is not writable.
pub(super) fn lock(directory: &Path) -> anyhow::Result<FileLock> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("cannot create {}: run this as root", directory.display()))?;
    let path = directory.join("monitor.lock");
    let shown = path.display();
    let lock = FileLock::try_acquire(&path)
        .with_context(|| format!("cannot lock {shown}: run this as root"))?;
    let Some(lock) = lock else {
        // The process id only helps the reader of the message.
        let pid = fs::read_to_string(&path).unwrap_or_default();
        bail!("a monitor runs on this host already (pid {}): see `natha status`", pid.trim());
    };
    let mut file = lock.file();
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("cannot write {shown}"))?;
    Ok(lock)
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
