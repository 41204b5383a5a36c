//! `natha doctor` on a well cluster, on broken ones, before an installation, and without EC2.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;

use natha_lab::ec2::{Fault, FaultRule, Faults, Principal};
use natha_lab::egress::Egress;
use natha_lab::scene::{self, QUICK, Scene};
use natha_lab::{Output, Spec, Traffic};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const KEY_FILE: &str = "/etc/natha/key";
const KEY: &str = "correct-horse-battery-staple";

/// Inside a network namespace the kernel's limit of connections is that of the machine.
fn settings() -> String {
    let limit = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max");
    let limit = limit.map_or(65_536, |text| text.trim().parse::<u32>().unwrap());
    format!("heartbeat.key_file = \"{KEY_FILE}\"\nhost.conntrack_max = {limit}\n{QUICK}")
}

/// Two nodes with a key and an Elastic IP each, whose role may not change the public table.
fn well() -> Scene {
    let commands = format!(
        "mkdir -p /etc/natha\n(umask 077; echo {KEY} > {KEY_FILE})\nnatha setup\nexec natha monitor"
    );
    let spec = scene::spec(2, NATHA, "")
        .with_node_user_data(&scene::user_data(&settings(), &commands))
        .with_address("one", Some("nat-a"))
        .with_address("two", Some("nat-b"));
    let scene = Scene::start(&spec).unwrap();
    scene.api_faults(Faults { rules: vec![narrow(&scene)] }).unwrap();
    scene.wait_status("nat-a", |status| status.get("ports").is_some()).unwrap();
    scene
}

/// The lab's roles have no policy: this is what `natha policy` would leave out.
fn narrow(scene: &Scene) -> FaultRule {
    FaultRule::on("ReplaceRoute", Fault::Deny).about(&scene.account().unwrap().public_table)
}

fn doctor(scene: &Scene, more: &[&str]) -> Output {
    scene.natha("nat-a", &[&["doctor"], more].concat()).unwrap()
}

/// The checks that neither passed nor were not needed, with their findings.
fn complaints(output: &Output) -> BTreeMap<String, Value> {
    let result: Value = serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", output.stdout, output.stderr));
    let findings = result["findings"].as_array().unwrap();
    let is_fine = |one: &Value| one["state"] == "passed" || one["state"] == "not-needed";
    findings
        .iter()
        .filter(|one| !is_fine(one))
        .map(|one| (one["name"].as_str().unwrap().to_owned(), one.clone()))
        .collect()
}

/// The names of the checks that complain, and the only finding if there is one.
fn only(scene: &Scene, name: &str) -> Value {
    let output = doctor(scene, &["--json"]);
    let found = complaints(&output);
    assert_eq!(found.keys().collect::<Vec<_>>(), [name], "{found:#?}");
    assert_eq!(output.code, 3);
    found[name].clone()
}

#[test]
fn a_well_cluster_passes_every_check_and_each_fault_gives_its_own_finding() {
    let scene = well();
    let output = doctor(&scene, &["--json"]);
    let found = complaints(&output);
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(output.code, 0);
    let text = doctor(&scene, &[]).stdout;
    assert!(text.contains("✓ key-present") && text.contains("All is well"), "{text}");

    scene.sh("nat-a", &format!("chmod 644 {KEY_FILE}")).unwrap();
    assert_eq!(only(&scene, "key-present")["remedy"], format!("chmod 600 {KEY_FILE}"));
    scene.sh("nat-a", &format!("chmod 600 {KEY_FILE}")).unwrap();

    let denied = FaultRule::on("StopInstances", Fault::Deny);
    scene.api_faults(Faults { rules: vec![narrow(&scene), denied] }).unwrap();
    let what = only(&scene, "role-allows")["what"].to_string();
    assert!(what.contains("ec2:StopInstances") && what.contains("not authorized"), "{what}");
    scene.api_faults(Faults { rules: vec![narrow(&scene)] }).unwrap();

    let account = scene.account().unwrap();
    let table = &account.zones[1].private_table;
    let foreign = [
        ("RouteTableId", &**table),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("GatewayId", &*account.gateway),
    ];
    scene.ec2("ReplaceRoute", &foreign).unwrap();
    let seen = |status: &Value| status.to_string().contains(&account.gateway);
    scene.wait_status("nat-a", seen).unwrap();
    let found = only(&scene, "table-targets");
    assert!(found["what"].to_string().contains(&account.gateway), "{found}");
    assert!(found["remedy"].to_string().contains(table), "{found}");
}

#[test]
fn blocked_heartbeats_are_found_with_the_rule_that_is_missing() {
    let scene = well();
    let account = scene.account().unwrap();
    let everything = [
        ("GroupId", &*account.group),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/16"),
    ];
    scene.ec2("RevokeSecurityGroupIngress", &everything).unwrap();
    let icmp = [
        ("GroupId", &*account.group),
        ("IpPermissions.1.IpProtocol", "icmp"),
        ("IpPermissions.1.FromPort", "-1"),
        ("IpPermissions.1.ToPort", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/16"),
    ];
    scene.ec2("AuthorizeSecurityGroupIngress", &icmp).unwrap();
    // A rule that is taken away does not end what it let in; this does.
    for (from, to) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        scene.block(from, to, Traffic::Udp(6284)).unwrap();
    }
    scene.wait_verdict("nat-a", "nat-b", "daemon-down").unwrap();
    let output = doctor(&scene, &["--only", "members", "--json"]);
    let found = complaints(&output);
    let names: Vec<&String> = found.keys().collect();
    assert_eq!(names, ["members-heard", "security-groups"], "{found:#?}");
    let what = found["security-groups"]["what"].to_string();
    assert!(what.contains("no inbound rule of nat-b") && what.contains("UDP 6284"), "{what}");
    let remedy = found["security-groups"]["remedy"].to_string();
    let command = format!("authorize-security-group-ingress --group-id {}", account.group);
    assert!(remedy.contains(&command) && remedy.contains("--port 6284"), "{remedy}");

    // A role that may not read the rules gets that as a finding, and the rest is checked.
    let denied = FaultRule::on("DescribeSecurityGroups", Fault::Deny);
    scene.api_faults(Faults { rules: vec![narrow(&scene), denied] }).unwrap();
    let found = complaints(&doctor(&scene, &["--only", "members", "--json"]));
    assert_eq!(found["security-groups"]["state"], "unchecked");
    let what = found["security-groups"]["what"].to_string();
    assert!(what.contains("natha policy --doctor"), "{what}");
}

#[test]
fn a_source_dest_check_that_is_on_is_found_with_the_command() {
    let mut spec = Spec::nodes(1);
    spec.natha = Some(NATHA.into());
    let scene = Scene::start_unwell(&spec).unwrap();
    let interface = scene.host("nat-a").unwrap().interface;
    let never = complaints(&doctor(&scene, &["--only", "setup-done", "--json"]));
    assert_eq!(never["setup-done"]["state"], "failed");
    assert_eq!(scene.natha("nat-a", &["setup"]).unwrap().code, 0);
    let well = doctor(&scene, &["--only", "host", "--json"]);
    assert_eq!((well.code, complaints(&well).len()), (0, 0), "{}", well.stdout);
    let on = [("NetworkInterfaceId", &*interface), ("SourceDestCheck.Value", "true")];
    scene.ec2("ModifyNetworkInterfaceAttribute", &on).unwrap();
    let found = complaints(&doctor(&scene, &["--only", "host", "--json"]));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["source-dest-check"], "{found:#?}");
    let remedy = found["source-dest-check"]["remedy"].to_string();
    assert!(remedy.contains(&interface), "{remedy}");
}

#[test]
fn an_interface_that_egress_ips_cannot_move_to_is_found_with_the_command() {
    let spec = Egress { strict: false, replicate: false, more: QUICK }.spec(NATHA);
    let scene = Scene::start(&spec).unwrap();
    scene.wait_seen("host-a", scene.public("out-a").unwrap()).unwrap();
    let interface = scene.host("nat-a").unwrap().interface;
    let asked = ["--only", "interface-tag", "--json"];
    let tag = [("ResourceId.1", &*interface), ("Tag.1.Key", "natha:cluster")];
    scene.ec2("DeleteTags", &tag).unwrap();
    // The lab's roles have no policy: this is what the one of `natha policy` refuses.
    let denied = FaultRule::on("AssociateAddress", Fault::Deny);
    scene.api_faults(Faults { rules: vec![denied] }).unwrap();
    let output = doctor(&scene, &asked);
    let found = complaints(&output);
    assert_eq!((output.code, &found["interface-tag"]["state"]), (3, &Value::from("failed")));
    let remedy = found["interface-tag"]["remedy"].to_string();
    assert!(remedy.contains(&format!("create-tags --resources {interface} ")), "{remedy}");
    assert!(remedy.contains("'Key=natha:cluster,Value=lab'"), "{remedy}");
    scene.ec2("CreateTags", &[&tag[..], &[("Tag.1.Value", "lab")]].concat()).unwrap();
    let output = doctor(&scene, &asked);
    assert_eq!((output.code, complaints(&output).len()), (0, 0), "{}", output.stdout);
}

#[test]
fn a_host_is_checked_before_the_installation_and_nothing_is_changed() {
    let mut spec = Spec::nodes(1);
    spec.natha = Some(NATHA.into());
    let scene = Scene::start_unwell(&spec).unwrap();
    let look = "nft list ruleset; sysctl -a 2>/dev/null | grep forwarding; ls /var/lib/natha || :";
    let before = scene.sh("nat-a", look).unwrap();
    let output = doctor(&scene, &["--pre", "--cluster", "lab", "--json"]);
    let found = complaints(&output);
    let expected = |name: &str| matches!(name, "key-present" | "public-address" | "conntrack-size");
    assert!(found.keys().all(|name| expected(name)), "{found:#?}");
    assert!(found.contains_key("key-present") && output.code == 3);
    assert!(!output.stdout.contains("monitor-runs"));
    assert_eq!(scene.sh("nat-a", look).unwrap(), before);
    assert_eq!(scene.route_writes().unwrap(), 0);
}

#[test]
fn what_replication_needs_of_the_kernel_is_checked_before_the_installation() {
    let mut spec = Spec::nodes(1);
    spec.natha = Some(NATHA.into());
    let scene = Scene::start_unwell(&spec).unwrap();
    let asked = ["--pre", "--only", "kernel", "--set", "replicate.enabled=true", "--json"];
    let output = doctor(&scene, &asked);
    assert_eq!((output.code, complaints(&output).len()), (0, 0), "{}", output.stdout);
    let result: Value = serde_json::from_str(&output.stdout).unwrap();
    let findings = result["findings"].as_array().unwrap();
    for (name, what) in [
        ("kernel-conntrack", "the kernel lists tracked connections by netlink"),
        ("kernel-copies", "this kernel can copy packets to another node"),
    ] {
        let found = findings.iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(found["state"], "passed", "{found}");
        assert_eq!(found["what"], what, "{found}");
    }
}

#[test]
fn without_ec2_everything_else_is_checked() {
    let scene = well();
    let node = scene.host("nat-a").unwrap().instance;
    let hang = FaultRule::everywhere(Fault::Hang).by(Principal::Instance(node));
    scene.api_faults(Faults { rules: vec![hang] }).unwrap();
    let output = doctor(&scene, &["--json"]);
    let found = complaints(&output);
    assert_eq!(output.code, 3);
    for name in ["role-allows", "table-targets", "clock-skew"] {
        assert_eq!(found[name]["state"], "unchecked", "{found:#?}");
    }
    for name in ["kernel-nft", "setup-done", "monitor-runs", "members-heard", "key-present"] {
        assert!(!found.contains_key(name), "{found:#?}");
    }
}

#[test]
fn the_archive_has_what_a_report_needs_and_no_key() {
    let scene = well();
    let file = "/var/lib/natha/report.tar.gz";
    let output = doctor(&scene, &["--only", "settings", "--bundle", file]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("status.json"), "{}", output.stdout);
    let listed = scene.sh("nat-a", &format!("stat -c %a {file}; tar tzf {file}")).unwrap();
    for part in ["600\n", "natha-doctor/nft.txt", "natha-doctor/settings.json"] {
        assert!(listed.contains(part), "no {part} in {listed}");
    }
    let unpacked = scene.sh("nat-a", &format!("tar xzOf {file}")).unwrap();
    for part in ["table ip natha", "\"has_key\": true", "\"name\": \"members-heard\""] {
        assert!(unpacked.contains(part), "no {part} in {unpacked}");
    }
    assert!(!unpacked.contains(KEY));
    let again = doctor(&scene, &["--bundle", file]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("name another file"), "{}", again.stderr);
}
