//! What discovery needs, read from EC2.

use std::collections::BTreeSet;

use super::ec2::Ec2;
use crate::config::{Wanted, Which};
use crate::types::{CloudFault, InstanceInfo, RouteTableInfo, SubnetInfo, VpcId};

/// What EC2 told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// The instances that were asked for and are there.
    pub instances: Vec<InstanceInfo>,
    /// The route tables that were asked for and are there.
    pub tables: Vec<RouteTableInfo>,
    /// The subnets of these tables.
    pub subnets: Vec<SubnetInfo>,
}

impl Ec2 {
    /// Reads all that [`crate::config::discover`] needs to know in a VPC.
    ///
    /// # Errors
    /// The API's, as a kind: a survey is whole or not at all, since an instance that merely could
    /// not be read must not look like one that is gone.
    pub async fn survey(&self, vpc: &VpcId, wanted: &Wanted) -> Result<Survey, CloudFault> {
        let instances = match &wanted.instances {
            Which::Tagged(cluster) => self.cluster_instances(vpc, cluster).await?,
            Which::Listed(ids) => {
                let mut found = Vec::new();
                for id in ids {
                    found.extend(self.instance(id).await?);
                }
                found
            }
        };
        let tables = match &wanted.tables {
            Which::Tagged(cluster) => self.cluster_route_tables(vpc, cluster).await?,
            Which::Listed(ids) => self.route_tables(ids).await?,
        };
        let subnets: BTreeSet<_> = tables.iter().flat_map(|table| &table.subnets).collect();
        let subnets: Vec<_> = subnets.into_iter().cloned().collect();
        let subnets = self.subnets(&subnets).await?;
        Ok(Survey { instances, tables, subnets })
    }
}
