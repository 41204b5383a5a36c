//! The latch: whatever fails, a latched cluster changes nothing, and it protects itself again once
//! the latch has ended.

use natha::failover::Command;
use natha_prove::sim::{Noise, Sim};

const MINUTE: u64 = 60_000;

fn latch() -> Command {
    Command::Latch { by: "ann".to_owned(), reason: "new firewall".to_owned() }
}

/// Breaks something for a while and mends it, a few times.
fn break_things(sim: &mut Sim, noise: &mut Noise) {
    for _ in 0..6 {
        let n = noise.pick(&[0, 1, 2]);
        let m = (n + noise.pick(&[1, 2])) % 3;
        match noise.below(5) {
            0 => sim.panic(n),
            1 => sim.kill_daemon(n),
            2 => sim.freeze(n),
            3 => sim.block_heartbeats(n, m),
            _ => sim.boot(n),
        }
        sim.run(1_000 + noise.below(2 * MINUTE));
        sim.thaw(n);
    }
}

#[test]
fn a_latched_cluster_changes_nothing_whatever_fails() {
    for seed in 0..16 {
        let mut noise = Noise::new(seed);
        let mut sim = Sim::new(3);
        sim.label = format!("seed {seed}");
        sim.command(0, latch());
        sim.run(1_000);
        let before = sim.done.len();
        break_things(&mut sim, &mut noise);
        assert_eq!(sim.done.len(), before, "seed {seed}: {:?}", sim.done);
    }
}

#[test]
fn after_the_latch_a_dead_node_is_covered_and_repaired() {
    let mut sim = Sim::new(3);
    sim.command(0, latch());
    sim.run(1_000);
    sim.panic(1);
    sim.run(5 * MINUTE);
    assert_eq!((sim.done.len(), sim.holder(1)), (0, Some(1)));
    sim.command(0, Command::Unlatch);
    sim.run(2_000);
    assert!(sim.holder(1).is_some_and(|n| n != 1));
    sim.run_until(6 * MINUTE, |sim| sim.holder(1) == Some(1));
    assert_eq!(sim.stops().len(), 1);
}

#[test]
fn the_latch_of_a_node_that_died_is_ended_on_each_of_the_others() {
    let mut sim = Sim::new(3);
    sim.command(0, latch());
    sim.run(1_000);
    sim.panic(0);
    sim.run(MINUTE);
    assert_eq!(sim.done.len(), 0);
    for n in [1, 2] {
        sim.command(n, Command::Unlatch);
    }
    sim.run(2_000);
    assert!(sim.holder(0).is_some_and(|n| n != 0), "{:?}", sim.done);
}
