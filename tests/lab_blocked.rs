//! Healthy NATs that cannot hear each other. AWS's script of 2013 stopped them; natha must not.
//! Each test watches for longer than either node would wait before it may stop the other:
//! `repair.after`, and `repair.stagger` for the second one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::scene::{self, QUICK, Scene};
use natha_lab::{Lab, Traffic};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const WATCHED: Duration = Duration::from_secs(46);
/// The default `heartbeat.port`.
const HEARTBEAT: u16 = 6284;

fn block_both_ways(lab: &Lab, what: Traffic) {
    lab.block("nat-a", "nat-b", what).unwrap();
    lab.block("nat-b", "nat-a", what).unwrap();
}

/// Blocks this between two healthy NATs; the pings that the private hosts have lost in the end.
fn lost_while_blocked(what: &[Traffic]) -> usize {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    for what in what {
        block_both_ways(&scene, *what);
    }
    scene.watch(WATCHED, || scene.nobody_stopped()).unwrap();
    for zone in 0..2 {
        assert!(scene.route(zone).unwrap().starts_with("nat-"));
    }
    let lost = meters.map(|meter| scene.pinged(meter).unwrap());
    scene.net(natha_lab::NetChange::Clear).unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
    lost.iter().map(|report| report.lost).sum()
}

#[test]
fn blocked_icmp_moves_and_stops_nothing() {
    assert_eq!(lost_while_blocked(&[Traffic::Icmp]), 0);
}

#[test]
fn blocked_heartbeats_stop_nobody_and_cost_no_packet() {
    assert_eq!(lost_while_blocked(&[Traffic::Udp(HEARTBEAT)]), 0);
}

#[test]
fn a_full_block_between_two_healthy_nats_stops_nobody() {
    assert_eq!(lost_while_blocked(&[Traffic::All]), 0);
}
