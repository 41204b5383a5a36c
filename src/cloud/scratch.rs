//! The EC2 client: calls that only a measurement makes, on addresses of its own.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::convert::field;
use super::ec2::{Ec2, PAGE_SIZE, Pages, call, filter};
use super::errors::unexpected;
use crate::types::{AllocationId, CloudFault, CloudFaultKind, NetworkInterfaceId, SubnetId};

impl Ec2 {
    /// The private IPs of all interfaces in a subnet, as far as a list with a filter shows them.
    pub(crate) async fn private_ips_in(
        &self,
        subnet: &SubnetId,
    ) -> Result<BTreeSet<Ipv4Addr>, CloudFault> {
        const CALL: &str = "DescribeNetworkInterfaces";
        let request = self
            .client
            .describe_network_interfaces()
            .filters(filter("subnet-id", [subnet.as_str()]))
            .max_results(PAGE_SIZE);
        let mut found = BTreeSet::new();
        let mut pages = Pages::new(CALL);
        while pages.more()? {
            let page = call(CALL, request.clone().set_next_token(pages.token()).send()).await?;
            for interface in page.network_interfaces() {
                for private in interface.private_ip_addresses() {
                    found.insert(field(CALL, "privateIpAddress", private.private_ip_address())?);
                }
            }
            pages.after(page.next_token());
        }
        Ok(found)
    }

    /// Assigns a secondary private IP to an interface. Fails if another interface has it.
    pub(crate) async fn add_private_ip(
        &self,
        address: Ipv4Addr,
        interface: &NetworkInterfaceId,
    ) -> Result<(), CloudFault> {
        let request = self
            .client
            .assign_private_ip_addresses()
            .network_interface_id(interface.as_str())
            .private_ip_addresses(address.to_string())
            .allow_reassignment(false);
        call("AssignPrivateIpAddresses", request.send()).await.map(drop)
    }

    /// Takes a secondary private IP from an interface. Succeeds if the interface does not have it,
    /// or no longer exists.
    pub(crate) async fn remove_private_ip(
        &self,
        address: Ipv4Addr,
        interface: &NetworkInterfaceId,
    ) -> Result<(), CloudFault> {
        let request = self
            .client
            .unassign_private_ip_addresses()
            .network_interface_id(interface.as_str())
            .private_ip_addresses(address.to_string());
        let fault = match call("UnassignPrivateIpAddresses", request.send()).await {
            Err(fault) if fault.kind != CloudFaultKind::NotFound => fault,
            _ => return Ok(()),
        };
        // EC2 has no error code of its own for an address that the interface does not have.
        let left = self.private_ips_on(&BTreeSet::from([interface.clone()])).await?;
        if left.contains_key(&address) { Err(fault) } else { Ok(()) }
    }

    /// Associates an Elastic IP with a private IP of an interface, even if it is associated
    /// elsewhere. Returns the id of the association.
    pub(crate) async fn associate_with(
        &self,
        allocation: &AllocationId,
        address: Ipv4Addr,
        interface: &NetworkInterfaceId,
    ) -> Result<String, CloudFault> {
        const CALL: &str = "AssociateAddress";
        let request = self
            .client
            .associate_address()
            .allocation_id(allocation.as_str())
            .network_interface_id(interface.as_str())
            .private_ip_address(address.to_string())
            .allow_reassociation(true);
        let answer = call(CALL, request.send()).await?;
        let id = answer.association_id().map(str::to_owned);
        id.ok_or_else(|| unexpected(CALL, "the answer has no associationId"))
    }

    /// Ends the association of an Elastic IP. Succeeds if there is no such association.
    pub(crate) async fn disassociate(&self, association: &str) -> Result<(), CloudFault> {
        let request = self.client.disassociate_address().association_id(association);
        match call("DisassociateAddress", request.send()).await {
            Err(fault) if fault.kind != CloudFaultKind::NotFound => Err(fault),
            _ => Ok(()),
        }
    }
}
