//! The nft table: one table `ip natha`, rendered whole.
//!
//! What the table decides about, and what it leaves to others:
//!
//! - *Translated* is what a source sends out of the uplink, except to the VPC itself. What this
//!   host sends by itself keeps the address it chose.
//! - *Filtered* is only what passes between the uplink and natha's own interfaces. The chain's
//!   policy is accept, because an accept here ends nothing: every other table still has its say,
//!   while a drop is final. A policy of drop would cut off containers, tunnels and whatever else
//!   is forwarded on this host by interfaces that natha does not know.
//! - *Dropped* are new connections from the internet to a source, packets from the uplink's side
//!   that conntrack cannot place (untranslated, they would leave under a private address), and
//!   strangers that use this host as their router to the internet. A connection that somebody's
//!   own DNAT rule let in stays, and so does traffic that both begins and ends in the VPC.
//! - *Shortened*, where that is wished, is the way of what has an answer: TCP and UDP between a
//!   source and the internet go by a flowtable from then on. Every rule has judged them before.
//!
//! Where the host is no NAT, none of this is there: only what it is to answer on, if anything.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nftables::batch::Batch;
use nftables::expr::{
    BinaryOperation, Expression, Fib, FibFlag, FibResult, MetaKey, NamedExpression, Prefix, RT,
    RTKey, TcpOption,
};
use nftables::schema::{Counter, FlowTable, NfListObject, Set, SetFlag, SetType, SetTypeValue};
use nftables::stmt::{Counter as CounterUse, Flow, Mangle, SetOp, Statement};
use nftables::types::{NfChainType, NfFamily, NfHook};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::rules::{Name, NftTable, ct, field, ip, is, is_in, is_not, list_of, meta, set_of, text};
use super::vips::{DSTNAT, redirection};

/// Its name.
pub(super) const TABLE: Name = Name::new("natha");
/// The flowtable.
const FAST: &str = "fast";
/// The named counters.
const COUNTERS: [&str; 4] = ["to_uplink", "from_uplink", "new_flows", "dropped"];

/// The first 64 bits of a SHA-256, for finding out that something changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(String);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash = Sha256::digest(bytes);
        let head = hash.iter().take(8).fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        Self(format!("{head:016x}"))
    }

    /// A digest that was written down before.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the table is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSpec {
    /// The interface towards the internet.
    pub uplink: String,
    /// All of natha's interfaces, the uplink among them.
    pub links: BTreeSet<String>,
    /// Whose traffic is translated; no two overlap.
    pub sources: Vec<Ipv4Net>,
    /// The VPC's own addresses, the sources among them; no two overlap.
    pub local: Vec<Ipv4Net>,
    /// Whether TCP's MSS is clamped to the path MTU.
    pub clamp_mss: bool,
    /// Whether established flows of sources take the short way of a flowtable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flowtable: bool,
    /// Whether it translates and filters at all: where not, none of the above counts.
    #[serde(default = "is_nat", skip_serializing_if = "Clone::clone")]
    pub nat: bool,
    /// Addresses that are no addresses of this host, and that it answers on nevertheless.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accept: BTreeSet<Ipv4Addr>,
}

/// What a plan was that was written down before there were hosts that are no NAT.
const fn is_nat() -> bool {
    true
}

impl NftTable for TableSpec {
    const NAME: Name = TABLE;

    fn is_empty(&self) -> bool {
        !self.nat && self.accept.is_empty()
    }

    fn fill<'a>(&'a self, batch: &mut Batch<'a>) {
        if self.nat {
            self.fill_nat(batch);
        }
        if !self.accept.is_empty() {
            batch.add(TABLE.chain("accept", Some((NfChainType::NAT, NfHook::Prerouting, DSTNAT))));
        }
        for body in self.accept.iter().flat_map(|address| redirection(*address, None)) {
            batch.add(NfListObject::Rule(TABLE.rule("accept", body)));
        }
    }
}

impl TableSpec {
    fn fill_nat<'a>(&'a self, batch: &mut Batch<'a>) {
        for name in COUNTERS {
            batch.add(NfListObject::Counter(Counter {
                family: NfFamily::IP,
                table: TABLE.as_str().into(),
                name: name.into(),
                handle: None,
                packets: Some(0),
                bytes: Some(0),
            }));
        }
        batch.add(set("sources", SetType::Ipv4Addr, networks(&self.sources)));
        batch.add(set("local", SetType::Ipv4Addr, networks(&self.local)));
        let names = self.links.iter().map(|name| text(name)).collect();
        batch.add(set("links", SetType::Ifname, names));
        if self.flowtable {
            batch.add(NfListObject::FlowTable(FlowTable {
                family: NfFamily::IP,
                table: TABLE.as_str().into(),
                name: FAST.into(),
                handle: None,
                hook: Some(NfHook::Ingress),
                prio: Some(0),
                dev: Some(self.links.iter().map(|name| name.as_str().into()).collect()),
            }));
        }
        batch.add(TABLE.chain("forward", Some((NfChainType::Filter, NfHook::Forward, 0))));
        batch.add(TABLE.chain("postrouting", Some((NfChainType::NAT, NfHook::Postrouting, 100))));
        for body in self.forward() {
            batch.add(NfListObject::Rule(TABLE.rule("forward", body)));
        }
        batch.add(NfListObject::Rule(TABLE.rule("postrouting", self.translate())));
    }

    fn forward(&self) -> Vec<Vec<Statement<'_>>> {
        let out = || is(meta(MetaKey::Oifname), text(&self.uplink));
        let back = || is(meta(MetaKey::Iifname), text(&self.uplink));
        let from_source = || is(ip("saddr"), text("@sources"));
        let to_source = || is(ip("daddr"), text("@sources"));
        let placed = || is_in(ct("state"), list_of(&["established", "related"]));
        let drop = || [count("dropped"), Statement::Drop(None)];

        let mut rules = Vec::new();
        if self.clamp_mss {
            rules.push(vec![out(), from_source(), syn(), clamp()]);
            rules.push(vec![back(), to_source(), syn(), clamp()]);
        }
        rules.push(vec![is_in(ct("status"), text("dnat")), Statement::Accept(None)]);
        let inside = [is(ip("saddr"), text("@local")), is(ip("daddr"), text("@local"))];
        rules.push([inside.as_slice(), &[Statement::Accept(None)]].concat());
        let lost = is_in(ct("state"), text("invalid"));
        rules.push([[out(), from_source(), lost].as_slice(), &drop()].concat());
        if self.flowtable {
            rules.push([[out(), from_source()].as_slice(), &shorten()].concat());
            rules.push([[back(), to_source()].as_slice(), &shorten()].concat());
        }
        let accept = |name| [count(name), Statement::Accept(None)];
        rules.push([[out(), from_source()].as_slice(), &accept("to_uplink")].concat());
        rules.push([[back(), to_source(), placed()].as_slice(), &accept("from_uplink")].concat());
        let by_link = |key| is(meta(key), text("@links"));
        rules.push([[by_link(MetaKey::Iifname), out()].as_slice(), &drop()].concat());
        rules.push([[back(), by_link(MetaKey::Oifname)].as_slice(), &drop()].concat());
        rules
    }

    fn translate(&self) -> Vec<Statement<'_>> {
        let own = NamedExpression::Fib(Fib {
            result: FibResult::Type,
            flags: HashSet::from([FibFlag::Saddr]),
        });
        vec![
            is(meta(MetaKey::Oifname), text(&self.uplink)),
            is(ip("saddr"), text("@sources")),
            is_not(ip("daddr"), text("@local")),
            is_not(Expression::Named(own), text("local")),
            count("new_flows"),
            Statement::Masquerade(None),
        ]
    }
}

fn set<'a>(name: &'static str, kind: SetType, elements: Vec<Expression<'a>>) -> NfListObject<'a> {
    let interval = kind == SetType::Ipv4Addr;
    NfListObject::Set(Box::new(Set {
        family: NfFamily::IP,
        table: TABLE.as_str().into(),
        name: name.into(),
        set_type: SetTypeValue::Single(kind),
        flags: interval.then(|| HashSet::from([SetFlag::Interval])),
        elem: Some(elements.into()),
        ..Set::default()
    }))
}

fn networks<'a>(list: &[Ipv4Net]) -> Vec<Expression<'a>> {
    list.iter()
        .map(|net| {
            Expression::Named(NamedExpression::Prefix(Prefix {
                addr: Box::new(Expression::String(net.network().to_string().into())),
                len: net.prefix_len().into(),
            }))
        })
        .collect()
}

fn count<'a>(name: &'static str) -> Statement<'a> {
    Statement::Counter(CounterUse::Named(name.into()))
}

/// `meta l4proto { tcp, udp } ct state established flow add @fast`: the kernel itself leaves alone
/// what is being closed, and what a helper follows.
fn shorten<'a>() -> [Statement<'a>; 3] {
    [
        is(meta(MetaKey::L4proto), set_of(&["tcp", "udp"])),
        is_in(ct("state"), text("established")),
        Statement::Flow(Flow { op: SetOp::Add, flowtable: "@fast".into() }),
    ]
}

/// `tcp flags & (syn|rst) == syn`: the opening segments of both sides.
fn syn<'a>() -> Statement<'a> {
    let mask =
        Expression::BinaryOperation(Box::new(BinaryOperation::OR(vec![text("syn"), text("rst")])));
    let masked = BinaryOperation::AND(field("tcp", "flags"), mask);
    is(Expression::BinaryOperation(Box::new(masked)), text("syn"))
}

/// `tcp option maxseg size set rt mtu`: the kernel takes the smaller MTU of both directions, and
/// never raises what the packet says.
fn clamp<'a>() -> Statement<'a> {
    let option = TcpOption { name: "maxseg".into(), field: Some("size".into()) };
    Statement::Mangle(Mangle {
        key: Expression::Named(NamedExpression::TcpOption(option)),
        value: Expression::Named(NamedExpression::RT(RT { key: RTKey::MTU, family: None })),
    })
}
