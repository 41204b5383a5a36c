//! A group that follows another program, as keepalived: the check is whether the address is on the
//! host. Whatever that program does for a moment, and however the writes are ordered, the group
//! ends at the node that has the address in the end, and stays there.

use std::time::Duration;

use natha::config::Timing;
use natha::types::{Roster, Traits};
use natha_prove::sim::{Api, Noise, Sim, roster};

/// Two nodes and one group, which follows; its address is on node `at`.
fn following(at: usize, seed: u64) -> Sim {
    let mut group = roster(2).groups.swap_remove(0);
    group.traits = Traits { checked: true, hand_back: Some(false), ..Traits::default() };
    let one = Roster { groups: vec![group], ..roster(2) };
    let mut sim = Sim::of(one, Timing::default(), seed);
    sim.label = format!("seed {seed}");
    set(&mut sim, 0, at == 0);
    set(&mut sim, 1, at == 1);
    sim.run_until(60_000, |sim| sim.holder(0) == Some(at));
    sim.run(5_000);
    sim
}

/// The address is on node `n`, or is not.
fn set(sim: &mut Sim, n: usize, has_address: bool) {
    let failing: &[usize] = if has_address { &[] } else { &[0] };
    sim.set_failing(n, failing);
}

#[test]
fn a_group_follows_the_address_at_once() {
    let mut sim = following(0, 1);
    let begun = sim.now;
    set(&mut sim, 0, false);
    set(&mut sim, 1, true);
    sim.run_until(2_000, |sim| sim.holder(0) == Some(1));
    assert!(sim.now.since(begun) < Duration::from_millis(300), "{:?}", sim.now.since(begun));
}

#[test]
fn two_nodes_with_the_address_or_none_leave_the_group_where_it_is() {
    for both in [true, false] {
        let mut sim = following(0, 2);
        set(&mut sim, 0, both);
        set(&mut sim, 1, both);
        let writes = sim.done.len();
        sim.run(60_000);
        assert_eq!((sim.holder(0), sim.done.len()), (Some(0), writes), "both: {both}");
    }
}

/// keepalived's issues 100, 950 and 2087: a node is master for 300 ms, and its script, which began
/// last, writes last.
#[test]
fn a_node_that_had_the_address_for_a_moment_does_not_keep_the_group() {
    for seed in 0..20 {
        let mut noise = Noise::new(seed);
        let mut sim = following(0, seed);
        sim.jitter = Duration::from_millis(noise.below(60));
        sim.latency = Duration::from_millis(10 + noise.below(600));
        sim.read_lag = Duration::from_millis(noise.pick(&[0, 500, 3_000]));
        // Writes of the one, of the other or of both take effect at any time within their limit.
        for n in 0..2 {
            sim.nodes[n].api = noise.pick(&[Api::Works, Api::Delays]);
        }
        for _ in 0..=noise.below(3) {
            set(&mut sim, 0, noise.chance(500));
            set(&mut sim, 1, true);
            sim.run(50 + noise.below(500));
            set(&mut sim, 1, false);
            sim.run(noise.below(200));
            set(&mut sim, 0, true);
            sim.run(noise.below(1_000));
        }
        set(&mut sim, 0, true);
        set(&mut sim, 1, false);
        sim.run(10_000);
        for node in &mut sim.nodes {
            node.api = Api::Works;
        }
        sim.run_until(60_000, |sim| sim.holder(0) == Some(0));
        sim.run(15_000);
        let writes = sim.done.len();
        sim.run(60_000);
        assert_eq!((sim.holder(0), sim.done.len()), (Some(0), writes), "{}: it rests", sim.label);
    }
}
