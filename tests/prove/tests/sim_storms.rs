//! Random faults: every rule holds throughout, and all ends at home.
//!
//! `natha-prove sim --seeds FIRST..LAST` runs others, and many more.

use natha_prove::sim::storm;

/// Four parts, so that they can run side by side.
fn usual(part: u64) {
    for seed in (0..40).filter(|seed| seed % 4 == part) {
        let storm = storm(seed);
        let breaches = &storm.breaches;
        assert!(breaches.is_empty(), "{breaches:?}; see: natha-prove sim --seed {seed} --story");
    }
}

#[test]
fn random_faults_break_no_rule_and_leave_every_group_at_home_1() {
    usual(0);
}

#[test]
fn random_faults_break_no_rule_and_leave_every_group_at_home_2() {
    usual(1);
}

#[test]
fn random_faults_break_no_rule_and_leave_every_group_at_home_3() {
    usual(2);
}

#[test]
fn random_faults_break_no_rule_and_leave_every_group_at_home_4() {
    usual(3);
}
