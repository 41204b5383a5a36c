//! Faults and keys as a client on the network meets them.

mod support;

use std::time::{Duration, SystemTime};

use natha_lab::ec2::{Fault, FaultRule, InstanceSpec, Principal};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_meets_every_fault_that_is_switched_on_for_it() {
    let served = support::serve_world(SystemTime::now()).await;
    let now = Duration::ZERO;
    let (keys, principal, zone) = {
        let mut world = served.world.lock();
        let vpc = world.create_vpc("10.0.0.0/16".parse().unwrap(), now).unwrap();
        let block = "10.0.0.0/24".parse().unwrap();
        let subnet = world.create_subnet(&vpc, block, "eu-central-1a", now).unwrap();
        let node = world.run_instance(&InstanceSpec::new("node", &subnet), now).unwrap();
        let principal = Principal::Instance(node.clone());
        for (action, fault) in [
            ("DescribeSubnets", Fault::Throttle),
            ("DescribeSecurityGroups", Fault::Deny),
            ("DescribeInstanceStatus", Fault::ServerError),
            ("DescribeVpcs", Fault::Hang),
            ("CreateVpc", Fault::LostReply),
            ("DescribeInstances", Fault::Unreachable),
            ("DescribeRouteTables", Fault::LatencyAfter { ms: 300 }),
            ("GetHostedZone", Fault::Throttle),
            ("ListResourceRecordSets", Fault::Deny),
            ("ListHostedZonesByName", Fault::ServerError),
            ("ChangeResourceRecordSets", Fault::LostReply),
        ] {
            world.faults_mut().add(FaultRule::on(action, fault).by(principal.clone()));
        }
        let zone = world.create_hosted_zone("example.test", now).unwrap();
        (world.credentials_for(&node, now).unwrap(), principal, zone)
    };
    let token = keys.session_token.clone().unwrap();
    let arguments = [&served.endpoint, &keys.access_key_id, &keys.secret_access_key, &token, &zone];
    support::python("ec2_faults.py", &arguments.map(String::as_str)).await;
    let world = served.world.lock();
    let mine: Vec<(&str, bool)> = world
        .history()
        .iter()
        .filter(|call| call.principal == principal)
        .map(|call| (call.action.as_str(), call.error.is_none()))
        .collect();
    assert_eq!(
        mine,
        [
            ("DescribeSubnets", false),
            ("DescribeSecurityGroups", false),
            ("DescribeInstanceStatus", false),
            ("CreateVpc", true),
            ("DescribeRouteTables", true),
            ("GetHostedZone", false),
            ("ListResourceRecordSets", false),
            ("ListHostedZonesByName", false),
            ("ChangeResourceRecordSets", true),
        ],
        "a call that hangs or cannot get through is not done"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_more_than_five_minutes_old_is_refused() {
    let late = SystemTime::now() + Duration::from_secs(310);
    let served = support::serve_world(late).await;
    support::python("ec2_expired.py", &[&served.endpoint]).await;
    assert!(served.world.lock().history().is_empty());
}
