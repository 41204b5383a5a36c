//! Tables of cases for what is left after a restart.

use std::collections::BTreeMap;

use super::*;
use crate::doctor::finding::State;
use crate::doctor::samples::{report, running};
use crate::types::{ClockDifference, Fitness, InstanceOptions};

#[test]
fn a_clock_is_judged_by_what_ec2_refuses() {
    for (seconds, state) in [
        (0, State::Passed),
        (5, State::Passed),
        (6, State::Warning),
        (239, State::Warning),
        (240, State::Failed),
        (86_400, State::Failed),
    ] {
        for is_ahead in [false, true] {
            let apart = Duration::from_secs(seconds);
            let facts =
                Facts { clock: Ok(ClockDifference { apart, is_ahead }), ..Facts::default() };
            assert_eq!(clock(&facts).unwrap().state, state, "{seconds}");
        }
    }
}

/// An instance with these interfaces and public addresses, each Elastic or not.
fn instance(interfaces: usize, public: &[bool]) -> Facts {
    let address = |(n, is_elastic): (u8, &bool)| PublicAddress {
        address: [203, 0, 113, n].into(),
        interface: format!("eni-0000000{n}").parse().unwrap(),
        is_elastic: *is_elastic,
    };
    let public = (1..).zip(public).map(address).collect();
    let options = InstanceOptions { public, interfaces, ..InstanceOptions::default() };
    Facts { instance: Ok(options), ..Facts::default() }
}

#[test]
fn an_address_that_a_stop_takes_away_or_changes_is_found() {
    for (interfaces, public, state) in [
        (1, &[true][..], State::Passed),
        (2, &[true], State::Passed),
        (1, &[false], State::Warning),
        (2, &[false], State::Failed),
        (2, &[true, false], State::Warning),
        (1, &[false, true], State::Warning),
        (1, &[], State::Warning),
    ] {
        let outcome = public_address(&instance(interfaces, public)).unwrap();
        assert_eq!(outcome.state, state, "{interfaces} {public:?}: {}", outcome.what);
    }
    let outcome = public_address(&instance(1, &[false, true])).unwrap();
    assert!(outcome.what.ends_with("it has no public address after the start"), "{}", outcome.what);
    let mut no_nat = instance(1, &[false]);
    no_nat.settings.host.nat = Some(false);
    assert_eq!(public_address(&no_nat).unwrap().state, State::NotNeeded);
}

#[test]
fn a_node_without_an_address_is_well_once_it_has_proven_its_uplink() {
    let mut proven = report();
    let facts = Facts { instance: instance(1, &[]).instance, ..running(proven.clone()) };
    assert_eq!(public_address(&facts).unwrap().state, State::Passed);
    proven.view.fitness = Fitness::unproven(Evidence::Uplink);
    let facts = Facts { instance: facts.instance, ..running(proven) };
    assert_eq!(public_address(&facts).unwrap().state, State::Warning);
}

#[test]
fn units_that_do_not_start_at_boot_fail_with_the_command() {
    let with = |setup: &str| {
        let states = [("natha-monitor", "enabled"), ("natha-setup", setup)];
        let states = states.map(|(unit, state)| (unit.to_owned(), state.to_owned()));
        units(&Facts { units: Ok(Some(BTreeMap::from(states))), ..Facts::default() }).unwrap()
    };
    assert_eq!(with("enabled").state, State::Passed);
    for (state, shown) in [
        ("disabled", "natha-setup is disabled"),
        ("enabled-runtime", "natha-setup is enabled-runtime"),
        ("", "natha-setup is not installed"),
    ] {
        let outcome = with(state);
        assert!(outcome.what.ends_with(shown), "{}", outcome.what);
        assert_eq!(outcome.remedy.unwrap(), "sudo systemctl enable natha-setup");
    }
    let none = Facts { units: Ok(None), ..Facts::default() };
    assert_eq!(units(&none).unwrap().state, State::NotNeeded);
}

#[test]
fn a_root_device_that_cannot_be_stopped_fails_where_natha_repairs() {
    for (is_ebs, repairs, free, state) in [
        (Some(true), true, 1 << 30, State::Passed),
        (Some(true), true, 1 << 20, State::Warning),
        (Some(false), true, 1 << 30, State::Failed),
        (Some(false), false, 1 << 30, State::Passed),
    ] {
        let options = InstanceOptions { root_is_ebs: is_ebs, ..InstanceOptions::default() };
        let mut facts = Facts { instance: Ok(options), free: Ok(free), ..Facts::default() };
        facts.settings.timing.repair.enabled = repairs;
        assert_eq!(root_disk(&facts).unwrap().state, state);
    }
    let unknown = Facts { instance: Ok(InstanceOptions::default()), ..Facts::default() };
    assert!(root_disk(&unknown).is_err());
}
