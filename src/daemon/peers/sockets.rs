//! The peers' sockets: UDP for heartbeats, raw ICMP for echo. None of them ever blocks.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::icmp::{ECHO_REPLY, EchoMark};
use crate::daemon::clock::Stamps;
use crate::types::Time;
use crate::wire::MAX_PACKET;

/// Receive buffer for packets in one peer's name between two turns, in bytes.
const PEER_ROOM: usize = 1 << 20;

/// One byte more than the longest packet, to detect a longer one.
const BUFFER: usize = MAX_PACKET + 1;

/// DSCP CS6, network control (RFC 4594, section 3.1), as a TOS byte.
const TOS_NETWORK_CONTROL: u32 = 0xc0;

/// Room for the control messages with timestamp and losses, with some to spare.
const CONTROL: usize = 128;

/// A datagram socket with kernel receive timestamps.
#[derive(Debug)]
pub(crate) struct PeerSocket {
    socket: Socket,
    buffer: Box<[u8; BUFFER]>,
    drained: Time,
    /// Datagrams dropped by the kernel so far, according to its latest count.
    lost: u32,
}

#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) from: SocketAddrV4,
    /// When the kernel received it.
    pub(crate) at: Time,
    /// The payload; on a raw socket, the whole IP packet.
    pub(crate) bytes: &'a [u8],
}

impl PeerSocket {
    /// The socket that heartbeats are sent from. It receives only from strangers: datagrams from a
    /// peer go to its [`Self::peer`] socket.
    ///
    /// # Errors
    /// If this host does not have the address, or the port is taken.
    pub(crate) fn heartbeat(address: SocketAddrV4, now: Time) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        let socket = Self::prepare(socket, address, now)?;
        // After it was bound: another monitor must find the port taken.
        socket.socket.set_reuse_port(true)?;
        Ok(socket)
    }

    /// A socket at the address of [`Self::heartbeat`] that receives from one peer. The kernel
    /// prefers the socket that is connected to the sender, so each peer has a queue of its own,
    /// which only packets in its name can fill.
    pub(crate) fn peer(address: SocketAddrV4, peer: SocketAddrV4, now: Time) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(true)?;
        // Without CAP_NET_ADMIN, the size is limited by net.core.rmem_max.
        if setsockopt(&socket, sockopt::RcvBufForce, &PEER_ROOM).is_err() {
            socket.set_recv_buffer_size(PEER_ROOM)?;
        }
        let socket = Self::prepare(socket, address, now)?;
        socket.socket.connect(&peer.into())?;
        Ok(socket)
    }

    /// A socket for ICMP echo, bound to `device` if given. A filter in the kernel drops everything
    /// but replies to requests with this mark.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`. (The unprivileged ICMP socket is no alternative: with the default of
    /// `net.ipv4.ping_group_range`, it is denied even to root.)
    pub(crate) fn echo(
        address: Ipv4Addr,
        device: Option<&str>,
        mark: EchoMark,
        now: Time,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.attach_filter(&only_replies(mark))?;
        socket.bind_device(device.map(str::as_bytes))?;
        Self::prepare(socket, SocketAddrV4::new(address, 0), now)
    }

    fn prepare(socket: Socket, address: SocketAddrV4, now: Time) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_tos_v4(TOS_NETWORK_CONTROL)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        socket.bind(&address.into())?;
        Ok(Self { socket, buffer: Box::new([0; BUFFER]), drained: now, lost: 0 })
    }

    /// Sends a datagram without blocking.
    ///
    /// # Errors
    /// As send(2); a full buffer is an error.
    pub(crate) fn send(&self, bytes: &[u8], to: SocketAddrV4) -> io::Result<()> {
        self.socket.send_to(bytes, &to.into()).map(|_| ())
    }

    /// Reads up to `most` datagrams. Returns how many the kernel has dropped for want of room since
    /// the last call. Errors that ICMP messages leave on the socket (port unreachable while a
    /// peer's monitor is down) are skipped.
    pub(crate) fn drain(
        &mut self,
        now: Time,
        most: usize,
        mut each: impl FnMut(Datagram<'_>),
    ) -> u32 {
        let stamps = Stamps::new(self.drained, now);
        self.drained = now;
        let lost_before = self.lost;
        let mut control = [0; CONTROL];
        for _ in 0..most {
            let mut iov = [IoSliceMut::new(self.buffer.as_mut_slice())];
            let flags = MsgFlags::MSG_DONTWAIT;
            let fd = self.socket.as_raw_fd();
            let received = recvmsg::<SockaddrIn>(fd, &mut iov, Some(&mut control), flags);
            let (length, from, stamp) = match received {
                Ok(message) => {
                    let mut stamp = None;
                    for one in message.cmsgs().into_iter().flatten() {
                        match one {
                            ControlMessageOwned::ScmTimestampns(at) => stamp = Some(at),
                            ControlMessageOwned::RxqOvfl(lost) => self.lost = lost,
                            _ => {}
                        }
                    }
                    (message.bytes, message.address, stamp)
                }
                Err(Errno::EAGAIN) => break,
                Err(_) => continue,
            };
            let Some(bytes) = self.buffer.get(..length) else { continue };
            let Some(from) = from else { continue };
            let from = SocketAddrV4::new(from.ip(), from.port());
            each(Datagram { from, at: stamps.arrival(stamp), bytes });
        }
        self.lost.wrapping_sub(lost_before)
    }
}

impl AsFd for PeerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A filter for raw ICMP sockets that passes only replies to requests with this mark. On a raw
/// socket a packet begins with its IP header. Classic BPF, as in the kernel's
/// `Documentation/networking/filter.rst`.
fn only_replies(mark: EchoMark) -> Vec<SockFilter> {
    /// X = the length of the IP header.
    const HEADER_LENGTH: u16 = 0xb1;
    /// A = the byte, the two bytes or the four bytes at X + k.
    const BYTE: u16 = 0x50;
    const HALF: u16 = 0x48;
    const WORD: u16 = 0x40;
    /// Skip the first number of instructions if A is k, else the second.
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let [t0, t1, t2, t3, t4, t5, t6, t7] = mark.token.to_be_bytes();
    let tests = [
        (BYTE, 0, u32::from(ECHO_REPLY)),
        (BYTE, 1, 0),
        (HALF, 4, u32::from(mark.ident)),
        (WORD, 8, u32::from_be_bytes([t0, t1, t2, t3])),
        (WORD, 12, u32::from_be_bytes([t4, t5, t6, t7])),
    ];
    let mut program = vec![SockFilter::new(HEADER_LENGTH, 0, 0, 0)];
    for (load, at, value) in tests {
        program.push(SockFilter::new(load, 0, 0, at));
        // If equal, skip the instruction that rejects the packet.
        program.push(SockFilter::new(IF_EQUAL, 1, 0, value));
        program.push(SockFilter::new(RETURN, 0, 0, 0));
    }
    program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    program
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
