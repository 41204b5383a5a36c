//! The fallback of a group: when no node can serve, private hosts keep the internet through a NAT
//! gateway, and come back to a node.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::fallback::{BREAK, GATEWAY, MEND};
use natha_lab::net::internet::{INTERNET_HOST, WHOAMI_PORT};
use natha_lab::scene::{self, QUICK, Scene, element, has_event};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const NODES: [&str; 2] = ["nat-a", "nat-b"];
const HOSTS: [&str; 2] = ["host-a", "host-b"];

/// A pair whose tables name a NAT gateway as their fallback; and that gateway.
fn start() -> (Scene, String) {
    let spec = scene::spec(2, NATHA, QUICK).with_address(GATEWAY, None);
    let scene = Scene::start(&spec).unwrap();
    let gateway = scene.add_fallback(&NODES).unwrap();
    (scene, gateway)
}

/// The address from which the internet sees a private host.
fn seen_as(scene: &Scene, host: &str) -> String {
    let ask = format!(
        "bash -c 'exec 3<>/dev/tcp/{INTERNET_HOST}/{WHOAMI_PORT}; \
         printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; tail -n1 <&3'"
    );
    scene.sh(host, &ask).unwrap().trim().to_owned()
}

/// Waits until every table leads to the gateway, and sees that all hosts reach the internet by it.
fn all_at(scene: &Scene, gateway: &str) {
    for zone in 0..2 {
        scene.wait_route(zone, gateway).unwrap();
    }
    let address = scene.account().unwrap().elastic[GATEWAY].address.to_string();
    for host in HOSTS {
        assert_eq!(seen_as(scene, host), address);
    }
}

#[test]
fn hosts_behind_two_nodes_that_cannot_forward_use_the_fallback_until_these_can() {
    let (scene, gateway) = start();
    let checked = scene.natha("nat-a", &["doctor", "--only", "fallback-ready"]).unwrap();
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    for node in NODES {
        scene.sh(node, BREAK).unwrap();
    }
    all_at(&scene, &gateway);
    for node in NODES {
        let told = |status: &Value| has_event(status, "fallback", "its routes are at its fallback");
        scene.wait_status(node, told).unwrap();
        let status = scene.natha(node, &["status"]).unwrap();
        assert_eq!(status.code, 3, "{}", status.stdout);
        assert!(status.stdout.contains(&format!("{gateway} (fallback)")), "{}", status.stdout);
    }
    let plan = scene.natha("nat-a", &["adopt"]).unwrap();
    assert!(plan.stdout.contains("that is the group's fallback"), "{}", plan.stdout);
    let writes = scene.route_writes().unwrap();
    let stays = || scene::ensure(scene.route_writes()? == writes, "something moved again");
    scene.watch(Duration::from_secs(10), stays).unwrap();
    for node in NODES {
        scene.sh(node, MEND).unwrap();
    }
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_route(1, "nat-b").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_drained_node_leaves_its_groups_and_a_dead_peer_s_to_the_fallback() {
    let (scene, gateway) = start();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    scene.drain("nat-b").unwrap();
    all_at(&scene, &gateway);
    let done = scene.natha("nat-b", &["undrain"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_route(1, "nat-b").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
}

#[test]
fn planned_work_on_a_pair_needs_the_fallback_only_when_the_other_node_dies_meanwhile() {
    let (scene, gateway) = start();
    let work = "mkfifo /root/go
natha when-safe -- sh -c 'echo begun >/root/work; read x </root/go'
echo $? >/root/ended";
    scene.spawn("nat-a", &["sh", "-c", work]).unwrap();
    let holds = |path: &str, text: &str| -> anyhow::Result<bool> {
        Ok(scene.sh("nat-a", &format!("cat {path} 2>/dev/null || true"))? == text)
    };
    scene.wait_for(|| holds("/root/work", "begun\n")).unwrap();
    let served = || {
        let all_here = scene.route(0)? == "nat-b" && scene.route(1)? == "nat-b";
        scene::ensure(all_here, "the other node does not serve all")
    };
    scene.watch(Duration::from_secs(5), served).unwrap();
    scene.panic("nat-b").unwrap();
    all_at(&scene, &gateway);
    scene.sh("nat-a", "echo go >/root/go").unwrap();
    scene.wait_for(|| holds("/root/ended", "0\n")).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_route(1, "nat-a").unwrap();
    scene.wait_route(1, "nat-b").unwrap();
    scene.wait_well().unwrap();
}

#[test]
fn a_fallback_that_was_deleted_raises_an_alert_and_leaves_the_routes_to_nodes() {
    let (scene, gateway) = start();
    scene.ec2("DeleteNatGateway", &[("NatGatewayId", &gateway)]).unwrap();
    let shown = || scene.ec2("DescribeNatGateways", &[("NatGatewayId.1", &gateway)]);
    scene.wait_for(|| Ok(element(&shown()?, "state") == "deleted")).unwrap();
    let checked = scene.natha("nat-a", &["doctor", "--only", "fallback-ready"]).unwrap();
    assert_eq!(checked.code, 3, "{}{}", checked.stdout, checked.stderr);
    for node in NODES {
        scene.sh(node, BREAK).unwrap();
    }
    let told = |status: &Value| has_event(status, "fallback", "EC2 refuses its fallback");
    scene.wait_status("nat-a", told).unwrap();
    scene.wait_status("nat-b", told).unwrap();
    // The second node may have taken the group of the first one before it was broken itself.
    for zone in 0..2 {
        let holder = scene.route(zone).unwrap();
        assert!(NODES.contains(&&*holder), "{holder}");
    }
    for node in NODES {
        scene.sh(node, MEND).unwrap();
    }
    scene.wait_well().unwrap();
}
