//! Egress IPs: which private hosts they are for, and where they land on each node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::inventory::{EGRESS_TAG, GROUP_TAG, Inventory};
use crate::config::{EgressMode, GroupSetting, Problem, ResourceSetting};
use crate::types::{
    AllocationId, Egress, ElasticIpInfo, Group, InterfaceInfo, Member, Resource, RouteTableId,
    RouteTableInfo, printable,
};

/// The landing addresses of the cluster's egress IPs.
pub(super) struct Landings<'a> {
    /// Each egress IP, with the landing addresses that the settings list.
    wanted: BTreeMap<&'a AllocationId, &'a [Ipv4Addr]>,
    /// The private IPs that groups move.
    moved: BTreeSet<Ipv4Addr>,
}

impl<'a> Landings<'a> {
    /// Those for the egress IPs of these groups.
    pub(super) fn new(groups: &'a [Group], settings: &'a [GroupSetting]) -> Self {
        let listed = settings.iter().flat_map(|group| &group.resources);
        let listed: BTreeMap<&AllocationId, &[Ipv4Addr]> = listed
            .filter_map(|one| match one {
                ResourceSetting::EgressIp { allocation, landing } => {
                    Some((allocation, &landing[..]))
                }
                ResourceSetting::Vip { .. }
                | ResourceSetting::PrivateIp { .. }
                | ResourceSetting::Eip { .. }
                | ResourceSetting::Dns { .. } => None,
            })
            .collect();
        let of_groups = groups.iter().flat_map(|group| &group.resources).filter_map(|one| {
            let Resource::EgressIp { allocation, .. } = one else { return None };
            Some((allocation, listed.get(allocation).copied().unwrap_or_default()))
        });
        let moved = settings.iter().flat_map(GroupSetting::private_ips).collect();
        Self { wanted: of_groups.collect(), moved }
    }

    /// Gives each member its landing addresses. `interfaces` are the members' forwarding
    /// interfaces, in the same order. What an operator must do goes to `findings`.
    pub(super) fn give(
        &self,
        members: &mut [Member],
        interfaces: &[&InterfaceInfo],
        findings: &mut Vec<Problem>,
    ) {
        for (member, interface) in members.iter_mut().zip(interfaces) {
            member.landings = self.on(interface);
            let missing = self.wanted.iter().filter(|(id, _)| !member.landings.contains_key(**id));
            findings.extend(missing.map(|(id, listed)| lacking(member, interface, id, listed)));
        }
    }

    /// How many landing addresses a member lacks for the egress IPs without a list.
    pub(super) fn unassigned(&self, member: &Member) -> usize {
        let missing = |(id, listed): &(&&AllocationId, &&[Ipv4Addr])| {
            listed.is_empty() && !member.landings.contains_key(**id)
        };
        self.wanted.iter().filter(missing).count()
    }

    /// The landing addresses on one interface: those that the settings list for it, then, for
    /// egress IPs without a list, its other secondary private IPs in order.
    fn on(&self, interface: &InterfaceInfo) -> BTreeMap<AllocationId, Ipv4Addr> {
        let mut found = BTreeMap::new();
        for (id, listed) in &self.wanted {
            let here = listed.iter().find(|address| interface.secondary.contains(address));
            found.extend(here.map(|address| ((*id).clone(), *address)));
        }
        let listed: BTreeSet<&Ipv4Addr> = self.wanted.values().copied().flatten().collect();
        let free: BTreeSet<Ipv4Addr> = interface
            .secondary
            .iter()
            .filter(|address| !listed.contains(address) && !self.moved.contains(address))
            .copied()
            .collect();
        let unlisted = self.wanted.iter().filter(|(_, listed)| listed.is_empty());
        found.extend(unlisted.zip(free).map(|((id, _), address)| ((*id).clone(), address)));
        found
    }
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
    let before = if listed.is_empty() {
        "its monitor has EC2 assign one if the role and the instance type allow it. Else assign"
    } else {
        "assign"
    };
    let remedy = format!(
        "{before} a secondary private IP to its forwarding interface: `aws ec2 \
         assign-private-ip-addresses --network-interface-id {} \
         --secondary-private-ip-address-count 1`{}",
        interface.id,
        if listed.is_empty() { "" } else { ", and list the address in `landing`" },
    );
    Problem::new(format!("instance {}", member.id), what, remedy)
}

/// Gives groups of tagged tables the Elastic IPs that are tagged for them. `interfaces` are the
/// members' forwarding interfaces. Wrong tags go to `warnings`.
pub(super) fn tagged(
    groups: &mut [Group],
    interfaces: &[&InterfaceInfo],
    inventory: &Inventory,
    warnings: &mut Vec<Problem>,
) {
    let Some(addresses) = &inventory.tagged_elastic else {
        warnings.push(Problem::new(
            format!("Elastic IPs with the tag {GROUP_TAG}"),
            "cannot be read: the nodes' role does not allow ec2:DescribeAddresses",
            "allow what `natha policy` prints; without egress IPs, ignore this",
        ));
        return;
    };
    for address in addresses {
        let subject = format!("Elastic IP {}", address.id);
        match group_of(address, groups, interfaces) {
            Ok(group) => {
                let (allocation, address) = (address.id.clone(), address.address);
                group.resources.push(Resource::EgressIp { allocation, address });
            }
            Err((what, remedy)) => warnings.push(Problem::new(subject, what, remedy)),
        }
    }
    for group in groups {
        let allocations = group.resources.iter().filter_map(|resource| match resource {
            Resource::EgressIp { allocation, .. } => Some(allocation),
            _ => None,
        });
        let own: BTreeSet<&AllocationId> = allocations.collect();
        if own.is_empty() {
            continue;
        }
        let own = addresses.iter().filter(|address| own.contains(&address.id));
        let strict = is_strict(&own.collect::<Vec<_>>(), &group.name.to_string(), warnings);
        let routes = group.resources.iter().filter_map(Resource::route);
        let tables: BTreeSet<&RouteTableId> = routes.map(|(table, _)| table).collect();
        let sources = sources(&group.name.to_string(), &tables, inventory, warnings);
        group.egress = Egress { sources: joined(&sources), strict };
        group.resources.sort_by(|a, b| (a.kind(), a).cmp(&(b.kind(), b)));
    }
}

/// The group of a tagged Elastic IP, or why it has none and the remedy.
fn group_of<'a>(
    address: &ElasticIpInfo,
    groups: &'a mut [Group],
    interfaces: &[&InterfaceInfo],
) -> Result<&'a mut Group, (String, String)> {
    let wanted = address.tags.get(GROUP_TAG).map(|tag| tag.trim()).unwrap_or_default();
    if let Some(node) = interfaces.iter().find(|one| one.public == Some(address.address)) {
        return Err((
            format!(
                "is tagged {GROUP_TAG}, but is the public address of the node with {} itself, \
                 which would lose it",
                node.id
            ),
            format!("allocate another one for the group, or remove its tag {GROUP_TAG}"),
        ));
    }
    let names: Vec<String> = groups.iter().map(|group| group.name.to_string()).collect();
    groups.iter_mut().find(|group| group.name.as_str() == wanted).ok_or_else(|| {
        (
            format!("is tagged {GROUP_TAG} = {}, but there is no such group", printable(wanted)),
            format!("use one of {}, or remove the tag", names.join(", ")),
        )
    })
}

/// Whether new connections wait for these egress IPs of one group.
fn is_strict(addresses: &[&ElasticIpInfo], group: &str, warnings: &mut Vec<Problem>) -> bool {
    let mut modes = BTreeSet::new();
    for address in addresses {
        let tag = address.tags.get(EGRESS_TAG).map(|tag| tag.trim());
        modes.insert(match tag {
            None | Some("eager") => false,
            Some("strict") => true,
            Some(other) => {
                warnings.push(Problem::new(
                    format!("Elastic IP {}", address.id),
                    format!(
                        "is tagged {EGRESS_TAG} = {}, which natha does not know; it counts as \
                         strict",
                        printable(other)
                    ),
                    format!("tag it {EGRESS_TAG} = eager or strict"),
                ));
                true
            }
        });
    }
    if modes.len() > 1 {
        warnings.push(Problem::new(
            format!("group {group}"),
            format!("has egress IPs that differ in {EGRESS_TAG}; all of them count as strict"),
            format!("give all egress IPs of the group the same tag {EGRESS_TAG}, or none"),
        ));
    }
    modes.contains(&true)
}

/// What the egress IPs of a group of the settings are for. Tables whose subnets cannot be known go
/// to `warnings`.
pub(super) fn configured(
    group: &GroupSetting,
    inventory: &Inventory,
    warnings: &mut Vec<Problem>,
) -> Egress {
    if !group.has_egress() {
        return Egress::default();
    }
    let tables: BTreeSet<&RouteTableId> = group.tables.iter().collect();
    let mut all = sources(&group.name.to_string(), &tables, inventory, warnings);
    all.extend(&group.egress_sources);
    Egress { sources: joined(&all), strict: group.egress == EgressMode::Strict }
}

/// The blocks of the subnets that use a group's route tables, without overlaps.
pub(super) fn networks(group: &Group, inventory: &Inventory) -> Vec<Ipv4Net> {
    let tables = group.resources.iter().filter_map(|resource| match resource {
        Resource::DefaultRoute { table, .. } => Some(table),
        Resource::Vip { .. }
        | Resource::PrivateIp { .. }
        | Resource::Eip { .. }
        | Resource::EgressIp { .. }
        | Resource::Dns { .. } => None,
    });
    let wanted: BTreeSet<&RouteTableId> = tables.collect();
    let tables = inventory.tables.iter().filter(|table| wanted.contains(&table.id));
    joined(&blocks(tables, inventory))
}

/// The blocks of the subnets that are associated with these tables.
fn blocks<'a>(
    tables: impl Iterator<Item = &'a RouteTableInfo>,
    inventory: &Inventory,
) -> Vec<Ipv4Net> {
    let subnets = tables.flat_map(|table| &table.subnets);
    let blocks = subnets.filter_map(|id| {
        inventory.subnets.iter().find(|subnet| subnet.id == *id).map(|subnet| subnet.cidr)
    });
    blocks.collect()
}

/// The blocks of the subnets of these tables. What cannot be known goes to `warnings`.
fn sources(
    group: &str,
    tables: &BTreeSet<&RouteTableId>,
    inventory: &Inventory,
    warnings: &mut Vec<Problem>,
) -> Vec<Ipv4Net> {
    let tables: Vec<&RouteTableInfo> =
        inventory.tables.iter().filter(|table| tables.contains(&table.id)).collect();
    for table in tables.iter().filter(|table| table.main) {
        warnings.push(Problem::new(
            format!("group {group}, route table {}", table.id),
            "is the VPC's main table: natha does not know the subnets that use it without an \
             association, and does not send their hosts out by the group's egress IPs",
            "associate the subnets with the table, or list their blocks as `egress_sources`",
        ));
    }
    blocks(tables.into_iter(), inventory)
}

/// Networks in order, without overlaps.
fn joined(networks: &[Ipv4Net]) -> Vec<Ipv4Net> {
    let mut joined = Ipv4Net::aggregate(&networks.to_vec());
    joined.sort_unstable();
    joined
}

#[cfg(test)]
#[path = "egress_tests.rs"]
mod tests;
