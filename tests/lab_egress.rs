//! Egress IPs: private hosts reach the internet by the same public address, whichever node holds
//! their group.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use natha_lab::ec2::{Fault, FaultRule, Faults};
use natha_lab::egress::{self, Egress, Load};
use natha_lab::meter::mixed::{Kind, Mix};
use natha_lab::net::internet::{INTERNET_HOST, WHOAMI_PORT};
use natha_lab::scene::{self, QUICK, Scene, ensure};
use natha_lab::{Spec, cluster};

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

fn spec(strict: bool) -> Spec {
    Egress { strict, replicate: false, more: QUICK }.spec(NATHA)
}

#[test]
fn private_hosts_keep_their_public_address_when_their_node_dies_and_when_it_is_back() {
    let scene = Scene::start(&spec(false)).unwrap();
    let (a, b) = (scene.public("out-a").unwrap(), scene.public("out-b").unwrap());
    scene.wait_seen("host-a", a).unwrap();
    scene.wait_seen("host-b", b).unwrap();
    let flows = scene.flows("host-a", 20, 50).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    assert_eq!(scene.seen("host-b"), Some(b), "its own group is not touched");
    let report = scene.flowed(flows).unwrap();
    assert_eq!(report.broken, 0, "{:?}", report.reasons);
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    scene.wait_well().unwrap();
    ensure(scene.seen("host-b") == Some(b), "the other zone is as before").unwrap();
}

/// How long an Elastic IP takes to follow, and how long after a hand-back its receiver dies: while
/// the hand-back of the egress IP has not taken effect yet.
const FOLLOWS_MS: u64 = 8_000;
const DIES: Duration = Duration::from_secs(4);

#[test]
fn an_egress_ip_that_left_a_moment_ago_is_not_used_before_it_is_back_for_good() {
    let mut spec = spec(false);
    spec.ec2.elastic_ms = Some(FOLLOWS_MS);
    let scene = Scene::start(&spec).unwrap();
    let a = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    let boots = scene.boots("nat-a").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    scene.wait_boot("nat-a", boots).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.pass(DIES);
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    // Packets still go to the heir, but they will go to the dead node first.
    let is_elsewhere = || Ok(scene.seen("host-a").is_some_and(|by| by != a));
    scene.wait_for(is_elsewhere).unwrap();
    scene.wait_seen("host-a", a).unwrap();
    let told = scene.console("nat-b").unwrap();
    assert!(
        told.contains("it left this node a moment ago, and probes by it are not answered"),
        "{told}"
    );
}

#[test]
fn a_strict_group_never_leaves_by_another_address() {
    let scene = Scene::start(&spec(true)).unwrap();
    let a = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    // From now on the Elastic IP cannot move: EC2 refuses.
    let rules = vec![FaultRule::on("AssociateAddress", Fault::Deny)];
    scene.api_faults(Faults { rules }).unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    let elsewhere = || match scene.seen("host-a") {
        Some(address) if address != a => bail!("host-a is seen as {address}"),
        _ => Ok(()),
    };
    scene.watch(Duration::from_secs(5), elsewhere).unwrap();
    assert_eq!(scene.seen("host-a"), None, "it waits");
    scene.api_faults(Faults::default()).unwrap();
    scene
        .wait_for(|| {
            elsewhere()?;
            Ok(scene.seen("host-a") == Some(a))
        })
        .unwrap();
}

#[test]
fn a_restart_of_the_monitor_takes_no_group_off_its_egress_ip_where_no_target_answers_icmp() {
    let more = format!("uplink.targets = [\"tcp:{INTERNET_HOST}:{WHOAMI_PORT}\"]\n{QUICK}");
    let scene = Scene::start(&Egress { strict: true, replicate: false, more: &more }.spec(NATHA));
    let scene = scene.unwrap();
    let a = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    let pid = |status: &serde_json::Value| status["pid"].as_u64();
    let before = pid(&cluster::status(&scene, "nat-a").unwrap());
    scene.terminate("nat-a").unwrap();
    let has_arrived = |status: &serde_json::Value| {
        pid(status).is_some() && pid(status) != before && !status["egress"][0]["arrival"].is_null()
    };
    scene.wait_status("nat-a", has_arrived).unwrap();
    let keeps = || ensure(scene.seen("host-a") == Some(a), "host-a is off its egress IP");
    scene.watch(Duration::from_secs(6), keeps).unwrap();
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
    let a = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    let other = scene.seen("host-b").unwrap();
    ensure(other != a, "the other zone has no egress IP").unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_seen("host-a", a).unwrap();
    // A tag that changes is taken in by running monitors.
    tag(&scene, "out-a", &[("natha:group", "elsewhere")]);
    scene.wait_for(|| Ok(scene.seen("host-a").is_some_and(|by| by != a))).unwrap();
}

/// Private addresses of host-a, among which natha's hash divides three egress IPs 2 : 1 : 2.
const SOURCES: [Ipv4Addr; 5] = [source(201), source(202), source(203), source(204), source(205)];

const fn source(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 100, last)
}

/// Asks the internet host by which address it sees a connection from a private address, and prints
/// both.
const WHO: &str = "
    use IO::Socket::INET;
    my ($from, $to) = @ARGV;
    my $s = IO::Socket::INET->new(LocalAddr => $from, PeerAddr => $to, Timeout => 2) or exit 1;
    print $s \"GET / HTTP/1.0\\r\\n\\r\\n\";
    my $last;
    while (<$s>) { $last = $_ }
    print \"$from $last\\n\"";

/// The public addresses by which the internet sees the private addresses of host-a: those of
/// [`SOURCES`] that reach it.
fn seen_by_source(scene: &Scene) -> Result<BTreeMap<Ipv4Addr, Ipv4Addr>> {
    let sources = SOURCES.map(|source| source.to_string()).join(" ");
    let ask = format!(
        "for from in {sources}; do perl -e '{WHO}' $from {INTERNET_HOST}:{WHOAMI_PORT} & done; wait"
    );
    let told = scene.sh("host-a", &ask)?;
    let mut seen = BTreeMap::new();
    for (from, by) in told.lines().filter_map(|line| line.trim().split_once(' ')) {
        seen.insert(from.parse()?, by.parse()?);
    }
    Ok(seen)
}

#[test]
fn each_private_host_keeps_its_address_of_three_in_planned_moves_and_when_its_node_dies() {
    let egress = Egress { strict: true, replicate: true, more: QUICK };
    let mut spec = egress::with_second_host(egress.spec_with_several(NATHA, 3));
    spec.ec2.elastic_ms = Some(1_000);
    let host = spec.hosts.iter_mut().find(|host| host.name == "host-a").unwrap();
    host.secondary = SOURCES.into();
    let scene = Scene::start_unwell(&spec).unwrap();
    scene.capture().unwrap();
    scene.wait_well().unwrap();
    let names = ["out-a", "out-a2", "out-a3"];
    let own: BTreeSet<Ipv4Addr> = names.map(|name| scene.public(name).unwrap()).into();
    let add = SOURCES.map(|source| format!("ip address add {source}/32 dev ens5")).join(" && ");
    scene.sh("host-a", &add).unwrap();
    let all = || Ok(seen_by_source(&scene)?.len() == SOURCES.len());
    scene.wait_for(all).unwrap();
    let before = seen_by_source(&scene).unwrap();
    assert_eq!(before.values().copied().collect::<BTreeSet<_>>(), own, "{before:?}");
    let keep = || {
        let now = seen_by_source(&scene)?;
        for (source, by) in &now {
            let was = before.get(source).context("another source")?;
            ensure(was == by, &format!("{source} is seen as {by}, before as {was}"))?;
        }
        Ok(now.len() == before.len())
    };
    let mix = Mix {
        flows: Kind::ALL.map(|kind| (kind, 5)).into(),
        interval_ms: 200,
        download_rate: 50_000,
        source_ports: Some(10_000),
        newcomers_ms: None,
    };
    let load = Load::open(&scene, &mix).unwrap();
    let flows = 2 * 5 * Kind::ALL.len();
    scene.wait_replicated("nat-a", "nat-b", flows).unwrap();
    scene.hand_over("nat-a", "a", "nat-b").unwrap();
    for holder in ["nat-b", "nat-a"] {
        scene.wait_route(0, holder).unwrap();
        scene.wait_for(keep).unwrap();
    }
    scene.wait_well().unwrap();
    scene.wait_replicated("nat-a", "nat-b", flows).unwrap();
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_for(keep).unwrap();
    let ended = load.close(&scene).unwrap();
    assert_eq!((ended.flows(), ended.broken()), (flows, 0), "{ended:#?}");
    for report in [&ended.kept, &ended.changed] {
        assert_eq!(report.seen.len(), 1, "one host, one address: {ended:#?}");
    }
    let captured = scene.captured().unwrap();
    assert!(captured.keys().all(|by| own.contains(by)), "{captured:?}, not only {own:?}");
}

/// The spec of strict groups, of which the routes and the egress IPs take effect so much later than
/// EC2 accepts them.
fn strict(replicate: bool, propagation_ms: u64, elastic_ms: u64) -> Spec {
    let mut spec = Egress { strict: true, replicate, more: QUICK }.spec(NATHA);
    spec.ec2.propagation_ms = propagation_ms;
    spec.ec2.elastic_ms = Some(elastic_ms);
    spec
}

/// Whatever moves, and in whichever order EC2's changes take effect, the internet sees the hosts of
/// a strict group by one address.
fn nothing_foreign(propagation_ms: u64, elastic_ms: u64) {
    let foreign = egress::foreign_packets(&strict(true, propagation_ms, elastic_ms)).unwrap();
    assert!(foreign.is_empty(), "{foreign:?}");
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
    let scene = egress::observed(&strict(false, propagation_ms, elastic_ms)).unwrap();
    scene.wait_well().unwrap();
    let a = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", a).unwrap();
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

/// User data that runs the monitor until it ends.
const ONCE: &str = "natha setup
exec natha monitor";

const LANDINGS: [&str; 2] = ["10.0.0.201", "10.0.0.202"];

/// How many of its landing addresses nat-a has on its interface.
fn landed(scene: &Scene) -> usize {
    let shown = scene.sh("nat-a", "ip -4 -brief address show dev ens5").unwrap();
    LANDINGS.iter().filter(|landing| shown.contains(&format!("{landing}/"))).count()
}

#[test]
fn a_teardown_removes_the_translation_and_the_landing_addresses() {
    let spec = Egress { strict: true, replicate: false, more: QUICK }.spec_with(NATHA, ONCE);
    let scene = Scene::start(&spec).unwrap();
    scene.wait_seen("host-a", scene.public("out-a").unwrap()).unwrap();
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
