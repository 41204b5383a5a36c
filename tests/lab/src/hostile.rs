//! Packets that nobody should send: any datagram, as often as asked or as fast as it goes, from
//! this host's address or from another's.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

/// The pause between two packets that are sent once each, so that none is lost on the way.
const PAUSE: Duration = Duration::from_millis(2);
/// How often a flood looks at the clock, in packets.
const ROUND: usize = 64;
/// The size of an IPv4 header without options, and of a UDP header.
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// What to send.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Where to.
    pub to: Ipv4Addr,
    /// In which protocol.
    pub kind: Kind,
    /// An address to claim to be, in place of this host's own.
    pub claim: Option<Ipv4Addr>,
    /// The packets' contents, in hexadecimal digits: of the datagram, or the ICMP message.
    pub contents: Vec<String>,
    /// How long to send them over and over, in milliseconds; 0 sends each once.
    pub flood_ms: u64,
    /// How many a second to send at most meanwhile; 0 is as many as go.
    pub per_second: u32,
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// UDP, between these ports.
    Udp {
        /// From this one; 0 is any.
        from: u16,
        /// To this one.
        to: u16,
    },
    /// ICMP.
    Icmp,
}

/// What was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sent {
    /// Packets.
    pub packets: u64,
    /// In this time, in milliseconds.
    pub took_ms: u64,
    /// With so much of a processor's time, in milliseconds: the sending, the way through the
    /// network of namespaces, and the delivery into the receiver's queue.
    pub cpu_ms: u64,
}

impl Order {
    /// Sends it all from the network that this process is in.
    ///
    /// # Errors
    /// When the contents are no hexadecimal digits, or a socket cannot be opened.
    pub fn carry_out(&self) -> Result<Sent> {
        let contents: Option<Vec<Vec<u8>>> = self.contents.iter().map(|text| bytes(text)).collect();
        let contents = contents.context("contents that are no hexadecimal digits")?;
        if contents.is_empty() {
            bail!("there is nothing to send");
        }
        let packets: Vec<Vec<u8>> = contents.iter().map(|one| self.packet(one)).collect();
        let socket = self.socket()?;
        let (began, end) = (Instant::now(), Duration::from_millis(self.flood_ms));
        let (used, mut sent) = (cpu()?, 0);
        if self.flood_ms == 0 {
            for packet in &packets {
                sent += send(&socket, packet)?;
                std::thread::sleep(PAUSE);
            }
        }
        let round = ROUND.max(packets.len());
        for rounds in 1.. {
            if began.elapsed() >= end {
                break;
            }
            for packet in packets.iter().cycle().take(round) {
                sent += send(&socket, packet)?;
            }
            std::thread::sleep(self.due(rounds * round).saturating_sub(began.elapsed()));
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (took_ms, cpu_ms) = (millis(began.elapsed()), millis(cpu()?.saturating_sub(used)));
        Ok(Sent { packets: sent, took_ms, cpu_ms })
    }

    /// How long after the beginning of a flood so many packets may have been sent.
    fn due(&self, packets: usize) -> Duration {
        let packets = u64::try_from(packets).unwrap_or(u64::MAX);
        Duration::from_secs(packets).checked_div(self.per_second).unwrap_or_default()
    }

    fn socket(&self) -> Result<Socket> {
        let open = |kind, protocol| {
            Socket::new(Domain::IPV4, kind, Some(protocol)).context("cannot open a socket")
        };
        let port = match self.kind {
            Kind::Udp { to, .. } => to,
            Kind::Icmp => 0,
        };
        let socket = match (self.claim, self.kind) {
            (Some(_), _) => {
                let socket = open(Type::RAW, Protocol::from(nix::libc::IPPROTO_RAW))?;
                socket.set_header_included_v4(true)?;
                socket
            }
            (None, Kind::Udp { from, .. }) => {
                let socket = open(Type::DGRAM, Protocol::UDP)?;
                socket.set_reuse_port(true)?;
                socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, from).into())?;
                socket
            }
            (None, Kind::Icmp) => open(Type::RAW, Protocol::ICMPV4)?,
        };
        let to = SocketAddrV4::new(self.to, port);
        socket.connect(&to.into()).with_context(|| format!("cannot reach {to}"))?;
        Ok(socket)
    }

    /// The packet as the socket wants it: with headers where a claimed address needs them.
    fn packet(&self, content: &[u8]) -> Vec<u8> {
        let mut inner = Vec::new();
        if let (Some(_), Kind::Udp { from, to }) = (self.claim, self.kind) {
            inner.extend(from.to_be_bytes());
            inner.extend(to.to_be_bytes());
            let length = u16::try_from(UDP_HEADER + content.len()).unwrap_or(u16::MAX);
            inner.extend(length.to_be_bytes());
            // No checksum, as RFC 768 allows.
            inner.extend([0, 0]);
        }
        inner.extend(content);
        if self.kind == Kind::Icmp {
            seal(&mut inner);
        }
        let Some(claim) = self.claim else { return inner };
        let protocol = if self.kind == Kind::Icmp { 1 } else { 17 };
        let length = u16::try_from(IP_HEADER + inner.len()).unwrap_or(u16::MAX).to_be_bytes();
        let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0];
        // The kernel fills in the header's checksum (raw(7)).
        packet.extend(claim.octets());
        packet.extend(self.to.octets());
        packet.extend(inner);
        packet
    }
}

/// The processor's time that this process has used.
fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("cannot tell the time used")?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}

/// Sends one packet; one that finds no room, or whose answer is an ICMP error, does not count.
fn send(socket: &Socket, packet: &[u8]) -> Result<u64> {
    match socket.send(packet) {
        Ok(_) => Ok(1),
        Err(problem) if problem.kind() == ErrorKind::ConnectionRefused => Ok(0),
        Err(problem) if problem.raw_os_error() == Some(nix::libc::ENOBUFS) => Ok(0),
        Err(problem) => Err(problem).context("cannot send"),
    }
}

/// Sets the checksum (RFC 1071) of an ICMP message that has room for one.
fn seal(message: &mut [u8]) {
    if message.len() < 4 {
        return;
    }
    message[2..4].fill(0);
    let mut sum: u32 = message
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap_or(0);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn digits(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Records the next datagrams from one address to one UDP port of this host: their contents, as
/// hexadecimal digits.
///
/// # Errors
/// When no raw socket can be opened, or they do not come within ten seconds.
pub fn overhear(from: Ipv4Addr, port: u16, count: usize) -> Result<Vec<String>> {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))
        .context("cannot open a raw socket")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut recorded = Vec::new();
    let mut buffer = [0; 2048];
    while recorded.len() < count {
        let length = socket.read(&mut buffer).with_context(|| format!("nothing from {from}"))?;
        recorded.extend(content(&buffer[..length], from, port).map(digits));
    }
    Ok(recorded)
}

/// The content of an IPv4 packet that is a datagram from this address to this port.
fn content(packet: &[u8], from: Ipv4Addr, port: u16) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let is_it = packet.get(12..16)? == from.octets()
        && packet.get(header + 2..header + 4)? == port.to_be_bytes();
    packet.get(header + UDP_HEADER..).filter(|_| is_it)
}
