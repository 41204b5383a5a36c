//! A roster that lacks what exists: nothing is moved or stopped because of it.

use super::test_bench::*;
use crate::config::Timing;
use crate::failover::{Action, EventKind, Input, Level, Verdict};
use crate::types::{InstanceState, Roster};

/// The roster of two nodes without node 1.
fn without_peer() -> Roster {
    let mut roster = roster(2);
    roster.members.remove(1);
    roster
}

fn beats_to(bench: &TestBench, n: usize) -> usize {
    bench.count(|action| matches!(action, Action::SendBeat { to, .. } if *to == id(n)))
}

#[test]
fn a_peer_that_is_heard_stays_a_member_whatever_a_roster_lacks() {
    let mut bench = TestBench::new(2);
    for _ in 0..3 {
        bench.give(Input::Roster { roster: without_peer() });
        let before = beats_to(&bench, 1);
        bench.run(60_000);
        assert!(beats_to(&bench, 1) > before + 500, "it is still sent heartbeats");
    }
    assert_eq!(bench.verdict(1), Verdict::Alive);
    assert_eq!(bench.view().groups[&group(1).name].holder, Some(id(1)));
    assert_eq!((bench.moved(), bench.stops()), (vec![], vec![]));
    let told = bench.events(EventKind::Verdict);
    let told: Vec<_> = told.iter().filter(|event| event.text.contains("stays a member")).collect();
    assert_eq!((told.len(), told[0].level), (1, Level::Warning), "{:?}", bench.texts());
    assert_eq!(bench.machine.peers().count(), 1);
}

#[test]
fn a_peer_that_no_roster_lists_is_taken_over_when_it_dies_and_never_stopped() {
    let mut bench = TestBench::new(2);
    bench.give(Input::Roster { roster: without_peer() });
    bench.run(5_000);
    bench.lose(1);
    bench.run(2_000);
    assert_eq!(bench.moved(), [(1, 0)]);
    bench.run(300_000);
    assert_eq!((bench.stops(), bench.starts()), (vec![], 0));
    assert!(bench.view().peers.is_empty(), "it is dropped in the end");
}

#[test]
fn a_peer_that_is_not_heard_goes_with_the_roster_that_lacks_it() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(20_000);
    bench.give(Input::Roster { roster: without_peer() });
    assert!(bench.view().peers.is_empty());
}

#[test]
fn a_stopped_peer_that_no_roster_lists_is_not_started() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(300_000, |bench| !bench.stops().is_empty());
    bench.power.insert(id(1), report(InstanceState::Stopped));
    bench.give(Input::Roster { roster: without_peer() });
    bench.run(120_000);
    assert_eq!(bench.starts(), 0);
}

#[test]
fn after_an_incomplete_first_roster_no_node_adopts_a_peer_s_routes() {
    let timing = Timing { adopt: true, ..timing() };
    let mut bench = TestBench::of(0, &without_peer(), timing);
    bench.routes.insert(table(1), to(1));
    bench.power.insert(id(1), report(InstanceState::Running));
    bench.run(20_000);
    // Its heartbeats have made discovery ask for it.
    bench.give(Input::Roster { roster: roster(2) });
    bench.beats.insert(1, TestBench::fine(0));
    bench.echo.insert(1);
    bench.run(60_000);
    assert_eq!(bench.verdict(1), Verdict::Alive);
    assert_eq!(bench.moved(), []);
}
