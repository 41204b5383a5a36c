//! The addresses and redirections that this host needs to accept packets for the groups it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Primaries, VipTable};
use crate::config::{GroupSetting, Local, ResourceSetting};
use crate::types::GroupName;

/// The loopback interface. An address on it belongs to the host but to none of its networks.
pub const LOOPBACK: &str = "lo";

/// One address or redirection that makes a host accept packets for a group's address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carried {
    /// `address/32` on an interface of the host.
    Address {
        /// Interface name.
        link: String,
        /// Assigned with a prefix length of 32.
        address: Ipv4Addr,
    },
    /// Redirects packets for this address to the primary address of the interface they arrive on.
    Redirect(Ipv4Addr),
    /// Like `Redirect`, but TCP and UDP go to this port.
    Port(Ipv4Addr, u16),
}

impl Carried {
    /// The group's address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        match self {
            Self::Address { address, .. } | Self::Redirect(address) | Self::Port(address, _) => {
                *address
            }
        }
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { link, address } => write!(f, "{address} on {link}"),
            Self::Redirect(address) => write!(f, "redirection of {address}"),
            Self::Port(address, port) => write!(f, "redirection of {address} to port {port}"),
        }
    }
}

/// What a host carries for a group while holding it. `forwarding` is the name of the host's
/// forwarding interface: a private IP belongs to a subnet, so it goes on the interface in that
/// subnet.
#[must_use]
pub fn parts_of(group: &GroupSetting, forwarding: &str) -> BTreeSet<Carried> {
    if group.local == Local::Off {
        return BTreeSet::new();
    }
    let on = |link: &str, address: Ipv4Addr| Carried::Address { link: link.to_owned(), address };
    let part = |resource: &ResourceSetting| match resource {
        ResourceSetting::PrivateIp { address } => Some(on(forwarding, *address)),
        ResourceSetting::Vip { address, .. } => match group.local {
            Local::Lo => Some(on(LOOPBACK, *address)),
            Local::Redirect => Some(Carried::Redirect(*address)),
            Local::Dnat(port) => Some(Carried::Port(*address, port)),
            Local::Off => None,
        },
        // The landing address is the node's own, whether or not it holds the group.
        ResourceSetting::Eip { .. }
        | ResourceSetting::EgressIp { .. }
        | ResourceSetting::Dns { .. } => None,
    };
    group.resources.iter().filter_map(part).collect()
}

/// What this host should carry now.
///
/// `duties` says for each group whether the host must carry it (`true`) or must not (`false`). A
/// group missing from `duties` is undecided and keeps what it has. Entries of `there` that belong
/// to no configured group are left over from earlier settings and are removed.
#[must_use]
pub fn carried(
    groups: &[GroupSetting],
    duties: &BTreeMap<GroupName, bool>,
    forwarding: &str,
    there: &BTreeSet<Carried>,
) -> BTreeSet<Carried> {
    let of_group = |group: &GroupSetting| {
        let parts = parts_of(group, forwarding);
        match duties.get(&group.name) {
            Some(true) => parts,
            Some(false) => BTreeSet::new(),
            None => parts.intersection(there).cloned().collect(),
        }
    };
    groups.iter().flat_map(of_group).collect()
}

/// The nft table for what is carried. A virtual IP that this host could redirect but does not carry
/// is closed: its remaining connections here end instead of continuing alongside the holder's.
#[must_use]
pub fn vip_table(
    groups: &[GroupSetting],
    forwarding: &str,
    primaries: &Primaries,
    carried: &BTreeSet<Carried>,
) -> VipTable {
    let mut table = VipTable::default();
    for part in carried {
        match part {
            Carried::Redirect(address) => drop(table.redirected.insert(*address, None)),
            Carried::Port(address, port) => drop(table.redirected.insert(*address, Some(*port))),
            Carried::Address { .. } => {}
        }
    }
    for part in groups.iter().flat_map(|group| parts_of(group, forwarding)) {
        let is_rule = !matches!(part, Carried::Address { .. });
        if is_rule && !table.redirected.contains_key(&part.address()) {
            table.closed.insert(part.address());
        }
    }
    if !table.redirected.is_empty() {
        table.primaries.clone_from(primaries);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 20, 11);
    const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 200);

    fn group(name: &str, local: Local, resources: Vec<ResourceSetting>) -> GroupSetting {
        let name = name.parse().unwrap();
        let cidr = ipnet::Ipv4Net::default();
        GroupSetting { resources, local, ..GroupSetting::of_tables(name, None, Vec::new(), cidr) }
    }

    fn vip() -> ResourceSetting {
        ResourceSetting::Vip { address: VIP, tables: Vec::new() }
    }

    fn private() -> ResourceSetting {
        ResourceSetting::PrivateIp { address: PRIVATE }
    }

    fn on(link: &str, address: Ipv4Addr) -> Carried {
        Carried::Address { link: link.to_owned(), address }
    }

    fn duty(list: &[(&str, bool)]) -> BTreeMap<GroupName, bool> {
        list.iter().map(|(name, carry)| (name.parse().unwrap(), *carry)).collect()
    }

    #[test]
    fn each_mode_has_its_parts_and_all_but_off_put_a_private_ip_on_its_interface() {
        let parts = |local| parts_of(&group("g", local, vec![vip(), private()]), "ens5");
        let expected = |first| BTreeSet::from([first, on("ens5", PRIVATE)]);
        assert_eq!(parts(Local::Lo), expected(on("lo", VIP)));
        assert_eq!(parts(Local::Redirect), expected(Carried::Redirect(VIP)));
        assert_eq!(parts(Local::Dnat(5432)), expected(Carried::Port(VIP, 5432)));
        assert_eq!(parts(Local::Off), BTreeSet::new());
    }

    #[test]
    fn held_groups_are_carried_others_removed_and_undecided_ones_kept() {
        let groups = [group("a", Local::Lo, vec![vip()]), group("b", Local::Lo, vec![private()])];
        let both = BTreeSet::from([on("lo", VIP), on("ens5", PRIVATE)]);
        let none = BTreeSet::new();
        let now = |duties: &[(&str, bool)], there| carried(&groups, &duty(duties), "ens5", there);
        assert_eq!(now(&[("a", true), ("b", true)], &none), both);
        assert_eq!(now(&[("a", false), ("b", true)], &both), [on("ens5", PRIVATE)].into());
        assert_eq!(now(&[("a", false)], &both), [on("ens5", PRIVATE)].into());
        assert_eq!(now(&[], &none), none);
        assert_eq!(now(&[], &both), both);
    }

    #[test]
    fn leftovers_of_removed_groups_are_removed() {
        let groups = [group("a", Local::Redirect, vec![vip()])];
        let there = BTreeSet::from([on("lo", VIP), on("ens5", PRIVATE), Carried::Redirect(VIP)]);
        assert_eq!(
            carried(&groups, &duty(&[]), "ens5", &there),
            BTreeSet::from([Carried::Redirect(VIP)])
        );
    }

    #[test]
    fn a_virtual_ip_that_could_be_redirected_and_is_not_is_closed() {
        let other = Ipv4Addr::new(192, 168, 20, 12);
        let second = ResourceSetting::Vip { address: other, tables: Vec::new() };
        let groups = [
            group("a", Local::Redirect, vec![vip()]),
            group("b", Local::Dnat(80), vec![second]),
            group("c", Local::Lo, vec![private()]),
        ];
        let primaries = Primaries::from([("ens5".to_owned(), Ipv4Addr::new(10, 0, 1, 10))]);
        let of = |carried: &BTreeSet<Carried>| vip_table(&groups, "ens5", &primaries, carried);
        let table = of(&[Carried::Port(other, 80)].into());
        assert_eq!(table.redirected, BTreeMap::from([(other, Some(80))]));
        assert_eq!(table.primaries, primaries);
        assert_eq!(table.closed, BTreeSet::from([VIP]));
        let nothing = of(&BTreeSet::new());
        assert_eq!((nothing.primaries.len(), nothing.closed.len()), (0, 2));
    }
}
