//! News of connections, by netlink multicast.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::ConntrackMessage;
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockProtocol, recv, setsockopt, sockopt};
use tokio::io::unix::AsyncFd;

use super::decode;
use crate::flows::Change;
use crate::kernel::news::{group, subscribe};

/// `NFNLGRP_CONNTRACK_NEW`, `_UPDATE` and `_DESTROY` of `linux/netfilter/nfnetlink.h`.
const GROUPS: u32 = group(1) | group(2) | group(3);
/// `NFNLGRP_CONNTRACK_DESTROY`.
const ENDS: u32 = group(3);
/// The default receive buffer holds fewer than 200 messages; this one some 30,000, which is what a
/// busy node has in some seconds.
const RECEIVE_BUFFER: usize = 32 << 20;
/// No message about one connection is as long.
const MAX_MESSAGE: usize = 16 << 10;
/// The most messages that are taken at once before other tasks may run.
const BURST: usize = 1024;

/// Makes the kernel go on giving connections what they need to announce changes, while there is no
/// [`Listener`].
///
/// Since Linux 5.19, a connection that begins while no program listens to any group of connection
/// tracking never announces anything (`nf_conntrack_events` 2, `nf_ct_ecache_ext_add`). The socket
/// is not read: the kernel drops messages once its buffer is full. Insertions are announced to
/// another group, so they do not become slower.
#[derive(Debug)]
pub struct EventsOn {
    _socket: AsyncFd<OwnedFd>,
}

impl EventsOn {
    /// Subscribes. Must be called on a tokio runtime, and needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// If the socket cannot be opened or bound.
    pub fn open() -> io::Result<Self> {
        let socket = subscribe(SockProtocol::NetlinkNetFilter, ENDS)?;
        // The kernel takes its least value.
        setsockopt(socket.get_ref(), sockopt::RcvBuf, &0)?;
        Ok(Self { _socket: socket })
    }
}

/// A subscription to the kernel's news of connections.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<OwnedFd>,
    buffer: Box<[u8]>,
}

impl Listener {
    /// Subscribes. Must be called on a tokio runtime, and needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// If the socket cannot be opened, bound or given its buffer.
    pub fn open() -> io::Result<Self> {
        Self::with_buffer(RECEIVE_BUFFER)
    }

    /// Like [`Self::open`], with room for this many bytes of messages, as the kernel counts them.
    ///
    /// # Errors
    /// The same.
    pub fn with_buffer(bytes: usize) -> io::Result<Self> {
        let socket = subscribe(SockProtocol::NetlinkNetFilter, GROUPS)?;
        setsockopt(socket.get_ref(), sockopt::RcvBufForce, &bytes)?;
        Ok(Self { socket, buffer: vec![0; MAX_MESSAGE].into() })
    }

    /// Waits for the next news, and appends what has arrived. [`Change::Overrun`] is among it if
    /// the kernel had no room for some.
    ///
    /// # Errors
    /// If the socket fails. Subscribe again then, and read a dump.
    pub async fn next(&mut self, changes: &mut Vec<Change>) -> io::Result<()> {
        let before = changes.len();
        while changes.len() == before {
            let mut ready = self.socket.readable().await?;
            if drain(self.socket.get_ref(), &mut self.buffer, changes)? {
                ready.clear_ready();
            }
        }
        Ok(())
    }
}

/// Takes messages off the socket. Returns whether none is left.
fn drain(socket: &OwnedFd, buffer: &mut [u8], changes: &mut Vec<Change>) -> io::Result<bool> {
    for _ in 0..BURST {
        match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
            Ok(length) => match buffer.get(..length) {
                Some(bytes) => changes.extend(changes_of(bytes)),
                // Longer than the buffer: what it says is not known.
                None => changes.push(Change::Overrun),
            },
            Err(Errno::ENOBUFS) => changes.push(Change::Overrun),
            Err(Errno::EAGAIN) => return Ok(true),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// The news in a datagram. What cannot be parsed is of no connection that natha knows of.
fn changes_of(datagram: &[u8]) -> Option<Change> {
    let message = NetlinkMessage::<NetfilterMessage>::deserialize(datagram).ok()?;
    let NetlinkPayload::InnerMessage(message) = message.payload else { return None };
    let NetfilterMessageInner::Conntrack(message) = message.inner else { return None };
    match message {
        ConntrackMessage::New(attributes) => decode::entry(&attributes).map(Change::Seen),
        ConntrackMessage::Delete(attributes) => {
            decode::entry(&attributes).map(|entry| Change::Gone(entry.flow.tuple))
        }
        _ => None,
    }
}
