//! Which tables, interfaces and instances the nodes may touch.

use std::collections::BTreeSet;

use super::{Condition, Name, Text, Told};
use crate::cluster::CLUSTER_TAG;
use crate::config::{Problem, ResourceSetting, Settings};
use crate::types::{InstanceId, RouteTableId};

/// The condition key of the tag with the cluster's name.
const CLUSTER_KEY: &str = "aws:ResourceTag/natha:cluster";

/// Resources, and what must hold of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) resources: Vec<Text>,
    pub(super) conditions: Vec<Condition>,
}

/// What scopes are made from.
pub(super) struct Ground<'a> {
    pub(super) settings: &'a Settings,
    pub(super) told: &'a Told,
}

impl Ground<'_> {
    /// An ARN of EC2.
    pub(super) fn ec2(&self, kind: &str, name: &Name) -> Text {
        Text::arn(&self.told.places, "ec2", &format!("{kind}/"), name)
    }

    fn any(&self, kind: &str) -> Text {
        self.ec2(kind, &Name::Known("*".to_owned()))
    }

    /// The tag with the cluster's name.
    fn in_cluster(&self) -> Option<Condition> {
        let known = || self.settings.cluster.clone().map(Name::Known);
        let cluster = self.told.cluster.clone().or_else(known)?;
        let values = vec![Text::name(&cluster)];
        Some(Condition { operator: "StringEquals", key: CLUSTER_KEY, values })
    }

    /// The VPC. Region and account of its ARN may be any, which `StringEquals` would not take.
    fn in_vpc(&self) -> Option<Condition> {
        let vpc = self.told.vpc.as_ref()?;
        let values = vec![self.ec2("vpc", vpc)];
        Some(Condition { operator: "ArnLike", key: "ec2:Vpc", values })
    }

    /// The nodes, as far as EC2 is to stop and start them or to put an Elastic IP on them.
    ///
    /// # Errors
    /// Where nothing tells which instances they are.
    pub(super) fn nodes(&self) -> Result<Scope, Problem> {
        let pair = self.settings.pair.as_ref().map(|pair| &pair.peer);
        let members: BTreeSet<&InstanceId> = match pair {
            Some(peer) => BTreeSet::from([peer]),
            None => self.settings.members.iter().collect(),
        };
        if !members.is_empty() {
            let named = |id: &InstanceId| self.ec2("instance", &Name::Known(id.to_string()));
            let resources = members.into_iter().map(named).collect();
            return Ok(Scope { resources, conditions: Vec::new() });
        }
        let tagged = self.in_cluster().ok_or_else(|| Problem {
            subject: "instances".to_owned(),
            what: "it is not known which are the cluster's".to_owned(),
            remedy: format!(
                "name the cluster, the value of their tag {CLUSTER_TAG} (`--cluster`), or list \
                 `members`"
            ),
        })?;
        Ok(Scope { resources: vec![self.any("instance")], conditions: vec![tagged] })
    }

    /// The nodes' network interfaces.
    ///
    /// # Errors
    /// Where nothing tells which they are: settings never list them.
    pub(super) fn interfaces(&self) -> Result<Scope, Problem> {
        let conditions: Vec<Condition> =
            self.in_cluster().into_iter().chain(self.in_vpc()).collect();
        if conditions.is_empty() {
            return Err(Problem {
                subject: "network interfaces".to_owned(),
                what: "it is not known which are the cluster's".to_owned(),
                remedy: format!(
                    "name the cluster, the value of their tag {CLUSTER_TAG} (`--cluster`), or \
                     their VPC (`--vpc`)"
                ),
            });
        }
        Ok(Scope { resources: vec![self.any("network-interface")], conditions })
    }

    /// The route tables that natha writes to: those that are listed, those with the cluster's tag,
    /// and those of the VPC that have a route to a virtual IP, each where the settings make them
    /// count.
    ///
    /// # Errors
    /// Where nothing tells which they are.
    pub(super) fn tables(&self) -> Result<Vec<(&'static str, Scope)>, Problem> {
        let mut scopes = Vec::new();
        let listed = self.listed_tables();
        if !listed.is_empty() {
            let resources = listed.iter().map(|table| self.ec2("route-table", table)).collect();
            let conditions = self.in_vpc().into_iter().collect();
            scopes.push(("MoveRoutes", Scope { resources, conditions }));
        } else if self.settings.groups.is_empty() {
            scopes.push(("MoveRoutes", self.tagged_tables()?));
        }
        if let Some(vip) = self.vip_anywhere() {
            let in_vpc = self.in_vpc().ok_or_else(|| Problem {
                subject: format!("virtual IP {vip}"),
                what: "it is not known which route tables lead to it".to_owned(),
                remedy: "name them in its `tables`, or the VPC, all of whose tables may then be \
                         changed (`--vpc`)"
                    .to_owned(),
            })?;
            let resources = vec![self.any("route-table")];
            scopes.push(("MoveRoutesOfVpc", Scope { resources, conditions: vec![in_vpc] }));
        }
        Ok(scopes)
    }

    fn tagged_tables(&self) -> Result<Scope, Problem> {
        let tagged = self.in_cluster().ok_or_else(|| Problem {
            subject: "route tables".to_owned(),
            what: "it is not known which are the cluster's".to_owned(),
            remedy: format!(
                "name the cluster, the value of their tag {CLUSTER_TAG} (`--cluster`), or list \
                 them in groups"
            ),
        })?;
        let conditions = std::iter::once(tagged).chain(self.in_vpc()).collect();
        Ok(Scope { resources: vec![self.any("route-table")], conditions })
    }

    /// The tables that somebody names.
    fn listed_tables(&self) -> Vec<Name> {
        if !self.told.tables.is_empty() {
            return self.told.tables.clone();
        }
        let mut listed: BTreeSet<&RouteTableId> = BTreeSet::new();
        if let Some(pair) = &self.settings.pair {
            listed.extend([&pair.peer_table, &pair.my_table]);
        }
        for group in &self.settings.groups {
            listed.extend(&group.tables);
            for resource in &group.resources {
                if let ResourceSetting::Vip { tables, .. } = resource {
                    listed.extend(tables);
                }
            }
        }
        listed.into_iter().map(|table| Name::Known(table.to_string())).collect()
    }

    /// A virtual IP whose tables are all those of the VPC that have a route to it.
    fn vip_anywhere(&self) -> Option<std::net::Ipv4Addr> {
        if !self.told.tables.is_empty() {
            return None;
        }
        let mut resources = self.settings.groups.iter().flat_map(|group| &group.resources);
        resources.find_map(|resource| match resource {
            ResourceSetting::Vip { address, tables } if tables.is_empty() => Some(*address),
            _ => None,
        })
    }
}
