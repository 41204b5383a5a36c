//! The route tables, interfaces and instances that the policy allows.

use std::collections::BTreeSet;

use super::{Condition, NameOrRef, PolicyOptions, Text};
use crate::cluster::CLUSTER_TAG;
use crate::config::{Problem, ResourceSetting, Settings};
use crate::types::{InstanceId, RouteTableId};

/// The condition key for the tag with the cluster's name.
const CLUSTER_KEY: &str = "aws:ResourceTag/natha:cluster";

/// The condition key for the tag with the group of an egress IP.
const GROUP_KEY: &str = "aws:ResourceTag/natha:group";

/// Resources, and the conditions on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) resources: Vec<Text>,
    pub(super) conditions: Vec<Condition>,
}

/// The input that scopes are made from.
pub(super) struct PolicyContext<'a> {
    pub(super) settings: &'a Settings,
    pub(super) options: &'a PolicyOptions,
}

/// The problem of everything that only the cluster's name identifies. It is one, so that it is
/// reported once.
fn which_cluster() -> Problem {
    Problem::new(
        "cluster",
        "it is not known which one the policy is for",
        "give --cluster NAME, or --config FILE that lists members and tables",
    )
}

/// The problem of network interfaces where the members are listed, or are not needed.
fn which_interfaces() -> Problem {
    Problem::new(
        "network interfaces",
        "cannot determine which belong to the cluster",
        format!(
            "give their VPC with --vpc, or the value of their tag {CLUSTER_TAG} with --cluster"
        ),
    )
}

impl PolicyContext<'_> {
    /// An ARN of the service `ec2`.
    pub(super) fn ec2(&self, kind: &str, name: &NameOrRef) -> Text {
        Text::arn(&self.options.arns, "ec2", &format!("{kind}/"), name)
    }

    fn any(&self, kind: &str) -> Text {
        self.ec2(kind, &NameOrRef::Known("*".to_owned()))
    }

    /// The condition that a resource has the cluster's tag.
    fn in_cluster(&self) -> Option<Condition> {
        let known = || self.settings.cluster.clone().map(NameOrRef::Known);
        let cluster = self.options.cluster.clone().or_else(known)?;
        let values = vec![Text::name(&cluster)];
        Some(Condition { operator: "StringEquals", key: CLUSTER_KEY, values })
    }

    /// The condition that a resource is in the VPC. The region and account of the ARN may be `*`,
    /// which `StringEquals` does not support.
    fn in_vpc(&self) -> Option<Condition> {
        let vpc = self.options.vpc.as_ref()?;
        let values = vec![self.ec2("vpc", vpc)];
        Some(Condition { operator: "ArnLike", key: "ec2:Vpc", values })
    }

    /// The instances to stop and start, or to associate Elastic IPs with.
    ///
    /// # Errors
    /// If neither the settings nor the options identify the instances.
    pub(super) fn nodes(&self) -> Result<Scope, Problem> {
        let members: BTreeSet<&InstanceId> = self.settings.members.iter().collect();
        if !members.is_empty() {
            let named = |id: &InstanceId| self.ec2("instance", &NameOrRef::Known(id.to_string()));
            let resources = members.into_iter().map(named).collect();
            return Ok(Scope { resources, conditions: Vec::new() });
        }
        let tagged = self.in_cluster().ok_or_else(which_cluster)?;
        Ok(Scope { resources: vec![self.any("instance")], conditions: vec![tagged] })
    }

    /// The instances that Elastic IPs may move to. Settings need not list this node, which receives
    /// them too: what has the cluster's tag counts as well.
    ///
    /// # Errors
    /// If neither the settings nor the options identify the instances, this node included.
    pub(super) fn receivers(&self) -> Result<Vec<Scope>, Problem> {
        let mut scopes = vec![self.nodes()?];
        let listed = self.settings.members.len();
        match self.in_cluster() {
            Some(tagged) if listed > 0 => {
                let (resources, conditions) = (vec![self.any("instance")], vec![tagged]);
                scopes.push(Scope { resources, conditions });
            }
            None if listed == 1 => {
                return Err(Problem::new(
                    "members",
                    "list one node, and the other one must receive Elastic IPs too",
                    format!(
                        "list every node, or give the value of their tag {CLUSTER_TAG} with \
                         --cluster"
                    ),
                ));
            }
            _ => {}
        }
        Ok(scopes)
    }

    /// The nodes' network interfaces. Settings never list them.
    ///
    /// # Errors
    /// If neither the cluster nor the VPC is known.
    pub(super) fn interfaces(&self) -> Result<Scope, Problem> {
        let conditions: Vec<Condition> =
            self.in_cluster().into_iter().chain(self.in_vpc()).collect();
        if conditions.is_empty() {
            let is_cluster_needed = self.settings.members.is_empty() && self.monitors();
            return Err(if is_cluster_needed { which_cluster() } else { which_interfaces() });
        }
        Ok(Scope { resources: vec![self.any("network-interface")], conditions })
    }

    /// The route tables that natha writes to under these settings: the listed ones, those with the
    /// cluster's tag, and those of the VPC with a route to a virtual IP.
    ///
    /// # Errors
    /// If neither the settings nor the options identify the tables.
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
            let in_vpc = self.in_vpc().ok_or_else(|| {
                Problem::new(
                    format!("virtual IP {vip}"),
                    "cannot determine which route tables have a route to it",
                    "list them in its `tables`, or set the VPC (`--vpc`), which allows changes to \
                     all its tables",
                )
            })?;
            let resources = vec![self.any("route-table")];
            scopes.push(("MoveRoutesOfVpc", Scope { resources, conditions: vec![in_vpc] }));
        }
        Ok(scopes)
    }

    fn tagged_tables(&self) -> Result<Scope, Problem> {
        let tagged = self.in_cluster().ok_or_else(which_cluster)?;
        let conditions = std::iter::once(tagged).chain(self.in_vpc()).collect();
        Ok(Scope { resources: vec![self.any("route-table")], conditions })
    }

    /// The Elastic IPs that are tagged for a group of the cluster. Those of the nodes themselves,
    /// which may have the cluster's tag, are not.
    ///
    /// # Errors
    /// If the cluster is not known.
    pub(super) fn tagged_elastic_ips(&self) -> Result<Scope, Problem> {
        let tagged = self.in_cluster().ok_or_else(which_cluster)?;
        // Any value, but the tag must be there.
        let values = vec![Text::plain("*")];
        let grouped = Condition { operator: "StringLike", key: GROUP_KEY, values };
        Ok(Scope { resources: vec![self.any("elastic-ip")], conditions: vec![tagged, grouped] })
    }

    /// The tables listed in the options, else those in the settings.
    fn listed_tables(&self) -> Vec<NameOrRef> {
        if !self.options.tables.is_empty() {
            return self.options.tables.clone();
        }
        let mut listed: BTreeSet<&RouteTableId> = BTreeSet::new();
        for group in &self.settings.groups {
            listed.extend(&group.tables);
            for resource in &group.resources {
                listed.extend(resource.tables());
            }
        }
        listed.into_iter().map(|table| NameOrRef::Known(table.to_string())).collect()
    }

    /// A virtual IP without listed tables: it is in every table of the VPC that has a route to it.
    fn vip_anywhere(&self) -> Option<std::net::Ipv4Addr> {
        if !self.options.tables.is_empty() {
            return None;
        }
        let mut resources = self.settings.groups.iter().flat_map(|group| &group.resources);
        resources.find_map(ResourceSetting::in_any_table)
    }
}
