//! The observer finds what is planted in a made-up history, and nothing in a sound one.

use std::time::Duration;

use super::facts::{Cast, Fact, Member, Phase, Seen};
use super::observer::{Observer, Rule};
use super::pace::Pace;
use crate::daemon::shared::{Happening, Power};
use crate::ec2::{CallRecord, Principal};
use crate::net::faults::{Block, NetFaults, Traffic};

/// A made-up history of a cluster of nodes `nat-a` and so on, with as many tables, that has been
/// well for long.
struct Past {
    observer: Observer,
    now: Duration,
}

impl Past {
    fn of(nodes: usize) -> Self {
        let member = |n: usize| Member {
            name: super::schedule::node_name(n),
            instance: format!("i-{n}"),
            interface: format!("eni-{n}"),
        };
        let tables = (0..nodes).map(|n| format!("rtb-{n}")).collect();
        let cast = Cast { nodes: (0..nodes).map(member).collect(), tables };
        let now = Duration::from_secs(10);
        let mut past = Self { observer: Observer::new(cast, Pace::quick(), now), now };
        past.pass(100);
        for zone in 0..nodes {
            past.see(Seen::Ping(zone, true));
        }
        past.see(Seen::Phase(Phase::Storm));
        past
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn see(&mut self, what: Seen) {
        self.observer.see(&Fact { at: self.now, what });
    }

    fn call(&mut self, principal: Principal, action: &str, params: &str, error: Option<&str>) {
        self.see(Seen::Call(CallRecord {
            at: self.now,
            principal,
            action: action.to_owned(),
            params: params.to_owned(),
            error: error.map(str::to_owned),
            unanswered: false,
            in_force: None,
        }));
    }

    fn by(&mut self, node: usize, action: &str, params: &str) {
        self.call(Principal::Instance(format!("i-{node}")), action, params, None);
    }

    fn person(&mut self, action: &str, params: &str) {
        self.call(Principal::Operator, action, params, None);
    }

    fn write(&mut self, by: usize, table: usize, to: usize) {
        let params = format!(
            "DestinationCidrBlock=0.0.0.0/0 NetworkInterfaceId=eni-{to} RouteTableId=rtb-{table}"
        );
        self.by(by, "ReplaceRoute", &params);
    }

    fn stop(&mut self, by: usize, node: usize) {
        self.by(by, "StopInstances", &format!("InstanceId.1=i-{node}"));
    }

    fn power(&mut self, node: usize, power: Power) {
        let host = super::schedule::node_name(node);
        self.see(Seen::Event(Happening::Power { host, power, boot: 1 }));
    }

    /// Blocks everything between the first two nodes.
    fn part(&mut self) {
        let block = |from: &str, to: &str| Block {
            from: from.to_owned(),
            to: to.to_owned(),
            what: Traffic::All,
        };
        let blocks = [block("nat-a", "nat-b"), block("nat-b", "nat-a")].into();
        let faults = NetFaults { blocks, ..NetFaults::default() };
        self.see(Seen::Event(Happening::Faults(faults)));
    }

    fn rules(&self) -> Vec<Rule> {
        self.observer.violations().iter().map(|violation| violation.rule).collect()
    }
}

/// nat-a panics; nat-b covers for it, has it stopped and started, and hands its route back.
fn repaired(past: &mut Past) {
    past.power(0, Power::Panicked);
    past.pass(1);
    past.write(1, 0, 1);
    past.pass(25);
    past.stop(1, 0);
    past.pass(3);
    past.power(0, Power::Off);
    past.by(1, "StartInstances", "InstanceId.1=i-0");
    past.pass(3);
    past.power(0, Power::On);
    past.pass(9);
    past.write(1, 0, 0);
}

#[test]
fn a_takeover_a_repair_and_a_hand_back_break_no_rule_and_are_counted() {
    let mut past = Past::of(2);
    repaired(&mut past);
    assert_eq!(past.rules(), []);
    assert!(past.observer.is_home());
    let counts = past.observer.counts();
    assert_eq!((counts.takeovers, counts.repairs, counts.hand_backs), (1, 1, 1));
}

#[test]
fn a_stop_of_a_well_node_is_found_also_where_it_cannot_be_heard() {
    let mut past = Past::of(2);
    past.part();
    past.pass(1);
    past.write(1, 0, 1);
    past.pass(40);
    past.stop(1, 0);
    assert_eq!(past.rules(), [Rule::WellStopped]);
}

#[test]
fn a_stop_of_a_node_that_answers_is_found_also_without_its_monitor() {
    let mut past = Past::of(2);
    past.see(Seen::Monitor(0, false));
    past.pass(20);
    past.write(1, 0, 1);
    past.pass(20);
    past.stop(1, 0);
    assert_eq!(past.rules(), [Rule::WellStopped]);
}

#[test]
fn a_node_that_was_well_for_a_moment_only_may_be_stopped_by_mistake() {
    let mut past = Past::of(2);
    past.power(0, Power::Frozen);
    past.pass(1);
    past.write(1, 0, 1);
    past.pass(25);
    past.power(0, Power::On);
    past.pass(2);
    past.stop(1, 0);
    assert_eq!(past.rules(), []);
}

#[test]
fn a_stop_of_a_node_that_a_route_leads_to_is_found() {
    let mut past = Past::of(2);
    past.power(0, Power::Panicked);
    past.pass(30);
    past.stop(1, 0);
    assert_eq!(past.rules(), [Rule::ServingStopped]);
}

#[test]
fn the_second_stop_of_two_is_found_and_so_is_a_stopped_stopper() {
    let mut past = Past::of(2);
    past.power(0, Power::Panicked);
    past.pass(1);
    past.write(1, 0, 1);
    past.power(1, Power::Panicked);
    past.write(0, 0, 0);
    past.write(0, 1, 0);
    past.pass(1);
    past.write(1, 0, 1);
    past.write(1, 1, 1);
    past.pass(1);
    past.stop(1, 0);
    past.write(0, 0, 0);
    past.write(0, 1, 0);
    past.pass(20);
    past.stop(0, 1);
    assert_eq!(past.rules(), [Rule::StoppedStops, Rule::LastNat]);
}

#[test]
fn a_stop_of_the_last_node_that_forwards_is_found() {
    let mut past = Past::of(2);
    past.part();
    past.person("StopInstances", "InstanceId.1=i-1");
    past.pass(1);
    past.stop(1, 0);
    let rules = past.rules();
    assert!(rules.contains(&Rule::LastNat), "{rules:?}");
}

#[test]
fn a_start_of_what_a_person_stopped_is_found() {
    let mut past = Past::of(2);
    past.person("StopInstances", "InstanceId.1=i-0");
    past.pass(3);
    past.power(0, Power::Off);
    past.by(1, "StartInstances", "InstanceId.1=i-0");
    assert_eq!(past.rules(), [Rule::PersonsStop]);
}

#[test]
fn changes_of_what_is_not_nathas_are_found() {
    let everywhere = "DestinationCidrBlock=0.0.0.0/0";
    for (action, params) in [
        ("ReplaceRoute", format!("{everywhere} NetworkInterfaceId=eni-1 RouteTableId=rtb-x")),
        ("ReplaceRoute", format!("{everywhere} NetworkInterfaceId=eni-x RouteTableId=rtb-1")),
        ("ReplaceRoute", format!("{everywhere} GatewayId=igw-1 RouteTableId=rtb-1")),
        (
            "CreateRoute",
            "DestinationCidrBlock=10.9.0.0/16 NetworkInterfaceId=eni-1 RouteTableId=rtb-1".into(),
        ),
        ("DeleteRoute", format!("{everywhere} RouteTableId=rtb-1")),
        ("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId=eni-0".into()),
        ("TerminateInstances", "InstanceId.1=i-0".into()),
    ] {
        let mut past = Past::of(2);
        past.by(1, action, &params);
        assert_eq!(past.rules(), [Rule::NotItsOwn], "{action} {params}");
    }
}

#[test]
fn a_route_taken_from_what_a_person_chose_is_found_once_everybody_could_see_it() {
    let mut past = Past::of(2);
    let away = "DestinationCidrBlock=0.0.0.0/0 GatewayId=igw-1 RouteTableId=rtb-0";
    past.person("ReplaceRoute", away);
    past.pass(2);
    past.write(0, 0, 0);
    assert_eq!(past.rules(), [], "it was written before anybody could see the change");
    past.person("ReplaceRoute", away);
    past.pass(15);
    past.write(0, 0, 0);
    assert_eq!(past.rules(), [Rule::ForeignTaken]);
}

#[test]
fn a_theft_among_the_living_is_found_but_no_takeover_after_a_disturbance() {
    let mut past = Past::of(2);
    past.write(1, 0, 1);
    assert_eq!(past.rules(), [Rule::Robbed]);
    for disturbed in 0..5 {
        let mut past = Past::of(2);
        match disturbed {
            0 => past.part(),
            1 => past.see(Seen::Api(1, false)),
            2 => past.see(Seen::Monitor(0, false)),
            3 => past.see(Seen::Order(0)),
            _ => past.see(Seen::Stall(Duration::from_secs(1))),
        }
        past.write(1, 0, 1);
        assert_eq!(past.rules(), [], "{disturbed}");
    }
}

#[test]
fn a_private_host_that_nobody_serves_is_found_unless_nobody_can() {
    let mut past = Past::of(2);
    past.power(0, Power::Panicked);
    past.pass(30);
    past.see(Seen::Ping(0, false));
    assert_eq!(past.rules(), [], "there is time left");
    past.pass(30);
    past.see(Seen::Ping(0, false));
    assert_eq!(past.rules(), [Rule::Unserved]);
    let mut past = Past::of(2);
    past.power(0, Power::Panicked);
    past.see(Seen::Api(1, false));
    past.pass(60);
    past.see(Seen::Ping(0, false));
    assert_eq!(past.rules(), []);
}

#[test]
fn a_node_that_dies_after_a_deed_while_it_was_cut_off_is_covered_when_its_status_check_fails() {
    let mut past = Past::of(2);
    past.part();
    past.write(1, 0, 1);
    past.pass(1);
    past.write(0, 0, 0);
    past.power(0, Power::Panicked);
    past.see(Seen::Event(Happening::Faults(NetFaults::default())));
    past.pass(80);
    past.see(Seen::Ping(0, false));
    assert_eq!(past.rules(), [], "for all that its peer can tell, it lives");
    past.pass(80);
    past.see(Seen::Ping(0, false));
    assert_eq!(past.rules(), [Rule::Unserved]);
}

#[test]
fn a_change_or_a_lost_ping_at_rest_is_found() {
    let mut past = Past::of(2);
    repaired(&mut past);
    past.pass(60);
    past.see(Seen::Ping(1, true));
    past.see(Seen::Phase(Phase::Rest));
    past.pass(5);
    past.write(0, 0, 0);
    past.see(Seen::Ping(1, false));
    assert_eq!(past.rules(), [Rule::NoRest, Rule::LostAtRest]);
}

#[test]
fn a_stormer_of_ec2_is_found() {
    let mut past = Past::of(2);
    for _ in 0..70 {
        past.now += Duration::from_millis(500);
        let refused = Some("RequestLimitExceeded");
        past.call(Principal::Instance("i-0".into()), "ReplaceRoute", "", refused);
    }
    assert_eq!(past.rules(), [Rule::TooMany], "changes");
    let mut past = Past::of(2);
    for _ in 0..30 {
        past.by(0, "DescribeRouteTables", "");
    }
    assert_eq!(past.rules(), [Rule::TooMany], "calls");
}

#[test]
fn the_same_again_is_told_once_with_what_was_seen_before() {
    let mut past = Past::of(2);
    past.write(1, 0, 1);
    past.pass(1);
    past.by(1, "TerminateInstances", "InstanceId.1=i-0");
    past.pass(1);
    past.by(1, "TerminateInstances", "InstanceId.1=i-0");
    assert_eq!(past.rules(), [Rule::Robbed, Rule::NotItsOwn]);
    let story = &past.observer.violations()[1].story;
    assert!(story.iter().any(|line| line.contains("nat-b calls ReplaceRoute")), "{story:?}");
}
