//! `natha measure` finds the delays that the lab's EC2 was given, of a route and of an Elastic IP,
//! and leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use natha_lab::Spec;
use natha_lab::ec2::{Fault, FaultRule, Faults};
use natha_lab::egress::Egress;
use natha_lab::scene::{self, QUICK, Scene, element};
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

/// That each of 3 rounds has these changes, and that each change took what the lab's EC2 was given:
/// in the median, as a busy processor delays single ones.
fn assert_measured(printed: &str, changes: &[&str], latency: u64, propagation: u64) {
    let measured: Value = serde_json::from_str(printed).unwrap();
    let samples = measured["samples"].as_array().unwrap();
    let made: Vec<&str> = samples.iter().map(|one| one["change"].as_str().unwrap()).collect();
    assert_eq!(made, changes.repeat(3));
    for change in changes {
        for (what, wanted) in [("call_ms", latency), ("effect_ms", latency + propagation)] {
            let of_it = samples.iter().filter(|one| one["change"] == *change);
            let mut found: Vec<u64> = of_it.map(|one| one[what].as_u64().unwrap()).collect();
            found.sort_unstable();
            let [_, median, _] = found[..] else { panic!("{change}: {measured:#}") };
            assert!(median.abs_diff(wanted) * 10 <= wanted, "{what} of {change}: {found:?}");
        }
    }
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
    let changes = ["create", "away", "back", "delete"];
    assert_measured(&done.stdout, &changes, LATENCY, PROPAGATION);
    assert!(!is_left(&scene));
    scene.wait_well().unwrap();

    let shown = scene.natha("nat-a", &["measure", "--heartbeats", "--json"]).unwrap();
    let peers: Value = serde_json::from_str(&shown.stdout).unwrap();
    let measured = |key: &str| peers[0][key].as_u64().unwrap();
    assert!(peers[0]["node"].as_str().unwrap().contains("nat-b"), "{peers:#}");
    assert!(measured("gaps") > 20 && measured("p50_ms") <= measured("max_ms"), "{peers:#}");
    assert!(measured("jitter_p50_ms") <= measured("jitter_max_ms"), "{peers:#}");
    // Half of all heartbeats come within half an interval of their time.
    assert!(measured("jitter_p50_ms") <= 50, "{peers:#}");
    let shown = scene.natha("nat-a", &["measure", "--heartbeats"]).unwrap();
    for part in ["p99 UP TO", "JITTER p99"] {
        assert!(shown.stdout.contains(part), "{}", shown.stdout);
    }
}

#[test]
fn a_measurement_that_is_killed_leaves_no_route_behind() {
    let scene = scene();
    let table = scene.account().unwrap().public_table;
    let argv =
        ["natha", "measure", "--table", &table, "--peer", "nat-b", "--rounds", "100", "--yes"];
    scene.spawn("nat-a", &argv).unwrap();
    scene.wait_for(|| Ok(is_left(&scene))).unwrap();
    let second = scene.exec("nat-a", &argv, LIMIT).unwrap();
    assert_eq!(second.code, 1, "{}", second.stdout);
    assert!(second.stderr.contains("another `natha measure`"), "{}", second.stderr);
    assert!(scene.sh("nat-a", "pgrep -f 'natha measure .*--yes$'").is_ok(), "the first goes on");
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

/// Two nodes, and two free Elastic IPs that reach packets later than routes do.
fn with_elastic_ips(mut spec: Spec) -> Scene {
    spec.ec2.latency_ms = LATENCY;
    (spec.ec2.propagation_ms, spec.ec2.elastic_ms) = (50, Some(PROPAGATION));
    Scene::start(&spec.with_address("scratch", None).with_address("other", None)).unwrap()
}

fn allocation(scene: &Scene, name: &str) -> String {
    scene.account().unwrap().elastic[name].allocation.clone()
}

/// What EC2 and nat-a have of addresses: whatever a measurement of an Elastic IP changes.
fn addresses(scene: &Scene) -> [String; 3] {
    let described = |action, part: &str| {
        let listed = scene.ec2(action, &[]).unwrap();
        let lines = listed.split('<').filter(|line| line.starts_with(part));
        lines.collect::<Vec<_>>().join("\n")
    };
    [
        described("DescribeAddresses", "associationId>"),
        described("DescribeNetworkInterfaces", "privateIpAddress>"),
        scene.sh("nat-a", "ip -brief -4 address").unwrap(),
    ]
}

/// The command that measures an Elastic IP from nat-a.
fn of_elastic_ip(id: &str) -> Vec<&str> {
    vec!["natha", "measure", "--elastic-ip", id, "--peer", "nat-b", "--rounds"]
}

#[test]
fn the_delays_of_an_elastic_ip_are_found_to_within_a_tenth_with_the_printed_permissions() {
    let scene = with_elastic_ips(scene::spec(2, NATHA, QUICK));
    let before = addresses(&scene);
    let id = allocation(&scene, "scratch");
    let measure = [&of_elastic_ip(&id)[..], &["3"]].concat();
    let plan = scene.exec("nat-a", &measure, LIMIT).unwrap();
    assert_eq!(plan.code, 3, "{}{}", plan.stdout, plan.stderr);
    assert!(plan.stdout.contains(&id) && plan.stdout.contains("--yes"), "{}", plan.stdout);
    assert_eq!(addresses(&scene), before);

    let seen = scene.calls_by("nat-a").unwrap().len();
    let done = scene.exec("nat-a", &[&measure[..], &["--yes", "--json"]].concat(), LIMIT).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let changes = ["associate", "to-peer", "from-peer", "disassociate"];
    assert_measured(&done.stdout, &changes, LATENCY, PROPAGATION);
    assert!(done.stdout.contains(&id), "{}", done.stdout);
    assert_eq!(addresses(&scene), before);
    scene.nobody_stopped().unwrap();
    scene.wait_well().unwrap();

    let policy = format!("natha policy --cluster lab --measure-elastic-ip {id}");
    let allowed = scene.sh("nat-a", &policy).unwrap();
    let calls = scene.calls_by("nat-a").unwrap();
    let made: BTreeSet<&str> = calls[seen..].iter().map(|call| call.action.as_str()).collect();
    for action in &made {
        assert!(allowed.contains(&format!("\"ec2:{action}\"")), "{action}");
    }
    assert!(made.contains("UnassignPrivateIpAddresses"), "{made:?}");
}

#[test]
fn a_measurement_of_an_elastic_ip_that_is_killed_leaves_nothing_behind() {
    let scene = with_elastic_ips(scene::spec(2, NATHA, QUICK));
    let before = addresses(&scene);
    let [id, other] = ["scratch", "other"].map(|name| allocation(&scene, name));
    let measure = [&of_elastic_ip(&id)[..], &["100", "--yes"]].concat();
    let is_associated = || {
        let listed = scene.ec2("DescribeAddresses", &[("AllocationId.1", &id)])?;
        Ok(listed.contains("associationId"))
    };
    let kill = |pattern: &str| scene.sh("nat-a", &format!("pkill -KILL -f '{pattern}'")).unwrap();

    scene.spawn("nat-a", &measure).unwrap();
    scene.wait_for(is_associated).unwrap();
    let again = [&of_elastic_ip(&other)[..], &["1"]].concat();
    let refused = scene.exec("nat-a", &again, LIMIT).unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("another `natha measure`"), "{}", refused.stderr);
    // Not the second process, which has one flag more.
    kill("[n]atha measure .*--yes$");
    scene.wait_for(|| Ok(addresses(&scene) == before)).unwrap();
    let is_idle = || scene.sh("nat-a", "! pgrep -f '[n]atha measure'").is_ok();
    scene.wait_for(|| Ok(is_idle())).unwrap();

    // With both of them killed, the next run removes what is left, whatever it measures.
    scene.spawn("nat-a", &measure).unwrap();
    scene.wait_for(is_associated).unwrap();
    kill("[n]atha measure .*--yes");
    scene.wait_for(|| Ok(is_idle())).unwrap();
    assert_ne!(addresses(&scene), before);
    let plan = scene.exec("nat-a", &again, LIMIT).unwrap();
    assert_eq!(plan.code, 3, "{}{}", plan.stdout, plan.stderr);
    assert!(plan.stdout.contains("an earlier run has left"), "{}", plan.stdout);
    assert_ne!(addresses(&scene), before, "the plan changes nothing");
    let done = scene.exec("nat-a", &[&again[..], &["--yes"]].concat(), LIMIT).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("move from the peer"), "{}", done.stdout);
    assert_eq!(addresses(&scene), before);
    scene.wait_well().unwrap();
}

/// Runs a measurement of an Elastic IP that is refused, and returns why.
fn refusal(scene: &Scene, environment: &[&str], id: &str) -> String {
    let before = addresses(scene);
    let argv = [&["env"], environment, &of_elastic_ip(id), &["1", "--yes"]].concat();
    let refused = scene.exec("nat-a", &argv, LIMIT).unwrap();
    assert_eq!((refused.code, &*refused.stdout), (1, ""), "{}", refused.stderr);
    assert_eq!(addresses(scene), before, "{}", refused.stderr);
    refused.stderr
}

#[test]
fn an_elastic_ip_that_is_not_free_and_a_host_that_cannot_ping_are_refused() {
    let scene = with_elastic_ips(scene::spec(2, NATHA, QUICK).with_address("own", Some("nat-b")));
    let [id, own] = ["scratch", "own"].map(|name| allocation(&scene, name));
    let why = refusal(&scene, &[], &own);
    assert!(why.contains("is associated with eni-") && why.contains("allocate-address"), "{why}");
    let why = refusal(&scene, &[], "eipalloc-0123456789abcdef0");
    assert!(why.contains("there is no Elastic IP eipalloc-0123456789abcdef0"), "{why}");
    let why = refusal(&scene, &["NATHA_UPLINK_TARGETS=tcp:1.1.1.1:443"], &id);
    assert!(why.contains("uplink.targets"), "{why}");
    let why = refusal(&scene, &["NATHA_STATE_DIR=/run/natha-elsewhere"], &id);
    assert!(why.contains("run `natha setup`"), "{why}");
    let tag = [("ResourceId.1", &*id), ("Tag.1.Key", "natha:group"), ("Tag.1.Value", "a")];
    scene.ec2("CreateTags", &tag).unwrap();
    let why = refusal(&scene, &[], &id);
    assert!(why.contains("natha:group"), "{why}");
    scene.ec2("DeleteTags", &tag).unwrap();

    // The role has not the rights: what was made before is removed.
    let rules = vec![FaultRule::on("AssociateAddress", Fault::Deny)];
    scene.api_faults(Faults { rules }).unwrap();
    let why = refusal(&scene, &[], &id);
    assert!(why.contains("UnauthorizedOperation"), "{why}");
    scene.api_faults(Faults::default()).unwrap();

    let usage = ["measure", "--elastic-ip", &id, "--table", "rtb-0123abcd", "--peer", "nat-b"];
    assert_eq!(scene.natha("nat-a", &usage).unwrap().code, 2);
    assert_eq!(scene.natha("nat-a", &["measure", "--elastic-ip", "eip"]).unwrap().code, 2);
}

#[test]
fn landing_addresses_stay_as_they_are_and_egress_ips_are_refused() {
    let scene = with_elastic_ips(Egress { more: QUICK, ..Egress::default() }.spec(NATHA));
    let [id, egress] = ["scratch", "out-a"].map(|name| allocation(&scene, name));
    let a = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    let why = refusal(&scene, &[], &egress);
    assert!(why.contains("is a resource of group a"), "{why}");
    let measure = [&of_elastic_ip(&id)[..], &["1", "--yes"]].concat();
    let before = addresses(&scene);
    let done = scene.exec("nat-a", &measure, LIMIT).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(addresses(&scene), before);
    assert_eq!(scene.seen("host-a"), Some(a));
    scene.wait_well().unwrap();

    // Without one of them, the node's monitor would take the measurement's address for one.
    let interface = scene.host("nat-b").unwrap();
    let [_, landing, ..] = interface.private[..] else { panic!("{:?}", interface.private) };
    let listed = scene.ec2(
        "DescribeNetworkInterfaces",
        &[
            ("Filter.1.Name", "addresses.private-ip-address"),
            ("Filter.1.Value.1", &landing.to_string()),
        ],
    );
    let eni = element(&listed.unwrap(), "networkInterfaceId");
    let rules = vec![FaultRule::on("AssignPrivateIpAddresses", Fault::Deny)];
    scene.api_faults(Faults { rules }).unwrap();
    let address = landing.to_string();
    let taken = [("NetworkInterfaceId", &*eni), ("PrivateIpAddress.1", &*address)];
    scene.ec2("UnassignPrivateIpAddresses", &taken).unwrap();
    let why = refusal(&scene, &[], &id);
    assert!(why.contains("nat-b has no landing address for egress IP"), "{why}");
}
