//! 004 without keepalived: what its settings are for (priority, `nopreempt`, `preempt_delay`, a
//! sync group of several addresses) with natha alone.

use std::time::Duration;

use natha_lab::meter::tcp::Aim;
use natha_lab::patterns::{self, QUICK, services};
use natha_lab::{Scene, Spec};

use crate::{NATHA, address, restart, wait_led};

const VIPS: [&str; 2] = ["192.168.20.11", "192.168.20.12"];
const ROUTES: [&str; 2] = ["192.168.20.11/32", "192.168.20.12/32"];
const NODES: [(&str, u8); 3] = [("lvs-1", 0), ("lvs-2", 1), ("lvs-3", 2)];

/// Three nodes, one group with both addresses; `more` is what the group says besides.
fn spec(more: &str) -> Spec {
    let addresses =
        VIPS.map(|vip| format!("[[group.resource]]\nkind = \"vip\"\naddress = \"{vip}\"\n"));
    let config = format!(
        "{}
[[group]]
name = \"vip\"
prefer = [\"us-east-1b\", \"us-east-1a\", \"us-east-1c\"]
{more}

{}",
        QUICK.replace("hold_max = \"5s\"", "hold_max = \"10s\""),
        addresses.join("\n")
    );
    let greeter = |name: &str| services::greeter(80, name, true).unwrap();
    let mut spec =
        patterns::spec(NATHA, &NODES, &config, greeter).with_host(patterns::client("client", 2));
    for route in ROUTES {
        spec = spec.with_route(route.parse().unwrap(), "lvs-2", &["private-c"]);
    }
    spec
}

fn wait_both(scene: &Scene, node: &str) {
    for route in ROUTES {
        wait_led(scene, route, node);
    }
}

#[test]
fn seed_004_alone_both_addresses_follow_the_order_of_preference_together() {
    let scene = Scene::start(&spec("")).unwrap();
    wait_both(&scene, "lvs-2");
    let meters =
        VIPS.map(|vip| scene.connect("client", address(vip), Aim::port(80).http()).unwrap());
    for meter in meters {
        scene.wait_served(meter, "lvs-2").unwrap();
    }
    scene.panic("lvs-2").unwrap();
    wait_both(&scene, "lvs-1");
    scene.panic("lvs-1").unwrap();
    wait_both(&scene, "lvs-3");
    for meter in meters {
        scene.wait_served(meter, "lvs-3").unwrap();
    }
    // The second choice comes back before the first one, and each gets what is due to it.
    restart(&scene, "lvs-1");
    wait_both(&scene, "lvs-1");
    restart(&scene, "lvs-2");
    wait_both(&scene, "lvs-2");
    for meter in meters {
        let report = scene.wait_served(meter, "lvs-2").unwrap();
        assert_eq!(
            crate::banners(&report),
            ["lvs-2", "lvs-1", "lvs-3", "lvs-1", "lvs-2"],
            "two failures, two returns"
        );
    }
}

#[test]
fn seed_004_alone_without_preemption_the_address_stays() {
    let scene = Scene::start(&spec("hand_back = false")).unwrap();
    wait_both(&scene, "lvs-2");
    scene.panic("lvs-2").unwrap();
    wait_both(&scene, "lvs-1");
    restart(&scene, "lvs-2");
    scene.wait_verdict("lvs-1", "lvs-2", "alive").unwrap();
    let stays = || ROUTES.into_iter().try_for_each(|route| scene.ensure_led(route, "lvs-1"));
    scene.watch(Duration::from_secs(8), stays).unwrap();
}

#[test]
fn seed_004_alone_a_delay_of_preemption_is_kept() {
    let scene = Scene::start(&spec("hold = \"9s\"")).unwrap();
    wait_both(&scene, "lvs-2");
    scene.panic("lvs-2").unwrap();
    wait_both(&scene, "lvs-1");
    restart(&scene, "lvs-2");
    scene.wait_verdict("lvs-1", "lvs-2", "alive").unwrap();
    let since = scene.status().unwrap().now_ms;
    wait_both(&scene, "lvs-2");
    let took = scene.status().unwrap().now_ms - since;
    assert!((8_000.0..25_000.0).contains(&took), "{took} ms");
}
