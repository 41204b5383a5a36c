//! The one place that reads clocks.

use std::time::{Duration, SystemTime};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::types::Time;

/// The time it is.
#[must_use]
pub(super) fn now() -> Time {
    Time::from_boot(read(ClockId::CLOCK_BOOTTIME))
}

/// The wall clock's time as text (RFC 3339), for people. No decision uses it.
#[must_use]
pub(super) fn wall_text() -> String {
    humantime::format_rfc3339_millis(wall()).to_string()
}

/// Turns the kernel's receive timestamps, which are wall clock time (`SO_TIMESTAMPNS`,
/// socket(7)), into [`Time`].
///
/// Both clocks are read at the same moment, and only the age of a timestamp is used. Should the
/// wall clock be set between a packet's arrival and its reading, the result is clamped between
/// the previous reading and now: a packet that was not there then arrived after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamps {
    now: Time,
    wall: Duration,
    floor: Time,
}

impl Stamps {
    /// For packets that arrived between `floor` and `now`.
    pub(super) fn new(floor: Time, now: Time) -> Self {
        Self { now, wall: read(ClockId::CLOCK_REALTIME), floor }
    }

    /// When a packet with this timestamp arrived; without one, it counts as just arrived.
    pub(super) fn arrival(&self, stamp: Option<TimeSpec>) -> Time {
        let Some(stamp) = stamp else { return self.now };
        let age = self.wall.saturating_sub(duration(stamp));
        (self.now - age).clamp(self.floor.min(self.now), self.now)
    }
}

fn read(clock: ClockId) -> Duration {
    // Both clocks exist on every kernel this program can start on, and neither call can fail
    // otherwise (clock_gettime(2)).
    clock_gettime(clock).map_or(Duration::ZERO, duration)
}

fn duration(spec: TimeSpec) -> Duration {
    let seconds = u64::try_from(spec.tv_sec()).unwrap_or_default();
    let nanos = u32::try_from(spec.tv_nsec()).unwrap_or_default();
    Duration::new(seconds, nanos)
}

/// The wall clock: for what AWS tells by it, and for nothing that this program measures.
pub(super) fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + read(ClockId::CLOCK_REALTIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Time = Time::from_millis(1_000);
    const NOW: Time = Time::from_millis(2_000);

    fn stamps() -> Stamps {
        Stamps { now: NOW, wall: Duration::from_secs(500_000), floor: FLOOR }
    }

    #[test]
    fn an_arrival_is_as_old_as_its_timestamp() {
        let stamp = TimeSpec::new(499_999, 700_000_000);
        assert_eq!(stamps().arrival(Some(stamp)), Time::from_millis(1_700));
    }

    #[test]
    fn a_wall_clock_that_was_set_moves_an_arrival_no_further_than_the_last_reading() {
        assert_eq!(stamps().arrival(Some(TimeSpec::new(1, 0))), FLOOR);
        assert_eq!(stamps().arrival(Some(TimeSpec::new(900_000, 0))), NOW);
    }

    #[test]
    fn the_clock_runs() {
        let before = now();
        assert!(now() >= before && before > Time::default());
    }
}
