//! What a lab is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::ec2::Timings;
use crate::guest::container;
use serde::{Deserialize, Serialize};

/// Everything that is chosen before a lab starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The instances, in the order in which they are launched.
    pub hosts: Vec<HostSpec>,
    /// The `natha` binary that nodes find as `/usr/local/bin/natha`.
    #[serde(default)]
    pub natha: Option<PathBuf>,
    /// The root file system that nodes boot as a container: cloud-init in there reads the user
    /// data, and natha is the image's own.
    #[serde(default)]
    pub image: Option<PathBuf>,
    /// Tags of the private subnets' route tables, besides `Name`.
    #[serde(default)]
    pub table_tags: BTreeMap<String, String>,
    /// How EC2 behaves.
    #[serde(default)]
    pub ec2: Ec2Spec,
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
    /// What it runs as root at every boot, a `#!` script.
    #[serde(default)]
    pub user_data: Option<String>,
}

/// What an instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// In the zone's public subnet, with a public address; has the `natha` binary.
    Node,
    /// In the zone's private subnet, with nothing but a route to a node.
    Private,
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
    /// How long every API call takes, in milliseconds.
    pub latency_ms: u64,
    /// From a guest's last sign of life until its status check is `impaired`, in milliseconds.
    pub status_fail_ms: u64,
}

impl Default for Ec2Spec {
    fn default() -> Self {
        Self {
            boot_ms: 500,
            stop_ms: 300,
            force_ms: 300,
            propagation_ms: 0,
            latency_ms: 0,
            status_fail_ms: Timings::default().status_fail_ms,
        }
    }
}

impl Spec {
    /// `nodes` NAT nodes named `nat-a`, `nat-b` … and one private host `host-a`, `host-b` … for
    /// each of their zones. The default route of each zone's private subnet leads to its node.
    #[must_use]
    pub fn nodes(nodes: u8) -> Self {
        let host = |zone: u8, kind: &str, role| HostSpec {
            name: format!("{kind}-{}", char::from(b'a' + zone)),
            zone: zone % 3,
            role,
            tags: BTreeMap::new(),
            metadata_tags: false,
            source_dest_check: true,
            user_data: None,
        };
        let natters = (0..nodes).map(|zone| host(zone, "nat", Role::Node));
        let privates = (0..nodes.min(3)).map(|zone| host(zone, "host", Role::Private));
        Self {
            hosts: natters.chain(privates).collect(),
            natha: None,
            image: None,
            table_tags: BTreeMap::new(),
            ec2: Ec2Spec::default(),
        }
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
        let mut faults: Vec<_> = self.image.iter().flat_map(|it| container::faults(it)).collect();
        let mut names = std::collections::BTreeSet::new();
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
        faults
    }
}

const fn yes() -> bool {
    true
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
    }
}
