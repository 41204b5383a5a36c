//! What nodes find out by probes: faults that they share, evidence that they lack.

use natha::config::Timing;
use natha::failover::Command;
use natha::types::{Evidence, Fault, Fitness, GroupName, InstanceState};
use natha_prove::sim::Sim;

const MINUTE: u64 = 60_000;

/// All nodes find this out about themselves, each so much later than the one before.
fn all(sim: &mut Sim, fitness: &Fitness, apart: u64) {
    for n in 0..sim.nodes.len() {
        sim.set_fitness(n, fitness.clone());
        sim.run(apart);
    }
}

/// Field fault A5.
#[test]
fn blips_that_all_nodes_share_move_nothing() {
    for (nodes, apart) in [(2, 0), (2, 100), (2, 250), (3, 0), (3, 125)] {
        for fault in [Fault::Uplink, Fault::Transit] {
            let mut sim = Sim::new(nodes);
            sim.run(10_000);
            for _ in 0..6 {
                all(&mut sim, &Fitness::unfit(fault), apart);
                sim.run(3_000);
                all(&mut sim, &Fitness::fit(), apart);
                sim.run(8_000);
            }
            assert_eq!(sim.done.len(), 0, "{nodes} nodes, {apart} ms apart: {:?}", sim.done);
        }
    }
}

/// Two or three nodes that probe, `seed` deciding at which moments.
fn probing(nodes: usize, seed: u64) -> Sim {
    let mut sim = Sim::seeded(nodes, Timing::default(), seed);
    sim.start_probes();
    let phase = sim.noise.below(1_000);
    sim.run(10_000 + phase);
    sim
}

/// The same with every node's own probes: blips that are too short for any of them to find, that
/// some find and others do not, and that all find.
#[test]
fn blips_that_all_nodes_probe_through_move_nothing() {
    let mut found = [0; 4];
    for seed in 0..120 {
        let nodes = 2 + usize::from(seed % 2 == 1);
        let mut sim = probing(nodes, seed);
        let lasting = 400 + seed * 10;
        (0..nodes).for_each(|n| sim.set_uplink(n, false));
        sim.run(lasting);
        (0..nodes).for_each(|n| sim.set_uplink(n, true));
        // What was under way is noticed a moment later.
        let lost = |sim: &Sim| (0..nodes).filter(|n| sim.finds_uplink_lost(*n)).count();
        found[lost(&sim)] += 1;
        sim.run(20_000);
        assert_eq!(sim.done.len(), 0, "seed {seed}, {lasting} ms: {:?}", sim.done);
    }
    assert!(found.iter().all(|times| *times > 9), "by how many nodes blips were found: {found:?}");
}

#[test]
fn a_lost_uplink_costs_its_detection_and_the_proof_that_it_is_not_shared() {
    let outage = |seed| {
        let mut sim = probing(2, seed);
        sim.set_uplink(0, false);
        sim.run(5_000);
        assert_eq!(sim.holder(0), Some(1), "seed {seed}");
        sim.outage_ms(0)
    };
    let mut outages: Vec<u128> = (0..100).map(outage).collect();
    outages.sort_unstable();
    assert!(outages[50] <= 1_250 && outages[99] <= 1_600, "{outages:?}");
}

#[test]
fn a_node_whose_forward_path_breaks_is_relieved_within_a_second() {
    let mut sim = Sim::new(2);
    sim.run(10_000);
    sim.set_fitness(0, Fitness::unfit(Fault::Transit));
    sim.run(800);
    assert_eq!(sim.holder(0), Some(1));
    sim.run(10 * MINUTE);
    assert_eq!((sim.holder(0), sim.stops().len()), (Some(1), 0));
    sim.set_fitness(0, Fitness::fit());
    sim.run(2 * MINUTE);
    assert_eq!(sim.holder(0), Some(0));
}

/// Each heartbeat is held to what the world let through: see `check_proof` in `rules.rs`.
#[test]
fn a_node_that_probes_claims_no_proof_that_is_old() {
    for seed in 0..20 {
        let mut sim = probing(2, seed);
        let is_proven =
            |sim: &Sim| sim.nodes[0].machine.as_ref().is_some_and(|it| it.fitness().is_proven());
        sim.set_forwarding(0, false);
        sim.run(5_000);
        assert_eq!((is_proven(&sim), sim.holder(0)), (false, Some(1)), "seed {seed}");
        // The next host has proven nothing, and a restart of its monitor proves nothing either.
        sim.panic(0);
        for _ in 0..2 {
            sim.boot(0);
            sim.run(300);
            assert!(!is_proven(&sim), "seed {seed}");
        }
        sim.set_forwarding(0, true);
        sim.run(2 * MINUTE);
        assert_eq!((is_proven(&sim), sim.holder(0)), (true, Some(0)), "seed {seed}");
    }
}

/// Field fault A4.
#[test]
fn where_all_probes_fail_a_dead_node_is_covered_and_no_node_is_stopped() {
    for nodes in [2, 3] {
        for stopped in [false, true] {
            let mut sim = Sim::new(nodes);
            sim.run(10_000);
            all(&mut sim, &Fitness::unfit(Fault::Uplink), 100);
            sim.run(5 * MINUTE);
            assert_eq!(sim.done.len(), 0, "what all share moves nothing");
            sim.panic(0);
            if stopped {
                sim.stop_by_user(0);
            }
            sim.run(20_000);
            assert!(sim.holder(0).is_some_and(|holder| holder != 0), "{:?}", sim.done);
            sim.run(5 * MINUTE);
            assert_eq!(sim.stops().len(), 0, "an unfit node repairs no peer");
            assert_eq!(sim.outage_ms(1), 0);
        }
    }
}

/// A node that is cut off from everything but the API does not take what its peer serves.
#[test]
fn a_node_that_fails_alone_takes_nothing_from_a_peer_that_it_cannot_hear() {
    let mut sim = Sim::new(2);
    sim.run(10_000);
    sim.set_fitness(0, Fitness::unfit(Fault::Uplink));
    sim.run(50);
    sim.block_heartbeats(0, 1);
    sim.block_echo(0, 1);
    sim.run(MINUTE);
    assert!(sim.done.iter().all(|done| done.by == 1), "{:?}", sim.done);
    assert_eq!((sim.holder(0), sim.holder(1)), (Some(1), Some(1)));
}

/// Field fault A1.
#[test]
fn a_node_that_has_proven_nothing_since_its_boot_gets_nothing_back_until_it_has() {
    for kind in Evidence::ALL {
        let mut sim = Sim::new(2);
        sim.run(10_000);
        sim.set_fitness(0, Fitness::unfit(kind.fault()));
        sim.run(1_000);
        assert_eq!(sim.holder(0), Some(1));
        sim.boot(0);
        sim.set_fitness(0, Fitness::unproven(kind));
        sim.run(10 * MINUTE);
        assert_eq!(sim.holder(0), Some(1), "{kind}");
        let group: GroupName = "g0".parse().unwrap();
        sim.command(1, Command::HandOver { group, to: None });
        sim.run(MINUTE);
        assert_eq!(sim.holder(0), Some(1), "{kind}: not even on request");
        sim.set_fitness(0, Fitness::fit());
        sim.run(MINUTE);
        assert_eq!(sim.holder(0), Some(0), "{kind}");
    }
}

#[test]
fn a_node_that_has_proven_nothing_keeps_what_it_has_and_takes_from_the_dead() {
    let mut sim = Sim::new(2);
    for n in 0..2 {
        sim.set_fitness(n, Fitness::unproven(Evidence::Transit));
    }
    sim.set_fitness(0, Fitness::fit());
    sim.run(5 * MINUTE);
    assert_eq!(sim.done.len(), 0);
    sim.panic(0);
    sim.run(2_000);
    assert_eq!(sim.holder(0), Some(1));
    sim.run_until(5 * MINUTE, |sim| sim.nodes[0].power == InstanceState::Running);
    sim.run(5 * MINUTE);
    assert_eq!(sim.holder(0), Some(0), "who has evidence gets its group back from one without");
}
