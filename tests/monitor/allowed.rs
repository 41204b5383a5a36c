//! Monitors whose role has what `natha policy` prints, and nothing besides: the lab's EC2 refuses
//! everything else.

use std::collections::BTreeSet;
use std::time::Duration;

use natha_lab::ec2::{Grant, Params, Policy, Principal, World};
use serde_json::Value;

use crate::support::{Cluster, in_own_network};
use crate::take::table;
use crate::{holds, sees_all_well};

/// What EC2 says to who may not.
const DENIED: &str = "UnauthorizedOperation";

/// What the cluster in [`Cluster::new`] has, by kind, with the tag that it carries.
struct Things {
    instances: Vec<String>,
    interfaces: Vec<String>,
    tables: Vec<String>,
}

impl Things {
    async fn of(cluster: &Cluster) -> Self {
        let tables = vec![table(cluster, 0).await, table(cluster, 1).await];
        let world = cluster.world.lock();
        let instances: Vec<String> = cluster.nodes.iter().map(|node| node.id.clone()).collect();
        let interface = |id: &String| world.primary_interface(id).unwrap();
        let interfaces = instances.iter().map(interface).collect();
        Self { instances, interfaces, tables }
    }

    /// The ids that an ARN with any id stands for.
    fn of_kind(&self, kind: &str) -> BTreeSet<String> {
        let ids = match kind {
            "instance" => &self.instances,
            "network-interface" => &self.interfaces,
            "route-table" => &self.tables,
            other => panic!("no kind {other}"),
        };
        ids.iter().cloned().collect()
    }
}

/// A statement as the lab's EC2 takes it. The lab knows no conditions: things of the cluster, which
/// carry its tag, stand for one.
fn grant(statement: &Value, things: &Things) -> Grant {
    let texts = |value: &Value| match value {
        Value::String(text) => vec![text.clone()],
        list => list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().into()).collect(),
    };
    let actions = texts(&statement["Action"]);
    let actions = actions.iter().map(|one| one.strip_prefix("ec2:").unwrap().to_owned()).collect();
    let resources = texts(&statement["Resource"]);
    if resources == ["*"] {
        return Grant { actions, ..Grant::default() };
    }
    let tag = &statement["Condition"]["StringEquals"]["aws:ResourceTag/natha:cluster"];
    assert_eq!(tag, "test", "{statement:#}");
    let ids = resources.iter().flat_map(|arn| {
        let (kind, id) = arn.rsplit_once(':').unwrap().1.split_once('/').unwrap();
        assert_eq!(id, "*", "{arn}");
        things.of_kind(kind)
    });
    Grant { actions, resources: Some(ids.collect()), ..Grant::default() }
}

/// Does what the role may not.
fn as_owner(cluster: &Cluster, role: &Policy, what: impl FnOnce(&mut World)) {
    let mut world = cluster.world.lock();
    world.set_policy(Principal::Operator, None);
    what(&mut world);
    world.set_policy(Principal::Operator, Some(role.clone()));
}

fn call(world: &mut World, now: Duration, action: &str, params: &[(&str, &str)]) -> Option<String> {
    let params = params.iter().fold(Params::new(), |all, (name, value)| all.with(name, value));
    world.call(&Principal::Operator, action, &params, now).err().map(|error| error.code)
}

/// The actions that were called and went well, and those that were refused.
fn called(cluster: &Cluster, seen: usize) -> (BTreeSet<String>, BTreeSet<String>) {
    let world = cluster.world.lock();
    let names = |error: Option<&str>| {
        let calls = world.history_after(seen).iter();
        let such = calls.filter(|call| call.error.as_deref() == error);
        such.map(|call| call.action.clone()).collect()
    };
    (names(None), names(Some(DENIED)))
}

/// What `natha policy` prints, as the lab's EC2 takes it, and the actions in it.
async fn role(cluster: &Cluster, things: &Things) -> (Policy, BTreeSet<String>) {
    let printed = cluster.run(0, &["policy", "--cluster", "test"]).await;
    let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let statements = document["Statement"].as_array().unwrap();
    let allow: Vec<Grant> = statements.iter().map(|one| grant(one, things)).collect();
    let actions = allow.iter().flat_map(|one| one.actions.clone()).collect();
    (Policy { allow }, actions)
}

#[test]
fn a_pair_needs_all_that_its_policy_allows_and_nothing_else() {
    /// As fast as a repair may be.
    const SETTINGS: [&str; 5] = [
        "api.timeout=500ms",
        "failover.read_valid=3s",
        "repair.after=18s",
        "repair.settle=17s",
        "repair.stagger=10s",
    ];
    in_own_network(async || {
        let mut cluster = Cluster::new().await;
        let things = Things::of(&cluster).await;
        let (role, wanted) = role(&cluster, &things).await;
        let seen = cluster.world.lock().history().len();
        let now = cluster.now();
        as_owner(&cluster, &role, |_| {});
        let victim = [("InstanceId.1", things.instances[1].as_str())];
        let refused = call(&mut cluster.world.lock(), now, "TerminateInstances", &victim);
        assert_eq!(refused.as_deref(), Some(DENIED), "the lab holds to it");

        let settings: Vec<&str> = SETTINGS.iter().flat_map(|one| ["--set", *one]).collect();
        for node in [0, 1] {
            cluster.start(node, &settings);
        }
        for node in [0, 1] {
            cluster.until(node, "all is well", sees_all_well).await;
        }
        let went_well = |action: &str| called(&cluster, seen).0.contains(action);
        as_owner(&cluster, &role, |world| {
            world.set_source_dest_check(&things.interfaces[0], true, cluster.now()).unwrap();
        });
        let action = "ModifyNetworkInterfaceAttribute";
        cluster.until(0, "the check is off", |_| went_well(action)).await;
        let route = [("RouteTableId", &*things.tables[0]), ("DestinationCidrBlock", "0.0.0.0/0")];
        as_owner(&cluster, &role, |world| {
            assert_eq!(call(world, cluster.now(), "DeleteRoute", &route), None);
        });
        cluster.until(0, "the route is there again", |_| went_well("CreateRoute")).await;

        cluster.cut(1);
        let (survivor, zone) = (cluster.nodes[0].id.clone(), cluster.nodes[1].zone.clone());
        cluster.until(0, "holds the peer's group", |one| holds(one, &zone, &survivor)).await;
        for action in ["StopInstances", "StartInstances"] {
            let went_well = |_: &_| called(&cluster, seen).0.contains(action);
            cluster.until(0, action, went_well).await;
        }

        let (mut well, refused) = called(&cluster, seen);
        assert_eq!(refused, BTreeSet::from(["TerminateInstances".to_owned()]), "the test's own");
        assert!(well.remove("DeleteRoute"), "the test's own");
        assert_eq!(well, wanted, "what is allowed is needed");
    });
}
