//! Planned work: a latched cluster leaves everything as it is, and a drained node takes part again.

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

#[test]
fn a_latched_cluster_moves_nothing_over_restarts_until_it_is_unlatched() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let done = scene.natha("nat-a", &["latch", "--reason", "new firewall"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let peers_latch = |status: &serde_json::Value| {
        status["view"]["latches"]["peers"].as_array().is_some_and(|peers| !peers.is_empty())
    };
    scene.wait_status("nat-b", peers_latch).unwrap();
    for (node, part) in [("nat-a", "new firewall"), ("nat-b", "the cluster is latched on")] {
        let status = scene.natha(node, &["status"]).unwrap();
        assert_eq!(status.code, 3, "{}", status.stdout);
        assert!(status.stdout.contains(part), "{}", status.stdout);
    }
    let refused = scene.natha("nat-b", &["unlatch"]).unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("nat-a"), "{}", refused.stderr);

    let writes = scene.route_writes().unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    scene.terminate("nat-b").unwrap();
    scene.wait_status("nat-b", serde_json::Value::is_null).unwrap();
    scene.spawn("nat-b", &["natha", "monitor"]).unwrap();
    scene.wait_status("nat-b", peers_latch).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    let unmoved = || {
        assert_eq!(scene.route_writes()?, writes);
        Ok(())
    };
    scene.watch(Duration::from_secs(5), unmoved).unwrap();
    scene.nobody_stopped().unwrap();

    let done = scene.natha("nat-b", &["unlatch"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    scene.wait_route(0, "nat-b").unwrap();
    let again = scene.natha("nat-b", &["unlatch"]).unwrap();
    assert_eq!(again.code, 1, "{}", again.stdout);
    assert!(again.stderr.contains("is not latched"), "{}", again.stderr);
}

#[test]
fn a_drained_node_gets_its_groups_back_after_an_undrain() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.drain("nat-a").unwrap();
    assert_eq!(scene.route(0).unwrap(), "nat-b");
    let done = scene.natha("nat-a", &["undrain"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
}
