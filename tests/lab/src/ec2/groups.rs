//! Security groups.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::error::{self, ApiError};
use super::filter::{self, Filtered, PageSize};
use super::model::{Group, Peer, Rule, RuleKey, State, Tags, find, find_mut, named};
use super::params::Params;
use super::tags;
use super::world::Ctx;
use super::xml::XmlBody;

/// Which of a group's two lists of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ingress,
    Egress,
}

pub(super) fn create(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let name = params.need("GroupName")?;
    let description = params.need("GroupDescription")?;
    permitted(name, "security group name")?;
    permitted(description, "security group description")?;
    let vpc = params.need("VpcId")?;
    find(&state.vpcs, &error::VPC, vpc)?;
    if state.groups.values().any(|group| group.vpc == vpc && group.name == name) {
        return Err(ApiError::client(
            "InvalidGroup.Duplicate",
            format!("The security group '{name}' already exists for VPC '{vpc}'"),
        ));
    }
    let tags = params.tags_for("security-group");
    let id = add(state, vpc, name, description, tags.clone());
    let mut body = XmlBody::yes();
    body.put("groupId", &id);
    body.put(
        "securityGroupArn",
        format!("arn:aws:ec2:{}:{}:security-group/{id}", ctx.settings.region, ctx.settings.account),
    );
    tags::show(&mut body, &tags);
    Ok(body)
}

pub(super) fn delete(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("GroupId")?;
    let group = find(&state.groups, &error::GROUP, id)?;
    if state.vpcs.values().any(|vpc| vpc.default_group == id) {
        return Err(ApiError::client(
            "CannotDelete",
            format!(
                "the specified group: \"{id}\" name: \"{}\" cannot be deleted by a user",
                group.name
            ),
        ));
    }
    let named_by = |group: &Group| {
        let rules = group.ingress.keys().chain(group.egress.keys());
        rules.map(|rule| &rule.peer).any(|peer| matches!(peer, Peer::Group(named) if named == id))
    };
    let used = state.interfaces.values().any(|it| it.groups.iter().any(|group| group == id))
        || state.groups.values().any(|other| other.id != id && named_by(other));
    if used {
        let message = format!("resource {id} has a dependent object");
        return Err(ApiError::client("DependencyViolation", message));
    }
    state.groups.remove(id);
    let mut body = XmlBody::yes();
    body.put("groupId", id);
    Ok(body)
}

/// A VPC's default group: its members may talk to each other.
pub(super) fn add_default(state: &mut State, vpc: &str) -> String {
    let id = add(state, vpc, "default", "default VPC security group", BTreeMap::new());
    let rule = Rule { id: state.new_id("sgr"), description: None };
    let key = RuleKey { protocol: "-1".to_owned(), ports: None, peer: Peer::Group(id.clone()) };
    if let Some(group) = state.groups.get_mut(&id) {
        group.ingress.insert(key, rule);
    }
    id
}

/// Checks a text about a group or a rule (EC2 API reference, CreateSecurityGroup and IpRange).
fn permitted(text: &str, what: &str) -> Result<(), ApiError> {
    const SIGNS: &str = ". _-:/()#,@[]+=&;{}!$*";
    let fine = |c: char| c.is_ascii_alphanumeric() || SIGNS.contains(c);
    if text.len() < 256 && text.chars().all(fine) {
        return Ok(());
    }
    Err(ApiError::value(format!(
        "Invalid {what}. Valid ones are strings less than 256 characters from the following set:  \
         a-zA-Z0-9{SIGNS}"
    )))
}

fn add(state: &mut State, vpc: &str, name: &str, description: &str, tags: Tags) -> String {
    let id = state.new_id(error::GROUP.prefix);
    let everything = "0.0.0.0/0".parse().expect("the text is a valid block");
    let key = RuleKey { protocol: "-1".to_owned(), ports: None, peer: Peer::Block(everything) };
    let rule = Rule { id: state.new_id("sgr"), description: None };
    let group = Group {
        id: id.clone(),
        name: name.to_owned(),
        description: description.to_owned(),
        vpc: vpc.to_owned(),
        ingress: BTreeMap::new(),
        egress: BTreeMap::from([(key, rule)]),
        tags,
    };
    state.groups.insert(id.clone(), group);
    id
}

/// Checks the groups for an interface; none means the VPC's default one.
pub(super) fn for_interface(
    state: &State,
    vpc: &str,
    wanted: Vec<String>,
) -> Result<Vec<String>, ApiError> {
    if wanted.is_empty() {
        return Ok(vec![find(&state.vpcs, &error::VPC, vpc)?.default_group.clone()]);
    }
    for id in &wanted {
        if find(&state.groups, &error::GROUP, id)?.vpc != vpc {
            return Err(ApiError::value(format!(
                "You have specified two resources that belong to different networks: {id}, {vpc}"
            )));
        }
    }
    Ok(wanted)
}

/// Names of groups.
pub(super) fn names(state: &State, ids: &[String]) -> Vec<String> {
    ids.iter().filter_map(|id| Some(state.groups.get(id)?.name.clone())).collect()
}

/// Writes a `groupSet`.
pub(super) fn show_set(x: &mut XmlBody, state: &State, ids: &[String]) {
    x.list("groupSet", ids, |x, id| {
        x.put("groupId", id);
        x.maybe("groupName", state.groups.get(id).map(|group| &group.name));
    });
}

pub(super) fn authorize_ingress(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    authorize(state, ctx, params, Side::Ingress)
}

pub(super) fn authorize_egress(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    authorize(state, ctx, params, Side::Egress)
}

pub(super) fn revoke_ingress(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    revoke(state, params, Side::Ingress)
}

pub(super) fn revoke_egress(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    revoke(state, params, Side::Egress)
}

fn authorize(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
    side: Side,
) -> Result<XmlBody, ApiError> {
    let id = params.need("GroupId")?;
    find(&state.groups, &error::GROUP, id)?;
    let asked = rules(state, params)?;
    let mut made = Vec::new();
    for (key, description) in asked {
        let rule = Rule { id: state.new_id("sgr"), description };
        let group = find_mut(&mut state.groups, &error::GROUP, id)?;
        if side.of(group).contains_key(&key) {
            return Err(ApiError::client(
                "InvalidPermission.Duplicate",
                format!("the specified rule \"{}\" already exists", key.words()),
            ));
        }
        made.push((key.clone(), rule.clone()));
        side.of_mut(group).insert(key, rule);
    }
    let account = &ctx.settings.account;
    let mut body = XmlBody::yes();
    body.list("securityGroupRuleSet", &made, |x, (key, rule)| {
        x.put("securityGroupRuleId", &rule.id);
        x.put("groupId", id);
        x.put("groupOwnerId", account);
        x.put("isEgress", side == Side::Egress);
        x.put("ipProtocol", &key.protocol);
        let (from, to) = key.ports.unwrap_or((-1, -1));
        x.put("fromPort", from);
        x.put("toPort", to);
        match &key.peer {
            Peer::Block(block) => x.put("cidrIpv4", block),
            Peer::Group(peer) => x.nest("referencedGroupInfo", |x| {
                x.put("groupId", peer);
                x.put("userId", account);
            }),
        }
        x.maybe("description", rule.description.as_ref());
    });
    Ok(body)
}

fn revoke(state: &mut State, params: &Params, side: Side) -> Result<XmlBody, ApiError> {
    let id = params.need("GroupId")?;
    let by_id = params.list("SecurityGroupRuleId");
    let asked = if by_id.is_empty() { rules(state, params)? } else { Vec::new() };
    let group = find_mut(&mut state.groups, &error::GROUP, id)?;
    for rule in by_id {
        let known = side.of(group).values().any(|r| r.id == rule);
        if !known {
            return Err(ApiError::client(
                "InvalidSecurityGroupRuleId.NotFound",
                format!("The security group rule ID '{rule}' does not exist"),
            ));
        }
        side.of_mut(group).retain(|_, r| r.id != rule);
    }
    for (key, _) in asked {
        if side.of_mut(group).remove(&key).is_none() {
            return Err(ApiError::client(
                "InvalidPermission.NotFound",
                "The specified rule does not exist in this security group.",
            ));
        }
    }
    Ok(XmlBody::yes())
}

/// The rules that a request names, with their descriptions.
fn rules(state: &State, params: &Params) -> Result<Vec<(RuleKey, Option<String>)>, ApiError> {
    let mut found = Vec::new();
    let mut places: Vec<String> =
        params.structures("IpPermissions").iter().map(|at| format!("{at}.")).collect();
    if params.get("IpProtocol").is_some() {
        places.push(String::new());
    }
    if places.is_empty() {
        return Err(ApiError::missing("ipPermissions"));
    }
    for at in places {
        let (protocol, ports) = service(params, &at)?;
        let mut peers = Vec::new();
        let mut blocks: Vec<String> = params
            .structures(&format!("{at}IpRanges"))
            .iter()
            .map(|range| format!("{range}."))
            .collect();
        if at.is_empty() && params.get("CidrIp").is_some() {
            blocks.push(String::new());
        }
        for block in blocks {
            let text = params.need(&format!("{block}CidrIp"))?;
            let cidr: Ipv4Net = text
                .parse()
                .map_err(|_| ApiError::value(format!("CIDR block {text} is malformed")))?;
            let description = params.get(&format!("{block}Description")).map(str::to_owned);
            peers.push((Peer::Block(cidr.trunc()), description));
        }
        for pair in params.structures(&format!("{at}Groups")) {
            let id = params.need(&format!("{pair}.GroupId"))?;
            find(&state.groups, &error::GROUP, id)?;
            let description = params.get(&format!("{pair}.Description")).map(str::to_owned);
            peers.push((Peer::Group(id.to_owned()), description));
        }
        for (peer, description) in peers {
            permitted(description.as_deref().unwrap_or_default(), "rule description")?;
            let key = RuleKey { protocol: protocol.clone(), ports, peer };
            found.push((key, description));
        }
    }
    Ok(found)
}

/// Protocol and ports of one permission.
fn service(params: &Params, at: &str) -> Result<(String, Option<(i32, i32)>), ApiError> {
    let protocol = match params.need(&format!("{at}IpProtocol"))? {
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "1" => "icmp".to_owned(),
        other => other.to_lowercase(),
    };
    let port = |name: &str| params.parsed::<i32>(&format!("{at}{name}"));
    let ports = match (port("FromPort")?, port("ToPort")?) {
        _ if protocol == "-1" => None,
        (Some(from), Some(to)) => Some((from, to)),
        _ => {
            return Err(ApiError::client(
                "MissingParameter",
                format!("Fromport and toport are required for protocol '{protocol}'"),
            ));
        }
    };
    if let (Some((from, to)), "tcp" | "udp") = (ports, protocol.as_str()) {
        let valid = (0..=65_535).contains(&from) && (from..=65_535).contains(&to);
        if !valid {
            return Err(ApiError::value(format!("Invalid port range {from}-{to}")));
        }
    }
    Ok((protocol, ports))
}

pub(super) fn describe(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let ids = params.list("GroupId");
    let group_names = params.list("GroupName");
    let filters = params.filters();
    filter::check::<Group>(&filters)?;
    let found = named(&state.groups, &error::GROUP, &ids)?
        .into_iter()
        .filter(|group| group_names.is_empty() || group_names.contains(&group.name))
        .filter(|group| filter::matches(*group, &filters))
        .collect();
    let size = PageSize { most: 1000, default: None };
    let page = filter::page(found, |group| &group.id, !ids.is_empty(), size, params)?;
    let mut body = XmlBody::new();
    body.list("securityGroupInfo", page.items, |x, group| {
        let (region, account) = (&ctx.settings.region, &ctx.settings.account);
        x.put("groupId", &group.id);
        x.put("groupName", &group.name);
        x.put("groupDescription", &group.description);
        x.put("vpcId", &group.vpc);
        x.put("ownerId", account);
        x.put(
            "securityGroupArn",
            format!("arn:aws:ec2:{region}:{account}:security-group/{}", group.id),
        );
        show_rules(x, "ipPermissions", &group.ingress, account);
        show_rules(x, "ipPermissionsEgress", &group.egress, account);
        tags::show_any(x, &group.tags);
    });
    body.maybe("nextToken", page.next);
    Ok(body)
}

/// Rules that differ only in the other side are shown as one.
fn show_rules(x: &mut XmlBody, name: &str, rules: &BTreeMap<RuleKey, Rule>, account: &str) {
    type Service<'a> = (&'a str, Option<(i32, i32)>);
    let mut merged: BTreeMap<Service<'_>, Vec<(&Peer, &Rule)>> = BTreeMap::new();
    for (key, rule) in rules {
        merged.entry((&key.protocol, key.ports)).or_default().push((&key.peer, rule));
    }
    x.list(name, merged, |x, ((protocol, ports), peers)| {
        x.put("ipProtocol", protocol);
        if let Some((from, to)) = ports {
            x.put("fromPort", from);
            x.put("toPort", to);
        }
        let groups = peers.iter().filter_map(|(peer, rule)| match peer {
            Peer::Group(id) => Some((id, rule)),
            Peer::Block(_) => None,
        });
        x.list("groups", groups, |x, (id, rule)| {
            x.put("groupId", id);
            x.put("userId", account);
            x.maybe("description", rule.description.as_ref());
        });
        let blocks = peers.iter().filter_map(|(peer, rule)| match peer {
            Peer::Block(block) => Some((block, rule)),
            Peer::Group(_) => None,
        });
        x.list("ipRanges", blocks, |x, (block, rule)| {
            x.put("cidrIp", block);
            x.maybe("description", rule.description.as_ref());
        });
        x.list("ipv6Ranges", std::iter::empty::<()>(), |_, ()| {});
        x.list("prefixListIds", std::iter::empty::<()>(), |_, ()| {});
    });
}

impl Side {
    fn of(self, group: &Group) -> &BTreeMap<RuleKey, Rule> {
        match self {
            Self::Ingress => &group.ingress,
            Self::Egress => &group.egress,
        }
    }

    fn of_mut(self, group: &mut Group) -> &mut BTreeMap<RuleKey, Rule> {
        match self {
            Self::Ingress => &mut group.ingress,
            Self::Egress => &mut group.egress,
        }
    }
}

impl RuleKey {
    fn words(&self) -> String {
        let peer = match &self.peer {
            Peer::Block(block) => block.to_string(),
            Peer::Group(id) => id.clone(),
        };
        let service = match (self.protocol.as_str(), self.ports) {
            ("-1", _) | (_, None) => "ALL".to_owned(),
            (protocol, Some((from, to))) => {
                format!("{}, from port: {from}, to port: {to}", protocol.to_uppercase())
            }
        };
        format!("peer: {peer}, {service}, ALLOW")
    }
}

impl Filtered for Group {
    const NAMES: &'static [&'static str] = &[
        "description",
        "egress.ip-permission.cidr",
        "egress.ip-permission.group-id",
        "egress.ip-permission.protocol",
        "group-id",
        "group-name",
        "ip-permission.cidr",
        "ip-permission.group-id",
        "ip-permission.protocol",
        "owner-id",
        "vpc-id",
    ];

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        let of_rules = |rules: &BTreeMap<RuleKey, Rule>, what: &str| {
            let value = |key: &RuleKey| match (what, &key.peer) {
                ("cidr", Peer::Block(block)) => Some(block.to_string()),
                ("group-id", Peer::Group(id)) => Some(id.clone()),
                ("protocol", _) => Some(key.protocol.clone()),
                _ => None,
            };
            rules.keys().filter_map(value).collect()
        };
        if let Some(what) = name.strip_prefix("egress.ip-permission.") {
            return of_rules(&self.egress, what);
        }
        if let Some(what) = name.strip_prefix("ip-permission.") {
            return of_rules(&self.ingress, what);
        }
        match name {
            "description" => vec![self.description.clone()],
            "group-id" => vec![self.id.clone()],
            "group-name" => vec![self.name.clone()],
            "vpc-id" => vec![self.vpc.clone()],
            _ => Vec::new(),
        }
    }
}
