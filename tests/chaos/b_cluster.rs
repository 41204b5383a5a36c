//! Clusters under strain: all down, flapping, starved, at odds with each other.

use std::time::Duration;

use natha_lab::daemon::shared::{Happening, Power};
use natha_lab::net::faults::Block;
use natha_lab::scene::{self, QUICK, Scene, ensure, is_route_write};
use natha_lab::{NetChange, Traffic};
use serde_json::Value;

use crate::NATHA;

/// The default `heartbeat.port`.
const HEARTBEAT: u16 = 6284;

fn start(config: &str) -> Scene {
    Scene::start(&scene::spec(2, NATHA, config)).unwrap()
}

#[test]
fn s31_first_of_all_failed_nodes_to_return_serves_all() {
    let scene = start(QUICK);
    let boots = scene.boots("nat-a").unwrap();
    scene.freeze("nat-b").unwrap();
    scene.panic("nat-a").unwrap();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    scene.pass(Duration::from_secs(3));
    assert_eq!(scene.route_writes().unwrap(), 0);
    for meter in meters {
        let report = scene.pinged(meter).unwrap();
        assert_eq!(report.lost, report.sent, "somebody served while nobody ran");
    }
    scene.thaw("nat-b").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    let told = scene.natha("nat-b", &["status"]).unwrap();
    assert_eq!(told.code, 3, "{}", told.stdout);
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
}

#[test]
fn s32_flapping_node_waits_longer_for_its_routes_each_time() {
    const HOLD: Duration = Duration::from_secs(2);
    let scene = start("[repair]\nenabled = false\n[hand_back]\nhold = \"2s\"\nhold_max = \"8s\"");
    for flaps in 0..4 {
        scene.freeze("nat-a").unwrap();
        scene.wait_route(0, "nat-b").unwrap();
        scene.thaw("nat-a").unwrap();
        scene.wait_route(0, "nat-a").unwrap();
        let back = scene.power_at("nat-a", Power::On).unwrap();
        let waited = last_route_to(&scene, "nat-a").saturating_sub(back);
        let least = HOLD * 2_u32.pow(flaps).min(4);
        assert!(waited >= least, "after {flaps} flaps, {waited:?} after it was back");
    }
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

/// When a zone's default route was last led to a host.
fn last_route_to(scene: &Scene, host: &str) -> Duration {
    let events = scene.timeline().unwrap().events;
    let is_it = |what: &Happening| matches!(what, Happening::Route(route) if route.to == host);
    let last = events.iter().rev().find(|event| is_it(&event.what)).unwrap();
    Duration::from_secs_f64(last.at_ms / 1e3)
}

#[test]
fn s33_lossy_network_moves_nothing_and_a_dead_one_is_lost_all_the_same() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let writes = scene.route_writes().unwrap();
    for host in ["nat-a", "nat-b"] {
        scene.net(NetChange::Loss { host: host.into(), percent: 2 }).unwrap();
    }
    let quiet = || {
        scene.nobody_stopped()?;
        scene::ensure(scene.route_writes()? == writes, "a route was moved")
    };
    scene.watch(Duration::from_secs(30), quiet).unwrap();
    scene.net(NetChange::Loss { host: "nat-a".into(), percent: 100 }).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.net(NetChange::Clear).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn s34_starved_node_doubts_itself_and_is_relieved() {
    let scene = start(QUICK);
    let meter = scene.ping("host-a", 10).unwrap();
    // The processor is taken from the monitor for a quarter of a second, again and again.
    let starve = "pid=$(pidof -s natha); for _ in $(seq 24); do kill -STOP $pid; sleep 0.25; \
                  kill -CONT $pid; sleep 0.25; done";
    scene.spawn("nat-a", &["sh", "-c", starve]).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "sick").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    assert_eq!(scene.route(1).unwrap(), "nat-b");
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let writes = scene.calls_by("nat-a").unwrap();
    assert!(!writes.iter().any(is_route_write), "the starved one moved a route: {writes:?}");
    scene.lost_nothing(meter).unwrap();
    scene.nobody_stopped().unwrap();
}

/// Whether a node reaches the API.
fn reach_api(scene: &Scene, node: &str, reaches: bool) {
    let api = natha_lab::net::internet::EC2_API.to_string();
    let block = Block { from: node.to_owned(), to: api, what: Traffic::All };
    scene.net(if reaches { NetChange::Unblock(block) } else { NetChange::Block(block) }).unwrap();
}

#[test]
fn s43_two_nodes_that_judge_each_other_failed_in_turns_never_stop_both() {
    let scene = start(QUICK);
    for (from, to) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        scene.block(from, to, Traffic::All).unwrap();
    }
    let one_runs = || {
        let hosts = scene.status()?.hosts;
        let on = hosts.iter().filter(|it| it.name.starts_with("nat-") && it.power == Power::On);
        ensure(on.count() >= 1, "both are stopped")?;
        ensure(scene.count("StopInstances")? <= 1, "there were two stops")
    };
    // Whoever reaches EC2 alone takes everything and would soon be allowed to stop the other.
    for (cut, seconds) in [("nat-b", 14), ("nat-a", 14), ("nat-b", 45)] {
        reach_api(&scene, cut, false);
        scene.watch(Duration::from_secs(seconds), one_runs).unwrap();
        reach_api(&scene, cut, true);
    }
    scene.net(NetChange::Clear).unwrap();
    for (zone, home) in ["nat-a", "nat-b"].into_iter().enumerate() {
        scene.wait_route(zone, home).unwrap();
    }
    scene.wait_well().unwrap();
    one_runs().unwrap();
}

#[test]
fn s44_nodes_with_different_settings_cover_for_each_other_and_stop_nobody() {
    let mut spec = scene::spec(2, NATHA, QUICK);
    let other = QUICK.replace("settle = \"19s\"", "settle = \"20s\"");
    assert_ne!(other, QUICK);
    let commands = "natha setup && exec natha monitor";
    spec.hosts[0].user_data = Some(scene::user_data(&other, commands));
    let scene = Scene::start_unwell(&spec).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "alive").unwrap();
    let told = scene.natha("nat-b", &["status"]).unwrap();
    assert!(told.stdout.contains("nat-a has different settings"), "{}", told.stdout);
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let held = |status: &Value| {
        let peers = status.pointer("/view/peers").and_then(Value::as_object);
        let mut repairs = peers.into_iter().flatten().map(|(_, peer)| peer["repair"].to_string());
        repairs.any(|repair| repair.contains("settings differ"))
    };
    scene.wait_status("nat-b", held).unwrap();
    let stays = || {
        scene.nobody_stopped()?;
        ensure(scene.route(0)? == "nat-b", "its route was let go")
    };
    scene.watch(Duration::from_secs(10), stays).unwrap();
}

#[test]
fn s45_replayed_heartbeats_do_not_keep_a_dead_peer_alive() {
    let commands = "umask 077; printf 'a key of more than sixteen bytes' > /etc/natha/key\n\
                    natha setup && exec natha monitor";
    let config = format!("heartbeat.key_file = \"/etc/natha/key\"\n{QUICK}");
    let spec =
        scene::spec(2, NATHA, QUICK).with_node_user_data(&scene::user_data(&config, commands));
    let scene = Scene::start(&spec).unwrap();
    let [victim, dead] = ["nat-b", "nat-a"].map(|node| scene.host(node).unwrap());
    let recorded = record(&scene, dead.private[0]);
    scene.freeze("nat-a").unwrap();
    let replay = format!(
        "printf '{recorded}' > /tmp/beat\n\
         for _ in $(seq 3000); do cat /tmp/beat > /dev/udp/{}/{HEARTBEAT}; sleep 0.01; done",
        victim.private[0]
    );
    scene.spawn("host-b", &["bash", "-c", &replay]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    let path = "/counters/peers/rejected/replayed";
    let counted = |status: &Value| status.pointer(path).and_then(Value::as_u64) > Some(100);
    let status = scene.wait_status("nat-b", counted).unwrap();
    let verdict = format!("/view/peers/{}/verdict", dead.instance);
    assert_eq!(status.pointer(&verdict), Some(&Value::from("unreachable")));
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

/// A heartbeat from this address as nat-b receives it, its bytes written for `printf`.
fn record(scene: &Scene, from: std::net::Ipv4Addr) -> String {
    let filter = format!("src host {from} and udp dst port {HEARTBEAT}");
    let dump = format!("timeout 20 tcpdump -i ens5 -c 1 -n -x '{filter}' 2>/dev/null");
    let text = scene.sh("nat-b", &dump).unwrap();
    let lines =
        text.lines().filter_map(|line| line.trim_start().strip_prefix("0x")?.split_once(':'));
    let hex: String = lines.flat_map(|(_, bytes)| bytes.split_whitespace()).collect();
    // An IPv4 header without options and a UDP header, two digits a byte.
    let payload = hex.get(2 * 28..).unwrap_or_default();
    assert!(payload.len() > 40, "no heartbeat in {text}");
    let bytes = payload.as_bytes().chunks(2).map(String::from_utf8_lossy);
    bytes.flat_map(|byte| ["\\x".into(), byte]).collect()
}
