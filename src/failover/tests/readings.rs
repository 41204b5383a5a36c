//! When EC2 is asked, how often, and what its answers mean.

use super::desk::*;
use crate::failover::{Action, ActionId, EventKind, Input, Level, Outcome, Verdict};
use crate::types::{
    Claim, CloudFaultKind, Fault, Fitness, InstanceState, PowerReport, Roster, StopOrigin, Time,
};

fn route_reads(desk: &Desk) -> Vec<(Time, ActionId)> {
    let read = |(at, action): &(Time, Action)| match action {
        Action::ReadRoutes { id, .. } => Some((*at, *id)),
        _ => None,
    };
    desk.told.iter().filter_map(read).collect()
}

fn power_reads(desk: &Desk, of: usize) -> Vec<Time> {
    let is_it =
        |action: &Action| matches!(action, Action::ReadPower { node, .. } if *node == id(of));
    desk.told.iter().filter(|(_, action)| is_it(action)).map(|(at, _)| *at).collect()
}

fn gaps(at: &[Time]) -> Vec<u128> {
    at.windows(2).map(|two| two[1].since(two[0]).as_millis()).collect()
}

/// Reads of the routes and of each node's power within the next minute.
fn asked_in_a_minute(desk: &mut Desk) -> (usize, usize, usize) {
    desk.told.clear();
    desk.run(60_000);
    (route_reads(desk).len(), power_reads(desk, 0).len(), power_reads(desk, 1).len())
}

#[test]
fn while_all_is_well_only_the_routes_are_read_and_rarely() {
    let mut desk = Desk::new(2);
    assert_eq!(asked_in_a_minute(&mut desk), (6, 0, 0));
}

#[test]
fn all_tables_are_read_in_one_call_each_once() {
    let mut roster = roster(2);
    roster.groups[1].resources.extend([route(1), route(5)]);
    let mut desk = Desk::new(2);
    desk.give(Input::Roster { roster });
    desk.told.clear();
    desk.run(200);
    let tables: Vec<_> = desk
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
    let mut desk = Desk::starting(0, 2, numbers());
    desk.give(Input::Roster { roster: Roster { groups: Vec::new(), ..roster(2) } });
    desk.run(30_000);
    assert!(route_reads(&desk).is_empty());
}

fn stopped(desk: &mut Desk, origin: StopOrigin) {
    desk.lose(1);
    desk.power.insert(id(1), stopped_by(origin));
}

#[test]
fn how_often_ec2_is_asked_follows_the_worst_peer() {
    let sick = |desk: &mut Desk| desk.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
    let left = |desk: &mut Desk| desk.beat_mut(1).leaving = true;
    let daemon = |desk: &mut Desk| drop(desk.beats.remove(&1));
    let lost = |desk: &mut Desk| desk.lose(1);
    let gone = |desk: &mut Desk| {
        desk.lose(1);
        desk.power.insert(id(1), PowerReport { state: None, ..report(InstanceState::Running) });
    };
    let user = |desk: &mut Desk| stopped(desk, StopOrigin::User);
    let unknown = |desk: &mut Desk| stopped(desk, StopOrigin::Unknown);
    let stopping = |desk: &mut Desk| {
        stopped(desk, StopOrigin::User);
        desk.power.get_mut(&id(1)).unwrap().state = Some(InstanceState::Stopping);
    };
    let cases: [(fn(&mut Desk), _, _); 8] = [
        (sick, Verdict::Sick, (30, 0, 0)),
        (left, Verdict::Left, (6, 6, 6)),
        (daemon, Verdict::DaemonDown, (30, 30, 30)),
        (lost, Verdict::Unreachable, (30, 30, 30)),
        (gone, Verdict::Gone, (6, 6, 6)),
        (user, Verdict::Down, (6, 6, 6)),
        (unknown, Verdict::Down, (30, 30, 30)),
        (stopping, Verdict::Down, (30, 30, 30)),
    ];
    for (fail, verdict, asked) in cases {
        let mut numbers = numbers();
        numbers.repair.enabled = false;
        let mut desk = Desk::with(2, numbers);
        fail(&mut desk);
        desk.run(20_000);
        let found = asked_in_a_minute(&mut desk);
        assert_eq!(desk.verdict(1), verdict);
        let near = |one: usize, other: usize| one.abs_diff(other) <= 1 + other / 10;
        let all = near(found.0, asked.0) && near(found.1, asked.1) && near(found.2, asked.2);
        assert!(all, "{verdict:?}: {found:?} instead of {asked:?}");
    }
}

#[test]
fn a_stopped_peer_that_natha_stopped_is_watched_closely() {
    let mut desk = Desk::starting(0, 2, numbers());
    desk.machine.recall([id(1)].into());
    desk.calls = Answer::No(CloudFaultKind::Capacity);
    desk.lose(1);
    desk.power.insert(id(1), stopped_by(StopOrigin::User));
    desk.run(20_000);
    assert!(asked_in_a_minute(&mut desk).2 >= 27, "it is to be started");
}

#[test]
fn reads_that_are_wanted_at_once_keep_a_tenth_of_a_second_between_them() {
    let mut desk = Desk::new(3);
    desk.told.clear();
    for n in 0..10 {
        desk.give(Input::Roster { roster: roster(2 + n % 2) });
        desk.run(30);
    }
    let at: Vec<Time> = route_reads(&desk).into_iter().map(|(at, _)| at).collect();
    assert!(at.len() >= 3, "{at:?}");
    assert!(gaps(&at).iter().all(|gap| (100..150).contains(gap)), "{at:?}");
}

#[test]
fn while_a_group_moves_the_routes_are_read_often() {
    let mut desk = Desk::new(2);
    desk.writes = Answer::Never;
    desk.command(crate::failover::Command::HandOver { group: group(0).name, to: Some(id(1)) });
    desk.run(1_000);
    let (routes, ..) = asked_in_a_minute(&mut desk);
    assert!((28..=31).contains(&routes), "{routes}");
}

#[test]
fn one_read_at_a_time_and_one_without_an_answer_is_given_up() {
    let mut desk = Desk::new(2);
    desk.reads = Answer::Never;
    desk.lose(1);
    desk.told.clear();
    desk.run(50_000);
    let at: Vec<Time> = route_reads(&desk).into_iter().map(|(at, _)| at).collect();
    assert!(at.len() >= 3 && gaps(&at).iter().all(|gap| (15_000..15_200).contains(gap)), "{at:?}");
    let at = power_reads(&desk, 1);
    assert!(at.len() >= 3 && gaps(&at).iter().all(|gap| (15_000..15_200).contains(gap)), "{at:?}");
}

#[test]
fn the_answer_to_a_read_that_was_given_up_is_not_taken() {
    let mut desk = Desk::new(2);
    desk.reads = Answer::Never;
    desk.told.clear();
    desk.run(30_000);
    let asked = route_reads(&desk);
    assert!(asked.len() >= 2);
    let outcome = Outcome::Routes { result: Ok([].into()) };
    desk.give(Input::Done { id: asked[0].1, outcome: outcome.clone() });
    assert_eq!(desk.view().groups[&group(0).name].holder, Some(id(0)));
    desk.give(Input::Done { id: asked.last().unwrap().1, outcome });
    assert_eq!(desk.view().groups[&group(0).name].holder, None);
}

#[test]
fn a_failed_read_is_told_once_and_tried_again_with_growing_waits() {
    let mut desk = Desk::new(2);
    desk.reads = Answer::No(CloudFaultKind::Throttled);
    desk.lose(1);
    desk.told.clear();
    desk.run(60_000);
    let told = desk.events(EventKind::ApiFailed);
    assert_eq!((told.len(), told[0].level), (1, Level::Warning), "{told:?}");
    assert!(told[0].text.contains("nothing is changed for it"), "{told:?}");
    for reads in [route_reads(&desk).iter().map(|(at, _)| *at).collect(), power_reads(&desk, 1)] {
        let waits = gaps(&reads);
        assert!(waits[0] < 2_300, "no less than the usual pace: {waits:?}");
        assert!(waits.iter().all(|wait| *wait < 10_200), "{waits:?}");
        assert!(*waits.last().unwrap() > 5_000, "{waits:?}");
        assert!((8..=14).contains(&reads.len()), "{waits:?}");
    }
    desk.reads = Answer::Yes;
    desk.run(11_000);
    let told = desk.events(EventKind::ApiFailed);
    assert_eq!((told.len(), told[1].level), (2, Level::Info));
    assert!(told[1].text.contains("can be read again"), "{told:?}");
    desk.told.clear();
    desk.run(60_000);
    assert!(route_reads(&desk).len() >= 27, "the waits are forgotten");
    assert!(power_reads(&desk, 1).len() >= 27, "the waits are forgotten");
    desk.reads = Answer::No(CloudFaultKind::Throttled);
    desk.run(5_000);
    assert_eq!(desk.events(EventKind::ApiFailed).len(), 1, "a new failure is told anew");
}

#[test]
fn a_hurried_read_that_fails_is_followed_by_a_hurried_one() {
    let mut desk = Desk::new(2);
    desk.run(2_000);
    desk.reads = Answer::No(CloudFaultKind::Throttled);
    desk.beat_mut(1).holds = vec![Claim { group: group(1).name, generation: 1, to: None }];
    desk.run_until(500, |desk| !desk.events(EventKind::ApiFailed).is_empty());
    desk.reads = Answer::Yes;
    let before = route_reads(&desk).len();
    desk.run(600);
    assert_eq!(route_reads(&desk).len(), before + 1, "not only after the regular pace");
}

#[test]
fn an_unread_route_table_changes_nothing() {
    let mut desk = Desk::new(2);
    desk.reads = Answer::No(CloudFaultKind::Denied);
    desk.run(20_000);
    assert_eq!(desk.view().groups[&group(1).name].holder, Some(id(1)));
    assert_eq!(desk.verdict(1), Verdict::Alive);
}

#[test]
fn a_lost_peer_s_deeds_are_seen_in_the_routes() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    desk.run(3_000);
    desk.routes.insert(table(0), to(1));
    desk.run(3_000);
    assert_eq!(desk.verdict(1), Verdict::Unreachable, "one early deed may be a straggler");
    // This node takes its own back, and the peer moves it once more.
    desk.run(4_000);
    assert_eq!(desk.moved().last(), Some(&(0, 0)));
    desk.routes.insert(table(0), to(1));
    desk.run(8_000);
    assert_eq!(desk.verdict(1), Verdict::CutOff, "{:#?}", desk.texts());
    let told = desk.events(EventKind::Verdict).pop().unwrap();
    assert!(told.text.contains("it moved 2 resource(s)"), "{told:?}");
}

#[test]
fn what_a_third_node_does_or_what_was_there_before_is_no_deed() {
    let mut desk = Desk::new(3);
    desk.lose(1);
    desk.run(14_000);
    desk.routes.insert(table(0), to(2));
    desk.routes.insert(table(2), abroad());
    desk.run(4_000);
    assert_eq!(desk.verdict(1), Verdict::Unreachable);
    let mut desk = Desk::new(2);
    desk.routes.insert(table(0), to(1));
    desk.run(11_000);
    desk.writes = Answer::Never;
    desk.lose(1);
    desk.run(30_000);
    assert_eq!(desk.verdict(1), Verdict::Unreachable, "moved while it was alive");
}

#[test]
fn a_route_seen_for_the_first_time_is_nobody_s_deed() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    desk.run(15_000);
    desk.pause(1_000);
    desk.routes.insert(table(0), to(1));
    desk.run(1_000);
    assert_eq!(desk.verdict(1), Verdict::Unreachable);
}

#[test]
fn a_read_that_was_begun_before_a_retry_s_time_does_not_bring_it_forward() {
    let mut desk = Desk::new(2);
    desk.writes = Answer::No(CloudFaultKind::State);
    desk.lose(1);
    desk.run(5_000);
    let writes = desk.moved().len();
    assert!(writes <= 3, "{writes} writes in five seconds with waits of one to two and more");
}

#[test]
fn this_node_s_own_state_is_read_and_kept_apart() {
    let mut desk = Desk::new(2);
    desk.lose(1);
    desk.power.insert(id(0), stopped_by(StopOrigin::User));
    desk.run(3_000);
    let power = desk.peer(1).power.unwrap();
    assert_eq!(power.state, Some(InstanceState::Running));
    assert_eq!(desk.verdict(1), Verdict::Unreachable);
    assert!(desk.peer(1).power_age.unwrap() <= secs(3));
}
