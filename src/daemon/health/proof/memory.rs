//! What was proven since the host booted, for a monitor that starts again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::evidence::Proven;
use crate::kernel::{durable, journal};

/// Its name in the state directory.
const FILE: &str = "proven.json";

/// The file, and what it holds.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    boot: String,
    saved: Proven,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    boot: String,
    #[serde(flatten)]
    proven: Proven,
}

impl Memory {
    /// Reads what an earlier run wrote in this boot. A file that cannot be read proves nothing.
    pub(super) fn load(state_dir: &Path) -> Self {
        let boot = journal::boot_id().unwrap_or_else(|error| {
            tracing::warn!("what was proven before is not known: {error}");
            String::new()
        });
        let path = state_dir.join(FILE);
        let record: Option<Record> =
            fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let record = record.filter(|record| record.boot == boot && !boot.is_empty());
        let saved = record.map_or_else(Proven::default, |record| record.proven);
        Self { path, boot, saved }
    }

    pub(super) fn proven(&self) -> Proven {
        self.saved
    }

    /// Writes what is proven, if that has changed. If it cannot be written, the next run has to
    /// prove it again. Returns the write that this starts.
    pub(super) fn save(&mut self, proven: Proven) -> Option<JoinHandle<io::Result<()>>> {
        if proven == self.saved {
            return None;
        }
        self.saved = proven;
        let record = Record { boot: self.boot.clone(), proven };
        let text = serde_json::to_vec(&record).unwrap_or_default();
        let path = self.path.clone();
        // In a thread of its own: a volume that hangs must not hold up the probes.
        Some(tokio::task::spawn_blocking(move || {
            durable::replace(&path, &text)
                .inspect_err(|error| tracing::warn!("cannot write {}: {error}", path.display()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_proof_outlives_the_run_and_not_the_boot() {
        let directory = tempfile::tempdir().unwrap();
        let proven = Proven { uplink: true, transit: Some(true) };
        let mut memory = Memory::load(directory.path());
        assert_eq!(memory.proven(), Proven::default());
        memory.save(proven).unwrap().await.unwrap().unwrap();
        assert!(memory.save(proven).is_none(), "it is written");
        assert_eq!(Memory::load(directory.path()).proven(), proven);

        let text = fs::read_to_string(&memory.path).unwrap();
        let elsewhere = text.replace(&memory.boot, "another boot");
        assert_ne!(elsewhere, text);
        fs::write(&memory.path, elsewhere).unwrap();
        assert_eq!(Memory::load(directory.path()).proven(), Proven::default());
    }

    #[test]
    fn a_damaged_file_proves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "{\"boot\":").unwrap();
        assert_eq!(Memory::load(directory.path()).proven(), Proven::default());
    }
}
