//! Private hosts' packets decide: whatever keeps a NAT from forwarding them, its peer takes over,
//! though the NAT itself reaches the internet and its rules are as `natha setup` made them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::scene::{self, QUICK, Scene};

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
    println!("outages: {:?}", covered.outages);
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

#[test]
fn a_nat_that_has_not_forwarded_since_its_boot_is_given_nothing() {
    let scene = scene();
    // Docker, ufw and firewalld do this at every boot.
    let broken = "nft add table inet other && nft add chain inet other forward \
                  '{ type filter hook forward priority 0; policy drop; }'";
    let unit = format!("#!/bin/sh\n{broken}\n");
    scene.sh("nat-a", &format!("cat >/etc/broken <<'END'\n{unit}END\nchmod +x /etc/broken")).unwrap();
    scene.sh("nat-a", "/etc/broken").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.sh("nat-a", "pkill -KILL -x natha; natha monitor >/dev/null 2>&1 &").unwrap();
    scene.wait_status("nat-b", |status| status["peers"][0]["verdict"] == "sick").unwrap();
    assert_eq!(scene.route(0).unwrap(), "nat-b");
}
