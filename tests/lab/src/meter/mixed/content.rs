//! What flows carry: octets that depend on the flow and on how many went before them.

use std::sync::OnceLock;

/// The longest message, in octets.
pub(super) const LONGEST: usize = 64 * 1024;

/// After how many octets the content repeats.
const PERIOD: usize = 1 << 20;

/// The `length` octets of flow `flow` after the first `position`.
pub(super) fn content(flow: u32, position: u64, length: usize) -> &'static [u8] {
    static OCTETS: OnceLock<Vec<u8>> = OnceLock::new();
    let octets = OCTETS.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(7100);
        let mut octets = vec![0; PERIOD];
        random.fill(&mut octets);
        // What follows the end is the beginning, so that any message is one slice.
        octets.extend_from_within(..LONGEST);
        octets
    });
    let begin = (u64::from(flow) * 7919 + position) % PERIOD as u64;
    let begin = usize::try_from(begin).unwrap_or_default();
    &octets[begin..begin + length]
}

/// The length of a flow's message `number`, in octets: short and long ones in turn.
pub(super) fn length(number: u64) -> usize {
    64 + usize::try_from(number * 331 % 1200).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_another_flow_nor_another_position_has_the_same_content() {
        let own = content(1, 5000, 64);
        assert_eq!(own, content(1, 5000, 64));
        assert_ne!(own, content(2, 5000, 64));
        assert_ne!(own, content(1, 5001, 64));
        assert_eq!(own, content(1, 5000 + PERIOD as u64, 64));
        assert_eq!(content(0, PERIOD as u64 - 10, LONGEST).len(), LONGEST);
    }

    #[test]
    fn no_message_is_longer_than_a_packet_or_empty() {
        assert!((0..5000).map(length).all(|length| (64..1300).contains(&length)));
    }
}
