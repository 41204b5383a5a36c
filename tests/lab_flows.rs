//! Connections live on: what is replicated survives the death of a node, and planned moves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use anyhow::Result;
use natha_lab::bulk::Bulk;
use natha_lab::cluster;
use natha_lab::egress::{self, Egress, Ended, Load};
use natha_lab::meter::mixed::{Kind, Mix};
use natha_lab::net::internet::INTERNET_HOST;
use natha_lab::scene::{self, QUICK, Scene};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");

/// Connections of each kind, of each of the two hosts.
const COUNT: u16 = 20;
/// Where the ports begin that only one host uses.
const OTHER_PORTS: u16 = 9_000;
/// All of one host.
const OF_ONE_HOST: usize = Kind::ALL.len() * COUNT as usize;
/// All of both.
const ALL: usize = 2 * OF_ONE_HOST;

/// Connections of these kinds, from ports that follow each other.
fn mix(kinds: &[Kind], first_port: u16) -> Mix {
    Mix {
        flows: kinds.iter().map(|kind| (*kind, COUNT)).collect(),
        interval_ms: 200,
        download_rate: 50_000,
        source_ports: Some(first_port),
        newcomers_ms: None,
    }
}

/// A cluster whose first zone has two private hosts with the same source ports.
struct Cluster {
    scene: Scene,
    /// By which the hosts of the first zone reach the internet.
    address: Ipv4Addr,
    round: u16,
}

impl Cluster {
    fn start(replicate: bool) -> Self {
        let spec = Egress { strict: false, replicate, more: QUICK }.spec(NATHA);
        let scene = Scene::start(&egress::with_second_host(spec)).unwrap();
        let address = scene.public("out-a").unwrap();
        let cluster = Self { scene, address, round: 0 };
        cluster.wait_own_address();
        cluster
    }

    /// Waits until the first zone's hosts reach the internet by their egress IP.
    fn wait_own_address(&self) {
        self.scene.wait_seen("host-a", self.address).unwrap();
    }

    /// Opens connections of all kinds, from other ports each time.
    fn open(&mut self) -> Load {
        let ports = 10_000 + self.round * 1_000;
        self.round += 1;
        Load::open(&self.scene, &mix(&Kind::ALL, ports)).unwrap()
    }

    /// All of them live, seen by the same address.
    fn assert_alive(&self, load: Load) {
        let ended = load.close(&self.scene).unwrap();
        if ended.broken() > 0 {
            let error = anyhow::anyhow!("{} broken: {ended:#?}", ended.broken());
            panic!("{:?}", self.scene.explain(error));
        }
        assert_eq!(ended.flows(), ALL);
        assert_eq!(ended.seen(), [self.address].into());
    }

    /// What a node reports; nothing while its monitor does not run.
    fn status(&self, node: &str) -> Value {
        cluster::status(&self.scene, node).unwrap_or_default()
    }

    /// Ends a node's monitor, and waits until it is run again.
    fn restart(&self, node: &str) {
        let before = self.status(node)["pid"].clone();
        self.scene.terminate(node).unwrap();
        let runs = || self.status(node)["pid"].clone();
        self.scene.wait_for(|| Ok(!runs().is_null() && runs() != before)).unwrap();
    }

    /// Waits until the second node holds every connection of the first.
    fn wait_replicated(&self) {
        self.scene.wait_replicated("nat-a", "nat-b", ALL).unwrap();
    }

    /// Whether a node has removed connections of an egress IP that has left.
    fn has_removed(&self, node: &str) -> Result<bool> {
        Ok(self.scene.console(node)?.contains("removed: its egress IP has left"))
    }

    fn wait_removed(&self, node: &str) {
        self.scene.wait_for(|| self.has_removed(node)).unwrap();
    }

    fn kill(&self) {
        self.scene.panic("nat-a").unwrap();
        self.scene.wait_route(0, "nat-b").unwrap();
        self.wait_own_address();
    }
}

/// How many of a kind live, of both hosts.
fn alive(ended: &Ended, kind: Kind) -> usize {
    ended.kept.alive(kind) + ended.changed.alive(kind)
}

#[test]
fn what_only_replication_keeps_is_lost_without_it() {
    let mut cluster = Cluster::start(false);
    let load = cluster.open();
    let others = cluster.scene.mixed("host-a", mix(&[Kind::Busy], OTHER_PORTS)).unwrap();
    cluster.kill();
    let ended = load.close(&cluster.scene).unwrap();
    for kind in [Kind::Idle, Kind::Busy] {
        let (count, most) = (alive(&ended, kind), usize::from(COUNT));
        assert!(count <= most, "one of two with the same port is lost: {count} {ended:#?}");
    }
    let others = cluster.scene.mixed_done(others).unwrap();
    // One may be lost: that whose server was the first to send to the survivor.
    assert!(others.broken() <= 1, "those of which no other has the port go on: {others:#?}");
    let server_first = alive(&ended, Kind::ServerFirst);
    assert_eq!(server_first, 0, "the survivor does not know whose they are: {ended:#?}");
}

#[test]
fn every_connection_survives_the_death_of_its_node() {
    let mut cluster = Cluster::start(true);
    let load = cluster.open();
    cluster.wait_replicated();
    let has_lags = || {
        let sent = cluster.scene.sent("nat-a", "nat-b")?;
        Ok(sent["lags"].as_object().is_some_and(|lags| !lags.is_empty()))
    };
    cluster.scene.wait_for(has_lags).unwrap();
    cluster.kill();
    let inserted = |status: &Value| scene::has_event(status, "connections", "new");
    cluster.scene.wait_status("nat-b", inserted).unwrap();
    cluster.assert_alive(load);
}

#[test]
fn a_planned_move_and_restarts_of_the_monitors_break_nothing() {
    let mut cluster = Cluster::start(true);
    let load = cluster.open();
    cluster.wait_replicated();
    // The monitors are started again by what runs them.
    for node in ["nat-b", "nat-a"] {
        cluster.restart(node);
        cluster.wait_replicated();
    }
    cluster.scene.wait_well().unwrap();
    let boots = cluster.scene.boots("nat-a").unwrap();
    cluster.kill();
    cluster.assert_alive(load);
    // The home gets its group back, under load.
    let load = cluster.open();
    cluster.scene.wait_boot("nat-a", boots).unwrap();
    cluster.scene.wait_route(0, "nat-a").unwrap();
    cluster.wait_own_address();
    // A restart within the minute after a group has left does not keep its connections there.
    assert!(!cluster.has_removed("nat-b").unwrap());
    cluster.restart("nat-b");
    cluster.assert_alive(load);
    cluster.wait_removed("nat-b");
    cluster.scene.wait_well().unwrap();
}

#[test]
fn a_hand_over_on_request_and_the_hand_back_break_nothing() {
    let mut cluster = Cluster::start(true);
    let load = cluster.open();
    cluster.wait_replicated();
    let scene = &cluster.scene;
    scene.hand_over("nat-a", "a", "nat-b").unwrap();
    for holder in ["nat-b", "nat-a"] {
        scene.wait_route(0, holder).unwrap();
        cluster.wait_own_address();
    }
    cluster.assert_alive(load);
    // A minute after the group has left, its connections occupy no ports there any more.
    cluster.wait_removed("nat-b");
}

/// No node is repaired, so that none comes back meanwhile.
const NO_REPAIR: &str = "
api.timeout = \"3s\"
failover.read_valid = \"3s\"
repair.enabled = false
";

#[test]
fn connections_survive_the_death_of_their_node_and_then_that_of_its_heir() {
    let egress = Egress { strict: true, replicate: true, more: NO_REPAIR };
    let mut spec = egress.spec_with_two_heirs(NATHA).with_ingress(INTERNET_HOST.into());
    spec.ec2.elastic_ms = Some(1_000);
    let scene = Scene::start_unwell(&spec).unwrap();
    scene.capture().unwrap();
    scene.wait_well().unwrap();
    let address = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", address).unwrap();
    let meter = scene.mixed("host-a", mix(&Kind::ALL, OTHER_PORTS)).unwrap();
    let count = OF_ONE_HOST + create(&scene, "nat-a", 6_000);
    let heirs = ["nat-b", "nat-c"];
    for heir in heirs {
        scene.wait_replicated("nat-a", heir, count).unwrap();
    }
    scene.panic("nat-a").unwrap();
    scene.wait_for(|| Ok(heirs.contains(&scene.route(0)?.as_str()))).unwrap();
    let first = scene.route(0).unwrap();
    let second = if first == heirs[0] { heirs[1] } else { heirs[0] };
    scene.wait_seen("host-a", address).unwrap();
    // Also of so many that the heir did not read the kernel's news while it inserted them.
    scene.wait_replicated(&first, second, count).unwrap();
    scene.panic(&first).unwrap();
    scene.wait_route(0, second).unwrap();
    scene.wait_seen("host-a", address).unwrap();
    let report = scene.mixed_done(meter).unwrap();
    assert_eq!((report.flows(), report.broken()), (OF_ONE_HOST, 0), "{report:#?}");
    assert_eq!(report.seen, [address].into());
    let captured = scene.captured().unwrap();
    assert!(captured.keys().all(|by| *by == address), "{captured:?}");
}

/// Two nodes with a strict group whose host has connections of all kinds by the first one, which
/// the second one holds. Returns the address by which the host reaches the internet, too.
fn replicated(mix: Mix) -> (Scene, Ipv4Addr, u64) {
    let spec = Egress { strict: true, replicate: true, more: QUICK }.spec(NATHA);
    let scene = Scene::start(&spec.with_ingress(INTERNET_HOST.into())).unwrap();
    let address = scene.public("out-a").unwrap();
    scene.wait_seen("host-a", address).unwrap();
    let meter = scene.mixed("host-a", mix).unwrap();
    scene.wait_replicated("nat-a", "nat-b", OF_ONE_HOST).unwrap();
    (scene, address, meter)
}

/// Creates connections in a node's kernel that no packets belong to.
fn create(scene: &Scene, node: &str, count: u32) -> usize {
    let landing = scene.landing(node, "a").unwrap();
    let bulk = Bulk { landing, first: 0, count, rate: 20_000 };
    scene.create_connections(node, &bulk).unwrap();
    usize::try_from(count).unwrap()
}

/// Has a node drop what arrives of the streams from another one, by this port of TCP.
fn drop_stream(scene: &Scene, node: &str, from: &str, port: &str) {
    let from = scene.host(from).unwrap().private[0];
    let rules = format!(
        "nft add table ip other && nft add chain ip other in \
         '{{ type filter hook input priority 0; }}' && \
         nft add rule ip other in ip saddr {from} tcp {port} 6284 drop"
    );
    scene.sh(node, &rules).unwrap();
}

#[test]
fn a_stream_that_is_lost_in_one_direction_is_an_alert_and_nothing_is_missing_once_it_is_back() {
    let come_and_go = Mix { newcomers_ms: Some(20), ..mix(&Kind::ALL, 10_000) };
    let (scene, address, first) = replicated(come_and_go);
    let mut meters = vec![first];
    let sent = || scene.sent("nat-a", "nat-b");
    let alerts =
        |status: &Value| status["alerts"].to_string().contains("connections are not replicated");
    // What the owner sends, then what the heir answers.
    let directions = [("nat-b", "nat-a", "dport"), ("nat-a", "nat-b", "sport")];
    for (ports, (node, from, port)) in [11_000, 12_000].into_iter().zip(directions) {
        let resyncs = sent().unwrap()["resyncs"].as_u64();
        drop_stream(&scene, node, from, port);
        meters.push(scene.mixed("host-a", mix(&Kind::ALL, ports)).unwrap());
        scene.wait_status("nat-a", alerts).unwrap();
        assert_ne!(sent().unwrap()["state"], "live");
        scene.sh(node, "nft delete table ip other").unwrap();
        scene.wait_status("nat-a", |status| !alerts(status)).unwrap();
        scene.wait_replicated("nat-a", "nat-b", meters.len() * OF_ONE_HOST).unwrap();
        let agrees = || {
            let sent = sent()?;
            Ok(sent["resyncs"].as_u64() > resyncs && sent["flows"] == sent["held"])
        };
        scene.wait_for(agrees).unwrap();
    }
    scene.panic("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_seen("host-a", address).unwrap();
    for meter in meters {
        let report = scene.mixed_done(meter).unwrap();
        assert_eq!((report.flows(), report.broken()), (OF_ONE_HOST, 0), "{report:#?}");
        assert_eq!(report.seen, [address].into());
    }
}

/// For so many connections the heir has room, and not for all that it is to insert.
const ROOM: u32 = 1_000;

#[test]
fn connections_that_find_no_room_at_the_heir_are_counted_and_the_others_survive() {
    let (scene, address, meter) = replicated(mix(&Kind::ALL, 10_000));
    let count = OF_ONE_HOST + create(&scene, "nat-a", 3 * ROOM);
    scene.wait_replicated("nat-a", "nat-b", count).unwrap();
    let owner = scene.host("nat-a").unwrap().instance;
    let pid = |status: &Value| status["pid"].as_u64();
    let before = pid(&cluster::status(&scene, "nat-b").unwrap());
    scene.fill_connections("nat-b", ROOM).unwrap();
    scene.wait_verdict("nat-a", "nat-b", "alive").unwrap();
    scene.panic("nat-a").unwrap();
    let inserted = |status: &Value, result: &str| {
        status["flows"]["owners"][owner.as_str()]["inserted"][result].as_u64().unwrap_or(0)
    };
    let is_full = |status: &Value| inserted(status, "table-full") > 0;
    scene.wait_status("nat-b", is_full).unwrap();
    let told = |status: &Value| scene::has_event(status, "connections", "table-full");
    let status = scene.wait_status("nat-b", told).unwrap();
    assert_eq!(pid(&status), before, "the monitor goes on");
    let (new, lost) = (inserted(&status, "new"), inserted(&status, "table-full"));
    assert!(new > 0, "none was inserted: {status:#}");
    // Until there is room, no host can open a connection, whatever natha does.
    scene.free_connections("nat-b").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.wait_seen("host-a", address).unwrap();
    let report = scene.mixed_done(meter).unwrap();
    let broken = u64::try_from(report.broken()).unwrap();
    assert!(broken <= lost, "{lost} found no room: {report:#?}");
    assert_eq!(report.seen, [address].into());
}
