//! `natha adopt` moves route tables from another NAT, an instance or a NAT gateway, one at a time,
//! and moves one back if its hosts are not served.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::net::internet::{INTERNET_HOST, WHOAMI_PORT};
use natha_lab::scene::{self, QUICK, Scene, element, has_event};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Two nodes, and nat-c as another NAT, to which the table of zone a leads.
fn beside_another_nat() -> Scene {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    let other = scene.host("nat-c").unwrap();
    for node in ["nat-a", "nat-b", "nat-c"] {
        scene.terminate(node).unwrap();
        let ended = || Ok(scene.natha(node, &["status"])?.stderr.contains("no monitor is running"));
        scene.wait_for(ended).unwrap();
    }
    let tag = [("ResourceId.1", &*other.instance), ("Tag.1.Key", "natha:cluster")];
    scene.ec2("DeleteTags", &tag).unwrap();
    scene.route_to(0, "nat-c").unwrap();
    for node in ["nat-a", "nat-b"] {
        scene.spawn(node, &["natha", "monitor"]).unwrap();
        let is_seen = |status: &Value| {
            let group = status.pointer("/view/groups/us-east-1a");
            group.is_some_and(|group| group.to_string().contains(&other.interface))
        };
        scene.wait_status(node, is_seen).unwrap();
    }
    scene
}

/// Two nodes, and a NAT gateway, to which the table of zone a leads.
fn beside_a_gateway() -> (Scene, String) {
    let spec = scene::spec(2, NATHA, QUICK).with_address("gateway", None);
    let scene = Scene::start(&spec).unwrap();
    let allocation = scene.account().unwrap().elastic["gateway"].allocation.clone();
    let zone = scene.zone(0).unwrap();
    let params = [("SubnetId", &*zone.public_subnet), ("AllocationId", &*allocation)];
    let gateway = element(&scene.ec2("CreateNatGateway", &params).unwrap(), "natGatewayId");
    let shown = || scene.ec2("DescribeNatGateways", &[("NatGatewayId.1", &gateway)]);
    scene.wait_for(|| Ok(element(&shown()?, "state") == "available")).unwrap();
    let route = [
        ("RouteTableId", &*zone.private_table),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("NatGatewayId", &*gateway),
    ];
    scene.ec2("ReplaceRoute", &route).unwrap();
    for node in ["nat-a", "nat-b"] {
        scene.wait_status(node, |status| has_event(status, "foreign", &gateway)).unwrap();
    }
    (scene, gateway)
}

/// The address from which the internet sees the host of zone a.
fn seen_as(scene: &Scene) -> String {
    let ask = format!(
        "bash -c 'exec 3<>/dev/tcp/{INTERNET_HOST}/{WHOAMI_PORT}; \
         printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; tail -n1 <&3'"
    );
    scene.sh("host-a", &ask).unwrap().trim().to_owned()
}

/// Adopts the table of zone a on a node that drops what comes back to its host: the table goes back
/// to its old target.
fn goes_back_without_replies(scene: &Scene, to: &str) {
    // The probes of the node pass; what comes back to the host is dropped in it.
    let host = scene.host("host-a").unwrap().private[0];
    let rule = format!(
        "nft add table ip stranger && nft 'add chain ip stranger c {{ type filter hook forward \
         priority 10; }}' && nft add rule ip stranger c ip daddr {host} drop"
    );
    scene.sh("nat-a", &rule).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    // Ten connections a second, for longer than the move and its proof take.
    let open = format!("exec 3<>/dev/tcp/{INTERNET_HOST}/{WHOAMI_PORT}; read -t 0.1 <&3");
    let client = format!("while [ $SECONDS -lt 40 ]; do timeout 0.3 bash -c '{open}'; done");
    scene.spawn("host-a", &["bash", "-c", &client]).unwrap();
    let table = scene.zone(0).unwrap().private_table;
    let done = scene.natha("nat-a", &["adopt", "--yes", "--proof", "3s", &table]).unwrap();
    assert_eq!(done.code, 3, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("given back"), "{}", done.stdout);
    scene.wait_route(0, to).unwrap();
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
}

#[test]
fn a_table_is_adopted_once_its_hosts_are_served_and_retired_later() {
    let scene = beside_another_nat();
    let writes = scene.route_writes().unwrap();
    let table = scene.zone(0).unwrap().private_table;
    let plan = scene.natha("nat-a", &["adopt", &table]).unwrap();
    assert_eq!(plan.code, 3, "{}{}", plan.stdout, plan.stderr);
    assert!(plan.stdout.contains("would move"), "{}", plan.stdout);
    assert_eq!(scene.route_writes().unwrap(), writes, "the plan changes nothing");
    let elsewhere = scene.natha("nat-b", &["adopt", "--yes", &table]).unwrap();
    assert_eq!(elsewhere.code, 3, "{}{}", elsewhere.stdout, elsewhere.stderr);
    assert!(elsewhere.stdout.contains("run this command there"), "{}", elsewhere.stdout);

    let meter = scene.ping("host-a", 10).unwrap();
    let done = scene.natha("nat-a", &["adopt", "--yes", "--proof", "5s", &table]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("its hosts are served"), "{}", done.stdout);
    scene.wait_route(0, "nat-a").unwrap();
    let back = scene.natha("nat-a", &["retire", "--yes"]).unwrap();
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    scene.wait_route(0, "nat-c").unwrap();
    let again = scene.natha("nat-a", &["retire", "--yes"]).unwrap();
    assert!(again.stdout.contains("nothing to move"), "{}", again.stdout);
    scene.lost_nothing(meter).unwrap();
}

#[test]
fn a_table_whose_hosts_get_no_reply_is_led_back() {
    goes_back_without_replies(&beside_another_nat(), "nat-c");
}

#[test]
fn a_table_is_adopted_from_a_nat_gateway_and_retired_to_it() {
    let (scene, gateway) = beside_a_gateway();
    let address = scene.account().unwrap().elastic["gateway"].address.to_string();
    assert_eq!(seen_as(&scene), address, "the gateway serves");
    let writes = scene.route_writes().unwrap();
    let table = scene.zone(0).unwrap().private_table;
    let plan = scene.natha("nat-a", &["adopt"]).unwrap();
    assert_eq!(plan.code, 3, "{}{}", plan.stdout, plan.stderr);
    for part in [&*gateway, &*table, "would move"] {
        assert!(plan.stdout.contains(part), "{part}: {}", plan.stdout);
    }
    assert_eq!(scene.route_writes().unwrap(), writes, "the plan changes nothing");

    let meter = scene.ping("host-a", 10).unwrap();
    let done = scene.natha("nat-a", &["adopt", "--yes", "--proof", "5s"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("its hosts are served"), "{}", done.stdout);
    scene.wait_route(0, "nat-a").unwrap();
    assert_ne!(seen_as(&scene), address);
    scene.wait_well().unwrap();

    let plan = scene.natha("nat-a", &["retire"]).unwrap();
    assert_eq!(plan.code, 3, "{}{}", plan.stdout, plan.stderr);
    assert!(plan.stdout.contains(&gateway), "{}", plan.stdout);
    assert_eq!(scene.route(0).unwrap(), "nat-a");
    let back = scene.natha("nat-a", &["retire", "--yes"]).unwrap();
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    scene.wait_route(0, &gateway).unwrap();
    assert_eq!(seen_as(&scene), address, "the gateway serves again");
    scene.lost_nothing(meter).unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_table_goes_back_to_a_nat_gateway_if_the_node_does_not_serve() {
    let (scene, gateway) = beside_a_gateway();
    goes_back_without_replies(&scene, &gateway);
    let again = scene.natha("nat-a", &["retire", "--yes"]).unwrap();
    assert!(again.stdout.contains("nothing to move"), "{}", again.stdout);
}

#[test]
fn a_run_that_is_killed_before_the_proof_leaves_a_way_back_to_the_nat_gateway() {
    let (scene, gateway) = beside_a_gateway();
    // Its hosts send nothing, so there is no proof.
    scene.spawn("nat-a", &["natha", "adopt", "--yes", "--proof", "5m"]).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.sh("nat-a", "pkill -KILL -f '[n]atha adopt'").unwrap();
    let has_ended = || Ok(scene.sh("nat-a", "! pgrep -f '[n]atha adopt'").is_ok());
    scene.wait_for(has_ended).unwrap();
    assert_eq!(scene.route(0).unwrap(), "nat-a");
    let back = scene.natha("nat-a", &["retire", "--yes"]).unwrap();
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    scene.wait_route(0, &gateway).unwrap();
}

#[test]
fn a_table_is_given_back_if_the_session_is_lost_before_the_proof() {
    let scene = beside_another_nat();
    // Its hosts send nothing, so there is no proof.
    let run = ["natha", "adopt", "--yes", "--proof", "5m"];
    for signal in ["HUP", "INT"] {
        scene.spawn("nat-a", &run).unwrap();
        scene.wait_route(0, "nat-a").unwrap();
        scene.sh("nat-a", &format!("pkill -{signal} -f '[n]atha adopt'")).unwrap();
        scene.wait_route(0, "nat-c").unwrap();
        let has_ended = || Ok(scene.sh("nat-a", "! pgrep -f '[n]atha adopt'").is_ok());
        scene.wait_for(has_ended).unwrap();
    }
    let again = scene.natha("nat-a", &["retire", "--yes"]).unwrap();
    assert!(again.stdout.contains("nothing to move"), "{}", again.stdout);
}

#[test]
fn a_table_whose_hosts_are_quiet_is_kept_only_on_request() {
    let scene = beside_another_nat();
    let done = scene.natha("nat-a", &["adopt", "--yes", "--proof", "1s"]).unwrap();
    assert_eq!(done.code, 3, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("--keep-quiet"), "{}", done.stdout);
    scene.wait_route(0, "nat-c").unwrap();
    let kept = ["adopt", "--yes", "--proof", "1s", "--keep-quiet"];
    let kept = scene.natha("nat-a", &kept).unwrap();
    assert_eq!(kept.code, 0, "{}{}", kept.stdout, kept.stderr);
    scene.wait_route(0, "nat-a").unwrap();
}
