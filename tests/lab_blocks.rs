//! A VPC that gets another address block while the cluster runs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::Scene;
use natha_lab::daemon::shared::Power;
use natha_lab::scene::{self, QUICK, element};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
/// The block, and a subnet of it.
const BLOCK: &str = "100.64.0.0/16";
const SUBNET: &str = "100.64.0.0/24";

/// Adds the block with a subnet behind the first zone's table and a host `pod` in it.
fn add_block(scene: &Scene) {
    let account = scene.account().unwrap();
    let zone = scene.zone(0).unwrap();
    scene.ec2("AssociateVpcCidrBlock", &[("VpcId", &account.vpc), ("CidrBlock", BLOCK)]).unwrap();
    let subnet =
        [("VpcId", &*account.vpc), ("CidrBlock", SUBNET), ("AvailabilityZone", &zone.name)];
    let subnet = element(&scene.ec2("CreateSubnet", &subnet).unwrap(), "subnetId");
    let served = [("RouteTableId", &*zone.private_table), ("SubnetId", &subnet)];
    scene.ec2("AssociateRouteTable", &served).unwrap();
    let let_in = [
        ("GroupId", &*account.group),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", BLOCK),
    ];
    scene.ec2("AuthorizeSecurityGroupIngress", &let_in).unwrap();
    let pod = [
        ("ImageId", "ami-0123456789abcdef0"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SubnetId", &subnet),
        ("SecurityGroupId.1", &account.group),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "pod"),
    ];
    scene.ec2("RunInstances", &pod).unwrap();
    let is_on =
        |host: &natha_lab::daemon::shared::HostView| host.name == "pod" && host.power == Power::On;
    scene.wait_until(scene::PATIENCE, |status| status.hosts.iter().any(is_on)).unwrap();
}

/// The networks that a node does not translate between, as its kernel has them.
fn local_networks(scene: &Scene, node: &str) -> String {
    let listed = scene.sh(node, "nft list set ip natha local").unwrap();
    let found = listed.split_once("elements = {").and_then(|(_, rest)| rest.split_once('}'));
    found.map(|(networks, _)| networks.split_whitespace().collect()).unwrap_or_default()
}

#[test]
fn a_block_that_is_added_to_the_vpc_is_served_within_a_minute_without_a_restart() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    assert_eq!(local_networks(&scene, "nat-a"), "10.0.0.0/16");
    let boots = scene.boots("nat-a").unwrap();
    add_block(&scene);
    let meter = scene.ping("pod", 10).unwrap();
    let answered = || {
        let probes = scene.probes(meter, 0)?;
        Ok(probes.iter().any(|(_, answer)| answer.is_some()))
    };
    scene.wait_for(answered).unwrap();
    let report = scene.pinged(meter).unwrap();
    // natha looks once a minute.
    assert!(report.worst_ms() < 62_000.0, "{:?}", report.outages);
    println!("not served for {:.0} ms", report.worst_ms());
    let both = || {
        let nodes = ["nat-a", "nat-b"].map(|node| local_networks(&scene, node));
        Ok(nodes.iter().all(|networks| networks == "10.0.0.0/16,100.64.0.0/16"))
    };
    scene.wait_for(both).unwrap();

    // A node that boots agrees with its peer.
    let node = scene.host("nat-a").unwrap();
    assert_eq!(node.boot, boots, "the node has booted again");
    scene.ec2("RebootInstances", &[("InstanceId.1", &node.instance)]).unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_status("nat-a", Value::is_object).unwrap();
    scene.wait_well().unwrap();
    assert!(both().unwrap(), "the node that has booted differs from its peer");
    scene.wait_route(0, "nat-a").unwrap();
    scene.nobody_stopped().unwrap();
    let served = scene.ping("pod", 10).unwrap();
    scene.pass(Duration::from_millis(500));
    scene.lost_nothing(served).unwrap();
}
