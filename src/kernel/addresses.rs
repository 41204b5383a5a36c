//! The host's IPv4 addresses, by rtnetlink: read, added, removed and watched.
//!
//! An address that natha adds must not become the source of other programs' connections: replies
//! would go to the node that holds the group. On loopback, scope `host` keeps the kernel from
//! choosing it. On another interface, the prefix of 32 bits does: the kernel prefers an address
//! whose network contains the gateway. (Scope `host` there would make it the first address of the
//! interface.) Services that bind the address still use it, and packets to it are answered from it.
//!
//! The kernel answers ARP requests for these addresses and announces none on loopback. In a VPC
//! there are no such requests: the VPC answers ARP itself, from its route tables and interfaces.
//!
//! The order of an interface's addresses says nothing about which one is its primary address in
//! EC2: amazon-ec2-net-utils, for example, has the secondary ones added at boot before the DHCP
//! lease arrives. natha knows the primary addresses from EC2 and the instance metadata.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use ipnet::Ipv4Net;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::LinkAttribute;
use nix::errno::Errno;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use super::netlink::{self, LIMIT};
use super::sysctl::{self, SysctlError};
use crate::plan::{LOOPBACK, SysctlKey};

/// Why addresses could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] std::io::Error),
    /// The addresses cannot be read.
    #[error("cannot read the host's addresses: {0}")]
    Read(rtnetlink::Error),
    /// There is no such interface.
    #[error("there is no interface `{0}` to put an address on")]
    NoLink(String),
    /// The kernel refuses.
    #[error("cannot {doing} {address} {} `{link}`: {source}",
            if *doing == "add" { "to" } else { "from" })]
    Refused {
        /// `add` or `remove`.
        doing: &'static str,
        /// The address.
        address: Ipv4Addr,
        /// The interface.
        link: String,
        /// Why.
        source: rtnetlink::Error,
    },
    /// What keeps the other addresses of a subnet cannot be set.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The kernel does not answer.
    #[error("the kernel did not answer about the host's addresses within {} s", LIMIT.as_secs())]
    TimedOut,
}

/// An address of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The address.
    pub address: Ipv4Addr,
    /// Its interface.
    pub link: String,
    /// The length of its network's prefix.
    pub prefix: u8,
}

/// Every IPv4 address of the host, loopback included.
///
/// # Errors
/// If the kernel does not answer or refuses.
pub async fn read() -> Result<Vec<Own>, AddressError> {
    within_limit(async |handle| {
        let found = dump(handle).await?;
        Ok(found.into_iter().map(|(own, _)| own).collect())
    })
    .await
}

/// Adds `address/32` to an interface, unless an interface already has the address. Returns that
/// interface; none if the address was added.
///
/// # Errors
/// If there is no such interface, or the kernel refuses.
pub async fn add(link: &str, address: Ipv4Addr) -> Result<Option<String>, AddressError> {
    within_limit(async |handle| {
        let there = dump(handle).await?.into_iter().find(|(own, _)| own.address == address);
        if let Some((own, _)) = there {
            return Ok(Some(own.link));
        }
        let links = links(handle).await?;
        let index = links.iter().find(|(_, name)| *name == link).map(|(index, _)| *index);
        let index = index.ok_or_else(|| AddressError::NoLink(link.to_owned()))?;
        let mut request = handle.address().add(index, IpAddr::V4(address), 32);
        if link == LOOPBACK {
            request.message_mut().header.scope = AddressScope::Host;
        }
        match request.execute().await {
            Err(error) if is_refusal(&error, Errno::EEXIST) => Ok(Some(link.to_owned())),
            Err(source) => Err(refused("add", address, link, source)),
            Ok(()) => Ok(None),
        }
    })
    .await
}

/// Removes `address/32` from an interface. Returns whether it was there.
///
/// # Errors
/// If the kernel refuses.
pub async fn remove(link: &str, address: Ipv4Addr) -> Result<bool, AddressError> {
    within_limit(async |handle| {
        delete(handle, &Own { address, link: link.to_owned(), prefix: 32 }).await
    })
    .await
}

/// Removes an address as it was read, with a prefix of any length. The other addresses of its
/// interface stay. Returns whether it was there.
///
/// # Errors
/// If the kernel refuses.
pub async fn remove_own(own: &Own) -> Result<bool, AddressError> {
    within_limit(async |handle| {
        let all = dump(handle).await?;
        let beside = |other: &Own| {
            let same = other.link == own.link && other.prefix == own.prefix;
            same && other.address != own.address && network(other) == network(own)
        };
        if !all.iter().any(|(other, _)| beside(other)) {
            return delete(handle, own).await;
        }
        // Of the addresses of one subnet, the kernel takes the first one for the others' parent,
        // and removes them with it unless this is set. Most systems set it.
        let key = SysctlKey::conf(&own.link, "promote_secondaries");
        let before = sysctl::read(&key)?.map(|reading| reading.value);
        if before == Some(0) {
            sysctl::write(&key, 1)?;
        }
        let removed = delete(handle, own).await;
        if before == Some(0) {
            sysctl::write(&key, 0)?;
        }
        removed
    })
    .await
}

/// The network that an address is in.
fn network(own: &Own) -> Option<Ipv4Net> {
    Ipv4Net::new(own.address, own.prefix).ok().map(|net| net.trunc())
}

async fn delete(handle: &Handle, wanted: &Own) -> Result<bool, AddressError> {
    let there = dump(handle).await?.into_iter().find(|(own, _)| own == wanted);
    let Some((_, message)) = there else { return Ok(false) };
    match handle.address().del(message).execute().await {
        // Another program has just removed it.
        Err(error) if is_refusal(&error, Errno::EADDRNOTAVAIL) => Ok(false),
        Err(source) => Err(refused("remove", wanted.address, &wanted.link, source)),
        Ok(()) => Ok(true),
    }
}

/// Watches addresses being added and removed by any program.
#[derive(Debug)]
pub struct Watch<S> {
    messages: S,
    connection: JoinHandle<()>,
}

impl<S> Drop for Watch<S> {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Starts watching.
///
/// # Errors
/// If no netlink socket can be opened.
pub fn watch() -> Result<Watch<impl StreamExt + Unpin>, AddressError> {
    let groups = [MulticastGroup::Ipv4Ifaddr];
    let (connection, _, messages) =
        rtnetlink::new_multicast_connection(&groups).map_err(AddressError::Open)?;
    Ok(Watch { messages, connection: tokio::spawn(connection) })
}

impl<S: StreamExt + Unpin> Watch<S> {
    /// Waits for the next change; several at once are reported once. False if the watch has ended
    /// and a new one is needed.
    pub async fn changed(&mut self) -> bool {
        if self.messages.next().await.is_none() {
            return false;
        }
        while let Some(Some(_)) = self.messages.next().now_or_never() {}
        true
    }
}

/// Does some work with a netlink socket of its own and a time limit.
async fn within_limit<T>(
    work: impl AsyncFnOnce(&Handle) -> Result<T, AddressError>,
) -> Result<T, AddressError> {
    let outcome = netlink::ask(work).await.map_err(AddressError::Open)?;
    outcome.ok_or(AddressError::TimedOut)?
}

/// The interfaces' names by index.
async fn links(handle: &Handle) -> Result<BTreeMap<u32, String>, AddressError> {
    let mut links = BTreeMap::new();
    let mut messages = handle.link().get().execute();
    while let Some(message) = messages.try_next().await.map_err(AddressError::Read)? {
        for attribute in message.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                links.insert(message.header.index, name);
            }
        }
    }
    Ok(links)
}

async fn dump(handle: &Handle) -> Result<Vec<(Own, AddressMessage)>, AddressError> {
    let links = links(handle).await?;
    let mut found = Vec::new();
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await.map_err(AddressError::Read)? {
        // On a point-to-point link `Address` is the peer's; `Local` is always this host's.
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        });
        if let (Some(address), Some(link)) = (address, links.get(&message.header.index)) {
            let prefix = message.header.prefix_len;
            found.push((Own { address, link: link.clone(), prefix }, message));
        }
    }
    Ok(found)
}

/// Whether the kernel answered with this error.
pub(super) fn is_refusal(error: &rtnetlink::Error, errno: Errno) -> bool {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code() == -(errno as i32),
        _ => false,
    }
}

fn refused(
    doing: &'static str,
    address: Ipv4Addr,
    link: &str,
    source: rtnetlink::Error,
) -> AddressError {
    AddressError::Refused { doing, address, link: link.to_owned(), source }
}
