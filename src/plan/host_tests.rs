use super::*;
use crate::plan::{CloudFacts, NftTable, Reading, SysctlKey};

const ENI: [&str; 2] = ["eni-0000000000000000a", "eni-0000000000000000b"];

fn link(name: &str, mac: &str, address: &str) -> Link {
    let addresses = vec![address.parse().unwrap()];
    Link { name: name.to_owned(), mac: mac.to_owned(), addresses }
}

/// A two-armed instance with a container bridge.
fn facts() -> HostFacts {
    let interface = |position: usize, mac: &str| CloudInterface {
        id: ENI[position].parse().unwrap(),
        mac: mac.to_owned(),
        primary: Some(Ipv4Addr::new(10, 0, u8::try_from(position).unwrap(), 10)),
        source_dest_check: None,
    };
    HostFacts {
        links: vec![
            link("docker0", "02:42:00:00:00:01", "172.17.0.1/16"),
            link("ens5", "0a:00:00:00:00:05", "10.0.0.10/24"),
            link("ens6", "0a:00:00:00:00:06", "10.0.1.10/24"),
        ],
        routes: [
            ("0.0.0.0/0", 520, "ens6"),
            ("0.0.0.0/0", 512, "ens5"),
            ("10.0.1.0/24", 0, "ens6"),
        ]
        .map(|(destination, metric, link)| Route {
            destination: destination.parse().unwrap(),
            metric,
            link: Some(link.to_owned()),
        })
        .into(),
        cloud: Some(CloudFacts {
            vpc_cidrs: vec!["10.0.0.0/17".parse().unwrap(), "10.0.128.0/17".parse().unwrap()],
            interfaces: vec![interface(0, "0a:00:00:00:00:05"), interface(1, "0a:00:00:00:00:06")],
        }),
        ..HostFacts::default()
    }
}

const NAT: Role = Role { nat: true, vips: false };
const VIPS: Role = Role { nat: false, vips: true };
const NEITHER: Role = Role { nat: false, vips: false };

fn host() -> Host {
    Settings::default().host
}

#[test]
fn the_uplink_is_the_best_default_route_and_the_sources_are_the_vpc() {
    let plan = HostPlan::new(&host(), NAT, &facts()).unwrap();
    assert_eq!(plan.table.uplink, "ens5");
    assert_eq!(plan.established_timeout(), Some(host().established_timeout));
    assert_eq!(plan.table.links, ["ens5".to_owned(), "ens6".to_owned()].into());
    assert_eq!(plan.table.sources, ["10.0.0.0/16".parse().unwrap()]);
    let ids: Vec<&str> = plan.unchecked.iter().map(|u| u.interface.as_str()).collect();
    assert_eq!(ids, ENI);
}

#[test]
fn packets_get_the_primary_address_of_the_uplink_as_the_metadata_names_it() {
    let own = Some(Ipv4Addr::new(10, 0, 0, 10));
    let plan = HostPlan::new(&host(), NAT, &facts()).unwrap();
    assert_eq!(plan.table.address, own);
    let other = HostPlan::new(&Host { uplink: Some("ens6".to_owned()), ..host() }, NAT, &facts());
    assert_eq!(other.unwrap().table.address, Some(Ipv4Addr::new(10, 0, 1, 10)));
    assert_eq!(HostPlan::new(&host(), NEITHER, &facts()).unwrap().table.address, None);

    // Without metadata, what the last plan of the uplink has counts.
    let without = HostFacts { cloud: None, ..facts() };
    let sources = vec!["10.0.0.0/16".parse().unwrap()];
    let host = Host { sources, source_dest_check: false, ..host() };
    let next = || HostPlan::new(&host, NAT, &without).unwrap();
    assert_eq!(next().after(None, &without).table.address, None);
    assert_eq!(next().after(Some(&plan), &without).table.address, own);
    let moved = Host { uplink: Some("ens6".to_owned()), ..host.clone() };
    let moved = HostPlan::new(&moved, NAT, &without).unwrap().after(Some(&plan), &without);
    assert_eq!(moved.table.address, None);
    // With metadata, what these say counts.
    let mut changed = plan.clone();
    changed.table.address = Some(Ipv4Addr::new(10, 0, 0, 99));
    let read = HostPlan::new(&host, NAT, &facts()).unwrap();
    assert_eq!(read.after(Some(&changed), &facts()).table.address, own);
}

#[test]
fn configured_sources_narrow_what_is_translated_but_not_the_vpc_networks() {
    let sources = vec!["10.0.2.0/24".parse().unwrap(), "192.168.0.0/16".parse().unwrap()];
    let plan = HostPlan::new(&Host { sources, ..host() }, NAT, &facts()).unwrap();
    let shown = |list: &[Ipv4Net]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&plan.table.sources), ["10.0.2.0/24", "192.168.0.0/16"]);
    assert_eq!(shown(&plan.table.vpc_networks), ["10.0.0.0/16", "192.168.0.0/16"]);
}

#[test]
fn a_source_that_contains_the_internet_leaves_the_internet_to_be_translated() {
    let of = |sources: &[&str]| {
        let sources = sources.iter().map(|net| net.parse().unwrap()).collect();
        HostPlan::new(&Host { sources, ..host() }, NAT, &facts()).unwrap().table
    };
    let shown = |list: &[Ipv4Net]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let local = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"];
    for sources in [&["0.0.0.0/0"][..], &["0.0.0.0/1", "128.0.0.0/1"]] {
        let table = of(sources);
        assert_eq!(shown(&table.sources), ["0.0.0.0/0"]);
        assert_eq!(shown(&table.vpc_networks), local);
        assert_eq!(table.links, ["ens5".to_owned(), "ens6".to_owned()].into(), "no bridge");
    }
    let half = of(&["128.0.0.0/1"]);
    assert_eq!(shown(&half.vpc_networks), ["10.0.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]);
    let own = of(&["11.0.0.0/8"]);
    assert_eq!(shown(&own.vpc_networks), ["10.0.0.0/16", "11.0.0.0/8"]);
}

#[test]
fn a_block_that_the_vpc_gets_is_taken_in_and_none_is_dropped() {
    let shown = |list: &[Ipv4Net]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let pods: Ipv4Net = "100.64.0.0/16".parse().unwrap();
    let plan = HostPlan::new(&host(), NAT, &facts()).unwrap();
    let more = plan.with_blocks(&[pods], true).table;
    assert_eq!(shown(&more.sources), ["10.0.0.0/16", "100.64.0.0/16"]);
    assert_eq!(more.vpc_networks, more.sources);
    let known: Vec<Ipv4Net> = facts().cloud.unwrap().vpc_cidrs;
    assert_eq!(plan.with_blocks(&known, true), plan);
    assert_eq!(plan.with_blocks(&[], true), plan);

    let sources = vec!["10.0.2.0/24".parse().unwrap()];
    let plan = HostPlan::new(&Host { sources, ..host() }, NAT, &facts()).unwrap();
    let more = plan.with_blocks(&[pods], false).table;
    assert_eq!(shown(&more.sources), ["10.0.2.0/24"]);
    assert_eq!(shown(&more.vpc_networks), ["10.0.0.0/16", "100.64.0.0/16"]);

    let backend = HostPlan::new(&host(), NEITHER, &facts()).unwrap();
    assert_eq!(backend.with_blocks(&[pods], true), backend);
}

#[test]
fn without_ec2_the_interfaces_in_source_networks_take_part() {
    let facts = HostFacts { cloud: None, ..facts() };
    let sources = vec!["10.0.1.0/24".parse().unwrap()];
    let host = Host { sources, source_dest_check: false, ..host() };
    let plan = HostPlan::new(&host, NAT, &facts).unwrap();
    assert_eq!(plan.table.links, ["ens5".to_owned(), "ens6".to_owned()].into());
    assert!(plan.unchecked.is_empty());

    let nothing = Host { sources: Vec::new(), ..host };
    assert_eq!(HostPlan::new(&nothing, NAT, &facts), Err(PlanError::NoSources));
}

#[test]
fn an_uplink_that_ec2_did_not_attach_is_refused() {
    let host = Host { uplink: Some("docker0".to_owned()), ..host() };
    let refused = HostPlan::new(&host, NAT, &facts());
    assert!(matches!(refused, Err(PlanError::NotAttached { .. })), "{refused:?}");
}

#[test]
fn the_loopback_interface_is_no_uplink() {
    let host = Host { uplink: Some("lo".to_owned()), ..host() };
    let refused = HostPlan::uplink_error(&host, &facts()).unwrap().to_string();
    assert!(refused.contains("`lo` cannot be") && refused.contains("ens5"), "{refused}");
}

#[test]
fn forwarding_is_turned_on_last() {
    let plan = HostPlan::new(&host(), NAT, &facts()).unwrap();
    let last = plan.sysctls.last().unwrap();
    assert_eq!(last.key.to_string(), "net.ipv4.ip_forward");
}

#[test]
fn a_host_that_is_not_a_nat_neither_forwards_nor_translates() {
    let plan = HostPlan::new(&host(), NEITHER, &facts()).unwrap();
    assert!(plan.table.is_empty() && plan.sysctls.is_empty() && plan.unchecked.is_empty());
    let plan = HostPlan::new(&host(), VIPS, &HostFacts { cloud: None, ..facts() });
    assert!(matches!(plan, Err(PlanError::NotAttached { .. })), "{plan:?}");
}

#[test]
fn a_host_with_virtual_ips_has_its_checks_off_and_loose_filters() {
    let mut facts = facts();
    let strict = Reading { value: 1, settable: true };
    facts.sysctls.insert(SysctlKey::conf("all", "rp_filter"), strict);
    let plan = HostPlan::new(&host(), VIPS, &facts).unwrap();
    let ids: Vec<&str> = plan.unchecked.iter().map(|u| u.interface.as_str()).collect();
    assert_eq!(ids, ENI);
    let keys: Vec<String> = plan.sysctls.iter().map(|s| s.key.to_string()).collect();
    assert_eq!(keys, ["net.ipv4.conf.ens5.rp_filter", "net.ipv4.conf.ens6.rp_filter"]);
    assert!(plan.table.is_empty());
}

#[test]
fn an_accepted_address_is_on_lo_or_redirected() {
    let vip = Ipv4Addr::new(192, 168, 20, 11);
    let accepting = |accept_mode| {
        let host = Host { accept: vec![vip], accept_mode, ..host() };
        HostPlan::new(&host, VIPS, &facts()).unwrap()
    };
    let lo = accepting(AcceptMode::Lo);
    assert_eq!(lo.addresses, BTreeSet::from([vip]));
    assert!(lo.table.is_empty());
    let redirected = accepting(AcceptMode::Redirect);
    assert!(redirected.addresses.is_empty() && !redirected.table.is_empty());
    assert_eq!(redirected.table.accept, BTreeSet::from([vip]));
}

#[test]
fn an_accepted_address_is_redirected_to_the_primary_address_of_each_interface() {
    let accepting = |accept_mode, facts: &HostFacts| {
        let accept = vec![Ipv4Addr::new(192, 168, 20, 11)];
        let host = Host { accept, accept_mode, source_dest_check: false, ..host() };
        HostPlan::new(&host, VIPS, facts).unwrap()
    };
    let plan = accepting(AcceptMode::Redirect, &facts());
    let wanted = [("ens5", 0), ("ens6", 1)]
        .map(|(link, subnet)| (link.to_owned(), Ipv4Addr::new(10, 0, subnet, 10)));
    assert_eq!(plan.table.primaries, Primaries::from(wanted));
    assert!(accepting(AcceptMode::Lo, &facts()).table.primaries.is_empty());

    // Without metadata, those of the last plan count.
    let without = HostFacts { cloud: None, ..facts() };
    let next = |mode| accepting(mode, &without).after(Some(&plan), &without).table.primaries;
    assert_eq!(next(AcceptMode::Redirect), plan.table.primaries);
    assert!(next(AcceptMode::Lo).is_empty());
}
