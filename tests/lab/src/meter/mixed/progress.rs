//! For how long flows stand still.

use std::time::{Duration, Instant};

use super::Stalls;

/// What a flow has carried so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    last: Instant,
    longest: Duration,
    pub(super) octets: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { last: Instant::now(), longest: Duration::ZERO, octets: 0 }
    }

    /// Notes that something was due `pace` after what came last, and has arrived.
    pub(super) fn advance(&mut self, octets: usize, pace: Duration) {
        let now = Instant::now();
        self.longest = self.longest.max((now - self.last).saturating_sub(pace));
        self.last = now;
        self.octets += octets as u64;
    }

    /// Notes that nothing was due until now.
    pub(super) fn resume(&mut self) {
        self.last = Instant::now();
    }

    /// The longest time without progress, in milliseconds.
    pub(super) fn longest_ms(&self) -> f64 {
        self.longest.as_secs_f64() * 1000.0
    }
}

/// Sums up the longest times of several flows, in milliseconds.
pub(super) fn stalls(mut longest: Vec<f64>) -> Stalls {
    longest.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = (longest.len() * percent).div_ceil(100).max(1);
        longest.get(place - 1).copied().unwrap_or_default()
    };
    Stalls { p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let all = stalls((1..=200).map(f64::from).rev().collect());
        assert_eq!(all, Stalls { p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 });
        assert_eq!(stalls(vec![7.0]), Stalls { p50_ms: 7.0, p99_ms: 7.0, max_ms: 7.0 });
        assert_eq!(stalls(Vec::new()), Stalls::default());
    }
}
