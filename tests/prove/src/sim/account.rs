//! The account at the beginning, and where its resources are from then on.

use std::collections::BTreeSet;
use std::time::Duration;

use natha::types::{InstanceState, Member, NatGatewayId, Resource, Roster, RouteTarget, Time};
use natha_lab::ec2::{ApiError, InstanceSpec, Principal, RouteVia, Timings, World, WorldSettings};

use super::cluster::Sim;
use super::names::DOMAIN;

/// One resource of the account.
#[derive(Debug, Clone)]
pub struct Part {
    /// The number of its group, in the order of the roster that the account was made for.
    pub group: usize,
    /// What it is.
    pub resource: Resource,
    /// The node that it leads to; none where that is no node.
    pub holder: Option<usize>,
    /// Since when.
    pub since: Time,
}

/// An account with a running instance for each member and everything that the groups are made of,
/// at their homes; its gateway, and its public subnet.
pub(super) fn account(roster: &Roster, now: Time) -> (World, String, String) {
    let timings = Timings {
        start_ms: 15_000,
        stop_ms: 20_000,
        force_ms: 10_000,
        terminate_ms: 5_000,
        status_ms: 60_000,
        ..Timings::default()
    };
    let mut world = World::new(WorldSettings { timings, ..WorldSettings::default() });
    let (begin, now) = (Duration::ZERO, now.since_boot());
    let block = |text: &str| text.parse().expect("the text is a block");
    let vpc = made(world.create_vpc(block("10.0.0.0/16"), begin));
    let gateway = made(world.create_gateway(&vpc, begin));
    let subnet = made(world.create_subnet(&vpc, block("10.0.0.0/24"), "eu-central-1a", begin));
    for (n, member) in roster.members.iter().enumerate() {
        let spec = InstanceSpec {
            address: Some(member.address),
            ..InstanceSpec::new(&format!("{n}"), &subnet)
        };
        let instance = made(world.run_instance(&spec, begin));
        let (id, interface) = (member.id.as_str(), member.interface.as_str());
        made(world.rename_instance(&instance, id, interface, begin));
        for landing in member.landings.values() {
            made(world.assign_private_address(interface, *landing, begin));
        }
    }
    // Elastic IPs are for instances that run.
    world.advance(now);
    let resources = || roster.groups.iter().flat_map(|group| &group.resources);
    let tables: BTreeSet<_> = resources().filter_map(Resource::route).map(|it| it.0).collect();
    for table in tables {
        let new = made(world.create_table(&vpc, &[], &[], now));
        made(world.rename_table(&new, table.as_str(), now));
    }
    let zones: BTreeSet<_> = resources().filter_map(zone).collect();
    for id in zones {
        let new = made(world.create_hosted_zone(DOMAIN, now));
        made(world.rename_hosted_zone(&new, id, now));
    }
    for group in &roster.groups {
        let home = group.home.as_ref().and_then(|home| roster.member(home));
        let home = home.expect("each group has a member for its home");
        group.resources.iter().for_each(|one| put(&mut world, one, home, now));
    }
    world.settle();
    (world, gateway, subnet)
}

fn zone(resource: &Resource) -> Option<&str> {
    match resource {
        Resource::Dns { zone, .. } => Some(zone.as_str()),
        _ => None,
    }
}

fn made<T>(result: Result<T, ApiError>) -> T {
    result.expect("the account has what is named and nothing in its place")
}

/// Makes a resource, at a member's.
fn put(world: &mut World, resource: &Resource, member: &Member, now: Duration) {
    let interface = member.interface.as_str();
    match resource {
        Resource::DefaultRoute { .. } | Resource::Vip { .. } => {
            let (table, cidr) = resource.route().expect("it is a route");
            let via = RouteVia::Interface(interface.to_owned());
            made(world.put_route(table.as_str(), cidr, Some(&via), now));
        }
        Resource::PrivateIp { address } => {
            made(world.assign_private_address(interface, *address, now));
        }
        Resource::Eip { allocation, on, .. } => {
            let (new, _) = made(world.allocate_address(&[], now));
            made(world.rename_allocation(&new, allocation.as_str(), now));
            made(world.associate_address(allocation.as_str(), interface, *on, now));
        }
        Resource::EgressIp { allocation, .. } => {
            let (new, _) = made(world.allocate_address(&[], now));
            made(world.rename_allocation(&new, allocation.as_str(), now));
            let landing = member.landings.get(allocation).copied();
            made(world.associate_address(allocation.as_str(), interface, landing, now));
        }
        Resource::Dns { zone, name, ttl, .. } => {
            made(world.put_record(zone.as_str(), name.as_str(), *ttl, &[member.address], now));
        }
    }
}

impl Sim {
    /// Makes a NAT gateway and has every group name it as its fallback.
    ///
    /// # Panics
    /// Never: the account has the subnet.
    pub fn give_fallback(&mut self) -> NatGatewayId {
        let made = self.world.create_nat_gateway(&self.subnet, self.now.since_boot());
        let id: NatGatewayId =
            made.expect("the account has the subnet").parse().expect("EC2 makes ids of this kind");
        let mut roster = self.roster.clone();
        for group in roster.groups.iter_mut().chain(&mut self.groups) {
            group.traits.fallback = Some(id.clone());
        }
        self.enrol(roster);
        id
    }

    /// Whether all of group `of` leads to this NAT gateway.
    #[must_use]
    pub fn is_at(&self, of: usize, gateway: &NatGatewayId) -> bool {
        let at = RouteVia::NatGateway(gateway.to_string());
        let mut routes = self.parts(of).filter_map(|part| part.resource.route());
        routes.all(|(table, cidr)| self.world.route(table.as_str(), cidr) == Some(at.clone()))
    }

    /// The resources of group `of`, with where they are.
    pub fn parts(&self, of: usize) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.group == of)
    }

    /// How many groups the account was made for.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The groups with a service check.
    pub fn checked(&self) -> impl Iterator<Item = usize> {
        (0..self.groups.len()).filter(|of| self.groups[*of].traits.checked)
    }

    /// Whose calls those of node `n` are, for faults of its own.
    #[must_use]
    pub fn principal(&self, n: usize) -> Principal {
        self.principals[n].clone()
    }

    /// The node that all of group `of` leads to.
    #[must_use]
    pub fn holder(&self, of: usize) -> Option<usize> {
        let mut holders = self.parts(of).map(|part| part.holder);
        let first = holders.next()??;
        holders.all(|holder| holder == Some(first)).then_some(first)
    }

    /// The home of group `of`.
    ///
    /// # Panics
    /// Where the account has no such group.
    #[must_use]
    pub fn home(&self, of: usize) -> Option<usize> {
        self.groups[of].home.as_ref().map(|home| self.index(home))
    }

    /// Sees to it that the nodes are as EC2 has them.
    pub(super) fn refresh(&mut self) {
        let now = self.now.since_boot();
        self.world.advance(now);
        for at in 0..self.parts.len() {
            let holder = self.whose(&self.parts[at].resource);
            let part = &mut self.parts[at];
            if part.holder != holder {
                (part.holder, part.since) = (holder, self.now);
            }
        }
        for n in 0..self.nodes.len() {
            let phase = self.world.phase(self.ids[n].as_str());
            let state = phase.and_then(|phase| InstanceState::of_code(i32::from(phase.code())));
            if let Some(state) = state.filter(|state| *state != self.nodes[n].power) {
                self.enter(n, state);
            }
        }
        self.note_outside();
        self.ec2_due = self.world.next_change(now).map(Time::from_boot);
    }

    /// The node that a resource leads to according to the API.
    fn whose(&self, resource: &Resource) -> Option<usize> {
        let by_interface =
            |id: &str| self.members.iter().position(|it| it.interface.as_str() == id);
        match resource {
            Resource::DefaultRoute { .. } | Resource::Vip { .. } => {
                let (table, cidr) = resource.route()?;
                match self.world.route(table.as_str(), cidr)? {
                    RouteVia::Interface(id) => by_interface(&id),
                    _ => None,
                }
            }
            Resource::PrivateIp { address } => self.members.iter().position(|member| {
                let on = self.world.private_addresses(member.interface.as_str());
                on.is_some_and(|on| on.contains(address))
            }),
            Resource::Eip { allocation, on, .. } => {
                let (interface, private) = self.world.address_at(allocation.as_str())?;
                by_interface(&interface).filter(|_| on.is_none_or(|on| on == private))
            }
            Resource::EgressIp { allocation, .. } => {
                let (_, private) = self.world.address_at(allocation.as_str())?;
                let landing = |member: &Member| member.landings.get(allocation) == Some(&private);
                self.members.iter().position(landing)
            }
            Resource::Dns { zone, name, .. } => {
                let found = self.world.record_at(zone.as_str(), name.as_str())?;
                let [address] = found.as_slice() else { return None };
                let target = Some(RouteTarget::Address(*address));
                self.members.iter().position(|member| resource.target(member) == target)
            }
        }
    }
}
