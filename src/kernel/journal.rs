//! The undo journal: what setup replaced, recorded before it was replaced.
//!
//! For each subject the first original is kept, so that a second setup does not mistake natha's own
//! values for the host's. Entries about the kernel's state (sysctls, the table) end with the boot
//! in which they were written; entries about EC2's state do not.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::durable;
use super::lock::FileLock;
use crate::plan::{HostPlan, Subject};

/// The format of the file.
const VERSION: u32 = 1;

/// How long [`JournalStore::open_patiently`] waits. The monitor repairs drift within milliseconds.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// Its name in the state directory.
const FILE: &str = "journal.json";

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file or directory could not be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a journal this version can read.
    #[error("{} is not an undo journal that this version of natha can read. Restore by hand what \
             it lists, then remove it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file was written by a newer natha.
    #[error("{} has format {found}, which is newer than this version of natha ({VERSION}). Use \
             the version that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Another run holds the lock.
    #[error("another `natha setup` or `natha teardown` is running ({} is locked); run this again \
             when it has ended", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalEntry {
    pub(crate) subject: Subject,
    /// The value before; none if it did not exist.
    pub(crate) original: Option<String>,
    /// The value it was set to.
    pub(crate) set: String,
}

/// The instance that a plan was made for, and what its settings followed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceRecord {
    /// Name of the plan's uplink.
    pub(crate) uplink: String,
    /// Its MAC address, lower case with colons. No two instances have the same.
    pub(crate) mac: String,
    /// The settings in the instance's tags, as last read; none if they never were.
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

/// All changes, and the plan that they implement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    version: u32,
    /// The kernel's id of the boot in which it was written.
    boot: String,
    /// In the order of the changes.
    pub(crate) entries: Vec<JournalEntry>,
    /// The plan last applied; none during the first setup.
    pub(crate) plan: Option<HostPlan>,
    /// The instance; none in a journal of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<InstanceRecord>,
}

impl Journal {
    /// Records a change that is about to be made. The first original of a subject stays.
    pub(crate) fn record(&mut self, subject: &Subject, original: Option<String>, set: String) {
        match self.entries.iter_mut().find(|entry| entry.subject == *subject) {
            Some(entry) => entry.set = set,
            None => self.entries.push(JournalEntry { subject: subject.clone(), original, set }),
        }
    }

    /// The part of the journal that counts in this boot.
    fn in_boot(mut self, boot: String) -> Self {
        if self.boot != boot {
            self.boot = boot;
            self.entries.retain(|entry| matches!(entry.subject, Subject::SourceDestCheck(_)));
        }
        self
    }
}

/// The journal's directory, locked: no other run changes the host while this value lives.
#[derive(Debug)]
pub(crate) struct JournalStore {
    directory: PathBuf,
    boot: String,
    _lock: FileLock,
}

impl JournalStore {
    /// Creates the directory if needed, and locks it.
    pub(crate) fn open(directory: &Path) -> Result<Self, JournalError> {
        let path = Self::lock_path(directory)?;
        let lock = FileLock::try_acquire(&path);
        Self::locked(directory, path, lock)
    }

    /// Like [`Self::open`], but waits up to 5 s for another run to end.
    pub(crate) async fn open_patiently(directory: &Path) -> Result<Self, JournalError> {
        let path = Self::lock_path(directory)?;
        let lock = FileLock::acquire(&path, Instant::now() + LOCK_LIMIT).await;
        Self::locked(directory, path, lock)
    }

    fn lock_path(directory: &Path) -> Result<PathBuf, JournalError> {
        durable::make_directory(directory).map_err(|source| JournalError::Io {
            doing: "use the directory",
            path: directory.to_owned(),
            source,
        })?;
        Ok(directory.join("lock"))
    }

    fn locked(
        directory: &Path,
        path: PathBuf,
        lock: io::Result<Option<FileLock>>,
    ) -> Result<Self, JournalError> {
        let lock = match lock {
            Ok(Some(lock)) => lock,
            Ok(None) => return Err(JournalError::Busy { path }),
            Err(source) => return Err(JournalError::Io { doing: "lock", path, source }),
        };
        Ok(Self { directory: directory.to_owned(), boot: boot_id()?, _lock: lock })
    }

    /// The state directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// The journal of this boot, if there is one.
    pub(crate) fn load(&self) -> Result<Option<Journal>, JournalError> {
        Ok(read(&self.path())?.map(|journal| journal.in_boot(self.boot.clone())))
    }

    /// An empty journal.
    #[must_use]
    pub(crate) fn begin(&self) -> Journal {
        Journal {
            version: VERSION,
            boot: self.boot.clone(),
            entries: Vec::new(),
            plan: None,
            instance: None,
        }
    }

    /// Replaces the file atomically. The journal is on the disk when this returns.
    pub(crate) fn save(&self, journal: &Journal) -> Result<(), JournalError> {
        let path = self.path();
        serde_json::to_vec_pretty(journal)
            .map_err(std::io::Error::from)
            .and_then(|text| durable::replace(&path, &text))
            .map_err(|source| JournalError::Io { doing: "write", path, source })
    }

    /// Removes the journal, if there is one.
    pub(crate) fn remove(&self) -> Result<(), JournalError> {
        let path = self.path();
        match durable::remove(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| JournalError::Io { doing: "remove", path, source }),
        }
    }
}

/// The journal of this boot, if there is one. Needs no lock.
pub(crate) fn peek(directory: &Path) -> Result<Option<Journal>, JournalError> {
    let boot = boot_id()?;
    Ok(read(&directory.join(FILE))?.map(|journal| journal.in_boot(boot)))
}

/// The plan last applied to the host, if there is one. Needs no lock.
pub(crate) fn last_plan(directory: &Path) -> Result<Option<HostPlan>, JournalError> {
    Ok(read(&directory.join(FILE))?.and_then(|journal| journal.plan))
}

fn read(path: &Path) -> Result<Option<Journal>, JournalError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let text = match durable::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(JournalError::Io { doing: "read", path: path.to_owned(), source });
        }
    };
    let unreadable = |source| JournalError::Unreadable { path: path.to_owned(), source };
    let head: Head = serde_json::from_slice(&text).map_err(unreadable)?;
    if head.version > VERSION {
        return Err(JournalError::Newer { path: path.to_owned(), found: head.version });
    }
    serde_json::from_slice(&text).map(Some).map_err(unreadable)
}

/// The kernel's random id of this boot.
pub(crate) fn boot_id() -> Result<String, JournalError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|source| JournalError::Io {
        doing: "read",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SysctlKey;

    fn forwarding() -> Subject {
        Subject::Sysctl(SysctlKey::new("net/ipv4/ip_forward"))
    }

    fn check() -> Subject {
        Subject::SourceDestCheck("eni-0123456789abcdef0".parse().unwrap())
    }

    #[test]
    fn the_first_original_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = JournalStore::open(directory.path()).unwrap();
        let mut journal = store.begin();
        journal.record(&forwarding(), Some("0".into()), "1".into());
        store.save(&journal).unwrap();

        let mut again = store.load().unwrap().unwrap();
        assert_eq!(again, journal);
        again.record(&forwarding(), Some("1".into()), "2".into());
        assert_eq!(again.entries[0].original.as_deref(), Some("0"));
        assert_eq!(again.entries[0].set, "2");
    }

    #[test]
    fn after_a_reboot_only_what_ec2_keeps_is_still_to_be_undone() {
        let directory = tempfile::tempdir().unwrap();
        let store = JournalStore::open(directory.path()).unwrap();
        let mut journal = store.begin();
        journal.record(&forwarding(), Some("0".into()), "1".into());
        journal.record(&check(), Some("on".into()), "off".into());
        journal.boot = "another".into();
        store.save(&journal).unwrap();

        let journal = store.load().unwrap().unwrap();
        assert_eq!(journal.entries.len(), 1);
        assert_eq!(journal.entries[0].subject, check());
    }

    #[test]
    fn two_runs_at_once_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let first = JournalStore::open(directory.path()).unwrap();
        assert!(matches!(JournalStore::open(directory.path()), Err(JournalError::Busy { .. })));
        drop(first);
        JournalStore::open(directory.path()).unwrap();
    }

    #[test]
    fn a_broken_or_newer_journal_is_an_error_and_not_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = JournalStore::open(directory.path()).unwrap();
        assert_eq!(store.load().unwrap(), None);
        fs::write(store.path(), "{").unwrap();
        assert!(matches!(store.load(), Err(JournalError::Unreadable { .. })));
        fs::write(store.path(), r#"{"version": 2, "novel": true}"#).unwrap();
        assert!(matches!(store.load(), Err(JournalError::Newer { found: 2, .. })));
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let directory = tempfile::tempdir().unwrap();
        JournalStore::open(directory.path()).unwrap().remove().unwrap();
    }
}
