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

#[test]
fn s02_hung_peer_whose_kernel_answers_pings_is_covered_and_not_stopped() {
    let config = format!("failover.daemon_grace = \"3s\"\n{QUICK}");
    let scene = Scene::start(&scene::spec(2, NATHA, &config)).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    // Nothing of user space runs, and nothing is forwarded; the kernel still answers echo.
    scene.sh("nat-a", "kill -STOP $(pidof natha)").unwrap();
    scene.sh("nat-a", "echo 0 > /proc/sys/net/ipv4/ip_forward").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "daemon-down").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    // Longer than nat-b would wait for a repair.
    scene.watch(Duration::from_secs(25), || scene.nobody_stopped()).unwrap();
    scene.sh("nat-a", "kill -CONT $(pidof natha)").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "until the grace was over: {:?}", report.outages);
    scene.nobody_stopped().unwrap();
}

#[test]
fn s17_nodes_that_boot_at_once_stop_nobody_and_end_with_every_route_at_its_home() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    assert_eq!(scene.route_writes().unwrap(), 0, "at the first boot every route was at its home");
    let nodes = ["nat-a", "nat-b"].map(|name| scene.host(name).unwrap());
    scene.stop_nodes(&nodes).unwrap();
    scene.start_nodes(&nodes).unwrap();
    for node in &nodes {
        scene.wait_boot(&node.name, node.boot).unwrap();
    }
    for (zone, home) in ["nat-a", "nat-b"].into_iter().enumerate() {
        scene.wait_route(zone, home).unwrap();
    }
    scene.wait_well().unwrap();
    let booted = scene.power_at("nat-b", Power::On).unwrap();
    let calls = scene.calls().unwrap();
    let late = calls.iter().filter(|call| call.at > booted && is_route_write(call)).count();
    // One takes what is nowhere, or what the first to go left with the last; it goes home once.
    assert!(late <= 4, "{late} writes after the boot");
    scene.nobody_stopped().unwrap();
}

#[test]
fn s18_node_that_boots_takes_nothing_and_is_handed_its_routes_without_a_lost_packet() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let nat = scene.host("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.ec2("StopInstances", &[("InstanceId.1", &nat.instance)]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "down").unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.ec2("StartInstances", &[("InstanceId.1", &nat.instance)]).unwrap();
    scene.wait_boot("nat-a", nat.boot).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    assert!(!scene.calls_by("nat-a").unwrap().iter().any(is_route_write), "nat-b hands back");
    scene.nobody_stopped().unwrap();
}
