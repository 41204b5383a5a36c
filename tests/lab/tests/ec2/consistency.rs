use natha_lab::dataplane::Target;
use natha_lab::ec2::{Fault, FaultRule, Grant, Policy, Principal, Timings};

use super::scene::{Lab, at, texts, timings};

fn move_to(lab: &mut Lab, ms: u64, node: usize) -> Result<String, natha_lab::ec2::ApiError> {
    let (table, interface) = (lab.table.clone(), lab.interfaces[node].clone());
    let params = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("NetworkInterfaceId", &interface),
    ];
    lab.call(ms, "ReplaceRoute", &params)
}

fn in_force(lab: &Lab, ms: u64) -> Target {
    let dataplane = lab.world.dataplane(at(ms));
    let subnet = dataplane.subnets.values().find(|s| s.cidr.to_string() == "10.0.1.0/24").unwrap();
    subnet.routes[&"0.0.0.0/0".parse().unwrap()].clone()
}

fn shown(lab: &mut Lab, ms: u64) -> String {
    let table = lab.table.clone();
    let answer = lab.call(ms, "DescribeRouteTables", &[("RouteTableId.1", &table)]).unwrap();
    texts(&answer, "networkInterfaceId")[0].to_owned()
}

#[test]
fn packets_meet_a_route_only_after_it_has_propagated() {
    let mut lab = Lab::new(Timings { propagation_ms: 700, ..timings() });
    lab.world.advance(at(3_000));
    move_to(&mut lab, 3_000, 1).unwrap();
    let [a, b] = lab.interfaces.clone().map(Target::Interface);
    assert_eq!(shown(&mut lab, 3_000), lab.interfaces[1]);
    assert_eq!(in_force(&lab, 3_699), a);
    assert_eq!(lab.world.next_change(at(3_000)), Some(at(3_700)));
    assert_eq!(in_force(&lab, 3_700), b);
    let moved = lab.world.history().iter().find(|call| call.action == "ReplaceRoute").unwrap();
    assert_eq!((moved.at, moved.in_force), (at(3_000), Some(at(3_700))));
}

#[test]
fn stale_reads_show_the_past_and_writes_do_not() {
    let mut lab = Lab::new(timings());
    lab.world.faults_mut().add(FaultRule::on("Describe*", Fault::Stale { ms: 500 }));
    move_to(&mut lab, 2_000, 1).unwrap();
    assert_eq!(shown(&mut lab, 2_499), lab.interfaces[0]);
    assert_eq!(shown(&mut lab, 2_500), lab.interfaces[1]);
    assert_eq!(in_force(&lab, 2_000), Target::Interface(lab.interfaces[1].clone()));
}

#[test]
fn reads_that_lag_do_so_each_by_itself_and_for_no_longer_than_the_lag() {
    let mut lab = Lab::new(Timings { read_lag_ms: 10_000, ..timings() });
    move_to(&mut lab, 2_000, 1).unwrap();
    let seen: Vec<bool> =
        (2_000..12_000).step_by(100).map(|ms| shown(&mut lab, ms) == lab.interfaces[1]).collect();
    let back = seen.windows(2).filter(|two| two[0] && !two[1]).count();
    assert!(back > 5, "after a read that shows a change one does not: {seen:?}");
    assert!((30..70).contains(&seen.iter().filter(|new| **new).count()), "{seen:?}");
    for ms in (12_000..22_000).step_by(100) {
        assert_eq!(shown(&mut lab, ms), lab.interfaces[1]);
    }
}

#[test]
fn a_route_to_a_stopped_instance_leads_nowhere() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    lab.call(2_000, "StopInstances", &[("InstanceId.1", &node)]).unwrap();
    lab.world.advance(at(7_000));
    assert_eq!(in_force(&lab, 7_000), Target::Blackhole);
}

#[test]
fn calls_over_the_rate_are_refused_and_change_nothing() {
    let mut lab = Lab::new(timings());
    let outcomes: Vec<_> = (0..51).map(|n| move_to(&mut lab, 2_000, n % 2)).collect();
    let refused: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().err()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].code.as_str(), refused[0].status), ("RequestLimitExceeded", 503));
    move_to(&mut lab, 2_200, 0).expect("five tokens a second come back");
}

#[test]
fn faults_meet_only_the_chosen_caller() {
    let mut lab = Lab::new(timings());
    let node = Principal::Instance(lab.nodes[0].clone());
    let rule = |fault| FaultRule::on("DescribeVpcs", fault).by(node.clone()).times(1);
    for (fault, code, status) in [
        (Fault::Throttle, "RequestLimitExceeded", 503),
        (Fault::Deny, "UnauthorizedOperation", 403),
        (Fault::ServerError, "InternalError", 500),
    ] {
        lab.world.faults_mut().add(rule(fault));
        lab.call(2_000, "DescribeVpcs", &[]).expect("the operator meets no fault");
        let error = lab.call_as(&node, 2_000, "DescribeVpcs", &[]).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), (code, status));
        lab.call_as(&node, 2_000, "DescribeVpcs", &[]).expect("the fault was counted");
    }
}

#[test]
fn a_policy_limits_a_role_to_its_tables_and_shows_in_a_dry_run() {
    let mut lab = Lab::new(timings());
    let node = Principal::Instance(lab.nodes[0].clone());
    let allow = vec![Grant {
        actions: vec!["ReplaceRoute".into()],
        resources: Some([lab.table.clone()].into()),
        ..Grant::default()
    }];
    lab.world.set_policy(node.clone(), Some(Policy { allow }));
    let (table, interface) = (lab.table.clone(), lab.interfaces[1].clone());
    let base = [
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("NetworkInterfaceId", interface.as_str()),
        ("DryRun", "true"),
    ];
    let mut ask = |table: &str, action: &str| {
        let mut params = base.to_vec();
        params.push(("RouteTableId", table));
        lab.call_as(&node, 2_000, action, &params).unwrap_err().code
    };
    assert_eq!(ask(&table, "ReplaceRoute"), "DryRunOperation");
    assert_eq!(ask("rtb-00000000000000000", "ReplaceRoute"), "UnauthorizedOperation");
    assert_eq!(ask(&table, "DeleteRoute"), "UnauthorizedOperation");
}

#[test]
fn no_capacity_fails_a_start_and_leaves_the_instance_stopped() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    let one = [("InstanceId.1", node.as_str())];
    lab.call(2_000, "StopInstances", &one).unwrap();
    lab.world.faults_mut().add(FaultRule::on("StartInstances", Fault::NoCapacity));
    let error = lab.call(8_000, "StartInstances", &one).unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("InsufficientInstanceCapacity", 500));
    assert_eq!(lab.state(8_000, 0), "stopped");
    lab.world.faults_mut().add(FaultRule::on("StartInstances", Fault::HostFull));
    let error = lab.call(8_000, "StartInstances", &one).unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("InsufficientCapacityOnHost", 400));
    assert_eq!(lab.state(8_000, 0), "stopped");
}

#[test]
fn temporary_keys_are_renewed_before_they_end() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    let first = lab.world.credentials_for(&node, at(0)).unwrap();
    assert_eq!(lab.world.credentials_for(&node, at(1_000)), Some(first.clone()));
    let late = first.expires.unwrap().checked_sub(at(60_000)).unwrap();
    let second = lab.world.credentials_for(&node, late).unwrap();
    assert_ne!(first.access_key_id, second.access_key_id);
    assert!(second.session_token.is_some());
}
