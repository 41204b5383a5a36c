//! The only place that reads clocks.

use std::time::{Duration, SystemTime};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::types::Time;

/// The current time.
pub(super) fn now() -> Time {
    Time::from_boot(read(ClockId::CLOCK_BOOTTIME))
}

/// The wall clock's time as text (RFC 3339), for display. No decision uses it.
pub(super) fn wall_text() -> String {
    humantime::format_rfc3339_millis(wall()).to_string()
}

/// Converts the kernel's receive timestamps, which are wall clock time (`SO_TIMESTAMPNS`,
/// socket(7)), to [`Time`].
///
/// Both clocks are read at the same moment, and only the age of a timestamp is used. If the wall
/// clock is set between a packet's arrival and this reading, the result is clamped between the
/// previous reading and now: a packet that was not there at the previous reading arrived after it.
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

    /// When a packet with this timestamp arrived. Without a timestamp it counts as just arrived.
    pub(super) fn arrival(&self, stamp: Option<TimeSpec>) -> Time {
        let Some(stamp) = stamp else { return self.now };
        let age = self.wall.saturating_sub(duration(stamp));
        (self.now - age).clamp(self.floor.min(self.now), self.now)
    }
}

fn read(clock: ClockId) -> Duration {
    // clock_gettime(2) fails only for a clock that does not exist. Every supported kernel has both.
    clock_gettime(clock).map_or(Duration::ZERO, duration)
}

fn duration(spec: TimeSpec) -> Duration {
    let seconds = u64::try_from(spec.tv_sec()).unwrap_or_default();
    let nanos = u32::try_from(spec.tv_nsec()).unwrap_or_default();
    Duration::new(seconds, nanos)
}

/// The wall clock: to compare with times from AWS, never to measure with.
pub(super) fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + read(ClockId::CLOCK_REALTIME)
}

/// The wall clock's time in milliseconds since 1970: for display, and for what was written with it.
pub(crate) fn wall_ms() -> u64 {
    wall_ms_at(now())
}

/// What the wall clock showed at a time that is not long ago, in milliseconds since 1970: for
/// display.
pub(super) fn wall_ms_at(at: Time) -> u64 {
    let then = read(ClockId::CLOCK_REALTIME).saturating_sub(now().since(at));
    u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
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
