//! Tries what `natha policy` lists for these settings, and what it does not, by dry runs.
//!
//! Each change is tried once, with a resource of this cluster. EC2 counts a dry run among the
//! account's requests, which a takeover may need at the same moment.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::Context;
use ipnet::Ipv4Net;

use super::limit::within;
use crate::cloud::{Attempt, Clouds, DryRun};
use crate::cluster::{CLUSTER_TAG, forwarding_interface};
use crate::config::Settings;
use crate::doctor::{ClusterFacts, Fact, Gap, Permission, PermissionResult};
use crate::policy::{NameOrRef, PolicyOptions, policy};
use crate::types::{
    AllocationId, InstanceId, InstanceInfo, NetworkInterfaceId, Resource, RouteTableId,
    RouteTableInfo, RouteVia, RouteWrite, RouteWriteVerb, printable,
};

/// The longest text of EC2 that is shown, in characters. A refusal may have an encoded message of
/// kilobytes.
const TEXT_MAX: usize = 200;

/// The changes that natha makes under some settings, and that EC2 has a dry run of.
const CHANGES: [&str; 6] = [
    "ec2:AssociateAddress",
    "ec2:CreateRoute",
    "ec2:ModifyNetworkInterfaceAttribute",
    "ec2:ReplaceRoute",
    "ec2:StartInstances",
    "ec2:StopInstances",
];

/// A destination that no table has a route to (RFC 5737, TEST-NET-1).
const DOCUMENTATION: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24);

/// What is tried, and with what.
pub(super) struct Tried<'a> {
    pub(super) settings: &'a Settings,
    pub(super) clouds: &'a Clouds,
    pub(super) me: Option<&'a InstanceInfo>,
    pub(super) cluster: Option<&'a ClusterFacts>,
    /// Whether natha is not installed yet: then only reads are tried.
    pub(super) pre: bool,
}

/// What the role allows; unknown if the settings do not say what the policy must allow. What EC2
/// answers within the time limit counts, even if it does not answer all.
pub(super) async fn gather(tried: &Tried<'_>) -> Fact<Vec<Permission>> {
    let wanted = wanted(tried).map_err(|error| Gap::new(format!("{error:#}")))?;
    let mut found = Vec::new();
    if let Err(gap) = within("EC2", Box::pin(attempts(tried, &wanted, &mut found))).await {
        found.extend(unanswered(&wanted, &found, &gap));
    }
    Ok(found)
}

/// The actions of the policy that are not among those found.
fn unanswered(wanted: &BTreeSet<&str>, found: &[Permission], gap: &Gap) -> Vec<Permission> {
    let is_found = |action: &str| found.iter().any(|one| one.action == action);
    let left = wanted.iter().filter(|action| !is_found(action));
    let unclear = |action: &&str| {
        let result = PermissionResult::Unclear(gap.to_string());
        Permission { action: (*action).to_owned(), is_wanted: true, result }
    };
    left.map(unclear).collect()
}

async fn attempts(
    tried: &Tried<'_>,
    wanted: &BTreeSet<&'static str>,
    found: &mut Vec<Permission>,
) -> Result<(), Gap> {
    for action in wanted {
        let result = match tried.attempt(action) {
            Ok(attempt) => tried.result(&attempt).await,
            Err(why) => PermissionResult::Untestable(why),
        };
        found.push(Permission { action: (*action).to_owned(), is_wanted: true, result });
    }
    if tried.pre {
        return Ok(());
    }
    for action in CHANGES.into_iter().filter(|action| !wanted.contains(action)) {
        // Without anything to try it with, nothing is known of it.
        if let Ok(attempt) = tried.attempt(action) {
            let result = tried.result(&attempt).await;
            found.push(Permission { action: action.to_owned(), is_wanted: false, result });
        }
    }
    if let Some((table, attempt)) = tried.foreign_route().await {
        let result = tried.result(&attempt).await;
        let action = format!("ec2:ReplaceRoute of the foreign table {table}");
        found.push(Permission { action, is_wanted: false, result });
    }
    Ok(())
}

/// The actions that `natha policy` lists.
fn wanted(tried: &Tried<'_>) -> anyhow::Result<BTreeSet<&'static str>> {
    let tag = tried.me.and_then(|me| me.tags.get(CLUSTER_TAG));
    let options = PolicyOptions {
        cluster: tag.cloned().map(NameOrRef::Known),
        vpc: Some(NameOrRef::Known(tried.clouds.vpc().to_string())),
        ..PolicyOptions::default()
    };
    let policy = policy(tried.settings, &options)
        .context("what the role must allow depends on the cluster: name it with --cluster")?;
    Ok(policy.actions().into_iter().collect())
}

impl Tried<'_> {
    /// How to try an action, or why that is not possible.
    fn attempt(&self, action: &str) -> Result<Attempt, &'static str> {
        match action {
            "ec2:DescribeAddresses" => return Ok(Attempt::DescribeAddresses),
            "ec2:DescribeInstances" => return Ok(Attempt::DescribeInstances),
            "ec2:DescribeInstanceStatus" => return Ok(Attempt::DescribeInstanceStatus),
            "ec2:DescribeNatGateways" => return Ok(Attempt::DescribeNatGateways),
            "ec2:DescribeNetworkInterfaces" => return Ok(Attempt::DescribeNetworkInterfaces),
            "ec2:DescribeRouteTables" => return Ok(Attempt::DescribeRouteTables),
            "ec2:DescribeSecurityGroups" => return Ok(Attempt::DescribeSecurityGroups),
            "ec2:DescribeSubnets" => return Ok(Attempt::DescribeSubnets),
            "ec2:AssignPrivateIpAddresses" => return Err("EC2 has no dry run of it"),
            other if !other.starts_with("ec2:") => return Err("only EC2 has dry runs"),
            _ if self.pre => return Err("what it needs is tagged at the installation"),
            _ => {}
        }
        let interface = self.interface().ok_or("the forwarding interface is not known")?;
        match action {
            "ec2:CreateRoute" => self.write(RouteWriteVerb::Create).map(Attempt::CreateRoute),
            "ec2:ReplaceRoute" => self.write(RouteWriteVerb::Replace).map(Attempt::ReplaceRoute),
            "ec2:StartInstances" => self.node().map(Attempt::StartInstances),
            "ec2:StopInstances" => self.node().map(Attempt::StopInstances),
            "ec2:ModifyNetworkInterfaceAttribute" => {
                Ok(Attempt::ModifyNetworkInterfaceAttribute(interface))
            }
            "ec2:AssociateAddress" => {
                let (allocation, on) = self.address().ok_or("the cluster has no Elastic IP")?;
                Ok(Attempt::AssociateAddress { allocation, interface, on })
            }
            _ => Err("natha does not know how to try it"),
        }
    }

    async fn result(&self, attempt: &Attempt) -> PermissionResult {
        match self.clouds.ec2().dry_run(attempt).await {
            Ok(DryRun::Allowed) => PermissionResult::Allowed,
            Ok(DryRun::Denied(reason)) => PermissionResult::Denied(brief(&reason)),
            Err(fault) => PermissionResult::Unclear(brief(&fault.to_string())),
        }
    }

    fn interface(&self) -> Option<NetworkInterfaceId> {
        Some(forwarding_interface(self.me?).ok()?.id.clone())
    }

    /// The node to try a stop and a start of: a peer, else this one.
    fn node(&self) -> Result<InstanceId, &'static str> {
        let cluster = self.cluster.ok_or("the members are not known")?;
        let mut others = cluster.roster.members.iter().filter(|member| member.id != cluster.me);
        Ok(others.next().map_or(&cluster.me, |member| &member.id).clone())
    }

    /// A route of the cluster, to be written for this node.
    fn write(&self, verb: RouteWriteVerb) -> Result<RouteWrite, &'static str> {
        let cluster = self.cluster.ok_or("the route tables are not known")?;
        let mut all = cluster.roster.groups.iter().flat_map(|group| &group.resources);
        let route = all.find_map(Resource::route).ok_or("the cluster has no route table")?;
        let interface = self.interface().ok_or("the forwarding interface is not known")?;
        let (table, there) = (route.0.clone(), route.1);
        // EC2 may refuse to create a route that exists before it says whether the role may.
        let cidr = match verb {
            RouteWriteVerb::Create => DOCUMENTATION,
            RouteWriteVerb::Replace => there,
        };
        Ok(RouteWrite { verb, table, cidr, via: RouteVia::Interface(interface) })
    }

    /// An Elastic IP of the cluster, and the private address of this node for it.
    fn address(&self) -> Option<(AllocationId, Option<Ipv4Addr>)> {
        let cluster = self.cluster?;
        let me = cluster.roster.member(&cluster.me)?;
        let mut all = cluster.roster.groups.iter().flat_map(|group| &group.resources);
        all.find_map(|resource| match resource {
            Resource::Eip { allocation, on, .. } => Some((allocation.clone(), *on)),
            Resource::EgressIp { allocation, .. } => {
                Some((allocation.clone(), me.landings.get(allocation).copied()))
            }
            Resource::DefaultRoute { .. }
            | Resource::Vip { .. }
            | Resource::PrivateIp { .. }
            | Resource::Dns { .. } => None,
        })
    }

    /// A change of the table of this node's own subnet, which no group has. A role that allows it
    /// allows changes of any table; one for a virtual IP in whatever table has a route to it must.
    async fn foreign_route(&self) -> Option<(RouteTableId, Attempt)> {
        let (cluster, me) = (self.cluster?, self.me?);
        let mut resources = self.settings.groups.iter().flat_map(|group| &group.resources);
        if resources.any(|one| one.in_any_table().is_some()) {
            return None;
        }
        let interface = forwarding_interface(me).ok()?;
        let subnets = [interface.subnet.clone()];
        let tables = self.clouds.ec2().route_tables_of(&subnets).await.ok()?;
        let is_ours = |table: &RouteTableInfo| {
            let mut all = cluster.roster.groups.iter().flat_map(|group| &group.resources);
            table.tags.contains_key(CLUSTER_TAG)
                || all.any(|one| one.route().is_some_and(|(id, _)| *id == table.id))
        };
        let table = tables.into_iter().find(|table| !is_ours(table))?;
        let write = RouteWrite {
            verb: RouteWriteVerb::Replace,
            table: table.id.clone(),
            cidr: Ipv4Net::default(),
            via: RouteVia::Interface(interface.id.clone()),
        };
        Some((table.id, Attempt::ReplaceRoute(write)))
    }
}

/// A text of EC2, shortened and fit for a terminal.
fn brief(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_refusal_is_cut_between_characters() {
        assert_eq!(brief("no\u{7}"), "no\\u{7}");
        let long = brief(&"é".repeat(TEXT_MAX + 1));
        assert_eq!(long.chars().count(), TEXT_MAX + 1);
        assert!(long.ends_with("é…"));
    }

    #[test]
    fn what_ec2_did_not_answer_in_time_is_unclear_and_the_rest_counts() {
        let allowed = Permission {
            action: "ec2:CreateRoute".to_owned(),
            is_wanted: true,
            result: PermissionResult::Allowed,
        };
        let wanted = BTreeSet::from(["ec2:CreateRoute", "ec2:ReplaceRoute"]);
        let left = unanswered(&wanted, &[allowed], &Gap::new("EC2 is slow"));
        let unclear = PermissionResult::Unclear("EC2 is slow".to_owned());
        let action = "ec2:ReplaceRoute".to_owned();
        assert_eq!(left, [Permission { action, is_wanted: true, result: unclear }]);
    }

    #[test]
    fn every_change_that_is_tried_is_one_that_some_settings_need() {
        let everything = PolicyOptions {
            cluster: Some(NameOrRef::Known("blue".to_owned())),
            ..PolicyOptions::default()
        };
        let known = policy(&Settings::default(), &everything).unwrap().actions();
        let missing: Vec<&str> =
            CHANGES.into_iter().filter(|action| !known.contains(action)).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
