//! Addresses and names that follow a holder whose kernel panics, as a client sees it that opens a
//! new connection every 10 ms.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::pair::{api, power_cycle, spread};
use super::{Bench, summary};
use crate::meter::tcp::Aim;
use crate::patterns::services::{self, Keepalived};
use crate::patterns::{self, QUICK};
use crate::scene::{Scene, user_data};
use crate::spec::{AddressSpec, Spec};

pub(super) const VIP: [&str; 2] = ["vip.outage_ms.median", "vip.outage_ms.max"];
pub(super) const PRIVATE_IP: [&str; 2] =
    ["private_ip.outage_ms.median", "private_ip.outage_ms.max"];
pub(super) const EIP: [&str; 2] = ["eip.outage_ms.median", "eip.outage_ms.max"];
pub(super) const DNS: [&str; 2] = ["dns.outage_ms.median", "dns.outage_ms.max"];
pub(super) const KEEPALIVED: [&str; 2] =
    ["keepalived_natha.outage_ms.median", "keepalived_natha.outage_ms.max"];

/// The holder, its heir, and where clients are.
const NODES: [&str; 2] = ["node-a", "node-b"];
const CLIENT: &str = "client";
const INTERNET: &str = "internet";
const PORT: u16 = 5000;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 100, 1);
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 50);
const NAME: &str = "db.example.test";
/// From a change of a record until the lab's name servers have it.
const DNS_SYNC_MS: u64 = 1_000;
/// What a kill should meet any phase of: heartbeats, keepalived's advertisements.
const BEAT: Duration = Duration::from_millis(100);
const ADVERTISEMENT: Duration = Duration::from_secs(1);

pub(super) fn vip(bench: &Bench<'_>) -> Result<Figures> {
    let spec = with_client(spec(bench, [0, 1], &vip_group("lo"))?);
    let scene = Scene::start(&routed(spec)?)?;
    outages(bench, &VIP, &scene, BEAT, |scene| scene.connect(CLIENT, ADDRESS, Aim::port(PORT)))
}

pub(super) fn private_ip(bench: &Bench<'_>) -> Result<Figures> {
    let resource = format!("kind = \"private-ip\"\naddress = \"{FLOATING}\"");
    let mut spec = with_client(spec(bench, [0, 0], &group(&resource, ""))?);
    spec.hosts[0].secondary = vec![FLOATING];
    let scene = Scene::start(&spec)?;
    outages(bench, &PRIVATE_IP, &scene, BEAT, |scene| {
        scene.connect(CLIENT, FLOATING, Aim::port(PORT))
    })
}

pub(super) fn eip(bench: &Bench<'_>) -> Result<Figures> {
    let resource = "kind = \"eip\"\nallocation = \"{{eip.service}}\"";
    let mut spec = open(spec(bench, [0, 1], &group(resource, ""))?)?;
    let on = Some(NODES[0].to_owned());
    spec.addresses.push(AddressSpec { name: "service".to_owned(), on, private: None });
    let scene = Scene::start(&spec)?;
    let account = scene.account()?;
    let address = account.elastic.get("service").context("no such Elastic IP address")?.address;
    outages(bench, &EIP, &scene, BEAT, |scene| scene.connect(INTERNET, address, Aim::port(PORT)))
}

pub(super) fn dns(bench: &Bench<'_>) -> Result<Figures> {
    let resource = format!(
        "kind = \"dns\"\nzone = \"{{{{zone.example.test}}}}\"\nname = \"{NAME}\"\nttl = 1\n\
         public = true"
    );
    let mut spec = open(spec(bench, [0, 1], &group(&resource, ""))?)?.with_zone("example.test");
    spec.ec2.dns_sync_ms = DNS_SYNC_MS;
    let scene = Scene::start(&spec)?;
    outages(bench, &DNS, &scene, BEAT, |scene| {
        scene.connect_by_name(INTERNET, Aim::name(NAME, PORT))
    })
}

/// keepalived detects and decides, with the document's timers; natha moves the route.
pub(super) fn keepalived(bench: &Bench<'_>) -> Result<Figures> {
    let mut spec = with_client(spec(bench, [0, 1], "")?);
    let vip = ADDRESS.to_string();
    for (number, own) in NODES.into_iter().enumerate() {
        let keepalived = Keepalived {
            addresses: &[&vip],
            priority: if number == 0 { 101 } else { 100 },
            own,
            peer: NODES[1 - number],
            notify: &[("notify_master", "/usr/local/bin/natha take service")],
        };
        let commands = format!(
            "{}\nnatha setup || exit 1\n{}\nexec natha monitor --observe",
            services::greeter(PORT, own, false)?,
            keepalived.commands()
        );
        spec.hosts[number].user_data = Some(user_data(&vip_group("off"), &commands));
    }
    let scene = Scene::start(&routed(spec)?)?;
    outages(bench, &KEEPALIVED, &scene, ADVERTISEMENT, |scene| {
        scene.connect(CLIENT, ADDRESS, Aim::port(PORT))
    })
}

fn group(resource: &str, more: &str) -> String {
    format!(
        "{QUICK}
[[group]]
name = \"service\"
prefer = [\"{{{{instance.node-a}}}}\", \"{{{{instance.node-b}}}}\"]
{more}

[[group.resource]]
{resource}
"
    )
}

fn vip_group(local: &str) -> String {
    let local = format!("local = \"{local}\"");
    group(&format!("kind = \"vip\"\naddress = \"{ADDRESS}\""), &local)
}

fn spec(bench: &Bench<'_>, zones: [u8; 2], config: &str) -> Result<Spec> {
    let [first, second] = NODES;
    let greeters =
        [services::greeter(PORT, first, false)?, services::greeter(PORT, second, false)?];
    let nodes = [(first, zones[0]), (second, zones[1])];
    let mut spec = patterns::spec(&bench.options.natha, &nodes, config, |name| {
        greeters[usize::from(name == second)].clone()
    });
    spec.ec2 = api(50);
    Ok(spec)
}

fn with_client(spec: Spec) -> Spec {
    spec.with_host(patterns::client(CLIENT, 2))
}

fn routed(spec: Spec) -> Result<Spec> {
    Ok(spec.with_route(format!("{ADDRESS}/32").parse()?, NODES[0], &["private-c"]))
}

/// Lets the internet in.
fn open(spec: Spec) -> Result<Spec> {
    Ok(spec.with_ingress("203.0.113.0/24".parse()?))
}

/// Kills the holder again and again, each time after it holds everything again.
fn outages(
    bench: &Bench<'_>,
    names: &[&'static str; 2],
    scene: &Scene,
    phase: Duration,
    connect: impl Fn(&Scene) -> Result<u64>,
) -> Result<Figures> {
    let [holder, heir] = NODES;
    let rounds = bench.scale.patterns;
    let mut outages = Vec::new();
    for round in 0..rounds {
        // Its way back to the holder is not what is measured.
        let homing = connect(scene)?;
        scene.wait_served(homing, holder)?;
        scene.connected(homing)?;
        let meter = connect(scene)?;
        scene.wait_served(meter, holder)?;
        spread(round, rounds, phase);
        scene.panic(holder)?;
        scene.wait_served(meter, heir)?;
        let report = scene.connected(meter)?;
        ensure!(report.outages.len() == 1, "not one outage: {:?}", report.outages);
        let ms = report.worst_ms();
        Bench::say(&format!("kill {} of {rounds}: {ms:.0} ms", round + 1));
        outages.push(ms);
        power_cycle(scene, holder)?;
    }
    summary(names, &outages)
}
