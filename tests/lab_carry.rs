//! Groups whose holder answers on addresses of its own host: what is there, and when.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use natha_lab::Spec;
use natha_lab::scene::{self, Scene};
use natha_lab::spec::{AddressSpec, ZoneSpec};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 20, 11);
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
const PORT: u16 = 8080;
const MONITOR: &str = "natha setup && exec natha monitor";

/// One group with a virtual IP in the tables of both private subnets; it begins at nat-a.
fn spec(group: &str, commands: &str) -> Spec {
    let vip = format!("[[group.resource]]\nkind = \"vip\"\naddress = \"{VIP}\"");
    let spec = with_group(&format!("{group}\n{vip}"), commands);
    spec.with_route(VIP.into(), "nat-a", &["private-a", "private-b"])
}

/// Two nodes with one group, which is nat-a's when all is well.
fn with_group(group: &str, commands: &str) -> Spec {
    let config = format!(
        "cluster = \"db\"\nmembers = [\"{{{{instance.nat-a}}}}\", \"{{{{instance.nat-b}}}}\"]\n\
         [hand_back]\nhold = \"3s\"\n\
         [[group]]\nname = \"db\"\nprefer = [\"{{{{instance.nat-a}}}}\"]\n{group}\n"
    );
    let user_data = scene::user_data(&config, commands);
    scene::spec(2, NATHA, "").with_node_user_data(&user_data)
}

fn carries(scene: &Scene, host: &str) -> bool {
    scene.sh(host, "ip -4 -brief address show dev lo").unwrap().contains(&VIP.to_string())
}

/// Who answers a client there; nothing where nobody does.
fn asked(scene: &Scene, client: &str, address: Ipv4Addr) -> anyhow::Result<String> {
    let ask = format!("exec 3<>/dev/tcp/{address}/{PORT} && head -n1 <&3");
    let argv = ["timeout", "2", "bash", "-c", &ask];
    let output = scene.exec(client, &argv, Duration::from_secs(5))?;
    Ok(output.stdout.trim().to_owned())
}

/// Waits until one node carries the virtual IP and the other does not, and a client in each zone
/// is served by it.
fn served_by(scene: &Scene, node: &str, other: &str) {
    let so = || {
        let told = [asked(scene, "host-a", VIP)?, asked(scene, "host-b", VIP)?];
        let all = told.iter().all(|line| line == node);
        Ok(all && carries(scene, node) && !carries(scene, other))
    };
    scene.wait_for(so).map_err(|error| scene.explain(error)).unwrap();
}

fn greet(scene: &Scene) {
    for node in ["nat-a", "nat-b"] {
        scene.greet(node, PORT, node).unwrap();
    }
}

#[test]
fn the_holder_has_the_address_a_failed_service_moves_it_and_who_cannot_give_it_keeps_it() {
    let check = format!("local = \"lo\"\n[group.check]\ntcp = \"127.0.0.1:{PORT}\"");
    let scene = Scene::start_unwell(&spec(&check, MONITOR)).unwrap();
    greet(&scene);
    scene.wait_well().unwrap();
    served_by(&scene, "nat-a", "nat-b");
    // Only the service fails; the host and its monitor are well.
    scene.kill("nat-a", "greeter").unwrap();
    served_by(&scene, "nat-b", "nat-a");
    // The service of the other one is still down: what nobody can take stays where it is.
    scene.terminate("nat-b").unwrap();
    scene.wait_status("nat-b", Value::is_null).unwrap();
    served_by(&scene, "nat-b", "nat-a");
    // A monitor that starts again finds what the last one left.
    scene.greet("nat-a", PORT, "nat-a").unwrap();
    scene.spawn("nat-b", &["natha", "monitor"]).unwrap();
    served_by(&scene, "nat-a", "nat-b");
    scene.nobody_stopped().unwrap();
}

#[test]
fn a_node_that_is_drained_leaves_nothing_on_its_host() {
    let scene = Scene::start_unwell(&spec("local = \"lo\"", MONITOR)).unwrap();
    greet(&scene);
    scene.wait_well().unwrap();
    served_by(&scene, "nat-a", "nat-b");
    scene.drain("nat-a").unwrap();
    served_by(&scene, "nat-b", "nat-a");
}

#[test]
fn what_another_program_removes_is_carried_again_when_the_kernel_announces_it() {
    for (local, removes, put) in [
        ("lo", format!("ip address delete {VIP}/32 dev lo"), format!("{VIP} on lo")),
        ("redirect", "nft delete table ip natha_vip".to_owned(), format!("redirection of {VIP}")),
    ] {
        let scene = Scene::start_unwell(&spec(&format!("local = \"{local}\""), MONITOR)).unwrap();
        greet(&scene);
        scene.wait_well().unwrap();
        let served = || Ok(asked(&scene, "host-b", VIP)? == "nat-a");
        scene.wait_for(served).map_err(|error| scene.explain(error)).unwrap();
        scene.sh("nat-a", &removes).unwrap();
        let line = format!("{put} added, ");
        scene.wait_status("nat-a", |status| scene::has_event(status, "host-drift", &line)).unwrap();
        scene.wait_for(served).map_err(|error| scene.explain(error)).unwrap();
    }
}

#[test]
fn a_private_ip_is_on_the_interface_of_its_holder_and_moves_within_its_subnet() {
    private_ip_moves(MONITOR);
}

#[test]
fn a_private_ip_that_the_system_added_at_boot_moves_in_the_same_way() {
    // As amazon-ec2-net-utils has it added, and as cloud-init does; here on both nodes.
    for prefix in [32, 24] {
        private_ip_moves(&format!("ip address add {FLOATING}/{prefix} dev ens5; {MONITOR}"));
    }
}

/// Two nodes in one subnet that start with these commands: only the holder of a private IP has it,
/// before and after a hand-over.
fn private_ip_moves(commands: &str) {
    let resource = format!("[[group.resource]]\nkind = \"private-ip\"\naddress = \"{FLOATING}\"");
    let mut spec = with_group(&resource, commands);
    spec.hosts.iter_mut().filter(|host| host.name == "nat-b").for_each(|host| host.zone = 0);
    spec.hosts[0].secondary = vec![FLOATING];
    let scene = Scene::start_unwell(&spec).unwrap();
    greet(&scene);
    scene.wait_well().unwrap();
    let has = |node: &str| {
        scene.sh(node, "ip -4 -brief address show dev ens5").map(|shown| {
            assert!(shown.contains("/24 ") || shown.trim_end().ends_with("/24"), "{shown}");
            shown.contains(&format!("{FLOATING}/"))
        })
    };
    let at = |node: &'static str, other: &'static str| {
        let so = || Ok(has(node)? && !has(other)? && asked(&scene, "host-a", FLOATING)? == node);
        scene.wait_for(so).map_err(|error| scene.explain(error)).unwrap();
    };
    at("nat-a", "nat-b");
    let moved = scene.natha("nat-a", &["handover", "db"]).unwrap();
    assert_eq!(moved.code, 0, "{}{}", moved.stdout, moved.stderr);
    at("nat-b", "nat-a");
}

#[test]
fn an_elastic_ip_that_is_put_on_another_private_ip_of_its_holder_comes_back_to_the_primary_one() {
    let eip = "[[group.resource]]\nkind = \"eip\"\nallocation = \"{{eip.web}}\"";
    let mut spec = with_group(eip, MONITOR);
    spec.hosts[0].secondary = vec![FLOATING];
    spec.ingress.push("203.0.113.0/24".parse().unwrap());
    let on = Some("nat-a".to_owned());
    spec.addresses.push(AddressSpec { name: "web".to_owned(), on, private: None });
    let scene = Scene::start_unwell(&spec).unwrap();
    greet(&scene);
    scene.wait_well().unwrap();
    let (account, nat) = (scene.account().unwrap(), scene.host("nat-a").unwrap());
    let elastic = &account.elastic["web"];
    let served = || Ok(asked(&scene, "internet", elastic.address)? == "nat-a");
    scene.wait_for(served).map_err(|error| scene.explain(error)).unwrap();
    // The host does not have the secondary address, so that nobody is served there.
    let astray = [
        ("AllocationId", &*elastic.allocation),
        ("NetworkInterfaceId", &*nat.interface),
        ("PrivateIpAddress", &*FLOATING.to_string()),
    ];
    scene.ec2("AssociateAddress", &astray).unwrap();
    scene.wait_for(|| Ok(scene.count("AssociateAddress")? == 1)).unwrap();
    scene.wait_for(served).map_err(|error| scene.explain(error)).unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

#[test]
fn take_moves_every_kind_and_puts_the_address_on_its_host() {
    let more = "local = \"lo\"\n\
        [[group.resource]]\nkind = \"eip\"\nallocation = \"{{eip.web}}\"\n\
        [[group.resource]]\nkind = \"dns\"\nzone = \"{{zone.example.test}}\"\n\
        name = \"db.example.test\"\nttl = 5";
    let mut spec = spec(more, "natha setup");
    let on = Some("nat-a".to_owned());
    spec.addresses.push(AddressSpec { name: "web".to_owned(), on, private: None });
    spec.zones.push(ZoneSpec { name: "example.test".to_owned(), records: [].into() });
    let scene = Scene::start_unwell(&spec).unwrap();
    greet(&scene);
    for (node, other) in [("nat-b", "nat-a"), ("nat-a", "nat-b")] {
        let set_up = || Ok(scene.natha(node, &["setup", "--dry-run"])?.code == 0);
        scene.wait_for(set_up).map_err(|error| scene.explain(error)).unwrap();
        let taken = scene.natha(node, &["take", "db", "--json"]).unwrap();
        assert_eq!(taken.code, 0, "{}{}", taken.stdout, taken.stderr);
        let told: Value = serde_json::from_str(&taken.stdout).unwrap();
        let kinds: Vec<&Value> =
            told["resources"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
        assert_eq!(kinds, ["route", "route", "eip", "dns"], "{told:#}");
        assert!(carries(&scene, node), "{told:#}");
        // No monitor runs here, so that only the one that lost it can take it off.
        let released = scene.natha(other, &["release", "db", "--json"]).unwrap();
        assert_eq!(released.code, 0, "{}{}", released.stdout, released.stderr);
        served_by(&scene, node, other);
    }
}
