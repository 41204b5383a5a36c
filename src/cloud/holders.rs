//! The EC2 client: reads and writes of private and Elastic IPs.
//!
//! EC2 answers a list with a filter from an index that lags. So nothing counts as missing because
//! such a list lacks it: it is asked for by id.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::Ipv4Addr;

use aws_sdk_ec2::operation::describe_addresses::builders::DescribeAddressesFluentBuilder;
use aws_sdk_ec2::types::{Filter, NetworkInterface};

use super::convert::{field, tags};
use super::ec2::{Ec2, MAX_FILTER_VALUES, PAGE_SIZE, Pages, call, filter};
use super::errors::unexpected;
use super::gate::Gate;
use super::writes::{Sent, send, sent};
use crate::types::{
    AllocationId, CloudFault, CloudFaultKind, ElasticIpInfo, Location, NetworkInterfaceId,
    Resource, RouteTarget, VpcId,
};

/// The call that reads Elastic IPs.
const ADDRESSES: &str = "DescribeAddresses";
/// The call that reads private IPs.
const INTERFACES: &str = "DescribeNetworkInterfaces";

/// The known primary private IPs of interfaces.
pub(super) type Primaries = BTreeMap<NetworkInterfaceId, Ipv4Addr>;

/// An Elastic IP as EC2 returns it.
struct Elastic {
    public: Ipv4Addr,
    tags: BTreeMap<String, String>,
    /// The interface it is associated with, and the private IP there.
    at: Option<(NetworkInterfaceId, Option<Ipv4Addr>)>,
    /// The id of the association.
    association: Option<String>,
}

/// What an Elastic IP is associated with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Association {
    /// Its id, `eipassoc-…`.
    pub(crate) id: String,
    pub(crate) interface: NetworkInterfaceId,
    pub(crate) private: Option<Ipv4Addr>,
}

impl Elastic {
    /// Where it points as a resource that belongs on the private IP `on`, or on its holder's
    /// primary one. On an interface whose primary private IP is unknown, any counts: it is not a
    /// member's.
    fn seen(&self, on: Option<Ipv4Addr>, primaries: &Primaries) -> Location {
        let Some((interface, private)) = &self.at else { return Location::Vacant };
        let wanted = on.or_else(|| primaries.get(interface).copied());
        if wanted.is_none() || wanted == *private {
            Location::At(RouteTarget::Interface(interface.clone()))
        } else {
            Location::Vacant
        }
    }

    /// Where it points as an egress IP: the landing address. On another address of a member it is
    /// of no use and counts as vacant.
    fn landed(&self, landings: &BTreeSet<Ipv4Addr>, primaries: &Primaries) -> Location {
        let Some((interface, private)) = &self.at else { return Location::Vacant };
        match private {
            Some(private) if landings.contains(private) => {
                Location::At(RouteTarget::Address(*private))
            }
            _ if primaries.contains_key(interface) => Location::Vacant,
            _ => Location::At(RouteTarget::Interface(interface.clone())),
        }
    }
}

fn info((id, elastic): (AllocationId, Elastic)) -> ElasticIpInfo {
    ElasticIpInfo { id, address: elastic.public, tags: elastic.tags }
}

/// Adds the private IPs of an interface to `found`.
fn note_private(
    interface: &NetworkInterface,
    found: &mut BTreeMap<Ipv4Addr, RouteTarget>,
) -> Result<(), CloudFault> {
    let id = field(INTERFACES, "networkInterfaceId", interface.network_interface_id())?;
    for private in interface.private_ip_addresses() {
        let address = private.private_ip_address();
        let address: Ipv4Addr = field(INTERFACES, "privateIpAddress", address)?;
        let target = if private.primary() == Some(true) {
            RouteTarget::Other(format!("{id}, whose primary address it is"))
        } else {
            RouteTarget::Interface(NetworkInterfaceId::clone(&id))
        };
        let before = found.insert(address, target.clone());
        if let Some(other) = before.filter(|before| *before != target) {
            let text = format!("{address} is on {other} and on {target} at once");
            return Err(unexpected(INTERFACES, text));
        }
    }
    Ok(())
}

/// Reads all of `ids` in one call; if EC2 does not know one of them, which fails the whole call,
/// one by one. What EC2 does not know is missing from the result. No ids, no call.
async fn by_ids<Id: Ord + Clone, T, Answer>(
    ids: &BTreeSet<Id>,
    read: impl Fn(Vec<Id>) -> Answer,
) -> Result<Vec<T>, CloudFault>
where
    Answer: Future<Output = Result<Vec<T>, CloudFault>>,
{
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    match read(ids.iter().cloned().collect()).await {
        Err(fault) if fault.kind == CloudFaultKind::NotFound => {}
        other => return other,
    }
    let mut found = Vec::new();
    for id in ids.iter().filter(|_| ids.len() > 1) {
        match read(vec![id.clone()]).await {
            Err(fault) if fault.kind == CloudFaultKind::NotFound => {}
            other => found.extend(other?),
        }
    }
    Ok(found)
}

impl Ec2 {
    /// Which interfaces of a VPC have these private IPs. (Other VPCs may have the same addresses.)
    /// An address is vacant if the list lacks it and, asked by id, no interface of `members` has
    /// it: a third one may. Fails with `Other` if an address is on two interfaces, which an answer
    /// of several pages can show while the address moves.
    pub(crate) async fn private_ips(
        &self,
        vpc: &VpcId,
        resources: &[Resource],
        members: &BTreeSet<NetworkInterfaceId>,
    ) -> Result<Vec<(Resource, Location)>, CloudFault> {
        let wanted: Vec<(&Resource, Ipv4Addr)> = resources
            .iter()
            .filter_map(|resource| match resource {
                Resource::PrivateIp { address } => Some((resource, *address)),
                _ => None,
            })
            .collect();
        let mut found = BTreeMap::new();
        for some in wanted.chunks(MAX_FILTER_VALUES) {
            self.read_private(vpc, some, &mut found).await?;
        }
        if wanted.iter().any(|(_, address)| !found.contains_key(address)) {
            for (address, target) in self.private_ips_on(members).await? {
                found.entry(address).or_insert(target);
            }
        }
        let seen = |address| found.get(&address).cloned().map_or(Location::Vacant, Location::At);
        Ok(wanted.into_iter().map(|(one, address)| (one.clone(), seen(address))).collect())
    }

    async fn read_private(
        &self,
        vpc: &VpcId,
        wanted: &[(&Resource, Ipv4Addr)],
        found: &mut BTreeMap<Ipv4Addr, RouteTarget>,
    ) -> Result<(), CloudFault> {
        let addresses: Vec<String> = wanted.iter().map(|(_, one)| one.to_string()).collect();
        let named = filter("addresses.private-ip-address", addresses.iter().map(String::as_str));
        let request = self
            .client
            .describe_network_interfaces()
            .filters(filter("vpc-id", [vpc.as_str()]))
            .filters(named)
            .max_results(PAGE_SIZE);
        let mut pages = Pages::new(INTERFACES);
        while pages.more()? {
            let request = request.clone().set_next_token(pages.token());
            let page = call(INTERFACES, request.send()).await?;
            for interface in page.network_interfaces() {
                note_private(interface, found)?;
            }
            pages.after(page.next_token());
        }
        Ok(())
    }

    /// The private IPs of these interfaces, asked for by id. One that EC2 does not know has none.
    pub(super) async fn private_ips_on(
        &self,
        interfaces: &BTreeSet<NetworkInterfaceId>,
    ) -> Result<BTreeMap<Ipv4Addr, RouteTarget>, CloudFault> {
        let mut found = BTreeMap::new();
        for interface in by_ids(interfaces, |ids| self.interfaces_by_id(ids)).await? {
            note_private(&interface, &mut found)?;
        }
        Ok(found)
    }

    /// These interfaces, each of which EC2 must know.
    async fn interfaces_by_id(
        &self,
        ids: Vec<NetworkInterfaceId>,
    ) -> Result<Vec<NetworkInterface>, CloudFault> {
        let names = ids.iter().map(ToString::to_string).collect();
        let request =
            self.client.describe_network_interfaces().set_network_interface_ids(Some(names));
        let answer = call(INTERFACES, request.send()).await?;
        let found = answer.network_interfaces.unwrap_or_default();
        let has = |id: &NetworkInterfaceId| {
            found.iter().any(|one| one.network_interface_id() == Some(id.as_str()))
        };
        match ids.iter().find(|id| !has(id)) {
            Some(id) => Err(unexpected(INTERFACES, format!("{id} is not in the answer"))),
            None => Ok(found),
        }
    }

    /// Which interfaces these Elastic IPs are associated with. One on a private IP other than the
    /// one it belongs to counts as vacant. `primaries` and `landings` are those of the members.
    pub(crate) async fn elastic_ips(
        &self,
        resources: &[Resource],
        primaries: &Primaries,
        landings: &BTreeSet<Ipv4Addr>,
    ) -> Result<Vec<(Resource, Location)>, CloudFault> {
        let ids = resources.iter().filter_map(|resource| match resource {
            Resource::Eip { allocation, .. } | Resource::EgressIp { allocation, .. } => {
                Some(allocation.clone())
            }
            _ => None,
        });
        let found = self.read_elastic(&ids.collect::<Vec<_>>()).await?;
        let seen = |resource: &Resource| match resource {
            Resource::Eip { allocation, on, .. } => {
                Some(found.get(allocation)?.seen(*on, primaries))
            }
            Resource::EgressIp { allocation, .. } => {
                Some(found.get(allocation)?.landed(landings, primaries))
            }
            _ => None,
        };
        let seen = |resource: &Resource| seen(resource).unwrap_or(Location::Absent);
        Ok(resources.iter().map(|one| (one.clone(), seen(one))).collect())
    }

    /// The public addresses of these Elastic IPs. One that does not exist is missing from the
    /// result.
    pub(crate) async fn elastic_addresses(
        &self,
        ids: &[AllocationId],
    ) -> Result<BTreeMap<AllocationId, Ipv4Addr>, CloudFault> {
        let found = self.read_elastic(ids).await?;
        Ok(found.into_iter().map(|(id, elastic)| (id, elastic.public)).collect())
    }

    /// The Elastic IPs that are tagged for a group of this cluster.
    pub(crate) async fn cluster_elastic_ips(
        &self,
        cluster: &str,
    ) -> Result<Vec<ElasticIpInfo>, CloudFault> {
        let tags = vec![filter("tag:natha:cluster", [cluster]), filter("tag-key", ["natha:group"])];
        let found = self.elastic_where(tags).await?;
        Ok(found.into_iter().map(info).collect())
    }

    /// One Elastic IP by its allocation id; none if EC2 does not know it.
    pub(crate) async fn elastic_ip(
        &self,
        id: &AllocationId,
    ) -> Result<Option<ElasticIpInfo>, CloudFault> {
        let found = self.elastic_ip_at(id).await?;
        Ok(found.map(|(info, _)| info))
    }

    /// One Elastic IP by its allocation id, and its association if it has one; none if EC2 does not
    /// know the Elastic IP.
    pub(crate) async fn elastic_ip_at(
        &self,
        id: &AllocationId,
    ) -> Result<Option<(ElasticIpInfo, Option<Association>)>, CloudFault> {
        let found = match self.elastic_by_id(vec![id.clone()]).await {
            Err(error) if error.kind == CloudFaultKind::NotFound => return Ok(None),
            found => found?,
        };
        let lacks = |what| unexpected(ADDRESSES, format!("{what} is not in the answer"));
        let (_, mut elastic) = found.into_iter().next().ok_or_else(|| lacks(id.as_str()))?;
        let association = match elastic.at.take() {
            None => None,
            Some((interface, private)) => {
                let id = elastic.association.take().ok_or_else(|| lacks("associationId"))?;
                Some(Association { id, interface, private })
            }
        };
        Ok(Some((info((id.clone(), elastic)), association)))
    }

    /// These Elastic IPs. One that EC2 does not know is missing from the result.
    async fn read_elastic(
        &self,
        ids: &[AllocationId],
    ) -> Result<BTreeMap<AllocationId, Elastic>, CloudFault> {
        let mut found = BTreeMap::new();
        for some in ids.chunks(MAX_FILTER_VALUES) {
            // By filter first, because an id that does not exist fails a whole call by ids.
            let named = filter("allocation-id", some.iter().map(AllocationId::as_str));
            found.append(&mut self.elastic_where(vec![named]).await?);
            let missing = some.iter().filter(|id| !found.contains_key(*id)).cloned().collect();
            found.extend(by_ids(&missing, |ids| self.elastic_by_id(ids)).await?);
        }
        Ok(found)
    }

    /// These Elastic IPs, each of which EC2 must know.
    async fn elastic_by_id(
        &self,
        ids: Vec<AllocationId>,
    ) -> Result<Vec<(AllocationId, Elastic)>, CloudFault> {
        let names = ids.iter().map(ToString::to_string).collect();
        let request = self.client.describe_addresses().set_allocation_ids(Some(names));
        let mut found = self.elastic(request).await?;
        let lacks = |id| unexpected(ADDRESSES, format!("{id} is not in the answer"));
        let entry = |id| found.remove_entry(&id).ok_or_else(|| lacks(id));
        ids.into_iter().map(entry).collect()
    }

    /// The Elastic IPs that match all filters.
    async fn elastic_where(
        &self,
        filters: Vec<Filter>,
    ) -> Result<BTreeMap<AllocationId, Elastic>, CloudFault> {
        self.elastic(self.client.describe_addresses().set_filters(Some(filters))).await
    }

    /// The answer to one call. It is not paginated.
    async fn elastic(
        &self,
        request: DescribeAddressesFluentBuilder,
    ) -> Result<BTreeMap<AllocationId, Elastic>, CloudFault> {
        const CALL: &str = ADDRESSES;
        let answer = call(CALL, request.send()).await?;
        let mut found = BTreeMap::new();
        for address in answer.addresses() {
            let Some(id) = address.allocation_id() else { continue };
            let public = field(CALL, "publicIp", address.public_ip())?;
            let private = address.private_ip_address();
            let private =
                private.map(|one| field(CALL, "privateIpAddress", Some(one))).transpose()?;
            let at = address
                .network_interface_id()
                .map(|one| field(CALL, "networkInterfaceId", Some(one)))
                .transpose()?;
            let at = at.map(|interface| (interface, private));
            let id = field(CALL, "allocationId", Some(id))?;
            let (tags, association) =
                (tags(address.tags()), address.association_id().map(str::to_owned));
            found.insert(id, Elastic { public, tags, at, association });
        }
        Ok(found)
    }

    /// Has EC2 assign `count` more secondary private IPs of its choice to an interface.
    pub(crate) async fn add_private_ips(
        &self,
        count: usize,
        interface: &NetworkInterfaceId,
    ) -> Result<(), CloudFault> {
        let request = self
            .client
            .assign_private_ip_addresses()
            .network_interface_id(interface.as_str())
            .secondary_private_ip_address_count(i32::try_from(count).unwrap_or(i32::MAX));
        call("AssignPrivateIpAddresses", request.send()).await.map(drop)
    }

    /// Assigns a secondary private IP to an interface, even if another has it; with `only_if_free`,
    /// fails with `Exists` then.
    pub(crate) async fn assign_private_ip(
        &self,
        address: Ipv4Addr,
        interface: &NetworkInterfaceId,
        only_if_free: bool,
        gate: &Gate,
    ) -> Result<Sent, CloudFault> {
        let request = self
            .client
            .assign_private_ip_addresses()
            .network_interface_id(interface.as_str())
            .private_ip_addresses(address.to_string())
            .allow_reassignment(!only_if_free);
        let answer = send!("AssignPrivateIpAddresses", gate, request)?;
        Ok(sent(answer.as_ref()))
    }

    /// Associates an Elastic IP with a private IP of an interface (none: its primary one), even if
    /// it is associated elsewhere.
    pub(crate) async fn associate(
        &self,
        allocation: &AllocationId,
        on: Option<Ipv4Addr>,
        interface: &NetworkInterfaceId,
        gate: &Gate,
    ) -> Result<Sent, CloudFault> {
        let request = self
            .client
            .associate_address()
            .allocation_id(allocation.as_str())
            .network_interface_id(interface.as_str())
            .set_private_ip_address(on.map(|address| address.to_string()))
            .allow_reassociation(true);
        send!("AssociateAddress", gate, request).map(|answer| sent(answer.as_ref()))
    }
}

#[cfg(test)]
mod tests;
