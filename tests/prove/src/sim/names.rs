//! Who is who: node `n` has the interface `eni(n)`, and is the home of group `g<n>` with the
//! one route table `table(n)`.

use natha::types::{Group, InstanceId, Member, NetworkInterfaceId, Resource, Roster, RouteTableId};

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
pub fn address(n: usize) -> std::net::Ipv4Addr {
    [10, 0, 0, u8::try_from(10 + n).unwrap_or(u8::MAX)].into()
}

/// Where all routes of the simulation lead from.
pub(super) fn everywhere() -> ipnet::Ipv4Net {
    ipnet::Ipv4Net::default()
}

/// A cluster of this many nodes, each the home of one group.
///
/// # Panics
/// Never: the texts are names.
#[must_use]
pub fn roster(nodes: usize) -> Roster {
    let member = |n: usize| Member {
        id: id(n),
        interface: eni(n),
        address: address(n),
        zone: None,
        name: None,
        public: None,
    };
    let group = |n: usize| {
        let name = format!("g{n}").parse().expect("the text is a group name");
        let route = Resource::DefaultRoute { table: table(n), cidr: everywhere() };
        Group::new(name, Some(id(n)), vec![route])
    };
    Roster { members: (0..nodes).map(member).collect(), groups: (0..nodes).map(group).collect() }
}
