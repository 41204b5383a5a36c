//! The EC2 client: who holds addresses, and giving them to somebody else.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::convert::field;
use super::ec2::{Ec2, call, filter};
use super::errors::unexpected;
use super::writes::{Gate, Sent, send, sent};
use crate::types::{
    Assignment, CloudFault, NetworkInterfaceId, Resource, ResourceKind, RouteTarget, Seen,
};

impl Ec2 {
    /// Who holds these resources, which are no routes and all of one kind.
    ///
    /// # Errors
    /// The API's, as a kind; `Unsupported` where this client cannot read that kind.
    pub async fn holders(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(Resource, Seen)>, CloudFault> {
        match resources.first().map(Resource::kind) {
            Some(ResourceKind::PrivateIp) => self.private_ips(resources).await,
            Some(ResourceKind::Eip) => self.elastic_ips(resources).await,
            Some(kind @ (ResourceKind::Route | ResourceKind::Dns)) => {
                Err(unexpected("holders", format!("EC2 does not tell who holds {kind}")))
            }
            None => Ok(Vec::new()),
        }
    }

    /// Which interfaces have these private IPs, and as which of their addresses.
    async fn private_ips(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(Resource, Seen)>, CloudFault> {
        const CALL: &str = "DescribeNetworkInterfaces";
        let wanted: Vec<(&Resource, Ipv4Addr)> = resources
            .iter()
            .filter_map(|resource| match resource {
                Resource::PrivateIp { address } => Some((resource, *address)),
                _ => None,
            })
            .collect();
        let addresses: Vec<String> = wanted.iter().map(|(_, one)| one.to_string()).collect();
        let named = filter("addresses.private-ip-address", addresses.iter().map(String::as_str));
        let request = self.client.describe_network_interfaces().filters(named);
        let answer = call(CALL, request.send()).await?;
        let mut found = BTreeMap::new();
        for interface in answer.network_interfaces() {
            let id = interface.network_interface_id().unwrap_or_default();
            let id: NetworkInterfaceId = field(CALL, "networkInterfaceId", Some(id))?;
            for private in interface.private_ip_addresses() {
                let address = private.private_ip_address().and_then(|one| one.parse().ok());
                let Some(address) = address else { continue };
                let address: Ipv4Addr = address;
                let target = if private.primary() == Some(true) {
                    RouteTarget::Other(format!("{id}, whose primary address it is"))
                } else {
                    RouteTarget::Interface(id.clone())
                };
                found.insert(address, Seen::At(target));
            }
        }
        let seen = |address| found.get(&address).cloned().unwrap_or(Seen::Free);
        Ok(wanted.into_iter().map(|(one, address)| (one.clone(), seen(address))).collect())
    }

    /// Which interfaces these Elastic IPs are associated with. One that is on another private IP
    /// than the one it belongs to is free: nobody is served by it there.
    async fn elastic_ips(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(Resource, Seen)>, CloudFault> {
        const CALL: &str = "DescribeAddresses";
        let ids = resources.iter().filter_map(|resource| match resource {
            Resource::Eip { allocation, .. } => Some(allocation.as_str()),
            _ => None,
        });
        let request = self.client.describe_addresses().filters(filter("allocation-id", ids));
        let answer = call(CALL, request.send()).await?;
        let seen = |resource: &Resource| {
            let Resource::Eip { allocation, on, .. } = resource else { return Ok(Seen::Absent) };
            let mut all = answer.addresses().iter();
            let found = all.find(|one| one.allocation_id() == Some(allocation.as_str()));
            let Some(found) = found else { return Ok(Seen::Absent) };
            let private = found.private_ip_address().and_then(|one| one.parse().ok());
            let Some(interface) = found.network_interface_id() else { return Ok(Seen::Free) };
            if on.is_some() && *on != private {
                return Ok(Seen::Free);
            }
            let id = field(CALL, "networkInterfaceId", Some(interface))?;
            Ok(Seen::At(RouteTarget::Interface(id)))
        };
        resources.iter().map(|one| Ok((one.clone(), seen(one)?))).collect()
    }

    /// Gives an address to an interface.
    ///
    /// # Errors
    /// The API's, as a kind; `Unsupported` where this client cannot move that kind.
    pub async fn assign(&self, assignment: &Assignment, gate: &Gate) -> Result<Sent, CloudFault> {
        let interface = assignment.interface.as_str();
        match &assignment.resource {
            Resource::PrivateIp { address } => {
                let request = self
                    .client
                    .assign_private_ip_addresses()
                    .network_interface_id(interface)
                    .private_ip_addresses(address.to_string())
                    .allow_reassignment(true);
                let answer = send!("AssignPrivateIpAddresses", gate, request)?;
                Ok(sent(answer.as_ref()))
            }
            Resource::Eip { allocation, on, .. } => {
                let request = self
                    .client
                    .associate_address()
                    .allocation_id(allocation.as_str())
                    .network_interface_id(interface)
                    .set_private_ip_address(on.map(|address| address.to_string()))
                    .allow_reassociation(true);
                send!("AssociateAddress", gate, request).map(|answer| sent(answer.as_ref()))
            }
            other => Err(unexpected("assign", format!("EC2 does not move {}", other.kind()))),
        }
    }
}
