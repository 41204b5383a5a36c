//! Secondary private addresses, and routes of virtual IP addresses.

use std::net::Ipv4Addr;

use natha_lab::dataplane::Target;
use natha_lab::ec2::{InstanceSpec, RouteVia, Timings};

use super::scene::{Lab, at, inside, texts, timings};

const FREE: &str = "10.0.0.50";

/// A second interface in the first node's subnet: another node's.
fn neighbour(lab: &mut Lab) -> String {
    let spec = InstanceSpec::new("node-c", &lab.public);
    let node = lab.world.run_instance(&spec, at(1_000)).unwrap();
    lab.world.primary_interface(&node).unwrap()
}

fn assign(lab: &mut Lab, ms: u64, eni: &str, address: &str, moves: bool) -> Result<String, String> {
    let moves = if moves { "true" } else { "false" };
    let params = [
        ("NetworkInterfaceId", eni),
        ("PrivateIpAddress.1", address),
        ("AllowReassignment", moves),
    ];
    let answer = lab.call(ms, "AssignPrivateIpAddresses", &params);
    answer.map_err(|error| format!("{}: {}", error.code, error.message))
}

fn take<'a>(eni: &'a str, address: &'a str) -> [(&'a str, &'a str); 2] {
    [("NetworkInterfaceId", eni), ("PrivateIpAddress.1", address)]
}

/// The addresses that packets find an interface at.
fn delivered(lab: &Lab, ms: u64, eni: &str) -> Vec<String> {
    let dataplane = lab.world.dataplane(at(ms));
    dataplane.interfaces[eni].addresses.iter().map(Ipv4Addr::to_string).collect()
}

#[test]
fn an_address_is_assigned_shown_and_moved_only_with_leave() {
    let mut lab = Lab::new(timings());
    let (a, c) = (lab.interfaces[0].clone(), neighbour(&mut lab));
    let answer = assign(&mut lab, 2_000, &a, FREE, false).unwrap();
    assert_eq!(texts(&answer, "privateIpAddress"), [FREE], "the reply names what was assigned");
    assign(&mut lab, 2_000, &a, FREE, false).expect("what it has already is no move");
    let ask = [("Filter.1.Name", "addresses.private-ip-address"), ("Filter.1.Value.1", FREE)];
    let answer = lab.call(2_000, "DescribeNetworkInterfaces", &ask).unwrap();
    let set = inside(&answer, "privateIpAddressesSet")[0];
    assert_eq!(texts(set, "privateIpAddress"), ["10.0.0.4", FREE]);
    assert_eq!(texts(set, "primary"), ["true", "false"]);
    let refused = assign(&mut lab, 2_000, &c, FREE, false).unwrap_err();
    assert_eq!(refused, "InvalidParameterValue: [10.0.0.50] assigned, but move is not allowed.");
    assert_eq!(delivered(&lab, 2_000, &a), ["10.0.0.4", FREE]);
    assign(&mut lab, 2_000, &c, FREE, true).unwrap();
    assert_eq!(delivered(&lab, 2_000, &a), ["10.0.0.4"]);
    assert_eq!(delivered(&lab, 2_000, &c), ["10.0.0.5", FREE]);
    let node = lab.world.instance_named("node-c").unwrap();
    let answer = lab.call(2_000, "DescribeInstances", &[("InstanceId.1", &node)]).unwrap();
    let set = inside(&answer, "privateIpAddressesSet")[0];
    assert_eq!(texts(set, "privateIpAddress"), ["10.0.0.5", FREE]);
}

#[test]
fn what_cannot_be_assigned_is_refused_and_nothing_is_assigned() {
    let mut lab = Lab::new(timings());
    let (a, c) = (lab.interfaces[0].clone(), neighbour(&mut lab));
    let mut refused = |address: &str| {
        let error = assign(&mut lab, 2_000, &c, address, true).unwrap_err();
        assert!(error.starts_with("InvalidParameterValue: "), "{address}: {error}");
        error
    };
    assert!(refused("10.0.0.4").contains("primary"), "another's primary address cannot be moved");
    refused("10.0.0.5");
    refused("10.0.2.50");
    refused("192.168.0.1");
    refused("10.0.0.3");
    refused("10.0.0.255");
    refused("x");
    let call = |extra: &[(&'static str, &'static str)], lab: &mut Lab| {
        let params = [&[("NetworkInterfaceId", c.as_str())], extra].concat();
        lab.code(2_000, "AssignPrivateIpAddresses", &params)
    };
    assert_eq!(call(&[], &mut lab), "MissingParameter");
    let both = [("PrivateIpAddress.1", FREE), ("SecondaryPrivateIpAddressCount", "1")];
    assert_eq!(call(&both, &mut lab), "InvalidParameterCombination");
    let dry = [("PrivateIpAddress.1", FREE), ("DryRun", "true")];
    assert_eq!(call(&dry, &mut lab), "UnknownParameter", "the call has no DryRun");
    let two = [("PrivateIpAddress.1", FREE), ("PrivateIpAddress.2", "10.0.2.9")];
    assert_eq!(call(&two, &mut lab), "InvalidParameterValue");
    assert_eq!(lab.world.private_addresses(&c).unwrap().len(), 1);
    assert_eq!(lab.world.private_addresses(&a).unwrap().len(), 1);
}

#[test]
fn an_elastic_address_moves_with_the_private_one_and_falls_off_with_it() {
    let mut lab = Lab::new(Timings { propagation_ms: 500, ..timings() });
    let (a, c) = (lab.interfaces[0].clone(), neighbour(&mut lab));
    lab.world.advance(at(3_000));
    assign(&mut lab, 3_000, &a, FREE, false).unwrap();
    let (eip, public) = lab.world.allocate_address(&[], at(3_000)).unwrap();
    let there =
        [("AllocationId", eip.as_str()), ("NetworkInterfaceId", &a), ("PrivateIpAddress", FREE)];
    lab.call(3_000, "AssociateAddress", &there).unwrap();
    assign(&mut lab, 5_000, &c, FREE, true).unwrap();
    let private: Ipv4Addr = FREE.parse().unwrap();
    assert_eq!(lab.world.address_at(&eip), Some((c.clone(), private)));
    let mapped = |lab: &Lab, ms, eni: &str| {
        lab.world.dataplane(at(ms)).interfaces[eni].public.get(&private).copied()
    };
    assert_eq!((mapped(&lab, 5_499, &a), mapped(&lab, 5_499, &c)), (Some(public), None));
    assert_eq!(delivered(&lab, 5_499, &a), ["10.0.0.4", FREE]);
    assert_eq!((mapped(&lab, 5_500, &a), mapped(&lab, 5_500, &c)), (None, Some(public)));
    assert_eq!(delivered(&lab, 5_500, &c), ["10.0.0.5", FREE]);
    let primary = lab.code(6_000, "UnassignPrivateIpAddresses", &take(&c, "10.0.0.5"));
    assert_eq!(primary, "InvalidParameterValue");
    let not_its_own = lab.call(6_000, "UnassignPrivateIpAddresses", &take(&a, FREE)).unwrap_err();
    let text = format!("Some of [{FREE}] are not assigned to interface {a}");
    assert_eq!((not_its_own.code.as_str(), not_its_own.message), ("InvalidParameterValue", text));
    lab.call(6_000, "UnassignPrivateIpAddresses", &take(&c, FREE)).unwrap();
    assert_eq!(lab.world.address_at(&eip), None, "it is allocated, and associated with nothing");
    assert_eq!(delivered(&lab, 6_500, &c), ["10.0.0.5"]);
}

#[test]
fn an_instance_with_an_elastic_address_on_a_secondary_one_gets_no_other_at_its_start() {
    let mut lab = Lab::new(timings());
    let (node, a) = (lab.nodes[0].clone(), lab.interfaces[0].clone());
    assign(&mut lab, 1_000, &a, FREE, false).unwrap();
    let (eip, public) = lab.world.allocate_address(&[], at(1_000)).unwrap();
    let there =
        [("AllocationId", eip.as_str()), ("NetworkInterfaceId", &a), ("PrivateIpAddress", FREE)];
    lab.call(1_000, "AssociateAddress", &there).unwrap();
    assert!(lab.world.public_address(&node).is_some());
    let one = [("InstanceId.1", node.as_str())];
    lab.call(2_000, "StopInstances", &one).unwrap();
    lab.world.advance(at(8_000));
    lab.call(9_000, "StartInstances", &one).unwrap();
    lab.world.advance(at(12_000));
    let left = lab.world.dataplane(at(12_000)).interfaces[&a].public.clone();
    assert_eq!(Vec::from_iter(left), [(FREE.parse().unwrap(), public)]);
}

#[test]
fn secondary_addresses_outlive_a_stop_and_are_free_after_a_termination() {
    let mut lab = Lab::new(timings());
    let (a, c) = (lab.interfaces[0].clone(), neighbour(&mut lab));
    assign(&mut lab, 1_000, &a, FREE, false).unwrap();
    let node = lab.nodes[0].clone();
    let one = [("InstanceId.1", node.as_str())];
    lab.call(2_000, "StopInstances", &one).unwrap();
    assert_eq!(lab.state(8_000, 0), "stopped");
    assert!(assign(&mut lab, 8_000, &c, FREE, false).is_err(), "a stopped one still has it");
    lab.call(8_000, "TerminateInstances", &one).unwrap();
    assert_eq!(lab.state(10_000, 0), "terminated");
    assign(&mut lab, 10_000, &c, FREE, false).unwrap();
}

#[test]
fn a_count_takes_free_addresses_and_the_rate_is_the_larger_one() {
    let mut lab = Lab::new(timings());
    let a = lab.interfaces[0].clone();
    let three = [("NetworkInterfaceId", &*a), ("SecondaryPrivateIpAddressCount", "3")];
    let answer = lab.call(2_000, "AssignPrivateIpAddresses", &three).unwrap();
    assert_eq!(texts(&answer, "privateIpAddress"), ["10.0.0.5", "10.0.0.6", "10.0.0.7"]);
    let served = (0..120).filter(|_| assign(&mut lab, 60_000, &a, FREE, true).is_ok()).count();
    assert_eq!(served, 100);
}

#[test]
fn the_instance_type_limits_the_private_addresses_of_an_interface() {
    let mut lab = Lab::new(timings());
    let (node, a) = (lab.nodes[0].clone(), lab.interfaces[0].clone());
    lab.call(2_000, "StopInstances", &[("InstanceId.1", &node)]).unwrap();
    assert_eq!(lab.state(8_000, 0), "stopped");
    let small = [("InstanceId", node.as_str()), ("InstanceType.Value", "t4g.micro")];
    lab.call(8_000, "ModifyInstanceAttribute", &small).unwrap();
    let two = [("NetworkInterfaceId", &*a), ("SecondaryPrivateIpAddressCount", "2")];
    let code = lab.code(9_000, "AssignPrivateIpAddresses", &two);
    assert_eq!(code, "PrivateIpAddressLimitExceeded");
    assign(&mut lab, 9_000, &a, FREE, false).unwrap();
    assign(&mut lab, 9_000, &a, FREE, false).unwrap();
    let refused = assign(&mut lab, 9_000, &a, "10.0.0.99", false).unwrap_err();
    assert!(refused.starts_with("PrivateIpAddressLimitExceeded"), "{refused}");
    assert_eq!(lab.world.private_addresses(&a).unwrap().len(), 2);
}

#[test]
fn a_virtual_address_is_routed_from_the_subnets_of_every_table_that_has_it() {
    let mut lab = Lab::new(Timings { propagation_ms: 500, ..timings() });
    lab.world.advance(at(3_000));
    let vip = "192.168.100.1/32";
    let block = vip.parse().unwrap();
    let [a, b] = lab.interfaces.clone();
    let main = [("Filter.1.Name", "association.subnet-id"), ("Filter.1.Value.1", &*lab.public)];
    let main = main.map(|(key, value)| (key, value.to_owned()));
    let main: Vec<(&str, &str)> = main.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let answer = lab.call(3_000, "DescribeRouteTables", &main).unwrap();
    let tables = [lab.table.clone(), texts(&answer, "routeTableId")[0].to_owned()];
    for table in &tables {
        lab.world.create_route(table, block, &RouteVia::Interface(a.clone()), at(3_000)).unwrap();
    }
    let leads = |lab: &Lab, ms| -> Vec<Target> {
        let dataplane = lab.world.dataplane(at(ms));
        dataplane.subnets.values().filter_map(|subnet| subnet.routes.get(&block).cloned()).collect()
    };
    let to = |eni: &str| Target::Interface(eni.to_owned());
    assert_eq!(leads(&lab, 3_500), vec![to(&a); 3], "two subnets share a table");
    let ask = [("Filter.1.Name", "route.destination-cidr-block"), ("Filter.1.Value.1", vip)];
    let answer = lab.call(3_500, "DescribeRouteTables", &ask).unwrap();
    assert_eq!(inside(&answer, "associationSet").len(), 2);
    for table in &tables {
        let params = [
            ("RouteTableId", table.as_str()),
            ("DestinationCidrBlock", vip),
            ("NetworkInterfaceId", &b),
        ];
        lab.call(4_000, "ReplaceRoute", &params).unwrap();
    }
    assert_eq!(leads(&lab, 4_499), vec![to(&a); 3]);
    assert_eq!(leads(&lab, 4_500), vec![to(&b); 3]);
    for refused in ["169.254.169.1/32", "169.254.168.0/22", "10.0.2.4/32"] {
        let params = [
            ("RouteTableId", tables[0].as_str()),
            ("DestinationCidrBlock", refused),
            ("NetworkInterfaceId", &b),
        ];
        assert_eq!(lab.code(5_000, "CreateRoute", &params), "InvalidParameterValue", "{refused}");
    }
}
