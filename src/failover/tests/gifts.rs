//! Planned moves are announced, and hosts carry the addresses of what they hold or are about to
//! get.

use super::desk::*;
use super::kinds::{PRIVATE, desk_of, eip, private, record, seen_at, told};
use crate::failover::{Action, Command};
use crate::types::{Claim, Location, ResourceKind, Time, Traits};

fn prepared() -> Traits {
    Traits { prepared: true, ..Traits::default() }
}

/// Node 0 holds a private IP and its Elastic IP, whose home is node 1.
fn holder() -> Desk {
    desk_of(2, 0, &[private(), eip(Some(PRIVATE))], prepared())
}

fn ordered() -> Desk {
    let mut desk = holder();
    desk.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    desk
}

/// When it first told its peers that it is about to give the group to node 1.
fn told_at(desk: &Desk) -> Option<Time> {
    desk.told.iter().find_map(|(at, action)| match action {
        Action::SendBeat { beat, .. } => {
            let to = beat.holds.iter().find_map(|claim| claim.to.clone());
            (to == Some(id(1))).then_some(*at)
        }
        _ => None,
    })
}

fn given_at(desk: &Desk) -> Option<Time> {
    desk.told.iter().find_map(|(at, action)| match action {
        Action::Assign { assignment, .. } if assignment.interface == eni(1) => Some(*at),
        _ => None,
    })
}

/// What node 0's host must do about the group's addresses.
fn local(desk: &Desk) -> Option<bool> {
    desk.machine.local().get(&group(1).name).copied()
}

fn claim(to: Option<usize>) -> Claim {
    Claim { group: group(1).name, generation: 1, to: to.map(id) }
}

#[test]
fn the_receiver_hears_of_a_planned_move_before_it_begins() {
    let mut desk = ordered();
    desk.run_until(2_000, |desk| given_at(desk).is_some());
    let (told, given) = (told_at(&desk).unwrap(), given_at(&desk).unwrap());
    assert!(told < given, "told at {told:?}, given at {given:?}");
    assert!(given.since(told) <= millis(100), "its next heartbeat says that it heard that");
}

#[test]
fn a_heartbeat_from_before_the_announcement_says_nothing() {
    // It heard this node 250 ms ago at each of its heartbeats.
    let mut desk = holder();
    desk.beat_mut(1).hears[0].age_ms = 250;
    desk.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    desk.run_until(2_000, |desk| given_at(desk).is_some());
    let waited = given_at(&desk).unwrap().since(told_at(&desk).unwrap());
    assert!((millis(250)..=millis(300)).contains(&waited), "{waited:?}");
}

#[test]
fn a_receiver_that_does_not_hear_this_node_is_waited_for_three_intervals() {
    for stage in [0, 1] {
        let mut desk = holder();
        if stage == 0 {
            desk.beat_mut(1).hears.clear();
        } else {
            desk.beat_mut(1).hears[0].session.0 += 1;
        }
        desk.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
        desk.run_until(2_000, |desk| given_at(desk).is_some());
        let waited = given_at(&desk).unwrap().since(told_at(&desk).unwrap());
        assert!((millis(300)..=millis(310)).contains(&waited), "{stage}: {waited:?}");
    }
}

#[test]
fn a_group_without_anything_to_prepare_is_given_at_once_and_tells_nothing() {
    let mut desk = desk_of(2, 0, &[private()], Traits::default());
    desk.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    let took = desk.run_until(2_000, |desk| given_at(desk).is_some());
    assert!(took <= millis(100), "{took:?}");
    desk.run(1_000);
    assert_eq!(told_at(&desk), None);
}

#[test]
fn a_group_that_is_held_elsewhere_is_not_told_of() {
    let desk = desk_of(2, 1, &[private()], prepared());
    let claims = desk.told.iter().filter_map(|(_, action)| match action {
        Action::SendBeat { beat, .. } => Some(beat.holds.len()),
        _ => None,
    });
    assert_eq!(claims.max(), Some(0));
}

#[test]
fn a_takeover_waits_for_nobody() {
    let mut desk = desk_of(2, 1, &[private()], prepared());
    desk.lose(1);
    let took = desk.run_until(2_000, |desk| desk.holders[&private()] == seen_at(0));
    assert!(took <= millis(420), "{took:?}");
}

#[test]
fn what_is_announced_is_told_until_it_has_arrived() {
    let mut desk = ordered();
    desk.run_until(2_000, |desk| desk.holders[&eip(Some(PRIVATE))] == seen_at(1));
    desk.run(1_000);
    let told: Vec<(Time, bool)> = desk
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
    assert_eq!(local(&desk), Some(false));
}

/// The claim in a heartbeat that gives the group to node 1, whatever its generation; else one that
/// is in none.
fn claim_of(beat: &crate::types::Beat) -> Claim {
    let given = beat.holds.iter().find(|claim| claim.to == Some(id(1)));
    given.cloned().unwrap_or_else(|| claim(Some(15)))
}

#[test]
fn an_announcement_is_taken_back_when_the_receiver_fails() {
    let mut desk = holder();
    desk.beat_mut(1).hears.clear();
    desk.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    desk.run_until(2_000, |desk| told_at(desk).is_some());
    desk.beat_mut(1).fitness = crate::types::Fitness::unfit(crate::types::Fault::Uplink);
    desk.run(1_000);
    assert_eq!(given_at(&desk), None);
    assert_eq!(tells_last(&desk), None);
    assert_eq!(local(&desk), Some(true));
}

#[test]
fn a_host_carries_what_is_here_and_not_what_is_elsewhere() {
    for (at, carries) in [(0, true), (1, false)] {
        let desk = desk_of(2, at, &[private(), eip(Some(PRIVATE))], prepared());
        assert_eq!(local(&desk), Some(carries), "held by node {at}");
    }
}

#[test]
fn what_is_not_known_changes_nothing_on_the_host() {
    let mut desk = desk_of(2, 0, &[private()], prepared());
    desk.reads = Answer::Never;
    desk.pause(2_000);
    desk.run(100);
    assert_eq!(local(&desk), None, "everything is to be read anew");
    desk.run(5_000);
    assert_eq!(local(&desk), None);
}

#[test]
fn a_host_carries_what_this_node_writes_to_itself_from_the_first_moment() {
    let mut desk = desk_of(2, 1, &[private()], prepared());
    desk.writes = Answer::Never;
    desk.lose(1);
    desk.run_until(2_000, |desk| desk.count(|one| matches!(one, Action::Assign { .. })) == 1);
    assert_eq!(local(&desk), Some(true));
}

#[test]
fn a_write_that_was_refused_leaves_the_host_as_it_is_until_a_read() {
    let mut desk = desk_of(2, 1, &[private()], prepared());
    desk.denied.insert(ResourceKind::PrivateIp);
    desk.reads = Answer::Never;
    desk.lose(1);
    desk.run(1_000);
    assert_eq!(local(&desk), None);
    desk.reads = Answer::Yes;
    desk.run_until(16_000, |desk| local(desk) == Some(false));
}

#[test]
fn what_somebody_else_took_leaves_the_host_with_the_first_read_that_shows_it() {
    let mut desk = desk_of(2, 0, &[private()], prepared());
    desk.holders.insert(private(), seen_at(1));
    desk.beat_mut(1).holds = vec![claim(None)];
    let took = desk.run_until(2_000, |desk| local(desk) == Some(false));
    assert!(took <= millis(300), "its heartbeat hurries the read: {took:?}");
}

#[test]
fn a_giver_carries_until_a_read_shows_that_the_receiver_has_it() {
    let mut desk = ordered();
    desk.run_until(2_000, |desk| told_at(desk).is_some());
    desk.hidden.insert(ResourceKind::PrivateIp);
    desk.run_until(2_000, |desk| given_at(desk).is_some());
    desk.run(1_000);
    assert_ne!(local(&desk), Some(false), "it was accepted and not read");
    desk.hidden.clear();
    desk.run_until(20_000, |desk| local(desk) == Some(false));
}

#[test]
fn a_promise_puts_the_addresses_on_the_host_and_its_end_does_not_take_them_off_at_once() {
    let mut desk = desk_of(2, 1, &[private()], prepared());
    assert_eq!(local(&desk), Some(false));
    desk.beat_mut(1).holds = vec![claim(Some(0))];
    desk.run(110);
    assert_eq!(local(&desk), Some(true));
    desk.run(2_000);
    assert_eq!(local(&desk), Some(true), "for as long as it is told");
    // It is given, but reads show it only some seconds later.
    desk.beat_mut(1).holds.clear();
    desk.run(4_000);
    assert_eq!(local(&desk), None, "reads may be stale");
    desk.holders.insert(private(), seen_at(0));
    desk.run_until(11_000, |desk| local(desk) == Some(true));
    desk.run(20_000);
    assert_eq!(local(&desk), Some(true));
}

#[test]
fn a_promise_that_nothing_came_of_is_forgotten() {
    let mut desk = desk_of(2, 1, &[private()], prepared());
    for stage in [0, 1] {
        desk.beat_mut(1).holds = vec![claim(Some(0))];
        desk.run(200);
        assert_eq!(local(&desk), Some(true));
        if stage == 0 {
            desk.beat_mut(1).holds = vec![claim(Some(5))];
        } else {
            // Its last word is that promise.
            desk.lose(1);
            desk.echo.insert(1);
        }
        desk.run_until(16_000, |desk| local(desk) == Some(false));
    }
}

/// An Elastic IP alone says nothing about a private IP that is elsewhere.
#[test]
fn only_what_has_an_address_on_the_host_counts_where_something_has() {
    let resources = [private(), eip(None)];
    let mut desk = desk_of(2, 1, &resources, prepared());
    desk.denied.insert(ResourceKind::PrivateIp);
    desk.lose(1);
    desk.run(10_000);
    assert_eq!(desk.holders[&eip(None)], seen_at(0));
    assert_eq!(desk.holders[&private()], seen_at(1));
    desk.run_until(20_000, |desk| local(desk) == Some(false));
    desk.holders.insert(private(), Location::Vacant);
    desk.run(2_500);
    assert_eq!(local(&desk), Some(false));
}

/// The rest of the group is there by then, and nothing more is wished for.
#[test]
fn what_is_announced_is_told_until_its_record_is_everywhere() {
    let mut desk = desk_of(2, 0, &[private(), record(false)], prepared());
    desk.command(Command::HandOver { group: group(1).name, to: Some(id(1)) });
    desk.run_until(2_000, |desk| desk.holders[&record(false)] == told(1));
    desk.holders.insert(record(false), Location::Pending);
    desk.run(5_000);
    assert_eq!(tells_last(&desk), Some(id(1)), "{:#?}", desk.texts());
    desk.holders.insert(record(false), told(1));
    desk.run(5_000);
    assert_eq!(tells_last(&desk), None, "{:#?}", desk.texts());
}

/// To whom its newest heartbeat says that it is about to give a group.
fn tells_last(desk: &Desk) -> Option<crate::types::InstanceId> {
    desk.told.iter().rev().find_map(|(_, action)| match action {
        Action::SendBeat { beat, .. } => Some(beat.holds.iter().find_map(|one| one.to.clone())),
        _ => None,
    })?
}
