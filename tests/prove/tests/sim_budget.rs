//! What a large cluster asks of EC2, whose request rates belong to the whole account.

use std::time::Duration;

use natha::cluster::look_every;
use natha::config::Timing;
use natha_prove::sim::{Sim, many, roster};

const NODES: usize = 16;
/// The nodes of a zone.
const ZONE: [usize; 5] = [11, 12, 13, 14, 15];
/// The most calls a second of all members together.
const BUDGET: f64 = 5.0;
/// What a discovery takes at least: this instance, the members, the route tables, the subnets.
const DISCOVERY: f64 = 4.0;
/// How often each node reads its source/dest check.
const SOURCE_DEST_EVERY: f64 = 20.0;

/// Heartbeats cost the simulation most and ask EC2 for nothing, so they are rare here.
fn timing() -> Timing {
    Timing { interval: Duration::from_millis(900), ..Timing::default() }
}

/// The calls a second of some seconds, those of the daemon itself included.
#[expect(clippy::cast_precision_loss, reason = "a few thousand calls of a few nodes")]
fn calls_per_s(sim: &mut Sim, seconds: u64, discovery: f64) -> f64 {
    let before = sim.calls;
    sim.run(seconds * 1_000);
    let decided = (sim.calls - before) as f64 / seconds as f64;
    let live = sim.nodes.iter().filter(|node| node.machine.is_some()).count() as f64;
    let upkeep = discovery / look_every(NODES).as_secs_f64() + 1.0 / SOURCE_DEST_EVERY;
    decided + live * upkeep
}

#[test]
fn sixteen_nodes_keep_within_the_budget_at_rest_and_with_a_zone_lost() {
    let mut sim = Sim::of(roster(NODES), timing(), 1);
    let rest = calls_per_s(&mut sim, 20, DISCOVERY);
    for node in ZONE {
        sim.panic(node);
    }
    let lost = calls_per_s(&mut sim, 60, DISCOVERY);
    println!("at rest {rest:.2}, in the minute after a zone was lost {lost:.2}");
    assert!(ZONE.iter().all(|of| sim.holder(*of).is_some()), "{:?}", sim.done);
    assert!(rest <= BUDGET, "at rest {rest}");
    assert!(lost <= BUDGET, "with a zone lost {lost}");
}

/// Routes, private IPs and Elastic IPs are read by a call each; so a discovery takes four more.
#[test]
fn sixteen_nodes_with_groups_of_several_kinds_keep_within_the_budget_at_rest() {
    let mut sim = Sim::of(many(NODES, NODES), timing(), 1);
    let rest = calls_per_s(&mut sim, 30, DISCOVERY * 2.0);
    println!("at rest {rest:.2}");
    assert!(rest <= BUDGET, "at rest {rest}");
}
