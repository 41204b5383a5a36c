//! The kernel's own news of changes to the ruleset and to the network, by netlink multicast.
//!
//! Messages are not parsed. One says that something has changed, and a lost one (`ENOBUFS`) says
//! the same; the reader then compares the host with its plan.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::unix::AsyncFd;

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`: a transaction of nft, by whatever program.
const NFTABLES: u32 = group(7);
/// `RTNLGRP_LINK` of `linux/rtnetlink.h`: an interface appears, disappears, goes up or down.
const LINK: u32 = group(1);
/// `RTNLGRP_IPV4_IFADDR`: an address is added or removed.
const ADDRESS: u32 = group(5);
/// `RTNLGRP_IPV4_NETCONF`: forwarding or the reverse path filter of an interface, or of all.
const NETCONF: u32 = group(24);

/// The most messages that are dropped at once before other tasks may run.
const BURST: usize = 1024;

/// A group's bit in the address of a netlink socket.
pub(super) const fn group(number: u32) -> u32 {
    1 << (number - 1)
}

/// What has changed since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changed {
    /// An nft table, natha's or another program's.
    pub ruleset: bool,
    /// An interface, an address, or a forwarding switch.
    pub network: bool,
}

impl Changed {
    const fn any(self) -> bool {
        self.ruleset || self.network
    }

    /// Both together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { ruleset: self.ruleset || other.ruleset, network: self.network || other.network }
    }
}

/// A subscription to the kernel's news.
#[derive(Debug)]
pub struct News {
    ruleset: AsyncFd<OwnedFd>,
    network: AsyncFd<OwnedFd>,
}

impl News {
    /// Subscribes. News of the ruleset need `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// If a socket cannot be opened or bound.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            ruleset: subscribe(SockProtocol::NetlinkNetFilter, NFTABLES)?,
            network: subscribe(SockProtocol::NetlinkRoute, LINK | ADDRESS | NETCONF)?,
        })
    }

    /// Waits for the next change; several at once are reported once.
    ///
    /// # Errors
    /// If a socket fails. Subscribe again then.
    pub async fn next(&self) -> io::Result<Changed> {
        loop {
            let found = tokio::select! {
                found = arrived(&self.ruleset) => Changed { ruleset: found?, network: false },
                found = arrived(&self.network) => Changed { ruleset: false, network: found? },
            };
            if found.any() {
                return Ok(found.or(self.waiting()?));
            }
        }
    }

    /// Takes what has arrived already, without waiting.
    ///
    /// # Errors
    /// If a socket fails.
    pub fn waiting(&self) -> io::Result<Changed> {
        let (ruleset, _) = drain(self.ruleset.get_ref())?;
        let (network, _) = drain(self.network.get_ref())?;
        Ok(Changed { ruleset, network })
    }
}

/// A socket that receives the messages of these groups. Must be called on a tokio runtime.
pub(super) fn subscribe(protocol: SockProtocol, groups: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    // The kernel chooses the port.
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    watched(socket)
}

#[expect(
    deprecated,
    reason = "an `OwnedFd` stays open and the same for as long as it lives, which is all that the \
              unsafe `AsyncFd::register` asks for"
)]
fn watched(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(socket)
}

/// Waits until the socket is ready, and takes what is there. False if that was nothing.
async fn arrived(socket: &AsyncFd<OwnedFd>) -> io::Result<bool> {
    let mut ready = socket.readable().await?;
    let (any, emptied) = drain(socket.get_ref())?;
    if emptied {
        ready.clear_ready();
    }
    Ok(any)
}

/// Takes messages off a socket. Returns whether there was any, and whether none is left.
fn drain(socket: &OwnedFd) -> io::Result<(bool, bool)> {
    // A message that is longer is cut off, and none of it is read.
    let mut head = [0; 16];
    let mut any = false;
    for _ in 0..BURST {
        match recv(socket.as_raw_fd(), &mut head, MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::ENOBUFS) => any = true,
            Err(Errno::EAGAIN) => return Ok((any, true)),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((any, false))
}
