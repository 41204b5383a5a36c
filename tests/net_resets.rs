//! What a kernel makes of the resets for idle connections, in network namespaces of the test's own.
//! A connection is forgotten by removing it from connection tracking. Needs root, `ip` and `nft`; a
//! missing tool fails.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use natha::kernel::conntrack::Requests;
use natha::plan::{EgressRules, EgressTable, NftTable};
use natha_lab::net::netns::{Netns, nft, sysctl};
use natha_lab::process::tool;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)), 7_000);
const LIMIT: Duration = Duration::from_secs(10);
/// A reset comes within this time; where none is to come, nothing does.
const SOON: Duration = Duration::from_secs(1);

/// A client, a NAT and a server, one behind the other, and a connection between the outer ones.
struct Line {
    nat: Netns,
    client: TcpStream,
    server: TcpStream,
    /// Opens another one.
    connect: Box<dyn Fn() -> (TcpStream, TcpStream)>,
}

impl Line {
    fn new() -> Self {
        let (inside, nat, outside) = networks();
        let listener = outside.run(|| Ok(TcpListener::bind(SERVER)?)).unwrap();
        let connect = move || {
            let client = inside.run(|| Ok(TcpStream::connect_timeout(&SERVER, LIMIT)?)).unwrap();
            let (server, _) = outside.run(|| Ok(listener.accept()?)).unwrap();
            client.set_read_timeout(Some(SOON)).unwrap();
            server.set_read_timeout(Some(LIMIT)).unwrap();
            (client, server)
        };
        let (client, server) = connect();
        Self { nat, client, server, connect: Box::new(connect) }
    }

    fn load(&self, table: &EgressTable) {
        self.nft_json(&table.render());
    }

    fn nft_json(&self, commands: &str) {
        self.nat.run(|| tool("nft", &["-j", "-f", "-"], commands).map(drop)).unwrap();
    }

    /// Has the NAT's kernel forget all connections, and says how many there were.
    fn forget(&self) -> usize {
        let work = || {
            let mut requests = Requests::open()?;
            let mut tuples = Vec::new();
            requests.dump(|entry| tuples.push(entry.flow.tuple))?;
            Ok(requests.remove(&tuples)?)
        };
        self.nat.run(work).unwrap()
    }

    /// The client sends, and then gets this instead of an answer.
    fn client_gets(&mut self) -> ErrorKind {
        self.client.write_all(b"a").unwrap();
        self.client.read(&mut [0]).unwrap_err().kind()
    }

    /// What the client has sent has arrived, and the client gets an answer.
    fn goes_on(&mut self) {
        let mut byte = [0];
        self.server.read_exact(&mut byte).unwrap();
        self.server.write_all(b"b").unwrap();
        self.client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"b");
    }

    fn counter(&self) -> String {
        let list = ["list", "counters", "table", "ip", "natha_egress"];
        self.nat.run(|| tool("nft", &list, "")).unwrap()
    }
}

/// The namespaces of the client, the NAT and the server.
fn networks() -> (Netns, Netns, Netns) {
    let [inside, nat, outside] = [(); 3].map(|()| Netns::new().unwrap());
    nat.ip(&format!(
        "link set lo up\n\
         link add in0 type veth peer name eth0 netns {}\n\
         link add out0 type veth peer name eth0 netns {}\n\
         addr add 10.9.0.1/24 dev in0\n\
         addr add 198.51.100.1/24 dev out0\n\
         link set in0 up\n\
         link set out0 up\n",
        inside.path(),
        outside.path()
    ))
    .unwrap();
    let set_up = |netns: &Netns, address: &str, more: &str| {
        netns.ip(&format!("addr add {address} dev eth0\nlink set eth0 up\n{more}")).unwrap();
    };
    set_up(&inside, "10.9.0.2/24", "route add default via 10.9.0.1\n");
    set_up(&outside, "198.51.100.9/24", "");
    let translate = "table ip t {\n chain post { type nat hook postrouting priority srcnat;\n \
                     oifname out0 masquerade; }\n}\n";
    nat.run(|| sysctl("net/ipv4/ip_forward", "1").and_then(|()| nft(translate))).unwrap();
    (inside, nat, outside)
}

/// A table that resets hosts of these networks.
fn resetting(networks: &[&str]) -> EgressTable {
    let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
    EgressTable {
        uplink: "out0".to_owned(),
        vpc_networks: nets(&["10.9.0.0/16"]),
        groups: Vec::new(),
        reset: nets(networks),
    }
}

#[test]
fn a_host_that_continues_a_forgotten_connection_gets_a_reset_and_its_server_gets_nothing() {
    let mut line = Line::new();
    line.load(&resetting(&["10.8.0.0/24", "10.9.0.0/24"]));
    line.client.write_all(b"a").unwrap();
    line.goes_on();
    assert_eq!(line.forget(), 1);
    assert_eq!(line.client_gets(), ErrorKind::ConnectionReset);
    assert!(line.counter().contains("packets 1 "), "{}", line.counter());
    line.server.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(line.server.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(line.forget(), 0, "the packet that was reset opened no connection");
    (line.client, line.server) = (line.connect)();
    line.client.write_all(b"a").unwrap();
    line.goes_on();
}

#[test]
fn a_connection_of_another_network_goes_on() {
    let mut line = Line::new();
    line.load(&resetting(&["10.9.1.0/24"]));
    assert_eq!(line.forget(), 1);
    line.client.write_all(b"a").unwrap();
    line.goes_on();
}

#[test]
fn what_is_held_back_is_not_reset_and_goes_on_later() {
    let mut line = Line::new();
    let sources = vec!["10.9.0.0/24".parse().unwrap()];
    let held = EgressRules { sources, ..EgressRules::default() };
    line.load(&EgressTable { groups: vec![held], ..resetting(&["10.9.0.0/24"]) });
    assert_eq!(line.forget(), 1);
    assert_eq!(line.client_gets(), ErrorKind::WouldBlock);
    line.load(&EgressTable::default());
    line.goes_on();
}

/// Such as the group of a table without subnets.
#[test]
fn a_group_without_hosts_leaves_the_other_groups_their_rules() {
    let mut line = Line::new();
    let landing = Ipv4Addr::new(198, 51, 100, 1);
    let group = |sources: &[&str]| EgressRules {
        sources: sources.iter().map(|net| net.parse().unwrap()).collect(),
        landings: vec![landing],
        strict: true,
        ..EgressRules::default()
    };
    let groups = [false, true].map(|arrived| EgressRules { arrived, ..group(&[]) });
    let held = EgressRules { strict: true, ..group(&["10.9.0.0/24"]) };
    let without_address = EgressRules { landings: Vec::new(), arrived: true, ..held.clone() };
    for held in [held, without_address] {
        let groups = [&groups[..], &[held]].concat();
        line.load(&EgressTable { groups, ..resetting(&[]) });
        assert_eq!(line.forget(), 1);
        assert_eq!(line.client_gets(), ErrorKind::WouldBlock);
        line.load(&EgressTable::default());
        line.goes_on();
    }
}

#[test]
fn the_resets_of_an_earlier_run_are_ended_without_its_table() {
    let mut line = Line::new();
    line.load(&resetting(&["10.9.0.0/24"]));
    line.nft_json(&EgressTable::without_resets());
    assert_eq!(line.forget(), 1);
    line.client.write_all(b"a").unwrap();
    line.goes_on();
}
