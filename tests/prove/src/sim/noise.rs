//! Chance, the same for the same seed.

use std::time::Duration;

/// A stream of numbers without pattern (SplitMix64, Steele and others 2014).
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    /// The stream of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    /// One of several things.
    ///
    /// # Panics
    /// Where there are none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let count = u64::try_from(of.len()).unwrap_or(u64::MAX);
        of[usize::try_from(self.below(count)).unwrap_or_default()]
    }

    /// Yes, `per_mille` times of a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.below(1_000) < per_mille
    }

    /// A duration up to and including `most`, all equally likely, in microseconds.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(most.saturating_add(1)))
    }

    /// A time until something that happens once in `mean` on average, whenever one looks.
    pub fn wait(&mut self, mean: Duration) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "53 bits of chance are plenty")]
        let uniform = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        mean.mul_f64(-(1.0 - uniform).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_their_mean() {
        let mut noise = Noise::new(3);
        let mean = Duration::from_secs(10);
        let total: Duration = (0..10_000).map(|_| noise.wait(mean)).sum();
        assert!((9..=11).contains(&(total / 10_000).as_secs()), "{total:?}");
    }
}
