//! From wishes to writes: what a write needs, what becomes of it, and what is told.

use super::test_bench::*;
use crate::config::Timing;
use crate::failover::{Action, ActionId, Command, EventKind, Input, Level, Outcome};
use crate::types::{Claim, CloudFaultKind, Fault, Fitness, Roster, Time};

fn hand_over(to: usize) -> Command {
    Command::HandOver { group: group(0).name, to: Some(id(to)) }
}

/// When the machine wrote a route.
fn written_at(bench: &TestBench) -> Vec<Time> {
    let is_write = |action: &Action| matches!(action, Action::WriteRoute { .. });
    bench.told.iter().filter(|(_, action)| is_write(action)).map(|(at, _)| *at).collect()
}

fn generation(bench: &TestBench, of: usize) -> u32 {
    bench.view().groups[&group(of).name].generation
}

#[test]
fn a_takeover_s_first_write_waits_for_no_read() {
    let mut bench = TestBench::new(2);
    bench.run(6_000);
    bench.reads = Answer::Never;
    bench.run(10_000);
    bench.lose(1);
    bench.run(400);
    assert_eq!(bench.moved(), [(1, 0)], "the last read is older than reads are valid");
}

#[test]
fn any_other_write_waits_for_a_read_that_is_valid() {
    let mut bench = TestBench::new(2);
    // The read at the start was the only one.
    bench.reads = Answer::Never;
    bench.run(3_000);
    bench.command(hand_over(1));
    bench.run(5_000);
    assert_eq!(bench.moved(), []);
    bench.reads = Answer::Yes;
    bench.run(15_000);
    assert_eq!(bench.moved(), [(0, 1)], "an order stays while nothing is known");
}

#[test]
fn a_read_is_valid_for_its_time() {
    let mut bench = TestBench::new(2);
    bench.reads = Answer::Never;
    bench.run(1_500);
    bench.command(hand_over(1));
    bench.run(200);
    assert_eq!(bench.moved(), [(0, 1)], "4.5 s old");
}

#[test]
fn after_a_failed_write_the_routes_are_read_before_the_next() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::NotFound);
    bench.reads = Answer::Never;
    bench.lose(1);
    bench.run(10_000);
    assert_eq!(bench.moved().len(), 1);
}

#[test]
fn the_second_write_of_a_takeover_waits_for_a_valid_read() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::Capacity);
    bench.lose(1);
    bench.run(600);
    assert_eq!(bench.moved().len(), 1);
    // It reads what is there, and then nothing any more until it may write again.
    bench.run(2_000);
    bench.reads = Answer::Never;
    bench.run(90_000);
    assert_eq!(bench.moved().len(), 1, "a minute's wait outlives a read");
}

#[test]
fn a_failed_write_is_tried_again_after_a_wait_that_grows() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::Throttled);
    bench.lose(1);
    bench.run(40_000);
    let at = written_at(&bench);
    let waits: Vec<u128> = at.windows(2).map(|two| two[1].since(two[0]).as_millis()).collect();
    assert!((200..700).contains(&waits[0]), "{waits:?}");
    assert!((400..1_100).contains(&waits[1]), "{waits:?}");
    assert!((800..2_000).contains(&waits[2]), "{waits:?}");
    assert!((1_600..3_600).contains(&waits[3]), "{waits:?}");
}

#[test]
fn failures_are_told_at_each_doubling_and_loudly_where_a_person_must_act() {
    for (kind, level) in [
        (CloudFaultKind::NotFound, Level::Warning),
        (CloudFaultKind::Denied, Level::Alert),
        (CloudFaultKind::Unsupported, Level::Alert),
        (CloudFaultKind::Other, Level::Alert),
    ] {
        let mut bench = TestBench::new(2);
        bench.writes = Answer::No(kind);
        bench.lose(1);
        bench.run_until(400_000, |bench| bench.moved().len() == 6);
        let told = bench.events(EventKind::ApiFailed);
        assert_eq!(told.len(), 3, "the first, second and fourth of five: {told:#?}");
        assert!(told.iter().all(|event| event.level == level), "{told:#?}");
        assert!(told[2].text.contains("failure 4 in a row"), "{told:#?}");
        assert_eq!(told[0].group, Some(group(1).name));
    }
}

#[test]
fn a_write_that_expired_is_decided_anew_after_a_read() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::Expired;
    bench.lose(1);
    bench.run_until(400, |bench| bench.moved().len() == 1);
    bench.writes = Answer::Yes;
    bench.run(1_000);
    assert_eq!(bench.moved(), [(1, 0), (1, 0)]);
    assert_eq!(bench.events(EventKind::ApiFailed).len(), 0, "nothing was sent, nothing failed");
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 1);
}

#[test]
fn a_write_must_be_sent_within_the_detection_time_or_not_at_all() {
    for (interval, within) in [(20, 300), (100, 300), (200, 600), (1_000, 1_000)] {
        let mut bench = TestBench::with(2, Timing { interval: millis(interval), ..timing() });
        bench.lose(1);
        bench.run(4_000);
        let at = written_at(&bench)[0];
        let not_after = bench.told.iter().find_map(|(_, action)| match action {
            Action::WriteRoute { not_after, .. } => Some(*not_after),
            _ => None,
        });
        assert_eq!(not_after, Some(at + millis(within)));
    }
}

#[test]
fn a_takeover_is_told_when_it_begins_and_when_a_read_confirms_it() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(400, |bench| bench.moved().len() == 1);
    let begun = bench.events(EventKind::TakeoverBegun);
    assert_eq!(begun.len(), 1);
    assert_eq!((begun[0].level, begun[0].node.clone()), (Level::Warning, Some(id(1))));
    assert_eq!(begun[0].group, Some(group(1).name));
    assert!(begun[0].text.contains(&format!("from {} to {}", id(1), id(0))), "{begun:?}");
    assert!(begun[0].text.contains("suspected"), "{begun:?}");
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 0);
    assert_eq!(bench.doing(1), Some(format!("taking over, to {}", id(0))));
    bench.run(400);
    let done = bench.events(EventKind::TakeoverDone);
    assert_eq!(done.len(), 1);
    assert_eq!((done[0].level, done[0].node.clone()), (Level::Info, Some(id(1))));
    let took = done[0].took.unwrap();
    assert!(took > millis(0) && took < millis(400), "{took:?}");
    assert_eq!(bench.doing(1), None);
}

#[test]
fn a_move_that_ends_elsewhere_is_told_as_not_done() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::NotFound);
    bench.lose(1);
    bench.run_until(400, |bench| bench.moved().len() == 1);
    bench.routes.insert(table(1), abroad());
    bench.run(3_000);
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 0);
    let failed = bench.events(EventKind::TakeoverFailed);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].level, Level::Warning);
    assert!(failed[0].text.contains("not taken over"), "{failed:?}");
    assert_eq!(bench.doing(1), None);
}

#[test]
fn a_write_that_has_to_be_repeated_belongs_to_the_same_move() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::Throttled);
    bench.lose(1);
    bench.run(2_000);
    bench.writes = Answer::Yes;
    bench.run(8_000);
    assert!(bench.moved().len() >= 3);
    assert_eq!(bench.events(EventKind::TakeoverBegun).len(), 1, "one move");
    let done = bench.events(EventKind::TakeoverDone);
    assert_eq!((done.len(), done[0].level), (1, Level::Info));
    assert!(done[0].took.unwrap() > secs(2), "from its first write on: {done:?}");
    assert_eq!(generation(&bench, 1), 1);
}

/// Two routes in one group, both on node 1.
fn two_routes() -> (Roster, TestBench) {
    let mut roster = roster(2);
    roster.groups[1].resources.push(route(2));
    let mut bench = TestBench::starting(0, 2, timing());
    bench.routes.insert(table(2), to(1));
    bench.give(Input::Roster { roster: roster.clone() });
    bench.run(3_000);
    (roster, bench)
}

#[test]
fn a_group_of_two_routes_moves_as_one() {
    let (_, mut bench) = two_routes();
    bench.lose(1);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(1, 0), (2, 0)]);
    assert_eq!(bench.events(EventKind::TakeoverBegun).len(), 1);
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 1);
    assert_eq!(generation(&bench, 1), 1);
}

#[test]
fn a_move_is_not_done_while_one_of_its_routes_is_under_way() {
    let (_, mut bench) = two_routes();
    bench.writes = Answer::Never;
    bench.lose(1);
    bench.run_until(400, |bench| !bench.moved().is_empty());
    let outcome = Outcome::Written { result: Ok(()) };
    bench.give(Input::Done { id: first_write(&bench), outcome });
    bench.routes.insert(table(1), to(0));
    bench.run(5_000);
    assert_eq!(bench.events(EventKind::TakeoverDone).len(), 0);
    assert_eq!(bench.doing(1), Some(format!("taking over, to {}", id(0))));
}

fn first_write(bench: &TestBench) -> ActionId {
    let write = bench.told.iter().find_map(|(_, action)| match action {
        Action::WriteRoute { id, .. } => Some(*id),
        _ => None,
    });
    write.expect("a route was written")
}

#[test]
fn an_outcome_of_an_action_that_nobody_waits_for_changes_nothing() {
    let (_, mut bench) = two_routes();
    bench.lose(1);
    bench.run(1_000);
    let before = bench.view();
    let outcome = Outcome::Written { result: Ok(()) };
    bench.give(Input::Done { id: first_write(&bench), outcome });
    bench.give(Input::Done { id: first_write(&bench), outcome: Outcome::Expired });
    assert_eq!(bench.view(), before);
}

#[test]
fn an_order_is_told_and_counts_as_one_move() {
    let mut bench = TestBench::new(2);
    bench.command(hand_over(1));
    bench.run(1_000);
    let begun = bench.events(EventKind::HandOverBegun);
    assert_eq!((begun.len(), begun[0].level), (1, Level::Info));
    assert!(begun[0].text.contains("handing it over"), "{begun:?}");
    assert!(begun[0].text.contains("an operator ordered it"), "{begun:?}");
    let done = bench.events(EventKind::HandOverDone);
    assert_eq!((done.len(), done[0].level), (1, Level::Info));
    assert!(done[0].took.is_some());
    assert_eq!((bench.moved(), generation(&bench, 0)), (vec![(0, 1)], 1));
}

#[test]
fn an_order_to_nobody_in_particular_is_refused_where_nobody_can_take_the_group() {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
    bench.run(2_000);
    bench.command(Command::HandOver { group: group(0).name, to: None });
    bench.run(500);
    let told = bench.events(EventKind::HandOverDropped);
    assert_eq!((told.len(), told[0].level), (1, Level::Warning));
    assert!(told[0].text.contains("no other node can take it"), "{told:?}");
}

#[test]
fn an_order_that_cannot_be_carried_out_is_dropped_and_told() {
    let sick = |bench: &mut TestBench| {
        bench.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
        bench.run(2_000);
    };
    let gone_already = |bench: &mut TestBench| {
        bench.routes.insert(table(0), to(1));
        bench.run(11_000);
    };
    let abroad_already = |bench: &mut TestBench| {
        bench.routes.insert(table(0), abroad());
        bench.run(11_000);
    };
    for (stage, why) in [
        (sick as fn(&mut TestBench), "cannot take it"),
        (gone_already, "does not hold it"),
        (abroad_already, "does not hold it"),
    ] {
        let mut bench = TestBench::new(2);
        stage(&mut bench);
        bench.command(hand_over(1));
        bench.run(500);
        let told = bench.events(EventKind::HandOverDropped);
        assert_eq!(told.len(), 1, "{why}");
        assert_eq!(told[0].level, Level::Warning);
        assert!(told[0].text.contains(why), "{told:?}");
        // What had been in the way goes; the order is not carried out much later.
        bench.beat_mut(1).fitness = Fitness::fit();
        bench.routes.insert(table(0), to(0));
        bench.run(15_000);
        assert_eq!(bench.moved().iter().filter(|moved| moved.0 == 0).count(), 0, "{why}");
    }
}

#[test]
fn an_order_is_kept_while_it_is_carried_out() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::Throttled);
    bench.command(hand_over(1));
    bench.run(3_000);
    assert!(bench.moved().len() >= 2);
    assert_eq!(bench.events(EventKind::HandOverDone).len(), 0);
    bench.writes = Answer::Yes;
    bench.run(20_000);
    let done = bench.events(EventKind::HandOverDone);
    assert_eq!((done.len(), done[0].level), (1, Level::Info));
    // And it does not outlive its end: what comes back stays.
    bench.routes.insert(table(0), to(0));
    bench.run(20_000);
    assert_eq!(bench.moved().last(), Some(&(0, 1)));
    assert_eq!(bench.events(EventKind::HandOverBegun).len(), 1);
}

#[test]
fn a_foreign_route_is_alerted_once_and_so_is_its_end() {
    let mut bench = TestBench::new(2);
    assert_eq!(bench.events(EventKind::Foreign).len(), 0);
    bench.routes.insert(table(0), abroad());
    bench.run(60_000);
    let told = bench.events(EventKind::Foreign);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("nat-0abc"), "{told:?}");
    // A pause forgets the routes; that is neither an end nor a new beginning.
    bench.pause(1_000);
    bench.run(3_000);
    assert_eq!(bench.events(EventKind::Foreign).len(), 1);
    bench.routes.insert(table(0), to(0));
    bench.run(15_000);
    let told = bench.events(EventKind::Foreign);
    assert_eq!((told.len(), told[1].level), (2, Level::Info));
}

#[test]
fn only_a_takeover_soon_after_a_hand_back_is_a_flap() {
    let mut timing = timing();
    timing.hand_back.hold_max = secs(120);
    let hold = |bench: &TestBench| {
        let timers = bench.view().timers;
        timers.into_iter().find(|(name, _)| name.starts_with("hand-back")).map(|(_, left)| left)
    };
    let cycle = |bench: &mut TestBench, waits_ms: u64| {
        bench.run(waits_ms);
        bench.beat_mut(1).fitness = Fitness::unfit(Fault::Forwarding);
        bench.run(1_000);
        bench.beat_mut(1).fitness = Fitness::fit();
        bench.run_until(1_000, |bench| hold(bench).is_some());
        let left = hold(bench).unwrap();
        bench.run_until(130_000, |bench| bench.view().groups[&group(1).name].holder == Some(id(1)));
        left
    };
    let mut bench = TestBench::with(2, timing);
    let near = |left: std::time::Duration, wanted: u64| {
        assert!(left <= secs(wanted) && left + secs(1) > secs(wanted), "{left:?}, not {wanted} s");
    };
    near(cycle(&mut bench, 1_000), 30);
    near(cycle(&mut bench, 110_000), 60);
    near(cycle(&mut bench, 130_000), 60);
    near(cycle(&mut bench, 1_000), 120);
}

#[test]
fn what_peers_tell_of_a_group_s_moves_is_counted_on() {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).holds = vec![Claim { group: group(1).name, generation: 8, to: None }];
    bench.run(200);
    assert_eq!(generation(&bench, 1), 8);
    bench.beat_mut(1).holds = vec![Claim { group: group(1).name, generation: 5, to: None }];
    bench.run(200);
    assert_eq!(generation(&bench, 1), 8, "it never falls");
    bench.lose(1);
    bench.run(500);
    assert_eq!(generation(&bench, 1), 9);
}

#[test]
fn assertions_are_settled_only_when_every_peer_hears_this_node() {
    let mut bench = TestBench::new(3);
    bench.beat_mut(1).hears.clear();
    bench.beat_mut(2).hears.clear();
    bench.run(12_000);
    let asserted = |bench: &mut TestBench, times: usize| {
        for _ in 0..times {
            bench.routes.insert(table(0), to(1));
            bench.run(30_000);
        }
        bench.moved().iter().filter(|moved| **moved == (0, 0)).count()
    };
    assert_eq!(asserted(&mut bench, 4), 3);
    *bench.beat_mut(2) = TestBench::fine(0);
    bench.run(1_000);
    assert_eq!(asserted(&mut bench, 1), 3, "node 1 is deaf still");
    bench.beat_mut(2).hears.clear();
    bench.routes.insert(table(0), to(0));
    bench.run(11_000);
    *bench.beat_mut(1) = TestBench::fine(0);
    *bench.beat_mut(2) = TestBench::fine(0);
    bench.beat_mut(2).fitness = Fitness::unfit(Fault::Uplink);
    bench.run(1_000);
    bench.beat_mut(2).fitness = Fitness::fit();
    bench.beat_mut(1).hears.clear();
    bench.beat_mut(2).hears.clear();
    bench.run(12_000);
    assert_eq!(asserted(&mut bench, 1), 3, "node 2 heard this node, but was not well");
}
