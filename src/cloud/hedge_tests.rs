//! Hedged requests, between a client of EC2 and a server of which some connections are silent.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::fake::{Answer, Fake};
use super::hedge::Hedged;
use super::resolver::Resolver;
use super::tests::{error, reply};
use super::*;
use crate::config::Api;
use crate::types::{
    CloudFaultKind as Kind, NetworkInterfaceId, RouteVia, RouteWrite, RouteWriteVerb, VpcId,
};

/// How long these tests' clients wait for a reply.
const PATIENCE: Duration = Duration::from_millis(20);

/// A client of this server with `limit` for a call.
async fn client(server: &Fake, limit: Duration) -> Ec2 {
    let resolver = Resolver::default();
    let [usual, fresh] = [Connections::Kept, Connections::Closed].map(|kind| kind.plain(&resolver));
    let shared = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
        .http_client(SharedHttpClient::new(Hedged::new(usual, fresh, PATIENCE)))
        .load()
        .await;
    let endpoint = Some(server.url.clone());
    let api = Api { region: None, endpoint, route53_endpoint: None, timeout: limit };
    Ec2::with(&shared, &api)
}

/// A limit that no test reaches.
const AMPLE: Duration = Duration::from_mins(1);
/// A limit for calls that end with it.
const SHORT: Duration = Duration::from_millis(500);

fn write() -> RouteWrite {
    RouteWrite {
        verb: RouteWriteVerb::Replace,
        table: "rtb-00000001".parse().unwrap(),
        cidr: "0.0.0.0/0".parse().unwrap(),
        via: RouteVia::Interface("eni-00000001".parse().unwrap()),
    }
}

fn vpc() -> VpcId {
    "vpc-00000001".parse().unwrap()
}

/// A server that does not reply to its request number `silent`, and to all others with `answer`.
async fn server(silent: usize, answer: impl Fn() -> Answer + Send + Sync + 'static) -> Fake {
    let requests = AtomicUsize::new(0);
    Fake::start(move |_| {
        let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
        if number == silent { Answer::Silence } else { answer() }
    })
    .await
}

#[tokio::test]
async fn a_change_without_a_reply_is_sent_again_over_a_new_connection() {
    let server = server(1, || reply("ReplaceRoute", "")).await;
    let ec2 = client(&server, AMPLE).await;
    // The deadline of a change moves by the time for which it waits for the first reply.
    let deadline = Arc::new(Mutex::new(Vec::new()));
    let asked = deadline.clone();
    let gate = Gate::new(move |waited| {
        asked.lock().unwrap().push(waited);
        true
    });
    assert_eq!(ec2.write_route(&write(), &gate).await, Ok(Sent::Accepted));
    assert_eq!(*deadline.lock().unwrap(), [Duration::ZERO, PATIENCE]);
    let seen = server.seen();
    assert_eq!((seen.len(), server.connections()), (2, 2), "{seen:?}");
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn after_a_silence_kept_connections_are_not_used() {
    let server = server(2, || reply("DescribeRouteTables", "<routeTableSet/>")).await;
    let ec2 = client(&server, AMPLE).await;
    for (requests, connections) in [(1, 1), (3, 2), (4, 3), (5, 4)] {
        ec2.cluster_route_tables(&vpc(), "blue").await.unwrap();
        assert_eq!((server.seen().len(), server.connections()), (requests, connections));
    }
}

#[tokio::test]
async fn a_change_whose_gate_has_closed_is_not_sent_again() {
    let server = server(1, || reply("ReplaceRoute", "")).await;
    let ec2 = client(&server, SHORT).await;
    let was_asked = AtomicBool::new(false);
    let gate = Gate::new(move |_| !was_asked.swap(true, Ordering::Relaxed));
    let fault = ec2.write_route(&write(), &gate).await.unwrap_err();
    assert_eq!((fault.kind, server.seen().len()), (Kind::Unknown, 1));
}

#[tokio::test]
async fn a_refusal_says_nothing_about_the_request_that_has_no_reply() {
    let server = server(1, || error(503, "RequestLimitExceeded", "slow down")).await;
    let ec2 = client(&server, SHORT).await;
    let fault = ec2.write_route(&write(), &Gate::open()).await.unwrap_err();
    assert_eq!((fault.kind, server.seen().len()), (Kind::Unknown, 2));
}

#[tokio::test]
async fn a_change_without_a_gate_is_sent_once() {
    let server = server(1, || reply("ModifyNetworkInterfaceAttribute", "")).await;
    let ec2 = client(&server, SHORT).await;
    let interface: NetworkInterfaceId = "eni-00000001".parse().unwrap();
    let fault = ec2.set_source_dest_check(&interface, false).await.unwrap_err();
    assert_eq!((fault.kind, server.seen().len()), (Kind::Unknown, 1));
}
