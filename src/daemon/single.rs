//! One monitor per host.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::kernel::lock::FileLock;

/// How long the process of an earlier monitor may take to end: the kernel removes its interface
/// `natha0` first.
pub(super) const ENDING: Duration = Duration::from_secs(3);

/// Takes the lock `monitor.lock` in `directory`, which is created if missing. Waits up to `limit`
/// for another monitor to end.
///
/// # Errors
/// If another monitor runs, with its process id, or the directory is not writable.
pub(super) async fn lock(directory: &Path, limit: Duration) -> anyhow::Result<FileLock> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .with_context(|| format!("cannot create {}: run this as root", directory.display()))?;
    let path = directory.join("monitor.lock");
    let shown = path.display();
    let lock = FileLock::acquire(&path, Instant::now() + limit)
        .await
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

    #[tokio::test]
    async fn a_second_monitor_is_refused_by_pid_until_the_first_ends() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path(), ENDING).await.unwrap();
        let short = Duration::from_millis(50);
        let refusal = lock(directory.path(), short).await.unwrap_err().to_string();
        assert!(refusal.contains(&format!("(pid {})", std::process::id())), "{refusal}");
        drop(first);
        assert!(lock(directory.path(), short).await.is_ok());
    }

    #[tokio::test]
    async fn a_monitor_that_is_ending_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path(), ENDING).await.unwrap();
        let (second, ()) = tokio::join!(lock(directory.path(), ENDING), async { drop(first) });
        assert!(second.is_ok());
    }
}
