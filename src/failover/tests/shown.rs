//! What the machine tells of itself: to its peers in heartbeats, to people in the status.

use std::collections::BTreeSet;

use super::desk::*;
use crate::failover::{Action, Command, Input, Verdict};
use crate::types::{Beat, Claim, Fault, Fitness, Hears, InstanceState, SessionId, StopOrigin};

fn last_beat(desk: &Desk) -> Beat {
    let beat = desk.told.iter().rev().find_map(|(_, action)| match action {
        Action::SendBeat { beat, .. } => Some(beat.clone()),
        _ => None,
    });
    beat.expect("heartbeats are sent all the time")
}

#[test]
fn a_heartbeat_says_what_this_node_holds_and_whom_it_hears() {
    let mut desk = Desk::new(3);
    desk.routes.insert(table(1), to(0));
    desk.lose(2);
    desk.run(11_000);
    let beat = last_beat(&desk);
    assert_eq!((beat.settings_digest, beat.leaving), (DIGEST, false));
    let held: Vec<Claim> = beat.holds;
    let names: Vec<String> = held.iter().map(|claim| claim.group.to_string()).collect();
    assert!(names.contains(&"g0".to_owned()) && names.contains(&"g1".to_owned()), "{names:?}");
    let heard: Vec<_> = beat.hears.iter().map(|one| (one.node.clone(), one.failed)).collect();
    assert_eq!(heard, [(id(1), false), (id(2), true)]);
    assert_eq!(beat.hears[0].session, SessionId(101));
    assert!(beat.hears[0].age_ms < 200, "{beat:?}", beat = beat.hears);
    assert!(beat.hears[1].age_ms > 10_000, "{beat:?}", beat = beat.hears);
    desk.run(60_000);
    assert_eq!(last_beat(&desk).hears[1].age_ms, u16::MAX, "no more than fits");
}

#[test]
fn a_heartbeat_claims_no_group_that_is_elsewhere_split_or_unknown() {
    let mut desk = Desk::starting(0, 2, numbers());
    desk.reads = Answer::Never;
    desk.run(500);
    assert!(last_beat(&desk).holds.is_empty(), "nothing is known yet");
    assert!(last_beat(&desk).hears.len() == 1);
    let mut desk = Desk::new(2);
    let names = |desk: &Desk| {
        let holds = last_beat(desk).holds;
        holds.iter().map(|claim| claim.group.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&desk), ["g0"]);
    let mut wide = roster(2);
    wide.groups[0].resources.push(route(5));
    desk.routes.insert(table(5), to(1));
    desk.give(Input::Roster { roster: wide });
    desk.run(500);
    assert!(names(&desk).is_empty());
    assert_eq!(desk.view().groups[&group(0).name].holder, None, "split");
    desk.routes.insert(table(5), to(0));
    desk.run(11_000);
    assert_eq!(names(&desk), ["g0"]);
}

#[test]
fn a_node_that_was_never_heard_is_not_spoken_of() {
    let mut desk = Desk::starting(0, 2, numbers());
    desk.lose(1);
    desk.run(500);
    assert!(last_beat(&desk).hears.is_empty());
}

#[test]
fn the_view_shows_every_peer_with_its_evidence() {
    let mut desk = Desk::new(2);
    desk.run(7_000);
    let view = desk.view();
    assert_eq!((view.me.clone(), view.fitness.is_fit()), (id(0), true));
    let peer = desk.peer(1);
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
    let mut desk = Desk::new(2);
    let mut odd = Desk::fine(0);
    odd.settings_digest = DIGEST + 1;
    odd.fitness = Fitness::unfit(Fault::SourceDestCheck);
    odd.hears = vec![Hears { node: id(0), session: SESSION, age_ms: 900, failed: false }];
    *desk.beat_mut(1) = odd;
    desk.run(200);
    let peer = desk.peer(1);
    assert_eq!((peer.verdict, peer.hears_me, peer.settings_differ), (Verdict::Sick, false, true));
    assert_eq!(peer.fitness, Some(Fitness::unfit(Fault::SourceDestCheck)));
    desk.lose(1);
    desk.power.insert(id(1), stopped_by(StopOrigin::Guest));
    desk.run(3_000);
    let peer = desk.peer(1);
    assert_eq!((peer.verdict, peer.power), (Verdict::Down, Some(stopped_by(StopOrigin::Guest))));
    assert!(peer.power_age.unwrap() <= millis(2_100));
    assert!(peer.heartbeat_age.unwrap() >= secs(3));
}

#[test]
fn the_age_of_a_group_s_read_is_that_of_its_oldest_route() {
    let mut desk = Desk::new(2);
    let mut wide = roster(2);
    wide.groups[0].resources.push(route(5));
    desk.reads = Answer::Never;
    desk.give(Input::Roster { roster: wide.clone() });
    let view = desk.view();
    assert_eq!(view.groups[&group(0).name].read_age, None, "one was never read");
    let age = view.groups[&group(1).name].read_age.unwrap();
    assert!(age >= millis(2_900) && age <= secs(3), "{age:?}");
}

#[test]
fn targets_show_what_is_there_and_nothing_where_there_is_nothing() {
    let mut desk = Desk::new(3);
    desk.fitness(Fitness::unfit(Fault::Uplink));
    desk.routes.insert(table(0), abroad());
    desk.routes.insert(table(1), None);
    desk.routes.remove(&table(2));
    desk.run(11_000);
    let view = desk.view();
    let shown = |n: usize| view.groups[&group(n).name].targets[&table(n).to_string()].clone();
    assert_eq!(shown(0), abroad().map(|entry| entry.target));
    assert_eq!((shown(1), shown(2)), (None, None));
}

#[test]
fn timers_tell_when_a_repair_and_a_hand_back_can_come() {
    let names = |desk: &Desk| desk.view().timers.keys().cloned().collect::<BTreeSet<String>>();
    let mut desk = Desk::new(3);
    desk.lose(1);
    desk.run(30_000);
    let repair = format!("repair of {} at the earliest", id(1));
    assert_eq!(names(&desk), [repair.clone()].into(), "nobody else is lost or away");
    let left = desk.view().timers[&repair];
    assert!(left > secs(30) && left < secs(31), "{left:?}");
    desk.run(31_000);
    assert!(names(&desk).is_empty(), "its time has come");
    let mut desk = Desk::new(3);
    for n in [1, 2] {
        desk.beat_mut(n).fitness = Fitness::unfit(Fault::Uplink);
    }
    desk.run(1_000);
    desk.beat_mut(1).fitness = Fitness::fit();
    desk.run(10_000);
    let hand_back = format!("hand-back to {} at the earliest", id(1));
    assert_eq!(names(&desk), [hand_back.clone()].into(), "only to a home that is well");
    let left = desk.view().timers[&hand_back];
    assert!(left > secs(19) && left < secs(21), "{left:?}");
}

#[test]
fn no_repair_is_announced_where_there_is_none() {
    let mut numbers = numbers();
    numbers.repair.enabled = false;
    let mut desk = Desk::with(2, numbers);
    desk.lose(1);
    desk.run(10_000);
    assert!(desk.view().timers.is_empty());
}

#[test]
fn what_is_done_with_a_group_is_told_in_words() {
    let start = |stage: fn(&mut Desk)| {
        let mut desk = Desk::new(2);
        desk.writes = Answer::Never;
        stage(&mut desk);
        desk.run_until(60_000, |desk| !desk.moved().is_empty());
        let (of, _) = desk.moved()[0];
        desk.doing(of).unwrap()
    };
    let lose: fn(&mut Desk) = |desk| desk.lose(1);
    let give: fn(&mut Desk) = |desk| {
        desk.command(Command::HandOver { group: group(0).name, to: None });
    };
    let hand_back: fn(&mut Desk) = |desk| drop(desk.routes.insert(table(1), to(0)));
    let set: fn(&mut Desk) = |desk| drop(desk.routes.insert(table(0), None));
    assert_eq!(start(lose), format!("taking over, to {}", id(0)));
    assert_eq!(start(give), format!("handing over, to {}", id(1)));
    assert_eq!(start(hand_back), format!("handing back, to {}", id(1)));
    assert_eq!(start(set), format!("setting it right, to {}", id(0)));
}

#[test]
fn every_verdict_has_its_name() {
    let all = [
        (Verdict::Alive, "alive"),
        (Verdict::Sick, "sick"),
        (Verdict::Left, "left"),
        (Verdict::Suspected, "suspected"),
        (Verdict::DaemonDown, "daemon down"),
        (Verdict::Unreachable, "unreachable"),
        (Verdict::CutOff, "cut off"),
        (Verdict::Down, "down"),
        (Verdict::Gone, "gone"),
        (Verdict::Unmet, "unmet"),
    ];
    assert!(all.iter().all(|(verdict, name)| verdict.name() == *name));
    assert_eq!(report(InstanceState::Running).state, Some(InstanceState::Running));
}
