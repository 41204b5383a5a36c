//! What the observer is told: the calls that EC2 took, the lab's power and network, packets, and
//! what the soak itself does to the nodes. Nothing of it comes from natha.

use std::time::Duration;

use crate::daemon::account::Account;
use crate::daemon::shared::{Happening, HostView};
use crate::ec2::CallRecord;

/// Something that was seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    /// When, since the lab began.
    pub(super) at: Duration,
    /// What.
    pub(super) what: Seen,
}

/// What can be seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    /// EC2 was called.
    Call(CallRecord),
    /// Power, routes or the network's faults changed.
    Event(Happening),
    /// A private host's ping, by the host's zone, and whether it was answered.
    Ping(usize, bool),
    /// Whether EC2 treats a node properly, from now on.
    Api(usize, bool),
    /// Whether a node's monitor is left alone, from now on.
    Monitor(usize, bool),
    /// An operator orders a zone's group away.
    Order(usize),
    /// What the cluster is going through.
    Phase(Phase),
    /// The machine stood still for this long.
    Stall(Duration),
}

/// What a cluster goes through, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Things go wrong.
    Storm,
    /// Everything is mended; the cluster finds back.
    Mending,
    /// Everything is as it should be, and nothing is done to it.
    Rest,
    /// The same, but an operator has ordered a group away.
    Order,
}

/// Who is who, for the observer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cast {
    /// The nodes: name, instance and interface.
    pub(super) nodes: Vec<Member>,
    /// The private subnets' route tables; the home of each is the node of the same number.
    pub(super) tables: Vec<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name in the lab.
    pub(super) name: String,
    /// Its instance.
    pub(super) instance: String,
    /// Its interface.
    pub(super) interface: String,
}

impl Cast {
    /// The nodes of a lab, named `nat-a` and so on.
    #[must_use]
    pub(super) fn of(account: &Account, hosts: &[HostView]) -> Self {
        let nodes: Vec<Member> = hosts
            .iter()
            .filter(|host| host.name.starts_with("nat-"))
            .map(|host| Member {
                name: host.name.clone(),
                instance: host.instance.clone(),
                interface: host.interface.clone(),
            })
            .collect();
        let mut nodes = nodes;
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let zones = account.zones.iter().take(nodes.len());
        let tables = zones.map(|zone| zone.private_table.clone()).collect();
        Self { nodes, tables }
    }

    /// The number of the node with this instance id, name or interface.
    #[must_use]
    pub(super) fn node(&self, id: &str) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.instance == id || node.name == id || node.interface == id)
    }

    /// The number of the zone with this route table.
    #[must_use]
    pub(super) fn zone(&self, table: &str) -> Option<usize> {
        self.tables.iter().position(|known| known == table)
    }
}
