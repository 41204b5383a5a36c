//! Pauses, restarts, orders and newcomers, at the worst moments.

use super::cloud::{Api, Done, Mutation};
use super::sim::{Sim, id, roster, table};
use crate::failover::{Command, EventKind, Verdict};
use crate::types::{CloudFaultKind, InstanceState, RouteTarget};

const MINUTE: u64 = 60_000;

fn verdict(sim: &Sim, of: usize, by: usize) -> Verdict {
    sim.nodes[by].machine.as_ref().unwrap().view(sim.now).peers[&id(of)].verdict
}

#[test]
fn a_pause_does_not_raise_the_dead() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run_until(2 * MINUTE, |sim| sim.stops().len() == 1);
    sim.run(5_000);
    sim.freeze(1);
    sim.run(1_000);
    sim.thaw(1);
    sim.run(100);
    assert_ne!(verdict(&sim, 0, 1), Verdict::Alive);
    assert_eq!(sim.events(1, EventKind::RepairDone).len(), 0);
    sim.run_until(3 * MINUTE, |sim| sim.holder(0) == Some(0));
}

#[test]
fn a_pause_does_not_make_a_dead_daemon_a_dead_node() {
    let mut sim = Sim::new(2);
    sim.kill_daemon(0);
    sim.run(5_000);
    sim.freeze(1);
    sim.run(2_000);
    sim.thaw(1);
    sim.run(5_000);
    assert_eq!(sim.holder(0), Some(0), "within its grace");
    assert_eq!(verdict(&sim, 0, 1), Verdict::DaemonDown);
}

#[test]
fn patience_before_a_stop_starts_anew_after_a_pause() {
    let mut sim = Sim::new(2);
    sim.panic(0);
    sim.run(5_000);
    sim.freeze(1);
    sim.run(2 * MINUTE);
    sim.thaw(1);
    let thawed = sim.now;
    sim.run_until(2 * MINUTE, |sim| sim.stops().len() == 1);
    let waited = sim.now.since(thawed);
    assert!(waited >= sim.numbers.repair.after, "a stop {waited:?} after the pause");
}
