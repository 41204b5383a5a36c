//! Whose datagrams reach which socket, on loopback.

use std::net::UdpSocket;

use super::*;
use crate::daemon::clock;

/// Loopback addresses of this node, of a peer and of a stranger.
const NODE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PEER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 13);
/// More than any queue holds.
const MOST: usize = 100_000;

/// The node's sockets, for strangers and for the peer, and the peer's own.
fn sockets() -> (PeerSocket, PeerSocket, UdpSocket) {
    let now = clock::now();
    let strangers = PeerSocket::heartbeat(SocketAddrV4::new(NODE, 0), now).unwrap();
    let bound = strangers.socket.local_addr().unwrap().as_socket_ipv4().unwrap();
    let from = UdpSocket::bind(SocketAddrV4::new(PEER, bound.port())).unwrap();
    let peer = PeerSocket::peer(bound, SocketAddrV4::new(PEER, bound.port()), now).unwrap();
    from.connect(bound).unwrap();
    (strangers, peer, from)
}

fn drain(socket: &mut PeerSocket, most: usize) -> (Vec<Vec<u8>>, u32) {
    let mut all = Vec::new();
    let lost = socket.drain(clock::now(), most, |datagram| all.push(datagram.bytes.to_vec()));
    (all, lost)
}

#[test]
fn a_peers_datagrams_reach_its_own_socket_and_nobody_elses_do() {
    let (mut strangers, mut peer, from) = sockets();
    let to = from.peer_addr().unwrap();
    from.send(b"of the peer").unwrap();
    let stranger = UdpSocket::bind(SocketAddrV4::new(STRANGER, to.port())).unwrap();
    stranger.send_to(b"of a stranger", to).unwrap();
    let elsewhere = UdpSocket::bind(SocketAddrV4::new(PEER, 0)).unwrap();
    elsewhere.send_to(b"from another port", to).unwrap();
    assert_eq!(drain(&mut peer, MOST).0, [b"of the peer"]);
    let others = drain(&mut strangers, MOST).0;
    assert_eq!(others, [&b"of a stranger"[..], b"from another port"]);
}

#[test]
fn a_flood_of_strangers_costs_no_datagram_of_the_peer() {
    let (mut strangers, mut peer, from) = sockets();
    let to = from.peer_addr().unwrap();
    let stranger = UdpSocket::bind(SocketAddrV4::new(STRANGER, 0)).unwrap();
    for _ in 0..5_000 {
        stranger.send_to(&[0; 1_000], to).unwrap();
    }
    from.send(b"of the peer").unwrap();
    assert_eq!(drain(&mut peer, MOST), (vec![b"of the peer".to_vec()], 0));
    let (some, _) = drain(&mut strangers, 50);
    assert_eq!(some.len(), 50, "no more is read than was asked for");
    let (others, _) = drain(&mut strangers, MOST);
    stranger.send_to(b"one more", to).unwrap();
    let (end, lost) = drain(&mut strangers, MOST);
    assert_eq!(end, [b"one more"]);
    assert_eq!(50 + others.len() + lost as usize, 5_000, "what found no room is told");
}

#[test]
fn a_second_monitor_finds_the_port_taken() {
    let (strangers, _peer, _) = sockets();
    let bound = strangers.socket.local_addr().unwrap().as_socket_ipv4().unwrap();
    let second = PeerSocket::heartbeat(bound, clock::now());
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn only_replies_to_ones_own_requests_reach_the_echo_socket() {
    let (mine, other) =
        (EchoMark::new(0x0102_0304_0506_0708), EchoMark::new(0x0102_0304_0506_0709));
    let mut socket = PeerSocket::echo(NODE, None, mine, clock::now()).unwrap();
    // The kernel answers both, and every raw socket gets a copy of each request and reply.
    for mark in [other, mine, other] {
        socket.send(&mark.request(1), SocketAddrV4::new(NODE, 0)).unwrap();
    }
    let mut polled = [nix::poll::PollFd::new(socket.as_fd(), nix::poll::PollFlags::POLLIN)];
    assert_eq!(nix::poll::poll(&mut polled, 5_000_u16), Ok(1));
    let (replies, _) = drain(&mut socket, MOST);
    assert_eq!(replies.len(), 1);
    assert!(mine.is_reply(&replies[0]));
}
