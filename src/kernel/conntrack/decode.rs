//! From netlink attributes to [`Entry`].

use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLA_TYPE_MASK, Nla, NlasIterator};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, IPTuple, ProtoInfo, ProtoInfoTCP, ProtoTuple, Tuple as NetlinkTuple,
};

use super::encode::{
    ASSURED, CTA_PROTO_ICMP_CODE, CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, SEEN_REPLY,
};
use crate::flows::{Entry, Flow, Protocol, Tcp, TcpSide, TcpState, Tuple, Usage};

/// Attributes of `linux/netfilter/nfnetlink_conntrack.h` that the crate has no types for.
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_ZONE: u16 = 18;
const CTA_COUNTERS_BYTES: u16 = 2;

/// `IPS_OFFLOAD` of `linux/netfilter/nf_conntrack_common.h`.
const OFFLOAD: u32 = 1 << 14;

/// The timeout of a connection whose packets pass by a flowtable: the kernel reports neither it nor
/// the TCP state (`ctnetlink_dump_info`). This is the default of `nf_conntrack_udp_timeout_stream`,
/// the shortest timeout that such a connection has without a flowtable.
const OFFLOADED_TIMEOUT_S: u32 = 120;

/// The connection of a message, if its source alone is translated, and it has a protocol that is
/// replicated and the default zone.
pub(super) fn entry(attributes: &[ConntrackAttribute]) -> Option<Entry> {
    let (mut original, mut reply, mut status, mut timeout) = (None, None, 0, None);
    let (mut mark, mut tcp) = (0, None);
    for attribute in attributes {
        match attribute {
            ConntrackAttribute::CtaTupleOrig(parts) => original = tuple(parts),
            ConntrackAttribute::CtaTupleReply(parts) => reply = tuple(parts),
            ConntrackAttribute::CtaStatus(value) => status = value.bits(),
            ConntrackAttribute::CtaTimeout(value) => timeout = Some(*value),
            ConntrackAttribute::CtaMark(value) => mark = *value,
            ConntrackAttribute::CtaProtoInfo(parts) => tcp = tcp_of(parts),
            ConntrackAttribute::Other(other) if is_zone(other) => return None,
            _ => {}
        }
    }
    let (original, reply) = (original?, reply?);
    if reply.source != original.destination || reply.destination == original.source {
        return None;
    }
    let is_offloaded = status & OFFLOAD != 0 && original.protocol == Protocol::Tcp;
    let translated_port = match original.protocol {
        Protocol::Icmp => reply.source_port,
        Protocol::Tcp | Protocol::Udp => reply.destination_port,
    };
    let flow = Flow {
        tuple: original,
        translated_port,
        seen_reply: status & SEEN_REPLY != 0,
        assured: status & ASSURED != 0,
        tcp: tcp.or(is_offloaded.then_some(OFFLOADED_TCP)),
        timeout_s: timeout.unwrap_or(OFFLOADED_TIMEOUT_S),
        mark,
    };
    Some(Entry { landing: reply.destination, flow })
}

/// The bytes that the kernel has counted of a connection in both directions; none without
/// `nf_conntrack_acct`.
pub(super) fn usage(attributes: &[ConntrackAttribute]) -> Option<Usage> {
    let bytes = |wanted: u16| {
        attributes.iter().find_map(|attribute| match attribute {
            ConntrackAttribute::Other(one) if one.kind() & NLA_TYPE_MASK == wanted => counted(one),
            _ => None,
        })
    };
    Some(Usage { sent: bytes(CTA_COUNTERS_ORIG)?, received: bytes(CTA_COUNTERS_REPLY)? })
}

/// The bytes of one direction.
fn counted(attribute: &DefaultNla) -> Option<u64> {
    let mut parts = vec![0; attribute.value_len()];
    attribute.emit_value(&mut parts);
    NlasIterator::new(parts.as_slice()).flatten().find_map(|part| {
        let bytes = part.value().first_chunk().filter(|_| part.kind() == CTA_COUNTERS_BYTES)?;
        Some(u64::from_be_bytes(*bytes))
    })
}

/// A connection is given to a flowtable only while it is established.
const OFFLOADED_TCP: Tcp = {
    let side = TcpSide { window_scale: 0, flags: TcpSide::BE_LIBERAL };
    Tcp { state: TcpState::Established, original: side, reply: side }
};

fn is_zone(attribute: &DefaultNla) -> bool {
    let mut value = [0; 2];
    attribute.kind() == CTA_ZONE && attribute.value_len() == value.len() && {
        attribute.emit_value(&mut value);
        value != [0, 0]
    }
}

/// The first bytes of an attribute's value, big-endian; none if it has fewer.
fn number<const N: usize>(attribute: &DefaultNla) -> Option<[u8; N]> {
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    value.first_chunk().copied()
}

fn tuple(attributes: &[NetlinkTuple]) -> Option<Tuple> {
    let (mut source, mut destination) = (None, None);
    let mut transport = Transport::default();
    for attribute in attributes {
        match attribute {
            NetlinkTuple::Ip(addresses) => {
                for address in addresses {
                    match address {
                        IPTuple::SourceAddress(IpAddr::V4(address)) => source = Some(*address),
                        IPTuple::DestinationAddress(IpAddr::V4(address)) => {
                            destination = Some(*address);
                        }
                        _ => {}
                    }
                }
            }
            NetlinkTuple::Proto(parts) => {
                for part in parts {
                    transport.add(part);
                }
            }
            _ => {}
        }
    }
    let protocol = transport.protocol?;
    let (source_port, destination_port) = transport.ports(protocol)?;
    Some(Tuple {
        protocol,
        source: source?,
        destination: destination?,
        source_port,
        destination_port,
    })
}

/// The part of a tuple above IP.
#[derive(Default)]
struct Transport {
    protocol: Option<Protocol>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    icmp_id: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
}

impl Transport {
    fn add(&mut self, attribute: &ProtoTuple) {
        match attribute {
            ProtoTuple::Protocol(number) => {
                self.protocol = Protocol::from_number(u8::from(*number));
            }
            ProtoTuple::SourcePort(port) => self.source_port = Some(*port),
            ProtoTuple::DestinationPort(port) => self.destination_port = Some(*port),
            ProtoTuple::Other(other) => match other.kind() {
                CTA_PROTO_ICMP_ID => self.icmp_id = number(other).map(u16::from_be_bytes),
                CTA_PROTO_ICMP_TYPE => self.icmp_type = number(other).map(|[value]| value),
                CTA_PROTO_ICMP_CODE => self.icmp_code = number(other).map(|[value]| value),
                _ => {}
            },
            _ => {}
        }
    }

    /// As in [`Tuple`].
    fn ports(&self, protocol: Protocol) -> Option<(u16, u16)> {
        Some(match protocol {
            Protocol::Icmp => {
                let kind_and_code = [self.icmp_type?, self.icmp_code?];
                (self.icmp_id?, u16::from_be_bytes(kind_and_code))
            }
            Protocol::Tcp | Protocol::Udp => (self.source_port?, self.destination_port?),
        })
    }
}

fn tcp_of(parts: &[ProtoInfo]) -> Option<Tcp> {
    let (mut state, mut original, mut reply) = (None, TcpSide::default(), TcpSide::default());
    for part in parts {
        let ProtoInfo::TCP(parts) = part else { continue };
        for part in parts {
            match part {
                ProtoInfoTCP::State(number) => state = TcpState::from_number(*number),
                ProtoInfoTCP::OriginalWindowScale(scale) => original.window_scale = *scale,
                ProtoInfoTCP::ReplyWindowScale(scale) => reply.window_scale = *scale,
                ProtoInfoTCP::OriginalFlags(flags) => {
                    original.flags = flags.flags & TcpSide::KEPT;
                }
                ProtoInfoTCP::ReplyFlags(flags) => {
                    reply.flags = flags.flags & TcpSide::KEPT;
                }
                _ => {}
            }
        }
    }
    state.map(|state| Tcp { state, original, reply })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_netfilter::conntrack::{Protocol as NetlinkProtocol, Status};

    use super::super::encode::{NESTED, inverse, samples::tuple_attributes};
    use super::*;

    fn attributes(reply: &Tuple) -> Vec<ConntrackAttribute> {
        vec![
            ConntrackAttribute::CtaTupleOrig(tuple_attributes(&original())),
            ConntrackAttribute::CtaTupleReply(tuple_attributes(reply)),
            ConntrackAttribute::CtaTimeout(30),
        ]
    }

    fn emitted(attributes: &[DefaultNla]) -> Vec<u8> {
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        bytes
    }

    fn original() -> Tuple {
        Tuple {
            protocol: Protocol::Udp,
            source: [10, 0, 9, 9].into(),
            destination: [192, 0, 2, 1].into(),
            source_port: 4_000,
            destination_port: 53,
        }
    }

    /// A reply to the landing address.
    fn reply() -> Tuple {
        Tuple {
            destination: [10, 0, 1, 10].into(),
            destination_port: 1_024,
            ..inverse(&original())
        }
    }

    #[test]
    fn only_a_translated_source_in_the_default_zone_is_an_entry() {
        let found = entry(&attributes(&reply())).unwrap();
        assert_eq!(found.landing, reply().destination);
        assert_eq!((found.flow.tuple, found.flow.translated_port), (original(), 1_024));
        assert_eq!((found.flow.timeout_s, found.flow.tcp), (30, None));

        assert_eq!(entry(&attributes(&inverse(&original()))), None, "no translation");
        let elsewhere = Tuple { source: [10, 0, 5, 5].into(), ..reply() };
        assert_eq!(entry(&attributes(&elsewhere)), None, "its destination is translated too");
        let zone = |number: u16| {
            let zone = DefaultNla::new(CTA_ZONE, number.to_be_bytes().to_vec());
            let mut all = attributes(&reply());
            all.push(ConntrackAttribute::Other(zone));
            entry(&all)
        };
        assert_eq!((zone(0), zone(7)), (Some(found), None));
    }

    #[test]
    fn what_was_counted_is_the_bytes_of_both_directions() {
        let counters = |kind: u16, bytes: u64| {
            let part = |kind, number: u64| DefaultNla::new(kind, number.to_be_bytes().to_vec());
            let parts = emitted(&[part(1, 7), part(CTA_COUNTERS_BYTES, bytes)]);
            ConntrackAttribute::Other(DefaultNla::new(kind | NESTED, parts))
        };
        let mut all = attributes(&reply());
        assert_eq!(usage(&all), None, "accounting is off");
        all.push(counters(CTA_COUNTERS_ORIG, 5_000_000_000));
        assert_eq!(usage(&all), None, "one direction alone");
        all.push(counters(CTA_COUNTERS_REPLY, 84));
        assert_eq!(usage(&all), Some(Usage { sent: 5_000_000_000, received: 84 }));
    }

    /// The kernel leaves out the timeout and the TCP state of what is in a flowtable.
    #[test]
    fn a_connection_in_a_flowtable_counts_as_established() {
        let tcp = |tuple: Tuple| Tuple { protocol: Protocol::Tcp, ..tuple };
        let tuples = [tcp(original()), tcp(reply())].map(|tuple| tuple_attributes(&tuple));
        let [original, reply] = tuples;
        let status = |bits| ConntrackAttribute::CtaStatus(Status::from_bits_retain(bits));
        let all = |bits| {
            let original = ConntrackAttribute::CtaTupleOrig(original.clone());
            let reply = ConntrackAttribute::CtaTupleReply(reply.clone());
            entry(&[original, reply, status(bits)]).unwrap().flow
        };
        let offloaded = all(SEEN_REPLY | ASSURED | OFFLOAD);
        assert_eq!(offloaded.tcp.unwrap().state, TcpState::Established);
        assert_eq!(offloaded.timeout_s, OFFLOADED_TIMEOUT_S);
        assert!(offloaded.seen_reply && offloaded.assured);
        assert_eq!(all(SEEN_REPLY | ASSURED).tcp, None, "not reported");
    }

    #[test]
    fn incomplete_or_unknown_tuples_are_no_entry() {
        let all = attributes(&reply());
        for missing in 0..2 {
            let mut some = all.clone();
            some.remove(missing);
            assert_eq!(entry(&some), None);
        }
        let mut sctp = all;
        let parts = vec![ProtoTuple::Protocol(NetlinkProtocol::Sctp), ProtoTuple::SourcePort(1)];
        sctp[0] = ConntrackAttribute::CtaTupleOrig(vec![NetlinkTuple::Proto(parts)]);
        assert_eq!(entry(&sctp), None);
    }
}
