//! What packets meet: computed from what is true now and from what was true when changes that
//! have reached the network were made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::model::{Group, Interface, Peer, Phase, RouteTarget, Rule, RuleKey, State, Subnet};
use super::others::Destination;
use crate::dataplane::{self, Dataplane, Permission, Power, Target};

/// Power, interfaces, their primary addresses and the public addresses that EC2 gives at start are
/// those of now. Routes, the source/destination check, security groups and secondary private
/// addresses are those of `then`, and Elastic IP addresses those of `elastic`, except for what did
/// not exist yet.
pub(super) fn dataplane(now: &State, then: &State, elastic: &State) -> Dataplane {
    let nat_gateways: BTreeMap<&String, &String> = now
        .nat_gateways
        .values()
        .filter(|gateway| gateway.phase.exists())
        .filter_map(|gateway| Some((gateway.interface.as_ref()?, &gateway.id)))
        .collect();
    let alive = |i: &Interface| {
        let attached = i.attachment.as_ref().map(|a| (a.instance.clone(), a.device_index));
        attached.or_else(|| Some(((*nat_gateways.get(&i.id)?).clone(), 0)))
    };
    let interfaces = now
        .interfaces
        .values()
        .filter_map(|interface| {
            let (instance, device_index) = alive(interface)?;
            let old = then.interfaces.get(&interface.id).unwrap_or(interface);
            let shown = dataplane::Interface {
                instance,
                device_index,
                mac: interface.mac.clone(),
                subnet: interface.subnet.clone(),
                addresses: addresses(interface, old),
                public: public(interface, elastic.interfaces.get(&interface.id)),
                source_dest_check: old.source_dest_check,
                ingress: permissions(now, then, old, |group| &group.ingress),
                egress: permissions(now, then, old, |group| &group.egress),
            };
            Some((interface.id.clone(), shown))
        })
        .collect();
    let subnets = now
        .subnets
        .values()
        .map(|subnet| (subnet.id.clone(), show_subnet(now, then, subnet)))
        .collect();
    let instances = now
        .instances
        .values()
        .filter(|instance| instance.phase != Phase::Terminated)
        .map(|instance| {
            let name = instance.tags.get("Name").unwrap_or(&instance.id).clone();
            let power = match instance.phase {
                Phase::Running => Power::On,
                Phase::Stopping | Phase::ShuttingDown => Power::ShuttingDown,
                Phase::Pending | Phase::Stopped | Phase::Terminated => Power::Off,
            };
            let power = if instance.guest_off { Power::Off } else { power };
            let user_data = instance.user_data.clone();
            let shown = dataplane::Instance { name, power, boot: instance.boot, user_data };
            (instance.id.clone(), shown)
        })
        .collect();
    let nat_gateways = nat_gateways.into_values().cloned().collect();
    let blocks = now.vpcs.values().flat_map(|vpc| vpc.blocks.iter().map(|block| block.cidr));
    Dataplane { blocks: blocks.collect(), interfaces, subnets, instances, nat_gateways }
}

/// The primary address does not change; the others come and go once packets meet the change.
fn addresses(interface: &Interface, old: &Interface) -> Vec<Ipv4Addr> {
    let primary = interface.address();
    let others = old.addresses.iter().copied().filter(|address| *address != primary);
    std::iter::once(primary).chain(others).collect()
}

/// The public address of each private one. An Elastic one counts from when packets meet it until
/// they meet its end, and goes before one that EC2 gave. `old` is none for an interface that did
/// not exist yet.
fn public(interface: &Interface, old: Option<&Interface>) -> BTreeMap<Ipv4Addr, Ipv4Addr> {
    let old = old.unwrap_or(interface);
    let private: BTreeSet<Ipv4Addr> =
        interface.public.keys().chain(old.public.keys()).copied().collect();
    let found = private.into_iter().filter_map(|private| {
        let (new, old) = (interface.public.get(&private), old.public.get(&private));
        let elastic = old.filter(|public| public.elastic.is_some());
        let given = new.filter(|public| public.elastic.is_none());
        // Until packets meet the Elastic one, the address that it displaces serves on.
        let displaced = new.and(old);
        let shown = elastic.or(given).or(displaced)?;
        Some((private, shown.address))
    });
    found.collect()
}

fn show_subnet(now: &State, then: &State, subnet: &Subnet) -> dataplane::Subnet {
    let table = then.table_of(subnet).or_else(|| now.table_of(subnet));
    // What is propagated leads to what carries no packet here. A static route goes before it.
    let others = table.into_iter().flat_map(|table| &table.others);
    let learned = others.filter_map(|route| match route.destination {
        Destination::V4(block) => Some((block, Target::Blackhole)),
        Destination::V6(_) | Destination::PrefixList(_) => None,
    });
    let fixed = table.into_iter().flat_map(|table| &table.routes).filter_map(|(block, route)| {
        let target = match &route.target {
            RouteTarget::Local => return None,
            gone if now.is_blackhole(&subnet.vpc, gone) => Target::Blackhole,
            RouteTarget::Beyond(_) => Target::Blackhole,
            RouteTarget::Gateway(_) => Target::InternetGateway,
            RouteTarget::Interface(id) => Target::Interface(id.clone()),
            RouteTarget::NatGateway(id) => now
                .nat_gateways
                .get(id)
                .filter(|gateway| gateway.phase.forwards())
                .and_then(|gateway| gateway.interface.clone())
                .map_or(Target::Blackhole, Target::Interface),
        };
        Some((*block, target))
    });
    let routes = learned.chain(fixed).collect();
    dataplane::Subnet { cidr: subnet.cidr, routes }
}

fn permissions(
    now: &State,
    then: &State,
    interface: &Interface,
    side: fn(&Group) -> &BTreeMap<RuleKey, Rule>,
) -> Vec<Permission> {
    if interface.service.is_some() {
        // What EC2 itself runs has no security group.
        return vec![Permission { protocol: None, ports: None, peer: Ipv4Net::default() }];
    }
    let group = |id: &String| then.groups.get(id).or_else(|| now.groups.get(id));
    let mut found: Vec<Permission> = interface
        .groups
        .iter()
        .filter_map(group)
        .flat_map(|group| side(group).keys())
        .flat_map(|key| resolve(now, key))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// A rule about a group becomes one about each address of the group's members.
fn resolve(now: &State, key: &RuleKey) -> Vec<Permission> {
    let protocol = (key.protocol != "-1").then(|| key.protocol.clone());
    let port = |n: i32| u16::try_from(n).ok();
    let ports = match (key.protocol.as_str(), key.ports) {
        ("tcp" | "udp", Some((from, to))) => port(from).zip(port(to)),
        _ => None,
    };
    let peers = match &key.peer {
        Peer::Block(block) => vec![*block],
        Peer::Group(id) => now
            .interfaces
            .values()
            .filter(|interface| interface.groups.contains(id))
            .flat_map(|interface| interface.addresses.iter().map(|a| (*a).into()))
            .collect(),
    };
    peers.into_iter().map(|peer| Permission { protocol: protocol.clone(), ports, peer }).collect()
}
