//! A node that leaves: it gives away what it has, and goes when nothing leads to it any more.

use super::desk::*;
use super::wishes::home_whose_heir_is_at;
use crate::failover::order::heirs;
use crate::failover::{Action, Command, EventKind};
use crate::types::{Fault, Fitness, InstanceId};

#[test]
fn a_leaving_node_gives_what_it_has_to_the_first_of_the_others_and_goes() {
    let mut desk = Desk::new(3);
    desk.routes.insert(table(1), to(0));
    desk.run(10_500);
    desk.command(Command::Leave);
    desk.run(50);
    let others: Vec<InstanceId> = (1..3).map(id).collect();
    let heir = heirs(&group(0).name, &[id(0)], &others)[0];
    let heir = usize::from(*heir == id(2)) + 1;
    assert_eq!(desk.moved(), [(0, heir), (1, 1)]);
    let told = desk.events(EventKind::HandOverBegun);
    assert!(told[0].text.contains("this node is leaving"), "{told:?}");
    let exits = |desk: &Desk| desk.count(|action| *action == Action::MayExit);
    assert_eq!(exits(&desk), 0, "not before a read confirms it");
    desk.run(1_000);
    assert_eq!(exits(&desk), 1);
}

#[test]
fn a_leaving_node_waits_for_the_outcome_of_its_write() {
    for stage in [Answer::Never, Answer::Lost, Answer::Yes] {
        let mut desk = Desk::new(2);
        desk.writes = stage;
        desk.reads = Answer::Never;
        desk.command(Command::Leave);
        desk.run(1_000);
        assert_eq!(desk.moved(), [(0, 1)]);
        let exits = desk.count(|action| *action == Action::MayExit);
        assert_eq!(exits, 0, "{stage:?}: it may hold it still");
    }
}

#[test]
fn a_leaving_node_that_cannot_read_does_not_take_its_routes_for_given() {
    let mut desk = Desk::new(2);
    desk.reads = Answer::Never;
    desk.run(10_000);
    desk.command(Command::Leave);
    desk.run(2_000);
    let exits = desk.count(|action| *action == Action::MayExit);
    assert_eq!((desk.moved(), exits), (vec![], 0));
}

#[test]
fn a_leaving_node_waits_for_a_takeover_that_is_under_way() {
    let mut desk = Desk::new(3);
    let first = home_whose_heir_is_at(1);
    desk.routes.insert(table(0), to(3 - first));
    desk.run(11_000);
    desk.writes = Answer::Never;
    desk.lose(first);
    desk.run(1_000);
    desk.command(Command::Leave);
    desk.run(2_000);
    let exits = desk.count(|action| *action == Action::MayExit);
    assert_eq!((desk.moved(), exits), (vec![(first, 0)], 0), "it would arrive at nobody");
}

#[test]
fn a_leaving_node_that_holds_nothing_or_that_nobody_can_relieve_goes_at_once() {
    let empty = |desk: &mut Desk| {
        desk.routes.insert(table(0), to(1));
        desk.run(10_500);
    };
    let alone = |desk: &mut Desk| {
        desk.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
        desk.run(2_500);
    };
    for stage in [empty, alone] {
        let mut desk = Desk::new(2);
        stage(&mut desk);
        desk.command(Command::Leave);
        desk.run(100);
        let exits = desk.count(|action| *action == Action::MayExit);
        assert_eq!(exits, 1);
    }
}
