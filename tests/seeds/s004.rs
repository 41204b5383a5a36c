//! 004: real keepalived, unicast VRRP between two zones. keepalived decides who is MASTER and has
//! the address; the route to it follows by `natha take`, and is kept right by `natha monitor
//! --observe`. LVS-DR itself, which needs a kernel with IPVS, is in `tests/keepalived/lvs_dr.sh`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use natha_lab::ec2::Principal;
use natha_lab::meter::tcp::Aim;
use natha_lab::patterns::services::{self, Keepalived, VRRP_DEAF, VRRP_HEARS};
use natha_lab::patterns::{self, QUICK};
use natha_lab::{Scene, Spec};

use crate::{NATHA, address, assert_outages, banners, restart, wait_led};

pub(crate) const VIP: &str = "192.168.20.11";
pub(crate) const ROUTE: &str = "192.168.20.11/32";
pub(crate) const NODES: [&str; 2] = ["lvs-1", "lvs-2"];
const TAKE: Scripts<'static> = &[("notify_master", "/usr/local/bin/natha take vip")];
/// The tables of the client and of the backends.
const TABLES: [&str; 3] = ["private-a", "private-c", "public"];

/// What keepalived runs, and when.
pub(crate) type Scripts<'a> = &'a [(&'a str, &'a str)];

/// What every node is told of the address; who has it is keepalived's to say. `local` is who puts
/// it on the host: keepalived, where it is `off`.
fn config(local: &str) -> String {
    format!(
        "{QUICK}
[[group]]
name = \"vip\"
prefer = [\"{{{{instance.lvs-1}}}}\", \"{{{{instance.lvs-2}}}}\"]
local = \"{local}\"

[[group.resource]]
kind = \"vip\"
address = \"{VIP}\"
"
    )
}

/// Two nodes in two zones with keepalived, and a client. `monitor` is what they run besides.
pub(crate) fn spec(notify: Scripts<'_>, monitor: &str) -> Spec {
    with_local("off", &[VIP], notify, monitor)
}

/// The same, with these addresses put on the interface by keepalived.
pub(crate) fn with_local(
    local: &str,
    addresses: &[&str],
    notify: Scripts<'_>,
    monitor: &str,
) -> Spec {
    let mut spec = patterns::spec(NATHA, &[(NODES[0], 0), (NODES[1], 2)], "", |_| String::new());
    for (number, host) in spec.hosts.iter_mut().enumerate() {
        let keepalived = Keepalived {
            addresses,
            priority: if number == 0 { 101 } else { 100 },
            own: NODES[number],
            peer: NODES[1 - number],
            notify,
        };
        let greeter = services::greeter(80, NODES[number], true).unwrap();
        let commands =
            format!("{greeter}\nnatha setup || exit 1\n{}\n{monitor}", keepalived.commands());
        host.user_data = Some(natha_lab::scene::user_data(&config(local), &commands));
    }
    let spec = spec.with_host(patterns::client("client", 2));
    // By hand, and to the node that is not to be the holder: keepalived comes to lead it right.
    spec.with_route(ROUTE.parse().unwrap(), NODES[1], &TABLES)
}

/// Waits until a node has the address because keepalived has put it there.
pub(crate) fn wait_master(scene: &Scene, node: &str, master: bool) {
    scene.wait_for(|| Ok(scene.has_address(node, "ens5", VIP)? == master)).unwrap();
}

/// The flap: lvs-2 hears nothing for long enough to become MASTER, then hears that lvs-1 still is
/// and steps back. lvs-1 notices nothing.
fn flap(scene: &Scene) {
    scene.sh(NODES[1], VRRP_DEAF).unwrap();
    wait_master(scene, NODES[1], true);
    assert!(scene.has_address(NODES[0], "ens5", VIP).unwrap(), "lvs-1 is MASTER all the while");
    scene.sh(NODES[1], VRRP_HEARS).unwrap();
    wait_master(scene, NODES[1], false);
}

#[test]
fn seed_004_the_route_follows_keepalived_across_zones() {
    let scene = Scene::start_unwell(&spec(TAKE, "")).unwrap();
    wait_led(&scene, ROUTE, NODES[0]);
    wait_master(&scene, NODES[0], true);
    let meter = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
    scene.wait_served(meter, NODES[0]).unwrap();
    let boots = scene.boots(NODES[0]).unwrap();
    scene.panic(NODES[0]).unwrap();
    wait_led(&scene, ROUTE, NODES[1]);
    let report = scene.wait_served(meter, NODES[1]).unwrap();
    assert_eq!(banners(&report), NODES);
    assert_outages(&scene, &report, 1);
    println!("outage {:.0} ms", report.worst_ms());
    // Each of the three tables was written once by each, and nothing else was touched.
    let writes = scene.done(&["ReplaceRoute", "CreateRoute", "DeleteRoute"]).unwrap();
    assert!(writes.iter().all(|call| call.action == "ReplaceRoute"), "never without a route");
    assert_eq!(writes.len(), 2 * TABLES.len(), "{writes:?}");
    // The MASTER of old comes back, and with it the route.
    restart(&scene, NODES[0]);
    scene.wait_boot(NODES[0], boots).unwrap();
    wait_led(&scene, ROUTE, NODES[0]);
    scene.wait_served(meter, NODES[0]).unwrap();
}

#[test]
fn seed_004_scripts_alone_leave_the_route_at_the_wrong_node_after_a_flap() {
    // What the next test repairs: known since 2015, keepalived issues #100, #950, #2087.
    let scene = Scene::start_unwell(&spec(TAKE, "")).unwrap();
    wait_led(&scene, ROUTE, NODES[0]);
    wait_master(&scene, NODES[0], true);
    flap(&scene);
    wait_led(&scene, ROUTE, NODES[1]);
    let wrong = || scene.ensure_led(ROUTE, NODES[1]);
    scene.watch(Duration::from_secs(6), wrong).unwrap();
    assert!(scene.has_address(NODES[0], "ens5", VIP).unwrap(), "MASTER without packets");
    assert!(!scene.has_address(NODES[1], "ens5", VIP).unwrap(), "packets for nobody");
}

#[test]
fn seed_004_a_monitor_that_observes_keeps_the_route_at_the_master() {
    let scene = Scene::start_unwell(&spec(TAKE, "exec natha monitor --observe")).unwrap();
    wait_led(&scene, ROUTE, NODES[0]);
    wait_master(&scene, NODES[0], true);
    let meter = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
    scene.wait_served(meter, NODES[0]).unwrap();
    let second = Principal::Instance(scene.host(NODES[1]).unwrap().instance);
    let by_second = || {
        let writes = scene.done(&["ReplaceRoute"])?;
        anyhow::Ok(writes.iter().filter(|call| call.principal == second).count())
    };
    let before = by_second().unwrap();
    flap(&scene);
    // lvs-2's script has led it astray, and no longer runs: while it does, it writes again what the
    // monitor has put right. The route ends where the address is.
    let ended = || scene.sh(NODES[1], "pgrep -f '^/usr/local/bin/natha take'").is_err();
    let astray = || Ok(by_second()? >= before + TABLES.len() && ended());
    scene.wait_for(astray).unwrap();
    wait_led(&scene, ROUTE, NODES[0]);
    let right = || scene.ensure_led(ROUTE, NODES[0]);
    scene.watch(Duration::from_secs(6), right).unwrap();
    scene.wait_served(meter, NODES[0]).unwrap();
    // keepalived alone dies: the host lives, and its monitor with it. Its address stays behind on
    // its interface until somebody removes it; keepalived's own end does.
    scene.sh(NODES[0], "kill -TERM $(cat /run/keepalived.pid)").unwrap();
    wait_master(&scene, NODES[0], false);
    wait_led(&scene, ROUTE, NODES[1]);
    scene.wait_served(meter, NODES[1]).unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn seed_004_a_backend_accepts_the_address_and_gives_it_up() {
    // A web server behind a director takes in what is for the address and answers by itself.
    for mode in ["redirect", "lo"] {
        let mut spec = spec(&[], "");
        let mut web = natha_lab::HostSpec::new("web", 0, natha_lab::Role::Node);
        let config = format!("[host]\nnat = false\naccept = [\"{VIP}\"]\naccept_mode = \"{mode}\"");
        let greeter = services::greeter(80, "web", true).unwrap();
        let commands = format!("{greeter}\nnatha setup");
        web.user_data = Some(natha_lab::scene::user_data(&config, &commands));
        spec = spec.with_host(web);
        // What a director does with a packet, the route does here: it comes to the web server.
        spec.routes.iter_mut().for_each(|route| route.to = "web".to_owned());
        let scene = Scene::start_unwell(&spec).unwrap();
        let meter = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
        scene.wait_served(meter, "web").unwrap();
        let again = scene.natha("web", &["setup", "--dry-run"]).unwrap();
        assert_eq!(again.code, 0, "{mode}: {}{}", again.stdout, again.stderr);
        let undone = scene.natha("web", &["teardown"]).unwrap();
        assert_eq!(undone.code, 0, "{mode}: {}{}", undone.stdout, undone.stderr);
        scene.wait_for(|| Ok(scene.connected_so_far(meter)?.outages.len() == 1)).unwrap();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "nothing of natha runs here, and it has a limit")]
fn seed_004_lvs_dr_in_a_virtual_machine() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived/lvs_dr.sh");
    let done = Command::new("timeout").arg("170").arg(script).stdin(Stdio::null()).output();
    let done = done.unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}\n{error}");
    assert_eq!(said.matches("PASSED: ").count(), 4, "{said}");
}
