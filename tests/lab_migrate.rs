//! From another NAT to natha and back, as `docs/migration.md` tells it: the tag first, then the
//! route, by hand.

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

#[test]
fn a_table_goes_from_another_nat_to_natha_and_back_losing_no_packet() {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    // nat-c becomes the other NAT: it forwards, and neither runs a monitor nor is a member. The
    // others start anew, so that they need not find that out.
    let other = scene.host("nat-c").unwrap();
    let table = scene.zone(0).unwrap().private_table;
    for node in ["nat-a", "nat-b", "nat-c"] {
        scene.terminate(node).unwrap();
    }
    for node in ["nat-a", "nat-b", "nat-c"] {
        let ended = || Ok(scene.natha(node, &["status"])?.stderr.contains("no monitor is running"));
        scene.wait_for(ended).unwrap();
    }
    for resource in [&other.instance, &table] {
        let tag = [("ResourceId.1", &**resource), ("Tag.1.Key", "natha:cluster")];
        scene.ec2("DeleteTags", &tag).unwrap();
    }
    scene.route_to(0, "nat-c").unwrap();
    let group = |status: &Value| status.pointer("/view/groups/us-east-1a").cloned();
    for node in ["nat-a", "nat-b"] {
        scene.spawn(node, &["natha", "monitor"]).unwrap();
        let alone = |status: &Value| {
            let peers = status.pointer("/view/peers").and_then(Value::as_object);
            peers.is_some_and(|peers| peers.len() == 1) && group(status).is_none()
        };
        scene.wait_status(node, alone).unwrap();
    }
    let meter = scene.ping("host-a", 10).unwrap();
    let writes = scene.route_writes().unwrap();

    // The tag alone: natha sees the table, and leaves it to whom it leads to.
    let tag = [("ResourceId.1", &*table), ("Tag.1.Key", "natha:cluster"), ("Tag.1.Value", "lab")];
    scene.ec2("CreateTags", &tag).unwrap();
    let respected = |node: &str| {
        scene.wait_status(node, |status| {
            group(status).is_some_and(|it| {
                it["holder"].is_null() && it.to_string().contains(&other.interface)
            })
        })
    };
    for node in ["nat-a", "nat-b"] {
        respected(node).unwrap();
    }
    scene.pass(Duration::from_secs(5));
    assert_eq!(scene.route_writes().unwrap(), writes, "the route was moved before it was given");

    // There, back, and there again.
    let home = scene.host("nat-a").unwrap().instance;
    for to_natha in [true, false, true] {
        scene.route_to(0, if to_natha { "nat-a" } else { "nat-c" }).unwrap();
        for node in ["nat-a", "nat-b"] {
            if to_natha {
                let held = |it: Value| it["holder"] == *home;
                scene.wait_status(node, |status| group(status).is_some_and(held)).unwrap();
            } else {
                respected(node).unwrap();
            }
        }
        scene.pass(Duration::from_secs(5));
    }
    assert_eq!(scene.route_writes().unwrap(), writes, "natha moved what was where it belongs");
    let report = scene.lost_nothing(meter).unwrap();
    assert!(report.sent >= 1_500, "only {} pings", report.sent);
    scene.nobody_stopped().unwrap();
}
