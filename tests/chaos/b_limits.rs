//! Limits and outside services: calls that fail for a part, full tables, calls that hang, names
//! that no longer resolve.

use std::time::Duration;

use natha_lab::Traffic;
use natha_lab::ec2::{Fault, FaultRule, Faults, Principal};
use natha_lab::net::resolver::RESOLVER;
use natha_lab::scene::{self, QUICK, Scene, ensure};
use natha_lab::spec::{HostSpec, Role};
use serde_json::Value;

use crate::NATHA;

/// Without repair, a frozen node can be thawed at any time.
const TAKEOVERS_ONLY: &str = "
repair.enabled = false

[hand_back]
hold = \"3s\"
hold_max = \"3s\"
";

#[test]
fn s38_half_moved_group_stays_moved_and_is_completed() {
    let mut spec = scene::spec(2, NATHA, TAKEOVERS_ONLY);
    // All three zones' tables are one group of nat-a's.
    spec.table_tags.insert("natha:home".into(), "nat-a".into());
    let third = HostSpec { name: "host-c".into(), zone: 2, ..spec.hosts[3].clone() };
    assert_eq!(third.role, Role::Private);
    spec.hosts.push(third);
    let scene = Scene::start(&spec).unwrap();
    for zone in 0..3 {
        scene.wait_route(zone, "nat-a").unwrap();
    }
    let refused = scene.zone(2).unwrap().private_table;
    let rule = FaultRule::on("ReplaceRoute", Fault::ServerError).about(&refused);
    scene.api_faults(Faults { rules: vec![rule] }).unwrap();
    scene.freeze("nat-a").unwrap();
    for zone in [0, 1] {
        scene.wait_route(zone, "nat-b").unwrap();
    }
    let half = || {
        let routes = [scene.route(0)?, scene.route(1)?, scene.route(2)?];
        ensure(routes == ["nat-b", "nat-b", "nat-a"], &format!("{routes:?}"))
    };
    scene.watch(Duration::from_secs(8), half).unwrap();
    let told = scene.natha("nat-b", &["status"]).unwrap();
    assert_eq!(told.code, 3);
    assert!(told.stdout.contains("not held by a single node"), "{}", told.stdout);
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_route(2, "nat-b").unwrap();
    scene.thaw("nat-a").unwrap();
    for zone in 0..3 {
        scene.wait_route(zone, "nat-a").unwrap();
    }
    scene.wait_well().unwrap();
}

#[test]
fn s40_table_of_connections_that_fills_up_is_alerted_and_moves_nothing() {
    let scene = Scene::start(&scene::spec(2, NATHA, &format!("host.conntrack_alert = 1\n{QUICK}")))
        .unwrap();
    let limit = scene.sh("nat-a", "cat /proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let flows = limit.trim().parse::<u32>().unwrap() / 100 + 500;
    let open = format!(
        "for port in $(seq 10000 {}); do echo > /dev/udp/203.0.113.10/$port; done",
        10_000 + flows
    );
    let sent = scene.exec("host-a", &["bash", "-c", &open], Duration::from_secs(30)).unwrap();
    let alerts = |status: &Value| {
        let alerts = status["alerts"].as_array();
        alerts.is_some_and(|all| all.iter().any(|it| it.to_string().contains("connections are")))
    };
    scene.wait_status("nat-a", alerts).unwrap_or_else(|error| panic!("{sent:?}: {error:#}"));
    let told = scene.natha("nat-a", &["status"]).unwrap();
    assert_eq!(told.code, 3);
    assert!(told.stdout.contains("raise host.conntrack_max"), "{}", told.stdout);
    scene.pass(Duration::from_secs(3));
    assert_eq!(scene.route_writes().unwrap(), 0, "the load went elsewhere");
    scene.sh("nat-a", "conntrack -F").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn s48_hanging_calls_delay_no_heartbeat_and_no_verdict() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    let noticed = |node: &str| {
        let status = natha_lab::cluster::status(&scene, node).unwrap();
        let events = status["events"].as_array().cloned().unwrap();
        let heard = status.pointer("/counters/peers/beats_received").and_then(Value::as_u64);
        let kinds = ["verdict", "paused", "fitness"];
        let told = events.iter().filter(|it| kinds.iter().any(|kind| it["kind"] == *kind)).count();
        (told, heard.unwrap())
    };
    let before = ["nat-a", "nat-b"].map(noticed);
    scene.api_faults(Faults { rules: vec![FaultRule::everywhere(Fault::Hang)] }).unwrap();
    scene.pass(Duration::from_secs(20));
    let after = ["nat-a", "nat-b"].map(noticed);
    for ((told, heard), (told_before, heard_before)) in after.into_iter().zip(before) {
        assert_eq!(told, told_before, "a verdict came or went");
        assert!(heard >= heard_before + 100, "{heard} heartbeats after {heard_before}");
    }
    // A failure is noticed while they hang, and covered once they do not.
    scene.freeze("nat-a").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "suspected").unwrap();
    assert_eq!(scene.route(0).unwrap(), "nat-a");
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let [failed, other] = meters;
    assert_eq!(scene.pinged(failed).unwrap().outages.len(), 1);
    scene.lost_nothing(other).unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn s49_takeover_needs_no_resolver() {
    let config = format!("api.endpoint = \"http://ec2.us-east-1.amazonaws.com\"\n{TAKEOVERS_ONLY}");
    let scene = Scene::start(&scene::spec(2, NATHA, &config)).unwrap();
    scene.block("nat-b", RESOLVER, Traffic::Udp(53)).unwrap();
    let lookup = ["timeout", "3", "getent", "ahostsv4", "ec2.us-east-1.amazonaws.com"];
    let resolved = scene.exec("nat-b", &lookup, Duration::from_secs(10)).unwrap();
    assert_ne!(resolved.code, 0, "{}", resolved.stdout);
    // Connections that are open need no name: end them.
    let caller = Principal::Instance(scene.host("nat-b").unwrap().instance);
    let before = scene.calls_by("nat-b").unwrap().len();
    let reset = FaultRule::everywhere(Fault::Unreachable).by(caller).times(8);
    scene.api_faults(Faults { rules: vec![reset] }).unwrap();
    scene.pass(Duration::from_secs(1));
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    assert!(scene.calls_by("nat-b").unwrap().len() > before);
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}
