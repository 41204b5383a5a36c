//! A strict group through every kind of move, watched at the internet host.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

use crate::cluster;
use crate::net::internet::{ECHO_PORT, INTERNET_HOST};
use crate::scene::Scene;
use crate::spec::Spec;

/// What a private host sends without a pause: UDP, each datagram from a port of its own, and TCP.
const NEWCOMERS: &str = "
    use IO::Socket::INET; use IO::Select;
    while (1) {
        my %to = (PeerAddr => $ARGV[0], PeerPort => $ARGV[1]);
        my $udp = IO::Socket::INET->new(%to, Proto => \"udp\");
        $udp->send(\"x\") if $udp;
        my $tcp = IO::Socket::INET->new(%to, Proto => \"tcp\", Blocking => 0);
        select(undef, undef, undef, 0.02);
    }";

/// After each event so many packets must arrive from the group's own address.
const ENOUGH: u64 = 20;

/// How often a ruleset is flushed: the monitor's tasks restore their tables in any order.
const FLUSHES: usize = 5;

/// After which events the internet host had received packets from other addresses than the group's,
/// and how many from which; events without any are left out.
pub type Foreign = Vec<(&'static str, BTreeMap<Ipv4Addr, u64>)>;

/// Starts a cluster of [`super::Egress`], of which a host of group `a` sends without a pause. What
/// arrives at the internet host is counted.
///
/// # Errors
/// When the lab does not start.
pub fn observed(spec: &Spec) -> Result<Scene> {
    let scene = Scene::start_unwell(spec)?;
    scene.capture()?;
    let (target, port) = (INTERNET_HOST.to_string(), ECHO_PORT.to_string());
    scene.spawn("host-a", &["perl", "-e", NEWCOMERS, &target, &port])?;
    Ok(scene)
}

/// The signals that end a monitor, and what they stage.
const ENDS: [(&str, &str); 2] =
    [("TERM", "a restart of the monitor"), ("KILL", "a kill of the monitor")];

/// Stages boots, flushes of the holder's ruleset, a kernel panic, a hand-back, a hand-over,
/// restarts of the holder's monitor, and a teardown of the holder, in a cluster of
/// [`super::Egress`] with strict groups, while a host of group `a` sends.
///
/// # Errors
/// When the lab does not start, an event does not come about in time, or the group's packets do not
/// arrive after it.
pub fn foreign_packets(spec: &Spec) -> Result<Foreign> {
    // EC2 assigns no address to a node that has an egress IP when it starts.
    let nodes = ["nat-a", "nat-b"];
    let own = |spec: Spec, node: &&str| spec.with_address(&format!("own-{node}"), Some(node));
    let spec = nodes.iter().fold(spec.clone(), own);
    let scene = observed(&spec)?;
    let own = scene.public("out-a")?;
    let mut watch = Watch { scene: &scene, own, foreign: Foreign::new() };
    scene.wait_well()?;
    watch.after("the first boot")?;
    for _ in 0..FLUSHES {
        flush_ruleset(&scene, "nat-a")?;
        watch.after("a flush of the ruleset")?;
    }
    let boots = scene.boots("nat-a")?;
    scene.panic("nat-a")?;
    scene.wait_route(0, "nat-b")?;
    watch.after("a hard kill")?;
    scene.wait_boot("nat-a", boots)?;
    scene.wait_route(0, "nat-a")?;
    watch.after("the hand-back")?;
    scene.wait_well()?;
    scene.drain("nat-a")?;
    scene.wait_route(0, "nat-b")?;
    watch.after("a hand-over")?;
    let nodes = nodes.map(|name| scene.host(name));
    let nodes = nodes.into_iter().collect::<Result<Vec<_>>>()?;
    scene.stop_nodes(&nodes)?;
    scene.start_nodes(&nodes)?;
    watch.after("a boot of all nodes")?;
    scene.wait_well()?;
    for (signal, event) in ENDS {
        end_monitor(&scene, "nat-a", signal)?;
        watch.after(event)?;
    }
    scene.wait_well()?;
    tear_down(&scene, "nat-a")?;
    scene.wait_route(0, "nat-b")?;
    watch.after("a teardown of the holder")?;
    Ok(watch.foreign)
}

/// Ends a node's monitor by a signal, and waits until it runs again.
fn end_monitor(scene: &Scene, node: &str, signal: &str) -> Result<()> {
    let pid = || cluster::status(scene, node).unwrap_or_default()["pid"].clone();
    let before = pid();
    scene.sh(node, &format!("kill -{signal} $(pidof natha)"))?;
    let runs = || {
        let now = pid();
        Ok(!now.is_null() && now != before)
    };
    scene.wait_for(runs).with_context(|| format!("no monitor after SIG{signal}"))
}

/// Ends a node's monitor and the script that runs it again, and undoes what `natha setup` has done.
fn tear_down(scene: &Scene, node: &str) -> Result<()> {
    scene.sh(node, "m=$(pidof natha); kill -TERM $(awk '{ print $4 }' /proc/$m/stat) $m")?;
    scene.wait_for(|| Ok(scene.sh(node, "pidof natha").is_err()))?;
    let done = scene.natha(node, &["teardown"])?;
    ensure!(done.code == 0, "natha teardown on {node}: {}{}", done.stdout, done.stderr);
    Ok(())
}

/// Removes all rules on a node, and waits until natha has restored its own.
fn flush_ruleset(scene: &Scene, node: &str) -> Result<()> {
    scene.sh(node, "nft flush ruleset")?;
    let translates = || {
        let tables = scene.sh(node, "nft list tables")?;
        Ok(["ip natha\n", "ip natha_egress\n"].iter().all(|table| tables.contains(table))
            && scene.sh(node, "nft list table ip natha_egress")?.contains("snat to"))
    };
    scene.wait_for(translates).context("natha does not restore its tables")
}

/// The capture, and what it has shown so far.
struct Watch<'a> {
    scene: &'a Scene,
    own: Ipv4Addr,
    foreign: Foreign,
}

impl Watch<'_> {
    /// Waits until packets of the group have arrived, and notes all others.
    fn after(&mut self, event: &'static str) -> Result<()> {
        let before = self.count_own()?;
        let waited = self.scene.wait_for(|| Ok(self.count_own()? > before + ENOUGH));
        waited.with_context(|| format!("no packets of the group after {event}"))?;
        let mut captured = self.scene.captured()?;
        captured.remove(&self.own);
        if !captured.is_empty() {
            self.foreign.push((event, captured));
        }
        Ok(())
    }

    fn count_own(&self) -> Result<u64> {
        Ok(self.scene.captured()?.get(&self.own).copied().unwrap_or(0))
    }
}
