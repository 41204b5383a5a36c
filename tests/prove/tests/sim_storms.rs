//! Random faults: every rule holds throughout, and all ends at home.
//!
//! `natha-prove sim --seeds FIRST..LAST` runs others, and many more.

use natha_prove::sim::{Made, storm};

/// Four parts, so that they can run side by side.
fn usual(part: u64) {
    kept((0..40).filter(|seed| seed % 4 == part), Made::Plain, "");
}

fn kept(seeds: impl Iterator<Item = u64>, made: Made, option: &str) {
    for seed in seeds {
        let breaches = storm(seed, made).breaches;
        let told = format!("natha-prove sim{option} --seed {seed} --story");
        assert!(breaches.is_empty(), "{breaches:?}; see: {told}");
    }
}

fn several(part: u64) {
    kept((0..9).filter(|seed| seed % 3 == part), Made::Several, " --several");
}

#[test]
fn random_faults_leave_groups_of_several_kinds_whole_and_at_home_1() {
    several(0);
}

#[test]
fn random_faults_leave_groups_of_several_kinds_whole_and_at_home_2() {
    several(1);
}

#[test]
fn random_faults_leave_groups_of_several_kinds_whole_and_at_home_3() {
    several(2);
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
