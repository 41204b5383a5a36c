//! `natha measure` finds the delays that the lab's EC2 was given, and leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
/// What a call takes, and from its answer until packets follow it, in ms.
const LATENCY: u64 = 400;
const PROPAGATION: u64 = 800;
const LIMIT: Duration = Duration::from_mins(2);

/// Two nodes, of which nat-b accepts packets to the scratch address.
fn scene() -> Scene {
    let mut spec = scene::spec(2, NATHA, QUICK);
    (spec.ec2.latency_ms, spec.ec2.propagation_ms) = (LATENCY, PROPAGATION);
    let scene = Scene::start(&spec).unwrap();
    let accept = "sed -i '1i host.accept = [\"192.0.2.254\"]' /etc/natha/natha.toml";
    scene.sh("nat-b", &format!("{accept} && natha setup")).unwrap();
    scene
}

/// Whether the public table has a route for the scratch address.
fn is_left(scene: &Scene) -> bool {
    let tables = scene.ec2("DescribeRouteTables", &[]).unwrap();
    tables.contains("192.0.2.254/32")
}

#[test]
fn the_delays_of_the_lab_are_found_to_within_a_tenth() {
    let scene = scene();
    let table = scene.account().unwrap().public_table;
    let measure = ["measure", "--table", &table, "--peer", "nat-b", "--rounds", "3"];
    let plan = scene.natha("nat-a", &measure).unwrap();
    assert_eq!(plan.code, 3, "{}{}", plan.stdout, plan.stderr);
    assert!(plan.stdout.contains("--yes") && !is_left(&scene), "{}", plan.stdout);
    let argv = [&["natha"], &measure[..], &["--yes", "--json"]].concat();
    let done = scene.exec("nat-a", &argv, LIMIT).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let measured: Value = serde_json::from_str(&done.stdout).unwrap();
    let samples = measured["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 12, "{measured:#}");
    for sample in samples {
        for (what, wanted) in [("call_ms", LATENCY), ("effect_ms", LATENCY + PROPAGATION)] {
            let found = sample[what].as_u64().unwrap();
            assert!(found.abs_diff(wanted) * 10 <= wanted, "{what}: {found}: {sample:#}");
        }
    }
    assert!(!is_left(&scene));
    scene.wait_well().unwrap();

    let shown = scene.natha("nat-a", &["measure", "--heartbeats", "--json"]).unwrap();
    let peers: Value = serde_json::from_str(&shown.stdout).unwrap();
    let measured = |key: &str| peers[0][key].as_u64().unwrap();
    assert!(peers[0]["node"].as_str().unwrap().contains("nat-b"), "{peers:#}");
    assert!(measured("gaps") > 20 && measured("p50_ms") <= measured("max_ms"), "{peers:#}");
    let shown = scene.natha("nat-a", &["measure", "--heartbeats"]).unwrap();
    assert!(shown.stdout.contains("p99 UP TO"), "{}", shown.stdout);
}

#[test]
fn a_measurement_that_is_killed_leaves_no_route_behind() {
    let scene = scene();
    let table = scene.account().unwrap().public_table;
    let argv =
        ["natha", "measure", "--table", &table, "--peer", "nat-b", "--rounds", "100", "--yes"];
    scene.spawn("nat-a", &argv).unwrap();
    scene.wait_for(|| Ok(is_left(&scene))).unwrap();
    // Not the second process, which has one flag more.
    scene.sh("nat-a", "pkill -KILL -f 'natha measure .*--yes$'").unwrap();
    scene.wait_for(|| Ok(!is_left(&scene))).unwrap();
}

#[test]
fn a_peer_that_does_not_reply_and_a_wrong_table_are_named() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let account = scene.account().unwrap();
    let measure = ["measure", "--table", &account.public_table, "--peer", "nat-b"];
    let wrong = scene.zone(0).unwrap().private_table;
    let refused = scene.natha("nat-a", &["measure", "--table", &wrong, "--peer", "nat-b"]).unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains(&account.public_table), "{}", refused.stderr);
    let itself = [&["env", "NATHA_HOST_ACCEPT=192.0.2.254", "natha"][..], &measure].concat();
    let refused = scene.exec("nat-a", &itself, LIMIT).unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("accepts 192.0.2.254 itself"), "{}", refused.stderr);
    let nobody = ["measure", "--table", &account.public_table, "--peer", "nat-z"];
    let refused = scene.natha("nat-a", &nobody).unwrap();
    assert!(refused.stderr.contains("nat-b"), "{}", refused.stderr);
    let argv = [&["natha"], &measure[..], &["--yes"]].concat();
    let silent = scene.exec("nat-a", &argv, LIMIT).unwrap();
    assert_eq!(silent.code, 1, "{}", silent.stdout);
    assert!(silent.stderr.contains("host.accept"), "{}", silent.stderr);
    assert!(!is_left(&scene));
}
