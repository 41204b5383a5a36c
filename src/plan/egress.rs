//! The nft table `ip natha_egress`: translates the private hosts of a group to the landing
//! addresses of its egress IPs while they are here. It is separate from `ip natha`, which only
//! setup changes: this table changes with every move of an egress IP.
//!
//! - *Translated*: while all egress IPs of a group are here, what its sources send to the internet.
//!   With several, the hash of the source decides, so that a site on the internet never sees two
//!   addresses of one host. Everything else is left to `ip natha`.
//! - *Held back*: while one of them is not here, TCP packets from the middle of a connection, which
//!   the kernel would take up as a new one and translate to this node's own address. That would end
//!   connections that can go on once the egress IP arrives. If the group is strict, all packets of
//!   new connections; and while this node inserts replicated connections of the group, all of them
//!   too, so that none is translated anew before it is inserted.
//! - *Guarded*: a landing address accepts nothing that belongs to no known connection. Without
//!   this, the kernel would answer packets of connections that it does not know yet with a reset.
//! - *Reset*: a TCP packet from the middle of a connection that the kernel does not know, if its
//!   source was served here for so long that the connection was idle until it was forgotten. What
//!   is held back is not reset. A packet with FIN is invalid to the kernel, and dropped as always.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nftables::batch::Batch;
use nftables::expr::{BinaryOperation, Expression, JHash, Map, MetaKey, NamedExpression, SetItem};
use nftables::schema::NfListObject;
use nftables::stmt::{NAT, Reject, RejectType, Statement};
use nftables::types::{NfChainType, NfHook};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rules::{
    NftTable, TableName, address, count, ct, field, ip, is, is_in, is_not, list_of, meta, networks,
    text,
};

const TABLE: TableName = TableName::new("natha_egress");
/// Before `ip natha`, which translates what is left.
const BEFORE_SRCNAT: i32 = 90;
/// Before the filters of other tables.
const BEFORE_FILTER: i32 = -10;
/// After the chain that holds packets back.
const AFTER_HOLD: i32 = BEFORE_FILTER + 1;
/// The chain that translates.
const TRANSLATE: &str = "translate";
/// The chain that resets connections, and the counter of the packets that it answered so.
pub(super) const RESETS: &str = "resets";
/// Of the hash that spreads sources. It is the same on every node: a host keeps its egress IP when
/// its group moves.
const SEED: u32 = 0x6e61_7468;

/// The content of the table `ip natha_egress`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EgressTable {
    /// The interface to the internet.
    pub uplink: String,
    /// The networks between which nothing is translated.
    pub vpc_networks: Vec<Ipv4Net>,
    /// One entry for each group with egress IPs.
    pub groups: Vec<EgressRules>,
    /// The private hosts that get a reset when they continue a connection that was forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reset: Vec<Ipv4Net>,
}

/// The translation of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EgressRules {
    /// The group's private hosts.
    pub sources: Vec<Ipv4Net>,
    /// This node's landing addresses, in the order of their egress IPs.
    pub landings: Vec<Ipv4Addr>,
    /// Whether all egress IPs of the group have arrived here.
    pub arrived: bool,
    /// Whether new connections wait for them.
    pub strict: bool,
    /// Whether connections of the group are being inserted: new ones wait.
    pub inserting: bool,
}

impl NftTable for EgressTable {
    const NAME: TableName = TABLE;

    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.reset.is_empty()
    }

    fn fill<'a>(&'a self, batch: &mut Batch<'a>) {
        if !self.groups.is_empty() {
            self.fill_groups(batch);
        }
        if !self.reset.is_empty() {
            self.fill_reset(batch);
        }
    }
}

impl EgressTable {
    /// The table of a host that does not know yet where the egress IPs are: it holds the hosts of
    /// strict groups back.
    #[must_use]
    pub fn guard(&self) -> Self {
        let strict = self.groups.iter().filter(|group| group.strict);
        let groups =
            strict.map(|group| EgressRules { arrived: false, inserting: false, ..group.clone() });
        Self { groups: groups.collect(), reset: Vec::new(), ..self.clone() }
    }

    /// The landing addresses to which a table translates, by the output of `nft -j list table`.
    #[must_use]
    pub fn translated(listing: &Value) -> BTreeSet<Ipv4Addr> {
        let mut found = BTreeSet::new();
        let objects = listing["nftables"].as_array().map_or(&[][..], Vec::as_slice);
        let rules = objects.iter().map(|object| &object["rule"]);
        for rule in rules.filter(|rule| rule["chain"] == TRANSLATE) {
            for statement in rule["expr"].as_array().into_iter().flatten() {
                add_addresses(&statement["snat"]["addr"], &mut found);
            }
        }
        found
    }

    /// The commands after which no host gets a reset, if the kernel has a table that sends them.
    #[must_use]
    pub fn without_resets() -> String {
        TABLE.flush(RESETS)
    }

    fn fill_groups<'a>(&'a self, batch: &mut Batch<'a>) {
        batch.add(TABLE.chain("guard", Some((NfChainType::Filter, NfHook::Input, BEFORE_FILTER))));
        batch.add(TABLE.chain("hold", Some((NfChainType::Filter, NfHook::Forward, BEFORE_FILTER))));
        let srcnat = (NfChainType::NAT, NfHook::Postrouting, BEFORE_SRCNAT);
        batch.add(TABLE.chain(TRANSLATE, Some(srcnat)));
        for group in &self.groups {
            for landing in &group.landings {
                batch.add(NfListObject::Rule(TABLE.rule("guard", self.admit(*landing))));
            }
            // nft refuses an empty set or map, and with it the rules of every group.
            if group.sources.is_empty() {
                continue;
            }
            if group.arrived && !group.inserting && !group.landings.is_empty() {
                batch.add(NfListObject::Rule(TABLE.rule(TRANSLATE, self.translate(group))));
            } else {
                batch.add(NfListObject::Rule(TABLE.rule("hold", self.hold(group))));
            }
        }
    }

    fn fill_reset<'a>(&'a self, batch: &mut Batch<'a>) {
        batch.add(TABLE.counter(RESETS));
        batch.add(TABLE.chain(RESETS, Some((NfChainType::Filter, NfHook::Forward, AFTER_HOLD))));
        // The packets of known connections leave the rule at its first look.
        let mut rule = vec![is_in(ct("state"), text("new")), opens_nothing()];
        rule.extend(self.outwards(&self.reset));
        rule.push(count(RESETS));
        rule.push(Statement::Reject(Some(Reject::new(Some(RejectType::TCPReset), None))));
        batch.add(NfListObject::Rule(TABLE.rule(RESETS, rule)));
    }

    fn admit(&self, landing: Ipv4Addr) -> Vec<Statement<'_>> {
        vec![
            is(meta(MetaKey::Iifname), text(&self.uplink)),
            is(ip("daddr"), address(landing)),
            is_in(ct("state"), list_of(&["invalid", "new"])),
            Statement::Drop(None),
        ]
    }

    /// What these sources send to the internet.
    fn outwards(&self, sources: &[Ipv4Net]) -> Vec<Statement<'_>> {
        vec![
            is(meta(MetaKey::Oifname), text(&self.uplink)),
            is(ip("saddr"), networks(sources)),
            is_not(ip("daddr"), networks(&self.vpc_networks)),
        ]
    }

    fn hold(&self, group: &EgressRules) -> Vec<Statement<'_>> {
        let mut rule = self.outwards(&group.sources);
        rule.push(is_in(ct("state"), text("new")));
        if !group.strict && !group.inserting {
            rule.push(opens_nothing());
        }
        rule.push(Statement::Drop(None));
        rule
    }

    fn translate(&self, group: &EgressRules) -> Vec<Statement<'_>> {
        let mut rule = self.outwards(&group.sources);
        let addr = Some(match group.landings.as_slice() {
            [one] => address(*one),
            several => by_source(several),
        });
        rule.push(Statement::SNAT(Some(NAT { addr, family: None, port: None, flags: None })));
        rule
    }
}

/// Adds every address in an expression: of a map, those that it leads to.
fn add_addresses(expression: &Value, found: &mut BTreeSet<Ipv4Addr>) {
    match expression {
        Value::String(text) => found.extend(text.parse::<Ipv4Addr>()),
        Value::Array(parts) => parts.iter().for_each(|part| add_addresses(part, found)),
        Value::Object(parts) => parts.values().for_each(|part| add_addresses(part, found)),
        _ => {}
    }
}

/// `tcp flags & (syn|ack) != syn`: a TCP packet that opens no connection.
fn opens_nothing<'a>() -> Statement<'a> {
    let mask =
        Expression::BinaryOperation(Box::new(BinaryOperation::OR(vec![text("syn"), text("ack")])));
    let masked = BinaryOperation::AND(field("tcp", "flags"), mask);
    is_not(Expression::BinaryOperation(Box::new(masked)), text("syn"))
}

/// `jhash ip saddr mod N seed SEED map { 0: …, 1: … }`.
fn by_source<'a>(landings: &[Ipv4Addr]) -> Expression<'a> {
    let hash = JHash {
        hash_mod: u32::try_from(landings.len()).unwrap_or(u32::MAX),
        offset: None,
        expr: Box::new(ip("saddr")),
        seed: Some(SEED),
    };
    let items = (0..)
        .zip(landings)
        .map(|(number, landing)| SetItem::Mapping(Expression::Number(number), address(*landing)));
    Expression::Named(NamedExpression::Map(Box::new(Map {
        key: Expression::Named(NamedExpression::JHash(hash)),
        data: Expression::Named(NamedExpression::Set(items.collect())),
    })))
}
