//! The peers' two sockets: UDP for heartbeats, raw ICMP for echo. Neither ever blocks.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use super::clock::Stamps;
use crate::types::Time;
use crate::wire::MAX_PACKET;

/// Datagrams read in one turn. Far more than the receive buffer holds, so that everything that
/// had arrived when the turn began is read before anyone is judged.
const MAX_DRAIN: usize = 8192;

/// One byte more than the longest packet, so that a longer one shows.
const BUFFER: usize = MAX_PACKET + 1;

/// DSCP CS6, network control (RFC 4594, section 3.1), as a TOS byte.
const TOS_NETWORK_CONTROL: u32 = 0xc0;

/// Room for the control message with the timestamp, with some to spare.
const CONTROL: usize = 128;

/// A datagram socket with kernel receive timestamps.
#[derive(Debug)]
pub(super) struct PeerSocket {
    socket: Socket,
    buffer: Box<[u8; BUFFER]>,
    drained: Time,
}

/// One datagram.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    /// Where it came from.
    pub(super) from: SocketAddrV4,
    /// When the kernel received it.
    pub(super) at: Time,
    /// Its bytes; for a raw socket with the IP header.
    pub(super) bytes: &'a [u8],
}

impl PeerSocket {
    /// The socket for heartbeats.
    ///
    /// # Errors
    /// Where the address is not this host's, or the port is taken.
    pub(super) fn heartbeat(address: SocketAddrV4, now: Time) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        Self::prepare(socket, address, now)
    }

    /// The socket for ICMP echo, bound to an interface where one is named.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`. (The unprivileged ICMP socket is no way out: it is closed even to
    /// root where `net.ipv4.ping_group_range` is at its default.)
    pub(super) fn echo(address: Ipv4Addr, device: Option<&str>, now: Time) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.bind_device(device.map(str::as_bytes))?;
        Self::prepare(socket, SocketAddrV4::new(address, 0), now)
    }

    fn prepare(socket: Socket, address: SocketAddrV4, now: Time) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_tos_v4(TOS_NETWORK_CONTROL)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.bind(&address.into())?;
        Ok(Self { socket, buffer: Box::new([0; BUFFER]), drained: now })
    }

    /// Sends a datagram now or not at all.
    ///
    /// # Errors
    /// As send(2); a full buffer is an error here.
    pub(super) fn send(&self, bytes: &[u8], to: SocketAddrV4) -> io::Result<()> {
        self.socket.send_to(bytes, &to.into()).map(|_| ())
    }

    /// Reads everything that has arrived. Errors that a peer's ICMP messages leave on the socket
    /// (port unreachable while its daemon is down) end nothing.
    pub(super) fn drain(&mut self, now: Time, mut each: impl FnMut(Datagram<'_>)) {
        let stamps = Stamps::new(self.drained, now);
        self.drained = now;
        let mut control = [0; CONTROL];
        for _ in 0..MAX_DRAIN {
            let mut iov = [IoSliceMut::new(self.buffer.as_mut_slice())];
            let flags = MsgFlags::MSG_DONTWAIT;
            let fd = self.socket.as_raw_fd();
            let received = recvmsg::<SockaddrIn>(fd, &mut iov, Some(&mut control), flags);
            let (length, from, stamp) = match received {
                Ok(message) => {
                    let stamp = message
                        .cmsgs()
                        .ok()
                        .and_then(|mut all| all.find_map(|one| timestamp(&one)));
                    (message.bytes, message.address, stamp)
                }
                Err(Errno::EAGAIN) => return,
                Err(_) => continue,
            };
            let Some(bytes) = self.buffer.get(..length) else { continue };
            let Some(from) = from else { continue };
            let from = SocketAddrV4::new(from.ip(), from.port());
            each(Datagram { from, at: stamps.arrival(stamp), bytes });
        }
    }
}

impl AsFd for PeerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn timestamp(message: &ControlMessageOwned) -> Option<TimeSpec> {
    match message {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(*stamp),
        _ => None,
    }
}
