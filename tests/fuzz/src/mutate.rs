//! Changed inputs without an engine: what the ordinary tests run.

/// An endless, repeatable row of inputs, made of a target's known ones.
#[derive(Debug, Clone)]
pub struct Changes {
    known: Vec<Vec<u8>>,
    max_len: usize,
    random: fastrand::Rng,
}

impl Changes {
    /// Made of these inputs; the same seed gives the same row.
    #[must_use]
    pub fn new(known: Vec<Vec<u8>>, max_len: usize, seed: u64) -> Self {
        Self { known, max_len, random: fastrand::Rng::with_seed(seed) }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.usize(..limit.max(1))
    }

    fn byte(&mut self) -> u8 {
        self.random.u8(..)
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        match self.below(6) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let value = [0, 1, 0x7f, 0x80, 0xff][self.below(5)];
                if let Some(byte) = input.get_mut(at) {
                    *byte = value;
                }
            }
            2 => input.truncate(at),
            3 => {
                let end = (at + self.below(16)).min(input.len());
                input.drain(at..end);
            }
            4 => {
                let count = self.below(16);
                let piece = self.noise(count);
                input.splice(at..at, piece);
            }
            _ => {
                let from = self.below(self.known.len());
                let other = self.known[from].clone();
                let start = self.below(other.len() + 1);
                let piece = &other[start..(start + self.below(64)).min(other.len())];
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
}

impl Iterator for Changes {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut input = if self.known.is_empty() || self.below(4) == 0 {
            let length = self.below(self.max_len);
            self.noise(length)
        } else {
            let from = self.below(self.known.len());
            self.known[from].clone()
        };
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(self.max_len);
        Some(input)
    }
}
