//! A node that AWS is about to interrupt gives its groups away on its own. Its peers take what is
//! left after a while.

use super::relief::{rested, sick, well};
use super::test_bench::*;
use super::wants::home_whose_heir_is_at;
use crate::failover::{Action, Command, EventKind, Verdict};
use crate::types::{Evidence, Fault, Fitness};

/// AWS announces that it is about to interrupt node 0.
fn announce(bench: &mut TestBench) {
    bench.fitness(Fitness::unfit(Fault::Departing));
}

#[test]
fn a_node_about_to_be_interrupted_gives_what_it_has_to_an_heir_and_does_not_leave() {
    let mut bench = rested(2);
    announce(&mut bench);
    bench.run(500);
    assert_eq!(bench.moved(), [(0, 1)]);
    let begun = bench.events(EventKind::HandOverBegun);
    assert!(begun[0].text.contains("AWS is about to interrupt this node"), "{begun:?}");
    bench.run(1_000);
    assert_eq!(bench.events(EventKind::HandOverDone).len(), 1, "{:#?}", bench.texts());
    let leaves = |one: &Action| matches!(one, Action::SendBeat { beat, .. } if beat.leaving);
    assert_eq!(bench.count(leaves), 0, "its peers still start it if AWS stops it");
    assert_eq!(bench.count(|action| *action == Action::MayExit), 0);
}

#[test]
fn it_keeps_what_no_peer_can_take_until_one_can() {
    for fault in [Fault::Departing, Fault::Uplink] {
        let mut bench = rested(2);
        sick(&mut bench, 1, fault);
        bench.run(300);
        announce(&mut bench);
        bench.run(60_000);
        assert_eq!(bench.moved(), [], "{fault}");
        well(&mut bench, 1);
        bench.run(1_000);
        assert_eq!(bench.moved(), [(0, 1)], "{fault}");
    }
}

#[test]
fn a_node_that_has_another_fault_as_well_leaves_the_move_to_its_peers() {
    for fault in [Fault::Forwarding, Fault::Uplink] {
        let mut bench = rested(2);
        bench.fitness(Fitness { faults: [Fault::Departing, fault].into(), ..Fitness::fit() });
        bench.run(10_000);
        assert_eq!(bench.moved(), [], "{fault}");
    }
}

#[test]
fn it_prefers_a_proven_heir() {
    for kind in Evidence::ALL {
        let mut bench = rested(3);
        bench.beat_mut(1).fitness = Fitness::unproven(kind);
        bench.run(500);
        announce(&mut bench);
        bench.run(500);
        assert_eq!(bench.moved(), [(0, 2)], "{kind}");
    }
}

#[test]
fn an_order_decides_which_heir_gets_the_group() {
    for to in [1, 2] {
        let mut bench = rested(3);
        bench.command(Command::HandOver { group: group(0).name, to: Some(id(to)) });
        announce(&mut bench);
        bench.run(500);
        assert_eq!(bench.moved(), [(0, to)]);
    }
}

#[test]
fn a_latched_node_gives_nothing_away_because_of_a_notice() {
    let mut bench = rested(2);
    bench.command(Command::Latch { by: "ann".to_owned(), reason: "new firewall".to_owned() });
    announce(&mut bench);
    bench.run(10_000);
    assert_eq!(bench.moved(), []);
    bench.command(Command::Unlatch);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(0, 1)]);
}

#[test]
fn an_heir_takes_after_a_while_what_it_was_not_given() {
    let mut bench = rested(2);
    sick(&mut bench, 1, Fault::Departing);
    bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
    bench.run(2_900);
    assert_eq!(bench.moved(), []);
    bench.run(200);
    assert_eq!(bench.moved(), [(1, 0)]);
}

#[test]
fn the_second_heir_waits_for_the_first_as_well() {
    let mut bench = rested(3);
    let home = home_whose_heir_is_at(2);
    sick(&mut bench, home, Fault::Departing);
    bench.run_until(500, |bench| bench.verdict(home) == Verdict::Sick);
    bench.run(5_900);
    assert_eq!(bench.moved(), []);
    bench.run(200);
    assert_eq!(bench.moved(), [(home, 0)]);
}

/// Node 0 was given the group of node 1, which is about to be interrupted.
fn given(bench: &mut TestBench) {
    sick(bench, 1, Fault::Departing);
    bench.run(300);
    bench.routes.insert(table(1), to(0));
    bench.run(2_500);
}

#[test]
fn an_heir_that_was_given_the_group_takes_nothing_and_keeps_it_while_the_notice_stands() {
    let mut bench = rested(2);
    given(&mut bench);
    bench.run(120_000);
    assert_eq!(bench.moved(), []);
    well(&mut bench, 1);
    let took = bench.run_until(60_000, |bench| bench.moved() == [(1, 1)]);
    assert!((secs(30)..=secs(31)).contains(&took), "{took:?}");
}

#[test]
fn a_notice_soon_after_a_hand_back_doubles_the_hold() {
    let mut bench = rested(2);
    bench.routes.insert(table(1), to(0));
    bench.run_until(60_000, |bench| !bench.events(EventKind::HandOverDone).is_empty());
    assert_eq!(bench.moved(), [(1, 1)]);
    given(&mut bench);
    well(&mut bench, 1);
    let took = bench.run_until(120_000, |bench| bench.moved() == [(1, 1), (1, 1)]);
    // The heir must have had the group for as long, since it read that: at most 10 s later.
    assert!((secs(60)..=secs(71)).contains(&took), "{took:?}");
}
