//! Connection tracking on a real kernel, in network namespaces of the test's own: what is read of a
//! translated connection, what is inserted, and that packets follow it. Needs root, `ip`, `nft` and
//! `ping`; a missing tool fails.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use natha::flows::{
    BootId, Change, Channel, Entry, Flow, Hello, Inserted, Nonce, Protocol, Rate, Receiver,
    Replica, Role, Sender, SenderLimits, StreamKeys, Tcp, TcpSide, TcpState, Tuple,
};
use natha::kernel::conntrack::{Listener, Requests};
use natha::types::{AllocationId, EgressId, Time};
use natha::wire::{StreamKey, cluster_digest};
use natha_lab::net::netns::{Netns, nft, sysctl};
use natha_lab::process::tool;

/// The host that is translated, the landing addresses of two nodes, and the other side.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const LANDING: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const HEIR_LANDING: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 20);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
/// What the server sees: the public address, wherever it lands.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
const PORT: u16 = 7_000;
const LIMIT: Duration = Duration::from_secs(10);

/// A client, a NAT and a server, one behind the other.
struct Line {
    client: Netns,
    nat: Netns,
    server: Netns,
}

impl Line {
    fn new() -> Result<Self> {
        let line = Self { client: Netns::new()?, nat: Netns::new()?, server: Netns::new()? };
        let Self { client, nat, server } = &line;
        nat.ip(&format!(
            "link set lo up\n\
             link add in0 type veth peer name eth0 netns {}\n\
             link add out0 type veth peer name eth0 netns {}\n\
             addr add 10.9.0.1/24 dev in0\n\
             addr add 198.51.100.1/24 dev out0\n\
             addr add {LANDING}/32 dev out0\n\
             addr add {HEIR_LANDING}/32 dev out0\n\
             link set in0 up\n\
             link set out0 up\n",
            client.path(),
            server.path()
        ))?;
        client.ip(&format!(
            "addr add {CLIENT}/24 dev eth0\nlink set eth0 up\nroute add default via 10.9.0.1\n"
        ))?;
        server.ip(&format!(
            "addr add {SERVER}/24 dev eth0\nlink set eth0 up\nroute add {PUBLIC}/32 dev eth0\n\
             route add default via 198.51.100.1\n"
        ))?;
        nat.run(|| sysctl("net/ipv4/ip_forward", "1"))?;
        line.translate_to(&format!("{LANDING}:5000-5999"))?;
        line.lands_at(LANDING)?;
        Ok(line)
    }

    /// New connections get this source.
    fn translate_to(&self, source: &str) -> Result<()> {
        self.nat.run(|| {
            nft(&format!(
                "table ip t\ndelete table ip t\ntable ip t {{\n\
                 chain post {{ type nat hook postrouting priority srcnat;\n\
                 ip protocol {{ tcp, udp }} ip saddr {CLIENT} snat to {source};\n\
                 ip saddr {CLIENT} snat to {LANDING}; }}\n}}\n"
            ))
        })
    }

    /// The public address is that of this landing address, as an internet gateway maps it: without
    /// any state.
    fn lands_at(&self, landing: Ipv4Addr) -> Result<()> {
        self.server.run(|| {
            nft(&format!(
                "table ip t\ndelete table ip t\ntable ip t {{\n\
                 chain pre {{ type filter hook prerouting priority raw;\n\
                 ip saddr {landing} notrack ip saddr set {PUBLIC}; }}\n\
                 chain out {{ type route hook output priority raw;\n\
                 ip daddr {PUBLIC} notrack ip daddr set {landing}; }}\n}}\n"
            ))
        })
    }

    fn listen(&self) -> TcpListener {
        self.server.run(|| Ok(TcpListener::bind((SERVER, PORT))?)).unwrap()
    }

    fn connect(&self, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.client.run(|| {
            let stream = TcpStream::connect_timeout(&SocketAddr::from((SERVER, PORT)), LIMIT)?;
            stream.set_read_timeout(Some(LIMIT))?;
            Ok(stream)
        });
        let (server, from) = listener.accept().unwrap();
        server.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(from.ip(), PUBLIC);
        (client.unwrap(), server)
    }

    fn dump(&self) -> Vec<Entry> {
        dump(&self.nat)
    }

    fn requests<T: Send>(&self, work: impl FnOnce(&mut Requests) -> T + Send) -> T {
        requests(&self.nat, work)
    }
}

fn requests<T: Send>(netns: &Netns, work: impl FnOnce(&mut Requests) -> T + Send) -> T {
    netns.run(|| Ok(work(&mut Requests::open()?))).unwrap()
}

/// What the kernel of a namespace has, in the order of the tuples.
fn dump(netns: &Netns) -> Vec<Entry> {
    requests(netns, |requests| {
        let mut entries = Vec::new();
        requests.dump(|entry| entries.push(entry)).unwrap();
        entries.sort_by_key(|entry| entry.flow.tuple);
        entries
    })
}

/// Both directions carry bytes.
fn talk(client: &mut TcpStream, server: &mut TcpStream) {
    let mut byte = [0];
    client.write_all(b"a").unwrap();
    server.read_exact(&mut byte).unwrap();
    server.write_all(b"b").unwrap();
    client.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"b");
}

/// Reads news until `done` says so. Listens before `work` begins.
fn news(
    netns: &Netns,
    buffer: usize,
    work: impl FnOnce() + Send,
    done: impl Fn(&[Change]) -> bool + Send,
) -> Vec<Change> {
    let inside = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut listener = Listener::with_buffer(buffer)?;
            work();
            let mut changes = Vec::new();
            let all = async {
                while !done(&changes) {
                    listener.next(&mut changes).await?;
                }
                Ok::<(), std::io::Error>(())
            };
            let within = tokio::time::timeout(LIMIT, all).await;
            within.unwrap_or_else(|_| panic!("only these news: {changes:#?}"))?;
            Ok(changes)
        })
    };
    netns.run(inside).unwrap()
}

/// The states of the connections of one protocol, in the order of the news.
fn seen(changes: &[Change], protocol: Protocol) -> Vec<Entry> {
    let entries = changes.iter().filter_map(|change| match change {
        Change::Seen(entry) if entry.flow.tuple.protocol == protocol => Some(*entry),
        _ => None,
    });
    entries.collect()
}

fn gone(changes: &[Change], tuple: &Tuple) -> bool {
    changes.contains(&Change::Gone(*tuple))
}

#[test]
fn news_cover_a_translated_tcp_connection_from_its_first_packet_to_its_end() {
    let line = Line::new().unwrap();
    let listener = line.listen();
    let work = || {
        let (mut client, mut server) = line.connect(&listener);
        talk(&mut client, &mut server);
        let entries = line.dump();
        assert_eq!(entries.len(), 1);
        let flow = entries[0].flow;
        assert!((5_000..6_000).contains(&flow.translated_port), "{flow:?}");
        assert!(flow.seen_reply && flow.assured && flow.timeout_s > 60, "{flow:?}");
        let tcp = flow.tcp.unwrap();
        assert_eq!(tcp.state, TcpState::Established);
        assert_ne!(tcp.original.flags & tcp.reply.flags & TcpSide::WINDOW_SCALE, 0, "{tcp:?}");
        assert_eq!((tcp.original.flags | tcp.reply.flags) & !TcpSide::KEPT, 0, "{tcp:?}");
        let found = line.requests(|requests| requests.find(&flow.tuple).unwrap()).unwrap();
        assert!(found.landing == LANDING && found.flow.is_same_but_for_timeout(&flow), "{found:?}");
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        drop(server);
        line.requests(|requests| requests.remove(&[flow.tuple]).unwrap());
    };
    let ended = |changes: &[Change]| changes.iter().any(|one| matches!(one, Change::Gone(_)));
    let changes = news(&line.nat, 1 << 20, work, ended);
    let entries = seen(&changes, Protocol::Tcp);
    let states: Vec<TcpState> =
        entries.iter().filter_map(|entry| Some(entry.flow.tcp?.state)).collect();
    assert_eq!(states[..3], [TcpState::SynSent, TcpState::SynReceived, TcpState::Established]);
    let first = entries[0].flow.tuple;
    assert_eq!((first.source, first.destination, first.destination_port), (CLIENT, SERVER, PORT));
    assert!(entries.iter().all(|entry| entry.landing == LANDING));
    assert!(gone(&changes, &first));
}

#[test]
fn news_cover_udp_and_icmp_and_leave_out_what_is_not_translated() {
    let line = Line::new().unwrap();
    let server = line.server.run(|| Ok(UdpSocket::bind((SERVER, PORT))?)).unwrap();
    server.set_read_timeout(Some(LIMIT)).unwrap();
    let client = line.client.run(|| Ok(UdpSocket::bind((CLIENT, 4_321))?)).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let ping = |netns: &Netns, to: Ipv4Addr| {
        let to = to.to_string();
        netns.run(|| tool("ping", &["-c", "1", "-W", "5", "-n", &to], "")).unwrap();
    };
    let work = || {
        ping(&line.nat, SERVER);
        client.send_to(b"a", (SERVER, PORT)).unwrap();
        let (_, from) = server.recv_from(&mut [0]).unwrap();
        server.send_to(b"b", from).unwrap();
        client.recv_from(&mut [0]).unwrap();
        ping(&line.client, SERVER);
    };
    let done = |changes: &[Change]| {
        let replied = |protocol| seen(changes, protocol).iter().any(|one| one.flow.seen_reply);
        replied(Protocol::Udp) && replied(Protocol::Icmp)
    };
    let changes = news(&line.nat, 1 << 20, work, done);
    let udp = seen(&changes, Protocol::Udp)[0];
    assert_eq!((udp.flow.tuple.source_port, udp.landing), (4_321, LANDING));
    assert!(!udp.flow.seen_reply && (5_000..6_000).contains(&udp.flow.translated_port));
    let icmp = seen(&changes, Protocol::Icmp);
    assert!(icmp.iter().all(|one| one.flow.tuple.source == CLIENT), "{icmp:?}");
    assert_eq!(icmp[0].flow.tuple.destination_port, 0x0800, "an echo request");
}

/// Of each protocol one, as an heir receives them.
fn samples() -> Vec<Entry> {
    let tuple = |protocol, source_port, destination_port| Tuple {
        protocol,
        source: CLIENT,
        destination: SERVER,
        source_port,
        destination_port,
    };
    let flow = |tuple, translated_port| Flow {
        tuple,
        translated_port,
        seen_reply: true,
        assured: false,
        tcp: None,
        timeout_s: 100,
        mark: 0,
    };
    let side = |window_scale| TcpSide { window_scale, flags: TcpSide::WINDOW_SCALE };
    let tcp = Tcp { state: TcpState::Established, original: side(7), reply: side(9) };
    let icmp = flow(tuple(Protocol::Icmp, 77, 0x0800), 78);
    let open = Flow {
        assured: true,
        tcp: Some(tcp),
        mark: 5,
        ..flow(tuple(Protocol::Tcp, 40_000, 443), 1_024)
    };
    let udp = Flow { seen_reply: false, ..flow(tuple(Protocol::Udp, 53_000, 53), 53_000) };
    [icmp, open, udp].map(|flow| Entry { landing: HEIR_LANDING, flow }).to_vec()
}

/// An entry as the heir's kernel shows it, its timeout aside: both directions of TCP are liberal,
/// because the edges of the window are not known.
fn shown(mut entry: Entry) -> Entry {
    if let Some(tcp) = &mut entry.flow.tcp {
        tcp.original.flags |= TcpSide::BE_LIBERAL;
        tcp.reply.flags |= TcpSide::BE_LIBERAL;
    }
    entry.flow.timeout_s = 0;
    entry
}

#[test]
fn what_is_inserted_is_what_the_kernel_then_shows() {
    let heir = Netns::new().unwrap();
    let samples = samples();
    let insert = |entries: &[Entry]| requests(&heir, |all| all.insert(entries).unwrap());
    assert_eq!(insert(&samples), [Inserted::New; 3]);
    let found = dump(&heir);
    assert!(found.iter().all(|entry| (90..=100).contains(&entry.flow.timeout_s)), "{found:?}");
    let found: Vec<Entry> = found.into_iter().map(shown).collect();
    assert_eq!(found, samples.iter().copied().map(shown).collect::<Vec<_>>());

    assert_eq!(insert(&samples), [Inserted::Exists; 3], "again");
    let mut other = samples[1];
    other.flow.tuple.source_port += 1;
    let mut elsewhere = samples[1];
    elsewhere.landing = LANDING;
    assert_eq!(insert(&[other, elsewhere]), [Inserted::PortTaken; 2]);
    let tuples: Vec<Tuple> = samples.iter().map(|entry| entry.flow.tuple).collect();
    let removed = requests(&heir, |all| [all.remove(&tuples), all.remove(&tuples)]);
    assert_eq!(removed.map(Result::unwrap), [3, 0]);
    assert_eq!(dump(&heir), []);
}

#[test]
fn what_an_earlier_time_of_the_address_has_left_makes_room() {
    let heir = Netns::new().unwrap();
    let wanted = samples();
    // The port now belongs to another host, and the same host's connection has another port.
    let mut of_another = wanted[1];
    of_another.flow.tuple.source_port += 1;
    let mut as_before = wanted[2];
    as_before.flow.translated_port += 1;
    let mut elsewhere = Entry { landing: LANDING, ..wanted[1] };
    elsewhere.flow.tuple.source_port += 2;
    requests(&heir, |all| {
        let left = [of_another, as_before, elsewhere];
        assert_eq!(all.insert(&left).unwrap(), [Inserted::New; 3]);
        assert_eq!(all.insert_over(&wanted).unwrap(), [Inserted::New; 3]);
        assert_eq!(all.insert_over(&wanted).unwrap(), [Inserted::New; 3]);
    });
    let mut found: Vec<Entry> = dump(&heir).into_iter().map(shown).collect();
    found.retain(|entry| entry.landing != LANDING);
    assert_eq!(found, wanted.iter().copied().map(shown).collect::<Vec<_>>());
    assert_eq!(dump(&heir).len(), 4, "of another address");
    // A datagram opens a connection by another address, a segment does so on purpose.
    let heir = Netns::new().unwrap();
    let opened: Vec<Entry> = wanted.iter().map(|one| Entry { landing: LANDING, ..*one }).collect();
    let results = requests(&heir, |all| (all.insert(&opened), all.insert_over(&wanted)).1.unwrap());
    let taken: Vec<bool> = results.iter().map(|result| *result == Inserted::PortTaken).collect();
    assert_eq!(taken, [false, true, false]);
}

/// Connections with distinct sources and ports.
fn many(count: u32) -> Vec<Entry> {
    let sample = samples()[1];
    let one = |number: u32| {
        let mut entry = sample;
        entry.flow.tuple.source = Ipv4Addr::from(0x0a0a_0000 + number);
        entry.flow.translated_port = u16::try_from(1_024 + number % 60_000).unwrap();
        entry
    };
    (0..count).map(one).collect()
}

#[test]
fn thousands_are_inserted_and_dumped_in_batches() {
    let heir = Netns::new().unwrap();
    let entries = many(5_000);
    let results = requests(&heir, |all| all.insert(&entries).unwrap());
    assert_eq!(results, vec![Inserted::New; 5_000]);
    let tuples = |entries: &[Entry]| {
        entries.iter().map(|entry| (entry.flow.tuple, entry.flow.translated_port)).collect()
    };
    let (found, wanted): (Vec<_>, Vec<_>) = (tuples(&dump(&heir)), tuples(&entries));
    assert_eq!(found, wanted);
}

#[test]
fn the_connections_of_one_landing_address_are_removed() {
    let heir = Netns::new().unwrap();
    let mut entries = many(300);
    entries.iter_mut().take(200).for_each(|entry| entry.landing = LANDING);
    requests(&heir, |all| all.insert(&entries).unwrap());
    for removed in [200, 0] {
        assert_eq!(requests(&heir, |all| all.remove_of(LANDING).unwrap()), removed);
    }
    let left = dump(&heir);
    assert!(left.len() == 100 && left.iter().all(|entry| entry.landing == HEIR_LANDING));
}

#[test]
fn news_without_room_are_an_overrun_that_a_dump_heals() {
    let heir = Netns::new().unwrap();
    let entries = many(1_000);
    let insert = || {
        let results = requests(&heir, |all| all.insert(&entries).unwrap());
        assert_eq!(results, vec![Inserted::New; 1_000]);
    };
    let overrun = |changes: &[Change]| changes.contains(&Change::Overrun);
    let changes = news(&heir, 4_096, insert, overrun);
    assert!(changes.len() < 1_000, "the buffer was too large for this test");
    assert_eq!(dump(&heir).len(), 1_000);
    // With enough room, none is lost.
    let remove = || {
        let tuples: Vec<Tuple> = entries.iter().map(|entry| entry.flow.tuple).collect();
        requests(&heir, |all| all.remove(&tuples).unwrap());
    };
    let changes = news(&heir, 32 << 20, remove, |changes| changes.len() >= 1_000);
    assert!(entries.iter().all(|entry| gone(&changes, &entry.flow.tuple)));
}

/// The two ends of a stream, which have greeted each other.
fn stream(sender: &mut Sender, now: Time) -> Receiver {
    let hello = |role, node: &str, nonce| Hello {
        role,
        node: node.parse().unwrap(),
        boot: BootId([1; 16]),
        cluster: cluster_digest("blue"),
        settings: 5,
        nonce: Nonce([nonce; Nonce::LEN]),
    };
    let channel = |hello| {
        let keys = StreamKeys { own: Some(StreamKey::derive(b"a key of the test")), second: None };
        Channel::new(hello, None, keys)
    };
    sender.open(channel(hello(Role::Owner, "i-0123abcd", 1)), now);
    let mut receiver = Receiver::new(channel(hello(Role::Heir, "i-89abcdef", 2)));
    receiver.greet(&sender.output(now, 65_536)).unwrap();
    sender.receive(&receiver.output(), now).unwrap();
    receiver
}

/// From one kernel to the other: dump, records, stream, replica, insertion.
#[test]
fn the_heirs_kernel_gets_what_the_owners_has() {
    let line = Line::new().unwrap();
    let listener = line.listen();
    let _open: Vec<_> = (0..5).map(|_| line.connect(&listener)).collect();
    let client = line.client.run(|| Ok(UdpSocket::bind((CLIENT, 4_321))?)).unwrap();
    client.send_to(b"a", (SERVER, 53)).unwrap();
    let owned = line.dump();
    assert_eq!(owned.len(), 6, "{owned:?}");

    let now = Time::from_millis(1_000);
    let rate = Rate { max: 1 << 30, share_percent: 10, min: 1 << 30 };
    let min_age = Duration::ZERO;
    let limits = SenderLimits { max_flows: 100, max_waiting: 100, min_age, rate };
    let egress = EgressId::from(&"eipalloc-0123abcd".parse::<AllocationId>().unwrap());
    let mut sender = Sender::new(limits, now);
    sender.serve([(LANDING, egress)].into(), now);
    let mut receiver = stream(&mut sender, now);
    sender.begin_dump();
    for entry in &owned {
        sender.dumped(entry, now);
    }
    sender.end_dump(now);
    let mut replica = Replica::new(100);
    receiver.receive(&sender.output(now, 65_536), &mut replica, now).unwrap();

    let heir = Netns::new().unwrap();
    let entries = replica.injection(egress, HEIR_LANDING, now);
    let results = requests(&heir, |all| all.insert(&entries).unwrap());
    assert_eq!(results, [Inserted::New; 6]);
    let wanted: Vec<Entry> = owned
        .iter()
        .map(|entry| shown(Entry { landing: HEIR_LANDING, flow: entry.flow }))
        .collect();
    assert_eq!(dump(&heir).into_iter().map(shown).collect::<Vec<_>>(), wanted);
}

/// The takeover in small: the public address lands at another address of the NAT, and the kernel
/// has what a replica would insert. New connections would get another port, so that without the
/// insertion the other side does not know the packets.
#[test]
fn a_tcp_connection_lives_on_under_another_landing_address() {
    let line = Line::new().unwrap();
    let listener = line.listen();
    let (mut client, mut server) = line.connect(&listener);
    talk(&mut client, &mut server);
    let (mut lost_client, mut lost_server) = line.connect(&listener);
    talk(&mut lost_client, &mut lost_server);
    let entries = line.dump();
    let kept = client.local_addr().unwrap().port();
    let entry = entries.iter().find(|entry| entry.flow.tuple.source_port == kept).unwrap();
    let moved = Entry { landing: HEIR_LANDING, flow: entry.flow };
    let tuples: Vec<Tuple> = entries.iter().map(|entry| entry.flow.tuple).collect();

    line.translate_to(&HEIR_LANDING.to_string()).unwrap();
    let results = line.requests(|requests| {
        assert_eq!(requests.remove(&tuples).unwrap(), 2);
        requests.insert(&[moved]).unwrap()
    });
    assert_eq!(results, [Inserted::New]);
    line.lands_at(HEIR_LANDING).unwrap();

    // The side that is not the private host's speaks first.
    let mut byte = [0];
    server.write_all(b"c").unwrap();
    client.read_exact(&mut byte).unwrap();
    assert_eq!(byte, *b"c");
    talk(&mut client, &mut server);
    let now = line.requests(|requests| requests.find(&moved.flow.tuple).unwrap()).unwrap();
    assert_eq!(now.landing, HEIR_LANDING);
    assert_eq!(now.flow.translated_port, moved.flow.translated_port);

    lost_client.write_all(b"d").unwrap();
    let lost = lost_client.read(&mut byte).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::ConnectionReset, "not inserted");
}
