//! The version of a program, in the eight bytes that a heartbeat has for it.

use std::fmt;

/// A version of natha.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramVersion {
    major: u16,
    minor: u16,
    patch: u16,
    /// Zero for a release; else a checksum of what follows the numbers, `-rc.1` for example.
    rest: u16,
}

impl ProgramVersion {
    /// The version of this program.
    #[must_use]
    pub fn own() -> Self {
        Self::of(env!("CARGO_PKG_VERSION"))
    }

    /// The version that a text names, such as `1.2.3` or `1.2.3-rc.1`. What is no number up to
    /// 65,535 counts as 0.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let (numbers, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
        let mut numbers = numbers.split('.').map(|number| number.parse::<u16>().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        let (major, minor, patch) = (next(), next(), next());
        Self { major, minor, patch, rest: checksum(rest) }
    }

    /// As a heartbeat has it.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        let parts = [self.major, self.minor, self.patch, self.rest];
        parts.into_iter().fold(0, |bits, part| bits << 16 | u64::from(part))
    }

    /// What a heartbeat has. Every number is a version.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let part = |place: u32| u16::try_from((bits >> place) & 0xffff).unwrap_or_default();
        Self { major: part(48), minor: part(32), patch: part(16), rest: part(0) }
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.rest == 0 { Ok(()) } else { write!(f, "-{:04x}", self.rest) }
    }
}

/// A checksum that is zero for an empty text alone: FNV-1a, with its halves folded into one.
fn checksum(text: &str) -> u16 {
    if text.is_empty() {
        return 0;
    }
    let hash = text
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    (u16::from_be_bytes([a, b]) ^ u16::from_be_bytes([c, d])).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_survives_the_heartbeat() {
        for text in ["0.1.0", "1.2.3", "10.200.65535"] {
            let version = ProgramVersion::of(text);
            assert_eq!(version.to_string(), text);
            assert_eq!(ProgramVersion::from_bits(version.to_bits()), version);
        }
        assert_eq!(ProgramVersion::of("1.2.3").to_bits(), 0x0001_0002_0003_0000);
        for bits in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(ProgramVersion::from_bits(bits).to_bits(), bits);
        }
        assert_eq!(ProgramVersion::own(), ProgramVersion::of(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn what_follows_the_numbers_tells_versions_apart() {
        let texts = ["1.2.3", "1.2.3-rc.1", "1.2.3-rc.2", "1.2.3+rc.1", "1.2.4-rc.1", "1.3.3-rc.1"];
        let versions = texts.map(ProgramVersion::of);
        for (place, version) in versions.iter().enumerate() {
            assert!(!versions[..place].contains(version), "{}", texts[place]);
            assert_eq!(ProgramVersion::from_bits(version.to_bits()), *version);
        }
        assert!(versions[1].to_string().starts_with("1.2.3-"), "{}", versions[1]);
        assert_eq!(checksum(""), 0);
    }

    #[test]
    fn a_text_that_is_no_version_counts_as_zero() {
        for text in ["", "x.y", "65536", "-"] {
            let version = ProgramVersion::of(text);
            assert_eq!(version.to_bits() >> 16, 0, "{text}");
        }
    }
}
