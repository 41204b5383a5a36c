//! 001: a secondary private address and the Elastic IP address on it move between two web servers
//! of one subnet. `vip_monitor.sh` of the document had faults; each is staged here, and none
//! happens.

use std::time::Duration;

use natha_lab::meter::tcp::Aim;
use natha_lab::patterns::{self, QUICK, services};
use natha_lab::spec::AddressSpec;
use natha_lab::{Scene, Spec, Traffic};

use crate::{INTERNET, NATHA, address, assert_outages, banners};

const VIP: &str = "10.10.0.10";
const NODES: [&str; 2] = ["ha-1", "ha-2"];
const BANNERS: [&str; 2] = ["<h1>HA Node #1<h1>", "<h1>HA Node #2<h1>"];
/// The call that the document's script made.
const ASSIGN: &str = "AssignPrivateIpAddresses";

fn group(also: &str) -> String {
    format!(
        "{QUICK}
[[group]]
name = \"web\"
prefer = [\"{{{{instance.ha-1}}}}\", \"{{{{instance.ha-2}}}}\"]

[[group.resource]]
kind = \"private-ip\"
address = \"{VIP}\"
{also}"
    )
}

/// Two web servers of one subnet, each with a public address of its own, and a third one on the
/// address that both share; clients in the VPC and in the internet.
fn spec() -> Spec {
    let eip = format!(
        "
[[group.resource]]
kind = \"eip\"
allocation = \"{{{{eip.virtual}}}}\"
on = \"{VIP}\"
"
    );
    let page = |name: &str| {
        let number = NODES.iter().position(|node| *node == name).unwrap();
        services::greeter(80, BANNERS[number], true).unwrap()
    };
    let mut spec = patterns::spec(NATHA, &NODES.map(|name| (name, 0)), &group(&eip), page)
        .with_host(patterns::client("client", 1))
        .with_address("one", Some("ha-1"))
        .with_address("two", Some("ha-2"))
        .with_ingress(INTERNET.parse().unwrap());
    spec.addresses.push(AddressSpec {
        name: "virtual".to_owned(),
        on: Some("ha-1".to_owned()),
        private: Some(address(VIP)),
    });
    spec.vpc = "10.10.0.0/16".parse().unwrap();
    spec.hosts[0].address = Some(address("10.10.0.11"));
    spec.hosts[0].secondary = vec![address(VIP)];
    spec.hosts[1].address = Some(address("10.10.0.12"));
    spec
}

/// Which host EC2 says has the address.
fn holders(scene: &Scene) -> Vec<&str> {
    let has = |node: &&str| scene.host(node).unwrap().private.contains(&address(VIP));
    NODES.into_iter().filter(has).collect()
}

/// A line sent every 20 ms over one connection to the host's primary address and sent back; the
/// client ends with an error as soon as one does not come back within two seconds.
const ECHO: &str = "perl -MIO::Socket::INET -e '
    $l = IO::Socket::INET->new(LocalPort => 7, Listen => 1, ReuseAddr => 1) or die;
    $c = $l->accept; $c->autoflush(1); while (<$c>) { print $c $_ }'";
const LONG_LIVED: &str = "perl -MIO::Socket::INET -e '
    until ($s = IO::Socket::INET->new(\"$ARGV[0]:7\")) { select undef, undef, undef, 0.02 }
    $s->autoflush(1);
    $SIG{TERM} = sub { print \"$n lines\"; exit 0 };
    open P, \">\", \"/tmp/long.pid\"; print P $$; close P;
    while (1) { alarm 2; print $s \"x\\n\"; <$s> eq \"x\\n\" or die; $n++;
        select undef, undef, undef, 0.02 }' \"$0\" >/tmp/long 2>&1; echo \" $?\" >>/tmp/long";

#[test]
fn seed_001_the_address_and_its_elastic_ip_follow_and_no_network_is_restarted() {
    let scene = Scene::start(&spec()).unwrap();
    let public = scene.account().unwrap().elastic["virtual"].address;
    assert_eq!(holders(&scene), ["ha-1"]);
    scene.spawn("ha-2", &["sh", "-c", ECHO]).unwrap();
    scene.spawn("client", &["sh", "-c", LONG_LIVED, "10.10.0.12"]).unwrap();
    scene.wait_for(|| Ok(scene.sh("client", "test -s /tmp/long.pid").is_ok())).unwrap();
    let link = "cat /sys/class/net/ens5/carrier_changes /sys/class/net/ens5/ifindex";
    let link_before = scene.sh("ha-2", link).unwrap();
    let inside = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
    let outside = scene.connect("internet", public, Aim::port(80).http()).unwrap();
    for meter in [inside, outside] {
        scene.wait_served(meter, BANNERS[0]).unwrap();
    }
    scene.panic("ha-1").unwrap();
    for (meter, from) in [(inside, "client"), (outside, "internet")] {
        scene.wait_served(meter, BANNERS[1]).unwrap();
        let report = scene.connected(meter).unwrap();
        assert_eq!(banners(&report), BANNERS, "{from}");
        assert_outages(&scene, &report, 1);
        println!("outage from {from}: {:.0} ms", report.worst_ms());
    }
    // The system knows the address though no person has told it (the document's first fault).
    assert!(scene.has_address("ha-2", "ens5", VIP).unwrap());
    assert_eq!(holders(&scene), ["ha-2"]);
    // One call moved it and one its Elastic IP at most: with the address EC2 takes that along.
    assert_eq!(scene.done(&[ASSIGN]).unwrap().len(), 1);
    assert!(scene.done(&["AssociateAddress"]).unwrap().len() <= 1);
    // The interface was not restarted, and a connection to its own address never noticed.
    assert_eq!(scene.sh("ha-2", link).unwrap(), link_before);
    scene.sh("client", "kill -TERM $(cat /tmp/long.pid)").unwrap();
    let told = || scene.sh("client", "cat /tmp/long");
    scene.wait_for(|| Ok(told()?.ends_with('\n'))).unwrap();
    let told = told().unwrap();
    let lines = told.split_once(" lines").and_then(|(count, _)| count.parse::<u32>().ok());
    assert!(lines.is_some_and(|lines| lines > 20) && told.ends_with(" 0\n"), "{told}");
    scene.nobody_stopped().unwrap();
}

#[test]
fn seed_001_a_peer_that_answers_no_ping_moves_nothing() {
    // The document: every 60 seconds the network is restarted, and the address taken.
    let scene = Scene::start(&spec()).unwrap();
    let meter = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
    for (from, to) in [("ha-1", "ha-2"), ("ha-2", "ha-1")] {
        scene.block(from, to, Traffic::Icmp).unwrap();
    }
    let unmoved = || {
        let moves = scene.done(&[ASSIGN, "AssociateAddress"])?.len();
        natha_lab::scene::ensure(moves == 0, "something was moved")
    };
    scene.watch(Duration::from_secs(12), unmoved).unwrap();
    let report = scene.connected(meter).unwrap();
    assert_eq!((report.lost, banners(&report)), (0, vec![BANNERS[0]]), "{:?}", report.outages);
}

#[test]
fn seed_001_two_that_do_not_see_each_other_do_not_take_turns() {
    // Both may reassign the address at any time; with the document's script both would, in turn.
    let scene = Scene::start(&spec()).unwrap();
    let meter = scene.connect("client", address(VIP), Aim::port(80).http()).unwrap();
    for (from, to) in [("ha-1", "ha-2"), ("ha-2", "ha-1")] {
        scene.block(from, to, Traffic::All).unwrap();
    }
    // Each loses the other one and takes the address, until it has seen the other one act: a
    // handful of moves, and then none any more, though nothing is mended.
    let quiet = || {
        let (moves, now) = (scene.done(&[ASSIGN])?, scene.status()?.now_ms / 1e3);
        natha_lab::scene::ensure(moves.len() <= 8, "the address goes back and forth")?;
        Ok(moves.last().is_some_and(|last| now - last.at.as_secs_f64() > 12.0))
    };
    scene.wait_for(quiet).unwrap();
    let [holder] = holders(&scene)[..] else { panic!("one holds it: {:?}", holders(&scene)) };
    let banner = BANNERS[usize::from(holder == "ha-2")];
    scene.wait_served(meter, banner).unwrap();
    // The other one has noticed and does not keep an address that is no longer its own.
    for node in NODES {
        let there = || Ok(scene.has_address(node, "ens5", VIP)? == (node == holder));
        scene.wait_for(there).unwrap();
    }
    println!("moves: {}", scene.done(&[ASSIGN]).unwrap().len());
}

#[test]
fn seed_001_two_zones_are_refused_with_the_reason_and_the_alternative() {
    let mut spec =
        patterns::spec(NATHA, &[("ha-1", 0), ("ha-2", 1)], &group(""), |_| String::new());
    spec.vpc = "10.10.0.0/16".parse().unwrap();
    spec.hosts[0].secondary = vec![address(VIP)];
    let scene = Scene::start_unwell(&spec).unwrap();
    scene.wait_for(|| Ok(scene.sh("ha-1", "pidof natha").is_err())).unwrap();
    let limit = Duration::from_secs(20);
    let refused = scene.exec("ha-1", &["natha", "monitor"], limit).unwrap();
    assert!(matches!(refused.code, 1 | 2), "{}: {}", refused.code, refused.stderr);
    for word in [VIP, "subnet", "vip", "eip"] {
        assert!(refused.stderr.contains(word), "no `{word}` in {}", refused.stderr);
    }
    assert!(scene.done(&[ASSIGN]).unwrap().is_empty(), "nothing was changed");
    assert!(!scene.has_address("ha-1", "ens5", VIP).unwrap());
}
