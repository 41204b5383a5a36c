//! The chain `input` of the table `ip natha`, which a NAT has with `host.protect`: what private
//! hosts can reach of the host itself.
//!
//! A packet comes from a private host if it arrives by an interface that takes part in forwarding
//! and its source is translated. Packets of the host to itself, of its containers and of the
//! internet are left to other rules.
//!
//! - *Accepted*: replies to what the host itself has opened, and the errors that belong to them,
//!   such as fragmentation needed; echo requests; the ports on which the nodes of a cluster send to
//!   each other; DHCP, whose reply may be broadcast and then belongs to no known flow; everything
//!   from the networks of `host.protect_except`.
//! - *Dropped*: the rest. Whether a node's port takes a packet is decided where it is read: the
//!   sender must be a member, and have the cluster's key if there is one. Rules that know the
//!   members would shut out a node that was just launched.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use nftables::expr::MetaKey;
use nftables::stmt::Statement;
use serde::{Deserialize, Serialize};

use super::rules::{count, ct, field, ip, is, is_in, list_of, meta, networks, port, text};
use crate::config::Settings;

/// Name of the chain.
pub(super) const CHAIN: &str = "input";
/// The counter of packets of private hosts to this host that the chain drops.
pub(super) const REFUSED: &str = "refused";
/// The UDP ports of a DHCP server and of its client.
const DHCP: (u16, u16) = (67, 68);

/// What is accepted from private hosts, beside replies, echo and DHCP. Stored in the undo journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// The UDP ports on which the nodes of the cluster send to each other.
    pub udp: BTreeSet<u16>,
    /// Their TCP ports.
    pub tcp: BTreeSet<u16>,
    /// Networks from which everything is accepted, without overlaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Ipv4Net>,
}

impl Protection {
    /// What the settings ask for; none if they leave the host open.
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        if !settings.host.protect {
            return None;
        }
        let (heartbeat, replicate) = (settings.heartbeat.port, &settings.replicate);
        let tcp = replicate.enabled.then(|| replicate.port.unwrap_or(heartbeat));
        let copies = (replicate.enabled && replicate.relay).then_some(replicate.relay_port);
        Some(Self {
            udp: copies.into_iter().chain([heartbeat]).collect(),
            tcp: tcp.into_iter().collect(),
            except: Ipv4Net::aggregate(&settings.host.protect_except),
        })
    }

    /// The rules of the chain.
    pub(super) fn rules<'a>(&self) -> Vec<Vec<Statement<'a>>> {
        let accept = || Statement::Accept(None);
        let to = |protocol, number| is(field(protocol, "dport"), port(number));
        let mut rules = vec![
            vec![is_in(ct("state"), list_of(&["established", "related"])), accept()],
            vec![is(field("icmp", "type"), text("echo-request")), accept()],
        ];
        rules.extend(self.udp.iter().map(|number| vec![to("udp", *number), accept()]));
        rules.extend(self.tcp.iter().map(|number| vec![to("tcp", *number), accept()]));
        let (server, client) = DHCP;
        rules.push(vec![is(field("udp", "sport"), port(server)), to("udp", client), accept()]);
        // nft refuses an empty set.
        if !self.except.is_empty() {
            rules.push(vec![is(ip("saddr"), networks(&self.except)), accept()]);
        }
        rules.push(vec![
            is(meta(MetaKey::Iifname), text("@links")),
            is(ip("saddr"), text("@sources")),
            // Sources such as 0.0.0.0/0 contain the internet, which is no private host.
            is(ip("saddr"), text("@local")),
            count(REFUSED),
            Statement::Drop(None),
        ]);
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Primaries, TableSpec};

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn spec(sources: &[&str], local: &[&str], protect: Option<Protection>) -> TableSpec {
        TableSpec {
            uplink: "ens5".to_owned(),
            links: ["ens5".to_owned()].into(),
            sources: sources.iter().map(|source| net(source)).collect(),
            transit: None,
            vpc_networks: local.iter().map(|network| net(network)).collect(),
            address: None,
            clamp_mss: true,
            mss: 1460,
            flowtable: false,
            nat: true,
            protect,
            accept: BTreeSet::new(),
            primaries: Primaries::new(),
        }
    }

    fn protected() -> Settings {
        let mut settings = Settings::default();
        settings.host.protect = true;
        settings
    }

    #[test]
    fn the_ports_of_the_nodes_follow_the_settings() {
        assert_eq!(Protection::of(&Settings::default()), None);
        let mut settings = protected();
        let found = Protection::of(&settings).unwrap();
        assert_eq!((found.udp, found.tcp), (BTreeSet::from([6284]), BTreeSet::new()));
        settings.heartbeat.port = 7000;
        settings.replicate.enabled = true;
        let found = Protection::of(&settings).unwrap();
        assert_eq!(found.udp, BTreeSet::from([6286, 7000]));
        assert_eq!(found.tcp, BTreeSet::from([7000]));
        settings.replicate.relay = false;
        settings.replicate.port = Some(7001);
        let found = Protection::of(&settings).unwrap();
        assert_eq!(found.udp, BTreeSet::from([7000]));
        assert_eq!(found.tcp, BTreeSet::from([7001]));
        settings.host.protect_except = vec![net("10.0.0.0/24"), net("10.0.1.0/24")];
        assert_eq!(Protection::of(&settings).unwrap().except, [net("10.0.0.0/23")]);
    }

    #[test]
    fn private_hosts_are_the_sources_and_never_the_internet() {
        let private = |sources: &[&str], local: &[&str]| {
            let found = spec(sources, local, None).private_networks();
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(private(&["10.0.0.0/16"], &["10.0.0.0/16"]), ["10.0.0.0/16"]);
        assert_eq!(private(&["10.0.2.0/24"], &["10.0.0.0/16"]), ["10.0.2.0/24"]);
        let all = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"];
        assert_eq!(private(&["0.0.0.0/0"], &all), all);
        assert_eq!(private(&["128.0.0.0/1"], &["10.0.0.0/16", "172.16.0.0/12"]), ["172.16.0.0/12"]);
    }

    #[test]
    fn what_is_closed_is_said_when_it_changes() {
        let of = |settings: &Settings| {
            spec(&["10.0.2.0/24"], &["10.0.0.0/16"], Protection::of(settings))
        };
        let mut settings = protected();
        let (open, closed) = (of(&Settings::default()), of(&settings));
        assert_eq!(open.newly_closed(Some(&closed)), None);
        assert_eq!(closed.newly_closed(Some(&closed)), None);
        for before in [None, Some(&open)] {
            let told = closed.newly_closed(before).unwrap();
            assert!(told.contains("from 10.0.2.0/24, SSH"), "{told}");
            assert!(told.contains("lists no network"), "{told}");
        }
        settings.host.protect_except = vec![net("10.0.2.7/32")];
        let told = of(&settings).newly_closed(Some(&closed)).unwrap();
        assert!(told.contains("10.0.2.7/32 stays open"), "{told}");
    }
}
