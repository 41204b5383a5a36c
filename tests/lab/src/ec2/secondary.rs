//! Secondary private addresses: AssignPrivateIpAddresses, UnassignPrivateIpAddresses.

use std::fmt::Display;
use std::net::Ipv4Addr;

use super::error::{self, ApiError};
use super::model::{Interface, Public, State, Subnet, find, find_mut};
use super::params::Params;
use super::vpcs;
use super::world::Ctx;
use super::xml::XmlBody;

pub(super) fn assign(state: &mut State, _: &Ctx<'_>, params: &Params) -> Result<XmlBody, ApiError> {
    let id = params.need("NetworkInterfaceId")?;
    let found = find(&state.interfaces, &error::INTERFACE, id)?;
    let subnet = find(&state.subnets, &error::SUBNET, &found.subnet)?.clone();
    let may_move = params.flag("AllowReassignment")?.unwrap_or(false);
    let listed = params.list("PrivateIpAddress");
    let count: Option<usize> = params.parsed("SecondaryPrivateIpAddressCount")?;
    let has = |text: &&String| text.parse().is_ok_and(|address| found.addresses.contains(&address));
    let more = count.unwrap_or_default() + listed.iter().filter(|text| !has(text)).count();
    if found.addresses.len() + more > limit(state, found) {
        return Err(ApiError::client(
            "PrivateIpAddressLimitExceeded",
            "Number of private addresses will exceed limit.",
        ));
    }
    let assigned = match (listed.as_slice(), count) {
        ([], None) => {
            return Err(ApiError::client(
                "MissingParameter",
                "Either privateIpAddress or secondaryPrivateIpAddressCount must be specified",
            ));
        }
        ([], Some(count)) => add_free(state, id, &subnet, count)?,
        (_, Some(_)) => {
            return Err(ApiError::combination(
                "privateIpAddress and secondaryPrivateIpAddressCount may not be specified together",
            ));
        }
        (listed, None) => add_these(state, id, &subnet, listed, may_move)?,
    };
    let mut body = XmlBody::yes();
    body.put("networkInterfaceId", id);
    body.list("assignedPrivateIpAddressesSet", assigned, |x, address| {
        x.put("privateIpAddress", address);
    });
    Ok(body)
}

/// How many private addresses an interface may have, by its instance's type (EC2 guide, "IP
/// addresses per network interface per instance type"). The sizes of the usual families agree.
fn limit(state: &State, interface: &Interface) -> usize {
    let instance = interface.attachment.as_ref().map(|attachment| &attachment.instance);
    let Some(instance) = instance.and_then(|id| state.instances.get(id)) else { return usize::MAX };
    let (family, size) = instance.kind.split_once('.').unwrap_or_default();
    match (size, family.starts_with('t')) {
        ("nano" | "micro", _) => 2,
        ("small", _) | ("medium", false) => 4,
        ("medium", true) => 6,
        ("large", true) => 12,
        ("large", false) => 10,
        ("xlarge" | "2xlarge", _) => 15,
        _ => 30,
    }
}

fn add_free(
    state: &mut State,
    id: &str,
    subnet: &Subnet,
    count: usize,
) -> Result<Vec<Ipv4Addr>, ApiError> {
    let mut assigned = Vec::new();
    for _ in 0..count {
        let address = vpcs::free_address(state, subnet, None)?;
        find_mut(&mut state.interfaces, &error::INTERFACE, id)?.addresses.push(address);
        assigned.push(address);
    }
    Ok(assigned)
}

fn add_these(
    state: &mut State,
    id: &str,
    subnet: &Subnet,
    listed: &[String],
    may_move: bool,
) -> Result<Vec<Ipv4Addr>, ApiError> {
    let addresses = listed.iter().map(|text| vpcs::usable_address(subnet, text));
    let addresses = addresses.collect::<Result<Vec<Ipv4Addr>, ApiError>>()?;
    let elsewhere = |address: &&Ipv4Addr| {
        let holder = holder(state, subnet, **address);
        holder.filter(|holder| holder.id != id)
    };
    let taken: Vec<&Ipv4Addr> = addresses.iter().filter(|it| elsewhere(it).is_some()).collect();
    if !taken.is_empty() && !may_move {
        return Err(ApiError::value(format!(
            "[{}] assigned, but move is not allowed.",
            joined(&taken)
        )));
    }
    let is_primary = |address: &&Ipv4Addr| {
        holder(state, subnet, **address).is_some_and(|it| it.address() == **address)
    };
    let primary: Vec<&Ipv4Addr> = addresses.iter().filter(is_primary).collect();
    if !primary.is_empty() {
        return Err(ApiError::value(format!(
            "[{}] is the primary private IP address of a network interface: it cannot be moved.",
            joined(&primary)
        )));
    }
    for address in &addresses {
        hand(state, id, subnet, *address)?;
    }
    Ok(addresses)
}

/// Moves an address to an interface, with the public one that is associated with it.
fn hand(state: &mut State, id: &str, subnet: &Subnet, address: Ipv4Addr) -> Result<(), ApiError> {
    let before = holder(state, subnet, address).map(|it| it.id.clone());
    if before.as_deref() == Some(id) {
        return Ok(());
    }
    let mut public: Option<Public> = None;
    if let Some(before) = before {
        let before = find_mut(&mut state.interfaces, &error::INTERFACE, &before)?;
        before.addresses.retain(|it| *it != address);
        public = before.public.remove(&address);
    }
    let interface = find_mut(&mut state.interfaces, &error::INTERFACE, id)?;
    interface.addresses.push(address);
    interface.public.extend(public.map(|public| (address, public)));
    Ok(())
}

pub(super) fn unassign(
    state: &mut State,
    _: &Ctx<'_>,
    params: &Params,
) -> Result<XmlBody, ApiError> {
    let id = params.need("NetworkInterfaceId")?;
    let listed = params.list("PrivateIpAddress");
    let interface = find_mut(&mut state.interfaces, &error::INTERFACE, id)?;
    if listed.is_empty() {
        return Err(ApiError::missing("privateIpAddress"));
    }
    let own = |text: &String| {
        let address = text.parse().ok()?;
        interface.addresses.contains(&address).then_some(address)
    };
    let strangers: Vec<&String> = listed.iter().filter(|text| own(text).is_none()).collect();
    if !strangers.is_empty() {
        return Err(ApiError::value(format!(
            "Some of [{}] are not assigned to interface {id}",
            joined(&strangers)
        )));
    }
    let gone: Vec<Ipv4Addr> = listed.iter().filter_map(own).collect();
    if gone.contains(&interface.address()) {
        return Err(ApiError::value(format!(
            "[{}] is the primary private IP address of interface {id}: it cannot be unassigned",
            interface.address()
        )));
    }
    interface.addresses.retain(|address| !gone.contains(address));
    // An Elastic IP address stays allocated; it is associated with nothing then.
    interface.public.retain(|address, _| !gone.contains(address));
    Ok(XmlBody::yes())
}

fn holder<'a>(state: &'a State, subnet: &Subnet, address: Ipv4Addr) -> Option<&'a Interface> {
    let mut inside = state.interfaces.values().filter(|it| it.subnet == subnet.id);
    inside.find(|it| it.addresses.contains(&address))
}

fn joined<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<String>>().join(", ")
}
