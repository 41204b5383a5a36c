//! How much may be sent.

use std::time::Duration;

use crate::types::Time;

/// The limits of a stream's rate, in octets a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Never more than this.
    pub max: u64,
    /// Not more than this share of the traffic that the node forwards, in percent.
    pub share_percent: u8,
    /// This much in any case, so that a quiet node's connections are replicated at once.
    pub min: u64,
}

impl Rate {
    /// What the limits allow beside this much traffic.
    fn beside(self, traffic: u64) -> u64 {
        let share = traffic / 100 * u64::from(self.share_percent);
        share.max(self.min).min(self.max)
    }
}

/// The time for which unused octets are saved.
const BURST: Duration = Duration::from_millis(200);

/// This much is saved in any case: enough for some records.
const MIN_BURST: u64 = 2_048;

/// A token bucket.
#[derive(Debug)]
pub(super) struct Budget {
    rate: Rate,
    traffic: u64,
    octets: u64,
    /// When octets were last added.
    added: Time,
}

impl Budget {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Time) -> Self {
        let mut budget = Self { rate, traffic: 0, octets: 0, added: now };
        budget.octets = budget.burst();
        budget
    }

    pub(super) fn traffic(&mut self, octets_per_second: u64) {
        self.traffic = octets_per_second;
    }

    fn per_second(&self) -> u64 {
        self.rate.beside(self.traffic)
    }

    fn burst(&self) -> u64 {
        octets_in(self.per_second(), BURST).max(MIN_BURST)
    }

    /// How much may be sent now, in octets.
    pub(super) fn available(&mut self, now: Time) -> usize {
        let more = octets_in(self.per_second(), now.since(self.added));
        // Less than an octet is not added, and its time is not used up.
        if more > 0 {
            self.added = now;
            self.octets = self.octets.saturating_add(more).min(self.burst());
        }
        usize::try_from(self.octets).unwrap_or(usize::MAX)
    }

    /// When this many octets may be sent, if none are before.
    pub(super) fn ready(&self, octets: usize) -> Time {
        let wanted = u64::try_from(octets).unwrap_or(u64::MAX).min(self.burst());
        let missing = u128::from(wanted.saturating_sub(self.octets));
        let micros = (missing * 1_000_000).div_ceil(u128::from(self.per_second().max(1)));
        self.added + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    pub(super) fn spend(&mut self, octets: usize) {
        self.octets = self.octets.saturating_sub(u64::try_from(octets).unwrap_or(u64::MAX));
    }
}

fn octets_in(per_second: u64, time: Duration) -> u64 {
    let octets = u128::from(per_second) * time.as_micros() / 1_000_000;
    u64::try_from(octets).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn the_share_of_the_traffic_counts_between_the_two_limits() {
        let rate = Rate { max: 1_000_000, share_percent: 10, min: 50_000 };
        for (traffic, allowed) in [(0, 50_000), (1_000_000, 100_000), (u64::MAX, 1_000_000)] {
            assert_eq!(rate.beside(traffic), allowed);
        }
        assert_eq!(Rate { max: 10, ..rate }.beside(0), 10);
    }

    #[test]
    fn the_mean_rate_is_kept_and_a_burst_is_short() {
        let rate = Rate { max: 100_000, share_percent: 0, min: 100_000 };
        let mut budget = Budget::new(rate, at(0));
        let mut sent = 0;
        for ms in 0..10_000 {
            let octets = budget.available(at(ms));
            budget.spend(octets);
            sent += octets;
        }
        assert!((1_000_000..=1_020_000).contains(&sent), "{sent}");
        assert_eq!(budget.available(at(100_000)), 20_000);
        budget.spend(20_001);
        assert_eq!(budget.available(at(100_000)), 0);
    }

    #[test]
    fn steps_of_less_than_an_octet_add_up() {
        let rate = Rate { max: 100, share_percent: 0, min: 100 };
        let mut budget = Budget::new(rate, at(0));
        budget.spend(20);
        assert_eq!(budget.available(at(0)), 2_028);
        let last = (1..=200).map(|ms| budget.available(at(ms))).last();
        assert_eq!(last, Some(2_048));
    }
}
