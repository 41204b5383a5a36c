//! 004: what natha does of what keepalived decides, and what it leaves to it: with a monitor that
//! observes, and with scripts alone where natha puts the address on the host.

use std::collections::BTreeSet;
use std::time::Duration;

use natha_lab::Scene;
use natha_lab::meter::tcp::Aim;
use natha_lab::patterns::services::{VRRP_DEAF, VRRP_HEARS};
use natha_lab::scene::ensure;
use serde_json::Value;

use crate::s004::{NODES, ROUTE, Scripts, VIP, spec, wait_master, with_local};
use crate::{address, banners, wait_led};

const STOP_KEEPALIVED: &str = "kill -TERM $(cat /run/keepalived.pid)";
const SCRIPTS: Scripts<'static> = &[
    ("notify_master", "/usr/local/bin/natha take vip"),
    ("notify_backup", "/usr/local/bin/natha release vip"),
    ("notify_fault", "/usr/local/bin/natha release vip"),
];

/// Everything of a host that natha could have changed.
fn host_side(scene: &Scene, node: &str) -> String {
    let shown = "ip -o address; ip rule; ip route show table all; nft list ruleset; \
                 cat /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/ip_forward";
    // How long an address is valid still is no change.
    scene.sh(node, &format!("{{ {shown}; }} | grep -v counter")).unwrap()
}

/// The calls of instances that change anything, whether they succeeded or not.
fn changes(scene: &Scene) -> anyhow::Result<usize> {
    let reads =
        |action: &str| ["Describe", "Get", "List"].iter().any(|prefix| action.starts_with(prefix));
    Ok(scene.calls()?.iter().filter(|call| !reads(&call.action)).count())
}

#[test]
fn seed_004_a_monitor_that_observes_changes_nothing_but_a_route_that_is_wrong() {
    let scene = Scene::start_unwell(&spec(&[], "exec natha monitor --observe")).unwrap();
    // The one thing that it is for: the route was made to the other node.
    wait_led(&scene, ROUTE, NODES[0]);
    wait_master(&scene, NODES[0], true);
    scene.wait_well().unwrap();
    let meter = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
    scene.wait_served(meter, NODES[0]).unwrap();
    let (made, hosts) = (changes(&scene).unwrap(), NODES.map(|node| host_side(&scene, node)));
    let nothing_changes = || {
        ensure(changes(&scene)? == made, "something was changed in EC2")?;
        scene.ensure_led(ROUTE, NODES[0])
    };
    let watch = || scene.watch(Duration::from_secs(6), nothing_changes).unwrap();
    watch();
    // Two have it: the holder keeps the route, and the address is not natha's to remove.
    scene.sh(NODES[1], &format!("ip address add {ROUTE} dev ens5")).unwrap();
    watch();
    assert!(scene.has_address(NODES[1], "ens5", VIP).unwrap());
    scene.sh(NODES[1], &format!("ip address delete {ROUTE} dev ens5")).unwrap();
    assert_eq!(NODES.map(|node| host_side(&scene, node)), hosts);
    let report = scene.connected(meter).unwrap();
    assert_eq!((report.lost, banners(&report)), (0, vec![NODES[0]]));
    // None has it: the route stays where it is, and who holds it says what it lacks.
    for node in [NODES[1], NODES[0]] {
        scene.sh(node, STOP_KEEPALIVED).unwrap();
        wait_master(&scene, node, false);
    }
    let lacks =
        |status: &Value| status["view"]["failing"].as_array().is_some_and(|it| it.len() == 1);
    scene.wait_status(NODES[0], lacks).unwrap();
    let told = scene.natha(NODES[0], &["status"]).unwrap();
    assert_eq!(told.code, 3, "{}", told.stdout);
    let lacking = "group vip is held by this node, but its service check fails here";
    assert!(told.stdout.contains(lacking), "{}", told.stdout);
    watch();
    // A peer that fails is neither stopped nor robbed of what it does not serve.
    scene.panic(NODES[1]).unwrap();
    scene.wait_verdict(NODES[0], NODES[1], "unreachable").unwrap();
    watch();
}

#[test]
fn seed_004_scripts_alone_put_the_address_where_the_route_leads() {
    // keepalived has no address of its own here: `natha take` puts it on `lo`.
    let scene = Scene::start_unwell(&with_local("lo", &[], SCRIPTS, "")).unwrap();
    let on = |node: &str| scene.has_address(node, "lo", VIP);
    let alone = |node: &str, other: &str| {
        wait_led(&scene, ROUTE, node);
        scene.wait_for(|| Ok(on(node)? && !on(other)?)).unwrap();
    };
    alone(NODES[0], NODES[1]);
    let meter = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
    scene.wait_served(meter, NODES[0]).unwrap();
    // lvs-2 is preferred for a while: the loser gives the address up once the winner has it.
    let conf = "/etc/keepalived/keepalived.conf";
    for (was, is, winner) in [("100", "110", 1), ("110", "100", 0)] {
        let change = format!(
            "sed -i 's/priority {was}/priority {is}/' {conf} && \
                              kill -HUP $(cat /run/keepalived.pid)"
        );
        scene.sh(NODES[1], &change).unwrap();
        alone(NODES[winner], NODES[1 - winner]);
        scene.wait_served(meter, NODES[winner]).unwrap();
    }
    let report = scene.connected(meter).unwrap();
    assert_eq!(banners(&report), [NODES[0], NODES[1], NODES[0]]);
    assert!(report.worst_ms() < 250.0, "never without a host that takes it: {:?}", report.outages);
    let again = scene.natha(NODES[1], &["release", "vip"]).unwrap();
    assert_eq!((again.code, &*again.stdout), (0, "This host has no addresses of group vip.\n"));
    // The flap: lvs-2 takes the route and steps back, and lvs-1, which could take it, has noticed
    // nothing. The address stays where the route leads: clients are served by the wrong node, and
    // not by none.
    let meter = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
    scene.sh(NODES[1], VRRP_DEAF).unwrap();
    wait_led(&scene, ROUTE, NODES[1]);
    scene.sh(NODES[1], VRRP_HEARS).unwrap();
    let held = scene.natha(NODES[1], &["release", "vip", "--limit", "8s"]).unwrap();
    assert_eq!(held.code, 3, "{}{}", held.stdout, held.stderr);
    assert!(held.stdout.contains("still points to this node (192.168.20.11 of rtb-"));
    assert!(on(NODES[1]).unwrap());
    scene.wait_served(meter, NODES[1]).unwrap();
    // Whoever mends that needs no more than what the script would have run.
    let taken = scene.natha(NODES[0], &["take", "vip"]).unwrap();
    assert_eq!(taken.code, 0, "{}{}", taken.stdout, taken.stderr);
    let limit = Duration::from_mins(1);
    let released = scene.exec(NODES[1], &["natha", "release", "vip"], limit).unwrap();
    assert_eq!(released.code, 0, "{}{}", released.stdout, released.stderr);
    alone(NODES[0], NODES[1]);
    let report = scene.connected(meter).unwrap();
    let served: BTreeSet<&str> = banners(&report).into_iter().collect();
    assert_eq!(served, NODES.into_iter().collect());
    assert!(report.worst_ms() < 250.0, "{:?}", report.outages);
    // keepalived ends its scripts when it ends itself, so that this is for who stopped it.
    scene.sh(NODES[0], STOP_KEEPALIVED).unwrap();
    let released = scene.natha(NODES[0], &["release", "vip"]).unwrap();
    assert_eq!(released.code, 0, "{}{}", released.stdout, released.stderr);
    alone(NODES[1], NODES[0]);
}
