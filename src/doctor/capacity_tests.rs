//! Tables of cases for the checks of the capacity.

use std::collections::BTreeMap;

use super::*;
use crate::doctor::finding::State;
use crate::doctor::samples::{report, running};
use crate::status::{Allowances, PortUse};

/// 1 GiB, for which 262,144 connections are planned.
const MEMORY: u64 = 1 << 30;

fn tracking(tracked: u64, max: u64, settable: bool) -> Facts {
    let conntrack = Ok(Some(ConntrackFacts { tracked, max, settable }));
    Facts { conntrack, memory: Ok(MEMORY), ..Facts::default() }
}

#[test]
fn a_table_of_connections_that_is_too_small_is_a_warning_with_what_sets_it() {
    for (max, settable, pre, state, remedy) in [
        (262_144, true, false, State::Passed, ""),
        (65_536, true, true, State::Passed, ""),
        (65_536, true, false, State::Warning, "sudo natha setup"),
        (65_536, false, false, State::Warning, "on the host of this container"),
    ] {
        let outcome = conntrack_size(&Facts { pre, ..tracking(0, max, settable) }).unwrap();
        assert_eq!(outcome.state, state, "{max} {settable} {pre}");
        assert!(outcome.remedy.unwrap_or_default().starts_with(remedy));
    }
    let mut fixed = tracking(0, 1000, true);
    fixed.settings.host.conntrack_max = Some(1000);
    assert_eq!(conntrack_size(&fixed).unwrap().state, State::Passed);
}

#[test]
fn a_table_of_connections_that_is_nearly_full_is_a_warning() {
    assert_eq!(conntrack_use(&tracking(899, 1000, true)).unwrap().state, State::Passed);
    assert_eq!(conntrack_use(&tracking(900, 1000, true)).unwrap().state, State::Warning);
    let untracked = Facts { conntrack: Ok(None), ..Facts::default() };
    assert!(conntrack_use(&untracked).is_err());
    let mut other = tracking(900, 1000, true);
    other.settings.host.nat = Some(false);
    for judge in [conntrack_size, conntrack_use, port_space] {
        assert_eq!(judge(&other).unwrap().state, State::NotNeeded);
    }
}

#[test]
fn a_port_space_that_is_nearly_full_is_a_warning_that_names_the_destination() {
    let with = |used: Option<u32>| {
        let fullest = used.map(|used| PortSpace {
            protocol: "tcp".to_owned(),
            address: [10, 0, 0, 1].into(),
            destination: "203.0.113.10:443".parse().unwrap(),
            used,
            of: 1000,
        });
        let mut report = report();
        report.ports = Some(PortUse { failures: 0, fullest });
        port_space(&running(report)).unwrap()
    };
    assert_eq!(with(None).state, State::Passed);
    assert_eq!(with(Some(799)).state, State::Passed);
    let outcome = with(Some(800));
    assert_eq!(outcome.state, State::Warning);
    assert!(outcome.what.contains("203.0.113.10:443"), "{}", outcome.what);
    assert!(port_space(&running(report())).is_err(), "the monitor has not looked yet");
}

fn link(link: LinkFacts) -> Facts {
    Facts { links: Ok(BTreeMap::from([("ens5".to_owned(), link)])), ..Facts::default() }
}

#[test]
fn packets_above_an_allowance_are_a_warning_and_other_drivers_count_none() {
    let counting = |packets| {
        let exceeded = BTreeMap::from([("pps_allowance_exceeded".to_owned(), packets)]);
        let allowances = Allowances { exceeded, ..Allowances::default() };
        allowances_of(LinkFacts { allowances, ..LinkFacts::default() })
    };
    assert_eq!(counting(0).state, State::Passed);
    let outcome = counting(7);
    assert_eq!(outcome.state, State::Warning);
    assert!(outcome.what.ends_with("ens5 pps_allowance_exceeded: 7"), "{}", outcome.what);
    assert_eq!(allowances_of(LinkFacts::default()).state, State::NotNeeded);
}

fn allowances_of(of: LinkFacts) -> Outcome {
    allowances(&link(of)).unwrap()
}

#[test]
fn a_small_ring_is_a_warning_once_packets_found_no_room_in_it() {
    for (driver, size, overruns, state) in [
        ("veth", 1024, 5, State::NotNeeded),
        ("ena", 8192, 5, State::Passed),
        ("ena", 1024, 0, State::Passed),
        ("ena", 1024, 5, State::Warning),
    ] {
        let ring = Some(Ok(Ring { size, most: 8192 }));
        let driver = Some(driver.to_owned());
        let of = LinkFacts { driver, ring, overruns, ..LinkFacts::default() };
        assert_eq!(rings(&link(of)).unwrap().state, state, "{size} {overruns}");
    }
    let unread = LinkFacts {
        driver: Some(ENA.to_owned()),
        ring: Some(Err(Gap::new("`ethtool` is not installed"))),
        ..LinkFacts::default()
    };
    assert!(rings(&link(unread)).unwrap_err().to_string().contains("ethtool"));
}
