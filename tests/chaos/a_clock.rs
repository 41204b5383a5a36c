//! Wall clocks that jump. A lab cannot set the clock of one instance, as Linux has one for all;
//! so natha runs under libfaketime there, which tells it another wall clock and leaves the others
//! alone.

use std::path::PathBuf;
use std::time::Duration;

use natha_lab::Spec;
use natha_lab::daemon::shared::Power;
use natha_lab::scene::{self, Scene};

use crate::NATHA;

/// The file from which it reads how far the clock is off.
const OFFSET: &str = "/run/offset";

const TAKEOVERS_ONLY: &str = "
repair.enabled = false

[hand_back]
hold = \"3s\"
hold_max = \"3s\"
";

/// The library, from the package `libfaketime`.
fn library() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").unwrap();
    let mut places = places.map(|place| place.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    let found = places.find(|file| file.is_file());
    found.expect("libfaketime: install the package faketime, or run scripts/test")
}

/// Two nodes whose wall clocks [`jump`] can set.
fn spec() -> Spec {
    let library = library();
    let library = library.display();
    let commands = format!(
        "echo '+0' > {OFFSET}\nnatha setup || exit 1\n\
         export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={OFFSET} FAKETIME_NO_CACHE=1\n\
         export FAKETIME_DONT_FAKE_MONOTONIC=1\nexec natha monitor"
    );
    scene::spec(2, NATHA, "").with_node_user_data(&scene::user_data(TAKEOVERS_ONLY, &commands))
}

/// Sets a node's wall clock this far off, such as `+3600` seconds.
fn jump(scene: &Scene, node: &str, offset: &str) {
    scene.sh(node, &format!("echo '{offset}' > {OFFSET}.new && mv {OFFSET}.new {OFFSET}")).unwrap();
}

#[test]
fn s19_clock_jump_changes_nothing_and_a_failure_is_covered_at_once() {
    let scene = Scene::start(&spec()).unwrap();
    let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
    for offset in ["+7200", "-7200", "+0"] {
        for node in ["nat-a", "nat-b"] {
            jump(&scene, node, offset);
        }
        scene.pass(Duration::from_secs(4));
    }
    assert_eq!(scene.route_writes().unwrap(), 0);
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    // EC2 refuses the first request that is signed with the new time: it must not take long.
    for offset in ["+7200", "-7200"] {
        jump(&scene, "nat-b", offset);
        scene.freeze("nat-a").unwrap();
        scene.wait_route(0, "nat-b").unwrap();
        let frozen = scene.power_at("nat-a", Power::Frozen).unwrap();
        let outage = scene.led_at(0, "nat-b").unwrap().saturating_sub(frozen);
        assert!(outage < Duration::from_millis(1_500), "{offset}: {outage:?}");
        scene.thaw("nat-a").unwrap();
        scene.wait_route(0, "nat-a").unwrap();
        scene.wait_well().unwrap();
    }
    scene.nobody_stopped().unwrap();
}
