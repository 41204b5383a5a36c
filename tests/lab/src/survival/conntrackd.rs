//! Debian's conntrackd between two nodes in different subnets.
//!
//! conntrackd inserts an entry as it was on the other node, with the same translated address. On
//! AWS no private address exists in two subnets. So connections are translated to a floating
//! address, which is the same on both nodes, and a stateless rule on each node exchanges that for
//! the node's own landing address. natha moves the routes and the egress IP as in every other tier.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::meter::mixed::PORT;
use crate::scene::Scene;

/// What both nodes translate to: outside of the VPC, and on no interface.
pub(crate) const FLOATING: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);
/// The private hosts of the first zone.
const SOURCES: &str = "10.0.100.0/24";
const VPC: &str = "10.0.0.0/16";
/// The default of `host.transit_network`. Both nodes send probes from there: one that is copied to
/// the other node is in the way of that node's own.
const TRANSIT: &str = "198.18.255.252/30";
const CONFIG: &str = "/etc/conntrackd/conntrackd.conf";
const LIMIT: Duration = Duration::from_secs(10);

/// The packet rules of a node. They come before those of natha, which then find nothing to
/// translate.
fn table(landing: Ipv4Addr) -> String {
    format!(
        "table ip floating {{
    chain translate {{
        type nat hook postrouting priority 80;
        oifname \"ens5\" ip saddr {SOURCES} ip daddr != {VPC} snat to {FLOATING}
    }}
    chain leave {{
        type filter hook postrouting priority 110;
        oifname \"ens5\" ip saddr {FLOATING} ip saddr set {landing}
    }}
    chain arrive {{
        type filter hook prerouting priority -300;
        iifname \"ens5\" ip daddr {landing} meta l4proto {{ tcp, udp }} ip daddr set {FLOATING}
    }}
}}
"
    )
}

/// The settings: the reliable mode, entries inserted into the kernel at once, and large buffers, as
/// its manual advises for many connections.
fn config(own: Ipv4Addr, peer: Ipv4Addr) -> String {
    format!(
        "Sync {{
    Mode FTFW {{
        ResendQueueSize 262144
        ACKWindowSize 300
        DisableExternalCache On
    }}
    UDP {{
        IPv4_address {own}
        IPv4_Destination_Address {peer}
        Port 3780
        Interface ens5
        SndSocketBuffer 25165824
        RcvSocketBuffer 25165824
        Checksum on
    }}
}}
General {{
    HashSize 65536
    HashLimit 524288
    LogFile on
    Syslog off
    LockFile /run/conntrackd.lock
    UNIX {{
        Path /run/conntrackd.ctl
    }}
    NetlinkBufferSize 33554432
    NetlinkBufferSizeMaxGrowth 67108864
    Filter From Userspace {{
        Protocol Accept {{
            TCP
            UDP
            ICMP
        }}
        Address Ignore {{
            IPv4_address 127.0.0.1
            IPv4_address {own}
            IPv4_address {peer}
            IPv4_address {TRANSIT}
        }}
    }}
}}
"
    )
}

/// Commands that load the rules and start conntrackd, which then asks its peer for what it has.
/// Packets to the floating address that belong to no connection are dropped.
fn commands(landing: Ipv4Addr) -> String {
    format!(
        "set -e
nft -f - <<'RULES'
{}RULES
ip route replace blackhole {FLOATING}/32
conntrackd -C {CONFIG} -d
conntrackd -C {CONFIG} -n",
        table(landing)
    )
}

/// Sets a node up.
///
/// # Errors
/// When a program is missing or fails.
pub(crate) fn start(scene: &Scene, own: &str, peer: &str) -> Result<()> {
    let address = |node: &str| -> Result<Ipv4Addr> {
        let private = scene.host(node)?.private;
        private.first().copied().with_context(|| format!("{node} has no address"))
    };
    scene.write(own, CONFIG, &config(address(own)?, address(peer)?))?;
    scene.sh(own, &commands(scene.landing(own, "a")?))?;
    let found = scene.exec(own, &["pidof", "conntrackd"], LIMIT)?;
    ensure!(found.code == 0, "conntrackd does not stay on {own}");
    Ok(())
}

/// Waits until a node's kernel has so many connections from these source ports.
///
/// # Errors
/// When it does not in time.
pub(super) fn wait_inserted(
    scene: &Scene,
    node: &str,
    ports: &Range<u16>,
    count: usize,
) -> Result<()> {
    let Range { start, end } = ports;
    let script = format!(
        "conntrack -L 2>/dev/null | grep -oE 'sport=[0-9]+ dport={PORT}' | cut -d= -f2 |
            awk '$1 >= {start} && $1 < {end} {{ n++ }} END {{ print n + 0 }}'"
    );
    let waited = scene.wait_for(|| Ok(scene.sh(node, &script)?.trim().parse::<usize>()? >= count));
    waited.with_context(|| format!("conntrackd on {node} has not inserted {count} connections"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_nodes_translate_to_one_address_and_send_from_their_own() {
        let [first, second] = [Ipv4Addr::new(10, 0, 0, 201), Ipv4Addr::new(10, 0, 1, 202)];
        let (one, other) = (table(first), table(second));
        assert_eq!(one.replace("10.0.0.201", "10.0.1.202"), other);
        assert_eq!(one.matches("snat to 192.168.77.1").count(), 1);
        assert!(one.contains("ip saddr 192.168.77.1 ip saddr set 10.0.0.201"), "{one}");
    }

    #[test]
    fn the_settings_name_both_nodes() {
        let text = config(Ipv4Addr::new(10, 0, 0, 4), Ipv4Addr::new(10, 0, 1, 4));
        assert!(text.contains("IPv4_address 10.0.0.4\n        IPv4_Destination_Address 10.0.1.4"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn the_probes_of_a_node_are_not_copied_to_the_other() {
        let text = config(Ipv4Addr::new(10, 0, 0, 4), Ipv4Addr::new(10, 0, 1, 4));
        let settings = include_str!("../../../../docs/config.md");
        assert!(settings.contains(&format!("| `host.transit_network` | `{TRANSIT}` |")));
        assert!(text.contains(&format!("IPv4_address {TRANSIT}\n")), "{text}");
    }
}
