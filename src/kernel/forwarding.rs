//! For the monitor: does this host still forward as `natha setup` left it, and if not, make it so
//! again. Both go by the plan in the journal and ask neither EC2 nor the metadata.

use std::path::Path;

use super::addresses::AddressError;
use super::apply::{Applier, ApplyError};
use super::facts;
use super::journal::{self, JournalError, JournalStore};
use super::nft::{Nft, NftError};
use super::run::RunError;
use super::sysctl::SysctlError;
use crate::plan::{HostFacts, HostPlan, Item, ItemState, Subject, Sysctl, diff};

/// Why it could not be found out, or made so.
#[derive(Debug, thiserror::Error)]
pub enum ForwardingError {
    /// Setup has not been run.
    #[error("this host is not set up: run `natha setup`")]
    NotSetUp,
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The nft program is not there.
    #[error(transparent)]
    Run(#[from] RunError),
    /// nft failed.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// A sysctl failed.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The addresses could not be read.
    #[error(transparent)]
    Addresses(#[from] AddressError),
    /// A change failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// What has drifted of that without which nothing is forwarded: the table, `ip_forward` and the
/// interfaces' `forwarding`. Empty when all is well. Takes two runs of nft, some 5 ms.
///
/// # Errors
/// Where it cannot be found out. That is no proof that this host does not forward.
pub async fn check_forwarding(state_dir: &Path) -> Result<Vec<Item>, ForwardingError> {
    let mut plan = journal::last_plan(state_dir)?.ok_or(ForwardingError::NotSetUp)?;
    plan.sysctls.retain(Sysctl::forwards);
    plan.addresses.clear();
    drifted(&plan, &Nft::find()?).await
}

/// What has drifted of the table, of all sysctls and of the addresses. Empty when all is well.
///
/// # Errors
/// Where it cannot be found out.
pub async fn check_plan(state_dir: &Path) -> Result<Vec<Item>, ForwardingError> {
    let plan = journal::last_plan(state_dir)?.ok_or(ForwardingError::NotSetUp)?;
    drifted(&plan, &Nft::find()?).await
}

/// Makes the table, the sysctls and the addresses again what the plan says, and returns what was
/// changed. A step that fails leaves those before it in place: each of them is part of the plan.
///
/// # Errors
/// Where a step fails.
pub async fn reassert(state_dir: &Path) -> Result<Vec<Item>, ForwardingError> {
    let store = JournalStore::open(state_dir)?;
    let mut applier = Applier::new(Nft::find()?, store)?;
    let plan = applier.last_plan().cloned().ok_or(ForwardingError::NotSetUp)?;
    let items = drifted(&plan, &applier.nft).await?;
    let mut changed = applier.kernel(&plan, &items).await?;
    changed.retain(|item| item.standing == ItemState::Differs);
    applier.finish(&plan)?;
    Ok(changed)
}

async fn drifted(plan: &HostPlan, nft: &Nft) -> Result<Vec<Item>, ForwardingError> {
    let facts = HostFacts {
        sysctls: facts::readings(&plan.sysctls)?,
        table: nft.table().await?,
        own: facts::own().await?,
        ..HostFacts::default()
    };
    let mut items = diff(plan, &facts);
    items.retain(|item| {
        item.standing != ItemState::Right
            && item.standing != ItemState::NotSettable
            && !matches!(item.subject, Subject::SourceDestCheck(_))
    });
    Ok(items)
}
