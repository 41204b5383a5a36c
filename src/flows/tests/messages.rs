//! Bytes of messages: round trips, and what is malformed.

use std::net::Ipv4Addr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::support::*;
use crate::flows::message::{MAX_ITEMS, RECORD_LEN};
use crate::flows::{
    BootId, Flow, Hello, Message, Nonce, Protocol, Record, Refusal, Role, StreamFault, Tcp,
    TcpSide, TcpState, Tuple,
};
use crate::types::{AllocationId, EgressId, Time};

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.put(&mut out);
    out
}

fn any_tuple() -> impl Strategy<Value = Tuple> {
    let protocol = prop::sample::select(vec![Protocol::Icmp, Protocol::Tcp, Protocol::Udp]);
    (protocol, any::<[u8; 4]>(), any::<[u8; 4]>(), any::<u16>(), any::<u16>()).prop_map(
        |(protocol, source, destination, source_port, destination_port)| Tuple {
            protocol,
            source: source.into(),
            destination: destination.into(),
            source_port,
            destination_port,
        },
    )
}

fn any_tcp() -> impl Strategy<Value = Tcp> {
    (prop::sample::select(&TcpState::ALL[..]), any::<[u8; 4]>()).prop_map(
        |(state, [a, b, c, d])| {
            let side = |window_scale, flags| TcpSide { window_scale, flags };
            Tcp { state, original: side(a, b), reply: side(c, d) }
        },
    )
}

fn any_egress() -> impl Strategy<Value = EgressId> {
    prop_oneof!["eipalloc-[0-9a-f]{8}", "eipalloc-[0-9a-f]{17}"]
        .prop_map(|text| EgressId::from(&text.parse::<AllocationId>().unwrap()))
}

pub(super) fn any_record() -> impl Strategy<Value = Record> {
    let numbers = (any::<u16>(), any::<u32>(), any::<u32>(), any::<[bool; 2]>());
    (any_egress(), any_tuple(), any_tcp(), numbers).prop_map(
        |(egress, tuple, tcp, (translated_port, timeout_s, mark, [seen_reply, assured]))| {
            let tcp = (tuple.protocol == Protocol::Tcp).then_some(tcp);
            let flow = Flow { tuple, translated_port, seen_reply, assured, tcp, timeout_s, mark };
            Record { egress, flow }
        },
    )
}

fn any_time() -> impl Strategy<Value = Time> {
    any::<u64>().prop_map(|micros| Time::from_boot(std::time::Duration::from_micros(micros)))
}

fn any_hello() -> impl Strategy<Value = Hello> {
    let ids = prop_oneof!["i-[0-9a-f]{8}", "i-[0-9a-f]{17}"];
    (any::<bool>(), ids, any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u64; 2]>()).prop_map(
        |(owner, node, boot, nonce, [cluster, settings])| Hello {
            role: if owner { Role::Owner } else { Role::Heir },
            node: node.parse().unwrap(),
            boot: BootId(boot),
            cluster,
            settings,
            nonce: Nonce(nonce),
        },
    )
}

fn any_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any_hello().prop_map(Message::Hello),
        prop::sample::select(&Refusal::ALL[..]).prop_map(Message::Refused),
        any::<u32>().prop_map(|count| Message::ResyncBegin { count }),
        (any_time(), vec(any_record(), 0..=MAX_ITEMS))
            .prop_map(|(oldest, records)| Message::Records { oldest, records }),
        (any_time(), vec(any_tuple(), 0..=MAX_ITEMS))
            .prop_map(|(oldest, tuples)| Message::Removals { oldest, tuples }),
        any::<[u32; 2]>().prop_map(|[records, removals]| Message::ResyncEnd { records, removals }),
        any_time().prop_map(|oldest| Message::Position { oldest }),
        (any::<u64>(), any_time(), any::<u32>())
            .prop_map(|(sequence, oldest, held)| Message::Ack { sequence, oldest, held }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(message in any_message()) {
        let bytes = encoded(&message);
        prop_assert_eq!(Message::decode(message.kind(), &bytes), Ok(message));
    }

    #[test]
    fn a_message_that_is_cut_or_continued_is_refused(message in any_message(), cut in 0..40_usize) {
        let mut bytes = encoded(&message);
        let shorter = bytes.len().saturating_sub(cut + 1);
        prop_assert!(Message::decode(message.kind(), &bytes[..shorter]).is_err());
        bytes.push(0);
        prop_assert!(Message::decode(message.kind(), &bytes).is_err());
    }

    #[test]
    fn any_bytes_are_the_only_encoding_of_a_message_or_are_refused(
        kind: u8, bytes in vec(any::<u8>(), 0..200),
    ) {
        if let Ok(message) = Message::decode(kind, &bytes) {
            prop_assert_eq!(message.kind(), kind);
            prop_assert_eq!(encoded(&message), bytes);
        }
    }
}

/// The lengths that the module's documentation gives. The limit of a frame follows from them.
#[test]
fn records_have_the_documented_length() {
    let length = |flow| {
        let one = Message::Records { oldest: at(0), records: vec![record(flow)] };
        encoded(&one).len() - 10
    };
    assert_eq!(length(udp(1)), 35);
    assert_eq!(length(tcp(1, TcpState::Established)), 40);
    assert_eq!(RECORD_LEN, 40);
}

#[test]
fn a_value_that_this_version_does_not_know_is_malformed() {
    let records = vec![record(tcp(7, TcpState::Established))];
    let good = encoded(&Message::Records { oldest: at(5), records });
    let tuple_at = 10;
    for (place, value, what) in [
        (tuple_at, 6, "address family"),
        (tuple_at + 1, 132, "protocol"),
        (tuple_at + 1, 17, "protocol without a TCP part"),
        (tuple_at + 14, 9, "egress IP"),
        (tuple_at + 26, 8 + 7, "flags"),
        (tuple_at + 26, 3, "flags without a TCP part"),
        (tuple_at + 35, 10, "TCP state"),
        (8, 0xff, "count"),
    ] {
        let mut bytes = good.clone();
        bytes[place] = value;
        assert_eq!(Message::decode(4, &bytes), Err(StreamFault::Malformed), "{what}");
    }
    assert!(Message::decode(4, &good).is_ok());
    assert_eq!(Message::decode(9, &[]), Err(StreamFault::Malformed));
    assert_eq!(Message::decode(2, &[0]), Err(StreamFault::Malformed));
    assert_eq!(Message::decode(2, &[6]), Err(StreamFault::Malformed));
}

#[test]
fn a_hello_of_another_version_or_program_is_told_apart() {
    let good = encoded(&Message::Hello(hello(Role::Owner, 1)));
    for (place, value, fault) in [
        (0, b'H', StreamFault::NotNatha),
        (4, 2, StreamFault::Refused(Refusal::Version)),
        (5, 3, StreamFault::Malformed),
        (54, 3, StreamFault::Malformed),
    ] {
        let mut bytes = good.clone();
        bytes[place] = value;
        assert_eq!(Message::decode(1, &bytes), Err(fault), "{place}");
    }
}

#[test]
fn a_boot_id_is_read_as_the_kernel_writes_it() {
    let id: BootId = "01234567-89ab-cdef-0123-456789abcdef\n".parse().unwrap();
    assert_eq!(id.0[..4], [0x01, 0x23, 0x45, 0x67]);
    for text in ["", "0123", "+1234567-89ab-cdef-0123-456789abcdef", "é"] {
        assert!(text.parse::<BootId>().is_err(), "{text}");
    }
}

#[test]
fn the_bytes_of_a_record_are_the_documented_ones() {
    let flow = Flow {
        tuple: Tuple {
            protocol: Protocol::Icmp,
            source: Ipv4Addr::new(10, 1, 2, 3),
            destination: Ipv4Addr::new(192, 0, 2, 7),
            source_port: 0x1234,
            destination_port: 0x0800,
        },
        translated_port: 0x4321,
        seen_reply: true,
        assured: false,
        tcp: None,
        timeout_s: 30,
        mark: 9,
    };
    let bytes = encoded(&Message::Records { oldest: at(1), records: vec![record(flow)] });
    let expected = [
        &[0, 0, 0, 0, 0, 0, 0x03, 0xe8, 0, 1][..],
        &[4, 1, 10, 1, 2, 3, 192, 0, 2, 7, 0x12, 0x34, 0x08, 0x00],
        &[8, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        &[0x43, 0x21, 1, 0, 0, 0, 30, 0, 0, 0, 9],
    ];
    assert_eq!(bytes, expected.concat());
}
