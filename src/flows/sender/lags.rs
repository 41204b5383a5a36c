//! How long changes take until the heir has acknowledged them.

use std::collections::{BTreeMap, VecDeque};

use crate::types::Time;

/// The classes in which lags are counted, by their upper bounds in milliseconds. Longer lags are
/// counted in the last one: a stream is closed after 15 s without an answer.
const BOUNDS: [u32; 32] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400,
    500, 600, 800, 1_000, 2_000, 5_000, 10_000, 20_000,
];

/// At most so many frames are noted one by one. Beyond that, frames that follow each other are
/// noted as one, with the time of the oldest change in them.
const MAX_FRAMES: usize = 1_024;

/// Changes by how long their acknowledgement took: the upper bound of the class in milliseconds,
/// and how many.
pub type LagCounts = BTreeMap<u32, u64>;

/// One frame that is not acknowledged yet.
#[derive(Debug)]
struct Sent {
    sequence: u64,
    /// When the oldest change in it happened.
    oldest: Time,
    changes: u64,
}

/// The frames of a stream that are on their way, and the lags since the sender was made.
#[derive(Debug, Default)]
pub(super) struct Lags {
    under_way: VecDeque<Sent>,
    counts: LagCounts,
}

impl Lags {
    /// A frame with so many changes was sent.
    pub(super) fn sent(&mut self, sequence: u64, oldest: Time, changes: u64) {
        if self.under_way.len() >= MAX_FRAMES
            && let Some(last) = self.under_way.back_mut()
        {
            last.sequence = sequence;
            last.oldest = last.oldest.min(oldest);
            last.changes += changes;
            return;
        }
        self.under_way.push_back(Sent { sequence, oldest, changes });
    }

    /// The heir has all frames up to this one.
    pub(super) fn acknowledged(&mut self, sequence: u64, now: Time) {
        while self.under_way.front().is_some_and(|sent| sent.sequence <= sequence)
            && let Some(sent) = self.under_way.pop_front()
        {
            let lag = now.since(sent.oldest).as_micros();
            let is_within = |bound: &&u32| lag <= u128::from(**bound) * 1_000;
            let class = BOUNDS.iter().find(is_within).or(BOUNDS.last());
            if let Some(class) = class {
                *self.counts.entry(*class).or_default() += sent.changes;
            }
        }
    }

    /// The stream is closed: the heir acknowledges nothing of it any more.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
    }

    pub(super) fn counts(&self) -> &LagCounts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn each_change_counts_once_its_frame_is_acknowledged() {
        let mut lags = Lags::default();
        lags.sent(1, at(100), 3);
        lags.sent(3, at(110), 2);
        lags.acknowledged(2, at(113));
        assert_eq!(*lags.counts(), LagCounts::from([(15, 3)]));
        lags.acknowledged(3, at(112));
        lags.acknowledged(3, at(900));
        assert_eq!(*lags.counts(), LagCounts::from([(2, 2), (15, 3)]));
    }

    #[test]
    fn a_lag_is_in_the_class_that_it_does_not_exceed() {
        let mut lags = Lags::default();
        for (sequence, lag) in [(1, 0), (2, 1), (3, 50), (4, 51), (5, 3_600_000)] {
            lags.sent(sequence, at(0), 1);
            lags.acknowledged(sequence, at(lag));
        }
        let expected = [(1, 2), (50, 1), (60, 1), (20_000, 1)];
        assert_eq!(*lags.counts(), LagCounts::from(expected));
    }

    #[test]
    fn many_frames_under_way_are_bounded_and_no_change_is_lost() {
        let mut lags = Lags::default();
        let frames = 2 * u64::try_from(MAX_FRAMES).unwrap();
        for sequence in 1..=frames {
            lags.sent(sequence, at(sequence), 2);
        }
        assert_eq!(lags.under_way.len(), MAX_FRAMES);
        lags.acknowledged(frames, at(frames));
        assert_eq!(lags.counts().values().sum::<u64>(), 2 * frames);
        // The last ones are counted with the oldest of them.
        assert!(lags.counts().keys().all(|bound| *bound > 500), "{:?}", lags.counts());
    }

    #[test]
    fn what_a_closed_stream_has_not_acknowledged_does_not_count() {
        let mut lags = Lags::default();
        lags.sent(1, at(0), 1);
        lags.forget();
        lags.acknowledged(1, at(5));
        assert!(lags.counts().is_empty());
    }
}
