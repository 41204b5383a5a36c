//! Who is who: node `n` has the interface `eni(n)`. In a plain cluster it is the home of group
//! `g<n>` with the one route table `table(n)`; the others have groups of several kinds.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use natha::types::{
    AllocationId, Egress, Group, InstanceId, Member, NetworkInterfaceId, Resource, Roster,
    RouteTableId, Traits,
};

/// The instance id of node `n`.
///
/// # Panics
/// Never: the text is an id.
#[must_use]
pub fn id(n: usize) -> InstanceId {
    format!("i-{:08x}", n + 1).parse().expect("the text is an instance id")
}

/// The id of node `n`'s interface.
///
/// # Panics
/// Never: the text is an id.
#[must_use]
pub fn eni(n: usize) -> NetworkInterfaceId {
    format!("eni-{:08x}", n + 1).parse().expect("the text is an interface id")
}

/// The id of node `n`'s own table.
///
/// # Panics
/// Never: the text is an id.
#[must_use]
pub fn table(n: usize) -> RouteTableId {
    format!("rtb-{:08x}", n + 1).parse().expect("the text is a table id")
}

/// The private address of node `n`.
#[must_use]
pub fn address(n: usize) -> Ipv4Addr {
    [10, 0, 0, byte(10 + n)].into()
}

/// The allocation of the Elastic IP of group `g`.
///
/// # Panics
/// Never: the text is an id.
#[must_use]
pub fn allocation(g: usize) -> AllocationId {
    format!("eipalloc-{:08x}", g + 1).parse().expect("the text is an allocation id")
}

fn byte(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

/// The domain of the hosted zone in which DNS records are.
pub(super) const DOMAIN: &str = "example.test";

/// Where all default routes of the simulation lead from.
pub(super) fn everywhere() -> ipnet::Ipv4Net {
    ipnet::Ipv4Net::default()
}

/// A cluster of this many nodes, each the home of one group.
///
/// # Panics
/// Never: the texts are names.
#[must_use]
pub fn roster(nodes: usize) -> Roster {
    Roster {
        members: members(nodes),
        groups: (0..nodes).map(|n| group(n, n, vec![nat(n)])).collect(),
    }
}

/// A cluster of this many nodes, each the home of one group of several kinds, as the documents
/// that the project comes from describe them: by turns a virtual IP with a private IP and an
/// Elastic IP on it, a NAT with an Elastic IP of its own, a virtual IP with a service check, and
/// a NAT with a DNS record.
///
/// # Panics
/// Never: the texts are names.
#[must_use]
pub fn documented(nodes: usize) -> Roster {
    let grouped = |n: usize| match n % 4 {
        0 => prepared(group(n, n, carried(n, 2))),
        1 => group(n, n, vec![nat(n), elastic(n, None)]),
        2 => {
            let checked = prepared(group(n, n, vec![vip(0, n), vip(1, n)]));
            Group { traits: Traits { checked: true, ..checked.traits }, ..checked }
        }
        _ => group(n, n, vec![nat(n), record(n)]),
    };
    Roster { members: members(nodes), groups: (0..nodes).map(grouped).collect() }
}

/// A cluster of this many nodes and groups, each with the route of a virtual IP in two tables, a
/// private IP and an Elastic IP on it; the nodes are homes by turns.
///
/// # Panics
/// Never: the texts are names.
#[must_use]
pub fn many(nodes: usize, groups: usize) -> Roster {
    let grouped = |g: usize| prepared(group(g, g % nodes, carried(g, 2)));
    Roster { members: members(nodes), groups: (0..groups).map(grouped).collect() }
}

/// The egress IPs of each group of [`egress`].
pub(super) const EGRESS_IPS: usize = 2;

/// A cluster of this many nodes, each the home of one group: a NAT with egress IPs. Every other
/// group is strict.
///
/// # Panics
/// Never: the texts are names and blocks.
#[must_use]
pub fn egress(nodes: usize) -> Roster {
    let grouped = |n: usize| {
        let ips = (0..EGRESS_IPS).map(|i| egress_ip(EGRESS_IPS * n + i));
        let resources = std::iter::once(nat(n)).chain(ips).collect();
        let sources = vec![format!("10.0.{}.0/24", 100 + n).parse().expect("the text is a block")];
        Group { egress: Egress { sources, strict: n.is_multiple_of(2) }, ..group(n, n, resources) }
    };
    let landings = |n: usize| -> BTreeMap<AllocationId, Ipv4Addr> {
        let ips = 0..EGRESS_IPS * nodes;
        ips.map(|i| (allocation(i), [10, 0, 0, byte(100 + 10 * n + i)].into())).collect()
    };
    let members = members(nodes).into_iter().enumerate();
    let members = members.map(|(n, member)| Member { landings: landings(n), ..member }).collect();
    Roster { members, groups: (0..nodes).map(grouped).collect() }
}

/// The same, where nodes replicate connections: a planned move waits until its receiver has heard
/// of it.
pub(super) fn replicated(nodes: usize) -> Roster {
    let Roster { members, groups } = egress(nodes);
    Roster { members, groups: groups.into_iter().map(prepared).collect() }
}

fn members(nodes: usize) -> Vec<Member> {
    let member = |n: usize| Member {
        id: id(n),
        interface: eni(n),
        address: address(n),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: BTreeMap::new(),
    };
    (0..nodes).map(member).collect()
}

fn group(g: usize, home: usize, resources: Vec<Resource>) -> Group {
    let name = format!("g{g}").parse().expect("the text is a group name");
    Group::new(name, Some(id(home)), resources)
}

/// The same with addresses that must be on the receiver's host before a planned move.
fn prepared(group: Group) -> Group {
    Group { traits: Traits { prepared: true, ..group.traits }, ..group }
}

fn nat(n: usize) -> Resource {
    Resource::DefaultRoute { table: table(n), cidr: everywhere() }
}

fn vip(of: usize, g: usize) -> Resource {
    Resource::Vip { table: table(of), address: [172, 16, 0, byte(1 + g)].into() }
}

fn elastic(g: usize, on: Option<Ipv4Addr>) -> Resource {
    Resource::Eip { allocation: allocation(g), address: [198, 51, 100, byte(1 + g)].into(), on }
}

fn egress_ip(i: usize) -> Resource {
    let address = [198, 51, 100, byte(1 + i)].into();
    Resource::EgressIp { allocation: allocation(i), address }
}

fn record(g: usize) -> Resource {
    let zone = "Z0000000000000000001".parse().expect("the text is a zone's id");
    let name = format!("g{g}.{DOMAIN}").parse().expect("the text is a DNS name");
    Resource::Dns { zone, name, ttl: 10, public: false }
}

/// A virtual IP with its routes in so many tables, a private IP, and an Elastic IP on that.
fn carried(g: usize, tables: usize) -> Vec<Resource> {
    let private = Ipv4Addr::from([10, 0, 0, byte(100 + g)]);
    let routes = (0..tables).map(|of| vip(of, g));
    let addresses = [Resource::PrivateIp { address: private }, elastic(g, Some(private))];
    routes.chain(addresses).collect()
}
