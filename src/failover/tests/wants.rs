//! Who moves which route, when, and who keeps his hands off.

use super::test_bench::*;
use crate::config::Timing;
use crate::failover::order::heirs;
use crate::failover::{Command, EventKind, Input, Verdict};
use crate::types::{
    Claim, Fault, Fitness, Hears, InstanceId, InstanceState, NetworkInterfaceId, Roster,
    RouteEntry, RouteTarget, RouteWriteVerb, SessionId,
};

fn hand_over(of: usize, to: Option<usize>) -> Command {
    Command::HandOver { group: group(of).name, to: to.map(id) }
}

/// Groups `g<n>` at home on node 1 whose heirs among three nodes have node 0 at this place.
pub(super) fn home_whose_heir_is_at(place: usize) -> usize {
    let ids: Vec<InstanceId> = (0..3).map(id).collect();
    let at = |n: &usize| {
        let order = heirs(&group(*n).name, &[id(*n)], &ids);
        order.iter().position(|node| **node == id(0))
    };
    (1..3).find(|n| at(n) == Some(place)).expect("one of the two has it there")
}

#[test]
fn a_missing_route_is_created_by_its_home_once_it_has_looked_around() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.routes.insert(table(0), None);
    bench.run(1_990);
    assert!(bench.writes().is_empty(), "another node may be about to fill it");
    bench.run(200);
    assert_eq!(bench.writes()[0].verb, RouteWriteVerb::Create);
    assert_eq!(bench.moved(), [(0, 0)]);
    let told = bench.events(EventKind::Drift);
    assert!(told[0].text.contains("the route was missing"), "{}", told[0].text);
}

#[test]
fn a_table_that_does_not_exist_is_left_alone() {
    let mut bench = TestBench::new(2);
    bench.routes.remove(&table(0));
    bench.run(60_000);
    assert!(bench.writes().is_empty());
}

#[test]
fn a_missing_route_is_left_to_its_home_for_as_long_as_the_home_may_not_have_read_it() {
    let mut bench = TestBench::new(2);
    bench.routes.insert(table(1), None);
    bench.run_until(11_000, |bench| {
        bench.view().groups[&group(1).name].targets[&table(1).to_string()].is_none()
    });
    bench.run(12_900);
    assert!(bench.writes().is_empty());
    bench.run(400);
    assert_eq!(bench.moved(), [(1, 0)], "the next heir, after the regular read and its patience");
}

#[test]
fn a_route_to_an_interface_that_is_gone_counts_as_missing_and_one_that_works_does_not() {
    let gone: NetworkInterfaceId = "eni-0000dead".parse().unwrap();
    for (blackhole, moved) in [(true, vec![(0, 0)]), (false, vec![])] {
        let mut bench = TestBench::new(2);
        let target = RouteTarget::Interface(gone.clone());
        bench.routes.insert(table(0), Some(RouteEntry { target, blackhole }));
        bench.run(15_000);
        assert_eq!(bench.moved(), moved, "blackhole: {blackhole}");
        assert_eq!(bench.events(EventKind::Foreign).len(), usize::from(!blackhole));
    }
}

#[test]
fn a_foreign_target_is_adopted_by_the_first_heir_and_only_where_that_is_configured() {
    for (adopt, of, moved) in [(true, 0, vec![(0, 0)]), (true, 1, vec![]), (false, 0, vec![])] {
        let mut bench = TestBench::with(2, Timing { adopt, ..timing() });
        bench.run(30_000);
        bench.routes.insert(table(of), abroad());
        bench.run(13_000);
        assert_eq!(bench.moved(), moved, "adopt {adopt}, group {of}");
    }
}

#[test]
fn who_is_unfit_or_leaving_takes_nothing() {
    let unfit = |bench: &mut TestBench| bench.fitness(Fitness::unfit(Fault::Forwarding));
    let leave = |bench: &mut TestBench| bench.command(Command::Leave);
    for away in [unfit, leave] {
        let mut bench = TestBench::with(3, Timing { adopt: true, ..timing() });
        // Nobody there to give anything to.
        bench.beat_mut(2).fitness = Fitness::unfit(Fault::Uplink);
        away(&mut bench);
        bench.routes.extend([(table(0), None), (table(2), abroad())]);
        bench.lose(1);
        bench.run(40_000);
        let taken = bench.moved().into_iter().filter(|(_, to)| *to == 0).count();
        assert_eq!(taken, 0, "{:?}", bench.moved());
    }
}

#[test]
fn a_sick_or_lost_or_stopped_holder_is_relieved_at_once() {
    let sick =
        |bench: &mut TestBench| bench.beat_mut(1).fitness = Fitness::unfit(Fault::Forwarding);
    let lost = |bench: &mut TestBench| bench.lose(1);
    for fail in [sick, lost] {
        let mut bench = TestBench::new(2);
        fail(&mut bench);
        bench.run(400);
        assert_eq!(bench.moved(), [(1, 0)]);
        assert_eq!(bench.events(EventKind::TakeoverBegun).len(), 1);
    }
}

#[test]
fn an_alive_holder_keeps_what_it_has() {
    let mut bench = TestBench::new(2);
    bench.routes.insert(table(0), to(1));
    bench.run(120_000);
    assert_eq!(bench.moved(), [], "not even a group whose home this node is");
}

#[test]
fn a_holder_that_said_goodbye_is_given_time_to_give_by_itself() {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).leaving = true;
    bench.run(100);
    bench.lose(1);
    bench.run(2_800);
    assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Leaving, vec![]));
    bench.run(400);
    assert_eq!(bench.moved(), [(1, 0)]);
}

#[test]
fn a_dead_daemon_keeps_its_routes_for_its_grace() {
    let mut bench = TestBench::new(2);
    bench.beats.remove(&1);
    bench.run(15_000);
    assert_eq!((bench.verdict(1), bench.moved()), (Verdict::DaemonDown, vec![]));
    bench.run(500);
    assert_eq!(bench.moved(), [(1, 0)]);
}

#[test]
fn a_peer_that_was_never_heard_loses_only_what_leads_nowhere() {
    for (route, moved) in [(to(1), vec![]), (dark(1), vec![(1, 0)])] {
        let mut bench = TestBench::starting(0, 2, timing());
        bench.lose(1);
        bench.routes.insert(table(1), route);
        bench.run(2_900);
        assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Unmet, vec![]));
        bench.run(400);
        assert_eq!(bench.moved(), moved, "its home may come up at any moment and is waited for");
    }
}

#[test]
fn an_unmet_node_that_is_not_the_home_is_not_waited_for() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.lose(1);
    bench.routes.insert(table(0), dark(1));
    bench.run(300);
    assert_eq!(bench.moved(), [(0, 0)]);
}

#[test]
fn the_second_heir_waits_for_the_first() {
    let mut bench = TestBench::new(3);
    let second = home_whose_heir_is_at(2);
    bench.lose(second);
    bench.run(3_200);
    assert_eq!(bench.moved(), []);
    bench.run(400);
    assert_eq!(bench.moved(), [(second, 0)]);
    let mut bench = TestBench::new(3);
    let first = home_whose_heir_is_at(1);
    bench.lose(first);
    bench.run(400);
    assert_eq!(bench.moved(), [(first, 0)], "the first one acts at once");
}

#[test]
fn an_order_is_carried_out_by_the_holder_alone() {
    let mut bench = TestBench::new(3);
    bench.command(hand_over(0, Some(2)));
    bench.run(200);
    assert_eq!(bench.moved(), [(0, 2)]);
    let mut bench = TestBench::new(3);
    bench.command(hand_over(1, Some(2)));
    bench.run(20_000);
    assert_eq!(bench.moved(), [], "node 1 holds it");
    let mut bench = TestBench::new(3);
    bench.command(hand_over(0, Some(0)));
    bench.run(20_000);
    assert_eq!(bench.moved(), [], "it is there already");
}

#[test]
fn an_order_to_a_node_that_cannot_hold_is_not_carried_out() {
    let mut bench = TestBench::new(3);
    bench.beat_mut(2).fitness = Fitness::unfit(Fault::Uplink);
    bench.run(200);
    bench.command(hand_over(0, Some(2)));
    bench.run(200);
    assert_eq!(bench.moved().iter().filter(|moved| moved.0 == 0).count(), 0);
}

#[test]
fn an_order_without_a_receiver_goes_to_the_first_heir() {
    let mut bench = TestBench::new(3);
    bench.command(hand_over(0, None));
    bench.run(200);
    let others: Vec<InstanceId> = (1..3).map(id).collect();
    let heir = usize::from(*heirs(&group(0).name, &[id(0)], &others)[0] == id(2)) + 1;
    assert_eq!(bench.moved(), [(0, heir)]);
}

/// Node 0 holds group 1 as well, whose home has been well all the time.
fn holding_for_one() -> TestBench {
    let mut bench = TestBench::new(2);
    bench.routes.insert(table(1), to(0));
    bench.run_until(11_000, |bench| bench.view().groups[&group(1).name].holder == Some(id(0)));
    bench
}

#[test]
fn a_home_gets_its_group_back_after_the_hold() {
    let mut bench = holding_for_one();
    bench.run(29_000);
    assert_eq!(bench.moved(), [], "what was just moved here does not bounce back");
    bench.run(2_000);
    assert_eq!(bench.moved(), [(1, 1)]);
    let begun = bench.events(EventKind::HandOverBegun);
    assert!(begun[0].text.contains("has been alive and fit for"), "{begun:?}");
}

#[test]
fn a_home_must_have_been_well_for_the_whole_hold() {
    let mut bench = holding_for_one();
    bench.run(15_000);
    bench.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
    bench.run(200);
    bench.beat_mut(1).fitness = Fitness::fit();
    bench.run(29_000);
    assert_eq!(bench.moved(), []);
    bench.run(2_000);
    assert_eq!(bench.moved(), [(1, 1)]);
}

#[test]
fn a_group_does_not_go_back_while_anything_speaks_against_it() {
    let switched_off = |bench: &mut TestBench| {
        let mut timing = timing();
        timing.hand_back.enabled = false;
        *bench = TestBench::with(2, timing);
        bench.routes.insert(table(1), to(0));
    };
    let deaf = |bench: &mut TestBench| bench.beat_mut(1).hears.clear();
    let earlier_run = |bench: &mut TestBench| {
        let line =
            Hears { node: id(0), session: SessionId(6), age_ms: 0, failed: false, stopped: false };
        bench.beat_mut(1).hears = vec![line];
    };
    let other_settings = |bench: &mut TestBench| bench.beat_mut(1).settings_digest = DIGEST + 1;
    let claims_it = |bench: &mut TestBench| {
        bench.beat_mut(1).holds = vec![Claim { group: group(1).name, generation: 0, to: None }];
    };
    let sick = |bench: &mut TestBench| bench.beat_mut(1).fitness = Fitness::unfit(Fault::Uplink);
    for against in [switched_off, deaf, earlier_run, other_settings, claims_it, sick] {
        let mut bench = holding_for_one();
        against(&mut bench);
        bench.run(120_000);
        assert_eq!(bench.moved(), []);
    }
    let mut bench = holding_for_one();
    bench.beat_mut(1).holds = vec![Claim { group: group(0).name, generation: 0, to: None }];
    bench.run(40_000);
    assert_eq!(bench.moved(), [(1, 1)], "what it holds besides does not matter");
}

/// A group without a home and with two routes, one on each of two nodes.
fn split() -> (Roster, TestBench) {
    let mut roster = roster(2);
    roster.groups.truncate(1);
    roster.groups[0].home = None;
    roster.groups[0].resources.push(route(1));
    // A home would get a split group back; the order of heirs alone is to decide here.
    let mut timing = timing();
    timing.hand_back.enabled = false;
    let mut bench = TestBench::starting(0, 2, timing);
    bench.give(Input::Roster { roster: roster.clone() });
    bench.run(3_000);
    (roster, bench)
}

#[test]
fn of_two_live_holders_of_one_group_the_later_heir_gives_its_part_away() {
    for home in [0, 1] {
        let (mut roster, mut bench) = split();
        roster.groups[0].home = Some(id(home));
        bench.give(Input::Roster { roster });
        bench.run(1_900);
        assert_eq!(bench.moved(), [], "it may be a move under way");
        bench.run(400);
        assert_eq!(bench.moved(), if home == 1 { vec![(0, 1)] } else { vec![] });
        if home == 1 {
            let told = bench.events(EventKind::HandOverBegun);
            assert!(told[0].text.contains("holds the rest of the group"), "{told:?}");
        }
    }
}

#[test]
fn a_part_on_a_node_that_cannot_hold_is_no_reason_to_give() {
    let (mut roster, mut bench) = split();
    roster.groups[0].home = Some(id(1));
    bench.give(Input::Roster { roster });
    bench.beats.remove(&1);
    bench.run(12_000);
    assert_eq!((bench.verdict(1), bench.moved()), (Verdict::DaemonDown, vec![]));
}

/// Node 1 took group 0 from its home, this node, which it does not hear.
fn robbed(fit: bool) -> TestBench {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).hears.clear();
    if !fit {
        bench.fitness(Fitness::unfit(Fault::Uplink));
    }
    bench.routes.insert(table(0), to(1));
    bench.run_until(11_000, |bench| bench.view().groups[&group(0).name].holder == Some(id(1)));
    bench
}

#[test]
fn a_home_whose_taker_is_deaf_shows_that_it_lives_three_times_and_no_more() {
    let mut bench = robbed(true);
    bench.run(10_900);
    assert_eq!(bench.moved(), [], "nothing of an earlier life can be under way");
    for times in 1..=4 {
        bench.run(400);
        assert_eq!(bench.moved().len(), times.min(3));
        bench.run(3_000);
        bench.routes.insert(table(0), to(1));
        bench.run(22_000);
    }
    let told = bench.events(EventKind::Drift);
    let begun = told.iter().filter(|event| event.text.contains("does not hear this node"));
    assert!(begun.count() >= 3, "{told:?}");
}

#[test]
fn a_home_that_is_heard_again_may_assert_itself_again() {
    let mut bench = robbed(true);
    for _ in 0..4 {
        bench.run(12_000);
        bench.routes.insert(table(0), to(1));
        bench.run(12_000);
    }
    assert_eq!(bench.moved().len(), 3);
    *bench.beat_mut(1) = TestBench::fine(0);
    bench.run(1_000);
    bench.beat_mut(1).hears.clear();
    bench.run(12_000);
    assert_eq!(bench.moved().len(), 4);
}

#[test]
fn nobody_asserts_himself_for_a_group_that_is_not_his_or_whose_holder_hears_him() {
    let mut bench = robbed(true);
    *bench.beat_mut(1) = TestBench::fine(0);
    bench.run(60_000);
    assert_eq!(bench.moved(), [], "its holder hears this node and will give it back");
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).hears.clear();
    bench.run(60_000);
    assert_eq!(bench.moved(), [], "each holds its own");
}

#[test]
fn a_home_that_has_only_just_become_fit_waits_before_it_asserts_itself() {
    let mut bench = robbed(false);
    bench.run(30_000);
    bench.fitness(Fitness::fit());
    bench.run(10_900);
    assert_eq!(bench.moved(), []);
    bench.run(400);
    assert_eq!(bench.moved(), [(0, 0)]);
}

#[test]
fn a_taker_that_has_only_just_become_deaf_is_not_robbed() {
    let mut bench = robbed(true);
    *bench.beat_mut(1) = TestBench::fine(0);
    bench.run(20_000);
    bench.beat_mut(1).hears.clear();
    bench.run(10_900);
    assert_eq!(bench.moved(), []);
    bench.run(400);
    assert_eq!(bench.moved(), [(0, 0)]);
}

#[test]
fn a_group_that_was_only_just_taken_is_not_taken_back() {
    let mut bench = TestBench::new(2);
    bench.beat_mut(1).hears.clear();
    bench.run(30_000);
    bench.routes.insert(table(0), to(1));
    bench.run_until(11_000, |bench| bench.view().groups[&group(0).name].holder == Some(id(1)));
    bench.run(10_500);
    assert_eq!(bench.moved(), []);
    bench.run(1_000);
    assert_eq!(bench.moved(), [(0, 0)]);
}

#[test]
fn the_hold_doubles_with_each_flap_and_keeps_its_ceiling() {
    let mut timing = timing();
    timing.hand_back.hold_max = secs(100);
    let mut bench = TestBench::with(2, timing);
    let mut waits = Vec::new();
    for _ in 0..4 {
        bench.beat_mut(1).fitness = Fitness::unfit(Fault::Forwarding);
        bench.run_until(2_000, |bench| bench.view().groups[&group(1).name].holder == Some(id(0)));
        bench.beat_mut(1).fitness = Fitness::fit();
        let handed_back =
            |bench: &TestBench| bench.view().groups[&group(1).name].holder == Some(id(1));
        waits.push(bench.run_until(200_000, handed_back).as_secs());
        bench.run(1_000);
    }
    assert_eq!(waits, [30, 60, 100, 100]);
}

#[test]
fn a_stopped_peer_keeps_nothing_either() {
    let mut bench = TestBench::starting(0, 2, timing());
    bench.lose(1);
    bench.power.insert(id(1), report(InstanceState::Stopped));
    bench.run(500);
    assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Down, vec![(1, 0)]));
}
