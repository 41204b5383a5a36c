//! What groups move besides routes, as the simulated nodes see it in the lab's EC2 and Route 53.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use natha::types::{
    AllocationId, Assignment, CloudFault, CloudFaultKind, DnsName, HostedZoneId, Location,
    Resource, ResourceKind, RouteTarget,
};
use natha_lab::ec2::{AddressSeen, Conduct, Params, PrivateSeen, RecordSeen, XmlBody, change_id};

use super::cluster::Sim;
use super::ec2::refusal;

/// The call that tells who holds these resources, all of one kind.
pub(super) fn listing(resources: &[Resource]) -> &'static str {
    match resources.first().map(Resource::kind) {
        Some(ResourceKind::PrivateIp) => "DescribeNetworkInterfaces",
        Some(ResourceKind::Dns) => "ListResourceRecordSets",
        Some(ResourceKind::Eip) => "DescribeAddresses",
        None | Some(ResourceKind::Route) => unreachable!("routes are read by their tables"),
    }
}

/// The call that gives a resource away, and its parameters.
pub(super) fn request(assignment: &Assignment) -> (&'static str, Params) {
    let Assignment { resource, interface, address, only_if_free } = assignment;
    let to = Params::new().with("NetworkInterfaceId", interface.as_str());
    match resource {
        Resource::PrivateIp { address } => {
            let params = to.with("PrivateIpAddress.1", address);
            ("AssignPrivateIpAddresses", params.with("AllowReassignment", !only_if_free))
        }
        Resource::Eip { allocation, on, .. } => {
            let params = to.with("AllocationId", allocation.as_str());
            let params = params.with("AllowReassociation", true);
            let params = match on {
                Some(on) => params.with("PrivateIpAddress", on),
                None => params,
            };
            ("AssociateAddress", params)
        }
        Resource::EgressIp { allocation, .. } => {
            let params = to.with("AllocationId", allocation.as_str());
            let params = params.with("AllowReassociation", true).with("PrivateIpAddress", address);
            ("AssociateAddress", params)
        }
        Resource::Dns { zone, name, ttl, .. } => {
            let params = Params::new()
                .with("HostedZoneId", zone.as_str())
                .with("Change.1.Action", "UPSERT")
                .with("Change.1.Name", name.as_str())
                .with("Change.1.Type", "A")
                .with("Change.1.TTL", ttl)
                .with("Change.1.Value.1", address);
            ("ChangeResourceRecordSets", params)
        }
        Resource::DefaultRoute { .. } | Resource::Vip { .. } => {
            unreachable!("routes are written by themselves")
        }
    }
}

/// The change that Route 53 has accepted, of which record.
pub(super) fn change(assignment: &Assignment, answer: &XmlBody) -> Option<(Resource, String)> {
    Some((assignment.resource.clone(), change_id(answer)?.to_owned()))
}

type Told = Result<Vec<(Resource, Location)>, CloudFault>;

impl Sim {
    /// Who holds these resources, all of one kind, as natha asks for it.
    pub(super) fn see_holders(
        &mut self,
        by: usize,
        resources: &[Resource],
        conduct: &Conduct,
    ) -> Told {
        match resources.first().map(Resource::kind) {
            Some(ResourceKind::PrivateIp) => self.see_private(by, resources, conduct),
            Some(ResourceKind::Eip) => self.see_elastic(by, resources, conduct),
            Some(ResourceKind::Dns) => self.see_records(by, resources, conduct),
            None | Some(ResourceKind::Route) => unreachable!("routes are read by their tables"),
        }
    }

    fn see_private(&mut self, by: usize, resources: &[Resource], conduct: &Conduct) -> Told {
        let address = |resource: &Resource| match resource {
            Resource::PrivateIp { address } => Some(*address),
            _ => None,
        };
        let addresses: Vec<Ipv4Addr> = resources.iter().filter_map(address).collect();
        let now = self.now.since_boot();
        let found =
            self.see_all("DescribeNetworkInterfaces", &addresses, |sim, wanted, by_id| {
                let seen = sim.world.see_private(&sim.principals[by], wanted, conduct, now)?;
                // Asked for by their ids are the interfaces of the members alone.
                let is_of_member = |one: &PrivateSeen| {
                    sim.members.iter().any(|member| member.interface.as_str() == one.interface)
                };
                Ok(seen.into_iter().filter(|(_, one)| !by_id || is_of_member(one)).collect())
            })?;
        let seen = |resource: &Resource| match found.get(&address(resource)?) {
            None => Some(Location::Vacant),
            Some(PrivateSeen { is_primary: true, interface }) => {
                Some(Location::At(RouteTarget::Other(format!("{interface}, whose primary it is"))))
            }
            Some(PrivateSeen { interface, .. }) => Some(Location::At(interface_named(interface))),
        };
        Ok(resources.iter().filter_map(|one| Some((one.clone(), seen(one)?))).collect())
    }

    fn see_elastic(&mut self, by: usize, resources: &[Resource], conduct: &Conduct) -> Told {
        let id = |resource: &Resource| match resource {
            Resource::Eip { allocation, .. } | Resource::EgressIp { allocation, .. } => {
                Some(allocation.to_string())
            }
            _ => None,
        };
        let ids: Vec<String> = resources.iter().filter_map(id).collect();
        let now = self.now.since_boot();
        let found = self.see_all("DescribeAddresses", &ids, |sim, ids, _| {
            sim.world.see_addresses(&sim.principals[by], ids, conduct, now)
        })?;
        let seen = |resource: &Resource| {
            let Some(found) = id(resource).and_then(|id| found.get(&id)) else {
                return Location::Absent;
            };
            let Some(AddressSeen { interface, private }) = found else { return Location::Vacant };
            match resource {
                Resource::Eip { on, .. } if on.is_none_or(|on| on == *private) => {
                    Location::At(interface_named(interface))
                }
                Resource::EgressIp { allocation, .. } if self.is_landing(allocation, *private) => {
                    Location::At(RouteTarget::Address(*private))
                }
                _ => Location::Vacant,
            }
        };
        Ok(resources.iter().map(|one| (one.clone(), seen(one))).collect())
    }

    /// Whether a member has this landing address for an egress IP.
    fn is_landing(&self, allocation: &AllocationId, address: Ipv4Addr) -> bool {
        self.members.iter().any(|member| member.landings.get(allocation) == Some(&address))
    }

    /// One record after another; the node's own change is asked about before its record.
    fn see_records(&mut self, by: usize, resources: &[Resource], conduct: &Conduct) -> Told {
        let mut told = Vec::new();
        for resource in resources {
            let Resource::Dns { zone, name, .. } = resource else { continue };
            let seen = if self.is_settling(by, resource, conduct)? {
                Location::Pending
            } else {
                self.see_record(by, zone, name, conduct)?
            };
            told.push((resource.clone(), seen));
        }
        Ok(told)
    }

    fn see_record(
        &mut self,
        by: usize,
        zone: &HostedZoneId,
        name: &DnsName,
        conduct: &Conduct,
    ) -> Result<Location, CloudFault> {
        self.calls += 1;
        let (now, caller) = (self.now.since_boot(), &self.principals[by]);
        let (zone, name) = (zone.as_str(), name.as_str());
        match self.world.see_record(caller, zone, name, conduct, now) {
            Ok(None) => Ok(Location::Vacant),
            Ok(Some(RecordSeen { addresses, .. })) => {
                Ok(Location::At(match addresses.as_slice() {
                    [one] => RouteTarget::Address(*one),
                    several => RouteTarget::Other(format!("{} addresses", several.len())),
                }))
            }
            Err(error) => match refusal("ListResourceRecordSets", &error) {
                fault if fault.kind == CloudFaultKind::NotFound => Ok(Location::Absent),
                fault => Err(fault),
            },
        }
    }

    /// Whether the last change of a record by this run of a node's monitor is on its way.
    fn is_settling(
        &mut self,
        by: usize,
        resource: &Resource,
        conduct: &Conduct,
    ) -> Result<bool, CloudFault> {
        let Some(id) = self.nodes[by].changes.get(resource).cloned() else { return Ok(false) };
        self.calls += 1;
        let (now, caller) = (self.now.since_boot(), &self.principals[by]);
        // Only listings are of the past.
        let conduct = Conduct { stale: std::time::Duration::ZERO, ..conduct.clone() };
        let in_sync = self.world.see_in_sync(caller, &id, &conduct, now);
        if !in_sync.map_err(|error| refusal("GetChange", &error))? {
            return Ok(true);
        }
        self.nodes[by].changes.remove(resource);
        Ok(false)
    }
}

/// The changes of records that a run of a monitor has made and that may be on their way.
pub(super) type Changes = BTreeMap<Resource, String>;

pub(super) fn interface_named(id: &str) -> RouteTarget {
    RouteTarget::Interface(id.parse().expect("the lab's ids are interface ids"))
}
