//! Which routes the VPC's router should have, computed from the dataplane alone.
//!
//! Packets are looked up first in [`VPC_TABLE`], which holds one /32 for every address in use and
//! swallows the rest of the VPC's addresses; then, by the interface that sent them, in the table
//! of the sender's subnet. That is the order of AWS's implied `local` route and the route table.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::dataplane::{Dataplane, Target};

/// The router's table of the VPC's own addresses.
pub const VPC_TABLE: u32 = 100;
/// The router's tables of the subnets count from here.
pub const FIRST_SUBNET_TABLE: u32 = 1000;

/// An interface that is plugged into the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The kernel's index of the router's end.
    pub link: u32,
}

/// Where the router sends a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// Out of this link, whatever the destination.
    Link(u32),
    /// To the internet gateway.
    Gateway,
    /// Nowhere, silently.
    Blackhole,
}

/// Every route of the router: table and destination to where it leads.
pub type Routes = BTreeMap<(u32, Ipv4Net), Hop>;

/// The routes for `dataplane`, given the ports by `eni-…` id and the subnets' table numbers. A
/// route to an interface that is not plugged in leads nowhere.
#[must_use]
pub fn routes(
    dataplane: &Dataplane,
    ports: &BTreeMap<String, Port>,
    tables: &BTreeMap<String, u32>,
) -> Routes {
    let blocks = dataplane.blocks.iter();
    let mut routes: Routes = blocks.map(|block| ((VPC_TABLE, *block), Hop::Blackhole)).collect();
    for (id, interface) in &dataplane.interfaces {
        if let Some(port) = ports.get(id) {
            for address in &interface.addresses {
                routes.insert((VPC_TABLE, Ipv4Net::from(*address)), Hop::Link(port.link));
            }
        }
    }
    for (id, subnet) in &dataplane.subnets {
        let Some(&table) = tables.get(id) else { continue };
        routes.insert((table, Ipv4Net::default()), Hop::Blackhole);
        for (destination, target) in &subnet.routes {
            let hop = match target {
                Target::Interface(interface) => {
                    ports.get(interface).map_or(Hop::Blackhole, |port| Hop::Link(port.link))
                }
                Target::InternetGateway => Hop::Gateway,
                Target::Blackhole => Hop::Blackhole,
            };
            routes.insert((table, destination.trunc()), hop);
        }
    }
    routes
}

/// One change that brings the router's routes closer to the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Make this route lead there, whether it exists or not.
    Set(u32, Ipv4Net, Hop),
    /// Remove this route.
    Remove(u32, Ipv4Net, Hop),
}

/// What to change to get from `have` to `want`: additions first, so that nothing is without a
/// route in between that has one before and after.
#[must_use]
pub fn difference(have: &Routes, want: &Routes) -> Vec<Change> {
    let set = want
        .iter()
        .filter(|(key, hop)| have.get(key) != Some(hop))
        .map(|(&(table, net), &hop)| Change::Set(table, net, hop));
    let remove = have
        .iter()
        .filter(|(key, _)| !want.contains_key(key))
        .map(|(&(table, net), &hop)| Change::Remove(table, net, hop));
    set.chain(remove).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dataplane::{Interface, Subnet};

    fn interface(address: &str) -> Interface {
        Interface {
            instance: "i-1".into(),
            device_index: 0,
            mac: "0a:00:00:00:00:01".into(),
            subnet: "subnet-1".into(),
            addresses: vec![address.parse().unwrap()],
            public: BTreeMap::new(),
            source_dest_check: true,
            ingress: Vec::new(),
            egress: Vec::new(),
        }
    }

    fn world(target: Target) -> Dataplane {
        let routes = BTreeMap::from([(Ipv4Net::default(), target)]);
        Dataplane {
            blocks: BTreeSet::from(["10.0.0.0/16".parse().unwrap()]),
            interfaces: BTreeMap::from([("eni-a".to_owned(), interface("10.0.0.10"))]),
            subnets: BTreeMap::from([(
                "subnet-1".to_owned(),
                Subnet { cidr: "10.0.0.0/24".parse().unwrap(), routes },
            )]),
            instances: BTreeMap::new(),
            nat_gateways: BTreeSet::new(),
        }
    }

    fn plan(target: Target, plugged: bool) -> Routes {
        let ports = plugged.then(|| ("eni-a".to_owned(), Port { link: 7 })).into_iter().collect();
        let tables = BTreeMap::from([("subnet-1".to_owned(), 1000)]);
        routes(&world(target), &ports, &tables)
    }

    fn default_hop(routes: &Routes) -> Hop {
        routes[&(1000, Ipv4Net::default())]
    }

    #[test]
    fn a_route_to_an_interface_leads_out_of_its_link() {
        let plan = plan(Target::Interface("eni-a".into()), true);
        assert_eq!(default_hop(&plan), Hop::Link(7));
        assert_eq!(plan[&(VPC_TABLE, "10.0.0.10/32".parse().unwrap())], Hop::Link(7));
    }

    #[test]
    fn a_route_to_an_interface_without_power_leads_nowhere() {
        let plan = plan(Target::Interface("eni-a".into()), false);
        assert_eq!(default_hop(&plan), Hop::Blackhole);
        assert!(!plan.contains_key(&(VPC_TABLE, "10.0.0.10/32".parse().unwrap())));
    }

    #[test]
    fn the_difference_sets_before_it_removes() {
        let have = plan(Target::InternetGateway, true);
        let mut want = plan(Target::Interface("eni-a".into()), true);
        want.remove(&(VPC_TABLE, "10.0.0.10/32".parse().unwrap()));
        let changes = difference(&have, &want);
        assert_eq!(changes[0], Change::Set(1000, Ipv4Net::default(), Hop::Link(7)));
        assert!(matches!(changes[1], Change::Remove(VPC_TABLE, _, Hop::Link(7))));
        assert_eq!(changes.len(), 2);
        assert!(difference(&want, &want).is_empty());
    }
}
