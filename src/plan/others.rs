//! Chains of other programs that could drop packets that natha forwards. An accept in natha's table
//! does not override a drop in another table, so natha can only find these chains and warn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::relay::RELAY_LINK;
use super::table::{TRANSIT_LINK, TableSpec};

/// A rule with this comment accepts natha's traffic, and so does a chain with this word in its
/// name.
const ALLOWED: &str = "natha";

/// The program that a chain belongs to. It decides where a rule may be added: `nft` in a table of
/// iptables makes `iptables` fail, and firewalld refuses changes of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Docker, in the tables of iptables.
    Docker,
    /// ufw, in the tables of iptables.
    Ufw,
    /// firewalld's own table.
    Firewalld,
    /// iptables, by hand or by another program.
    Iptables,
    /// Any other table.
    Nft,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
            Self::Iptables => "iptables",
            Self::Nft => "nft",
        })
    }
}

/// A base chain of another table at the forward hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherChain {
    /// Address family of the table: `ip` or `inet`.
    pub family: String,
    /// Name of the table.
    pub table: String,
    /// Name of the chain.
    pub name: String,
    /// The program that it belongs to.
    pub owner: Owner,
    /// Whether the chain drops packets that no rule accepts.
    pub drops: bool,
    /// Whether a comment or a chain's name marks a rule as accepting natha's traffic.
    pub allows: bool,
    /// Outgoing interfaces to which a rule accepts packets of any kind.
    pub accepts_to: BTreeSet<String>,
}

impl fmt::Display for OtherChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, table, name, owner, .. } = self;
        write!(f, "chain `{name}` of table `{family} {table}` ({owner})")
    }
}

/// The rules of a table by chain.
type Rules<'a> = BTreeMap<&'a str, Vec<&'a [Value]>>;

impl OtherChain {
    /// The base chains at the forward hook for IPv4 in the output of `nft -j list chains`, without
    /// natha's own: family, table and name of each.
    #[must_use]
    pub fn at_forward(chains: &Value) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        objects(chains)
            .iter()
            .map(|object| &object["chain"])
            .filter(|chain| chain["hook"] == "forward" && chain["type"] == "filter")
            .filter(|chain| chain["family"] == "ip" || chain["family"] == "inet")
            .filter(|chain| chain["table"] != super::table::TABLE.as_str())
            .map(|chain| (text(&chain["family"]), text(&chain["table"]), text(&chain["name"])))
            .collect()
    }

    /// Finds a base chain in the output of `nft -j list table FAMILY TABLE`.
    #[must_use]
    pub fn new(family: String, table: String, name: String, listing: &Value) -> Self {
        let chains: Vec<&Value> = objects(listing).iter().map(|object| &object["chain"]).collect();
        let policy_drop = chains.iter().any(|c| c["name"] == *name && c["policy"] == "drop");
        let rules: Vec<&Value> = objects(listing).iter().map(|object| &object["rule"]).collect();
        let mut by_chain = Rules::new();
        for rule in &rules {
            if let (Some(chain), Some(body)) = (rule["chain"].as_str(), rule["expr"].as_array()) {
                by_chain.entry(chain).or_default().push(body);
            }
        }
        let reached = reached(&name, &by_chain);
        let is_reached = |chain: &Value| chain.as_str().is_some_and(|name| reached.contains(name));
        let commented =
            rules.iter().any(|rule| rule["comment"] == ALLOWED && is_reached(&rule["chain"]));
        let accepting = reached.iter().filter(|chain| chain.contains(ALLOWED)).any(|chain| {
            by_chain.get(chain).into_iter().flatten().any(|body| accepts(body).is_some())
        });
        let accepts_to = reached
            .iter()
            .flat_map(|chain| by_chain.get(chain).into_iter().flatten())
            .filter_map(|body| accepts(body))
            .flatten()
            .collect();
        let names: BTreeSet<&str> = chains.iter().filter_map(|c| c["name"].as_str()).collect();
        Self {
            owner: owner(&table, &name, &names),
            drops: policy_drop || drops_rest(&name, &by_chain, &mut BTreeSet::new()),
            allows: commented || accepting,
            accepts_to,
            family,
            table,
            name,
        }
    }

    /// Whether packets of natha's sources may be dropped here.
    fn endangers(&self, spec: &TableSpec) -> bool {
        self.drops && !self.allows && !self.accepts_to.contains(&spec.uplink)
    }
}

fn objects(listing: &Value) -> &[Value] {
    listing["nftables"].as_array().map_or(&[][..], Vec::as_slice)
}

fn owner(table: &str, name: &str, chains: &BTreeSet<&str>) -> Owner {
    if table == "firewalld" {
        Owner::Firewalld
    } else if table != "filter" || name != "FORWARD" {
        Owner::Nft
    } else if chains.contains("DOCKER-USER") {
        // Docker's chain is the first one, so a rule there also helps against ufw.
        Owner::Docker
    } else if chains.iter().any(|chain| chain.starts_with("ufw-")) {
        Owner::Ufw
    } else {
        Owner::Iptables
    }
}

/// The chain that a statement jumps or goes to.
fn target(statement: &Value) -> Option<&str> {
    ["jump", "goto"].iter().find_map(|verb| statement[*verb]["target"].as_str())
}

/// A base chain and all chains that its rules lead to.
fn reached<'a>(base: &'a str, rules: &Rules<'a>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![base];
    while let Some(chain) = next.pop() {
        if reached.insert(chain) {
            let bodies = rules.get(chain).into_iter().flatten();
            next.extend(bodies.flat_map(|body| body.iter()).filter_map(target));
        }
    }
    reached
}

fn has(statement: &Value, name: &str) -> bool {
    statement.get(name).is_some()
}

/// Whether a statement lets every packet pass on to the next one.
fn is_neutral(statement: &Value) -> bool {
    // `-m comment` of iptables.
    let comment = statement["xt"]["name"] == "comment";
    has(statement, "counter") || has(statement, "log") || comment
}

/// Whether a chain, or one that it jumps to whatever the packet is, drops or rejects every packet
/// that comes to its end.
fn drops_rest<'a>(chain: &'a str, rules: &Rules<'a>, seen: &mut BTreeSet<&'a str>) -> bool {
    if !seen.insert(chain) {
        return false;
    }
    let bodies = rules.get(chain).map_or(&[][..], Vec::as_slice);
    bodies.iter().filter_map(|body| body.split_last()).any(|(last, before)| {
        let all = before.iter().all(|s| has(s, "counter") || has(s, "log"));
        let drops = has(last, "drop") || has(last, "reject");
        all && (drops || target(last).is_some_and(|to| drops_rest(to, rules, seen)))
    })
}

/// The outgoing interfaces of a rule that accepts packets by their interfaces and source alone;
/// none for any other rule.
fn accepts(body: &[Value]) -> Option<BTreeSet<String>> {
    let (last, before) = body.split_last()?;
    if !has(last, "accept") {
        return None;
    }
    let mut to = BTreeSet::new();
    for statement in before.iter().filter(|statement| !is_neutral(statement)) {
        let condition = &statement["match"];
        let left = &condition["left"];
        if condition["op"] != "==" {
            return None;
        }
        if left["meta"]["key"] == "oifname" {
            let right = &condition["right"];
            let names = right["set"].as_array().map_or(std::slice::from_ref(right), Vec::as_slice);
            to.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
        } else if left["meta"]["key"] != "iifname" && left["payload"]["field"] != "saddr" {
            return None;
        }
    }
    Some(to)
}

/// A warning for each chain that may drop a NAT's forwarded traffic, with the commands to accept
/// it.
#[must_use]
pub fn warnings(spec: &TableSpec, others: &[OtherChain]) -> Vec<String> {
    endangering(spec, others).map(|chain| warning(spec, chain)).collect()
}

/// The chains that may drop a NAT's forwarded traffic.
pub fn endangering<'a>(
    spec: &TableSpec,
    others: &'a [OtherChain],
) -> impl Iterator<Item = &'a OtherChain> {
    others.iter().filter(|chain| spec.nat && chain.endangers(spec))
}

fn warning(spec: &TableSpec, chain: &OtherChain) -> String {
    let (commands, lasting) = remedy(spec, chain);
    format!(
        "{chain} drops packets that none of its rules accept, and natha cannot override it; unless \
         its rules already accept this traffic, run:\n  {}\n  {lasting}",
        commands.join("\n  ")
    )
}

/// The commands that make a chain accept natha's traffic, by the program that owns it, and how the
/// rules outlast a reboot. The monitor's probes are a part of that traffic: without them, this host
/// would count as one that does not forward. So are the copies of hosts' packets that arrive by the
/// tunnel during a planned move.
fn remedy(spec: &TableSpec, chain: &OtherChain) -> (Vec<String>, &'static str) {
    match chain.owner {
        Owner::Docker => (
            iptables(spec, "DOCKER-USER"),
            "and again at each boot, after docker.service: Docker keeps this chain, a reboot does \
             not",
        ),
        Owner::Iptables => (
            iptables(spec, &chain.name),
            "and save them where this host's iptables rules are kept, such as with \
             `netfilter-persistent save`",
        ),
        Owner::Ufw => (ufw(spec), "these rules outlast a reboot"),
        Owner::Firewalld => (firewalld(spec), "this policy outlasts a reboot"),
        Owner::Nft => (
            nft(spec, chain),
            "and add the same rules to that program's own configuration to make them permanent",
        ),
    }
}

fn iptables(spec: &TableSpec, chain: &str) -> Vec<String> {
    let uplink = &spec.uplink;
    let marked = format!("-m comment --comment {ALLOWED} -j ACCEPT");
    let both = spec.translated().into_iter().flat_map(|net| {
        [
            format!("iptables -I {chain} -s {net} -o {uplink} {marked}"),
            format!(
                "iptables -I {chain} -d {net} -i {uplink} -m conntrack \
                 --ctstate ESTABLISHED,RELATED {marked}"
            ),
        ]
    });
    both.collect()
}

/// ufw accepts replies by itself.
fn ufw(spec: &TableSpec) -> Vec<String> {
    let links = || spec.links.iter().map(String::as_str).chain([RELAY_LINK]);
    let of_hosts = spec.sources.iter().flat_map(|net| links().map(move |link| (link, net)));
    let of_probes = spec.transit.iter().map(|net| (TRANSIT_LINK, net));
    let uplink = &spec.uplink;
    let each = of_hosts.chain(of_probes).map(|(link, net)| {
        format!("ufw route allow in on {link} out on {uplink} from {net} comment {ALLOWED}")
    });
    each.collect()
}

/// firewalld accepts replies by itself.
fn firewalld(spec: &TableSpec) -> Vec<String> {
    let command = |what: String| format!("firewall-cmd --permanent {what}");
    let mut commands = vec![
        command(format!("--new-policy {ALLOWED}")),
        command(format!("--policy {ALLOWED} --add-ingress-zone ANY")),
        command(format!("--policy {ALLOWED} --add-egress-zone ANY")),
    ];
    commands.extend(spec.translated().iter().map(|net| {
        command(format!(
            "--policy {ALLOWED} --add-rich-rule 'rule family=ipv4 source address={net} accept'"
        ))
    }));
    commands.push("firewall-cmd --reload".to_owned());
    commands
}

fn nft(spec: &TableSpec, chain: &OtherChain) -> Vec<String> {
    let OtherChain { family, table, name, .. } = chain;
    let uplink = &spec.uplink;
    let sources = spec.translated().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    vec![
        format!(
            "nft insert rule {family} {table} {name} oifname \"{uplink}\" ip saddr {{ {sources} }} \
             accept comment \"{ALLOWED}\""
        ),
        format!(
            "nft insert rule {family} {table} {name} iifname \"{uplink}\" ip daddr {{ {sources} }} \
             ct state established,related accept comment \"{ALLOWED}\""
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> TableSpec {
        TableSpec {
            uplink: "ens5".into(),
            links: ["ens5".to_owned(), "ens6".to_owned()].into(),
            sources: vec!["10.0.0.0/16".parse().unwrap()],
            transit: None,
            vpc_networks: vec![],
            address: None,
            clamp_mss: true,
            mss: 1460,
            flowtable: false,
            nat: true,
            protect: None,
            accept: [].into(),
            primaries: BTreeMap::new(),
        }
    }

    fn rule(chain: &str, expr: &Value) -> Value {
        json!({"rule": {"chain": chain, "expr": expr}})
    }

    fn base(table: &str, name: &str, policy: &str, more: &[Value]) -> OtherChain {
        let mut objects = vec![json!({"chain": {"name": name, "policy": policy}})];
        objects.extend_from_slice(more);
        let listing = json!({ "nftables": objects });
        OtherChain::new("ip".into(), table.into(), name.into(), &listing)
    }

    fn chain(policy: &str, rules: &[Value]) -> OtherChain {
        base("mine", "forward", policy, rules)
    }

    fn warned(chain: OtherChain) -> bool {
        !warnings(&spec(), &[chain]).is_empty()
    }

    fn to_uplink(more: &Value) -> Value {
        json!([
            {"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "ens5"}},
            more,
            {"counter": {"packets": 1}},
            {"accept": null},
        ])
    }

    #[test]
    fn a_chain_that_drops_by_policy_is_warned_about() {
        assert!(warned(chain("drop", &[])));
        assert!(!warned(chain("accept", &[])));
    }

    #[test]
    fn a_last_rule_that_drops_or_rejects_everything_counts_as_a_policy() {
        let reject = json!([{"counter": {"packets": 1}}, {"reject": {"type": "icmpx"}}]);
        assert!(warned(chain("accept", &[rule("forward", &reject)])));
        let narrow = json!([{"match": {"op": "=="}}, {"drop": null}]);
        assert!(!warned(chain("accept", &[rule("forward", &narrow)])));
    }

    #[test]
    fn a_drop_in_a_chain_that_every_packet_is_sent_to_counts() {
        let drop = rule("last", &json!([{"drop": null}]));
        let jump = json!([{"counter": {}}, {"jump": {"target": "last"}}]);
        assert!(warned(chain("accept", &[rule("forward", &jump), drop.clone()])));
        let some = json!([{"match": {"op": "=="}}, {"jump": {"target": "last"}}]);
        assert!(!warned(chain("accept", &[rule("forward", &some), drop.clone()])));
        let round = rule("last", &json!([{"jump": {"target": "last"}}]));
        assert!(warned(chain("accept", &[rule("forward", &jump), round, drop])));
    }

    #[test]
    fn a_rule_marked_as_allowing_natha_ends_the_warning() {
        let accept = json!([{"accept": null}]);
        let marked =
            |chain: &str| json!({"rule": {"chain": chain, "comment": "natha", "expr": accept}});
        assert!(!warned(chain("drop", &[marked("forward")])));
        let jump = rule("forward", &json!([{"jump": {"target": "user"}}]));
        assert!(!warned(chain("drop", &[jump, marked("user")])));
        assert!(warned(chain("drop", &[marked("elsewhere")])));
    }

    #[test]
    fn a_rule_that_accepts_what_leaves_by_the_uplink_ends_the_warning() {
        let source = json!({"match": {
            "op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "x",
        }});
        assert!(!warned(chain("drop", &[rule("forward", &to_uplink(&source))])));
        let comment = json!({"xt": {"type": "match", "name": "comment"}});
        assert!(!warned(chain("drop", &[rule("forward", &to_uplink(&comment))])));
        let state = json!({"match": {
            "op": "in", "left": {"ct": {"key": "state"}}, "right": "established",
        }});
        assert!(warned(chain("drop", &[rule("forward", &to_uplink(&state))])), "only replies");
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

    #[test]
    fn the_remedy_fits_the_program_that_owns_the_chain() {
        let other = |name: &str| json!({"chain": {"name": name}});
        for (table, name, chains, owner, command) in [
            ("filter", "FORWARD", vec![], Owner::Iptables, "iptables -I FORWARD -s 10.0.0.0/16"),
            ("filter", "FORWARD", vec!["ufw-user-forward"], Owner::Ufw, "ufw route allow in on"),
            (
                "filter",
                "FORWARD",
                vec!["ufw-user-forward", "DOCKER-USER"],
                Owner::Docker,
                "iptables -I DOCKER-USER -s 10.0.0.0/16 -o ens5",
            ),
            ("firewalld", "filter_FORWARD", vec![], Owner::Firewalld, "--new-policy natha"),
            ("filter", "forward", vec![], Owner::Nft, "nft insert rule ip filter forward"),
        ] {
            let chains: Vec<Value> = chains.into_iter().map(other).collect();
            let chain = base(table, name, "drop", &chains);
            assert_eq!(chain.owner, owner);
            let text = warnings(&spec(), std::slice::from_ref(&chain)).remove(0);
            assert!(text.contains(command), "{text}");
            let by_nft = text.contains("nft insert");
            assert_eq!(by_nft, owner == Owner::Nft, "{text}");
            // The other programs' rules admit packets from any interface.
            let copies = "in on natha1 out on ens5 from 10.0.0.0/16";
            assert_eq!(text.contains(copies), owner == Owner::Ufw, "{text}");
            let transit = Some("198.18.255.252/30".parse().unwrap());
            let text = warnings(&TableSpec { transit, ..spec() }, &[chain]).remove(0);
            assert!(text.contains("198.18.255.252/30"), "the probes do not pass: {text}");
            assert_eq!(text.contains("in on natha0"), owner == Owner::Ufw, "{text}");
        }
    }
}
