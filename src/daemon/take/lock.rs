//! The lock that runs of `natha take` and `natha release` on one host take in turn.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, interval, timeout_at};

use crate::daemon::clock;
use crate::types::Time;

/// How often a lock that another run holds is tried.
const LOCK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct TakeLock(Flock<File>);

impl TakeLock {
    /// Waits until no other run on this host holds the lock.
    ///
    /// # Errors
    /// Where it does not come in time, or the state directory cannot be used.
    pub(super) async fn wait(directory: &Path, deadline: Instant) -> anyhow::Result<Self> {
        let shown = directory.display();
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {shown}: run this as root"))?;
        let path = directory.join("take.lock");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}: run this as root", path.display()))?;
        let mut rounds = interval(LOCK_EVERY);
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((_, errno)) if errno != Errno::EWOULDBLOCK => {
                    bail!("cannot lock {}: {errno}", path.display());
                }
                Err((same, _)) => file = same,
            }
            if timeout_at(deadline, rounds.tick()).await.is_err() {
                bail!("another `natha take` on this host has not ended in time: run this again");
            }
        }
    }

    /// Notes that something was taken until now.
    pub(super) fn stamp(&self) -> anyhow::Result<()> {
        let text = clock::now().since_boot().as_millis().to_string();
        let written = self.0.set_len(0).and_then(|()| self.0.write_all_at(text.as_bytes(), 0));
        written.context("cannot write to take.lock in the state directory")
    }

    /// When something was last taken in this boot; none where that is not known. One of an earlier
    /// boot may be taken for one of this, and is as long ago at least.
    pub(super) fn last_taken(&self) -> Option<Time> {
        let mut text = [0; 24];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let taken = Time::from_millis(std::str::from_utf8(&text[..length]).ok()?.parse().ok()?);
        (taken <= clock::now()).then_some(taken)
    }
}
