//! Lists of EC2 that lack entries: nothing is moved because an answer lacked something.

use natha::config::Timing;
use natha_prove::sim::{Sim, documented, many};

const MINUTE: u64 = 60_000;

/// Every second entry of a list is missing, and an answer by ids fails now and then.
fn lacking(sim: &mut Sim) {
    sim.omits = 500;
}

#[test]
fn lists_that_lack_half_of_all_tables_and_addresses_move_nothing() {
    for seed in 0..4 {
        for roster in [documented(4), many(2, 5)] {
            let mut sim = Sim::of(roster, Timing::default(), seed);
            lacking(&mut sim);
            sim.run(10 * MINUTE);
            assert_eq!(sim.done.len(), 0, "seed {seed}: {:?}", sim.done);
        }
    }
}

/// It is on no member's interface, so that no answer by ids shows where it is. A node that takes it
/// for unassigned asks for it, and EC2 refuses.
#[test]
fn a_private_ip_outside_of_the_cluster_stays_there_though_lists_lack_it() {
    for seed in 0..8 {
        let mut sim = Sim::of(documented(2), Timing::default(), seed);
        sim.run(10_000);
        sim.give_outside(0);
        lacking(&mut sim);
        sim.run(5 * MINUTE);
        assert!(sim.is_outside(0), "seed {seed}: {:?}", sim.done);
        assert_eq!((sim.done.len(), sim.stops().len()), (0, 0), "seed {seed}: {:?}", sim.done);
        sim.omits = 0;
        sim.give_home(0);
        sim.run(2 * MINUTE);
        assert_eq!(sim.holder(0), Some(0), "seed {seed}");
    }
}

/// A takeover goes on while lists lack what it is about.
#[test]
fn a_dead_node_is_covered_although_lists_lack_addresses() {
    for seed in 0..4 {
        let mut sim = Sim::of(documented(2), Timing::default(), seed);
        lacking(&mut sim);
        sim.run(10_000);
        sim.panic(0);
        sim.run_until(MINUTE, |sim| sim.holder(0) == Some(1));
    }
}
