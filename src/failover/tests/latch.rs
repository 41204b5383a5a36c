//! The latch: what a latched node leaves alone, what it completes, and whose latch counts.

use std::collections::BTreeSet;

use super::kinds::bench_of;
use super::repairs::{MINUTES, ec2_says, held, stopped};
use super::test_bench::*;
use crate::failover::{Action, Command, EventKind, Input, Latches};
use crate::types::{CloudFaultKind, Hears, InstanceState, Roster, SessionId, Traits};

fn latch(bench: &mut TestBench) {
    bench.command(Command::Latch { by: "ann".to_owned(), reason: "new firewall".to_owned() });
}

/// The latched flag of the last heartbeat.
fn says_latched(bench: &TestBench) -> bool {
    let beats = bench.told.iter().rev().find_map(|(_, action)| match action {
        Action::SendBeat { beat, .. } => Some(beat.latched),
        _ => None,
    });
    beats.unwrap()
}

#[test]
fn a_latched_node_takes_nothing_and_stops_no_peer_until_it_is_unlatched() {
    let mut bench = TestBench::new(2);
    latch(&mut bench);
    bench.run(100);
    assert!(says_latched(&bench));
    bench.lose(1);
    bench.run(MINUTES);
    assert!(bench.writes().is_empty() && bench.stops().is_empty(), "{:#?}", bench.texts());
    assert!(held(&bench).iter().any(|text| text.contains("latched")), "{:#?}", bench.texts());
    bench.command(Command::Unlatch);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(1, 0)]);
    assert!(!says_latched(&bench));
    let told: Vec<String> =
        bench.events(EventKind::Latch).into_iter().map(|event| event.text).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("latched on this node"), "{told:?}");
}

#[test]
fn a_latched_node_corrects_and_hands_back_nothing() {
    for routes in [None, to(0)] {
        let mut bench = TestBench::new(2);
        latch(&mut bench);
        bench.routes.insert(table(1), routes.clone());
        bench.run(120_000);
        assert!(bench.writes().is_empty(), "{routes:?}: {:#?}", bench.texts());
        bench.command(Command::Unlatch);
        bench.run_until(120_000, |bench| !bench.writes().is_empty());
    }
}

#[test]
fn a_move_that_has_begun_is_completed() {
    let resources = [route(1), route(2)];
    let mut bench = bench_of(2, 1, &resources, Traits::default());
    bench.routes.insert(table(2), to(1));
    bench.run(11_000);
    bench.writes = Answer::No(CloudFaultKind::Throttled);
    bench.lose(1);
    bench.run_until(2_000, |bench| bench.writes().len() == 2);
    latch(&mut bench);
    bench.writes = Answer::Yes;
    bench.run(20_000);
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 1, "{:#?}", bench.texts());
}

#[test]
fn a_peer_that_was_stopped_is_started_though_the_node_is_latched() {
    let mut bench = stopped();
    latch(&mut bench);
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run(5_000);
    assert_eq!(bench.starts(), 1);
}

#[test]
fn a_peer_that_another_member_stopped_is_not_started() {
    for latched in [false, true] {
        let mut bench = TestBench::new(3);
        bench.beat_mut(2).hears.push(Hears {
            node: id(1),
            session: SessionId(101),
            age_ms: 1_000,
            failed: true,
            stopped: true,
        });
        bench.lose(1);
        bench.run(1_000);
        if latched {
            latch(&mut bench);
        }
        bench.lose(2);
        ec2_says(&mut bench, InstanceState::Stopped);
        bench.run(120_000);
        assert_eq!(bench.starts() == 0, latched, "{:#?}", bench.texts());
    }
}

#[test]
fn orders_are_carried_out() {
    let mut bench = TestBench::new(2);
    latch(&mut bench);
    bench.command(Command::HandOver { group: group(0).name, to: Some(id(1)) });
    bench.run(1_000);
    assert_eq!(bench.moved(), [(0, 1)]);
    let mut bench = TestBench::new(2);
    latch(&mut bench);
    bench.command(Command::Leave);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(0, 1)]);
}

#[test]
fn the_latch_of_a_peer_counts_until_its_heartbeats_lack_it() {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).latched = true;
    bench.run(1_000);
    assert!(!says_latched(&bench), "only the node that has it spreads it");
    bench.lose(1);
    bench.run(60_000);
    assert!(bench.writes().is_empty(), "a silent node may be what the work is about");
    bench.beats.insert(1, TestBench::fine(0));
    bench.run(1_000);
    bench.lose(1);
    bench.run(2_000);
    assert_eq!(bench.moved(), [(1, 0)]);
}

#[test]
fn the_latch_of_a_silent_peer_can_be_ended_and_that_of_one_that_speaks_returns() {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).latched = true;
    bench.run(1_000);
    bench.command(Command::Unlatch);
    bench.run(1_000);
    assert!(bench.view().latches.is_latched());
    bench.lose(1);
    bench.run(1_000);
    bench.command(Command::Unlatch);
    bench.run(1_000);
    assert!(!bench.view().latches.is_latched());
    assert_eq!(bench.moved(), [(1, 0)]);
}

#[test]
fn a_restart_keeps_the_latch_and_a_node_that_is_no_member_has_none() {
    let mut bench = TestBench::starting(0, 2, timing());
    let peers = BTreeSet::from([id(1), id(7)]);
    bench.machine.recall_latches(Latches { here: false, peers });
    bench.run(3_000);
    let without = Latches { here: false, peers: BTreeSet::new() };
    assert_eq!(*bench.machine.latches(), without, "node 1 speaks and lacks it, node 7 is unknown");
    bench.machine.recall_latches(Latches { here: true, ..without });
    bench.lose(1);
    bench.run(60_000);
    assert!(bench.writes().is_empty());
    let alone = Roster { members: vec![member(0)], ..roster(1) };
    bench.give(Input::Roster { roster: alone });
    bench.run(1_000);
    assert!(bench.view().latches.here);
}

#[test]
fn a_drained_node_takes_part_again_after_an_undrain() {
    let mut bench = TestBench::new(2);
    bench.command(Command::Leave);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(0, 1)]);
    bench.lose(1);
    bench.run(2_000);
    assert_eq!(bench.moved(), [(0, 1)], "a drained node takes nothing");
    bench.command(Command::Stay);
    bench.run(2_000);
    assert_eq!(bench.moved().len(), 3, "both tables of the lost peer: {:?}", bench.moved());
}
