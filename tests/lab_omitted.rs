//! Lists of EC2 that lack what exists: nothing is moved or stopped because of that.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::Traffic;
use natha_lab::ec2::{Fault, FaultRule, Faults, Principal};
use natha_lab::scene::{self, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Makes nat-b's lists lack nat-a and the table of nat-a's zone.
fn omit(scene: &Scene) {
    let asker = Principal::Instance(scene.host("nat-b").unwrap().instance);
    let missing = [scene.host("nat-a").unwrap().instance, scene.zone(0).unwrap().private_table];
    let rule = |id: &String| FaultRule::everywhere(Fault::Omit).about(id).by(asker.clone());
    scene.api_faults(Faults { rules: missing.iter().map(rule).collect() }).unwrap();
}

/// How many lists of instances nat-b has asked for.
fn lists(scene: &Scene) -> usize {
    let calls = scene.calls_by("nat-b").unwrap();
    let is_list = |params: &str| params.contains("Filter") && !params.contains("InstanceId");
    calls.iter().filter(|c| c.action == "DescribeInstances" && is_list(&c.params)).count()
}

#[test]
fn two_lists_in_a_row_without_a_peer_that_answers_no_echo_move_and_stop_nothing() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meter = scene.ping("host-b", 10).unwrap();
    scene.block("nat-a", "nat-b", Traffic::Icmp).unwrap();
    scene.block("nat-b", "nat-a", Traffic::Icmp).unwrap();
    let (before, writes) = (lists(&scene), scene.route_writes().unwrap());
    omit(&scene);
    // A minute lies between two lists.
    for more in 1..=2 {
        scene.wait_for(|| Ok(lists(&scene) >= before + more)).unwrap();
    }
    // Longer than either node would wait before it stops the other.
    scene.watch(Duration::from_secs(46), || scene.nobody_stopped()).unwrap();
    assert_eq!(scene.route_writes().unwrap(), writes);
    scene.lost_nothing(meter).unwrap();
    for (node, peer) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        scene.wait_verdict(node, peer, "alive").unwrap();
    }
    // The group whose table the lists lacked is still covered.
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
}

#[test]
fn a_monitor_whose_first_list_lacks_its_peer_meets_it_by_its_heartbeats() {
    let scene = Scene::start(&scene::service(2, NATHA, QUICK)).unwrap();
    let writes = scene.route_writes().unwrap();
    let before = lists(&scene);
    omit(&scene);
    scene.kill("nat-b", "natha").unwrap();
    scene.wait_for(|| Ok(lists(&scene) > before)).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "alive").unwrap();
    // No later list shows it either.
    scene.watch(Duration::from_secs(15), || scene.nobody_stopped()).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "alive").unwrap();
    scene.wait_verdict("nat-a", "nat-b", "alive").unwrap();
    assert_eq!(scene.route_writes().unwrap(), writes);
}
