//! Lists of EC2 that lack what exists: nothing is moved or stopped because of that.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use natha_lab::ec2::{Fault, FaultRule, Faults, Principal};
use natha_lab::scene::{self, QUICK, Scene};
use natha_lab::spec::AddressSpec;
use natha_lab::{Spec, Traffic};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
/// A private IP that the nodes' group moves.
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);

/// Makes nat-b's lists lack nat-a and the table of nat-a's zone.
fn omit(scene: &Scene) {
    let asker = Principal::Instance(scene.host("nat-b").unwrap().instance);
    let missing = [scene.host("nat-a").unwrap().instance, scene.zone(0).unwrap().private_table];
    let rule = |id: &String| FaultRule::everywhere(Fault::Omit).about(id).by(asker.clone());
    scene.api_faults(Faults { rules: missing.iter().map(rule).collect() }).unwrap();
}

/// How many lists of this kind a node has asked for by filter.
fn filtered(scene: &Scene, node: &str, action: &str) -> usize {
    let calls = scene.calls_by(node).unwrap();
    let is_list = |params: &str| params.contains("Filter") && !params.contains("InstanceId");
    calls.iter().filter(|c| c.action == action && is_list(&c.params)).count()
}

/// How many lists of instances nat-b has asked for.
fn lists(scene: &Scene) -> usize {
    filtered(scene, "nat-b", "DescribeInstances")
}

#[test]
fn two_lists_in_a_row_without_a_peer_that_answers_no_echo_move_and_stop_nothing() {
    let scene = Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    let meter = scene.ping("host-b", 10).unwrap();
    scene.block("nat-a", "nat-b", Traffic::Icmp).unwrap();
    scene.block("nat-b", "nat-a", Traffic::Icmp).unwrap();
    let (before, writes) = (lists(&scene), scene.route_writes().unwrap());
    omit(&scene);
    // A minute lies between two lists.
    for more in 1..=2 {
        scene.wait_for(|| Ok(lists(&scene) >= before + more)).unwrap();
    }
    // Longer than either node would wait before it stops the other.
    scene.watch(Duration::from_secs(46), || scene.nobody_stopped()).unwrap();
    assert_eq!(scene.route_writes().unwrap(), writes);
    scene.lost_nothing(meter).unwrap();
    for (node, peer) in [("nat-a", "nat-b"), ("nat-b", "nat-a")] {
        scene.wait_verdict(node, peer, "alive").unwrap();
    }
    // The group whose table the lists lacked is still covered.
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
}

#[test]
fn a_monitor_whose_first_list_lacks_its_peer_meets_it_by_its_heartbeats() {
    let scene = Scene::start(&scene::service(2, NATHA, QUICK)).unwrap();
    let writes = scene.route_writes().unwrap();
    let before = lists(&scene);
    omit(&scene);
    scene.kill("nat-b", "natha").unwrap();
    scene.wait_for(|| Ok(lists(&scene) > before)).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "alive").unwrap();
    // No later list shows it either.
    scene.watch(Duration::from_secs(15), || scene.nobody_stopped()).unwrap();
    scene.wait_verdict("nat-b", "nat-a", "alive").unwrap();
    scene.wait_verdict("nat-a", "nat-b", "alive").unwrap();
    assert_eq!(scene.route_writes().unwrap(), writes);
}

/// Two nodes in one subnet, and a group with a private IP and an Elastic IP, which nat-a has.
fn addresses() -> Spec {
    let config = format!(
        "cluster = \"db\"\nmembers = [\"{{{{instance.nat-a}}}}\", \"{{{{instance.nat-b}}}}\"]\n\
         [[group]]\nname = \"db\"\nprefer = [\"{{{{instance.nat-a}}}}\"]\n\
         [[group.resource]]\nkind = \"private-ip\"\naddress = \"{FLOATING}\"\n\
         [[group.resource]]\nkind = \"eip\"\nallocation = \"{{{{eip.web}}}}\"\n"
    );
    let user_data = scene::user_data(&config, "natha setup && exec natha monitor");
    let mut spec = scene::spec(2, NATHA, "").with_node_user_data(&user_data);
    spec.hosts.iter_mut().filter(|host| host.name == "nat-b").for_each(|host| host.zone = 0);
    spec.hosts[0].secondary = vec![FLOATING];
    let on = Some("nat-a".to_owned());
    spec.addresses.push(AddressSpec { name: "web".to_owned(), on, private: None });
    spec
}

#[test]
fn addresses_that_lists_lack_stay_where_they_are_and_a_monitor_starts_without_those_lists() {
    let scene = Scene::start(&addresses()).unwrap();
    let interface = scene.host("nat-a").unwrap().interface;
    let allocation = scene.account().unwrap().elastic["web"].allocation.clone();
    let rules = vec![
        FaultRule::on("DescribeNetworkInterfaces", Fault::Omit).about(&interface),
        FaultRule::on("DescribeAddresses", Fault::Omit).about(&allocation),
    ];
    scene.api_faults(Faults { rules }).unwrap();
    let reads = |nodes: &[&'static str]| {
        let kinds = ["DescribeNetworkInterfaces", "DescribeAddresses"];
        let each = nodes.iter().flat_map(|node| kinds.map(|kind| (*node, kind)));
        each.map(|(node, kind)| filtered(&scene, node, kind)).collect::<Vec<usize>>()
    };
    let read_thrice = |nodes: &[&'static str]| {
        let before = reads(nodes);
        let are_there = || reads(nodes).iter().zip(&before).all(|(now, then)| *now >= then + 3);
        scene.wait_for(|| Ok(are_there())).unwrap();
    };
    let nothing_moved = || {
        for action in ["AssignPrivateIpAddresses", "AssociateAddress"] {
            assert_eq!(scene.count(action).unwrap(), 0, "{action}");
        }
    };
    read_thrice(&["nat-a", "nat-b"]);
    nothing_moved();
    // Its first lists lack the addresses, too.
    scene.kill("nat-b", "natha").unwrap();
    scene.spawn("nat-b", &["natha", "monitor"]).unwrap();
    scene.wait_well().unwrap();
    read_thrice(&["nat-b"]);
    nothing_moved();
    scene.wait_private(FLOATING, "nat-a").unwrap();
    scene.wait_elastic("web", "nat-a").unwrap();
    scene.nobody_stopped().unwrap();
}
