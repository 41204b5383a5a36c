//! The route tables by which the nodes themselves reach the internet. A default route there that
//! targets a node would send that node's own packets back to it.

use ipnet::Ipv4Net;

use super::inventory::Inventory;
use crate::config::Problem;
use crate::types::{
    InstanceId, InstanceInfo, InterfaceInfo, RouteTableInfo, RouteTarget, SubnetId,
};

/// What the operator should do about such a table.
const REMEDY: &str = "remove the table from natha: take its tag natha:cluster away, or remove it \
                      from the group; give the private hosts subnets and route tables of their own";

/// Whether a route to this destination takes a node's packets to the internet: a default route or
/// one half of one.
pub(super) const fn takes_all(cidr: Ipv4Net) -> bool {
    cidr.prefix_len() < 2
}

/// Why the default route of `table` must not target a node, if it must not.
pub(super) fn refusal<'a>(
    table: &RouteTableInfo,
    members: impl IntoIterator<Item = &'a InstanceInfo>,
    inventory: &Inventory,
) -> Option<Problem> {
    let serves = |subnet: &SubnetId| {
        table.subnets.contains(subnet) || (table.main && inventory.on_main_table.contains(subnet))
    };
    let (node, subnet) =
        members.into_iter().find_map(|node| Some((&node.id, uplink(node, table, serves)?)))?;
    Some(problem(table, node, subnet))
}

fn problem(table: &RouteTableInfo, node: &InstanceId, subnet: &SubnetId) -> Problem {
    let what = format!(
        "is the table of {subnet}, by which {node} itself reaches the internet: natha does not \
         write its default route, because the node would send its own packets to itself"
    );
    Problem::new(format!("route table {}", table.id), what, REMEDY)
}

/// The subnet by which a node reaches the internet, if the table serves it. A node may have a leg
/// in the private hosts' subnet as well, so what counts is the interfaces with a public address,
/// and without any, all of them. Of a table that targets an internet gateway, each counts.
fn uplink<'a>(
    node: &'a InstanceInfo,
    table: &RouteTableInfo,
    serves: impl Fn(&SubnetId) -> bool,
) -> Option<&'a SubnetId> {
    let is_public = |one: &&InterfaceInfo| one.public.is_some();
    let is_served = |one: &&InterfaceInfo| serves(&one.subnet);
    let mut all = node.interfaces.iter();
    let found = if targets_the_internet(table) {
        all.find(is_served)
    } else if all.any(|one| one.public.is_some()) {
        node.interfaces.iter().filter(is_public).find(is_served)
    } else {
        let whole = node.interfaces.iter().all(|one| serves(&one.subnet));
        node.interfaces.first().filter(|_| whole)
    };
    found.map(|one| &one.subnet)
}

/// Whether the table's default route targets an internet gateway.
fn targets_the_internet(table: &RouteTableInfo) -> bool {
    let default = table.routes.get(&Ipv4Net::default()).map(|route| &route.target);
    matches!(default, Some(RouteTarget::Other(id)) if id.starts_with("igw-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{node, table};
    use crate::types::RouteEntry;

    /// Node 1 with its two interfaces in these subnets.
    fn in_subnets(subnets: [char; 2]) -> InstanceInfo {
        let mut node = node(1, "eu-west-1a");
        for (interface, letter) in node.interfaces.iter_mut().zip(subnets) {
            interface.subnet = format!("subnet-0000000{letter}").parse().unwrap();
        }
        node
    }

    fn is_refused(table: &RouteTableInfo, node: &InstanceInfo, on_main: &[&str]) -> bool {
        let on_main_table = on_main.iter().map(|id| id.parse().unwrap()).collect();
        let inventory = Inventory { on_main_table, ..Inventory::default() };
        refusal(table, [node], &inventory).is_some()
    }

    #[test]
    fn the_table_of_a_nodes_only_subnet_is_refused_by_name_with_the_remedy() {
        let node = in_subnets(['e', 'e']);
        let problem = refusal(&table(1, "ae", None), [&node], &Inventory::default()).unwrap();
        let text = problem.to_string();
        for part in ["rtb-00000001", "subnet-0000000e", "i-00000001", "take its tag"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!is_refused(&table(1, "a", None), &node, &[]));
        assert!(!is_refused(&table(1, "", None), &node, &[]));
    }

    #[test]
    fn a_leg_in_the_private_subnet_does_not_make_its_table_the_uplinks() {
        let mut node = in_subnets(['e', 'a']);
        assert!(!is_refused(&table(1, "a", None), &node, &[]));
        node.interfaces[0].public = Some([192, 0, 2, 1].into());
        assert!(!is_refused(&table(1, "a", None), &node, &[]));
        assert!(is_refused(&table(2, "e", None), &node, &[]));
    }

    #[test]
    fn a_table_of_all_of_a_nodes_subnets_is_refused_though_no_address_is_public() {
        assert!(is_refused(&table(1, "ae", None), &in_subnets(['e', 'a']), &[]));
    }

    #[test]
    fn the_main_table_serves_the_subnets_without_a_table_of_their_own() {
        let main = RouteTableInfo { main: true, ..table(1, "", None) };
        let node = in_subnets(['e', 'e']);
        assert!(is_refused(&main, &node, &["subnet-0000000e"]));
        assert!(!is_refused(&main, &node, &["subnet-0000000a"]));
        assert!(!is_refused(&table(1, "", None), &node, &["subnet-0000000e"]));
    }

    #[test]
    fn a_table_that_targets_an_internet_gateway_is_refused_for_any_leg() {
        let mut public = table(1, "a", None);
        let gateway = RouteEntry::active(RouteTarget::Other("igw-00000001".to_owned()));
        public.routes.insert(Ipv4Net::default(), gateway);
        assert!(is_refused(&public, &in_subnets(['e', 'a']), &[]));
        assert!(!is_refused(&public, &in_subnets(['e', 'e']), &[]));
    }
}
