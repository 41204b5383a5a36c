//! The messages of a stream, as bytes. The format is in the module
//! documentation of [`crate::flows`].

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use super::fault::StreamFault;
use super::flow::{Flow, Protocol, Record, Tcp, TcpSide, TcpState, Tuple};
use super::refusal::Refusal;
use crate::types::{EgressId, InstanceId, Time};
use crate::wire::Reader;

/// Most records or removals in one frame.
pub(super) const MAX_ITEMS: usize = 256;
/// The longest record: of a TCP connection.
pub(super) const RECORD_LEN: usize = EgressId::LEN + TUPLE_LEN + 2 + 1 + 4 + 4 + TCP_LEN;
/// A tuple.
pub(super) const TUPLE_LEN: usize = 14;
const TCP_LEN: usize = 5;

const VERSION: u8 = 1;
const MAGIC: [u8; 4] = *b"NTHF";
const FAMILY_IPV4: u8 = 4;
const SEEN_REPLY: u8 = 1;
const ASSURED: u8 = 2;
const HAS_TCP: u8 = 4;

const HELLO: u8 = 1;
const REFUSED: u8 = 2;
const RESYNC_BEGIN: u8 = 3;
const RECORDS: u8 = 4;
const REMOVALS: u8 = 5;
const RESYNC_END: u8 = 6;
const POSITION: u8 = 7;
const ACK: u8 = 8;

/// Which end of a stream a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Has the egress IPs, and sends.
    Owner,
    /// Keeps the replica.
    Heir,
}

impl Role {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Owner => 1,
            Self::Heir => 2,
        }
    }

    /// The role of the other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Owner => Self::Heir,
            Self::Heir => Self::Owner,
        }
    }
}

/// One boot of a host, as its kernel names it (`/proc/sys/kernel/random/boot_id`, random(4)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 16]);

/// A text that is not a boot id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's boot id has the form 01234567-89ab-cdef-0123-456789abcdef")]
pub struct BootIdError;

impl FromStr for BootId {
    type Err = BootIdError;

    fn from_str(text: &str) -> Result<Self, BootIdError> {
        let digits = text.trim().replace('-', "");
        let is_valid = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u128::from_str_radix(&digits, 16).ok().filter(|_| is_valid);
        value.map(|value| Self(value.to_be_bytes())).ok_or(BootIdError)
    }
}

/// A random number that each end chooses for each stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; Self::LEN]);

impl Nonce {
    /// Its length in bytes.
    pub const LEN: usize = 16;
}

/// The first message of each end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What its sender is.
    pub role: Role,
    /// Its sender.
    pub node: InstanceId,
    /// When its sender's host booted.
    pub boot: BootId,
    /// The cluster's name, see [`crate::wire::cluster_digest`].
    pub cluster: u64,
    /// Digest of the settings that all members share.
    pub settings: u64,
    /// Part of each later tag.
    pub nonce: Nonce,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// See [`Hello`]. Each end sends it once, first.
    Hello(Hello),
    /// The sender closes the stream.
    Refused(Refusal),
    /// From the owner: all its connections follow.
    ResyncBegin {
        /// How many there are at the moment.
        count: u32,
    },
    /// From the owner: connections, new or changed.
    Records {
        /// When the oldest of these changes happened, by the owner's clock.
        oldest: Time,
        /// At most 256.
        records: Vec<Record>,
    },
    /// From the owner: connections that are no more.
    Removals {
        /// When the oldest of these changes happened, by the owner's clock.
        oldest: Time,
        /// At most 256.
        tuples: Vec<Tuple>,
    },
    /// From the owner: what was not repeated since the beginning is no more.
    ResyncEnd {
        /// How many records were sent since the beginning.
        records: u32,
        /// How many removals were sent since the beginning.
        removals: u32,
    },
    /// From the owner: nothing else was to be sent.
    Position {
        /// When it was sent, by the owner's clock.
        oldest: Time,
    },
    /// From the heir: everything up to a frame of the owner has been taken in.
    Ack {
        /// The frame's sequence number.
        sequence: u64,
        /// What the frame says as `oldest`.
        oldest: Time,
        /// How many connections of the owner the heir holds now.
        held: u32,
    },
}

impl Message {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Refused(_) => REFUSED,
            Self::ResyncBegin { .. } => RESYNC_BEGIN,
            Self::Records { .. } => RECORDS,
            Self::Removals { .. } => REMOVALS,
            Self::ResyncEnd { .. } => RESYNC_END,
            Self::Position { .. } => POSITION,
            Self::Ack { .. } => ACK,
        }
    }

    /// Appends the body.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => put_hello(out, hello),
            Self::Refused(reason) => out.push(reason.number()),
            Self::ResyncBegin { count } => out.extend(count.to_be_bytes()),
            Self::Records { oldest, records } => {
                put_count(out, *oldest, records.len());
                records.iter().take(MAX_ITEMS).for_each(|record| put_record(out, record));
            }
            Self::Removals { oldest, tuples } => {
                put_count(out, *oldest, tuples.len());
                tuples.iter().take(MAX_ITEMS).for_each(|tuple| put_tuple(out, tuple));
            }
            Self::ResyncEnd { records, removals } => {
                out.extend(records.to_be_bytes());
                out.extend(removals.to_be_bytes());
            }
            Self::Position { oldest } => put_time(out, *oldest),
            Self::Ack { sequence, oldest, held } => {
                out.extend(sequence.to_be_bytes());
                put_time(out, *oldest);
                out.extend(held.to_be_bytes());
            }
        }
    }

    /// Decodes a body.
    pub(super) fn decode(kind: u8, body: &[u8]) -> Result<Self, StreamFault> {
        let mut body = Reader(body);
        let message = match kind {
            HELLO => Self::Hello(hello(&mut body)?),
            REFUSED => {
                let reason = Refusal::from_number(body.byte()?);
                Self::Refused(reason.ok_or(StreamFault::Malformed)?)
            }
            RESYNC_BEGIN => Self::ResyncBegin { count: body.u32()? },
            RECORDS => {
                let (oldest, count) = counted(&mut body)?;
                let records = (0..count).map(|_| record(&mut body)).collect::<Result<_, _>>()?;
                Self::Records { oldest, records }
            }
            REMOVALS => {
                let (oldest, count) = counted(&mut body)?;
                let tuples = (0..count).map(|_| tuple(&mut body)).collect::<Result<_, _>>()?;
                Self::Removals { oldest, tuples }
            }
            RESYNC_END => Self::ResyncEnd { records: body.u32()?, removals: body.u32()? },
            POSITION => Self::Position { oldest: time(&mut body)? },
            ACK => {
                let sequence = body.u64()?;
                Self::Ack { sequence, oldest: time(&mut body)?, held: body.u32()? }
            }
            _ => return Err(StreamFault::Malformed),
        };
        if body.0.is_empty() { Ok(message) } else { Err(StreamFault::Malformed) }
    }
}

fn put_hello(out: &mut Vec<u8>, hello: &Hello) {
    out.extend(MAGIC);
    out.push(VERSION);
    out.push(hello.role.number());
    out.extend(hello.cluster.to_be_bytes());
    out.extend(hello.settings.to_be_bytes());
    out.extend(hello.boot.0);
    out.extend(hello.nonce.0);
    let node = hello.node.as_str().as_bytes();
    out.push(u8::try_from(node.len()).unwrap_or_default());
    out.extend(node);
}

fn hello(body: &mut Reader<'_>) -> Result<Hello, StreamFault> {
    if body.array()? != MAGIC {
        return Err(StreamFault::NotNatha);
    }
    if body.byte()? != VERSION {
        return Err(StreamFault::Refused(Refusal::Version));
    }
    let role = match body.byte()? {
        1 => Role::Owner,
        2 => Role::Heir,
        _ => return Err(StreamFault::Malformed),
    };
    let (cluster, settings) = (body.u64()?, body.u64()?);
    let (boot, nonce) = (BootId(body.array()?), Nonce(body.array()?));
    let length = usize::from(body.byte()?);
    let node = str::from_utf8(body.take(length)?).map_err(|_| StreamFault::Malformed)?;
    let node = node.parse().map_err(|_| StreamFault::Malformed)?;
    Ok(Hello { role, node, boot, cluster, settings, nonce })
}

fn put_time(out: &mut Vec<u8>, time: Time) {
    let micros = u64::try_from(time.since_boot().as_micros()).unwrap_or(u64::MAX);
    out.extend(micros.to_be_bytes());
}

fn time(body: &mut Reader<'_>) -> Result<Time, StreamFault> {
    Ok(Time::from_boot(Duration::from_micros(body.u64()?)))
}

fn put_count(out: &mut Vec<u8>, oldest: Time, count: usize) {
    put_time(out, oldest);
    out.extend(u16::try_from(count.min(MAX_ITEMS)).unwrap_or_default().to_be_bytes());
}

fn counted(body: &mut Reader<'_>) -> Result<(Time, usize), StreamFault> {
    let oldest = time(body)?;
    let count = usize::from(body.u16()?);
    if count > MAX_ITEMS { Err(StreamFault::Malformed) } else { Ok((oldest, count)) }
}

fn put_tuple(out: &mut Vec<u8>, tuple: &Tuple) {
    out.push(FAMILY_IPV4);
    out.push(tuple.protocol.number());
    out.extend(tuple.source.octets());
    out.extend(tuple.destination.octets());
    out.extend(tuple.source_port.to_be_bytes());
    out.extend(tuple.destination_port.to_be_bytes());
}

fn tuple(body: &mut Reader<'_>) -> Result<Tuple, StreamFault> {
    if body.byte()? != FAMILY_IPV4 {
        return Err(StreamFault::Malformed);
    }
    let protocol = Protocol::from_number(body.byte()?).ok_or(StreamFault::Malformed)?;
    Ok(Tuple {
        protocol,
        source: Ipv4Addr::from(body.array::<4>()?),
        destination: Ipv4Addr::from(body.array::<4>()?),
        source_port: body.u16()?,
        destination_port: body.u16()?,
    })
}

fn put_record(out: &mut Vec<u8>, record: &Record) {
    let flow = &record.flow;
    put_tuple(out, &flow.tuple);
    out.extend(record.egress.as_bytes());
    out.extend(flow.translated_port.to_be_bytes());
    let seen_reply = if flow.seen_reply { SEEN_REPLY } else { 0 };
    let assured = if flow.assured { ASSURED } else { 0 };
    let has_tcp = if flow.tcp.is_some() { HAS_TCP } else { 0 };
    out.push(seen_reply + assured + has_tcp);
    out.extend(flow.timeout_s.to_be_bytes());
    out.extend(flow.mark.to_be_bytes());
    if let Some(Tcp { state, original, reply }) = flow.tcp {
        out.extend([state.number(), original.window_scale, reply.window_scale]);
        out.extend([original.flags, reply.flags]);
    }
}

fn record(body: &mut Reader<'_>) -> Result<Record, StreamFault> {
    let tuple = tuple(body)?;
    let egress = EgressId::from_bytes(body.array()?).ok_or(StreamFault::Malformed)?;
    let translated_port = body.u16()?;
    let flags = body.byte()?;
    let has_tcp = flags & HAS_TCP != 0;
    if flags & !(SEEN_REPLY + ASSURED + HAS_TCP) != 0
        || has_tcp != (tuple.protocol == Protocol::Tcp)
    {
        return Err(StreamFault::Malformed);
    }
    let flow = Flow {
        tuple,
        translated_port,
        seen_reply: flags & SEEN_REPLY != 0,
        assured: flags & ASSURED != 0,
        timeout_s: body.u32()?,
        mark: body.u32()?,
        tcp: if has_tcp { Some(tcp(body)?) } else { None },
    };
    Ok(Record { egress, flow })
}

fn tcp(body: &mut Reader<'_>) -> Result<Tcp, StreamFault> {
    let [state, original_scale, reply_scale, original_flags, reply_flags] = body.array()?;
    let state = TcpState::from_number(state).ok_or(StreamFault::Malformed)?;
    let side = |window_scale, flags| TcpSide { window_scale, flags };
    Ok(Tcp {
        state,
        original: side(original_scale, original_flags),
        reply: side(reply_scale, reply_flags),
    })
}
