//! Planned work: restarts, upgrades, drains and hand-overs, without an outage.

use std::time::Duration;

use natha_lab::ec2::{Fault, FaultRule, Faults};
use natha_lab::scene::{self, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_restart_and_an_upgrade_of_a_monitor_move_no_route_with_echo_and_without() {
    for icmp in [true, false] {
        // Without echo from the start, only the last heartbeats tell a restart from a death.
        let spec = scene::spec(2, NATHA, QUICK);
        let scene = Scene::start_unwell(&spec).unwrap();
        if !icmp {
            let deaf = "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all";
            for node in ["nat-a", "nat-b"] {
                scene.sh(node, deaf).unwrap();
            }
        }
        scene.wait_well().unwrap();
        let meter = scene.ping("host-a", 10).unwrap();
        for node in ["nat-a", "nat-b", "nat-a"] {
            scene.upgrade(node).unwrap();
        }
        scene.pass(Duration::from_secs(2));
        assert_eq!(scene.route_writes().unwrap(), 0, "restart.moves with icmp {icmp}");
        for (zone, node) in ["nat-a", "nat-b"].into_iter().enumerate() {
            assert_eq!(scene.route(zone).unwrap(), node);
        }
        scene.lost_nothing(meter).unwrap();
        scene.nobody_stopped().unwrap();
    }
}

#[test]
fn a_node_that_is_drained_hands_over_and_gets_its_routes_back_losing_no_packet() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.pass(Duration::from_secs(3));
    scene.drain("nat-a").unwrap();
    assert_eq!(scene.route(0).unwrap(), "nat-b");
    let status = scene.natha("nat-a", &["status"]).unwrap();
    assert_eq!(status.code, 3, "{}", status.stdout);
    assert!(status.stdout.contains("this node is drained"), "{}", status.stdout);
    scene.terminate("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "leaving").unwrap();
    scene.pass(Duration::from_secs(3));
    scene.spawn("nat-a", &["natha", "monitor"]).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.pass(Duration::from_secs(3));
    let report = scene.lost_nothing(meter).unwrap();
    assert!(report.sent >= 1_000, "only {} pings", report.sent);
    scene.nobody_stopped().unwrap();
    let console = scene.console("nat-a").unwrap();
    assert!(console.contains("handing it over"), "it was nat-a that gave it away: {console}");
}

#[test]
fn a_drain_ends_when_private_hosts_send_through_the_node_no_more() {
    let mut spec = scene::spec(2, NATHA, QUICK);
    spec.ec2.propagation_ms = 3_000;
    let scene = Scene::start(&spec).unwrap();
    scene.wait_for(|| Ok(scene.seen("host-a").is_some())).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.pass(Duration::from_secs(1));
    let drained = scene.natha("nat-a", &["drain"]).unwrap();
    assert_eq!(drained.code, 0, "{}{}", drained.stdout, drained.stderr);
    assert!(!drained.stdout.contains("still send"), "{}", drained.stdout);
    let empty = scene.natha("nat-a", &["drain", "--timeout", "100ms"]).unwrap();
    assert_eq!(empty.code, 0, "the time for packets is over at once: {}", empty.stdout);
    scene.sh("nat-a", "ip link set ens5 down").unwrap();
    scene.pass(Duration::from_secs(2));
    scene.lost_nothing(meter).unwrap();
}

#[test]
fn an_operator_hands_a_group_over_and_is_told_when_it_is_done() {
    // The home would have it back soon; here it stays until it is told.
    let config = format!("{QUICK}enabled = false\n");
    let scene = Scene::start(&scene::spec(2, NATHA, &config)).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    let done = scene.natha("nat-a", &["handover", "us-east-1a", "--to", "nat-b"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("is now held by nat-b"), "{}", done.stdout);
    scene.wait_route(0, "nat-b").unwrap();
    let refused = scene.natha("nat-a", &["handover", "us-east-1a"]).unwrap();
    assert_eq!(refused.code, 1, "nat-a no longer holds it: {}", refused.stdout);
    let unknown = scene.natha("nat-b", &["handover", "us-east-1a", "--to", "nobody"]).unwrap();
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("no single node is called"), "{}", unknown.stderr);
    let back = scene.natha("nat-b", &["handover", "us-east-1a"]).unwrap();
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    assert_eq!(scene.route_writes().unwrap(), scene.count("ReplaceRoute").unwrap());
}

#[test]
fn a_second_monitor_on_a_host_is_refused() {
    let scene = Scene::start(&scene::spec(2, NATHA, "")).unwrap();
    let refused = scene.natha("nat-a", &["monitor"]).unwrap();
    assert_eq!(refused.code, 1, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("runs on this host already"), "{}", refused.stderr);
    scene.wait_well().unwrap();
}

#[test]
fn a_monitor_that_starts_while_ec2_cannot_be_reached_waits_and_says_so() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.drain("nat-a").unwrap();
    scene.terminate("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_status("nat-a", serde_json::Value::is_null).unwrap();
    let rules = vec![FaultRule::everywhere(Fault::Unreachable)];
    scene.api_faults(Faults { rules }).unwrap();
    scene.spawn("nat-a", &["natha", "monitor"]).unwrap();
    scene.wait_status("nat-a", |status| status["starting"].is_string()).unwrap();
    let told = scene.natha("nat-a", &["status"]).unwrap();
    assert_eq!(told.code, 3, "{}", told.stdout);
    assert!(told.stdout.contains("The monitor is starting"), "{}", told.stdout);
    scene.pass(Duration::from_secs(3));
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
}

#[test]
fn the_last_monitor_to_end_leaves_its_nat_forwarding_and_restarts_converge() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    scene.drain("nat-a").unwrap();
    scene.terminate("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "leaving").unwrap();
    scene.terminate("nat-b").unwrap();
    for node in ["nat-a", "nat-b"] {
        scene.wait_for(|| Ok(scene.exec(node, &["pidof", "natha"], LIMIT)?.code != 0)).unwrap();
        let told = scene.natha(node, &["status"]).unwrap();
        assert_eq!(told.code, 1, "{}{}", told.stdout, told.stderr);
    }
    for zone in 0..2 {
        assert_eq!(scene.route(zone).unwrap(), "nat-b");
    }
    for node in ["nat-b", "nat-a"] {
        scene.spawn(node, &["natha", "monitor"]).unwrap();
    }
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
}
