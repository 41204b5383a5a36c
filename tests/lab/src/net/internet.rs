//! The internet gateway and the internet behind it.
//!
//! The gateway maps private to public addresses one to one and without state, as EC2's does: a
//! packet from an address without a public one, or to a public address of nobody, is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use nix::net::if_::if_nametoindex;

use super::netns::{self, Netns};
use crate::dataplane::Dataplane;
use crate::meter::mixed;

/// The internet host that everything may be sent to.
pub const INTERNET_HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Where the EC2 API answers, on port 80.
pub const EC2_API: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
/// The port of the internet host that sends back what it gets, over TCP and UDP.
pub const ECHO_PORT: u16 = 7;
/// The port of the internet host that answers HTTP with the address the request came from.
pub const WHOAMI_PORT: u16 = 80;
/// Well-known resolvers' addresses, which the internet host also answers to, with the lab's names.
pub const RESOLVERS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(9, 9, 9, 9)];

/// The largest packet through an internet gateway (EC2 guide, "Network MTU").
const MTU: u32 = 1500;

/// The router's side of its link to the gateway, `/30`, and the gateway's side.
const ROUTER_SIDE: &str = "169.254.100.1";
const GATEWAY_SIDE: Ipv4Addr = Ipv4Addr::new(169, 254, 100, 2);
const LINK_MAC: [&str; 4] =
    ["02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:02:01", "02:00:00:00:02:02"];

/// The gateway's and the internet's network namespaces.
pub struct Internet {
    igw: Netns,
    /// The namespace that the internet host and the EC2 API live in.
    pub netns: Netns,
    mapped: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// The VPC's blocks, which the gateway reaches through the router.
    blocks: BTreeSet<Ipv4Net>,
}

impl Internet {
    /// Makes both and links the gateway to the router, which is the namespace of the
    /// calling thread. Returns the router's link to the gateway and the gateway's address on it,
    /// too.
    ///
    /// # Errors
    /// When the kernel or one of `ip` and `nft` refuses.
    pub fn new() -> Result<(Self, (u32, Ipv4Addr))> {
        let (igw, internet) = (Netns::new()?, Netns::new()?);
        let [router_mac, igw_mac, out_mac, host_mac] = LINK_MAC;
        let (igw_path, internet_path) = (igw.path(), internet.path());
        netns::ip(&format!(
            "link add dev igw address {router_mac} mtu {MTU} type veth \
             peer name vpc address {igw_mac} mtu {MTU} netns {igw_path}\n\
             addr add {ROUTER_SIDE}/30 dev igw\nlink set igw up\n\
             neigh replace {GATEWAY_SIDE} lladdr {igw_mac} dev igw nud permanent\n"
        ))?;
        igw.ip(&format!(
            "link set lo up\nlink set vpc up\naddr add {GATEWAY_SIDE}/30 dev vpc\n\
             neigh replace {ROUTER_SIDE} lladdr {router_mac} dev vpc nud permanent\n\
             link add dev out address {out_mac} mtu {MTU} type veth \
             peer name eth0 address {host_mac} mtu {MTU} netns {internet_path}\n\
             link set out up\naddr add 203.0.113.1/32 dev out\n\
             route add 203.0.113.0/24 dev out\n\
             neigh replace {INTERNET_HOST} lladdr {host_mac} dev out nud permanent\n\
             route add default via {INTERNET_HOST} dev out onlink\n"
        ))?;
        let also = RESOLVERS.iter().chain([&EC2_API]);
        let also: Vec<String> =
            also.map(|address| format!("addr add {address}/32 dev lo\n")).collect();
        let also = also.concat();
        internet.ip(&format!(
            "link set lo up\naddr add {INTERNET_HOST}/24 dev eth0\n{also}link set eth0 up\n\
             neigh replace 203.0.113.1 lladdr {out_mac} dev eth0 nud permanent\n\
             route add default via 203.0.113.1 dev eth0 src {INTERNET_HOST}\n"
        ))?;
        igw.run(|| {
            netns::sysctl("net/ipv4/ip_forward", "1")?;
            plain_router()
        })?;
        internet.run(serve)?;
        let link = if_nametoindex("igw").context("the router has no link `igw`")?;
        let made = Self { igw, netns: internet, mapped: BTreeMap::new(), blocks: BTreeSet::new() };
        made.load(&BTreeMap::new())?;
        Ok((made, (link, GATEWAY_SIDE)))
    }

    /// Makes the gateway's mapping and its routes into the VPC those of `dataplane`.
    ///
    /// # Errors
    /// When `ip` or `nft` refuses.
    pub fn apply(&mut self, dataplane: &Dataplane) -> Result<()> {
        let mapped: BTreeMap<_, _> = dataplane
            .interfaces
            .values()
            .flat_map(|interface| interface.public.iter().map(|(&from, &to)| (from, to)))
            .collect();
        let added = dataplane.blocks.difference(&self.blocks);
        let added = added.map(|block| format!("route add {block} via {ROUTER_SIDE} dev vpc\n"));
        let removed = self.blocks.difference(&dataplane.blocks);
        let removed = removed.map(|block| format!("route del {block} dev vpc\n"));
        let batch: Vec<String> = added.chain(removed).collect();
        if !batch.is_empty() {
            self.igw.ip(&batch.concat()).context("cannot lead to the VPC's blocks")?;
            self.blocks.clone_from(&dataplane.blocks);
        }
        if mapped != self.mapped {
            self.load(&mapped)?;
            self.mapped = mapped;
        }
        Ok(())
    }

    fn load(&self, mapped: &BTreeMap<Ipv4Addr, Ipv4Addr>) -> Result<()> {
        let rules = render(mapped);
        self.igw.run(|| netns::nft(&rules)).context("cannot map public addresses")
    }
}

/// Settings of a namespace that forwards like a router of AWS: no redirects, no judgement of
/// source addresses.
///
/// # Errors
/// When the kernel refuses one.
pub fn plain_router() -> Result<()> {
    netns::sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
    netns::sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    for scope in ["all", "default"] {
        netns::sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
        netns::sysctl(&format!("net/ipv4/conf/{scope}/send_redirects"), "0")?;
        netns::sysctl(&format!("net/ipv4/conf/{scope}/accept_redirects"), "0")?;
    }
    for link in std::fs::read_dir("/proc/sys/net/ipv4/conf").context("cannot list links")? {
        let link = link?.file_name().to_string_lossy().into_owned();
        netns::sysctl(&format!("net/ipv4/conf/{link}/rp_filter"), "0")?;
        netns::sysctl(&format!("net/ipv4/conf/{link}/send_redirects"), "0")?;
    }
    Ok(())
}

fn render(mapped: &BTreeMap<Ipv4Addr, Ipv4Addr>) -> String {
    let list = |members: Vec<String>| match members.as_slice() {
        [] => String::new(),
        members => format!("elements = {{ {} }};", members.join(", ")),
    };
    let outward = list(mapped.iter().map(|(from, to)| format!("{from} : {to}")).collect());
    let inward = list(mapped.iter().map(|(from, to)| format!("{to} : {from}")).collect());
    let private = list(mapped.keys().map(Ipv4Addr::to_string).collect());
    let public = list(mapped.values().map(Ipv4Addr::to_string).collect());
    format!(
        "table ip igw\ndelete table ip igw\ntable ip igw {{\n\
         map outward {{ type ipv4_addr : ipv4_addr; {outward} }}\n\
         map inward {{ type ipv4_addr : ipv4_addr; {inward} }}\n\
         set private {{ type ipv4_addr; {private} }}\nset public {{ type ipv4_addr; {public} }}\n\
         chain translate {{ type filter hook prerouting priority raw\n  notrack\n  \
         iifname \"vpc\" ip saddr != @private drop\n  \
         iifname \"vpc\" ip saddr set ip saddr map @outward\n  \
         ip daddr @public ip daddr set ip daddr map @inward\n}}\n\
         chain forward {{ type filter hook forward priority 0\n  \
         iifname \"out\" oifname != \"vpc\" drop\n  \
         oifname \"vpc\" ip daddr != @private drop\n}}\n\
         chain input {{ type filter hook input priority 0; policy drop; }}\n}}\n"
    )
}

/// Starts the internet host's services on threads of their own.
fn serve() -> Result<()> {
    netns::sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
    let echo = TcpListener::bind(("0.0.0.0", ECHO_PORT)).context("cannot listen for echo")?;
    thread::spawn(move || each(&echo, echo_back));
    let whoami = TcpListener::bind((INTERNET_HOST, WHOAMI_PORT)).context("cannot listen")?;
    thread::spawn(move || each(&whoami, |stream| drop(answer_address(stream))));
    // Resolvers take TCP too: what probes an uplink by connecting finds an open port.
    let resolver = TcpListener::bind(("0.0.0.0", 53)).context("cannot listen on port 53")?;
    thread::spawn(move || each(&resolver, drop));
    let datagrams = UdpSocket::bind(("0.0.0.0", ECHO_PORT)).context("cannot listen for echo")?;
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((count, peer)) = datagrams.recv_from(&mut buffer) {
            drop(datagrams.send_to(&buffer[..count], peer));
        }
    });
    mixed::server::start().context("cannot listen for mixed flows")?;
    Ok(())
}

fn each(listener: &TcpListener, serve: fn(TcpStream)) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
}

fn echo_back(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn answer_address(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // A request may come in parts. What is left unread makes the kernel reset the connection when
    // it is closed, and the answer may be lost.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut part = [0; 1024];
        match stream.read(&mut part)? {
            0 => break,
            count => head.extend_from_slice(&part[..count]),
        }
    }
    let address = format!("{}\n", stream.peer_addr()?.ip());
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{address}",
        address.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_maps_both_ways_and_drops_what_has_no_public_address() {
        let private = Ipv4Addr::new(10, 0, 0, 10);
        let rules = render(&BTreeMap::from([(private, Ipv4Addr::new(192, 0, 2, 10))]));
        assert!(rules.contains("10.0.0.10 : 192.0.2.10"));
        assert!(rules.contains("192.0.2.10 : 10.0.0.10"));
        assert!(rules.contains("iifname \"vpc\" ip saddr != @private drop"));
    }
}
