//! Twenty groups on four nodes: those of nodes that die are spread over the survivors, by an order
//! that every node computes alone, and nothing else moves.

use std::collections::BTreeMap;

use natha::config::Timing;
use natha::failover::EventKind;
use natha_prove::sim::{Mutation, Sim, many};

const MINUTE: u64 = 60_000;
const NODES: usize = 4;
const GROUPS: usize = 20;

fn cluster(seed: u64) -> Sim {
    let mut sim = Sim::of(many(NODES, GROUPS), Timing::default(), seed);
    sim.rests(5_000).expect("it rests");
    sim
}

/// Who holds each group.
fn holders(sim: &Sim) -> Vec<usize> {
    (0..GROUPS).map(|of| sim.holder(of).unwrap_or_else(|| panic!("{}", sim.placed(of)))).collect()
}

/// How many groups each node has.
fn counts(holders: &[usize]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for holder in holders {
        *counts.entry(*holder).or_default() += 1;
    }
    counts
}

fn is_covered(sim: &Sim, dead: &[usize]) -> bool {
    (0..GROUPS).all(|of| sim.holder(of).is_some_and(|holder| !dead.contains(&holder)))
}

/// How many groups were moved, whoever did it.
fn moved(sim: &Sim) -> usize {
    let kinds = [EventKind::TakeoverBegun, EventKind::HandOverBegun, EventKind::Drift];
    let told = |n: usize, kind| sim.events(n, kind).len();
    (0..NODES).map(|n| kinds.iter().map(|kind| told(n, *kind)).sum::<usize>()).sum()
}

/// The groups of `dead`, which die at the same moment, end with the survivors, each once moved,
/// and the others stay.
fn spread(dead: &[usize], seed: u64) -> Vec<usize> {
    let mut sim = cluster(seed);
    sim.label = format!("{dead:?} die, seed {seed}");
    for n in dead {
        sim.panic(*n);
    }
    sim.run_until(30_000, |sim| is_covered(sim, dead));
    sim.run(5_000);
    let after = holders(&sim);
    let homes: Vec<usize> = (0..GROUPS).map(|of| sim.home(of).expect("each has one")).collect();
    let stay = (0..GROUPS).filter(|of| !dead.contains(&homes[*of]));
    assert!(stay.into_iter().all(|of| after[of] == homes[of]), "{after:?}");
    let orphans = GROUPS / NODES * dead.len();
    assert_eq!(moved(&sim), orphans, "each once: {:?}", sim.done);
    let routes = sim.done.iter().filter(|done| matches!(done.what, Mutation::Route(_))).count();
    assert_eq!(routes, 2 * orphans, "{:?}", sim.done);
    sim.rests(5_000).expect("it rests");
    after
}

#[test]
fn the_groups_of_one_dead_node_end_spread_over_the_others() {
    for dead in 0..NODES {
        let after = spread(&[dead], 1);
        let counts = counts(&after);
        // The order of names decides: docs/failover.md, "More than two nodes".
        assert_eq!(counts.len(), NODES - 1, "{counts:?}");
        assert!(counts.values().all(|count| (6..=7).contains(count)), "{counts:?}");
    }
    // The order is of names alone: chance and time have no part in it.
    assert_eq!(spread(&[0], 7), spread(&[0], 1));
}

#[test]
fn twenty_groups_of_which_five_have_moved_are_all_at_home_after_the_repair() {
    let mut sim = cluster(1);
    sim.panic(2);
    sim.run(5_000);
    sim.run_until(4 * MINUTE, |sim| (2..GROUPS).step_by(NODES).all(|of| sim.holder(of) == Some(2)));
    assert!((0..GROUPS).all(|of| sim.holder(of) == sim.home(of)));
    assert_eq!(moved(&sim), 2 * GROUPS / NODES, "there and back");
}

#[test]
fn the_groups_of_two_dead_nodes_end_spread_over_the_other_two() {
    for dead in [[0, 1], [0, 2], [1, 3], [2, 3]] {
        let counts = counts(&spread(&dead, 1));
        assert_eq!(counts.len(), NODES - 2, "{dead:?}: {counts:?}");
        assert!(counts.values().all(|count| (8..=12).contains(count)), "{dead:?}: {counts:?}");
    }
}

/// The second dies while the groups of the first are on their way to it.
#[test]
fn groups_on_their_way_to_a_node_that_dies_go_on_to_the_next() {
    for ms in [430, 480, 530, 600] {
        let mut sim = cluster(ms);
        sim.label = format!("the second dies {ms} ms after the first");
        sim.panic(0);
        sim.run(ms);
        sim.panic(1);
        sim.run_until(40_000, |sim| is_covered(sim, &[0, 1]));
        sim.run(5_000);
        let after = holders(&sim);
        assert!((0..GROUPS).filter(|of| of % NODES > 1).all(|of| after[of] == of % NODES));
        sim.rests(5_000).expect("it rests");
    }
}
