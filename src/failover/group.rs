//! One group: its resources, and the move that is under way.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::slot::Slot;
use crate::types::{Egress, Group, GroupName, InstanceId, NatGatewayId, Time, Traits};

/// Why a group moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MoveKind {
    /// From a failed or sick holder to this node.
    Takeover,
    /// Away from this node, on purpose.
    HandOver,
    /// Away from this node, to a node that is preferred to it.
    HandBack,
    /// Back to this node, which is its home, from a peer that took it without cause.
    Reclaim,
    /// A resource that was missing or vacant, or is foreign and adopted, to this node.
    Drift,
    /// To the group's fallback, because no node can serve it.
    Fallback,
    /// From the group's fallback to this node.
    Return,
}

/// Who gets a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Receiver {
    /// A member.
    Node(InstanceId),
    /// The group's fallback.
    Fallback(NatGatewayId),
}

impl Receiver {
    /// The member, if it is one.
    pub(super) const fn node(&self) -> Option<&InstanceId> {
        match self {
            Self::Node(node) => Some(node),
            Self::Fallback(_) => None,
        }
    }

    /// Whether it is this member.
    pub(super) fn is(&self, node: &InstanceId) -> bool {
        self.node() == Some(node)
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => f.write_str(node.as_str()),
            Self::Fallback(gateway) => f.write_str(gateway.as_str()),
        }
    }
}

/// A move under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Move {
    pub(super) kind: MoveKind,
    pub(super) from: Option<InstanceId>,
    pub(super) to: Receiver,
    pub(super) begun: Time,
    /// Whether one of its writes has failed.
    pub(super) has_failed: bool,
    pub(super) reason: String,
}

/// What this node wants of one resource.
#[derive(Debug, Clone)]
pub(super) struct DesiredMove {
    pub(super) kind: MoveKind,
    pub(super) from: Option<InstanceId>,
    pub(super) to: Receiver,
    pub(super) reason: String,
}

/// A planned move that its receiver learns of before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Announcement {
    pub(super) to: InstanceId,
    /// When the first heartbeat with it was sent.
    pub(super) sent: Option<Time>,
}

/// A planned move of a group: its two nodes copy the group's packets to each other while it takes
/// effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relay {
    /// The other node.
    pub peer: InstanceId,
    /// Whether this node gives the group to it. Otherwise it gets the group.
    pub gives: bool,
}

/// What a node keeps about the fallback of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Fallback {
    /// Until when it is not used, because EC2 refused it.
    pub(super) refused_until: Option<Time>,
    /// Whether the refusal was reported.
    pub(super) refusal_reported: bool,
    /// Whether it was reported that a route is there.
    pub(super) reported: bool,
    /// When this node last took the group back from it, and how often the group went there again
    /// soon after that.
    pub(super) returned_at: Option<Time>,
    pub(super) flaps: u32,
}

/// All groups, by name.
pub(super) type Groups = BTreeMap<GroupName, GroupState>;

/// A group and the state of all its resources.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupState {
    pub(super) name: GroupName,
    pub(super) home: Option<InstanceId>,
    /// Nodes in order of preference, its home first.
    pub(super) prefer: Vec<InstanceId>,
    pub(super) traits: Traits,
    /// What its egress IPs are for.
    pub(super) egress: Egress,
    /// The blocks of the subnets that use its route tables.
    pub(super) networks: Vec<Ipv4Net>,
    pub(super) slots: Vec<Slot>,
    pub(super) generation: u32,
    pub(super) moving: Option<Move>,
    pub(super) announcement: Option<Announcement>,
    /// Whether this node's host must carry its addresses; none where that is not known.
    pub(super) must_carry: Option<bool>,
    /// When a peer last announced that it is about to give it to this node.
    pub(super) announced_by_peer: Option<Time>,
    /// The planned move that takes effect, and until when at least it is taken to.
    pub(super) relay: Option<(Relay, Time)>,
    /// The node that an operator ordered it to.
    pub(super) ordered_to: Option<InstanceId>,
    /// Whether the alert about a foreign target was reported.
    pub(super) foreign_reported: bool,
    /// How often this node reclaimed it since every peer last heard this node.
    pub(super) reclaims: u32,
    /// What is kept about its fallback.
    pub(super) fallback: Fallback,
}

impl GroupState {
    pub(super) fn new(spec: &Group, now: Time) -> Self {
        let slots = spec.resources.iter().map(|resource| Slot::new(resource.clone(), now));
        Self {
            name: spec.name.clone(),
            home: spec.home.clone(),
            prefer: preference(spec),
            traits: spec.traits.clone(),
            egress: spec.egress.clone(),
            networks: spec.networks.clone(),
            slots: slots.collect(),
            generation: 0,
            moving: None,
            announcement: None,
            must_carry: None,
            announced_by_peer: None,
            relay: None,
            ordered_to: None,
            foreign_reported: false,
            reclaims: 0,
            fallback: Fallback::default(),
        }
    }

    /// Takes over a new specification, keeping what is known of the resources that stay.
    pub(super) fn respecify(&mut self, spec: &Group, now: Time) {
        self.home.clone_from(&spec.home);
        self.prefer = preference(spec);
        self.traits.clone_from(&spec.traits);
        self.egress.clone_from(&spec.egress);
        self.networks.clone_from(&spec.networks);
        let mut old = std::mem::take(&mut self.slots);
        for resource in &spec.resources {
            let known = old.iter().position(|slot| slot.resource == *resource);
            let slot = known.map(|at| old.swap_remove(at));
            self.slots.push(slot.unwrap_or_else(|| Slot::new(resource.clone(), now)));
        }
    }

    /// Notes that a write of one of its resources has failed.
    pub(super) fn note_failure(&mut self) {
        if let Some(moving) = &mut self.moving {
            moving.has_failed = true;
        }
    }

    /// The age of its oldest read; none if one of its resources was never read.
    pub(super) fn read_age(&self, now: Time) -> Option<Duration> {
        let mut oldest = Duration::ZERO;
        for slot in &self.slots {
            oldest = oldest.max(now.since(slot.read_at()?));
        }
        Some(oldest)
    }
}

/// The home, then the others that are preferred.
fn preference(spec: &Group) -> Vec<InstanceId> {
    let others = spec.prefer.iter().filter(|node| spec.home.as_ref() != Some(node));
    spec.home.iter().chain(others).cloned().collect()
}
