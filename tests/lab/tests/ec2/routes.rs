use natha_lab::ec2::RouteVia;

use super::scene::{Lab, inside, texts, timings};

const ALL: (&str, &str) = ("DestinationCidrBlock", "0.0.0.0/0");

#[test]
fn a_route_to_an_interface_shows_instance_owner_and_origin() {
    let mut lab = Lab::new(timings());
    let table = lab.table.clone();
    let answer = lab.call(1_000, "DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
    let route = inside(inside(&answer, "routeSet")[0], "item")[1];
    assert_eq!(texts(route, "instanceId"), [lab.nodes[0].as_str()]);
    assert_eq!(texts(route, "networkInterfaceId"), [lab.interfaces[0].as_str()]);
    assert_eq!(texts(route, "instanceOwnerId"), ["123456789012"]);
    assert_eq!(texts(route, "origin"), ["CreateRoute"]);
    assert_eq!(texts(route, "state"), ["active"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut lab = Lab::new(timings());
    let (table, b) = (lab.table.clone(), lab.interfaces[1].clone());
    let to_b = [("RouteTableId", table.as_str()), ALL, ("NetworkInterfaceId", &b)];
    let before = lab.world.route(&table, "0.0.0.0/0".parse().unwrap());
    for action in ["ReplaceRoute", "DeleteRoute"] {
        let mut params = to_b.to_vec();
        params.push(("DryRun", "true"));
        let error = lab.call(1_000, action, &params).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("DryRunOperation", 412));
    }
    assert_eq!(lab.world.route(&table, "0.0.0.0/0".parse().unwrap()), before);
    assert!(lab.world.history().iter().all(|call| call.in_force.is_none()));
}

#[test]
fn a_dry_run_still_reports_what_does_not_exist() {
    let mut lab = Lab::new(timings());
    let params = [
        ("RouteTableId", "rtb-00000000000000000"),
        ALL,
        ("NetworkInterfaceId", "eni-00000000000000000"),
        ("DryRun", "true"),
    ];
    assert_eq!(lab.code(1_000, "ReplaceRoute", &params), "InvalidRouteTableID.NotFound");
}

#[test]
fn replacing_what_is_not_there_says_so_in_ec2s_words() {
    let mut lab = Lab::new(timings());
    let (table, b) = (lab.table.clone(), lab.interfaces[1].clone());
    let params = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "192.168.0.0/16"),
        ("NetworkInterfaceId", &b),
    ];
    let error = lab.call(1_000, "ReplaceRoute", &params).unwrap_err();
    assert_eq!(error.code, "InvalidParameterValue");
    assert_eq!(
        error.message,
        "There is no route defined for '192.168.0.0/16' in the route table. Use CreateRoute \
         instead."
    );
    assert_eq!(lab.code(1_000, "DeleteRoute", &params), "InvalidRoute.NotFound");
}

#[test]
fn exactly_one_target_is_taken_and_a_refusal_changes_nothing() {
    let mut lab = Lab::new(timings());
    let (table, a, b) = (lab.table.clone(), lab.interfaces[0].clone(), lab.nodes[1].clone());
    let base = [("RouteTableId", table.as_str()), ALL];
    assert_eq!(lab.code(1_000, "ReplaceRoute", &base), "MissingParameter");
    let mut two = base.to_vec();
    two.extend([("NetworkInterfaceId", a.as_str()), ("InstanceId", &b)]);
    assert_eq!(lab.code(1_000, "ReplaceRoute", &two), "InvalidParameterCombination");
    let default = "0.0.0.0/0".parse().unwrap();
    assert_eq!(lab.world.route(&table, default), Some(RouteVia::Interface(a)));
}

#[test]
fn an_instance_with_two_interfaces_is_no_target() {
    let mut lab = Lab::new(timings());
    let (table, node) = (lab.table.clone(), lab.nodes[1].clone());
    let params = [("RouteTableId", table.as_str()), ALL, ("InstanceId", &node)];
    lab.call(1_000, "ReplaceRoute", &params).unwrap();
    let subnet = lab.world.create_subnet(
        &lab.vpc,
        "10.0.3.0/24".parse().unwrap(),
        "eu-central-1b",
        super::scene::at(1_000),
    );
    lab.world.add_interface(&node, &subnet.unwrap(), 1, super::scene::at(1_000)).unwrap();
    let error = lab.call(1_000, "ReplaceRoute", &params).unwrap_err();
    assert_eq!(error.code, "InvalidInstanceID");
    assert!(error.message.starts_with("There are multiple interfaces attached to instance"));
    let check = [("InstanceId", node.as_str()), ("SourceDestCheck.Value", "false")];
    assert_eq!(lab.code(1_000, "ModifyInstanceAttribute", &check), "InvalidInstanceID");
}

#[test]
fn destinations_that_no_route_may_have_are_refused() {
    let mut lab = Lab::new(timings());
    let (table, b) = (lab.table.clone(), lab.interfaces[1].clone());
    let mut create = |block: &str| {
        let params = [
            ("RouteTableId", table.as_str()),
            ("DestinationCidrBlock", block),
            ("NetworkInterfaceId", &b),
        ];
        lab.call(1_000, "CreateRoute", &params).map_err(|error| error.code)
    };
    let refused = Err("InvalidParameterValue".to_owned());
    for block in ["10.0.1.5/32", "10.0.0.0/17", "169.254.169.254/32", "192.168.0.0/33"] {
        assert_eq!(create(block), refused, "{block}");
    }
    assert_eq!(create("0.0.0.0/0"), Err("RouteAlreadyExists".to_owned()));
    assert_eq!(create("10.0.0.0/16"), Err("RouteAlreadyExists".to_owned()));
    create("10.0.1.0/24").expect("a route for a whole subnet is allowed");
    create("192.168.100.1/32").expect("a virtual IP outside of the VPC is allowed");
    create("100.68.0.18/18").unwrap();
    assert!(lab.world.route(&table, "100.68.0.0/18".parse().unwrap()).is_some());
}

#[test]
fn an_interface_of_another_vpc_is_no_target() {
    let mut lab = Lab::new(timings());
    let now = super::scene::at(1_000);
    let vpc = lab.world.create_vpc("10.9.0.0/16".parse().unwrap(), now).unwrap();
    let table = lab.world.create_table(&vpc, &[], &[], now).unwrap();
    let a = lab.interfaces[0].clone();
    let params = [("RouteTableId", table.as_str()), ALL, ("NetworkInterfaceId", &a)];
    let error = lab.call(1_000, "CreateRoute", &params).unwrap_err();
    assert_eq!(error.code, "InvalidParameterValue");
    assert!(error.message.contains("belong to different networks"), "{}", error.message);
}

#[test]
fn a_target_is_a_blackhole_when_stopped_but_not_while_stopping() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    lab.call(2_000, "StopInstances", &[("InstanceId.1", &node)]).unwrap();
    assert_eq!(lab.route_state(6_999), "active");
    assert_eq!(lab.route_state(7_000), "blackhole");
    lab.call(8_000, "StartInstances", &[("InstanceId.1", &node)]).unwrap();
    assert_eq!(lab.route_state(9_000), "active");
}

#[test]
fn a_route_outlives_its_terminated_target_as_a_blackhole() {
    let mut lab = Lab::new(timings());
    let (node, table) = (lab.nodes[0].clone(), lab.table.clone());
    lab.call(2_000, "TerminateInstances", &[("InstanceId.1", &node)]).unwrap();
    assert_eq!(lab.route_state(2_999), "active");
    assert_eq!(lab.route_state(3_000), "blackhole");
    let answer = lab.call(3_000, "DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
    assert_eq!(texts(&answer, "networkInterfaceId"), [lab.interfaces[0].as_str()]);
    assert!(texts(&answer, "instanceId").is_empty());
}

#[test]
fn one_source_destination_flag_is_seen_through_both_calls() {
    let mut lab = Lab::new(timings());
    let (node, interface) = (lab.nodes[0].clone(), lab.interfaces[0].clone());
    let off = [("InstanceId", node.as_str()), ("SourceDestCheck.Value", "false")];
    lab.call(1_000, "ModifyInstanceAttribute", &off).unwrap();
    let ask = [("NetworkInterfaceId.1", interface.as_str())];
    let answer = lab.call(1_000, "DescribeNetworkInterfaces", &ask).unwrap();
    assert_eq!(texts(&answer, "sourceDestCheck"), ["false"]);
    let on = [("NetworkInterfaceId", interface.as_str()), ("SourceDestCheck.Value", "true")];
    lab.call(1_000, "ModifyNetworkInterfaceAttribute", &on).unwrap();
    let answer = lab.call(1_000, "DescribeInstances", &[("InstanceId.1", &node)]).unwrap();
    assert!(texts(&answer, "sourceDestCheck").iter().all(|flag| *flag == "true"));
    let two = [on[0], on[1], ("Description.Value", "x")];
    let refused = lab.code(1_000, "ModifyNetworkInterfaceAttribute", &two);
    assert_eq!(refused, "InvalidParameterCombination");
}

#[test]
fn a_detached_interface_leaves_a_blackhole_and_a_primary_one_stays() {
    let mut lab = Lab::new(timings());
    let (public, node, table) = (lab.public.clone(), lab.nodes[0].clone(), lab.table.clone());
    let made = lab.call(1_000, "CreateNetworkInterface", &[("SubnetId", &public)]).unwrap();
    let interface = texts(&made, "networkInterfaceId")[0].to_owned();
    let at = [("NetworkInterfaceId", &*interface), ("InstanceId", &node), ("DeviceIndex", "1")];
    let attached = lab.call(1_000, "AttachNetworkInterface", &at).unwrap();
    let attachment = texts(&attached, "attachmentId")[0].to_owned();
    let route = [("RouteTableId", &*table), ALL, ("NetworkInterfaceId", &*interface)];
    lab.call(1_000, "ReplaceRoute", &route).unwrap();
    lab.call(1_000, "DetachNetworkInterface", &[("AttachmentId", &attachment)]).unwrap();
    let shown = lab.call(1_000, "DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
    assert!(texts(&shown, "state").contains(&"blackhole"));
    let again = [("AttachmentId", &*attachment), ("Force", "true")];
    let code = lab.code(1_000, "DetachNetworkInterface", &again);
    assert_eq!(code, "InvalidAttachmentID.NotFound");
    let first = lab.interfaces[0].clone();
    let first = [("NetworkInterfaceId.1", first.as_str())];
    let shown = lab.call(1_000, "DescribeNetworkInterfaces", &first).unwrap();
    let primary = texts(&shown, "attachmentId")[0].to_owned();
    let code = lab.code(1_000, "DetachNetworkInterface", &[("AttachmentId", &primary)]);
    assert_eq!(code, "OperationNotPermitted");
}
