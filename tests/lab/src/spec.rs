//! What a lab is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use crate::ec2::Timings;
use crate::guest;
use serde::{Deserialize, Serialize};

/// The names of the route tables.
pub const TABLES: [&str; 4] = ["public", "private-a", "private-b", "private-c"];

/// The VPC's addresses where nothing else is said.
const VPC: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 16);

/// Everything that is chosen before a lab starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The instances, in the order in which they are launched.
    pub hosts: Vec<HostSpec>,
    /// The VPC's addresses, a /16. The zones' public subnets are its third bytes 0, 1 and 2, their
    /// private ones 100, 101 and 102.
    #[serde(default = "vpc")]
    pub vpc: Ipv4Net,
    /// The `natha` binary that nodes find as `/usr/local/bin/natha`.
    #[serde(default)]
    pub natha: Option<PathBuf>,
    /// What nodes boot: a root file system, as a container, or the disk of a virtual machine.
    /// cloud-init in there reads the user data, and natha is the image's own.
    #[serde(default)]
    pub image: Option<PathBuf>,
    /// Tags of the private subnets' route tables, besides `Name`.
    #[serde(default)]
    pub table_tags: BTreeMap<String, String>,
    /// Further routes than those that every lab has.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
    /// The homes of private route tables without a subnet: hosts, or zones. The default route of
    /// each leads there, and each has the tags of the private tables.
    #[serde(default)]
    pub more_tables: Vec<String>,
    /// Elastic IP addresses.
    #[serde(default)]
    pub addresses: Vec<AddressSpec>,
    /// Public hosted zones.
    #[serde(default)]
    pub zones: Vec<ZoneSpec>,
    /// Whom every host lets in, besides the VPC.
    #[serde(default)]
    pub ingress: Vec<Ipv4Net>,
    /// How EC2 behaves.
    #[serde(default)]
    pub ec2: Ec2Spec,
}

/// A route to a host, such as that of a virtual IP address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// The table: `public`, `private-a`, `private-b` or `private-c`.
    pub table: String,
    /// The destination.
    pub destination: Ipv4Net,
    /// The host.
    pub to: String,
}

/// An Elastic IP address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressSpec {
    /// Its `Name` tag.
    pub name: String,
    /// The host that it is associated with from the start.
    #[serde(default)]
    pub on: Option<String>,
    /// The private address that it is associated with; none for the host's primary one.
    #[serde(default)]
    pub private: Option<Ipv4Addr>,
}

/// A public hosted zone of Route 53.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneSpec {
    /// Its name, such as `example.test`.
    pub name: String,
    /// The A records that it has from the start, by name.
    #[serde(default)]
    pub records: BTreeMap<String, RecordSpec>,
}

/// An A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSpec {
    /// Seconds.
    pub ttl: u32,
    /// What it says.
    pub addresses: Vec<Ipv4Addr>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSpec {
    /// Its `Name` tag, and its name in the lab.
    pub name: String,
    /// Its zone: 0, 1 or 2.
    pub zone: u8,
    /// Whether it is a NAT node in a public subnet or a host in a private one.
    pub role: Role,
    /// Its other tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether its metadata service shows its tags.
    #[serde(default)]
    pub metadata_tags: bool,
    /// Whether its source/dest check is on from the start, as EC2 launches instances.
    #[serde(default = "yes")]
    pub source_dest_check: bool,
    /// Its primary private address; none for the lowest free one of its subnet.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    /// Its secondary private addresses.
    #[serde(default)]
    pub secondary: Vec<Ipv4Addr>,
    /// What it runs as root at every boot, a `#!` script. In it, `{{instance.HOST}}`,
    /// `{{interface.HOST}}`, `{{address.HOST}}`, `{{eip.NAME}}`, `{{eip-address.NAME}}`,
    /// `{{zone.NAME}}` and `{{table.NAME}}` stand for ids and addresses that are known only once
    /// the account is made.
    #[serde(default)]
    pub user_data: Option<String>,
    /// What it boots, where that is not the same for all nodes.
    #[serde(default)]
    pub image: Option<PathBuf>,
}

/// What an instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// In the zone's public subnet, with a public address; has the `natha` binary.
    Node,
    /// In the zone's private subnet, with nothing but a route to a node.
    Private,
    /// In the zone's public subnet, with a public address, without `natha`.
    Public,
}

/// Times of the simulated EC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ec2Spec {
    /// From `StartInstances` to running, in milliseconds.
    pub boot_ms: u64,
    /// From `StopInstances` to stopped, in milliseconds.
    pub stop_ms: u64,
    /// The same, forced.
    pub force_ms: u64,
    /// From a route's change to the first packet that follows it, in milliseconds.
    pub propagation_ms: u64,
    /// From a move of an Elastic IP address to the first packet that follows it, in milliseconds;
    /// none: as for a route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic_ms: Option<u64>,
    /// How long every API call takes, in milliseconds.
    pub latency_ms: u64,
    /// From a guest's last sign of life until its status check is `impaired`, in milliseconds.
    pub status_fail_ms: u64,
    /// From a change of a record until the name servers have it, in milliseconds.
    pub dns_sync_ms: u64,
}

impl Default for Ec2Spec {
    fn default() -> Self {
        Self {
            boot_ms: 500,
            stop_ms: 300,
            force_ms: 300,
            propagation_ms: 0,
            elastic_ms: None,
            latency_ms: 0,
            status_fail_ms: Timings::default().status_fail_ms,
            dns_sync_ms: Timings::default().dns_sync_ms,
        }
    }
}

impl Spec {
    /// `nodes` NAT nodes named `nat-a`, `nat-b` … and one private host `host-a`, `host-b` … for
    /// each of their zones. The default route of each zone's private subnet leads to its node.
    #[must_use]
    pub fn nodes(nodes: u8) -> Self {
        let host = |zone: u8, kind: &str, role| {
            HostSpec::new(&format!("{kind}-{}", char::from(b'a' + zone)), zone % 3, role)
        };
        let natters = (0..nodes).map(|zone| host(zone, "nat", Role::Node));
        let privates = (0..nodes.min(3)).map(|zone| host(zone, "host", Role::Private));
        Self {
            hosts: natters.chain(privates).collect(),
            vpc: VPC,
            natha: None,
            image: None,
            table_tags: BTreeMap::new(),
            routes: Vec::new(),
            more_tables: Vec::new(),
            addresses: Vec::new(),
            zones: Vec::new(),
            ingress: Vec::new(),
            ec2: Ec2Spec::default(),
        }
    }

    /// Adds a host.
    #[must_use]
    pub fn with_host(mut self, host: HostSpec) -> Self {
        self.hosts.push(host);
        self
    }

    /// Adds a route to a host to each of these tables.
    #[must_use]
    pub fn with_route(mut self, destination: Ipv4Net, to: &str, tables: &[&str]) -> Self {
        self.routes.extend(tables.iter().map(|table| RouteSpec {
            table: (*table).to_owned(),
            destination,
            to: to.to_owned(),
        }));
        self
    }

    /// Adds an Elastic IP address, on a host's primary private address where one is named.
    #[must_use]
    pub fn with_address(mut self, name: &str, on: Option<&str>) -> Self {
        let on = on.map(str::to_owned);
        self.addresses.push(AddressSpec { name: name.to_owned(), on, private: None });
        self
    }

    /// Adds a hosted zone.
    #[must_use]
    pub fn with_zone(mut self, name: &str) -> Self {
        self.zones.push(ZoneSpec { name: name.to_owned(), records: BTreeMap::new() });
        self
    }

    /// Lets everything into every host that comes from these addresses, besides the VPC's.
    #[must_use]
    pub fn with_ingress(mut self, from: Ipv4Net) -> Self {
        self.ingress.push(from);
        self
    }

    /// Makes the nodes a cluster of this name: tags on them and on the private route tables.
    #[must_use]
    pub fn with_cluster(mut self, name: &str) -> Self {
        self.table_tags.insert("natha:cluster".into(), name.into());
        self.with_node_tag("natha:cluster", name)
    }

    /// Gives every node the same user data.
    #[must_use]
    pub fn with_node_user_data(mut self, script: &str) -> Self {
        for host in self.hosts.iter_mut().filter(|host| host.role == Role::Node) {
            host.user_data = Some(script.to_owned());
        }
        self
    }

    /// Gives every node a tag.
    #[must_use]
    pub fn with_node_tag(mut self, key: &str, value: &str) -> Self {
        for host in self.hosts.iter_mut().filter(|host| host.role == Role::Node) {
            host.tags.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    /// What is wrong with it, every fault.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let images = self.hosts.iter().filter_map(|host| host.image.as_ref()).chain(&self.image);
        let images: BTreeSet<&PathBuf> = images.collect();
        let mut faults: Vec<_> = images.into_iter().flat_map(|it| guest::faults(it)).collect();
        if self.vpc.prefix_len() != 16 {
            faults.push(format!("the VPC {} is no /16", self.vpc));
        }
        let mut names = BTreeSet::new();
        for host in &self.hosts {
            let HostSpec { name, zone, .. } = host;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if name.is_empty() || name == "internet" || !name.chars().all(plain) {
                faults.push(format!("`{name}` is no host name: letters, digits and dashes"));
            }
            if !names.insert(name) {
                faults.push(format!("two hosts are named `{name}`"));
            }
            if *zone > 2 {
                faults.push(format!("{name}: zone {zone} does not exist, there are 0, 1 and 2"));
            }
        }
        for RouteSpec { table, destination, to } in &self.routes {
            if !TABLES.contains(&&**table) {
                let tables = TABLES.join(", ");
                faults.push(format!("route {destination}: no table `{table}`, only {tables}"));
            }
            if !names.contains(to) {
                faults.push(format!("route {destination}: no host is named `{to}`"));
            }
        }
        let mut given = BTreeSet::new();
        for AddressSpec { name, on, .. } in &self.addresses {
            if !given.insert(name) {
                faults.push(format!("two Elastic IP addresses are named `{name}`"));
            }
            if let Some(host) = on.as_ref().filter(|host| !names.contains(host)) {
                faults.push(format!("Elastic IP address {name}: no host is named `{host}`"));
            }
        }
        let zones: BTreeSet<&String> = self.zones.iter().map(|zone| &zone.name).collect();
        if zones.len() < self.zones.len() {
            faults.push("two hosted zones have the same name".to_owned());
        }
        faults
    }
}

impl HostSpec {
    /// A host with nothing special about it.
    #[must_use]
    pub fn new(name: &str, zone: u8, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            zone,
            role,
            tags: BTreeMap::new(),
            metadata_tags: false,
            source_dest_check: true,
            address: None,
            secondary: Vec::new(),
            user_data: None,
            image: None,
        }
    }
}

const fn yes() -> bool {
    true
}

const fn vpc() -> Ipv4Net {
    VPC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_have_three_zones_and_a_private_host_each() {
        let spec = Spec::nodes(3);
        let names: Vec<_> = spec.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["nat-a", "nat-b", "nat-c", "host-a", "host-b", "host-c"]);
        assert!(spec.faults().is_empty());
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut spec = Spec::nodes(2);
        spec.hosts[0].name = "nat-b".into();
        spec.hosts[1].zone = 7;
        spec.hosts[2].name = "a b".into();
        assert_eq!(spec.faults().len(), 3);
        let vip = "192.168.100.1/32".parse().unwrap();
        let spec = Spec::nodes(1)
            .with_route(vip, "nat-a", &["public", "secret"])
            .with_route(vip, "nobody", &["private-a"])
            .with_address("one", Some("nobody"))
            .with_address("one", None)
            .with_zone("example.test")
            .with_zone("example.test");
        let spec = Spec { vpc: "10.0.0.0/8".parse().unwrap(), ..spec };
        assert_eq!(spec.faults().len(), 6, "{:?}", spec.faults());
    }
}
