//! Chains of other programs that could drop packets that natha forwards. An accept in natha's table
//! does not override a drop in another table, so natha can only find these chains and warn.

use ipnet::Ipv4Net;
use serde_json::Value;

use super::TableSpec;

/// A rule with this comment accepts natha's traffic.
const ALLOWED: &str = "natha";

/// A base chain of another table at the forward hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherChain {
    /// Address family of the table: `ip` or `inet`.
    pub family: String,
    /// Name of the table.
    pub table: String,
    /// Name of the chain.
    pub name: String,
    /// Whether the chain drops packets that no rule accepts.
    pub drops: bool,
    /// Whether a rule's comment marks it as accepting natha's traffic.
    pub allows: bool,
}

impl OtherChain {
    /// The base chains at the forward hook for IPv4 in the output of `nft -j list chains`, without
    /// natha's own: family, table and name of each.
    #[must_use]
    pub fn at_forward(chains: &Value) -> Vec<(String, String, String)> {
        let objects = chains["nftables"].as_array().map_or(&[][..], Vec::as_slice);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        objects
            .iter()
            .map(|object| &object["chain"])
            .filter(|chain| chain["hook"] == "forward" && chain["type"] == "filter")
            .filter(|chain| chain["family"] == "ip" || chain["family"] == "inet")
            .filter(|chain| chain["table"] != super::table::TABLE.as_str())
            .map(|chain| (text(&chain["family"]), text(&chain["table"]), text(&chain["name"])))
            .collect()
    }

    /// Parses the output of `nft -j list chain FAMILY TABLE NAME`.
    #[must_use]
    pub fn new(family: String, table: String, name: String, listing: &Value) -> Self {
        let objects = listing["nftables"].as_array().map_or(&[][..], Vec::as_slice);
        let policy_drop = objects.iter().any(|o| o["chain"]["policy"] == "drop");
        let rules: Vec<&Value> =
            objects.iter().map(|o| &o["rule"]).filter(|rule| rule.is_object()).collect();
        let allows = rules.iter().any(|rule| rule["comment"] == ALLOWED);
        let drops = policy_drop || rules.iter().any(|rule| drops_all(rule));
        Self { family, table, name, drops, allows }
    }
}

/// Whether a rule drops or rejects every packet: only counters and logs come before the verdict.
fn drops_all(rule: &Value) -> bool {
    let statements = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
    let has = |statement: &Value, name: &str| statement.get(name).is_some();
    let neutral = |s: &Value| has(s, "counter") || has(s, "log");
    statements.split_last().is_some_and(|(last, rest)| {
        (has(last, "drop") || has(last, "reject")) && rest.iter().all(neutral)
    })
}

/// A warning for each chain that may drop a NAT's forwarded traffic, with the commands to accept
/// it.
#[must_use]
pub fn warnings(spec: &TableSpec, others: &[OtherChain]) -> Vec<String> {
    if !spec.nat {
        return Vec::new();
    }
    others.iter().filter(|c| c.drops && !c.allows).map(|chain| warning(spec, chain)).collect()
}

fn warning(spec: &TableSpec, chain: &OtherChain) -> String {
    let OtherChain { family, table, name, .. } = chain;
    let uplink = &spec.uplink;
    let sources = spec.sources.iter().map(Ipv4Net::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "chain `{name}` of table `{family} {table}` drops packets that none of its rules accept, \
         and natha cannot override it; unless its rules already accept this traffic, run:\n  \
         nft insert rule {family} {table} {name} oifname \"{uplink}\" ip saddr {{ {sources} }} \
         accept comment \"{ALLOWED}\"\n  \
         nft insert rule {family} {table} {name} iifname \"{uplink}\" ip daddr {{ {sources} }} \
         ct state established,related accept comment \"{ALLOWED}\"\n  \
         and add the same rules to that program's own configuration to make them permanent",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(policy: &str, rules: &[Value]) -> OtherChain {
        let mut objects = vec![json!({"chain": {"policy": policy}})];
        objects.extend(rules.iter().map(|rule| json!({"rule": rule})));
        let listing = json!({ "nftables": objects });
        OtherChain::new("inet".into(), "filter".into(), "forward".into(), &listing)
    }

    fn warned(chain: OtherChain) -> bool {
        let spec = TableSpec {
            uplink: "ens5".into(),
            links: ["ens5".to_owned()].into(),
            sources: vec!["10.0.0.0/16".parse().unwrap()],
            transit: None,
            vpc_networks: vec![],
            clamp_mss: true,
            flowtable: false,
            nat: true,
            accept: [].into(),
        };
        !warnings(&spec, &[chain]).is_empty()
    }

    #[test]
    fn a_chain_that_drops_by_policy_is_warned_about() {
        assert!(warned(chain("drop", &[])));
        assert!(!warned(chain("accept", &[])));
    }

    #[test]
    fn a_last_rule_that_drops_or_rejects_everything_counts_as_a_policy() {
        let reject = json!({"expr": [{"counter": {"packets": 1}}, {"reject": {"type": "icmpx"}}]});
        assert!(warned(chain("accept", &[reject])));
        let narrow = json!({"expr": [{"match": {"op": "=="}}, {"drop": null}]});
        assert!(!warned(chain("accept", &[narrow])));
    }

    #[test]
    fn a_rule_marked_as_allowing_natha_ends_the_warning() {
        assert!(!warned(chain("drop", &[json!({"comment": "natha", "expr": [{"accept": null}]})])));
    }

    #[test]
    fn only_chains_of_other_tables_at_the_forward_hook_count() {
        let chain = |family, table, hook| {
            json!({"chain": {
                "family": family, "table": table, "name": "c", "type": "filter", "hook": hook,
            }})
        };
        let listing = json!({"nftables": [
            chain("ip", "natha", "forward"),
            chain("ip6", "filter", "forward"),
            chain("ip", "filter", "input"),
            chain("ip", "filter", "forward"),
            chain("inet", "firewalld", "forward"),
        ]});
        let found: Vec<String> =
            OtherChain::at_forward(&listing).into_iter().map(|(_, table, _)| table).collect();
        assert_eq!(found, ["filter", "firewalld"]);
    }
}
