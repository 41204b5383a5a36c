//! The cluster that the story is about.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::Under;
use crate::cluster;
use crate::lab::Lab;
use crate::net::internet::INTERNET_HOST;
use crate::spec::{Ec2Spec, Spec};

/// The node that fails.
pub(super) const VICTIM: &str = "nat-a";
/// The node that takes over.
pub(super) const HEIR: &str = "nat-b";
/// The private host that the victim serves.
pub(super) const CLIENT: &str = "host-a";
/// The private host that the heir serves.
pub(super) const OTHER: &str = "host-b";
/// The zone of victim and client.
pub(super) const ZONE: &str = "us-east-1a";

/// What the nodes' `/etc/natha/natha.toml` says, besides the heartbeat key.
pub const SETTINGS: &str = "\
api.timeout = \"2s\"
failover.read_valid = \"3s\"

[repair]
after = \"19s\"
settle = \"18s\"

[hand_back]
hold = \"3s\"
";

/// How the simulated EC2 behaves: a call as slow as a quick one of AWS's, power as quick as
/// patience asks for.
pub(super) const EC2: Ec2Spec = Ec2Spec {
    boot_ms: 3000,
    stop_ms: 2000,
    force_ms: 1000,
    propagation_ms: 0,
    elastic_ms: None,
    latency_ms: 50,
    status_fail_ms: 120_000,
    dns_sync_ms: 2_000,
};

/// Two nodes and a private host for each, found by tags, with a cluster key.
pub(super) fn spec(natha: &Under, settings: &str) -> Result<Spec> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key).map_err(|problem| anyhow!("no randomness: {problem}"))?;
    let key = key.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let natha = match natha {
        Under::Binary(natha) => natha.clone(),
        Under::Image(image) => {
            let mut spec = Spec::nodes(2).with_node_user_data(&cloud_config(&key, settings));
            (spec.image, spec.ec2) = (Some(image.clone()), EC2);
            return Ok(spec.with_cluster(cluster::NAME));
        }
    };
    let script = format!(
        "#!/bin/sh\nset -eu\numask 077\nmkdir -p /etc/natha\nprintf %s {key} > \
         /etc/natha/cluster.key\ncat > /etc/natha/natha.toml <<'END'\n{settings}\nEND\n\
         export NATHA_HEARTBEAT_KEY_FILE=/etc/natha/cluster.key\n\
         natha setup\nexec natha monitor\n"
    );
    let mut spec = cluster::spec(2, natha, "").with_node_user_data(&script);
    spec.ec2 = EC2;
    Ok(spec)
}

/// User data for an image: its settings, and the key as a credential of the service manager.
fn cloud_config(key: &str, settings: &str) -> String {
    let mut text = format!(
        "#cloud-config\nwrite_files:\n- path: /etc/credstore/natha.key\n  permissions: '0400'\n  \
         content: {key}\n- path: /etc/natha/natha.toml\n  content: |\n"
    );
    for line in settings.lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {line}");
    }
    text
}

/// The lab as a picture.
pub(super) fn picture(lab: &Lab) -> Result<String> {
    let status = lab.status()?;
    let address = |name: &str| -> Result<String> {
        let host = status.hosts.iter().find(|host| host.name == name).context("a lost host")?;
        let address = host.private.first().context("a host without an address")?;
        Ok(format!("{name} {address}"))
    };
    let top = |text: &str| format!("{text:^70}").trim_end().to_owned();
    let lines = [
        top(&format!("the internet: {INTERNET_HOST}")),
        top("│"),
        top("internet gateway"),
        top("┌────────────────┴─────────────────┐"),
        pair(&address(VICTIM)?, "◄─ heartbeats ─►", &address(HEIR)?) + "public subnets",
        pair("▲", "", "▲"),
        pair("│ default route", "", "│ default route"),
        pair(&address(CLIENT)?, "", &address(OTHER)?) + "private subnets",
        pair("us-east-1a", "", "us-east-1b"),
    ];
    Ok(lines.map(|line| line.trim_end().to_owned()).join("\n") + "\n")
}

/// Two texts in the middle of their halves, and one between them.
fn pair(left: &str, between: &str, right: &str) -> String {
    // An arrow's label stands beside it.
    let begins = |text: &str, middle: usize| {
        if text.starts_with('│') { middle } else { middle - text.chars().count() / 2 }
    };
    let mut line = format!("{:1$}{left}", "", begins(left, 17));
    let gap = begins(right, 52) - line.chars().count();
    line = format!("{line}{between:^gap$}{right}");
    format!("{line:<64}")
}

/// What is not as it should be, by the status of every node; empty when all is well.
pub(super) fn unwell(status: &BTreeMap<String, Value>) -> Vec<String> {
    let mut wrong = Vec::new();
    for node in [VICTIM, HEIR] {
        let Some(status) = status.get(node) else {
            wrong.push(format!("natha on {node} does not answer"));
            continue;
        };
        if let Some(reason) = status["starting"].as_str() {
            wrong.push(format!("natha on {node} is starting: {reason}"));
            continue;
        }
        let peers = status["view"]["peers"].as_object();
        if !peers.is_some_and(|peers| peers.len() == 1 && peers.values().all(is_well)) {
            wrong.push(format!("{node} and its peer do not hear each other"));
        }
        let groups = status["view"]["groups"].as_object();
        let at_home = |group: &Value| group["home"].is_null() || group["home"] == group["holder"];
        if !groups.is_some_and(|groups| !groups.is_empty() && groups.values().all(at_home)) {
            wrong.push(format!("{node} does not see every group at its home"));
        }
    }
    wrong
}

fn is_well(peer: &Value) -> bool {
    peer["verdict"] == "alive" && peer["hears_me"] == true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(verdict: &str, holder: &str) -> Value {
        json!({"view": {
            "peers": {"i-2": {"verdict": verdict, "hears_me": true}},
            "groups": {"zone-a": {"home": "i-1", "holder": holder}},
        }})
    }

    #[test]
    fn two_nodes_that_hear_each_other_and_serve_their_zones_are_well() {
        let all = |one: Value, other: Value| {
            unwell(&[(VICTIM.to_owned(), one), (HEIR.to_owned(), other)].into())
        };
        assert!(all(node("alive", "i-1"), node("alive", "i-1")).is_empty());
        assert_eq!(all(node("suspected", "i-1"), node("alive", "i-1")).len(), 1);
        assert_eq!(all(node("alive", "i-1"), node("alive", "i-2")).len(), 1);
        assert_eq!(all(node("alive", "i-1"), json!({"starting": "no IMDS"})).len(), 1);
    }

    #[test]
    fn a_node_that_says_nothing_is_not_well() {
        assert_eq!(unwell(&BTreeMap::new()).len(), 2);
        let empty = json!({"view": {"peers": {}, "groups": {}}});
        let status = [(VICTIM.to_owned(), empty), (HEIR.to_owned(), node("alive", "i-1"))];
        assert_eq!(unwell(&status.into()).len(), 2);
    }
}
