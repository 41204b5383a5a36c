//! Whether a route table shows that the network of the monitor's own packets is in use, in the VPC,
//! in a peered one, or behind a gateway.

use ipnet::Ipv4Net;

use crate::config::{Problem, Settings};
use crate::types::{RouteTableInfo, VpcId};

/// A destination with a shorter prefix is everything, or a part of the internet, and says nothing
/// about which networks are in use.
const OWN_PREFIX: u8 = 8;

/// The finding about a route of these tables whose destination overlaps `host.transit_network`, if
/// there is one. A host there could not be reached through a NAT: its packets would go to the
/// monitor's interface. A blackhole leads nowhere, and a prefix list has no destination here.
pub(super) fn finding(
    settings: &Settings,
    vpc: &VpcId,
    tables: &[RouteTableInfo],
) -> Option<Problem> {
    let network = settings.host.transit_network.0.filter(|_| settings.is_nat())?;
    let overlaps = |cidr: &Ipv4Net| cidr.contains(&network) || network.contains(cidr);
    let ours = tables.iter().filter(|table| table.vpc == *vpc);
    let used = ours.flat_map(|table| {
        let routes = table.routes.iter().filter(|(_, route)| !route.blackhole);
        routes.map(move |(cidr, route)| (cidr, &table.id, &route.target))
    });
    // The same one at every look, in whatever order EC2 lists the tables.
    let (cidr, table, target) = used
        .filter(|&(cidr, ..)| cidr.prefix_len() >= OWN_PREFIX && overlaps(cidr))
        .min_by_key(|(cidr, table, _)| (*cidr, *table))?;
    Some(Problem::new(
        format!("host.transit_network = {network}"),
        format!("overlaps {cidr}, to which route table {table} has a route ({target})"),
        "set it to a /30 that is in use neither in the VPC nor behind it, or to `off`, and run \
         `sudo natha setup`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{VPC, table};
    use crate::types::{RouteEntry, RouteTarget};

    fn with_route(n: u8, cidr: &str, target: &str) -> RouteTableInfo {
        let mut table = table(n, "a", None);
        let entry = RouteEntry::active(RouteTarget::Other(target.to_owned()));
        table.routes.insert(cidr.parse().unwrap(), entry);
        table
    }

    fn told(settings: &Settings, tables: &[RouteTableInfo]) -> Option<String> {
        finding(settings, &VPC.parse().unwrap(), tables).map(|problem| problem.to_string())
    }

    #[test]
    fn a_route_to_a_network_that_overlaps_is_named_with_the_setting_and_the_remedy() {
        let settings = Settings::default();
        for (cidr, target) in [
            ("198.18.0.0/15", "pcx-00000001"),
            ("198.18.255.253/32", "tgw-00000001"),
            ("198.18.255.252/30", "vgw-00000001"),
            ("198.18.255.0/24", "local"),
        ] {
            let told = told(&settings, &[with_route(1, cidr, target)]).unwrap();
            for part in ["host.transit_network = 198.18.255.252/30", cidr, target, "rtb-00000001"] {
                assert!(told.contains(part), "no `{part}` in {told}");
            }
            assert!(told.contains("set it to a /30") && told.contains("`off`"), "{told}");
        }
    }

    #[test]
    fn other_routes_blackholes_and_other_vpcs_say_nothing() {
        let settings = Settings::default();
        for cidr in ["0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/8", "198.19.0.0/16"] {
            assert_eq!(told(&settings, &[with_route(1, cidr, "tgw-00000001")]), None, "{cidr}");
        }
        let peered = with_route(1, "198.18.0.0/15", "pcx-00000001");
        let mut gone = peered.clone();
        gone.routes.values_mut().for_each(|route| route.blackhole = true);
        let mut elsewhere = peered.clone();
        elsewhere.vpc = "vpc-00000002".parse().unwrap();
        assert_eq!(told(&settings, &[gone, elsewhere]), None);

        let mut off = settings.clone();
        off.host.transit_network.0 = None;
        let mut no_nat = settings;
        no_nat.host.nat = Some(false);
        for other in [off, no_nat] {
            assert_eq!(told(&other, std::slice::from_ref(&peered)), None);
        }
    }

    #[test]
    fn the_order_of_the_tables_does_not_change_the_text() {
        let settings = Settings::default();
        let tables = [2, 1].map(|n| with_route(n, "198.18.0.0/15", "pcx-00000001"));
        let [second, first] = tables.clone();
        assert_eq!(told(&settings, &tables), told(&settings, &[first, second]));
        assert!(told(&settings, &tables).unwrap().contains("rtb-00000001"));
    }
}
