//! Every way to configure a cluster, and heartbeats that should not count.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene};
use natha_lab::{Ec2Spec, Spec};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Nodes that are set up as NATs and nothing else: no tags, no monitor.
fn bare() -> Scene {
    let mut spec = Spec::nodes(2);
    spec.natha = Some(NATHA.into());
    spec.ec2 = Ec2Spec { latency_ms: 50, ..Ec2Spec::default() };
    let scene = Scene::start_unwell(&spec).unwrap();
    for node in ["nat-a", "nat-b"] {
        let done = scene.natha(node, &["setup"]).unwrap();
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    }
    scene
}

/// Freezes nat-a until nat-b has its route, then thaws it and waits until it has it back.
fn fails_over_and_back(scene: &Scene) {
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

/// How many packets a node's monitor has rejected for this reason.
fn rejected(status: &Value, reason: &str) -> u64 {
    let path = format!("/counters/peers/rejected/{reason}");
    status.pointer(&path).and_then(Value::as_u64).unwrap_or(0)
}

fn with_key(mut spec: Spec, config: &str, node: usize, key: &str) -> Spec {
    let config = format!("heartbeat.key_file = \"/etc/natha/key\"\n{config}");
    let commands =
        format!("umask 077\nprintf '{key}' > /etc/natha/key\nnatha setup && exec natha monitor");
    spec.hosts[node].user_data = Some(scene::user_data(&config, &commands));
    spec
}

#[test]
fn the_four_inputs_of_the_script_of_2013_are_enough() {
    let scene = bare();
    let (a, b) = (scene.host("nat-a").unwrap().instance, scene.host("nat-b").unwrap().instance);
    let tables = [0, 1].map(|zone| scene.zone(zone).unwrap().private_table);
    for (node, peer, own) in [("nat-a", &b, 0), ("nat-b", &a, 1)] {
        let (mine, other): (&str, &str) = (&tables[own], &tables[1 - own]);
        let flags = ["--peer", peer, "--peer-table", other, "--my-table", mine];
        let rest = ["--region", "us-east-1", "--set", "hand_back.hold=3s"];
        scene.spawn(node, &[&["natha", "monitor"], &flags[..], &rest[..]].concat()).unwrap();
    }
    scene.wait_well().unwrap();
    let status = natha_lab::cluster::status(&scene, "nat-a").unwrap();
    let groups = status.pointer("/view/groups").and_then(Value::as_object).unwrap();
    let mut names: Vec<&String> = groups.keys().collect();
    names.sort();
    let mut wanted: Vec<&String> = tables.iter().collect();
    wanted.sort();
    assert_eq!(names, wanted, "one group for each table");
    fails_over_and_back(&scene);
}

#[test]
fn a_settings_file_may_list_members_and_groups() {
    let scene = bare();
    let (a, b) = (scene.host("nat-a").unwrap().instance, scene.host("nat-b").unwrap().instance);
    let tables = [0, 1, 2].map(|zone| scene.zone(zone).unwrap().private_table);
    let [first, second, third] = &tables;
    let config = format!(
        "members = [\"{a}\", \"{b}\"]\nhand_back.hold = \"3s\"\n\
         [[group]]\nname = \"left\"\nhome = \"{a}\"\ntables = [\"{first}\", \"{third}\"]\n\
         [[group]]\nname = \"right\"\nhome = \"{b}\"\ntables = [\"{second}\"]\n"
    );
    for node in ["nat-a", "nat-b"] {
        let script = scene::user_data(&config, "natha monitor >/var/log/monitor 2>&1 &");
        scene.sh(node, script.trim_start_matches("#!/bin/sh\n")).unwrap();
    }
    scene.wait_well().unwrap();
    scene.freeze("nat-a").unwrap();
    for zone in [0, 2] {
        scene.wait_route(zone, "nat-b").unwrap();
    }
    scene.thaw("nat-a").unwrap();
    for zone in [0, 2] {
        scene.wait_route(zone, "nat-a").unwrap();
    }
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn tags_of_the_instances_set_what_the_file_does_not() {
    let spec = scene::spec(2, NATHA, "hand_back.hold = \"1s\"")
        .with_node_tag("natha:hand_back.enabled", "false")
        .with_node_tag("natha:hand_back.hold", "1h");
    let scene = Scene::start(&spec).unwrap();
    scene.route_to(0, "nat-b").unwrap();
    let holder = Value::from(scene.host("nat-b").unwrap().instance);
    let away = |status: &Value| status.pointer("/view/groups/us-east-1a/holder") == Some(&holder);
    scene.wait_status("nat-b", away).unwrap();
    let stays = || scene::ensure(scene.route(0)? == "nat-b", "handed back against the tag");
    scene.watch(Duration::from_secs(6), stays).unwrap();
    let told = scene.natha("nat-b", &["status"]).unwrap();
    assert_eq!(told.code, 0, "it is where it is to stay: {}", told.stdout);
    assert!(told.stdout.ends_with("All is well.\n"), "{}", told.stdout);
    let row = told.stdout.lines().find(|line| line.starts_with("us-east-1a "));
    let names: Vec<&str> = row.unwrap().split_whitespace().take(3).collect();
    assert_eq!(names, ["us-east-1a", "nat-a", "nat-b"], "home and holder: {}", told.stdout);
}

#[test]
fn a_shared_key_authenticates_and_forged_packets_do_not_count() {
    let mut spec = scene::spec(2, NATHA, QUICK);
    for node in [0, 1] {
        spec = with_key(spec, QUICK, node, "a key of more than sixteen bytes");
    }
    let scene = Scene::start(&spec).unwrap();
    let address = scene.host("nat-a").unwrap().private[0];
    let meter = scene.ping("host-a", 10).unwrap();
    let forge = format!(
        "for i in $(seq 200); do echo \"natha forged packet $i\" > /dev/udp/{address}/6284; done"
    );
    let forged = scene.exec("host-a", &["bash", "-c", &forge], Duration::from_secs(30)).unwrap();
    assert_eq!(forged.code, 0, "{}", forged.stderr);
    let counted = |status: &Value| {
        let all = status.pointer("/counters/peers/rejected").and_then(Value::as_object);
        all.is_some_and(|all| all.values().filter_map(Value::as_u64).sum::<u64>() >= 200)
    };
    scene.wait_status("nat-a", counted).unwrap();
    scene.wait_well().unwrap();
    assert_eq!(scene.count("ReplaceRoute").unwrap(), 0);
    scene.lost_nothing(meter).unwrap();
    fails_over_and_back(&scene);
}

#[test]
fn different_keys_stop_nobody_cost_no_packet_and_are_named() {
    let config =
        format!("failover.first_contact = \"5s\"\nfailover.daemon_grace = \"3s\"\n{QUICK}");
    let mut spec = scene::spec(2, NATHA, &config);
    spec = with_key(spec, &config, 0, "a key of more than sixteen bytes");
    spec = with_key(spec, &config, 1, "another one, of as many bytes or so");
    let scene = Scene::start_unwell(&spec).unwrap();
    for node in ["nat-a", "nat-b"] {
        scene.wait_status(node, |status| rejected(status, "bad-tag") > 10).unwrap();
    }
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    scene.watch(Duration::from_secs(45), || scene.nobody_stopped()).unwrap();
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    let told = scene.natha("nat-a", &["status"]).unwrap();
    assert_eq!(told.code, 3);
    assert!(told.stdout.contains("heartbeat.key_file"), "{}", told.stdout);
}

#[test]
fn the_status_of_a_healthy_and_of_a_failed_cluster_tells_both_in_text_and_in_json() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let well = scene.natha("nat-b", &["status"]).unwrap();
    assert_eq!(well.code, 0);
    assert!(well.stdout.contains("All is well."), "{}", well.stdout);
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let status = scene.wait_verdict("nat-b", "nat-a", "unreachable").unwrap();
    let me = scene.host("nat-b").unwrap().instance;
    assert_eq!(status.pointer("/view/groups/us-east-1a/holder"), Some(&Value::from(me)));
    let events = status["events"].as_array().unwrap();
    let done = events.iter().find(|event| event["kind"] == "takeover-done").unwrap();
    assert!(done["took_ms"].as_u64().unwrap() > 0, "{done}");
    assert!(done["text"].as_str().unwrap().contains("suspected"), "its reason: {done}");
    let failed = scene.natha("nat-b", &["status"]).unwrap();
    assert_eq!(failed.code, 3);
    for part in ["Needs attention:", "nat-a is unreachable", "running", "takeover-done"] {
        assert!(failed.stdout.contains(part), "no `{part}` in {}", failed.stdout);
    }
}

#[test]
fn a_table_that_gets_the_tag_is_served_without_a_restart() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let account = scene.account().unwrap();
    let made = scene.ec2("CreateRouteTable", &[("VpcId", &account.vpc)]).unwrap();
    let table = scene::element(&made, "routeTableId");
    for (key, value) in [("natha:cluster", "lab"), ("natha:home", "nat-b")] {
        let tag = [("ResourceId.1", &*table), ("Tag.1.Key", key), ("Tag.1.Value", value)];
        scene.ec2("CreateTags", &tag).unwrap();
    }
    let interface = scene.host("nat-b").unwrap().interface;
    let shown = || scene.ec2("DescribeRouteTables", &[("RouteTableId.1", &table)]);
    scene.wait_for(|| Ok(shown()?.contains(&interface))).unwrap();
    scene.wait_well().unwrap();
}

#[test]
fn a_tag_on_the_table_of_the_nodes_own_uplink_changes_no_route_there_and_is_an_alert() {
    let config = format!("failover.adopt = true\n{QUICK}");
    let scene = Scene::start(&scene::spec(2, NATHA, &config)).unwrap();
    let table = scene.account().unwrap().public_table;
    let shown = || scene.ec2("DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
    let gateway = scene::element(&shown(), "gatewayId");
    let tag = [("ResourceId.1", &*table), ("Tag.1.Key", "natha:cluster"), ("Tag.1.Value", "lab")];
    scene.ec2("CreateTags", &tag).unwrap();
    let is_named = |status: &Value| {
        let alerts = status["alerts"].as_array().into_iter().flatten();
        let mut texts = alerts.filter_map(Value::as_str);
        texts.any(|text| text.contains(&format!("route table {table}: is the table of")))
    };
    for node in ["nat-a", "nat-b"] {
        scene.wait_status(node, is_named).unwrap();
    }
    assert_eq!(scene.natha("nat-a", &["status"]).unwrap().code, 3);
    let told = scene.natha("nat-b", &["setup", "--dry-run"]).unwrap();
    assert!(told.stdout.contains(&table), "{} {}", told.stdout, told.stderr);
    let routes = shown();
    let by_node = ["nat-a", "nat-b"].map(|node| scene.host(node).unwrap().interface);
    assert!(!by_node.iter().any(|interface| routes.contains(&**interface)), "{routes}");
    assert_eq!(scene::element(&routes, "gatewayId"), gateway);
}

/// A group that moves these resources, for two nodes that do not hand back in the test's time.
fn group(resources: &str) -> String {
    format!(
        "api.timeout = \"3s\"\nfailover.read_valid = \"3s\"\n[[group]]\nname = \"db\"\n\
         prefer = [\"nat-a\", \"nat-b\"]\nhand_back = false\n{resources}"
    )
}

/// Waits until a node's monitor finds the group held by a node, whole.
fn held_by(scene: &Scene, told_by: &str, holder: &str) {
    let holder = Value::from(scene.host(holder).unwrap().instance);
    let held = |status: &Value| status.pointer("/view/groups/db/holder") == Some(&holder);
    scene.wait_status(told_by, held).unwrap();
}

#[test]
fn a_virtual_ip_and_a_record_follow_to_another_zone() {
    let config = group(
        "[[group.resource]]\nkind = \"vip\"\naddress = \"192.168.100.1\"\n\
         [[group.resource]]\nkind = \"dns\"\nzone = \"{{zone.example.test}}\"\n\
         name = \"db.example.test\"\nttl = 1\n",
    );
    let vip = "192.168.100.1/32".parse().unwrap();
    let mut spec = scene::spec(2, NATHA, &config)
        .with_route(vip, "nat-a", &["private-a", "private-b"])
        .with_zone("example.test");
    spec.ec2.dns_sync_ms = 300;
    let scene = Scene::start_unwell(&spec).unwrap();
    held_by(&scene, "nat-b", "nat-a");
    let resolved = || scene.sh("host-b", "getent ahostsv4 db.example.test || true");
    let leads = |node: &str| {
        let address = scene.host(node)?.private[0].to_string();
        let routes = scene.status()?.routes;
        let mut led = routes.iter().filter(|route| route.destination == "192.168.100.1/32");
        Ok(led.all(|route| route.to == node) && resolved()?.contains(&address))
    };
    scene.wait_for(|| leads("nat-a")).unwrap();
    scene.freeze("nat-a").unwrap();
    scene.wait_for(|| leads("nat-b")).unwrap();
    held_by(&scene, "nat-b", "nat-b");
    scene.nobody_stopped().unwrap();
    let told = scene.natha("nat-b", &["status"]).unwrap();
    for part in ["192.168.100.1 of rtb-", "vip", "db.example.test", "dns", "nat-b"] {
        assert!(told.stdout.contains(part), "no `{part}` in {}", told.stdout);
    }
}

#[test]
fn a_private_ip_and_the_elastic_ip_on_it_follow_within_their_subnet() {
    let config = group(
        "[[group.resource]]\nkind = \"private-ip\"\naddress = \"10.0.0.50\"\n\
         [[group.resource]]\nkind = \"eip\"\nallocation = \"{{eip.web}}\"\non = \"10.0.0.50\"\n",
    );
    let mut spec = scene::spec(2, NATHA, &config).with_address("web", None);
    spec.hosts[1].zone = 0;
    let scene = Scene::start_unwell(&spec).unwrap();
    held_by(&scene, "nat-b", "nat-a");
    scene.freeze("nat-a").unwrap();
    held_by(&scene, "nat-b", "nat-b");
    let interface = scene.host("nat-b").unwrap().interface;
    let filter =
        [("Filter.1.Name", "addresses.private-ip-address"), ("Filter.1.Value.1", "10.0.0.50")];
    let shown = scene.ec2("DescribeNetworkInterfaces", &filter).unwrap();
    assert_eq!(scene::element(&shown, "networkInterfaceId"), interface, "{shown}");
    let shown = scene.ec2("DescribeAddresses", &[]).unwrap();
    assert!(shown.contains(&interface) && shown.contains("10.0.0.50"), "{shown}");
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_private_ip_for_two_zones_ends_the_monitor_with_the_reason_and_changes_nothing() {
    let scene = bare();
    let config = group("[[group.resource]]\nkind = \"private-ip\"\naddress = \"10.0.0.50\"\n");
    let script = scene::user_data(&config, "true");
    scene.sh("nat-a", script.trim_start_matches("#!/bin/sh\n")).unwrap();
    let (a, b) = (scene.host("nat-a").unwrap().instance, scene.host("nat-b").unwrap().instance);
    let members = format!("members={a},{b}");
    let told = scene.natha("nat-a", &["monitor", "--set", &members]).unwrap();
    assert_eq!(told.code, 1, "{}", told.stderr);
    for part in ["private-ip 10.0.0.50", "cannot leave its subnet", "use a `vip`"] {
        assert!(told.stderr.contains(part), "no `{part}` in {}", told.stderr);
    }
    assert_eq!(scene.count("AssignPrivateIpAddresses").unwrap(), 0);
}
