//! The host's IPv4 addresses, by rtnetlink: read, put on an interface, taken off it, watched.
//!
//! What natha puts on must not become the source of connections that others open: they would leave
//! under an address of the whole group, and their answers would go to whoever holds that. On
//! loopback, scope `host` keeps the kernel from choosing it. On another interface the prefix of 32
//! bits does: an address whose network holds the gateway goes before it. (There, scope `host` would
//! make it the first address of the interface, which is what a redirection leads to.) Services that
//! bind it still use it, and what comes in for it is answered from it.
//!
//! The kernel answers neighbours who ask for such an address by ARP, and never announces one of
//! loopback. In a VPC nobody asks: the VPC itself answers ARP, and goes by its route tables and
//! interfaces alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::LinkAttribute;
use nix::errno::Errno;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use crate::plan::LOOPBACK;

/// The kernel answers and obeys within a millisecond.
const LIMIT: Duration = Duration::from_secs(5);

/// Why addresses could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] std::io::Error),
    /// The kernel does not tell.
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
    /// The kernel does not answer.
    #[error("the kernel did not answer about the host's addresses within {} s", LIMIT.as_secs())]
    TimedOut,
}

/// An address as it is on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The address.
    pub address: Ipv4Addr,
    /// The interface that has it.
    pub link: String,
    /// The length of its network's prefix.
    pub prefix: u8,
}

/// Every IPv4 address of the host, loopback included.
///
/// # Errors
/// Where the kernel does not tell.
pub async fn read() -> Result<Vec<Own>, AddressError> {
    with_handle(async |handle| {
        let found = dump(&handle).await?;
        Ok(found.into_iter().map(|(own, _)| own).collect())
    })
    .await
}

/// Puts `address/32` on an interface, unless any interface has that address. Returns the one that
/// had it; none where it was put on.
///
/// # Errors
/// Where there is no such interface, or the kernel refuses.
pub async fn add(link: &str, address: Ipv4Addr) -> Result<Option<String>, AddressError> {
    with_handle(async |handle| {
        let there = dump(&handle).await?.into_iter().find(|(own, _)| own.address == address);
        if let Some((own, _)) = there {
            return Ok(Some(own.link));
        }
        let links = links(&handle).await?;
        let index = links.iter().find(|(_, name)| *name == link).map(|(index, _)| *index);
        let index = index.ok_or_else(|| AddressError::NoLink(link.to_owned()))?;
        let mut request = handle.address().add(index, IpAddr::V4(address), 32);
        if link == LOOPBACK {
            request.message_mut().header.scope = AddressScope::Host;
        }
        match request.execute().await {
            Err(error) if is(&error, Errno::EEXIST) => Ok(Some(link.to_owned())),
            Err(source) => Err(refused("add", address, link, source)),
            Ok(()) => Ok(None),
        }
    })
    .await
}

/// Takes `address/32` off an interface. Returns whether it was there.
///
/// # Errors
/// Where the kernel refuses.
pub async fn remove(link: &str, address: Ipv4Addr) -> Result<bool, AddressError> {
    let wanted = Own { address, link: link.to_owned(), prefix: 32 };
    with_handle(async |handle| {
        let there = dump(&handle).await?.into_iter().find(|(own, _)| *own == wanted);
        let Some((_, message)) = there else { return Ok(false) };
        match handle.address().del(message).execute().await {
            // Somebody else was faster.
            Err(error) if is(&error, Errno::EADDRNOTAVAIL) => Ok(false),
            Err(source) => Err(refused("remove", address, link, source)),
            Ok(()) => Ok(true),
        }
    })
    .await
}

/// Tells when addresses of the host come and go, whoever changes them.
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

/// Watches from now on.
///
/// # Errors
/// Where no netlink socket can be opened.
pub fn watch() -> Result<Watch<impl StreamExt + Unpin>, AddressError> {
    let groups = [MulticastGroup::Ipv4Ifaddr];
    let (connection, _, messages) =
        rtnetlink::new_multicast_connection(&groups).map_err(AddressError::Open)?;
    Ok(Watch { messages, connection: tokio::spawn(connection) })
}

impl<S: StreamExt + Unpin> Watch<S> {
    /// Waits for the next changes; several at once are told once. False where the kernel tells no
    /// longer, and a new watch is needed.
    pub async fn changed(&mut self) -> bool {
        if self.messages.next().await.is_none() {
            return false;
        }
        while let Some(Some(_)) = self.messages.next().now_or_never() {}
        true
    }
}

/// Opens a socket for one piece of work, and gives that a time limit.
async fn with_handle<T>(
    work: impl AsyncFnOnce(Handle) -> Result<T, AddressError>,
) -> Result<T, AddressError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressError::Open)?;
    let connection = tokio::spawn(connection);
    let answer = tokio::time::timeout(LIMIT, work(handle)).await;
    connection.abort();
    answer.map_err(|_| AddressError::TimedOut)?
}

/// The interfaces' names by their index.
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
        // On a point-to-point link `Address` is the other side; `Local` is always this one.
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

fn is(error: &rtnetlink::Error, errno: Errno) -> bool {
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
