//! The nft table `ip natha_relay`: copies packets to the other node of a planned move, and admits
//! those that it copies to this one.
//!
//! - *Copied*: what the hosts of a group that moves send to the internet, before anything else
//!   looks at it. The kernel sends the copy through the tunnel, which adds nothing to what it does
//!   with the packet itself. What arrives by the tunnel is not copied again.
//! - *Admitted* from the tunnel: such packets of the other node. Everything else is dropped, except
//!   echo between the nodes.
//! - *Guarded*: the UDP port of the tunnel, which only members may send to.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nftables::batch::Batch;
use nftables::expr::{Expression, MetaKey, NamedExpression, SetItem};
use nftables::schema::NfListObject;
use nftables::stmt::{Dup, Statement};
use nftables::types::{NfChainType, NfHook};
use serde_json::Value;

use super::listing::{Tally, tally};
use super::rules::{
    NftTable, TableName, address, count, field, ip, is, is_not, meta, networks, port, text,
};

/// The interface of the tunnel.
pub const RELAY_LINK: &str = "natha1";
const TABLE: TableName = TableName::new("natha_relay");
/// Before connections are tracked (`NF_IP_PRI_RAW`).
const RAW: i32 = -300;
/// Before natha's other filters.
const BEFORE_FILTER: i32 = -20;
/// The counters of copies: made here, and taken from the other node.
const COPIED: &str = "copied";
const TAKEN: &str = "taken";
/// The first half of the addresses in the tunnel: 198.18.0.0/15 is for tests of devices (RFC 2544).
/// Only a route of 32 bits for each peer leads there.
const TUNNEL: [u8; 2] = [198, 19];

/// A node's address in the tunnel: the last two octets are those of its address in the VPC.
#[must_use]
pub const fn tunnel_address(node: Ipv4Addr) -> Ipv4Addr {
    let [_, _, c, d] = node.octets();
    let [a, b] = TUNNEL;
    Ipv4Addr::new(a, b, c, d)
}

/// The content of the table `ip natha_relay`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayTable {
    /// The UDP port of the tunnel.
    pub port: u16,
    /// The addresses of the peers, in the VPC.
    pub peers: Vec<Ipv4Addr>,
    /// The groups that move.
    pub groups: Vec<RelayRules>,
}

/// A group that moves between this node and another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayRules {
    /// The interface to the internet.
    pub uplink: String,
    /// The group's private hosts.
    pub sources: Vec<Ipv4Net>,
    /// The networks between which nothing is translated.
    pub vpc_networks: Vec<Ipv4Net>,
    /// The other node's address in the VPC.
    pub peer: Ipv4Addr,
    /// Whether this node copies packets to it. Copies from it are admitted in any case.
    pub copies: bool,
}

/// What the table `ip natha_relay` has counted since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayCounts {
    /// Packets of which this node made a copy for the other node.
    pub made: Tally,
    /// Copies from the other node that this node sent on to the internet.
    pub sent_on: Tally,
}

impl RelayCounts {
    /// Parses the output of `nft -j list counters`.
    #[must_use]
    pub fn of(listing: &Value) -> Self {
        Self { made: tally(listing, TABLE, COPIED), sent_on: tally(listing, TABLE, TAKEN) }
    }
}

impl NftTable for RelayTable {
    const NAME: TableName = TABLE;

    fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    fn fill<'a>(&'a self, batch: &mut Batch<'a>) {
        batch.add(TABLE.counter(COPIED));
        batch.add(TABLE.counter(TAKEN));
        batch.add(TABLE.chain("copy", Some((NfChainType::Filter, NfHook::Prerouting, RAW))));
        batch.add(TABLE.chain("guard", Some((NfChainType::Filter, NfHook::Input, BEFORE_FILTER))));
        batch
            .add(TABLE.chain("admit", Some((NfChainType::Filter, NfHook::Forward, BEFORE_FILTER))));
        let mut add = |chain, body| batch.add(NfListObject::Rule(TABLE.rule(chain, body)));
        for group in self.groups.iter().filter(|group| !group.sources.is_empty()) {
            if group.copies {
                add("copy", group.copy());
            }
            add("admit", group.admit());
        }
        add("admit", vec![from_tunnel(), Statement::Drop(None)]);
        let no_echo = is_not(ip("protocol"), text("icmp"));
        add("guard", vec![from_tunnel(), no_echo, Statement::Drop(None)]);
        let peers = self.peers.iter().map(|peer| SetItem::Element(address(*peer))).collect();
        let strangers = is_not(ip("saddr"), Expression::Named(NamedExpression::Set(peers)));
        let tunnel = is(field("udp", "dport"), port(self.port));
        add("guard", vec![tunnel, strangers, Statement::Drop(None)]);
    }
}

impl RelayRules {
    /// What the group's hosts send to the internet.
    fn outwards(&self) -> [Statement<'_>; 2] {
        [
            is(ip("saddr"), networks(&self.sources)),
            is_not(ip("daddr"), networks(&self.vpc_networks)),
        ]
    }

    fn copy(&self) -> Vec<Statement<'_>> {
        let mut rule = vec![is_not(meta(MetaKey::Iifname), text(RELAY_LINK))];
        rule.extend(self.outwards());
        rule.push(count(COPIED));
        rule.push(Statement::Dup(Dup {
            addr: address(tunnel_address(self.peer)),
            dev: Some(text(RELAY_LINK)),
        }));
        rule
    }

    fn admit(&self) -> Vec<Statement<'_>> {
        let mut rule = vec![from_tunnel(), is(meta(MetaKey::Oifname), text(&self.uplink))];
        rule.extend(self.outwards());
        rule.push(count(TAKEN));
        rule.push(Statement::Accept(None));
        rule
    }
}

/// A table with one rule, to ask the kernel whether it takes rules that copy packets. It needs no
/// tunnel, and is never loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyTrial {
    /// Whether the rule copies. The kernel takes the other one in any case.
    pub copies: bool,
}

impl NftTable for CopyTrial {
    const NAME: TableName = TableName::new("natha_trial");

    fn is_empty(&self) -> bool {
        false
    }

    fn fill<'a>(&'a self, batch: &mut Batch<'a>) {
        batch.add(Self::NAME.chain("copy", Some((NfChainType::Filter, NfHook::Prerouting, RAW))));
        let statement = if self.copies {
            // A device that every host has: nft looks for it.
            Statement::Dup(Dup { addr: address(Ipv4Addr::LOCALHOST), dev: Some(text("lo")) })
        } else {
            Statement::Accept(None)
        };
        batch.add(NfListObject::Rule(Self::NAME.rule("copy", vec![statement])));
    }
}

fn from_tunnel<'a>() -> Statement<'a> {
    is(meta(MetaKey::Iifname), text(RELAY_LINK))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn copies_are_counted_by_the_tables_own_counters_alone() {
        let counter = |table: &str, name: &str, packets: u64| {
            let bytes = packets * 100;
            json!({ "counter": {
                "family": "ip", "table": table, "name": name, "packets": packets, "bytes": bytes
            }})
        };
        let objects = [
            counter("natha_relay", "copied", 5),
            counter("natha_relay", "taken", 3),
            counter("natha", "copied", 1_000),
        ];
        let tally = |packets| Tally { packets, bytes: packets * 100 };
        let found = RelayCounts::of(&json!({ "nftables": objects }));
        assert_eq!(found, RelayCounts { made: tally(5), sent_on: tally(3) });
        assert_eq!(RelayCounts::of(&json!({ "nftables": [] })), RelayCounts::default());
    }
}
