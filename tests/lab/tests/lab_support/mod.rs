//! A lab with a NAT made by hand.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be done is a failure")]

pub(crate) mod wait;

use natha_lab::{Lab, Role, Spec};

pub(crate) use wait::eventually;

/// Whether the internet answers.
pub(crate) const PING: &str = "ping -c1 -W1 203.0.113.10";

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
echo NAT configured
";

/// A lab whose nodes are such NAT instances, ready to forward.
pub(crate) fn nat_lab(nodes: u8) -> Lab {
    let mut spec = Spec::nodes(nodes).with_node_user_data(NAT);
    for host in spec.hosts.iter_mut().filter(|host| host.role == Role::Node) {
        host.source_dest_check = false;
    }
    let lab = Lab::start(&spec).unwrap();
    for host in spec.hosts.iter().filter(|host| host.role == Role::Node) {
        let ready = || lab.console(&host.name).unwrap().contains("NAT configured");
        eventually(&format!("{} is configured", host.name), ready);
    }
    lab
}

/// Whether a host reaches the internet.
pub(crate) fn reaches(lab: &Lab, host: &str) -> bool {
    lab.sh(host, PING).is_ok()
}
