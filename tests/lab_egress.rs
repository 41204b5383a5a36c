//! Egress IPs: private hosts reach the internet by the same public address, whichever node holds
//! their group.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::bail;
use natha_lab::Spec;
use natha_lab::ec2::{Fault, FaultRule, Faults};
use natha_lab::net::internet::INTERNET_HOST;
use natha_lab::scene::{self, QUICK, Scene, ensure};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Two nodes, and a group with an egress IP for each zone.
fn spec(mode: &str) -> Spec {
    let config = format!("{QUICK}\n{}", scene::egress_groups(mode));
    scene::with_egress_ips(scene::service(2, NATHA, &config))
}

/// The public address by which a private host reaches the internet; none if it does not.
fn seen(scene: &Scene, host: &str) -> Option<Ipv4Addr> {
    let asked = format!(
        "perl -MIO::Socket::INET -e '
            $s = IO::Socket::INET->new(PeerAddr => \"{INTERNET_HOST}:80\", Timeout => 2) or exit 1;
            print $s \"GET / HTTP/1.0\\r\\n\\r\\n\";
            while (<$s>) {{ $last = $_ }} print $last'"
    );
    scene.sh(host, &asked).ok()?.trim().parse().ok()
}

fn public(scene: &Scene, name: &str) -> Ipv4Addr {
    let account = scene.account().unwrap();
    account.elastic[name].address
}

/// Waits until a private host reaches the internet by an Elastic IP.
fn wait_seen(scene: &Scene, host: &str, address: Ipv4Addr) {
    scene.wait_for(|| Ok(seen(scene, host) == Some(address))).unwrap();
}

#[test]
fn private_hosts_keep_their_public_address_when_their_node_dies_and_when_it_is_back() {
    let scene = Scene::start(&spec("eager")).unwrap();
    let (a, b) = (public(&scene, "out-a"), public(&scene, "out-b"));
    wait_seen(&scene, "host-a", a);
    wait_seen(&scene, "host-b", b);
    let flows = scene.flows("host-a", 20, 50).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    wait_seen(&scene, "host-a", a);
    assert_eq!(seen(&scene, "host-b"), Some(b), "its own group is not touched");
    let report = scene.flowed(flows).unwrap();
    assert_eq!(report.broken, 0, "{:?}", report.reasons);
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    wait_seen(&scene, "host-a", a);
    scene.wait_well().unwrap();
    ensure(seen(&scene, "host-b") == Some(b), "the other zone is as before").unwrap();
}

#[test]
fn a_strict_group_never_leaves_by_another_address() {
    let scene = Scene::start(&spec("strict")).unwrap();
    let a = public(&scene, "out-a");
    wait_seen(&scene, "host-a", a);
    // From now on the Elastic IP cannot move: EC2 refuses.
    let rules = vec![FaultRule::on("AssociateAddress", Fault::Deny)];
    scene.api_faults(Faults { rules }).unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let elsewhere = || match seen(&scene, "host-a") {
        Some(address) if address != a => bail!("host-a is seen as {address}"),
        _ => Ok(()),
    };
    scene.watch(Duration::from_secs(5), elsewhere).unwrap();
    assert_eq!(seen(&scene, "host-a"), None, "it waits");
    scene.api_faults(Faults::default()).unwrap();
    scene
        .wait_for(|| {
            elsewhere()?;
            Ok(seen(&scene, "host-a") == Some(a))
        })
        .unwrap();
}

/// Sets tags of an Elastic IP.
fn tag(scene: &Scene, name: &str, tags: &[(&str, &str)]) {
    let id = scene.account().unwrap().elastic[name].allocation.clone();
    let mut parameters = vec![("ResourceId.1".to_owned(), id.as_str())];
    for (n, (key, value)) in (1..).zip(tags) {
        parameters.push((format!("Tag.{n}.Key"), *key));
        parameters.push((format!("Tag.{n}.Value"), *value));
    }
    let parameters: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    scene.ec2("CreateTags", &parameters).unwrap();
}

#[test]
fn an_elastic_ip_becomes_an_egress_ip_by_its_tags_alone() {
    let spec = scene::service(2, NATHA, QUICK).with_address("out-a", None);
    let scene = Scene::start_unwell(&spec).unwrap();
    let cluster = spec.table_tags["natha:cluster"].as_str();
    let zone = scene.zone(0).unwrap().name;
    tag(&scene, "out-a", &[("natha:cluster", cluster), ("natha:group", &zone)]);
    scene.wait_well().unwrap();
    let a = public(&scene, "out-a");
    wait_seen(&scene, "host-a", a);
    let other = seen(&scene, "host-b").unwrap();
    ensure(other != a, "the other zone has no egress IP").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    wait_seen(&scene, "host-a", a);
    scene.wait_route(0, "nat-a").unwrap();
    wait_seen(&scene, "host-a", a);
    // A tag that changes is taken in by running monitors.
    tag(&scene, "out-a", &[("natha:group", "elsewhere")]);
    scene.wait_for(|| Ok(seen(&scene, "host-a").is_some_and(|by| by != a))).unwrap();
}

/// What a private host sends without a pause: UDP, each datagram from a port of its own, and TCP.
const NEWCOMERS: &str = "
    use IO::Socket::INET; use IO::Select;
    while (1) {
        my %to = (PeerAddr => $ARGV[0], PeerPort => 7);
        my $udp = IO::Socket::INET->new(%to, Proto => \"udp\");
        $udp->send(\"x\") if $udp;
        my $tcp = IO::Socket::INET->new(%to, Proto => \"tcp\", Blocking => 0);
        select(undef, undef, undef, 0.02);
    }";

/// Strict groups, of which the routes and the egress IPs take effect so much later than EC2 accepts
/// them. A host of the first group sends, and what arrives is counted.
fn observed(propagation_ms: u64, elastic_ms: u64) -> Scene {
    let mut spec = spec("strict");
    spec.ec2.propagation_ms = propagation_ms;
    spec.ec2.elastic_ms = Some(elastic_ms);
    let scene = Scene::start_unwell(&spec).unwrap();
    scene.capture().unwrap();
    scene.spawn("host-a", &["perl", "-e", NEWCOMERS, &INTERNET_HOST.to_string()]).unwrap();
    scene
}

/// Whatever moves, and in whichever order EC2's changes take effect, the internet sees the hosts of
/// a strict group by one address.
fn nothing_foreign(propagation_ms: u64, elastic_ms: u64) {
    let scene = observed(propagation_ms, elastic_ms);
    let a = public(&scene, "out-a");
    let pure = |at: &str| {
        let captured = scene.captured().unwrap();
        assert!(captured.keys().all(|address| *address == a), "{at}: {captured:?}, not only {a}");
        captured.get(&a).copied().unwrap_or_default()
    };
    let wait_more = |at: &str| {
        let before = pure(at);
        scene.wait_for(|| Ok(pure(at) > before + 20)).unwrap();
    };
    scene.wait_well().unwrap();
    wait_more("the first boot");
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    wait_more("a hard kill");
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    wait_more("the hand-back");
    scene.wait_well().unwrap();
    scene.drain("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    wait_more("a hand-over");
    let nodes = ["nat-a", "nat-b"].map(|name| scene.host(name).unwrap());
    scene.stop_nodes(&nodes).unwrap();
    scene.start_nodes(&nodes).unwrap();
    wait_more("a boot of all nodes");
    scene.wait_well().unwrap();
    pure("the end");
}

#[test]
fn a_strict_group_has_one_address_where_elastic_ips_move_later_than_routes() {
    nothing_foreign(0, 3_000);
}

#[test]
fn a_strict_group_has_one_address_where_routes_move_later_than_elastic_ips() {
    nothing_foreign(3_000, 0);
}

/// Takes away what holds hosts back, whenever the monitor has loaded it.
const LIFT: &str = "
    lift() { nft flush chain ip natha_egress hold 2>/dev/null; }
    nft monitor new rules | { lift; while read -r _; do lift; done; }";

/// The two tests above see foreign packets where there is no guard. `lifted` is the node that has
/// the hosts' packets while it does not have the egress IP.
fn something_foreign_without_the_guard(propagation_ms: u64, elastic_ms: u64, lifted: &str) {
    let scene = observed(propagation_ms, elastic_ms);
    scene.wait_well().unwrap();
    let a = public(&scene, "out-a");
    wait_seen(&scene, "host-a", a);
    scene.spawn(lifted, &["sh", "-c", LIFT]).unwrap();
    let captured = scene.captured().unwrap();
    assert!(captured.keys().all(|address| *address == a), "before: {captured:?}, not only {a}");
    scene.drain("nat-a").unwrap();
    let foreign = || Ok(scene.captured()?.keys().any(|address| *address != a));
    scene.wait_for(foreign).unwrap();
}

#[test]
fn a_capture_shows_what_leaves_without_the_guard_where_elastic_ips_move_later_than_routes() {
    something_foreign_without_the_guard(0, 3_000, "nat-b");
}

#[test]
fn a_capture_shows_what_leaves_without_the_guard_where_routes_move_later_than_elastic_ips() {
    something_foreign_without_the_guard(3_000, 0, "nat-a");
}

const LANDINGS: [&str; 2] = ["10.0.0.201", "10.0.0.202"];

/// How many of its landing addresses nat-a has on its interface.
fn landed(scene: &Scene) -> usize {
    let shown = scene.sh("nat-a", "ip -4 -brief address show dev ens5").unwrap();
    LANDINGS.iter().filter(|landing| shown.contains(&format!("{landing}/"))).count()
}

#[test]
fn a_teardown_removes_the_translation_and_the_landing_addresses() {
    let config = format!("{QUICK}\n{}", scene::egress_groups("strict"));
    let scene = Scene::start(&scene::with_egress_ips(scene::spec(2, NATHA, &config))).unwrap();
    wait_seen(&scene, "host-a", public(&scene, "out-a"));
    assert_eq!(landed(&scene), 2);
    scene.terminate("nat-a").unwrap();
    let runs = || scene.exec("nat-a", &["pidof", "natha"], Duration::from_secs(10));
    scene.wait_for(|| Ok(runs()?.code != 0)).unwrap();
    let done = scene.natha("nat-a", &["teardown"]).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    for landing in LANDINGS {
        assert!(done.stdout.contains(&format!("landing address {landing}")), "{}", done.stdout);
    }
    assert_eq!(landed(&scene), 0);
    let left = scene.sh("nat-a", "nft list tables; ls /var/lib/natha").unwrap();
    assert!(!left.contains("ip natha") && !left.contains("egress.json"), "{left}");
    let again = scene.natha("nat-a", &["teardown"]).unwrap();
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
    assert!(again.stdout.contains("Nothing to do"), "{}", again.stdout);
}
