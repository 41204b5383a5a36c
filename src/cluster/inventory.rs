//! What discovery reads from EC2 and Route 53.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::{Problem, Problems, ResourceSetting, Settings};
use crate::types::{
    AllocationId, DnsName, ElasticIpInfo, HostedZoneId, InstanceId, InstanceInfo, InterfaceInfo,
    Resource, RouteTableId, RouteTableInfo, RouteTarget, SubnetId, SubnetInfo, VpcId,
};

/// The tag that makes an instance a member and a route table part of a group.
pub const CLUSTER_TAG: &str = "natha:cluster";

/// The tag of a route table that names its home: an instance id, an instance's `Name`, or a zone.
pub const HOME_TAG: &str = "natha:home";

/// The tag of a route table that names the fallback of its group, a NAT gateway.
pub(super) const FALLBACK_TAG: &str = "natha:fallback";

/// The tag of an instance that names its forwarding interface: an interface id or a device index.
pub const INTERFACE_TAG: &str = "natha:interface";

/// The tag of an Elastic IP that names the group whose egress IP it is.
pub const GROUP_TAG: &str = "natha:group";

/// The tag of an egress IP that says what new connections do until it has arrived: `eager` or
/// `strict`.
pub const EGRESS_TAG: &str = "natha:egress";

/// The target of the route to the VPC itself in each of its tables.
const LOCAL_ROUTE: &str = "local";

/// What to read from EC2 and Route 53 for [`super::discover`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryQuery {
    /// The instances other than this one.
    pub instances: Selector<InstanceId>,
    /// The route tables.
    pub tables: Selector<RouteTableId>,
    /// Virtual IPs for which all of the VPC's tables with a route to them are needed.
    pub vips: Vec<Ipv4Addr>,
    /// Whether the subnets of the members' interfaces are needed.
    pub members_subnets: bool,
    /// Elastic IPs.
    pub allocations: Vec<AllocationId>,
    /// The cluster whose Elastic IPs with the tags [`CLUSTER_TAG`] and [`GROUP_TAG`] are needed;
    /// none if the settings have groups, or this host is no NAT.
    pub egress_of: Option<String>,
    /// Hosted zones.
    pub zones: Vec<HostedZoneId>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The queried instances that exist.
    pub instances: Vec<InstanceInfo>,
    /// The queried route tables that exist, and those of the VPC with a route to a queried virtual
    /// IP.
    pub tables: Vec<RouteTableInfo>,
    /// The subnets of these tables, and those of the members if queried.
    pub subnets: Vec<SubnetInfo>,
    /// The subnets of the members' interfaces that have no route table of their own, if the VPC's
    /// main table is among the tables.
    pub on_main_table: BTreeSet<SubnetId>,
    /// The VPC's IPv4 blocks from the instance metadata. The tables may show more.
    pub vpc_cidrs: Vec<Ipv4Net>,
    /// The public addresses of the queried Elastic IPs that exist.
    pub elastic: BTreeMap<AllocationId, Ipv4Addr>,
    /// The Elastic IPs with the tags of the queried cluster and of a group; none if the role may
    /// not read them.
    pub tagged_elastic: Option<Vec<ElasticIpInfo>>,
    /// The queried hosted zones that exist, with their names where known.
    pub zones: BTreeMap<HostedZoneId, Option<DnsName>>,
}

impl Inventory {
    /// The IPv4 blocks of the nodes' VPC: those from the instance metadata, and the destinations of
    /// the local routes in the tables.
    pub fn vpc_blocks(&self, vpc: &VpcId) -> impl Iterator<Item = &Ipv4Net> {
        let ours = self.tables.iter().filter(move |table| table.vpc == *vpc);
        let local = ours.flat_map(|table| &table.routes).filter_map(|(cidr, route)| {
            matches!(&route.target, RouteTarget::Other(id) if id == LOCAL_ROUTE).then_some(cidr)
        });
        self.vpc_cidrs.iter().chain(local)
    }
}

/// Selects resources by id or by the tag `natha:cluster`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector<T> {
    /// Those with these ids.
    Ids(Vec<T>),
    /// Those whose tag `natha:cluster` has this value.
    Tagged(String),
}

/// The cluster's name, from the settings or this instance's own tag.
fn cluster<'a>(me: &'a InstanceInfo, settings: &'a Settings) -> Option<&'a str> {
    settings.cluster.as_deref().or_else(|| me.tags.get(CLUSTER_TAG).map(String::as_str))
}

/// What to read, by the settings and the tags of this instance.
///
/// # Errors
/// If neither the settings nor the tags name the cluster or its instances and tables.
pub fn inventory_query(me: &InstanceInfo, settings: &Settings) -> Result<InventoryQuery, Problems> {
    let tagged = || {
        cluster(me, settings).map(str::to_owned).ok_or_else(|| {
            Problems(vec![Problem::new(
                format!("instance {}", me.id),
                "does not say which cluster it belongs to",
                format!(
                    "tag the instances and route tables with {CLUSTER_TAG}, set `cluster`, or \
                     list `members` and groups"
                ),
            )])
        })
    };
    let instances = if settings.members.is_empty() {
        Selector::Tagged(tagged()?)
    } else {
        Selector::Ids(settings.members.iter().filter(|id| **id != me.id).cloned().collect())
    };
    let tables = if settings.groups.is_empty() {
        Selector::Tagged(tagged()?)
    } else {
        Selector::Ids(listed_tables(settings))
    };
    let resources = || settings.groups.iter().flat_map(|group| &group.resources);
    let vips: BTreeSet<Ipv4Addr> = resources().filter_map(ResourceSetting::in_any_table).collect();
    let allocations: BTreeSet<&AllocationId> =
        resources().filter_map(ResourceSetting::elastic_ip).collect();
    let zones: BTreeSet<&HostedZoneId> =
        resources().filter_map(|one| Some(one.record()?.0)).collect();
    let egress_of = match &tables {
        Selector::Tagged(cluster) if settings.is_nat() => Some(cluster.clone()),
        Selector::Tagged(_) | Selector::Ids(_) => None,
    };
    Ok(InventoryQuery {
        instances,
        egress_of,
        tables,
        vips: vips.into_iter().collect(),
        members_subnets: settings.groups.iter().any(|group| group.private_ips().next().is_some()),
        allocations: allocations.into_iter().cloned().collect(),
        zones: zones.into_iter().cloned().collect(),
    })
}

/// Every table that a group names.
fn listed_tables(settings: &Settings) -> Vec<RouteTableId> {
    let mut tables = BTreeSet::new();
    for group in &settings.groups {
        tables.extend(&group.tables);
        for resource in &group.resources {
            tables.extend(resource.tables());
        }
    }
    tables.into_iter().cloned().collect()
}

/// The interface that routes target while this instance holds them: the one in its tag
/// [`INTERFACE_TAG`], else the primary one.
///
/// # Errors
/// If there is no such interface.
pub fn forwarding_interface(instance: &InstanceInfo) -> Result<&InterfaceInfo, Problem> {
    let tag = instance.tags.get(INTERFACE_TAG).map_or("0", String::as_str);
    let mut all = instance.interfaces.iter();
    all.find(|one| one.id.as_str() == tag || one.device_index.to_string() == tag).ok_or_else(|| {
        Problem::new(
            format!("instance {}", instance.id),
            format!("has no IPv4 interface `{tag}`"),
            format!("correct its tag {INTERFACE_TAG}: an interface id or a device index"),
        )
    })
}

pub(super) fn default_route(table: &RouteTableId, cidr: Ipv4Net) -> Resource {
    Resource::DefaultRoute { table: table.clone(), cidr }
}
