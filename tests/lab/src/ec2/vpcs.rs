//! VPCs and subnets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::blocks::{self, Block};
use super::error::{self, ApiError};
use super::filter::{self, Filtered, PageSize};
use super::model::{Association, State, Subnet, Tags, Vpc, find, find_mut, named};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{groups, tables, tags};

/// A subnet, and how many of its addresses are taken.
struct Shown<'a> {
    subnet: &'a Subnet,
    taken: usize,
}

pub(super) fn create_vpc(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let cidr = params.cidr("CidrBlock")?;
    blocks::check_size(cidr)?;
    let id = state.new_id(error::VPC.prefix);
    let vpc = Vpc {
        id: id.clone(),
        blocks: vec![Block::first(state, cidr)],
        main_table: String::new(),
        default_group: String::new(),
        tags: params.tags_for("vpc"),
    };
    state.vpcs.insert(id.clone(), vpc);
    let main = tables::add(state, &id, BTreeMap::new())?;
    let association = Association { id: state.new_id("rtbassoc"), subnet: None };
    find_mut(&mut state.tables, &error::TABLE, &main)?.associations.push(association);
    let group = groups::add_default(state, &id);
    let vpc = find_mut(&mut state.vpcs, &error::VPC, &id)?;
    vpc.main_table = main;
    vpc.default_group = group;
    let mut body = XmlBody::new();
    body.nest("vpc", |x| show_vpc(x, vpc, ctx));
    Ok(body)
}

pub(super) fn describe_vpcs(
    state: &State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let ids = params.list("VpcId");
    let filters = params.filters();
    filter::check::<Vpc>(&filters)?;
    let found = named(&state.vpcs, &error::VPC, &ids)?
        .into_iter()
        .filter(|vpc| filter::matches(*vpc, &filters))
        .collect();
    let size = PageSize { most: 1000, default: None };
    let page = filter::page(found, |vpc| &vpc.id, !ids.is_empty(), size, params)?;
    let mut body = XmlBody::new();
    body.list("vpcSet", page.items, |x, vpc| show_vpc(x, vpc, ctx));
    body.maybe("nextToken", page.next);
    Ok(body)
}

/// Takes the VPC's main table and default group along. Whatever else is in it is in the way.
pub(super) fn delete_vpc(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let vpc = find(&state.vpcs, &error::VPC, params.need("VpcId")?)?.clone();
    let busy = state.subnets.values().any(|it| it.vpc == vpc.id)
        || state.gateways.values().any(|it| it.vpc.as_ref() == Some(&vpc.id))
        || state.beyond.values().any(|it| it.vpcs.contains_key(&vpc.id))
        || state.tables.values().any(|it| it.vpc == vpc.id && it.id != vpc.main_table)
        || state.groups.values().any(|it| it.vpc == vpc.id && it.id != vpc.default_group);
    if busy {
        return Err(ApiError::depended_upon(&error::VPC, &vpc.id));
    }
    state.tables.remove(&vpc.main_table);
    state.groups.remove(&vpc.default_group);
    state.vpcs.remove(&vpc.id);
    Ok(XmlBody::yes())
}

fn show_vpc(x: &mut XmlBody, vpc: &Vpc, ctx: &Ctx<'_>) {
    x.put("vpcId", &vpc.id);
    x.put("ownerId", &ctx.settings.account);
    x.put("state", "available");
    x.put("cidrBlock", vpc.primary());
    x.list("cidrBlockAssociationSet", &vpc.blocks, |x, block| {
        blocks::show(x, block, "associated");
    });
    x.put("dhcpOptionsId", vpc.id.replace("vpc-", "dopt-"));
    x.put("instanceTenancy", "default");
    x.put("isDefault", false);
    tags::show_any(x, &vpc.tags);
}

impl Filtered for Vpc {
    const NAMES: &'static [&'static str] = &[
        "cidr",
        "cidr-block-association.cidr-block",
        "cidr-block-association.state",
        "dhcp-options-id",
        "is-default",
        "owner-id",
        "state",
        "vpc-id",
    ];

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        match name {
            "cidr" => vec![self.primary().to_string()],
            "cidr-block-association.cidr-block" => {
                self.blocks.iter().map(|block| block.cidr.to_string()).collect()
            }
            "cidr-block-association.state" => vec!["associated".to_owned()],
            "is-default" => vec!["false".to_owned()],
            "state" => vec!["available".to_owned()],
            "vpc-id" => vec![self.id.clone()],
            _ => Vec::new(),
        }
    }
}

pub(super) fn create_subnet(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let vpc = find(&state.vpcs, &error::VPC, params.need("VpcId")?)?;
    let cidr = params.cidr("CidrBlock")?;
    if vpc.block_of(cidr).is_none() || !(16..=28).contains(&cidr.prefix_len()) {
        return Err(ApiError::client(
            "InvalidSubnet.Range",
            format!("The CIDR '{cidr}' is invalid."),
        ));
    }
    let overlaps = |other: &Ipv4Net| other.contains(&cidr) || cidr.contains(other);
    if state.subnets.values().any(|s| s.vpc == vpc.id && overlaps(&s.cidr)) {
        return Err(ApiError::client(
            "InvalidSubnet.Conflict",
            format!("The CIDR '{cidr}' conflicts with another subnet"),
        ));
    }
    let first = format!("{}a", ctx.settings.region);
    let zone = params.get("AvailabilityZone").unwrap_or(&first);
    if !ctx.settings.has_zone(zone) {
        return Err(ApiError::value(format!(
            "Value ({zone}) for parameter availabilityZone is invalid. Subnets can currently only \
             be created in the following availability zones: {r}a, {r}b, {r}c.",
            r = ctx.settings.region
        )));
    }
    let vpc = vpc.id.clone();
    let id = state.new_id(error::SUBNET.prefix);
    let tags = params.tags_for("subnet");
    let subnet = Subnet { id: id.clone(), vpc, zone: zone.to_owned(), cidr, tags };
    let mut body = XmlBody::new();
    body.nest("subnet", |x| show_subnet(x, &Shown { subnet: &subnet, taken: 0 }, ctx));
    state.subnets.insert(id, subnet);
    Ok(body)
}

/// Ends its association with a route table, too.
pub(super) fn delete_subnet(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = params.need("SubnetId")?;
    find(&state.subnets, &error::SUBNET, id)?;
    if state.interfaces.values().any(|interface| interface.subnet == id) {
        return Err(ApiError::depended_upon(&error::SUBNET, id));
    }
    for table in state.tables.values_mut() {
        table.associations.retain(|association| association.subnet.as_deref() != Some(id));
    }
    state.subnets.remove(id);
    Ok(XmlBody::yes())
}

pub(super) fn describe_subnets(
    state: &State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let ids = params.list("SubnetId");
    let filters = params.filters();
    filter::check::<Shown<'_>>(&filters)?;
    let found = named(&state.subnets, &error::SUBNET, &ids)?
        .into_iter()
        .map(|subnet| Shown { subnet, taken: taken(state, subnet).len() })
        .filter(|shown| filter::matches(shown, &filters))
        .collect();
    let size = PageSize { most: 1000, default: None };
    let page = filter::page(found, |s: &Shown<'_>| &s.subnet.id, !ids.is_empty(), size, params)?;
    let mut body = XmlBody::new();
    body.list("subnetSet", &page.items, |x, shown| show_subnet(x, shown, ctx));
    body.maybe("nextToken", page.next);
    Ok(body)
}

fn show_subnet(x: &mut XmlBody, shown: &Shown<'_>, ctx: &Ctx<'_>) {
    let Shown { subnet, taken } = shown;
    let account = &ctx.settings.account;
    x.put("subnetId", &subnet.id);
    x.put(
        "subnetArn",
        format!("arn:aws:ec2:{}:{account}:subnet/{}", ctx.settings.region, subnet.id),
    );
    x.put("state", "available");
    x.put("ownerId", account);
    x.put("vpcId", &subnet.vpc);
    x.put("cidrBlock", subnet.cidr);
    // EC2 keeps the first four addresses and the last one of every subnet.
    x.put("availableIpAddressCount", hosts(subnet.cidr) - 3 - taken);
    x.put("availabilityZone", &subnet.zone);
    x.put("availabilityZoneId", super::WorldSettings::zone_id(&subnet.zone));
    x.put("defaultForAz", false);
    x.put("mapPublicIpOnLaunch", false);
    x.put("assignIpv6AddressOnCreation", false);
    x.put("mapCustomerOwnedIpOnLaunch", false);
    x.put("enableDns64", false);
    x.put("ipv6Native", false);
    x.list("ipv6CidrBlockAssociationSet", std::iter::empty::<()>(), |_, ()| {});
    x.nest("privateDnsNameOptionsOnLaunch", show_name_options);
    x.nest("blockPublicAccessStates", |x| x.put("internetGatewayBlockMode", "off"));
    tags::show_any(x, &subnet.tags);
}

/// Writes which names the resolver knows of the instances of a subnet.
pub(super) fn show_name_options(x: &mut XmlBody) {
    x.put("hostnameType", "ip-name");
    x.put("enableResourceNameDnsARecord", false);
    x.put("enableResourceNameDnsAAAARecord", false);
}

fn hosts(block: Ipv4Net) -> usize {
    (1_usize << (32 - u32::from(block.prefix_len()))) - 2
}

impl Filtered for Shown<'_> {
    const NAMES: &'static [&'static str] = &[
        "availability-zone",
        "availability-zone-id",
        "availabilityZone",
        "available-ip-address-count",
        "cidr",
        "cidr-block",
        "cidrBlock",
        "default-for-az",
        "owner-id",
        "state",
        "subnet-arn",
        "subnet-id",
        "vpc-id",
    ];

    fn tags(&self) -> &Tags {
        &self.subnet.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        let subnet = self.subnet;
        match name {
            "availability-zone" | "availabilityZone" => vec![subnet.zone.clone()],
            "availability-zone-id" => vec![super::WorldSettings::zone_id(&subnet.zone)],
            "available-ip-address-count" => {
                vec![(hosts(subnet.cidr) - 3 - self.taken).to_string()]
            }
            "cidr" | "cidr-block" | "cidrBlock" => vec![subnet.cidr.to_string()],
            "default-for-az" => vec!["false".to_owned()],
            "state" => vec!["available".to_owned()],
            "subnet-id" => vec![subnet.id.clone()],
            "vpc-id" => vec![subnet.vpc.clone()],
            _ => Vec::new(),
        }
    }
}

/// The private addresses in use in a subnet.
fn taken(state: &State, subnet: &Subnet) -> Vec<Ipv4Addr> {
    let inside = state.interfaces.values().filter(|i| i.subnet == subnet.id);
    inside.flat_map(|i| i.addresses.clone()).collect()
}

/// An address for a new interface: the one that was asked for, or the lowest free one.
pub(super) fn free_address(
    state: &State,
    subnet: &Subnet,
    wanted: Option<&str>,
) -> Result<Ipv4Addr, ApiError> {
    let taken = taken(state, subnet);
    let Some(text) = wanted else {
        return usable(subnet).find(|address| !taken.contains(address)).ok_or_else(|| {
            ApiError::client(
                "InsufficientFreeAddressesInSubnet",
                format!("The specified subnet '{}' has no free addresses", subnet.id),
            )
        });
    };
    let address = usable_address(subnet, text)?;
    if taken.contains(&address) {
        return Err(ApiError::client(
            "InvalidIPAddress.InUse",
            format!("Address {address} is in use."),
        ));
    }
    Ok(address)
}

/// The addresses that interfaces can have: the first four and the last one are EC2's own.
fn usable(subnet: &Subnet) -> impl Iterator<Item = Ipv4Addr> {
    subnet.cidr.hosts().skip(3)
}

/// Reads an address that an interface of this subnet can have.
pub(super) fn usable_address(subnet: &Subnet, text: &str) -> Result<Ipv4Addr, ApiError> {
    let address: Ipv4Addr = text
        .parse()
        .map_err(|_| ApiError::value(format!("invalid value for parameter address: {text}")))?;
    if !subnet.cidr.contains(&address) {
        return Err(ApiError::value("Address does not fall within the subnet's address range"));
    }
    if !usable(subnet).any(|usable| usable == address) {
        return Err(ApiError::value("Address is in subnet's reserved address range"));
    }
    Ok(address)
}
