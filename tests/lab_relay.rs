//! While a planned move takes effect, its two nodes copy packets to each other: none is lost,
//! whichever of route and Elastic IP takes effect first.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use anyhow::Result;
use natha_lab::cluster;
use natha_lab::egress::Egress;
use natha_lab::scene::{self, QUICK, Scene};
use natha_lab::{NetChange, Traffic};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const NODES: [&str; 2] = ["nat-a", "nat-b"];
/// After both have taken effect.
const AFTER: Duration = Duration::from_secs(5);

/// A cluster whose changes take effect so much later than EC2 accepts them.
fn start(settings: &str, propagation_ms: u64, elastic_ms: u64) -> Scene {
    let mut spec = Egress { strict: false, replicate: true, more: settings }.spec(NATHA);
    spec.ec2.propagation_ms = propagation_ms;
    spec.ec2.elastic_ms = Some(elastic_ms);
    let scene = Scene::start(&spec).unwrap();
    let address = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", address).unwrap();
    scene
}

/// Whether a node can copy packets to the other one, as it reports.
fn copies(scene: &Scene, from: &str, to: &str) -> Result<Option<bool>> {
    Ok(scene.sent(from, to)?["copies"].as_bool())
}

fn wait_copies(scene: &Scene, wanted: Option<bool>) {
    for (from, to) in [(NODES[0], NODES[1]), (NODES[1], NODES[0])] {
        scene.wait_for(|| Ok(copies(scene, from, to)? == wanted)).unwrap();
    }
}

/// Pings every 10 ms over a hand-over and the hand-back that follows. Returns the meter.
fn moved(scene: &Scene, longest_ms: u64) -> u64 {
    let meter = scene.ping("host-a", 10).unwrap();
    scene.wait_replicated(NODES[0], NODES[1], 1).unwrap();
    scene.hand_over(NODES[0], "a", NODES[1]).unwrap();
    if copies(scene, NODES[0], NODES[1]).unwrap() == Some(true) {
        wait_copying(scene);
    }
    for holder in [NODES[1], NODES[0]] {
        scene.wait_route(0, holder).unwrap();
        scene.pass(Duration::from_millis(longest_ms));
    }
    scene.pass(AFTER);
    meter
}

/// Waits until both nodes report that they copy packets to each other now.
fn wait_copying(scene: &Scene) {
    for (from, to) in [(NODES[0], NODES[1]), (NODES[1], NODES[0])] {
        scene.wait_for(|| Ok(scene.sent(from, to)?["copying"] == true)).unwrap();
    }
}

/// Waits until a node reports what it has copied in two moves, of which it gave a group in one and
/// got it in the other. Each took effect for longer than a second, with a ping every 10 ms.
fn wait_counted(scene: &Scene, node: &str) {
    let counted = |status: &serde_json::Value| {
        ["made", "sent_on"].iter().all(|part| {
            let of = |what: &str| status["flows"]["copies"][part][what].as_u64().unwrap_or(0);
            // The headers of a ping have 28 bytes.
            of("packets") >= 50 && of("bytes") >= 28 * of("packets")
        })
    };
    scene.wait_status(node, counted).unwrap();
}

/// No packet is lost, and no other address is seen.
fn loses_nothing(propagation_ms: u64, elastic_ms: u64) {
    // However short the hold is, the hand-back begins once the copies of the hand-over have ended.
    let scene = start(QUICK, propagation_ms, elastic_ms);
    wait_copies(&scene, Some(true));
    let meter = moved(&scene, propagation_ms.max(elastic_ms));
    scene.lost_nothing(meter).unwrap();
    let address = scene.public("out-a").unwrap();
    assert_eq!(scene.seen("host-a"), Some(address));
    for node in NODES {
        wait_counted(&scene, node);
    }
}

#[test]
fn a_planned_move_loses_no_packet_where_the_route_takes_effect_first() {
    loses_nothing(1_500, 4_000);
}

#[test]
fn a_planned_move_loses_no_packet_where_the_elastic_ip_takes_effect_first() {
    loses_nothing(4_000, 1_500);
}

/// No packet is lost where a node goes down as soon as its drain has ended, as in a reboot.
fn a_drain_loses_nothing(propagation_ms: u64, elastic_ms: u64) {
    let scene = start(QUICK, propagation_ms, elastic_ms);
    wait_copies(&scene, Some(true));
    let meter = scene.ping("host-a", 10).unwrap();
    scene.wait_replicated(NODES[0], NODES[1], 1).unwrap();
    scene.drain(NODES[0]).unwrap();
    scene.sh(NODES[0], "ip link set ens5 down").unwrap();
    scene.pass(AFTER);
    scene.lost_nothing(meter).unwrap();
    assert_eq!(scene.seen("host-a"), Some(scene.public("out-a").unwrap()));
}

#[test]
fn a_drain_loses_no_packet_where_the_route_takes_effect_first() {
    a_drain_loses_nothing(1_500, 4_000);
}

#[test]
fn a_drain_loses_no_packet_where_the_elastic_ip_takes_effect_first() {
    a_drain_loses_nothing(4_000, 1_500);
}

#[test]
fn without_copies_packets_are_lost_meanwhile() {
    let scene = start(&format!("replicate.relay = false\n{QUICK}"), 500, 3_000);
    wait_copies(&scene, None);
    let meter = moved(&scene, 3_000);
    let report = scene.pinged(meter).unwrap();
    assert!(report.lost > 100, "only {} of {}", report.lost, report.sent);
    for node in NODES {
        let left = scene.sh(node, "ip link show natha1; nft list table ip natha_relay");
        assert!(left.is_err(), "{node} has a tunnel: {left:?}");
    }
}

#[test]
fn a_peer_that_the_tunnel_does_not_reach_is_an_alert_and_moves_go_as_without_copies() {
    let scene = start(QUICK, 500, 1_000);
    wait_copies(&scene, Some(true));
    scene.block(NODES[0], NODES[1], Traffic::Udp(6286)).unwrap();
    wait_copies(&scene, Some(false));
    let address = scene.public("out-a").unwrap();
    scene.hand_over(NODES[0], "a", NODES[1]).unwrap();
    scene.wait_route(0, NODES[1]).unwrap();
    scene.wait_seen("host-a", address).unwrap();
    let alerts = |status: &serde_json::Value| {
        let all = status["alerts"].as_array().into_iter().flatten();
        all.filter_map(|alert| alert.as_str()).any(|alert| alert.contains("UDP port 6286"))
    };
    scene.wait_status(NODES[0], alerts).unwrap();
    scene.net(NetChange::Clear).unwrap();
    wait_copies(&scene, Some(true));
    scene.wait_status(NODES[0], |status| !alerts(status)).unwrap();
}

#[test]
fn only_members_reach_the_tunnel_and_nothing_but_the_groups_packets_leaves_it() {
    let scene = start(QUICK, 0, 0);
    wait_copies(&scene, Some(true));
    // The tunnel is made again, and its rules are put back, if another program removes them.
    let before = cluster::status(&scene, NODES[0]).unwrap()["pid"].clone();
    scene.sh(NODES[0], "ip link del natha1; nft delete table ip natha_relay").unwrap();
    for part in ["interface `natha1`", "nft table ip natha_relay"] {
        let told = |status: &serde_json::Value| scene::has_event(status, "host-drift", part);
        scene.wait_status(NODES[0], told).unwrap();
    }
    wait_copies(&scene, Some(true));
    assert_eq!(cluster::status(&scene, NODES[0]).unwrap()["pid"], before);
    let rules = scene.sh(NODES[0], "nft list table ip natha_relay").unwrap();
    for part in ["dport 6286 ip saddr != ", "iifname \"natha1\" drop"] {
        assert!(rules.contains(part), "{rules}");
    }
}
