//! Changed inputs without an engine: what the ordinary tests run.

/// An endless, repeatable row of inputs, made of a target's known ones.
#[derive(Debug, Clone)]
pub struct Changes {
    known: Vec<Vec<u8>>,
    max_len: usize,
    state: u64,
}

impl Changes {
    /// Made of these inputs; the same seed gives the same row.
    #[must_use]
    pub fn new(known: Vec<Vec<u8>>, max_len: usize, seed: u64) -> Self {
        Self { known, max_len, state: seed }
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.draw() % limit).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.draw().to_be_bytes()[0]
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
