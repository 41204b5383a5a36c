//! When EC2 is asked, how often, and what its answers mean.

use super::test_bench::*;
use crate::failover::{Action, ActionId, EventKind, Input, Level, Outcome, Verdict};
use crate::types::{
    Claim, CloudFaultKind, Fault, Fitness, InstanceState, PowerReport, Roster, StopOrigin, Time,
};

fn route_reads(bench: &TestBench) -> Vec<(Time, ActionId)> {
    let read = |(at, action): &(Time, Action)| match action {
        Action::ReadRoutes { id, .. } => Some((*at, *id)),
        _ => None,
    };
    bench.told.iter().filter_map(read).collect()
}

fn power_reads(bench: &TestBench, of: usize) -> Vec<Time> {
    let is_it =
        |action: &Action| matches!(action, Action::ReadPower { node, .. } if *node == id(of));
    bench.told.iter().filter(|(_, action)| is_it(action)).map(|(at, _)| *at).collect()
}

fn gaps(at: &[Time]) -> Vec<u128> {
    at.windows(2).map(|two| two[1].since(two[0]).as_millis()).collect()
}

/// Reads of the routes and of each node's power within the next minute.
fn asked_in_a_minute(bench: &mut TestBench) -> (usize, usize, usize) {
    bench.told.clear();
    bench.run(60_000);
    (route_reads(bench).len(), power_reads(bench, 0).len(), power_reads(bench, 1).len())
}

#[test]
fn while_all_is_well_only_the_routes_are_read_and_rarely() {
    let mut bench = TestBench::new(2);
    assert_eq!(asked_in_a_minute(&mut bench), (6, 0, 0));
}

#[test]
fn all_tables_are_read_in_one_call_each_once() {
    let mut roster = roster(2);
    roster.groups[1].resources.extend([route(1), route(5)]);
    let mut bench = TestBench::new(2);
    bench.give(Input::Roster { roster });
    bench.told.clear();
    bench.run(200);
    let tables: Vec<_> = bench
        .told
        .iter()
        .filter_map(|(_, action)| match action {
            Action::ReadRoutes { tables, .. } => Some(tables.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(tables, [[table(0), table(1), table(5)]]);
}

#[test]
fn where_no_group_has_a_route_nothing_is_read() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.give(Input::Roster { roster: Roster { groups: Vec::new(), ..roster(2) } });
    bench.run(30_000);
    assert!(route_reads(&bench).is_empty());
}

fn stopped(bench: &mut TestBench, origin: StopOrigin) {
    bench.lose(1);
    bench.power.insert(id(1), stopped_by(origin));
}

#[test]
fn how_often_ec2_is_asked_follows_the_worst_peer() {
    let sick = |bench: &mut TestBench| bench.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
    let left = |bench: &mut TestBench| bench.beat_mut(1).leaving = true;
    let daemon = |bench: &mut TestBench| drop(bench.beats.remove(&1));
    let lost = |bench: &mut TestBench| bench.lose(1);
    let gone = |bench: &mut TestBench| {
        bench.lose(1);
        bench.power.insert(id(1), PowerReport { state: None, ..report(InstanceState::Running) });
    };
    let user = |bench: &mut TestBench| stopped(bench, StopOrigin::User);
    let unknown = |bench: &mut TestBench| stopped(bench, StopOrigin::Unknown);
    let stopping = |bench: &mut TestBench| {
        stopped(bench, StopOrigin::User);
        bench.power.get_mut(&id(1)).unwrap().state = Some(InstanceState::Stopping);
    };
    let cases: [(fn(&mut TestBench), _, _); 8] = [
        (sick, Verdict::Sick, (30, 0, 0)),
        (left, Verdict::Leaving, (6, 0, 6)),
        (daemon, Verdict::DaemonDown, (30, 0, 30)),
        (lost, Verdict::Unreachable, (30, 30, 30)),
        (gone, Verdict::Gone, (6, 0, 6)),
        (user, Verdict::Down, (6, 0, 6)),
        (unknown, Verdict::Down, (30, 0, 30)),
        (stopping, Verdict::Down, (30, 0, 30)),
    ];
    for (fail, verdict, asked) in cases {
        let mut timing = timing();
        timing.repair.enabled = false;
        let mut bench = TestBench::with(2, timing);
        fail(&mut bench);
        bench.run(20_000);
        let found = asked_in_a_minute(&mut bench);
        assert_eq!(bench.verdict(1), verdict);
        let near = |one: usize, other: usize| one.abs_diff(other) <= 1 + other / 10;
        let all = near(found.0, asked.0) && near(found.1, asked.1) && near(found.2, asked.2);
        assert!(all, "{verdict:?}: {found:?} instead of {asked:?}");
    }
}

#[test]
fn a_stopped_peer_that_natha_stopped_is_watched_closely() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.machine.recall([id(1)].into());
    bench.calls = Answer::No(CloudFaultKind::Capacity);
    bench.lose(1);
    bench.power.insert(id(1), stopped_by(StopOrigin::User));
    bench.run(20_000);
    assert!(asked_in_a_minute(&mut bench).2 >= 27, "it is to be started");
}

#[test]
fn reads_that_are_wanted_at_once_keep_a_tenth_of_a_second_between_them() {
    let mut bench = TestBench::new(3);
    bench.told.clear();
    for n in 0..10 {
        bench.give(Input::Roster { roster: roster(2 + n % 2) });
        bench.run(30);
    }
    let at: Vec<Time> = route_reads(&bench).into_iter().map(|(at, _)| at).collect();
    assert!(at.len() >= 3, "{at:?}");
    assert!(gaps(&at).iter().all(|gap| (100..150).contains(gap)), "{at:?}");
}

#[test]
fn while_a_group_moves_the_routes_are_read_often() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::Never;
    bench.command(crate::failover::Command::HandOver { group: group(0).name, to: Some(id(1)) });
    bench.run(1_000);
    let (routes, ..) = asked_in_a_minute(&mut bench);
    assert!((28..=31).contains(&routes), "{routes}");
}

#[test]
fn one_read_at_a_time_and_one_without_an_answer_is_given_up() {
    let mut bench = TestBench::new(2);
    bench.reads = Answer::Never;
    bench.lose(1);
    bench.told.clear();
    bench.run(50_000);
    let at: Vec<Time> = route_reads(&bench).into_iter().map(|(at, _)| at).collect();
    assert!(at.len() >= 3 && gaps(&at).iter().all(|gap| (15_000..15_200).contains(gap)), "{at:?}");
    let at = power_reads(&bench, 1);
    assert!(at.len() >= 3 && gaps(&at).iter().all(|gap| (15_000..15_200).contains(gap)), "{at:?}");
}

#[test]
fn the_answer_to_a_read_that_was_given_up_is_not_taken() {
    let mut bench = TestBench::new(2);
    bench.reads = Answer::Never;
    bench.told.clear();
    bench.run(30_000);
    let asked = route_reads(&bench);
    assert!(asked.len() >= 2);
    let outcome = Outcome::Routes { result: Ok([].into()) };
    bench.give(Input::Done { id: asked[0].1, outcome: outcome.clone() });
    assert_eq!(bench.view().groups[&group(0).name].holder, Some(id(0)));
    bench.give(Input::Done { id: asked.last().unwrap().1, outcome });
    assert_eq!(bench.view().groups[&group(0).name].holder, None);
}

#[test]
fn a_failed_read_is_told_once_and_tried_again_with_growing_waits() {
    let mut bench = TestBench::new(2);
    bench.reads = Answer::No(CloudFaultKind::Throttled);
    bench.lose(1);
    bench.told.clear();
    bench.run(60_000);
    let told = bench.events(EventKind::ApiFailed);
    assert_eq!((told.len(), told[0].level), (1, Level::Warning), "{told:?}");
    assert!(told[0].text.contains("nothing is changed because of it"), "{told:?}");
    for reads in [route_reads(&bench).iter().map(|(at, _)| *at).collect(), power_reads(&bench, 1)] {
        let waits = gaps(&reads);
        assert!(waits[0] < 2_300, "no less than the usual pace: {waits:?}");
        assert!(waits.iter().all(|wait| *wait < 10_200), "{waits:?}");
        assert!(*waits.last().unwrap() > 5_000, "{waits:?}");
        assert!((8..=14).contains(&reads.len()), "{waits:?}");
    }
    bench.reads = Answer::Yes;
    bench.run(11_000);
    let told = bench.events(EventKind::ApiFailed);
    assert_eq!((told.len(), told[1].level), (2, Level::Info));
    assert!(told[1].text.contains("can be read again"), "{told:?}");
    bench.told.clear();
    bench.run(60_000);
    assert!(route_reads(&bench).len() >= 27, "the waits are forgotten");
    assert!(power_reads(&bench, 1).len() >= 27, "the waits are forgotten");
    bench.reads = Answer::No(CloudFaultKind::Throttled);
    bench.run(5_000);
    assert_eq!(bench.events(EventKind::ApiFailed).len(), 1, "a new failure is told anew");
}

#[test]
fn a_hurried_read_that_fails_is_followed_by_a_hurried_one() {
    let mut bench = TestBench::new(2);
    bench.run(2_000);
    bench.reads = Answer::No(CloudFaultKind::Throttled);
    bench.beat_mut(1).holds = vec![Claim { group: group(1).name, generation: 1, to: None }];
    bench.run_until(500, |bench| !bench.events(EventKind::ApiFailed).is_empty());
    bench.reads = Answer::Yes;
    let before = route_reads(&bench).len();
    bench.run(600);
    assert_eq!(route_reads(&bench).len(), before + 1, "not only after the regular pace");
}

#[test]
fn an_unread_route_table_changes_nothing() {
    let mut bench = TestBench::new(2);
    bench.reads = Answer::No(CloudFaultKind::Denied);
    bench.run(20_000);
    assert_eq!(bench.view().groups[&group(1).name].holder, Some(id(1)));
    assert_eq!(bench.verdict(1), Verdict::Alive);
}

#[test]
fn a_lost_peer_s_deeds_are_seen_in_the_routes() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(3_000);
    bench.routes.insert(table(0), to(1));
    bench.run(3_000);
    assert_eq!(bench.verdict(1), Verdict::Unreachable, "one early deed may be a straggler");
    // This node takes its own back, and the peer moves it once more.
    bench.run(4_000);
    assert_eq!(bench.moved().last(), Some(&(0, 0)));
    bench.routes.insert(table(0), to(1));
    bench.run(8_000);
    assert_eq!(bench.verdict(1), Verdict::Partitioned, "{:#?}", bench.texts());
    let told = bench.events(EventKind::Verdict).pop().unwrap();
    assert!(told.text.contains("it moved 2 resource(s)"), "{told:?}");
}

#[test]
fn what_a_third_node_does_or_what_was_there_before_is_no_deed() {
    let mut bench = TestBench::new(3);
    bench.lose(1);
    bench.run(14_000);
    bench.routes.insert(table(0), to(2));
    bench.routes.insert(table(2), abroad());
    bench.run(4_000);
    assert_eq!(bench.verdict(1), Verdict::Unreachable);
    let mut bench = TestBench::new(2);
    bench.routes.insert(table(0), to(1));
    bench.run(11_000);
    bench.writes = Answer::Never;
    bench.lose(1);
    bench.run(30_000);
    assert_eq!(bench.verdict(1), Verdict::Unreachable, "moved while it was alive");
}

#[test]
fn a_route_seen_for_the_first_time_is_nobody_s_deed() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run(15_000);
    bench.pause(1_000);
    bench.routes.insert(table(0), to(1));
    bench.run(1_000);
    assert_eq!(bench.verdict(1), Verdict::Unreachable);
}

#[test]
fn a_read_that_was_begun_before_a_retry_s_time_does_not_bring_it_forward() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::State);
    bench.lose(1);
    bench.run(5_000);
    let writes = bench.moved().len();
    assert!(writes <= 3, "{writes} writes in five seconds with waits of one to two and more");
}

#[test]
fn this_node_s_own_state_is_read_and_kept_apart() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.power.insert(id(0), stopped_by(StopOrigin::User));
    bench.run(3_000);
    let power = bench.peer(1).power.unwrap();
    assert_eq!(power.state, Some(InstanceState::Running));
    assert_eq!(bench.verdict(1), Verdict::Unreachable);
    assert!(bench.peer(1).power_age.unwrap() <= secs(3));
}

#[test]
fn a_stale_read_makes_no_dead_peer_live() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(5_000, |bench| bench.moved() == [(1, 0)]);
    bench.run(500);
    assert_eq!(bench.view().groups[&group(1).name].holder, Some(id(0)));
    // For as long as reads may be old, every other one shows the state before the write.
    for _ in 0..8 {
        bench.routes.insert(table(1), to(1));
        bench.run(250);
        bench.routes.insert(table(1), to(0));
        bench.run(250);
    }
    assert_eq!(bench.verdict(1), Verdict::Unreachable, "{:?}", bench.texts());
    assert_eq!(bench.moved(), [(1, 0)], "it is not written again");
    bench.run(80_000);
    assert_eq!(bench.stops(), [(1, false)], "and it is repaired");
}
