use etherparse::TcpSlice;

use super::*;

const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 254);
const TARGET: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
const TOKEN: u64 = 0x0123_4567_89ab_cdef;

fn maker(targets: &[Probe]) -> ProbeMaker {
    ProbeMaker { targets: targets.to_vec(), source: SOURCE, token: TOKEN, round: 0 }
}

fn icmp() -> Probe {
    Probe::Icmp(TARGET)
}

fn tcp() -> Probe {
    Probe::Tcp(SocketAddr::from((TARGET, 443)))
}

/// The identifier of an echo request, after checking where it goes.
fn ident(packet: &[u8]) -> u16 {
    let packet = SlicedPacket::from_ip(packet).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
    assert_eq!((ip.header().source_addr(), ip.header().destination_addr()), (SOURCE, TARGET));
    match packet.transport.unwrap() {
        TransportSlice::Icmpv4(icmp) => match icmp.icmp_type() {
            Icmpv4Type::EchoRequest(header) => header.id,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn echo_reply(from: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(from.octets(), SOURCE.octets(), TTL).icmpv4_echo_reply(1, 1);
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn with_tcp<T>(packet: &[u8], read: impl FnOnce(&TcpSlice<'_>) -> T) -> T {
    match SlicedPacket::from_ip(packet).unwrap().transport.unwrap() {
        TransportSlice::Tcp(tcp) => read(&tcp),
        other => panic!("{other:?}"),
    }
}

fn ports(packet: &[u8]) -> (u16, u16) {
    with_tcp(packet, |tcp| (tcp.source_port(), tcp.destination_port()))
}

/// The answer of a target to the first packet of a connection.
fn answer(syn: &[u8], accepts: bool) -> Vec<u8> {
    let (port, sequence) = with_tcp(syn, |tcp| (tcp.source_port(), tcp.sequence_number()));
    let builder =
        PacketBuilder::ipv4(TARGET.octets(), SOURCE.octets(), TTL).tcp(443, port, 77, WINDOW);
    let builder = if accepts { builder.syn() } else { builder.rst() };
    let mut packet = Vec::new();
    builder.ack(sequence.wrapping_add(1)).write(&mut packet, &[]).unwrap();
    packet
}

#[test]
fn every_round_is_a_connection_of_its_own() {
    let mut maker = maker(&[icmp(), tcp()]);
    let (first, second) = (maker.round(1, true), maker.round(2, true));
    assert_ne!(ident(&first[0]), ident(&second[0]));
    assert_ne!(ports(&first[1]).0, ports(&second[1]).0);
}

#[test]
fn tcp_targets_are_asked_only_in_a_full_round() {
    let mut maker = maker(&[icmp(), tcp()]);
    assert_eq!(maker.round(1, false).len(), 1);
    assert_eq!(maker.round(1, true).len(), 2);
}

#[test]
fn only_a_target_s_reply_with_the_token_counts() {
    let maker = maker(&[icmp()]);
    let token = TOKEN.to_be_bytes();
    assert_eq!(maker.read(&echo_reply(TARGET, &token)), Some(Reply::Echo { round: 1 }));
    assert_eq!(maker.read(&echo_reply(TARGET, b"8 others")), None);
    assert_eq!(maker.read(&echo_reply(Ipv4Addr::new(9, 9, 9, 9), &token)), None);
    assert_eq!(maker.read(b"no packet at all"), None);
    assert_eq!(maker.read(&[]), None);
}

#[test]
fn a_target_may_accept_or_refuse_and_an_accepted_connection_is_ended() {
    let mut maker = maker(&[tcp()]);
    let syn = maker.round(1, true).remove(0);
    assert_eq!(maker.read(&answer(&syn, false)), Some(Reply::Tcp { round: 1, end: None }));
    let Some(Reply::Tcp { round: 1, end: Some(end) }) = maker.read(&answer(&syn, true)) else {
        panic!("the connection is accepted");
    };
    let (own_port, _) = ports(&syn);
    with_tcp(&end, |tcp| {
        assert!(tcp.rst() && !tcp.syn());
        assert_eq!((tcp.source_port(), tcp.destination_port()), (own_port, 443));
    });
}

#[test]
fn an_answer_to_another_connection_does_not_count() {
    let mut asker = maker(&[tcp()]);
    let other = ProbeMaker { token: 1, ..maker(&[tcp()]) };
    let syn = asker.round(1, true).remove(0);
    assert_eq!(other.read(&answer(&syn, true)), None);
}

#[test]
fn a_reply_by_tcp_names_its_round_also_where_the_local_ports_start_over() {
    let mut maker = maker(&[tcp()]);
    for (asked, last) in [(1, 4), (27_990, 28_020), (28_000, 28_000), (55_999, 56_001)] {
        let syn = maker.round(asked, true).remove(0);
        maker.round(last, true);
        let Some(Reply::Tcp { round, .. }) = maker.read(&answer(&syn, false)) else {
            panic!("the connection is refused");
        };
        assert_eq!(round, asked);
    }
}
