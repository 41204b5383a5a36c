//! What the monitor leaves for its next start and for `natha teardown`: the private hosts that must
//! not leave by this node's own address, and the landing addresses that it put on the host.
//!
//! The nft table `ip natha_egress` is the monitor's. Where the kernel has none, after a boot or if
//! another program has removed it, natha loads the last guard before it translates anything.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::addresses::{self, AddressError};
use super::durable;
use super::journal::{JournalError, boot_id};
use super::nft::{Nft, NftError};
use super::relay::{self, RelayError};
use crate::plan::{EgressTable, NftTable, RelayTable};

/// Its name in the state directory.
const FILE: &str = "egress.json";

/// Why the record could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EgressRecordError {
    /// The file could not be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be parsed.
    #[error("{} is damaged: remove it, and run `natha setup`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The error at its position.
        #[source]
        source: serde_json::Error,
    },
    /// The id of this boot could not be read.
    #[error(transparent)]
    Boot(#[from] JournalError),
    /// An address could not be removed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// nft failed.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// The tunnel could not be removed.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct EgressRecord {
    /// What holds back the hosts of strict groups until the monitor knows where the egress IPs are.
    guard: EgressTable,
    /// The kernel's id of the boot in which the landing addresses were added.
    boot: String,
    /// The landing addresses that the monitor added, each with its interface.
    landings: BTreeMap<Ipv4Addr, String>,
}

impl EgressRecord {
    /// The record; none if there is none.
    pub(crate) fn load(state_dir: &Path) -> Result<Option<Self>, EgressRecordError> {
        let path = state_dir.join(FILE);
        let text = match durable::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(EgressRecordError::Io { doing: "read", path, source }),
        };
        let parsed = serde_json::from_slice(&text);
        parsed.map(Some).map_err(|source| EgressRecordError::Damaged { path, source })
    }

    fn save(&self, state_dir: &Path) -> Result<(), EgressRecordError> {
        let path = state_dir.join(FILE);
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| durable::replace(&path, &text))
            .map_err(|source| EgressRecordError::Io { doing: "write", path, source })
    }

    /// Records the guard that belongs to the table which the monitor loads.
    pub(crate) fn keep_guard(
        state_dir: &Path,
        table: &EgressTable,
    ) -> Result<(), EgressRecordError> {
        let before = Self::load(state_dir)?;
        let guard = table.guard();
        if before.as_ref().map_or(guard.is_empty(), |before| before.guard == guard) {
            return Ok(());
        }
        Self { guard, ..before.unwrap_or_default() }.save(state_dir)
    }

    /// Records a landing address that the monitor is about to add.
    pub(crate) fn keep_landing(
        state_dir: &Path,
        landing: Ipv4Addr,
        link: &str,
    ) -> Result<(), EgressRecordError> {
        let mut record = Self::load(state_dir)?.unwrap_or_default();
        let boot = boot_id()?;
        if record.boot != boot {
            record.boot = boot;
            record.landings.clear();
        }
        record.landings.insert(landing, link.to_owned());
        record.save(state_dir)
    }

    /// The landing addresses that natha added in this boot, each with its interface.
    pub(crate) fn added(&self) -> Result<BTreeMap<Ipv4Addr, String>, EgressRecordError> {
        let is_current = boot_id()? == self.boot;
        Ok(if is_current { self.landings.clone() } else { BTreeMap::new() })
    }
}

/// Loads a guard if the kernel has no table of the monitor's.
pub(crate) async fn load_guard(nft: &Nft, guard: &EgressTable) -> Result<(), EgressRecordError> {
    if !guard.is_empty() {
        // Not by replacing: the monitor may have loaded its own table just now.
        nft.create(guard).await?;
    }
    Ok(())
}

/// Holds back what the last monitor of this host held back, if the kernel has no table of the
/// monitor's, as after a boot or a flush of the ruleset. Call it before anything is translated. A
/// failure is only logged: all other hosts need the translation.
pub(crate) async fn hold_back(state_dir: &Path, nft: &Nft) {
    let held = async {
        match EgressRecord::load(state_dir)? {
            Some(record) => load_guard(nft, &record.guard).await,
            None => Ok(()),
        }
    };
    if let Err(error) = held.await {
        tracing::error!(%error, "cannot hold back the hosts of strict groups");
    }
}

/// Removes the monitor's table, the landing addresses that it added, and the record. Returns the
/// addresses that it removed.
pub(crate) async fn remove(
    state_dir: &Path,
    nft: &Nft,
) -> Result<Vec<Ipv4Addr>, EgressRecordError> {
    nft.replace(&EgressTable::default()).await?;
    nft.replace(&RelayTable::default()).await?;
    relay::remove().await?;
    let Some(record) = EgressRecord::load(state_dir)? else { return Ok(Vec::new()) };
    let mut removed = Vec::new();
    for (landing, link) in record.added()? {
        if addresses::remove(&link, landing).await? {
            removed.push(landing);
        }
    }
    let path = state_dir.join(FILE);
    durable::remove(&path).map_err(|source| EgressRecordError::Io {
        doing: "remove",
        path,
        source,
    })?;
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::EgressRules;

    const LANDING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 201);

    fn table(strict: bool) -> EgressTable {
        let rules = EgressRules {
            sources: vec!["10.0.100.0/24".parse().unwrap()],
            landings: vec![LANDING],
            arrived: true,
            strict,
            inserting: false,
        };
        EgressTable {
            uplink: "eth0".to_owned(),
            vpc_networks: Vec::new(),
            groups: vec![rules],
            reset: vec!["10.0.101.0/24".parse().unwrap()],
        }
    }

    #[test]
    fn the_guard_holds_back_the_hosts_of_strict_groups_and_survives_what_else_is_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let record = || EgressRecord::load(directory.path()).unwrap();
        EgressRecord::keep_guard(directory.path(), &EgressTable::default()).unwrap();
        EgressRecord::keep_guard(directory.path(), &table(false)).unwrap();
        assert_eq!(record(), None, "nothing is to be guarded");
        EgressRecord::keep_guard(directory.path(), &table(true)).unwrap();
        EgressRecord::keep_landing(directory.path(), LANDING, "eth0").unwrap();
        let found = record().unwrap();
        assert!(found.guard.groups[0].strict && !found.guard.groups[0].arrived);
        assert!(found.guard.reset.is_empty(), "a host that boots resets nothing");
        assert_eq!(found.added().unwrap(), [(LANDING, "eth0".to_owned())].into());
        EgressRecord::keep_guard(directory.path(), &EgressTable::default()).unwrap();
        assert!(record().unwrap().guard.is_empty());
        assert_eq!(record().unwrap().landings.len(), 1);
    }

    #[test]
    fn landing_addresses_of_an_earlier_boot_are_gone_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let earlier = EgressRecord {
            boot: "earlier".to_owned(),
            landings: [(LANDING, "eth0".to_owned())].into(),
            ..EgressRecord::default()
        };
        assert!(earlier.added().unwrap().is_empty());
        earlier.save(directory.path()).unwrap();
        let other = Ipv4Addr::new(10, 0, 0, 202);
        EgressRecord::keep_landing(directory.path(), other, "eth0").unwrap();
        let found = EgressRecord::load(directory.path()).unwrap().unwrap();
        assert_eq!(found.added().unwrap(), [(other, "eth0".to_owned())].into());
    }

    #[test]
    fn a_damaged_record_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        let error = EgressRecord::load(directory.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("remove it"), "{error}");
    }
}
