//! Probes that go the way of a private host's packets: in by an interface, through every rule, out
//! of the uplink with a translated source address, and back.
//!
//! Each probe is a connection of its own to the kernel, as a private host's new connection is. So a
//! full connection table stops it, and no earlier entry lets it pass.

use std::net::{Ipv4Addr, SocketAddr};

use etherparse::err::packet::BuildWriteError;
use etherparse::{
    Icmpv4Type, IpHeaders, NetSlice, PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice,
};

use super::own::Answered;
use crate::config::Probe;
use crate::kernel::tun::TransitLink;

/// The TTL of the probes: the Linux default.
const TTL: u8 = 64;
/// The first local port of the TCP probes, and how many there are.
const PORTS: (u16, u16) = (32_768, 28_000);
/// The window that TCP probes announce, in bytes. Nothing is ever sent to it.
const WINDOW: u16 = 64_240;

/// Sends probes through the interface `natha0`.
#[derive(Debug)]
pub(super) struct TransitProbes {
    link: TransitLink,
    maker: ProbeMaker,
}

impl TransitProbes {
    pub(super) fn new(link: TransitLink, targets: Vec<Probe>, token: u64) -> Self {
        let source = link.source();
        Self { link, maker: ProbeMaker { targets, source, token, round: 0 } }
    }

    /// Whether the interface is as it was made.
    pub(super) fn is_intact(&self) -> bool {
        self.link.is_intact()
    }

    /// Sends the round with this number: to all targets, or only to those that are asked by ICMP.
    pub(super) fn ask(&mut self, round: u16, all: bool) {
        for packet in self.maker.round(round, all) {
            self.link.send(&packet);
        }
    }

    /// The replies since the last call.
    pub(super) fn answered(&mut self) -> Answered {
        let mut answered = Answered::default();
        let mut ends = Vec::new();
        while let Some(packet) = self.link.next() {
            match self.maker.read(packet) {
                Some(Reply::Echo { round }) => answered.icmp = Some(round),
                Some(Reply::Tcp { round, end }) => {
                    answered.tcp = Some(round);
                    ends.extend(end);
                }
                None => {}
            }
        }
        for end in ends {
            self.link.send(&end);
        }
        answered
    }
}

/// A reply to a probe.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Echo {
        round: u16,
    },
    /// The target accepts or refuses the connection. `end`: the packet that ends an accepted one.
    Tcp {
        round: u16,
        end: Option<Vec<u8>>,
    },
}

/// Makes probes and recognises replies to them.
#[derive(Debug)]
struct ProbeMaker {
    targets: Vec<Probe>,
    source: Ipv4Addr,
    /// Random; in the payload of echo requests and the sequence number of connections.
    token: u64,
    /// The last round.
    round: u16,
}

impl ProbeMaker {
    fn round(&mut self, round: u16, all: bool) -> Vec<Vec<u8>> {
        self.round = round;
        self.targets
            .iter()
            .filter_map(|target| match target {
                Probe::Icmp(to) => Some(self.echo(*to)),
                Probe::Tcp(SocketAddr::V4(to)) if all => Some(self.syn(*to.ip(), to.port())),
                Probe::Tcp(_) => None,
            })
            .collect()
    }

    /// An echo request. Its identifier is of this round, so that the kernel tracks it anew.
    fn echo(&self, to: Ipv4Addr) -> Vec<u8> {
        let builder = self.header(to).icmpv4_echo_request(self.round, self.round);
        let payload = self.token.to_be_bytes();
        written(builder.size(payload.len()), |packet| builder.write(packet, &payload))
    }

    /// The first packet of a TCP connection from a port of this round.
    fn syn(&self, to: Ipv4Addr, port: u16) -> Vec<u8> {
        let builder = self.header(to).tcp(self.port(), port, self.first_sequence(), WINDOW).syn();
        written(builder.size(0), |packet| builder.write(packet, &[]))
    }

    fn port(&self) -> u16 {
        PORTS.0 + self.round % PORTS.1
    }

    /// The last round that used this local port.
    fn round_of(&self, port: u16) -> u16 {
        let later = (i32::from(self.port()) - i32::from(port)).rem_euclid(i32::from(PORTS.1));
        self.round.wrapping_sub(u16::try_from(later).unwrap_or(u16::MAX))
    }

    fn first_sequence(&self) -> u32 {
        let [.., a, b, c, d] = self.token.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// What a packet from the internet says, if it replies to a probe of this run.
    fn read(&self, packet: &[u8]) -> Option<Reply> {
        let packet = SlicedPacket::from_ip(packet).ok()?;
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { return None };
        let from = ip.header().source_addr();
        match packet.transport? {
            TransportSlice::Icmpv4(icmp) => {
                let Icmpv4Type::EchoReply(header) = icmp.icmp_type() else { return None };
                let is_reply = self.targets.contains(&Probe::Icmp(from))
                    && icmp.payload() == self.token.to_be_bytes();
                is_reply.then_some(Reply::Echo { round: header.seq })
            }
            TransportSlice::Tcp(tcp) => {
                let asked = Probe::Tcp(SocketAddr::from((from, tcp.source_port())));
                let acknowledged = self.first_sequence().wrapping_add(1);
                let is_reply = self.targets.contains(&asked)
                    && tcp.ack()
                    && tcp.acknowledgment_number() == acknowledged
                    && (tcp.syn() || tcp.rst());
                is_reply.then(|| Reply::Tcp {
                    round: self.round_of(tcp.destination_port()),
                    end: tcp
                        .syn()
                        .then(|| self.reset(from, tcp.source_port(), tcp.destination_port())),
                })
            }
            _ => None,
        }
    }

    /// Ends a connection that a target has accepted.
    fn reset(&self, to: Ipv4Addr, port: u16, own_port: u16) -> Vec<u8> {
        let sequence = self.first_sequence().wrapping_add(1);
        let builder = self.header(to).tcp(own_port, port, sequence, 0).rst();
        written(builder.size(0), |packet| builder.write(packet, &[]))
    }

    /// The header of every packet to `to`.
    fn header(&self, to: Ipv4Addr) -> PacketBuilderStep<IpHeaders> {
        PacketBuilder::ipv4(self.source.octets(), to.octets(), TTL)
    }
}

/// The packet of `size` bytes that `write` writes.
fn written(
    size: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), BuildWriteError>,
) -> Vec<u8> {
    let mut packet = Vec::with_capacity(size);
    // Memory takes every write, and a packet of this size always fits an IPv4 header.
    let _ = write(&mut packet);
    packet
}

#[cfg(test)]
#[path = "transit_tests.rs"]
mod tests;
