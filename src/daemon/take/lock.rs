//! The lock that serialises runs of `natha take` and `natha release` on one host.

use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::daemon::clock;
use crate::kernel::lock::FileLock;
use crate::types::Time;

pub(super) struct TakeLock(FileLock);

impl TakeLock {
    /// Waits until no other run on this host holds the lock.
    ///
    /// # Errors
    /// If that takes longer than until `deadline`, or the state directory cannot be used.
    pub(super) async fn wait(directory: &Path, deadline: Instant) -> anyhow::Result<Self> {
        let shown = directory.display();
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {shown}: run this as root"))?;
        let path = directory.join("take.lock");
        let lock = FileLock::acquire(&path, deadline).await;
        let lock =
            lock.with_context(|| format!("cannot lock {}: run this as root", path.display()))?;
        match lock {
            Some(lock) => Ok(Self(lock)),
            None => {
                bail!("another `natha take` on this host has not ended in time: run this again")
            }
        }
    }

    /// Records that something was taken until now.
    pub(super) fn stamp(&self) -> anyhow::Result<()> {
        let text = clock::now().since_boot().as_millis().to_string();
        let file = self.0.file();
        let written = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
        written.context("cannot write to take.lock in the state directory")
    }

    /// When something was last taken in this boot, if that is known. A stamp from an earlier boot
    /// can pass for one of this boot; the take it records is then at least as long ago.
    pub(super) fn last_taken(&self) -> Option<Time> {
        let mut text = [0; 24];
        let length = self.0.file().read_at(&mut text, 0).ok()?;
        let taken = Time::from_millis(std::str::from_utf8(&text[..length]).ok()?.parse().ok()?);
        (taken <= clock::now()).then_some(taken)
    }
}
