//! The nft table `ip natha_vip`: what takes in packets to virtual IPs that are no addresses of the
//! host. A table of its own, because `ip natha` belongs to setup, is replaced whole by it and says
//! by its digest whether it is as setup left it; this one changes with every move of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use nftables::batch::Batch;
use nftables::expr::{CT, CTDir, Expression, MetaKey, NamedExpression};
use nftables::schema::NfListObject;
use nftables::stmt::{NAT, Reject, RejectType, Statement};
use nftables::types::{NfChainType, NfHook};

use super::rules::{Name, NftTable, ct, ip, is, is_in, meta, port, set_of, text};

/// Its name.
const TABLE: Name = Name::new("natha_vip");
/// Destination translation, where the packet comes in and where this host itself sends it.
const HOOKS: [(&str, NfHook); 2] = [("prerouting", NfHook::Prerouting), ("output", NfHook::Output)];
/// The priority of destination translation.
pub(super) const DSTNAT: i32 = -100;

/// What the table is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VipTable {
    /// The virtual IPs that are redirected to this host, and the port that TCP and UDP go to, where
    /// that is not the one that they are sent to.
    pub redirected: BTreeMap<Ipv4Addr, Option<u16>>,
    /// Those that this host no longer has, and whose connections are to end.
    pub closed: BTreeSet<Ipv4Addr>,
}

impl NftTable for VipTable {
    const NAME: Name = TABLE;

    fn is_empty(&self) -> bool {
        self.redirected.is_empty() && self.closed.is_empty()
    }

    fn fill<'a>(&'a self, batch: &mut Batch<'a>) {
        for (name, hook) in HOOKS {
            batch.add(TABLE.chain(name, Some((NfChainType::NAT, hook, DSTNAT))));
            for (address, to) in &self.redirected {
                for body in redirection(*address, *to) {
                    batch.add(NfListObject::Rule(TABLE.rule(name, body)));
                }
            }
        }
        batch.add(TABLE.chain("input", Some((NfChainType::Filter, NfHook::Input, 0))));
        for address in &self.closed {
            for body in closing(*address) {
                batch.add(NfListObject::Rule(TABLE.rule("input", body)));
            }
        }
    }
}

/// The rules that redirect one address. With a port, what has no ports is still redirected: that a
/// virtual IP answers a ping is expected of it.
pub(super) fn redirection<'a>(address: Ipv4Addr, to: Option<u16>) -> Vec<Vec<Statement<'a>>> {
    let to_it = || is(ip("daddr"), Expression::String(address.to_string().into()));
    let mut rules = Vec::new();
    if let Some(number) = to {
        let has_ports = is(meta(MetaKey::L4proto), set_of(&["tcp", "udp"]));
        let nat = NAT { addr: None, family: None, port: Some(port(number)), flags: None };
        rules.push(vec![to_it(), has_ports, Statement::Redirect(Some(nat))]);
    }
    rules.push(vec![to_it(), Statement::Redirect(None)]);
    rules
}

/// A connection keeps the translation that it began with, whatever becomes of the rules: one that
/// was redirected to this host would stay with it, beside the holder of today. TCP is told so.
fn closing<'a>(address: Ipv4Addr) -> Vec<Vec<Statement<'a>>> {
    let began_to = || {
        let sent_to = CT { key: "ip daddr".into(), family: None, dir: Some(CTDir::Original) };
        let sent_to = Expression::Named(NamedExpression::CT(sent_to));
        is(sent_to, Expression::String(address.to_string().into()))
    };
    let reset = Reject { _type: Some(RejectType::TCPReset), expr: None };
    let is_tcp = is(meta(MetaKey::L4proto), text("tcp"));
    let translated = || is_in(ct("status"), text("dnat"));
    // The reset itself is a reply of the same connection, and must reach a client on this host.
    let sent = || is(ct("direction"), text("original"));
    vec![
        vec![began_to(), sent(), translated(), is_tcp, Statement::Reject(Some(reset))],
        vec![began_to(), sent(), translated(), Statement::Drop(None)],
    ]
}
