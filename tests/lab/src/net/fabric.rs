//! The VPC's router, which is the lab's own network namespace, and the links plugged into it.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use nix::net::if_::if_nametoindex;

use super::faults::{self, Host, NetFaults};
use super::filter;
use super::internet::{self, Internet};
use super::netns::{self, Netns};
use super::plan::{self, Change, FIRST_SUBNET_TABLE, Port, VPC_TABLE};
use super::resolver::RESOLVER;
use super::routes::{FAR_END, Table};
use crate::dataplane::{Dataplane, Interface};

/// The router's hardware address on every link.
pub const ROUTER_MAC: &str = "02:00:00:00:00:01";
/// The address of the metadata service.
pub const METADATA: &str = "169.254.169.254";
/// The largest packet inside the VPC, as on EC2.
const MTU: u32 = 9001;

/// An interface's place at the router: chosen once, kept over power cycles.
#[derive(Debug, Clone)]
struct Socket {
    link: String,
    port: Option<Port>,
    table: Option<u32>,
}

/// The router with everything that is plugged into it.
pub struct Fabric {
    table: Table,
    /// The internet behind the gateway.
    pub internet: Internet,
    sockets: BTreeMap<String, Socket>,
    tables: BTreeMap<String, u32>,
    filter: String,
    faults: String,
}

impl Fabric {
    /// Turns the network namespace of the process into the router of an empty VPC.
    ///
    /// # Errors
    /// When the kernel or one of `ip` and `nft` refuses.
    pub fn new() -> Result<Self> {
        netns::sysctl("net/ipv4/ip_forward", "1")?;
        internet::plain_router()?;
        let (internet, gateway) = Internet::new()?;
        netns::ip(&format!(
            "link set lo up\naddr add {METADATA}/32 dev lo\naddr add {RESOLVER}/32 dev lo\n\
             rule add pref 100 lookup {VPC_TABLE}\n"
        ))?;
        // The router judges no connection: what a host has sent in the middle of one, passes.
        netns::nft("table ip vpc { chain warm { ct state new accept; }; }\n")?;
        netns::sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", "1")?;
        Ok(Self {
            table: Table::open(gateway)?,
            internet,
            sockets: BTreeMap::new(),
            tables: BTreeMap::new(),
            filter: String::new(),
            faults: String::new(),
        })
    }

    /// Makes routes, filters and public addresses those of `dataplane`; returns the routes that
    /// changed. Routes come first: they are what the world waits for.
    ///
    /// # Errors
    /// When the kernel or `nft` refuses something.
    pub async fn apply(&mut self, dataplane: &Dataplane) -> Result<Vec<Change>> {
        self.number_subnets(dataplane)?;
        let ports = self.ports();
        let want = plan::routes(dataplane, &ports, &self.tables);
        let changes = self.table.apply(&want).await?;
        self.internet.apply(dataplane)?;
        let links = self.links();
        let filter = filter::render(dataplane, &links);
        if filter != self.filter {
            netns::nft(&filter).context("cannot load the security groups")?;
            self.filter = filter;
        }
        Ok(changes)
    }

    /// Makes the network's faults these.
    ///
    /// # Errors
    /// When they name something unknown, or `nft` refuses.
    pub fn apply_faults(&mut self, faults: &NetFaults, dataplane: &Dataplane) -> Result<()> {
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        for (id, interface) in &dataplane.interfaces {
            let name = dataplane.instances.get(&interface.instance).map(|host| host.name.clone());
            let host = hosts.entry(name.unwrap_or_default()).or_default();
            host.addresses.extend(&interface.addresses);
            host.links.extend(self.sockets.get(id).map(|socket| socket.link.clone()));
        }
        let rules = faults::render(faults, &hosts).map_err(anyhow::Error::msg)?;
        if rules != self.faults {
            netns::nft(&rules).context("cannot set the network's faults")?;
            self.faults = rules;
        }
        Ok(())
    }

    /// Prepares to plug an interface into the router. The work is done by [`Plug::insert`], away
    /// from the router's owner, since the kernel takes its time for links; [`Fabric::plugged`]
    /// follows. None if it is plugged in already.
    pub fn prepare(&mut self, id: &str, interface: &Interface, subnet: Ipv4Net) -> Option<Plug> {
        let next = self.sockets.len() + 1;
        let table = self.tables.get(&interface.subnet).copied();
        let socket = self.sockets.entry(id.to_owned()).or_insert_with(|| Socket {
            link: format!("vif{next}"),
            port: None,
            table: None,
        });
        if socket.port.is_some() {
            return None;
        }
        let rule = table.filter(|_| socket.table.is_none());
        socket.table = socket.table.or(table);
        let (id, link, interface) = (id.to_owned(), socket.link.clone(), interface.clone());
        Some(Plug { id, link, rule, interface, subnet })
    }

    /// Notes that an interface is plugged in: from now on routes lead to it.
    ///
    /// # Errors
    /// When its link is gone.
    pub fn plugged(&mut self, plug: &Plug) -> Result<()> {
        let link = if_nametoindex(plug.link.as_str()).context("a new link has no index")?;
        if let Some(socket) = self.sockets.get_mut(&plug.id) {
            socket.port = Some(Port { link });
        }
        Ok(())
    }

    /// Forgets that an interface is plugged in; [`Fabric::remove_links`] follows once its routes
    /// are gone.
    pub fn power_off(&mut self, id: &str) {
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.port = None;
        }
    }

    /// Removes links by the router's end; the instances' ends go with them. A link may be gone
    /// already: with the last process of an instance the kernel ends its network, and its links.
    ///
    /// # Errors
    /// When `ip` refuses and a link is still there.
    pub fn remove_links(links: &[String]) -> Result<()> {
        for link in links {
            let removed = netns::ip(&format!("link del {link}\n"));
            if if_nametoindex(link.as_str()).is_ok() {
                removed?;
            }
        }
        Ok(())
    }

    /// Which interfaces are plugged in, with the name of the router's end.
    #[must_use]
    pub fn links(&self) -> BTreeMap<String, String> {
        let plugged = self.sockets.iter().filter(|(_, socket)| socket.port.is_some());
        plugged.map(|(id, socket)| (id.clone(), socket.link.clone())).collect()
    }

    /// The subnet that a route table of the router belongs to.
    #[must_use]
    pub fn subnet_of(&self, table: u32) -> Option<&str> {
        let mut tables = self.tables.iter();
        tables.find(|(_, number)| **number == table).map(|(subnet, _)| subnet.as_str())
    }

    fn ports(&self) -> BTreeMap<String, Port> {
        let sockets = self.sockets.iter();
        sockets.filter_map(|(id, socket)| Some((id.clone(), socket.port?))).collect()
    }

    fn number_subnets(&mut self, dataplane: &Dataplane) -> Result<()> {
        for (id, subnet) in &dataplane.subnets {
            if self.tables.contains_key(id) {
                continue;
            }
            let number = u32::try_from(self.tables.len()).context("too many subnets")?;
            self.tables.insert(id.clone(), FIRST_SUBNET_TABLE + number);
            // The router answers ARP for a subnet's gateway, and nothing else.
            netns::ip(&format!("addr add {}/32 dev lo\n", gateway(subnet.cidr)))?;
        }
        Ok(())
    }
}

/// An interface on its way into the router.
#[derive(Debug, Clone)]
pub struct Plug {
    id: String,
    link: String,
    /// The route table of what it sends, unless the router knows that from an earlier time.
    rule: Option<u32>,
    interface: Interface,
    subnet: Ipv4Net,
}

impl Plug {
    /// Makes the link and, in the instance's namespace, the interface with its first address and
    /// default route, as DHCP would. To be called in the router's namespace.
    ///
    /// # Errors
    /// When the kernel or `ip` refuses.
    pub fn insert(&self, guest: &Netns) -> Result<()> {
        let (link, mac) = (&self.link, &self.interface.mac);
        let (name, path) = (device(self.interface.device_index), guest.path());
        // The router's ICMP errors come from the gateway of the subnet (EC2 guide, "Network MTU"),
        // also when a NAT forwards them.
        let router = gateway(self.subnet);
        let rule = self.rule.map(|table| format!("rule add pref 200 iif {link} lookup {table}\n"));
        netns::ip(&format!(
            "link add dev {link} address {ROUTER_MAC} mtu {MTU} type veth \
             peer name {name} address {mac} mtu {MTU} netns {path}\n\
             addr add {router}/32 dev {link}\nlink set {link} up\n\
             neigh replace {FAR_END} lladdr {mac} dev {link} nud permanent\n{}",
            rule.unwrap_or_default()
        ))?;
        netns::sysctl(&format!("net/ipv4/conf/{link}/proxy_arp"), "1")?;
        netns::sysctl(&format!("net/ipv4/conf/{link}/accept_local"), "1")?;
        netns::sysctl(&format!("net/ipv4/conf/{link}/rp_filter"), "0")?;
        netns::sysctl(&format!("net/ipv4/conf/{link}/send_redirects"), "0")?;
        netns::sysctl(&format!("net/ipv4/neigh/{link}/proxy_delay"), "0")?;
        guest.ip(&guest_batch(&self.interface, &name, self.subnet))
    }
}

/// The gateway of a subnet: its first address.
#[must_use]
pub fn gateway(subnet: Ipv4Net) -> std::net::Ipv4Addr {
    subnet.hosts().next().unwrap_or(subnet.network())
}

/// What Linux calls the interface at this place.
#[must_use]
pub fn device(index: u32) -> String {
    format!("ens{}", 5 + index)
}

fn guest_batch(interface: &Interface, name: &str, subnet: Ipv4Net) -> String {
    let gateway = gateway(subnet);
    let mut batch = format!("link set {name} up\n");
    if let Some(address) = interface.addresses.first() {
        let length = subnet.prefix_len();
        let _ = writeln!(batch, "addr add {address}/{length} brd + dev {name}");
        let _ =
            writeln!(batch, "neigh replace {gateway} lladdr {ROUTER_MAC} dev {name} nud permanent");
        let metric = 512 + interface.device_index;
        let _ = writeln!(batch, "route add default via {gateway} dev {name} metric {metric}");
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netns::Netns;

    #[test]
    fn links_that_are_gone_are_removed() {
        let left = Netns::new().unwrap().run(|| {
            netns::ip("link add vif2 type veth peer name other\n")?;
            Fabric::remove_links(&["vif1".into(), "vif2".into(), "vif3".into()])?;
            Ok(if_nametoindex("vif2").is_ok())
        });
        assert!(!left.unwrap());
    }
}
