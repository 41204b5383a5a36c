//! What people and other programs do to routes, tables and instances, and what natha makes of it.

use natha_lab::scene::{self, PATIENCE, QUICK, Scene};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

#[test]
fn a_table_that_gets_the_tag_is_served_without_a_restart() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let account = scene.account().unwrap();
    let made = scene.ec2("CreateRouteTable", &[("VpcId", &account.vpc)]).unwrap();
    let table = id(&made, "routeTableId");
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
fn a_terminated_nat_is_covered_and_its_replacement_gets_its_routes() {
    let spec = scene::spec(2, NATHA, QUICK);
    let scene = Scene::start(&spec).unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    let old = scene.host("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.ec2("TerminateInstances", &[("InstanceId.1", &old.instance)]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let account = scene.account().unwrap();
    let script = spec.hosts[0].user_data.clone().unwrap();
    let encode = format!("base64 -w0 <<'SCRIPT'\n{script}SCRIPT\n");
    let user_data = scene.sh("internet", &encode).unwrap();
    let (subnet, group) = (&*account.zones[0].public_subnet, &*account.group);
    let made = scene.ec2(
        "RunInstances",
        &[
            ("ImageId", "ami-0123456789abcdef0"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("NetworkInterface.1.DeviceIndex", "0"),
            ("NetworkInterface.1.SubnetId", subnet),
            ("NetworkInterface.1.SecurityGroupId.1", group),
            ("NetworkInterface.1.AssociatePublicIpAddress", "true"),
            ("UserData", &user_data),
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", "nat-new"),
            ("TagSpecification.1.Tag.2.Key", "natha:cluster"),
            ("TagSpecification.1.Tag.2.Value", "lab"),
        ],
    );
    let new = id(&made.unwrap(), "instanceId");
    assert_ne!(new, old.instance);
    scene.wait_route(0, "nat-new").unwrap();
    scene.wait_verdict("nat-b", "nat-new", "alive").unwrap();
    for node in ["nat-b", "nat-new"] {
        natha_lab::cluster::wait_well(&scene, &[node], PATIENCE).unwrap();
    }
    assert_eq!(scene.pinged(meter).unwrap().outages.len(), 1);
    scene.nobody_stopped().unwrap();
}

/// The text of the first element of this name.
fn id(xml: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let found = xml.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    found.map(|(id, _)| id.to_owned()).unwrap_or_default()
}
