//! Tables of cases for the checks of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::super::facts::LinkFacts;
use super::*;
use crate::config::GroupSetting;
use crate::doctor::finding::State;
use crate::doctor::samples::{report, running};
use crate::plan::{Item, ItemState, Subject, SysctlKey, TableSpec};
use crate::types::{RouteEntry, RouteTarget};

fn plan(clamp_mss: bool, mss: u16) -> HostPlan {
    let table = TableSpec {
        uplink: "ens5".to_owned(),
        links: BTreeSet::from(["ens5".to_owned(), "ens6".to_owned()]),
        sources: Vec::new(),
        transit: None,
        vpc_networks: Vec::new(),
        address: None,
        clamp_mss,
        mss,
        flowtable: false,
        nat: true,
        protect: None,
        accept: BTreeSet::new(),
        primaries: BTreeMap::new(),
    };
    HostPlan { table, sysctls: Vec::new(), unchecked: Vec::new(), addresses: BTreeSet::new() }
}

fn drifted() -> Item {
    Item {
        subject: Subject::Sysctl(SysctlKey::new("net/ipv4/ip_forward")),
        found: Some("0".to_owned()),
        wanted: "1".to_owned(),
        standing: ItemState::Differs,
    }
}

#[test]
fn a_host_is_set_up_if_it_has_a_plan_and_follows_it() {
    for (plan, drift, state) in [
        (None, Vec::new(), State::Failed),
        (Some(plan(true, 1460)), vec![drifted()], State::Failed),
        (Some(plan(true, 1460)), Vec::new(), State::Passed),
    ] {
        let facts = Facts { plan: Ok(plan), drift: Ok(drift), ..Facts::default() };
        assert_eq!(setup_done(&facts).unwrap().state, state);
    }
    let mut other = Facts::default();
    other.settings.host.nat = Some(false);
    for judge in
        [setup_done, source_dest_check, uplink_route, other_firewalls, private_routes, mtu_mss]
    {
        assert_eq!(judge(&other).unwrap().state, State::NotNeeded);
    }
}

#[test]
fn a_source_dest_check_that_is_on_is_named_with_the_command() {
    let checks = |on| {
        let [first, second] = ["eni-00000001", "eni-00000002"].map(|id| id.parse().unwrap());
        Facts {
            source_dest: Ok(BTreeMap::from([(first, false), (second, on)])),
            ..Facts::default()
        }
    };
    assert_eq!(source_dest_check(&checks(false)).unwrap().state, State::Passed);
    let outcome = source_dest_check(&checks(true)).unwrap();
    assert_eq!(outcome.what, "EC2's source/dest check is on for eni-00000002");
    assert!(outcome.remedy.unwrap().ends_with("--network-interface-id eni-00000002"));
    let none = Facts { source_dest: Ok(BTreeMap::new()), ..Facts::default() };
    assert!(source_dest_check(&none).is_err());
}

#[test]
fn a_node_without_a_way_to_the_internet_fails_with_the_command() {
    let entry = |blackhole| {
        let target = RouteTarget::Other("igw-0123abcd".to_owned());
        Some(RouteEntry { target, blackhole })
    };
    for (default, is_loop, state, part) in [
        (entry(false), false, State::Passed, "points to igw-0123abcd"),
        (entry(false), true, State::Failed, "points to this node"),
        (entry(true), false, State::Failed, "which is gone"),
        (None, false, State::Failed, "has no default route"),
    ] {
        let table = "rtb-00000001".parse().unwrap();
        let route = UplinkRoute { table, default, is_loop };
        let facts = Facts { uplink_route: Ok(route), ..Facts::default() };
        let outcome = uplink_route(&facts).unwrap();
        assert_eq!(outcome.state, state);
        assert!(outcome.what.contains(part), "{}", outcome.what);
        let remedy = outcome.remedy.unwrap_or_default();
        assert_eq!(remedy.contains("--route-table-id rtb-00000001"), state == State::Failed);
    }
}

#[test]
fn rules_and_routes_that_lose_packets_fail() {
    let found = || Ok(vec!["a chain drops".to_owned()]);
    let facts = Facts { firewalls: found(), misrouted: found(), ..Facts::default() };
    for judge in [other_firewalls, private_routes] {
        let outcome = judge(&facts).unwrap();
        assert_eq!((outcome.state, &*outcome.what), (State::Failed, "a chain drops"));
    }
    let facts = Facts { firewalls: Ok(Vec::new()), misrouted: Ok(Vec::new()), ..facts };
    for judge in [other_firewalls, private_routes] {
        assert_eq!(judge(&facts).unwrap().state, State::Passed);
    }
}

#[test]
fn packets_that_the_internet_does_not_carry_are_a_warning() {
    for (clamp, mss, mtus, state, part) in [
        (true, 1460, [9001, 9001], State::Passed, "MTU: ens5 9001, ens6 9001; segments are"),
        (false, 1460, [1500, 1500], State::Passed, "MTU: ens5 1500"),
        (false, 1460, [9001, 9001], State::Warning, "not clamped"),
        (true, 8961, [9001, 9001], State::Warning, "packets of 9001 bytes"),
        (true, 1460, [9001, 1500], State::Warning, "carries less than the uplink"),
        (true, 1460, [1500, 9001], State::Passed, "MTU"),
    ] {
        let link = |mtu| LinkFacts { mtu, ..LinkFacts::default() };
        let names = ["ens5", "ens6"].map(str::to_owned);
        let links = names.into_iter().zip(mtus.map(link)).collect();
        let facts =
            Facts { plan: Ok(Some(plan(clamp, mss))), links: Ok(links), ..Facts::default() };
        let outcome = mtu_mss(&facts).unwrap();
        assert_eq!(outcome.state, state, "{clamp} {mss} {mtus:?}");
        assert!(outcome.what.contains(part), "{}", outcome.what);
    }
}

/// A node on which another program follows EC2's addresses, with these groups in its settings.
fn refreshed(resources: Vec<ResourceSetting>) -> Facts {
    let cidr = "0.0.0.0/0".parse().unwrap();
    let mut group = GroupSetting::of_tables("a".parse().unwrap(), None, Vec::new(), cidr);
    group.resources = resources;
    let mut facts = Facts { refresh: Ok(true), ..Facts::default() };
    facts.settings.groups = vec![group];
    facts
}

#[test]
fn a_refresh_of_addresses_is_a_warning_where_natha_changes_them() {
    let address = Ipv4Addr::new(10, 0, 0, 9);
    let allocation = || "eipalloc-00000001".parse().unwrap();
    let egress = |landing| ResourceSetting::EgressIp { allocation: allocation(), landing };
    for (resource, state) in [
        (ResourceSetting::PrivateIp { address }, State::Warning),
        (egress(Vec::new()), State::Warning),
        (egress(vec![address]), State::Passed),
        (ResourceSetting::Eip { allocation: allocation(), on: Some(address) }, State::Passed),
    ] {
        let mut facts = refreshed(vec![resource]);
        let outcome = address_refresh(&facts).unwrap();
        assert_eq!(outcome.state, state, "{}", outcome.what);
        let remedy = outcome.remedy.unwrap_or_default();
        assert_eq!(remedy.contains("/refresh-policy-routes@.service.d/"), state == State::Warning);
        facts.refresh = Ok(false);
        assert_eq!(address_refresh(&facts).unwrap().state, State::Passed);
    }
}

#[test]
fn egress_ips_that_tags_name_count_as_well() {
    let mut report = report();
    let mut facts = running(report.clone());
    facts.refresh = Ok(true);
    assert_eq!(address_refresh(&facts).unwrap().state, State::Passed);
    let allocation = "eipalloc-00000001".parse().unwrap();
    let address = Ipv4Addr::new(203, 0, 113, 9);
    report.roster.groups[0].resources.push(Resource::EgressIp { allocation, address });
    let facts = Facts { refresh: Ok(true), ..running(report) };
    assert_eq!(address_refresh(&facts).unwrap().state, State::Warning);
    assert!(address_refresh(&Facts::default()).is_err());
}
