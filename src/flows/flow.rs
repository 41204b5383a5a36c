//! A connection as the kernel tracks it, and as it is replicated.

use std::net::Ipv4Addr;

use crate::types::EgressId;

/// A protocol whose connections are replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// ICMP queries, such as echo.
    Icmp,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number in the IP header (IANA, Protocol Numbers).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The protocol of this number, if its connections are replicated.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Icmp),
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

/// The addresses and ports of a connection's first packet, as the private host sent it. It
/// identifies the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// The protocol.
    pub protocol: Protocol,
    /// The private host.
    pub source: Ipv4Addr,
    /// The host that it contacted.
    pub destination: Ipv4Addr,
    /// The source port. ICMP: the identifier of the query.
    pub source_port: u16,
    /// The destination port. ICMP: the type of the query × 256 + its code.
    pub destination_port: u16,
}

/// A state of TCP's connection tracking (`enum tcp_conntrack` of
/// `linux/netfilter/nf_conntrack_tcp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcpState {
    /// Not known.
    None,
    /// The first SYN was seen.
    SynSent,
    /// The reply to the SYN was seen.
    SynReceived,
    /// Both sides can send.
    Established,
    /// One side has sent a FIN.
    FinWait,
    /// That FIN was acknowledged. The other side can still send.
    CloseWait,
    /// Both sides have sent a FIN.
    LastAck,
    /// Both FINs were acknowledged.
    TimeWait,
    /// Reset.
    Close,
    /// Both sides have sent a SYN.
    SimultaneousSyn,
}

impl TcpState {
    /// Every state, in the order of the kernel's numbers.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SimultaneousSyn,
    ];

    /// The kernel's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The state with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What the kernel reports of one direction of a TCP connection. It does not report the edges of
/// the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TcpSide {
    /// The window scale (RFC 7323), valid if both sides have [`Self::WINDOW_SCALE`].
    pub window_scale: u8,
    /// `IP_CT_TCP_FLAG_*` of `linux/netfilter/nf_conntrack_tcp.h`, those of [`Self::KEPT`] alone.
    pub flags: u8,
}

impl TcpSide {
    /// This side has sent the window scale option.
    pub const WINDOW_SCALE: u8 = 0x01;
    /// Packets outside of the window are not invalid.
    pub const BE_LIBERAL: u8 = 0x08;
    /// The flags that are replicated: window scale, selective acknowledgements, the side that
    /// closes first, liberal. The others speak of acknowledgements that only the owner's kernel has
    /// seen; with them, an heir's kernel would take resets for invalid.
    pub const KEPT: u8 = 0x0f;
}

/// The TCP part of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tcp {
    /// The state.
    pub state: TcpState,
    /// What the private host sends.
    pub original: TcpSide,
    /// What the other side sends.
    pub reply: TcpSide,
}

/// What two kernels must agree on of a connection, whatever address it is translated to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The first packet before translation.
    pub tuple: Tuple,
    /// The source port after translation. ICMP: the identifier after translation.
    pub translated_port: u16,
    /// Packets were seen in both directions.
    pub seen_reply: bool,
    /// Not removed early when the kernel's table is full.
    pub assured: bool,
    /// TCP only, and none there if the kernel has not reported it.
    pub tcp: Option<Tcp>,
    /// Time in seconds until the kernel forgets the connection if no packet comes.
    pub timeout_s: u32,
    /// The connection's mark.
    pub mark: u32,
}

impl Flow {
    /// Whether the two are equal, the timeout aside.
    #[must_use]
    pub fn is_same_but_for_timeout(&self, other: &Self) -> bool {
        Self { timeout_s: other.timeout_s, ..*self } == *other
    }

    /// What becomes of the connection at the heirs. The reasons are in `docs/connections.md`.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.tcp {
            None if matches!(self.tuple.protocol, Protocol::Tcp) => Stage::Opening,
            None => Stage::Replicated,
            Some(tcp) => match tcp.state {
                TcpState::SynSent | TcpState::SimultaneousSyn => Stage::Opening,
                TcpState::None | TcpState::TimeWait | TcpState::Close => Stage::Ended,
                _ => Stage::Replicated,
            },
        }
    }
}

/// What becomes of a connection at the heirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not sent yet: the other side has not answered, or that is not known.
    Opening,
    /// Sent.
    Replicated,
    /// Removed: nothing more is to be delivered.
    Ended,
}

/// A connection in one node's kernel, translated to one of that node's landing addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The source address after translation.
    pub landing: Ipv4Addr,
    /// The rest.
    pub flow: Flow,
}

/// The bytes of a connection, IP headers included, as the kernel counts them before translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Usage {
    /// By the private host.
    pub sent: u64,
    /// By the other side.
    pub received: u64,
}

/// A connection as it is sent: with the egress IP instead of the owner's landing address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// The egress IP of the connection.
    pub egress: EgressId,
    /// The rest.
    pub flow: Flow,
}

/// News of connection tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A connection is new or has changed.
    Seen(Entry),
    /// A connection was removed.
    Gone(Tuple),
    /// The kernel had no room for some news. Only a dump shows what has changed.
    Overrun,
}

/// What became of an insertion into the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Inserted {
    /// It is in the table now.
    New,
    /// The same connection was in the table already.
    Exists,
    /// Another connection uses the translated port, or the same source and destination.
    PortTaken,
    /// The kernel's table is full.
    TableFull,
    /// Any other error.
    Other,
}
