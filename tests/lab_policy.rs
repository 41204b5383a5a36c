//! A cluster that moves everything there is, and the policy that its nodes print for themselves.

use std::collections::BTreeSet;

use natha_lab::patterns::{self, QUICK};
use natha_lab::scene::Scene;
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const VIP: &str = "192.168.20.11/32";
const NAME: &str = "db.example.test";

/// One group with a virtual IP that nobody routes yet, a private IP, its Elastic IP and a name.
const GROUP: &str = "
[[group]]
name = \"all\"
prefer = [\"{{instance.node1}}\", \"{{instance.node2}}\"]

[[group.resource]]
kind = \"vip\"
address = \"192.168.20.11\"
tables = [\"{{table.private-a}}\"]

[[group.resource]]
kind = \"private-ip\"
address = \"10.0.0.100\"

[[group.resource]]
kind = \"eip\"
allocation = \"{{eip.service}}\"
on = \"10.0.0.100\"

[[group.resource]]
kind = \"dns\"
zone = \"{{zone.example.test}}\"
name = \"db.example.test\"
ttl = 1
";

#[test]
fn nodes_that_move_everything_make_the_calls_that_their_policy_allows_and_no_other() {
    let spec =
        patterns::spec(NATHA, &[("node1", 0), ("node2", 0)], &(QUICK.to_owned() + GROUP), |_| {
            String::new()
        });
    let spec = spec
        .with_host(patterns::client("client", 0))
        .with_address("service", None)
        .with_address("one", Some("node1"))
        .with_address("two", Some("node2"))
        .with_zone("example.test");
    let scene = Scene::start(&spec).unwrap();
    let own = |node: &str| scene.host(node).unwrap().private[0];
    let printed = scene.sh("node1", "natha policy --cluster lab").unwrap();
    let document: Value = serde_json::from_str(&printed).unwrap();
    let statements = document["Statement"].as_array().unwrap();
    let listed = |value: &Value| match value {
        Value::String(text) => vec![text.clone()],
        list => list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().into()).collect(),
    };
    let allowed: BTreeSet<String> = statements
        .iter()
        .flat_map(|statement| listed(&statement["Action"]))
        .map(|action| action.split_once(':').unwrap().1.to_owned())
        .collect();

    scene.wait_leads(VIP.parse().unwrap(), "node1").unwrap();
    scene.wait_resolves(NAME, own("node1")).unwrap();
    scene.wait_well().unwrap();
    scene.panic("node1").unwrap();
    scene.wait_leads(VIP.parse().unwrap(), "node2").unwrap();
    scene.wait_resolves(NAME, own("node2")).unwrap();

    let called = || -> anyhow::Result<BTreeSet<String>> {
        Ok(scene.calls()?.into_iter().map(|call| call.action).collect())
    };
    scene.wait_for(|| Ok(called()?.is_superset(&allowed))).unwrap_or_else(|error| {
        panic!("never called: {:?}\n{error:?}", &allowed - &called().unwrap());
    });
    assert_eq!(called().unwrap(), allowed);
}
