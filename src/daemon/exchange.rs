//! The exchange with the peers: sockets, packets and sessions put together.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use super::icmp::EchoMark;
use super::sockets::PeerSocket;
use crate::failover::Input;
use crate::status::PeerCounters;
use crate::types::{Beat, InstanceId, Roster, SessionId, Time};
use crate::wire::{Door, Packet, Sender};

/// What an exchange is made of.
#[derive(Debug)]
pub(super) struct ExchangeParts {
    /// This node.
    pub(super) me: InstanceId,
    /// The address to bind: where heartbeats leave from and arrive.
    pub(super) address: Ipv4Addr,
    /// UDP port, the same on all members.
    pub(super) port: u16,
    /// This run's session.
    pub(super) session: SessionId,
    /// Encoder and decoder.
    pub(super) sender: Sender,
}

/// Sends to and hears from the peers.
#[derive(Debug)]
pub(super) struct Exchange {
    port: u16,
    door: Door,
    beats: PeerSocket,
    echoes: Option<PeerSocket>,
    mark: EchoMark,
    echo_sequence: u16,
    counters: PeerCounters,
}

impl Exchange {
    /// Opens the sockets. Without the right to raw sockets there is no echo, which the second
    /// value tells; the heartbeats then decide alone.
    ///
    /// # Errors
    /// Where the heartbeat socket cannot be bound.
    pub(super) fn open(parts: ExchangeParts, now: Time) -> io::Result<(Self, Option<io::Error>)> {
        let address = SocketAddrV4::new(parts.address, parts.port);
        let beats = PeerSocket::heartbeat(address, now)?;
        let (echoes, echo_fault) = match PeerSocket::echo(parts.address, None, now) {
            Ok(socket) => (Some(socket), None),
            Err(error) => (None, Some(error)),
        };
        let exchange = Self {
            port: parts.port,
            door: Door::new(parts.me, parts.sender),
            beats,
            echoes,
            mark: EchoMark::new(parts.session.0),
            echo_sequence: 0,
            counters: PeerCounters::default(),
        };
        Ok((exchange, echo_fault))
    }

    /// Takes over who the peers are and where.
    pub(super) fn set_roster(&mut self, roster: &Roster) {
        let members = roster.members.iter();
        self.door.set_members(members.map(|member| (member.id.clone(), member.address)));
    }

    /// Sends a heartbeat.
    pub(super) fn send_beat(&mut self, to: &InstanceId, beat: Beat, now: Time) {
        let Some((packet, address)) = self.door.next_packet(to, beat, now) else { return };
        if packet.claims_omitted > 0 {
            self.counters.claims_omitted += 1;
        }
        match self.beats.send(&packet.bytes, SocketAddrV4::new(address, self.port)) {
            Ok(()) => self.counters.beats_sent += 1,
            Err(_) => self.counters.send_failures += 1,
        }
    }

    /// Sends an ICMP echo request.
    pub(super) fn send_echo(&mut self, to: &InstanceId) {
        let (Some(address), Some(socket)) = (self.door.address(to), &self.echoes) else { return };
        self.echo_sequence = self.echo_sequence.wrapping_add(1);
        let request = self.mark.request(self.echo_sequence);
        match socket.send(&request, SocketAddrV4::new(address, 0)) {
            Ok(()) => self.counters.echoes_sent += 1,
            Err(_) => self.counters.send_failures += 1,
        }
    }

    /// Everything that has arrived, oldest first within each socket.
    pub(super) fn receive(&mut self, now: Time) -> Vec<Input> {
        let Self { beats, echoes, door, mark, counters, .. } = self;
        let mut inputs = Vec::new();
        beats.drain(now, |datagram| {
            match door.admit(datagram.bytes, *datagram.from.ip(), datagram.at) {
                Ok(Packet { from, session, beat, .. }) => {
                    counters.beats_received += 1;
                    inputs.push(Input::Beat { from, session, beat, at: datagram.at });
                }
                Err(reason) => counters.count_rejected(reason.name()),
            }
        });
        if let Some(socket) = echoes {
            socket.drain(now, |datagram| {
                let peer = door.peer_at(*datagram.from.ip());
                if let Some(from) = peer.filter(|_| mark.is_reply(datagram.bytes)) {
                    counters.echoes_received += 1;
                    inputs.push(Input::Echo { from: from.clone(), at: datagram.at });
                }
            });
        }
        inputs
    }

    /// What was counted so far.
    pub(super) fn counters(&self) -> &PeerCounters {
        &self.counters
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(self.beats.as_fd()), self.echoes.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    }
}
