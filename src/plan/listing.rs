//! natha's table as `nft -j list table ip natha` prints it: whether it matches the plan, and
//! whether it is unchanged since it was loaded.
//!
//! A listing differs from the loaded text, and between versions of nft, so the two are not
//! compared. Instead the table stores the digest of its first listing, in a chain called the seal.
//! After an upgrade of nft the listing may look changed. The table is then loaded and sealed again,
//! which is harmless.

use serde_json::Value;

use super::Digest;
use super::egress::{EgressTable, RESETS};
use super::rules::{NftTable, SEAL, TableName};
use super::table::{DROPPED, FROM_UPLINK, NEW_FLOWS, TO_UPLINK, TableSpec};

/// natha's table as found on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TableState {
    /// The table does not exist.
    #[default]
    Absent,
    /// The table exists.
    Present(Listing),
}

/// What natha's tables have counted since each was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passing {
    /// From private hosts to the uplink.
    pub to_uplink: Tally,
    /// From the uplink to private hosts.
    pub from_uplink: Tally,
    /// Packets that opened a translated connection.
    pub new_flows: Tally,
    /// What `ip natha` has dropped.
    pub dropped: Tally,
    /// Packets of forgotten connections that `ip natha_egress` has answered with a reset.
    pub idle_resets: Tally,
}

/// The count of an nft counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

impl Passing {
    /// Parses the output of `nft -j list counters`.
    #[must_use]
    pub fn of(listing: &Value) -> Self {
        Self {
            to_uplink: tally(listing, TableSpec::NAME, TO_UPLINK),
            from_uplink: tally(listing, TableSpec::NAME, FROM_UPLINK),
            new_flows: tally(listing, TableSpec::NAME, NEW_FLOWS),
            dropped: tally(listing, TableSpec::NAME, DROPPED),
            idle_resets: tally(listing, EgressTable::NAME, RESETS),
        }
    }
}

/// What one of natha's counters has counted, in the output of `nft -j list counters`; nothing if
/// there is no such counter.
pub(super) fn tally(listing: &Value, table: TableName, name: &str) -> Tally {
    let objects = listing["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let counters = objects.iter().map(|object| &object["counter"]);
    let is_it = |counter: &&Value| {
        let of_table = counter["family"] == "ip" && counter["table"] == table.as_str();
        of_table && counter["name"] == name
    };
    let named: Vec<&Value> = counters.filter(is_it).collect();
    let sum =
        |field: &str| -> u64 { named.iter().filter_map(|counter| counter[field].as_u64()).sum() };
    Tally { packets: sum("packets"), bytes: sum("bytes") }
}

/// The digests in a listing of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Digest of the listing without counter values, handles and the seal.
    pub digest: Digest,
    /// From the seal: the digest of the plan that the table was made from, and of the listing right
    /// after loading.
    pub seal: Option<(Digest, Digest)>,
}

impl Listing {
    /// Parses the output of `nft -j list table`.
    #[must_use]
    pub fn new(listing: &Value) -> Self {
        let objects = listing["nftables"].as_array().map_or(&[][..], Vec::as_slice);
        let mut rules = Vec::new();
        let mut others = Vec::new();
        let mut seal = None;
        for object in objects {
            let Some((kind, body)) = object.as_object().and_then(|o| o.iter().next()) else {
                continue;
            };
            match kind.as_str() {
                "metainfo" => {}
                "chain" if body["name"] == SEAL => {}
                "rule" if body["chain"] == SEAL => {
                    seal = body["comment"].as_str().and_then(parse_seal);
                }
                "rule" => rules.push(canonical(kind, body)),
                _ => others.push(canonical(kind, body)),
            }
        }
        // Only the order of rules matters.
        others.sort();
        others.append(&mut rules);
        Self { digest: Digest::of(others.join("\n").as_bytes()), seal }
    }

    /// Whether the table is unchanged since it was sealed.
    #[must_use]
    pub fn intact(&self) -> bool {
        self.seal.as_ref().is_some_and(|(_, listing)| *listing == self.digest)
    }

    /// Whether the table is unchanged and was made from the plan with this digest.
    #[must_use]
    pub fn is(&self, plan: &Digest) -> bool {
        self.intact() && self.seal.as_ref().is_some_and(|(made_from, _)| made_from == plan)
    }
}

fn parse_seal(comment: &str) -> Option<(Digest, Digest)> {
    let (plan, listing) = comment.strip_prefix("plan=")?.split_once(" listing=")?;
    Some((Digest::from_text(plan), Digest::from_text(listing)))
}

/// One object without the fields that nft and the kernel change.
fn canonical(kind: &str, body: &Value) -> String {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("handle");
        if kind == "counter" {
            fields.remove("packets");
            fields.remove("bytes");
        }
        if let Some(Value::Array(elements)) = fields.get_mut("elem") {
            elements.sort_by_cached_key(Value::to_string);
        }
    }
    format!("{kind} {body}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(packets: u64, handle: u64, elements: &Value, last: &str, seal: &str) -> Value {
        json!({"nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"table": {"family": "ip", "name": "natha", "handle": handle}},
            {"counter": {"name": "dropped", "handle": 2, "packets": packets, "bytes": 0}},
            {"set": {"name": "sources", "handle": 3, "elem": elements}},
            {"chain": {"name": "seal", "handle": 9}},
            {"rule": {"chain": "forward", "handle": 4, "expr": [{"accept": null}]}},
            {"rule": {"chain": "forward", "handle": 5, "expr": [{ last: null }]}},
            {"rule": {"chain": "seal", "handle": 10, "comment": seal, "expr": [{"return": null}]}},
        ]})
    }

    #[test]
    fn what_has_passed_is_read_from_the_counters_by_name() {
        let counter = |table: &str, name: &str, packets: u64| {
            let bytes = packets * 100;
            let content = json!({
                "family": "ip", "table": table, "name": name, "packets": packets, "bytes": bytes
            });
            json!({ "counter": content })
        };
        let objects = [
            json!({"metainfo": {"version": "1.0.6"}}),
            counter("natha", "dropped", 5),
            counter("natha", "from_uplink", 7),
            counter("natha", "to_uplink", 9),
            counter("natha_egress", "resets", 3),
            counter("other", "to_uplink", 1_000),
        ];
        let passing = Passing::of(&json!({ "nftables": objects }));
        let tally = |packets| Tally { packets, bytes: packets * 100 };
        let wanted = Passing {
            to_uplink: tally(9),
            from_uplink: tally(7),
            new_flows: Tally::default(),
            dropped: tally(5),
            idle_resets: tally(3),
        };
        assert_eq!(passing, wanted);
        assert_eq!(Passing::of(&json!({})), Passing::default());
    }

    fn sealed(packets: u64, handle: u64, elements: &Value, last: &str) -> Listing {
        let before = Listing::new(&table(0, 1, &json!(["a", "b"]), "drop", ""));
        assert_eq!(before.seal, None);
        let seal = format!("plan=0123 listing={}", before.digest);
        Listing::new(&table(packets, handle, elements, last, &seal))
    }

    #[test]
    fn counters_handles_and_the_order_of_set_elements_do_not_matter() {
        let listing = sealed(5_000_000_000, 77, &json!(["b", "a"]), "drop");
        assert!(listing.is(&Digest::from_text("0123")));
    }

    #[test]
    fn another_plan_is_detected() {
        let listing = sealed(0, 1, &json!(["a", "b"]), "drop");
        assert!(listing.intact());
        assert!(!listing.is(&Digest::from_text("4567")));
    }

    #[test]
    fn a_changed_rule_or_set_is_detected() {
        assert!(!sealed(0, 1, &json!(["a", "b"]), "accept").intact());
        assert!(!sealed(0, 1, &json!(["a"]), "drop").intact());
    }

    #[test]
    fn a_table_without_a_seal_is_not_intact() {
        assert!(!Listing::new(&table(0, 1, &json!([]), "drop", "not natha's")).intact());
    }
}
