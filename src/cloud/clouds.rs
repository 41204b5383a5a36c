//! All clients together, for one VPC.

use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;

use super::ec2::{self, Connections, Ec2};
use super::errors::unexpected;
use super::holders::Primaries;
use super::route53::Route53;
use super::writes::{Gate, Sent};
use crate::config::Api;
use crate::types::{Assignment, CloudFault, Location, Resource, ResourceKind, VpcId};

/// Clients of EC2 and Route 53, and the VPC that the cluster is in. Cloning is cheap: clones share
/// connections, credentials, and what is known of changes that are on their way.
#[derive(Debug, Clone)]
pub(crate) struct Clouds {
    ec2: Ec2,
    route53: Route53,
    vpc: VpcId,
    primaries: Arc<Mutex<Primaries>>,
}

impl Clouds {
    /// Clients with the usual AWS credentials and the region that [`Ec2::connect`] chooses. Nothing
    /// is sent yet.
    pub(crate) async fn connect(
        api: &Api,
        own_region: Option<&str>,
        vpc: VpcId,
        connections: Connections,
    ) -> Result<Self, CloudFault> {
        Ok(Self::with(&ec2::shared(api, own_region, connections).await?, api, vpc))
    }

    /// Clients with this region and these credentials.
    pub(super) fn with(shared: &SdkConfig, api: &Api, vpc: VpcId) -> Self {
        let (ec2, route53) = (Ec2::with(shared, api), Route53::with(shared, api));
        Self { ec2, route53, vpc, primaries: Arc::default() }
    }

    /// Remembers the primary private IPs of interfaces, which never change: an Elastic IP that
    /// belongs to its holder's primary one is told by them.
    pub(super) fn remember(&self, primaries: Primaries) {
        self.primaries.lock().unwrap_or_else(PoisonError::into_inner).extend(primaries);
    }

    fn primaries(&self) -> Primaries {
        self.primaries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The EC2 client.
    #[must_use]
    pub(crate) fn ec2(&self) -> &Ec2 {
        &self.ec2
    }

    /// The Route 53 client.
    #[must_use]
    pub(crate) fn route53(&self) -> &Route53 {
        &self.route53
    }

    /// The cluster's VPC.
    #[must_use]
    pub(crate) fn vpc(&self) -> &VpcId {
        &self.vpc
    }

    /// Who holds these resources, which are no routes and all of one kind.
    ///
    /// # Errors
    /// The API's, as a kind; `Other` for routes, which are read by table.
    pub(crate) async fn holders(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(Resource, Location)>, CloudFault> {
        match resources.first().map(Resource::kind) {
            None => Ok(Vec::new()),
            Some(ResourceKind::PrivateIp) => self.ec2.private_ips(&self.vpc, resources).await,
            Some(ResourceKind::Eip) => self.ec2.elastic_ips(resources, &self.primaries()).await,
            Some(ResourceKind::Dns) => self.route53.records(resources).await,
            Some(ResourceKind::Route) => {
                Err(unexpected("holders", "routes are read by their tables"))
            }
        }
    }

    /// Gives a resource that is no route to a member.
    ///
    /// # Errors
    /// The API's, as a kind; `Other` for routes, which are written by themselves.
    pub(crate) async fn assign(
        &self,
        assignment: &Assignment,
        gate: &Gate,
    ) -> Result<Sent, CloudFault> {
        let interface = &assignment.interface;
        match &assignment.resource {
            Resource::PrivateIp { address } => {
                self.ec2.assign_private_ip(*address, interface, gate).await
            }
            Resource::Eip { allocation, on, .. } => {
                self.ec2.associate(allocation, *on, interface, gate).await
            }
            Resource::Dns { zone, name, ttl, .. } => {
                self.route53.upsert(zone, name, *ttl, assignment.address, gate).await
            }
            Resource::DefaultRoute { .. } | Resource::Vip { .. } => {
                Err(unexpected("assign", "routes are written by themselves"))
            }
        }
    }
}
