//! Gathers the facts that the plan is made from.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;

use super::addresses::{self, AddressError};
use super::links::{self, LinksError};
use super::nft::{Nft, NftError};
use super::sysctl::{self, SysctlError};
use crate::plan::{HostFacts, Link, Reading, Sysctl, SysctlKey};

/// Why the facts could not be gathered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FactsError {
    /// The interfaces could not be read.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// nft failed.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// A sysctl could not be read.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The addresses could not be read.
    #[error(transparent)]
    Addresses(#[from] AddressError),
    /// The amount of memory could not be read.
    #[error("cannot read the amount of memory from /proc/meminfo: {0}")]
    Memory(String),
}

/// All facts from the kernel. Those from EC2 are left out.
pub(crate) async fn gather(nft: &Nft) -> Result<HostFacts, FactsError> {
    let (links, routes) = links::read().await?;
    Ok(HostFacts {
        memory: memory()?,
        sysctls: filters(&links)?,
        table: nft.table().await?,
        others: nft.others().await?,
        cloud: None,
        own: own().await?,
        links,
        routes,
    })
}

/// Every IPv4 address of the host, with the interface that has it.
pub(crate) async fn own() -> Result<BTreeMap<Ipv4Addr, String>, AddressError> {
    let found = addresses::read().await?;
    Ok(found.into_iter().map(|own| (own.address, own.link)).collect())
}

/// The sysctls of a plan, as they are now.
pub(crate) fn readings(sysctls: &[Sysctl]) -> Result<BTreeMap<SysctlKey, Reading>, SysctlError> {
    read_all(sysctls.iter().map(|sysctl| sysctl.key.clone()))
}

/// The reverse path filters: which of them are to be changed depends on how they are set.
fn filters(links: &[Link]) -> Result<BTreeMap<SysctlKey, Reading>, SysctlError> {
    let scopes = ["all"].into_iter().chain(links.iter().map(|link| link.name.as_str()));
    read_all(scopes.map(|scope| SysctlKey::conf(scope, "rp_filter")))
}

fn read_all(
    keys: impl Iterator<Item = SysctlKey>,
) -> Result<BTreeMap<SysctlKey, Reading>, SysctlError> {
    let mut found = BTreeMap::new();
    for key in keys {
        if let Some(reading) = sysctl::read(&key)? {
            found.insert(key, reading);
        }
    }
    Ok(found)
}

/// `MemTotal`, in bytes.
pub(crate) fn memory() -> Result<u64, FactsError> {
    let text =
        fs::read_to_string("/proc/meminfo").map_err(|e| FactsError::Memory(e.to_string()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| FactsError::Memory("it has no MemTotal line".to_owned()))
}
