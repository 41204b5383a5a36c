//! From settings to what has to be allowed.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::{Ground, Scope};
use super::{Condition, Name, Policy, Statement, Text, Told};
use crate::config::{Problem, Problems, ResourceSetting, Settings};
use crate::types::{DnsName, HostedZoneId, printable};

/// What the settings make natha do, as far as somebody has to allow it.
impl Ground<'_> {
    /// Everything that `natha monitor` and `natha take` do, besides what `natha setup` does.
    fn monitors(&self) -> bool {
        !self.told.setup_only
    }

    fn moves_routes(&self) -> bool {
        let vips = self.settings.groups.iter().any(|group| group.vips().next().is_some());
        self.monitors() && (self.settings.moves_default_routes() || vips)
    }

    fn moves_private_ips(&self) -> bool {
        let mut groups = self.settings.groups.iter();
        self.monitors() && groups.any(|group| group.private_ips().next().is_some())
    }

    /// Whether EC2's source/dest check is looked at: by `natha setup` where it is to see to it, by
    /// the monitor even where not.
    fn sees_check(&self) -> bool {
        self.sets_check() || (self.monitors() && self.settings.takes_foreign_packets())
    }

    fn sets_check(&self) -> bool {
        self.settings.takes_foreign_packets() && self.settings.host.source_dest_check
    }
}

/// The policy for a role of nodes with these settings.
///
/// # Errors
/// Where nothing tells which tables, interfaces or instances are meant, all of it at once: a policy
/// for everything of the account is never the answer.
pub fn policy(settings: &Settings, told: &Told) -> Result<Policy, Problems> {
    let wrong = unspeakable(settings, told);
    if !wrong.is_empty() {
        return Err(Problems(wrong));
    }
    let ground = Ground { settings, told };
    let mut draft = Draft { statements: vec![read(&ground)], problems: Vec::new() };
    if ground.moves_routes() {
        match ground.tables() {
            Ok(scopes) => {
                for (sid, scope) in scopes {
                    draft.allow(sid, &["ec2:CreateRoute", "ec2:ReplaceRoute"], Ok(scope));
                }
            }
            Err(problem) => draft.problems.push(problem),
        }
    }
    if ground.monitors() && settings.failover.repair.enabled {
        draft.allow("Repair", &["ec2:StartInstances", "ec2:StopInstances"], ground.nodes());
    }
    if ground.sets_check() {
        let scope = ground.interfaces().map(|mut scope| {
            let values = vec![Text::plain("SourceDestCheck")];
            let only = Condition { operator: "StringEquals", key: "ec2:Attribute", values };
            scope.conditions.push(only);
            scope
        });
        draft.allow("SourceDestCheck", &["ec2:ModifyNetworkInterfaceAttribute"], scope);
    }
    if ground.moves_private_ips() {
        let actions = &["ec2:AssignPrivateIpAddresses"];
        draft.allow("MovePrivateIps", actions, ground.interfaces());
    }
    if ground.monitors() {
        elastic_ips(&ground, &mut draft);
        records(&ground, &mut draft);
    }
    if let Some(key) = told.key.as_ref().filter(|_| ground.monitors()) {
        let resources = vec![Text::arn(&told.places, "ssm", "parameter", key)];
        let scope = Scope { resources, conditions: Vec::new() };
        draft.allow("ReadKey", &["ssm:GetParameter"], Ok(scope));
    }
    let Draft { statements, problems } = draft;
    if problems.is_empty() { Ok(Policy { statements }) } else { Err(Problems(problems)) }
}

/// What no policy can be kept to. IAM, CloudFormation and Terraform each read something of their
/// own into a text with dollar signs, asterisks or quotes.
fn unspeakable(settings: &Settings, told: &Told) -> Vec<Problem> {
    let mut wrong = Vec::new();
    let cluster = settings.cluster.as_ref().filter(|_| told.cluster.is_none());
    let plain = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    if let Some(cluster) = cluster.filter(|name| !name.chars().all(plain)) {
        wrong.push(Problem {
            subject: format!("cluster `{}`", printable(cluster)),
            what: "no condition of a policy can be written for this name".to_owned(),
            remedy: "name it with letters, digits, spaces and + - = . _ : / @".to_owned(),
        });
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if let Some(region) = told.places.region.as_ref().filter(|name| !name.bytes().all(plain)) {
        wrong.push(Problem {
            subject: format!("region `{}`", printable(region)),
            what: "is no region".to_owned(),
            remedy: "write one such as eu-west-1".to_owned(),
        });
    }
    wrong
}

/// What is written so far.
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
            // Several statements may lack the same thing.
            Err(problem) if self.problems.contains(&problem) => {}
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// What is read of EC2. None of these calls can be kept to some resources.
fn read(ground: &Ground<'_>) -> Statement {
    let (routes, private_ips) = (ground.moves_routes(), ground.moves_private_ips());
    let elastic_ips = ground.monitors() && ground.settings.moves_public_addresses();
    let wanted = [
        ("ec2:DescribeAddresses", elastic_ips),
        ("ec2:DescribeInstances", true),
        ("ec2:DescribeInstanceStatus", ground.monitors()),
        ("ec2:DescribeNetworkInterfaces", ground.sees_check() || private_ips),
        ("ec2:DescribeRouteTables", routes),
        ("ec2:DescribeSubnets", routes || private_ips),
    ];
    Statement {
        sid: "Read".to_owned(),
        actions: wanted.into_iter().filter(|(_, is)| *is).map(|(action, _)| action).collect(),
        resources: vec![Text::plain("*")],
        conditions: Vec::new(),
    }
}

/// An Elastic IP is moved to an interface, and thereby to the instance that has it: EC2 looks at
/// all three.
fn elastic_ips(ground: &Ground<'_>, draft: &mut Draft) {
    const ACTION: &[&str] = &["ec2:AssociateAddress"];
    let allocations: BTreeSet<&str> = resources(ground.settings)
        .filter_map(|resource| match resource {
            ResourceSetting::Eip { allocation, .. } => Some(allocation.as_str()),
            _ => None,
        })
        .collect();
    if allocations.is_empty() {
        return;
    }
    let arn = |id: &str| ground.ec2("elastic-ip", &Name::Known(id.to_owned()));
    let resources = allocations.into_iter().map(arn).collect();
    draft.allow("MoveElasticIps", ACTION, Ok(Scope { resources, conditions: Vec::new() }));
    draft.allow("MoveElasticIpsToInterfaces", ACTION, ground.interfaces());
    draft.allow("MoveElasticIpsToInstances", ACTION, ground.nodes());
}

/// Records of Route 53: each zone with its own names.
fn records(ground: &Ground<'_>, draft: &mut Draft) {
    let mut zones: BTreeMap<&HostedZoneId, BTreeSet<&DnsName>> = BTreeMap::new();
    for resource in resources(ground.settings) {
        if let ResourceSetting::Dns { zone, name, .. } = resource {
            zones.entry(zone).or_default().insert(name);
        }
    }
    if zones.is_empty() {
        return;
    }
    let arn = |kind: &str, id: &str| {
        Text::arn(&ground.told.places, "route53", kind, &Name::Known(id.to_owned()))
    };
    let zone_arn = |zone: &HostedZoneId| arn("hostedzone/", zone.as_str());
    let all = zones.keys().map(|zone| zone_arn(zone)).collect();
    let scope = Scope { resources: all, conditions: Vec::new() };
    draft.allow("ReadRecords", &["route53:ListResourceRecordSets"], Ok(scope));
    for (zone, names) in zones {
        // Normalized names are written as natha writes them: in lower case, no dot at the end.
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
    // Changes get their ids when they are made.
    let scope = Scope { resources: vec![arn("change/", "*")], conditions: Vec::new() };
    draft.allow("FollowRecords", &["route53:GetChange"], Ok(scope));
}

/// Every value in the request is one of these.
fn every(key: &'static str, values: &[&str]) -> Condition {
    let values = values.iter().map(|value| Text::plain(*value)).collect();
    Condition { operator: "ForAllValues:StringEquals", key, values }
}

fn resources(settings: &Settings) -> impl Iterator<Item = &ResourceSetting> {
    settings.groups.iter().flat_map(|group| &group.resources)
}
