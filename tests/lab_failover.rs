//! The main job, with real packets: a NAT pair that fails over, repairs and hands back.

use std::time::Duration;

use natha_lab::{Ec2Spec, Lab, Spec, cluster};

/// Timers of the repair at their shortest, so that a test sees the whole story.
const QUICK: &str = "
[repair]
after = \"10s\"

[hand_back]
hold = \"3s\"
";

const PATIENCE: Duration = Duration::from_mins(2);

fn spec(nodes: u8, config: &str) -> Spec {
    let mut spec = cluster::spec(nodes, env!("CARGO_BIN_EXE_natha").into(), config);
    spec.ec2 = Ec2Spec { latency_ms: 50, ..Ec2Spec::default() };
    spec
}

fn leads_to(status: &natha_lab::Status, zone: usize, host: &str) -> bool {
    let subnet = &status.account.zones[zone].private_subnet;
    status.routes.iter().any(|route| route.subnet == *subnet && route.to == host)
}

#[test]
fn a_panicked_nat_is_covered_repaired_and_handed_its_routes_back() {
    let lab = Lab::start(&spec(2, QUICK)).unwrap();
    cluster::wait_well(&lab, &["nat-a", "nat-b"], PATIENCE).unwrap();
    let meter = lab.ping("host-a", 10).unwrap();
    lab.panic("nat-a").unwrap();
    lab.wait_until(PATIENCE, |status| leads_to(status, 0, "nat-b")).unwrap();
    let before = lab.host("nat-a").unwrap().boot;
    lab.wait_until(PATIENCE, |status| {
        status.hosts.iter().any(|host| host.name == "nat-a" && host.boot > before)
    })
    .unwrap();
    lab.wait_until(PATIENCE, |status| leads_to(status, 0, "nat-a")).unwrap();
    cluster::wait_well(&lab, &["nat-a", "nat-b"], PATIENCE).unwrap();
    let report = lab.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
}
