//! A small file in the state directory that counts until the host boots again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::kernel::{durable, journal};

/// A file, and what it holds.
#[derive(Debug)]
pub(super) struct BootMemory<T> {
    path: PathBuf,
    boot: String,
    saved: T,
    writer: Arc<Writer>,
}

/// Writes one content after the other, and of those that wait only the newest.
#[derive(Debug, Default)]
struct Writer {
    waiting: Mutex<Option<Vec<u8>>>,
    /// Held while the file is written.
    turn: Mutex<()>,
}

impl Writer {
    fn put(&self, text: Vec<u8>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// Writes what waits, if no other thread has written it.
    fn write(&self, path: &Path) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(text) = waiting else { return Ok(()) };
        durable::replace(path, &text)
            .inspect_err(|error| tracing::warn!("cannot write {}: {error}", path.display()))
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Record<T> {
    boot: String,
    #[serde(flatten)]
    content: T,
}

impl<T> BootMemory<T>
where
    T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
{
    /// Reads what an earlier run wrote to the file `name` of the state directory. What it wrote
    /// before this boot counts as far as `outlives` says. A file that cannot be read counts as
    /// empty.
    pub(super) fn load(state_dir: &Path, name: &str, outlives: impl FnOnce(T) -> T) -> Self {
        let path = state_dir.join(name);
        let boot = journal::boot_id().unwrap_or_else(|error| {
            tracing::warn!("{} does not count: {error}", path.display());
            String::new()
        });
        let record: Option<Record<T>> =
            fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let saved = match record {
            Some(record) if record.boot == boot && !boot.is_empty() => record.content,
            Some(record) => outlives(record.content),
            None => T::default(),
        };
        Self { path, boot, saved, writer: Arc::default() }
    }

    /// What the file holds.
    pub(super) const fn content(&self) -> &T {
        &self.saved
    }

    /// Writes the content, if it has changed. If it cannot be written, the next run does not know
    /// it. Returns the write that this starts.
    pub(super) fn save(&mut self, content: &T) -> Option<JoinHandle<io::Result<()>>> {
        if *content == self.saved {
            return None;
        }
        self.saved = content.clone();
        let record = Record { boot: self.boot.clone(), content };
        self.writer.put(serde_json::to_vec(&record).unwrap_or_default());
        let (path, writer) = (self.path.clone(), self.writer.clone());
        // In a thread of its own: a volume that hangs must not hold up the caller.
        Some(tokio::task::spawn_blocking(move || writer.write(&path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "content.json";

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    struct Content {
        seen: bool,
        ever: bool,
    }

    fn load(directory: &Path) -> BootMemory<Content> {
        BootMemory::load(directory, FILE, |old| Content { seen: false, ..old })
    }

    #[tokio::test]
    async fn the_content_outlives_the_run_and_not_the_boot() {
        let directory = tempfile::tempdir().unwrap();
        let content = Content { seen: true, ever: true };
        let mut memory = load(directory.path());
        assert_eq!(*memory.content(), Content::default());
        memory.save(&content).unwrap().await.unwrap().unwrap();
        assert!(memory.save(&content).is_none(), "it is written");
        assert_eq!(*load(directory.path()).content(), content);

        let text = fs::read_to_string(&memory.path).unwrap();
        let elsewhere = text.replace(&memory.boot, "another boot");
        assert_ne!(elsewhere, text);
        fs::write(&memory.path, elsewhere).unwrap();
        assert_eq!(*load(directory.path()).content(), Content { seen: false, ever: true });
    }

    #[tokio::test]
    async fn contents_that_follow_each_other_at_once_leave_the_last_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut memory = load(directory.path());
        let contents = (0..64).map(|n| Content { seen: n % 2 == 0, ever: true });
        let writes: Vec<_> = contents.filter_map(|content| memory.save(&content)).collect();
        assert_eq!(writes.len(), 64);
        for write in writes {
            write.await.unwrap().unwrap();
        }
        assert_eq!(load(directory.path()).content(), memory.content());
    }

    #[test]
    fn a_damaged_file_counts_as_empty() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "{\"boot\":").unwrap();
        assert_eq!(*load(directory.path()).content(), Content::default());
    }
}
