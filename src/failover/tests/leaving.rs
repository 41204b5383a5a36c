//! A node that leaves: it gives away what it has, and goes when nothing leads to it any more.

use super::test_bench::*;
use super::wants::home_whose_heir_is_at;
use crate::failover::order::heirs;
use crate::failover::{Action, Command, EventKind, Verdict};
use crate::types::{Fault, Fitness, InstanceId};

#[test]
fn a_leaving_node_gives_what_it_has_to_the_first_of_the_others_and_goes() {
    let mut bench = TestBench::new(3);
    bench.routes.insert(table(1), to(0));
    bench.run(10_500);
    bench.command(Command::Leave);
    bench.run(50);
    let others: Vec<InstanceId> = (1..3).map(id).collect();
    let heir = heirs(&group(0).name, &[id(0)], &others)[0];
    let heir = usize::from(*heir == id(2)) + 1;
    assert_eq!(bench.moved(), [(0, heir), (1, 1)]);
    let told = bench.events(EventKind::HandOverBegun);
    assert!(told[0].text.contains("this node is leaving"), "{told:?}");
    let exits = |bench: &TestBench| bench.count(|action| *action == Action::MayExit);
    assert_eq!(exits(&bench), 0, "not before a read confirms it");
    bench.run(1_000);
    assert_eq!(exits(&bench), 1);
}

#[test]
fn a_leaving_node_waits_for_the_outcome_of_its_write() {
    for stage in [Answer::Never, Answer::Lost, Answer::Yes] {
        let mut bench = TestBench::new(2);
        bench.writes = stage;
        bench.reads = Answer::Never;
        bench.command(Command::Leave);
        bench.run(1_000);
        assert_eq!(bench.moved(), [(0, 1)]);
        let exits = bench.count(|action| *action == Action::MayExit);
        assert_eq!(exits, 0, "{stage:?}: it may hold it still");
    }
}

#[test]
fn a_leaving_node_that_cannot_read_does_not_take_its_routes_for_given() {
    let mut bench = TestBench::new(2);
    bench.reads = Answer::Never;
    bench.run(10_000);
    bench.command(Command::Leave);
    bench.run(2_000);
    let exits = bench.count(|action| *action == Action::MayExit);
    assert_eq!((bench.moved(), exits), (vec![], 0));
}

#[test]
fn a_leaving_node_waits_for_a_takeover_that_is_under_way() {
    let mut bench = TestBench::new(3);
    let first = home_whose_heir_is_at(1);
    bench.routes.insert(table(0), to(3 - first));
    bench.run(11_000);
    bench.writes = Answer::Never;
    bench.lose(first);
    bench.run(1_000);
    bench.command(Command::Leave);
    bench.run(2_000);
    let exits = bench.count(|action| *action == Action::MayExit);
    assert_eq!((bench.moved(), exits), (vec![(first, 0)], 0), "it would arrive at nobody");
}

#[test]
fn a_leaving_node_that_holds_nothing_or_that_nobody_can_relieve_goes_at_once() {
    let empty = |bench: &mut TestBench| {
        bench.routes.insert(table(0), to(1));
        bench.run(10_500);
    };
    let alone = |bench: &mut TestBench| {
        bench.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
        bench.run(2_500);
    };
    for stage in [empty, alone] {
        let mut bench = TestBench::new(2);
        stage(&mut bench);
        bench.command(Command::Leave);
        bench.run(100);
        let exits = bench.count(|action| *action == Action::MayExit);
        assert_eq!(exits, 1);
    }
}

/// A peer that said goodbye, and whose heartbeats then ended.
fn left() -> TestBench {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).leaving = true;
    bench.run(1_000);
    bench.lose(1);
    bench
}

#[test]
fn a_goodbye_explains_two_minutes_of_silence() {
    let mut bench = left();
    bench.run(119_000);
    assert_eq!(bench.verdict(1), Verdict::Leaving);
    assert_eq!(bench.moved(), [(1, 0)]);
    bench.run(2_000);
    assert_eq!(bench.verdict(1), Verdict::Unreachable);
    let mut bench = left();
    bench.echo.insert(1);
    bench.run(121_000);
    assert_eq!(bench.verdict(1), Verdict::DaemonDown, "its monitor is stopped, as was announced");
}

#[test]
fn a_peer_that_said_goodbye_is_repaired_only_if_ec2_finds_it_broken() {
    for broken in [false, true] {
        let mut bench = left();
        bench.run(60_000);
        if broken {
            bench.power.insert(id(1), impaired());
        }
        bench.run(240_000);
        assert_eq!(bench.stops().len(), usize::from(broken), "{:?}", bench.texts());
    }
}

#[test]
fn a_peer_that_said_goodbye_and_acts_again_is_not_robbed_again_and_again() {
    let mut bench = left();
    bench.run(30_000);
    assert_eq!(bench.moved(), [(1, 0)]);
    // It is back, with a key that this node does not have.
    bench.routes.insert(table(1), to(1));
    bench.run(60_000);
    assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Partitioned, vec![(1, 0)]));
    bench.run(120_000);
    assert_eq!(
        (bench.verdict(1), bench.moved().len(), bench.stops().len()),
        (Verdict::Partitioned, 1, 0)
    );
}
