//! 003: the route table scenario of a cluster product: an address outside the VPC, in the tables
//! of the client subnets of two zones. And its scenarios for clients outside of the VPC: an
//! Elastic IP address, and a name.

use std::time::Duration;

use natha_lab::meter::tcp::Aim;
use natha_lab::patterns::{self, QUICK, services};
use natha_lab::{Scene, Spec};

use crate::restart;
use crate::{
    INTERNET, NATHA, address, assert_outages, banners, databases, wait_database, wait_led,
};

const VIP: &str = "10.1.0.10";
const ROUTE: &str = "10.1.0.10/32";
const CONNECTION: &str = "host=10.1.0.10 user=postgres dbname=postgres connect_timeout=1";
/// The document's zones are A and C.
const NODES: [(&str, u8); 2] = [("node1", 0), ("node2", 2)];
const PREFER: &str = "prefer = [\"us-east-1a\", \"us-east-1c\"]";
const NAME: &str = "db.example.test";

fn groups(resource: &str) -> String {
    format!("{QUICK}\n[[group]]\nname = \"db\"\n{PREFER}\n\n[[group.resource]]\n{resource}\n")
}

/// Two database servers, and clients in the subnets A2 and C2.
fn route_table(check: &str) -> Spec {
    let config = groups(&format!("kind = \"vip\"\naddress = \"{VIP}\"")) + check;
    let postgres = |name: &str| services::postgres(&name.replace("node", "DB"), "*");
    patterns::spec(NATHA, &NODES, &config, postgres)
        .with_host(patterns::client("client-a2", 0))
        .with_host(patterns::client("client-c2", 2))
        .with_route(ROUTE.parse().unwrap(), "node1", &["private-a", "private-c"])
}

/// Two servers that say who they are to anybody.
fn greeters(config: &str) -> Spec {
    let greeter = |name: &str| services::greeter(5000, name, false).unwrap();
    patterns::spec(NATHA, &NODES, config, greeter).with_ingress(INTERNET.parse().unwrap())
}

#[test]
fn seed_003_the_routes_of_both_client_subnets_follow() {
    let scene = Scene::start(&route_table("")).unwrap();
    let clients = ["client-a2", "client-c2"];
    wait_led(&scene, ROUTE, "node1");
    let meters = clients
        .map(|client| scene.connect(client, address(VIP), Aim::port(5432).connected()).unwrap());
    for client in clients {
        assert_eq!(databases(&scene, client, CONNECTION).unwrap(), ["DB1"], "{client}");
    }
    scene.panic("node1").unwrap();
    wait_led(&scene, ROUTE, "node2");
    for client in clients {
        wait_database(&scene, client, CONNECTION, "DB2");
    }
    scene.pass(Duration::from_millis(500));
    for (client, meter) in clients.iter().zip(meters) {
        let report = scene.connected(meter).unwrap();
        assert_outages(&scene, &report, 1);
        println!("outage of {client}: {:.0} ms", report.worst_ms());
    }
    let writes = scene.done(&["ReplaceRoute", "CreateRoute", "DeleteRoute"]).unwrap();
    assert_eq!(writes.len(), 2, "one for each table: {writes:?}");
    // "The rest does not change": the tables' default routes are nobody's here.
    assert!(writes.iter().all(|call| call.params.contains(VIP)), "{writes:?}");
}

#[test]
fn seed_003_the_group_moves_when_only_the_protected_service_dies() {
    let check = "\n[group.check]\ntcp = \"127.0.0.1:5432\"\ninterval = \"250ms\"\n\
                 timeout = \"200ms\"\nfall = 2\nrise = 2\n";
    let scene = Scene::start(&route_table(check)).unwrap();
    wait_led(&scene, ROUTE, "node1");
    wait_database(&scene, "client-a2", CONNECTION, "DB1");
    scene.sh("node1", services::POSTGRES_CRASH).unwrap();
    wait_led(&scene, ROUTE, "node2");
    wait_database(&scene, "client-a2", CONNECTION, "DB2");
    wait_database(&scene, "client-c2", CONNECTION, "DB2");
    // Its host lives, and everybody knows.
    scene.wait_verdict("node2", "node1", "alive").unwrap();
    scene.nobody_stopped().unwrap();
    // With the service back, so is the address.
    scene.sh("node1", services::POSTGRES_AGAIN).unwrap();
    wait_led(&scene, ROUTE, "node1");
    wait_database(&scene, "client-c2", CONNECTION, "DB1");
    scene.wait_well().unwrap();
}

#[test]
fn seed_003_checks_of_every_kind_move_the_group() {
    // Where no service answers any more, nothing moves: it would be no better elsewhere.
    for (number, probe) in ["http = \"http://127.0.0.1:5000/\"", "exec = [\"/bin/sh\", \"/probe\"]"]
        .into_iter()
        .enumerate()
    {
        let config = groups(&format!("kind = \"vip\"\naddress = \"{VIP}\""))
            + &format!("\n[group.check]\n{probe}\ninterval = \"250ms\"\nfall = 2\nrise = 2\n");
        let service = |name: &str| {
            let greeter = services::greeter(5000, name, number == 0).unwrap();
            format!("echo 'grep -qx greeter /proc/[0-9]*/comm' >/probe\n{greeter}")
        };
        let spec = patterns::spec(NATHA, &NODES, &config, service)
            .with_host(patterns::client("client-a2", 0))
            .with_route(ROUTE.parse().unwrap(), "node1", &["private-a", "private-c"]);
        let scene = Scene::start(&spec).unwrap();
        wait_led(&scene, ROUTE, "node1");
        assert_eq!(scene.kill_greeters("node1").unwrap(), 1);
        wait_led(&scene, ROUTE, "node2");
        assert_eq!(scene.kill_greeters("node2").unwrap(), 1);
        let stays = || scene.ensure_led(ROUTE, "node2");
        scene.watch(Duration::from_secs(5), stays).unwrap();
    }
}

#[test]
fn seed_003_a_client_in_the_internet_follows_an_elastic_ip() {
    let config = groups("kind = \"eip\"\nallocation = \"{{eip.service}}\"");
    let spec = greeters(&config).with_address("service", Some("node1"));
    let scene = Scene::start(&spec).unwrap();
    let public = scene.account().unwrap().elastic["service"].address;
    let meter = scene.connect("internet", public, Aim::port(5000)).unwrap();
    scene.wait_served(meter, "node1").unwrap();
    scene.panic("node1").unwrap();
    scene.wait_served(meter, "node2").unwrap();
    let report = scene.connected(meter).unwrap();
    assert_eq!(banners(&report), ["node1", "node2"]);
    assert_outages(&scene, &report, 1);
    println!("outage {:.0} ms", report.worst_ms());
    assert_eq!(scene.done(&["AssociateAddress"]).unwrap().len(), 1);
    // A node without the address still reaches EC2, by its own: else it could take nothing.
    scene.wait_status("node2", |status| status.pointer("/view").is_some()).unwrap();
}

#[test]
fn seed_003_a_client_outside_follows_a_name() {
    let resource = format!(
        "kind = \"dns\"\nzone = \"{{{{zone.example.test}}}}\"\nname = \"{NAME}\"\nttl = 1\n\
         public = true"
    );
    let mut spec = greeters(&groups(&resource)).with_zone("example.test");
    spec.ec2.dns_sync_ms = 700;
    let scene = Scene::start(&spec).unwrap();
    // There was no such record; the most preferred node has made one.
    let own = scene.host("node1").unwrap().public[0];
    scene.wait_resolves(NAME, own).unwrap();
    let meter = scene.connect_by_name("internet", Aim::name(NAME, 5000)).unwrap();
    scene.wait_served(meter, "node1").unwrap();
    scene.panic("node1").unwrap();
    let report = scene.wait_served(meter, "node2").unwrap();
    assert_eq!(banners(&report), ["node1", "node2"]);
    assert_outages(&scene, &report, 1);
    println!("outage {:.0} ms", report.worst_ms());
    // The name servers took their time, and the client kept the old answer for its TTL.
    assert!(report.worst_ms() > 700.0, "{}", report.worst_ms());
    let sent = scene.done(&["ChangeResourceRecordSets"]).unwrap();
    let by_heir = &scene.host("node2").unwrap().instance;
    let heirs = sent.iter().filter(
        |call| matches!(&call.principal, natha_lab::ec2::Principal::Instance(id) if id == by_heir),
    );
    assert_eq!(heirs.count(), 1, "the change was sent once and waited for");
    assert!(!scene.done(&["GetChange"]).unwrap().is_empty(), "until all name servers had it");
    // It comes back, with another public address, as EC2 gives one at every start.
    let meter = scene.connect_by_name("internet", Aim::name(NAME, 5000)).unwrap();
    restart(&scene, "node1");
    scene.wait_served(meter, "node1").unwrap();
    let now = scene.host("node1").unwrap().public[0];
    assert_ne!(now, own);
    scene.wait_resolves(NAME, now).unwrap();
    scene.wait_well().unwrap();
}
