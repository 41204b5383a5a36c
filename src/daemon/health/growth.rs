//! A counter that should stand still: whether it grows, and how far.

use std::time::Duration;

use crate::types::Time;

/// How long a counter must stand still until it counts as calm.
pub(super) const CALM: Duration = Duration::from_mins(5);

/// What is known of one counter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Growth {
    /// None before the first reading: what was counted before it may be days old.
    last: Option<u64>,
    /// Since it began to grow: its value before, and when it last grew.
    growing: Option<(u64, Time)>,
}

impl Growth {
    /// Takes in a reading.
    pub(super) fn note(&mut self, value: u64, now: Time) {
        match self.last {
            Some(last) if value > last => {
                let (before, _) = self.growing.unwrap_or((last, now));
                self.growing = Some((before, now));
            }
            // It was reset.
            Some(last) if value < last => self.growing = None,
            _ => {
                if self.growing.is_some_and(|(_, at)| now.since(at) >= CALM) {
                    self.growing = None;
                }
            }
        }
        self.last = Some(value);
    }

    /// By how much it has grown since it was last calm; none while it is calm.
    pub(super) fn grown(&self) -> Option<u64> {
        let (before, _) = self.growing?;
        Some(self.last?.saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_counts_until_it_has_been_calm_for_five_minutes() {
        let start = Time::from_millis(1_000_000);
        let mut growth = Growth::default();
        growth.note(100, start);
        assert_eq!(growth.grown(), None, "what was counted before is no news");
        growth.note(103, start);
        growth.note(105, start + Duration::from_secs(10));
        assert_eq!(growth.grown(), Some(5));
        growth.note(105, start + Duration::from_secs(9) + CALM);
        assert_eq!(growth.grown(), Some(5));
        growth.note(105, start + Duration::from_secs(10) + CALM);
        assert_eq!(growth.grown(), None);
        growth.note(106, start + Duration::from_secs(20) + CALM);
        growth.note(2, start + Duration::from_secs(30) + CALM);
        assert_eq!(growth.grown(), None, "it was reset");
    }
}
