//! The nft table `ip natha_vip`: accepts packets for virtual IPs that are not addresses of the
//! host. It is separate from `ip natha`, which only setup changes and whose digest shows whether it
//! is as setup left it. This table changes with every move of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use nftables::batch::Batch;
use nftables::expr::{CT, CTDir, Expression, MetaKey, NamedExpression};
use nftables::schema::NfListObject;
use nftables::stmt::{NAT, Reject, RejectType, Statement};
use nftables::types::{NfChainType, NfHook};

use super::rules::{NftTable, TableName, ct, ip, is, is_in, meta, port, set_of, text};

/// The primary private address of each interface, by the interface's name.
pub type Primaries = BTreeMap<String, Ipv4Addr>;

const TABLE: TableName = TableName::new("natha_vip");
/// Destination translation, for packets that arrive and for packets that this host sends.
const HOOKS: [(&str, NfHook); 2] = [("prerouting", NfHook::Prerouting), ("output", NfHook::Output)];
/// nft's standard priority for destination translation.
pub(super) const DSTNAT: i32 = -100;

/// The content of the table `ip natha_vip`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VipTable {
    /// Virtual IPs redirected to this host, each with the port for TCP and UDP if the port changes.
    pub redirected: BTreeMap<Ipv4Addr, Option<u16>>,
    /// Where packets for them go, by the interface that they arrive on.
    pub primaries: Primaries,
    /// Virtual IPs that this host no longer holds and whose connections must end.
    pub closed: BTreeSet<Ipv4Addr>,
}

impl NftTable for VipTable {
    const NAME: TableName = TABLE;

    fn is_empty(&self) -> bool {
        self.redirected.is_empty() && self.closed.is_empty()
    }

    fn fill<'a>(&'a self, batch: &mut Batch<'a>) {
        for (name, hook) in HOOKS {
            let arrives = matches!(hook, NfHook::Prerouting);
            batch.add(TABLE.chain(name, Some((NfChainType::NAT, hook, DSTNAT))));
            for (address, to) in &self.redirected {
                let rules = if arrives {
                    redirection(*address, *to, &self.primaries)
                } else {
                    // The kernel redirects what this host sends to loopback.
                    by_kernel(*address, *to)
                };
                for body in rules {
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

/// The rules that redirect one address for packets that arrive: to the primary address of their
/// interface. nft's `redirect` takes the interface's first address instead (`nf_nat_redirect.c`),
/// which may be a secondary one: the kernel lists addresses of different networks as they were
/// added, and some systems add the secondary ones before the DHCP lease arrives. So `redirect` is
/// left for interfaces whose primary address is not known.
pub(super) fn redirection<'a>(
    address: Ipv4Addr,
    to: Option<u16>,
    primaries: &'a Primaries,
) -> Vec<Vec<Statement<'a>>> {
    let of_link = |(link, primary): (&'a String, &Ipv4Addr)| {
        let from = [is(meta(MetaKey::Iifname), text(link))];
        let primary = *primary;
        rules(&from, address, to, |number| {
            let addr = Some(Expression::String(primary.to_string().into()));
            Statement::DNAT(Some(NAT { addr, family: None, port: number.map(port), flags: None }))
        })
    };
    primaries.iter().flat_map(of_link).chain(by_kernel(address, to)).collect()
}

/// The rules that redirect one address to where the kernel chooses.
fn by_kernel<'a>(address: Ipv4Addr, to: Option<u16>) -> Vec<Vec<Statement<'a>>> {
    rules(&[], address, to, |number| {
        let nat = |number| NAT { addr: None, family: None, port: Some(port(number)), flags: None };
        Statement::Redirect(number.map(nat))
    })
}

/// The rules that translate packets for one address. With a port, protocols without ports are still
/// redirected, so that the virtual IP answers pings.
fn rules<'a>(
    from: &[Statement<'a>],
    address: Ipv4Addr,
    to: Option<u16>,
    translate: impl Fn(Option<u16>) -> Statement<'a>,
) -> Vec<Vec<Statement<'a>>> {
    let to_it = || is(ip("daddr"), Expression::String(address.to_string().into()));
    let mut rules = Vec::new();
    if let Some(number) = to {
        let has_ports = is(meta(MetaKey::L4proto), set_of(&["tcp", "udp"]));
        rules.push([from, &[to_it(), has_ports, translate(Some(number))]].concat());
    }
    rules.push([from, &[to_it(), translate(None)]].concat());
    rules
}

/// The rules that end connections to an address which this host no longer holds. A connection keeps
/// its original translation when the rules change, so a redirected one would stay on this host,
/// apart from the current holder. TCP gets a reset; everything else is dropped.
fn closing<'a>(address: Ipv4Addr) -> Vec<Vec<Statement<'a>>> {
    let began_to = || {
        let sent_to = CT { key: "ip daddr".into(), family: None, dir: Some(CTDir::Original) };
        let sent_to = Expression::Named(NamedExpression::CT(sent_to));
        is(sent_to, Expression::String(address.to_string().into()))
    };
    let reset = Reject { _type: Some(RejectType::TCPReset), expr: None };
    let is_tcp = is(meta(MetaKey::L4proto), text("tcp"));
    let translated = || is_in(ct("status"), text("dnat"));
    // The reset itself is a reply on the same connection and must reach a client on this host.
    let sent = || is(ct("direction"), text("original"));
    vec![
        vec![began_to(), sent(), translated(), is_tcp, Statement::Reject(Some(reset))],
        vec![began_to(), sent(), translated(), Statement::Drop(None)],
    ]
}
