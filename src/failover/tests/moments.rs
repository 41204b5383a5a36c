//! Exact moments: what holds one millisecond and no longer the next, and the other way round.

use super::desk::*;
use crate::failover::{Action, Command, EventKind, Input, Outcome, Routes, Verdict};
use crate::types::{CloudFaultKind, Fault, Fitness, InstanceState, SessionId, StopOrigin, Time};

/// Lets a millisecond pass, and the machine look.
fn tick(desk: &mut Desk) {
    desk.pause(1);
    let now = desk.now;
    desk.machine.tick(now);
    desk.poll();
}

/// Runs until just before `moment`, and then looks every millisecond until `holds`. When it did.
fn watch(desk: &mut Desk, moment: Time, holds: impl Fn(&Desk) -> bool) -> Time {
    let before = moment.since(desk.now).as_millis().saturating_sub(15) / 10 * 10;
    desk.run(before.try_into().unwrap());
    assert!(!holds(desk), "too early");
    while !holds(desk) {
        assert!(desk.now < moment + millis(50), "too late: {:#?}", desk.texts());
        tick(desk);
        // What EC2 answers within these milliseconds.
        let now = desk.now;
        desk.answer(now);
    }
    desk.now
}

fn notes(desk: &Desk) -> usize {
    desk.count(|action| matches!(action, Action::Remember { .. }))
}

fn told_at(desk: &Desk, kind: EventKind) -> Time {
    desk.events(kind).last().unwrap().at
}

#[test]
fn a_stop_is_prepared_when_the_peer_has_been_suspected_for_its_time() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    desk.run_until(400, |desk| desk.verdict(1) == Verdict::Suspected);
    let due = told_at(&desk, EventKind::Verdict) + secs(60);
    assert_eq!(watch(&mut desk, due, |desk| notes(desk) == 1), due);
}

#[test]
fn one_that_became_fit_in_the_turn_that_lost_the_peer_was_fit_all_the_time() {
    let mut desk = Desk::new(2);
    desk.fitness(Fitness::unfit(Fault::Uplink));
    desk.lose(1);
    desk.run(290);
    desk.pause(10);
    desk.fitness(Fitness::fit());
    let now = desk.now;
    desk.machine.tick(now);
    desk.poll();
    assert_eq!(desk.verdict(1), Verdict::Suspected);
    desk.run(61_000);
    assert_eq!(desk.stops().len(), 1, "{:#?}", desk.texts());
}

#[test]
fn a_stop_without_effect_is_repeated_when_its_time_has_passed() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    desk.run_until(70_000, |desk| desk.stops().len() == 1);
    let due = told_at(&desk, EventKind::RepairStop) + secs(300);
    assert_eq!(watch(&mut desk, due, |desk| notes(desk) == 2), due);
}

#[test]
fn a_peer_that_was_started_may_boot_for_its_time_and_no_longer() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    desk.run_until(70_000, |desk| desk.stops().len() == 1);
    desk.power.insert(id(1), stopped_by(StopOrigin::User));
    desk.run_until(10_000, |desk| desk.starts() == 1);
    desk.power.insert(id(1), report(InstanceState::Running));
    let accepted = desk.now + millis(STEP);
    let due = accepted + secs(300);
    let noted = notes(&desk);
    assert_eq!(watch(&mut desk, due, |desk| notes(desk) > noted), due);
}

#[test]
fn a_start_without_effect_is_repeated_when_a_minute_has_passed() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    desk.run_until(70_000, |desk| desk.stops().len() == 1);
    desk.power.insert(id(1), stopped_by(StopOrigin::User));
    desk.run_until(10_000, |desk| desk.starts() == 1);
    let due = desk.now + millis(STEP) + secs(60);
    assert_eq!(watch(&mut desk, due, |desk| desk.starts() == 2), due);
}

#[test]
fn routes_have_settled_when_the_settle_time_has_passed() {
    let mut numbers = numbers();
    numbers.repair.after = secs(2);
    numbers.repair.settle = secs(10);
    let mut desk = Desk::with(2, numbers);
    desk.lose(1);
    desk.run_until(400, |desk| desk.moved().len() == 1);
    let due = desk.now + millis(STEP) + secs(10);
    assert_eq!(watch(&mut desk, due, |desk| notes(desk) == 1), due);
}

#[test]
fn a_pause_counts_for_ten_seconds_to_the_millisecond() {
    let mut desk = Desk::new(2);
    desk.pause(505);
    let now = desk.now;
    desk.machine.tick(now);
    for _ in 0..2 {
        desk.run(2_000);
        desk.pause(500);
    }
    desk.run(100);
    assert!(!desk.machine.fitness().is_fit());
    let due = now + secs(10) + millis(1);
    assert_eq!(watch(&mut desk, due, |desk| desk.machine.fitness().is_fit()), due);
}

#[test]
fn a_slow_read_does_not_end_a_move_that_is_still_wanted() {
    let mut desk = Desk::new(2);
    desk.writes = Answer::No(CloudFaultKind::Throttled);
    desk.lose(1);
    desk.run_until(400, |desk| desk.moved().len() == 1);
    desk.run(100);
    let reads = |desk: &Desk| desk.count(|action| matches!(action, Action::ReadRoutes { .. }));
    let before = reads(&desk);
    desk.reads = Answer::Slow;
    desk.run_until(5_000, |desk| reads(desk) > before);
    desk.run(20_000);
    assert!(desk.events(EventKind::TakeoverDone).is_empty(), "{:#?}", desk.texts());
    assert_eq!(desk.doing(1), Some(format!("taking over, to {}", id(0))));
}

#[test]
fn a_read_begun_at_the_time_of_a_retry_can_end_the_move() {
    let mut desk = Desk::new(2);
    desk.writes = Answer::No(CloudFaultKind::Throttled);
    desk.lose(1);
    desk.run_until(400, |desk| desk.moved().len() == 1);
    desk.routes.insert(table(1), abroad());
    desk.run_until(1_000, |desk| !desk.events(EventKind::ApiFailed).is_empty());
    let told = desk.events(EventKind::ApiFailed)[0].clone();
    let (_, wait) = told.text.rsplit_once("again in ").unwrap();
    let wait: u64 = wait.strip_suffix(" ms").unwrap().parse().unwrap();
    let due = told.at + millis(wait);
    desk.run(150);
    desk.pause(due.since(desk.now).as_millis().try_into().unwrap());
    desk.hides_routes = true;
    desk.give(Input::Roster { roster: roster(2) });
    let now = desk.now;
    desk.machine.tick(now);
    while let Some(action) = desk.machine.poll_action() {
        let Action::ReadRoutes { id, .. } = action else { continue };
        let entry = ("0.0.0.0/0".parse().unwrap(), abroad().unwrap());
        let tables = [(table(1), Routes([entry].into()))].into();
        desk.give(Input::Done { id, outcome: Outcome::Routes { result: Ok(tables) } });
    }
    tick(&mut desk);
    assert_eq!(desk.events(EventKind::TakeoverDone).len(), 1, "{:#?}", desk.texts());
}

#[test]
fn what_a_read_shows_that_was_begun_when_the_peer_was_lost_was_done_before() {
    let mut desk = Desk::new(2);
    desk.run(2_500);
    desk.lose(1);
    desk.run(200);
    desk.routes.insert(table(0), to(1));
    desk.run_until(400, |desk| desk.verdict(1) == Verdict::Suspected);
    let lost = told_at(&desk, EventKind::Verdict);
    let (at, _) = desk
        .told
        .iter()
        .rev()
        .find(|(_, action)| matches!(action, Action::ReadRoutes { .. }))
        .unwrap();
    assert_eq!(*at, lost, "it reads in the same turn");
    desk.run(1_000);
    assert!(desk.texts().iter().all(|text| !text.contains("it moved")), "{:#?}", desk.texts());
}

#[test]
fn a_write_is_tried_again_at_the_very_moment_that_was_told() {
    let mut desk = Desk::new(2);
    desk.writes = Answer::No(CloudFaultKind::Throttled);
    desk.lose(1);
    desk.run_until(1_000, |desk| !desk.events(EventKind::ApiFailed).is_empty());
    let told = desk.events(EventKind::ApiFailed)[0].clone();
    let (_, wait) = told.text.rsplit_once("again in ").unwrap();
    let wait: u64 = wait.strip_suffix(" ms").unwrap().parse().unwrap();
    let due = told.at + millis(wait);
    desk.run(30);
    while desk.moved().len() < 2 {
        tick(&mut desk);
    }
    assert_eq!(desk.now, due);
}

#[test]
fn a_takeover_is_a_flap_until_the_longest_hold_after_the_hand_back_has_passed() {
    for (early, hold) in [(1, 40), (0, 30)] {
        let mut numbers = numbers();
        numbers.hand_back.hold_max = secs(40);
        let mut desk = Desk::with(2, numbers);
        desk.routes.insert(table(1), to(0));
        desk.run_until(60_000, |desk| !desk.events(EventKind::HandOverDone).is_empty());
        let handed_back = desk.events(EventKind::HandOverDone)[0].at;
        let due = handed_back + secs(40) - millis(early);
        desk.run(39_960);
        while desk.now < due - millis(1) {
            tick(&mut desk);
        }
        let mut sick = Desk::fine(0);
        sick.fitness = Fitness::unfit(Fault::Uplink);
        let input = |beat, at| Input::Beat { from: id(1), session: SessionId(101), beat, at };
        let at = desk.now;
        desk.give(input(sick, at));
        tick(&mut desk);
        assert_eq!(desk.moved(), [(1, 1), (1, 0)]);
        let at = desk.now;
        desk.give(input(Desk::fine(0), at));
        tick(&mut desk);
        desk.run(10);
        let timer = format!("hand-back to {} at the earliest", id(1));
        let left = desk.view().timers[&timer];
        assert!(left <= secs(hold) && left > secs(hold - 1), "{left:?} instead of {hold} s");
    }
}

#[test]
fn another_order_in_the_middle_of_a_hand_over_is_another_move() {
    let mut desk = Desk::new(3);
    let order = |to| Command::HandOver { group: group(0).name, to: Some(id(to)) };
    desk.writes = Answer::No(CloudFaultKind::Throttled);
    desk.command(order(1));
    desk.run(2_000);
    desk.writes = Answer::Yes;
    desk.command(order(2));
    desk.run(10_000);
    assert_eq!(desk.moved().last(), Some(&(0, 2)));
    let begun = desk.events(EventKind::HandOverBegun);
    assert_eq!(begun.len(), 2, "{begun:?}");
    let done = desk.events(EventKind::HandOverDone);
    assert!(done.len() == 1 && done[0].text.contains(id(2).as_str()), "{done:?}");
}

#[test]
fn a_pause_is_no_reason_to_wait_for_the_next_regular_read() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    let power = |desk: &Desk| desk.count(|action| matches!(action, Action::ReadPower { .. }));
    let routes = |desk: &Desk| desk.count(|action| matches!(action, Action::ReadRoutes { .. }));
    desk.run(5_000);
    let before = (routes(&desk), power(&desk));
    desk.run_until(3_000, |desk| (routes(desk), power(desk)) > before);
    desk.run(100);
    let before = (routes(&desk), power(&desk));
    desk.pause(500);
    desk.run(20);
    assert_eq!((routes(&desk), power(&desk)), (before.0 + 1, before.1 + 2));
}

#[test]
fn the_answer_to_a_question_from_before_a_pause_is_void() {
    let mut desk = Desk::new(2);
    desk.reads = Answer::Never;
    desk.lose(1);
    desk.run(16_000);
    let asked = |desk: &Desk| {
        let last = |is_it: fn(&Action) -> Option<crate::failover::ActionId>| {
            desk.told.iter().rev().find_map(|(_, action)| is_it(action)).unwrap()
        };
        let routes = last(|action| match action {
            Action::ReadRoutes { id, .. } => Some(*id),
            _ => None,
        });
        let power = last(|action| match action {
            Action::ReadPower { id, node } if *node == super::desk::id(1) => Some(*id),
            _ => None,
        });
        (routes, power)
    };
    let (routes, power) = asked(&desk);
    desk.pause(1_000);
    desk.give(Input::Done { id: routes, outcome: Outcome::Routes { result: Ok([].into()) } });
    let report = report(crate::types::InstanceState::Terminated);
    desk.give(Input::Done { id: power, outcome: Outcome::Power { result: Ok(report) } });
    assert_eq!(desk.view().groups[&group(0).name].read_age, None);
    assert_eq!(desk.peer(1).power, None);
    assert!(desk.now > Time::default() && desk.numbers == numbers());
}
