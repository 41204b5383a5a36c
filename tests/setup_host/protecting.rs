//! What private hosts can reach of a NAT that is protected from them, and what everyone else can.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::netns::Netns;
use crate::traffic::{INTERNET, Net, wire};

const OPEN: &str = "setup --source 10.0.0.0/16 --no-source-dest-check";
const CLOSED: &str = "setup --source 10.0.0.0/16 --no-source-dest-check --set host.protect=true";
/// The NAT's addresses on both sides, which private hosts can send to.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 0, 0, 10)];
/// Where nothing answers by itself: connections that are dropped end by this.
const PATIENCE: Duration = Duration::from_millis(700);

/// A port of the NAT on which a service listens, on all its addresses.
fn service(nat: &Netns) -> (TcpListener, u16) {
    let listener = nat.inside(|| TcpListener::bind(("0.0.0.0", 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn opens(from: &Netns, address: Ipv4Addr, port: u16) -> bool {
    let to = SocketAddr::from((address, port));
    from.inside(move || TcpStream::connect_timeout(&to, PATIENCE).is_ok())
}

/// Whether a datagram from one host arrives at a port of the NAT.
fn arrives(net: &Net, from: (&Netns, u16), to: u16) -> bool {
    let socket = net.nat.inside(move || UdpSocket::bind(("0.0.0.0", to)).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (sender, port) = from;
    sender.inside(move || {
        let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
        socket.send_to(b"hello", (ADDRESSES[1], to)).unwrap();
    });
    socket.recv(&mut [0; 16]).is_ok()
}

fn pings(from: &Netns, to: &str) -> bool {
    from.succeeds(&["ping", "-c1", "-W5", to])
}

#[test]
fn private_hosts_can_ping_a_protected_nat_and_be_forwarded_and_nothing_else() {
    let net = Net::two_armed();
    let (_listener, port) = service(&net.nat);
    for address in ADDRESSES {
        assert!(opens(&net.private, address, port), "off by default");
    }
    assert!(arrives(&net, (&net.private, 0), 5353));
    assert!(!net.nat.nft("list table ip natha").contains("hook input"));

    let report = net.nat.natha(&format!("{CLOSED} --json")).exits(0).json();
    let told = report["warnings"].to_string();
    assert!(told.contains("closes this host to new connections from 10.0.0.0/16"), "{told}");
    for address in ADDRESSES {
        assert!(!opens(&net.private, address, port), "{address}");
        assert!(pings(&net.private, &address.to_string()), "{address}");
    }
    assert!(!arrives(&net, (&net.private, 0), 5353));
    assert!(pings(&net.private, INTERNET), "it is forwarded");
    let refused = net.nat.nft("list counter ip natha refused");
    assert!(!refused.contains("packets 0 "), "{refused}");
    assert!(net.nat.nft("list counter ip natha dropped").contains("packets 0 "));

    // What the nodes send to each other, and the answers of DHCP.
    assert!(arrives(&net, (&net.private, 0), 6284));
    assert!(arrives(&net, (&net.private, 67), 68));
    assert!(!opens(&net.private, ADDRESSES[1], 6284));

    // A second setup changes nothing and closes nothing new.
    let again = net.nat.natha(&format!("{CLOSED} --json")).exits(0).json();
    assert_eq!(again["result"], "nothing-to-do", "{again}");
    assert!(!again["warnings"].to_string().contains("closes this host"), "{again}");

    net.nat.natha(OPEN).exits(0);
    assert!(opens(&net.private, ADDRESSES[0], port), "open again");
    net.nat.natha(CLOSED).exits(0);
    net.nat.natha("teardown").exits(0);
    assert_eq!(net.nat.nft("list tables"), "");
    assert!(opens(&net.private, ADDRESSES[0], port), "open again");
}

#[test]
fn the_internet_the_host_itself_and_its_containers_are_no_private_hosts() {
    let net = Net::two_armed();
    let container = Netns::new();
    wire((&container, "eth0", "172.17.0.2/24"), (&net.nat, "docker0", "172.17.0.1/24"));
    let (_listener, port) = service(&net.nat);
    net.nat.natha(CLOSED).exits(0);
    assert!(opens(&container, Ipv4Addr::new(172, 17, 0, 1), port));
    // Also where the internet is one of the sources.
    for sources in ["10.0.0.0/16", "0.0.0.0/0"] {
        let flags = format!("setup --source {sources} --no-source-dest-check");
        net.nat.natha(&format!("{flags} --set host.protect=true")).exits(0);
        assert!(!opens(&net.private, ADDRESSES[0], port), "{sources}");
        // By the NAT's address of this side, that host would be one of the VPC.
        assert!(opens(&net.internet, ADDRESSES[0], port), "{sources}");
        assert!(opens(&net.nat, ADDRESSES[1], port), "{sources}");
    }
}

#[test]
fn what_the_nat_opens_is_answered_and_open_connections_go_on() {
    let net = Net::two_armed();
    let (listener, port) = service(&net.nat);
    let to = SocketAddr::from((ADDRESSES[0], port));
    let mut client = net.private.inside(move || TcpStream::connect(to).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut says = |text: &[u8; 5]| {
        client.write_all(text).unwrap();
        let mut heard = [0; 5];
        server.read_exact(&mut heard).unwrap();
        assert_eq!(heard, *text);
    };
    says(b"first");
    net.nat.natha(CLOSED).exits(0);
    says(b"again");

    let listener = net.private.inside(|| TcpListener::bind(("10.0.1.20", 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    assert!(opens(&net.nat, Ipv4Addr::new(10, 0, 1, 20), port));
    // The error that a closed port answers with belongs to what the NAT has sent.
    let nobody = "timeout 5 bash -c 'exec 3<>/dev/udp/10.0.1.20/9; echo >&3; read -t 2 -u 3; \
                  [ $? -lt 128 ]'";
    assert!(net.nat.succeeds(&["sh", "-c", nobody]));
}

#[test]
fn networks_that_are_let_in_reach_all_of_a_protected_nat() {
    let net = Net::two_armed();
    net.private.ip("addr add 10.0.1.21/24 dev eth0");
    let (_listener, port) = service(&net.nat);
    let flags = format!("{CLOSED} --set host.protect_except=10.0.1.21/32 --json");
    let told = net.nat.natha(&flags).exits(0).json()["warnings"].to_string();
    assert!(told.contains("10.0.1.21/32 stays open"), "{told}");
    assert!(!opens(&net.private, ADDRESSES[0], port));
    let route = "route replace 10.0.0.0/24 via 10.0.1.1 src 10.0.1.21";
    net.private.ip(route);
    assert!(opens(&net.private, ADDRESSES[1], port));
}
