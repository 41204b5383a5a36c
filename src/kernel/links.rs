//! The host's interfaces, addresses and routes, by rtnetlink.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use nix::errno::Errno;
use rtnetlink::{Handle, RouteMessageBuilder};

use super::addresses::is_refusal;
use super::netlink::{self, LIMIT};
use crate::plan::{Link, Route};

/// Why the interfaces could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinksError {
    /// No netlink socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] std::io::Error),
    /// The kernel refuses.
    #[error("cannot read interfaces, addresses and routes from the kernel")]
    Read(#[from] rtnetlink::Error),
    /// The kernel does not answer.
    #[error("the kernel did not return its interfaces, addresses and routes within {} s",
            LIMIT.as_secs())]
    TimedOut,
}

/// The interfaces without loopback, and the routes of the main table.
pub(crate) async fn read() -> Result<(Vec<Link>, Vec<Route>), LinksError> {
    within_limit(async |handle| ask(handle).await).await
}

async fn within_limit<T>(
    question: impl AsyncFnOnce(&Handle) -> Result<T, rtnetlink::Error>,
) -> Result<T, LinksError> {
    let answer = netlink::ask(question).await.map_err(LinksError::Open)?;
    Ok(answer.ok_or(LinksError::TimedOut)??)
}

/// The packets that the kernel has received by an interface and sent by it; none if it does not
/// exist.
pub(crate) async fn packets(name: &str) -> Result<Option<(u64, u64)>, LinksError> {
    within_limit(async |handle| {
        let mut messages = handle.link().get().match_name(name.to_owned()).execute();
        let message = match messages.try_next().await {
            Ok(message) => message,
            Err(error) if is_refusal(&error, Errno::ENODEV) => None,
            Err(error) => return Err(error),
        };
        let attributes = message.into_iter().flat_map(|message| message.attributes);
        Ok(attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Stats64(stats) => Some((stats.rx_packets, stats.tx_packets)),
            _ => None,
        }))
    })
    .await
}

/// The bytes that the kernel has received by an interface and sent by it; none if it has no such
/// interface.
pub(crate) fn octets(name: &str) -> Option<u64> {
    Some(statistic(name, "rx_bytes")?.saturating_add(statistic(name, "tx_bytes")?))
}

/// One of the kernel's counters of an interface (`sysfs-class-net-statistics`); none if it has no
/// such interface or counter.
pub(crate) fn statistic(link: &str, name: &str) -> Option<u64> {
    let path = format!("/sys/class/net/{link}/statistics/{name}");
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The MTU of an interface, in bytes; none if there is no such interface.
pub(crate) fn mtu(name: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?.trim().parse().ok()
}

/// The driver of an interface's device; none for an interface without a device, such as a bridge.
pub(crate) fn driver(name: &str) -> Option<String> {
    let link = std::fs::read_link(format!("/sys/class/net/{name}/device/driver")).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

async fn ask(handle: &Handle) -> Result<(Vec<Link>, Vec<Route>), rtnetlink::Error> {
    let mut links: BTreeMap<u32, Link> = BTreeMap::new();
    let mut messages = handle.link().get().execute();
    while let Some(message) = messages.try_next().await? {
        if message.header.flags.contains(LinkFlags::Loopback) {
            continue;
        }
        let mut link = Link { name: String::new(), mac: String::new(), addresses: Vec::new() };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => link.mac = mac(&bytes),
                _ => {}
            }
        }
        links.insert(message.header.index, link);
    }
    let mut messages = handle.address().get().execute();
    while let Some(message) = messages.try_next().await? {
        let Some(link) = links.get_mut(&message.header.index) else { continue };
        for attribute in &message.attributes {
            // On a point-to-point link `Address` is the peer's; `Local` is always this host's.
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
                link.addresses.extend(Ipv4Net::new(*address, message.header.prefix_len));
            }
        }
    }
    let mut routes = Vec::new();
    let every = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let mut messages = handle.route().get(every).execute();
    while let Some(message) = messages.try_next().await? {
        routes.extend(main_routes(&message, &links));
    }
    Ok((links.into_values().collect(), routes))
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// The routes in a message. One route may use several interfaces.
fn main_routes(message: &RouteMessage, links: &BTreeMap<u32, Link>) -> Vec<Route> {
    if message.header.table != RouteHeader::RT_TABLE_MAIN {
        return Vec::new();
    }
    let (mut to, mut metric) = (Ipv4Addr::UNSPECIFIED, 0);
    let mut out = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = *address,
            RouteAttribute::Priority(value) => metric = *value,
            RouteAttribute::Oif(index) => out.push(*index),
            RouteAttribute::MultiPath(hops) => {
                out.extend(hops.iter().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    let Ok(destination) = Ipv4Net::new(to, message.header.destination_prefix_length) else {
        return Vec::new();
    };
    let route = |link: Option<String>| Route { destination, metric, link };
    if out.is_empty() {
        return vec![route(None)];
    }
    let named = out.iter().filter_map(|index| links.get(index));
    named.map(|link| route(Some(link.name.clone()))).collect()
}
