//! Packets through the simulated VPC: with real kernels on the way, and no natha.

use natha_lab::{Lab, Spec};

/// A NAT instance set up by hand.
const NAT: &str = "#!/bin/sh -e
sysctl -qw net.ipv4.ip_forward=1
nft -f - <<'RULES'
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname ens5 ip saddr 10.0.0.0/16 masquerade
  }
}
RULES
echo configured
";

#[test]
fn a_private_host_reaches_the_internet_through_a_nat_instance() {
    let mut spec = Spec::nodes(2).with_node_user_data(NAT);
    for host in &mut spec.hosts {
        host.source_dest_check = false;
    }
    let lab = Lab::start(&spec).unwrap();
    let out = lab.sh(
        "host-a",
        "ip addr; ip route; for i in 1 2 3; do ping -c1 -W1 203.0.113.10 && break; done",
    );
    println!("{out:?}");
    println!("{}", lab.console("nat-a").unwrap());
    println!("{:#?}", lab.status().unwrap());
    println!("{}", lab.sh("nat-a", "nft list ruleset; ip addr; cat /proc/sys/net/ipv4/ip_forward; ping -c1 -W1 203.0.113.10").unwrap_or_else(|e| e.to_string()));
    out.unwrap();
}
