//! Groups with addresses: a move that gets half of the way, and an address that two hosts have.
//! What came of it is what a client's new connections meet.

use std::net::Ipv4Addr;
use std::time::Duration;

use natha_lab::ec2::{Fault, FaultRule, Faults};
use natha_lab::meter::tcp::{Aim, Report};
use natha_lab::patterns::{self, services};
use natha_lab::{Scene, Spec};
use serde_json::Value;

use crate::NATHA;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 20, 11);
const ROUTE: &str = "192.168.20.11/32";
const NODES: [(&str, u8); 3] = [("ha-1", 0), ("ha-2", 1), ("ha-3", 2)];
const PORT: u16 = 80;

/// So many nodes with a group of this virtual IP, which is the first one's, and a client.
fn spec(nodes: usize, rest: &str) -> Spec {
    let prefer = NODES[..nodes].iter().map(|(name, _)| format!("\"{{{{instance.{name}}}}}\""));
    let config = format!(
        "failover.daemon_grace = \"2s\"\nfailover.first_contact = \"5s\"\n{}\n\
         [[group]]\nname = \"web\"\nprefer = [{}]\n{rest}\n\
         [[group.resource]]\nkind = \"vip\"\naddress = \"{VIP}\"\n",
        patterns::QUICK.replace("[hand_back]", "[hand_back]\nenabled = false"),
        prefer.collect::<Vec<_>>().join(", "),
    );
    let greeter = |name: &str| services::greeter(PORT, name, false).unwrap();
    patterns::spec(NATHA, &NODES[..nodes], &config, greeter)
        .with_host(patterns::client("client", 1))
        .with_route(ROUTE.parse().unwrap(), "ha-1", &["private-b"])
}

/// The same with an Elastic IP, and clients of that in the internet.
fn with_elastic_ip(nodes: usize) -> Spec {
    let mut spec = spec(nodes, "");
    let eip = "\n[[group.resource]]\nkind = \"eip\"\nallocation = \"{{eip.web}}\"\nEND\n";
    for host in &mut spec.hosts {
        host.user_data = host.user_data.take().map(|data| data.replacen("\nEND\n", eip, 1));
    }
    spec.with_address("web", Some("ha-1")).with_ingress("203.0.113.0/24".parse().unwrap())
}

/// Clients of the virtual IP and of the Elastic IP, both served by ha-1.
fn clients(scene: &Scene) -> [u64; 2] {
    let public = scene.account().unwrap().elastic["web"].address;
    let meters = [
        scene.connect("client", VIP, Aim::port(PORT)).unwrap(),
        scene.connect("internet", public, Aim::port(PORT)).unwrap(),
    ];
    for meter in meters {
        scene.wait_served(meter, "ha-1").unwrap();
    }
    meters
}

/// Changes of routes fail from now on.
fn routes_fail(scene: &Scene) {
    let rules = vec![FaultRule::on("ReplaceRoute", Fault::ServerError)];
    scene.api_faults(Faults { rules }).unwrap();
}

/// The Elastic IP comes to ha-2 and serves there, and the route stays, with nobody behind it.
fn half_moved(scene: &Scene, [inside, outside]: [u64; 2]) {
    scene.wait_elastic("web", "ha-2").unwrap();
    scene.wait_served(outside, "ha-2").unwrap();
    let half = || scene.ensure_led(ROUTE, "ha-1");
    scene.watch(Duration::from_secs(5), half).unwrap();
    assert_eq!(banners(&scene.connected_so_far(inside).unwrap()), ["ha-1"]);
}

/// Who served a meter's connections, one after the other.
fn banners(report: &Report) -> Vec<String> {
    report.reigns().into_iter().map(|reign| reign.banner).collect()
}

/// Outages, without single connections that a busy machine did not serve in their 200 ms.
fn outages(report: &Report) -> usize {
    report.outages.iter().filter(|outage| outage.lost > 1).count()
}

fn carries(scene: &Scene, node: &str) -> anyhow::Result<bool> {
    scene.has_address(node, "lo", &VIP.to_string())
}

fn redirects(scene: &Scene, node: &str) -> anyhow::Result<bool> {
    Ok(scene.sh(node, "nft list ruleset")?.contains(&format!("ip daddr {VIP} redirect")))
}

#[test]
fn s39_half_of_a_group_waits_for_the_other_half_over_a_restart_too() {
    let scene = Scene::start(&with_elastic_ip(2)).unwrap();
    let meters = clients(&scene);
    routes_fail(&scene);
    scene.panic("ha-1").unwrap();
    half_moved(&scene, meters);
    // One that begins in the midst of it sees by its reads what is missing.
    assert_eq!(scene.kill("ha-2", "natha").unwrap(), 1);
    scene.spawn("ha-2", &["natha", "monitor"]).unwrap();
    let held_by_none = |status: &Value| {
        status.pointer("/view/groups/web").is_some_and(|group| group["holder"].is_null())
    };
    scene.wait_status("ha-2", held_by_none).unwrap();
    half_moved(&scene, meters);
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_leads(ROUTE.parse().unwrap(), "ha-2").unwrap();
    for meter in meters {
        scene.wait_served(meter, "ha-2").unwrap();
        let report = scene.connected(meter).unwrap();
        assert_eq!(banners(&report), ["ha-1", "ha-2"]);
        assert_eq!(outages(&report), 1, "{:?}", report.outages);
        println!("outage {:.0} ms", report.worst_ms());
    }
    assert_eq!(scene.done(&["AssociateAddress"]).unwrap().len(), 1, "what has moved stays");
    scene.nobody_stopped().unwrap();
}

#[test]
fn s39_holder_of_one_half_that_dies_leaves_it_to_the_next_with_the_other() {
    let scene = Scene::start(&with_elastic_ip(3)).unwrap();
    let meters = clients(&scene);
    routes_fail(&scene);
    scene.panic("ha-1").unwrap();
    half_moved(&scene, meters);
    scene.panic("ha-2").unwrap();
    scene.wait_elastic("web", "ha-3").unwrap();
    scene.wait_served(meters[1], "ha-3").unwrap();
    scene.api_faults(Faults::none()).unwrap();
    scene.wait_leads(ROUTE.parse().unwrap(), "ha-3").unwrap();
    for (meter, served) in
        meters.into_iter().zip([&["ha-1", "ha-3"][..], &["ha-1", "ha-2", "ha-3"]])
    {
        scene.wait_served(meter, "ha-3").unwrap();
        let report = scene.connected(meter).unwrap();
        assert_eq!(banners(&report), served);
        assert_eq!(outages(&report), served.len() - 1, "{:?}", report.outages);
    }
    scene.nobody_stopped().unwrap();
}

/// ha-1's monitor is killed while it holds the group, so that nobody takes off its host what it put
/// there; ha-2 takes the group. Both have the address then. Returns a client's meter.
fn both_have_it(scene: &Scene, has: fn(&Scene, &str) -> anyhow::Result<bool>) -> u64 {
    let meter = scene.connect("client", VIP, Aim::port(PORT)).unwrap();
    scene.wait_served(meter, "ha-1").unwrap();
    assert_eq!(scene.kill("ha-1", "natha").unwrap(), 1);
    scene.wait_leads(ROUTE.parse().unwrap(), "ha-2").unwrap();
    scene.wait_served(meter, "ha-2").unwrap();
    assert!(has(scene, "ha-1").unwrap() && has(scene, "ha-2").unwrap(), "both have it");
    meter
}

/// Nobody but ha-2 has served the meter's client since it took the group, and nothing was lost but
/// what was under way at the moment of the move.
fn served_without_a_gap(scene: &Scene, meter: u64) {
    let report = scene.connected(meter).unwrap();
    assert_eq!(banners(&report), ["ha-1", "ha-2"]);
    assert!(report.outages.len() <= 1 && report.worst_ms() < 250.0, "{:?}", report.outages);
}

#[test]
fn s50_address_that_a_killed_monitor_left_is_removed_where_the_group_is_not_held() {
    for (local, has) in [("lo", carries as fn(&Scene, &str) -> _), ("redirect", redirects)] {
        let scene = Scene::start(&spec(2, &format!("local = \"{local}\""))).unwrap();
        let meter = both_have_it(&scene, has);
        scene.spawn("ha-1", &["natha", "monitor"]).unwrap();
        scene.wait_for(|| Ok(!has(&scene, "ha-1")?)).unwrap();
        let alone = || {
            let right = !has(&scene, "ha-1")? && has(&scene, "ha-2")?;
            natha_lab::scene::ensure(right, "the address is not on ha-2 alone")?;
            scene.ensure_led(ROUTE, "ha-2")
        };
        scene.wait_verdict("ha-1", "ha-2", "alive").unwrap();
        scene.watch(Duration::from_secs(6), alone).unwrap();
        served_without_a_gap(&scene, meter);
        scene.nobody_stopped().unwrap();
    }
}

#[test]
fn s50_address_that_a_person_put_on_another_node_is_told_and_gets_no_packet() {
    let scene = Scene::start(&spec(2, "local = \"lo\"")).unwrap();
    let meter = scene.connect("client", VIP, Aim::port(PORT)).unwrap();
    scene.wait_served(meter, "ha-1").unwrap();
    scene.sh("ha-2", &format!("ip address add {ROUTE} dev lo")).unwrap();
    let told = || scene.natha("ha-2", &["status"]);
    let remedy = format!("ip address delete {ROUTE} dev lo");
    scene.wait_for(|| Ok(told()?.stdout.contains(&remedy))).unwrap();
    assert_eq!(told().unwrap().code, 3);
    let left_alone = || {
        natha_lab::scene::ensure(carries(&scene, "ha-2")?, "natha did not put it there")?;
        scene.ensure_led(ROUTE, "ha-1")
    };
    scene.watch(Duration::from_secs(6), left_alone).unwrap();
    scene.sh("ha-2", &remedy).unwrap();
    scene.wait_well().unwrap();
    let report = scene.connected(meter).unwrap();
    assert_eq!((report.lost, banners(&report)), (0, vec!["ha-1".to_owned()]));
    assert_eq!(scene.route_writes().unwrap(), 0);
}
