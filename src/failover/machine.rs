//! The machine.

use crate::config::Failover;
use crate::failover::{Action, Input, View};
use crate::types::{Fitness, InstanceId, Roster, SessionId, Time};

/// One node's decisions. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Machine {}

impl Machine {
    /// A machine for node `me` that has just started and knows nothing but the roster.
    /// `settings_digest` is the digest of the settings that all members must share.
    #[must_use]
    pub fn new(
        _me: InstanceId,
        _session: SessionId,
        _settings: Failover,
        _settings_digest: u64,
        _roster: Roster,
        _now: Time,
    ) -> Self {
        Self {}
    }

    /// Takes one input in. Actions that follow are then in [`Machine::poll_action`].
    pub fn handle(&mut self, _input: Input, _now: Time) {}

    /// Does what is due at `now`. Call after all inputs that have arrived were handled, and at
    /// [`Machine::next_deadline`]. Lateness is measured here, against that deadline.
    pub fn tick(&mut self, _now: Time) {}

    /// When [`Machine::tick`] must be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        Time::default()
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// This node's own fitness, lateness included.
    #[must_use]
    pub fn fitness(&self) -> &Fitness {
        unreachable!("replaced by the core")
    }

    /// Everything, for the status.
    #[must_use]
    pub fn view(&self, _now: Time) -> View {
        unreachable!("replaced by the core")
    }
}
