//! For the monitor: checks whether this host still is as `natha setup` left it, and repairs drift.
//! Both use the plan in the journal and need neither EC2 nor the instance metadata.

use std::path::Path;

use ipnet::Ipv4Net;

use super::addresses::AddressError;
use super::apply::{Applier, ApplyError};
use super::facts;
use super::journal::{self, JournalError, JournalStore};
use super::nft::{Nft, NftError};
use super::run::RunError;
use super::sysctl::SysctlError;
use crate::plan::{
    HostFacts, HostPlan, Item, ItemState, OtherChain, Subject, Sysctl, TableState, diff,
    endangering,
};

/// Why the host could not be checked or repaired.
#[derive(Debug, thiserror::Error)]
pub enum ForwardingError {
    /// Setup has not been run.
    #[error("this host is not set up: run `natha setup`")]
    NotSetUp,
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The nft program is not installed.
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

/// Drift in what forwarding depends on: the table, `ip_forward` and the interfaces' `forwarding`.
/// Empty if there is none. Runs nft once, which takes a few milliseconds.
///
/// # Errors
/// If the host cannot be checked, which does not prove that it does not forward.
pub async fn check_forwarding(state_dir: &Path) -> Result<Vec<Item>, ForwardingError> {
    let mut plan = journal::last_plan(state_dir)?.ok_or(ForwardingError::NotSetUp)?;
    plan.sysctls.retain(Sysctl::forwards);
    plan.addresses.clear();
    drifted(&plan, &Nft::find()?).await
}

/// Drift in the table, all sysctls and the addresses. Empty if there is none.
///
/// # Errors
/// If the host cannot be checked.
pub async fn check_plan(state_dir: &Path) -> Result<Vec<Item>, ForwardingError> {
    let plan = journal::last_plan(state_dir)?.ok_or(ForwardingError::NotSetUp)?;
    drifted(&plan, &Nft::find()?).await
}

/// Drift in the sysctls and the addresses alone. Runs no program.
///
/// # Errors
/// If the host cannot be checked.
pub async fn check_switches(state_dir: &Path) -> Result<Vec<Item>, ForwardingError> {
    let plan = journal::last_plan(state_dir)?.ok_or(ForwardingError::NotSetUp)?;
    let mut items = compare(&plan, TableState::Absent).await?;
    items.retain(|item| item.subject != Subject::Table);
    Ok(items)
}

/// Other programs' chains that may drop what this host forwards. Empty if it is not a NAT.
///
/// # Errors
/// If nft fails, or the host is not set up.
pub async fn other_chains(state_dir: &Path) -> Result<Vec<OtherChain>, ForwardingError> {
    let plan = journal::last_plan(state_dir)?.ok_or(ForwardingError::NotSetUp)?;
    let others = Nft::find()?.others().await?;
    Ok(endangering(&plan.table, &others).cloned().collect())
}

/// Restores the table, the sysctls and the addresses to the plan and returns what was changed. If
/// the table cannot be restored, nothing else is; if another step fails, the others are done.
///
/// # Errors
/// Of the first step that failed.
pub async fn reassert(state_dir: &Path) -> Result<Vec<Item>, ForwardingError> {
    let store = JournalStore::open(state_dir)?;
    let mut applier = Applier::new(Nft::find()?, store)?;
    let plan = applier.last_plan().cloned().ok_or(ForwardingError::NotSetUp)?;
    let items = drifted(&plan, &applier.nft).await?;
    let mut changed = Vec::new();
    let mut failed = None;
    for item in &items {
        match applier.kernel(&plan, std::slice::from_ref(item)).await {
            Ok(done) => changed.extend(done),
            // Without the table, packets would be forwarded with private addresses.
            Err(error) if item.subject == Subject::Table => return Err(error.into()),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    changed.retain(|item| item.standing == ItemState::Differs);
    applier.finish(&plan)?;
    failed.map_or(Ok(changed), |error| Err(error.into()))
}

/// Adds the VPC's blocks to the plan, and to the sources if `also_sources`, and applies it. Returns
/// whether there was a new one.
///
/// # Errors
/// If there is no plan, or a step fails. A later call then tries again.
pub async fn take_in(
    state_dir: &Path,
    blocks: &[Ipv4Net],
    also_sources: bool,
) -> Result<bool, ForwardingError> {
    let plan = journal::last_plan(state_dir)?.ok_or(ForwardingError::NotSetUp)?;
    if plan.with_blocks(blocks, also_sources) == plan {
        return Ok(false);
    }
    let store = JournalStore::open_patiently(state_dir).await?;
    let mut applier = Applier::new(Nft::find()?, store)?;
    let plan = applier.last_plan().ok_or(ForwardingError::NotSetUp)?;
    let plan = plan.with_blocks(blocks, also_sources);
    let items = drifted(&plan, &applier.nft).await?;
    applier.kernel(&plan, &items).await?;
    applier.finish(&plan)?;
    Ok(true)
}

async fn drifted(plan: &HostPlan, nft: &Nft) -> Result<Vec<Item>, ForwardingError> {
    compare(plan, nft.table().await?).await
}

async fn compare(plan: &HostPlan, table: TableState) -> Result<Vec<Item>, ForwardingError> {
    let facts = HostFacts {
        sysctls: facts::readings(&plan.sysctls)?,
        table,
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
