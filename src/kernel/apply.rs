//! Applies one change at a time, and undoes it.

use super::addresses::{self, AddressError};
use super::egress::hold_back;
use super::journal::{InstanceRecord, Journal, JournalEntry, JournalError, JournalStore};
use super::nft::{Nft, NftError};
use super::sysctl::{self, SysctlError};
use crate::plan::{
    HostPlan, Item, ItemState, LOOPBACK, Subject, Sysctl, SysctlKey, TableSpec, TableState,
    diff_sysctl,
};

/// Why a change could not be made or undone.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// nft failed.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// A sysctl failed.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// An address failed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A sysctl is not there.
    #[error(
        "there is no sysctl {0}: the kernel lacks this feature, or its module cannot be \
             loaded"
    )]
    NoSuchSysctl(SysctlKey),
    /// A sysctl has a wrong value and cannot be set.
    #[error(
        "the sysctl {key} is {found} and must be {wanted}, but cannot be set from here: set \
             it on the host that this container or network namespace runs on"
    )]
    Stuck { key: SysctlKey, found: String, wanted: String },
    /// The journal has a value that is not a number.
    #[error("the undo journal has `{text}` for {key}, which is not a number")]
    BadOriginal { key: SysctlKey, text: String },
}

/// The result of undoing one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undone {
    /// The original state is restored.
    Restored,
    /// The original state was already there.
    Already,
    /// Another program has changed it since: it has neither natha's value nor the original one, and
    /// stays as it is.
    LeftAlone {
        /// The present value.
        found: String,
    },
}

/// A run that changes the host. Each change is preceded by its journal entry.
#[derive(Debug)]
pub(crate) struct Applier {
    pub(crate) nft: Nft,
    store: JournalStore,
    /// The journal at the start of this run.
    before: Option<Journal>,
    journal: Journal,
    /// What this run has changed, with the values from just before.
    done: Vec<JournalEntry>,
}

impl Applier {
    pub(crate) fn new(nft: Nft, store: JournalStore) -> Result<Self, JournalError> {
        let before = store.load()?;
        let journal = before.clone().unwrap_or_else(|| store.begin());
        Ok(Self { nft, store, before, journal, done: Vec::new() })
    }

    /// The plan that was last applied to the host.
    #[must_use]
    pub(crate) fn last_plan(&self) -> Option<&HostPlan> {
        self.journal.plan.as_ref()
    }

    /// Records a change in the journal. On an error the change must not be made.
    pub(crate) fn record(
        &mut self,
        subject: &Subject,
        original: Option<String>,
        set: &str,
    ) -> Result<(), JournalError> {
        self.journal.record(subject, original.clone(), set.to_owned());
        self.store.save(&self.journal)?;
        self.done.push(JournalEntry { subject: subject.clone(), original, set: set.to_owned() });
        Ok(())
    }

    /// Applies the table, the sysctls and the addresses of the plan, as far as `items` say that
    /// they differ. Hosts of strict groups are held back before the table translates. Returns the
    /// state of each item just before its change.
    ///
    /// # Errors
    /// At the first change that fails. To undo the changes before it, pass [`Self::done`] to
    /// [`Self::undo`].
    pub(crate) async fn kernel(
        &mut self,
        plan: &HostPlan,
        items: &[Item],
    ) -> Result<Vec<Item>, ApplyError> {
        let mut changed = Vec::new();
        for item in items.iter().filter(|item| item.standing == ItemState::Differs) {
            match &item.subject {
                Subject::Table => {
                    self.record(&item.subject, item.found.clone(), &item.wanted)?;
                    hold_back(self.store.directory(), &self.nft).await;
                    self.nft.replace(&plan.table).await?;
                    changed.push(item.clone());
                }
                Subject::Sysctl(key) => {
                    let wanted = plan.sysctls.iter().find(|sysctl| sysctl.key == *key);
                    changed.extend(wanted.map(|s| self.sysctl(s)).transpose()?);
                }
                Subject::Address(address) => {
                    self.record(&item.subject, item.found.clone(), &item.wanted)?;
                    addresses::add(LOOPBACK, *address).await?;
                    changed.push(item.clone());
                }
                Subject::SourceDestCheck(_) => {}
            }
        }
        Ok(changed)
    }

    /// Sets one sysctl. It is read again first: those of connection tracking have only just
    /// appeared, and setting one sysctl can change another.
    fn sysctl(&mut self, wanted: &Sysctl) -> Result<Item, ApplyError> {
        let key = &wanted.key;
        let reading = sysctl::read(key)?.ok_or_else(|| ApplyError::NoSuchSysctl(key.clone()))?;
        let item = diff_sysctl(wanted, Some(&reading));
        match item.standing {
            ItemState::Right | ItemState::NotSettable => Ok(item),
            ItemState::Stuck => Err(ApplyError::Stuck {
                key: key.clone(),
                found: reading.value.to_string(),
                wanted: item.wanted,
            }),
            ItemState::Differs => {
                self.record(&item.subject, item.found.clone(), &item.wanted)?;
                sysctl::write(key, wanted.want.value())?;
                Ok(item)
            }
        }
    }

    /// Has [`Self::finish`] write down for which instance the plan is.
    pub(crate) fn keep_instance(&mut self, instance: &InstanceRecord) {
        self.journal.instance = Some(instance.clone());
    }

    /// Ends a successful run: writes the plan to the journal, unless it is already there.
    pub(crate) fn finish(mut self, plan: &HostPlan) -> Result<(), JournalError> {
        if self.journal.plan.as_ref() == Some(plan) && !self.journal_is_stale() {
            return Ok(());
        }
        self.journal.plan = Some(plan.clone());
        self.store.save(&self.journal)
    }

    /// Whether the file differs from the journal of this boot.
    fn journal_is_stale(&self) -> bool {
        self.before.as_ref() != Some(&self.journal)
    }

    /// What this run has changed so far, latest first.
    #[must_use]
    pub(crate) fn done(&self) -> Vec<JournalEntry> {
        self.done.iter().rev().cloned().collect()
    }

    /// Ends a run whose changes were all undone: restores the journal.
    pub(crate) fn forget(self) -> Result<(), JournalError> {
        match &self.before {
            Some(journal) => self.store.save(journal),
            None => self.store.remove(),
        }
    }

    /// Everything that is left to undo on this host, latest first.
    #[must_use]
    pub(crate) fn undoable(&self) -> Vec<JournalEntry> {
        self.journal.entries.iter().rev().cloned().collect()
    }

    /// Ends a teardown: keeps the entries that could not be undone.
    pub(crate) fn keep(mut self, entries: &[JournalEntry]) -> Result<(), JournalError> {
        if entries.is_empty() {
            return self.store.remove();
        }
        self.journal.entries.retain(|entry| entries.contains(entry));
        self.journal.plan = None;
        self.store.save(&self.journal)
    }

    /// Undoes one change of the table, of a sysctl or of an address, but not of a source/dest
    /// check, which needs EC2. `table` replaces natha's present table, if given.
    pub(crate) async fn undo(
        &self,
        entry: &JournalEntry,
        table: Option<&TableSpec>,
    ) -> Result<Undone, ApplyError> {
        match &entry.subject {
            Subject::Table => match table {
                Some(spec) => self.nft.replace(spec).await.map(|()| Undone::Restored),
                None if self.nft.table().await? == TableState::Absent => Ok(Undone::Already),
                None => self.nft.remove().await.map(|()| Undone::Restored),
            }
            .map_err(ApplyError::from),
            Subject::Sysctl(key) => undo_sysctl(key, entry),
            Subject::Address(address) => {
                let was_there = addresses::remove(LOOPBACK, *address).await?;
                Ok(if was_there { Undone::Restored } else { Undone::Already })
            }
            Subject::SourceDestCheck(_) => Ok(Undone::Already),
        }
    }
}

fn undo_sysctl(key: &SysctlKey, entry: &JournalEntry) -> Result<Undone, ApplyError> {
    let (Some(original), Some(reading)) = (&entry.original, sysctl::read(key)?) else {
        // The sysctl disappeared with its interface.
        return Ok(Undone::Already);
    };
    let found = reading.value.to_string();
    if found == *original {
        return Ok(Undone::Already);
    }
    if found != entry.set {
        return Ok(Undone::LeftAlone { found });
    }
    let value = original
        .parse()
        .map_err(|_| ApplyError::BadOriginal { key: key.clone(), text: original.clone() })?;
    sysctl::write(key, value)?;
    Ok(Undone::Restored)
}
