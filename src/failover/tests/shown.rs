//! What the machine tells of itself: to its peers in heartbeats, to people in the status.

use std::collections::BTreeSet;

use super::test_bench::*;
use crate::failover::{Action, Command, Input, Verdict};
use crate::types::{Beat, Claim, Fault, Fitness, Hears, InstanceState, SessionId, StopOrigin};

fn last_beat(bench: &TestBench) -> Beat {
    let beat = bench.told.iter().rev().find_map(|(_, action)| match action {
        Action::SendBeat { beat, .. } => Some(beat.clone()),
        _ => None,
    });
    beat.expect("heartbeats are sent all the time")
}

#[test]
fn a_heartbeat_says_what_this_node_holds_and_whom_it_hears() {
    let mut bench = TestBench::new(3);
    bench.routes.insert(table(1), to(0));
    bench.lose(2);
    bench.run(11_000);
    let beat = last_beat(&bench);
    assert_eq!((beat.settings_digest, beat.leaving), (DIGEST, false));
    let held: Vec<Claim> = beat.holds;
    let names: Vec<String> = held.iter().map(|claim| claim.group.to_string()).collect();
    assert!(names.contains(&"g0".to_owned()) && names.contains(&"g1".to_owned()), "{names:?}");
    let heard: Vec<_> = beat.hears.iter().map(|one| (one.node.clone(), one.failed)).collect();
    assert_eq!(heard, [(id(1), false), (id(2), true)]);
    assert_eq!(beat.hears[0].session, SessionId(101));
    assert!(beat.hears[0].age_ms < 200, "{beat:?}", beat = beat.hears);
    assert!(beat.hears[1].age_ms > 10_000, "{beat:?}", beat = beat.hears);
    bench.run(60_000);
    assert_eq!(last_beat(&bench).hears[1].age_ms, u16::MAX, "no more than fits");
}

#[test]
fn a_heartbeat_claims_no_group_that_is_elsewhere_split_or_unknown() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.reads = Answer::Never;
    bench.run(500);
    assert!(last_beat(&bench).holds.is_empty(), "nothing is known yet");
    assert!(last_beat(&bench).hears.len() == 1);
    let mut bench = TestBench::new(2);
    let names = |bench: &TestBench| {
        let holds = last_beat(bench).holds;
        holds.iter().map(|claim| claim.group.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&bench), ["g0"]);
    let mut wide = roster(2);
    wide.groups[0].resources.push(route(5));
    bench.routes.insert(table(5), to(1));
    bench.give(Input::Roster { roster: wide });
    bench.run(500);
    assert!(names(&bench).is_empty());
    assert_eq!(bench.view().groups[&group(0).name].holder, None, "split");
    bench.routes.insert(table(5), to(0));
    bench.run(11_000);
    assert_eq!(names(&bench), ["g0"]);
}

#[test]
fn a_node_that_was_never_heard_is_not_spoken_of() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.lose(1);
    bench.run(500);
    assert!(last_beat(&bench).hears.is_empty());
}

#[test]
fn the_view_shows_every_peer_with_its_evidence() {
    let mut bench = TestBench::new(2);
    bench.run(7_000);
    let view = bench.view();
    assert_eq!((view.me.clone(), view.fitness.is_fit()), (id(0), true));
    let peer = bench.peer(1);
    assert_eq!((peer.verdict, peer.hears_me, peer.settings_differ), (Verdict::Alive, true, false));
    assert!(peer.verdict_age > secs(9), "{peer:?}");
    assert!(peer.heartbeat_age.unwrap() <= millis(100), "{peer:?}");
    assert!(peer.echo_age.unwrap() <= millis(1_010), "{peer:?}");
    assert_eq!(peer.fitness, Some(Fitness::fit()));
    assert_eq!((peer.power, peer.power_age, peer.repair), (None, None, None));
    let g0 = &view.groups[&group(0).name];
    assert_eq!((g0.home.clone(), g0.holder.clone()), (Some(id(0)), Some(id(0))));
    assert_eq!(g0.targets, [(table(0).to_string(), to(0).map(|entry| entry.target))].into());
    assert!(g0.read_age.is_some_and(|age| age <= secs(10) && age > secs(0)), "{g0:?}");
    assert_eq!((g0.generation, g0.doing.clone()), (0, None));
    assert!(view.timers.is_empty(), "{view:?}");
}

#[test]
fn the_view_of_a_troubled_peer_shows_what_is_wrong() {
    let mut bench = TestBench::new(2);
    let mut odd = TestBench::fine(0);
    odd.settings_digest = DIGEST + 1;
    odd.fitness = Fitness::unfit(Fault::SourceDestCheck);
    odd.hears =
        vec![Hears { node: id(0), session: SESSION, age_ms: 900, failed: false, stopped: false }];
    *bench.beat_mut(1) = odd;
    bench.run(200);
    let peer = bench.peer(1);
    assert_eq!((peer.verdict, peer.hears_me, peer.settings_differ), (Verdict::Sick, false, true));
    assert_eq!(peer.fitness, Some(Fitness::unfit(Fault::SourceDestCheck)));
    bench.lose(1);
    bench.power.insert(id(1), stopped_by(StopOrigin::Guest));
    bench.run(3_000);
    let peer = bench.peer(1);
    assert_eq!((peer.verdict, peer.power), (Verdict::Down, Some(stopped_by(StopOrigin::Guest))));
    assert!(peer.power_age.unwrap() <= millis(2_100));
    assert!(peer.heartbeat_age.unwrap() >= secs(3));
}

#[test]
fn the_age_of_a_group_s_read_is_that_of_its_oldest_route() {
    let mut bench = TestBench::new(2);
    let mut wide = roster(2);
    wide.groups[0].resources.push(route(5));
    bench.reads = Answer::Never;
    bench.give(Input::Roster { roster: wide.clone() });
    let view = bench.view();
    assert_eq!(view.groups[&group(0).name].read_age, None, "one was never read");
    let age = view.groups[&group(1).name].read_age.unwrap();
    assert!(age >= millis(2_900) && age <= secs(3), "{age:?}");
}

#[test]
fn targets_show_what_is_there_and_nothing_where_there_is_nothing() {
    let mut bench = TestBench::new(3);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    bench.routes.insert(table(0), abroad());
    bench.routes.insert(table(1), None);
    bench.routes.remove(&table(2));
    bench.run(11_000);
    let view = bench.view();
    let shown = |n: usize| view.groups[&group(n).name].targets[&table(n).to_string()].clone();
    assert_eq!(shown(0), abroad().map(|entry| entry.target));
    assert_eq!((shown(1), shown(2)), (None, None));
}

#[test]
fn timers_tell_when_a_repair_and_a_hand_back_can_come() {
    let names =
        |bench: &TestBench| bench.view().timers.keys().cloned().collect::<BTreeSet<String>>();
    let mut bench = TestBench::new(3);
    bench.lose(1);
    bench.run(30_000);
    let repair = format!("repair of {} at the earliest", id(1));
    assert_eq!(names(&bench), [repair.clone()].into(), "nobody else is lost or away");
    let left = bench.view().timers[&repair];
    assert!(left > secs(30) && left < secs(31), "{left:?}");
    bench.run(31_000);
    assert!(names(&bench).is_empty(), "its time has come");
    let mut bench = TestBench::new(3);
    for n in [1, 2] {
        bench.beat_mut(n).fitness = Fitness::unfit(Fault::Forwarding);
    }
    bench.run(1_000);
    bench.beat_mut(1).fitness = Fitness::fit();
    bench.run(10_000);
    let hand_back = format!("hand-back to {} at the earliest", id(1));
    assert_eq!(names(&bench), [hand_back.clone()].into(), "only to a home that is well");
    let left = bench.view().timers[&hand_back];
    assert!(left > secs(19) && left < secs(21), "{left:?}");
}

#[test]
fn no_repair_is_announced_where_there_is_none() {
    let mut timing = timing();
    timing.repair.enabled = false;
    let mut bench = TestBench::with(2, timing);
    bench.lose(1);
    bench.run(10_000);
    assert!(bench.view().timers.is_empty());
}

#[test]
fn what_is_done_with_a_group_is_told_in_words() {
    let start = |stage: fn(&mut TestBench)| {
        let mut bench = TestBench::new(2);
        bench.writes = Answer::Never;
        stage(&mut bench);
        bench.run_until(60_000, |bench| !bench.moved().is_empty());
        let (of, _) = bench.moved()[0];
        bench.doing(of).unwrap()
    };
    let lose: fn(&mut TestBench) = |bench| bench.lose(1);
    let give: fn(&mut TestBench) = |bench| {
        bench.command(Command::HandOver { group: group(0).name, to: None });
    };
    let hand_back: fn(&mut TestBench) = |bench| drop(bench.routes.insert(table(1), to(0)));
    let set: fn(&mut TestBench) = |bench| drop(bench.routes.insert(table(0), None));
    assert_eq!(start(lose), format!("taking over, to {}", id(0)));
    assert_eq!(start(give), format!("handing over, to {}", id(1)));
    assert_eq!(start(hand_back), format!("handing back, to {}", id(1)));
    assert_eq!(start(set), format!("correcting it, to {}", id(0)));
}

#[test]
fn every_verdict_has_its_name() {
    let all = [
        (Verdict::Alive, "alive"),
        (Verdict::Sick, "sick"),
        (Verdict::Leaving, "leaving"),
        (Verdict::Suspected, "suspected"),
        (Verdict::DaemonDown, "daemon down"),
        (Verdict::Unreachable, "unreachable"),
        (Verdict::Partitioned, "partitioned"),
        (Verdict::Down, "down"),
        (Verdict::Gone, "gone"),
        (Verdict::Unmet, "unmet"),
    ];
    assert!(all.iter().all(|(verdict, name)| verdict.name() == *name));
    assert_eq!(report(InstanceState::Running).state, Some(InstanceState::Running));
}

#[test]
fn a_verdict_that_is_asked_for_is_the_one_that_is_shown() {
    let mut bench = TestBench::new(3);
    bench.lose(2);
    bench.run(11_000);
    for peer in [id(1), id(2)] {
        assert_eq!(bench.machine.verdict(&peer), Some(bench.view().peers[&peer].verdict));
    }
    assert_ne!(bench.machine.verdict(&id(1)), bench.machine.verdict(&id(2)));
    assert_eq!(bench.machine.verdict(&id(0)), None, "this node is no peer");
}
