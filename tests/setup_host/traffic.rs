//! That packets go where they should, and nowhere else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::TcpMaxSeg};

use crate::fake_aws::FakeAws;
use crate::netns::{Netns, must};

/// A private host, a NAT and a host on the internet.
pub(crate) struct Net {
    pub(crate) private: Netns,
    pub(crate) nat: Netns,
    pub(crate) internet: Netns,
    _router: Option<Netns>,
}

const PRIVATE: &str = "10.0.1.20";
pub(crate) const INTERNET: &str = "198.51.100.1";
/// Where nothing answers by itself: connections that are dropped end by this.
const PATIENCE: Duration = Duration::from_millis(700);

pub(crate) fn wire(a: (&Netns, &str, &str), b: (&Netns, &str, &str)) {
    let (left, right) = (a.0, b.0);
    must(
        "ip",
        &[
            "link",
            "add",
            a.1,
            "netns",
            &left.name,
            "type",
            "veth",
            "peer",
            "name",
            b.1,
            "netns",
            &right.name,
        ],
    );
    for (netns, name, address) in [a, b] {
        netns.ip(&format!("addr add {address} dev {name}"));
        netns.ip(&format!("link set {name} up"));
    }
}

impl Net {
    /// The NAT has one interface to each side.
    pub(crate) fn two_armed() -> Self {
        let (private, nat, internet) = (Netns::new(), Netns::new(), Netns::new());
        wire((&private, "eth0", "10.0.1.20/24"), (&nat, "ens6", "10.0.1.1/24"));
        wire((&nat, "ens5", "10.0.0.10/24"), (&internet, "eth0", "10.0.0.1/24"));
        internet.ip(&format!("addr add {INTERNET}/32 dev lo"));
        // By the address of its uplink it would be a host of the VPC.
        internet.ip(&format!("route add 10.0.1.0/24 via 10.0.0.10 src {INTERNET}"));
        nat.ip("route add default via 10.0.0.1");
        private.ip("route add default via 10.0.1.1");
        let net = Self { private, nat, internet, _router: None };
        net.set_up();
        net
    }

    /// The NAT has one interface, as on EC2: a router sends it what the private host sends.
    fn one_armed() -> Self {
        let (private, nat, internet) = (Netns::new(), Netns::new(), Netns::new());
        let router = Netns::new();
        wire((&private, "eth0", "10.0.1.20/24"), (&router, "inner", "10.0.1.1/24"));
        wire((&nat, "ens5", "10.0.0.10/24"), (&router, "public", "10.0.0.1/24"));
        wire((&internet, "eth0", "192.0.2.1/24"), (&router, "outer", "192.0.2.2/24"));
        internet.ip(&format!("addr add {INTERNET}/32 dev lo"));
        for to in ["10.0.0.0/24", "10.0.1.0/24"] {
            internet.ip(&format!("route add {to} via 192.0.2.2"));
        }
        router.set_sysctl("net/ipv4/ip_forward", "1");
        router.ip("route add default via 192.0.2.1");
        router.ip("route add default via 10.0.0.10 table 100");
        router.ip("rule add iif inner to 10.0.0.0/16 lookup main priority 10");
        router.ip("rule add iif inner lookup 100 priority 11");
        // What comes from the internet for the private host is handed to the NAT, so that it is
        // the NAT that has to refuse it.
        router.ip("rule add iif outer to 10.0.1.0/24 lookup 100 priority 12");
        nat.ip("route add default via 10.0.0.1");
        private.ip("route add default via 10.0.1.1");
        let net = Self { private, nat, internet, _router: Some(router) };
        net.set_up();
        net
    }

    fn set_up(&self) {
        self.nat.natha("setup --source 10.0.0.0/16 --no-source-dest-check").exits(0);
    }

    /// The same NAT for whatever sends its packets there, as behind a transit gateway.
    fn with_all_sources(self) -> Self {
        self.nat.natha("setup --source 0.0.0.0/0 --no-source-dest-check").exits(0);
        self
    }

    /// Connects from the private host to the internet: the address that is seen there, and the
    /// largest segment that either side may send, the one in the internet first.
    fn connect(&self) -> (SocketAddr, [u32; 2]) {
        let listener = self.internet.inside(|| TcpListener::bind((INTERNET, 0)).unwrap());
        let to = listener.local_addr().unwrap();
        let client = self.private.inside(move || {
            TcpStream::connect_timeout(&to, Duration::from_secs(10)).expect("the NAT translates")
        });
        let (mut server, from) = listener.accept().unwrap();
        server.write_all(b"hello").unwrap();
        let segments =
            [server.as_fd(), client.as_fd()].map(|end| getsockopt(&end, TcpMaxSeg).unwrap());
        (from, segments)
    }

    /// Whether the internet can open a connection to the private host.
    fn open_from_outside(&self) -> bool {
        let listener = self.private.inside(|| TcpListener::bind((PRIVATE, 0)).unwrap());
        let to = listener.local_addr().unwrap();
        self.internet.inside(move || TcpStream::connect_timeout(&to, PATIENCE).is_ok())
    }

    fn packets(&self, counter: &str) -> u64 {
        let listing = self.nat.exec(&["nft", "-j", "list", "counter", "ip", "natha", counter]);
        let listing: serde_json::Value = serde_json::from_str(&listing).unwrap();
        listing["nftables"][1]["counter"]["packets"].as_u64().unwrap()
    }
}

fn serves(net: &Net) {
    let (from, _) = net.connect();
    assert_eq!(from.ip().to_string(), "10.0.0.10", "translated to the uplink's address");
    assert!(net.private.succeeds(&["ping", "-c1", "-W5", INTERNET]));
    assert!(net.packets("to_uplink") > 0 && net.packets("from_uplink") > 0);
    assert_eq!(net.packets("new_flows"), 2);

    assert_eq!(net.packets("dropped"), 0);
    assert!(!net.open_from_outside());
    assert!(net.packets("dropped") > 0);
}

#[test]
fn a_two_armed_nat_serves_and_lets_nobody_in() {
    serves(&Net::two_armed());
}

#[test]
fn a_one_armed_nat_serves_and_lets_nobody_in() {
    serves(&Net::one_armed());
}

#[test]
fn packets_leave_by_the_primary_address_whichever_address_the_uplink_got_first() {
    let mut net = Net::two_armed();
    let mac = net.nat.exec(&["cat", "/sys/class/net/ens5/address"]);
    // The kernel takes the first address of the subnet for the source.
    for change in ["del 10.0.0.10/24", "add 10.0.0.5/24", "add 10.0.0.10/24"] {
        net.nat.ip(&format!("addr {change} dev ens5"));
    }
    net.nat.ip("route replace default via 10.0.0.1");
    let seen = |net: &Net| net.connect().0.ip().to_string();
    assert_eq!(seen(&net), "10.0.0.5", "without metadata, the kernel chooses");
    let aws;
    (net.nat, aws) = FakeAws::start(net.nat, &[("eni-0000000000000000a", mac.trim())]);
    net.nat.natha("setup").exits(0);
    assert_eq!(seen(&net), "10.0.0.10");
    // Of the plan of the last setup, this stays where the metadata do not answer.
    aws.with(|state| state.no_metadata = true);
    net.nat.nft("flush ruleset");
    net.nat.natha("setup").exits(3);
    assert_eq!(seen(&net), "10.0.0.10");
    net.set_up();
    assert_eq!(seen(&net), "10.0.0.10");
    aws.with(|state| state.no_metadata = false);
    net.nat.natha("teardown").exits(0);
    assert_eq!(net.nat.nft("list tables"), "");
}

#[test]
fn a_nat_for_all_sources_serves_and_lets_nobody_in() {
    serves(&Net::two_armed().with_all_sources());
    serves(&Net::one_armed().with_all_sources());
}

#[test]
fn a_nat_for_all_sources_translates_those_of_other_networks_too() {
    let net = Net::two_armed().with_all_sources();
    net.private.ip("addr add 172.31.0.5/32 dev lo");
    net.nat.ip("route add 172.31.0.5/32 via 10.0.1.20");
    assert!(net.private.succeeds(&["ping", "-c1", "-W5", "-I", "172.31.0.5", INTERNET]));
    // The internet has no route to that address: its reply came to the uplink's.
    assert!(net.packets("new_flows") > 0);
}

#[test]
fn link_local_addresses_are_never_forwarded() {
    for net in [Net::two_armed(), Net::two_armed().with_all_sources()] {
        net.internet.ip("addr add 169.254.169.254/32 dev lo");
        net.nat.ip("route add 169.254.169.254/32 via 10.0.0.1");
        let before = net.packets("dropped");
        assert!(!net.private.succeeds(&["ping", "-c1", "-W1", "169.254.169.254"]));
        assert!(net.packets("dropped") > before);
        assert!(net.nat.succeeds(&["ping", "-c1", "-W5", "169.254.169.254"]), "the host itself");
    }
}

#[test]
fn segments_towards_the_internet_fit_its_packets_whatever_the_interfaces_carry() {
    let net = Net::two_armed();
    for (host, link) in
        [(&net.private, "eth0"), (&net.nat, "ens6"), (&net.nat, "ens5"), (&net.internet, "eth0")]
    {
        host.ip(&format!("link set {link} mtu 9001"));
    }
    // 1460 less 12 for the timestamps.
    assert_eq!(net.connect().1, [1448; 2]);
    net.nat.natha("setup --source 10.0.0.0/16 --no-source-dest-check --set host.mss=1300").exits(0);
    assert_eq!(net.connect().1, [1288; 2]);
    // Within the VPC, jumbo frames stay.
    let listener = net.internet.inside(|| TcpListener::bind(("10.0.0.1", 0)).unwrap());
    let to = listener.local_addr().unwrap();
    let client = net
        .private
        .inside(move || TcpStream::connect_timeout(&to, Duration::from_secs(10)).unwrap());
    let (server, _) = listener.accept().unwrap();
    assert!(getsockopt(&server.as_fd(), TcpMaxSeg).unwrap() > 8_000);
    drop(client);
}

#[test]
fn segments_are_clamped_to_a_narrow_uplink() {
    let net = Net::two_armed();
    let (_, before) = net.connect();
    net.nat.ip("link set ens5 mtu 1300");
    let (_, after) = net.connect();
    assert!(before.iter().all(|segment| *segment > 1400), "{before:?}");
    // 1300 less 20 for IPv4 and 20 for TCP: the SYN is clamped, and so is the SYN-ACK.
    assert!(after.iter().all(|segment| *segment <= 1260), "{after:?}");
}

#[test]
fn every_packet_of_a_flow_is_counted_and_only_the_first_rules_see_it() {
    let net = Net::two_armed();
    // What is right behind the rules for confirmed flows sees the packets that open a flow, 2 of
    // TCP, and everything of another table's port forwards.
    let spy = "insert rule ip natha forward index 2 counter name slow";
    net.nat.nft("add counter ip natha slow");
    net.nat.nft(spy);
    let listener = net.internet.inside(|| TcpListener::bind((INTERNET, 0)).unwrap());
    let to = listener.local_addr().unwrap();
    let mut client = net.private.inside(move || {
        TcpStream::connect_timeout(&to, Duration::from_secs(10)).expect("the NAT translates")
    });
    let (mut server, _) = listener.accept().unwrap();
    for _ in 0..20 {
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
    }
    assert_eq!(net.packets("slow"), 2, "the SYN and the SYN-ACK");
    // A SYN or an acknowledgement, and the segments.
    assert!(net.packets("to_uplink") >= 21, "{}", net.packets("to_uplink"));
    assert!(net.packets("from_uplink") >= 21, "{}", net.packets("from_uplink"));
}

#[test]
fn who_is_no_source_is_not_forwarded_to_the_internet() {
    let net = Net::two_armed();
    net.private.ip("addr add 172.31.0.5/32 dev lo");
    net.nat.ip("route add 172.31.0.5/32 via 10.0.1.20");
    let ping = ["ping", "-c1", "-W1", "-I", "172.31.0.5", INTERNET];
    assert!(!net.private.succeeds(&ping));
    assert!(net.packets("dropped") > 0);
}

#[test]
fn what_stays_in_the_vpc_is_not_translated() {
    let net = Net::two_armed();
    let listener = net.internet.inside(|| TcpListener::bind(("10.0.0.1", 0)).unwrap());
    let to = listener.local_addr().unwrap();
    let client = net
        .private
        .inside(move || TcpStream::connect_timeout(&to, Duration::from_secs(10)).unwrap());
    assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
}

#[test]
fn other_forwarding_and_other_peoples_port_forwards_go_on() {
    let net = Net::two_armed();
    // A container behind a bridge of its own, with its own translation.
    let container = Netns::new();
    wire((&container, "eth0", "172.17.0.2/24"), (&net.nat, "docker0", "172.17.0.1/24"));
    container.ip("route add default via 172.17.0.1");
    net.nat.nft("add table ip nat");
    net.nat.nft("add chain ip nat out { type nat hook postrouting priority 90; }");
    net.nat.nft("add rule ip nat out ip saddr 172.17.0.0/24 oifname ens5 masquerade");
    assert!(container.succeeds(&["ping", "-c1", "-W5", INTERNET]));

    net.nat.nft("add chain ip nat in { type nat hook prerouting priority -100; }");
    let listener = net.private.inside(|| TcpListener::bind((PRIVATE, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    net.nat
        .nft(&format!("add rule ip nat in iifname ens5 tcp dport 8080 dnat to {PRIVATE}:{port}"));
    let published: SocketAddr = "10.0.0.10:8080".parse().unwrap();
    net.internet
        .inside(move || TcpStream::connect_timeout(&published, Duration::from_secs(10)).map(drop))
        .expect("a port forward that was there stays");
}

#[test]
fn the_commands_in_the_warning_open_a_firewall_that_drops() {
    let net = Net::two_armed();
    net.nat.nft("add table inet filter");
    let chain = "{ type filter hook forward priority 0; policy drop; }";
    net.nat.nft(&format!("add chain inet filter forward {chain}"));
    let ping = ["ping", "-c1", "-W1", INTERNET];
    assert!(!net.private.succeeds(&ping));

    let setup = "setup --source 10.0.0.0/16 --no-source-dest-check --json";
    let warning = net.nat.natha(setup).exits(0).json()["warnings"][0].clone();
    let lines = warning.as_str().unwrap().lines();
    for line in lines.filter(|line| line.trim().starts_with("nft ")) {
        net.nat.exec(&["sh", "-c", line]);
    }
    assert!(net.private.succeeds(&ping));
    let quiet = net.nat.natha(setup).exits(0).json();
    assert!(!quiet["warnings"].to_string().contains("table"), "{quiet}");
}
