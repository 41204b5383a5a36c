//! The fallback of a group: when its routes go there, when not, and when they come back.

use super::relief::{rested, sick, well};
use super::test_bench::*;
use crate::failover::{Command, EventKind, Level, Verdict};
use crate::types::{
    Evidence, Fault, Fitness, InstanceState, NatGatewayId, Roster, RouteEntry, RouteTarget,
    StopOrigin,
};

fn gateway() -> NatGatewayId {
    "nat-0123abcd".parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "as the bench has all targets")]
fn at_gateway() -> Option<RouteEntry> {
    Some(RouteEntry::active(RouteTarget::Other(gateway().to_string())))
}

/// A cluster whose groups all have a fallback.
fn with_fallback(nodes: usize) -> Roster {
    let mut roster = roster(nodes);
    for group in &mut roster.groups {
        group.traits.fallback = Some(gateway());
    }
    roster
}

fn bench_of(roster: &Roster) -> TestBench {
    let mut bench = TestBench::of(0, roster, timing());
    bench.run(13_000);
    bench
}

fn bench(nodes: usize) -> TestBench {
    bench_of(&with_fallback(nodes))
}

fn stop(bench: &mut TestBench, n: usize) {
    bench.lose(n);
    bench.power.insert(id(n), stopped_by(StopOrigin::User));
}

fn alerts(bench: &TestBench) -> Vec<String> {
    let alerts = bench.events(EventKind::Fallback).into_iter();
    alerts.filter(|event| event.level == Level::Alert).map(|event| event.text).collect()
}

/// Node 0 cannot forward, and its peer is stopped: after the pause both tables are at the gateway.
fn both_out() -> TestBench {
    let mut bench = bench(2);
    bench.fitness(Fitness::unfit(Fault::Forwarding));
    stop(&mut bench, 1);
    bench.run(25_000);
    assert_eq!(bench.moved(), [(0, GATEWAY), (1, GATEWAY)]);
    bench
}

#[test]
fn all_routes_go_to_the_fallback_once_no_node_has_been_able_to_serve_for_a_while() {
    let mut bench = bench(2);
    bench.fitness(Fitness::unfit(Fault::Forwarding));
    stop(&mut bench, 1);
    bench.run_until(1_000, |bench| bench.verdict(1) == Verdict::Down);
    bench.run(9_900);
    assert_eq!(bench.moved(), []);
    bench.run(500);
    assert_eq!(bench.moved(), [(0, GATEWAY), (1, GATEWAY)]);
    bench.run(120_000);
    assert_eq!(bench.moved().len(), 2, "nothing more is written");
    let told = alerts(&bench);
    assert!(told.len() == 2 && told[0].contains("nat-0123abcd"), "{told:?}");
    assert_eq!(bench.events(EventKind::Foreign), []);
    let view = &bench.view().groups[&group(0).name];
    assert_eq!((&view.holder, &view.fallback), (&None, &Some(gateway())));
}

#[test]
fn without_a_fallback_nothing_of_that_happens() {
    let mut bench = rested(2);
    bench.fitness(Fitness::unfit(Fault::Forwarding));
    stop(&mut bench, 1);
    bench.run(120_000);
    assert_eq!((bench.moved(), bench.events(EventKind::Fallback)), (vec![], vec![]));
}

#[test]
fn a_group_that_a_node_may_still_serve_does_not_go_there() {
    type Change = fn(&mut TestBench);
    let cases: [(&str, Change); 5] = [
        ("unproven here", |bench| {
            bench.fitness(Fitness::unproven(Evidence::Transit));
            sick(bench, 1, Fault::Forwarding);
            bench.routes.insert(table(1), to(0));
        }),
        ("unproven there", |bench| {
            bench.fitness(Fitness::unfit(Fault::Forwarding));
            bench.beat_mut(1).fitness = Fitness::unproven(Evidence::Uplink);
        }),
        ("partitioned or dead", |bench| {
            bench.fitness(Fitness::unfit(Fault::Forwarding));
            bench.lose(1);
        }),
        ("the targets of all uplinks are silent", |bench| {
            bench.fitness(Fitness::unfit(Fault::Uplink));
            sick(bench, 1, Fault::Uplink);
        }),
        ("its monitor restarts", |bench| {
            bench.fitness(Fitness::unfit(Fault::Forwarding));
            bench.beat_mut(1).restarting = true;
        }),
    ];
    for (case, change) in cases {
        let mut bench = bench(2);
        change(&mut bench);
        bench.run(180_000);
        let there = bench.moved().into_iter().filter(|(_, to)| *to == GATEWAY).count();
        assert_eq!(there, 0, "{case}: {:?}", bench.moved());
    }
}

#[test]
fn a_peer_whose_monitor_alone_is_dead_keeps_what_it_holds_and_counts_for_nothing_else() {
    let mut bench = bench(2);
    bench.fitness(Fitness::unfit(Fault::Forwarding));
    bench.beats.remove(&1);
    bench.run(180_000);
    assert_eq!((bench.verdict(1), bench.moved()), (Verdict::DaemonDown, vec![(0, GATEWAY)]));
}

#[test]
fn the_last_resort_without_a_sign_that_the_fault_is_its_own_holds_the_group_as_ever() {
    let mut bench = bench(2);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    sick(&mut bench, 1, Fault::Uplink);
    bench.run(5_000);
    stop(&mut bench, 1);
    bench.run(120_000);
    assert_eq!(bench.moved(), [(1, 0)]);
}

#[test]
fn forwarding_that_fails_on_all_nodes_counts_when_it_lasts() {
    for (lasts, moved) in [(29_000, vec![]), (31_000, vec![(0, GATEWAY)])] {
        let mut bench = bench(2);
        bench.fitness(Fitness::unfit(Fault::Transit));
        sick(&mut bench, 1, Fault::Transit);
        bench.run(lasts);
        bench.fitness(Fitness::fit());
        well(&mut bench, 1);
        bench.run(2_000);
        // Of its peer's group, the peer would write first.
        assert_eq!(bench.moved(), moved, "{lasts} ms");
    }
}

#[test]
fn an_uplink_that_fails_here_alone_counts_once_another_node_says_that_its_own_works() {
    let mut bench = bench(2);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    sick(&mut bench, 1, Fault::SourceDestCheck);
    bench.run(29_000);
    assert_eq!(bench.moved(), []);
    bench.run(2_000);
    assert_eq!(bench.moved(), [(0, GATEWAY)]);
}

#[test]
fn the_next_member_writes_where_the_one_before_it_does_not() {
    let mut bench = bench(2);
    bench.fitness(Fitness::unfit(Fault::Forwarding));
    sick(&mut bench, 1, Fault::Forwarding);
    bench.run(12_000);
    assert_eq!(bench.moved(), [(0, GATEWAY)], "the other group's holder goes first");
    bench.run(3_000);
    assert_eq!(bench.moved(), [(0, GATEWAY), (1, GATEWAY)]);
}

#[test]
fn a_node_that_is_drained_gives_its_group_to_the_fallback_after_a_moment() {
    let mut bench = bench(2);
    stop(&mut bench, 1);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(1, 0)]);
    bench.command(Command::Leave);
    bench.run(3_000);
    assert_eq!(bench.moved().len(), 1);
    bench.run(2_000);
    assert_eq!(bench.moved()[1..], [(0, GATEWAY), (1, GATEWAY)]);
    bench.run(100);
    assert!(bench.count(|action| matches!(action, crate::failover::Action::MayExit)) > 0);
}

/// Both begin planned work at one moment, and hear it; the second one takes part again.
#[test]
fn of_two_nodes_that_are_drained_together_the_fallback_gets_nothing() {
    let mut bench = bench(2);
    bench.beat_mut(1).leaving = true;
    bench.run(200);
    bench.command(Command::Leave);
    bench.run(4_000);
    assert_eq!(bench.moved(), []);
    bench.beat_mut(1).leaving = false;
    bench.run(2_000);
    assert_eq!(bench.moved(), [(0, 1)]);
}

#[test]
fn a_drained_node_does_it_for_a_peer_that_dies_later() {
    let mut bench = bench(2);
    bench.command(Command::Leave);
    bench.run(2_000);
    assert_eq!(bench.moved(), [(0, 1)]);
    stop(&mut bench, 1);
    bench.run(15_000);
    assert_eq!(bench.moved()[1..], [(0, GATEWAY), (1, GATEWAY)]);
}

#[test]
fn a_node_that_has_been_proven_for_the_hold_takes_its_routes_back() {
    let mut bench = both_out();
    bench.fitness(Fitness::unproven(Evidence::Transit));
    bench.run(60_000);
    assert_eq!(bench.moved().len(), 2, "it is not proven");
    bench.fitness(Fitness::fit());
    bench.run(29_500);
    assert_eq!(bench.moved().len(), 2);
    bench.run(1_000);
    assert_eq!(bench.moved()[2..], [(0, 0), (1, 0)], "no other node can take the second one");
    bench.run(2_000);
    let last = bench.events(EventKind::Fallback).pop().unwrap();
    assert_eq!(last.level, Level::Info, "{last:?}");
    assert_eq!(bench.view().groups[&group(0).name].fallback, None);
}

#[test]
fn a_group_that_goes_there_again_soon_comes_back_later() {
    let mut bench = both_out();
    let returned = |bench: &TestBench| bench.routes[&table(0)] == to(0);
    let mut waits = Vec::new();
    for _ in 0..3 {
        bench.fitness(Fitness::fit());
        waits.push(bench.run_until(300_000, returned).as_secs());
        bench.run(5_000);
        bench.fitness(Fitness::unfit(Fault::Forwarding));
        bench.run(20_000);
        assert_eq!(bench.routes[&table(0)], at_gateway());
    }
    assert_eq!(waits, [30, 60, 120]);
}

#[test]
fn a_fallback_that_ec2_refuses_is_done_without_for_a_minute() {
    let mut bench = bench(2);
    bench.fitness(Fitness::unfit(Fault::Transit));
    bench.writes = Answer::No(crate::types::CloudFaultKind::State);
    stop(&mut bench, 1);
    bench.run_until(60_000, |bench| !bench.moved().is_empty());
    bench.writes = Answer::Yes;
    bench.run(10_000);
    let refused = bench.events(EventKind::Fallback);
    let refused: Vec<&str> = refused
        .iter()
        .filter(|event| event.level == Level::Alert)
        .map(|event| event.text.as_str())
        .collect();
    assert!(refused.len() == 2 && refused[0].contains("EC2 refuses"), "{refused:?}");
    assert_eq!(bench.routes[&table(1)], to(0), "the last resort, as without a fallback");
    assert_eq!(bench.routes[&table(0)], to(0), "it keeps what it holds");
    bench.run(60_000);
    assert_eq!(bench.routes[&table(0)], at_gateway(), "natha tries it again");
}

#[test]
fn a_gateway_that_is_deleted_leaves_a_blackhole_like_any_other() {
    let mut bench = both_out();
    bench.fitness(Fitness::fit());
    for n in 0..2 {
        let target = RouteTarget::Other(gateway().to_string());
        bench.routes.insert(table(n), Some(RouteEntry { target, blackhole: true }));
    }
    bench.run(15_000);
    assert_eq!(bench.routes[&table(0)], to(0), "its hold does not count");
}

#[test]
fn a_group_that_allows_only_its_egress_ips_does_not_go_there() {
    let mut strict = with_fallback(2);
    for group in &mut strict.groups {
        group.egress.strict = true;
    }
    let mut bench = bench_of(&strict);
    bench.fitness(Fitness::unfit(Fault::Forwarding));
    stop(&mut bench, 1);
    bench.run(120_000);
    assert_eq!(bench.moved(), []);
}

#[test]
fn the_latch_holds_back_what_no_drain_asks_for() {
    let mut bench = bench(2);
    bench.command(Command::Latch { by: "ann".to_owned(), reason: "work".to_owned() });
    bench.fitness(Fitness::unfit(Fault::Forwarding));
    stop(&mut bench, 1);
    bench.run(60_000);
    assert_eq!(bench.moved(), []);
    bench.command(Command::Leave);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(0, GATEWAY)], "its own group alone");
    bench.command(Command::Unlatch);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(0, GATEWAY), (1, GATEWAY)]);
}

#[test]
fn a_dead_peer_is_not_stopped_because_its_group_is_at_the_fallback() {
    let mut bench = both_out();
    bench.power.insert(id(1), report(InstanceState::Running));
    bench.fitness(Fitness::fit());
    bench.run(29_000);
    assert_eq!(bench.stops(), []);
}
