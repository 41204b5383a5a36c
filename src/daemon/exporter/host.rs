//! Reads the kernel and the network driver on request.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Settings;
use crate::daemon::carrier::MustCarry;
use crate::daemon::health::{allowances, conntrack};
use crate::kernel::nft::Nft;
use crate::kernel::{addresses, journal, links};
use crate::metrics::{ConntrackReading, HostReading, LinkReading};
use crate::plan::{Carried, HostPlan, Passing, parts_of};
use crate::types::GroupName;

/// What takes longer is left out: Prometheus waits 10 s by default.
const LIMIT: Duration = Duration::from_secs(4);

/// Reads the host.
#[derive(Debug)]
pub(super) struct HostReader {
    state_dir: PathBuf,
    is_nat: bool,
    /// The addresses that the host has while it must carry a group.
    addresses: BTreeMap<GroupName, BTreeSet<Ipv4Addr>>,
    must_carry: Option<watch::Receiver<MustCarry>>,
}

impl HostReader {
    /// `must_carry`: which groups this host must carry, if any has an address.
    pub(super) fn new(settings: &Settings, must_carry: Option<watch::Receiver<MustCarry>>) -> Self {
        let address = |part: Carried| match part {
            Carried::Address { address, .. } => Some(address),
            Carried::Redirect(_) | Carried::Port(..) => None,
        };
        let addresses = settings.groups.iter().map(|group| {
            let parts = parts_of(group, "").into_iter();
            (group.name.clone(), parts.filter_map(address).collect::<BTreeSet<_>>())
        });
        Self {
            state_dir: settings.state_dir.clone(),
            is_nat: settings.is_nat(),
            addresses: addresses.filter(|(_, addresses)| !addresses.is_empty()).collect(),
            must_carry,
        }
    }

    /// Reads everything but the peaks.
    pub(super) async fn read(&self) -> HostReading {
        let (passing, addresses) = tokio::join!(self.passing(), self.matches());
        let links = self.plan().map(|plan| plan.table.links).unwrap_or_default();
        let named = |link: String| read_link(&link).map(|reading| (link, reading));
        HostReading {
            conntrack: read_conntrack(),
            passing,
            links: links.into_iter().filter_map(named).collect(),
            peak: None,
            allowances: if self.is_nat {
                allowances::read(&self.state_dir)
            } else {
                BTreeMap::new()
            },
            addresses,
            memory: read_memory(),
            open_files: read_open_files(),
        }
    }

    /// The interface to the internet, if this host is a NAT and was set up.
    pub(super) fn uplink(&self) -> Option<LinkReading> {
        read_link(&self.plan()?.table.uplink)
    }

    fn plan(&self) -> Option<HostPlan> {
        let plan = self.is_nat.then(|| journal::last_plan(&self.state_dir).ok().flatten());
        plan.flatten()
    }

    /// What natha's table has counted.
    async fn passing(&self) -> Option<Passing> {
        if !self.is_nat {
            return None;
        }
        let read = async { anyhow::Ok(Nft::find()?.passing().await?) };
        match timeout(LIMIT, read).await {
            Ok(Ok(passing)) => Some(passing),
            Ok(Err(error)) => {
                tracing::debug!("no counters of natha's rules: {error:#}");
                None
            }
            Err(_) => None,
        }
    }

    /// Of each group with addresses, whether the host has them exactly if it must. A group of which
    /// too little is known is missing.
    async fn matches(&self) -> BTreeMap<GroupName, bool> {
        let Some(must_carry) = &self.must_carry else { return BTreeMap::new() };
        let Ok(Ok(own)) = timeout(LIMIT, addresses::read()).await else { return BTreeMap::new() };
        let own: BTreeSet<Ipv4Addr> = own.into_iter().map(|own| own.address).collect();
        let due = must_carry.borrow();
        let matches = |(group, addresses): (&GroupName, &BTreeSet<Ipv4Addr>)| {
            let is_due = *due.get(group)?;
            Some((group.clone(), addresses.iter().all(|one| own.contains(one) == is_due)))
        };
        self.addresses.iter().filter_map(matches).collect()
    }
}

/// None while connections are not tracked.
fn read_conntrack() -> Option<ConntrackReading> {
    Some(ConntrackReading {
        entries: conntrack::number("nf_conntrack_count")?,
        limit: conntrack::number("nf_conntrack_max")?,
        statistics: conntrack::statistics().unwrap_or_default(),
    })
}

/// None if there is no such interface.
fn read_link(link: &str) -> Option<LinkReading> {
    let both = |what: &str| {
        let received = links::statistic(link, &format!("rx_{what}"))?;
        Some([received, links::statistic(link, &format!("tx_{what}"))?])
    };
    Some(LinkReading { bytes: both("bytes")?, packets: both("packets")?, drops: both("dropped")? })
}

/// The memory of this process, in bytes (proc_pid_status(5)).
fn read_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

fn read_open_files() -> Option<u64> {
    u64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_open_files() {
        assert!(read_memory().unwrap() > 100_000);
        assert!(read_open_files().unwrap() >= 3);
    }

    #[test]
    fn an_interface_that_is_missing_has_no_reading() {
        assert_eq!(read_link("natha-missing0"), None);
        assert!(read_link("lo").is_some());
    }
}
