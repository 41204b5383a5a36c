//! Clusters whose private hosts reach the internet by egress IPs: two nodes, a group for each of
//! their zones, and connections of two private hosts through the first node.

mod foreign;
mod load;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

pub use foreign::{Foreign, foreign_packets, observed};
pub use load::{Ended, Load};

use crate::cluster;
use crate::control::protocol::Output;
use crate::net::internet::{INTERNET_HOST, WHOAMI_PORT};
use crate::scene::{self, PATIENCE, SERVICE, Scene};
use crate::spec::{HostSpec, Role, Spec};

/// The groups, which are also the last letters of their nodes, hosts and route tables.
const GROUPS: [&str; 2] = ["a", "b"];

/// Commands that make the cluster key on a node.
const KEY: &str = "umask 077; echo 0123456789abcdef0123456789abcdef > /etc/natha/key; umask 022";

/// How `natha handover` refuses what it may do later, and how long until it is asked again.
const NOT_NOW: &str = "cannot be handed over now";
const AGAIN: Duration = Duration::from_secs(1);

/// The settings of a cluster. Group `a` has the egress IP `out-a`, and its home is `nat-a`;
/// likewise `b`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Egress<'a> {
    /// Whether new connections wait for their egress IP, and do not leave by the node's own address
    /// meanwhile.
    pub strict: bool,
    /// Whether connections are replicated.
    pub replicate: bool,
    /// Further settings, without groups: keys of the top level first, then tables.
    pub more: &'a str,
}

impl Egress<'_> {
    /// The settings file.
    #[must_use]
    pub fn config(&self) -> String {
        self.config_of(GROUPS.map(|name| names(name, 1)))
    }

    /// The settings file of groups with these Elastic IPs.
    fn config_of(&self, addresses: [Vec<String>; 2]) -> String {
        let mode = if self.strict { "strict" } else { "eager" };
        let replication = "heartbeat.key_file = \"/etc/natha/key\"\nreplicate.enabled = true\n";
        let replication = if self.replicate { replication } else { "" };
        let groups = GROUPS.iter().zip(addresses).map(|(name, addresses)| {
            let resources: Vec<String> = addresses.iter().map(|name| resource(name)).collect();
            format!(
                "[[group]]
name = \"{name}\"
home = \"nat-{name}\"
tables = [\"{{{{table.private-{name}}}}}\"]
egress = \"{mode}\"
{}",
                resources.concat()
            )
        });
        format!("{replication}{}\n{}", self.more, groups.collect::<Vec<_>>().concat())
    }

    /// Two nodes with two landing addresses each, a private host for each, and an Elastic IP for
    /// each group. API calls take 50 ms, and the monitors are started again whenever they end.
    #[must_use]
    pub fn spec(&self, natha: impl Into<PathBuf>) -> Spec {
        self.spec_with(natha, SERVICE)
    }

    /// The same with these commands in place of those that run the monitor.
    #[must_use]
    pub fn spec_with(&self, natha: impl Into<PathBuf>, commands: &str) -> Spec {
        self.spec_of(2, natha, commands)
    }

    /// The same with a third node and its private host, and the same two groups: each has two
    /// heirs.
    #[must_use]
    pub fn spec_with_two_heirs(&self, natha: impl Into<PathBuf>) -> Spec {
        self.spec_of(3, natha, SERVICE)
    }

    /// Two nodes, where group `a` has so many egress IPs: `out-a`, `out-a2`, and so on.
    #[must_use]
    pub fn spec_with_several(&self, natha: impl Into<PathBuf>, count: u8) -> Spec {
        self.spec_like(2, natha, SERVICE, [names("a", count), names("b", 1)])
    }

    fn spec_of(&self, nodes: u8, natha: impl Into<PathBuf>, commands: &str) -> Spec {
        self.spec_like(nodes, natha, commands, GROUPS.map(|name| names(name, 1)))
    }

    fn spec_like(
        &self,
        nodes: u8,
        natha: impl Into<PathBuf>,
        commands: &str,
        addresses: [Vec<String>; 2],
    ) -> Spec {
        let all = addresses.concat();
        let config = self.config_of(addresses);
        let user_data = scene::user_data(&config, &format!("{KEY}\n{commands}"));
        let mut spec = scene::spec(nodes, natha, &config).with_node_user_data(&user_data);
        for host in spec.hosts.iter_mut().filter(|host| host.role == Role::Node) {
            let zone = host.zone;
            let landings = (201..).take(all.len()).map(|last| Ipv4Addr::new(10, 0, zone, last));
            host.secondary = landings.collect();
        }
        all.iter().fold(spec, |spec, name| spec.with_address(name, None))
    }
}

/// The names of so many Elastic IPs of a group.
fn names(group: &str, count: u8) -> Vec<String> {
    let name = |number| match number {
        1 => format!("out-{group}"),
        number => format!("out-{group}{number}"),
    };
    (1..=count).map(name).collect()
}

/// An egress IP in the settings of its group.
fn resource(name: &str) -> String {
    format!(
        "
[[group.resource]]
kind = \"egress-ip\"
allocation = \"{{{{eip.{name}}}}}\"
"
    )
}

/// Adds `host-c`, a second private host in the first zone, and lets the internet host into every
/// host: a node's security group knows no connections of another node's interface.
#[must_use]
pub fn with_second_host(spec: Spec) -> Spec {
    spec.with_host(HostSpec::new("host-c", 0, Role::Private)).with_ingress(INTERNET_HOST.into())
}

impl Scene {
    /// The public address by which a private host reaches the internet; none if it does not.
    #[must_use]
    pub fn seen(&self, host: &str) -> Option<Ipv4Addr> {
        let ask = format!(
            "perl -MIO::Socket::INET -e '
            $s = IO::Socket::INET->new(PeerAddr => \"{INTERNET_HOST}:{WHOAMI_PORT}\", Timeout => 2)
                or exit 1;
            print $s \"GET / HTTP/1.0\\r\\n\\r\\n\";
            while (<$s>) {{ $last = $_ }} print $last'"
        );
        self.sh(host, &ask).ok()?.trim().parse().ok()
    }

    /// Waits until a private host reaches the internet by an address.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_seen(&self, host: &str, address: Ipv4Addr) -> Result<()> {
        let waited = self.wait_for(|| Ok(self.seen(host) == Some(address)));
        waited.with_context(|| format!("{host} is not seen as {address}"))
    }

    /// The address of an Elastic IP.
    ///
    /// # Errors
    /// When there is none with this name.
    pub fn public(&self, name: &str) -> Result<Ipv4Addr> {
        let account = self.account()?;
        let found = account.elastic.get(name).map(|elastic| elastic.address);
        found.with_context(|| format!("no Elastic IP is named {name}"))
    }

    /// The private address on a node that belongs to the egress IP of a group.
    ///
    /// # Errors
    /// When the node's monitor names none.
    pub fn landing(&self, node: &str, group: &str) -> Result<Ipv4Addr> {
        let status = cluster::status(self, node)?;
        let mut all = status["egress"].as_array().into_iter().flatten();
        let found = all.find(|egress| egress["group"] == group);
        let landing = found.and_then(|egress| egress["landing"].as_str()?.parse().ok());
        landing.with_context(|| format!("{node} has no landing address of group {group}"))
    }

    /// What the owner of connections reports of its stream to an heir; null while its monitor does
    /// not run, or knows no such heir.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn sent(&self, owner: &str, heir: &str) -> Result<Value> {
        self.stream(owner, "heirs", heir)
    }

    /// What an heir reports of what it holds of an owner, likewise.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn kept(&self, owner: &str, heir: &str) -> Result<Value> {
        self.stream(heir, "owners", owner)
    }

    fn stream(&self, node: &str, part: &str, peer: &str) -> Result<Value> {
        let peer = self.host(peer)?.instance;
        let status = cluster::status(self, node).unwrap_or_default();
        Ok(status["flows"][part][peer.as_str()].clone())
    }

    /// Waits until an heir holds so many connections of an owner at least, and no change waits.
    ///
    /// # Errors
    /// When that is not so in time.
    pub fn wait_replicated(&self, owner: &str, heir: &str, least: usize) -> Result<()> {
        let least = u64::try_from(least)?;
        self.wait_for(|| {
            let (sent, kept) = (self.sent(owner, heir)?, self.kept(owner, heir)?);
            let is_live = sent["state"] == "live" && kept["state"] == "live";
            let held = kept["flows"].as_u64().unwrap_or(0);
            Ok(is_live && held >= least && sent["waiting"] == 0)
        })
        .with_context(|| format!("{heir} does not hold {least} connections of {owner}"))
    }

    /// Waits until no node copies packets to another one: the last planned move has taken effect.
    ///
    /// # Errors
    /// When that is not so in time.
    pub fn wait_copies_ended(&self, nodes: &[&str]) -> Result<()> {
        let copies = |node: &&str| Ok(self.sh(node, "nft list ruleset")?.contains("dup to"));
        let none = || nodes.iter().map(copies).collect::<Result<Vec<_>>>();
        let waited = self.wait_for(|| Ok(!none()?.contains(&true)));
        waited.context("the nodes still copy packets to each other")
    }

    /// Has a node hand a group over to another one, as soon as the node does not refuse that for
    /// now.
    ///
    /// # Errors
    /// When it does not in time: with what `natha handover` says, and the consoles.
    pub fn hand_over(&self, from: &str, group: &str, to: &str) -> Result<()> {
        let mut last = Output { code: 0, stdout: String::new(), stderr: String::new() };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            last = self.natha(from, &["handover", group, "--to", to])?;
            if last.code == 0 {
                return Ok(());
            }
            if !last.stderr.contains(NOT_NOW) {
                break;
            }
            self.pass(AGAIN);
        }
        Err(self.explain(anyhow!("natha handover on {from}: {}{}", last.stdout, last.stderr)))
    }

    /// Once an heir holds a connection at least, the home of the first zone's group panics, is
    /// stopped and started, and has its group again.
    ///
    /// # Errors
    /// When that does not come about in time.
    pub fn fail_over_and_back(&self, home: &str, heir: &str) -> Result<()> {
        self.wait_replicated(home, heir, 1)?;
        let node = [self.host(home)?];
        self.panic(home)?;
        self.wait_route(0, heir)?;
        self.stop_nodes(&node)?;
        self.start_nodes(&node)?;
        self.wait_route(0, home)?;
        self.wait_well()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_say_what_is_asked_for() {
        let more = "replicate.max_flows = 5000\n\n[hand_back]\nhold = \"3s\"\n";
        let config = Egress { strict: true, replicate: true, more }.config();
        assert!(config.starts_with("heartbeat.key_file"), "{config}");
        let at = |part: &str| config.find(part).unwrap_or_else(|| panic!("no {part}: {config}"));
        assert!(at("replicate.enabled = true") < at("replicate.max_flows"), "{config}");
        assert!(at("[hand_back]") < at("[[group]]"), "{config}");
        assert_eq!(config.matches("egress = \"strict\"").count(), 2);
        let config = Egress::default().config();
        assert!(!config.contains("replicate") && config.contains("egress = \"eager\""), "{config}");
        assert!(config.contains("allocation = \"{{eip.out-b}}\""), "{config}");
    }

    #[test]
    fn each_node_has_landing_addresses_in_its_own_subnet() {
        let spec = with_second_host(Egress::default().spec("natha"));
        assert_eq!(spec.faults(), [""; 0]);
        let of = |name: &str| {
            let host = spec.hosts.iter().find(|host| host.name == name).unwrap();
            host.secondary.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of("nat-a"), ["10.0.0.201", "10.0.0.202"]);
        assert_eq!(of("nat-b"), ["10.0.1.201", "10.0.1.202"]);
        assert!(of("host-c").is_empty());
    }
}
