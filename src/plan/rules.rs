//! Building blocks of nft tables, and the features common to natha's tables: each is replaced as a
//! whole and carries a seal.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nftables::batch::Batch;
use nftables::expr::{
    CT, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix, SetItem,
};
use nftables::schema::{self, Chain, FlushObject, NfCmd, NfListObject, Rule, Table};
use nftables::stmt::{Counter, Match, Operator, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};

use super::Digest;

/// The chain that holds the seal. No packet passes through it.
pub(super) const SEAL: &str = "seal";

/// One of natha's nft tables, in the family `ip`, rendered from `Self`.
pub trait NftTable {
    /// Name of the table.
    const NAME: TableName;

    /// Whether the table has no content and must be removed.
    fn is_empty(&self) -> bool;

    /// Adds the table's content.
    #[doc(hidden)]
    fn fill<'a>(&'a self, batch: &mut Batch<'a>);

    /// The commands that replace the whole table, or remove it if it is empty, as JSON for
    /// `nft -j -f -`.
    ///
    /// # Panics
    /// Never: the types are plain data with text keys.
    fn render(&self) -> String {
        let mut batch = Batch::new();
        Self::NAME.clear(&mut batch);
        if !self.is_empty() {
            batch.add(Self::NAME.table());
            self.fill(&mut batch);
        }
        serde_json::to_string_pretty(&batch.to_nftables()).expect("plain data becomes JSON")
    }

    /// The commands that make the table, which fail and change nothing if there is one.
    ///
    /// # Panics
    /// Never, as for [`Self::render`].
    fn render_new(&self) -> String {
        let mut batch = Batch::new();
        batch.add_cmd(NfCmd::Create(Self::NAME.table()));
        self.fill(&mut batch);
        serde_json::to_string_pretty(&batch.to_nftables()).expect("plain data becomes JSON")
    }

    /// The digest of what [`Self::render`] returns.
    fn digest(&self) -> Digest {
        Digest::of(self.render().as_bytes())
    }

    /// The commands that store the plan's digest and `listing`, the digest of the table's listing
    /// right after loading, inside the table.
    ///
    /// # Panics
    /// Never, as for [`Self::render`].
    fn render_seal(&self, listing: &Digest) -> String {
        Self::NAME.seal(&self.digest(), listing)
    }
}

/// The name of a table in the family `ip`.
#[derive(Debug, Clone, Copy)]
pub struct TableName(&'static str);

impl TableName {
    pub(super) const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name as nft has it, without the family.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The commands that remove the table, whether or not it exists.
    ///
    /// # Panics
    /// Never: the types are plain data with text keys.
    #[must_use]
    pub fn removal(self) -> String {
        let mut batch = Batch::new();
        self.clear(&mut batch);
        serde_json::to_string_pretty(&batch.to_nftables()).expect("plain data becomes JSON")
    }

    /// The commands that remove the rules of a chain, which must exist.
    ///
    /// # Panics
    /// Never: the types are plain data with text keys.
    pub(super) fn flush(self, chain: &'static str) -> String {
        let mut batch = Batch::new();
        batch.add_cmd(NfCmd::Flush(FlushObject::Chain(self.bare_chain(chain))));
        serde_json::to_string_pretty(&batch.to_nftables()).expect("plain data becomes JSON")
    }

    fn table<'a>(self) -> NfListObject<'a> {
        NfListObject::Table(Table { family: NfFamily::IP, name: self.0.into(), handle: None })
    }

    /// The commands that make sure the table does not exist. Deleting an absent table fails, but
    /// adding an existing one does not.
    fn clear(self, batch: &mut Batch<'_>) {
        batch.add(self.table());
        batch.delete(self.table());
    }

    /// A chain, with or without a hook.
    pub(super) fn chain<'a>(
        self,
        name: &'static str,
        hook: Option<(NfChainType, NfHook, i32)>,
    ) -> NfListObject<'a> {
        let mut chain = self.bare_chain(name);
        if let Some((kind, hook, priority)) = hook {
            chain._type = Some(kind);
            chain.hook = Some(hook);
            chain.prio = Some(priority);
            chain.policy = Some(NfChainPolicy::Accept);
        }
        NfListObject::Chain(chain)
    }

    fn bare_chain<'a>(self, name: &'static str) -> Chain<'a> {
        Chain { family: NfFamily::IP, table: self.0.into(), name: name.into(), ..Chain::default() }
    }

    /// A counter, which begins at zero.
    pub(super) fn counter<'a>(self, name: &'static str) -> NfListObject<'a> {
        NfListObject::Counter(schema::Counter {
            family: NfFamily::IP,
            table: self.0.into(),
            name: name.into(),
            handle: None,
            packets: Some(0),
            bytes: Some(0),
        })
    }

    pub(super) fn rule<'a>(self, chain: &'static str, body: Vec<Statement<'a>>) -> Rule<'a> {
        Rule {
            family: NfFamily::IP,
            table: self.0.into(),
            chain: chain.into(),
            expr: body.into(),
            ..Rule::default()
        }
    }

    fn seal(self, plan: &Digest, listing: &Digest) -> String {
        let mut batch = Batch::new();
        batch.add(self.chain(SEAL, None));
        let comment = format!("plan={plan} listing={listing}");
        batch.add(NfListObject::Rule(Rule {
            comment: Some(comment.into()),
            ..self.rule(SEAL, vec![Statement::Return(None)])
        }));
        serde_json::to_string_pretty(&batch.to_nftables()).expect("plain data becomes JSON")
    }
}

pub(super) fn text(text: &str) -> Expression<'_> {
    Expression::String(Cow::Borrowed(text))
}

pub(super) fn port<'a>(number: u16) -> Expression<'a> {
    Expression::Number(number.into())
}

pub(super) fn meta<'a>(key: MetaKey) -> Expression<'a> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

pub(super) fn ct<'a>(key: &'static str) -> Expression<'a> {
    Expression::Named(NamedExpression::CT(CT { key: key.into(), family: None, dir: None }))
}

pub(super) fn field<'a>(protocol: &'static str, field: &'static str) -> Expression<'a> {
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(PayloadField {
        protocol: protocol.into(),
        field: field.into(),
    })))
}

pub(super) fn ip<'a>(name: &'static str) -> Expression<'a> {
    field("ip", name)
}

/// Flags of a bit field; matches any of them.
pub(super) fn list_of<'a>(items: &[&'static str]) -> Expression<'a> {
    Expression::List(items.iter().map(|item| text(item)).collect())
}

/// An anonymous set.
pub(super) fn set_of<'a>(items: &[&'static str]) -> Expression<'a> {
    let items = items.iter().map(|item| SetItem::Element(text(item))).collect();
    Expression::Named(NamedExpression::Set(items))
}

/// A network: its address and the length of its prefix.
pub(super) fn prefix<'a>(address: impl Into<Cow<'a, str>>, length: u8) -> Expression<'a> {
    Expression::Named(NamedExpression::Prefix(Prefix {
        addr: Box::new(Expression::String(address.into())),
        len: length.into(),
    }))
}

fn compare<'a>(left: Expression<'a>, op: Operator, right: Expression<'a>) -> Statement<'a> {
    Statement::Match(Match { left, right, op })
}

/// Counts the packet by a counter of the table.
pub(super) fn count<'a>(name: &'static str) -> Statement<'a> {
    Statement::Counter(Counter::Named(name.into()))
}

pub(super) fn is<'a>(left: Expression<'a>, right: Expression<'a>) -> Statement<'a> {
    compare(left, Operator::EQ, right)
}

pub(super) fn is_not<'a>(left: Expression<'a>, right: Expression<'a>) -> Statement<'a> {
    compare(left, Operator::NEQ, right)
}

pub(super) fn is_in<'a>(left: Expression<'a>, right: Expression<'a>) -> Statement<'a> {
    compare(left, Operator::IN, right)
}

pub(super) fn address<'a>(address: Ipv4Addr) -> Expression<'a> {
    Expression::String(address.to_string().into())
}

/// An anonymous set of networks.
pub(super) fn networks<'a>(list: &[Ipv4Net]) -> Expression<'a> {
    let item =
        |net: &Ipv4Net| SetItem::Element(prefix(net.network().to_string(), net.prefix_len()));
    Expression::Named(NamedExpression::Set(list.iter().map(item).collect()))
}
