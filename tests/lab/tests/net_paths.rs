//! Packets through the simulated VPC: real kernels on the way, a NAT made by hand, no natha.

mod lab_support;

use std::time::Duration;

use lab_support::wait::LONG;
use lab_support::{PING, nat_lab, reaches};
use natha_lab::{Lab, NetChange, Spec, Traffic};

#[test]
fn a_private_host_reaches_the_internet_through_a_nat_instance() {
    let lab = nat_lab(2);
    lab.sh("host-a", PING).unwrap();
    let public = lab.host("nat-a").unwrap().public[0].to_string();
    let seen = lab.sh("host-a", "curl -s --max-time 5 http://203.0.113.10/").unwrap();
    assert_eq!(seen.trim(), public, "the internet sees the node's public address");
}

#[test]
fn a_host_without_a_public_address_and_without_nat_reaches_nothing_outside() {
    let lab = Lab::start(&Spec::nodes(1)).unwrap();
    assert!(lab.sh("nat-a", PING).is_ok(), "a public host reaches the internet");
    assert!(!reaches(&lab, "host-a"));
    let inside = lab.host("nat-a").unwrap().private[0];
    lab.sh("host-a", &format!("ping -c1 -W5 {inside}")).unwrap();
}

#[test]
fn a_route_changed_through_the_api_moves_traffic() {
    let lab = nat_lab(2);
    let public = |name: &str| lab.host(name).unwrap().public[0].to_string();
    let seen = || lab.sh("host-a", "curl -s --max-time 5 http://203.0.113.10/").unwrap();
    assert_eq!(seen().trim(), public("nat-a"));
    lab.route_to(0, "nat-b").unwrap();
    let subnet = lab.zone(0).unwrap().private_subnet;
    lab.wait_until(LONG, |status| {
        status.routes.iter().any(|route| route.subnet == subnet && route.to == "nat-b")
    })
    .unwrap();
    assert_eq!(seen().trim(), public("nat-b"));
}

#[test]
fn the_source_dest_check_drops_forwarded_packets() {
    let lab = nat_lab(1);
    assert!(reaches(&lab, "host-a"));
    let interface = lab.host("nat-a").unwrap().interface;
    let check = |on: &str| {
        let params = [("NetworkInterfaceId", &*interface), ("SourceDestCheck.Value", on)];
        lab.ec2("ModifyNetworkInterfaceAttribute", &params).unwrap();
    };
    check("true");
    lab_support::eventually("the check drops", || !reaches(&lab, "host-a"));
    assert!(reaches(&lab, "nat-a"), "the node's own traffic passes the check");
    check("false");
    lab_support::eventually("without the check it passes", || reaches(&lab, "host-a"));
}

#[test]
fn a_security_group_drops_what_it_does_not_allow() {
    let lab = nat_lab(1);
    let group = lab.account().unwrap().group;
    let revoke = [
        ("GroupId", &*group),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/16"),
    ];
    assert!(reaches(&lab, "host-a"));
    lab.ec2("RevokeSecurityGroupIngress", &revoke).unwrap();
    lab_support::eventually("the group drops", || !reaches(&lab, "host-a"));
    assert!(reaches(&lab, "nat-a"), "answers to what was sent pass a group without rules");
    lab.ec2("AuthorizeSecurityGroupIngress", &revoke).unwrap();
    lab_support::eventually("the group allows", || reaches(&lab, "host-a"));
}

#[test]
fn a_cut_uplink_cuts_the_internet_and_the_api_but_not_the_vpc() {
    let lab = nat_lab(2);
    let api = "curl -s -o /dev/null --max-time 2 http://203.0.113.53/";
    let peer = lab.host("nat-b").unwrap().private[0];
    lab.sh("nat-a", api).unwrap();
    lab.cut_uplink("nat-a").unwrap();
    assert!(lab.sh("nat-a", api).is_err());
    assert!(!reaches(&lab, "nat-a"));
    lab.sh("nat-a", &format!("ping -c1 -W5 {peer}")).unwrap();
    lab.mend("nat-a").unwrap();
    lab.sh("nat-a", api).unwrap();
}

#[test]
fn a_block_is_one_way_and_of_one_kind() {
    let lab = nat_lab(2);
    let (a, b) = (lab.host("nat-a").unwrap().private[0], lab.host("nat-b").unwrap().private[0]);
    lab.block("nat-a", "nat-b", Traffic::Udp(7000)).unwrap();
    lab.sh("nat-a", &format!("ping -c1 -W5 {b}")).unwrap();
    lab.block("nat-a", "nat-b", Traffic::Icmp).unwrap();
    assert!(lab.sh("nat-a", &format!("ping -c1 -W1 {b}")).is_err());
    assert!(lab.sh("nat-b", &format!("ping -c1 -W1 {a}")).is_err(), "the answer is blocked");
    lab.net(NetChange::Clear).unwrap();
    lab.sh("nat-a", &format!("ping -c1 -W5 {b}")).unwrap();
    assert!(lab.block("nobody", "nat-b", Traffic::All).is_err());
}

#[test]
fn the_meters_see_an_outage_and_its_end() {
    let lab = nat_lab(1);
    let ping = lab.ping("host-a", 10).unwrap();
    let flows = lab.flows("host-a", 5, 50).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    lab.cut_link("nat-a").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    lab.mend("nat-a").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let report = lab.pinged(ping).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
    let outage = report.outages[0];
    assert!(outage.ms() >= 280.0, "{outage:?}");
    assert_eq!(report.lost, outage.lost);
    assert_eq!(report.sent, report.probes.len());
    let flows = lab.flowed(flows).unwrap();
    assert_eq!((flows.flows, flows.broken), (5, 0), "{:?}", flows.reasons);
}
