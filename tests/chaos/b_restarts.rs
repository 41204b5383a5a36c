//! Monitors that are killed, at every step of a takeover, a repair and a hand-back too, and started
//! again by their service manager; and monitors that can write nothing down.

use std::time::Duration;

use natha_lab::Status;
use natha_lab::daemon::shared::Power;
use natha_lab::scene::{self, PATIENCE, QUICK, Scene};
use serde_json::Value;

use crate::NATHA;

fn scene() -> Scene {
    Scene::start(&scene::service(2, NATHA, QUICK)).unwrap()
}

fn is(status: &Status, host: &str, power: Power) -> bool {
    status.hosts.iter().any(|one| one.name == host && one.power == power)
}

/// The end of every story: nat-a was started again and has its route, nobody else was stopped.
fn ends_well(scene: &Scene, boots: u64) {
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    assert_eq!(scene.route(1).unwrap(), "nat-b");
    assert_eq!(scene.boots("nat-b").unwrap(), 1, "nat-b was never stopped");
}

/// Panics nat-a, and kills nat-b's monitor at once and whenever `step` has been reached.
fn killed_at(step: impl Fn(&Status) -> bool) -> (Scene, u64) {
    let scene = scene();
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_until(PATIENCE, step).unwrap();
    scene.kill("nat-b", "natha").unwrap();
    (scene, boots)
}

#[test]
fn s37_monitor_killed_when_it_has_stopped_its_peer_starts_it() {
    let (scene, boots) = killed_at(|status| !is(status, "nat-a", Power::Panicked));
    ends_well(&scene, boots);
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
}

#[test]
fn s37_monitor_killed_while_its_peer_is_off_starts_it() {
    let (scene, boots) = killed_at(|status| is(status, "nat-a", Power::Off));
    ends_well(&scene, boots);
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
}

#[test]
fn s37_monitor_killed_while_its_peer_boots_hands_back() {
    let (scene, boots) =
        killed_at(|status| status.hosts.iter().any(|host| host.name == "nat-a" && host.boot > 1));
    ends_well(&scene, boots);
}

#[test]
fn s37_monitor_killed_again_and_again_while_it_takes_over_still_does() {
    let scene = Scene::start(&scene::service(2, NATHA, "failover.first_contact = \"5s\"")).unwrap();
    scene.freeze("nat-a").unwrap();
    // 300 ms until the peer is lost, 50 ms for the write, 50 ms to read back.
    for wait in [290, 40, 30, 30, 60, 120] {
        scene.pass(Duration::from_millis(wait));
        scene.kill("nat-b", "natha").unwrap();
    }
    scene.wait_route(0, "nat-b").unwrap();
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn s37_monitors_killed_during_a_hand_back_finish_it() {
    let scene = scene();
    let zone = scene.zone(0).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.route_to(0, "nat-b").unwrap();
    for node in ["nat-b", "nat-a", "nat-b"] {
        scene.pass(Duration::from_millis(1_500));
        scene.kill(node, "natha").unwrap();
    }
    scene
        .wait_until(PATIENCE, |status| {
            let mut routes = status.routes.iter();
            routes.any(|route| route.subnet == zone.private_subnet && route.to == "nat-a")
        })
        .unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn s35_monitor_killed_for_lack_of_memory_is_back_at_once_and_costs_nothing() {
    let scene = scene();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    let pid = || {
        let status = natha_lab::cluster::status(&scene, "nat-a").unwrap_or_default();
        status["pid"].as_u64()
    };
    let before = pid().unwrap();
    // What the kernel's killer does to a process.
    assert_eq!(scene.kill("nat-a", "natha").unwrap(), 1);
    scene.wait_for(|| Ok(pid().is_some_and(|now| now != before))).unwrap();
    scene.wait_well().unwrap();
    assert_eq!(scene.route_writes().unwrap(), 0);
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
}

/// A takeover, a repair and a hand-back by a node on which nothing can be written to the disk.
fn writes_nothing_down(break_disk: &str) {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    scene.sh("nat-b", break_disk).unwrap();
    let write = "echo 1 > /var/lib/natha/written";
    assert!(scene.sh("nat-b", write).is_err(), "the disk takes writes");
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    let warned = |status: &Value| {
        let events = status["events"].as_array();
        events.is_some_and(|events| {
            events
                .iter()
                .any(|event| event["text"].to_string().contains("start the instance manually"))
        })
    };
    scene.wait_status("nat-b", warned).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    assert_eq!(scene.pinged(meter).unwrap().outages.len(), 1);
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
}

#[test]
fn s36_node_with_a_read_only_disk_takes_over_and_repairs() {
    writes_nothing_down("mount -o remount,ro /");
}

#[test]
fn s36_node_with_a_full_disk_takes_over_and_repairs() {
    writes_nothing_down(
        "cp -a /var/lib/natha /tmp/kept && mount -t tmpfs -o size=256k none /var/lib/natha && \
         cp -a /tmp/kept/. /var/lib/natha && ! cat /dev/zero > /var/lib/natha/filler 2>/dev/null",
    );
}
