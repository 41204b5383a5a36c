//! The EC2 client: calls that EC2 checks the permission of and does not carry out (`DryRun`).

use std::net::Ipv4Addr;

use aws_sdk_ec2::types::AttributeBooleanValue;

use super::ec2::{Ec2, call};
use super::errors::unexpected;
use crate::types::{AllocationId, CloudFault, InstanceId, NetworkInterfaceId, RouteWrite};

/// A call to try, by its name. Neither `AssignPrivateIpAddresses` nor Route 53 has a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attempt {
    DescribeAddresses,
    DescribeInstances,
    DescribeInstanceStatus,
    DescribeNatGateways,
    DescribeNetworkInterfaces,
    DescribeRouteTables,
    DescribeSecurityGroups,
    DescribeSubnets,
    CreateRoute(RouteWrite),
    ReplaceRoute(RouteWrite),
    StartInstances(InstanceId),
    StopInstances(InstanceId),
    /// Turns the source/dest check off.
    ModifyNetworkInterfaceAttribute(NetworkInterfaceId),
    /// Associates an Elastic IP with an interface; `on` is the private address.
    AssociateAddress {
        allocation: AllocationId,
        interface: NetworkInterfaceId,
        on: Option<Ipv4Addr>,
    },
}

/// What EC2 says of a call that it does not carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DryRun {
    /// The role allows it.
    Allowed,
    /// The role does not, for this reason.
    Denied(String),
}

/// Sends a request as a dry run.
macro_rules! dry {
    ($name:expr, $request:expr) => {
        verdict($name, call($name, $request.dry_run(true).send()).await)
    };
}

impl Ec2 {
    /// Asks EC2 whether it would carry out a call. Nothing is changed.
    ///
    /// # Errors
    /// If EC2 gives another answer or none: the permission is then unknown.
    pub(crate) async fn dry_run(&self, attempt: &Attempt) -> Result<DryRun, CloudFault> {
        match attempt {
            Attempt::CreateRoute(write) => dry!("CreateRoute", self.create(write)),
            Attempt::ReplaceRoute(write) => dry!("ReplaceRoute", self.replace(write)),
            Attempt::StartInstances(id) => {
                dry!("StartInstances", self.client.start_instances().instance_ids(id.as_str()))
            }
            Attempt::StopInstances(id) => {
                dry!("StopInstances", self.client.stop_instances().instance_ids(id.as_str()))
            }
            Attempt::ModifyNetworkInterfaceAttribute(interface) => {
                let off = AttributeBooleanValue::builder().value(false).build();
                let request = self.client.modify_network_interface_attribute();
                let request = request.network_interface_id(interface.as_str());
                dry!("ModifyNetworkInterfaceAttribute", request.source_dest_check(off))
            }
            Attempt::AssociateAddress { allocation, interface, on } => {
                let request = self.client.associate_address();
                let request = request
                    .allocation_id(allocation.as_str())
                    .network_interface_id(interface.as_str())
                    .set_private_ip_address(on.map(|address| address.to_string()));
                dry!("AssociateAddress", request.allow_reassociation(true))
            }
            reading => self.dry_read(reading).await,
        }
    }

    /// The same for calls that read. A change is never sent here.
    async fn dry_read(&self, attempt: &Attempt) -> Result<DryRun, CloudFault> {
        match attempt {
            Attempt::DescribeAddresses => {
                dry!("DescribeAddresses", self.client.describe_addresses())
            }
            Attempt::DescribeInstances => {
                dry!("DescribeInstances", self.client.describe_instances())
            }
            Attempt::DescribeInstanceStatus => {
                dry!("DescribeInstanceStatus", self.client.describe_instance_status())
            }
            Attempt::DescribeNatGateways => {
                dry!("DescribeNatGateways", self.client.describe_nat_gateways())
            }
            Attempt::DescribeNetworkInterfaces => {
                dry!("DescribeNetworkInterfaces", self.client.describe_network_interfaces())
            }
            Attempt::DescribeRouteTables => {
                dry!("DescribeRouteTables", self.client.describe_route_tables())
            }
            Attempt::DescribeSecurityGroups => {
                dry!("DescribeSecurityGroups", self.client.describe_security_groups())
            }
            Attempt::DescribeSubnets => dry!("DescribeSubnets", self.client.describe_subnets()),
            Attempt::CreateRoute(_)
            | Attempt::ReplaceRoute(_)
            | Attempt::StartInstances(_)
            | Attempt::StopInstances(_)
            | Attempt::ModifyNetworkInterfaceAttribute(_)
            | Attempt::AssociateAddress { .. } => {
                Err(unexpected("DryRun", "a change is no call that reads"))
            }
        }
    }
}

/// What an answer to a dry run says. EC2 answers each with an error: which one is what counts.
fn verdict<T>(name: &str, answer: Result<T, CloudFault>) -> Result<DryRun, CloudFault> {
    match answer {
        Ok(_) => Err(unexpected(name, "EC2 did not answer a dry run as one")),
        Err(fault) if fault.message.starts_with("DryRunOperation:") => Ok(DryRun::Allowed),
        Err(fault) => match fault.message.strip_prefix("UnauthorizedOperation:") {
            Some(reason) => Ok(DryRun::Denied(reason.trim().to_owned())),
            None => Err(fault),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::CloudFaultKind;

    #[test]
    fn only_the_two_errors_of_a_dry_run_say_something_of_the_permission() {
        let answer = |message: &str| {
            let (kind, call) = (CloudFaultKind::Other, "StopInstances".to_owned());
            verdict::<()>("StopInstances", Err(CloudFault { kind, call, message: message.into() }))
        };
        let would = "DryRunOperation: Request would have succeeded (HTTP 412)";
        assert_eq!(answer(would).unwrap(), DryRun::Allowed);
        let denied = answer("UnauthorizedOperation: You are not authorized (HTTP 403)").unwrap();
        assert_eq!(denied, DryRun::Denied("You are not authorized (HTTP 403)".to_owned()));
        assert!(answer("RequestLimitExceeded: slow down (HTTP 503)").is_err());
        assert!(verdict("StopInstances", Ok(())).is_err());
    }
}
