//! Planned moves are announced, and hosts carry the addresses of what they hold or are about to
//! get.

use super::kinds::{PRIVATE, bench_of, eip, private, record, seen_at, told};
use super::test_bench::*;
use crate::failover::{Action, Command};
use crate::types::{Claim, Location, ResourceKind, Time, Traits};

fn prepared() -> Traits {
    Traits { prepared: true, ..Traits::default() }
}

/// Node 0 holds a private IP and its Elastic IP, whose home is node 1.
fn holder() -> TestBench {
    bench_of(2, 0, &[private(), eip(Some(PRIVATE))], prepared())
}

fn ordered() -> TestBench {
    let mut bench = holder();
    bench.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    bench
}

/// When it first told its peers that it is about to give the group to node 1.
fn told_at(bench: &TestBench) -> Option<Time> {
    bench.told.iter().find_map(|(at, action)| match action {
        Action::SendBeat { beat, .. } => {
            let to = beat.holds.iter().find_map(|claim| claim.to.clone());
            (to == Some(id(1))).then_some(*at)
        }
        _ => None,
    })
}

fn given_at(bench: &TestBench) -> Option<Time> {
    bench.told.iter().find_map(|(at, action)| match action {
        Action::Assign { assignment, .. } if assignment.interface == eni(1) => Some(*at),
        _ => None,
    })
}

/// What node 0's host must do about the group's addresses.
fn must_carry(bench: &TestBench) -> Option<bool> {
    bench.machine.must_carry().get(&group(1).name).copied()
}

fn claim(to: Option<usize>) -> Claim {
    Claim { group: group(1).name, generation: 1, to: to.map(id) }
}

#[test]
fn the_receiver_hears_of_a_planned_move_before_it_begins() {
    let mut bench = ordered();
    bench.run_until(2_000, |bench| given_at(bench).is_some());
    let (told, given) = (told_at(&bench).unwrap(), given_at(&bench).unwrap());
    assert!(told < given, "told at {told:?}, given at {given:?}");
    assert!(given.since(told) <= millis(100), "its next heartbeat says that it heard that");
}

#[test]
fn a_heartbeat_from_before_the_announcement_says_nothing() {
    // It heard this node 250 ms ago at each of its heartbeats.
    let mut bench = holder();
    bench.beat_mut(1).hears[0].age_ms = 250;
    bench.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    bench.run_until(2_000, |bench| given_at(bench).is_some());
    let waited = given_at(&bench).unwrap().since(told_at(&bench).unwrap());
    assert!((millis(250)..=millis(300)).contains(&waited), "{waited:?}");
}

#[test]
fn a_receiver_that_does_not_hear_this_node_is_waited_for_three_intervals() {
    for stage in [0, 1] {
        let mut bench = holder();
        if stage == 0 {
            bench.beat_mut(1).hears.clear();
        } else {
            bench.beat_mut(1).hears[0].session.0 += 1;
        }
        bench.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
        bench.run_until(2_000, |bench| given_at(bench).is_some());
        let waited = given_at(&bench).unwrap().since(told_at(&bench).unwrap());
        assert!((millis(300)..=millis(310)).contains(&waited), "{stage}: {waited:?}");
    }
}

#[test]
fn a_group_without_anything_to_prepare_is_given_at_once_and_tells_nothing() {
    let mut bench = bench_of(2, 0, &[private()], Traits::default());
    bench.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    let took = bench.run_until(2_000, |bench| given_at(bench).is_some());
    assert!(took <= millis(100), "{took:?}");
    bench.run(1_000);
    assert_eq!(told_at(&bench), None);
}

#[test]
fn a_group_that_is_held_elsewhere_is_not_told_of() {
    let bench = bench_of(2, 1, &[private()], prepared());
    let claims = bench.told.iter().filter_map(|(_, action)| match action {
        Action::SendBeat { beat, .. } => Some(beat.holds.len()),
        _ => None,
    });
    assert_eq!(claims.max(), Some(0));
}

#[test]
fn a_takeover_waits_for_nobody() {
    let mut bench = bench_of(2, 1, &[private()], prepared());
    bench.lose(1);
    let took = bench.run_until(2_000, |bench| bench.holders[&private()] == seen_at(0));
    assert!(took <= millis(420), "{took:?}");
}

#[test]
fn what_is_announced_is_told_until_it_has_arrived() {
    let mut bench = ordered();
    bench.run_until(2_000, |bench| bench.holders[&eip(Some(PRIVATE))] == seen_at(1));
    bench.run(1_000);
    let told: Vec<(Time, bool)> = bench
        .told
        .iter()
        .filter_map(|(at, action)| match action {
            Action::SendBeat { beat, .. } => Some((*at, beat.holds.contains(&claim_of(beat)))),
            _ => None,
        })
        .collect();
    let changes = told.windows(2).filter(|two| two[0].1 != two[1].1).count();
    assert_eq!(changes, 2, "told once, without a break, and then no more: {told:?}");
    assert!(!told.last().unwrap().1);
    assert_eq!(must_carry(&bench), Some(false));
}

/// The claim in a heartbeat that gives the group to node 1, whatever its generation; else one that
/// is in none.
fn claim_of(beat: &crate::types::Beat) -> Claim {
    let given = beat.holds.iter().find(|claim| claim.to == Some(id(1)));
    given.cloned().unwrap_or_else(|| claim(Some(15)))
}

#[test]
fn an_announcement_is_taken_back_when_the_receiver_fails() {
    let mut bench = holder();
    bench.beat_mut(1).hears.clear();
    bench.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    bench.run_until(2_000, |bench| told_at(bench).is_some());
    bench.beat_mut(1).fitness = crate::types::Fitness::unfit(crate::types::Fault::Uplink);
    bench.run(1_000);
    assert_eq!(given_at(&bench), None);
    assert_eq!(tells_last(&bench), None);
    assert_eq!(must_carry(&bench), Some(true));
}

#[test]
fn a_host_carries_what_is_here_and_not_what_is_elsewhere() {
    for (at, carries) in [(0, true), (1, false)] {
        let bench = bench_of(2, at, &[private(), eip(Some(PRIVATE))], prepared());
        assert_eq!(must_carry(&bench), Some(carries), "held by node {at}");
    }
}

#[test]
fn what_is_not_known_changes_nothing_on_the_host() {
    let mut bench = bench_of(2, 0, &[private()], prepared());
    bench.reads = Answer::Never;
    bench.pause(2_000);
    bench.run(100);
    assert_eq!(must_carry(&bench), None, "everything is to be read anew");
    bench.run(5_000);
    assert_eq!(must_carry(&bench), None);
}

#[test]
fn a_host_carries_what_this_node_writes_to_itself_from_the_first_moment() {
    let mut bench = bench_of(2, 1, &[private()], prepared());
    bench.writes = Answer::Never;
    bench.lose(1);
    bench.run_until(2_000, |bench| bench.count(|one| matches!(one, Action::Assign { .. })) == 1);
    assert_eq!(must_carry(&bench), Some(true));
}

#[test]
fn a_write_that_was_refused_leaves_the_host_as_it_is_until_a_read() {
    let mut bench = bench_of(2, 1, &[private()], prepared());
    bench.denied.insert(ResourceKind::PrivateIp);
    bench.reads = Answer::Never;
    bench.lose(1);
    bench.run(1_000);
    assert_eq!(must_carry(&bench), None);
    bench.reads = Answer::Yes;
    bench.run_until(16_000, |bench| must_carry(bench) == Some(false));
}

#[test]
fn what_somebody_else_took_leaves_the_host_with_the_first_read_that_shows_it() {
    let mut bench = bench_of(2, 0, &[private()], prepared());
    bench.holders.insert(private(), seen_at(1));
    bench.beat_mut(1).holds = vec![claim(None)];
    let took = bench.run_until(2_000, |bench| must_carry(bench) == Some(false));
    assert!(took <= millis(300), "its heartbeat hurries the read: {took:?}");
}

#[test]
fn a_giver_carries_until_a_read_shows_that_the_receiver_has_it() {
    let mut bench = ordered();
    bench.run_until(2_000, |bench| told_at(bench).is_some());
    bench.hidden.insert(ResourceKind::PrivateIp);
    bench.run_until(2_000, |bench| given_at(bench).is_some());
    bench.run(1_000);
    assert_ne!(must_carry(&bench), Some(false), "it was accepted and not read");
    bench.hidden.clear();
    bench.run_until(20_000, |bench| must_carry(bench) == Some(false));
}

#[test]
fn a_promise_puts_the_addresses_on_the_host_and_its_end_does_not_take_them_off_at_once() {
    let mut bench = bench_of(2, 1, &[private()], prepared());
    assert_eq!(must_carry(&bench), Some(false));
    bench.beat_mut(1).holds = vec![claim(Some(0))];
    bench.run(110);
    assert_eq!(must_carry(&bench), Some(true));
    bench.run(2_000);
    assert_eq!(must_carry(&bench), Some(true), "for as long as it is told");
    // It is given, but reads show it only some seconds later.
    bench.beat_mut(1).holds.clear();
    bench.run(4_000);
    assert_eq!(must_carry(&bench), None, "reads may be stale");
    bench.holders.insert(private(), seen_at(0));
    bench.run_until(11_000, |bench| must_carry(bench) == Some(true));
    bench.run(20_000);
    assert_eq!(must_carry(&bench), Some(true));
}

#[test]
fn a_promise_that_nothing_came_of_is_forgotten() {
    let mut bench = bench_of(2, 1, &[private()], prepared());
    for stage in [0, 1] {
        bench.beat_mut(1).holds = vec![claim(Some(0))];
        bench.run(200);
        assert_eq!(must_carry(&bench), Some(true));
        if stage == 0 {
            bench.beat_mut(1).holds = vec![claim(Some(5))];
        } else {
            // Its last word is that promise.
            bench.lose(1);
            bench.echo.insert(1);
        }
        bench.run_until(16_000, |bench| must_carry(bench) == Some(false));
    }
}

/// An Elastic IP alone says nothing about a private IP that is elsewhere.
#[test]
fn only_what_has_an_address_on_the_host_counts_where_something_has() {
    let resources = [private(), eip(None)];
    let mut bench = bench_of(2, 1, &resources, prepared());
    bench.denied.insert(ResourceKind::PrivateIp);
    bench.lose(1);
    bench.run(10_000);
    assert_eq!(bench.holders[&eip(None)], seen_at(0));
    assert_eq!(bench.holders[&private()], seen_at(1));
    bench.run_until(20_000, |bench| must_carry(bench) == Some(false));
    bench.holders.insert(private(), Location::Vacant);
    bench.run(2_500);
    assert_eq!(must_carry(&bench), Some(false));
}

/// The rest of the group is there by then, and nothing more is wished for.
#[test]
fn what_is_announced_is_told_until_its_record_is_everywhere() {
    let mut bench = bench_of(2, 0, &[private(), record(false)], prepared());
    bench.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    bench.run_until(2_000, |bench| bench.holders[&record(false)] == told(1));
    bench.holders.insert(record(false), Location::Pending);
    bench.run(5_000);
    assert_eq!(tells_last(&bench), Some(id(1)), "{:#?}", bench.texts());
    bench.holders.insert(record(false), told(1));
    bench.run(5_000);
    assert_eq!(tells_last(&bench), None, "{:#?}", bench.texts());
}

/// To whom its newest heartbeat says that it is about to give a group.
fn tells_last(bench: &TestBench) -> Option<crate::types::InstanceId> {
    bench.told.iter().rev().find_map(|(_, action)| match action {
        Action::SendBeat { beat, .. } => Some(beat.holds.iter().find_map(|one| one.to.clone())),
        _ => None,
    })?
}
