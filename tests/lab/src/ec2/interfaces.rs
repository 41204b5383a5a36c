//! Network interfaces.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::error::{self, ApiError};
use super::filter::{self, Filtered, PageSize};
use super::model::{Attachment, Interface, Phase, State, Subnet, Tags, find, find_mut, named};
use super::params::Params;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{groups, tags, vpcs};

/// An interface with what is needed to describe it.
struct Shown<'a> {
    interface: &'a Interface,
    state: &'a State,
    account: &'a str,
}

/// What a new interface is like.
pub(super) struct Wanted<'a> {
    pub(super) subnet: &'a str,
    pub(super) address: Option<&'a str>,
    pub(super) groups: Vec<String>,
    pub(super) description: String,
    pub(super) tags: Tags,
}

pub(super) fn create(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = add(
        state,
        Wanted {
            subnet: params.need("SubnetId")?,
            address: params.get("PrivateIpAddress"),
            groups: params.list("SecurityGroupId"),
            description: params.get("Description").unwrap_or_default().to_owned(),
            tags: params.tags_for("network-interface"),
        },
    )?;
    let interface = find(&state.interfaces, &error::INTERFACE, &id)?;
    let mut body = XmlBody::new();
    body.nest("networkInterface", |x| {
        let shown = Shown { interface, state, account: &ctx.settings.account };
        show(x, &shown, ctx);
    });
    Ok(body)
}

/// Makes an interface; without groups it gets the VPC's default one.
pub(super) fn add(state: &mut State, wanted: Wanted<'_>) -> Result<String, ApiError> {
    let subnet: Subnet = find(&state.subnets, &error::SUBNET, wanted.subnet)?.clone();
    let address = vpcs::free_address(state, &subnet, wanted.address)?;
    let groups = groups::for_interface(state, &subnet.vpc, wanted.groups)?;
    let id = state.new_id(error::INTERFACE.prefix);
    let bytes = state.random().to_be_bytes();
    // The bit 0x02 marks a locally administered address, as on EC2.
    let mac = format!(
        "02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
        bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]
    );
    let interface = Interface {
        id: id.clone(),
        vpc: subnet.vpc,
        subnet: subnet.id,
        mac,
        description: wanted.description,
        addresses: vec![address],
        groups,
        source_dest_check: true,
        attachment: None,
        service: None,
        public: BTreeMap::new(),
        tags: wanted.tags,
    };
    state.interfaces.insert(id.clone(), interface);
    Ok(id)
}

pub(super) fn attach(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = params.need("NetworkInterfaceId")?;
    let instance_id = params.need("InstanceId")?;
    params.need("DeviceIndex")?;
    let device_index: u32 = params.parsed("DeviceIndex")?.unwrap_or_default();
    let instance = find(&state.instances, &error::INSTANCE, instance_id)?;
    let interface = find(&state.interfaces, &error::INTERFACE, id)?;
    if !matches!(instance.phase, Phase::Running | Phase::Stopped) {
        return Err(ApiError::state(format!(
            "Instance '{instance_id}' is not 'running' or 'stopped'."
        )));
    }
    if interface.attachment.is_some() || interface.service.is_some() {
        return Err(ApiError::client(
            "InvalidNetworkInterface.InUse",
            format!("Interface: [{id}] in use."),
        ));
    }
    if find(&state.subnets, &error::SUBNET, &interface.subnet)?.zone != instance.zone {
        return Err(ApiError::client(
            "InvalidParameterCombination",
            "You may not attach a network interface to an instance if they are not in the same \
             availability zone",
        ));
    }
    if state.interfaces_of(instance_id).iter().any(|i| i.device_index() == device_index) {
        return Err(ApiError::value(format!(
            "Instance '{instance_id}' already has an interface attached at device index \
             '{device_index}'."
        )));
    }
    let attachment = join(state, id, instance_id, device_index, false, ctx)?;
    let mut body = XmlBody::new();
    body.put("attachmentId", attachment);
    body.put("networkCardIndex", 0);
    Ok(body)
}

/// Attaches without asking.
pub(super) fn join(
    state: &mut State,
    interface: &str,
    instance: &str,
    device_index: u32,
    delete_on_termination: bool,
    ctx: &Ctx<'_>,
) -> Result<String, ApiError> {
    let id = state.new_id("eni-attach");
    let interface = find_mut(&mut state.interfaces, &error::INTERFACE, interface)?;
    interface.attachment = Some(Attachment {
        id: id.clone(),
        instance: instance.to_owned(),
        device_index,
        since: ctx.now,
        delete_on_termination,
    });
    Ok(id)
}

/// Takes effect at once, as with `Force`; EC2 shows `detaching` for some seconds.
pub(super) fn detach(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("AttachmentId")?;
    params.flag("Force")?;
    let is_it = |interface: &&mut Interface| {
        interface.attachment.as_ref().is_some_and(|attachment| attachment.id == id)
    };
    let Some(interface) = state.interfaces.values_mut().find(is_it) else {
        return Err(ApiError::client(
            "InvalidAttachmentID.NotFound",
            format!("The attachment ID '{id}' does not exist"),
        ));
    };
    if interface.device_index() == 0 {
        return Err(ApiError::client(
            "OperationNotPermitted",
            "The network interface at device index 0 cannot be detached.",
        ));
    }
    interface.attachment = None;
    Ok(XmlBody::yes())
}

pub(super) fn delete(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("NetworkInterfaceId")?;
    let interface = find(&state.interfaces, &error::INTERFACE, id)?;
    if interface.attachment.is_some() || interface.service.is_some() {
        return Err(ApiError::value(format!("Network interface '{id}' is currently in use.")));
    }
    state.interfaces.remove(id);
    Ok(XmlBody::yes())
}

pub(super) fn modify(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("NetworkInterfaceId")?;
    let vpc = find(&state.interfaces, &error::INTERFACE, id)?.vpc.clone();
    let check = params.flag("SourceDestCheck.Value")?;
    let description = params.get("Description.Value");
    let groups = params.list("SecurityGroupId");
    let delete = params.flag("Attachment.DeleteOnTermination")?;
    let given = [check.is_some(), description.is_some(), !groups.is_empty(), delete.is_some()];
    match given.iter().filter(|given| **given).count() {
        1 => {}
        0 => return Err(ApiError::combination("No attributes specified.")),
        _ => {
            return Err(ApiError::combination(
                "Fields for multiple attribute types specified: only one may be given",
            ));
        }
    }
    let groups =
        if groups.is_empty() { None } else { Some(groups::for_interface(state, &vpc, groups)?) };
    let interface = find_mut(&mut state.interfaces, &error::INTERFACE, id)?;
    if let Some(delete) = delete {
        let attachment = interface.attachment.as_mut();
        let wanted = params.get("Attachment.AttachmentId");
        let Some(attachment) = attachment.filter(|a| Some(a.id.as_str()) == wanted) else {
            let wanted = wanted.unwrap_or_default();
            return Err(ApiError::client(
                "InvalidAttachmentID.NotFound",
                format!("The attachment ID '{wanted}' does not exist"),
            ));
        };
        attachment.delete_on_termination = delete;
    }
    interface.source_dest_check = check.unwrap_or(interface.source_dest_check);
    if let Some(description) = description {
        description.clone_into(&mut interface.description);
    }
    if let Some(groups) = groups {
        interface.groups = groups;
    }
    Ok(XmlBody::yes())
}

pub(super) fn describe(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let ids = params.list("NetworkInterfaceId");
    let filters = params.filters();
    filter::check::<Shown<'_>>(&filters)?;
    let found = named(&state.interfaces, &error::INTERFACE, &ids)?
        .into_iter()
        .map(|interface| Shown { interface, state, account: &ctx.settings.account })
        .filter(|shown| filter::matches(shown, &filters))
        .collect();
    let size = PageSize { most: 1000, default: None };
    let page = filter::page(found, |s: &Shown<'_>| &s.interface.id, !ids.is_empty(), size, params)?;
    let mut body = XmlBody::new();
    body.list("networkInterfaceSet", &page.items, |x, shown| {
        show(x, shown, ctx);
    });
    body.maybe("nextToken", page.next);
    Ok(body)
}

fn show(x: &mut XmlBody, shown: &Shown<'_>, ctx: &Ctx<'_>) {
    let Shown { interface, state, account } = shown;
    x.put("networkInterfaceId", &interface.id);
    x.put("subnetId", &interface.subnet);
    x.put("vpcId", &interface.vpc);
    x.put("availabilityZone", shown.zone());
    x.put("description", &interface.description);
    x.put("ownerId", account);
    x.maybe("requesterId", interface.service.map(|_| account));
    x.put("requesterManaged", interface.service.is_some());
    x.put("status", shown.status());
    x.put("macAddress", &interface.mac);
    x.put("privateIpAddress", interface.address());
    x.put("privateDnsName", private_name(interface.address(), ctx));
    x.put("sourceDestCheck", interface.source_dest_check);
    groups::show_set(x, state, &interface.groups);
    if let Some(attachment) = &interface.attachment {
        x.nest("attachment", |x| {
            show_attachment(x, attachment, ctx);
            x.put("instanceId", &attachment.instance);
            x.put("instanceOwnerId", account);
        });
    } else if interface.service.is_some() {
        x.nest("attachment", |x| show_service_attachment(x, &interface.id));
    }
    show_association(x, interface, interface.address(), ctx, true);
    tags::show(x, &interface.tags);
    x.list("privateIpAddressesSet", &interface.addresses, |x, address| {
        x.put("privateIpAddress", address);
        x.put("privateDnsName", private_name(*address, ctx));
        x.put("primary", *address == interface.address());
        show_association(x, interface, *address, ctx, true);
    });
    x.list("ipv6AddressesSet", std::iter::empty::<()>(), |_, ()| {});
    x.put("interfaceType", shown.kind());
    x.nest("operator", |x| x.put("managed", false));
}

/// Writes what EC2 tells of how an interface of its own is attached: to an instance of AWS.
fn show_service_attachment(x: &mut XmlBody, interface: &str) {
    x.put("attachmentId", interface.replace("eni-", "ela-attach-"));
    x.put("deviceIndex", 1);
    x.put("status", "attached");
    x.put("deleteOnTermination", false);
    x.put("instanceOwnerId", "amazon-aws");
}

/// Writes what both kinds of descriptions of an attachment have.
pub(super) fn show_attachment(x: &mut XmlBody, attachment: &Attachment, ctx: &Ctx<'_>) {
    x.put("attachmentId", &attachment.id);
    x.put("deviceIndex", attachment.device_index);
    x.put("networkCardIndex", 0);
    x.put("status", "attached");
    x.put("attachTime", ctx.settings.stamp(attachment.since));
    x.put("deleteOnTermination", attachment.delete_on_termination);
}

/// Writes the public address behind a private one; ids only where the caller shows them.
pub(super) fn show_association(
    x: &mut XmlBody,
    interface: &Interface,
    address: Ipv4Addr,
    ctx: &Ctx<'_>,
    with_ids: bool,
) {
    let Some(public) = interface.public.get(&address) else { return };
    x.nest("association", |x| {
        x.put("publicIp", public.address);
        x.put("publicDnsName", public_name(public.address, ctx));
        match &public.elastic {
            None => x.put("ipOwnerId", "amazon"),
            Some((allocation, association)) => {
                x.put("ipOwnerId", &ctx.settings.account);
                if with_ids {
                    x.put("allocationId", allocation);
                    x.put("associationId", association);
                }
            }
        }
    });
}

/// The DNS name that EC2 gives to a private address.
pub(super) fn private_name(address: Ipv4Addr, ctx: &Ctx<'_>) -> String {
    ctx.settings.private_name(address)
}

/// The DNS name that EC2 gives to a public address.
pub(super) fn public_name(address: Ipv4Addr, ctx: &Ctx<'_>) -> String {
    ctx.settings.public_name(address)
}

impl Shown<'_> {
    fn zone(&self) -> &str {
        self.state.subnets.get(&self.interface.subnet).map_or("", |subnet| &subnet.zone)
    }

    fn status(&self) -> &'static str {
        let used = self.interface.attachment.is_some() || self.interface.service.is_some();
        if used { "in-use" } else { "available" }
    }

    fn kind(&self) -> &'static str {
        self.interface.service.unwrap_or("interface")
    }
}

impl Filtered for Shown<'_> {
    const NAMES: &'static [&'static str] = &[
        "addresses.association.public-ip",
        "addresses.primary",
        "addresses.private-ip-address",
        "association.allocation-id",
        "association.association-id",
        "association.ip-owner-id",
        "association.public-ip",
        "attachment.attach-time",
        "attachment.attachment-id",
        "attachment.delete-on-termination",
        "attachment.device-index",
        "attachment.instance-id",
        "attachment.instance-owner-id",
        "attachment.status",
        "availability-zone",
        "description",
        "group-id",
        "group-name",
        "interface-type",
        "mac-address",
        "network-interface-id",
        "owner-id",
        "private-dns-name",
        "private-ip-address",
        "requester-managed",
        "source-dest-check",
        "status",
        "subnet-id",
        "vpc-id",
    ];

    fn tags(&self) -> &Tags {
        &self.interface.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        let i = self.interface;
        if let Some(name) = name.strip_prefix("attachment.") {
            return i.attachment.iter().map(|a| self.attachment_value(a, name)).collect();
        }
        let elastic = || i.public.values().filter_map(|p| p.elastic.as_ref());
        match name {
            "addresses.association.public-ip" | "association.public-ip" => {
                i.public.values().map(|public| public.address.to_string()).collect()
            }
            "addresses.primary" => {
                i.addresses.iter().map(|a| (*a == i.address()).to_string()).collect()
            }
            // Both are about all of them (botocore's model).
            "addresses.private-ip-address" | "private-ip-address" => {
                i.addresses.iter().map(Ipv4Addr::to_string).collect()
            }
            "association.allocation-id" => elastic().map(|(id, _)| id.clone()).collect(),
            "association.association-id" => elastic().map(|(_, id)| id.clone()).collect(),
            "association.ip-owner-id" => {
                let owner = |elastic: bool| if elastic { self.account } else { "amazon" };
                i.public.values().map(|p| owner(p.elastic.is_some()).to_owned()).collect()
            }
            "availability-zone" => vec![self.zone().to_owned()],
            "description" => vec![i.description.clone()],
            "group-id" => i.groups.clone(),
            "group-name" => groups::names(self.state, &i.groups),
            "interface-type" => vec![self.kind().to_owned()],
            "mac-address" => vec![i.mac.clone()],
            "network-interface-id" => vec![i.id.clone()],
            "owner-id" => vec![self.account.to_owned()],
            "requester-managed" => vec![i.service.is_some().to_string()],
            "source-dest-check" => vec![i.source_dest_check.to_string()],
            "status" => vec![self.status().to_owned()],
            "subnet-id" => vec![i.subnet.clone()],
            "vpc-id" => vec![i.vpc.clone()],
            _ => Vec::new(),
        }
    }
}

impl Shown<'_> {
    fn attachment_value(&self, attachment: &Attachment, name: &str) -> String {
        match name {
            "attachment-id" => attachment.id.clone(),
            "delete-on-termination" => attachment.delete_on_termination.to_string(),
            "device-index" => attachment.device_index.to_string(),
            "instance-id" => attachment.instance.clone(),
            "instance-owner-id" => self.account.to_owned(),
            "status" => "attached".to_owned(),
            _ => String::new(),
        }
    }
}
