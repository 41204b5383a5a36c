//! The 2013 algorithm in the same labs, with its own constants.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::figures::Figures;
use super::pair::{PACE_MS, api, await_route, outage, spread};
use super::{Bench, summary};
use crate::lab::Lab;
use crate::spec::{Ec2Spec, Spec};

pub(super) const KILLS: [&str; 2] =
    ["yardstick.api50.outage_ms.median", "yardstick.api50.outage_ms.max"];

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../yardstick/nat_monitor_2013.sh");
/// What makes a NAT of a node, and then runs the script with what is in a file, once it is there:
/// the ids of a peer are known only after the launch.
const USER_DATA: &str = "#!/bin/sh -e
sysctl -qw net.ipv4.ip_forward=1
nft add table ip nat
nft 'add chain ip nat post { type nat hook postrouting priority srcnat; }'
nft add rule ip nat post oifname ens5 ip saddr 10.0.0.0/16 masquerade
until [ -e /root/yardstick ]; do sleep 0.1; done
exec sh /root/yardstick
";
/// Rounds of the script while all is well: two seconds for three pings, two of rest.
const ROUND: Duration = Duration::from_secs(4);
const LOG: &str = "/root/yardstick.log";

/// A lab of two nodes that only translate, and run the script where it is put onto them.
pub(super) fn lab(ec2: Ec2Spec) -> Result<Lab> {
    let mut spec = Spec::nodes(2).with_node_user_data(USER_DATA);
    spec.ec2 = ec2;
    for host in &mut spec.hosts {
        host.source_dest_check = false;
    }
    let lab = Lab::start(&spec)?;
    for host in ["host-a", "host-b"] {
        await_on(&lab, host, "ping -c1 -W1 203.0.113.10")?;
    }
    Ok(lab)
}

/// Puts the script onto a node, with the other one as its peer, and waits until it watches.
pub(super) fn install(lab: &Lab, aws: &Path, nodes: [&str; 2], zones: [usize; 2]) -> Result<()> {
    let peer = lab.host(nodes[1])?.instance;
    let (mine, other) = (lab.zone(zones[0])?.private_table, lab.zone(zones[1])?.private_table);
    let aws = aws.display();
    lab.sh(
        nodes[0],
        &format!(
            "rm -f {LOG}; cat > /root/new <<'END'\n\
             export NAT_ID={peer} NAT_RT_ID={other} My_RT_ID={mine} AWS_CLI={aws} \
             EC2_URL=http://203.0.113.53\nexec {SCRIPT} >>{LOG} 2>&1\nEND\n\
             mv /root/new /root/yardstick"
        ),
    )?;
    await_on(lab, nodes[0], &format!("grep -q watches {LOG}"))
}

/// Waits on a host for a command to succeed.
fn await_on(lab: &Lab, host: &str, condition: &str) -> Result<()> {
    let script = format!("timeout 25 sh -c 'until {condition}; do sleep 0.1; done'");
    lab.sh(host, &script).map(drop)
}

/// Kills a node that the script on the other one watches.
pub(super) fn kills(bench: &Bench<'_>) -> Result<Figures> {
    let rounds = bench.scale.yardsticks;
    let mut outages = Vec::new();
    for round in 0..rounds {
        // A lab of its own for each: the script sleeps for minutes after each repair.
        let lab = lab(api(50))?;
        install(&lab, bench.aws()?, ["nat-b", "nat-a"], [1, 0])?;
        let meter = lab.ping("host-a", PACE_MS)?;
        thread::sleep(ROUND);
        spread(round, rounds, ROUND);
        lab.panic("nat-a")?;
        await_route(&lab, 0, "nat-b")?;
        let ms = outage(&lab, meter).with_context(|| format!("kill {}", round + 1))?;
        Bench::say(&format!("kill {} of {rounds}, 2013: {ms:.0} ms", round + 1));
        outages.push(ms);
    }
    summary(&KILLS, &outages)
}
