//! The rendered nft tables, byte for byte.
//!
//! Where a change of the table is meant: run with `NATHA_BLESS=1`, and review the difference.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use natha::plan::{
    EgressRules, EgressTable, NftTable, Primaries, Protection, RelayRules, RelayTable, TableSpec,
    VipTable,
};

fn spec(links: &[&str], sources: &[&str], vpc_networks: &[&str], clamp_mss: bool) -> TableSpec {
    let networks = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
    TableSpec {
        uplink: links[0].to_owned(),
        links: links.iter().map(|name| (*name).to_owned()).collect(),
        sources: networks(sources),
        transit: None,
        vpc_networks: networks(vpc_networks),
        address: None,
        clamp_mss,
        mss: 1460,
        flowtable: false,
        nat: true,
        protect: None,
        accept: BTreeSet::new(),
        primaries: BTreeMap::new(),
    }
}

fn compare(name: &str, spec: &impl NftTable) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let rendered = spec.render() + "\n";
    if std::env::var_os("NATHA_BLESS").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let golden = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run with NATHA_BLESS=1", path.display()));
    assert_eq!(rendered, golden, "{name} differs; if that is meant, run with NATHA_BLESS=1");
}

#[test]
fn one_armed() {
    compare("one_armed.json", &spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], true));
}

#[test]
fn two_armed_with_two_blocks() {
    let blocks = ["10.0.0.0/16", "100.64.0.0/16"];
    compare("two_armed.json", &spec(&["ens5", "ens6"], &blocks, &blocks, true));
}

#[test]
fn one_subnet_of_a_vpc_without_clamping() {
    let spec = spec(&["ens5"], &["10.0.2.0/24"], &["10.0.0.0/16"], false);
    compare("one_subnet.json", &spec);
}

#[test]
fn with_a_source_of_the_monitor_s_own() {
    let spec = spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], true);
    let transit = Some("198.18.255.252/30".parse().unwrap());
    compare("transit.json", &TableSpec { transit, ..spec });
}

#[test]
fn with_the_primary_address_of_the_uplink() {
    let spec = spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], true);
    let address = Some(Ipv4Addr::new(10, 0, 0, 10));
    compare("primary.json", &TableSpec { address, ..spec });
}

#[test]
fn closed_to_private_hosts() {
    let spec = spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], true);
    let protect = Some(Protection {
        udp: [6284, 6286].into(),
        tcp: [6284].into(),
        except: vec!["10.0.0.0/24".parse().unwrap()],
    });
    compare("protected.json", &TableSpec { protect, ..spec });
}

#[test]
fn two_armed_with_a_flowtable() {
    let spec = spec(&["ens5", "ens6"], &["10.0.0.0/16"], &["10.0.0.0/16"], true);
    compare("flowtable.json", &TableSpec { flowtable: true, ..spec });
}

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 20, 11);

#[test]
fn a_nat_that_answers_on_a_virtual_ip() {
    let spec = spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], true);
    compare("nat_accepting.json", &TableSpec { accept: [VIP].into(), ..spec });
}

#[test]
fn a_backend_that_answers_on_a_virtual_ip() {
    let spec = spec(&["ens5"], &[], &["10.0.0.0/16"], true);
    let backend = TableSpec { nat: false, accept: [VIP].into(), ..spec };
    compare("backend.json", &backend);
    compare("backend_primaries.json", &TableSpec { primaries: primaries(), ..backend });
}

#[test]
fn a_host_that_is_no_nat_has_no_table() {
    let spec = TableSpec { nat: false, ..spec(&["ens5"], &[], &[], true) };
    assert!(spec.is_empty());
    assert_eq!(spec.render(), TableSpec::NAME.removal());
    assert!(VipTable::default().is_empty());
}

#[test]
fn virtual_ips_that_are_redirected_and_one_that_is_no_longer() {
    let (second, third) = (Ipv4Addr::new(192, 168, 20, 12), Ipv4Addr::new(192, 168, 20, 13));
    let redirected = BTreeMap::from([(VIP, None), (second, Some(5432))]);
    let table = VipTable { redirected, primaries: BTreeMap::new(), closed: [third].into() };
    compare("vips.json", &table);
    let primaries = primaries();
    compare("vips_primaries.json", &VipTable { primaries, closed: BTreeSet::new(), ..table });
}

/// The primary addresses of a two-armed host.
fn primaries() -> Primaries {
    [("ens5", 0), ("ens6", 1)]
        .map(|(link, subnet)| (link.to_owned(), Ipv4Addr::new(10, 0, subnet, 10)))
        .into()
}

/// The egress IPs of two groups, of which one is elsewhere.
fn egress(strict: bool) -> EgressTable {
    let networks = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
    let landing = |last| Ipv4Addr::new(10, 0, 0, last);
    EgressTable {
        uplink: "ens5".to_owned(),
        vpc_networks: networks(&["10.0.0.0/16", "100.64.0.0/16"]),
        groups: vec![
            EgressRules {
                sources: networks(&["10.0.100.0/24"]),
                landings: vec![landing(201), landing(202), landing(203)],
                arrived: true,
                strict,
                inserting: false,
            },
            EgressRules {
                sources: networks(&["10.0.101.0/24", "100.64.0.0/24"]),
                landings: vec![landing(204)],
                arrived: false,
                strict,
                inserting: false,
            },
        ],
        reset: Vec::new(),
    }
}

#[test]
fn egress_ips_that_are_here_and_one_that_is_not() {
    compare("egress_eager.json", &egress(false));
    compare("egress_strict.json", &egress(true));
    let mut inserting = egress(false);
    inserting.groups.iter_mut().for_each(|group| group.inserting = true);
    compare("egress_inserting.json", &inserting);
    assert!(EgressTable::default().is_empty());
}

/// A group whose packets this node copies, and one whose copies it only takes.
#[test]
fn packets_of_a_group_that_moves_are_copied_to_the_other_node() {
    let networks = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
    let peers = [20, 30].map(|last| Ipv4Addr::new(10, 0, 1, last));
    let rules = |source: &str, peer: Ipv4Addr, copies| RelayRules {
        uplink: "ens5".to_owned(),
        sources: networks(&[source]),
        vpc_networks: networks(&["10.0.0.0/16", "100.64.0.0/16"]),
        peer,
        copies,
    };
    let groups =
        vec![rules("10.0.100.0/24", peers[0], true), rules("10.0.101.0/24", peers[1], false)];
    compare("relay.json", &RelayTable { port: 6286, peers: peers.into(), groups });
    assert!(RelayTable::default().is_empty());
}

#[test]
fn connections_are_reset_with_and_without_egress_ips() {
    let reset = ["10.0.100.0/24", "10.0.102.0/24"].map(|net| net.parse().unwrap()).into();
    let beside = EgressTable { reset, ..egress(true) };
    compare("egress_resets.json", &beside);
    let alone = EgressTable { groups: Vec::new(), ..beside.clone() };
    compare("resets.json", &alone);
    assert!(alone.guard().is_empty());
    assert_eq!(beside.guard().groups.len(), 2);
    let flush: serde_json::Value = serde_json::from_str(&EgressTable::without_resets()).unwrap();
    let chain = &flush["nftables"][0]["flush"]["chain"];
    assert_eq!((&chain["table"], &chain["name"]), (&"natha_egress".into(), &"resets".into()));
}

#[test]
fn any_difference_in_the_plan_is_a_difference_in_the_digest() {
    let base = spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], true);
    let protect = Protection { udp: [6284].into(), tcp: BTreeSet::new(), except: Vec::new() };
    let except = vec!["10.0.0.0/24".parse().unwrap()];
    let others = [
        spec(&["ens6"], &["10.0.0.0/16"], &["10.0.0.0/16"], true),
        spec(&["ens5", "ens6"], &["10.0.0.0/16"], &["10.0.0.0/16"], true),
        spec(&["ens5"], &["10.0.2.0/24"], &["10.0.0.0/16"], true),
        spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/15"], true),
        spec(&["ens5"], &["10.0.0.0/16"], &["10.0.0.0/16"], false),
        TableSpec { address: Some(VIP), ..base.clone() },
        TableSpec { nat: false, ..base.clone() },
        TableSpec { accept: [VIP].into(), ..base.clone() },
        TableSpec { accept: [VIP].into(), primaries: primaries(), ..base.clone() },
        TableSpec { protect: Some(protect.clone()), ..base.clone() },
        TableSpec { protect: Some(Protection { except, ..protect }), ..base.clone() },
    ];
    for other in others {
        assert_ne!(base.digest(), other.digest(), "{other:?}");
    }
}
