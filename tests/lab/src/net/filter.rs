//! Source/dest checks and security groups as nftables rules of the router.
//!
//! Security groups are stateful here as in EC2: what belongs to a tracked flow passes. The router
//! tracks a flow once, where EC2 tracks it at each interface; so a flow that moves to another
//! interface by a route change is not judged again by that interface's groups.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::dataplane::{Dataplane, Interface, Permission};

/// The rules for `dataplane`, a whole table, loaded in one transaction. `links` names the router's
/// end of each interface, by `eni-…` id.
#[must_use]
pub fn render(dataplane: &Dataplane, links: &BTreeMap<String, String>) -> String {
    let plugged: Vec<(&str, &Interface)> = dataplane
        .interfaces
        .iter()
        .filter_map(|(id, interface)| Some((links.get(id)?.as_str(), interface)))
        .collect();
    let mut own = Vec::new();
    let mut checked = Vec::new();
    let (mut chains, mut send, mut receive) = (String::new(), Vec::new(), Vec::new());
    for (link, interface) in &plugged {
        own.extend(interface.addresses.iter().map(|address| format!("\"{link}\" . {address}")));
        if interface.source_dest_check {
            checked.push(format!("\"{link}\""));
        }
        chain(&mut chains, &format!("{link}-send"), "daddr", &interface.egress);
        chain(&mut chains, &format!("{link}-receive"), "saddr", &interface.ingress);
        send.push(format!("\"{link}\" : jump {link}-send"));
        receive.push(format!("\"{link}\" : jump {link}-receive"));
    }
    format!(
        "table ip vpc\ndelete table ip vpc\ntable ip vpc {{\n{own}{checked}{chains}{send}{receive}\
         chain forward {{ type filter hook forward priority 0\n  \
         iifname @checked iifname . ip saddr != @own drop\n  \
         oifname @checked oifname . ip daddr != @own drop\n  \
         ct state established,related accept\n  \
         iifname vmap @send\n  oifname vmap @receive\n}}\n\
         chain input {{ type filter hook input priority 0; policy drop\n  \
         iifname . ip saddr @own ip daddr 169.254.169.254 tcp dport 80 accept\n  \
         iifname . ip saddr @own ip daddr 169.254.169.253 udp dport 53 accept\n}}\n\
         chain output {{ type filter hook output priority 0\n  \
         icmp type time-exceeded drop\n  \
         icmp type destination-unreachable icmp code != 4 drop\n  \
         icmp type destination-unreachable oifname vmap @receive\n}}\n}}\n",
        own = elements("set own", "ifname . ipv4_addr", &own),
        checked = elements("set checked", "ifname", &checked),
        send = elements("map send", "ifname : verdict", &send),
        receive = elements("map receive", "ifname : verdict", &receive),
    )
}

fn elements(what: &str, kind: &str, members: &[String]) -> String {
    let list = match members {
        [] => String::new(),
        _ => format!("; elements = {{ {} }}", members.join(", ")),
    };
    format!("{what} {{ type {kind}{list}; }}\n")
}

fn chain(text: &mut String, name: &str, peer: &str, permissions: &[Permission]) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "chain {name} {{");
    for permission in permissions {
        let net = permission.peer.trunc();
        let what = match (permission.protocol.as_deref(), permission.ports) {
            (None, _) => String::new(),
            (Some(protocol), None) => format!(" meta l4proto {protocol}"),
            (Some(protocol), Some((from, to))) => format!(" {protocol} dport {from}-{to}"),
        };
        // nft has no way to say "any address" but by saying nothing.
        let net = match net.prefix_len() {
            0 => String::new(),
            _ => format!("ip {peer} {net}"),
        };
        let _ = writeln!(text, "  {net}{what} return");
    }
    let _ = writeln!(text, "  drop\n}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(check: bool, ingress: Vec<Permission>) -> Interface {
        Interface {
            instance: "i-1".into(),
            device_index: 0,
            mac: "0a:00:00:00:00:01".into(),
            subnet: "subnet-1".into(),
            addresses: vec!["10.0.0.10".parse().unwrap()],
            public: BTreeMap::new(),
            source_dest_check: check,
            ingress,
            egress: Vec::new(),
        }
    }

    fn rules(check: bool, ingress: Vec<Permission>) -> String {
        let dataplane = Dataplane {
            interfaces: BTreeMap::from([("eni-a".to_owned(), interface(check, ingress))]),
            ..Dataplane::default()
        };
        render(&dataplane, &BTreeMap::from([("eni-a".to_owned(), "vif1".to_owned())]))
    }

    #[test]
    fn only_interfaces_with_the_check_are_in_the_checked_set() {
        assert!(rules(true, vec![]).contains("set checked { type ifname; elements = { \"vif1\" }"));
        assert!(rules(false, vec![]).contains("set checked { type ifname; }"));
    }

    #[test]
    fn a_group_without_rules_lets_nothing_in() {
        assert!(rules(true, vec![]).contains("chain vif1-receive {\n  drop\n}"));
    }

    #[test]
    fn a_rule_says_protocol_ports_and_peer() {
        let permission = Permission {
            protocol: Some("tcp".into()),
            ports: Some((80, 81)),
            peer: "10.0.0.0/16".parse().unwrap(),
        };
        let rules = rules(true, vec![permission]);
        assert!(rules.contains("  ip saddr 10.0.0.0/16 tcp dport 80-81 return\n"), "{rules}");
    }
}
