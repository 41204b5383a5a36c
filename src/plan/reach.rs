//! By which interfaces this host reaches the private hosts that it serves.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::table::is_wide;
use super::{Link, Route, TableSpec};

/// A warning for each network of the sources that this host reaches through more than one of its
/// interfaces, or through none that takes part. Sources such as `0.0.0.0/0` say nothing about
/// where private hosts are.
#[must_use]
pub fn misrouted(spec: &TableSpec, links: &[Link], routes: &[Route]) -> Vec<String> {
    if !spec.nat {
        return Vec::new();
    }
    let mut found = BTreeSet::new();
    for source in spec.sources.iter().filter(|source| !is_wide(**source)) {
        for (network, destination) in parts(*source, routes) {
            let through = destination.map(|to| best(routes, to)).unwrap_or_default();
            found.extend(complaint(spec, network, &through));
        }
        for network in shared(spec, links).filter(|net| overlap(*net, *source)) {
            found.extend(complaint(spec, network, &attached(spec, links, network)));
        }
    }
    found.into_iter().collect()
}

/// The networks of a source that have routes of their own, and the source as a whole; each with the
/// destination of the route that applies to it, if there is one.
fn parts(source: Ipv4Net, routes: &[Route]) -> BTreeSet<(Ipv4Net, Option<Ipv4Net>)> {
    let destinations = || routes.iter().map(|route| route.destination);
    let around = destinations().filter(|to| to.contains(&source)).max_by_key(Ipv4Net::prefix_len);
    let inside = destinations().filter(|to| source.contains(to)).map(|to| (to, Some(to)));
    inside.chain([(source, around)]).collect()
}

/// The interfaces of the routes to `destination` that the kernel uses.
fn best(routes: &[Route], destination: Ipv4Net) -> BTreeSet<String> {
    let there = || routes.iter().filter(|route| route.destination == destination);
    let metric = there().map(|route| route.metric).min();
    let used = there().filter(|route| Some(route.metric) == metric);
    used.filter_map(|route| route.link.clone()).collect()
}

/// Networks that two interfaces that take part are attached to. The kernel uses one of them for all
/// packets to the network, whatever interface the requests come in by.
fn shared<'a>(spec: &'a TableSpec, links: &'a [Link]) -> impl Iterator<Item = Ipv4Net> + 'a {
    let networks = links.iter().flat_map(|link| link.addresses.iter().map(Ipv4Net::trunc));
    networks.filter(move |net| net.prefix_len() < 32 && attached(spec, links, *net).len() > 1)
}

/// The interfaces that take part and have an address in `network`.
fn attached(spec: &TableSpec, links: &[Link], network: Ipv4Net) -> BTreeSet<String> {
    let is_attached = |link: &&Link| {
        let in_it = |own: &Ipv4Net| own.prefix_len() < 32 && own.trunc() == network;
        spec.links.contains(&link.name) && link.addresses.iter().any(in_it)
    };
    links.iter().filter(is_attached).map(|link| link.name.clone()).collect()
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// What is wrong if `network` is reached through these interfaces; none if nothing is.
fn complaint(spec: &TableSpec, network: Ipv4Net, through: &BTreeSet<String>) -> Option<String> {
    let names = |links: &BTreeSet<String>| {
        links.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
    };
    let strange: BTreeSet<String> = through.difference(&spec.links).cloned().collect();
    let ours = names(&spec.links);
    if through.is_empty() {
        Some(format!(
            "this host has no route to the private hosts in {network}: add one through {ours}, in \
             the system's network configuration too, or leave the network out of `host.sources`"
        ))
    } else if !strange.is_empty() {
        Some(format!(
            "private hosts in {network} are reached through {}, which takes no part in forwarding: \
             replies to them are lost. Delete the route, add one through {ours}, or leave the \
             network out of `host.sources`",
            names(&strange)
        ))
    } else if through.len() > 1 {
        Some(format!(
            "private hosts in {network} are reached through {}: replies may leave by another \
             interface than the requests came in by, and security groups drop them. Give this host \
             one interface in each subnet and one route to each network",
            names(through)
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn route(destination: &str, metric: u32, link: &str) -> Route {
        Route { destination: net(destination), metric, link: Some(link.to_owned()) }
    }

    /// A two-armed NAT of a VPC.
    fn spec(sources: &[&str]) -> TableSpec {
        TableSpec {
            uplink: "ens5".to_owned(),
            links: ["ens5", "ens6"].map(str::to_owned).into(),
            sources: sources.iter().map(|source| net(source)).collect(),
            transit: None,
            vpc_networks: vec![net("10.0.0.0/16")],
            address: None,
            clamp_mss: true,
            mss: 1460,
            flowtable: false,
            nat: true,
            protect: None,
            accept: BTreeSet::new(),
            primaries: crate::plan::Primaries::new(),
        }
    }

    fn links() -> Vec<Link> {
        [("ens5", "10.0.0.10/24"), ("ens6", "10.0.1.10/24"), ("docker0", "172.17.0.1/16")]
            .map(|(name, address)| Link {
                name: name.to_owned(),
                mac: String::new(),
                addresses: vec![net(address)],
            })
            .into()
    }

    fn routes() -> Vec<Route> {
        vec![
            route("0.0.0.0/0", 512, "ens5"),
            route("0.0.0.0/0", 520, "ens6"),
            route("10.0.0.0/24", 0, "ens5"),
            route("10.0.1.0/24", 0, "ens6"),
            // What DHCP adds for the resolver, by each interface.
            route("10.0.0.2/32", 512, "ens5"),
            route("10.0.0.2/32", 520, "ens6"),
            route("172.17.0.0/16", 0, "docker0"),
        ]
    }

    #[test]
    fn a_usual_host_has_one_way_to_each_private_host() {
        assert_eq!(misrouted(&spec(&["10.0.0.0/16"]), &links(), &routes()), [""; 0]);
        assert_eq!(misrouted(&spec(&["0.0.0.0/0"]), &links(), &routes()), [""; 0]);
    }

    #[test]
    fn a_network_behind_an_interface_that_takes_no_part_is_named() {
        let mut routes = routes();
        routes.push(route("10.0.7.0/24", 0, "tun0"));
        let told = misrouted(&spec(&["10.0.0.0/16"]), &links(), &routes);
        assert_eq!(told.len(), 1, "{told:?}");
        let part = "private hosts in 10.0.7.0/24 are reached through tun0, which takes no part";
        assert!(told[0].starts_with(part), "{told:?}");
        // A container's bridge within a source.
        let told = misrouted(&spec(&["172.16.0.0/12"]), &links(), &routes);
        assert!(told[0].contains("172.17.0.0/16 are reached through docker0"), "{told:?}");
        let backend = TableSpec { nat: false, ..spec(&["10.0.0.0/16"]) };
        assert_eq!(misrouted(&backend, &links(), &routes), [""; 0]);
    }

    #[test]
    fn a_network_that_is_reached_by_two_interfaces_is_named_once() {
        let mut routes = routes();
        routes.push(route("10.0.8.0/24", 7, "ens5"));
        routes.push(route("10.0.8.0/24", 7, "ens6"));
        let told = misrouted(&spec(&["10.0.0.0/16"]), &links(), &routes);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("private hosts in 10.0.8.0/24 are reached through ens5 and"));
        // A second interface in one subnet.
        let mut links = links();
        links[1].addresses.push(net("10.0.0.11/24"));
        let told = misrouted(&spec(&["10.0.0.0/16"]), &links, &self::routes());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("private hosts in 10.0.0.0/24 are reached through ens5 and"));
    }

    #[test]
    fn a_network_without_a_route_is_named() {
        let told = misrouted(&spec(&["10.0.0.0/16"]), &links(), &[]);
        assert!(told[0].contains("no route to the private hosts in 10.0.0.0/16"), "{told:?}");
        let mut routes = routes();
        routes.push(Route { destination: net("10.0.9.0/24"), metric: 0, link: None });
        let told = misrouted(&spec(&["10.0.0.0/16"]), &links(), &routes);
        assert!(told[0].contains("no route to the private hosts in 10.0.9.0/24"), "{told:?}");
    }
}
