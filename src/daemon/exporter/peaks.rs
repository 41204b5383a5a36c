//! The greatest averages of the last minute: PeakBytesPerSecond and PeakPacketsPerSecond of a
//! managed gateway are the greatest averages over 10 s.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::{Exporter, rounds};
use crate::daemon::clock;
use crate::metrics::{LinkReading, Peak};
use crate::types::Time;

/// The length of one average.
const EVERY: Duration = Duration::from_secs(10);
/// The averages of a minute.
const KEPT: usize = 6;

/// The averages of the last minute.
#[derive(Debug, Default)]
pub(super) struct Peaks {
    last: Option<(LinkReading, Time)>,
    averages: VecDeque<Peak>,
}

/// Reads the counters for as long as the runtime lives.
pub(super) async fn watch(exporter: Rc<Exporter>) {
    let mut rounds = rounds(EVERY);
    loop {
        rounds.tick().await;
        let reading = exporter.reader.uplink();
        exporter.peaks.borrow_mut().note(reading, clock::now());
    }
}

impl Peaks {
    /// Takes in a reading of the interface to the internet; none begins anew.
    fn note(&mut self, reading: Option<LinkReading>, now: Time) {
        let before = std::mem::replace(&mut self.last, reading.map(|reading| (reading, now)));
        let (Some((before, at)), Some(reading)) = (before, reading) else {
            self.averages.clear();
            return;
        };
        let sum = |both: [u64; 2]| both[0].saturating_add(both[1]);
        let ms = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |before: [u64; 2], now: [u64; 2]| {
            sum(now).saturating_sub(sum(before)).saturating_mul(1_000) / ms
        };
        if self.averages.len() == KEPT {
            self.averages.pop_front();
        }
        self.averages.push_back(Peak {
            bytes: rate(before.bytes, reading.bytes),
            packets: rate(before.packets, reading.packets),
        });
    }

    /// The greatest; none before there are two readings.
    pub(super) fn greatest(&self) -> Option<Peak> {
        Some(Peak {
            bytes: self.averages.iter().map(|one| one.bytes).max()?,
            packets: self.averages.iter().map(|one| one.packets).max()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_the_greatest_average_of_the_last_minute() {
        let mut peaks = Peaks::default();
        let start = Time::from_millis(1_000_000);
        let mut total = 0;
        let mut pass = |peaks: &mut Peaks, round: u32, bytes: u64| {
            total += bytes;
            let reading =
                LinkReading { bytes: [total, total], packets: [total / 100, 0], drops: [0, 0] };
            peaks.note(Some(reading), start + EVERY * round);
        };
        pass(&mut peaks, 0, 5_000_000);
        assert_eq!(peaks.greatest(), None, "one reading is no average");
        pass(&mut peaks, 1, 10_000);
        for round in 2..=6 {
            pass(&mut peaks, round, 1_000);
        }
        assert_eq!(peaks.greatest(), Some(Peak { bytes: 2_000, packets: 10 }));
        pass(&mut peaks, 7, 1_000);
        assert_eq!(peaks.greatest(), Some(Peak { bytes: 200, packets: 1 }));
        peaks.note(None, start + EVERY * 8);
        assert_eq!(peaks.greatest(), None, "the interface is gone");
    }
}
