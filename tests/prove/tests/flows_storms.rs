//! Replication under random faults: every rule holds throughout, and every heir ends up with what
//! its owners have.
//!
//! `natha-prove flows --seeds FIRST..LAST` runs others, and many more.

use std::ops::Range;

use natha_prove::flows::{Tried, storm};

fn kept(seeds: Range<u64>) -> Tried {
    let mut tried = Tried::default();
    for seed in seeds {
        let run = storm(seed);
        let told = format!("natha-prove flows --seed {seed} --story");
        assert!(run.breaches.is_empty(), "{:?}; see: {told}", run.breaches);
        tried.include(&run.tried);
    }
    tried
}

#[test]
fn random_faults_leave_every_heir_with_its_owners_connections_1() {
    kept(0..5);
}

#[test]
fn random_faults_leave_every_heir_with_its_owners_connections_2() {
    kept(5..10);
}

/// A rule that never had anything to judge would hold for no reason.
#[test]
fn every_rule_of_replication_has_something_to_judge() {
    let tried = kept(10..18);
    assert!(tried.compared > 1_000 && tried.connections > 10_000, "{tried:?}");
    assert!(tried.inserted > 100 && tried.booted > 0 && tried.moves > 0, "{tried:?}");
    for fault in ["BadTag", "OutOfOrder", "Refused(Settings)"] {
        assert!(tried.faults.contains_key(fault), "{fault}: {tried:?}");
    }
}

#[test]
fn replication_goes_the_same_way_for_the_same_seed() {
    let [first, second] = [storm(3), storm(3)];
    assert_eq!(first.story, second.story);
    assert_eq!(first.tried, second.tried);
}
