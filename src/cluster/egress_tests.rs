use super::*;

const ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 0, 0, 11),
    Ipv4Addr::new(10, 0, 0, 12),
    Ipv4Addr::new(10, 0, 0, 13),
    Ipv4Addr::new(10, 0, 1, 11),
];

fn id(n: u8) -> AllocationId {
    format!("eipalloc-{n:08x}").parse().unwrap()
}

fn egress_ip(n: u8, landing: &[Ipv4Addr]) -> ResourceSetting {
    ResourceSetting::EgressIp { allocation: id(n), landing: landing.to_vec() }
}

fn group(resources: Vec<ResourceSetting>) -> GroupSetting {
    let name = "a".parse().unwrap();
    let tables = vec!["rtb-00000001".parse().unwrap()];
    let cidr = Ipv4Net::default();
    GroupSetting { resources, ..GroupSetting::of_tables(name, None, tables, cidr) }
}

fn interface(secondary: &[Ipv4Addr]) -> InterfaceInfo {
    InterfaceInfo {
        id: "eni-00000001".parse().unwrap(),
        device_index: 0,
        mac: String::new(),
        address: Ipv4Addr::new(10, 0, 0, 10),
        secondary: secondary.to_vec(),
        public: None,
        subnet: "subnet-00000001".parse().unwrap(),
        source_dest_check: false,
    }
}

/// The groups as they are found, with their egress IPs.
fn roster_of(settings: &[GroupSetting]) -> Vec<Group> {
    let resources = |one: &GroupSetting| {
        let ids = one.resources.iter().filter_map(|resource| match resource {
            ResourceSetting::EgressIp { allocation, .. } => Some(allocation.clone()),
            _ => None,
        });
        let address = Ipv4Addr::new(192, 0, 2, 1);
        ids.map(|allocation| Resource::EgressIp { allocation, address }).collect()
    };
    settings.iter().map(|one| Group::new(one.name.clone(), None, resources(one))).collect()
}

fn landed(resources: Vec<ResourceSetting>, secondary: &[Ipv4Addr]) -> Vec<(u8, Ipv4Addr)> {
    let settings = [group(resources)];
    let groups = roster_of(&settings);
    let found = Landings::new(&groups, &settings).on(&interface(secondary));
    let numbers = (0..9).filter_map(|n| Some((n, *found.get(&id(n))?)));
    numbers.collect()
}

#[test]
fn egress_ips_without_a_list_land_on_the_secondary_addresses_in_order() {
    let [first, second, third, _] = ADDRESSES;
    let two = || vec![egress_ip(2, &[]), egress_ip(1, &[])];
    assert_eq!(landed(two(), &[third, first, second]), [(1, first), (2, second)]);
    assert_eq!(landed(two(), &[third]), [(1, third)]);
    assert_eq!(landed(two(), &[]), []);
}

#[test]
fn an_address_that_is_listed_or_that_moves_is_given_to_no_other_egress_ip() {
    let [first, second, third, elsewhere] = ADDRESSES;
    let listed = || vec![egress_ip(2, &[elsewhere, first]), egress_ip(1, &[])];
    assert_eq!(landed(listed(), &[first, second]), [(1, second), (2, first)]);
    assert_eq!(landed(listed(), &[second]), [(1, second)], "none of its own is here");
    let mut moving = listed();
    moving.push(ResourceSetting::PrivateIp { address: second });
    assert_eq!(landed(moving, &[first, second, third]), [(1, third), (2, first)]);
}

#[test]
fn a_node_without_a_landing_address_is_a_finding_that_names_its_interface() {
    let member = || Member {
        id: "i-00000001".parse().unwrap(),
        interface: "eni-00000001".parse().unwrap(),
        address: Ipv4Addr::new(10, 0, 0, 10),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: BTreeMap::new(),
    };
    let mut findings = Vec::new();
    let mut members = [member(), member()];
    let (with, without) = (interface(&ADDRESSES[..1]), interface(&[]));
    let settings = [group(vec![egress_ip(1, &[])])];
    let groups = roster_of(&settings);
    let landings = Landings::new(&groups, &settings);
    landings.give(&mut members, &[&with, &without], &mut findings);
    assert_eq!(members[0].landings, [(id(1), ADDRESSES[0])].into());
    assert!(members[1].landings.is_empty());
    let [finding] = findings.try_into().unwrap();
    assert!(finding.remedy.contains("--network-interface-id eni-00000001"), "{finding}");
    assert_eq!(members.each_ref().map(|member| landings.unassigned(member)), [0, 1]);
    let listed = [group(vec![egress_ip(1, &ADDRESSES[..1])])];
    let groups = roster_of(&listed);
    let unassigned = Landings::new(&groups, &listed).unassigned(&members[1]);
    assert_eq!(unassigned, 0, "EC2 chooses no address that the settings list");
}

/// An Elastic IP with these tags.
fn elastic(n: u8, tags: &[(&str, &str)]) -> ElasticIpInfo {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ElasticIpInfo { id: id(n), address: Ipv4Addr::new(192, 0, 2, n), tags }
}

/// Groups `a` and `b` of a table each, with these Elastic IPs; and the warnings.
fn by_tags(elastic: Option<Vec<ElasticIpInfo>>) -> ([Group; 2], Vec<String>) {
    let tables = [1, 2].map(|n| {
        let mut table = crate::cluster::tests::table(n, "", None);
        table.subnets = vec![format!("subnet-0000000{n}").parse().unwrap()];
        table
    });
    let subnets = [1, 2].map(|n| crate::types::SubnetInfo {
        id: tables[n - 1].subnets[0].clone(),
        vpc: tables[0].vpc.clone(),
        zone: "eu-west-1a".parse().unwrap(),
        cidr: format!("10.0.10{n}.0/24").parse().unwrap(),
    });
    let mut groups = ["a", "b"].map(|name| {
        let table = tables[usize::from(name == "b")].id.clone();
        let route = Resource::DefaultRoute { table, cidr: Ipv4Net::default() };
        Group::new(name.parse().unwrap(), None, vec![route])
    });
    let inventory = Inventory {
        tables: tables.to_vec(),
        subnets: subnets.to_vec(),
        tagged_elastic: elastic,
        ..Inventory::default()
    };
    let mut own = interface(&[]);
    own.public = Some(Ipv4Addr::new(192, 0, 2, 9));
    let mut warnings = Vec::new();
    tagged(&mut groups, &[&own], &inventory, &mut warnings);
    (groups, warnings.iter().map(ToString::to_string).collect())
}

#[test]
fn elastic_ips_with_the_tag_of_a_group_are_its_egress_ips() {
    let addresses = vec![
        elastic(2, &[(GROUP_TAG, "a")]),
        elastic(1, &[(GROUP_TAG, " a "), (EGRESS_TAG, "eager")]),
        elastic(3, &[(GROUP_TAG, "b"), (EGRESS_TAG, "strict")]),
    ];
    let ([a, b], warnings) = by_tags(Some(addresses));
    let egress = |group: &Group| {
        let ids = group.resources.iter().filter_map(|one| match one {
            Resource::EgressIp { allocation, .. } => Some(allocation.to_string()),
            _ => None,
        });
        ids.collect::<Vec<_>>()
    };
    assert_eq!(egress(&a), [id(1).to_string(), id(2).to_string()]);
    assert_eq!(egress(&b), [id(3).to_string()]);
    assert_eq!(a.egress.sources, ["10.0.101.0/24".parse().unwrap()]);
    assert_eq!(b.egress.sources, ["10.0.102.0/24".parse().unwrap()]);
    assert!(!a.egress.strict && b.egress.strict);
    assert!(a.resources.is_sorted_by_key(|one| (one.kind(), one)), "{:?}", a.resources);
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn wrong_tags_of_an_elastic_ip_are_warnings_with_a_remedy() {
    for (group, number, expected) in
        [("c", 1, "use one of a, b"), ("a", 9, "the node with eni-00000001 itself")]
    {
        let tags = [(GROUP_TAG, group)];
        let ([a, _], warnings) = by_tags(Some(vec![elastic(number, &tags)]));
        assert!(a.egress.is_plain() && a.resources.len() == 1, "{:?}", a.resources);
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{warnings:?}");
    }
    let strict = elastic(1, &[(GROUP_TAG, "a"), (EGRESS_TAG, "strict")]);
    let unknown = elastic(2, &[(GROUP_TAG, "a"), (EGRESS_TAG, "lazy")]);
    let plain = elastic(3, &[(GROUP_TAG, "a")]);
    let ([a, _], warnings) = by_tags(Some(vec![unknown]));
    assert!(a.egress.strict && warnings[0].contains("eager or strict"), "{warnings:?}");
    let ([a, _], warnings) = by_tags(Some(vec![strict, plain]));
    assert!(a.egress.strict && warnings[0].contains("differ in natha:egress"), "{warnings:?}");
    let ([a, _], warnings) = by_tags(None);
    assert!(a.egress.is_plain() && warnings[0].contains("ec2:DescribeAddresses"), "{warnings:?}");
}
