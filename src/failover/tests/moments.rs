//! Exact moments: what holds one millisecond and no longer the next, and the other way round.

use super::desk::*;
use crate::config::Failover;
use crate::failover::{Action, Command, EventKind, Input, Outcome};
use crate::types::{CloudFaultKind, Fault, Fitness, SessionId, Time};

/// Lets a millisecond pass, and the machine look.
fn tick(desk: &mut Desk) {
    desk.pause(1);
    let now = desk.now;
    desk.machine.tick(now);
    desk.poll();
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
        let mut numbers = Failover::default();
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
    assert!(desk.now > Time::default() && desk.numbers == Failover::default());
}
