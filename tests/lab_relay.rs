//! While a planned move takes effect, its two nodes copy packets to each other: none is lost,
//! whichever of route and Elastic IP takes effect first.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, anyhow};
use natha_lab::cluster;
use natha_lab::ec2::{Fault, FaultRule, Faults};
use natha_lab::egress::{self, Egress, Load};
use natha_lab::meter::mixed::{Kind, Mix};
use natha_lab::scene::{self, QUICK, Scene, ensure};
use natha_lab::{NetChange, Traffic};
use serde_json::Value;

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

#[test]
fn copies_pass_though_another_program_has_made_the_filter_of_the_tunnel_strict() {
    let scene = start(QUICK, 1_500, 4_000);
    wait_copies(&scene, Some(true));
    for node in NODES {
        scene.sh(node, "echo 1 > /proc/sys/net/ipv4/conf/natha1/rp_filter").unwrap();
        let line = "net.ipv4.conf.natha1.rp_filter is 1, should be 2";
        scene.wait_status(node, |status| scene::has_event(status, "host-drift", line)).unwrap();
    }
    let meter = moved(&scene, 4_000);
    scene.lost_nothing(meter).unwrap();
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

/// Connections of each kind, of each of two hosts.
const COUNT: u16 = 5;
/// All of them.
const FLOWS: usize = 2 * Kind::ALL.len() * COUNT as usize;

/// A cluster with a strict group whose two hosts have connections of all kinds by the first node,
/// which the second one holds. Returns the address by which they reach the internet, too.
fn start_loaded() -> (Scene, Ipv4Addr, Load) {
    let spec = Egress { strict: true, replicate: true, more: QUICK }.spec(NATHA);
    let mut spec = egress::with_second_host(spec);
    spec.ec2.propagation_ms = 1_500;
    spec.ec2.elastic_ms = Some(4_000);
    let scene = Scene::start(&spec).unwrap();
    let address = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", address).unwrap();
    wait_copies(&scene, Some(true));
    let mix = Mix {
        flows: Kind::ALL.map(|kind| (kind, COUNT)).into(),
        interval_ms: 200,
        download_rate: 50_000,
        source_ports: Some(10_000),
        newcomers_ms: None,
    };
    let load = Load::open(&scene, &mix).unwrap();
    scene.wait_replicated(NODES[0], NODES[1], FLOWS).unwrap();
    (scene, address, load)
}

/// All connections live, seen by the same address.
fn assert_alive(scene: &Scene, address: Ipv4Addr, load: Load) {
    let ended = load.close(scene).unwrap();
    assert_eq!(ended.broken(), 0, "{:?}", scene.explain(anyhow!("{ended:#?}")));
    assert_eq!((ended.flows(), ended.seen()), (FLOWS, [address].into()));
}

/// The metadata that announces the end of a Spot instance, and what it says.
const SPOT: &str = "spot/instance-action";
const NOTICE: &str = r#"{"action": "terminate", "time": "2026-01-02T03:04:05Z"}"#;

#[test]
fn an_announced_interruption_costs_no_packet_and_no_connection_and_neither_does_its_end() {
    let (scene, address, load) = start_loaded();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.wait_replicated(NODES[0], NODES[1], FLOWS + 1).unwrap();
    let takeovers = || scene.console(NODES[1]).unwrap().matches("taking it over").count();
    let before = takeovers();
    scene.metadata(NODES[0], SPOT, Some(NOTICE)).unwrap();
    scene.wait_route(0, NODES[1]).unwrap();
    scene.wait_verdict(NODES[1], NODES[0], "sick").unwrap();
    // A hand-back could begin now, if the node were not about to be interrupted.
    scene.wait_copies_ended(&NODES).unwrap();
    let stays = || ensure(scene.route(0)? == NODES[1], "the group is back before the notice ends");
    scene.watch(AFTER, stays).unwrap();
    scene.metadata(NODES[0], SPOT, None).unwrap();
    scene.wait_route(0, NODES[0]).unwrap();
    scene.pass(AFTER);
    scene.lost_nothing(meter).unwrap();
    assert_alive(&scene, address, load);
    let giver = scene.console(NODES[0]).unwrap();
    assert!(giver.contains("AWS is about to interrupt this node"), "{giver}");
    assert_eq!(takeovers(), before, "the heir took nothing");
    scene.wait_well().unwrap();
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
    let alerts = |status: &Value| {
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
        let told = |status: &Value| scene::has_event(status, "host-drift", part);
        scene.wait_status(NODES[0], told).unwrap();
    }
    wait_copies(&scene, Some(true));
    assert_eq!(cluster::status(&scene, NODES[0]).unwrap()["pid"], before);
    let rules = scene.sh(NODES[0], "nft list table ip natha_relay").unwrap();
    for part in ["dport 6286 ip saddr != ", "iifname \"natha1\" drop"] {
        assert!(rules.contains(part), "{rules}");
    }
}

/// How far a hand-over is when a monitor is killed.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// It is announced, and nothing is written.
    Announced,
    /// The route is written, and the Elastic IP is not.
    Route,
    /// The Elastic IP is written, and the route is not.
    ElasticIp,
}

impl Step {
    /// The calls that do not reach EC2, so that the hand-over gets no further.
    const fn held_up(self) -> &'static [&'static str] {
        match self {
            Self::Announced => &["ReplaceRoute", "AssociateAddress"],
            Self::Route => &["AssociateAddress"],
            Self::ElasticIp => &["ReplaceRoute"],
        }
    }

    /// The call that EC2 has accepted.
    const fn written(self) -> Option<&'static str> {
        match self {
            Self::Announced => None,
            Self::Route => Some("ReplaceRoute"),
            Self::ElasticIp => Some("AssociateAddress"),
        }
    }
}

/// Longer than a restart of a monitor, the time for which a group may be split over two nodes, and
/// the calls that join it take, on a busy machine. In milliseconds.
const LONGEST_OUTAGE: f64 = 20_000.0;

fn is_copying(scene: &Scene, node: &str) -> Result<bool> {
    Ok(scene.sh(node, "nft list ruleset")?.contains("dup to"))
}

/// Whether a node finds all well and moves nothing.
fn rests(scene: &Scene, node: &str) -> Result<bool> {
    let status = cluster::status(scene, node).unwrap_or_default();
    let moves = status["view"]["groups"]["a"]["doing"].is_string();
    Ok(!moves && scene.natha(node, &["status"])?.code == 0)
}

/// Begins a hand-over, and waits until it has come as far as `step`. It gets no further until the
/// faults of the API end.
fn begin(scene: &Scene, step: Step) {
    let rules = step.held_up().iter().map(|action| FaultRule::on(action, Fault::Unreachable));
    scene.api_faults(Faults { rules: rules.collect() }).unwrap();
    let written = || step.written().map_or(Ok(0), |action| scene.count(action));
    let before = written().unwrap();
    scene.spawn(NODES[0], &["natha", "handover", "a", "--to", NODES[1]]).unwrap();
    for node in NODES {
        scene.wait_for(|| is_copying(scene, node)).unwrap();
    }
    let moves = |status: &Value| status["view"]["groups"]["a"]["doing"].is_string();
    scene.wait_status(NODES[0], moves).unwrap();
    let is_written = || Ok(step.written().is_none() || written()? > before);
    scene.wait_for(is_written).unwrap();
}

/// Kills a node's monitor when a hand-over has come as far as `step`, and waits until the monitor
/// runs again.
fn crash(scene: &Scene, killed: &str, step: Step) {
    begin(scene, step);
    let pid = || cluster::status(scene, killed).unwrap_or_default()["pid"].clone();
    let last = pid();
    scene.kill(killed, "natha").unwrap();
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_for(|| Ok(!pid().is_null() && pid() != last)).unwrap();
}

/// A monitor is killed and started again at each of these steps of a hand-over. Each time, one node
/// serves the group in the end, and no packet of the strict group leaves by another address.
fn a_kill_leaves_one_node_that_serves(killed: &str, steps: &[Step]) {
    let mut spec = Egress { strict: true, replicate: true, more: QUICK }.spec(NATHA);
    spec.ec2.propagation_ms = 1_000;
    spec.ec2.elastic_ms = Some(3_000);
    let scene = egress::observed(&spec).unwrap();
    scene.wait_well().unwrap();
    let address = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", address).unwrap();
    for step in steps {
        wait_copies(&scene, Some(true));
        scene.wait_replicated(NODES[0], NODES[1], 1).unwrap();
        let is_free = |status: &Value| status["view"]["groups"]["a"]["copies_end_ms"].is_null();
        scene.wait_status(NODES[0], is_free).unwrap();
        let meter = scene.ping("host-a", 10).unwrap();
        crash(&scene, killed, *step);
        // Its home gets the group back, where the move was made.
        scene.wait_route(0, NODES[0]).unwrap();
        for node in NODES {
            scene.wait_for(|| rests(&scene, node)).unwrap();
        }
        scene.wait_seen("host-a", address).unwrap();
        let report = scene.pinged(meter).unwrap();
        let worst = report.worst_ms();
        assert!(worst < LONGEST_OUTAGE, "{step:?}: {worst} ms: {:?}", report.outages);
        let captured = scene.captured().unwrap();
        assert!(captured.keys().all(|by| *by == address), "{step:?}: {captured:?}");
        scene.wait_replicated(NODES[0], NODES[1], 1).unwrap();
        scene.wait_copies_ended(&NODES).unwrap();
    }
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_giver_whose_monitor_is_killed_during_a_hand_over_leaves_one_node_that_serves() {
    let steps = [Step::Announced, Step::Route, Step::ElasticIp];
    a_kill_leaves_one_node_that_serves(NODES[0], &steps);
}

#[test]
fn a_receiver_whose_monitor_is_killed_during_a_hand_over_leaves_one_node_that_serves() {
    a_kill_leaves_one_node_that_serves(NODES[1], &[Step::Route, Step::ElasticIp]);
}

/// The route has moved, and the Elastic IP has not.
#[test]
fn a_giver_that_dies_during_a_hand_over_costs_no_connection() {
    let (scene, address, load) = start_loaded();
    begin(&scene, Step::Route);
    scene.panic(NODES[0]).unwrap();
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_route(0, NODES[1]).unwrap();
    scene.wait_seen("host-a", address).unwrap();
    assert_alive(&scene, address, load);
}
