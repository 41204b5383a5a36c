//! The EC2 client: changes.

use aws_sdk_ec2::types::AttributeBooleanValue;
use ipnet::Ipv4Net;

use super::ec2::{Ec2, call};
use super::errors::unexpected;
use super::gate::Gate;
use crate::types::{
    CloudFault, CloudFaultKind, InstanceId, NetworkInterfaceId, RouteTableId, RouteTarget,
    RouteVia, RouteWrite, RouteWriteVerb,
};

/// The outcome of a change that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The API accepted it.
    Accepted,
    /// The gate had closed: nothing was sent.
    Expired,
}

/// Sends a request through a gate. Without a reply, it is sent again ([`super::hedge`]).
macro_rules! send {
    ($name:expr, $gate:expr, $request:expr) => {{
        let keeper = $crate::cloud::gate::Gatekeeper::new($gate);
        match call($name, $request.customize().interceptor(keeper.clone()).send()).await {
            Err(_) if keeper.has_stopped() => Ok(None),
            other => other.map(Some),
        }
    }};
}
pub(super) use send;

pub(super) fn sent<T>(answer: Option<&T>) -> Sent {
    if answer.is_some() { Sent::Accepted } else { Sent::Expired }
}

impl Ec2 {
    /// Writes one route. [`RouteWriteVerb::Replace`] fails with `NotFound` if the table has no such
    /// route, [`RouteWriteVerb::Create`] with `Exists` if it has one.
    pub(crate) async fn write_route(
        &self,
        write: &RouteWrite,
        gate: &Gate,
    ) -> Result<Sent, CloudFault> {
        match write.verb {
            RouteWriteVerb::Replace => {
                send!("ReplaceRoute", gate, self.replace(write)).map(|answer| sent(answer.as_ref()))
            }
            RouteWriteVerb::Create => {
                let answer = send!("CreateRoute", gate, self.create(write))?;
                if answer.as_ref().is_some_and(|answer| answer.r#return() == Some(false)) {
                    return Err(unexpected("CreateRoute", "EC2 answered return = false"));
                }
                Ok(sent(answer.as_ref()))
            }
        }
    }

    /// Points an existing route at any target that a route table can have: for an operator who
    /// gives a table back. Sent once.
    ///
    /// # Errors
    /// Those of `ReplaceRoute`, and `Unsupported` for a target whose kind is unknown.
    pub(crate) async fn point_route(
        &self,
        table: &RouteTableId,
        cidr: Ipv4Net,
        target: &RouteTarget,
    ) -> Result<(), CloudFault> {
        const CALL: &str = "ReplaceRoute";
        let request = self
            .client
            .replace_route()
            .route_table_id(table.as_str())
            .destination_cidr_block(cidr.to_string());
        let id = target.to_string();
        let kind = id.split_once('-').map_or("", |(kind, _)| kind);
        let request = match kind {
            "eni" => request.network_interface_id(id),
            "nat" => request.nat_gateway_id(id),
            "igw" | "vgw" => request.gateway_id(id),
            "tgw" => request.transit_gateway_id(id),
            "pcx" => request.vpc_peering_connection_id(id),
            "vpce" => request.vpc_endpoint_id(id),
            "lgw" => request.local_gateway_id(id),
            "cagw" => request.carrier_gateway_id(id),
            _ => {
                let message = format!("a route cannot point to {id}");
                let kind = CloudFaultKind::Unsupported;
                return Err(CloudFault { kind, call: CALL.to_owned(), message });
            }
        };
        call(CALL, request.send()).await.map(|_| ())
    }

    /// Deletes a route. Fails with `NotFound` if the table has no such route.
    pub(crate) async fn delete_route(
        &self,
        table: &RouteTableId,
        cidr: Ipv4Net,
    ) -> Result<(), CloudFault> {
        let request = self
            .client
            .delete_route()
            .route_table_id(table.as_str())
            .destination_cidr_block(cidr.to_string());
        call("DeleteRoute", request.send()).await.map(|_| ())
    }

    pub(super) fn replace(
        &self,
        write: &RouteWrite,
    ) -> aws_sdk_ec2::operation::replace_route::builders::ReplaceRouteFluentBuilder {
        let request = self
            .client
            .replace_route()
            .route_table_id(write.table.as_str())
            .destination_cidr_block(write.cidr.to_string());
        match &write.via {
            RouteVia::Interface(id) => request.network_interface_id(id.as_str()),
            RouteVia::NatGateway(id) => request.nat_gateway_id(id.as_str()),
        }
    }

    pub(super) fn create(
        &self,
        write: &RouteWrite,
    ) -> aws_sdk_ec2::operation::create_route::builders::CreateRouteFluentBuilder {
        let request = self
            .client
            .create_route()
            .route_table_id(write.table.as_str())
            .destination_cidr_block(write.cidr.to_string());
        match &write.via {
            RouteVia::Interface(id) => request.network_interface_id(id.as_str()),
            RouteVia::NatGateway(id) => request.nat_gateway_id(id.as_str()),
        }
    }

    /// Stops an instance. With `force`, EC2 gives the guest only a short time to shut down.
    pub(crate) async fn stop(
        &self,
        id: &InstanceId,
        force: bool,
        gate: &Gate,
    ) -> Result<Sent, CloudFault> {
        let request = self.client.stop_instances().instance_ids(id.as_str()).force(force);
        send!("StopInstances", gate, request).map(|answer| sent(answer.as_ref()))
    }

    pub(crate) async fn start(&self, id: &InstanceId, gate: &Gate) -> Result<Sent, CloudFault> {
        let request = self.client.start_instances().instance_ids(id.as_str());
        send!("StartInstances", gate, request).map(|answer| sent(answer.as_ref()))
    }

    /// Turns EC2's source/dest check of an interface on or off.
    pub(crate) async fn set_source_dest_check(
        &self,
        interface: &NetworkInterfaceId,
        on: bool,
    ) -> Result<(), CloudFault> {
        let request = self
            .client
            .modify_network_interface_attribute()
            .network_interface_id(interface.as_str())
            .source_dest_check(AttributeBooleanValue::builder().value(on).build());
        call("ModifyNetworkInterfaceAttribute", request.send()).await.map(|_| ())
    }
}
