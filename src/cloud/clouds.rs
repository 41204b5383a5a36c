//! All API clients together, for one VPC.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;

use super::ec2::{self, Connections, Ec2};
use super::errors::unexpected;
use super::holders::Primaries;
use super::route53::Route53;
use super::writes::{Gate, Sent};
use crate::config::Api;
use crate::types::{Assignment, CloudFault, Location, Member, Resource, ResourceKind, VpcId};

/// Clients of EC2 and Route 53, and the cluster's VPC. Clones are cheap and share connections,
/// credentials, and the pending changes of DNS records.
#[derive(Debug, Clone)]
pub(crate) struct Clouds {
    ec2: Ec2,
    route53: Route53,
    vpc: VpcId,
    primaries: Arc<Mutex<Primaries>>,
    landings: Arc<Mutex<BTreeSet<Ipv4Addr>>>,
}

impl Clouds {
    /// Clients with the usual AWS credentials and the region that [`Ec2::connect`] chooses. Sends
    /// nothing. Fails if no region can be found.
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
        Self { ec2, route53, vpc, primaries: Arc::default(), landings: Arc::default() }
    }

    /// Remembers the primary private IPs of interfaces, which never change. They show whether an
    /// Elastic IP is on its holder's primary private IP.
    pub(super) fn remember(&self, primaries: Primaries) {
        self.primaries.lock().unwrap_or_else(PoisonError::into_inner).extend(primaries);
    }

    /// Remembers the landing addresses of all members, in place of those before. They show whether
    /// an egress IP is where its holder uses it.
    pub(crate) fn remember_landings(&self, members: &[Member]) {
        let all = members.iter().flat_map(|member| member.landings.values().copied()).collect();
        *self.landings.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    fn landings(&self) -> BTreeSet<Ipv4Addr> {
        self.landings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn primaries(&self) -> Primaries {
        self.primaries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[must_use]
    pub(crate) fn ec2(&self) -> &Ec2 {
        &self.ec2
    }

    #[must_use]
    pub(crate) fn route53(&self) -> &Route53 {
        &self.route53
    }

    #[must_use]
    pub(crate) fn vpc(&self) -> &VpcId {
        &self.vpc
    }

    /// Where these resources point, which must be of one kind. Fails with `Other` for routes, which
    /// are read by table.
    pub(crate) async fn holders(
        &self,
        resources: &[Resource],
    ) -> Result<Vec<(Resource, Location)>, CloudFault> {
        match resources.first().map(Resource::kind) {
            None => Ok(Vec::new()),
            Some(ResourceKind::PrivateIp) => self.ec2.private_ips(&self.vpc, resources).await,
            Some(ResourceKind::Eip) => {
                let (primaries, landings) = (self.primaries(), self.landings());
                self.ec2.elastic_ips(resources, &primaries, &landings).await
            }
            Some(ResourceKind::Dns) => self.route53.records(resources).await,
            Some(ResourceKind::Route) => {
                Err(unexpected("holders", "routes are read by their tables"))
            }
        }
    }

    /// Assigns a resource to a member. Fails with `Other` for routes, which have calls of their
    /// own.
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
            Resource::EgressIp { allocation, .. } => {
                let landing = Some(assignment.address);
                self.ec2.associate(allocation, landing, interface, gate).await
            }
            Resource::Dns { zone, name, ttl, .. } => {
                self.route53.upsert(zone, name, *ttl, assignment.address, gate).await
            }
            Resource::DefaultRoute { .. } | Resource::Vip { .. } => {
                Err(unexpected("assign", "routes have calls of their own"))
            }
        }
    }
}
