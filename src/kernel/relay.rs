//! The tunnel through which the nodes of a planned move copy packets to each other: a VXLAN
//! interface (RFC 7348) whose forwarding database, neighbours and routes are all static, so that
//! nothing is learnt from packets.
//!
//! It needs `CAP_NET_ADMIN` and the VXLAN driver, which the kernel loads when it is needed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourState};
use netlink_packet_route::route::RouteScope;
use nix::errno::Errno;
use rtnetlink::{Handle, LinkVxlan, RouteMessageBuilder};

use super::addresses::is_refusal;
use super::netlink::{self, LIMIT};
use super::sysctl::{self, SysctlError};
use crate::plan::{Item, RELAY_LINK, tunnel_address, tunnel_sysctls};

/// The number of the virtual network, the same on all nodes.
const NETWORK: u32 = 6286;
/// The source ports of the packets that carry copies. The kernel chooses one by the hash of the
/// connection; each becomes one tracked connection on both nodes.
const SOURCE_PORTS: (u16, u16) = (61_000, 61_016);
/// Larger than that of any interface of EC2, in bytes: a copy is never too large for the tunnel.
/// The kernel fragments the packet that carries it if needed.
const MTU: u32 = 9_216;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] std::io::Error),
    /// The kernel refuses.
    #[error(
        "cannot {doing} the interface `{RELAY_LINK}`: {source}. The kernel's VXLAN driver and \
         the capability CAP_NET_ADMIN are needed"
    )]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: rtnetlink::Error,
    },
    /// The interface's sysctls cannot be set.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The kernel does not answer.
    #[error("the kernel did not answer about `{RELAY_LINK}` within {} s", LIMIT.as_secs())]
    TimedOut,
}

/// What a tunnel is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunnel {
    /// This node's address in the VPC.
    pub(crate) own: Ipv4Addr,
    /// Those of its peers. No two of them, nor one of them and `own`, have the same
    /// [`tunnel_address`].
    pub(crate) peers: BTreeSet<Ipv4Addr>,
    /// The UDP port, the same on all nodes.
    pub(crate) port: u16,
}

impl Tunnel {
    /// Makes the interface anew. Its index is another one than before.
    ///
    /// # Errors
    /// If the kernel refuses. There is no interface then.
    pub(crate) async fn make(&self) -> Result<(), RelayError> {
        remove().await?;
        let made = within_limit(async |handle| self.add(handle).await).await;
        let made = made.and_then(|()| hold().map(drop));
        if made.is_err() {
            // The first error is the one to report.
            let _ = remove().await;
        }
        made
    }

    async fn add(&self, handle: &Handle) -> Result<(), RelayError> {
        let refused = |source| RelayError::Refused { doing: "make", source };
        let (first, last) = SOURCE_PORTS;
        let link = LinkVxlan::new(RELAY_LINK, NETWORK)
            .port(self.port)
            .port_range(first, last)
            .local(self.own)
            .learning(false)
            .address(hardware(self.own).into())
            .mtu(MTU)
            .up();
        handle.link().add(link.build()).execute().await.map_err(refused)?;
        let Some(index) = index(handle).await? else {
            return Err(refused(rtnetlink::Error::RequestFailed));
        };
        let own = IpAddr::V4(tunnel_address(self.own));
        handle.address().add(index, own, 32).execute().await.map_err(refused)?;
        for peer in &self.peers {
            Self::add_peer(handle, index, *peer).await.map_err(refused)?;
        }
        Ok(())
    }

    async fn add_peer(handle: &Handle, index: u32, peer: Ipv4Addr) -> Result<(), rtnetlink::Error> {
        let (inner, lower) = (tunnel_address(peer), hardware(peer));
        handle
            .neighbours()
            .add_bridge(index, &lower)
            .flags(NeighbourFlags::Own)
            .destination(IpAddr::V4(peer))
            .execute()
            .await?;
        handle
            .neighbours()
            .add(index, IpAddr::V4(inner))
            .link_layer_address(&lower)
            .state(NeighbourState::Permanent)
            .execute()
            .await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(inner, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        handle.route().add(route).execute().await
    }
}

/// Sets the interface's sysctls where another program has changed them. Returns how they were.
///
/// # Errors
/// If one cannot be read or set.
pub(crate) fn hold() -> Result<Vec<Item>, RelayError> {
    Ok(sysctl::hold(&tunnel_sysctls())?)
}

/// Whether the interface is there.
///
/// # Errors
/// If the kernel does not answer.
pub(crate) async fn is_there() -> Result<bool, RelayError> {
    within_limit(async |handle| Ok(index(handle).await?.is_some())).await
}

/// Removes the interface, if it is there.
///
/// # Errors
/// If the kernel refuses.
pub(crate) async fn remove() -> Result<(), RelayError> {
    within_limit(async |handle| {
        let Some(index) = index(handle).await? else { return Ok(()) };
        match handle.link().del(index).execute().await {
            Err(error) if !is_refusal(&error, Errno::ENODEV) => {
                Err(RelayError::Refused { doing: "remove", source: error })
            }
            _ => Ok(()),
        }
    })
    .await
}

/// The index of the interface; none if it does not exist.
async fn index(handle: &Handle) -> Result<Option<u32>, RelayError> {
    let mut messages = handle.link().get().match_name(RELAY_LINK.to_owned()).execute();
    match messages.try_next().await {
        Ok(message) => Ok(message.map(|message| message.header.index)),
        Err(error) if is_refusal(&error, Errno::ENODEV) => Ok(None),
        Err(source) => Err(RelayError::Refused { doing: "read", source }),
    }
}

async fn within_limit<T>(
    work: impl AsyncFnOnce(&Handle) -> Result<T, RelayError>,
) -> Result<T, RelayError> {
    let outcome = netlink::ask(work).await.map_err(RelayError::Open)?;
    outcome.ok_or(RelayError::TimedOut)?
}

/// The hardware address of a node in the tunnel: a locally administered one (IEEE 802) with the
/// node's own address in it.
fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0, a, b, c, d]
}
