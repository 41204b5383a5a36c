//! What people and AWS do to routes and interfaces.

use std::time::Duration;

use natha_lab::daemon::shared::Power;
use natha_lab::ec2::{Fault, FaultRule, Faults, Principal};
use natha_lab::scene::{self, QUICK, Scene, is_route_write};
use serde_json::Value;

use crate::NATHA;

const EVERYWHERE: (&str, &str) = ("DestinationCidrBlock", "0.0.0.0/0");

/// Whether the group of zone `a` stands like this.
fn group_is(status: &Value, check: impl Fn(&Value) -> bool) -> bool {
    status.pointer("/view/groups/us-east-1a").is_some_and(check)
}

#[test]
fn s10_source_dest_check_that_cannot_be_switched_off_has_the_node_relieved() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let nat = scene.host("nat-a").unwrap();
    let denial = FaultRule::on("ModifyNetworkInterfaceAttribute", Fault::Deny)
        .by(Principal::Instance(nat.instance));
    let interface = nat.interface;
    let checked = || {
        let shown = scene.ec2("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &interface)]);
        shown.unwrap().contains("<sourceDestCheck>true</sourceDestCheck>")
    };
    scene.api_faults(Faults { rules: vec![denial] }).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    let on = [("NetworkInterfaceId", &*interface), ("SourceDestCheck.Value", "true")];
    scene.ec2("ModifyNetworkInterfaceAttribute", &on).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_verdict("nat-b", "nat-a", "sick").unwrap();
    assert!(checked());
    let told = scene.natha("nat-a", &["status"]).unwrap();
    assert_eq!(told.code, 3);
    assert!(told.stdout.contains("source/dest check"), "{}", told.stdout);
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    assert!(!checked());
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "until nat-b had the route: {:?}", report.outages);
    scene.nobody_stopped().unwrap();
}

#[test]
fn s23_route_that_a_person_leads_out_of_the_cluster_is_respected_and_told() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let account = scene.account().unwrap();
    let table = ("RouteTableId", &*account.zones[0].private_table);
    let stranger = scene.host("host-b").unwrap().interface;
    let targets = [("GatewayId", &*account.gateway), ("NetworkInterfaceId", &*stranger)];
    let writes = scene.route_writes().unwrap();
    for target in targets {
        scene.ec2("ReplaceRoute", &[table, EVERYWHERE, target]).unwrap();
        scene
            .wait_status("nat-a", |status| {
                group_is(status, |group| {
                    group["holder"].is_null() && group.to_string().contains(target.1)
                })
            })
            .unwrap();
        let told = scene.natha("nat-a", &["status"]).unwrap();
        assert_eq!(told.code, 3, "{}", told.stdout);
        assert!(told.stdout.contains("not held by a single node"), "{}", told.stdout);
        assert!(told.stdout.contains("which is not a member"), "{}", told.stdout);
    }
    scene.pass(Duration::from_secs(5));
    assert_eq!(scene.route_writes().unwrap(), writes, "natha moved a route that is not its own");
    scene.route_to(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
}

#[test]
fn s24_deleted_route_is_made_again_and_a_misplaced_one_handed_back() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let table = scene.zone(0).unwrap().private_table;
    scene.ec2("DeleteRoute", &[("RouteTableId", &table), EVERYWHERE]).unwrap();
    scene.wait_for(|| Ok(scene.count("CreateRoute")? == 1)).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    scene.route_to(0, "nat-b").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.lost_nothing(meter).unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn s25_blackhole_is_filled_and_a_takeover_does_not_wait_for_one() {
    let mut spec = scene::spec(2, NATHA, QUICK);
    // As long as an instance may take to shut down: only then its routes are blackholes.
    spec.ec2.stop_ms = 20_000;
    let scene = Scene::start(&spec).unwrap();
    let nat = scene.host("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    let panicked = scene.power_at("nat-a", Power::Panicked).unwrap();
    scene.ec2("StopInstances", &[("InstanceId.1", &nat.instance)]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let taken = scene.led_at(0, "nat-b").unwrap();
    assert!(taken < panicked + Duration::from_secs(5), "{taken:?}, panicked at {panicked:?}");
    // A stranger's interface is respected for as long as it exists.
    let account = scene.account().unwrap();
    let table = ("RouteTableId", &*account.zones[1].private_table);
    let stranger = scene.host("host-b").unwrap();
    let target = ("NetworkInterfaceId", &*stranger.interface);
    scene.ec2("ReplaceRoute", &[table, EVERYWHERE, target]).unwrap();
    scene.wait_route(1, "host-b").unwrap();
    scene.ec2("TerminateInstances", &[("InstanceId.1", &stranger.instance)]).unwrap();
    scene.wait_route(1, "nat-b").unwrap();
}

/// The text of the first element of this name.
fn text(xml: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let found = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    found.unwrap_or_else(|| panic!("no {element} in {xml}")).0.to_owned()
}

/// Attaches an interface to a node as its second one, and returns the attachment.
fn attach(scene: &Scene, interface: &str, node: &str) -> String {
    let instance = scene.host(node).unwrap().instance;
    let attached = scene.ec2(
        "AttachNetworkInterface",
        &[("NetworkInterfaceId", interface), ("InstanceId", &instance), ("DeviceIndex", "1")],
    );
    scene.sh(node, "until ip -4 addr show ens6 | grep -q inet; do sleep 0.05; done").unwrap();
    text(&attached.unwrap(), "attachmentId")
}

/// Gives a node a second interface, in its zone's private subnet, and leads that subnet's default
/// route to it. Returns the interface and its attachment.
fn second_interface(scene: &Scene, zone: usize, node: &str) -> (String, String) {
    let (account, zone) = (scene.account().unwrap(), scene.zone(zone).unwrap());
    let place = [("SubnetId", &*zone.private_subnet), ("SecurityGroupId.1", &*account.group)];
    let made = scene.ec2("CreateNetworkInterface", &place).unwrap();
    let interface = text(&made, "networkInterfaceId");
    let attachment = attach(scene, &interface, node);
    let target = ("NetworkInterfaceId", &*interface);
    let table = ("RouteTableId", &*zone.private_table);
    scene.ec2("ReplaceRoute", &[table, EVERYWHERE, target]).unwrap();
    (interface, attachment)
}

#[test]
fn s10_node_whose_forwarding_interface_is_detached_is_relieved_and_takes_nothing() {
    let spec = scene::spec(2, NATHA, "").with_node_tag("natha:interface", "1");
    let scene = Scene::start_unwell(&spec.with_node_user_data("#!/bin/sh\n")).unwrap();
    let config = "host.uplink = \"ens5\"\nrepair.enabled = false\nhand_back.hold = \"3s\"";
    let mut interfaces = Vec::new();
    for (zone, node) in ["nat-a", "nat-b"].into_iter().enumerate() {
        interfaces.push(second_interface(&scene, zone, node));
        let script = scene::user_data(config, "natha setup");
        scene.sh(node, script.trim_start_matches("#!/bin/sh\n")).unwrap();
    }
    for node in ["nat-a", "nat-b"] {
        scene.spawn(node, &["natha", "monitor"]).unwrap();
    }
    scene.wait_well().unwrap();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    let (interface, attachment) = &interfaces[0];
    scene.ec2("DetachNetworkInterface", &[("AttachmentId", attachment)]).unwrap();
    // EC2 knows of a detachment before the host does.
    let faults = |status: &Value| status.pointer("/view/fitness/faults").map(Value::to_string);
    let knows = |status: &Value| faults(status).is_some_and(|text| text.contains("forwarding"));
    scene.wait_status("nat-a", knows).unwrap();
    let before = scene.calls_by("nat-a").unwrap().len();
    scene.wait_route(0, "nat-b").unwrap();
    scene.pass(Duration::from_secs(15));
    let told = scene.natha("nat-a", &["status"]).unwrap();
    assert_eq!(told.code, 3);
    assert!(told.stdout.contains("this node is not fit: not forwarding"), "{}", told.stdout);
    // Until now its interface was away: it must not have pointed a route to it.
    let calls = scene.calls_by("nat-a").unwrap();
    let writes: Vec<_> = calls[before..].iter().filter(|call| is_route_write(call)).collect();
    assert!(writes.is_empty(), "nat-a pointed a route to its detached interface: {writes:#?}");
    attach(&scene, interface, "nat-a");
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    let [relieved, spared] = meters;
    let report = scene.pinged(relieved).unwrap();
    assert_eq!(report.outages.len(), 1, "until nat-b had the route: {:?}", report.outages);
    scene.lost_nothing(spared).unwrap();
}
