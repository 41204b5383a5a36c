//! The simulated EC2 and Route 53 seen from outside: boto3 makes every call, signed, and every
//! answer must be one that botocore's own models of them allow.

mod support;

use std::collections::BTreeSet;

use natha_lab::ec2::{Principal, action_names};

#[tokio::test(flavor = "multi_thread")]
async fn boto3_can_make_every_call_and_every_answer_fits_botocores_model() {
    let served = support::serve_world(std::time::SystemTime::now()).await;
    let zone = {
        let mut world = served.world.lock();
        world.timings_mut().dns_sync_ms = 300;
        world.create_hosted_zone("example.test", std::time::Duration::ZERO).unwrap()
    };
    let mut printed = support::python("ec2_boto3.py", &[&served.endpoint]).await;
    printed += &support::python("route53_boto3.py", &[&served.endpoint, &zone]).await;
    let called: BTreeSet<String> =
        served.world.lock().history().iter().map(|call| call.action.clone()).collect();
    let missed: Vec<&str> = action_names().filter(|name| !called.contains(*name)).collect();
    assert!(missed.is_empty(), "calls that boto3 did not make: {missed:?}\n{printed}");
    let answered: BTreeSet<String> = {
        let world = served.world.lock();
        let good = world.history().iter().filter(|call| call.error.is_none());
        good.map(|call| call.action.clone()).collect()
    };
    let failed: Vec<&str> = action_names().filter(|name| !answered.contains(*name)).collect();
    assert!(failed.is_empty(), "calls that never succeeded: {failed:?}\n{printed}");
    let mut world = served.world.lock();
    assert!(world.history().iter().all(|call| call.principal == Principal::Operator));
    assert!(world.credentials_for("i-00000000000000000", std::time::Duration::ZERO).is_none());
}
