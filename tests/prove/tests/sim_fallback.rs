//! The fallback of a group: whatever makes all nodes unable to serve, its routes are at the NAT
//! gateway soon, and come home; and storms with a fallback break no rule.

use natha::failover::{Command, EventKind};
use natha::types::{Fault, Fitness};
use natha_prove::sim::{Noise, Sim};

const MINUTE: u64 = 60_000;

#[test]
fn a_dead_node_and_an_unfit_one_leave_their_groups_to_the_fallback_until_one_is_well() {
    let mut sim = Sim::new(2);
    let gateway = sim.give_fallback();
    sim.run(15_000);
    sim.set_fitness(0, Fitness::unfit(Fault::SourceDestCheck));
    sim.run(1_000);
    assert_eq!((sim.holder(0), sim.holder(1)), (Some(1), Some(1)));
    sim.panic(1);
    // EC2's status checks show that the peer is dead, and not that this node cannot hear it.
    sim.impair(1, true);
    sim.run_until(2 * MINUTE, |sim| sim.is_at(0, &gateway) && sim.is_at(1, &gateway));
    assert_eq!(sim.stops().len(), 0, "a node that is not fit repairs none");
    sim.run(1_000);
    let quiet = sim.now;
    sim.run(10 * MINUTE);
    assert_eq!(sim.writes_since(quiet), 0, "{:?}", sim.done);
    sim.set_fitness(0, Fitness::fit());
    sim.run(29_000);
    assert_eq!(sim.writes_since(quiet), 0, "{:?}", sim.done);
    sim.run_until(2 * MINUTE, |sim| (sim.holder(0), sim.holder(1)) == (Some(0), Some(0)));
    // A node that was not fit all the time repairs none: a person starts the other one.
    sim.impair(1, false);
    sim.boot(1);
    sim.run_until(10 * MINUTE, |sim| sim.holder(1) == Some(1));
    assert!(!sim.events(0, EventKind::Fallback).is_empty());
}

#[test]
fn forwarding_that_fails_everywhere_moves_all_groups_once_and_back_once() {
    let mut sim = Sim::new(3);
    let gateway = sim.give_fallback();
    sim.run(15_000);
    for n in 0..3 {
        sim.set_fitness(n, Fitness::unfit(Fault::Transit));
    }
    sim.run(29_000);
    assert_eq!(sim.done.len(), 0, "a short fault of all moves nothing");
    sim.run(15_000);
    assert!((0..3).all(|of| sim.is_at(of, &gateway)), "{:?}", sim.done);
    assert_eq!(sim.done.len(), 3, "one node writes each: {:?}", sim.done);
    for n in 0..3 {
        sim.set_fitness(n, Fitness::fit());
    }
    sim.run(MINUTE);
    assert!((0..3).all(|of| sim.holder(of) == Some(of)), "{:?}", sim.done);
    assert_eq!(sim.done.len(), 6, "{:?}", sim.done);
}

#[test]
fn silent_targets_of_all_uplinks_move_nothing_however_long() {
    let mut sim = Sim::new(3);
    sim.give_fallback();
    for n in 0..3 {
        sim.set_fitness(n, Fitness::unfit(Fault::Uplink));
    }
    sim.run(10 * MINUTE);
    assert_eq!(sim.done.len(), 0, "{:?}", sim.done);
}

/// Breaks something for a while and mends it, a few times: each run is judged by the rules of the
/// simulation, of which one is that no write leads to a gateway while a node is surely well.
#[test]
fn whatever_fails_no_well_node_loses_its_group_to_the_fallback() {
    for seed in 0..12 {
        let mut noise = Noise::new(seed);
        let mut sim = Sim::seeded(3, natha::config::Timing::default(), seed);
        sim.label = format!("seed {seed}");
        sim.give_fallback();
        sim.run(15_000);
        for _ in 0..8 {
            let n = noise.pick(&[0, 1, 2]);
            let m = (n + noise.pick(&[1, 2])) % 3;
            match noise.below(6) {
                0 => sim.panic(n),
                1 => sim.freeze(n),
                2 => sim.block_heartbeats(n, m),
                3 => sim.command(n, Command::Leave),
                4 => sim.set_fitness(n, Fitness::unfit(Fault::Forwarding)),
                _ => sim.set_fitness(n, Fitness::unfit(Fault::Transit)),
            }
            sim.run(1_000 + noise.below(2 * MINUTE));
            sim.thaw(n);
            sim.set_fitness(n, Fitness::fit());
        }
    }
}
