//! What is not as planned.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{HostFacts, HostPlan, LOOPBACK, NftTable, Reading, Sysctl, SysctlKey, TableState};
use crate::types::NetworkInterfaceId;

/// One thing that the plan says something about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The nft table.
    Table,
    /// A sysctl.
    Sysctl(SysctlKey),
    /// An address that this host answers on, as one of `lo`.
    Address(Ipv4Addr),
    /// An interface's source/dest check.
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

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As planned.
    Right,
    /// To be changed.
    Differs,
    /// Not as planned, and it cannot be set from here; the host serves, but worse.
    NotSettable,
    /// Not as planned, it cannot be set from here, and the host cannot serve like that.
    Stuck,
}

/// One thing, how it was found and how it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What.
    pub subject: Subject,
    /// As it was found; none where it is not there.
    pub found: Option<String>,
    /// As it should be.
    pub wanted: String,
    /// How it stands.
    pub standing: Standing,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.as_deref().unwrap_or("not there");
        write!(f, "{} is {found}, should be {}", self.subject, self.wanted)
    }
}

/// Compares every part of the plan with the facts, in the order in which it is to be changed: the
/// table, the sysctls with forwarding last, the addresses, and then the source/dest checks, because
/// until those are off the VPC lets nothing through that is not for this host's own addresses.
#[must_use]
pub fn diff(plan: &HostPlan, facts: &HostFacts) -> Vec<Item> {
    let mut items: Vec<Item> = table(plan, &facts.table).into_iter().collect();
    items.extend(plan.sysctls.iter().map(|s| sysctl(s, facts.sysctls.get(&s.key))));
    items.extend(plan.addresses.iter().map(|address| {
        let found = facts.own.get(address).cloned();
        Item {
            subject: Subject::Address(*address),
            // On whichever interface it is, the host answers on it.
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

fn standing(right: bool) -> Standing {
    if right { Standing::Right } else { Standing::Differs }
}

/// How the table stands; none where there is none and should be none.
fn table(plan: &HostPlan, state: &TableState) -> Option<Item> {
    let digest = plan.table.digest();
    let gone = plan.table.is_empty();
    let (found, right) = match state {
        TableState::Absent if gone => return None,
        TableState::Absent => (None, false),
        TableState::Present(listing) if listing.is(&digest) => (Some(digest.to_string()), true),
        TableState::Present(listing) => match &listing.seal {
            Some((made_from, _)) if listing.intact() => (Some(made_from.to_string()), false),
            _ => (Some("changed by someone else".to_owned()), false),
        },
    };
    let standing = standing(right);
    let wanted = if gone { "not there".to_owned() } else { digest.to_string() };
    Some(Item { subject: Subject::Table, found, wanted, standing })
}

/// How one sysctl stands. One that is not there is to be changed: those of connection tracking
/// appear when the table is loaded.
#[must_use]
pub fn sysctl(wanted: &Sysctl, reading: Option<&Reading>) -> Item {
    let standing = match reading {
        Some(r) if wanted.want.accepts(r.value) => Standing::Right,
        Some(r) if !r.settable && wanted.optional => Standing::NotSettable,
        Some(r) if !r.settable => Standing::Stuck,
        _ => Standing::Differs,
    };
    Item {
        subject: Subject::Sysctl(wanted.key.clone()),
        found: reading.map(|r| r.value.to_string()),
        wanted: wanted.want.value().to_string(),
        standing,
    }
}
