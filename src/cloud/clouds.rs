//! All API clients together, for one VPC.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_config::SdkConfig;

use super::ec2::{self, Connections, Ec2};
use super::errors::unexpected;
use super::gate::Gate;
use super::holders::Primaries;
use super::route53::Route53;
use super::writes::Sent;
use crate::config::Api;
use crate::types::{
    Assignment, CloudFault, Location, Member, NetworkInterfaceId, Resource, ResourceKind, VpcId,
};

/// Clients of EC2 and Route 53, and the cluster's VPC. Clones are cheap and share connections,
/// credentials, and the pending changes of DNS records.
#[derive(Debug, Clone)]
pub(crate) struct Clouds {
    ec2: Ec2,
    route53: Route53,
    vpc: VpcId,
    known: Arc<Mutex<Known>>,
}

/// What discovery has found out about the members.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Primary private IPs of interfaces.
    primaries: Primaries,
    /// The members' forwarding interfaces.
    interfaces: BTreeSet<NetworkInterfaceId>,
    /// Their landing addresses.
    landings: BTreeSet<Ipv4Addr>,
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
        Self { ec2, route53, vpc, known: Arc::default() }
    }

    /// Remembers the primary private IPs of interfaces, which never change. They show whether an
    /// Elastic IP is on its holder's primary private IP.
    pub(super) fn remember(&self, primaries: Primaries) {
        self.lock().primaries.extend(primaries);
    }

    /// Remembers the interfaces and the landing addresses of all members, in place of those before.
    /// The landing addresses show whether an egress IP is where its holder uses it. The interfaces
    /// are asked by id for a private IP that a list lacks.
    pub(crate) fn remember_members(&self, members: &[Member]) {
        let mut known = self.lock();
        known.interfaces = members.iter().map(|member| member.interface.clone()).collect();
        let landings = members.iter().flat_map(|member| member.landings.values());
        known.landings = landings.copied().collect();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        let known = self.lock().clone();
        match resources.first().map(Resource::kind) {
            None => Ok(Vec::new()),
            Some(ResourceKind::PrivateIp) => {
                self.ec2.private_ips(&self.vpc, resources, &known.interfaces).await
            }
            Some(ResourceKind::Eip) => {
                self.ec2.elastic_ips(resources, &known.primaries, &known.landings).await
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
                let only_if_free = assignment.only_if_free;
                self.ec2.assign_private_ip(*address, interface, only_if_free, gate).await
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
