//! Service checks, the order of preference, and groups that follow another program.

use std::collections::BTreeSet;
use std::time::Duration;

use super::kinds::{bench_of, cluster, eip, private, seen_at};
use super::test_bench::*;
use crate::failover::{EventKind, Input, Verdict};
use crate::types::{Group, Resource, Roster, Traits};

fn checked() -> Traits {
    Traits { checked: true, ..Traits::default() }
}

/// The check of the group fails on this host, or does not.
fn check(bench: &mut TestBench, fails: bool) {
    let failing = if fails { BTreeSet::from([group(1).name]) } else { BTreeSet::new() };
    bench.give(Input::ServiceChecks { failing });
}

/// The same on a peer's host, by its heartbeats.
fn peer_check(bench: &mut TestBench, n: usize, fails: bool) {
    let failing = if fails { BTreeSet::from([group(1).name]) } else { BTreeSet::new() };
    bench.beat_mut(n).unfit_for = failing;
}

fn is_at(bench: &TestBench, n: usize) -> bool {
    bench.holders[&eip(None)] == seen_at(n)
}

fn desk_with(at: usize, traits: Traits) -> TestBench {
    bench_of(2, at, &[eip(None)], traits)
}

#[test]
fn a_group_whose_service_fails_at_its_living_holder_is_taken_at_once() {
    let mut bench = desk_with(1, checked());
    check(&mut bench, false);
    peer_check(&mut bench, 1, true);
    let took = bench.run_until(1_000, |bench| is_at(bench, 0));
    assert!(took <= millis(150), "{took:?}");
    let told = bench.events(EventKind::TakeoverBegun);
    assert!(told[0].text.contains("alive, but its service check fails"), "{told:?}");
    assert_eq!(bench.verdict(1), Verdict::Alive);
}

#[test]
fn a_node_takes_nothing_whose_service_fails_there_too_or_of_which_it_does_not_know() {
    for known in [true, false] {
        for lost in [true, false] {
            let mut bench = desk_with(1, checked());
            if known {
                check(&mut bench, true);
            }
            peer_check(&mut bench, 1, true);
            if lost {
                bench.lose(1);
            }
            bench.run(40_000);
            assert!(is_at(&bench, 1), "known: {known}, lost: {lost}: {:#?}", bench.texts());
            check(&mut bench, false);
            bench.run_until(1_000, |bench| is_at(bench, 0));
        }
    }
}

#[test]
fn other_groups_of_a_node_whose_one_service_fails_stay() {
    let mut roster = cluster(2, vec![eip(None)], checked());
    roster.groups.insert(0, group(0));
    roster.groups.push(Group::new("plain".parse().unwrap(), Some(id(1)), vec![private()]));
    let mut bench = TestBench::of(0, &roster, timing());
    bench.holders.insert(eip(None), seen_at(1));
    bench.holders.insert(private(), seen_at(1));
    check(&mut bench, false);
    bench.run(3_000);
    peer_check(&mut bench, 1, true);
    bench.run_until(1_000, |bench| is_at(bench, 0));
    bench.run(5_000);
    assert_eq!(bench.holders[&private()], seen_at(1));
    assert!(bench.moved().is_empty());
}

#[test]
fn a_node_tells_what_it_cannot_serve_and_of_what_it_does_not_know_only_what_is_elsewhere() {
    let told = |bench: &TestBench| {
        let beats = bench.told.iter().rev().find_map(|(_, action)| match action {
            crate::failover::Action::SendBeat { beat, .. } => Some(beat.unfit_for.clone()),
            _ => None,
        });
        !beats.unwrap().is_empty()
    };
    assert!(!told(&desk_with(0, checked())), "what it may hold, it is not relieved of");
    assert!(told(&desk_with(1, checked())), "it holds nothing of it and does not know");
    for fails in [true, false] {
        let mut bench = desk_with(0, checked());
        check(&mut bench, fails);
        bench.run(200);
        assert_eq!(told(&bench), fails);
    }
    let mut bench = desk_with(1, Traits::default());
    check(&mut bench, true);
    bench.run(200);
    assert!(!told(&bench), "a group without a check is not judged by one");
}

#[test]
fn a_holder_keeps_a_group_that_nobody_can_serve() {
    let mut bench = desk_with(0, checked());
    check(&mut bench, true);
    peer_check(&mut bench, 1, true);
    bench.run(60_000);
    assert!(is_at(&bench, 0), "{:#?}", bench.texts());
}

#[test]
fn a_group_goes_back_when_the_service_has_been_well_for_hold() {
    let mut bench = desk_with(1, checked());
    check(&mut bench, false);
    peer_check(&mut bench, 1, true);
    bench.run_until(1_000, |bench| is_at(bench, 0));
    bench.run(40_000);
    assert!(is_at(&bench, 0), "its node is well, but not its service");
    peer_check(&mut bench, 1, false);
    let took = bench.run_until(40_000, |bench| is_at(bench, 1));
    assert!((secs(30)..secs(31)).contains(&took), "{took:?}");
}

#[test]
fn a_service_that_fails_again_and_again_waits_longer_each_time() {
    for hold in [None, Some(secs(0)), Some(secs(4))] {
        let mut bench = desk_with(1, Traits { hold, ..checked() });
        check(&mut bench, false);
        let mut waits = Vec::new();
        for _ in 0..4 {
            peer_check(&mut bench, 1, true);
            bench.run_until(1_000, |bench| is_at(bench, 0));
            bench.run(2_000);
            peer_check(&mut bench, 1, false);
            waits.push(bench.run_until(600_000, |bench| is_at(bench, 1)));
            bench.run(3_000);
        }
        let first = hold.unwrap_or(secs(30));
        assert!(waits[0] >= first.saturating_sub(secs(2)), "{hold:?}: {waits:?}");
        assert!(waits[1] > waits[0], "{hold:?}: {waits:?}");
        assert!(waits.is_sorted() && waits[3] >= waits[1] * 3, "{hold:?}: {waits:?}");
    }
}

#[test]
fn a_group_that_is_not_to_be_taken_back_stays_where_it_is() {
    for hand_back in [Some(false), None, Some(true)] {
        let mut bench = desk_with(0, Traits { hand_back, ..Traits::default() });
        bench.run(60_000);
        assert_eq!(is_at(&bench, 0), hand_back == Some(false), "{hand_back:?}");
        assert_eq!(bench.view().groups[&group(1).name].goes_home, hand_back != Some(false));
    }
    let mut timing = timing();
    timing.hand_back.enabled = false;
    let traits = Traits { hand_back: Some(true), ..Traits::default() };
    let mut bench = TestBench::of(0, &cluster(2, vec![eip(None)], traits), timing);
    bench.holders.insert(eip(None), seen_at(0));
    bench.run_until(60_000, |bench| is_at(bench, 1));
}

#[test]
fn a_group_may_have_a_hold_of_its_own() {
    for hold in [secs(3), secs(50)] {
        let mut bench = desk_with(0, Traits { hold: Some(hold), ..Traits::default() });
        let took = bench.run_until(60_000, |bench| is_at(bench, 1)) + secs(3);
        assert!((hold..=hold + secs(1)).contains(&took), "{hold:?}: {took:?}");
    }
}

/// The least hold is for those that have failed since: others go back as soon as is wished.
#[test]
fn a_group_may_go_back_at_once() {
    let traits = Traits { hold: Some(Duration::ZERO), ..Traits::default() };
    let mut bench = TestBench::of(0, &cluster(2, vec![eip(None)], traits), timing());
    bench.holders.insert(eip(None), seen_at(0));
    let took = bench.run_until(5_000, |bench| is_at(bench, 1));
    assert!(took < secs(1), "{took:?}");
}

/// A roster of four nodes and one group, which goes by preference: 2, 3, then this node.
fn preferring() -> Roster {
    let prefer = vec![id(2), id(3), id(0)];
    let group = Group { prefer, ..Group::new(group(1).name, None, vec![eip(None)]) };
    Roster { groups: vec![group], ..cluster(4, Vec::new(), Traits::default()) }
}

#[test]
fn a_group_goes_to_the_best_of_those_that_are_preferred_to_its_holder() {
    for (lost, goes_to) in [(vec![], 2), (vec![2], 3), (vec![2, 3], 0)] {
        let mut bench = TestBench::of(0, &preferring(), timing());
        bench.holders.insert(eip(None), seen_at(0));
        for n in &lost {
            bench.lose(*n);
        }
        bench.run(60_000);
        assert!(is_at(&bench, goes_to), "without {lost:?}: {:#?}", bench.holders);
    }
}

#[test]
fn heirs_follow_the_order_of_preference_each_after_its_time() {
    // Node 2 holds it and dies; 3 is next and does nothing; then it is this node's turn.
    let mut bench = TestBench::of(0, &preferring(), timing());
    bench.holders.insert(eip(None), seen_at(2));
    bench.run(3_000);
    bench.lose(2);
    let took = bench.run_until(10_000, |bench| is_at(bench, 0));
    assert!((secs(3)..secs(4)).contains(&took), "{took:?}");
    // What is not preferred comes last: node 1 would be after this one.
    let all = [id(0), id(1), id(2), id(3)];
    let order = crate::failover::order::heirs(&group(1).name, &[id(2), id(3), id(0)], &all);
    assert_eq!(order, [&id(2), &id(3), &id(0), &id(1)]);
}

#[test]
fn what_has_no_check_is_not_taken_for_what_a_peer_says() {
    let mut bench = desk_with(1, Traits::default());
    check(&mut bench, false);
    peer_check(&mut bench, 1, true);
    bench.run(20_000);
    assert!(is_at(&bench, 1), "{:#?}", bench.texts());
}

#[test]
fn a_heartbeat_about_groups_that_do_not_exist_leaves_no_trace() {
    let mut bench = desk_with(1, checked());
    for n in 0..50 {
        bench.beat_mut(1).unfit_for = BTreeSet::from([format!("no-such-{n}").parse().unwrap()]);
        bench.run(100);
    }
    assert!(bench.machine.known.peers[&id(1)].serving.is_empty());
}

/// A group that follows keepalived: the check is whether the address is on the host, and there is
/// no hand-back.
fn following(at: usize) -> TestBench {
    let traits = Traits { checked: true, hand_back: Some(false), ..Traits::default() };
    let mut bench = bench_of(2, at, &[eip(None)], traits);
    check(&mut bench, at != 0);
    peer_check(&mut bench, 1, at != 1);
    bench.run(3_000);
    bench
}

#[test]
fn a_following_group_goes_where_the_address_is_and_stays_while_both_or_none_have_it() {
    let mut bench = following(1);
    check(&mut bench, false);
    bench.run(10_000);
    assert!(is_at(&bench, 1), "two nodes have the address: the holder keeps it");
    peer_check(&mut bench, 1, true);
    bench.run_until(1_000, |bench| is_at(bench, 0));
    check(&mut bench, true);
    bench.run(10_000);
    assert!(is_at(&bench, 0), "none has it: it stays");
}

/// The address was on this node for 300 ms: the other takes the group back, and whatever order the
/// writes have, this node does not.
#[test]
fn a_following_node_that_had_the_address_for_a_moment_lets_the_other_have_the_group() {
    let mut bench = following(1);
    check(&mut bench, false);
    peer_check(&mut bench, 1, true);
    bench.run_until(300, |bench| is_at(bench, 0));
    check(&mut bench, true);
    peer_check(&mut bench, 1, false);
    bench.run(100);
    bench.holders.insert(eip(None), seen_at(1));
    bench.run(30_000);
    assert!(is_at(&bench, 1));
    let writes = bench.count(|one| matches!(one, crate::failover::Action::Assign { .. }));
    assert_eq!(writes, 1, "{:#?}", bench.texts());
    // Its own write is carried out once more, late: the other node repairs that, not this one.
    bench.holders.insert(eip(None), seen_at(0));
    bench.run(30_000);
    let writes = bench.count(|one| matches!(one, crate::failover::Action::Assign { .. }));
    assert_eq!(writes, 1, "it gives nothing back: that would need a node that asks for it");
}

/// And the other node's part: what is back at a node without the address is taken again.
#[test]
fn a_following_holder_that_loses_the_group_to_a_late_write_takes_it_again() {
    let mut bench = following(0);
    bench.holders.insert(eip(None), seen_at(1));
    let took = bench.run_until(12_000, |bench| is_at(bench, 0));
    assert!(took <= secs(11), "{took:?}");
    let resource: Resource = eip(None);
    assert_eq!(bench.holders[&resource], seen_at(0));
}

/// What shows that a peer lives which is cut off is that it takes its own group back. One that has
/// none, or could not serve it, is stopped only once EC2 calls it impaired.
#[test]
fn a_peer_without_a_group_of_its_own_is_not_stopped_for_its_silence() {
    for (home, fails, impaired, stops) in [
        (1, false, false, 1),
        (0, false, false, 0),
        (0, false, true, 1),
        (1, true, false, 0),
        (1, true, true, 1),
    ] {
        let group = Group::new(group(1).name, Some(id(home)), vec![eip(None)]);
        let group = Group { traits: checked(), ..group };
        let roster = Roster { groups: vec![group], ..cluster(2, Vec::new(), Traits::default()) };
        let mut bench = TestBench::of(0, &roster, timing());
        bench.holders.insert(eip(None), seen_at(0));
        check(&mut bench, false);
        peer_check(&mut bench, 1, fails);
        bench.run(3_000);
        bench.lose(1);
        bench.power.get_mut(&id(1)).unwrap().impaired = impaired;
        bench.run(100_000);
        let case = format!("home {home}, fails: {fails}, impaired: {impaired}");
        assert_eq!(bench.stops().len(), stops, "{case}: {:#?}", bench.texts());
        let held = bench.events(EventKind::RepairBlocked);
        let told = held.iter().any(|event| event.text.contains("no group of its own"));
        assert_eq!(told, stops == 0, "{case}: {held:?}");
    }
}
