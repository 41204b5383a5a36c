//! The monitor that acts is killed with SIGKILL at every step of a takeover, a repair and a
//! hand-back. Its service manager starts it again, and all ends well.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::Status;
use natha_lab::daemon::shared::Power;
use natha_lab::scene::{self, PATIENCE, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

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
fn a_monitor_killed_when_it_has_stopped_its_peer_starts_it_after_its_restart() {
    let (scene, boots) = killed_at(|status| !is(status, "nat-a", Power::Panicked));
    ends_well(&scene, boots);
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
}

#[test]
fn a_monitor_killed_while_its_peer_is_off_starts_it_after_its_restart() {
    let (scene, boots) = killed_at(|status| is(status, "nat-a", Power::Off));
    ends_well(&scene, boots);
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
}

#[test]
fn a_monitor_killed_while_its_peer_boots_hands_back_after_its_restart() {
    let (scene, boots) =
        killed_at(|status| status.hosts.iter().any(|host| host.name == "nat-a" && host.boot > 1));
    ends_well(&scene, boots);
}

#[test]
fn a_monitor_killed_again_and_again_while_it_takes_over_still_does() {
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
fn monitors_killed_during_a_hand_back_finish_it_without_losing_a_packet() {
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
