//! The lab's time: how long ago it began, the same in all of its processes.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A clock that started when the lab did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    origin: Duration,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: monotonic() }
    }

    /// The time since the lab began.
    #[must_use]
    pub fn now(&self) -> Duration {
        monotonic().saturating_sub(self.origin)
    }
}

/// The kernel's monotonic clock, which all processes share.
fn monotonic() -> Duration {
    // CLOCK_MONOTONIC exists on every Linux; the call has no other way to fail.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}
