//! Reads what discovery needs from EC2 and Route 53.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::clouds::Clouds;
use crate::cluster::{Inventory, InventoryQuery, Selector, forwarding_interface};
use crate::types::{CloudFault, InstanceInfo, SubnetId};

impl Clouds {
    /// Reads all that [`crate::cluster::discover`] needs to know in the VPC. `me` counts among the
    /// instances whatever the query selects.
    ///
    /// # Errors
    /// The API's, as a kind: an inventory is complete or an error, because an instance that
    /// could not be read must not look like one that is gone.
    pub(crate) async fn inventory(
        &self,
        me: &InstanceInfo,
        query: &InventoryQuery,
        vpc_cidrs: &[Ipv4Net],
    ) -> Result<Inventory, CloudFault> {
        let (ec2, vpc) = (self.ec2(), self.vpc());
        let mut instances = match &query.instances {
            Selector::Tagged(cluster) => ec2.cluster_instances(vpc, cluster).await?,
            Selector::Ids(ids) => {
                let mut found = Vec::new();
                for id in ids {
                    found.extend(ec2.instance(id).await?);
                }
                found
            }
        };
        if instances.iter().all(|one| one.id != me.id) {
            instances.push(me.clone());
        }
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
        let mut subnets: BTreeSet<&SubnetId> =
            tables.iter().flat_map(|table| &table.subnets).collect();
        if query.members_subnets {
            let forwarding = instances.iter().filter_map(|one| forwarding_interface(one).ok());
            subnets.extend(forwarding.map(|interface| &interface.subnet));
        }
        let subnets: Vec<_> = subnets.into_iter().cloned().collect();
        let subnets = ec2.subnets(&subnets).await?;
        let elastic = ec2.elastic_addresses(&query.allocations).await?;
        let zones = self.route53().zones(&query.zones).await?;
        let vpc_cidrs = vpc_cidrs.to_vec();
        Ok(Inventory { instances, tables, subnets, vpc_cidrs, elastic, zones })
    }
}
