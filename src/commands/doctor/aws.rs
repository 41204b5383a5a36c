//! Facts from EC2: this instance, the cluster, what the role allows.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, anyhow};
use ipnet::Ipv4Net;

use super::limit::within;
use super::permissions;
use crate::cloud::{Clouds, Connections, Expected, Identity};
use crate::cluster::{CLUSTER_TAG, Discovered, discover, forwarding_interface, inventory_query};
use crate::config::Settings;
use crate::doctor::{
    ClusterFacts, Fact, Gap, InterfaceTag, MemberGroups, MonitorFacts, Permission, SecurityFacts,
    UplinkRoute, fallbacks_of, needs_security_groups,
};
use crate::kernel::journal::last_plan;
use crate::types::{
    ClockDifference, InstanceId, InstanceInfo, InstanceOptions, NatGatewayInfo, NetworkInterfaceId,
    Roster, RouteTarget,
};

/// What the metadata service says, or what is wrong with it.
pub(super) type Metadata = Fact<Result<Identity, String>>;

/// Why nothing of AWS is known where the metadata service does not answer.
pub(super) fn no_metadata() -> Gap {
    Gap::new("without the instance metadata natha does not know which instance this is")
}

/// What is asked.
pub(super) struct Asked<'a> {
    pub(super) settings: &'a Settings,
    pub(super) metadata: &'a Metadata,
    pub(super) monitor: &'a Fact<MonitorFacts>,
    /// Whether natha is not installed yet, so that there is no cluster to look for.
    pub(super) pre: bool,
}

/// The facts from EC2.
pub(super) struct CloudFound {
    pub(super) instance: Fact<InstanceOptions>,
    pub(super) clock: Fact<ClockDifference>,
    pub(super) source_dest: Fact<BTreeMap<NetworkInterfaceId, bool>>,
    pub(super) uplink_route: Fact<UplinkRoute>,
    pub(super) interface_tag: Fact<InterfaceTag>,
    pub(super) cluster: Fact<ClusterFacts>,
    pub(super) gateways: Fact<Vec<NatGatewayInfo>>,
    pub(super) security: Fact<SecurityFacts>,
    pub(super) permissions: Fact<Vec<Permission>>,
}

impl CloudFound {
    /// Nothing is known, for this reason.
    fn without(gap: &Gap) -> Self {
        Self {
            instance: Err(gap.clone()),
            clock: Err(gap.clone()),
            source_dest: Err(gap.clone()),
            uplink_route: Err(gap.clone()),
            interface_tag: Err(gap.clone()),
            cluster: Err(gap.clone()),
            gateways: Err(gap.clone()),
            security: Err(gap.clone()),
            permissions: Err(gap.clone()),
        }
    }
}

/// Reads the facts from EC2.
pub(super) async fn gather(asked: &Asked<'_>) -> CloudFound {
    let Ok(Ok(identity)) = asked.metadata else { return CloudFound::without(&no_metadata()) };
    let (api, vpc) = (&asked.settings.api, identity.vpc.clone());
    let region = Some(identity.region.as_str());
    let clouds = match Clouds::connect(api, region, vpc, Connections::Kept).await {
        Ok(clouds) => clouds,
        Err(fault) => return CloudFound::without(&Gap::new(fault)),
    };
    let (ec2, id) = (clouds.ec2(), &identity.instance);
    let (instance, clock, me) = tokio::join!(
        within("EC2", ec2.options(id)),
        within("EC2", ec2.clock(id)),
        within("EC2", this_instance(&clouds, id)),
    );
    let source_dest = me.as_ref().map_err(Clone::clone).map(|me| checks(asked.settings, me));
    let uplink_route = async {
        let me = me.as_ref().map_err(Clone::clone)?;
        within("EC2", Box::pin(uplink_route(&clouds, me))).await
    };
    let interface_tag = async {
        let me = me.as_ref().map_err(Clone::clone)?;
        within("EC2", Box::pin(interface_tag(&clouds, asked.settings, me))).await
    };
    let cluster = async {
        let me = me.as_ref().map_err(Clone::clone)?;
        if asked.pre {
            return Err(Gap::new("there is no cluster before the installation"));
        }
        within("EC2", Box::pin(look(&clouds, asked.settings, identity, me))).await
    };
    let (uplink_route, interface_tag, cluster) = tokio::join!(uplink_route, interface_tag, cluster);
    let gateways = async {
        let cluster = cluster.as_ref().map_err(Clone::clone)?;
        within("EC2", gateways(&clouds, &cluster.roster)).await
    };
    let security = async {
        let cluster = cluster.as_ref().map_err(Clone::clone)?;
        if !needs_security_groups(asked.monitor) {
            return Err(Gap::new("the rules were not read, because everything arrives"));
        }
        within("EC2", security(&clouds, &cluster.roster)).await
    };
    let tried = permissions::Tried {
        settings: asked.settings,
        clouds: &clouds,
        me: me.as_ref().ok(),
        cluster: cluster.as_ref().ok(),
        pre: asked.pre,
    };
    let permissions = Box::pin(permissions::gather(&tried));
    let (gateways, security, permissions) = tokio::join!(gateways, security, permissions);
    CloudFound {
        instance,
        clock,
        source_dest,
        uplink_route,
        interface_tag,
        cluster,
        gateways,
        security,
        permissions,
    }
}

async fn this_instance(clouds: &Clouds, id: &InstanceId) -> anyhow::Result<InstanceInfo> {
    let found = clouds.ec2().instance(id).await?;
    found.ok_or_else(|| anyhow!("EC2 does not know this instance, {id}"))
}

/// The source/dest checks of the forwarding interfaces: the one that routes lead to, and those of
/// the plan.
fn checks(settings: &Settings, me: &InstanceInfo) -> BTreeMap<NetworkInterfaceId, bool> {
    let plan = last_plan(&settings.state_dir).ok().flatten();
    let planned = plan.into_iter().flat_map(|plan| plan.unchecked).map(|one| one.interface);
    let primary = forwarding_interface(me).ok().map(|one| one.id.clone());
    let forwarding: BTreeSet<NetworkInterfaceId> = planned.chain(primary).collect();
    let all = me.interfaces.iter().filter(|one| forwarding.contains(&one.id));
    all.map(|one| (one.id.clone(), one.source_dest_check)).collect()
}

/// The default route of the subnet by which this node reaches the internet: that of the interface
/// with a public address, else that of the first one.
async fn uplink_route(clouds: &Clouds, me: &InstanceInfo) -> anyhow::Result<UplinkRoute> {
    let mut all = me.interfaces.iter();
    let uplink = all.find(|one| one.public.is_some()).or(me.interfaces.first());
    let uplink = uplink.with_context(|| format!("{} has no IPv4 interface", me.id))?;
    let own = clouds.ec2().route_tables_of(std::slice::from_ref(&uplink.subnet)).await?;
    let table = if let Some(table) = own.into_iter().next() {
        table
    } else {
        // A subnet without a table of its own has the main table of its VPC.
        let mut all = clouds.ec2().all_route_tables().await?.into_iter();
        let main = all.find(|table| table.main && Some(&table.vpc) == me.vpc.as_ref());
        main.with_context(|| format!("EC2 shows no route table of {}", uplink.subnet))?
    };
    let default = table.routes.get(&Ipv4Net::default()).cloned();
    let is_own = |id: &NetworkInterfaceId| me.interfaces.iter().any(|one| one.id == *id);
    let is_loop = default.as_ref().is_some_and(|route| match &route.target {
        RouteTarget::Interface(id) => is_own(id),
        RouteTarget::Address(_) | RouteTarget::Other(_) => false,
    });
    Ok(UplinkRoute { table: table.id, default, is_loop })
}

/// The cluster's tag on the forwarding interface.
async fn interface_tag(
    clouds: &Clouds,
    settings: &Settings,
    me: &InstanceInfo,
) -> anyhow::Result<InterfaceTag> {
    let interface = forwarding_interface(me)?.id.clone();
    let remedy = "cannot read the tags of the forwarding interface: allow \
                  ec2:DescribeNetworkInterfaces (`natha policy --doctor`)";
    let tags = clouds.ec2().interface_tags(&interface).await.context(remedy)?;
    let own = || me.tags.get(CLUSTER_TAG).cloned();
    let cluster = settings.cluster.clone().or_else(own);
    Ok(InterfaceTag { interface, cluster, found: tags.get(CLUSTER_TAG).cloned() })
}

/// Discovers the cluster as the monitor does.
async fn look(
    clouds: &Clouds,
    settings: &Settings,
    identity: &Identity,
    me: &InstanceInfo,
) -> anyhow::Result<ClusterFacts> {
    let query = inventory_query(me, settings)?;
    let nothing = Expected::of(&Roster::default(), &BTreeSet::new());
    let read = clouds.inventory(me, &query, &nothing, &identity.vpc_cidrs).await;
    let inventory = read.context("cannot read the cluster")?;
    let Discovered { roster, warnings, findings, .. } = discover(me, settings, &inventory)?;
    let tables = inventory.tables;
    Ok(ClusterFacts { me: me.id.clone(), roster, warnings, findings, tables })
}

/// The fallbacks of the groups.
async fn gateways(clouds: &Clouds, roster: &Roster) -> anyhow::Result<Vec<NatGatewayInfo>> {
    let ids: Vec<String> = fallbacks_of(roster).into_iter().map(ToString::to_string).collect();
    let remedy = "cannot read the fallbacks: allow ec2:DescribeNatGateways \
                  (`natha policy --doctor`)";
    clouds.ec2().nat_gateways(&ids).await.context(remedy)
}

/// The security groups of the members' forwarding interfaces.
async fn security(clouds: &Clouds, roster: &Roster) -> anyhow::Result<SecurityFacts> {
    let mut of_member = BTreeMap::new();
    for member in &roster.members {
        let options = clouds.ec2().options(&member.id).await?;
        let mut all = options.groups.into_iter();
        if let Some((address, groups)) = all.find(|(address, _)| *address == member.address) {
            of_member.insert(member.id.clone(), MemberGroups { address, groups });
        }
    }
    let ids: BTreeSet<&String> =
        of_member.values().flat_map(|member: &MemberGroups| &member.groups).collect();
    let ids: Vec<String> = ids.into_iter().cloned().collect();
    let remedy = "cannot read the rules of security groups: allow ec2:DescribeSecurityGroups \
                  (`natha policy --doctor`)";
    let groups = clouds.ec2().security_groups(&ids).await.context(remedy)?;
    let groups = groups.into_iter().map(|group| (group.id.clone(), group)).collect();
    Ok(SecurityFacts { of_member, groups })
}
