//! 000: an address outside the VPC is routed to one of two database servers in different zones.
//! The document moved the route by hand; here the server dies.

use std::time::Duration;

use natha_lab::meter::tcp::Aim;
use natha_lab::patterns::{self, QUICK, services};
use natha_lab::{Scene, Spec};

use crate::{NATHA, address, assert_outages, databases, wait_database, wait_led};

const VIP: &str = "10.0.0.2";
/// What the web server's program has in its settings, the same before and after.
const CONNECTION: &str = "host=10.0.0.2 port=5432 user=postgres dbname=postgres connect_timeout=1";
const SERVERS: [(&str, u8); 2] = [("db30", 0), ("db31", 1)];

/// Two database servers in a VPC 192.168.0.0/16, and web servers in two subnets of their own that
/// share nothing with those of the databases.
fn spec(local: &str, listen: &str) -> Spec {
    let config = format!(
        "{QUICK}
[[group]]
name = \"db\"
prefer = [\"us-east-1a\", \"us-east-1b\"]
local = \"{local}\"

[[group.resource]]
kind = \"vip\"
address = \"{VIP}\"
"
    );
    let postgres = |name: &str| services::postgres(&name.to_uppercase(), listen);
    let mut spec = patterns::spec(NATHA, &SERVERS, &config, postgres)
        .with_host(patterns::client("web", 2))
        .with_host(patterns::client("web-b", 1))
        .with_route(format!("{VIP}/32").parse().unwrap(), "db30", &["private-b", "private-c"]);
    spec.vpc = "192.168.0.0/16".parse().unwrap();
    spec
}

/// Kills the holder and returns the outage that the web server saw, in milliseconds.
fn follows(scene: &Scene) -> f64 {
    wait_led(scene, "10.0.0.2/32", "db30");
    for client in ["web", "web-b"] {
        assert_eq!(databases(scene, client, CONNECTION).unwrap(), ["DB30"], "{client}");
    }
    let meter = scene.connect("web", address(VIP), Aim::port(5432).connected()).unwrap();
    scene.wait_for(|| Ok(scene.connected_so_far(meter)?.sent > 20)).unwrap();
    scene.panic("db30").unwrap();
    wait_led(scene, "10.0.0.2/32", "db31");
    for client in ["web", "web-b"] {
        wait_database(scene, client, CONNECTION, "DB31");
    }
    scene.pass(Duration::from_millis(500));
    let report = scene.connected(meter).unwrap();
    assert!(report.probes.last().unwrap().took_ms.is_some(), "served in the end");
    assert_outages(scene, &report, 1);
    report.worst_ms()
}

#[test]
fn seed_000_a_database_in_another_zone_answers_at_the_same_address() {
    let scene = Scene::start(&spec("lo", "*")).unwrap();
    // An open connection, as a program's pool holds it.
    let session = "(sleep 1; while :; do echo 'select 1;'; sleep 0.1; done) | \
                   psql -v ON_ERROR_STOP=1 \"$0\" >/dev/null 2>/tmp/session";
    scene.spawn("web", &["sh", "-c", session, CONNECTION]).unwrap();
    assert!(scene.has_address("db30", "lo", VIP).unwrap(), "the holder takes its packets in");
    assert!(!scene.has_address("db31", "lo", VIP).unwrap(), "the other one has no such address");
    let outage = follows(&scene);
    println!("outage {outage:.0} ms");
    assert!(scene.has_address("db31", "lo", VIP).unwrap());
    // The document: the old connection breaks, which is as expected; the next one is served.
    let broken = || Ok(scene.sh("web", "cat /tmp/session").is_ok_and(|said| !said.is_empty()));
    scene.wait_for(broken).unwrap();
    // A database server is not stopped by its peer, and its own address is another matter.
    scene.nobody_stopped().unwrap();
    let [own] = scene.host("db31").unwrap().private[..] else { panic!("one private address") };
    let own = format!("host={own} user=postgres dbname=postgres connect_timeout=1");
    assert_eq!(databases(&scene, "web", &own).unwrap(), ["DB31"]);
}

#[test]
fn seed_000_packets_for_the_address_go_to_the_servers_own_port() {
    // As the document's first way: whatever the port, it is the database's.
    let scene = Scene::start(&spec("dnat:5432", "*")).unwrap();
    wait_led(&scene, "10.0.0.2/32", "db30");
    for host in ["db30", "db31"] {
        assert!(!scene.has_address(host, "lo", VIP).unwrap(), "{host}");
    }
    let other_port = CONNECTION.replace("5432", "3306");
    assert_eq!(databases(&scene, "web", &other_port).unwrap(), ["DB30"]);
    let outage = follows(&scene);
    println!("outage {outage:.0} ms");
    assert_eq!(databases(&scene, "web", &other_port).unwrap(), ["DB31"]);
}

#[test]
fn seed_000_the_address_goes_back_and_nothing_stays_behind() {
    let scene = Scene::start(&spec("lo", "*")).unwrap();
    let meter = scene.connect("web", address(VIP), Aim::port(5432).connected()).unwrap();
    wait_led(&scene, "10.0.0.2/32", "db30");
    let done = scene.natha("db30", &["handover", "db"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    wait_led(&scene, "10.0.0.2/32", "db31");
    scene.wait_for(|| Ok(!scene.has_address("db30", "lo", VIP)?)).unwrap();
    wait_database(&scene, "web", CONNECTION, "DB31");
    let report = scene.connected(meter).unwrap();
    // A planned move loses no new connection.
    assert_outages(&scene, &report, 0);
}
