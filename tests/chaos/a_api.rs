//! EC2's API and the metadata service when they fail, refuse, lag or forget.

use std::time::Duration;

use natha_lab::ec2::{CallRecord, Fault, FaultRule, Faults, Principal, Timings};
use natha_lab::scene::{self, QUICK, Scene, is_route_write};
use natha_lab::{NetChange, Traffic};

use crate::NATHA;

/// Without repair, a frozen node can fail again and again.
const TAKEOVERS_ONLY: &str = "
repair.enabled = false

[hand_back]
hold = \"3s\"
hold_max = \"3s\"
";

/// Calls of one node within a second: what a busy takeover needs, and far below EC2's limits.
const CALM: usize = 20;
/// Where instances find their metadata.
const METADATA: &str = "169.254.169.254";

fn two(config: &str) -> Scene {
    Scene::start(&scene::spec(2, NATHA, config)).unwrap()
}

/// Puts these faults in force for one node's calls, and ends all others.
fn meets(scene: &Scene, node: &str, faults: &[(&str, Fault)]) {
    let node = Principal::Instance(scene.host(node).unwrap().instance);
    let rules = faults.iter().map(|(action, fault)| FaultRule::on(action, *fault).by(node.clone()));
    scene.api_faults(Faults { rules: rules.collect() }).unwrap();
}

fn all_well_again(scene: &Scene) {
    scene.api_faults(Faults::none()).unwrap();
}

fn is_calm(scene: &Scene) {
    for node in ["nat-a", "nat-b"] {
        let busiest = scene.busiest_second(node).unwrap();
        assert!(busiest <= CALM, "{node} made {busiest} calls within a second");
    }
    scene.nobody_stopped().unwrap();
}

/// The writes of routes of one node that succeeded, and all that it tried.
fn writes(scene: &Scene, node: &str) -> (usize, usize) {
    let calls = scene.calls_by(node).unwrap();
    let tried: Vec<&CallRecord> = calls.iter().filter(|call| is_route_write(call)).collect();
    (tried.iter().filter(|call| call.error.is_none()).count(), tried.len())
}

/// Lets nat-a, whose routes nat-b has, go on, and waits until it has them back.
fn hands_back(scene: &Scene) {
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
}

#[test]
fn s11_api_down_for_all_costs_no_packet_and_a_failure_is_covered_when_it_is_back() {
    let scene = two(TAKEOVERS_ONLY);
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    let down = FaultRule::everywhere(Fault::Unreachable);
    scene.api_faults(Faults { rules: vec![down] }).unwrap();
    scene.pass(Duration::from_secs(15));
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    for (node, peer) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        scene.wait_verdict(node, peer, "alive").unwrap();
    }
    scene.freeze("nat-a").unwrap();
    scene.pass(Duration::from_secs(5));
    assert_eq!(scene.route(0).unwrap(), "nat-a", "there is no other way to move it");
    all_well_again(&scene);
    scene.wait_route(0, "nat-b").unwrap();
    hands_back(&scene);
    is_calm(&scene);
}

#[test]
fn s12_api_down_for_the_heir_lets_the_next_heir_step_in() {
    let scene = Scene::start(&scene::spec(3, NATHA, TAKEOVERS_ONLY)).unwrap();
    // Who is first in the order is the nodes' own affair; the first takeover shows it.
    scene.freeze("nat-a").unwrap();
    let taken = |status: &natha_lab::Status| {
        let subnet = &status.account.zones[0].private_subnet;
        status.routes.iter().any(|route| route.subnet == *subnet && route.to != "nat-a")
    };
    scene.wait_until(scene::PATIENCE, taken).unwrap();
    let heir = scene.route(0).unwrap();
    let next = if heir == "nat-b" { "nat-c" } else { "nat-b" };
    hands_back(&scene);
    meets(&scene, &heir, &[("*", Fault::Unreachable)]);
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, next).unwrap();
    assert!(scene.busiest_second(&heir).unwrap() <= CALM);
    all_well_again(&scene);
    hands_back(&scene);
    scene.nobody_stopped().unwrap();
}

#[test]
fn s13_throttled_calls_are_spaced_out_until_the_takeover_goes_through() {
    let scene = two(TAKEOVERS_ONLY);
    // Pauses between two attempts double from 0.4 s, of which jitter takes off up to half: eight
    // within these 10 s at the very most. Where reads are refused as well, a write that nothing
    // has been read for is not repeated.
    for (what, attempts) in [("ReplaceRoute", 2..=8), ("*", 1..=2)] {
        meets(&scene, "nat-b", &[(what, Fault::Throttle)]);
        let (done, tried) = writes(&scene, "nat-b");
        let calls = scene.calls_by("nat-b").unwrap().len();
        scene.freeze("nat-a").unwrap();
        scene.pass(Duration::from_secs(10));
        let (done, tried) = (writes(&scene, "nat-b").0 - done, writes(&scene, "nat-b").1 - tried);
        assert_eq!(done, 0, "{what}");
        assert!(attempts.contains(&tried), "{what}: {tried} writes in 10 s");
        let calls = scene.calls_by("nat-b").unwrap().len() - calls;
        assert!(calls <= 40, "{what}: {calls} calls in 10 s");
        all_well_again(&scene);
        scene.wait_route(0, "nat-b").unwrap();
        hands_back(&scene);
    }
    is_calm(&scene);
}

#[test]
fn s14_denied_write_is_asked_for_rarely_and_its_reason_is_told() {
    let scene = two(TAKEOVERS_ONLY);
    meets(&scene, "nat-b", &[("ReplaceRoute", Fault::Deny), ("CreateRoute", Fault::Deny)]);
    scene.freeze("nat-a").unwrap();
    scene.pass(Duration::from_secs(10));
    let (done, tried) = writes(&scene, "nat-b");
    assert_eq!(done, 0);
    assert!((1..=5).contains(&tried), "{tried} writes in 10 s");
    let told = scene.natha("nat-b", &["status"]).unwrap();
    assert_eq!(told.code, 3, "{}", told.stdout);
    assert!(told.stdout.contains("ec2:ReplaceRoute"), "it names the permission: {}", told.stdout);
    all_well_again(&scene);
    scene.wait_route(0, "nat-b").unwrap();
    hands_back(&scene);
    is_calm(&scene);
}

#[test]
fn s15_old_reads_after_a_write_are_not_fought() {
    let scene = two(TAKEOVERS_ONLY);
    meets(&scene, "nat-b", &[("Describe*", Fault::Stale { ms: 4_000 })]);
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.pass(Duration::from_secs(12));
    let (done, _) = writes(&scene, "nat-b");
    assert!(done <= 2, "{done} writes of one route that was right after the first");
    assert_eq!(scene.route(0).unwrap(), "nat-b");
    all_well_again(&scene);
    hands_back(&scene);
    is_calm(&scene);
}

#[test]
fn s16_write_without_an_answer_is_read_back_before_it_is_repeated() {
    let scene = two(TAKEOVERS_ONLY);
    for fault in [Fault::LostReply, Fault::LatencyAfter { ms: 8_000 }] {
        meets(&scene, "nat-b", &[("ReplaceRoute", fault)]);
        let before = scene.calls_by("nat-b").unwrap().len();
        scene.freeze("nat-a").unwrap();
        scene.wait_route(0, "nat-b").unwrap();
        scene.pass(Duration::from_secs(10));
        let calls = scene.calls_by("nat-b").unwrap().split_off(before);
        let writes: Vec<usize> =
            (0..calls.len()).filter(|place| is_route_write(&calls[*place])).collect();
        // A request that has no reply after a second is sent once more, before anything is decided.
        let most = if fault == Fault::LostReply { 1 } else { 2 };
        assert!((1..=most).contains(&writes.len()), "{} writes: {fault:?}", writes.len());
        let [first, last] = [writes[0], writes[writes.len() - 1]].map(|place| calls[place].at);
        let apart = last.saturating_sub(first);
        assert!(apart < Duration::from_secs(2), "{fault:?}: {apart:?}");
        let reads = |call: &CallRecord| call.action == "DescribeRouteTables" && call.at > last;
        assert!(calls.iter().any(reads), "{fault:?}");
        all_well_again(&scene);
        hands_back(&scene);
    }
    is_calm(&scene);
}

#[test]
fn s21_metadata_down_changes_nothing_and_a_failure_is_still_covered() {
    let scene = two(TAKEOVERS_ONLY);
    let meter = scene.ping("host-b", 10).unwrap();
    for node in ["nat-a", "nat-b"] {
        scene.block(node, METADATA, Traffic::All).unwrap();
    }
    let deaf = "! timeout 2 bash -c 'echo > /dev/tcp/169.254.169.254/80'";
    scene.sh("nat-b", deaf).unwrap();
    scene.pass(Duration::from_secs(5));
    assert_eq!(scene.route_writes().unwrap(), 0);
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    hands_back(&scene);
    scene.lost_nothing(meter).unwrap();
    // A monitor that starts meanwhile waits, says for what, and begins once it can.
    assert_eq!(scene.kill("nat-b", "natha").unwrap(), 1);
    scene.spawn("nat-b", &["natha", "monitor"]).unwrap();
    let waits = |status: &serde_json::Value| {
        status["starting"].as_str().is_some_and(|why| why.contains("metadata"))
    };
    scene.wait_status("nat-b", waits).unwrap();
    scene.net(NetChange::Clear).unwrap();
    scene.wait_well().unwrap();
    is_calm(&scene);
}

#[test]
fn s22_credentials_that_end_are_replaced_before_a_takeover_needs_them() {
    let mut spec = scene::spec(2, NATHA, TAKEOVERS_ONLY);
    spec.ec2.latency_ms = 0;
    let scene = Scene::start_unwell(&spec).unwrap();
    let timings = Timings {
        start_ms: spec.ec2.boot_ms,
        stop_ms: spec.ec2.stop_ms,
        force_ms: spec.ec2.force_ms,
        credentials_ms: 15_000,
        ..Timings::default()
    };
    scene.timings(timings).unwrap();
    scene.wait_well().unwrap();
    for _ in 0..3 {
        scene.pass(Duration::from_secs(8));
        scene.freeze("nat-a").unwrap();
        scene.wait_route(0, "nat-b").unwrap();
        hands_back(&scene);
    }
    is_calm(&scene);
}

#[test]
fn s11_api_with_every_kind_of_failure_never_moves_a_working_route() {
    let scene = two(QUICK);
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    for fault in [Fault::ServerError, Fault::Hang, Fault::Deny, Fault::Throttle] {
        scene.api_faults(Faults { rules: vec![FaultRule::everywhere(fault)] }).unwrap();
        scene.pass(Duration::from_secs(6));
    }
    all_well_again(&scene);
    scene.wait_well().unwrap();
    assert_eq!(writes(&scene, "nat-a").1 + writes(&scene, "nat-b").1, 0);
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
}
