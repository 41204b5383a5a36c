//! How long to wait before an API call is tried again.

use std::time::Duration;

use crate::types::CloudFaultKind;

/// The wait before attempt number `failures` + 1, with jitter drawn from `noise`.
///
/// Doubles from a base that depends on the failure up to a ceiling. The jitter takes up to half
/// off, so that nodes that failed together do not come back together. Bases keep within EC2's
/// token buckets (50 calls, then 5 a second, for most mutating calls).
pub(super) fn backoff(kind: CloudFaultKind, failures: u32, noise: u64) -> Duration {
    let (base_ms, ceiling_ms): (u64, u64) = match kind {
        CloudFaultKind::Unknown | CloudFaultKind::Unreachable => (200, 2_000),
        CloudFaultKind::Throttled => (400, 10_000),
        CloudFaultKind::NotFound | CloudFaultKind::Exists => (100, 10_000),
        // At once, as the next request is signed anew; but not for ever.
        CloudFaultKind::OutOfDate => (100, 60_000),
        CloudFaultKind::State => (2_000, 30_000),
        // A server-side error that generic clients hammer on; EC2 needs minutes to find room.
        CloudFaultKind::Capacity => (60_000, 600_000),
        // Nothing here changes by itself: a person has to act.
        CloudFaultKind::Denied | CloudFaultKind::Unsupported | CloudFaultKind::Other => {
            (5_000, 60_000)
        }
    };
    let doublings = failures.saturating_sub(1).min(16);
    let full = (base_ms << doublings).min(ceiling_ms);
    Duration::from_millis(full - noise % (full / 2 + 1))
}

/// The time in which EC2 grants one more change of a route ("Throttling for the Amazon EC2 API": 50
/// at once, then 5 a second).
const GRANT_MS: u64 = 200;
/// How many failures in a row count where several writes share what EC2 grants: that one of them
/// fails again says little, as the others may have succeeded meanwhile.
const SHARED_FAILURES: u32 = 2;

/// The wait of one of `waiting` throttled writes before its attempt number `failures` + 1. They are
/// spread over the time in which EC2 grants them all, so that none of what it grants is left.
pub(super) fn throttled(waiting: u32, failures: u32, noise: u64) -> Duration {
    if waiting <= 1 {
        return backoff(CloudFaultKind::Throttled, failures, noise);
    }
    let first = backoff(CloudFaultKind::Throttled, failures.min(SHARED_FAILURES), noise);
    let all = u64::from(waiting) * GRANT_MS;
    first + Duration::from_millis((noise >> 16) % all)
}

/// A stream of numbers without pattern, the same for the same seed (SplitMix64, Steele and others
/// 2014). Good for jitter, not for secrets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Noise(u64);

impl Noise {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_under_their_ceiling() {
        let wait = |failures| backoff(CloudFaultKind::Throttled, failures, 0);
        assert_eq!(wait(1), Duration::from_millis(400));
        assert_eq!(wait(2), Duration::from_millis(800));
        assert_eq!(wait(60), Duration::from_secs(10));
    }

    #[test]
    fn jitter_takes_off_at_most_half() {
        let mut noise = Noise::new(7);
        for _ in 0..1_000 {
            let wait = backoff(CloudFaultKind::Throttled, 3, noise.next());
            assert!((800..=1_600).contains(&wait.as_millis()), "{wait:?}");
        }
    }

    #[test]
    fn throttled_writes_are_spread_over_the_time_in_which_all_are_granted() {
        let mut noise = Noise::new(3);
        let mut waits: Vec<Duration> =
            std::iter::repeat_with(|| throttled(150, 4, noise.next())).take(1_000).collect();
        waits.sort();
        assert!(waits[0] < Duration::from_secs(1) && waits[999] > Duration::from_secs(29));
        assert!(waits[999] <= Duration::from_millis(30_800), "{:?}", waits[999]);
        let half = waits.iter().filter(|wait| **wait < Duration::from_secs(15)).count();
        assert!((400..600).contains(&half), "{half}");
        assert_eq!(throttled(1, 60, 0), backoff(CloudFaultKind::Throttled, 60, 0));
    }

    #[test]
    fn a_request_out_of_date_is_repeated_at_once_and_then_ever_more_rarely() {
        assert!(backoff(CloudFaultKind::OutOfDate, 1, 0) <= Duration::from_millis(100));
        assert_eq!(backoff(CloudFaultKind::OutOfDate, 60, 0), Duration::from_mins(1));
    }

    #[test]
    fn jitter_reaches_from_half_of_the_wait_to_all_of_it() {
        let wait = |noise| backoff(CloudFaultKind::NotFound, 1, noise).as_millis();
        assert_eq!((wait(0), wait(50), wait(51)), (100, 50, 100));
    }

    /// The numbers that the generator's author gives for this seed.
    #[test]
    fn the_stream_is_splitmix64() {
        let mut noise = Noise::new(1_234_567);
        let first: Vec<u64> = std::iter::repeat_with(|| noise.next()).take(5).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn a_lack_of_capacity_is_given_minutes() {
        assert!(backoff(CloudFaultKind::Capacity, 1, u64::MAX) >= Duration::from_secs(30));
    }
}
