//! Lock files: one process on this host at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::time::{Instant, interval, timeout_at};

use super::durable;

/// Time between two attempts to take a lock that another process holds. flock(2) has no wait that
/// could be cancelled, so the lock is polled.
const POLL: Duration = Duration::from_millis(20);

/// An exclusive lock on a file (flock(2)), released on drop and when the process ends.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Creates the file if needed and locks it; none while another process holds the lock.
    pub(crate) fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        Self::try_lock(open(path)?).map(Result::ok)
    }

    /// Like [`Self::try_acquire`], but waits for the lock until `deadline`.
    pub(crate) async fn acquire(path: &Path, deadline: Instant) -> io::Result<Option<Self>> {
        let mut file = open(path)?;
        let mut attempts = interval(POLL);
        loop {
            match Self::try_lock(file)? {
                Ok(lock) => return Ok(Some(lock)),
                Err(same) => file = same,
            }
            if timeout_at(deadline, attempts.tick()).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The locked file, which may hold a note for the next process.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    fn try_lock(file: File) -> io::Result<Result<Self, File>> {
        match file.try_lock() {
            Ok(()) => Ok(Ok(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(Err(file)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child between fork(2) and execve(2) has a copy of the
        // descriptor. If unlocking fails, the end of that child releases the lock.
        let _ = self.0.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
    // The directory may belong to another user: see `durable`.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    let file = options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    durable::give_to_owner(&file, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_others_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = FileLock::try_acquire(&path).unwrap().expect("the file is new");
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(lock);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }

    #[tokio::test]
    async fn waiting_ends_with_the_lock_or_at_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = FileLock::try_acquire(&path).unwrap();
        let soon = Instant::now() + POLL;
        assert!(FileLock::acquire(&path, soon).await.unwrap().is_none());
        let waiter = tokio::spawn(async move {
            FileLock::acquire(&path, Instant::now() + Duration::from_secs(30)).await
        });
        drop(lock);
        assert!(waiter.await.unwrap().unwrap().is_some());
    }

    #[test]
    fn a_link_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let [target, link] = ["target", "lock"].map(|name| directory.path().join(name));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(FileLock::try_acquire(&link).is_err() && !target.exists());
    }

    #[test]
    fn a_directory_that_does_not_exist_is_an_error() {
        assert!(FileLock::try_acquire(Path::new("/no/such/directory/lock")).is_err());
    }
}
