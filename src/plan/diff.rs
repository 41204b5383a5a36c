//! The differences between the plan and the host.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{HostFacts, HostPlan, LOOPBACK, NftTable, Reading, Sysctl, SysctlKey, TableState};
use crate::types::NetworkInterfaceId;

/// A part of the host that the plan covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The nft table `ip natha`.
    Table,
    /// A kernel parameter below `/proc/sys`.
    Sysctl(SysctlKey),
    /// An address of `lo`, so that this host accepts packets for it.
    Address(Ipv4Addr),
    /// The source/dest check of a network interface.
    SourceDestCheck(NetworkInterfaceId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("nft table ip natha"),
            Self::Sysctl(key) => key.fmt(f),
            Self::Address(address) => write!(f, "interface with {address}"),
            Self::SourceDestCheck(interface) => write!(f, "source/dest check of {interface}"),
        }
    }
}

/// How an item compares with the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemState {
    /// As planned.
    Right,
    /// Not as planned; can be changed.
    Differs,
    /// Not as planned and read-only here; the host works, with less capacity.
    NotSettable,
    /// Not as planned and read-only here; the host cannot work.
    Stuck,
}

/// A part of the host, its current value and its planned value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The part of the host.
    pub subject: Subject,
    /// The current value; `None` if absent.
    pub found: Option<String>,
    /// The planned value.
    pub wanted: String,
    /// How the two compare.
    pub standing: ItemState,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.as_deref().unwrap_or("absent");
        write!(f, "{} is {found}, should be {}", self.subject, self.wanted)
    }
}

/// Compares the plan with the facts. The items are in the order in which they must be changed: the
/// table, the sysctls with forwarding last, the addresses, then the source/dest checks. Until those
/// are off, the VPC delivers only packets for this host's own addresses.
#[must_use]
pub fn diff(plan: &HostPlan, facts: &HostFacts) -> Vec<Item> {
    let mut items: Vec<Item> = table(plan, &facts.table).into_iter().collect();
    items.extend(plan.sysctls.iter().map(|s| sysctl(s, facts.sysctls.get(&s.key))));
    items.extend(plan.addresses.iter().map(|address| {
        let found = facts.own.get(address).cloned();
        Item {
            subject: Subject::Address(*address),
            // The host accepts packets for the address whichever interface has it.
            standing: standing(found.is_some()),
            found,
            wanted: LOOPBACK.to_owned(),
        }
    }));
    items.extend(plan.unchecked.iter().map(|unchecked| {
        let attached = facts.cloud.iter().flat_map(|cloud| &cloud.interfaces);
        let check = attached
            .filter(|interface| interface.id == unchecked.interface)
            .find_map(|interface| interface.source_dest_check);
        Item {
            subject: Subject::SourceDestCheck(unchecked.interface.clone()),
            found: check.map(|on| if on { "on" } else { "off" }.to_owned()),
            wanted: "off".to_owned(),
            standing: standing(check == Some(false)),
        }
    }));
    items
}

fn standing(right: bool) -> ItemState {
    if right { ItemState::Right } else { ItemState::Differs }
}

/// The item for the table; `None` if the table is absent and should be.
fn table(plan: &HostPlan, state: &TableState) -> Option<Item> {
    let digest = plan.table.digest();
    let gone = plan.table.is_empty();
    let (found, right) = match state {
        TableState::Absent if gone => return None,
        TableState::Absent => (None, false),
        TableState::Present(listing) if listing.is(&digest) => (Some(digest.to_string()), true),
        TableState::Present(listing) => match &listing.seal {
            Some((made_from, _)) if listing.intact() => (Some(made_from.to_string()), false),
            _ => (Some("changed by another program".to_owned()), false),
        },
    };
    let standing = standing(right);
    let wanted = if gone { "absent".to_owned() } else { digest.to_string() };
    Some(Item { subject: Subject::Table, found, wanted, standing })
}

/// The item for one sysctl. An absent sysctl counts as [`ItemState::Differs`]: those of connection
/// tracking appear when the table is loaded.
#[must_use]
pub fn sysctl(wanted: &Sysctl, reading: Option<&Reading>) -> Item {
    let standing = match reading {
        Some(r) if wanted.want.accepts(r.value) => ItemState::Right,
        Some(r) if !r.settable && wanted.optional => ItemState::NotSettable,
        Some(r) if !r.settable => ItemState::Stuck,
        _ => ItemState::Differs,
    };
    Item {
        subject: Subject::Sysctl(wanted.key.clone()),
        found: reading.map(|r| r.value.to_string()),
        wanted: wanted.want.value().to_string(),
        standing,
    }
}
