//! Reads what discovery needs from EC2 and Route 53.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::clouds::Clouds;
use crate::cluster::{
    CLUSTER_TAG, GROUP_TAG, Inventory, InventoryQuery, Selector, forwarding_interface,
};
use crate::types::{
    AllocationId, CloudFault, CloudFaultKind, ElasticIpInfo, InstanceId, InstanceInfo, Resource,
    Roster, RouteTableId, SubnetId,
};

/// What exists as far as is known, whether a list has it or not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    members: BTreeSet<InstanceId>,
    tables: BTreeSet<RouteTableId>,
    egress: BTreeSet<AllocationId>,
}

impl Expected {
    /// What the roster `known` has, and the nodes in `heard`.
    pub(crate) fn of(known: &Roster, heard: &BTreeSet<InstanceId>) -> Self {
        let members = known.members.iter().map(|member| &member.id);
        let resources = known.groups.iter().flat_map(|group| &group.resources);
        let egress = resources.clone().filter_map(|one| match one {
            Resource::EgressIp { allocation, .. } => Some(allocation.clone()),
            _ => None,
        });
        Self {
            egress: egress.collect(),
            members: members.chain(heard).cloned().collect(),
            tables: resources.filter_map(|one| Some(one.route()?.0.clone())).collect(),
        }
    }
}

impl Clouds {
    /// Reads all that [`crate::cluster::discover`] needs to know in the VPC. `me` counts among the
    /// instances whatever the query selects.
    ///
    /// EC2 answers lists with a filter from an index that lags: one may lack what the list before
    /// it had. So what is expected and such a list lacks is read by its id.
    ///
    /// # Errors
    /// The API's, as a kind: an inventory is complete or an error, because an instance that
    /// could not be read must not look like one that is gone.
    pub(crate) async fn inventory(
        &self,
        me: &InstanceInfo,
        query: &InventoryQuery,
        expected: &Expected,
        vpc_cidrs: &[Ipv4Net],
    ) -> Result<Inventory, CloudFault> {
        let (ec2, vpc) = (self.ec2(), self.vpc());
        let instances = self.instances(me, query, expected).await?;
        let forwarding = instances.iter().filter_map(|one| forwarding_interface(one).ok());
        self.remember(forwarding.map(|one| (one.id.clone(), one.address)).collect());
        let mut tables = match &query.tables {
            Selector::Tagged(cluster) => ec2.cluster_route_tables(vpc, cluster).await?,
            Selector::Ids(ids) => ec2.route_tables(ids).await?,
        };
        let vips: Vec<Ipv4Net> = query.vips.iter().map(|vip| Ipv4Net::from(*vip)).collect();
        for table in ec2.route_tables_to(vpc, &vips).await? {
            if tables.iter().all(|known| known.id != table.id) {
                tables.push(table);
            }
        }
        let listed = match &query.tables {
            Selector::Tagged(_) => &[][..],
            Selector::Ids(ids) => ids,
        };
        for id in missing(expected.tables.iter().chain(listed), &tables, |table| &table.id) {
            tables.extend(ec2.route_table(&id).await?);
        }
        let on_main_table = if tables.iter().any(|table| table.main) {
            self.on_main_table(&instances).await?
        } else {
            BTreeSet::new()
        };
        let mut subnets: BTreeSet<&SubnetId> =
            tables.iter().flat_map(|table| &table.subnets).collect();
        if query.members_subnets {
            let forwarding = instances.iter().filter_map(|one| forwarding_interface(one).ok());
            subnets.extend(forwarding.map(|interface| &interface.subnet));
        }
        let ids: Vec<_> = subnets.into_iter().cloned().collect();
        let mut subnets = ec2.subnets(&ids).await?;
        for id in missing(&ids, &subnets, |subnet| &subnet.id) {
            subnets.extend(ec2.subnet(&id).await?);
        }
        let elastic = ec2.elastic_addresses(&query.allocations).await?;
        let tagged_elastic = match &query.egress_of {
            Some(cluster) => self.tagged_elastic(cluster, &expected.egress).await?,
            None => Some(Vec::new()),
        };
        let zones = self.route53().zones(&query.zones).await?;
        let vpc_cidrs = vpc_cidrs.to_vec();
        Ok(Inventory {
            instances,
            tables,
            subnets,
            on_main_table,
            vpc_cidrs,
            elastic,
            tagged_elastic,
            zones,
        })
    }

    /// The instances that the query selects, and `me`.
    async fn instances(
        &self,
        me: &InstanceInfo,
        query: &InventoryQuery,
        expected: &Expected,
    ) -> Result<Vec<InstanceInfo>, CloudFault> {
        let ec2 = self.ec2();
        let mut found = Vec::new();
        match &query.instances {
            Selector::Tagged(cluster) => {
                found = ec2.cluster_instances(self.vpc(), cluster).await?;
                let members = expected.members.iter().filter(|id| **id != me.id);
                for id in missing(members, &found, |instance| &instance.id) {
                    found.extend(ec2.instance(&id).await?);
                }
            }
            Selector::Ids(ids) => {
                for id in ids {
                    found.extend(ec2.instance(id).await?);
                }
            }
        }
        if found.iter().all(|one| one.id != me.id) {
            found.push(me.clone());
        }
        Ok(found)
    }

    /// The Elastic IPs that are tagged for groups of this cluster; none if the role may not read
    /// them, as in clusters from before there were any. A cluster with `expected` ones keeps them:
    /// that is an error then.
    async fn tagged_elastic(
        &self,
        cluster: &str,
        expected: &BTreeSet<AllocationId>,
    ) -> Result<Option<Vec<ElasticIpInfo>>, CloudFault> {
        let mut found = match self.ec2().cluster_elastic_ips(cluster).await {
            Err(fault) if fault.kind == CloudFaultKind::Denied && expected.is_empty() => {
                return Ok(None);
            }
            other => other?,
        };
        let is_ours = |one: &ElasticIpInfo| {
            one.tags.get(CLUSTER_TAG).is_some_and(|tag| tag == cluster)
                && one.tags.contains_key(GROUP_TAG)
        };
        for id in missing(expected, &found, |address| &address.id) {
            found.extend(self.ec2().elastic_ip(&id).await?.filter(is_ours));
        }
        Ok(Some(found))
    }

    /// The subnets of these instances without a route table of their own. An answer with a filter
    /// may lack a table, and what it lacks would count here: so all tables are read then.
    async fn on_main_table(
        &self,
        instances: &[InstanceInfo],
    ) -> Result<BTreeSet<SubnetId>, CloudFault> {
        let interfaces = instances.iter().flat_map(|one| &one.interfaces);
        let mut left: BTreeSet<SubnetId> = interfaces.map(|one| one.subnet.clone()).collect();
        let wanted: Vec<SubnetId> = left.iter().cloned().collect();
        for table in self.ec2().route_tables_of(&wanted).await? {
            left.retain(|subnet| !table.subnets.contains(subnet));
        }
        if !left.is_empty() {
            for table in self.ec2().all_route_tables().await? {
                left.retain(|subnet| !table.subnets.contains(subnet));
            }
        }
        Ok(left)
    }
}

/// The ids that `found` lacks, each once.
fn missing<'a, Id: Ord + Clone + 'a, T>(
    expected: impl IntoIterator<Item = &'a Id>,
    found: &[T],
    id_of: impl Fn(&T) -> &Id,
) -> BTreeSet<Id> {
    let is_missing = |id: &&Id| found.iter().all(|one| id_of(one) != *id);
    expected.into_iter().filter(is_missing).cloned().collect()
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
