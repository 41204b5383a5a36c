//! Elastic IP addresses: allocating, associating, describing and releasing them.

use std::net::Ipv4Addr;

use super::error::{self, ApiError};
use super::filter::{self, Filtered};
use super::model::{Allocation, Interface, Phase, Public, State, Tags, find, find_mut};
use super::params::Params;
use super::settings::WorldSettings;
use super::world::Ctx;
use super::xml::XmlBody;
use super::{power, route53, routes, tags};

/// Where an Elastic IP address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) association: String,
    pub(super) interface: String,
    pub(super) private: Ipv4Addr,
}

/// An address with what is needed to describe it.
struct Shown<'a> {
    allocation: &'a Allocation,
    place: Option<(Place, &'a Interface)>,
    account: &'a str,
}

pub(super) fn allocate(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    match params.get("Domain") {
        None | Some("vpc") => {}
        Some(other) => {
            return Err(ApiError::value(format!(
                "Invalid value '{other}' for domain. Must be vpc: EC2-Classic is gone"
            )));
        }
    }
    let id = add(state, ctx.settings, params.tags_for("elastic-ip"))?;
    let mut body = XmlBody::new();
    body.put("publicIp", state.allocations[&id].address);
    body.put("domain", "vpc");
    body.put("allocationId", id);
    body.put("publicIpv4Pool", "amazon");
    body.put("networkBorderGroup", &ctx.settings.region);
    Ok(body)
}

/// Makes an address that is associated with nothing.
pub(super) fn add(
    state: &mut State,
    settings: &WorldSettings,
    tags: Tags,
) -> Result<String, ApiError> {
    let Some(address) = power::next_public(state, settings) else {
        return Err(ApiError::client(
            "InsufficientAddressCapacity",
            "Not enough available addresses to satisfy your request.",
        ));
    };
    let id = state.new_id(error::ALLOCATION.prefix);
    state.allocations.insert(id.clone(), Allocation { id: id.clone(), address, tags });
    Ok(id)
}

pub(super) fn associate(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    if params.get("PublicIp").is_some() {
        return Err(ApiError::combination(
            "You must specify an allocation id when mapping an address to a VPC instance",
        ));
    }
    let id = params.need("AllocationId")?;
    allocation(state, id)?;
    let interface = target(state, params)?;
    let private = private_address(state, &interface, params)?;
    let free_to_move = params.flag("AllowReassociation")?.unwrap_or(true);
    let before = place_of(state, id);
    for touched in before.iter().map(|it| &it.interface).chain([&interface]) {
        leaves_services_alone(state, touched)?;
    }
    let stays =
        before.as_ref().is_some_and(|it| it.interface == interface && it.private == private);
    if let Some(before) = before.as_ref().filter(|_| !stays && !free_to_move) {
        return Err(ApiError::client(
            "Resource.AlreadyAssociated",
            format!("resource {id} is already associated with associate-id {}", before.association),
        ));
    }
    let association = match before {
        Some(before) if stays => before.association,
        _ => put(state, ctx.settings, id, &interface, private)?,
    };
    let mut body = XmlBody::yes();
    body.put("associationId", association);
    Ok(body)
}

/// Associates without asking. What the private address had before is free again.
pub(super) fn put(
    state: &mut State,
    settings: &WorldSettings,
    id: &str,
    interface: &str,
    private: Ipv4Addr,
) -> Result<String, ApiError> {
    let address = allocation(state, id)?.address;
    take_off(state, settings, id);
    let association = state.new_id(error::ASSOCIATION.prefix);
    let target = find_mut(&mut state.interfaces, &error::INTERFACE, interface)?;
    let elastic = Some((id.to_owned(), association.clone()));
    target.public.insert(private, Public { address, elastic });
    Ok(association)
}

pub(super) fn disassociate(
    state: &mut State,
    ctx: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    if params.get("PublicIp").is_some() {
        return Err(ApiError::value(
            "You must specify an association id when unmapping an address from a VPC instance",
        ));
    }
    let association = params.need("AssociationId")?;
    let Some(allocation) = allocation_by(state, association) else {
        return Err(ApiError::not_found(&error::ASSOCIATION, association));
    };
    let place = place_of(state, &allocation);
    place.map_or(Ok(()), |place| leaves_services_alone(state, &place.interface))?;
    take_off(state, ctx.settings, &allocation);
    Ok(XmlBody::yes())
}

/// An address that is associated with something stays.
pub(super) fn release(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    if params.get("PublicIp").is_some() {
        return Err(ApiError::value(
            "You must specify an allocation id when releasing a VPC address",
        ));
    }
    let id = params.need("AllocationId")?;
    let address = allocation(state, id)?.address;
    if place_of(state, id).is_some() {
        let message = format!("Address {address} is in use.");
        return Err(ApiError::client("InvalidIPAddress.InUse", message));
    }
    state.allocations.remove(id);
    Ok(XmlBody::yes())
}

/// The address of a NAT gateway cannot be moved while the gateway has it.
fn leaves_services_alone(state: &State, interface: &str) -> Result<(), ApiError> {
    let found = state.interfaces.get(interface);
    if found.is_none_or(|found| found.service.is_none()) {
        return Ok(());
    }
    let message = "You do not have permission to access the specified resource.";
    Err(ApiError::client("AuthFailure", message))
}

/// Takes an address away from whatever it is associated with. An instance that EC2 gives public
/// addresses to gets a new one, where EC2's guide says so ("Amazon EC2 instance IP addressing"):
/// it has one interface, and no secondary private address has an Elastic one.
fn take_off(state: &mut State, settings: &WorldSettings, id: &str) {
    let Some(Place { interface, private, .. }) = place_of(state, id) else { return };
    let Some(found) = state.interfaces.get_mut(&interface) else { return };
    found.public.remove(&private);
    let alone = found.public.is_empty() && private == found.address();
    let Some(instance) = found.attachment.as_ref().map(|it| it.instance.clone()) else { return };
    let running = state.instances.get(&instance).is_some_and(|it| it.phase == Phase::Running);
    if alone && running && state.interfaces_of(&instance).len() == 1 {
        power::give_public_address(state, settings, &instance);
    }
}

/// The interface that a request means, if an address can be associated with it now.
fn target(state: &State, params: &Params) -> Result<String, ApiError> {
    let id = match (params.get("InstanceId"), params.get("NetworkInterfaceId")) {
        (Some(_), Some(_)) => {
            return Err(ApiError::combination(
                "You may specify either an instance or a network interface, but not both",
            ));
        }
        (None, None) => {
            return Err(ApiError::client(
                "MissingParameter",
                "Either an instance ID or a network interface ID must be specified",
            ));
        }
        (Some(instance), None) => {
            let found = find(&state.instances, &error::INSTANCE, instance)?;
            if let Phase::Pending | Phase::ShuttingDown | Phase::Terminated = found.phase {
                let message = format!(
                    "The {} instance '{instance}' is not in a valid state for this operation.",
                    found.phase.name()
                );
                return Err(ApiError::client("InvalidInstanceID", message));
            }
            routes::only_interface(state, instance)?
        }
        (None, Some(interface)) => interface.to_owned(),
    };
    let interface = find(&state.interfaces, &error::INTERFACE, &id)?;
    let behind = interface.attachment.as_ref().and_then(|it| state.instances.get(&it.instance));
    if behind.is_some_and(|instance| instance.phase == Phase::Pending) {
        return Err(ApiError::state(format!(
            "The pending-instance-creation instance to which '{id}' is attached is not in a valid \
             state for this operation"
        )));
    }
    if !state.gateways.values().any(|gateway| gateway.vpc.as_ref() == Some(&interface.vpc)) {
        return Err(ApiError::client(
            "Gateway.NotAttached",
            format!("Network {} is not attached to any internet gateway", interface.vpc),
        ));
    }
    Ok(id)
}

/// The private address that a request means: one of the interface's own, by default the primary.
fn private_address(state: &State, interface: &str, params: &Params) -> Result<Ipv4Addr, ApiError> {
    let found = find(&state.interfaces, &error::INTERFACE, interface)?;
    let Some(text) = params.get("PrivateIpAddress") else { return Ok(found.address()) };
    let refused = || {
        ApiError::value(format!(
            "The private IP address {text} is not assigned to network interface {interface}"
        ))
    };
    text.parse().ok().filter(|it| found.addresses.contains(it)).ok_or_else(refused)
}

pub(super) fn describe(state: &State, ctx: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let (ids, publics) = (params.list("AllocationId"), params.list("PublicIp"));
    let filters = params.filters();
    filter::check::<Shown<'_>>(&filters)?;
    for id in &ids {
        allocation(state, id)?;
    }
    let known =
        |text: &&String| state.allocations.values().any(|it| it.address.to_string() == **text);
    if let Some(text) = publics.iter().find(|text| !known(text)) {
        let message = format!("Address '{text}' not found.");
        return Err(ApiError::client("InvalidAddress.NotFound", message));
    }
    let asked = |it: &Allocation| {
        (ids.is_empty() || ids.contains(&it.id))
            && (publics.is_empty() || publics.contains(&it.address.to_string()))
    };
    let found = state.allocations.values().filter(|it| asked(it)).map(|allocation| {
        let place = place_of(state, &allocation.id);
        let place = place.and_then(|it| Some((it.clone(), state.interfaces.get(&it.interface)?)));
        Shown { allocation, place, account: &ctx.settings.account }
    });
    let mut found: Vec<Shown<'_>> =
        found.filter(|shown| filter::matches(shown, &filters)).collect();
    filter::arrange(&mut found, |shown| &shown.allocation.id);
    let mut body = XmlBody::new();
    body.list("addressesSet", found, |x, shown| show(x, &shown, ctx));
    Ok(body)
}

fn show(x: &mut XmlBody, shown: &Shown<'_>, ctx: &Ctx<'_>) {
    let allocation = shown.allocation;
    x.put("publicIp", allocation.address);
    x.put("allocationId", &allocation.id);
    x.put("domain", "vpc");
    if let Some((place, interface)) = &shown.place {
        x.maybe("instanceId", interface.attachment.as_ref().map(|it| &it.instance));
        x.put("associationId", &place.association);
        x.put("networkInterfaceId", &place.interface);
        x.put("networkInterfaceOwnerId", shown.account);
        x.put("privateIpAddress", place.private);
    }
    tags::show_any(x, &allocation.tags);
    x.put("publicIpv4Pool", "amazon");
    x.put("networkBorderGroup", &ctx.settings.region);
}

impl Filtered for Shown<'_> {
    const NAMES: &'static [&'static str] = &[
        "allocation-id",
        "association-id",
        "instance-id",
        "network-border-group",
        "network-interface-id",
        "network-interface-owner-id",
        "private-ip-address",
        "public-ip",
    ];

    fn tags(&self) -> &Tags {
        &self.allocation.tags
    }

    fn values(&self, name: &str) -> Vec<String> {
        let of_place = |value: fn(&Place) -> String| {
            self.place.iter().map(|(place, _)| value(place)).collect::<Vec<String>>()
        };
        match name {
            "allocation-id" => vec![self.allocation.id.clone()],
            "association-id" => of_place(|it| it.association.clone()),
            "instance-id" => {
                let attachments = self.place.iter().filter_map(|(_, it)| it.attachment.as_ref());
                attachments.map(|it| it.instance.clone()).collect()
            }
            "network-interface-id" => of_place(|it| it.interface.clone()),
            "network-interface-owner-id" => {
                self.place.iter().map(|_| self.account.to_owned()).collect()
            }
            "private-ip-address" => of_place(|it| it.private.to_string()),
            "public-ip" => vec![self.allocation.address.to_string()],
            _ => Vec::new(),
        }
    }
}

/// Where an address is; none where it is associated with nothing.
pub(super) fn place_of(state: &State, id: &str) -> Option<Place> {
    state.interfaces.values().find_map(|interface| {
        interface.public.iter().find_map(|(private, public)| {
            let (allocation, association) = public.elastic.as_ref()?;
            (allocation == id).then(|| Place {
                association: association.clone(),
                interface: interface.id.clone(),
                private: *private,
            })
        })
    })
}

fn allocation_by(state: &State, association: &str) -> Option<String> {
    let all = state.interfaces.values().flat_map(|it| it.public.values());
    let mut elastic = all.filter_map(|public| public.elastic.as_ref());
    elastic.find(|(_, id)| id == association).map(|(allocation, _)| allocation.clone())
}

/// What a permission knows an id as: an association is its Elastic IP address, and an id of
/// Route 53 is without its kind.
pub(super) fn permitted_as(state: &State, id: &str) -> String {
    allocation_by(state, id).unwrap_or_else(|| route53::bare_id(id).to_owned())
}

/// EC2 has no `Malformed` for these ids: whatever is unknown is not found.
pub(super) fn allocation<'a>(state: &'a State, id: &str) -> Result<&'a Allocation, ApiError> {
    state.allocations.get(id).ok_or_else(|| ApiError::not_found(&error::ALLOCATION, id))
}
