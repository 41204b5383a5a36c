//! Setup and teardown where the metadata and EC2 answer, refuse or are silent.

use std::fs;

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

/// What of the host makes it a NAT.
#[track_caller]
fn forwards(host: &Netns, source: &str) {
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "1");
    assert_eq!(host.sysctl("net/ipv4/conf/ens5/forwarding"), "1");
    assert!(host.nft("list set ip natha sources").contains(source));
}

/// As after a reboot: the kernel has nothing of natha's, the disk has.
fn reboot(host: &Netns) {
    host.nft("flush ruleset");
    host.set_sysctl("net/ipv4/ip_forward", "0");
    let journal = fs::read_to_string(host.journal()).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(host.journal(), journal.replace(boot.trim(), "another")).unwrap();
}

#[test]
fn a_denied_change_of_the_check_leaves_a_host_that_forwards_and_is_to_be_tried_again() {
    let (host, aws) = host();
    for denied in ["ModifyNetworkInterfaceAttribute", "DescribeNetworkInterfaces"] {
        aws.with(|state| state.denied = Some(denied));
        let ran = host.natha("setup --json").exits(3);
        let ran = ran.complains(&[FIRST, &format!("ec2:{denied}")]);
        assert_eq!(ran.json()["result"], "incomplete");
        forwards(&host, "10.0.0.0/16");
        assert!(aws.check_is_on(FIRST));
    }
    aws.with(|state| state.denied = None);
    host.natha("setup").exits(0);
    assert!(!aws.check_is_on(FIRST));
    host.natha("teardown").exits(0);
    assert!(aws.check_is_on(FIRST));
}

#[test]
fn a_host_that_boots_while_ec2_hangs_forwards_as_before_and_setup_is_to_run_again() {
    let (host, aws) = host();
    aws.with(|state| state.tags.insert("natha:host.sources", "10.0.2.0/24"));
    host.natha("setup").exits(0);
    reboot(&host);
    aws.with(|state| state.hangs = true);
    let hung = ["env", "NATHA_API_TIMEOUT=1s"];
    let ran = host.natha_under(&hung, "setup --json").exits(3);
    assert_eq!(ran.json()["result"], "incomplete");
    ran.complains(&["cannot read the settings in this instance's tags", "last read"]);
    forwards(&host, "10.0.2.0/24");

    reboot(&host);
    aws.with(|state| state.no_metadata = true);
    host.natha_under(&hung, "setup").exits(3).complains(&["metadata", "plan of the last setup"]);
    forwards(&host, "10.0.2.0/24");

    aws.with(|state| (state.hangs, state.no_metadata) = (false, false));
    host.natha("setup").exits(0);
}

#[test]
fn the_first_boot_while_ec2_hangs_makes_a_nat_of_what_needs_no_ec2() {
    let (host, aws) = host();
    aws.with(|state| state.hangs = true);
    let ran = host.natha_under(&["env", "NATHA_API_TIMEOUT=1s"], "setup").exits(3);
    ran.complains(&["natha never read them"]);
    forwards(&host, "10.0.0.0/16");
}

#[test]
fn what_another_instance_left_on_the_disk_counts_for_nothing() {
    let (host, aws) = host();
    aws.with(|state| state.tags.insert("natha:host.sources", "10.0.2.0/24"));
    host.natha("setup").exits(0);
    reboot(&host);
    let journal = fs::read_to_string(host.journal()).unwrap();
    fs::write(host.journal(), journal.replace(FIRST_MAC, "02:00:00:00:00:99")).unwrap();
    aws.with(|state| state.no_metadata = true);
    host.natha("setup").exits(1).complains(&["metadata"]);
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");
}

#[test]
fn throttled_reads_of_the_tags_are_repeated_and_never_drop_their_settings() {
    let (host, aws) = host();
    aws.with(|state| {
        state.tags.insert("natha:host.sources", "10.0.2.0/24");
        state.throttled = 2;
    });
    host.natha("setup").exits(0);
    forwards(&host, "10.0.2.0/24");

    aws.with(|state| state.throttled = usize::MAX);
    host.natha("setup").exits(3).complains(&["RequestLimitExceeded", "last read"]);
    forwards(&host, "10.0.2.0/24");
}

#[test]
fn a_role_that_may_read_no_tags_is_no_fault_where_the_check_is_left_alone() {
    let (host, aws) = host();
    aws.with(|state| state.denied = Some("DescribeInstances"));
    for _ in 0..2 {
        let ran = host.natha("setup --no-source-dest-check --json").exits(0);
        assert!(ran.json()["warnings"].to_string().contains("instance's tags"), "{ran:?}");
    }
    host.natha("setup").exits(3);
}

/// An nft that refuses the first seal that it is given and does all else.
const NO_SEAL: &str = r#"mount -t tmpfs none /mnt && cp /usr/sbin/nft /mnt/real &&
cat >/mnt/nft <<'END' && chmod 755 /mnt/nft && mount --bind /mnt/nft /usr/sbin/nft && exec "$0" "$@"
#!/bin/sh
case "$*" in *-f*) input=$(cat) ;; esac
case $input in
    *listing=*)
        if mkdir /mnt/refused; then
            echo 'Error: out of seals' >&2
            exit 1
        fi
        ;;
esac
printf %s "$input" | exec /mnt/real "$@"
END"#;

#[test]
fn a_failed_change_of_the_host_after_an_earlier_setup_brings_its_table_back() {
    let (host, aws) = host();
    host.natha("setup").exits(0);
    let wrapper = ["unshare", "-m", "sh", "-c", NO_SEAL];
    let ran = host.natha_under(&wrapper, "setup --source 10.9.0.0/16").exits(1);
    ran.complains(&["out of seals", "were undone"]);
    forwards(&host, "10.0.0.0/16");
    host.natha("teardown").exits(0);
    assert!(aws.check_is_on(FIRST));
    assert_eq!(host.sysctl("net/ipv4/ip_forward"), "0");

    let before = host.everything_else();
    host.natha_under(&wrapper, "setup").exits(1).complains(&["were undone"]);
    assert_eq!(host.everything_else(), before);
    assert!(!host.nft("list tables").contains("natha") && !host.journal().exists());
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
