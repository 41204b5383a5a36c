use std::collections::BTreeMap;

use super::*;
use crate::cluster::tests::{VPC, node, subnets, table};
use crate::cluster::{
    Discovered, DiscoveryError, InventoryQuery, Selector, discover, inventory_query,
};
use crate::config::{Home, Local, ServiceCheck, ServiceProbe, Settings};
use crate::types::{
    Group, InstanceId, InstanceInfo, ResourceKind, RouteEntry, RouteTableInfo, RouteTarget, Traits,
};

/// Two nodes in one subnet.
fn nodes() -> Vec<InstanceInfo> {
    vec![node(10, "eu-west-1a"), node(20, "eu-west-1a")]
}

fn inventory() -> Inventory {
    Inventory {
        instances: nodes(),
        subnets: subnets(),
        vpc_cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        elastic: BTreeMap::from([(allocation(), Ipv4Addr::new(203, 0, 113, 7))]),
        zones: BTreeMap::from([(zone(), Some("example.com".parse().unwrap()))]),
        ..Inventory::default()
    }
}

fn allocation() -> AllocationId {
    "eipalloc-0123abcd".parse().unwrap()
}

fn zone() -> HostedZoneId {
    "Z1".parse().unwrap()
}

/// Route table number `n` with routes to the VPC and to an address.
fn routing(n: u8, address: Ipv4Addr) -> RouteTableInfo {
    let entry = |target| RouteEntry { target, blackhole: false };
    let local = entry(RouteTarget::Other("local".to_owned()));
    let foreign = entry(RouteTarget::Other("igw-0123abcd".to_owned()));
    let routes = BTreeMap::from([
        ("10.7.0.0/16".parse().unwrap(), local),
        (Ipv4Net::from(address), foreign),
    ]);
    RouteTableInfo { routes, ..table(n, "", None) }
}

fn group(name: &str, resources: Vec<ResourceSetting>) -> GroupSetting {
    let name = name.parse().unwrap();
    GroupSetting { resources, ..GroupSetting::of_tables(name, None, vec![], Ipv4Net::default()) }
}

fn settings(groups: Vec<GroupSetting>) -> Settings {
    Settings { groups, ..Settings::default() }
}

fn found(groups: Vec<GroupSetting>, inventory: &Inventory) -> Discovered {
    discover(&inventory.instances[0], &settings(groups), inventory).unwrap()
}

/// The only reason why one resource cannot be.
fn refusal(resource: ResourceSetting, inventory: &Inventory) -> String {
    let settings = settings(vec![group("g", vec![resource])]);
    match discover(&inventory.instances[0], &settings, inventory) {
        Err(DiscoveryError::Refused(problems)) => {
            assert_eq!(problems.0.len(), 1, "{problems}");
            problems.to_string()
        }
        other => panic!("{other:?}"),
    }
}

fn vip(address: Ipv4Addr, tables: &[&str]) -> ResourceSetting {
    let tables = tables.iter().map(|id| id.parse().unwrap()).collect();
    ResourceSetting::Vip { address, tables }
}

fn private(last: u8) -> ResourceSetting {
    ResourceSetting::PrivateIp { address: Ipv4Addr::new(10, 0, 0, last) }
}

fn eip(on: Option<Ipv4Addr>) -> ResourceSetting {
    ResourceSetting::Eip { allocation: allocation(), on }
}

fn record(name: &str, public: bool) -> ResourceSetting {
    ResourceSetting::Dns { zone: zone(), name: name.parse().unwrap(), ttl: 60, public }
}

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 9);

#[test]
fn a_virtual_ip_is_in_every_table_of_the_vpc_that_has_it() {
    let mut inventory = inventory();
    let mut elsewhere = routing(4, OUTSIDE);
    elsewhere.vpc = "vpc-000000ff".parse().unwrap();
    inventory.tables =
        vec![routing(3, OUTSIDE), table(1, "a", None), routing(2, OUTSIDE), elsewhere];
    let found = found(vec![group("g", vec![vip(OUTSIDE, &[])])], &inventory);
    let tables: Vec<String> =
        found.roster.groups[0].resources.iter().map(ToString::to_string).collect();
    assert_eq!(tables, ["192.168.9.9 of rtb-00000002", "192.168.9.9 of rtb-00000003"]);
    assert_eq!(found.warnings, []);
}

#[test]
fn a_virtual_ip_that_no_table_has_is_a_warning_and_no_group() {
    let listed = group("listed", vec![vip(OUTSIDE, &["rtb-00000001"])]);
    let other = Ipv4Addr::new(192, 168, 9, 10);
    let mut inventory = inventory();
    inventory.tables = vec![table(1, "a", None)];
    let found = found(vec![group("g", vec![vip(other, &[])]), listed], &inventory);
    let names: Vec<&str> = found.roster.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["listed"]);
    let [warning] = found.warnings.try_into().unwrap();
    let told = warning.to_string();
    assert!(told.contains("no route table of vpc-00000001 has a route to 192.168.9.10/32"));
    assert!(told.contains("group g, vip 192.168.9.10") && told.contains("create-route"), "{told}");
}

#[test]
fn a_virtual_ip_inside_the_vpc_is_refused_with_the_block_that_it_is_in() {
    let mut inventory = inventory();
    let told = refusal(vip(Ipv4Addr::new(10, 0, 200, 1), &["rtb-00000001"]), &inventory);
    assert!(told.contains("10.0.200.1 is in 10.0.0.0/16") && told.contains("private-ip"), "{told}");
    // A block that the metadata did not tell stands in the route tables.
    inventory.tables = vec![routing(1, OUTSIDE)];
    let told = refusal(vip(Ipv4Addr::new(10, 7, 1, 1), &["rtb-00000001"]), &inventory);
    assert!(told.contains("10.7.1.1 is in 10.7.0.0/16"), "{told}");
    inventory.tables[0].vpc = "vpc-000000ff".parse().unwrap();
    found(vec![group("g", vec![vip(Ipv4Addr::new(10, 7, 1, 1), &["rtb-00000001"])])], &inventory);
}

#[test]
fn a_private_ip_moves_among_nodes_of_one_subnet() {
    let found = found(vec![group("g", vec![private(99)])], &inventory());
    let address = Ipv4Addr::new(10, 0, 0, 99);
    assert_eq!(found.roster.groups[0].resources, [Resource::PrivateIp { address }]);
    assert_eq!(found.warnings, []);
}

#[test]
fn a_private_ip_for_nodes_in_two_subnets_is_refused_with_the_alternatives() {
    let mut inventory = inventory();
    inventory.instances[1].interfaces[0].subnet = "subnet-0000000b".parse().unwrap();
    let told = refusal(private(99), &inventory);
    for part in [
        "i-0000000a is in subnet-0000000e and i-00000014 in subnet-0000000b",
        "cannot leave its subnet",
        "`vip`",
        "`eip`",
        "`dns`",
    ] {
        assert!(told.contains(part), "no `{part}` in {told}");
    }
    // What else an instance has does not matter.
    inventory.instances[1].interfaces[0].subnet = "subnet-0000000e".parse().unwrap();
    inventory.instances[1].interfaces[1].subnet = "subnet-0000000b".parse().unwrap();
    found(vec![group("g", vec![private(99)])], &inventory);
}

#[test]
fn a_private_ip_that_no_interface_could_get_is_refused() {
    for (address, part) in [
        ("10.0.1.99", "is not in subnet-0000000e (10.0.0.0/24)"),
        ("10.0.0.0", "five addresses"),
        ("10.0.0.3", "five addresses"),
        ("10.0.0.255", "five addresses"),
        ("10.0.0.20", "is the primary address of i-00000014"),
    ] {
        let address = address.parse().unwrap();
        let told = refusal(ResourceSetting::PrivateIp { address }, &inventory());
        assert!(told.contains(part), "{told}");
    }
    for last in [4, 254] {
        found(vec![group("g", vec![private(last)])], &inventory());
    }
}

#[test]
fn an_elastic_ip_is_told_with_its_address_and_one_that_is_not_there_is_refused() {
    let mut inventory = inventory();
    let elastic = found(vec![group("g", vec![eip(None)])], &inventory);
    let address = Ipv4Addr::new(203, 0, 113, 7);
    let wanted = Resource::Eip { allocation: allocation(), address, on: None };
    assert_eq!(elastic.roster.groups[0].resources, [wanted]);
    inventory.elastic.clear();
    let told = refusal(eip(None), &inventory);
    assert!(told.contains("eipalloc-0123abcd: there is no such Elastic IP"), "{told}");
}

#[test]
fn an_elastic_ip_on_an_address_that_the_group_does_not_move_is_a_warning() {
    let on = Some(Ipv4Addr::new(10, 0, 0, 99));
    let one = found(vec![group("g", vec![eip(on), private(99)])], &inventory());
    assert_eq!(one.warnings, []);
    let other = found(vec![group("g", vec![eip(on), private(98)])], &inventory());
    let [warning] = other.warnings.try_into().unwrap();
    assert!(warning.to_string().contains("10.0.0.99, which the group does not move"));
}

#[test]
fn a_record_is_in_a_zone_that_there_is() {
    let mut inventory = inventory();
    for name in ["example.com", "db.example.com"] {
        found(vec![group("g", vec![record(name, false)])], &inventory);
    }
    for name in ["db.example.org", "dbexample.com"] {
        let told = refusal(record(name, false), &inventory);
        assert!(told.contains("whose name is example.com"), "{told}");
    }
    // Where the zone's name could not be told, Route 53 has the word.
    inventory.zones.insert(zone(), None);
    found(vec![group("g", vec![record("db.example.org", false)])], &inventory);
    inventory.zones.clear();
    assert!(refusal(record("db.example.com", false), &inventory).contains("no such hosted zone"));
}

#[test]
fn public_addresses_are_kept_only_where_a_record_gives_them() {
    let mut inventory = inventory();
    let public = Some(Ipv4Addr::new(198, 51, 100, 1));
    inventory.instances[0].interfaces[0].public = public;
    let known = |found: &Discovered| found.roster.members[0].public;
    assert_eq!(known(&found(vec![group("g", vec![eip(None)])], &inventory)), None);
    assert_eq!(
        known(&found(vec![group("g", vec![record("a.example.com", false)])], &inventory)),
        None
    );
    let given = found(vec![group("g", vec![record("a.example.com", true)])], &inventory);
    assert_eq!(known(&given), public);
    let [warning] = given.warnings.try_into().unwrap();
    assert!(warning.to_string().contains("which can never hold it: i-00000014"), "{warning}");
}

#[test]
fn resources_are_in_the_order_in_which_they_move_however_they_are_written() {
    let on = Some(Ipv4Addr::new(10, 0, 0, 99));
    let mut written = vec![
        record("db.example.com", false),
        eip(on),
        private(99),
        vip(OUTSIDE, &["rtb-00000002", "rtb-00000001"]),
    ];
    let one = found(vec![group("g", written.clone())], &inventory());
    let kinds: Vec<ResourceKind> =
        one.roster.groups[0].resources.iter().map(Resource::kind).collect();
    assert!(kinds.is_sorted() && kinds.len() == 5, "{kinds:?}");
    assert_eq!((kinds[0], kinds[4]), (ResourceKind::Route, ResourceKind::Dns));
    written.reverse();
    written[0] = vip(OUTSIDE, &["rtb-00000001", "rtb-00000002"]);
    assert_eq!(found(vec![group("g", written)], &inventory()).roster, one.roster);
}

#[test]
fn everything_that_is_refused_is_told_at_once() {
    let resources = vec![private(1), private(2), record("a.b", false)];
    let settings = settings(vec![group("g", resources)]);
    let inventory = inventory();
    match discover(&inventory.instances[0], &settings, &inventory) {
        Err(DiscoveryError::Refused(problems)) => assert_eq!(problems.0.len(), 3, "{problems}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_of_preference_becomes_members_and_the_rest_a_warning() {
    let named = |name: &str| Home::Named(name.to_owned());
    let mut one = group("g", vec![private(99)]);
    one.home = Some(named("gone"));
    one.prefer = vec![named("nat-20"), Home::Instance("i-0000000a".parse().unwrap())];
    one.prefer.push(named("eu-west-1a"));
    let found = found(vec![one], &inventory());
    let Group { home, prefer, .. } = &found.roster.groups[0];
    let prefer: Vec<&str> = prefer.iter().map(InstanceId::as_str).collect();
    assert_eq!(prefer, ["i-00000014", "i-0000000a"]);
    assert_eq!(home.as_ref().map(InstanceId::as_str), Some("i-00000014"));
    assert_eq!(found.warnings.len(), 1);
    assert!(found.warnings[0].what.contains("`gone`"), "{}", found.warnings[0]);
}

#[test]
fn how_a_group_differs_is_told() {
    let mut one = group("g", vec![private(99)]);
    let traits = |one: &GroupSetting| {
        let found = found(vec![one.clone()], &inventory());
        found.roster.groups[0].traits.clone()
    };
    assert_eq!(traits(&one), Traits::default());
    one.local = Local::Lo;
    one.check = Some(ServiceCheck::of(ServiceProbe::Address));
    one.hand_back = Some(false);
    one.hold = Some(std::time::Duration::from_secs(7));
    let (hand_back, hold) = (one.hand_back, one.hold);
    assert_eq!(
        traits(&one),
        Traits { checked: true, hand_back, hold, prepared: true, ..Traits::default() }
    );
}

#[test]
fn what_has_to_be_read_follows_from_the_groups() {
    let me = node(10, "eu-west-1a");
    let plain = inventory_query(&me, &settings(vec![])).unwrap();
    assert!(plain.vips.is_empty() && plain.allocations.is_empty() && !plain.members_subnets);
    let resources = vec![
        vip(OUTSIDE, &[]),
        vip(Ipv4Addr::new(192, 168, 9, 10), &["rtb-00000009"]),
        private(99),
        eip(None),
        record("a.example.com", false),
    ];
    let InventoryQuery { tables, vips, members_subnets, allocations, zones, .. } =
        inventory_query(&me, &settings(vec![group("g", resources)])).unwrap();
    let listed = vec!["rtb-00000009".parse().unwrap()];
    assert_eq!(tables, Selector::Ids(listed));
    assert_eq!((vips, members_subnets), (vec![OUTSIDE], true));
    assert_eq!((allocations, zones), (vec![allocation()], vec![zone()]));
    assert_eq!(me.vpc.map(|vpc| vpc.to_string()).as_deref(), Some(VPC));
}
