//! Private hosts' packets decide: whatever keeps a NAT from forwarding them, its peer takes over,
//! though the NAT itself reaches the internet and its rules are as `natha setup` made them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use natha_lab::net::internet::{INTERNET_HOST, RESOLVERS};
use natha_lab::scene::{self, QUICK, Scene, ensure};
use natha_lab::spec::AddressSpec;
use natha_lab::{NetChange, Traffic};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

fn scene() -> Scene {
    Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap()
}

/// Breaks forwarding on nat-a by `broken`, which natha does not repair: nat-b takes over, nat-a
/// says why, and gets its routes back after `mended`. Returns the outages of a private host.
fn is_relieved_while(scene: &Scene, broken: &str, mended: &str) -> usize {
    let meter = scene.ping("host-a", 10).unwrap();
    scene.sh("nat-a", broken).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let told = scene.natha("nat-a", &["status"]).unwrap();
    assert_eq!(told.code, 3, "{}", told.stdout);
    let why = "this node is not fit: forwarding broken";
    assert!(told.stdout.contains(why), "{}", told.stdout);
    let covered = scene.pinged(meter).unwrap();
    scene.sh("nat-a", mended).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    covered.outages.len()
}

#[test]
fn whatever_keeps_packets_from_passing_is_noticed_and_relieved() {
    let scene = scene();
    let (add, remove) = (
        "nft add table inet other && nft add chain inet other forward",
        "nft delete table inet other",
    );
    // A firewall that was installed later.
    let policy = format!("{add} '{{ type filter hook forward priority 0; policy drop; }}'");
    assert_eq!(is_relieved_while(&scene, &policy, remove), 1);
    // Another program's translation of new connections, to an address that the VPC does not know.
    let snat = "nft add table ip other && nft add chain ip other post \
                '{ type nat hook postrouting priority 0; }' && \
                nft add rule ip other post oifname ens5 snat to 10.9.9.9";
    assert_eq!(is_relieved_while(&scene, snat, "nft delete table ip other"), 0);
    // A rule of routing that drops what is forwarded.
    let forwarded = ["natha0", "ens5"].map(|link| format!("iif {link} to 0.0.0.0/1 blackhole"));
    let rules = |verb| forwarded.each_ref().map(|rule| format!("ip rule {verb} {rule}")).join("; ");
    assert_eq!(is_relieved_while(&scene, &rules("add"), &rules("del")), 1);
    scene.nobody_stopped().unwrap();
}

/// systemd applies the files of sysctl.d to the interface of the probes, too.
#[test]
fn another_programs_settings_of_the_probes_interface_move_nothing() {
    let scene = scene();
    scene.sh("nat-a", "echo 0 > /proc/sys/net/ipv4/conf/natha0/forwarding").unwrap();
    let line = "net.ipv4.conf.natha0.forwarding is 0, should be 1";
    scene.wait_status("nat-a", |status| scene::has_event(status, "host-drift", line)).unwrap();
    scene.sh("nat-a", "echo 1 > /proc/sys/net/ipv4/conf/natha0/rp_filter").unwrap();
    let stays = || ensure(scene.route(0)? == "nat-a", "the group has moved");
    scene.watch(Duration::from_secs(5), stays).unwrap();
    scene.wait_well().unwrap();
}

/// The commands of the page for operators that let packets pass the rules of iptables-legacy.
fn remedy_of_the_page() -> String {
    let page = include_str!("../docs/troubleshooting.md");
    let (_, section) = page.split_once("\n### Rules of iptables-legacy\n").unwrap();
    let remedy = section.split("```sh\n").nth(2).unwrap().split("```").next().unwrap();
    assert_eq!(remedy.matches("sudo iptables-legacy -I FORWARD").count(), 2, "{remedy}");
    remedy.replace("sudo ", "")
}

/// The policy stays as it was: the remedy lets the probes pass, and not only private hosts.
#[test]
fn what_iptables_drops_is_noticed_and_passes_after_the_remedy_for_its_kind() {
    let scene = scene();
    // The kernel shows these rules to iptables-legacy alone.
    let drop = "iptables-legacy -P FORWARD DROP";
    let unnamed = "natha setup --dry-run | grep 'drops packets' && exit 1; set -e\n";
    assert_eq!(is_relieved_while(&scene, drop, &(unnamed.to_owned() + &remedy_of_the_page())), 1);
    let rules = scene.sh("nat-a", "iptables-legacy -S FORWARD").unwrap();
    assert!(rules.contains("-P FORWARD DROP"), "{rules}");

    let told = "natha setup --dry-run --json | jq -r '.warnings[]' | grep '^  iptables ' > /tmp/it";
    let remedy = format!("{told} && sh -e /tmp/it");
    assert_eq!(is_relieved_while(&scene, "iptables -P FORWARD DROP", &remedy), 1);
    let rules = scene.sh("nat-a", "iptables -S FORWARD").unwrap();
    assert!(rules.contains("-P FORWARD DROP"), "{rules}");
    scene.nobody_stopped().unwrap();
}

#[test]
fn what_drops_the_packets_of_private_hosts_and_spares_the_probes_raises_an_alert() {
    let scene = scene();
    let meter = scene.ping("host-a", 100).unwrap();
    let replies = "nft list counter ip natha from_uplink | grep -E 'packets [0-9]{3}'";
    scene.wait_for(|| Ok(scene.sh("nat-a", replies).is_ok())).unwrap();
    let dropped = format!(
        "nft add table inet other && nft add chain inet other forward \
         '{{ type filter hook forward priority 10; }}' && \
         nft add rule inet other forward ip daddr {INTERNET_HOST} drop"
    );
    scene.sh("nat-a", &dropped).unwrap();
    let stands = |status: &Value| status["alerts"].to_string().contains("no reply came back");
    let status = scene.wait_status("nat-a", stands).unwrap();
    assert!(status["view"]["fitness"]["faults"].as_array().is_some_and(Vec::is_empty), "{status}");
    scene.sh("nat-a", "nft delete table inet other").unwrap();
    scene.wait_status("nat-a", |status| !stands(status)).unwrap();
    assert!(scene.pinged(meter).unwrap().lost > 0);
    scene.wait_route(0, "nat-a").unwrap();
    assert_eq!(scene.count("ReplaceRoute").unwrap(), 0, "a takeover would not help");
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_restart_of_the_monitor_does_not_make_a_broken_nat_fit() {
    let scene = Scene::start(&scene::service(2, NATHA, QUICK)).unwrap();
    let broken = "nft add table inet other && nft add chain inet other forward \
                  '{ type filter hook forward priority 0; policy drop; }'";
    scene.sh("nat-a", broken).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.kill("nat-a", "natha").unwrap();
    let is_broken = |status: &Value| {
        let fault = status.pointer("/view/fitness/faults/0");
        fault.is_some_and(|fault| fault == "transit")
    };
    scene.wait_verdict("nat-b", "nat-a", "sick").unwrap();
    scene.wait_status("nat-a", is_broken).unwrap();
    let stays = || scene::ensure(scene.route(0)? == "nat-b", "nat-a was handed its group back");
    scene.watch(Duration::from_secs(10), stays).unwrap();
}

/// EC2 gives such a node no other address: one of its secondary private addresses has an Elastic IP
/// of its own. The internet gateway drops what has no public address, and takes the node's own
/// packets and those of private hosts alike.
#[test]
fn a_node_that_loses_its_public_address_is_relieved_until_it_has_one_again() {
    let second = Ipv4Addr::new(10, 0, 0, 201);
    let mut spec = scene::spec(2, NATHA, QUICK).with_address("own", Some("nat-a"));
    let (name, on) = ("other".to_owned(), Some("nat-a".to_owned()));
    spec.addresses.push(AddressSpec { name, on, private: Some(second) });
    spec.hosts.iter_mut().find(|one| one.name == "nat-a").unwrap().secondary = vec![second];
    let scene = Scene::start(&spec).unwrap();
    let own = [("Filter.1.Name", "tag:Name"), ("Filter.1.Value.1", "own")];
    let shown = scene.ec2("DescribeAddresses", &own).unwrap();
    let of_it = |item: &str| scene::element(&shown, item);

    let meter = scene.ping("host-a", 10).unwrap();
    let association = of_it("associationId");
    scene.ec2("DisassociateAddress", &[("AssociationId", &association)]).unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let told = scene.natha("nat-a", &["status"]).unwrap();
    assert_eq!(told.code, 3, "{}", told.stdout);
    for part in ["this node is not fit", "uplink lost"] {
        assert!(told.stdout.contains(part), "no `{part}` in {}", told.stdout);
    }
    let status = scene.wait_verdict("nat-b", "nat-a", "sick").unwrap();
    let faults = format!("/view/peers/{}/fitness/faults", scene.host("nat-a").unwrap().instance);
    let faults = status.pointer(&faults).and_then(Value::as_array);
    assert!(faults.is_some_and(|faults| faults.contains(&"uplink".into())), "{status}");
    let covered = scene.pinged(meter).unwrap();
    assert_eq!(covered.outages.len(), 1, "{:?}", covered.outages);
    assert!(covered.probes.last().is_some_and(|(_, answer)| answer.is_some()), "served by nat-b");

    let (allocation, interface) = (of_it("allocationId"), scene.host("nat-a").unwrap().interface);
    let back = [("AllocationId", &*allocation), ("NetworkInterfaceId", &*interface)];
    scene.ec2("AssociateAddress", &back).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

/// The way to the internet is gone, and EC2's API is reached all the same, as through an endpoint
/// in the VPC.
#[test]
fn a_nat_that_reaches_ec2_and_not_the_internet_is_given_nothing_after_a_reboot() {
    let scene = scene();
    for far in RESOLVERS.into_iter().chain([INTERNET_HOST]) {
        scene.block("nat-a", &far.to_string(), Traffic::All).unwrap();
    }
    scene.wait_route(0, "nat-b").unwrap();
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "alive").unwrap();
    let meter = scene.ping("host-a", 10).unwrap();
    let stays = || scene::ensure(scene.route(0)? == "nat-b", "an unproven nat-a got its group");
    scene.watch(Duration::from_secs(10), stays).unwrap();
    scene.lost_nothing(meter).unwrap();
    for node in ["nat-a", "nat-b"] {
        let told = scene.natha(node, &["status"]).unwrap();
        assert_eq!(told.code, 3, "{}", told.stdout);
        assert!(told.stdout.contains("unproven"), "{}", told.stdout);
    }
    scene.net(NetChange::Clear).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
}
