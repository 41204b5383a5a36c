//! Missing evidence, faults that members share, takeovers from the sick, and the last resort.

use super::test_bench::*;
use crate::failover::{Command, EventKind, Input, Verdict};
use crate::types::{Evidence, Fault, Fitness, InstanceState, StopOrigin};

fn faults(all: &[Fault]) -> Fitness {
    Fitness { faults: all.iter().copied().collect(), ..Fitness::fit() }
}

pub(super) fn sick(bench: &mut TestBench, n: usize, fault: Fault) {
    bench.beat_mut(n).fitness = Fitness::unfit(fault);
}

pub(super) fn well(bench: &mut TestBench, n: usize) {
    bench.beat_mut(n).fitness = Fitness::fit();
}

/// Node 0 of a cluster that has been at rest for a while.
pub(super) fn rested(nodes: usize) -> TestBench {
    let mut bench = TestBench::new(nodes);
    bench.run(10_000);
    bench
}

fn dropped(bench: &TestBench) -> Vec<String> {
    bench.events(EventKind::HandOverDropped).into_iter().map(|event| event.text).collect()
}

#[test]
fn a_proven_node_hands_nothing_back_to_one_that_lacks_evidence() {
    for kind in Evidence::ALL {
        let mut bench = TestBench::new(2);
        bench.routes.insert(table(1), to(0));
        bench.beat_mut(1).fitness = Fitness::unproven(kind);
        bench.run(120_000);
        assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Alive, vec![]));
        // The time for which the home must be well counts from the moment it has its evidence.
        well(&mut bench, 1);
        bench.run(29_500);
        assert_eq!(bench.moved(), []);
        bench.run(1_000);
        assert_eq!(bench.moved(), [(1, 1)]);
    }
}

#[test]
fn a_node_that_lacks_evidence_itself_hands_back_as_ever() {
    let mut bench = TestBench::new(2);
    bench.fitness(Fitness::unproven(Evidence::Uplink));
    bench.routes.insert(table(1), to(0));
    bench.beat_mut(1).fitness = Fitness::unproven(Evidence::Uplink);
    bench.run(45_000);
    assert_eq!(bench.moved(), [(1, 1)], "its peer is no worse than itself");
}

#[test]
fn an_order_to_a_node_that_lacks_evidence_is_dropped() {
    for to in [None, Some(id(1))] {
        let mut bench = TestBench::new(2);
        bench.beat_mut(1).fitness = Fitness::unproven(Evidence::Transit);
        bench.run(500);
        bench.command(Command::HandOver { group: group(0).name, to });
        bench.run(2_000);
        assert_eq!(bench.moved(), []);
        let told = dropped(&bench);
        assert!(told.len() == 1 && told[0].contains("has not proven"), "{told:?}");
    }
}

#[test]
fn a_leaving_node_prefers_a_proven_heir_and_takes_any_other_rather_than_none() {
    for (second, expected) in [(Fitness::fit(), 2), (Fitness::unfit(Fault::Uplink), 1)] {
        let mut bench = TestBench::new(3);
        bench.beat_mut(1).fitness = Fitness::unproven(Evidence::Transit);
        bench.beat_mut(2).fitness = second;
        bench.run(500);
        bench.command(Command::Leave);
        bench.run(2_000);
        assert_eq!(bench.moved(), [(0, expected)]);
    }
}

#[test]
fn a_split_group_is_joined_at_the_proven_node() {
    for (mine, expected) in [(Fitness::fit(), 0), (Fitness::unproven(Evidence::Transit), 1)] {
        let mut wide = roster(2);
        wide.groups[1].resources.push(route(5));
        let mut bench = TestBench::of(0, &wide, timing());
        bench.fitness(mine);
        bench.routes.extend([(table(1), to(1)), (table(5), to(0))]);
        bench.beat_mut(1).fitness = Fitness::unproven(Evidence::Transit);
        bench.run(20_000);
        // Whichever node joins it, this one gives only if the peer is no worse.
        let given = bench.moved().iter().filter(|(_, to)| *to == 1).count();
        assert_eq!(given, expected, "{:?}", bench.moved());
    }
}

#[test]
fn a_node_that_lacks_evidence_takes_from_the_dead() {
    let lost = |bench: &mut TestBench| bench.lose(1);
    let stopped = |bench: &mut TestBench| {
        bench.lose(1);
        bench.power.insert(id(1), stopped_by(StopOrigin::User));
    };
    for end in [lost, stopped] {
        let mut bench = rested(2);
        bench.fitness(Fitness::unproven(Evidence::Transit));
        end(&mut bench);
        bench.run(500);
        assert_eq!(bench.moved(), [(1, 0)]);
    }
}

#[test]
fn of_two_heirs_the_one_with_evidence_takes_from_the_dead_first() {
    let mut bench = TestBench::starting(0, 3, timing());
    bench.routes.insert(table(0), to(1));
    bench.beat_mut(2).fitness = Fitness::unproven(Evidence::Transit);
    bench.fitness(Fitness::unproven(Evidence::Transit));
    bench.run(3_000);
    bench.lose(1);
    bench.run(500);
    assert!(bench.moved().contains(&(0, 0)), "the home is first among equals");
    let mut bench = TestBench::starting(0, 3, timing());
    bench.routes.insert(table(0), to(1));
    bench.fitness(Fitness::unproven(Evidence::Transit));
    bench.run(3_000);
    bench.lose(1);
    bench.run(2_900);
    assert_eq!(bench.moved(), [], "the other heir has evidence");
    bench.run(1_000);
    assert!(bench.moved().contains(&(0, 0)), "its time has passed");
}

#[test]
fn a_sick_holder_is_relieved_by_a_node_without_evidence_only_if_no_other_has_it() {
    for (other, moved) in [(Fitness::fit(), false), (Fitness::unproven(Evidence::Uplink), true)] {
        let mut bench = rested(3);
        bench.routes.insert(table(0), to(1));
        bench.fitness(Fitness::unproven(Evidence::Uplink));
        bench.beat_mut(2).fitness = other;
        bench.run(20_000);
        sick(&mut bench, 1, Fault::Forwarding);
        bench.run(20_000);
        assert_eq!(bench.moved().contains(&(0, 0)), moved, "{:?}", bench.moved());
    }
}

#[test]
fn without_evidence_of_the_same_kind_no_node_knows_that_it_fares_better() {
    for (fault, lacking, moved) in [
        (Fault::Transit, Evidence::Transit, vec![]),
        (Fault::Uplink, Evidence::Uplink, vec![]),
        (Fault::Uplink, Evidence::Transit, vec![(1, 0)]),
    ] {
        let mut bench = rested(2);
        bench.fitness(Fitness::unproven(lacking));
        sick(&mut bench, 1, fault);
        bench.run(60_000);
        assert_eq!(bench.moved(), moved, "{fault} here, {lacking} there");
    }
}

#[test]
fn a_peer_whose_probes_fail_is_relieved_once_this_node_knows_that_it_does_not_share_it() {
    for fault in [Fault::Uplink, Fault::Transit] {
        let mut bench = rested(2);
        sick(&mut bench, 1, fault);
        bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
        bench.run(590);
        assert_eq!(bench.moved(), [], "whether this node shares it is not known yet");
        bench.run(20);
        assert_eq!(bench.moved(), [(1, 0)]);
    }
}

/// Each node sends a round every 500 ms, at a time of its own.
#[test]
fn a_loss_that_two_nodes_notice_one_round_apart_moves_nothing() {
    for fault in [Fault::Uplink, Fault::Transit] {
        let mut bench = rested(2);
        sick(&mut bench, 1, fault);
        bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
        bench.run(580);
        bench.fitness(Fitness::unfit(fault));
        bench.run(60_000);
        assert_eq!(bench.moved(), []);
    }
}

#[test]
fn a_node_with_another_fault_is_relieved_at_once() {
    for fault in [Fault::Forwarding, Fault::SourceDestCheck, Fault::Departing, Fault::Late] {
        // With the notice alone, it gives its groups away itself.
        let alone = (fault != Fault::Departing).then_some(vec![fault]);
        for all in alone.into_iter().chain([vec![fault, Fault::Uplink]]) {
            let mut bench = rested(2);
            bench.beat_mut(1).fitness = faults(&all);
            bench.run_until(500, |bench| bench.verdict(1) == Verdict::Sick);
            bench.run(20);
            assert_eq!(bench.moved(), [(1, 0)], "{all:?}");
        }
    }
}

/// Field fault A5: six blips, with the nodes in any order at the beginning and at the end.
#[test]
fn a_blip_that_both_share_moves_nothing() {
    for (begin, end) in [(0, 0), (0, 250), (250, 0), (250, 250)] {
        let mut bench = rested(2);
        for _ in 0..6 {
            sick(&mut bench, 1, Fault::Uplink);
            bench.run(begin);
            bench.fitness(Fitness::unfit(Fault::Uplink));
            bench.run(3_000);
            // This node recovers first, by up to as much as detection takes.
            bench.fitness(Fitness::fit());
            bench.run(end);
            well(&mut bench, 1);
            bench.run(8_000);
        }
        assert_eq!(bench.moved(), [], "{begin} ms at the beginning, {end} ms at the end");
    }
}

#[test]
fn who_was_sick_a_moment_ago_takes_nothing_from_the_living() {
    for fault in [Fault::Uplink, Fault::Forwarding] {
        let mut bench = rested(2);
        bench.fitness(Fitness::unfit(Fault::Forwarding));
        bench.run(1_000);
        sick(&mut bench, 1, fault);
        bench.run(1_000);
        bench.fitness(Fitness::fit());
        bench.run(4_900);
        assert_eq!(bench.moved(), [], "{fault}");
        bench.run(200);
        assert_eq!(bench.moved(), [(1, 0)], "{fault}");
    }
    // The dead do not wait.
    let mut bench = rested(2);
    bench.fitness(Fitness::unfit(Fault::Forwarding));
    bench.lose(1);
    bench.run(2_000);
    bench.fitness(Fitness::fit());
    bench.run(100);
    assert_eq!(bench.moved(), [(1, 0)]);
}

/// It booted while no probe of any node was answered, and gets its first answer before its peer.
#[test]
fn who_has_obtained_its_evidence_a_moment_ago_takes_nothing_from_the_living() {
    let mut bench = rested(2);
    bench.fitness(Fitness::unproven(Evidence::Uplink));
    sick(&mut bench, 1, Fault::Uplink);
    bench.run(10_000);
    bench.fitness(Fitness::fit());
    bench.run(4_900);
    assert_eq!(bench.moved(), []);
    bench.run(200);
    assert_eq!(bench.moved(), [(1, 0)]);
}

#[test]
fn takeovers_because_probes_fail_slow_down_when_they_repeat() {
    let mut timing = timing();
    timing.hand_back.hold_max = secs(120);
    timing.hand_back.hold = secs(1);
    let mut bench = TestBench::with(2, timing);
    bench.run(5_000);
    let mut waits = Vec::new();
    let mut again = |bench: &mut TestBench| {
        sick(bench, 1, Fault::Transit);
        let before = bench.moved().len();
        let waited = bench.run_until(60_000, |bench| bench.moved().len() > before);
        waits.push(waited.as_secs());
        bench.run(1_000);
        well(bench, 1);
        bench.run(1_000);
        // A person gives the group back, so that its hold does not matter.
        bench.routes.insert(table(1), to(1));
        bench.run(11_000);
    };
    for _ in 0..4 {
        again(&mut bench);
    }
    bench.run(121_000);
    again(&mut bench);
    assert_eq!(waits, [0, 1, 2, 4, 0]);
}

#[test]
fn groups_that_move_for_one_fault_are_one_takeover() {
    let mut bench = rested(3);
    bench.routes.extend([(table(0), to(1)), (table(1), to(1))]);
    bench.beat_mut(2).fitness = Fitness::unfit(Fault::Forwarding);
    bench.run(20_000);
    let before = bench.moved().len();
    sick(&mut bench, 1, Fault::Uplink);
    bench.run(800);
    assert_eq!(bench.moved().len() - before, 2, "{:?}", bench.moved());
}

/// A peer that was silent for all probes like this node, and is dead now.
fn alone(end: impl Fn(&mut TestBench)) -> TestBench {
    let mut bench = rested(2);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    sick(&mut bench, 1, Fault::Uplink);
    bench.run(5_000);
    assert_eq!(bench.moved(), [], "what both share moves nothing");
    bench.lose(1);
    end(&mut bench);
    bench
}

#[test]
fn the_last_node_takes_from_the_dead_though_its_probes_fail_and_repairs_no_peer() {
    let unreachable = |_: &mut TestBench| {};
    let terminated = |bench: &mut TestBench| {
        bench.power.insert(id(1), report(InstanceState::Terminated));
    };
    for end in [unreachable, terminated] {
        let mut bench = alone(end);
        bench.run(5_000);
        assert_eq!(bench.moved(), [], "after a pause");
        bench.run(1_000);
        assert_eq!(bench.moved(), [(1, 0)]);
        let begun = bench.events(EventKind::TakeoverBegun);
        assert!(begun[0].text.contains("no fit node is left"), "{begun:?}");
        bench.run(300_000);
        assert_eq!((bench.stops(), bench.starts()), (vec![], 0));
    }
}

#[test]
fn what_no_node_holds_is_taken_by_the_last_node_too() {
    let mut bench = alone(|bench| {
        bench.routes.insert(table(1), None);
        bench.power.insert(id(1), report(InstanceState::Terminated));
    });
    bench.run(20_000);
    assert_eq!(bench.moved(), [(1, 0)]);
}

#[test]
fn a_node_that_fails_alone_may_be_the_cause_of_its_peer_s_silence() {
    let mut bench = rested(2);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    bench.run(1_000);
    bench.lose(1);
    bench.run(60_000);
    assert_eq!((bench.verdict(1), bench.moved()), (Verdict::Unreachable, vec![]));
    let state = report(InstanceState::Running);
    bench.power.insert(id(1), crate::types::PowerReport { impaired: true, ..state });
    bench.run(10_000);
    assert_eq!(bench.moved(), [(1, 0)], "EC2's status check says that the peer is dead");
}

#[test]
fn who_cannot_forward_is_no_last_resort() {
    for fault in [Fault::Forwarding, Fault::SourceDestCheck, Fault::Departing] {
        let mut bench = alone(|_| {});
        bench.fitness(faults(&[Fault::Uplink, fault]));
        bench.run(60_000);
        assert_eq!(bench.moved(), [], "{fault}");
    }
}

#[test]
fn no_node_is_a_last_resort_while_a_fit_node_could_take_it() {
    let mut bench = rested(3);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    sick(&mut bench, 1, Fault::Uplink);
    bench.run(1_000);
    bench.lose(1);
    bench.run(60_000);
    assert_eq!(bench.moved(), []);
}

#[test]
fn of_the_unfit_those_with_fewer_faults_go_first_and_then_the_usual_order() {
    let run = |mine: &[Fault], other: &[Fault]| {
        let mut bench = rested(3);
        bench.routes.insert(table(0), to(1));
        bench.fitness(faults(mine));
        bench.beat_mut(1).fitness = faults(&[Fault::Uplink, Fault::Transit]);
        bench.beat_mut(2).fitness = faults(other);
        bench.run(15_000);
        bench.lose(1);
        bench.run(6_500);
        let early = bench.moved().contains(&(0, 0));
        bench.run(3_000);
        (early, bench.moved().contains(&(0, 0)))
    };
    let (one, both) = ([Fault::Uplink], [Fault::Uplink, Fault::Transit]);
    assert_eq!(run(&one, &both), (true, true), "fewer faults");
    assert_eq!(run(&one, &one), (true, true), "it is the home");
    assert_eq!(run(&both, &one), (false, true), "its turn comes later");
}

#[test]
fn a_group_whose_check_fails_here_is_no_last_resort_of_this_node() {
    let mut checked = roster(2);
    for group in &mut checked.groups {
        group.traits.checked = true;
    }
    let mut bench = TestBench::of(0, &checked, timing());
    let failing = [group(1).name].into();
    bench.give(Input::ServiceChecks { failing });
    bench.run(10_000);
    bench.fitness(Fitness::unfit(Fault::Uplink));
    sick(&mut bench, 1, Fault::Uplink);
    bench.run(1_000);
    bench.lose(1);
    bench.run(30_000);
    assert_eq!(bench.moved(), []);
}
