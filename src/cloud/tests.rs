use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};

use super::fake::{Answer, Fake};
use super::*;
use crate::config::Api;
use crate::types::{
    CloudFaultKind as Kind, InstanceId, InstanceState, Member, RouteTarget, RouteVia, RouteWrite,
    RouteWriteVerb, StopOrigin,
};

/// Credentials that no one has.
#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none here")))
    }
}

async fn clouds_with(
    endpoint: &str,
    credentials: impl ProvideCredentials + 'static,
    timeout: Duration,
) -> Clouds {
    let shared = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(credentials)
        .load()
        .await;
    let endpoint = Some(endpoint.to_owned());
    let api = Api { region: None, endpoint: endpoint.clone(), route53_endpoint: endpoint, timeout };
    Clouds::with(&shared, &api, "vpc-00000001".parse().unwrap())
}

async fn client_with(
    endpoint: &str,
    credentials: impl ProvideCredentials + 'static,
    timeout: Duration,
) -> Ec2 {
    clouds_with(endpoint, credentials, timeout).await.ec2().clone()
}

/// All clients of an endpoint, in `vpc-00000001`.
pub(super) async fn clouds(endpoint: &str) -> Clouds {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    clouds_with(endpoint, credentials, Duration::from_millis(500)).await
}

pub(super) async fn client(endpoint: &str) -> Ec2 {
    clouds(endpoint).await.ec2().clone()
}

/// Node `n`, without landing addresses.
pub(super) fn member(n: u8) -> Member {
    Member {
        id: format!("i-0000000{n}").parse().unwrap(),
        interface: format!("eni-0000000{n}").parse().unwrap(),
        address: [10, 0, 0, n].into(),
        zone: None,
        name: None,
        public: None,
        loses_public: false,
        landings: BTreeMap::new(),
    }
}

pub(super) fn reply(action: &str, inside: &str) -> Answer {
    let body = format!(
        "<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>r</requestId>{inside}</{action}Response>"
    );
    Answer::Reply(200, body)
}

pub(super) fn error(status: u16, code: &str, text: &str) -> Answer {
    let body = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors>\
         <RequestID>r</RequestID></Response>"
    );
    Answer::Reply(status, body)
}

fn write(verb: RouteWriteVerb) -> RouteWrite {
    RouteWrite {
        verb,
        table: "rtb-00000001".parse().unwrap(),
        cidr: "0.0.0.0/0".parse().unwrap(),
        via: RouteVia::Interface("eni-00000001".parse().unwrap()),
    }
}

fn node() -> InstanceId {
    "i-00000001".parse().unwrap()
}

/// The fault of a route write that is answered so, and how often it was sent.
async fn fault_of(answer: impl Fn() -> Answer + Send + Sync + 'static) -> (Kind, usize) {
    let fake = Fake::start(move |_| answer()).await;
    let ec2 = client(&fake.url).await;
    let fault = ec2.write_route(&write(RouteWriteVerb::Replace), &Gate::open()).await.unwrap_err();
    assert_eq!(fault.call, "ReplaceRoute");
    (fault.kind, fake.seen().len())
}

#[tokio::test]
async fn a_route_is_written_by_interface_and_once() {
    let fake = Fake::start(|_| reply("ReplaceRoute", "")).await;
    let ec2 = client(&fake.url).await;
    let sent = ec2.write_route(&write(RouteWriteVerb::Replace), &Gate::open()).await;
    assert_eq!(sent, Ok(Sent::Accepted));
    let seen = fake.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains("Action=ReplaceRoute"), "{}", seen[0]);
    assert!(seen[0].contains("NetworkInterfaceId=eni-00000001"), "{}", seen[0]);
    assert!(seen[0].contains("DestinationCidrBlock=0.0.0.0%2F0"), "{}", seen[0]);
}

#[tokio::test]
async fn a_closed_gate_sends_nothing() {
    let fake = Fake::start(|_| reply("StopInstances", "")).await;
    let ec2 = client(&fake.url).await;
    let shut = Gate::new(|_| false);
    assert_eq!(ec2.stop(&node(), false, &shut).await, Ok(Sent::Expired));
    assert_eq!(ec2.start(&node(), &shut).await, Ok(Sent::Expired));
    for verb in [RouteWriteVerb::Replace, RouteWriteVerb::Create] {
        assert_eq!(ec2.write_route(&write(verb), &shut).await, Ok(Sent::Expired));
    }
    assert_eq!(fake.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn no_failed_write_is_sent_again() {
    let throttled = || error(503, "RequestLimitExceeded", "slow down");
    assert_eq!(fault_of(throttled).await, (Kind::Throttled, 1));
    assert_eq!(fault_of(|| error(500, "InternalError", "oops")).await, (Kind::Unknown, 1));
    assert_eq!(fault_of(|| Answer::Close).await, (Kind::Unknown, 1));
    assert_eq!(fault_of(|| Answer::Silence).await, (Kind::Unknown, 1));
    assert_eq!(fault_of(|| Answer::Reply(500, "<html>".into())).await, (Kind::Unknown, 1));
    assert_eq!(fault_of(|| error(403, "UnauthorizedOperation", "no")).await, (Kind::Denied, 1));
    let absent = || error(400, "InvalidParameterValue", "There is no route defined for '0'");
    assert_eq!(fault_of(absent).await, (Kind::NotFound, 1));
}

#[tokio::test]
async fn a_refused_connection_is_told_from_a_lost_answer() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ec2 = client(&url).await;
    let fault = ec2.write_route(&write(RouteWriteVerb::Replace), &Gate::open()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Unreachable, "{fault}");
}

#[tokio::test]
async fn a_connection_that_never_comes_up_is_unreachable() {
    // A listener whose queue is full answers no further connection.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _filling = tokio::net::TcpStream::connect(address).await.unwrap();
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let limit = Duration::from_secs(4);
    let ec2 = client_with(&format!("http://{address}"), credentials, limit).await;
    let fault = ec2.start(&node(), &Gate::open()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Unreachable, "{fault}");
}

#[tokio::test]
async fn missing_credentials_are_a_denial_and_nothing_is_sent() {
    let fake = Fake::start(|_| Answer::Close).await;
    let ec2 = client_with(&fake.url, NoCredentials, Duration::from_millis(500)).await;
    let fault = ec2.start(&node(), &Gate::open()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Denied, "{fault}");
    assert!(fault.message.contains("none here"), "{fault}");
    assert_eq!(fake.seen().len(), 0);
}

#[tokio::test]
async fn all_pages_of_route_tables_are_read() {
    let page = AtomicUsize::new(0);
    let fake = Fake::start(move |_| {
        let n = page.fetch_add(1, Ordering::SeqCst);
        let next = if n < 2 { "<nextToken>more</nextToken>" } else { "" };
        reply(
            "DescribeRouteTables",
            &format!(
                "<routeTableSet><item><routeTableId>rtb-0000000{n}</routeTableId>\
                 <vpcId>vpc-00000001</vpcId><routeSet>\
                 <item><destinationCidrBlock>10.0.0.0/16</destinationCidrBlock>\
                 <gatewayId>local</gatewayId><state>active</state></item>\
                 <item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>\
                 <instanceId>i-00000001</instanceId>\
                 <networkInterfaceId>eni-00000001</networkInterfaceId>\
                 <state>blackhole</state></item>\
                 <item><destinationIpv6CidrBlock>::/0</destinationIpv6CidrBlock></item>\
                 </routeSet><associationSet><item><subnetId>subnet-0000000a</subnetId></item>\
                 </associationSet><tagSet><item><key>natha:cluster</key><value>blue</value></item>\
                 </tagSet></item></routeTableSet>{next}"
            ),
        )
    })
    .await;
    let vpc = "vpc-00000001".parse().unwrap();
    let tables = client(&fake.url).await.cluster_route_tables(&vpc, "blue").await.unwrap();
    assert_eq!(tables.len(), 3);
    let seen = fake.seen();
    assert!(!seen[0].contains("NextToken"));
    assert!(seen[1].contains("NextToken=more") && seen[2].contains("NextToken=more"));
    let default = &tables[0].routes[&"0.0.0.0/0".parse().unwrap()];
    assert_eq!(default.target, RouteTarget::Interface("eni-00000001".parse().unwrap()));
    assert!(default.blackhole);
    assert_eq!(tables[0].routes.len(), 2);
    assert_eq!(tables[2].subnets[0].as_str(), "subnet-0000000a");
    assert_eq!(tables[2].tags["natha:cluster"], "blue");
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let page = "<routeTableSet/><nextToken>again</nextToken>";
    let fake = Fake::start(move |_| reply("DescribeRouteTables", page)).await;
    let vpc = "vpc-00000001".parse().unwrap();
    let fault = client(&fake.url).await.cluster_route_tables(&vpc, "blue").await.unwrap_err();
    assert!(fault.message.contains("pages"), "{fault}");
}

/// A stopped instance, as DescribeInstances gives it.
const STOPPED: &str = "<reservationSet><item><instancesSet><item>\
    <instanceId>i-00000001</instanceId>\
    <instanceState><code>336</code><name>stopped</name></instanceState>\
    <stateReason><code>Client.InstanceInitiatedShutdown</code></stateReason>\
    </item></instancesSet></item></reservationSet>";

const RUNNING: &str = "<reservationSet><item><instancesSet><item>\
    <instanceId>i-00000001</instanceId>\
    <instanceState><code>16</code><name>running</name></instanceState>\
    </item></instancesSet></item></reservationSet>";

const IMPAIRED: &str = "<instanceStatusSet><item><instanceId>i-00000001</instanceId>\
    <systemStatus><status>impaired</status></systemStatus>\
    <instanceStatus><status>ok</status></instanceStatus></item></instanceStatusSet>";

#[tokio::test]
async fn power_is_told_without_the_status_checks_too() {
    let fake = Fake::start(|request| {
        if request.contains("Action=DescribeInstanceStatus") {
            error(403, "UnauthorizedOperation", "no")
        } else {
            reply("DescribeInstances", RUNNING)
        }
    })
    .await;
    let power = client(&fake.url).await.power(&node()).await.unwrap();
    assert_eq!(power.state, Some(InstanceState::Running));
    assert!(!power.impaired);
}

#[tokio::test]
async fn the_status_checks_of_an_instance_that_does_not_run_are_not_asked_for() {
    let fake = Fake::start(|request| {
        if request.contains("Action=DescribeInstanceStatus") {
            reply("DescribeInstanceStatus", IMPAIRED)
        } else {
            reply("DescribeInstances", STOPPED)
        }
    })
    .await;
    let power = client(&fake.url).await.power(&node()).await.unwrap();
    // 336 is 80 with EC2's own bits in the high byte.
    assert_eq!(power.state, Some(InstanceState::Stopped));
    assert_eq!(power.stop_origin, StopOrigin::Guest);
    assert_eq!(power.reason.as_deref(), Some("Client.InstanceInitiatedShutdown"));
    assert!(!power.impaired);
}

#[tokio::test]
async fn only_an_address_of_ec2_s_own_on_one_of_several_interfaces_is_lost_by_a_stop() {
    let interface = |n: u8, owner: &str| {
        let public = match owner {
            "" => String::new(),
            _ => format!(
                "<association><publicIp>192.0.2.{n}</publicIp><ipOwnerId>{owner}</ipOwnerId>\
                 </association>"
            ),
        };
        format!(
            "<item><networkInterfaceId>eni-0000000{n}</networkInterfaceId>\
             <subnetId>subnet-0000000a</subnetId><privateIpAddress>10.0.0.{n}</privateIpAddress>\
             <attachment><deviceIndex>{n}</deviceIndex></attachment>{public}</item>"
        )
    };
    let cases = [
        (&["amazon"][..], false),
        (&["amazon", ""], true),
        (&["amazon", "123456789012"], false),
        (&["123456789012", ""], false),
        (&["", ""], false),
    ];
    for (owners, lost) in cases {
        let all: String = (0..).zip(owners).map(|(n, owner)| interface(n, owner)).collect();
        let answer = format!(
            "<reservationSet><item><instancesSet><item><instanceId>i-00000001</instanceId>\
             <instanceState><code>16</code></instanceState><networkInterfaceSet>{all}\
             </networkInterfaceSet></item></instancesSet></item></reservationSet>"
        );
        let fake = Fake::start(move |_| reply("DescribeInstances", &answer)).await;
        let found = client(&fake.url).await.instance(&node()).await.unwrap().unwrap();
        assert_eq!(found.loses_public, lost, "{owners:?}");
    }
}

#[tokio::test]
async fn ec2_s_reason_for_a_state_is_one_line_with_its_code_once() {
    let cases = [
        (
            "Server.InternalError: Client error on launch",
            "Server.InternalError: Client error on launch",
        ),
        ("no volume\n", "Server.InternalError: no volume\\u{a}"),
    ];
    for (message, wanted) in cases {
        let answer = STOPPED.replace(
            "<code>Client.InstanceInitiatedShutdown</code>",
            &format!("<code>Server.InternalError</code><message>{message}</message>"),
        );
        let fake = Fake::start(move |_| reply("DescribeInstances", &answer)).await;
        let power = client(&fake.url).await.power(&node()).await.unwrap();
        assert_eq!(power.reason.as_deref(), Some(wanted));
    }
}

#[tokio::test]
async fn an_impaired_instance_is_told() {
    let fake = Fake::start(|request| {
        if request.contains("Action=DescribeInstanceStatus") {
            assert!(request.contains("IncludeAllInstances=true"), "{request}");
            reply("DescribeInstanceStatus", IMPAIRED)
        } else {
            reply("DescribeInstances", RUNNING)
        }
    })
    .await;
    assert!(client(&fake.url).await.power(&node()).await.unwrap().impaired);
}

#[tokio::test]
async fn an_instance_that_ec2_does_not_know_has_no_state() {
    let fake = Fake::start(|_| error(400, "InvalidInstanceID.NotFound", "no such")).await;
    let power = client(&fake.url).await.power(&node()).await.unwrap();
    assert_eq!(power.state, None);
    assert_eq!(client(&fake.url).await.instance(&node()).await, Ok(None));
}

/// The metadata service of an instance with two interfaces.
fn metadata(request: &str) -> Answer {
    let path = request.split(' ').nth(1).unwrap_or_default();
    let item = path.trim_start_matches("/latest/meta-data/");
    let body = match item {
        "/latest/api/token" => "token",
        "instance-id" => "i-00000001",
        "placement/availability-zone" => "eu-west-1a",
        "placement/region" => "eu-west-1",
        "network/interfaces/macs/" => "02:00:00:00:00:02/\n02:00:00:00:00:01/",
        item if item.ends_with("1/device-number") => "0",
        item if item.ends_with("2/device-number") => "1",
        item if item.ends_with("1/interface-id") => "eni-00000001",
        item if item.ends_with("2/interface-id") => "eni-00000002",
        item if item.ends_with("1/local-ipv4s") => "10.0.0.4\n10.0.0.5",
        item if item.ends_with("/subnet-id") => "subnet-0000000a",
        item if item.ends_with("1/vpc-id") => "vpc-00000001",
        item if item.ends_with("1/vpc-ipv4-cidr-blocks") => "10.0.0.0/16\n10.1.0.0/16",
        _ => return Answer::Reply(404, String::new()),
    };
    Answer::Reply(200, body.to_owned())
}

#[tokio::test]
async fn the_metadata_service_tells_who_this_is() {
    let fake = Fake::start(metadata).await;
    let identity = Imds::at(&fake.url).unwrap().identity().await.unwrap();
    assert_eq!(identity.instance, node());
    assert_eq!(identity.region, "eu-west-1");
    assert_eq!(identity.vpc_cidrs.len(), 2);
    let primary = &identity.interfaces[0];
    assert_eq!(primary.id.as_str(), "eni-00000001");
    assert_eq!(primary.addresses, [Ipv4Addr::new(10, 0, 0, 4), Ipv4Addr::new(10, 0, 0, 5)]);
    assert_eq!(identity.interfaces[1].addresses, Vec::<Ipv4Addr>::new());
    assert!(fake.seen()[0].starts_with("PUT /latest/api/token"));
}

#[tokio::test]
async fn a_host_without_metadata_is_told_what_to_do() {
    let fake = Fake::start(|_| Answer::Reply(403, String::new())).await;
    let fault = Imds::at(&fake.url).unwrap().identity().await.unwrap_err();
    assert!(fault.to_string().contains("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "{fault}");
}

#[tokio::test]
async fn a_node_whose_public_address_changes_makes_a_connection_for_each_call() {
    for (connections, made) in [(Connections::Kept, 1), (Connections::Closed, 3)] {
        let fake = Fake::start(|_| reply("DescribeRouteTables", "<routeTableSet/>")).await;
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
            .http_client(connections.client())
            .load()
            .await;
        let (endpoint, timeout) = (Some(fake.url.clone()), Duration::from_secs(5));
        let api = Api { region: None, endpoint, route53_endpoint: None, timeout };
        let ec2 = Ec2::with(&shared, &api);
        let vpc = "vpc-00000001".parse().unwrap();
        for _ in 0..3 {
            ec2.cluster_route_tables(&vpc, "blue").await.unwrap();
        }
        assert_eq!((fake.seen().len(), fake.connections()), (3, made), "{connections:?}");
    }
}

#[tokio::test]
async fn of_two_routes_to_one_destination_the_static_one_counts_whatever_their_order() {
    let with = |target: &str, origin: &str| {
        format!(
            "<item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>{target}\
             <origin>{origin}</origin><state>active</state></item>"
        )
    };
    let fixed = with("<networkInterfaceId>eni-00000001</networkInterfaceId>", "CreateRoute");
    let propagated = with("<gatewayId>vgw-00000001</gatewayId>", "EnableVgwRoutePropagation");
    let interface = RouteTarget::Interface("eni-00000001".parse().unwrap());
    let gateway = RouteTarget::Other("vgw-00000001".to_owned());
    for (routes, expected) in [
        (format!("{fixed}{propagated}"), &interface),
        (format!("{propagated}{fixed}"), &interface),
        (propagated, &gateway),
    ] {
        let table = format!(
            "<routeTableSet><item><routeTableId>rtb-00000001</routeTableId>\
             <vpcId>vpc-00000001</vpcId><routeSet>{routes}</routeSet></item></routeTableSet>"
        );
        let fake = Fake::start(move |_| reply("DescribeRouteTables", &table)).await;
        let vpc = "vpc-00000001".parse().unwrap();
        let tables = client(&fake.url).await.cluster_route_tables(&vpc, "blue").await.unwrap();
        assert_eq!(tables[0].routes[&"0.0.0.0/0".parse().unwrap()].target, *expected);
    }
}
