//! 002: two NAT instances, each for its own zone, watch each other. One fails: the other takes its
//! route, stops and starts it, and gives the route back.

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene};

use crate::NATHA;

#[test]
fn seed_002_a_nat_fails_is_covered_is_restarted_and_gets_its_route_back() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    let [near, far] = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    scene.panic("nat-a").unwrap();
    // Routes are rewritten, and the zone goes out by the other one.
    scene.wait_route(0, "nat-b").unwrap();
    // The document's pings 11 to 21 were lost: eleven seconds.
    scene.pass(Duration::from_secs(1));
    let report = scene.pinged(near).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
    let outage = report.outages[0].ms();
    assert!(outage < 11_000.0, "worse than the script: {outage} ms");
    println!("outage {outage:.0} ms");
    // The failed one is stopped and started, by its peer and once.
    let meter = scene.ping("host-a", 10).unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    for action in ["StopInstances", "StartInstances"] {
        assert_eq!(scene.count(action).unwrap(), 1, "{action}");
    }
    let by: Vec<_> = scene.calls_by("nat-b").unwrap();
    assert!(by.iter().any(|call| call.action == "StopInstances"), "by its peer");
    // It is well again and gets its route back; as in the document, no ping is lost by that.
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.pass(Duration::from_millis(500));
    scene.lost_nothing(meter).unwrap();
    // The other zone never noticed.
    scene.lost_nothing(far).unwrap();
    assert_eq!(scene.count("StopInstances").unwrap(), 1);
}
