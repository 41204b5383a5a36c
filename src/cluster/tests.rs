use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::prelude::*;

use super::*;
use crate::config::{GroupSetting, Home, PairFlags, ResourceSetting, Settings, Sources, resolve};
use crate::types::{
    Group, InstanceId, InstanceInfo, InstanceState, InterfaceInfo, Resource, RouteTableInfo,
    SubnetInfo,
};

pub(super) const VPC: &str = "vpc-00000001";

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Instance number `n`, a member of `blue`, in a zone.
pub(super) fn node(n: u8, zone: &str) -> InstanceInfo {
    InstanceInfo {
        id: format!("i-000000{n:02x}").parse().unwrap(),
        state: InstanceState::Running,
        vpc: Some(VPC.parse().unwrap()),
        zone: Some(zone.parse().unwrap()),
        interfaces: (0..2)
            .map(|index: u8| InterfaceInfo {
                secondary: Vec::new(),
                id: format!("eni-0000{n:02x}0{index}").parse().unwrap(),
                device_index: index.into(),
                mac: String::new(),
                address: Ipv4Addr::new(10, 0, index, n),
                subnet: "subnet-0000000e".parse().unwrap(),
                source_dest_check: false,
                public: None,
            })
            .collect(),
        loses_public: false,
        tags: tags(&[(CLUSTER_TAG, "blue"), ("Name", &format!("nat-{n}"))]),
    }
}

/// Route table number `n`, tagged `blue`, for the subnets with these letters.
pub(super) fn table(n: u8, subnets: &str, home: Option<&str>) -> RouteTableInfo {
    let mut tags = tags(&[(CLUSTER_TAG, "blue")]);
    tags.extend(home.map(|home| (HOME_TAG.to_owned(), home.to_owned())));
    RouteTableInfo {
        id: format!("rtb-000000{n:02x}").parse().unwrap(),
        vpc: VPC.parse().unwrap(),
        routes: BTreeMap::new(),
        subnets: subnets.chars().map(|s| format!("subnet-0000000{s}").parse().unwrap()).collect(),
        main: false,
        tags,
    }
}

/// Subnets a, b, c and e, each in the zone of its letter. The nodes are in subnet e.
pub(super) fn subnets() -> Vec<SubnetInfo> {
    let subnet = |letter: &str| SubnetInfo {
        id: format!("subnet-0000000{letter}").parse().unwrap(),
        vpc: VPC.parse().unwrap(),
        zone: format!("eu-west-1{letter}").parse().unwrap(),
        cidr: "10.0.0.0/24".parse().unwrap(),
    };
    ["a", "b", "c", "e"].map(subnet).to_vec()
}

fn found(nodes: &[InstanceInfo], tables: &[RouteTableInfo]) -> Discovered {
    discover(&nodes[0], &Settings::default(), &inventory(nodes, tables)).unwrap()
}

fn inventory(nodes: &[InstanceInfo], tables: &[RouteTableInfo]) -> Inventory {
    Inventory {
        instances: nodes.to_vec(),
        tables: tables.to_vec(),
        subnets: subnets(),
        tagged_elastic: Some(Vec::new()),
        ..Inventory::default()
    }
}

/// The groups as `name=home:table,table`.
fn summary(found: &Discovered) -> Vec<String> {
    let of_group = |group: &Group| {
        let home = group.home.as_ref().map_or("none", InstanceId::as_str);
        let tables: Vec<_> = group
            .resources
            .iter()
            .filter_map(Resource::route)
            .map(|(table, _)| table.as_str())
            .collect();
        format!("{}={home}:{}", group.name, tables.join(","))
    };
    found.roster.groups.iter().map(of_group).collect()
}

#[test]
fn tables_of_one_zone_form_a_group_named_after_it() {
    let nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    let tables = [table(3, "a", None), table(1, "b", None), table(2, "a", None)];
    let found = found(&nodes, &tables);
    assert_eq!(
        summary(&found),
        ["eu-west-1a=i-00000001:rtb-00000002,rtb-00000003", "eu-west-1b=i-00000002:rtb-00000001"]
    );
    assert_eq!(found.warnings, []);
}

#[test]
fn a_group_has_the_networks_of_the_subnets_of_its_tables() {
    let nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    let tables = [table(1, "a", None), table(2, "c", Some("eu-west-1a")), table(3, "b", None)];
    let mut inventory = inventory(&nodes, &tables);
    for (n, subnet) in (100..).zip(&mut inventory.subnets) {
        subnet.cidr = format!("10.0.{n}.0/24").parse().unwrap();
    }
    let found = discover(&nodes[0], &Settings::default(), &inventory).unwrap();
    let shown: Vec<Vec<String>> = found
        .roster
        .groups
        .iter()
        .map(|group| group.networks.iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(shown, [vec!["10.0.100.0/24", "10.0.102.0/24"], vec!["10.0.101.0/24"]]);
}

#[test]
fn a_group_keeps_its_name_when_its_home_is_replaced() {
    let tables = [table(1, "a", None), table(2, "b", None)];
    let (a, b) = (node(1, "eu-west-1a"), node(2, "eu-west-1b"));
    let mut ended = a.clone();
    ended.state = InstanceState::Terminated;
    let without = found(&[b.clone(), ended], &tables);
    assert_eq!(summary(&without)[0], "eu-west-1a=none:rtb-00000001");
    assert!(without.warnings[0].what.contains("`eu-west-1a`"));
    let replaced = found(&[b, node(9, "eu-west-1a")], &tables);
    assert_eq!(summary(&replaced)[0], "eu-west-1a=i-00000009:rtb-00000001");
}

#[test]
fn of_two_members_in_a_zone_the_lowest_id_is_home() {
    let nodes = [node(7, "eu-west-1a"), node(3, "eu-west-1a")];
    let found = found(&nodes, &[table(1, "a", None)]);
    assert_eq!(summary(&found), ["eu-west-1a=i-00000003:rtb-00000001"]);
    let ids: Vec<_> = found.roster.members.iter().map(|member| member.id.as_str()).collect();
    assert_eq!(ids, ["i-00000003", "i-00000007"]);
}

#[test]
fn a_home_tag_names_an_instance_a_name_or_a_zone() {
    let nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    let tables = [
        table(1, "a", Some("i-00000002")),
        table(2, "a", Some("nat-2")),
        table(3, "a", Some("eu-west-1b")),
        table(4, "a", Some("nowhere at all")),
    ];
    let found = found(&nodes, &tables);
    assert_eq!(
        summary(&found),
        [
            "eu-west-1b=i-00000002:rtb-00000003",
            "i-00000002=i-00000002:rtb-00000001",
            "nat-2=i-00000002:rtb-00000002",
            "nowhere-at-all=none:rtb-00000004",
        ]
    );
    assert_eq!(found.warnings.len(), 1);
    assert!(found.warnings[0].to_string().contains("`nowhere at all`"));
}

#[test]
fn a_tag_of_its_tables_names_the_fallback_of_a_group_unless_they_differ() {
    let nodes = [node(1, "eu-west-1a")];
    let tagged = |gateways: [Option<&str>; 2]| {
        let tables = [1, 2].map(|n| table(n, "a", None));
        let mut tables = tables.into_iter().zip(gateways).map(|(mut table, gateway)| {
            let tag = gateway.map(|id| ("natha:fallback".to_owned(), id.to_owned()));
            table.tags.extend(tag);
            table
        });
        let found = found(&nodes, &[tables.next().unwrap(), tables.next().unwrap()]);
        let fallback = found.roster.groups[0].traits.fallback.clone();
        (fallback.map(|id| id.to_string()), found.warnings.len())
    };
    let (one, other) = ("nat-0000000a", "nat-0000000b");
    assert_eq!(tagged([None, None]), (None, 0));
    assert_eq!(tagged([Some(one), Some(one)]), (Some(one.to_owned()), 0));
    assert_eq!(tagged([Some(one), None]), (Some(one.to_owned()), 0));
    assert_eq!(tagged([Some(one), Some(other)]), (None, 1));
    assert_eq!(tagged([Some("igw-0000000a"), None]), (None, 1));
}

#[test]
fn tables_without_a_zone_of_their_own_each_form_a_group() {
    let nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    let found = found(&nodes, &[table(1, "ab", None), table(2, "", None)]);
    assert_eq!(
        summary(&found),
        ["rtb-00000001=none:rtb-00000001", "rtb-00000002=none:rtb-00000002"]
    );
    assert_eq!(found.warnings, []);
}

#[test]
fn what_is_not_tagged_with_the_cluster_is_left_out() {
    let mut other = node(2, "eu-west-1b");
    other.tags.insert(CLUSTER_TAG.to_owned(), "green".to_owned());
    let mut foreign = table(1, "a", None);
    foreign.tags.clear();
    let found = found(&[node(1, "eu-west-1a"), other], &[foreign]);
    assert_eq!(found.roster.members.len(), 1);
    assert_eq!(found.roster.groups, []);
    assert!(found.warnings[0].what.contains("natha:cluster = blue"));
}

#[test]
fn stopped_members_are_members_and_ended_ones_are_not() {
    let mut nodes: Vec<_> = (1..=6).map(|n| node(n, "eu-west-1a")).collect();
    let states = [
        InstanceState::Running,
        InstanceState::Pending,
        InstanceState::Stopping,
        InstanceState::Stopped,
        InstanceState::ShuttingDown,
        InstanceState::Terminated,
    ];
    for (node, state) in nodes.iter_mut().zip(states) {
        node.state = state;
    }
    // As EC2 answers them: without VPC and addresses.
    for node in &mut nodes[4..] {
        node.vpc = None;
        node.interfaces.clear();
    }
    let found = found(&nodes, &[]);
    assert_eq!(found.roster.members.len(), 4);
    let is_about_one = |text: &str| ["i-00000005", "i-00000006"].iter().any(|id| text.contains(id));
    assert!(!found.warnings.iter().any(|warning| is_about_one(&warning.to_string())));
}

#[test]
fn the_forwarding_interface_is_the_primary_one_unless_tagged() {
    let mut second = node(2, "eu-west-1b");
    second.tags.insert(INTERFACE_TAG.to_owned(), "1".to_owned());
    let mut third = node(3, "eu-west-1b");
    third.tags.insert(INTERFACE_TAG.to_owned(), "eni-00000301".to_owned());
    let mut fourth = node(4, "eu-west-1b");
    fourth.tags.insert(INTERFACE_TAG.to_owned(), "5".to_owned());
    let found = found(&[node(1, "eu-west-1a"), second, third, fourth], &[]);
    let interfaces: Vec<_> =
        found.roster.members.iter().map(|member| member.interface.as_str()).collect();
    assert_eq!(interfaces, ["eni-00000100", "eni-00000201", "eni-00000301"]);
    assert!(found.warnings.iter().any(|warning| warning.to_string().contains("i-00000004")));
}

#[test]
fn a_node_without_the_clusters_tag_is_told_so() {
    let mut me = node(1, "eu-west-1a");
    me.tags.clear();
    let error = discover(&me, &Settings::default(), &Inventory::default()).unwrap_err();
    assert!(error.to_string().contains("does not say which cluster"), "{error}");
    let settings = Settings { cluster: Some("blue".to_owned()), ..Settings::default() };
    let error = discover(&me, &settings, &Inventory::default()).unwrap_err();
    assert!(error.to_string().contains("not tagged natha:cluster = blue"), "{error}");
}

#[test]
fn seventeen_members_are_too_many() {
    let nodes: Vec<_> = (1..=17).map(|n| node(n, "eu-west-1a")).collect();
    let error = discover(&nodes[0], &Settings::default(), &inventory(&nodes, &[])).unwrap_err();
    assert!(error.to_string().contains("17 members"), "{error}");
}

#[test]
fn a_pair_of_flags_needs_no_tags_and_is_the_same_on_both_nodes() {
    let mut nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    for node in &mut nodes {
        node.tags.clear();
    }
    let mut tables = [table(1, "a", None), table(2, "b", None)];
    for table in &mut tables {
        table.tags.clear();
    }
    let side = |me: usize, peer: usize| {
        let pair = PairFlags {
            peer: Some(nodes[peer].id.clone()),
            peer_table: Some(tables[peer].id.clone()),
            my_table: Some(tables[me].id.clone()),
        };
        let me_id = Some(nodes[me].id.clone());
        let sources = Sources { pair, me: me_id, ..Sources::default() };
        let settings = resolve(&sources).unwrap().settings;
        let query = inventory_query(&nodes[me], &settings).unwrap();
        assert_eq!(query.instances, Selector::Ids(vec![nodes[peer].id.clone()]));
        let digest = crate::config::settings_digest(&settings);
        (discover(&nodes[me], &settings, &inventory(&nodes, &tables)).unwrap(), digest)
    };
    assert_eq!(side(0, 1), side(1, 0));
    assert_eq!(
        summary(&side(0, 1).0),
        ["rtb-00000001=i-00000001:rtb-00000001", "rtb-00000002=i-00000002:rtb-00000002"]
    );
    assert_eq!(side(0, 1).0.warnings, []);
}

#[test]
fn a_tagged_table_of_the_nodes_own_uplink_is_in_no_group_and_named() {
    let nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    let found = found(&nodes, &[table(1, "a", None), table(2, "e", None)]);
    assert_eq!(summary(&found), ["eu-west-1a=i-00000001:rtb-00000001"]);
    assert_eq!(found.findings.len(), 1);
    assert_eq!(found.findings[0].subject, "route table rtb-00000002");
}

#[test]
fn a_member_that_a_stop_would_leave_without_a_public_address_is_named_unless_nothing_is_repaired() {
    let mut nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    nodes[1].loses_public = true;
    let mut settings = Settings::default();
    let found = discover(&nodes[0], &settings, &inventory(&nodes, &[])).unwrap();
    let lost: Vec<bool> = found.roster.members.iter().map(|one| one.loses_public).collect();
    assert_eq!(lost, [false, true]);
    let [finding] = found.findings.try_into().unwrap();
    assert_eq!(finding.subject, "instance i-00000002");
    assert!(finding.remedy.contains("Elastic IP"), "{finding}");
    settings.timing.repair.enabled = false;
    let found = discover(&nodes[0], &settings, &inventory(&nodes, &[])).unwrap();
    assert_eq!(found.findings, []);
}

#[test]
fn a_configured_default_route_in_the_table_of_the_nodes_own_uplink_is_refused() {
    let nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    let tables = [table(1, "e", None)];
    let of = |cidr: &str| {
        let (name, id) = ("own".parse().unwrap(), "rtb-00000001".parse().unwrap());
        let group = GroupSetting::of_tables(name, None, vec![id], cidr.parse().unwrap());
        let settings = Settings { groups: vec![group], ..Settings::default() };
        discover(&nodes[0], &settings, &inventory(&nodes, &tables))
    };
    for cidr in ["0.0.0.0/0", "128.0.0.0/1"] {
        let Err(DiscoveryError::Refused(problems)) = of(cidr) else { panic!("{cidr}") };
        assert_eq!(problems.0[0].subject, "group own, route table rtb-00000001");
    }
    assert_eq!(of("10.99.0.0/16").unwrap().roster.groups.len(), 1);
}

#[test]
fn moves_of_a_group_with_egress_ips_are_announced_if_connections_are_replicated() {
    let nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    let group = |name: &str, n: u8| {
        let tables = vec![format!("rtb-0000000{n}").parse().unwrap()];
        GroupSetting::of_tables(name.parse().unwrap(), None, tables, Ipv4Net::default())
    };
    let allocation = "eipalloc-00000001".parse().unwrap();
    let resources = vec![ResourceSetting::EgressIp { allocation, landing: Vec::new() }];
    let groups = vec![GroupSetting { resources, ..group("a", 1) }, group("b", 2)];
    let mut settings = Settings { groups, ..Settings::default() };
    let mut inventory = inventory(&nodes, &[table(1, "a", None), table(2, "b", None)]);
    inventory.elastic.insert("eipalloc-00000001".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 1));
    for enabled in [false, true] {
        settings.replicate.enabled = enabled;
        let found = discover(&nodes[0], &settings, &inventory).unwrap();
        let prepared = found.roster.groups.iter().map(|group| group.traits.prepared);
        assert_eq!(prepared.collect::<Vec<_>>(), [enabled, false]);
    }
}

#[test]
fn configured_groups_go_before_tags() {
    let nodes = [node(1, "eu-west-1a"), node(2, "eu-west-1b")];
    let group = GroupSetting::of_tables(
        "own".parse().unwrap(),
        Some(Home::Named("eu-west-1b".to_owned())),
        vec!["rtb-00000001".parse().unwrap(), "rtb-000000ff".parse().unwrap()],
        Ipv4Net::default(),
    );
    let settings = Settings { groups: vec![group], ..Settings::default() };
    let tables = [table(1, "a", None), table(2, "a", None)];
    let found = discover(&nodes[0], &settings, &inventory(&nodes, &tables)).unwrap();
    assert_eq!(summary(&found), ["own=i-00000002:rtb-00000001,rtb-000000ff"]);
    assert_eq!(found.warnings.len(), 1);
    assert!(found.warnings[0].subject.contains("rtb-000000ff"));
}

proptest! {
    #[test]
    fn every_node_discovers_the_same_in_whatever_order_ec2_answers(
        zones in prop::collection::vec("[abc]", 2..6),
        of_tables in prop::collection::vec(("[abc]{0,2}", prop::option::of("[a-z ]{0,9}")), 0..9),
        turn in 0usize..9,
    ) {
        let mut nodes: Vec<_> = (1u8..)
            .zip(&zones)
            .map(|(n, zone)| node(n, &format!("eu-west-1{zone}")))
            .collect();
        let mut tables: Vec<_> = (1u8..)
            .zip(&of_tables)
            .map(|(n, (subnets, home))| table(n, subnets, home.as_deref()))
            .collect();
        let first = found(&nodes, &tables);
        nodes.reverse();
        let by = turn % tables.len().max(1);
        tables.rotate_left(by);
        prop_assert_eq!(&found(&nodes, &tables), &first);
        let covered: usize = first.roster.groups.iter().map(|group| group.resources.len()).sum();
        prop_assert_eq!(covered, tables.len());
        let names: BTreeSet<_> = first.roster.groups.iter().map(|group| &group.name).collect();
        prop_assert_eq!(names.len(), first.roster.groups.len());
    }
}
