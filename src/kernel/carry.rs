//! Makes the host accept packets to the addresses of the groups that it must carry, and of no
//! others.
//!
//! Addresses that natha adds are recorded in a file before they are added, so that a run that dies
//! leaves nothing unknown to the next one. The record counts only in the boot in which it was
//! written: a reboot removes everything that it lists.
//!
//! Addresses that other programs added stay, with one exception: a private IP of a group is natha's
//! by the settings, and nothing answers on it here while EC2 has it at another node. At boot, a
//! system may add all private IPs that the instance metadata lists, before natha does
//! (amazon-ec2-net-utils, cloud-init), and keep them after they have moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::addresses::{self, AddressError};
use super::durable;
use super::journal::{JournalError, boot_id};
use super::lock::FileLock;
use super::nft::{Nft, NftError};
use super::run::RunError;
use crate::config::{GroupSetting, Local};
use crate::plan::{Carried, LOOPBACK, NftTable, Primaries, VipTable, carried, vip_table};
use crate::types::GroupName;

/// How long to wait for another run on this host.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// Why an address could not be carried or removed.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// A file could not be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The record of what natha added cannot be parsed.
    #[error(
        "{} is damaged: remove the addresses of groups that this node does not hold \
         (`ip address`), then the file", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The error at its position.
        #[source]
        source: serde_json::Error,
    },
    /// Another run holds the lock.
    #[error("{} is locked: another `natha` is changing this host's addresses", .0.display())]
    Busy(PathBuf),
    /// The id of this boot could not be read.
    #[error(transparent)]
    Boot(#[from] JournalError),
    /// An address failed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The nft program is not installed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// nft failed.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// An address was added and is gone.
    #[error("{0} was added and is gone again: another program removes it")]
    Vanished(Carried),
    /// This host has an address of a group that another node holds, and natha did not add it.
    #[error(
        "another node holds group {group}, but {part} is on this host and natha did not add it: \
         remove it (`ip address delete {}/{} dev {}`) or, to keep it, set local = \"off\" for \
         the group", own.address, own.prefix, own.link
    )]
    Stray {
        /// The address and its interface.
        part: Carried,
        /// The same as it was read.
        own: addresses::Own,
        /// The group.
        group: GroupName,
    },
}

/// The record of what natha added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CarriedRecord {
    /// The kernel's id of the boot in which it was written.
    boot: String,
    /// What natha added.
    put: BTreeSet<Carried>,
    /// Whether natha loaded its table.
    table: bool,
}

/// One change of what the host carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedChange {
    /// The address or redirection.
    pub part: Carried,
    /// Whether it was added (true) or removed.
    pub present: bool,
}

impl fmt::Display for CarriedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.present { "added" } else { "removed" };
        write!(f, "{} {what}", self.part)
    }
}

/// The result of [`reconcile`]. A failure does not keep the other changes from being made.
#[derive(Debug, Default)]
pub struct CarryOutcome {
    /// The changes that were made.
    pub changes: Vec<CarriedChange>,
    /// What failed.
    pub errors: Vec<CarryError>,
}

/// Makes the host carry what follows from `must_carry`, see [`carried`]: addresses by rtnetlink,
/// the table by nft, which is not needed if no group is redirected. `primaries` are the primary
/// addresses of the host's interfaces, as far as they are known.
///
/// # Errors
/// If the record of what natha added cannot be read. Nothing is changed then.
pub async fn reconcile(
    state_dir: &Path,
    groups: &[GroupSetting],
    must_carry: &BTreeMap<GroupName, bool>,
    forwarding: &str,
    primaries: &Primaries,
) -> Result<CarryOutcome, CarryError> {
    let store = CarryStore::open(state_dir).await?;
    let mut record = store.load()?;
    let wanted = carried(groups, must_carry, forwarding, &record.put);
    let mut outcome = CarryOutcome::default();
    update_addresses(&store, &mut record, &wanted, &mut outcome).await?;
    let table = vip_table(groups, forwarding, primaries, &wanted);
    if let Err(error) = update_table(&store, &mut record, &wanted, &table, &mut outcome).await {
        outcome.errors.push(error);
    }
    clear_strays(&record.put, groups, must_carry, &mut outcome).await?;
    Ok(outcome)
}

/// Deals with addresses on this host of groups that other nodes hold and that natha did not add.
/// Local programs that connect to such a group reach this host instead. Private IPs are removed:
/// EC2 delivers no packets for them here. Virtual IPs are only reported: another program may have
/// them here on purpose, and so are addresses of `lo`.
async fn clear_strays(
    put: &BTreeSet<Carried>,
    groups: &[GroupSetting],
    must_carry: &BTreeMap<GroupName, bool>,
    outcome: &mut CarryOutcome,
) -> Result<(), CarryError> {
    let elsewhere: Vec<&GroupSetting> = groups
        .iter()
        .filter(|group| group.local != Local::Off && must_carry.get(&group.name) == Some(&false))
        .collect();
    let groups = || elsewhere.iter().copied();
    let vips: BTreeMap<Ipv4Addr, &GroupName> =
        groups().flat_map(|group| group.vips().map(|one| (one, &group.name))).collect();
    let private: BTreeMap<Ipv4Addr, &GroupName> =
        groups().flat_map(|group| group.private_ips().map(|one| (one, &group.name))).collect();
    if vips.is_empty() && private.is_empty() {
        return Ok(());
    }
    for own in addresses::read().await? {
        let part = Carried::Address { link: own.link.clone(), address: own.address };
        let group = vips.get(&own.address).or_else(|| private.get(&own.address));
        let Some(group) = group.filter(|_| !put.contains(&part)) else { continue };
        if !private.contains_key(&own.address) || own.link == LOOPBACK {
            outcome.errors.push(CarryError::Stray { part, own, group: (*group).clone() });
            continue;
        }
        match addresses::remove_own(&own).await {
            Ok(true) => outcome.changes.push(CarriedChange { part, present: false }),
            Ok(false) => {}
            Err(error) => outcome.errors.push(error.into()),
        }
    }
    Ok(())
}

/// The addresses that natha added to this host's interfaces.
///
/// # Errors
/// If the record cannot be read.
pub fn put_there(state_dir: &Path) -> Result<BTreeSet<Carried>, CarryError> {
    Ok(load(&state_dir.join(FILE), &boot_id()?)?.put)
}

/// Whether natha ever added anything to this host that may still be there.
#[must_use]
pub fn has_record(state_dir: &Path) -> bool {
    state_dir.join(FILE).exists()
}

async fn update_addresses(
    store: &CarryStore,
    record: &mut CarriedRecord,
    wanted: &BTreeSet<Carried>,
    outcome: &mut CarryOutcome,
) -> Result<(), CarryError> {
    let is_address = |part: &&Carried| matches!(part, Carried::Address { .. });
    if !wanted.iter().chain(&record.put).any(|part| is_address(&part)) {
        return Ok(());
    }
    let own = addresses::read().await?;
    let is_there = |part: &Carried| own.iter().any(|one| one.address == part.address());
    let missing: Vec<Carried> =
        wanted.iter().filter(is_address).filter(|part| !is_there(part)).cloned().collect();
    let surplus: Vec<Carried> =
        record.put.iter().filter(is_address).filter(|p| !wanted.contains(p)).cloned().collect();
    let mut planned = record.clone();
    planned.put.extend(missing.iter().cloned());
    store.update(record, planned)?;
    for part in &missing {
        let Carried::Address { link, address } = part else { continue };
        match addresses::add(link, *address).await {
            Ok(None) => outcome.changes.push(CarriedChange { part: part.clone(), present: true }),
            // Another program has just added it: natha must not remove it.
            Ok(Some(_)) => drop(record.put.remove(part)),
            Err(error) => outcome.errors.push(error.into()),
        }
    }
    let mut left = record.clone();
    for part in &surplus {
        let Carried::Address { link, address } = part else { continue };
        match addresses::remove(link, *address).await {
            Ok(was_there) => {
                left.put.remove(part);
                if was_there {
                    outcome.changes.push(CarriedChange { part: part.clone(), present: false });
                }
            }
            Err(error) => outcome.errors.push(error.into()),
        }
    }
    store.update(&mut *record, left)?;
    if !outcome.changes.is_empty() {
        let now = addresses::read().await?;
        let gone = outcome
            .changes
            .iter()
            .filter(|change| change.present)
            .find(|change| now.iter().all(|one| one.address != change.part.address()));
        outcome.errors.extend(gone.map(|change| CarryError::Vanished(change.part.clone())));
    }
    Ok(())
}

async fn update_table(
    store: &CarryStore,
    record: &mut CarriedRecord,
    wanted: &BTreeSet<Carried>,
    table: &VipTable,
    outcome: &mut CarryOutcome,
) -> Result<(), CarryError> {
    if table.is_empty() && !record.table {
        return Ok(());
    }
    let is_rule = |part: &&Carried| !matches!(part, Carried::Address { .. });
    let rules: BTreeSet<Carried> = wanted.iter().filter(is_rule).cloned().collect();
    let before: BTreeSet<Carried> = record.put.iter().filter(is_rule).cloned().collect();
    let mut planned = record.clone();
    planned.put.extend(rules.iter().cloned());
    planned.table = true;
    store.update(record, planned)?;
    let nft = Nft::find()?;
    if !nft.has(table).await? {
        nft.replace(table).await?;
        // Without a difference another program has changed the table: all of it is loaded again.
        let again = rules.iter().filter(|_| rules == before);
        let put = rules.difference(&before).chain(again).map(|part| (part, true));
        let removed = before.difference(&rules).map(|part| (part, false));
        let change =
            |(part, present): (&Carried, bool)| CarriedChange { part: part.clone(), present };
        outcome.changes.extend(put.chain(removed).map(change));
    }
    let mut left = record.clone();
    left.put.retain(|part| !is_rule(&part) || rules.contains(part));
    left.table = !table.is_empty();
    store.update(record, left)
}

/// The name of the file in the state directory.
const FILE: &str = "carried.json";

/// The record's file, locked: no other run changes it while this value lives.
struct CarryStore {
    path: PathBuf,
    boot: String,
    _lock: FileLock,
}

impl CarryStore {
    async fn open(directory: &Path) -> Result<Self, CarryError> {
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| CarryError::Io { doing, path, source }
        };
        durable::make_directory(directory).map_err(io("use the directory", directory))?;
        let path = directory.join("carried.lock");
        let lock = FileLock::acquire(&path, Instant::now() + LOCK_LIMIT).await;
        let lock = lock.map_err(io("lock", &path))?.ok_or(CarryError::Busy(path))?;
        Ok(Self { path: directory.join(FILE), boot: boot_id()?, _lock: lock })
    }

    fn load(&self) -> Result<CarriedRecord, CarryError> {
        load(&self.path, &self.boot)
    }

    /// Saves `fresh` if it differs from `record`, which it then replaces.
    fn update(&self, record: &mut CarriedRecord, fresh: CarriedRecord) -> Result<(), CarryError> {
        if *record != fresh {
            self.save(&fresh)?;
            *record = fresh;
        }
        Ok(())
    }

    fn save(&self, record: &CarriedRecord) -> Result<(), CarryError> {
        let failed = |source| CarryError::Io { doing: "write", path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(record).map_err(|error| failed(error.into()))?;
        durable::replace(&self.path, &text).map_err(failed)
    }
}

/// The record of this boot; empty if there is none.
fn load(path: &Path, boot: &str) -> Result<CarriedRecord, CarryError> {
    let nothing = || CarriedRecord { boot: boot.to_owned(), put: BTreeSet::new(), table: false };
    let text = match durable::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(nothing()),
        Err(source) => {
            return Err(CarryError::Io { doing: "read", path: path.to_owned(), source });
        }
    };
    let damaged = |source| CarryError::Damaged { path: path.to_owned(), source };
    let record: CarriedRecord = serde_json::from_slice(&text).map_err(damaged)?;
    Ok(if record.boot == boot { record } else { nothing() })
}
