//! Planned work that starts on all nodes at the same moment: `natha when-safe` and `natha reboot
//! --when-safe` let one node after the other do it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use natha_lab::Status;
use natha_lab::daemon::shared::{Happening, Power};
use natha_lab::scene::{self, QUICK, Scene, ensure};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const NODES: [&str; 3] = ["nat-a", "nat-b", "nat-c"];
const HOSTS: [&str; 3] = ["host-a", "host-b", "host-c"];
/// Runs work in this node's turn. The work writes down what the monitor says as it begins, and goes
/// on until the test ends it.
const IN_TURN: &str = "mkfifo /root/go
cat >/root/work <<'END'
natha status --json >/root/begin.json
touch /root/begun
read x </root/go
END
natha when-safe -- sh /root/work >/root/turn 2>&1
echo $? >/root/ended";
/// What stands for systemd on an instance of the lab, where an update needs a reboot.
const NEEDS_REBOOT: &str = "cat >/usr/bin/systemctl <<'END'
#!/bin/sh
test \"$1\" = reboot && exec /usr/local/sbin/reboot
END
chmod 755 /usr/bin/systemctl
mkdir -p /etc/kernel/postinst.d
touch /etc/kernel/postinst.d/unattended-upgrades /run/reboot-required";
const REBOOT: &str = "natha reboot --when-safe --if-required >/root/turn 2>&1";

/// What a file on a node holds; nothing where there is none.
fn file(scene: &Scene, node: &str, path: &str) -> anyhow::Result<String> {
    scene.sh(node, &format!("cat {path} 2>/dev/null || true"))
}

/// Those of these nodes whose work has begun.
fn begun<'a>(scene: &Scene, nodes: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    let mut found = Vec::new();
    for &node in nodes {
        if scene.sh(node, "ls /root/begun 2>/dev/null || true")?.contains("begun") {
            found.push(node);
        }
    }
    Ok(found)
}

/// Waits until one of these nodes works, and sees that the others wait for it and do not begin.
fn at_work<'a>(scene: &Scene, waiting: &[&'a str]) -> &'a str {
    scene.wait_for(|| Ok(!begun(scene, waiting)?.is_empty())).unwrap();
    let now = begun(scene, waiting).unwrap();
    let [node] = now[..] else { panic!("{now:?} work at the same time") };
    let others: Vec<&str> = waiting.iter().copied().filter(|other| *other != node).collect();
    let reason = format!("{node} is leaving");
    for other in &others {
        scene.wait_for(|| Ok(file(scene, other, "/root/turn")?.contains(&reason))).unwrap();
    }
    let alone = || ensure(begun(scene, &others)?.is_empty(), "two nodes work at the same time");
    scene.watch(Duration::from_secs(3), alone).unwrap();
    node
}

/// Ends a node's work, and waits until the node says that this was done.
fn end_work(scene: &Scene, node: &str) {
    scene.sh(node, "echo go >/root/go").unwrap();
    scene.wait_for(|| Ok(file(scene, node, "/root/ended")? == "0\n")).unwrap();
}

/// Sees that a node's work began when earlier ones were alive and had their groups back.
fn began_after(scene: &Scene, node: &str, earlier: &[&str]) {
    let text = file(scene, node, "/root/begin.json").unwrap();
    let status: Value = serde_json::from_str(&text).unwrap();
    for one in earlier {
        let id = scene.host(one).unwrap().instance;
        assert_eq!(status["view"]["peers"][&*id]["verdict"], "alive", "{one}: {text}");
        let groups = status["view"]["groups"].as_object().unwrap();
        let own = groups.values().find(|group| group["home"] == *id).unwrap();
        assert_eq!(own["holder"], *id, "{one}: {text}");
    }
}

/// From when to when each node was away for its reboot, in milliseconds since the lab began: from
/// its power off until its zone's route leads to it again. The first one first.
fn absences(scene: &Scene) -> Vec<(f64, f64)> {
    let events = scene.timeline().unwrap().events;
    let of = |(zone, node): (usize, &&str)| {
        let subnet = scene.zone(zone).unwrap().private_subnet;
        let off = events.iter().position(|event| {
            matches!(&event.what, Happening::Power { host, power: Power::Off, .. } if host == node)
        });
        let off = off.unwrap();
        let back = events[off..].iter().find(|event| {
            matches!(&event.what,
                Happening::Route(route) if route.is_default_of(&subnet) && route.to == **node)
        });
        (events[off].at_ms, back.unwrap().at_ms)
    };
    let mut found: Vec<(f64, f64)> = NODES.iter().enumerate().map(of).collect();
    found.sort_by(|one, other| one.0.total_cmp(&other.0));
    found
}

#[test]
fn work_that_starts_on_three_nodes_at_once_is_done_on_one_after_the_other() {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    let meters = HOSTS.map(|host| scene.ping(host, 10).unwrap());
    for node in NODES {
        scene.spawn(node, &["sh", "-c", IN_TURN]).unwrap();
    }
    let (mut waiting, mut done) = (NODES.to_vec(), Vec::new());
    while !waiting.is_empty() {
        let node = at_work(&scene, &waiting);
        for zone in 0..NODES.len() {
            assert_ne!(scene.route(zone).unwrap(), node, "it works while it serves zone {zone}");
        }
        began_after(&scene, node, &done);
        end_work(&scene, node);
        waiting.retain(|other| *other != node);
        done.push(node);
    }
    scene.wait_well().unwrap();
    for (zone, node) in NODES.into_iter().enumerate() {
        assert_eq!(scene.route(zone).unwrap(), node);
    }
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
}

#[test]
fn three_nodes_that_need_a_reboot_are_away_one_after_the_other() {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    let meters = HOSTS.map(|host| scene.ping(host, 10).unwrap());
    let before = NODES.map(|node| scene.boots(node).unwrap());
    for node in NODES {
        scene.sh(node, NEEDS_REBOOT).unwrap();
    }
    for node in NODES {
        scene.spawn(node, &["sh", "-c", REBOOT]).unwrap();
    }
    let is_back = |status: &Status, (node, before): (&str, u64)| {
        let found = status.hosts.iter().find(|host| host.name == node);
        found.is_some_and(|host| host.boot > before && host.power == Power::On)
    };
    for count in 1..=NODES.len() {
        let back = |status: &Status| {
            let all = NODES.into_iter().zip(before);
            all.filter(|one| is_back(status, *one)).count() >= count
        };
        scene.wait_until(scene::PATIENCE, back).map_err(|error| scene.explain(error)).unwrap();
    }
    scene.wait_well().unwrap();
    let absences = absences(&scene);
    for pair in absences.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "one was not back when the next one went: {absences:?}");
    }
    for (node, before) in NODES.into_iter().zip(before) {
        assert_eq!(scene.boots(node).unwrap(), before + 1, "{node} has rebooted once");
        assert!(file(&scene, node, "/root/turn").unwrap().contains("Rebooting."), "{node}");
    }
    for meter in meters {
        scene.lost_nothing(meter).unwrap();
    }
    scene.nobody_stopped().unwrap();
    let unneeded = scene.natha("nat-a", &["reboot", "--when-safe", "--if-required"]).unwrap();
    assert_eq!(unneeded.code, 0, "{}{}", unneeded.stdout, unneeded.stderr);
    assert!(unneeded.stdout.contains("does not need a reboot"), "{}", unneeded.stdout);
}

#[test]
fn the_turn_of_a_node_that_dies_is_free_once_the_node_is_terminated() {
    let scene = Scene::start(&scene::spec(3, NATHA, QUICK)).unwrap();
    for node in NODES {
        scene.spawn(node, &["sh", "-c", IN_TURN]).unwrap();
    }
    let dead = at_work(&scene, &NODES);
    let instance = scene.host(dead).unwrap().instance;
    scene.panic(dead).unwrap();
    let mut waiting: Vec<&str> = NODES.into_iter().filter(|node| *node != dead).collect();
    let still = || ensure(begun(&scene, &waiting)?.is_empty(), "a node works beside a dead one");
    scene.watch(Duration::from_secs(5), still).unwrap();
    scene.ec2("TerminateInstances", &[("InstanceId.1", &instance)]).unwrap();
    while !waiting.is_empty() {
        let node = at_work(&scene, &waiting);
        end_work(&scene, node);
        waiting.retain(|other| *other != node);
    }
}
