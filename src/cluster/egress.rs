//! Egress IPs: which private hosts they are for, and where they land on each node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::inventory::Inventory;
use crate::config::{EgressMode, GroupSetting, Problem, ResourceSetting};
use crate::types::{AllocationId, Egress, InterfaceInfo, Member, RouteTableInfo};

/// The egress IPs of the groups, with the landing addresses that the settings list.
fn wanted(groups: &[GroupSetting]) -> BTreeMap<&AllocationId, &[Ipv4Addr]> {
    let resources = groups.iter().flat_map(|group| &group.resources);
    resources
        .filter_map(|one| match one {
            ResourceSetting::EgressIp { allocation, landing } => Some((allocation, &landing[..])),
            ResourceSetting::Vip { .. }
            | ResourceSetting::PrivateIp { .. }
            | ResourceSetting::Eip { .. }
            | ResourceSetting::Dns { .. } => None,
        })
        .collect()
}

/// Gives each member its landing addresses. `interfaces` are the members' forwarding interfaces, in
/// the same order. What an operator must do goes to `findings`.
pub(super) fn land(
    members: &mut [Member],
    interfaces: &[&InterfaceInfo],
    groups: &[GroupSetting],
    findings: &mut Vec<Problem>,
) {
    let wanted = wanted(groups);
    if wanted.is_empty() {
        return;
    }
    let moved: BTreeSet<Ipv4Addr> = groups.iter().flat_map(GroupSetting::private_ips).collect();
    for (member, interface) in members.iter_mut().zip(interfaces) {
        member.landings = landings(&wanted, &moved, interface);
        let missing = wanted.iter().filter(|(id, _)| !member.landings.contains_key(**id));
        findings.extend(missing.map(|(id, listed)| lacking(member, interface, id, listed)));
    }
}

/// The landing addresses of one node: those that the settings list for it, then, for egress IPs
/// without a list, its other secondary private IPs in order.
fn landings(
    wanted: &BTreeMap<&AllocationId, &[Ipv4Addr]>,
    moved: &BTreeSet<Ipv4Addr>,
    interface: &InterfaceInfo,
) -> BTreeMap<AllocationId, Ipv4Addr> {
    let mut found = BTreeMap::new();
    for (id, listed) in wanted {
        let here = listed.iter().find(|address| interface.secondary.contains(address));
        found.extend(here.map(|address| ((*id).clone(), *address)));
    }
    let listed: BTreeSet<&Ipv4Addr> = wanted.values().copied().flatten().collect();
    let free: BTreeSet<Ipv4Addr> = interface
        .secondary
        .iter()
        .filter(|address| !listed.contains(address) && !moved.contains(address))
        .copied()
        .collect();
    let unlisted = wanted.iter().filter(|(_, listed)| listed.is_empty());
    found.extend(unlisted.zip(free).map(|((id, _), address)| ((*id).clone(), address)));
    found
}

/// The finding about a node that cannot hold an egress IP.
fn lacking(
    member: &Member,
    interface: &InterfaceInfo,
    allocation: &AllocationId,
    listed: &[Ipv4Addr],
) -> Problem {
    let what = if listed.is_empty() {
        format!("has no landing address for egress IP {allocation}, and cannot hold it")
    } else {
        format!("has none of the landing addresses of egress IP {allocation}, and cannot hold it")
    };
    let remedy = format!(
        "assign a secondary private IP to its forwarding interface: `aws ec2 \
         assign-private-ip-addresses --network-interface-id {} \
         --secondary-private-ip-address-count 1`{}",
        interface.id,
        if listed.is_empty() { "" } else { ", and list the address in `landing`" },
    );
    Problem::new(format!("instance {}", member.id), what, remedy)
}

/// What the egress IPs of a group are for: the hosts of its tables' subnets, and what the settings
/// add. Tables whose subnets cannot be known go to `warnings`.
pub(super) fn egress(
    group: &GroupSetting,
    inventory: &Inventory,
    warnings: &mut Vec<Problem>,
) -> Egress {
    if !group.has_egress() {
        return Egress::default();
    }
    let tables: Vec<&RouteTableInfo> =
        inventory.tables.iter().filter(|table| group.tables.contains(&table.id)).collect();
    for table in tables.iter().filter(|table| table.main) {
        warnings.push(Problem::new(
            format!("group {}, route table {}", group.name, table.id),
            "is the VPC's main table: natha does not know the subnets that use it without an \
             association, and does not send their hosts out by the group's egress IPs",
            "associate the subnets with the table, or list their blocks as `egress_sources`",
        ));
    }
    let subnets = tables.iter().flat_map(|table| &table.subnets);
    let blocks = subnets.filter_map(|id| {
        inventory.subnets.iter().find(|subnet| subnet.id == *id).map(|subnet| subnet.cidr)
    });
    let sources: Vec<Ipv4Net> = blocks.chain(group.egress_sources.iter().copied()).collect();
    let mut sources = Ipv4Net::aggregate(&sources);
    sources.sort_unstable();
    Egress { sources, strict: group.egress == EgressMode::Strict }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: [Ipv4Addr; 4] = [
        Ipv4Addr::new(10, 0, 0, 11),
        Ipv4Addr::new(10, 0, 0, 12),
        Ipv4Addr::new(10, 0, 0, 13),
        Ipv4Addr::new(10, 0, 1, 11),
    ];

    fn id(n: u8) -> AllocationId {
        format!("eipalloc-{n:08x}").parse().unwrap()
    }

    fn egress_ip(n: u8, landing: &[Ipv4Addr]) -> ResourceSetting {
        ResourceSetting::EgressIp { allocation: id(n), landing: landing.to_vec() }
    }

    fn group(resources: Vec<ResourceSetting>) -> GroupSetting {
        let name = "a".parse().unwrap();
        let tables = vec!["rtb-00000001".parse().unwrap()];
        let cidr = Ipv4Net::default();
        GroupSetting { resources, ..GroupSetting::of_tables(name, None, tables, cidr) }
    }

    fn interface(secondary: &[Ipv4Addr]) -> InterfaceInfo {
        InterfaceInfo {
            id: "eni-00000001".parse().unwrap(),
            device_index: 0,
            mac: String::new(),
            address: Ipv4Addr::new(10, 0, 0, 10),
            secondary: secondary.to_vec(),
            public: None,
            subnet: "subnet-00000001".parse().unwrap(),
            source_dest_check: false,
        }
    }

    fn landed(resources: Vec<ResourceSetting>, secondary: &[Ipv4Addr]) -> Vec<(u8, Ipv4Addr)> {
        let groups = [group(resources)];
        let moved = groups[0].private_ips().collect();
        let found = landings(&wanted(&groups), &moved, &interface(secondary));
        let numbers = (0..9).filter_map(|n| Some((n, *found.get(&id(n))?)));
        numbers.collect()
    }

    #[test]
    fn egress_ips_without_a_list_land_on_the_secondary_addresses_in_order() {
        let [first, second, third, _] = ADDRESSES;
        let two = || vec![egress_ip(2, &[]), egress_ip(1, &[])];
        assert_eq!(landed(two(), &[third, first, second]), [(1, first), (2, second)]);
        assert_eq!(landed(two(), &[third]), [(1, third)]);
        assert_eq!(landed(two(), &[]), []);
    }

    #[test]
    fn an_address_that_is_listed_or_that_moves_is_given_to_no_other_egress_ip() {
        let [first, second, third, elsewhere] = ADDRESSES;
        let listed = || vec![egress_ip(2, &[elsewhere, first]), egress_ip(1, &[])];
        assert_eq!(landed(listed(), &[first, second]), [(1, second), (2, first)]);
        assert_eq!(landed(listed(), &[second]), [(1, second)], "none of its own is here");
        let mut moving = listed();
        moving.push(ResourceSetting::PrivateIp { address: second });
        assert_eq!(landed(moving, &[first, second, third]), [(1, third), (2, first)]);
    }

    #[test]
    fn a_node_without_a_landing_address_is_a_finding_that_names_its_interface() {
        let member = || Member {
            id: "i-00000001".parse().unwrap(),
            interface: "eni-00000001".parse().unwrap(),
            address: Ipv4Addr::new(10, 0, 0, 10),
            zone: None,
            name: None,
            public: None,
            loses_public: false,
            landings: BTreeMap::new(),
        };
        let mut findings = Vec::new();
        let mut members = [member(), member()];
        let (with, without) = (interface(&ADDRESSES[..1]), interface(&[]));
        let groups = [group(vec![egress_ip(1, &[])])];
        land(&mut members, &[&with, &without], &groups, &mut findings);
        assert_eq!(members[0].landings, [(id(1), ADDRESSES[0])].into());
        assert!(members[1].landings.is_empty());
        let [finding] = findings.try_into().unwrap();
        assert!(finding.remedy.contains("--network-interface-id eni-00000001"), "{finding}");
        land(&mut members, &[&with, &without], &[group(Vec::new())], &mut Vec::new());
    }
}
