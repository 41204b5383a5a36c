//! Stops and starts on their way: accepted, refused, lost, hanging, and how many there may be.

use std::time::Duration;

use super::desk::*;
use super::repairs::{MINUTES, ec2_says, held, repair, stopped};
use crate::failover::{Action, Command, EventKind, Input, Level, Outcome, Verdict};
use crate::types::{CloudFaultKind, Fault, Fitness, InstanceState, StopOrigin, Time};

#[test]
fn a_stop_that_was_sent_is_waited_for_and_not_told_as_held() {
    let mut desk = stopped();
    desk.run(290_000);
    assert_eq!(desk.stops().len(), 1);
    assert!(held(&desk).is_empty());
    desk.run(15_000);
    assert_eq!(desk.stops().len(), 2, "EC2 still says running: once more");
}

#[test]
fn a_peer_that_was_just_started_is_given_time_to_boot() {
    let mut desk = stopped();
    ec2_says(&mut desk, InstanceState::Stopped);
    desk.run_until(10_000, |desk| desk.starts() == 1);
    ec2_says(&mut desk, InstanceState::Running);
    desk.run(290_000);
    assert_eq!(desk.stops().len(), 1, "it may still boot");
    desk.run(60_000);
    assert_eq!(desk.stops().len(), 2, "five minutes are enough");
}

#[test]
fn one_seen_on_its_way_up_is_given_time_to_boot_too() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    desk.power.insert(id(1), report(InstanceState::Pending));
    desk.run(20_000);
    desk.power.insert(id(1), report(InstanceState::Running));
    desk.run(270_000);
    assert_eq!((desk.verdict(1), desk.stops().len()), (Verdict::Unreachable, 0));
    desk.run(20_000);
    assert_eq!(desk.stops().len(), 1, "since it was first seen so");
}

#[test]
fn an_accepted_start_that_shows_no_effect_is_repeated_after_a_minute() {
    let mut desk = stopped();
    ec2_says(&mut desk, InstanceState::Stopped);
    desk.run_until(10_000, |desk| desk.starts() == 1);
    desk.run(59_000);
    assert_eq!(desk.starts(), 1);
    desk.run(4_000);
    assert_eq!(desk.starts(), 2);
}

#[test]
fn only_natha_s_own_stop_or_ec2_s_or_the_guest_s_is_followed_by_a_start() {
    for (origin, starts) in [
        (StopOrigin::User, 0),
        (StopOrigin::Unknown, 0),
        (StopOrigin::Guest, 1),
        (StopOrigin::Service, 1),
    ] {
        let mut desk = Desk::new(2);
        desk.lose(1);
        desk.power.insert(id(1), stopped_by(origin));
        desk.run(30_000);
        assert_eq!(desk.starts(), starts, "{origin:?}");
        let told = held(&desk);
        assert_eq!(told.len(), 1 - starts, "{told:?}");
        assert!(told.iter().all(|why| why.starts_with("it is not started: ")), "{told:?}");
    }
}

#[test]
fn starts_of_what_natha_did_not_stop_are_staggered() {
    let mut desk = Desk::starting(1, 2, numbers());
    desk.run(3_000);
    desk.lose(0);
    desk.power.insert(id(0), stopped_by(StopOrigin::Service));
    desk.run(20_000);
    assert_eq!(desk.starts(), 0);
    desk.run(1_000);
    assert_eq!(desk.starts(), 1);
}

#[test]
fn what_left_on_purpose_is_not_started() {
    let mut desk = Desk::new(2);
    desk.beat_mut(1).leaving = true;
    desk.run(200);
    desk.lose(1);
    desk.power.insert(id(1), stopped_by(StopOrigin::Guest));
    desk.run(60_000);
    assert_eq!(desk.starts(), 0);
    assert_eq!(held(&desk), ["it is not started: it left on purpose before it stopped"]);
}

#[test]
fn a_leaving_node_and_one_without_repair_start_nobody() {
    let leave = |desk: &mut Desk| {
        desk.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
        desk.run(200);
        desk.command(Command::Leave);
    };
    let off = |desk: &mut Desk| {
        let mut numbers = numbers();
        numbers.repair.enabled = false;
        *desk = Desk::with(2, numbers);
    };
    for against in [leave as fn(&mut Desk), off] {
        let mut desk = Desk::new(2);
        against(&mut desk);
        desk.lose(1);
        desk.power.insert(id(1), stopped_by(StopOrigin::Service));
        desk.run(60_000);
        assert_eq!((desk.verdict(1), desk.starts()), (Verdict::Down, 0));
        assert!(held(&desk).is_empty(), "{:?}", held(&desk));
    }
}

#[test]
fn a_peer_that_hangs_in_stopping_is_stopped_by_force_once() {
    let mut desk = stopped();
    ec2_says(&mut desk, InstanceState::Stopping);
    desk.run(295_000);
    assert_eq!(desk.stops(), [(1, false)]);
    desk.run(10_000);
    assert_eq!(desk.stops(), [(1, false), (1, true)]);
    let told = desk.events(EventKind::RepairStop);
    assert_eq!((told.len(), told[1].level), (2, Level::Alert));
    desk.run(700_000);
    assert_eq!(desk.stops().len(), 2);
    ec2_says(&mut desk, InstanceState::Stopped);
    desk.run(3_000);
    assert_eq!(desk.starts(), 1, "and is started all the same");
}

#[test]
fn who_is_unfit_or_leaving_stops_nobody_by_force() {
    let unfit = |desk: &mut Desk| desk.fitness(Fitness::unfit(Fault::Uplink));
    let leave = |desk: &mut Desk| desk.command(Command::Leave);
    for away in [unfit as fn(&mut Desk), leave] {
        let mut desk = stopped();
        ec2_says(&mut desk, InstanceState::Stopping);
        desk.run(200_000);
        away(&mut desk);
        desk.run(200_000);
        assert_eq!(desk.stops(), [(1, false)]);
    }
}

#[test]
fn a_peer_that_is_heard_in_its_old_life_is_not_taken_for_repaired() {
    let mut desk = stopped();
    desk.beats.insert(1, Desk::fine(0));
    desk.run(9_000);
    assert_eq!(desk.verdict(1), Verdict::Alive);
    assert!(desk.events(EventKind::RepairDone).is_empty(), "its stop may still take effect");
    assert_eq!(desk.remembered(), Some([id(1)].into()));
    desk.run(5_000);
    assert_eq!(desk.events(EventKind::RepairDone).len(), 1, "EC2 says running, long after");
    assert_eq!(desk.remembered(), Some([].into()));
}

#[test]
fn what_somebody_else_stops_is_not_forced() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    ec2_says(&mut desk, InstanceState::Stopping);
    desk.run(700_000);
    assert_eq!(desk.stops(), []);
}

#[test]
fn a_stop_that_ec2_refused_leaves_nothing_noted_and_is_tried_again() {
    let mut desk = Desk::new(2);
    desk.calls = Answer::No(CloudFaultKind::Denied);
    desk.lose(1);
    desk.run_until(MINUTES, |desk| desk.stops().len() == 1);
    desk.run(1_000);
    assert_eq!(desk.remembered(), Some([].into()));
    let told = desk.events(EventKind::ApiFailed);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("next try in"), "{told:?}");
    desk.calls = Answer::Yes;
    desk.run(7_000);
    assert_eq!(desk.stops().len(), 2);
}

#[test]
fn failed_stops_are_repeated_with_growing_waits_until_the_hour_s_are_used_up() {
    let mut numbers = numbers();
    numbers.repair.max_per_hour = 6;
    let mut desk = Desk::with(2, numbers);
    desk.calls = Answer::No(CloudFaultKind::Denied);
    desk.lose(1);
    desk.run(300_000);
    let at: Vec<Time> = desk
        .told
        .iter()
        .filter(|(_, action)| matches!(action, Action::Stop { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(at.len(), 6);
    let waits: Vec<Duration> = at.windows(2).map(|two| two[1].since(two[0])).collect();
    assert!(waits[0] < millis(5_300), "{waits:?}");
    assert!(waits[4] > secs(29), "{waits:?}");
    let told = desk.events(EventKind::RepairHeld);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("too many stops within an hour"), "{told:?}");
}

#[test]
fn a_stop_whose_outcome_is_unknown_is_taken_for_sent() {
    let mut desk = Desk::new(2);
    desk.calls = Answer::Lost;
    desk.lose(1);
    desk.run_until(MINUTES, |desk| desk.stops().len() == 1);
    desk.run(60_000);
    assert_eq!(desk.remembered(), Some([id(1)].into()));
    assert_eq!(desk.stops().len(), 1, "it is waited for");
    let told = desk.events(EventKind::ApiFailed);
    assert_eq!((told.len(), told[0].level), (1, Level::Warning));
}

#[test]
fn a_throttled_stop_stays_noted_and_is_repeated_soon() {
    let mut desk = Desk::new(2);
    desk.calls = Answer::No(CloudFaultKind::Throttled);
    desk.lose(1);
    desk.run_until(MINUTES, |desk| desk.stops().len() == 1);
    desk.run(2_000);
    assert_eq!(desk.remembered(), Some([id(1)].into()), "503 does not surely mean refused");
    assert!(desk.stops().len() >= 2);
    assert_eq!(desk.events(EventKind::ApiFailed)[0].level, Level::Warning);
}

#[test]
fn a_stop_that_expired_was_not_sent() {
    let mut desk = Desk::new(2);
    desk.calls = Answer::Expired;
    desk.lose(1);
    desk.run_until(MINUTES, |desk| desk.stops().len() == 1);
    desk.calls = Answer::Yes;
    desk.run(100);
    assert!(desk.events(EventKind::ApiFailed).is_empty());
    assert_eq!(desk.count(|action| matches!(action, Action::Remember { .. })), 3);
    assert_eq!(desk.stops().len(), 2, "decided anew, and noted anew");
}

#[test]
fn a_refused_second_stop_by_force_does_not_undo_the_first() {
    let mut desk = stopped();
    ec2_says(&mut desk, InstanceState::Stopping);
    desk.calls = Answer::No(CloudFaultKind::Denied);
    desk.run(310_000);
    assert_eq!(desk.stops(), [(1, false), (1, true)]);
    assert_eq!(desk.remembered(), Some([id(1)].into()));
    desk.calls = Answer::Yes;
    ec2_says(&mut desk, InstanceState::Stopped);
    desk.run(50_000);
    assert_eq!(desk.starts(), 1);
}

#[test]
fn a_throttled_stop_by_force_does_not_make_the_first_one_forgotten() {
    let mut desk = stopped();
    ec2_says(&mut desk, InstanceState::Stopping);
    desk.calls = Answer::No(CloudFaultKind::Throttled);
    desk.run(310_000);
    assert_eq!(desk.stops(), [(1, false), (1, true)]);
    desk.beats.insert(1, Desk::fine(0));
    desk.run(1_000);
    assert_eq!(desk.events(EventKind::RepairDone).len(), 0, "its old life may speak");
    ec2_says(&mut desk, InstanceState::Running);
    desk.run(5_000);
    let done = desk.events(EventKind::RepairDone);
    assert!(done[0].took.is_some_and(|took| took > secs(305)), "{done:?}");
}

#[test]
fn a_refused_start_is_repeated_and_the_peer_stays_noted() {
    let mut desk = stopped();
    ec2_says(&mut desk, InstanceState::Stopped);
    desk.calls = Answer::No(CloudFaultKind::Denied);
    desk.run(15_000);
    assert!(desk.starts() >= 2);
    assert_eq!(desk.remembered(), Some([id(1)].into()));
}

#[test]
fn a_note_that_cannot_be_written_is_told_and_hinders_nothing() {
    let mut desk = Desk::new(2);
    desk.notes = Answer::No(CloudFaultKind::Other);
    desk.lose(1);
    desk.run(61_000);
    assert_eq!(desk.stops(), [(1, false)]);
    let told = desk.events(EventKind::RepairHeld);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("start it by hand"), "{told:?}");
}

#[test]
fn a_peer_that_comes_back_while_the_note_is_written_is_not_stopped() {
    let mut desk = Desk::new(2);
    desk.notes = Answer::Never;
    desk.lose(1);
    desk.run(60_400);
    assert_eq!(desk.remembered(), Some([id(1)].into()));
    desk.beats.insert(1, Desk::fine(0));
    desk.run(1_000);
    assert_eq!((desk.remembered(), desk.stops().len()), (Some([].into()), 0));
    assert!(desk.events(EventKind::RepairDone).is_empty(), "there was no repair");
}

#[test]
fn what_changes_while_the_note_is_written_is_heeded() {
    let mut desk = Desk::new(2);
    desk.notes = Answer::Never;
    desk.lose(1);
    desk.run(60_400);
    let note = desk.told.iter().find_map(|(_, action)| match action {
        Action::Remember { id, .. } => Some(*id),
        _ => None,
    });
    desk.fitness(Fitness::unfit(Fault::Uplink));
    let outcome = Outcome::Written { result: Ok(()) };
    desk.give(Input::Done { id: note.unwrap(), outcome });
    desk.poll();
    assert_eq!((desk.stops().len(), desk.remembered()), (0, Some([].into())));
    assert_eq!(held(&desk), ["it is not stopped: this node was not fit the whole time"]);
}

#[test]
fn a_note_without_an_answer_does_not_block_the_repair_for_ever() {
    let mut desk = Desk::new(2);
    desk.notes = Answer::Never;
    desk.lose(1);
    desk.run(61_000);
    desk.notes = Answer::Yes;
    desk.run(295_000);
    assert_eq!(desk.stops().len(), 0);
    desk.run(10_000);
    assert_eq!(desk.stops().len(), 1);
}

#[test]
fn what_an_earlier_run_stopped_is_started_even_though_a_user_s_call_stopped_it() {
    for recalled in [true, false] {
        let mut desk = Desk::starting(0, 2, numbers());
        if recalled {
            desk.machine.recall([id(1)].into());
        }
        desk.lose(1);
        desk.power.insert(id(1), stopped_by(StopOrigin::User));
        desk.run(5_000);
        assert_eq!(desk.starts(), usize::from(recalled));
    }
}

#[test]
fn a_terminated_peer_is_no_longer_noted() {
    let mut desk = stopped();
    ec2_says(&mut desk, InstanceState::Terminated);
    desk.run(5_000);
    assert_eq!((desk.verdict(1), repair(&desk)), (Verdict::Gone, None));
    ec2_says(&mut desk, InstanceState::Stopped);
    desk.run(30_000);
    assert_eq!(desk.starts(), 0);
}

#[test]
fn a_few_stops_an_hour_are_the_most_and_then_none_until_a_restart() {
    let mut numbers = numbers();
    numbers.repair.max_per_hour = 2;
    let mut desk = Desk::with(2, numbers);
    let mut at = Vec::new();
    for _ in 0..3 {
        desk.lose(1);
        let before = desk.stops().len();
        desk.run(65_000);
        at.push(desk.stops().len() - before);
        desk.beats.insert(1, Desk::fine(0));
        desk.run(60_000);
    }
    assert_eq!(at, [1, 1, 0]);
    let told = desk.events(EventKind::RepairHeld);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    desk.pause(3_600_000);
    desk.run(10_000);
    desk.lose(1);
    desk.run(65_000);
    assert_eq!(desk.stops().len(), 2, "latched");
}

#[test]
fn stops_of_more_than_an_hour_ago_do_not_count() {
    let mut numbers = numbers();
    numbers.repair.max_per_hour = 1;
    let mut desk = Desk::with(2, numbers);
    for n in 1..=2 {
        desk.lose(1);
        desk.run(65_000);
        assert_eq!(desk.stops().len(), n);
        desk.beats.insert(1, Desk::fine(0));
        desk.pause(3_540_000);
        desk.run(60_000);
    }
    assert!(held(&desk).is_empty(), "{:?}", held(&desk));
}

#[test]
fn a_stop_or_a_start_must_be_sent_soon_or_not_at_all() {
    let mut desk = stopped();
    ec2_says(&mut desk, InstanceState::Stopped);
    desk.run(5_000);
    let limits: Vec<Duration> = desk
        .told
        .iter()
        .filter_map(|(at, action)| match action {
            Action::Stop { not_after, .. } | Action::Start { not_after, .. } => {
                Some(not_after.since(*at))
            }
            _ => None,
        })
        .collect();
    assert_eq!(limits.len(), 2);
    assert!(limits.iter().all(|limit| *limit > millis(280) && *limit <= millis(300)), "{limits:?}");
}
