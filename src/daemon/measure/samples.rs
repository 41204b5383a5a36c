//! The measurements, and what is shown of them. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::types::millis;

/// A change of the scratch route, or of the Elastic IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    /// The route is created, with the peer as target.
    Create,
    /// It is pointed at this node.
    Away,
    /// It is pointed at the peer.
    Back,
    /// It is deleted.
    Delete,
    /// The Elastic IP, which was associated with nothing, is associated with this node.
    Associate,
    /// It moves to the peer.
    ToPeer,
    /// It moves from the peer to this node.
    FromPeer,
    /// It is disassociated.
    Disassociate,
}

impl Change {
    /// Those of a route, in the order of a round.
    pub(crate) const OF_ROUTE: [Self; 4] = [Self::Create, Self::Away, Self::Back, Self::Delete];

    /// Those of an Elastic IP, in the order of a round.
    pub(crate) const OF_ELASTIC_IP: [Self; 4] =
        [Self::Associate, Self::ToPeer, Self::FromPeer, Self::Disassociate];

    /// Whether replies come once it is in effect.
    pub(crate) const fn brings_replies(self) -> bool {
        matches!(self, Self::Create | Self::Back | Self::Associate | Self::FromPeer)
    }

    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Away => "point at this node",
            Self::Back => "point at the peer",
            Self::Delete => "delete",
            Self::Associate => "associate with this node",
            Self::ToPeer => "move to the peer",
            Self::FromPeer => "move from the peer",
            Self::Disassociate => "disassociate",
        }
    }
}

/// One change, as measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sample {
    pub(crate) change: Change,
    /// From the request to EC2's answer, in ms.
    #[serde(rename = "call_ms", with = "millis")]
    pub(crate) call: Duration,
    /// From the request to the first packet that follows the change, in ms; none if there was none
    /// in time.
    #[serde(rename = "effect_ms", with = "millis::option")]
    pub(crate) effect: Option<Duration>,
}

/// Of all samples of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) rounds: usize,
    pub(crate) call: [Duration; 2],
    /// The median, the 99th percentile and the maximum; none if no change had an effect.
    pub(crate) effect: Option<[Duration; 3]>,
    /// Changes without an effect.
    pub(crate) without_effect: usize,
}

/// The summary of each change that was measured.
pub(crate) fn summaries(samples: &[Sample]) -> BTreeMap<Change, Summary> {
    let mut summaries = BTreeMap::new();
    for change in Change::OF_ROUTE.into_iter().chain(Change::OF_ELASTIC_IP) {
        let of_it: Vec<&Sample> = samples.iter().filter(|one| one.change == change).collect();
        let mut calls: Vec<Duration> = of_it.iter().map(|one| one.call).collect();
        let mut effects: Vec<Duration> = of_it.iter().filter_map(|one| one.effect).collect();
        calls.sort();
        effects.sort();
        let Some(call) = at(&calls, 50).zip(at(&calls, 99)) else { continue };
        let effect = at(&effects, 50).zip(at(&effects, 99)).zip(effects.last().copied());
        summaries.insert(
            change,
            Summary {
                rounds: of_it.len(),
                call: call.into(),
                effect: effect.map(|((median, most), max)| [median, most, max]),
                without_effect: of_it.len() - effects.len(),
            },
        );
    }
    summaries
}

/// The percentile of sorted durations (nearest rank).
fn at(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(change: Change, call: u64, effect: Option<u64>) -> Sample {
        let (call, effect) = (Duration::from_millis(call), effect.map(Duration::from_millis));
        Sample { change, call, effect }
    }

    #[test]
    fn a_summary_has_ranks_of_what_was_measured() {
        let mut samples: Vec<Sample> =
            (1..=100).map(|n| sample(Change::Back, n, Some(n * 10))).collect();
        samples.push(sample(Change::Away, 7, None));
        let summaries = summaries(&samples);
        let ms = Duration::from_millis;
        let back = &summaries[&Change::Back];
        assert_eq!((back.rounds, back.call), (100, [ms(50), ms(99)]));
        assert_eq!(back.effect, Some([ms(500), ms(990), ms(1_000)]));
        let away = &summaries[&Change::Away];
        assert_eq!((away.effect, away.without_effect), (None, 1));
        assert!(!summaries.contains_key(&Change::Create));
    }
}
