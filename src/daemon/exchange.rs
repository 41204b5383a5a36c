//! The exchange with the peers: sockets, packets and sessions put together.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::icmp::EchoMark;
use super::sockets::{Datagram, PeerSocket};
use crate::failover::Input;
use crate::status::PeerCounters;
use crate::types::{Beat, InstanceId, Roster, SessionId, Time};
use crate::wire::{Rejected, Sender, Sessions};

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
    me: InstanceId,
    address: Ipv4Addr,
    port: u16,
    sender: Sender,
    sessions: Sessions,
    addresses: BTreeMap<InstanceId, Ipv4Addr>,
    beats: PeerSocket,
    echoes: Option<PeerSocket>,
    mark: EchoMark,
    echo_sequence: u16,
    counters: PeerCounters,
    /// Since when the kernel has refused every heartbeat, for want of the address to send it from.
    severed_since: Option<Time>,
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
            sessions: Sessions::new(parts.me.clone(), parts.session),
            me: parts.me,
            address: parts.address,
            port: parts.port,
            sender: parts.sender,
            addresses: BTreeMap::new(),
            beats,
            echoes,
            mark: EchoMark::new(parts.session.0),
            echo_sequence: 0,
            counters: PeerCounters::default(),
            severed_since: None,
        };
        Ok((exchange, echo_fault))
    }

    /// Takes over who the peers are and where.
    pub(super) fn set_roster(&mut self, roster: &Roster) {
        let peers = roster.members.iter().filter(|member| member.id != self.me);
        self.addresses = peers.map(|member| (member.id.clone(), member.address)).collect();
        self.sessions.retain(|id| self.addresses.contains_key(id));
    }

    /// Sends a heartbeat.
    pub(super) fn send_beat(&mut self, to: &InstanceId, mut beat: Beat, now: Time) {
        let Some(address) = self.addresses.get(to) else { return };
        self.sessions.acknowledge(to, &mut beat, now);
        let packet = self.sender.encode(&beat);
        if packet.claims_omitted > 0 {
            self.counters.claims_omitted += 1;
        }
        if self.beats.send(&packet.bytes, SocketAddrV4::new(*address, self.port)).is_ok() {
            self.counters.beats_sent += 1;
            self.severed_since = None;
            return;
        }
        self.counters.send_failures += 1;
        if is_gone(self.address) {
            self.severed_since = self.severed_since.or(Some(now));
        }
    }

    /// Since when this node's address, or its interface, has been gone, if it is.
    pub(super) fn severed_since(&self) -> Option<Time> {
        self.severed_since
    }

    /// Sends an ICMP echo request.
    pub(super) fn send_echo(&mut self, to: &InstanceId) {
        let (Some(address), Some(socket)) = (self.addresses.get(to), &self.echoes) else { return };
        self.echo_sequence = self.echo_sequence.wrapping_add(1);
        let request = self.mark.request(self.echo_sequence);
        match socket.send(&request, SocketAddrV4::new(*address, 0)) {
            Ok(()) => self.counters.echoes_sent += 1,
            Err(_) => self.counters.send_failures += 1,
        }
    }

    /// Everything that has arrived, oldest first within each socket.
    pub(super) fn receive(&mut self, now: Time) -> Vec<Input> {
        let Self { me, beats, echoes, sender, sessions, addresses, mark, counters, .. } = self;
        let mut inputs = Vec::new();
        beats.drain(now, |datagram| match admit(me, sender, sessions, addresses, &datagram) {
            Ok(input) => {
                counters.beats_received += 1;
                inputs.push(input);
            }
            Err(reason) => counters.count_rejected(reason.name()),
        });
        if let Some(socket) = echoes {
            socket.drain(now, |datagram| {
                let peer = addresses.iter().find(|(_, address)| *address == datagram.from.ip());
                if let Some((from, _)) = peer.filter(|_| mark.is_reply(datagram.bytes)) {
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

/// Whether none of this host's interfaces that are up has this address. Why the kernel refused to
/// send does not tell: that error is the same where there is no route to the peer.
fn is_gone(address: Ipv4Addr) -> bool {
    let Ok(mut all) = getifaddrs() else { return false };
    !all.any(|one| {
        let its = one.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in);
        one.flags.contains(InterfaceFlags::IFF_UP) && its.is_some_and(|its| its.ip() == address)
    })
}

/// Judges one datagram.
fn admit(
    me: &InstanceId,
    sender: &Sender,
    sessions: &mut Sessions,
    addresses: &BTreeMap<InstanceId, Ipv4Addr>,
    datagram: &Datagram<'_>,
) -> Result<Input, Rejected> {
    let mut packet = sender.decode(datagram.bytes)?;
    let member = addresses.get(&packet.from);
    if !sender.authenticates() && member.is_some_and(|address| address != datagram.from.ip()) {
        return Err(Rejected::WrongAddress);
    }
    if packet.from == *me {
        return Err(Rejected::Myself);
    }
    if member.is_none() {
        return Err(Rejected::UnknownSender);
    }
    sessions.accept(&mut packet, datagram.at)?;
    let (from, session, beat) = (packet.from, packet.session, packet.beat);
    Ok(Input::Beat { from, session, beat, at: datagram.at })
}
