//! The nft table: one table `ip natha`, rendered whole.
//!
//! Which packets the table handles, and how:
//!
//! - *Translated*: packets that a source sends through the uplink, except to the VPC itself. They
//!   get the uplink's primary private address, in whatever order the host has its addresses.
//!   Packets that this host itself sends keep their source address.
//! - *Filtered*: only packets between the uplink and natha's own interfaces. The chain's policy is
//!   accept. An accept here is not final, because every other table still applies, but a drop is. A
//!   policy of drop would cut off containers, tunnels and any other forwarding on this host through
//!   interfaces that natha does not know.
//! - *Dropped*: packets from or to a link-local address, which belongs to one link; new connections
//!   from the internet to a source; packets to the uplink that conntrack considers invalid, which
//!   would leave untranslated with a private address; and packets from other networks that use this
//!   host as their router to the internet. Connections accepted by another DNAT rule are kept, and
//!   so is traffic between two hosts of the VPC.
//! - *Confirmed*: translated flows in which both sides have spoken, TCP after its handshake. Their
//!   packets leave the table at one of its first two rules. Such a flow was accepted by the rules
//!   below when it was opened. Invalid packets belong to no flow, and the two segments that open a
//!   TCP connection come before it is confirmed: these pass all rules.
//! - *Offloaded* (optional): TCP and UDP flows between a source and the internet bypass the ruleset
//!   through a flowtable once they have a reply. Every rule has accepted them by then.
//! - *Refused* (optional): what private hosts send to this host itself; see `protect.rs`.
//!
//! On a host that is not a NAT the table holds only the redirections of `host.accept`, if any.

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nftables::batch::Batch;
use nftables::expr::{
    BinaryOperation, Expression, Fib, FibFlag, FibResult, MetaKey, NamedExpression, RT, RTKey,
    TcpOption,
};
use nftables::schema::{FlowTable, NfListObject, Set, SetFlag, SetType, SetTypeValue};
use nftables::stmt::{Flow, Mangle, NAT, SetOp, Statement};
use nftables::types::{NfChainType, NfFamily, NfHook};
use serde::{Deserialize, Serialize};

use super::protect::{self, Protection};
use super::rules::{
    NftTable, TableName, address, count, ct, field, ip, is, is_in, is_not, list_of, meta, prefix,
    set_of, text,
};
use super::vips::{DSTNAT, Primaries, redirection};

pub(super) const TABLE: TableName = TableName::new("natha");
/// The interface through which the monitor sends the packets that test forwarding.
pub const TRANSIT_LINK: &str = "natha0";
/// Name of the flowtable.
const FAST: &str = "fast";
/// The counter of packets to the uplink.
pub(super) const TO_UPLINK: &str = "to_uplink";
/// The counter of packets from the uplink.
pub(super) const FROM_UPLINK: &str = "from_uplink";
/// The counter of packets that open a translated connection.
pub(super) const NEW_FLOWS: &str = "new_flows";
/// The counter of packets that the table drops.
pub(super) const DROPPED: &str = "dropped";
/// Names of the counters.
const COUNTERS: [&str; 4] = [TO_UPLINK, FROM_UPLINK, NEW_FLOWS, DROPPED];

/// The shortest prefix of a network that is taken for a network of one's own. Registries give out
/// nothing larger; a shorter prefix means "everything", and so also the internet.
const OWN_PREFIX: u8 = 8;

/// Whether a network is so large that it contains a part of the internet.
pub(super) fn is_wide(net: Ipv4Net) -> bool {
    net.prefix_len() < OWN_PREFIX
}

/// The content of the table `ip natha`. Stored in the undo journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSpec {
    /// The interface to the internet.
    pub uplink: String,
    /// All interfaces that take part, including the uplink.
    pub links: BTreeSet<String>,
    /// Networks whose traffic is translated, without overlaps.
    pub sources: Vec<Ipv4Net>,
    /// The source network of the packets with which the monitor tests that this host forwards. It
    /// is translated like the other sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit: Option<Ipv4Net>,
    /// The VPC's networks and the sources, without overlaps. Traffic between them is not
    /// translated.
    #[serde(rename = "local")]
    pub vpc_networks: Vec<Ipv4Net>,
    /// The address that packets to the internet are translated to: the uplink's primary private
    /// address, the only one that EC2 is sure to give a public one. If none, the kernel takes the
    /// first address of the uplink that is in the gateway's subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Whether the TCP MSS is clamped towards the internet, to the path MTU and to `mss`.
    pub clamp_mss: bool,
    /// The largest TCP segment towards the internet, in bytes.
    #[serde(default = "internet_mss")]
    pub mss: u16,
    /// Whether established flows of the sources are offloaded to a flowtable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flowtable: bool,
    /// Whether the table translates and filters. If not, the fields above have no effect.
    #[serde(default = "is_nat", skip_serializing_if = "Clone::clone")]
    pub nat: bool,
    /// What private hosts can reach of this host; none if the table leaves that to other rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protect: Option<Protection>,
    /// Addresses that this host does not have but accepts packets for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accept: BTreeSet<Ipv4Addr>,
    /// Where packets for these addresses are redirected to, by the interface that they arrive on.
    #[serde(default, skip_serializing_if = "Primaries::is_empty")]
    pub primaries: Primaries,
}

/// Journals from versions that clamped to the path MTU alone have no field `mss`.
const fn internet_mss() -> u16 {
    1460
}

/// Journals from versions in which every host was a NAT have no field `nat`.
const fn is_nat() -> bool {
    true
}

impl NftTable for TableSpec {
    const NAME: TableName = TABLE;

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
        let rules = |address: &Ipv4Addr| redirection(*address, None, &self.primaries);
        for body in self.accept.iter().flat_map(rules) {
            batch.add(NfListObject::Rule(TABLE.rule("accept", body)));
        }
    }
}

impl TableSpec {
    fn fill_nat<'a>(&'a self, batch: &mut Batch<'a>) {
        for name in COUNTERS {
            batch.add(TABLE.counter(name));
        }
        batch.add(set("sources", SetType::Ipv4Addr, networks(&self.translated())));
        batch.add(set("local", SetType::Ipv4Addr, networks(&self.vpc_networks)));
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
        if let Some(protect) = &self.protect {
            batch.add(TABLE.counter(protect::REFUSED));
            let input = Some((NfChainType::Filter, NfHook::Input, 0));
            batch.add(TABLE.chain(protect::CHAIN, input));
            for body in protect.rules() {
                batch.add(NfListObject::Rule(TABLE.rule(protect::CHAIN, body)));
            }
        }
    }

    /// The sources, without overlaps, with the monitor's own.
    pub(super) fn translated(&self) -> Vec<Ipv4Net> {
        let all: Vec<Ipv4Net> = self.sources.iter().copied().chain(self.transit).collect();
        Ipv4Net::aggregate(&all)
    }

    fn forward(&self) -> Vec<Vec<Statement<'_>>> {
        let out = || is(meta(MetaKey::Oifname), text(&self.uplink));
        let back = || is(meta(MetaKey::Iifname), text(&self.uplink));
        let from_source = || is(ip("saddr"), text("@sources"));
        let to_source = || is(ip("daddr"), text("@sources"));
        let placed = || is_in(ct("state"), list_of(&["established", "related"]));
        let drop = || [count(DROPPED), Statement::Drop(None)];

        let accept = |name| [count(name), Statement::Accept(None)];
        let mut rules = Vec::new();
        if self.flowtable {
            rules.push([[out(), from_source()].as_slice(), &offload()].concat());
            rules.push([[back(), to_source()].as_slice(), &offload()].concat());
        }
        // A translated flow was opened from inside: its original direction leads to the uplink.
        let outwards = is(ct("direction"), text("original"));
        rules.push([[outwards, is_confirmed()].as_slice(), &accept(TO_UPLINK)].concat());
        rules.push([[is_confirmed()].as_slice(), &accept(FROM_UPLINK)].concat());
        if self.clamp_mss {
            // Jumbo frames go on within the VPC.
            let clamps = || [syn(), clamp(), clamp_to(self.mss)];
            let outside = |side| is_not(ip(side), text("@local"));
            let sent = [out(), from_source(), outside("daddr")];
            let received = [back(), to_source(), outside("saddr")];
            rules.extend([sent, received].map(|side| side.into_iter().chain(clamps()).collect()));
        }
        // An address of RFC 3927 is of one link. EC2 has the instance metadata at one.
        for side in ["saddr", "daddr"] {
            rules.push([[is(ip(side), prefix("169.254.0.0", 16))].as_slice(), &drop()].concat());
        }
        rules.push(vec![is_in(ct("status"), text("dnat")), Statement::Accept(None)]);
        let inside = [is(ip("saddr"), text("@local")), is(ip("daddr"), text("@local"))];
        rules.push([inside.as_slice(), &[Statement::Accept(None)]].concat());
        if self.sources.iter().copied().any(is_wide) {
            // The internet is a source, too. What comes from there is told by the uplink.
            let inwards =
                [back(), is_not(ip("saddr"), text("@local")), is(ip("daddr"), text("@local"))];
            let answer = [placed(), count(FROM_UPLINK), Statement::Accept(None)];
            rules.push([inwards.as_slice(), &answer].concat());
            rules.push([inwards.as_slice(), &drop()].concat());
        }
        let lost = is_in(ct("state"), text("invalid"));
        rules.push([[out(), from_source(), lost].as_slice(), &drop()].concat());
        rules.push([[out(), from_source()].as_slice(), &accept(TO_UPLINK)].concat());
        rules.push([[back(), to_source(), placed()].as_slice(), &accept(FROM_UPLINK)].concat());
        let by_link = |key| is(meta(key), text("@links"));
        rules.push([[by_link(MetaKey::Iifname), out()].as_slice(), &drop()].concat());
        rules.push([[back(), by_link(MetaKey::Oifname)].as_slice(), &drop()].concat());
        rules
    }

    /// The networks of private hosts: the sources, without the internet where they contain it.
    #[must_use]
    pub fn private_networks(&self) -> Vec<Ipv4Net> {
        let mut found = Vec::new();
        for source in &self.sources {
            for local in &self.vpc_networks {
                // Of two networks that overlap, one contains the other.
                if source.contains(local) {
                    found.push(*local);
                } else if local.contains(source) {
                    found.push(*source);
                }
            }
        }
        Ipv4Net::aggregate(&found)
    }

    /// What this table closes and the one of the last setup, `before`, left open; none if nothing.
    #[must_use]
    pub fn newly_closed(&self, before: Option<&Self>) -> Option<String> {
        fn list(networks: &[Ipv4Net]) -> String {
            networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        let protect = self.protect.as_ref()?;
        if before.is_some_and(|before| before.protect.as_ref() == Some(protect)) {
            return None;
        }
        let except = match &protect.except[..] {
            [] => "`host.protect_except` lists no network that stays open".to_owned(),
            open => format!("{} stays open (`host.protect_except`)", list(open)),
        };
        Some(format!(
            "`host.protect` closes this host to new connections from {}, SSH, metrics and health \
             checks included: from there it accepts echo requests and what the nodes of the \
             cluster send to each other. {except}. Open connections go on, and forwarding is not \
             affected",
            list(&self.private_networks())
        ))
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
            count(NEW_FLOWS),
            self.address.map_or(Statement::Masquerade(None), snat),
        ]
    }
}

/// `snat to ADDRESS`: ports are kept and chosen as by `masquerade`.
fn snat<'a>(to: Ipv4Addr) -> Statement<'a> {
    let addr = Some(address(to));
    Statement::SNAT(Some(NAT { addr, family: None, port: None, flags: None }))
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
    list.iter().map(|net| prefix(net.network().to_string(), net.prefix_len())).collect()
}

/// `meta l4proto { tcp, udp } ct state established flow add @fast`. The kernel does not offload
/// connections that are closing or that a conntrack helper tracks.
fn offload<'a>() -> [Statement<'a>; 3] {
    [
        is(meta(MetaKey::L4proto), set_of(&["tcp", "udp"])),
        is_in(ct("state"), text("established")),
        Statement::Flow(Flow { op: SetOp::Add, flowtable: "@fast".into() }),
    ]
}

/// `ct status & (assured|snat|dnat) == assured|snat`: one look at the flow instead of many at the
/// packet. The kernel assures a TCP flow with the segment that follows the SYN-ACK, and a UDP flow
/// with an answer to a later packet. Port forwards (DNAT) of other tables are left to their rule.
fn is_confirmed<'a>() -> Statement<'a> {
    // nft before 1.0.9 takes two operands and no more.
    let either =
        |left, right| Expression::BinaryOperation(Box::new(BinaryOperation::OR(vec![left, right])));
    let wanted = || either(text("assured"), text("snat"));
    let masked = BinaryOperation::AND(ct("status"), either(wanted(), text("dnat")));
    is(Expression::BinaryOperation(Box::new(masked)), wanted())
}

/// `tcp flags & (syn|rst) == syn`: the opening segments in both directions.
fn syn<'a>() -> Statement<'a> {
    let mask =
        Expression::BinaryOperation(Box::new(BinaryOperation::OR(vec![text("syn"), text("rst")])));
    let masked = BinaryOperation::AND(field("tcp", "flags"), mask);
    is(Expression::BinaryOperation(Box::new(masked)), text("syn"))
}

/// `tcp option maxseg size set rt mtu`: the kernel uses the smaller MTU of both directions and
/// never raises the packet's value.
fn clamp<'a>() -> Statement<'a> {
    max_segment(Expression::Named(NamedExpression::RT(RT { key: RTKey::MTU, family: None })))
}

/// `tcp option maxseg size set BYTES`: with jumbo frames here, the path MTU as far as this host
/// knows it says nothing of the internet. Never raises the packet's value either.
fn clamp_to<'a>(bytes: u16) -> Statement<'a> {
    max_segment(Expression::Number(bytes.into()))
}

fn max_segment(value: Expression<'_>) -> Statement<'_> {
    let option = TcpOption { name: "maxseg".into(), field: Some("size".into()) };
    Statement::Mangle(Mangle { key: Expression::Named(NamedExpression::TcpOption(option)), value })
}
