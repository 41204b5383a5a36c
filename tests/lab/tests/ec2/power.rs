use natha_lab::dataplane::Power;
use natha_lab::ec2::{InstanceSpec, Phase};

use super::scene::{Lab, at, texts, timings};

fn one(id: &str) -> [(&str, &str); 1] {
    [("InstanceId.1", id)]
}

fn power(lab: &Lab, ms: u64) -> Power {
    lab.world.dataplane(at(ms)).instances[&lab.nodes[0]].power
}

#[test]
fn stopping_and_starting_take_their_time() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    let answer = lab.call(2_000, "StopInstances", &one(&node)).unwrap();
    assert_eq!(texts(&answer, "name"), ["stopping", "running"]);
    assert_eq!(power(&lab, 2_000), Power::ShuttingDown);
    assert_eq!(lab.world.next_change(at(2_000)), Some(at(7_000)));
    assert_eq!(lab.state(6_999, 0), "stopping");
    assert_eq!(lab.code(6_999, "StartInstances", &one(&node)), "IncorrectInstanceState");
    assert_eq!(lab.state(7_000, 0), "stopped");
    assert_eq!(power(&lab, 7_000), Power::Off);
    lab.call(8_000, "StartInstances", &one(&node)).unwrap();
    assert_eq!((lab.state(8_999, 0).as_str(), power(&lab, 8_999)), ("pending", Power::Off));
    assert_eq!((lab.state(9_000, 0).as_str(), power(&lab, 9_000)), ("running", Power::On));
    assert_eq!(lab.world.dataplane(at(9_000)).instances[&node].boot, 2);
}

#[test]
fn calls_in_the_wrong_state_are_refused_in_ec2s_words() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    lab.call(2_000, "StopInstances", &one(&node)).unwrap();
    let error = lab.call(2_000, "StartInstances", &one(&node)).unwrap_err();
    assert_eq!(
        error.message,
        format!("The instance '{node}' is not in a state from which it can be started.")
    );
    assert_eq!(lab.code(8_000, "RebootInstances", &one(&node)), "IncorrectInstanceState");
    assert_eq!(lab.state(8_000, 0), "stopped", "a reboot must not start a stopped instance");
    let repeated = lab.call(8_000, "StopInstances", &one(&node)).unwrap();
    assert_eq!(texts(&repeated, "name"), ["stopped", "stopped"]);
    lab.call(9_000, "TerminateInstances", &one(&node)).unwrap();
    let error = lab.call(12_000, "StopInstances", &one(&node)).unwrap_err();
    assert_eq!(
        error.message,
        format!("This instance '{node}' is not in a state from which it can be stopped.")
    );
    assert_eq!(lab.code(12_000, "StartInstances", &one(&node)), "IncorrectInstanceState");
}

#[test]
fn a_pending_instance_can_be_stopped_if_it_has_run_before() {
    let mut lab = Lab::new(timings());
    let (node, subnet) = (lab.nodes[0].clone(), lab.public.clone());
    lab.call(2_000, "StopInstances", &one(&node)).unwrap();
    lab.call(8_000, "StartInstances", &one(&node)).unwrap();
    let answer = lab.call(8_500, "StopInstances", &one(&node)).unwrap();
    assert_eq!(texts(&answer, "name"), ["stopping", "pending"]);
    assert_eq!(power(&lab, 8_500), Power::Off, "nothing has booted");
    assert_eq!(lab.state(13_499, 0), "stopping");
    assert_eq!(lab.state(13_500, 0), "stopped");
    lab.call(14_000, "StartInstances", &one(&node)).unwrap();
    assert_eq!((lab.state(15_000, 0).as_str(), power(&lab, 15_000)), ("running", Power::On));
    let new = lab.world.run_instance(&InstanceSpec::new("new", &subnet), at(16_000)).unwrap();
    assert_eq!(lab.code(16_500, "StopInstances", &one(&new)), "IncorrectInstanceState");
}

#[test]
fn one_wrong_instance_fails_the_whole_call() {
    let mut lab = Lab::new(timings());
    let [a, b] = lab.nodes.clone();
    lab.call(2_000, "TerminateInstances", &one(&b)).unwrap();
    let both = [("InstanceId.1", a.as_str()), ("InstanceId.2", &b)];
    assert_eq!(lab.code(4_000, "StopInstances", &both), "IncorrectInstanceState");
    assert_eq!(lab.state(4_000, 0), "running");
}

#[test]
fn force_is_quicker_and_skipping_the_shutdown_cuts_the_power() {
    for (option, expected) in [("Force", Power::ShuttingDown), ("SkipOsShutdown", Power::Off)] {
        let mut lab = Lab::new(timings());
        let node = lab.nodes[0].clone();
        let params = [("InstanceId.1", node.as_str()), (option, "true")];
        lab.call(2_000, "StopInstances", &params).unwrap();
        assert_eq!(power(&lab, 2_000), expected, "{option}");
        assert_eq!(lab.state(3_000, 0), "stopped", "{option}");
    }
}

#[test]
fn a_forced_stop_shortens_one_that_hangs() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    lab.call(2_000, "StopInstances", &one(&node)).unwrap();
    let force = [("InstanceId.1", node.as_str()), ("Force", "true")];
    lab.call(2_500, "StopInstances", &force).unwrap();
    assert_eq!(lab.state(3_500, 0), "stopped");
}

#[test]
fn the_reason_tells_who_stopped_it() {
    let reason = |lab: &mut Lab, ms: u64| {
        let id = lab.nodes[0].clone();
        let answer = lab.call(ms, "DescribeInstances", &one(&id)).unwrap();
        let inside = super::scene::inside(&answer, "stateReason");
        texts(inside[0], "code")[0].to_owned()
    };
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    lab.call(2_000, "StopInstances", &one(&node)).unwrap();
    assert_eq!(reason(&mut lab, 8_000), "Client.UserInitiatedShutdown");
    let mut lab = Lab::new(timings());
    lab.world.guest_shut_down(&node, at(2_000));
    assert_eq!(lab.world.phase(&node), Some(Phase::Stopping));
    assert_eq!(power(&lab, 2_000), Power::Off);
    assert_eq!(reason(&mut lab, 8_000), "Client.InstanceInitiatedShutdown");
    let mut lab = Lab::new(timings());
    lab.world.stop_by_service(&node, at(2_000)).unwrap();
    assert!(reason(&mut lab, 8_000).starts_with("Server."));
}

#[test]
fn a_guest_that_reboots_keeps_its_state_and_one_that_is_stopping_does_not_come_up() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    let boot = |lab: &Lab, ms: u64| lab.world.dataplane(at(ms)).instances[&lab.nodes[0]].boot;
    let before = boot(&lab, 2_000);
    lab.world.guest_reboots(&node, at(2_000));
    assert_eq!((lab.world.phase(&node), boot(&lab, 2_000)), (Some(Phase::Running), before + 1));
    assert_eq!(power(&lab, 2_000), Power::On);
    lab.call(3_000, "StopInstances", &one(&node)).unwrap();
    lab.world.guest_reboots(&node, at(3_000));
    assert_eq!((power(&lab, 3_000), boot(&lab, 3_000)), (Power::Off, before + 1));
}

#[test]
fn protection_keeps_an_instance_from_being_stopped() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    let protect = [("InstanceId", node.as_str()), ("DisableApiStop.Value", "true")];
    lab.call(2_000, "ModifyInstanceAttribute", &protect).unwrap();
    assert_eq!(lab.code(2_000, "StopInstances", &one(&node)), "OperationNotPermitted");
    assert_eq!(lab.state(2_000, 0), "running");
}

#[test]
fn a_stop_keeps_the_elastic_address_and_loses_the_automatic_one() {
    let mut lab = Lab::new(timings());
    let [a, b] = lab.nodes.clone();
    let first = lab.world.public_address(&a).expect("a running node has a public address");
    let elastic = lab.world.give_elastic_address(&lab.interfaces[1], at(1_500)).unwrap();
    let both = [("InstanceId.1", a.as_str()), ("InstanceId.2", &b)];
    lab.call(2_000, "StopInstances", &both).unwrap();
    lab.world.advance(at(8_000));
    assert_eq!(lab.world.public_address(&a), None);
    assert_eq!(lab.world.public_address(&b), Some(elastic));
    let private = lab.world.dataplane(at(8_000)).interfaces[&lab.interfaces[0]].addresses.clone();
    lab.call(9_000, "StartInstances", &both).unwrap();
    lab.world.advance(at(10_000));
    assert!(lab.world.public_address(&a).is_some_and(|second| second != first));
    assert_eq!(lab.world.public_address(&b), Some(elastic));
    let after = &lab.world.dataplane(at(10_000)).interfaces[&lab.interfaces[0]].addresses;
    assert_eq!(*after, private);
}

#[test]
fn an_instance_with_a_second_interface_starts_without_a_public_address_unless_that_is_elastic() {
    let mut lab = Lab::new(timings());
    let [a, b] = lab.nodes.clone();
    let elastic = lab.world.give_elastic_address(&lab.interfaces[1], at(1_500)).unwrap();
    for node in [&a, &b] {
        let shown = lab.call(1_600, "DescribeInstances", &one(node)).unwrap();
        let subnet = texts(&shown, "subnetId")[0].to_owned();
        let made = lab.call(1_600, "CreateNetworkInterface", &[("SubnetId", &subnet)]).unwrap();
        let interface = texts(&made, "networkInterfaceId")[0].to_owned();
        let to = [("InstanceId", node.as_str()), ("DeviceIndex", "1")];
        let attach = [to[0], to[1], ("NetworkInterfaceId", &interface)];
        lab.call(1_700, "AttachNetworkInterface", &attach).unwrap();
    }
    assert!(lab.world.public_address(&a).is_some(), "until it stops");
    let both = [("InstanceId.1", a.as_str()), ("InstanceId.2", &b)];
    lab.call(2_000, "StopInstances", &both).unwrap();
    lab.world.advance(at(8_000));
    lab.call(9_000, "StartInstances", &both).unwrap();
    lab.world.advance(at(10_000));
    assert_eq!(lab.world.public_address(&a), None);
    assert_eq!(lab.world.public_address(&b), Some(elastic));
}

#[test]
fn status_lists_running_instances_unless_all_are_asked_for() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    lab.call(2_000, "StopInstances", &one(&node)).unwrap();
    let answer = lab.call(8_000, "DescribeInstanceStatus", &[]).unwrap();
    assert_eq!(texts(&answer, "instanceId"), [lab.nodes[1].as_str()]);
    let all = [("IncludeAllInstances", "true")];
    let answer = lab.call(8_000, "DescribeInstanceStatus", &all).unwrap();
    assert_eq!(texts(&answer, "instanceId").len(), 2);
    assert!(texts(&answer, "status").contains(&"not-applicable"));
}

#[test]
fn a_guest_that_gives_no_sign_of_life_fails_its_status_check_after_two_minutes() {
    let mut lab = Lab::new(timings());
    let node = lab.nodes[0].clone();
    let guest = |lab: &mut Lab, at_ms: u64| {
        let answer = lab.call(at_ms, "DescribeInstanceStatus", &one(&node)).unwrap();
        let checks = texts(&answer, "status");
        checks.iter().filter(|check| **check == "impaired").count()
    };
    assert_eq!(guest(&mut lab, 5_000), 0);
    lab.world.lose_sight(&["node-a".to_owned()].into(), at(10_000));
    assert_eq!(guest(&mut lab, 129_999), 0);
    assert_eq!(guest(&mut lab, 130_000), 1, "its own check, not its host's");
    lab.world.lose_sight(&["node-a".to_owned(), "node-b".to_owned()].into(), at(131_000));
    assert_eq!(guest(&mut lab, 132_000), 1, "still since the first loss");
    lab.world.lose_sight(&["node-b".to_owned()].into(), at(133_000));
    assert_eq!(guest(&mut lab, 134_000), 0);
}
