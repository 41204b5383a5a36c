//! Connections to one destination use up the ports of the address that they are translated to.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use natha_lab::net::internet::INTERNET_HOST;
use natha_lab::scene::{self, QUICK, Scene};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Sends a datagram to the internet host from each of these ports.
const FROM_PORTS: &str = "
    use Socket;
    my ($host, $from, $to) = @ARGV;
    my $there = pack_sockaddr_in(7, inet_aton($host));
    for my $port ($from .. $to) {
        socket(my $udp, PF_INET, SOCK_DGRAM, 0) or die \"socket: $!\";
        bind($udp, pack_sockaddr_in($port, INADDR_ANY)) or die \"bind: $!\";
        send($udp, \"x\", 0, $there) or die \"send: $!\";
        close($udp);
    }";

fn send(scene: &Scene, host: &str, from: u16, to: u16) {
    let (from, to) = (from.to_string(), to.to_string());
    let argv = ["perl", "-e", FROM_PORTS, &INTERNET_HOST.to_string(), &from, &to];
    let sent = scene.exec(host, &argv, scene::PATIENCE).unwrap();
    assert_eq!(sent.code, 0, "{}", sent.stderr);
}

fn alerts(status: &Value, part: &str) -> bool {
    let alerts = status["alerts"].as_array().into_iter().flatten();
    alerts.filter_map(Value::as_str).any(|alert| alert.contains(part))
}

#[test]
fn ports_that_run_short_are_an_alert_before_connections_are_dropped_and_then_one_about_these() {
    let scene = Scene::start(&scene::service(2, NATHA, QUICK)).unwrap();
    scene.drain("nat-b").unwrap();
    scene.wait_route(1, "nat-a").unwrap();
    send(&scene, "host-a", 2_000, 59_999);
    let warned = |status: &Value| alerts(status, "of 64512 ports");
    let status = scene.wait_status("nat-a", warned).unwrap();
    assert_eq!(status["ports"]["failures"], 0, "{status:#}");
    assert_eq!(status["ports"]["fullest"]["destination"], format!("{INTERNET_HOST}:7"));
    send(&scene, "host-a", 2_000, 59_999);
    send(&scene, "host-b", 2_000, 59_999);
    let dropped = |status: &Value| alerts(status, "new connections were dropped");
    let status = scene.wait_status("nat-a", dropped).unwrap();
    assert!(status["ports"]["failures"].as_u64().unwrap() > 0, "{status:#}");
}
