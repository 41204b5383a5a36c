//! `natha take` as a process, against the lab's EC2: what keepalived's notify scripts run.

use std::process::Output;

use natha_lab::ec2::{InstanceSpec, Params, Principal, RouteVia};
use serde_json::Value;

use crate::support::{Cluster, in_own_network};

/// What it printed with `--json`, and its exit code.
fn told(output: &Output) -> (Value, Option<i32>) {
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr))
    });
    (value, output.status.code())
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_group_is_taken_once_read_back_and_told() {
    in_own_network(async || {
        let cluster = Cluster::new().await;
        let (theirs, table) = (group(&cluster, 1), table(&cluster, 1).await);
        let (dry, code) = told(&cluster.run(0, &["take", theirs, "--dry-run", "--json"]).await);
        assert_eq!((code, &dry["all_here"]), (Some(3), &Value::Bool(false)), "{dry:#}");
        assert_eq!(dry["resources"][0]["fate"], "would-move");
        assert_eq!(holder(&cluster, &table), interface(&cluster, 1), "a dry run changes nothing");

        let (taken, code) = told(&cluster.run(0, &["take", theirs, "--json"]).await);
        assert_eq!(code, Some(0), "{taken:#}");
        assert_eq!(taken["resources"][0]["fate"], "moved");
        assert!(taken["resources"][0]["took_ms"].is_u64(), "{taken:#}");
        let reason = taken["resources"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("nat-b") && reason.contains("held it"), "{reason}");
        assert_eq!(holder(&cluster, &table), interface(&cluster, 0));

        let (again, code) = told(&cluster.run(0, &["take", theirs, "--json"]).await);
        assert_eq!((code, &again["resources"][0]["fate"]), (Some(0), &Value::from("was-here")));
        let text = cluster.run(0, &["take", theirs]).await;
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.ends_with(&format!("Group {theirs} is on this node.\n")), "{text}");
    });
}

#[test]
fn a_wait_for_the_metadata_is_told_once_and_the_remedy_comes_last() {
    in_own_network(async || {
        let cluster = Cluster::new().await;
        let mut command = cluster.natha(0, &["take", group(&cluster, 1), "--limit", "3s"]);
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
        let output = command.output().unwrap();
        let text = complaint(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let waits: Vec<&str> = text.lines().filter(|line| line.contains("waiting")).collect();
        assert_eq!(waits.len(), 1, "{text}");
        assert!(waits[0].ends_with("; giving up after 3 s (--limit)"), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("natha: nothing was changed: the instance metadata"), "{text}");
        assert!(last.contains("hop limit"), "{text}");
    });
}

#[test]
fn takes_side_by_side_wait_for_each_other() {
    in_own_network(async || {
        let cluster = Cluster::new().await;
        let theirs = group(&cluster, 1);
        let arguments = ["take", theirs, "--json"];
        let one = || cluster.run(0, &arguments);
        let (a, b, c) = tokio::join!(one(), one(), one());
        let mut fates: Vec<String> = [a, b, c]
            .iter()
            .map(|output| {
                let (taken, code) = told(output);
                assert_eq!(code, Some(0), "{taken:#}");
                taken["resources"][0]["fate"].as_str().unwrap().to_owned()
            })
            .collect();
        fates.sort();
        assert_eq!(fates, ["moved", "was-here", "was-here"], "one of them wrote");
    });
}

#[test]
fn a_target_out_of_the_cluster_is_refused_and_nothing_changed() {
    in_own_network(async || {
        let cluster = Cluster::new().await;
        let (theirs, table) = (group(&cluster, 1), table(&cluster, 1).await);
        let foreign = send_to_a_stranger(&cluster, &table);
        let output = cluster.run(0, &["take", theirs]).await;
        let error = complaint(&output);
        assert_eq!(output.status.code(), Some(1), "{error}");
        for part in ["nothing was changed", foreign.as_str(), "--adopt"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(holder(&cluster, &table), foreign);
        let output = cluster.run(0, &["take", theirs, "--adopt"]).await;
        assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
        assert_eq!(holder(&cluster, &table), interface(&cluster, 0));
    });
}

#[test]
fn a_group_that_is_not_there_is_named_with_those_that_are() {
    in_own_network(async || {
        let cluster = Cluster::new().await;
        let output = cluster.run(0, &["take", "nowhere"]).await;
        let error = complaint(&output);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("no group nowhere") && error.contains(group(&cluster, 0)),
            "{error}"
        );
        let output = cluster.run(0, &["take", "nowhere", "--limit", "5"]).await;
        assert_eq!(output.status.code(), Some(2), "{}", complaint(&output));
    });
}

#[test]
fn a_group_without_addresses_leaves_nothing_to_release_and_is_not_moved() {
    in_own_network(async || {
        let cluster = Cluster::new().await;
        let (own, table) = (group(&cluster, 0), table(&cluster, 0).await);
        let (released, code) = told(&cluster.run(0, &["release", own, "--json"]).await);
        assert_eq!((code, &released["released"]), (Some(0), &Value::Bool(true)), "{released:#}");
        assert_eq!(holder(&cluster, &table), interface(&cluster, 0));
        let output = cluster.run(0, &["release", "nowhere"]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(complaint(&output).contains("no group nowhere"), "{}", complaint(&output));
        let output = cluster.run(0, &["release", own, "--limit", "5"]).await;
        assert_eq!(output.status.code(), Some(2), "{}", complaint(&output));
    });
}

/// The groups of the cluster are its zones.
fn group(cluster: &Cluster, node: usize) -> &str {
    &cluster.nodes[node].zone
}

fn interface(cluster: &Cluster, node: usize) -> String {
    cluster.world.lock().primary_interface(&cluster.nodes[node].id).unwrap()
}

/// The table of a node's group.
pub(super) async fn table(cluster: &Cluster, node: usize) -> String {
    let arguments = ["take", group(cluster, node), "--dry-run", "--adopt", "--json"];
    let (dry, _) = told(&cluster.run(node, &arguments).await);
    dry["resources"][0]["resource"].as_str().unwrap().to_owned()
}

/// The interface that the default route of a table leads to.
fn holder(cluster: &Cluster, table: &str) -> String {
    match cluster.world.lock().route(table, "0.0.0.0/0".parse().unwrap()).unwrap() {
        RouteVia::Interface(interface) => interface,
        other => panic!("{other:?}"),
    }
}

/// Points a table at an instance that is no member; its interface.
fn send_to_a_stranger(cluster: &Cluster, table: &str) -> String {
    let now = cluster.now();
    let mut world = cluster.world.lock();
    let own = world.primary_interface(&cluster.nodes[0].id).unwrap();
    let subnet = world.dataplane(now).interfaces[&own].subnet.clone();
    let id = world.run_instance(&InstanceSpec::new("stranger", &subnet), now).unwrap();
    let stranger = world.primary_interface(&id).unwrap();
    let params = Params::new()
        .with("RouteTableId", table)
        .with("DestinationCidrBlock", "0.0.0.0/0")
        .with("NetworkInterfaceId", &stranger);
    world.call(&Principal::Operator, "ReplaceRoute", &params, now).unwrap();
    stranger
}
