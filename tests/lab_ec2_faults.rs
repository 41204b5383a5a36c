//! Every fault of EC2 during a takeover: the routes end where they belong, and a failing API is
//! not stormed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::ec2::{Fault, FaultRule, Faults, Principal};
use natha_lab::scene::{self, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Without repair, a frozen node can fail again and again.
const TAKEOVERS_ONLY: &str = "
repair.enabled = false

[hand_back]
hold = \"3s\"
hold_max = \"3s\"
";

/// Calls of one node within a second: what a busy takeover needs, and far below EC2's limits.
const CALM: usize = 20;

/// Takes zone 0 over from a frozen nat-a while nat-b meets these faults for `lasting` (or until
/// the takeover is done, if that comes first), then hands it back.
fn takeover_under(scene: &Scene, faults: &[(Option<&str>, Fault)], lasting: Option<Duration>) {
    let taker = Principal::Instance(scene.host("nat-b").unwrap().instance);
    let mut rules = vec![FaultRule::everywhere(Fault::LatencyBefore { ms: 50 })];
    rules.extend(faults.iter().map(|(action, fault)| {
        let action = action.map(str::to_owned);
        FaultRule {
            principal: Some(taker.clone()),
            action,
            about: None,
            times: None,
            fault: *fault,
        }
    }));
    scene.api_faults(Faults { rules }).unwrap();
    scene.freeze("nat-a").unwrap();
    if let Some(lasting) = lasting {
        scene.pass(lasting);
        assert_eq!(scene.route(0).unwrap(), "nat-a", "a fault that fails every write: {faults:?}");
        clear(scene);
    }
    scene.wait_route(0, "nat-b").unwrap();
    clear(scene);
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    assert_eq!(scene.route(1).unwrap(), "nat-b", "{faults:?}");
}

fn clear(scene: &Scene) {
    let usual = FaultRule::everywhere(Fault::LatencyBefore { ms: 50 });
    scene.api_faults(Faults { rules: vec![usual] }).unwrap();
}

fn calm(scene: &Scene) {
    for node in ["nat-a", "nat-b"] {
        let busiest = scene.busiest_second(node).unwrap();
        assert!(busiest <= CALM, "{node} made {busiest} calls within a second");
    }
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_slow_stale_or_forgetful_ec2_does_not_keep_a_takeover_from_its_end() {
    let scene = Scene::start(&scene::spec(2, NATHA, TAKEOVERS_ONLY)).unwrap();
    for fault in [
        (None, Fault::LatencyBefore { ms: 2_000 }),
        (None, Fault::LatencyAfter { ms: 2_000 }),
        (Some("Describe*"), Fault::Stale { ms: 3_000 }),
        (Some("ReplaceRoute"), Fault::LostReply),
        (Some("Describe*"), Fault::Throttle),
        (Some("Describe*"), Fault::Hang),
    ] {
        takeover_under(&scene, &[fault], None);
    }
    calm(&scene);
}

#[test]
fn a_takeover_goes_through_once_ec2_stops_refusing() {
    let scene = Scene::start(&scene::spec(2, NATHA, TAKEOVERS_ONLY)).unwrap();
    for fault in [
        (None, Fault::Throttle),
        (None, Fault::ServerError),
        (None, Fault::Unreachable),
        (None, Fault::Hang),
        (Some("ReplaceRoute"), Fault::Deny),
    ] {
        takeover_under(&scene, &[fault], Some(Duration::from_secs(4)));
    }
    calm(&scene);
}

/// Calls that may take long, as `api.timeout`.
const LIMIT: Duration = Duration::from_secs(20);
const LONG_CALLS: &str = "
api.timeout = \"20s\"
failover.read_valid = \"20s\"

[repair]
enabled = false
after = \"3m\"
settle = \"2m\"
stagger = \"1m\"
";

#[test]
fn a_takeover_does_not_wait_for_a_connection_that_fell_silent() {
    let scene = Scene::start(&scene::spec(2, NATHA, LONG_CALLS)).unwrap();
    let taker = Principal::Instance(scene.host("nat-b").unwrap().instance);
    // As on a kept connection to an address of EC2 in the zone that has just failed.
    let mut silence = FaultRule::on("ReplaceRoute", Fault::Hang).times(1);
    silence.principal = Some(taker);
    scene.api_faults(Faults { rules: vec![silence] }).unwrap();
    scene.freeze("nat-a").unwrap();
    let moved = scene.holds_within(LIMIT / 2, || Ok(scene.route(0)? == "nat-b")).unwrap();
    assert!(moved, "the takeover waits for the time limit of its first call");
    scene.thaw("nat-a").unwrap();
    scene.nobody_stopped().unwrap();
}
