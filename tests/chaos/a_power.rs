//! Kernels and monitors that stop, hang and come back.

use std::time::Duration;

use natha_lab::daemon::shared::Power;
use natha_lab::scene::{self, QUICK, Scene, is_route_write};

use crate::NATHA;

#[test]
fn s01_peer_kernel_panic_is_covered_repaired_and_handed_its_routes_back() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
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
fn s03_peer_monitor_dead_costs_no_packet_and_no_stop() {
    let config = format!("failover.daemon_grace = \"3s\"\n{QUICK}");
    let scene = Scene::start(&scene::spec(2, NATHA, &config)).unwrap();
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
fn s20_frozen_node_writes_nothing_after_its_thaw_before_it_has_read() {
    let scene = Scene::start(&scene::spec(2, NATHA, "[hand_back]\nhold = \"3s\"")).unwrap();
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
