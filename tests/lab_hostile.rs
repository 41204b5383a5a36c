//! Packets that nobody should send, from a private host, from another cluster, in a peer's name,
//! from a recording, and far too many of them: they are counted and change nothing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the figures of a flood are worth a look")]

use std::net::Ipv4Addr;
use std::time::Duration;

use natha::types::{Beat, InstanceId, SessionId};
use natha::wire::{HeartbeatKey, MAX_PACKET, Sender};
use natha_lab::cluster;
use natha_lab::hostile::{Kind, Order, Sent, digits};
use natha_lab::scene::{self, QUICK, Scene, is_route_write};
use serde_json::Value;

const NATHA: &str = env!("CARGO_BIN_EXE_natha");
const KEY: &str = "a key of more than sixteen bytes";
/// The default `heartbeat.port`.
const PORT: u16 = 6284;
const UDP: Kind = Kind::Udp { from: PORT, to: PORT };
/// Packets of each kind.
const EACH: u64 = 5;
const FLOOD: Duration = Duration::from_secs(5);
/// Packets a second in a peer's name: half of what a natha without optimisation can read.
const IN_A_NAME: u32 = 40_000;

/// A pair of nodes, with a key or without one, that has found all well.
fn pair(keyed: bool) -> Scene {
    if !keyed {
        return Scene::start(&scene::spec(2, NATHA, QUICK)).unwrap();
    }
    let config = format!("heartbeat.key_file = \"/etc/natha/key\"\n{QUICK}");
    let commands = format!(
        "umask 077\nprintf '{KEY}' > /etc/natha/key\nnatha setup || exit 1\n\
         while :; do natha monitor; sleep 0.2; done"
    );
    let spec = scene::spec(2, NATHA, QUICK);
    Scene::start(&spec.with_node_user_data(&scene::user_data(&config, &commands))).unwrap()
}

fn address(scene: &Scene, host: &str) -> Ipv4Addr {
    scene.host(host).unwrap().private[0]
}

fn id(scene: &Scene, host: &str) -> InstanceId {
    scene.host(host).unwrap().instance.parse().unwrap()
}

fn hurl(scene: &Scene, host: &str, order: &Order) -> Sent {
    let program = natha_lab::lab::program().unwrap();
    let order = serde_json::to_string(order).unwrap();
    let argv = [program.to_str().unwrap(), "hurl", &order];
    let done = scene.exec(host, &argv, Duration::from_mins(1)).unwrap();
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

/// The next heartbeats that nat-b receives from nat-a, from the wire.
fn overhear(scene: &Scene, count: usize) -> Vec<String> {
    let program = natha_lab::lab::program().unwrap();
    let (from, port, count) = (address(scene, "nat-a"), PORT.to_string(), count.to_string());
    let argv = [program.to_str().unwrap(), "overhear", &from.to_string(), &port, &count];
    let done = scene.exec("nat-b", &argv, Duration::from_mins(1)).unwrap();
    serde_json::from_str(&done.stdout).unwrap()
}

/// A heartbeat of any content.
fn beat() -> Beat {
    Beat { leaving: true, ..Beat::default() }
}

/// A packet of this node in a cluster of this name, under a key or none.
fn packet(node: &InstanceId, cluster: &str, key: Option<&str>) -> Vec<u8> {
    let key = key.map(|key| HeartbeatKey::derive(key.as_bytes()));
    Sender::new(node.clone(), SessionId(7), cluster, key).encode(&beat()).bytes
}

/// What is sent once each, by the name under which it is counted: from a stranger.
fn strange(scene: &Scene, keyed: bool) -> Vec<(&'static str, Vec<u8>)> {
    let (a, b) = (&id(scene, "nat-a"), &id(scene, "nat-b"));
    let unheard_of = &"i-0123456789abcdef0".parse().unwrap();
    let key = keyed.then_some(KEY);
    let right = packet(a, cluster::NAME, key);
    let mut future = right.clone();
    future[4] = 2;
    let mut all = vec![
        ("not-natha", b"GET / HTTP/1.1\r\n".to_vec()),
        ("not-natha", vec![0xa5; MAX_PACKET]),
        ("truncated", right[..12].to_vec()),
        ("oversized", vec![0; MAX_PACKET + 1]),
        ("future-version", future),
        ("foreign-cluster", packet(a, "green", key)),
        ("unknown-sender", packet(unheard_of, cluster::NAME, key)),
        ("myself", packet(b, cluster::NAME, key)),
    ];
    if keyed {
        let mut changed = right;
        changed[40] ^= 1;
        all.push(("bad-tag", changed));
        all.push(("bad-tag", packet(a, cluster::NAME, Some("some other key of any length"))));
        all.push(("untagged", packet(a, cluster::NAME, None)));
    } else {
        all.push(("wrong-address", right));
        all.push(("unverifiable", packet(a, cluster::NAME, Some(KEY))));
    }
    all
}

fn rejected(status: &Value, reason: &str) -> u64 {
    let path = format!("/counters/peers/rejected/{reason}");
    status.pointer(&path).and_then(Value::as_u64).unwrap_or(0)
}

/// Waits until so many more packets were rejected for this reason than before.
fn wait_rejected(scene: &Scene, before: &Value, reason: &str, more: u64) {
    let least = rejected(before, reason) + more;
    scene.wait_status("nat-b", |status| rejected(status, reason) >= least).unwrap();
}

/// What must not change, as it is at first.
struct Calm<'a> {
    scene: &'a Scene,
    meters: [u64; 2],
    events: [Value; 2],
}

impl<'a> Calm<'a> {
    fn begin(scene: &'a Scene) -> Self {
        let meters = ["host-a", "host-b"].map(|host| scene.ping(host, 10).unwrap());
        Self { scene, meters, events: events(scene) }
    }

    /// Nothing was decided, written or stopped, and no ping lost.
    fn end(self) {
        let scene = self.scene;
        assert_eq!(events(scene), self.events, "something was decided");
        let writes = scene.calls().unwrap();
        let writes: Vec<_> = writes.iter().filter(|call| is_route_write(call)).collect();
        assert!(writes.is_empty(), "{writes:?}");
        scene.nobody_stopped().unwrap();
        for meter in self.meters {
            scene.lost_nothing(meter).unwrap();
        }
        scene.wait_well().unwrap();
    }
}

fn events(scene: &Scene) -> [Value; 2] {
    ["nat-a", "nat-b"].map(|node| cluster::status(scene, node).unwrap()["events"].clone())
}

/// Everything that a stranger can make up, what he has recorded, and what comes in nat-a's name.
fn is_counted_by_kind(keyed: bool) {
    let scene = pair(keyed);
    let to = address(&scene, "nat-b");
    let recorded = overhear(&scene, usize::try_from(EACH).unwrap());
    let before = cluster::status(&scene, "nat-b").unwrap();
    let calm = Calm::begin(&scene);
    let mut expected: Vec<(&str, u64)> = Vec::new();
    let mut contents = Vec::new();
    for (reason, packet) in strange(&scene, keyed) {
        contents.extend((0..EACH).map(|_| digits(&packet)));
        expected.push((reason, 2 * EACH));
    }
    // From a port that no monitor uses, as from the one that all do.
    for from in [0, PORT] {
        let kind = Kind::Udp { from, to: PORT };
        hurl(&scene, "host-a", &Order { to, contents: contents.clone(), ..order(kind, None, &[]) });
    }
    let replayed = if keyed { "replayed" } else { "wrong-address" };
    let replay = |claim| Order { to, contents: recorded.clone(), ..order(UDP, claim, &[]) };
    hurl(&scene, "host-a", &replay(None));
    expected.push((replayed, EACH));
    // Its own address: nat-a is the one that EC2 lets send in its name.
    hurl(&scene, "nat-a", &replay(Some(address(&scene, "nat-a"))));
    expected.push(("replayed", EACH));
    expected.sort_unstable();
    for group in expected.chunk_by(|one, other| one.0 == other.0) {
        let (reason, count) = (group[0].0, group.iter().map(|one| one.1).sum());
        wait_rejected(&scene, &before, reason, count);
    }
    calm.end();
}

#[test]
fn with_a_key_what_is_forged_damaged_or_replayed_is_counted_by_kind_and_changes_nothing() {
    is_counted_by_kind(true);
}

#[test]
fn without_a_key_what_is_forged_damaged_or_replayed_is_counted_by_kind_and_changes_nothing() {
    is_counted_by_kind(false);
}

#[test]
fn an_address_that_is_not_ones_own_does_not_leave_a_checked_interface() {
    let scene = pair(false);
    let (to, claim) = (address(&scene, "nat-b"), Some(address(&scene, "nat-a")));
    let forged = digits(&packet(&id(&scene, "nat-a"), cluster::NAME, None));
    let before = cluster::status(&scene, "nat-b").unwrap()["counters"]["peers"]["rejected"].clone();
    let calm = Calm::begin(&scene);
    let order = Order { to, contents: vec![forged; 100], ..order(UDP, claim, &[]) };
    assert_eq!(hurl(&scene, "host-a", &order).packets, 100);
    let after = cluster::status(&scene, "nat-b").unwrap()["counters"]["peers"]["rejected"].clone();
    assert_eq!(before, after, "the VPC let it pass");
    calm.end();
}

/// A recording of nat-a's heartbeats, played over and over to a nat-b that has restarted since,
/// does not keep a nat-a alive that is dead.
#[test]
fn a_recording_played_after_a_restart_keeps_nobody_alive() {
    let scene = pair(true);
    let recorded = overhear(&scene, 50);
    assert_eq!(scene.kill("nat-b", "natha").unwrap(), 1);
    scene.wait_verdict("nat-b", "nat-a", "alive").unwrap();
    scene.wait_well().unwrap();
    scene.freeze("nat-a").unwrap();
    let order = Order {
        to: address(&scene, "nat-b"),
        contents: recorded,
        flood_ms: 3_000,
        ..order(UDP, None, &[])
    };
    hurl(&scene, "host-b", &order);
    scene.wait_route(0, "nat-b").unwrap();
    let told = cluster::status(&scene, "nat-b").unwrap();
    assert!(rejected(&told, "unconfirmed") + rejected(&told, "replayed") > 50, "{told:#}");
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
}

/// What a node's monitor has used so far: CPU time, and memory in KiB; and how much it has logged.
struct Used {
    cpu: Duration,
    memory: u64,
    logged: usize,
    beats: u64,
}

impl Used {
    fn now(scene: &Scene, host: &str) -> Self {
        let stat = scene.sh(host, "cat /proc/$(pidof natha)/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        // Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
        let ticks: u64 = fields[11..13].iter().map(|text| text.parse::<u64>().unwrap()).sum();
        let memory = scene.sh(host, "grep VmRSS /proc/$(pidof natha)/status").unwrap();
        let status = cluster::status(scene, host).unwrap();
        Self {
            cpu: Duration::from_millis(ticks * 10),
            memory: memory.split_whitespace().nth(1).unwrap().parse().unwrap(),
            logged: scene.console(host).unwrap().len(),
            beats: status["counters"]["peers"]["beats_received"].as_u64().unwrap(),
        }
    }
}

/// Sends this to nat-b for [`FLOOD`] and fails if that costs its monitor more than this share of
/// the processor's time that it costs the sender, or memory, log lines or heartbeats. Both are
/// times of one run on one machine, so a busy machine changes little.
fn endures(scene: &Scene, what: &str, from: &str, order: Order, share: f64) {
    let before = Used::now(scene, "nat-b");
    let flood_ms = u64::try_from(FLOOD.as_millis()).unwrap();
    let to = address(scene, "nat-b");
    let sent = hurl(scene, from, &Order { flood_ms, to, ..order });
    let after = Used::now(scene, "nat-b");
    let (took, sending) = (Duration::from_millis(sent.took_ms), Duration::from_millis(sent.cpu_ms));
    let cost = after.cpu.saturating_sub(before.cpu);
    let beats = after.beats - before.beats;
    println!(
        "{what}: {:.0} packets/s, {:.1} % of a core, {:.1} % of what sending takes, \
         {beats} heartbeats in {took:?}, {} -> {} KiB",
        f64::from(u32::try_from(sent.packets).unwrap()) / took.as_secs_f64(),
        cost.div_duration_f64(took) * 100.0,
        cost.div_duration_f64(sending) * 100.0,
        before.memory,
        after.memory,
    );
    assert!(sent.packets > 20_000, "that is no flood: {sent:?}");
    assert!(cost < sending.mul_f64(share), "{what} takes {cost:?}, and {sending:?} of the sender");
    assert!(after.memory < before.memory + 2_048, "{what} takes memory");
    assert!(after.logged < before.logged + 2_048, "{what} fills the log");
    assert!(beats >= 40, "{what} drowned the heartbeats: {beats} in {took:?}");
}

fn order(kind: Kind, claim: Option<Ipv4Addr>, contents: &[Vec<u8>]) -> Order {
    let contents = contents.iter().map(|content| digits(content)).collect();
    Order { to: Ipv4Addr::UNSPECIFIED, kind, claim, contents, flood_ms: 0, per_second: 0 }
}

/// A packet with a wrong tag, as long as packets may be: what costs most to refuse.
fn dear(scene: &Scene, keyed: bool) -> Vec<u8> {
    let key = keyed.then_some("some other key of any length");
    let mut packet = packet(&id(scene, "nat-a"), cluster::NAME, key);
    packet.resize(MAX_PACKET, 0);
    packet
}

/// An echo request with 56 bytes, as `ping -f` sends.
fn echo_request() -> Vec<u8> {
    let mut message = vec![0; 64];
    message[0] = 8;
    message
}

fn a_flood_is_endured(keyed: bool) {
    let scene = pair(keyed);
    let a = Some(address(&scene, "nat-a"));
    let calm = Calm::begin(&scene);
    let (noise, dear, echo) = (vec![0x5a; 64], dear(&scene, keyed), echo_request());
    let mut reply = echo.clone();
    reply[0] = 0;
    endures(&scene, "noise", "host-a", order(UDP, None, std::slice::from_ref(&noise)), 0.2);
    endures(&scene, "forgeries", "host-a", order(UDP, None, std::slice::from_ref(&dear)), 0.5);
    endures(&scene, "echo requests", "host-a", order(Kind::Icmp, None, &[echo]), 0.2);
    endures(&scene, "echo replies", "host-a", order(Kind::Icmp, None, &[reply]), 0.2);
    // What comes in a peer's name has to be read, and crowds out that peer's heartbeats where it is
    // more than can be read (docs/failover.md). How much that is, differs from machine to machine,
    // as does what authentication costs a program that is built without optimisation, beside
    // sending, which is the kernel's work: 2.8 times as much has been seen.
    let in_a_name = |content| Order { per_second: IN_A_NAME, ..order(UDP, a, &[content]) };
    endures(&scene, "noise in nat-a's name", "nat-a", in_a_name(noise), 2.0);
    endures(&scene, "forgeries in nat-a's name", "nat-a", in_a_name(dear), 5.0);
    calm.end();
}

#[test]
fn with_a_key_a_flood_costs_little_and_changes_nothing() {
    a_flood_is_endured(true);
}

#[test]
fn without_a_key_a_flood_costs_little_and_changes_nothing() {
    a_flood_is_endured(false);
}

#[test]
fn a_nat_that_fails_in_the_middle_of_a_flood_is_covered_and_comes_back() {
    let scene = pair(true);
    let meter = scene.ping("host-a", 10).unwrap();
    let program = natha_lab::lab::program().unwrap();
    let flood = Order {
        to: address(&scene, "nat-b"),
        flood_ms: 15_000,
        ..order(UDP, None, &[dear(&scene, true), vec![0x5a; 64]])
    };
    let flood = serde_json::to_string(&flood).unwrap();
    scene.spawn("host-b", &[program.to_str().unwrap(), "hurl", &flood]).unwrap();
    scene.freeze("nat-a").unwrap();
    scene.wait_route(0, "nat-b").unwrap();
    scene.thaw("nat-a").unwrap();
    scene.wait_route(0, "nat-a").unwrap();
    scene.wait_well().unwrap();
    scene.nobody_stopped().unwrap();
    let report = scene.pinged(meter).unwrap();
    assert_eq!(report.outages.len(), 1, "{:?}", report.outages);
}
