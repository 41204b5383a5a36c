//! Networks that lose, block and cut.

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene, is_route_write};
use natha_lab::{Lab, NetChange, Traffic};

use crate::NATHA;

/// Longer than either node would wait before it may stop the other: `repair.after`, and
/// `repair.stagger` for the second one.
const WATCHED: Duration = Duration::from_secs(46);
/// The default `heartbeat.port`.
const HEARTBEAT: u16 = 6284;

/// Blocks this between the two NATs, both ways.
fn block(lab: &Lab, what: Traffic) {
    lab.block("nat-a", "nat-b", what).unwrap();
    lab.block("nat-b", "nat-a", what).unwrap();
}

/// Pings from both private hosts.
fn pings(scene: &Scene) -> [u64; 2] {
    ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap())
}

/// Mends the network; the cluster is as it was, nobody was stopped and no ping lost.
fn nothing_came_of_it(scene: &Scene, meters: [u64; 2]) {
    scene.net(NetChange::Clear).unwrap();
    for (zone, home) in ["nat-a", "nat-b"].into_iter().enumerate() {
        scene.wait_route(zone, home).unwrap();
    }
    scene.wait_well().unwrap();
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
}

/// Fails unless `natha status` tells on both nodes that something is wrong with the other.
fn alert_stands(scene: &Scene) {
    for (node, peer) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        let told = scene.natha(node, &["status"]).unwrap();
        assert_eq!(told.code, 3, "{}", told.stdout);
        let (_, findings) = told.stdout.split_once("Needs attention:").unwrap();
        assert!(findings.contains(peer), "{findings}");
    }
}

#[test]
fn s04_nat_without_internet_is_relieved_and_not_stopped() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
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
fn s05_loss_in_one_direction_stops_nobody_and_costs_no_packet() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meters = pings(&scene);
    scene.block("nat-a", "nat-b", Traffic::All).unwrap();
    scene.watch(WATCHED, || scene.nobody_stopped()).unwrap();
    alert_stands(&scene);
    nothing_came_of_it(&scene, meters);
}

#[test]
fn s06_partition_of_two_healthy_nats_stops_nobody_and_is_told() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meters = pings(&scene);
    block(&scene, Traffic::All);
    scene.watch(WATCHED, || scene.nobody_stopped()).unwrap();
    for (zone, home) in ["nat-a", "nat-b"].into_iter().enumerate() {
        assert_eq!(scene.route(zone).unwrap(), home);
    }
    alert_stands(&scene);
    nothing_came_of_it(&scene, meters);
}

#[test]
fn s07_blocked_icmp_moves_nothing_and_a_failure_is_still_covered() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meters = pings(&scene);
    block(&scene, Traffic::Icmp);
    scene.watch(WATCHED, || scene.nobody_stopped()).unwrap();
    assert_eq!(scene.route_writes().unwrap(), 0);
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
}

#[test]
fn s08_blocked_heartbeats_stop_nobody_cost_no_packet_and_are_told() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meters = pings(&scene);
    block(&scene, Traffic::Udp(HEARTBEAT));
    scene.watch(WATCHED, || scene.nobody_stopped()).unwrap();
    for zone in 0..2 {
        assert!(scene.route(zone).unwrap().starts_with("nat-"));
    }
    alert_stands(&scene);
    nothing_came_of_it(&scene, meters);
}

#[test]
fn s09_node_whose_uplink_is_lost_takes_nothing_from_a_dead_peer_and_stops_nobody() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    // Its probes go unanswered; the EC2 API, which it needs to do any harm, it still reaches.
    for probes in [Traffic::Icmp, Traffic::Tcp(443)] {
        scene.block("nat-a", "internet", probes).unwrap();
    }
    scene.wait_verdict("nat-b", "nat-a", "sick").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.panic("nat-b").unwrap();
    scene.wait_verdict("nat-a", "nat-b", "unreachable").unwrap();
    // Longer than it would wait for a repair.
    scene.watch(Duration::from_secs(28), || scene.nobody_stopped()).unwrap();
    assert!(!scene.calls_by("nat-a").unwrap().iter().any(is_route_write));
    scene.net(NetChange::Clear).unwrap();
    for zone in 0..2 {
        scene.wait_route(zone, "nat-a").unwrap();
    }
}
