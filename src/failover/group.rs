//! One group: its resources, and the move that is under way.

use std::time::Duration;

use super::prepare::Gift;
use super::slot::Slot;
use crate::types::{Group as Spec, GroupName, InstanceId, Time, Traits};

/// Why a group moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum MoveKind {
    /// From a failed or sick holder to this node.
    Takeover,
    /// Away from this node, on purpose.
    HandOver,
    /// Away from this node, to its home.
    HandBack,
    /// Back to this node, which is its home and was not asked.
    Assert,
    /// What was missing, led nowhere, or leads out of the cluster and is adopted.
    Drift,
}

/// A move under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Move {
    pub(super) kind: MoveKind,
    pub(super) from: Option<InstanceId>,
    pub(super) to: InstanceId,
    pub(super) begun: Time,
    /// Whether one of its writes has failed.
    pub(super) has_failed: bool,
    pub(super) reason: String,
}

/// What this node wants of one resource.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) kind: MoveKind,
    pub(super) from: Option<InstanceId>,
    pub(super) to: InstanceId,
    pub(super) reason: String,
}

/// A group and the state of all its resources.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) name: GroupName,
    pub(super) home: Option<InstanceId>,
    /// Who holds it rather than whom, its home first.
    pub(super) prefer: Vec<InstanceId>,
    pub(super) traits: Traits,
    pub(super) slots: Vec<Slot>,
    pub(super) generation: u32,
    pub(super) moving: Option<Move>,
    /// A planned move whose receiver is being told of it.
    pub(super) gift: Option<Gift>,
    /// Whether this node's host must carry its addresses; none where that is not known.
    pub(super) local: Option<bool>,
    /// When a peer last told that it is about to give it to this node.
    pub(super) promised: Option<Time>,
    /// An operator's wish to have it elsewhere.
    pub(super) ordered_to: Option<InstanceId>,
    /// Whether the alert about a resource that leads out of the cluster is out.
    pub(super) foreign_told: bool,
    /// Times this node took it back unasked, since its taker was last heard properly.
    pub(super) asserts: u32,
}

impl Group {
    pub(super) fn new(spec: &Spec, now: Time) -> Self {
        let slots = spec.resources.iter().map(|resource| Slot::new(resource.clone(), now));
        Self {
            name: spec.name.clone(),
            home: spec.home.clone(),
            prefer: preference(spec),
            traits: spec.traits.clone(),
            slots: slots.collect(),
            generation: 0,
            moving: None,
            gift: None,
            local: None,
            promised: None,
            ordered_to: None,
            foreign_told: false,
            asserts: 0,
        }
    }

    /// Takes over a new specification, keeping what is known of the resources that stay.
    pub(super) fn respecify(&mut self, spec: &Spec, now: Time) {
        self.home.clone_from(&spec.home);
        self.prefer = preference(spec);
        self.traits.clone_from(&spec.traits);
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

    /// How old the oldest read of it is; none if one of its resources was never read.
    pub(super) fn read_age(&self, now: Time) -> Option<Duration> {
        let mut oldest = Duration::ZERO;
        for slot in &self.slots {
            oldest = oldest.max(now.since(slot.read_at()?));
        }
        Some(oldest)
    }
}

/// The home, then the others that are preferred.
fn preference(spec: &Spec) -> Vec<InstanceId> {
    let others = spec.prefer.iter().filter(|node| spec.home.as_ref() != Some(node));
    spec.home.iter().chain(others).cloned().collect()
}
