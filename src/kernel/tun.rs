//! An interface whose packets come from this process: for the kernel they arrive like those of a
//! private host, and pass every rule and setting that forwarded packets pass.
//!
//! It needs `/dev/net/tun` and `CAP_NET_ADMIN` (tuntap documentation of the kernel), and no network
//! namespace. The kernel removes the interface when the process ends, however it ends.

use std::fmt;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::fd::RawFd;
use std::path::Path;

use ipnet::Ipv4Net;
use tokio_tun::Tun;

use super::sysctl::{self, SysctlError};
use crate::plan::{Item, TRANSIT_LINK, transit_sysctls};

/// The device that makes such interfaces.
const DEVICE: &str = "/dev/net/tun";
/// `IFF_UP` (netdevice(7)).
const IFF_UP: i32 = 1;
/// Packets of this size at most are read. Replies to probes are much smaller.
const MAX_PACKET: usize = 2048;

/// Why there is no such interface.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunError {
    /// The kernel refuses.
    #[error(
        "cannot make the interface `{TRANSIT_LINK}`: {0}. /dev/net/tun and the capability \
         CAP_NET_ADMIN are needed; `modprobe tun` loads the driver"
    )]
    Refused(#[from] tokio_tun::Error),
    /// The interface's sysctls cannot be set.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The network has no room for two addresses.
    #[error("{0} has no two addresses for hosts")]
    TooSmall(Ipv4Net),
}

/// Whether such interfaces can be made here: the device is there and may be opened. Makes none.
///
/// # Errors
/// If not.
pub(crate) fn check() -> io::Result<()> {
    fs::OpenOptions::new().read(true).write(true).open(DEVICE).map(drop)
}

/// Sets the interface's sysctls where another program has changed them. Returns how they were.
///
/// # Errors
/// If one cannot be read or set.
pub(crate) fn hold() -> Result<Vec<Item>, SysctlError> {
    sysctl::hold(&transit_sysctls())
}

/// The interface `natha0`.
pub(crate) struct TransitLink {
    tun: Tun,
    own: Ipv4Addr,
    source: Ipv4Addr,
    buffer: Box<[u8; MAX_PACKET]>,
}

impl TransitLink {
    /// Makes the interface and sets its sysctls. The host has the network's first address on it,
    /// and the packets that are sent through it come from the second. Must be called on a tokio
    /// runtime.
    ///
    /// # Errors
    /// If the kernel refuses, or an interface of this name exists. This includes an earlier result
    /// of this function that is still open.
    pub(crate) fn open(network: Ipv4Net) -> Result<Self, TunError> {
        let mut hosts = network.hosts();
        let (Some(own), Some(source)) = (hosts.next(), hosts.next()) else {
            return Err(TunError::TooSmall(network));
        };
        let tun = make(TRANSIT_LINK, own, network.netmask()).inspect_err(|_| close_left_open())?;
        hold()?;
        Ok(Self { tun, own, source, buffer: Box::new([0; MAX_PACKET]) })
    }

    /// Whether the interface is as it was made: another program may have removed it, or its
    /// address.
    pub(crate) fn is_intact(&self) -> bool {
        let up = self.tun.flags().is_ok_and(|flags| i32::from(flags) & IFF_UP != 0);
        up && self.tun.address().is_ok_and(|address| address == self.own)
    }

    /// The source address of the packets.
    pub(crate) fn source(&self) -> Ipv4Addr {
        self.source
    }

    /// Gives the kernel a packet, as if it had arrived by the interface. A packet that the kernel
    /// does not take gets no reply, which is what counts.
    pub(crate) fn send(&self, packet: &[u8]) {
        if let Err(error) = self.tun.try_send(packet) {
            tracing::trace!(%error, "a packet through {TRANSIT_LINK} was not taken");
        }
    }

    /// The next packet that the kernel has sent out through the interface, if one waits.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let read = self.tun.try_recv(self.buffer.as_mut_slice()).ok()?;
        self.buffer.get(..read)
    }
}

fn make(name: &str, own: Ipv4Addr, netmask: Ipv4Addr) -> Result<Tun, tokio_tun::Error> {
    let tuns = Tun::builder().name(name).address(own).netmask(netmask).up().build()?;
    tuns.into_iter().next().ok_or_else(|| io::Error::from(ErrorKind::NotFound).into())
}

/// Closes the descriptors of the device that the crate leaves open if the kernel refuses the
/// interface, or its address, after the device was opened. Otherwise each attempt would cost one,
/// and an interface without its address would stay until the process ends. No descriptor of the
/// device is in use then: this process has at most one such interface.
fn close_left_open() {
    for descriptor in descriptors_of_the_device() {
        // It is open: it was just listed.
        let _ = nix::unistd::close(descriptor);
    }
}

fn descriptors_of_the_device() -> Vec<RawFd> {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let is_device =
        |entry: &DirEntry| fs::read_link(entry.path()).is_ok_and(|file| file == Path::new(DEVICE));
    open.flatten()
        .filter(is_device)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

impl fmt::Debug for TransitLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransitLink({})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `lo` exists and is no TUN interface, so that the kernel refuses after the device was opened.
    #[tokio::test]
    async fn a_refused_interface_leaves_no_descriptor_open() {
        let refused = make("lo", Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST);
        assert!(refused.is_err());
        assert_eq!(descriptors_of_the_device().len(), 1, "the crate closes it now: drop the rest");
        close_left_open();
        assert_eq!(descriptors_of_the_device().len(), 0);
    }
}
