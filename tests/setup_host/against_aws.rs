//! Setup and teardown where the metadata and EC2 answer.

use crate::fake_aws::FakeAws;
use crate::netns::Netns;

const FIRST: &str = "eni-0000000000000000a";
const SECOND: &str = "eni-0000000000000000b";
const FIRST_MAC: &str = "02:00:00:00:00:05";
const SECOND_MAC: &str = "02:00:00:00:00:06";

fn host() -> (Netns, FakeAws) {
    FakeAws::start(Netns::one_armed(), &[(FIRST, FIRST_MAC)])
}

#[test]
fn the_vpc_is_the_source_and_the_check_is_turned_off_and_on_again() {
    let (host, aws) = host();
    host.natha("setup").exits(0);
    assert!(!aws.check_is_on(FIRST));
    assert!(host.nft("list set ip natha sources").contains("10.0.0.0/16"));

    aws.with(|state| state.calls.clear());
    host.natha("setup").exits(0);
    let calls = aws.with(|state| state.calls.clone());
    assert!(!calls.contains(&"ModifyNetworkInterfaceAttribute".to_owned()), "{calls:?}");

    host.natha("teardown").exits(0);
    assert!(aws.check_is_on(FIRST));
}

#[test]
fn a_check_that_was_off_before_setup_stays_off() {
    let (host, aws) = host();
    aws.with(|state| state.interfaces.get_mut(FIRST).unwrap().1 = false);
    host.natha("setup").exits(0);
    host.natha("teardown").exits(0);
    assert!(!aws.check_is_on(FIRST));
}

#[test]
fn both_interfaces_of_a_two_armed_host_are_turned_off() {
    let host = Netns::one_armed();
    host.interface("ens6", "10.0.1.10/24", SECOND_MAC);
    let (host, aws) = FakeAws::start(host, &[(FIRST, FIRST_MAC), (SECOND, SECOND_MAC)]);
    host.natha("setup").exits(0);
    assert!(!aws.check_is_on(FIRST) && !aws.check_is_on(SECOND));
}

#[test]
fn a_denied_change_undoes_everything_and_names_the_permission() {
    let (host, aws) = host();
    aws.with(|state| state.denied = Some("ModifyNetworkInterfaceAttribute"));
    // Connection tracking is loaded first, so that its sysctls can be compared.
    host.nft("add table ip other; add chain ip other c { type filter hook forward priority 0; }");
    host.nft("add rule ip other c ct state new accept");
    let before = host.everything_else();
    let ran = host.natha("setup").exits(1);
    ran.complains(&[FIRST, "ec2:ModifyNetworkInterfaceAttribute", "were undone"]);
    assert_eq!(host.everything_else(), before);
    assert!(!host.nft("list tables").contains("natha"));
    assert!(!host.journal().exists());
}

#[test]
fn a_denied_read_is_found_before_anything_is_changed() {
    let (host, aws) = host();
    aws.with(|state| state.denied = Some("DescribeNetworkInterfaces"));
    let before = host.everything_else();
    host.natha("setup").exits(1).complains(&["ec2:DescribeNetworkInterfaces"]);
    assert_eq!(host.everything_else(), before);
    assert!(!host.journal().exists());
}

#[test]
fn a_failure_after_an_earlier_setup_brings_its_table_back() {
    let (host, aws) = host();
    host.natha("setup").exits(0);
    aws.with(|state| {
        state.denied = Some("ModifyNetworkInterfaceAttribute");
        state.interfaces.get_mut(FIRST).unwrap().1 = true;
    });
    host.natha("setup --source 10.9.0.0/16").exits(1).complains(&["were undone"]);
    assert!(host.nft("list set ip natha sources").contains("10.0.0.0/16"));
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
    aws.with(|state| state.denied = None);
    host.natha("setup").exits(0);
    host.natha("teardown").exits(0);
    assert!(aws.check_is_on(FIRST));
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
}

#[test]
fn an_uplink_that_ec2_does_not_know_is_refused() {
    let (host, _aws) = FakeAws::start(Netns::one_armed(), &[(SECOND, SECOND_MAC)]);
    host.natha("setup").exits(1).complains(&["`ens5`", FIRST_MAC, "not a network interface"]);
}

#[test]
fn what_teardown_cannot_restore_it_keeps_and_tries_again() {
    let (host, aws) = host();
    host.natha("setup").exits(0);
    aws.with(|state| state.denied = Some("ModifyNetworkInterfaceAttribute"));
    host.natha("teardown").exits(1).complains(&[FIRST, "again"]);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
    assert!(!host.nft("list tables").contains("natha"));

    aws.with(|state| state.denied = None);
    host.natha("teardown").exits(0);
    assert!(aws.check_is_on(FIRST));
    assert!(!host.journal().exists());
}
