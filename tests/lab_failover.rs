//! The main job, with real packets: a NAT that fails in any of several ways is covered, repaired
//! where that is called for, and handed its routes back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

fn scene(nodes: u8, config: &str) -> Scene {
    Scene::start(&scene::spec(nodes, NATHA, config)).unwrap()
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

#[test]
fn a_route_that_a_person_leads_to_a_dead_nat_is_taken_once_its_status_check_fails() {
    let mut spec = scene::spec(2, NATHA, "failover.read_valid = \"5s\"\nrepair.enabled = false");
    spec.ec2.status_fail_ms = 25_000;
    let scene = Scene::start(&spec).unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    // Twice `read_valid`, after which a move can be no request from before its death.
    scene.pass(Duration::from_secs(11));
    scene.route_to(0, "nat-a").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "partitioned").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    scene.nobody_stopped().unwrap();
}
