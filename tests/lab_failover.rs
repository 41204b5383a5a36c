//! The main job, with real packets: a NAT that fails in any of several ways is covered, repaired
//! where that is called for, and handed its routes back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::daemon::shared::Power;
use natha_lab::scene::{self, QUICK, Scene, is_route_write};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

fn scene(nodes: u8, config: &str) -> Scene {
    Scene::start(&scene::spec(nodes, NATHA, config)).unwrap()
}

#[test]
fn a_panicked_nat_is_covered_repaired_and_handed_its_routes_back() {
    let scene = scene(2, QUICK);
    let meter = scene.ping("host-a", 10).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
    assert_eq!(scene.count("StartInstances").unwrap(), 1);
}

#[test]
fn a_frozen_nat_writes_nothing_after_its_thaw_before_it_has_read() {
    let scene = scene(2, "[hand_back]\nhold = \"3s\"");
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    scene.pass(Duration::from_secs(10));
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let thawed = scene.power_at("nat-a", Power::On).unwrap();
    let calls = scene.calls_by("nat-a").unwrap();
    let mut after = calls.iter().filter(|call| call.at > thawed);
    let first = after.find(|call| is_route_write(call) || call.action == "DescribeRouteTables");
    assert_eq!(first.unwrap().action, "DescribeRouteTables");
    assert_eq!(calls.iter().filter(|call| is_route_write(call)).count(), 0, "nat-b hands back");
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_nat_without_its_uplink_is_relieved_takes_nothing_and_is_not_stopped() {
    let scene = scene(2, QUICK);
    let meter = scene.ping("host-a", 10).unwrap();
    scene.cut_uplink("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "sick").unwrap();
    // Longer than either node would wait for a repair.
    scene
        .watch(Duration::from_secs(25), || {
            scene.nobody_stopped()?;
            scene::ensure(scene.route(1)? == "nat-b", "the other zone's route was moved")
        })
        .unwrap();
    scene.mend("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
    let writes = scene.calls_by("nat-a").unwrap();
    assert!(!writes.iter().any(is_route_write), "nat-a moved a route: {writes:?}");
}

#[test]
fn a_killed_monitor_costs_no_packet_and_no_stop() {
    let scene = scene(2, &format!("failover.daemon_grace = \"3s\"\n{QUICK}"));
    let meter = scene.ping("host-a", 10).unwrap();
    assert_eq!(scene.kill("nat-a", "natha").unwrap(), 1);
    scene.wait_verdict("nat-b", "nat-a", "daemon-down").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    // Longer than nat-b would wait for a repair.
    scene.watch(Duration::from_secs(25), || scene.nobody_stopped()).unwrap();
    scene.spawn("nat-a", &["natha", "monitor"]).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_nat_whose_link_was_cut_for_a_while_gets_its_routes_back_without_a_stop() {
    let scene = scene(2, "[hand_back]\nhold = \"3s\"");
    let meter = scene.ping("host-a", 10).unwrap();
    scene.cut_link("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    scene.mend("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
    scene.nobody_stopped().unwrap();
}

#[test]
fn nothing_moves_while_no_nat_has_an_uplink() {
    let scene = scene(2, QUICK);
    let writes = scene.route_writes().unwrap();
    scene.cut_uplink("nat-a").unwrap();
    scene.cut_uplink("nat-b").unwrap();
    for (node, peer) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        scene.wait_verdict(node, peer, "sick").unwrap();
    }
    scene.watch(Duration::from_secs(24), || scene.nobody_stopped()).unwrap();
    scene.mend("nat-a").unwrap();
    scene.mend("nat-b").unwrap();
    scene.wait_well().unwrap();
    for (zone, home) in ["nat-a", "nat-b"].into_iter().enumerate() {
        scene.wait_route(zone, home).unwrap();
    }
    // Whichever was mended first may have helped the other out; while both were cut, none could.
    let mended = scene.route_writes().unwrap();
    assert!(mended - writes <= 4, "{} writes", mended - writes);
}

#[test]
fn slow_calls_and_slow_routes_delay_a_takeover_and_cost_a_hand_back_nothing() {
    let mut spec = scene::spec(2, NATHA, QUICK);
    (spec.ec2.latency_ms, spec.ec2.propagation_ms) = (300, 1_000);
    let scene = Scene::start(&spec).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let covered = scene.pinged(meter).unwrap();
    assert_eq!(covered.outages.len(), 1, "{:?}", covered.outages);
    let meter = scene.ping("host-a", 10).unwrap();
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    assert_eq!(scene.count("ReplaceRoute").unwrap(), 2, "one there, one back");
    scene.nobody_stopped().unwrap();
}
