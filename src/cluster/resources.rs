//! Makes the resources of a configured group from its settings and what was read, or says why AWS
//! does not support them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::inventory::{Inventory, default_route};
use super::uplinks;
use crate::config::{GroupSetting, Problem, ResourceSetting};
use crate::types::{
    AllocationId, DnsName, HostedZoneId, InstanceInfo, InterfaceInfo, Member, Resource,
    RouteTableId, SubnetInfo, VpcId,
};

/// The number of addresses that AWS reserves at the start of a subnet (VPC user guide, "Subnet
/// sizing"): network, router, resolver, and one for future use. It also reserves the last one.
const RESERVED: u32 = 4;

/// What resources are made from, in addition to the settings.
pub(super) struct Context<'a> {
    pub(super) vpc: &'a VpcId,
    pub(super) members: &'a [Member],
    /// The instance of each member.
    pub(super) instances: Vec<&'a InstanceInfo>,
    /// The forwarding interface of each member, in the same order.
    pub(super) interfaces: Vec<&'a InterfaceInfo>,
    pub(super) inventory: &'a Inventory,
}

impl Context<'_> {
    /// What a group moves, ordered by kind. Impossible resources go to `refused`.
    pub(super) fn resources(
        &self,
        group: &GroupSetting,
        warnings: &mut Vec<Problem>,
        refused: &mut Vec<Problem>,
    ) -> Vec<Resource> {
        let mut found: Vec<Resource> =
            group.tables.iter().map(|table| default_route(table, group.cidr)).collect();
        if uplinks::takes_all(group.cidr) {
            let refusals = group.tables.iter().filter_map(|table| self.refusal(table));
            refused.extend(refusals.map(|Problem { subject, what, remedy, .. }| {
                Problem::new(format!("group {}, {subject}", group.name), what, remedy)
            }));
        }
        for setting in &group.resources {
            let outcome = match setting {
                ResourceSetting::Vip { address, tables } => self.vip(*address, tables),
                ResourceSetting::PrivateIp { address } => self.private_ip(*address),
                ResourceSetting::Eip { allocation, on } => self.public(allocation).map(|address| {
                    let allocation = allocation.clone();
                    vec![Resource::Eip { allocation, address, on: *on }]
                }),
                ResourceSetting::EgressIp { allocation, .. } => {
                    self.public(allocation).map(|address| {
                        vec![Resource::EgressIp { allocation: allocation.clone(), address }]
                    })
                }
                ResourceSetting::Dns { zone, name, ttl, public } => {
                    self.dns(zone, name).map(|()| {
                        let (zone, name) = (zone.clone(), name.clone());
                        vec![Resource::Dns { zone, name, ttl: *ttl, public: *public }]
                    })
                }
            };
            match outcome {
                Ok(resources) => found.extend(resources),
                Err((what, remedy)) => {
                    let subject = format!("group {}, {setting}", group.name);
                    refused.push(Problem::new(subject, what, remedy));
                }
            }
            warnings.extend(self.warning(group, setting));
        }
        found.sort_by(|a, b| (a.kind(), a).cmp(&(b.kind(), b)));
        found
    }

    /// Why the default route of this table must not target a node, if it must not.
    fn refusal(&self, table: &RouteTableId) -> Option<Problem> {
        let table = self.inventory.tables.iter().find(|one| one.id == *table)?;
        uplinks::refusal(table, self.instances.iter().copied(), self.inventory)
    }

    /// The routes to a virtual IP: in the listed tables, else in all that have one.
    fn vip(&self, address: Ipv4Addr, tables: &[RouteTableId]) -> Result<Vec<Resource>, Refusal> {
        if let Some(block) =
            self.inventory.vpc_blocks(self.vpc).find(|block| block.contains(&address))
        {
            return Err((
                format!(
                    "{address} is in {block}, an address block of {}: no route can target a single \
                     address of the VPC",
                    self.vpc
                ),
                "choose an address outside the VPC's address blocks and the networks connected to \
                 it; an address of a subnet can move within that subnet as a `private-ip`"
                    .to_owned(),
            ));
        }
        let tables = if tables.is_empty() { self.tables_with(address) } else { tables.to_vec() };
        Ok(tables.into_iter().map(|table| Resource::Vip { table, address }).collect())
    }

    /// The tables of the VPC that have a route to an address.
    fn tables_with(&self, address: Ipv4Addr) -> Vec<RouteTableId> {
        let cidr = Ipv4Net::from(address);
        let all = self.inventory.tables.iter();
        all.filter(|table| table.vpc == *self.vpc && table.routes.contains_key(&cidr))
            .map(|table| table.id.clone())
            .collect()
    }

    fn private_ip(&self, address: Ipv4Addr) -> Result<Vec<Resource>, Refusal> {
        let subnet = self.common_subnet()?;
        if !subnet.cidr.contains(&address) {
            return Err((
                format!("{address} is not in {} ({}), the nodes' subnet", subnet.id, subnet.cidr),
                "choose a free address of that subnet".to_owned(),
            ));
        }
        if is_reserved(subnet.cidr, address) {
            return Err((
                format!(
                    "{address} is one of the five addresses that AWS reserves in {}",
                    subnet.cidr
                ),
                "choose another address; the first four and the last one are reserved".to_owned(),
            ));
        }
        if let Some(member) = self.members.iter().find(|member| member.address == address) {
            return Err((
                format!("{address} is the primary address of {} and cannot move", member.id),
                "choose an address that is not the primary address of an interface".to_owned(),
            ));
        }
        Ok(vec![Resource::PrivateIp { address }])
    }

    /// The subnet that every member's forwarding interface is in.
    fn common_subnet(&self) -> Result<&SubnetInfo, Refusal> {
        let mut all = self.members.iter().zip(&self.interfaces);
        let (first, of_first) = all
            .next()
            .ok_or_else(|| ("the cluster has no members".to_owned(), "start one".to_owned()))?;
        if let Some((other, of_other)) = all.find(|(_, one)| one.subnet != of_first.subnet) {
            return Err((
                format!(
                    "{} is in {} and {} in {}: a private IP cannot leave its subnet, and a subnet \
                     is in one zone",
                    first.id, of_first.subnet, other.id, of_other.subnet
                ),
                "for nodes in several subnets or zones use a `vip` (clients in the VPC), an `eip` \
                 (clients on the internet) or `dns`; or move all nodes to one subnet"
                    .to_owned(),
            ));
        }
        let found = self.inventory.subnets.iter().find(|subnet| subnet.id == of_first.subnet);
        found.ok_or_else(|| {
            let what = format!("EC2 did not return the IPv4 block of {}", of_first.subnet);
            (what, "move the nodes to a subnet with IPv4 addresses".to_owned())
        })
    }

    /// The address of an Elastic IP.
    fn public(&self, allocation: &AllocationId) -> Result<Ipv4Addr, Refusal> {
        self.inventory.elastic.get(allocation).copied().ok_or_else(|| {
            (
                "there is no such Elastic IP in this account and region".to_owned(),
                "correct the allocation id, or allocate an address".to_owned(),
            )
        })
    }

    fn dns(&self, zone: &HostedZoneId, name: &DnsName) -> Result<(), Refusal> {
        let Some(apex) = self.inventory.zones.get(zone) else {
            return Err((
                "there is no such hosted zone in this account".to_owned(),
                "correct the zone's id: `aws route53 list-hosted-zones` lists them".to_owned(),
            ));
        };
        let inside = |apex: &DnsName| {
            let before = name.as_str().strip_suffix(apex.as_str());
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        match apex {
            Some(apex) if !inside(apex) => Err((
                format!("{name} is not in this zone, whose name is {apex}"),
                format!("choose a name that ends in .{apex}, or another zone"),
            )),
            _ => Ok(()),
        }
    }

    /// What the operator should check, although natha works with it.
    fn warning(&self, group: &GroupSetting, setting: &ResourceSetting) -> Option<Problem> {
        let (what, remedy) = match setting {
            ResourceSetting::Vip { address, tables } if tables.is_empty() => {
                if !self.tables_with(*address).is_empty() {
                    return None;
                }
                (
                    format!("no route table of {} has a route to {address}/32", self.vpc),
                    format!(
                        "create it in the tables of the clients' subnets (`aws ec2 create-route \
                         --destination-cidr-block {address}/32 --network-interface-id …`), or list \
                         `tables`"
                    ),
                )
            }
            ResourceSetting::Eip { on: Some(on), .. }
                if !group.private_ips().any(|address| address == *on) =>
            {
                (
                    format!("is to be associated with {on}, which the group does not move"),
                    format!("add a `private-ip` with address {on} to the group, or remove `on`"),
                )
            }
            ResourceSetting::Dns { public: true, .. } => {
                let without: Vec<&str> = self
                    .members
                    .iter()
                    .filter(|member| member.public.is_none())
                    .map(|member| member.id.as_str())
                    .collect();
                if without.is_empty() {
                    return None;
                }
                (
                    format!(
                        "members without a public address, which can never hold it: {}",
                        without.join(", ")
                    ),
                    "give them a public address, or remove `public`".to_owned(),
                )
            }
            ResourceSetting::Vip { .. }
            | ResourceSetting::PrivateIp { .. }
            | ResourceSetting::Eip { .. }
            | ResourceSetting::EgressIp { .. }
            | ResourceSetting::Dns { .. } => return None,
        };
        let subject = format!("group {}, {setting}", group.name);
        Some(Problem::new(subject, what, remedy))
    }
}

/// Why something is impossible, and the remedy.
type Refusal = (String, String);

/// Whether AWS reserves this address of a subnet.
fn is_reserved(subnet: Ipv4Net, address: Ipv4Addr) -> bool {
    let first = u32::from(subnet.network());
    u32::from(address) - first < RESERVED || address == subnet.broadcast()
}

#[cfg(test)]
mod tests;
