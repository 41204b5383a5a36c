//! Elastic IP addresses.

use std::net::Ipv4Addr;

use natha_lab::ec2::{Fault, FaultRule, Grant, Policy, Principal, Timings};

use super::scene::{Lab, at, texts, timings};

/// Allocates an address and returns its allocation id.
fn allocate(lab: &mut Lab, ms: u64) -> String {
    let answer = lab.call(ms, "AllocateAddress", &[("Domain", "vpc")]).unwrap();
    texts(&answer, "allocationId")[0].to_owned()
}

fn associate(lab: &mut Lab, ms: u64, allocation: &str, node: usize) -> String {
    let interface = lab.interfaces[node].clone();
    let params = [("AllocationId", allocation), ("NetworkInterfaceId", &*interface)];
    let answer = lab.call(ms, "AssociateAddress", &params).unwrap();
    texts(&answer, "associationId")[0].to_owned()
}

/// The public addresses that packets meet on a node.
fn in_force(lab: &Lab, ms: u64, node: usize) -> Vec<Ipv4Addr> {
    let dataplane = lab.world.dataplane(at(ms));
    dataplane.interfaces[&lab.interfaces[node]].public.values().copied().collect()
}

fn shown(lab: &mut Lab, ms: u64, allocation: &str, tag: &str) -> Vec<String> {
    let params = [("AllocationId.1", allocation)];
    let answer = lab.call(ms, "DescribeAddresses", &params).unwrap();
    texts(&answer, tag).into_iter().map(str::to_owned).collect()
}

#[test]
fn an_address_moves_by_itself_and_the_one_it_displaces_is_free() {
    let mut lab = Lab::new(timings());
    let eip = allocate(&mut lab, 1_000);
    assert!(shown(&mut lab, 1_000, &eip, "associationId").is_empty());
    let first = associate(&mut lab, 1_000, &eip, 0);
    assert_eq!(associate(&mut lab, 1_000, &eip, 0), first, "the call is idempotent");
    let second = associate(&mut lab, 1_100, &eip, 1);
    assert_ne!(first, second);
    assert_eq!(shown(&mut lab, 1_100, &eip, "networkInterfaceId"), [lab.interfaces[1].clone()]);
    assert_eq!(shown(&mut lab, 1_100, &eip, "instanceId"), [lab.nodes[1].clone()]);
    assert_eq!(shown(&mut lab, 1_100, &eip, "privateIpAddress"), ["10.0.2.4"]);
    let other = allocate(&mut lab, 1_200);
    associate(&mut lab, 1_200, &other, 1);
    assert!(shown(&mut lab, 1_200, &eip, "associationId").is_empty());
    assert_eq!(shown(&mut lab, 1_200, &eip, "publicIp").len(), 1, "it stays allocated");
}

#[test]
fn without_leave_to_reassociate_only_the_same_place_is_taken() {
    let mut lab = Lab::new(timings());
    let eip = allocate(&mut lab, 1_000);
    let association = associate(&mut lab, 1_000, &eip, 0);
    let [a, b] = lab.interfaces.clone();
    let strict = ("AllowReassociation", "false");
    let here = [("AllocationId", &*eip), ("NetworkInterfaceId", &a), strict];
    lab.call(1_000, "AssociateAddress", &here).unwrap();
    let there = [("AllocationId", &*eip), ("NetworkInterfaceId", &b), strict];
    let error = lab.call(1_000, "AssociateAddress", &there).unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("Resource.AlreadyAssociated", 400));
    let text = format!("resource {eip} is already associated with associate-id {association}");
    assert_eq!(error.message, text);
    assert_eq!(lab.world.address_at(&eip).unwrap().0, a, "a refusal changes nothing");
}

#[test]
fn requests_that_ec2_refuses_are_refused_with_its_codes() {
    let mut lab = Lab::new(timings());
    let eip = allocate(&mut lab, 1_000);
    let (a, node) = (lab.interfaces[0].clone(), lab.nodes[0].clone());
    let (id, eni, host) =
        (("AllocationId", &*eip), ("NetworkInterfaceId", &*a), ("InstanceId", &*node));
    let unknown = ("AllocationId", "eipalloc-00000000000000000");
    let mut refused = |params: &[(&str, &str)]| lab.code(1_000, "AssociateAddress", params);
    assert_eq!(refused(&[eni]), "MissingParameter");
    assert_eq!(refused(&[id]), "MissingParameter");
    assert_eq!(refused(&[id, eni, host]), "InvalidParameterCombination");
    assert_eq!(refused(&[("PublicIp", "198.51.100.11"), host]), "InvalidParameterCombination");
    assert_eq!(refused(&[unknown, eni]), "InvalidAllocationID.NotFound");
    let not_its_own = ("PrivateIpAddress", "10.0.0.77");
    assert_eq!(refused(&[id, eni, not_its_own]), "InvalidParameterValue");
    let other = ("NetworkInterfaceId", "eni-00000000000000000");
    assert_eq!(refused(&[id, other]), "InvalidNetworkInterfaceID.NotFound");
    assert_eq!(refused(&[unknown, eni, ("DryRun", "true")]), "InvalidAllocationID.NotFound");
    assert_eq!(refused(&[id, eni, ("DryRun", "true")]), "DryRunOperation");
    assert_eq!(lab.world.address_at(&eip), None);
    let gone = [("AssociationId", "eipassoc-00000000000000000")];
    assert_eq!(lab.code(1_000, "DisassociateAddress", &gone), "InvalidAssociationID.NotFound");
    let ghost = [("AllocationId.1", "eipalloc-00000000000000000")];
    assert_eq!(lab.code(1_000, "DescribeAddresses", &ghost), "InvalidAllocationID.NotFound");
    let paged = [("MaxResults", "5")];
    assert_eq!(lab.code(1_000, "DescribeAddresses", &paged), "UnknownParameter");
}

#[test]
fn an_instance_stands_for_its_interface_only_where_it_has_one() {
    let mut lab = Lab::new(timings());
    let eip = allocate(&mut lab, 1_000);
    let node = lab.nodes[1].clone();
    let by_instance = [("AllocationId", &*eip), ("InstanceId", &*node)];
    lab.call(1_000, "AssociateAddress", &by_instance).unwrap();
    assert_eq!(lab.world.address_at(&eip).unwrap().0, lab.interfaces[1]);
    let block = "10.0.3.0/24".parse().unwrap();
    let subnet = lab.world.create_subnet(&lab.vpc, block, "eu-central-1b", at(1_000)).unwrap();
    lab.world.add_interface(&node, &subnet, 1, at(1_000)).unwrap();
    assert_eq!(lab.code(1_000, "AssociateAddress", &by_instance), "InvalidInstanceID");
}

#[test]
fn a_pending_instance_and_a_vpc_without_a_gateway_take_no_address() {
    let mut lab = Lab::new(timings());
    let eip = allocate(&mut lab, 1_000);
    let (node, a) = (lab.nodes[0].clone(), lab.interfaces[0].clone());
    let one = [("InstanceId.1", &*node)];
    lab.call(2_000, "StopInstances", &one).unwrap();
    lab.call(8_000, "StartInstances", &one).unwrap();
    let by_interface = [("AllocationId", &*eip), ("NetworkInterfaceId", &*a)];
    let error = lab.call(8_000, "AssociateAddress", &by_interface).unwrap_err();
    assert_eq!(error.code, "IncorrectInstanceState");
    assert!(error.message.contains(&format!("to which '{a}' is attached")), "{}", error.message);
    let by_instance = [("AllocationId", &*eip), ("InstanceId", &*node)];
    let error = lab.call(8_000, "AssociateAddress", &by_instance).unwrap_err();
    assert_eq!(error.code, "InvalidInstanceID");
    let text = format!("The pending instance '{node}' is not in a valid state for this operation.");
    assert_eq!(error.message, text);
    lab.call(9_000, "AssociateAddress", &by_interface).expect("it runs by now");
    let vpc = lab.world.create_vpc("10.9.0.0/16".parse().unwrap(), at(9_000)).unwrap();
    let block = "10.9.0.0/24".parse().unwrap();
    let subnet = lab.world.create_subnet(&vpc, block, "eu-central-1a", at(9_000)).unwrap();
    let made = lab.call(9_000, "CreateNetworkInterface", &[("SubnetId", &subnet)]).unwrap();
    let interface = texts(&made, "networkInterfaceId")[0].to_owned();
    let there = [("AllocationId", &*eip), ("NetworkInterfaceId", &*interface)];
    let error = lab.call(9_000, "AssociateAddress", &there).unwrap_err();
    assert_eq!(error.code, "Gateway.NotAttached");
    assert_eq!(error.message, format!("Network {vpc} is not attached to any internet gateway"));
}

#[test]
fn packets_meet_an_address_where_it_was_until_the_move_has_propagated() {
    let mut lab = Lab::new(Timings { propagation_ms: 700, ..timings() });
    let eip = allocate(&mut lab, 2_000);
    let public: Ipv4Addr = shown(&mut lab, 2_000, &eip, "publicIp")[0].parse().unwrap();
    let [own_a, own_b] = [0, 1].map(|node| in_force(&lab, 2_000, node));
    associate(&mut lab, 3_000, &eip, 0);
    assert_eq!(in_force(&lab, 3_699, 0), own_a, "the address that it displaces serves on");
    assert_eq!(in_force(&lab, 3_700, 0), [public]);
    associate(&mut lab, 5_000, &eip, 1);
    assert_eq!(lab.world.next_change(at(5_000)), Some(at(5_700)));
    assert_eq!((in_force(&lab, 5_699, 0), in_force(&lab, 5_699, 1)), (vec![public], own_b));
    assert_eq!(in_force(&lab, 5_700, 1), [public]);
    let left = in_force(&lab, 5_700, 0);
    assert_eq!(left.len(), 1, "EC2 gives the node that lost it another address");
    assert!(left != own_a && left != [public]);
    let moved = lab.world.history().last().unwrap();
    assert_eq!((moved.at, moved.in_force), (at(5_000), Some(at(5_700))));
}

#[test]
fn the_move_of_an_address_can_take_another_time_than_the_rest() {
    let timings = Timings { propagation_ms: 700, elastic_ms: Some(3_000), ..timings() };
    let mut lab = Lab::new(timings);
    let eip = allocate(&mut lab, 2_000);
    let public: Ipv4Addr = shown(&mut lab, 2_000, &eip, "publicIp")[0].parse().unwrap();
    let own = in_force(&lab, 2_000, 0);
    associate(&mut lab, 3_000, &eip, 0);
    assert_eq!(in_force(&lab, 5_999, 0), own);
    assert_eq!(lab.world.next_change(at(5_000)), Some(at(6_000)));
    assert_eq!(in_force(&lab, 6_000, 0), [public]);
    assert_eq!(lab.world.history().last().unwrap().in_force, Some(at(6_000)));
}

#[test]
fn an_address_outlives_a_stop_and_is_free_after_a_termination() {
    let mut lab = Lab::new(timings());
    let eip = allocate(&mut lab, 1_000);
    associate(&mut lab, 1_000, &eip, 0);
    let public: Ipv4Addr = shown(&mut lab, 1_000, &eip, "publicIp")[0].parse().unwrap();
    let one = [("InstanceId.1", lab.nodes[0].clone())];
    let one: Vec<(&str, &str)> = one.iter().map(|(k, v)| (*k, v.as_str())).collect();
    lab.call(2_000, "StopInstances", &one).unwrap();
    assert_eq!(lab.state(8_000, 0), "stopped");
    assert_eq!(shown(&mut lab, 8_000, &eip, "instanceId"), [lab.nodes[0].clone()]);
    lab.call(8_000, "StartInstances", &one).unwrap();
    let answer = lab.call(9_500, "DescribeInstances", &one).unwrap();
    assert_eq!(texts(&answer, "ipAddress"), [public.to_string()]);
    assert_eq!(in_force(&lab, 9_500, 0), [public]);
    lab.call(10_000, "TerminateInstances", &one).unwrap();
    assert_eq!(lab.state(12_000, 0), "terminated");
    assert!(shown(&mut lab, 12_000, &eip, "associationId").is_empty());
    associate(&mut lab, 12_000, &eip, 1);
    assert_eq!(in_force(&lab, 12_000, 1), [public]);
}

#[test]
fn a_disassociated_address_is_free_and_listings_find_it_by_every_filter() {
    let mut lab = Lab::new(timings());
    let eip = allocate(&mut lab, 1_000);
    allocate(&mut lab, 1_000);
    let association = associate(&mut lab, 1_000, &eip, 0);
    lab.call(
        1_000,
        "CreateTags",
        &[("ResourceId.1", &eip), ("Tag.1.Key", "k"), ("Tag.1.Value", "v")],
    )
    .unwrap();
    let public = shown(&mut lab, 1_000, &eip, "publicIp")[0].clone();
    let (node, eni) = (lab.nodes[0].clone(), lab.interfaces[0].clone());
    let mut found = |filter: &str, value: &str| {
        let params = [("Filter.1.Name", filter), ("Filter.1.Value.1", value)];
        let answer = lab.call(1_000, "DescribeAddresses", &params).unwrap();
        texts(&answer, "allocationId").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (filter, value) in [
        ("allocation-id", &*eip),
        ("association-id", &association),
        ("public-ip", &public),
        ("private-ip-address", "10.0.0.4"),
        ("network-interface-id", &eni),
        ("instance-id", &node),
        ("tag:k", "v"),
    ] {
        assert_eq!(found(filter, value), [eip.as_str()], "{filter}");
    }
    assert!(found("private-ip-address", "10.0.0.5").is_empty());
    let answer = lab.call(1_000, "DescribeAddresses", &[("PublicIp.1", &public)]).unwrap();
    assert_eq!(texts(&answer, "allocationId"), [eip.as_str()]);
    let ask = [("NetworkInterfaceId.1", eni.as_str())];
    let answer = lab.call(1_000, "DescribeNetworkInterfaces", &ask).unwrap();
    assert_eq!(texts(&answer, "associationId").first(), Some(&&*association));
    lab.call(1_000, "DisassociateAddress", &[("AssociationId", &association)]).unwrap();
    assert_eq!(lab.world.address_at(&eip), None);
    assert_eq!(in_force(&lab, 1_000, 0).len(), 1, "EC2 gives the node another address");
    let again = [("AssociationId", association.as_str())];
    assert_eq!(lab.code(1_000, "DisassociateAddress", &again), "InvalidAssociationID.NotFound");
}

#[test]
fn rates_faults_stale_reads_and_permissions_hold_for_addresses_too() {
    let mut lab = Lab::new(timings());
    let eip = allocate(&mut lab, 1_000);
    let node = Principal::Instance(lab.nodes[0].clone());
    let [a, b] = lab.interfaces.clone();
    let allow = vec![Grant {
        actions: vec!["AssociateAddress".into(), "DisassociateAddress".into()],
        resources: Some([eip.clone(), a.clone()].into()),
        ..Grant::default()
    }];
    lab.world.set_policy(node.clone(), Some(Policy { allow }));
    let to = |eni| [("AllocationId", &*eip), ("NetworkInterfaceId", eni)];
    let denied = lab.call_as(&node, 2_000, "AssociateAddress", &to(&b)).unwrap_err();
    assert_eq!((denied.code.as_str(), denied.status), ("UnauthorizedOperation", 403));
    let made = lab.call_as(&node, 2_000, "AssociateAddress", &to(&a)).unwrap();
    let association = texts(&made, "associationId")[0].to_owned();
    lab.world.faults_mut().add(FaultRule::on("DescribeAddresses", Fault::Stale { ms: 500 }));
    assert!(shown(&mut lab, 2_499, &eip, "associationId").is_empty());
    let seen = shown(&mut lab, 2_500, &eip, "associationId");
    assert_eq!(seen, std::slice::from_ref(&association));
    let it = [("AssociationId", association.as_str())];
    lab.call_as(&node, 3_000, "DisassociateAddress", &it).expect("allowed by the address's id");
    lab.world.faults_mut().add(FaultRule::on("AssociateAddress", Fault::Throttle).times(1));
    assert_eq!(lab.code(30_000, "AssociateAddress", &to(&a)), "RequestLimitExceeded");
    let served = |lab: &mut Lab, ms| {
        let outcomes = [&a, &b].into_iter().cycle().take(60);
        outcomes.filter(|eni| lab.call(ms, "AssociateAddress", &to(eni)).is_ok()).count()
    };
    assert_eq!(served(&mut lab, 60_000), 50);
    assert_eq!(served(&mut lab, 62_000), 10);
}

#[test]
fn an_allocated_address_is_given_to_nobody_else() {
    let mut lab = Lab::new(timings());
    let mut seen = std::collections::BTreeSet::new();
    for node in 0..2 {
        seen.extend(in_force(&lab, 1_000, node));
    }
    // The pool has 254 addresses, and the two nodes have two of them.
    for n in 0..252 {
        let (_, address) = lab.world.allocate_address(&[], at(1_000)).unwrap();
        assert!(seen.insert(address), "{address} was given twice, at {n}");
    }
    let error = lab.world.allocate_address(&[], at(1_000)).unwrap_err();
    assert_eq!(error.code, "InsufficientAddressCapacity");
}
