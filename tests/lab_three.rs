//! Clusters of three: one heir, no repair without a majority.

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene, is_route_write};
use natha_lab::{NetChange, Traffic};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

#[test]
fn one_heir_takes_over_from_a_dead_nat_and_its_home_gets_it_back() {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    let meter = scene.ping("host-b", 10).unwrap();
    let boots = scene.boots("nat-b").unwrap();
    scene.panic("nat-b").unwrap();
    let moved = |status: &natha_lab::Status| {
        let subnet = &status.account.zones[1].private_subnet;
        let mut routes = status.routes.iter().filter(|route| route.subnet == *subnet);
        routes.any(|route| route.to == "nat-a" || route.to == "nat-c")
    };
    scene.wait_until(scene::PATIENCE, moved).unwrap();
    let heir = scene.route(1).unwrap();
    scene.wait_boot("nat-b", boots).unwrap();
    scene.wait_route(1, "nat-b").unwrap();
    scene.wait_well().unwrap();
    for (zone, home) in [(0, "nat-a"), (2, "nat-c")] {
        assert_eq!(scene.route(zone).unwrap(), home);
    }
    let other = if heir == "nat-a" { "nat-c" } else { "nat-a" };
    assert!(!scene.calls_by(other).unwrap().iter().any(is_route_write), "{other} wrote, too");
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
    assert_eq!(scene.pinged(meter).unwrap().outages.len(), 1);
}

#[test]
fn the_last_of_three_serves_all_and_stops_nobody_without_a_majority() {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    scene.panic("nat-a").unwrap();
    scene.panic("nat-b").unwrap();
    scene.wait_route(0, "nat-c").unwrap();
    scene.wait_route(1, "nat-c").unwrap();
    let held = |status: &serde_json::Value| {
        let peers = status.pointer("/view/peers").and_then(serde_json::Value::as_object);
        peers.is_some_and(|peers| {
            peers.values().all(|peer| peer["repair"].as_str().is_some_and(is_for_majority))
        })
    };
    scene.wait_status("nat-c", held).unwrap();
    scene.watch(Duration::from_secs(5), || scene.nobody_stopped()).unwrap();
    for host in ["host-a", "host-b", "host-c"] {
        let meter = scene.ping(host, 10).unwrap();
        scene.pass(Duration::from_millis(500));
        scene.lost_nothing(meter).unwrap();
    }
}

#[test]
fn a_third_node_vouches_for_two_that_cannot_hear_each_other() {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    for (from, to) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        scene.block(from, to, Traffic::All).unwrap();
    }
    scene.wait_verdict("nat-a", "nat-b", "partitioned").unwrap();
    scene.watch(Duration::from_secs(30), || scene.nobody_stopped()).unwrap();
    scene.net(NetChange::Clear).unwrap();
    scene.wait_well().unwrap();
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_healthy_node_that_two_others_cannot_hear_is_not_stopped_by_their_majority() {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    let hosts = ["host-a", "host-b", "host-c"];
    let meters = hosts.map(|host| scene.ping(host, 10).unwrap());
    for other in ["nat-b", "nat-c"] {
        scene.block("nat-a", other, Traffic::All).unwrap();
        scene.block(other, "nat-a", Traffic::All).unwrap();
    }
    scene.watch(Duration::from_secs(46), || scene.nobody_stopped()).unwrap();
    scene.net(NetChange::Clear).unwrap();
    for (zone, home) in ["nat-a", "nat-b", "nat-c"].into_iter().enumerate() {
        scene.wait_route(zone, home).unwrap();
    }
    scene.wait_well().unwrap();
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
}

fn is_for_majority(reason: &str) -> bool {
    reason.contains("majority")
}
