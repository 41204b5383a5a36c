//! What goes out: actions in order, their ids, the jitter of their delays, and reports.

use std::collections::VecDeque;
use std::time::Duration;

use super::retry::Noise;
use super::{Action, ActionId, Event, EventKind, Level};
use crate::types::{GroupName, InstanceId, Time};

/// The actions that were decided and not yet fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Outbox {
    pub(super) actions: VecDeque<Action>,
    pub(super) last_id: u64,
    pub(super) noise: Noise,
}

impl Outbox {
    pub(super) const fn new(seed: u64) -> Self {
        Self { actions: VecDeque::new(), last_id: 0, noise: Noise::new(seed) }
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn pop(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn new_id(&mut self) -> ActionId {
        self.last_id += 1;
        ActionId(self.last_id)
    }

    /// A number without pattern, for the jitter of a delay.
    pub(super) fn jitter(&mut self) -> u64 {
        self.noise.next()
    }

    pub(super) fn report(&mut self, at: Time, level: Level, kind: EventKind, about: About) {
        let About { node, group, text, took } = about;
        self.push(Action::Report { event: Event { at, level, kind, node, group, text, took } });
    }
}

/// What an event is about.
pub(super) struct About {
    pub(super) node: Option<InstanceId>,
    pub(super) group: Option<GroupName>,
    pub(super) text: String,
    pub(super) took: Option<Duration>,
}

impl About {
    pub(super) const fn text(text: String) -> Self {
        Self { node: None, group: None, text, took: None }
    }

    pub(super) fn node(node: &InstanceId, text: String) -> Self {
        Self { node: Some(node.clone()), ..Self::text(text) }
    }

    pub(super) fn group(group: &GroupName, text: String) -> Self {
        Self { group: Some(group.clone()), ..Self::text(text) }
    }
}
