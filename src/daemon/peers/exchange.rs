//! Exchanges heartbeats and echoes with the peers: sockets, packets and sessions together.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::types::{Beat, InstanceId, Member, ProgramVersion, SessionId, Time};
use crate::wire::{Packet, PacketGate, Sender};

/// Datagrams read in one turn from each peer's socket and from the echo socket. Far more than a
/// peer sends, so that everything that had arrived when the turn began is read before a peer is
/// judged.
const MAX_DRAIN: usize = 1024;

/// Datagrams from strangers read in one turn: enough for the counters to show what they are.
const MAX_STRANGERS: usize = 256;

/// The counter for datagrams that the kernel dropped for want of room.
const UNREAD: &str = "unread";

#[derive(Debug)]
pub(crate) struct ExchangeParts {
    pub(crate) me: InstanceId,
    /// The address to bind: where heartbeats leave from and arrive.
    pub(crate) address: Ipv4Addr,
    /// UDP port, the same on all members.
    pub(crate) port: u16,
    pub(crate) session: SessionId,
    pub(crate) sender: Sender,
}

/// Sends to and receives from the peers.
#[derive(Debug)]
pub(crate) struct Exchange {
    address: SocketAddrV4,
    gate: PacketGate,
    /// The members that were set last.
    members: BTreeMap<InstanceId, Ipv4Addr>,
    /// Sends to all peers, receives from strangers.
    strangers: PeerSocket,
    /// Each receives from one peer.
    peers: BTreeMap<Ipv4Addr, PeerSocket>,
    echoes: Option<PeerSocket>,
    mark: EchoMark,
    echo_sequence: u16,
    counters: PeerCounters,
    /// The version in each peer's last heartbeat, if it has one.
    versions: BTreeMap<InstanceId, ProgramVersion>,
    /// Whether a packet in a peer's name was rejected in the last turn.
    disturbed: bool,
    /// Since when the kernel has refused every heartbeat because this host lacks the address to
    /// send from.
    severed_since: Option<Time>,
}

impl Exchange {
    /// Opens the sockets. Without the right to raw sockets there is no echo and the second value
    /// says why; heartbeats then decide alone.
    pub(crate) fn open(parts: ExchangeParts, now: Time) -> io::Result<(Self, Option<io::Error>)> {
        let address = SocketAddrV4::new(parts.address, parts.port);
        let strangers = PeerSocket::heartbeat(address, now)?;
        let mark = EchoMark::new(parts.session.0);
        let (echoes, echo_fault) = match PeerSocket::echo(parts.address, None, mark, now) {
            Ok(socket) => (Some(socket), None),
            Err(error) => (None, Some(error)),
        };
        let exchange = Self {
            address,
            gate: PacketGate::new(parts.me, parts.sender),
            members: BTreeMap::new(),
            strangers,
            peers: BTreeMap::new(),
            echoes,
            mark,
            echo_sequence: 0,
            counters: PeerCounters::default(),
            versions: BTreeMap::new(),
            disturbed: false,
            severed_since: None,
        };
        Ok((exchange, echo_fault))
    }

    /// Updates the peers and their addresses.
    pub(crate) fn set_peers<'a>(
        &mut self,
        members: impl IntoIterator<Item = &'a Member>,
        now: Time,
    ) {
        let members = members.into_iter().map(|member| (member.id.clone(), member.address));
        let members: BTreeMap<InstanceId, Ipv4Addr> = members.collect();
        if self.members == members {
            return;
        }
        self.gate.set_members(members.clone());
        self.peers.retain(|address, _| self.gate.peer_at(*address).is_some());
        for address in members.values().copied() {
            if self.peers.contains_key(&address) || self.gate.peer_at(address).is_none() {
                continue;
            }
            let peer = SocketAddrV4::new(address, self.address.port());
            match PeerSocket::peer(self.address, peer, now) {
                Ok(socket) => {
                    self.peers.insert(address, socket);
                }
                // Its heartbeats then arrive on the strangers' socket.
                Err(error) => tracing::warn!(%address, %error, "cannot open a socket for a peer"),
            }
        }
        self.versions.retain(|id, _| members.contains_key(id));
        self.members = members;
    }

    /// The nodes that are not members and whose valid heartbeats arrived since the last call.
    pub(crate) fn take_strangers(&mut self) -> BTreeSet<InstanceId> {
        self.gate.take_strangers()
    }

    pub(crate) fn send_beat(&mut self, to: &InstanceId, beat: Beat, now: Time) {
        let Some((packet, address)) = self.gate.next_packet(to, beat, now) else { return };
        if packet.claims_omitted > 0 {
            self.counters.claims_omitted += 1;
        }
        let to = SocketAddrV4::new(address, self.address.port());
        if self.strangers.send(&packet.bytes, to).is_ok() {
            self.counters.beats_sent += 1;
            self.severed_since = None;
            return;
        }
        self.counters.send_failures += 1;
        if is_gone(*self.address.ip()) {
            self.severed_since = self.severed_since.or(Some(now));
        }
    }

    /// Since when this node's address, or its interface, has been gone; none if it is there.
    pub(crate) fn severed_since(&self) -> Option<Time> {
        self.severed_since
    }

    pub(crate) fn send_echo(&mut self, to: &InstanceId) {
        let (Some(address), Some(socket)) = (self.gate.address(to), &self.echoes) else { return };
        self.echo_sequence = self.echo_sequence.wrapping_add(1);
        let request = self.mark.request(self.echo_sequence);
        match socket.send(&request, SocketAddrV4::new(address, 0)) {
            Ok(()) => self.counters.echoes_sent += 1,
            Err(_) => self.counters.send_failures += 1,
        }
    }

    /// Reads what has arrived, oldest first per socket: up to [`MAX_DRAIN`] datagrams of each peer
    /// and up to [`MAX_STRANGERS`] of strangers.
    pub(crate) fn receive(&mut self, now: Time) -> Vec<Input> {
        let Self { strangers, peers, echoes, gate, mark, counters, versions, .. } = self;
        let mut inputs = Vec::new();
        gate.begin_turn();
        let mut admit = |datagram: Datagram<'_>| match gate.admit(
            datagram.bytes,
            *datagram.from.ip(),
            datagram.at,
        ) {
            Ok(Packet { from, session, beat, version, .. }) => {
                counters.beats_received += 1;
                note_version(versions, &from, version);
                inputs.push(Input::Beat { from, session, beat, at: datagram.at });
                true
            }
            Err(reason) => {
                counters.count_rejected(reason.name(), 1);
                false
            }
        };
        let mut disturbed = false;
        let mut unread = 0;
        for socket in peers.values_mut() {
            unread += socket.drain(now, MAX_DRAIN, |datagram| disturbed |= !admit(datagram));
        }
        unread += strangers.drain(now, MAX_STRANGERS, |datagram| {
            admit(datagram);
        });
        if let Some(socket) = echoes {
            unread += socket.drain(now, MAX_DRAIN, |datagram| {
                let peer = gate.peer_at(*datagram.from.ip());
                if let Some(from) = peer.filter(|_| mark.is_reply(datagram.bytes)) {
                    counters.echoes_received += 1;
                    inputs.push(Input::Echo { from: from.clone(), at: datagram.at });
                }
            });
        }
        if unread > 0 {
            counters.count_rejected(UNREAD, u64::from(unread));
        }
        self.disturbed = disturbed;
        inputs
    }

    /// Whether a packet in a peer's name was rejected in the last turn. It may be a flood: the loop
    /// should not wake for each packet.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbed
    }

    pub(crate) fn counters(&self) -> &PeerCounters {
        &self.counters
    }

    /// The version in each peer's last heartbeat. A build that sends none is not in it.
    pub(crate) fn versions(&self) -> BTreeMap<InstanceId, String> {
        let versions = self.versions.iter();
        versions.map(|(id, version)| (id.clone(), version.to_string())).collect()
    }

    /// The sockets that wake the loop. Strangers do not: their socket is read at each turn, several
    /// times in a heartbeat interval.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.peers.values().chain(&self.echoes).map(AsFd::as_fd)
    }
}

/// Keeps the version in a heartbeat. Nearly always it is the one of the heartbeat before.
fn note_version(
    versions: &mut BTreeMap<InstanceId, ProgramVersion>,
    from: &InstanceId,
    version: Option<ProgramVersion>,
) {
    if versions.get(from) == version.as_ref() {
        return;
    }
    match version {
        Some(version) => versions.insert(from.clone(), version),
        None => versions.remove(from),
    };
}

/// Whether none of this host's interfaces that are up has this address. The error from send(2) does
/// not show that: it is the same if there is no route to the peer.
fn is_gone(address: Ipv4Addr) -> bool {
    let Ok(mut all) = getifaddrs() else { return false };
    !all.any(|one| {
        let its = one.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in);
        one.flags.contains(InterfaceFlags::IFF_UP) && its.is_some_and(|its| its.ip() == address)
    })
}
