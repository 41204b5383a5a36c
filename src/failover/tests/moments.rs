//! Exact moments: what holds one millisecond and no longer the next, and the other way round.

use super::test_bench::*;
use crate::failover::{Action, Command, EventKind, Input, Outcome, Routes, Verdict};
use crate::types::{CloudFaultKind, Fault, Fitness, InstanceState, SessionId, StopOrigin, Time};

/// Lets a millisecond pass, and the machine look.
fn tick(bench: &mut TestBench) {
    bench.pause(1);
    let now = bench.now;
    bench.machine.tick(now);
    bench.poll();
}

/// Runs until just before `moment`, and then looks every millisecond until `holds`. When it did.
fn watch(bench: &mut TestBench, moment: Time, holds: impl Fn(&TestBench) -> bool) -> Time {
    let before = moment.since(bench.now).as_millis().saturating_sub(15) / 10 * 10;
    bench.run(before.try_into().unwrap());
    assert!(!holds(bench), "too early");
    while !holds(bench) {
        assert!(bench.now < moment + millis(50), "too late: {:#?}", bench.texts());
        tick(bench);
        // What EC2 answers within these milliseconds.
        let now = bench.now;
        bench.answer(now);
    }
    bench.now
}

fn notes(bench: &TestBench) -> usize {
    bench.count(|action| matches!(action, Action::Remember { .. }))
}

fn told_at(bench: &TestBench, kind: EventKind) -> Time {
    bench.events(kind).last().unwrap().at
}

#[test]
fn a_stop_is_prepared_when_the_peer_has_been_suspected_for_its_time() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(400, |bench| bench.verdict(1) == Verdict::Suspected);
    let due = told_at(&bench, EventKind::Verdict) + secs(60);
    assert_eq!(watch(&mut bench, due, |bench| notes(bench) == 1), due);
}

#[test]
fn one_that_became_fit_in_the_turn_that_lost_the_peer_was_fit_all_the_time() {
    let mut bench = TestBench::new(2);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    bench.lose(1);
    bench.run(290);
    bench.pause(10);
    bench.fitness(Fitness::fit());
    let now = bench.now;
    bench.machine.tick(now);
    bench.poll();
    assert_eq!(bench.verdict(1), Verdict::Suspected);
    bench.run(61_000);
    assert_eq!(bench.stops().len(), 1, "{:#?}", bench.texts());
}

#[test]
fn a_stop_without_effect_is_repeated_when_its_time_has_passed() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(70_000, |bench| bench.stops().len() == 1);
    let due = told_at(&bench, EventKind::RepairStop) + secs(300);
    assert_eq!(watch(&mut bench, due, |bench| notes(bench) == 2), due);
}

#[test]
fn a_peer_that_was_started_may_boot_for_its_time_and_no_longer() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(70_000, |bench| bench.stops().len() == 1);
    bench.power.insert(id(1), stopped_by(StopOrigin::User));
    bench.run_until(10_000, |bench| bench.starts() == 1);
    bench.power.insert(id(1), report(InstanceState::Running));
    let accepted = bench.now + millis(STEP);
    let due = accepted + secs(300);
    let noted = notes(&bench);
    assert_eq!(watch(&mut bench, due, |bench| notes(bench) > noted), due);
}

#[test]
fn a_start_without_effect_is_repeated_when_a_minute_has_passed() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(70_000, |bench| bench.stops().len() == 1);
    bench.power.insert(id(1), stopped_by(StopOrigin::User));
    bench.run_until(10_000, |bench| bench.starts() == 1);
    let due = bench.now + millis(STEP) + secs(60);
    assert_eq!(watch(&mut bench, due, |bench| bench.starts() == 2), due);
}

#[test]
fn routes_have_settled_when_the_settle_time_has_passed() {
    let mut timing = timing();
    timing.repair.after = secs(2);
    timing.repair.settle = secs(10);
    let mut bench = TestBench::with(2, timing);
    bench.lose(1);
    bench.run_until(400, |bench| bench.moved().len() == 1);
    let due = bench.now + millis(STEP) + secs(10);
    assert_eq!(watch(&mut bench, due, |bench| notes(bench) == 1), due);
}

#[test]
fn a_pause_counts_for_ten_seconds_to_the_millisecond() {
    let mut bench = TestBench::new(2);
    bench.pause(505);
    let now = bench.now;
    bench.machine.tick(now);
    for _ in 0..2 {
        bench.run(2_000);
        bench.pause(500);
    }
    bench.run(100);
    assert!(!bench.machine.fitness().is_fit());
    let due = now + secs(10) + millis(1);
    assert_eq!(watch(&mut bench, due, |bench| bench.machine.fitness().is_fit()), due);
}

#[test]
fn a_slow_read_does_not_end_a_move_that_is_still_wanted() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::Throttled);
    bench.lose(1);
    bench.run_until(400, |bench| bench.moved().len() == 1);
    bench.run(100);
    let reads =
        |bench: &TestBench| bench.count(|action| matches!(action, Action::ReadRoutes { .. }));
    let before = reads(&bench);
    bench.reads = Answer::Slow;
    bench.run_until(5_000, |bench| reads(bench) > before);
    bench.run(20_000);
    assert!(bench.events(EventKind::TakeoverDone).is_empty(), "{:#?}", bench.texts());
    assert_eq!(bench.doing(1), Some(format!("taking over, to {}", id(0))));
}

#[test]
fn a_read_begun_at_the_time_of_a_retry_can_end_the_move() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::Throttled);
    bench.lose(1);
    bench.run_until(400, |bench| bench.moved().len() == 1);
    bench.routes.insert(table(1), abroad());
    bench.run_until(1_000, |bench| !bench.events(EventKind::ApiFailed).is_empty());
    let told = bench.events(EventKind::ApiFailed)[0].clone();
    let (_, wait) = told.text.rsplit_once("again in ").unwrap();
    let wait: u64 = wait.strip_suffix(" ms").unwrap().parse().unwrap();
    let due = told.at + millis(wait);
    bench.run(150);
    bench.pause(due.since(bench.now).as_millis().try_into().unwrap());
    bench.hides_routes = true;
    bench.give(Input::Roster { roster: roster(2) });
    let now = bench.now;
    bench.machine.tick(now);
    while let Some(action) = bench.machine.poll_action() {
        let Action::ReadRoutes { id, .. } = action else { continue };
        let entry = ("0.0.0.0/0".parse().unwrap(), abroad().unwrap());
        let tables = [(table(1), Routes([entry].into()))].into();
        bench.give(Input::Done { id, outcome: Outcome::Routes { result: Ok(tables) } });
    }
    tick(&mut bench);
    assert_eq!(bench.events(EventKind::TakeoverFailed).len(), 1, "{:#?}", bench.texts());
}

#[test]
fn what_a_read_shows_that_was_begun_when_the_peer_was_lost_was_done_before() {
    let mut bench = TestBench::new(2);
    bench.run(2_500);
    bench.lose(1);
    bench.run(200);
    bench.routes.insert(table(0), to(1));
    bench.run_until(400, |bench| bench.verdict(1) == Verdict::Suspected);
    let lost = told_at(&bench, EventKind::Verdict);
    let (at, _) = bench
        .told
        .iter()
        .rev()
        .find(|(_, action)| matches!(action, Action::ReadRoutes { .. }))
        .unwrap();
    assert_eq!(*at, lost, "it reads in the same turn");
    bench.run(1_000);
    assert!(bench.texts().iter().all(|text| !text.contains("it moved")), "{:#?}", bench.texts());
}

#[test]
fn a_write_is_tried_again_at_the_very_moment_that_was_told() {
    let mut bench = TestBench::new(2);
    bench.writes = Answer::No(CloudFaultKind::Throttled);
    bench.lose(1);
    bench.run_until(1_000, |bench| !bench.events(EventKind::ApiFailed).is_empty());
    let told = bench.events(EventKind::ApiFailed)[0].clone();
    let (_, wait) = told.text.rsplit_once("again in ").unwrap();
    let wait: u64 = wait.strip_suffix(" ms").unwrap().parse().unwrap();
    let due = told.at + millis(wait);
    bench.run(30);
    while bench.moved().len() < 2 {
        tick(&mut bench);
    }
    assert_eq!(bench.now, due);
}

#[test]
fn a_takeover_is_a_flap_until_the_longest_hold_after_the_hand_back_has_passed() {
    for (early, hold) in [(1, 40), (0, 30)] {
        let mut timing = timing();
        timing.hand_back.hold_max = secs(40);
        let mut bench = TestBench::with(2, timing);
        bench.routes.insert(table(1), to(0));
        bench.run_until(60_000, |bench| !bench.events(EventKind::HandOverDone).is_empty());
        let handed_back = bench.events(EventKind::HandOverDone)[0].at;
        let due = handed_back + secs(40) - millis(early);
        bench.run(39_960);
        while bench.now < due - millis(1) {
            tick(&mut bench);
        }
        let mut sick = TestBench::fine(0);
        sick.fitness = Fitness::unfit(Fault::Forwarding);
        let input = |beat, at| Input::Beat { from: id(1), session: SessionId(101), beat, at };
        let at = bench.now;
        bench.give(input(sick, at));
        tick(&mut bench);
        assert_eq!(bench.moved(), [(1, 1), (1, 0)]);
        let at = bench.now;
        bench.give(input(TestBench::fine(0), at));
        tick(&mut bench);
        bench.run(10);
        let timer = format!("hand-back to {} at the earliest", id(1));
        let left = bench.view().timers[&timer];
        assert!(left <= secs(hold) && left > secs(hold - 1), "{left:?} instead of {hold} s");
    }
}

#[test]
fn another_order_in_the_middle_of_a_hand_over_is_another_move() {
    let mut bench = TestBench::new(3);
    let order = |to| Command::HandOver { group: group(0).name, to: Some(id(to)) };
    bench.writes = Answer::No(CloudFaultKind::Throttled);
    bench.command(order(1));
    bench.run(2_000);
    bench.writes = Answer::Yes;
    bench.command(order(2));
    bench.run(10_000);
    assert_eq!(bench.moved().last(), Some(&(0, 2)));
    let begun = bench.events(EventKind::HandOverBegun);
    assert_eq!(begun.len(), 2, "{begun:?}");
    let done = bench.events(EventKind::HandOverDone);
    assert!(done.len() == 1 && done[0].text.contains(id(2).as_str()), "{done:?}");
}

#[test]
fn a_pause_is_no_reason_to_wait_for_the_next_regular_read() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    let power =
        |bench: &TestBench| bench.count(|action| matches!(action, Action::ReadPower { .. }));
    let routes =
        |bench: &TestBench| bench.count(|action| matches!(action, Action::ReadRoutes { .. }));
    bench.run(5_000);
    let before = (routes(&bench), power(&bench));
    bench.run_until(3_000, |bench| (routes(bench), power(bench)) > before);
    bench.run(100);
    let before = (routes(&bench), power(&bench));
    bench.pause(500);
    bench.run(20);
    assert_eq!((routes(&bench), power(&bench)), (before.0 + 1, before.1 + 2));
}

#[test]
fn the_answer_to_a_question_from_before_a_pause_is_void() {
    let mut bench = TestBench::new(2);
    bench.reads = Answer::Never;
    bench.lose(1);
    bench.run(16_000);
    let asked = |bench: &TestBench| {
        let last = |is_it: fn(&Action) -> Option<crate::failover::ActionId>| {
            bench.told.iter().rev().find_map(|(_, action)| is_it(action)).unwrap()
        };
        let routes = last(|action| match action {
            Action::ReadRoutes { id, .. } => Some(*id),
            _ => None,
        });
        let power = last(|action| match action {
            Action::ReadPower { id, node } if *node == super::test_bench::id(1) => Some(*id),
            _ => None,
        });
        (routes, power)
    };
    let (routes, power) = asked(&bench);
    bench.pause(1_000);
    bench.give(Input::Done { id: routes, outcome: Outcome::Routes { result: Ok([].into()) } });
    let report = report(crate::types::InstanceState::Terminated);
    bench.give(Input::Done { id: power, outcome: Outcome::Power { result: Ok(report) } });
    assert_eq!(bench.view().groups[&group(0).name].read_age, None);
    assert_eq!(bench.peer(1).power, None);
    assert!(bench.now > Time::default() && bench.timing == timing());
}
