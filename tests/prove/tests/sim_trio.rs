//! Three nodes and more.

use natha::failover::{EventKind, Verdict};
use natha_prove::sim::{Api, Mutation, Sim, id};

const MINUTE: u64 = 60_000;

#[test]
fn one_heir_takes_over_and_the_home_gets_its_group_back() {
    let mut sim = Sim::new(3);
    sim.panic(0);
    sim.run(2_000);
    let heir = sim.holder(0).unwrap();
    assert_ne!(heir, 0);
    assert_eq!(sim.done.len(), 1, "only one heir writes");
    for n in [1, 2] {
        let told = sim.events(n, EventKind::Verdict);
        let cut_off = told.iter().filter(|event| event.text.starts_with("cut off")).count();
        assert_eq!(cut_off, 0, "whoever heard it last does not make it look alive: {told:?}");
    }
    assert!(sim.outage_ms(0) <= 500, "outage {} ms", sim.outage_ms(0));
    sim.run_until(4 * MINUTE, |sim| sim.holder(0) == Some(0));
    assert_eq!(sim.stops().len(), 1);
    sim.run(10 * MINUTE);
    assert_eq!(sim.done.len(), 4, "takeover, stop, start, hand-back: {:?}", sim.done);
}

#[test]
fn a_broken_link_between_two_of_three_changes_nothing() {
    let mut sim = Sim::new(3);
    sim.block_heartbeats(0, 1);
    sim.block_echo(0, 1);
    sim.run(20 * MINUTE);
    assert_eq!(sim.done.len(), 0);
    let view = sim.nodes[0].machine.as_ref().unwrap().view(sim.now);
    assert_eq!(view.peers[&id(1)].verdict, Verdict::Partitioned);
}

#[test]
fn an_isolated_node_neither_stops_nor_is_stopped() {
    let mut sim = Sim::new(3);
    for peer in [1, 2] {
        sim.block_heartbeats(0, peer);
        sim.block_echo(0, peer);
    }
    sim.run(20 * MINUTE);
    assert_eq!(sim.stops().len(), 0, "{:?}", sim.done);
    for n in 0..3 {
        assert_eq!(sim.outage_ms(n), 0);
    }
}

#[test]
fn when_the_first_heir_cannot_reach_the_api_the_next_one_acts() {
    let mut sim = Sim::new(3);
    let mut probe = Sim::new(3);
    probe.panic(0);
    probe.run(2_000);
    let first = probe.holder(0).unwrap();
    sim.nodes[first].api = Api::Hangs;
    sim.panic(0);
    sim.run(10_000);
    assert_eq!(sim.holder(0), Some(3 - first));
}

#[test]
fn two_of_three_dead_leaves_the_third_with_everything() {
    let mut sim = Sim::new(3);
    sim.panic(0);
    sim.panic(1);
    sim.run(10_000);
    for n in 0..3 {
        assert_eq!(sim.holder(n), Some(2));
    }
}

#[test]
fn two_monitors_that_never_heard_a_dead_third_repair_it_once_ec2_calls_it_impaired() {
    let mut sim = Sim::new(3);
    sim.panic(0);
    sim.run(2_000);
    for n in [1, 2] {
        sim.kill_daemon(n);
        sim.boot(n);
    }
    sim.run(5 * MINUTE);
    assert_eq!(sim.stops().len(), 0, "its silence alone says nothing: {:?}", sim.done);
    sim.impair(0, true);
    sim.run_until(2 * MINUTE, |sim| !sim.stops().is_empty());
    sim.run_until(4 * MINUTE, |sim| sim.holder(0) == Some(0));
    // The turns of both are long over: both may stop it at the same moment, which is one stop.
    assert!(
        sim.stops().iter().all(|stop| matches!(&stop.what, Mutation::Stop(node) if *node == id(0)))
    );
}

#[test]
fn one_monitor_that_never_heard_a_living_third_does_not_help_to_have_it_stopped() {
    let mut sim = Sim::new(3);
    for peer in [1, 2] {
        sim.block_heartbeats(0, peer);
        sim.block_echo(0, peer);
    }
    sim.run(1_000);
    sim.kill_daemon(1);
    sim.boot(1);
    sim.run(20 * MINUTE);
    assert_eq!(sim.stops().len(), 0, "{:?}", sim.done);
}

/// Node 0 has died, and was stopped by another node, which this returns, and not started yet.
fn stopped_by_another(sim: &mut Sim) -> usize {
    sim.panic(0);
    sim.run_until(4 * MINUTE, |sim| !sim.stops().is_empty());
    sim.stops()[0].by
}

fn starts(sim: &Sim) -> Vec<usize> {
    let is_start = |what: &Mutation| matches!(what, Mutation::Start(node) if *node == id(0));
    sim.done.iter().filter(|done| is_start(&done.what)).map(|done| done.by).collect()
}

#[test]
fn what_a_node_stopped_before_it_died_another_starts_and_then_both_repair_that_node() {
    let mut sim = Sim::new(3);
    let by = stopped_by_another(&mut sim);
    sim.panic(by);
    let third = 3 - by;
    sim.run_until(2 * MINUTE, |sim| !starts(sim).is_empty());
    assert_eq!(starts(&sim), [third]);
    // The node that was started has not heard the dead one since it booted.
    sim.impair(by, true);
    sim.run_until(10 * MINUTE, |sim| (0..3).all(|n| sim.holder(n) == Some(n)));
}

#[test]
fn a_node_that_lives_starts_what_it_stopped_and_no_other_does() {
    let mut sim = Sim::new(3);
    let by = stopped_by_another(&mut sim);
    sim.run_until(4 * MINUTE, |sim| sim.holder(0) == Some(0));
    assert_eq!(starts(&sim), [by]);
}

#[test]
fn a_repaired_node_that_a_person_stops_stays_stopped_though_its_repairer_dies() {
    let mut sim = Sim::new(3);
    let by = stopped_by_another(&mut sim);
    sim.run_until(4 * MINUTE, |sim| sim.holder(0) == Some(0));
    sim.stop_by_user(0);
    sim.panic(by);
    sim.run(20 * MINUTE);
    assert_eq!(starts(&sim), [by], "only the one after the repair");
}
