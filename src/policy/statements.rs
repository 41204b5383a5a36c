//! Derives the policy's statements from the settings.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::{PolicyContext, Scope};
use super::{Condition, NameOrRef, Policy, PolicyOptions, Statement, Text};
use crate::config::{Problem, Problems, ResourceSetting, Settings};
use crate::types::{DnsName, HostedZoneId, printable};

/// The operations that natha performs under the settings.
impl PolicyContext<'_> {
    /// Whether to allow what `natha monitor` and `natha take` need.
    pub(super) fn monitors(&self) -> bool {
        !self.options.setup_only
    }

    fn moves_routes(&self) -> bool {
        let vips = self.settings.groups.iter().any(|group| group.vips().next().is_some());
        self.monitors() && (self.settings.moves_default_routes() || vips)
    }

    /// Whether a group may have a fallback: the settings name one, or tags may.
    fn may_have_fallbacks(&self) -> bool {
        let groups = &self.settings.groups;
        groups.iter().any(|group| group.fallback.is_some())
            || (groups.is_empty() && self.settings.moves_default_routes())
    }

    fn moves_private_ips(&self) -> bool {
        let mut groups = self.settings.groups.iter();
        self.monitors() && groups.any(|group| group.private_ips().next().is_some())
    }

    /// Whether tags may make Elastic IPs egress IPs: the settings have no groups.
    fn finds_egress_ips(&self) -> bool {
        self.monitors() && self.settings.groups.is_empty() && self.settings.is_nat()
    }

    /// Whether the monitor has EC2 assign landing addresses.
    fn adds_landings(&self) -> bool {
        let is_unlisted = |one: &ResourceSetting| match one {
            ResourceSetting::EgressIp { landing, .. } => landing.is_empty(),
            ResourceSetting::Vip { .. }
            | ResourceSetting::PrivateIp { .. }
            | ResourceSetting::Eip { .. }
            | ResourceSetting::Dns { .. } => false,
        };
        self.finds_egress_ips() || (self.monitors() && resources(self.settings).any(is_unlisted))
    }

    /// Whether natha reads the source/dest check: `natha setup` only if it manages the check, the
    /// monitor always.
    fn reads_check(&self) -> bool {
        self.sets_check() || (self.monitors() && self.settings.takes_foreign_packets())
    }

    fn sets_check(&self) -> bool {
        self.settings.takes_foreign_packets() && self.settings.host.source_dest_check
    }
}

/// The policy for the role of nodes with these settings.
///
/// # Errors
/// If the tables, interfaces or instances to allow cannot be determined; reports all such problems
/// at once. A policy never allows everything in the account instead.
pub fn policy(settings: &Settings, options: &PolicyOptions) -> Result<Policy, Problems> {
    let invalid = invalid_names(settings, options);
    if !invalid.is_empty() {
        return Err(Problems(invalid));
    }
    let context = PolicyContext { settings, options };
    let mut draft = Draft { statements: vec![read(&context)], problems: Vec::new() };
    if context.moves_routes() {
        match context.tables() {
            Ok(scopes) => {
                for (sid, scope) in scopes {
                    draft.allow(sid, &["ec2:CreateRoute", "ec2:ReplaceRoute"], Ok(scope));
                }
            }
            Err(problem) => draft.problems.push(problem),
        }
    }
    if context.monitors() && settings.timing.repair.enabled {
        draft.allow("Repair", &["ec2:StartInstances", "ec2:StopInstances"], context.nodes());
    }
    if context.sets_check() {
        let scope = context.interfaces().map(|mut scope| {
            let values = vec![Text::plain("SourceDestCheck")];
            let only = Condition { operator: "StringEquals", key: "ec2:Attribute", values };
            scope.conditions.push(only);
            scope
        });
        draft.allow("SourceDestCheck", &["ec2:ModifyNetworkInterfaceAttribute"], scope);
    }
    if context.adds_landings() {
        let actions = &["ec2:AssignPrivateIpAddresses"];
        draft.allow("AddLandingAddresses", actions, context.interfaces());
    }
    if context.moves_private_ips() {
        let actions = &["ec2:AssignPrivateIpAddresses"];
        draft.allow("MovePrivateIps", actions, context.interfaces());
    }
    if context.monitors() {
        elastic_ips(&context, &mut draft);
        records(&context, &mut draft);
        notices(&context, &mut draft);
    }
    measuring(&context, &mut draft);
    if let Some(key) = options.key.as_ref().filter(|_| context.monitors()) {
        let resources = vec![Text::arn(&options.arns, "ssm", "parameter", key)];
        let scope = Scope { resources, conditions: Vec::new() };
        draft.allow("ReadKey", &["ssm:GetParameter"], Ok(scope));
    }
    let Draft { statements, problems } = draft;
    if problems.is_empty() { Ok(Policy { statements }) } else { Err(Problems(problems)) }
}

/// Names that cannot appear in a policy: IAM, CloudFormation and Terraform interpret dollar signs,
/// asterisks and quotes, each in its own way.
fn invalid_names(settings: &Settings, options: &PolicyOptions) -> Vec<Problem> {
    let mut invalid = Vec::new();
    let cluster = settings.cluster.as_ref().filter(|_| options.cluster.is_none());
    let plain = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    if let Some(cluster) = cluster.filter(|name| !name.chars().all(plain)) {
        invalid.push(Problem::new(
            format!("cluster `{}`", printable(cluster)),
            "this name cannot be used in a policy condition",
            "use only letters, digits, spaces and + - = . _ : / @",
        ));
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if let Some(region) = options.arns.region.as_ref().filter(|name| !name.bytes().all(plain)) {
        invalid.push(Problem::new(
            format!("region `{}`", printable(region)),
            "is not a region",
            "use one such as eu-west-1",
        ));
    }
    invalid
}

/// The statements and problems so far.
struct Draft {
    statements: Vec<Statement>,
    problems: Vec<Problem>,
}

impl Draft {
    fn allow(
        &mut self,
        sid: impl Into<String>,
        actions: &[&'static str],
        scope: Result<Scope, Problem>,
    ) {
        match scope {
            Ok(Scope { resources, conditions }) => {
                let (sid, actions) = (sid.into(), actions.to_vec());
                self.statements.push(Statement { sid, actions, resources, conditions });
            }
            // Several statements may have the same problem.
            Err(problem) if self.problems.contains(&problem) => {}
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// EC2's read calls. IAM does not support resource limits for any of them.
fn read(context: &PolicyContext<'_>) -> Statement {
    let (routes, private_ips) = (context.moves_routes(), context.moves_private_ips());
    let elastic_ips = context.monitors() && context.settings.moves_elastic_ips();
    let measures = context.options.measure_elastic_ip.is_some();
    let elastic_ips = elastic_ips || context.finds_egress_ips() || measures;
    let tags = context.options.doctor && elastic_ips;
    let interfaces = context.reads_check() || private_ips || measures || tags;
    let routes = routes || context.options.measure_table.is_some();
    let subnets = routes || private_ips || measures;
    let wanted = [
        ("ec2:DescribeAddresses", elastic_ips),
        ("ec2:DescribeInstances", true),
        ("ec2:DescribeInstanceStatus", context.monitors()),
        ("ec2:DescribeNatGateways", context.options.doctor && context.may_have_fallbacks()),
        ("ec2:DescribeNetworkInterfaces", interfaces),
        ("ec2:DescribeRouteTables", routes),
        ("ec2:DescribeSecurityGroups", context.options.doctor),
        ("ec2:DescribeSubnets", subnets),
    ];
    Statement {
        sid: "Read".to_owned(),
        actions: wanted.into_iter().filter(|(_, is)| *is).map(|(action, _)| action).collect(),
        resources: vec![Text::plain("*")],
        conditions: Vec::new(),
    }
}

/// What `natha measure` does with a route or an Elastic IP of its own.
fn measuring(context: &PolicyContext<'_>, draft: &mut Draft) {
    let only = |kind: &str, id: &str| {
        let resources = vec![context.ec2(kind, &NameOrRef::Known(id.to_owned()))];
        Ok(Scope { resources, conditions: Vec::new() })
    };
    if let Some(table) = &context.options.measure_table {
        let actions = &["ec2:CreateRoute", "ec2:DeleteRoute", "ec2:ReplaceRoute"];
        draft.allow("MeasureRoute", actions, only("route-table", table.as_str()));
    }
    if let Some(id) = &context.options.measure_elastic_ip {
        let actions = ["ec2:AssociateAddress", "ec2:DisassociateAddress"];
        draft.allow("MeasureElasticIp", &actions, only("elastic-ip", id.as_str()));
        let private = ["ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"];
        draft.allow("MeasureOnInterfaces", &[actions, private].concat(), context.interfaces());
        to_instances(context, draft, ["MeasureOnInstances", "MeasureOnTaggedInstances"]);
    }
}

/// Allows the nodes to receive Elastic IPs.
fn to_instances(context: &PolicyContext<'_>, draft: &mut Draft, sids: [&'static str; 2]) {
    const ACTION: &[&str] = &["ec2:AssociateAddress"];
    match context.receivers() {
        Ok(scopes) => {
            for (sid, scope) in sids.into_iter().zip(scopes) {
                draft.allow(sid, ACTION, Ok(scope));
            }
        }
        Err(problem) => draft.allow(sids[0], ACTION, Err(problem)),
    }
}

/// Elastic IPs. EC2 checks the permission on the address, on the interface and on its instance.
fn elastic_ips(context: &PolicyContext<'_>, draft: &mut Draft) {
    const ACTION: &[&str] = &["ec2:AssociateAddress"];
    let allocations: BTreeSet<&str> = resources(context.settings)
        .filter_map(|resource| Some(resource.elastic_ip()?.as_str()))
        .collect();
    let scope = if context.finds_egress_ips() {
        context.tagged_elastic_ips()
    } else if allocations.is_empty() {
        return;
    } else {
        let arn = |id: &str| context.ec2("elastic-ip", &NameOrRef::Known(id.to_owned()));
        let resources = allocations.into_iter().map(arn).collect();
        Ok(Scope { resources, conditions: Vec::new() })
    };
    draft.allow("MoveElasticIps", ACTION, scope);
    draft.allow("MoveElasticIpsToInterfaces", ACTION, context.interfaces());
    let sids = ["MoveElasticIpsToInstances", "MoveElasticIpsToTaggedInstances"];
    to_instances(context, draft, sids);
}

/// The topic for notices, and no other.
fn notices(context: &PolicyContext<'_>, draft: &mut Draft) {
    let set = || context.settings.notify.sns_topic.as_ref();
    let known = || set().map(|topic| NameOrRef::Known(topic.as_str().to_owned()));
    let Some(topic) = context.options.topic.clone().or_else(known) else { return };
    let scope = Scope { resources: vec![Text::name(&topic)], conditions: Vec::new() };
    draft.allow("PublishNotices", &["sns:Publish"], Ok(scope));
}

/// Route 53 records: each zone with its own record names.
fn records(context: &PolicyContext<'_>, draft: &mut Draft) {
    let mut zones: BTreeMap<&HostedZoneId, BTreeSet<&DnsName>> = BTreeMap::new();
    for (zone, name) in resources(context.settings).filter_map(ResourceSetting::record) {
        zones.entry(zone).or_default().insert(name);
    }
    if zones.is_empty() {
        return;
    }
    let arn = |kind: &str, id: &str| {
        Text::arn(&context.options.arns, "route53", kind, &NameOrRef::Known(id.to_owned()))
    };
    let zone_arn = |zone: &HostedZoneId| arn("hostedzone/", zone.as_str());
    let all = zones.keys().map(|zone| zone_arn(zone)).collect();
    let scope = Scope { resources: all, conditions: Vec::new() };
    draft.allow("ReadRecords", &["route53:ListResourceRecordSets"], Ok(scope));
    for (zone, names) in zones {
        // IAM's normalized names are lower case without a final dot, as natha writes them.
        let names: Vec<&str> = names.into_iter().map(DnsName::as_str).collect();
        let conditions = vec![
            every("route53:ChangeResourceRecordSetsActions", &["UPSERT"]),
            every("route53:ChangeResourceRecordSetsNormalizedRecordNames", &names),
            every("route53:ChangeResourceRecordSetsRecordTypes", &["A"]),
        ];
        let scope = Scope { resources: vec![zone_arn(zone)], conditions };
        let sid = format!("MoveRecordsOf{zone}");
        draft.allow(sid, &["route53:ChangeResourceRecordSets"], Ok(scope));
    }
    // A change's id is unknown until the change is made.
    let scope = Scope { resources: vec![arn("change/", "*")], conditions: Vec::new() };
    draft.allow("FollowRecords", &["route53:GetChange"], Ok(scope));
}

/// The condition that every value in the request is one of these.
fn every(key: &'static str, values: &[&str]) -> Condition {
    let values = values.iter().map(|value| Text::plain(*value)).collect();
    Condition { operator: "ForAllValues:StringEquals", key, values }
}

fn resources(settings: &Settings) -> impl Iterator<Item = &ResourceSetting> {
    settings.groups.iter().flat_map(|group| &group.resources)
}
