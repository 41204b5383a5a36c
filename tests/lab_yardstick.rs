//! The 2013 algorithm in the lab, where natha is measured beside it: it must work as described
//! there, or the comparison would flatter natha.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::{Lab, Spec};

const LIMIT: Duration = Duration::from_mins(1);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/yardstick/nat_monitor_2013.sh");
const NAT: &str = "#!/bin/sh -e
sysctl -qw net.ipv4.ip_forward=1
nft add table ip nat
nft 'add chain ip nat post { type nat hook postrouting priority srcnat; }'
nft add rule ip nat post oifname ens5 ip saddr 10.0.0.0/16 masquerade
echo configured
";

/// Waits on a host for a script to succeed.
fn await_on(lab: &Lab, host: &str, condition: &str) {
    let script = format!("timeout 25 sh -c 'until {condition}; do sleep 0.1; done'");
    lab.sh(host, &script).unwrap();
}

/// Starts the yardstick on `nat-b`, with the short waits that a test can afford.
fn watch_from_b(lab: &Lab) {
    let aws = std::env::var("NATHA_AWS").expect("NATHA_AWS names the AWS CLI: run scripts/test");
    let peer = lab.host("nat-a").unwrap().instance;
    let (peer_table, table) =
        (lab.zone(0).unwrap().private_table, lab.zone(1).unwrap().private_table);
    let command = format!(
        "NAT_ID={peer} NAT_RT_ID={peer_table} My_RT_ID={table} AWS_CLI={aws} \
         EC2_URL=http://203.0.113.53 Wait_for_Instance_Stop=1 Wait_for_Instance_Start=2 \
         {SCRIPT} >/tmp/yardstick.log 2>&1"
    );
    lab.spawn("nat-b", &["sh", "-c", &command]).unwrap();
}

#[test]
fn the_yardstick_takes_a_dead_peers_route_and_restarts_it() {
    let mut spec = Spec::nodes(2).with_node_user_data(NAT);
    for host in &mut spec.hosts {
        host.source_dest_check = false;
    }
    let lab = Lab::start(&spec).unwrap();
    await_on(&lab, "host-a", "ping -c1 -W1 203.0.113.10");
    watch_from_b(&lab);
    await_on(&lab, "nat-b", "grep -q watches /tmp/yardstick.log");
    let meter = lab.ping("host-a", 10).unwrap();
    let boots = lab.host("nat-a").unwrap().boot;

    lab.panic("nat-a").unwrap();
    await_on(&lab, "host-a", "ping -c1 -W1 203.0.113.10");
    let restarted = lab.wait_until(LIMIT, |status| {
        status.hosts.iter().any(|host| host.name == "nat-a" && host.boot > boots)
    });

    let log = lab.sh("nat-b", "cat /tmp/yardstick.log").unwrap();
    restarted.unwrap_or_else(|problem| panic!("{problem:#}\n{log}"));
    for said in ["taking its route", "stopping it", "starting it"] {
        assert!(log.contains(said), "no `{said}` in\n{log}");
    }
    let report = lab.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}\n{log}", report.outages);
}
