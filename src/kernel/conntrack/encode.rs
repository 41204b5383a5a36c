//! Requests to the kernel's connection tracking, as bytes.
//!
//! A takeover inserts tens of thousands of connections. With the types of the netlink crate, which
//! allocate for each attribute and compute its length several times, it takes as long to write an
//! insertion as the kernel needs to carry it out. So the bytes are written here.

use crate::flows::{Entry, Protocol, Tcp, TcpSide, Tuple};

/// `NFNL_SUBSYS_CTNETLINK` of `linux/netfilter/nfnetlink.h`.
const SUBSYSTEM: u16 = 1;
/// `NFPROTO_IPV4` of `linux/netfilter.h`.
const IPV4: u8 = 2;
/// `NLA_F_NESTED` of `linux/netlink.h`.
pub(super) const NESTED: u16 = 1 << 15;

/// Attributes of `linux/netfilter/nfnetlink_conntrack.h`.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_NAT_SRC: u16 = 6;
const CTA_TIMEOUT: u16 = 7;
const CTA_MARK: u16 = 8;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
pub(super) const CTA_PROTO_ICMP_ID: u16 = 4;
pub(super) const CTA_PROTO_ICMP_TYPE: u16 = 5;
pub(super) const CTA_PROTO_ICMP_CODE: u16 = 6;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_PROTOINFO_TCP_WSCALE_ORIGINAL: u16 = 2;
const CTA_PROTOINFO_TCP_WSCALE_REPLY: u16 = 3;
const CTA_PROTOINFO_TCP_FLAGS_ORIGINAL: u16 = 4;
const CTA_PROTOINFO_TCP_FLAGS_REPLY: u16 = 5;
const CTA_NAT_V4_MINIP: u16 = 1;
const CTA_NAT_V4_MAXIP: u16 = 2;
const CTA_NAT_PROTO: u16 = 3;
const CTA_PROTONAT_PORT_MIN: u16 = 1;
const CTA_PROTONAT_PORT_MAX: u16 = 2;

/// `IPS_*` of `linux/netfilter/nf_conntrack_common.h`.
pub(super) const SEEN_REPLY: u32 = 1 << 1;
pub(super) const ASSURED: u32 = 1 << 2;
const CONFIRMED: u32 = 1 << 3;

/// What is asked: `IPCTNL_MSG_CT_*` of `linux/netfilter/nfnetlink_conntrack.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To insert a connection.
    New = 0,
    /// To show one, or all.
    Get = 1,
    /// To remove one.
    Delete = 2,
}

/// Appends a request for IPv4 (`struct nlmsghdr`, `struct nfgenmsg`) with the attributes that
/// `attributes` appends.
pub(super) fn request(
    out: &mut Vec<u8>,
    kind: Kind,
    flags: u16,
    sequence: u32,
    attributes: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend(0_u32.to_ne_bytes());
    out.extend((SUBSYSTEM << 8 | kind as u16).to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0_u32.to_ne_bytes());
    out.extend([IPV4, 0, 0, 0]);
    attributes(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    overwrite(out, start, &length.to_ne_bytes());
}

/// Appends what the insertion of a connection says of it.
pub(super) fn insertion(out: &mut Vec<u8>, entry: &Entry) {
    let flow = &entry.flow;
    named(out, &flow.tuple);
    tuple(out, CTA_TUPLE_REPLY, &inverse(&flow.tuple));
    translation(out, entry);
    let seen_reply = if flow.seen_reply { SEEN_REPLY } else { 0 };
    let assured = if flow.assured { ASSURED } else { 0 };
    put(out, CTA_STATUS, &(CONFIRMED | seen_reply | assured).to_be_bytes());
    put(out, CTA_TIMEOUT, &flow.timeout_s.to_be_bytes());
    if flow.mark != 0 {
        put(out, CTA_MARK, &flow.mark.to_be_bytes());
    }
    if let Some(tcp) = flow.tcp {
        nest(out, CTA_PROTOINFO, |out| nest(out, CTA_PROTOINFO_TCP, |out| of_tcp(out, tcp)));
    }
}

/// Appends the attribute that names a connection.
pub(super) fn named(out: &mut Vec<u8>, of: &Tuple) {
    tuple(out, CTA_TUPLE_ORIG, of);
}

/// The tuple of the replies, without translation.
pub(super) fn inverse(tuple: &Tuple) -> Tuple {
    let (source_port, destination_port) = match tuple.protocol {
        Protocol::Icmp => (tuple.source_port, icmp_reply(tuple.destination_port)),
        Protocol::Tcp | Protocol::Udp => (tuple.destination_port, tuple.source_port),
    };
    Tuple {
        protocol: tuple.protocol,
        source: tuple.destination,
        destination: tuple.source,
        source_port,
        destination_port,
    }
}

/// Type and code of the reply to a query: echo, timestamp, information, address mask (RFC 792, RFC
/// 950).
fn icmp_reply(kind_and_code: u16) -> u16 {
    let [kind, code] = kind_and_code.to_be_bytes();
    let reply = match kind {
        8 => 0,
        13 | 15 | 17 => kind + 1,
        other => other,
    };
    u16::from_be_bytes([reply, code])
}

fn tuple(out: &mut Vec<u8>, kind: u16, tuple: &Tuple) {
    nest(out, kind, |out| {
        nest(out, CTA_TUPLE_IP, |out| {
            put(out, CTA_IP_V4_SRC, &tuple.source.octets());
            put(out, CTA_IP_V4_DST, &tuple.destination.octets());
        });
        nest(out, CTA_TUPLE_PROTO, |out| {
            put(out, CTA_PROTO_NUM, &[tuple.protocol.number()]);
            let [source, destination] = [tuple.source_port, tuple.destination_port];
            if tuple.protocol == Protocol::Icmp {
                let [kind, code] = destination.to_be_bytes();
                put(out, CTA_PROTO_ICMP_ID, &source.to_be_bytes());
                put(out, CTA_PROTO_ICMP_TYPE, &[kind]);
                put(out, CTA_PROTO_ICMP_CODE, &[code]);
            } else {
                put(out, CTA_PROTO_SRC_PORT, &source.to_be_bytes());
                put(out, CTA_PROTO_DST_PORT, &destination.to_be_bytes());
            }
        });
    });
}

/// The source after translation: one address and one port.
fn translation(out: &mut Vec<u8>, entry: &Entry) {
    let address = entry.landing.octets();
    let port = entry.flow.translated_port.to_be_bytes();
    nest(out, CTA_NAT_SRC, |out| {
        put(out, CTA_NAT_V4_MINIP, &address);
        put(out, CTA_NAT_V4_MAXIP, &address);
        nest(out, CTA_NAT_PROTO, |out| {
            put(out, CTA_PROTONAT_PORT_MIN, &port);
            put(out, CTA_PROTONAT_PORT_MAX, &port);
        });
    });
}

/// The kernel does not report the edges of the window, so an heir's must not judge by them: both
/// directions are liberal.
fn of_tcp(out: &mut Vec<u8>, tcp: Tcp) {
    put(out, CTA_PROTOINFO_TCP_STATE, &[tcp.state.number()]);
    if tcp.original.flags & tcp.reply.flags & TcpSide::WINDOW_SCALE != 0 {
        put(out, CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, &[tcp.original.window_scale]);
        put(out, CTA_PROTOINFO_TCP_WSCALE_REPLY, &[tcp.reply.window_scale]);
    }
    // `struct nf_ct_tcp_flags`: the flags, and which of them are meant.
    let flags = |side: TcpSide| [side.flags & TcpSide::KEPT | TcpSide::BE_LIBERAL; 2];
    put(out, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, &flags(tcp.original));
    put(out, CTA_PROTOINFO_TCP_FLAGS_REPLY, &flags(tcp.reply));
}

/// Appends an attribute whose value is the attributes that `parts` appends.
fn nest(out: &mut Vec<u8>, kind: u16, parts: impl FnOnce(&mut Vec<u8>)) {
    attribute(out, kind | NESTED, parts);
}

fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    attribute(out, kind, |out| out.extend_from_slice(value));
}

/// Appends an attribute (`struct nlattr`), padded to 4 bytes.
fn attribute(out: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(0_u16.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    value(out);
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    overwrite(out, start, &length.to_ne_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
}

fn overwrite(out: &mut [u8], start: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(start..start + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// What the netlink crate reads of a tuple.
#[cfg(test)]
pub(super) mod samples {
    use std::net::IpAddr;

    use netlink_packet_core::DefaultNla;
    use netlink_packet_netfilter::conntrack::{
        IPTuple, ProtoTuple, Protocol as NetlinkProtocol, Tuple as NetlinkTuple,
    };

    use super::*;

    pub(in super::super) fn tuple_attributes(tuple: &Tuple) -> Vec<NetlinkTuple> {
        let addresses = vec![
            IPTuple::SourceAddress(IpAddr::V4(tuple.source)),
            IPTuple::DestinationAddress(IpAddr::V4(tuple.destination)),
        ];
        let mut ports = vec![ProtoTuple::Protocol(NetlinkProtocol::from(tuple.protocol.number()))];
        if tuple.protocol == Protocol::Icmp {
            let [kind, code] = tuple.destination_port.to_be_bytes();
            let id = tuple.source_port.to_be_bytes().to_vec();
            ports.extend([
                ProtoTuple::Other(DefaultNla::new(CTA_PROTO_ICMP_ID, id)),
                ProtoTuple::Other(DefaultNla::new(CTA_PROTO_ICMP_TYPE, vec![kind])),
                ProtoTuple::Other(DefaultNla::new(CTA_PROTO_ICMP_CODE, vec![code])),
            ]);
        } else {
            ports.extend([
                ProtoTuple::SourcePort(tuple.source_port),
                ProtoTuple::DestinationPort(tuple.destination_port),
            ]);
        }
        vec![NetlinkTuple::Ip(addresses), NetlinkTuple::Proto(ports)]
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NetlinkMessage, NetlinkPayload, Nla, NlasIterator};
    use netlink_packet_netfilter::conntrack::{
        ConntrackAttribute, ConntrackMessage, ProtoInfo, ProtoInfoTCP, Status, TCPFlags,
    };
    use netlink_packet_netfilter::{
        NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    };

    use super::samples::tuple_attributes;
    use super::*;
    use crate::flows::{Flow, TcpState};

    const FLAGS: u16 = 0x405;

    /// What the netlink crate reads of a request.
    fn read(kind: Kind, attributes: impl FnOnce(&mut Vec<u8>)) -> ConntrackMessage {
        // Not at the beginning of the datagram.
        let mut out = vec![0; 4];
        request(&mut out, kind, FLAGS, 77, attributes);
        let message = NetlinkMessage::<NetfilterMessage>::deserialize(&out[4..]).unwrap();
        assert_eq!(usize::try_from(message.header.length).unwrap(), out.len() - 4);
        assert_eq!((message.header.flags, message.header.sequence_number), (FLAGS, 77));
        let NetlinkPayload::InnerMessage(message) = message.payload else { panic!("{message:?}") };
        assert_eq!(message.header, NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0));
        let NetfilterMessageInner::Conntrack(message) = message.inner else { panic!("{kind:?}") };
        message
    }

    fn entry(protocol: Protocol) -> Entry {
        let [source_port, destination_port] =
            if protocol == Protocol::Icmp { [9, 8 << 8] } else { [4_000, 443] };
        let tuple = Tuple {
            protocol,
            source: [10, 0, 9, 9].into(),
            destination: [192, 0, 2, 1].into(),
            source_port,
            destination_port,
        };
        let side = |window_scale, flags| TcpSide { window_scale, flags };
        let tcp = Tcp { state: TcpState::Established, original: side(7, 0x13), reply: side(9, 1) };
        let flow = Flow {
            tuple,
            translated_port: 1_024,
            seen_reply: true,
            assured: false,
            tcp: (protocol == Protocol::Tcp).then_some(tcp),
            timeout_s: 350,
            mark: 0,
        };
        Entry { landing: [10, 0, 1, 10].into(), flow }
    }

    /// The attributes of an insertion, the translation apart.
    fn inserted(entry: &Entry) -> (Vec<ConntrackAttribute>, Vec<u8>) {
        let message = read(Kind::New, |out| insertion(out, entry));
        let ConntrackMessage::New(mut attributes) = message else { panic!("{message:?}") };
        let ConntrackAttribute::Other(other) = attributes.remove(2) else { panic!() };
        let mut value = vec![0; other.value_len()];
        other.emit_value(&mut value);
        assert_eq!(other.kind() & !NESTED, CTA_NAT_SRC);
        (attributes, value)
    }

    #[test]
    fn an_insertion_has_what_the_netlink_crate_reads() {
        for protocol in [Protocol::Icmp, Protocol::Tcp, Protocol::Udp] {
            let entry = entry(protocol);
            let tuple = entry.flow.tuple;
            let status = Status::from_bits_retain(CONFIRMED | SEEN_REPLY);
            let mut expected = vec![
                ConntrackAttribute::CtaTupleOrig(tuple_attributes(&tuple)),
                ConntrackAttribute::CtaTupleReply(tuple_attributes(&inverse(&tuple))),
                ConntrackAttribute::CtaStatus(status),
                ConntrackAttribute::CtaTimeout(350),
            ];
            if protocol == Protocol::Tcp {
                // Both directions are liberal, and flags that are not kept are left out.
                let flags = |bits: u8| TCPFlags::parse(&[bits, bits]).unwrap();
                expected.push(ConntrackAttribute::CtaProtoInfo(vec![ProtoInfo::TCP(vec![
                    ProtoInfoTCP::State(3),
                    ProtoInfoTCP::OriginalWindowScale(7),
                    ProtoInfoTCP::ReplyWindowScale(9),
                    ProtoInfoTCP::OriginalFlags(flags(0x0b)),
                    ProtoInfoTCP::ReplyFlags(flags(0x09)),
                ])]));
            }
            assert_eq!(inserted(&entry).0, expected);
        }
    }

    #[test]
    fn a_mark_is_inserted_and_a_window_scale_only_if_both_sides_have_one() {
        let mut entry = entry(Protocol::Tcp);
        entry.flow.mark = 0x1234;
        entry.flow.assured = true;
        entry.flow.tcp.as_mut().unwrap().reply.flags = 0;
        let (attributes, _) = inserted(&entry);
        let status = Status::from_bits_retain(CONFIRMED | SEEN_REPLY | ASSURED);
        assert!(attributes.contains(&ConntrackAttribute::CtaStatus(status)));
        assert!(attributes.contains(&ConntrackAttribute::CtaMark(0x1234)));
        let Some(ConntrackAttribute::CtaProtoInfo(parts)) = attributes.last() else { panic!() };
        let [ProtoInfo::TCP(parts)] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!(parts.len(), 3, "{parts:?}");
    }

    #[test]
    fn the_source_is_translated_to_one_address_and_one_port() {
        let (_, value) = inserted(&entry(Protocol::Udp));
        let parts = |value: &[u8]| -> Vec<(u16, Vec<u8>)> {
            let parts = NlasIterator::new(value).map(Result::unwrap);
            parts.map(|part| (part.kind() & !NESTED, part.value().to_vec())).collect()
        };
        let [address, port] = [vec![10, 0, 1, 10], 1_024_u16.to_be_bytes().to_vec()];
        let mut found = parts(&value);
        let (kind, range) = found.pop().unwrap();
        assert_eq!(found, [(CTA_NAT_V4_MINIP, address.clone()), (CTA_NAT_V4_MAXIP, address)]);
        assert_eq!(kind, CTA_NAT_PROTO);
        let expected = [(CTA_PROTONAT_PORT_MIN, port.clone()), (CTA_PROTONAT_PORT_MAX, port)];
        assert_eq!(parts(&range), expected);
    }

    #[test]
    fn a_connection_is_named_by_its_first_tuple() {
        let tuple = entry(Protocol::Tcp).flow.tuple;
        let expected = vec![ConntrackAttribute::CtaTupleOrig(tuple_attributes(&tuple))];
        let get = read(Kind::Get, |out| named(out, &tuple));
        assert_eq!(get, ConntrackMessage::Get(expected.clone()));
        let delete = read(Kind::Delete, |out| named(out, &tuple));
        assert_eq!(delete, ConntrackMessage::Delete(expected));
        assert_eq!(read(Kind::Get, |_| ()), ConntrackMessage::Get(Vec::new()), "all of them");
    }

    #[test]
    fn replies_to_icmp_queries_have_the_type_of_the_reply() {
        for (query, reply) in [(8, 0), (13, 14), (15, 16), (17, 18), (3, 3)] {
            assert_eq!(icmp_reply(query << 8 | 1), reply << 8 | 1);
        }
    }
}
