//! Stops and starts on their way: accepted, refused, lost, hanging, and how many there may be.

use std::time::Duration;

use super::repairs::{MINUTES, ec2_says, held, repair, stopped};
use super::test_bench::*;
use crate::failover::{Action, Command, EventKind, Input, Level, Outcome, Verdict};
use crate::types::{CloudFaultKind, Fault, Fitness, InstanceState, PowerReport, StopOrigin, Time};

#[test]
fn a_stop_that_was_sent_is_waited_for_and_not_told_as_held() {
    let mut bench = stopped();
    bench.run(290_000);
    assert_eq!(bench.stops().len(), 1);
    assert!(held(&bench).is_empty());
    bench.run(15_000);
    assert_eq!(bench.stops().len(), 2, "EC2 still says running: once more");
}

#[test]
fn a_peer_that_was_just_started_is_given_time_to_boot() {
    let mut bench = stopped();
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run_until(10_000, |bench| bench.starts() == 1);
    ec2_says(&mut bench, InstanceState::Running);
    bench.run(290_000);
    assert_eq!(bench.stops().len(), 1, "it may still be booting");
    bench.run(60_000);
    assert_eq!(bench.stops().len(), 2, "five minutes are enough");
}

#[test]
fn one_seen_on_its_way_up_is_given_time_to_boot_too() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.power.insert(id(1), report(InstanceState::Pending));
    bench.run(20_000);
    bench.power.insert(id(1), report(InstanceState::Running));
    bench.run(270_000);
    assert_eq!((bench.verdict(1), bench.stops().len()), (Verdict::Unreachable, 0));
    bench.run(20_000);
    assert_eq!(bench.stops().len(), 1, "since it was first seen so");
}

#[test]
fn an_accepted_start_that_shows_no_effect_is_repeated_after_a_minute() {
    let mut bench = stopped();
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run_until(10_000, |bench| bench.starts() == 1);
    bench.run(59_000);
    assert_eq!(bench.starts(), 1);
    bench.run(4_000);
    assert_eq!(bench.starts(), 2);
}

#[test]
fn a_peer_that_ec2_stops_after_each_start_is_started_less_and_less_often_and_told() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.run_until(MINUTES, |bench| bench.stops().len() == 1);
    let reason = "Server.InternalError: Client error on launch";
    let again = PowerReport { reason: Some(reason.to_owned()), ..stopped_by(StopOrigin::Service) };
    bench.power.insert(id(1), again);
    bench.run(3_600_000);
    let starts = bench.told.iter().filter(|(_, action)| matches!(action, Action::Start { .. }));
    let at: Vec<Time> = starts.map(|(at, _)| *at).collect();
    let waits: Vec<u64> = at.windows(2).map(|two| two[1].since(two[0]).as_secs() / 60).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 16]);
    let told = bench.events(EventKind::RepairBlocked);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert), "{told:?}");
    assert!(told[0].text.contains("3 starts") && told[0].text.contains(reason), "{told:?}");
    // Once it is heard, all is forgotten.
    bench.beats.insert(1, TestBench::fine(0));
    ec2_says(&mut bench, InstanceState::Running);
    bench.run(1_000);
    assert_eq!(bench.verdict(1), Verdict::Alive);
    assert_eq!(bench.remembered(), Some(std::collections::BTreeSet::new()));
}

#[test]
fn a_start_that_ec2_gives_up_is_repeated_whoever_stopped_the_peer() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    bench.power.insert(id(1), stopped_by(StopOrigin::Guest));
    bench.run_until(MINUTES, |bench| bench.starts() == 1);
    let code = "Client.InternalError";
    let reason = Some(format!("{code}: Client error on launch"));
    let again = PowerReport { reason, ..stopped_by(StopOrigin::of_reason(Some(code))) };
    bench.power.insert(id(1), again);
    bench.run(600_000);
    assert!(bench.starts() >= 3, "{}", bench.starts());
    let told = bench.events(EventKind::RepairBlocked);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert), "{told:?}");
    assert!(told[0].text.contains("kms:CreateGrant"), "{told:?}");
}

#[test]
fn only_natha_s_own_stop_or_ec2_s_or_the_guest_s_is_followed_by_a_start() {
    for (origin, starts) in [
        (StopOrigin::User, 0),
        (StopOrigin::Unknown, 0),
        (StopOrigin::Guest, 1),
        (StopOrigin::Service, 1),
    ] {
        let mut bench = TestBench::new(2);
        bench.lose(1);
        bench.power.insert(id(1), stopped_by(origin));
        bench.run(30_000);
        assert_eq!(bench.starts(), starts, "{origin:?}");
        let told = held(&bench);
        assert_eq!(told.len(), 1 - starts, "{told:?}");
        assert!(told.iter().all(|why| why.starts_with("it is not started: ")), "{told:?}");
    }
}

#[test]
fn starts_of_what_natha_did_not_stop_are_staggered() {
    let mut bench = TestBench::starting(1, 2, timing());
    bench.run(3_000);
    bench.lose(0);
    bench.power.insert(id(0), stopped_by(StopOrigin::Service));
    bench.run(20_000);
    assert_eq!(bench.starts(), 0);
    bench.run(1_000);
    assert_eq!(bench.starts(), 1);
}

#[test]
fn what_left_on_purpose_is_not_started() {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).leaving = true;
    bench.run(200);
    bench.lose(1);
    bench.power.insert(id(1), stopped_by(StopOrigin::Guest));
    bench.run(60_000);
    assert_eq!(bench.starts(), 0);
    assert_eq!(held(&bench), ["it is not started: it left on purpose before it stopped"]);
}

#[test]
fn a_leaving_node_and_one_without_repair_start_nobody() {
    let leave = |bench: &mut TestBench| {
        bench.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
        bench.run(200);
        bench.command(Command::Leave);
    };
    let off = |bench: &mut TestBench| {
        let mut timing = timing();
        timing.repair.enabled = false;
        *bench = TestBench::with(2, timing);
    };
    for against in [leave as fn(&mut TestBench), off] {
        let mut bench = TestBench::new(2);
        against(&mut bench);
        bench.lose(1);
        bench.power.insert(id(1), stopped_by(StopOrigin::Service));
        bench.run(60_000);
        assert_eq!((bench.verdict(1), bench.starts()), (Verdict::Down, 0));
        assert!(held(&bench).is_empty(), "{:?}", held(&bench));
    }
}

#[test]
fn a_peer_that_hangs_in_stopping_is_stopped_by_force_once() {
    let mut bench = stopped();
    ec2_says(&mut bench, InstanceState::Stopping);
    bench.run(295_000);
    assert_eq!(bench.stops(), [(1, false)]);
    bench.run(10_000);
    assert_eq!(bench.stops(), [(1, false), (1, true)]);
    let told = bench.events(EventKind::RepairStop);
    assert_eq!((told.len(), told[1].level), (2, Level::Alert));
    bench.run(700_000);
    assert_eq!(bench.stops().len(), 2);
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run(3_000);
    assert_eq!(bench.starts(), 1, "and is started all the same");
}

#[test]
fn who_is_unfit_or_leaving_stops_nobody_by_force() {
    let unfit = |bench: &mut TestBench| bench.fitness(Fitness::unfit(Fault::Uplink));
    let leave = |bench: &mut TestBench| bench.command(Command::Leave);
    for away in [unfit as fn(&mut TestBench), leave] {
        let mut bench = stopped();
        ec2_says(&mut bench, InstanceState::Stopping);
        bench.run(200_000);
        away(&mut bench);
        bench.run(200_000);
        assert_eq!(bench.stops(), [(1, false)]);
    }
}

#[test]
fn a_peer_that_is_heard_in_its_old_life_is_not_taken_for_repaired() {
    let mut bench = stopped();
    bench.beats.insert(1, TestBench::fine(0));
    bench.run(9_000);
    assert_eq!(bench.verdict(1), Verdict::Alive);
    assert!(bench.events(EventKind::RepairDone).is_empty(), "its stop may still take effect");
    assert_eq!(bench.remembered(), Some([id(1)].into()));
    bench.run(5_000);
    assert_eq!(bench.events(EventKind::RepairDone).len(), 1, "EC2 says running, long after");
    assert_eq!(bench.remembered(), Some([].into()));
}

#[test]
fn what_somebody_else_stops_is_not_forced() {
    let mut bench = TestBench::new(2);
    bench.lose(1);
    ec2_says(&mut bench, InstanceState::Stopping);
    bench.run(700_000);
    assert_eq!(bench.stops(), []);
}

#[test]
fn a_stop_that_ec2_refused_leaves_nothing_noted_and_is_tried_again() {
    let mut bench = TestBench::new(2);
    bench.calls = Answer::No(CloudFaultKind::Denied);
    bench.lose(1);
    bench.run_until(MINUTES, |bench| bench.stops().len() == 1);
    bench.run(1_000);
    assert_eq!(bench.remembered(), Some([].into()));
    let told = bench.events(EventKind::ApiFailed);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("next try in"), "{told:?}");
    bench.calls = Answer::Yes;
    bench.run(7_000);
    assert_eq!(bench.stops().len(), 2);
}

#[test]
fn stops_that_ec2_refuses_are_repeated_with_growing_waits_and_count_for_nothing() {
    let mut timing = timing();
    timing.repair.max_per_hour = 2;
    let mut bench = TestBench::with(2, timing);
    bench.calls = Answer::No(CloudFaultKind::Denied);
    bench.lose(1);
    bench.run(300_000);
    let at: Vec<Time> = bench
        .told
        .iter()
        .filter(|(_, action)| matches!(action, Action::Stop { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert!((8..=9).contains(&at.len()), "{at:?}");
    let waits: Vec<Duration> = at.windows(2).map(|two| two[1].since(two[0])).collect();
    assert!(waits[0] < millis(5_300), "{waits:?}");
    assert!(waits[4] > secs(29), "{waits:?}");
    assert_eq!(bench.events(EventKind::RepairBlocked), []);
    // What was throttled or not sent at all does not count either.
    for answer in [Answer::No(CloudFaultKind::Throttled), Answer::Expired] {
        bench.calls = answer;
        bench.run(60_000);
    }
    bench.calls = Answer::Yes;
    let before = bench.stops().len();
    bench.run(120_000);
    assert_eq!(bench.stops().len(), before + 1, "{:?}", bench.texts());
}

#[test]
fn a_stop_whose_outcome_is_unknown_is_taken_for_sent() {
    let mut bench = TestBench::new(2);
    bench.calls = Answer::Lost;
    bench.lose(1);
    bench.run_until(MINUTES, |bench| bench.stops().len() == 1);
    bench.run(60_000);
    assert_eq!(bench.remembered(), Some([id(1)].into()));
    assert_eq!(bench.stops().len(), 1, "it is waited for");
    let told = bench.events(EventKind::ApiFailed);
    assert_eq!((told.len(), told[0].level), (1, Level::Warning));
}

#[test]
fn a_throttled_stop_stays_noted_and_is_repeated_soon() {
    let mut bench = TestBench::new(2);
    bench.calls = Answer::No(CloudFaultKind::Throttled);
    bench.lose(1);
    bench.run_until(MINUTES, |bench| bench.stops().len() == 1);
    bench.run(2_000);
    assert_eq!(bench.remembered(), Some([id(1)].into()), "503 does not surely mean refused");
    assert!(bench.stops().len() >= 2);
    assert_eq!(bench.events(EventKind::ApiFailed)[0].level, Level::Warning);
}

#[test]
fn a_stop_that_expired_was_not_sent() {
    let mut bench = TestBench::new(2);
    bench.calls = Answer::Expired;
    bench.lose(1);
    bench.run_until(MINUTES, |bench| bench.stops().len() == 1);
    bench.calls = Answer::Yes;
    bench.run(100);
    assert!(bench.events(EventKind::ApiFailed).is_empty());
    assert_eq!(bench.count(|action| matches!(action, Action::Remember { .. })), 3);
    assert_eq!(bench.stops().len(), 2, "decided anew, and noted anew");
}

#[test]
fn a_refused_second_stop_by_force_does_not_undo_the_first() {
    let mut bench = stopped();
    ec2_says(&mut bench, InstanceState::Stopping);
    bench.calls = Answer::No(CloudFaultKind::Denied);
    bench.run(310_000);
    assert_eq!(bench.stops(), [(1, false), (1, true)]);
    assert_eq!(bench.remembered(), Some([id(1)].into()));
    bench.calls = Answer::Yes;
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run(50_000);
    assert_eq!(bench.starts(), 1);
}

#[test]
fn a_throttled_stop_by_force_does_not_make_the_first_one_forgotten() {
    let mut bench = stopped();
    ec2_says(&mut bench, InstanceState::Stopping);
    bench.calls = Answer::No(CloudFaultKind::Throttled);
    bench.run(310_000);
    assert_eq!(bench.stops(), [(1, false), (1, true)]);
    bench.beats.insert(1, TestBench::fine(0));
    bench.run(1_000);
    assert_eq!(bench.events(EventKind::RepairDone).len(), 0, "its old life may speak");
    ec2_says(&mut bench, InstanceState::Running);
    bench.run(5_000);
    let done = bench.events(EventKind::RepairDone);
    assert!(done[0].took.is_some_and(|took| took > secs(305)), "{done:?}");
}

#[test]
fn a_refused_start_is_repeated_and_the_peer_stays_noted() {
    let mut bench = stopped();
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.calls = Answer::No(CloudFaultKind::Denied);
    bench.run(15_000);
    assert!(bench.starts() >= 2);
    assert_eq!(bench.remembered(), Some([id(1)].into()));
}

#[test]
fn a_note_that_cannot_be_written_is_told_and_hinders_nothing() {
    let mut bench = TestBench::new(2);
    bench.notes = Answer::No(CloudFaultKind::Other);
    bench.lose(1);
    bench.run(61_000);
    assert_eq!(bench.stops(), [(1, false)]);
    let told = bench.events(EventKind::RepairBlocked);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("start the instance manually"), "{told:?}");
}

#[test]
fn a_peer_that_comes_back_while_the_note_is_written_is_not_stopped() {
    let mut bench = TestBench::new(2);
    bench.notes = Answer::Never;
    bench.lose(1);
    bench.run(60_400);
    assert_eq!(bench.remembered(), Some([id(1)].into()));
    bench.beats.insert(1, TestBench::fine(0));
    bench.run(1_000);
    assert_eq!((bench.remembered(), bench.stops().len()), (Some([].into()), 0));
    assert!(bench.events(EventKind::RepairDone).is_empty(), "there was no repair");
}

#[test]
fn what_changes_while_the_note_is_written_is_heeded() {
    let mut bench = TestBench::new(2);
    bench.notes = Answer::Never;
    bench.lose(1);
    bench.run(60_400);
    let note = bench.told.iter().find_map(|(_, action)| match action {
        Action::Remember { id, .. } => Some(*id),
        _ => None,
    });
    bench.fitness(Fitness::unfit(Fault::Uplink));
    let outcome = Outcome::Written { result: Ok(()) };
    bench.give(Input::Done { id: note.unwrap(), outcome });
    bench.poll();
    assert_eq!((bench.stops().len(), bench.remembered()), (0, Some([].into())));
    assert_eq!(held(&bench), ["it is not stopped: this node is not fit"]);
}

#[test]
fn a_note_without_an_answer_does_not_block_the_repair_for_ever() {
    let mut bench = TestBench::new(2);
    bench.notes = Answer::Never;
    bench.lose(1);
    bench.run(61_000);
    bench.notes = Answer::Yes;
    bench.run(295_000);
    assert_eq!(bench.stops().len(), 0);
    bench.run(10_000);
    assert_eq!(bench.stops().len(), 1);
}

#[test]
fn what_an_earlier_run_stopped_is_started_even_though_a_user_s_call_stopped_it() {
    for recalled in [true, false] {
        let mut bench = TestBench::starting(0, 2, timing());
        if recalled {
            bench.machine.recall([id(1)].into());
        }
        bench.lose(1);
        bench.power.insert(id(1), stopped_by(StopOrigin::User));
        bench.run(5_000);
        assert_eq!(bench.starts(), usize::from(recalled));
    }
}

#[test]
fn a_terminated_peer_is_no_longer_noted() {
    let mut bench = stopped();
    ec2_says(&mut bench, InstanceState::Terminated);
    bench.run(5_000);
    assert_eq!((bench.verdict(1), repair(&bench)), (Verdict::Gone, None));
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run(30_000);
    assert_eq!(bench.starts(), 0);
}

#[test]
fn a_few_stops_an_hour_are_the_most_and_then_none_until_the_hour_is_over() {
    let mut timing = timing();
    timing.repair.max_per_hour = 2;
    let mut bench = TestBench::with(2, timing);
    let mut at = Vec::new();
    for _ in 0..3 {
        bench.lose(1);
        let before = bench.stops().len();
        bench.run(65_000);
        at.push(bench.stops().len() - before);
        bench.beats.insert(1, TestBench::fine(0));
        bench.run(60_000);
    }
    assert_eq!(at, [1, 1, 0]);
    let told = bench.events(EventKind::RepairBlocked);
    assert_eq!((told.len(), told[0].level), (1, Level::Alert));
    assert!(told[0].text.contains("too many stops within an hour"), "{told:?}");
    bench.pause(3_600_000);
    bench.run(10_000);
    bench.lose(1);
    bench.run(65_000);
    assert_eq!(bench.stops().len(), 3, "the hour is over");
}

#[test]
fn stops_of_more_than_an_hour_ago_do_not_count() {
    let mut timing = timing();
    timing.repair.max_per_hour = 1;
    let mut bench = TestBench::with(2, timing);
    for n in 1..=2 {
        bench.lose(1);
        bench.run(65_000);
        assert_eq!(bench.stops().len(), n);
        bench.beats.insert(1, TestBench::fine(0));
        bench.pause(3_540_000);
        bench.run(60_000);
    }
    assert!(held(&bench).is_empty(), "{:?}", held(&bench));
}

#[test]
fn a_stop_or_a_start_must_be_sent_soon_or_not_at_all() {
    let mut bench = stopped();
    ec2_says(&mut bench, InstanceState::Stopped);
    bench.run(5_000);
    let limits: Vec<Duration> = bench
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
