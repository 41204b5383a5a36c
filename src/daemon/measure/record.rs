//! What a measurement of an Elastic IP is about to make, in the state directory: for the process
//! that cleans up, and for the next run if that process was killed too. And the lock of all
//! measurements.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::cloud::Association;
use crate::kernel::durable;
use crate::kernel::lock::FileLock;
use crate::types::{AllocationId, NetworkInterfaceId};

/// Their names in the state directory.
const FILE: &str = "measure.json";
const LOCK: &str = "measure.lock";

/// A scratch private address, and the interface that it is assigned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spot {
    pub(super) interface: NetworkInterfaceId,
    pub(super) address: Ipv4Addr,
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// A random number that distinguishes this run from others.
    pub(super) run: u64,
    pub(super) allocation: AllocationId,
    /// This node's address, and its interface on this host.
    pub(super) own: Spot,
    pub(super) link: String,
    pub(super) peer: Spot,
}

impl Record {
    /// The record; none if no run has left one.
    pub(super) fn load(state_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = path(state_dir);
        let shown = path.display();
        let text = match durable::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {shown}"))?,
        };
        let record = serde_json::from_slice(&text);
        record.map(Some).with_context(|| {
            format!(
                "{shown} is damaged: remove what it lists, as docs/measure.md describes, and then \
                 the file"
            )
        })
    }

    pub(super) fn save(&self, state_dir: &Path) -> anyhow::Result<()> {
        let path = path(state_dir);
        let text = serde_json::to_vec_pretty(self)?;
        durable::replace(&path, &text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn remove(state_dir: &Path) -> anyhow::Result<()> {
        let path = path(state_dir);
        match durable::remove(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// Whether this run has made the association.
    pub(super) fn has_made(&self, association: &Association) -> bool {
        [&self.own, &self.peer].into_iter().any(|spot| {
            spot.interface == association.interface && Some(spot.address) == association.private
        })
    }
}

/// Lets one run at a time measure: it uses the record, or the one address of scratch routes.
///
/// # Errors
/// If another one does.
pub(super) fn lock(state_dir: &Path) -> anyhow::Result<FileLock> {
    let shown = state_dir.display();
    durable::make_directory(state_dir).with_context(|| format!("cannot create {shown}"))?;
    let path = state_dir.join(LOCK);
    let lock = FileLock::try_acquire(&path);
    match lock.with_context(|| format!("cannot lock {}", path.display()))? {
        Some(lock) => Ok(lock),
        None => bail!(
            "another `natha measure` runs on this host, or cleans up: try again once it has ended"
        ),
    }
}

/// Waits for the lock.
///
/// # Errors
/// If another run has it until `deadline`.
pub(super) async fn wait_for_lock(state_dir: &Path, deadline: Instant) -> anyhow::Result<FileLock> {
    let path = state_dir.join(LOCK);
    let lock = FileLock::acquire(&path, deadline).await;
    let lock = lock.with_context(|| format!("cannot lock {}", path.display()))?;
    lock.context("another `natha measure` runs on this host")
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let spot = |interface: &str, last| Spot {
            interface: interface.parse().unwrap(),
            address: Ipv4Addr::new(10, 0, 0, last),
        };
        Record {
            run: 7,
            allocation: "eipalloc-0123abcd".parse().unwrap(),
            own: spot("eni-0000000a", 254),
            link: "eth0".to_owned(),
            peer: spot("eni-0000000b", 253),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Record::load(directory.path()).unwrap(), None);
        record().save(directory.path()).unwrap();
        assert_eq!(Record::load(directory.path()).unwrap(), Some(record()));
        Record::remove(directory.path()).unwrap();
        assert_eq!(Record::load(directory.path()).unwrap(), None);
        Record::remove(directory.path()).unwrap();
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(path(directory.path()), "{").unwrap();
        let error = Record::load(directory.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("damaged"), "{error}");
    }

    #[test]
    fn only_an_association_with_one_of_its_own_addresses_is_its_own() {
        let of = |interface: &str, last| Association {
            id: "eipassoc-0123abcd".to_owned(),
            interface: interface.parse().unwrap(),
            private: Some(Ipv4Addr::new(10, 0, 0, last)),
        };
        assert!(record().has_made(&of("eni-0000000a", 254)));
        assert!(record().has_made(&of("eni-0000000b", 253)));
        assert!(!record().has_made(&of("eni-0000000a", 253)));
        assert!(!record().has_made(&Association { private: None, ..of("eni-0000000a", 254) }));
    }

    #[test]
    fn a_second_run_is_refused_while_the_first_one_holds_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path()).unwrap();
        let refused = lock(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("another `natha measure`"), "{refused}");
        drop(first);
        lock(directory.path()).unwrap();
    }
}
