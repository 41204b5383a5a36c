//! Points in time and durations.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time since the host booted, suspended time included (`CLOCK_BOOTTIME`, `clock_gettime(2)`).
///
/// No decision uses the wall clock, so setting the clock changes nothing. Because suspended time
/// counts, a resumed virtual machine sees how long it was suspended.
///
/// As JSON it is the number of nanoseconds since boot.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(#[serde(with = "nanoseconds")] Duration);

impl Time {
    /// The point in time `since_boot` after boot.
    #[must_use]
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// The point in time `ms` milliseconds after boot.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// Time elapsed from boot to this point.
    #[must_use]
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// The same without fractions of a millisecond: as lines of text have it.
    #[must_use]
    pub const fn whole_millis(self) -> Self {
        Self(whole_millis(self.0))
    }

    /// Time elapsed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The duration without fractions of a millisecond.
#[must_use]
pub const fn whole_millis(duration: Duration) -> Duration {
    Duration::new(duration.as_secs(), duration.subsec_millis() * 1_000_000)
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by))
    }
}

mod nanoseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        // 64 bits are enough for 584 years.
        to.serialize_u64(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_nanos)
    }
}

/// A duration for people, in its two largest units, rounded down: `450 ms`, `1.5 s`, `42 s`,
/// `2 min 5 s`, `3 h 12 min`, `4 d 6 h`. Below 10 s it keeps one decimal; a zero second unit is
/// left out.
///
/// For values that an operator copies into the settings, use the settings' own format instead: this
/// one is not exact.
#[must_use]
pub fn display_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |first: u64, unit: &str, second: u64, second_unit: &str| match second {
        0 => format!("{first} {unit}"),
        _ => format!("{first} {unit} {second} {second_unit}"),
    };
    match seconds {
        0 => format!("{} ms", duration.subsec_millis()),
        1..10 => match duration.subsec_millis() / 100 {
            0 => format!("{seconds} s"),
            tenths => format!("{seconds}.{tenths} s"),
        },
        10..60 => format!("{seconds} s"),
        60..3600 => two(minutes, "min", seconds % 60, "s"),
        3600..86_400 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_its_two_largest_units() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_599, "1.5 s"),
            (9_999, "9.9 s"),
            (10_999, "10 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 h"),
            (11_520_000, "3 h 12 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(display_duration(Duration::from_millis(ms)), text);
        }
    }
}
