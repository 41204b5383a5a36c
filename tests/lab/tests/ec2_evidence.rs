//! The simulated EC2 and Route 53 held to what was recorded of AWS: `evidence/`.

mod support;

use std::time::{Duration, SystemTime};

use natha_lab::ec2::{Fault, FaultRule, Timings};

#[tokio::test(flavor = "multi_thread")]
async fn shapes_and_answers_are_as_recorded_of_aws() {
    let served = support::serve_world(SystemTime::now()).await;
    let zone = {
        let mut world = served.world.lock();
        let rate = FaultRule::on("DescribeVpcs", Fault::Throttle).about("vpc-0123456789abcdef0");
        let host = FaultRule::on("RunInstances", Fault::HostFull).about("mac2.metal");
        world.faults_mut().add(rate);
        world.faults_mut().add(host);
        // Long enough to be seen in each of its states.
        *world.timings_mut() =
            Timings { start_ms: 1_000, stop_ms: 1_000, terminate_ms: 1_000, ..Timings::default() };
        world.create_hosted_zone("example.test", Duration::ZERO).unwrap()
    };
    let printed = support::python("ec2_evidence.py", &[&served.endpoint, &zone]).await;
    assert!(printed.ends_with("are as recorded\n"), "{printed}");
}
