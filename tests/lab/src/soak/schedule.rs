//! What goes wrong when: drawn from a seed, and from nothing else.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pace::Pace;
use crate::ec2::Fault;
use crate::net::faults::Traffic;

/// The heartbeats' port.
const BEATS: u16 = 6284;
/// So many cycles in a row spare the same node everything that ends its monitor, so that there
/// are monitors that have lived for long; then so many spare none.
const SPARED: u64 = 6;

/// Something that goes wrong. Nodes and zones are numbered from 0; a zone's home is the node of
/// the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "strike")]
pub(super) enum Strike {
    /// A kernel panic; only a stop and start helps.
    Panic { node: usize },
    /// A kernel that stands still, and goes on.
    Freeze { node: usize },
    /// No internet and no API.
    CutUplink { node: usize },
    /// No network at all.
    CutLink { node: usize },
    /// Traffic from one node to another is dropped.
    Block { from: usize, to: usize, what: Traffic },
    /// The same in both directions.
    BlockBoth { from: usize, to: usize, what: Traffic },
    /// Packets of a node are lost at random.
    Loss { node: usize, percent: u8 },
    /// The monitor is killed and stays dead for a while.
    KillMonitor { node: usize },
    /// The monitor is killed and started again at once.
    CrashMonitor { node: usize },
    /// The monitor is told to end, and is started again at once.
    RestartMonitor { node: usize },
    /// EC2 misbehaves towards a node.
    Api { node: usize, action: Option<String>, fault: Fault },
    /// A person deletes a zone's route.
    DeleteRoute { zone: usize },
    /// A person leads a zone's route out of the cluster: to the internet gateway, or to a private
    /// host.
    Foreign { zone: usize, gateway: bool },
    /// A person leads a zone's route to a node.
    Misplace { zone: usize, node: usize },
    /// A person stops a node, and starts it later.
    PowerOff { node: usize },
    /// An operator orders a zone's group away from its holder.
    HandOver { zone: usize },
}

/// A strike, when it comes, counted from the storm's beginning, and how long it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trouble {
    /// When.
    pub(super) at: Duration,
    /// For how long.
    pub(super) lasting: Duration,
    /// What.
    pub(super) what: Strike,
}

/// Pseudorandom draws: the same seed gives the same ones.
#[derive(Debug, Clone)]
pub(super) struct Draw(fastrand::Rng);

impl Draw {
    #[must_use]
    pub(super) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound.max(1))
    }

    fn one_of<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(self.0.u64(..most))
    }
}

/// The node that a cycle spares, if any.
#[must_use]
pub(super) fn spared(cycle: u64, nodes: usize) -> Option<usize> {
    match (cycle / SPARED) % 3 {
        0 => Some(0),
        1 => None,
        _ => Some(nodes - 1),
    }
}

/// What goes wrong in a cycle, in order: one thing alone in every third cycle, several at the same
/// time in the others.
#[must_use]
pub(super) fn storm(seed: u64, cycle: u64, nodes: usize, pace: &Pace) -> Vec<Trouble> {
    let mut draw = Draw::new(seed ^ cycle.wrapping_mul(0xd1b5_4a32_d192_ed03));
    for _ in 0..nodes {
        draw.next();
    }
    let count = if cycle.is_multiple_of(3) { 1 } else { 2 + draw.below(9) };
    let spared = spared(cycle, nodes);
    let mut troubles: Vec<Trouble> = (0..count)
        .map(|_| {
            let what = strike(&mut draw, nodes, spared);
            let at = if count == 1 { Duration::ZERO } else { draw.up_to(pace.storm * 2 / 3) };
            let rest = pace.storm.saturating_sub(at);
            let share = draw.one_of(&[16, 5, 2, 1, 1]);
            let lasting = Duration::from_millis(200) + draw.up_to(rest / share);
            // A stop takes its time before anybody can start what was stopped.
            let least = if matches!(what, Strike::PowerOff { .. }) { 6 } else { 0 };
            Trouble { at, lasting: lasting.max(Duration::from_secs(least)).min(rest), what }
        })
        .collect();
    troubles.sort_by_key(|trouble| trouble.at);
    troubles
}

fn strike(draw: &mut Draw, nodes: usize, spared: Option<usize>) -> Strike {
    let node = draw.below(nodes);
    let other = (node + 1 + draw.below(nodes - 1)) % nodes;
    let zone = draw.below(nodes);
    let what = draw.one_of(&[Traffic::All, Traffic::Icmp, Traffic::Udp(BEATS)]);
    let fatal = node_that_may_die(node, other, spared);
    match draw.below(22) {
        1 | 2 => Strike::Freeze { node: fatal },
        3 | 4 => Strike::CutUplink { node },
        5 => Strike::CutLink { node: fatal },
        6 => Strike::Block { from: node, to: other, what },
        7 | 8 => Strike::BlockBoth { from: node, to: other, what },
        9 => Strike::Loss { node, percent: draw.one_of(&[5, 20, 40, 60]) },
        0 | 10 => Strike::KillMonitor { node: fatal },
        11 => Strike::CrashMonitor { node: fatal },
        12 => Strike::RestartMonitor { node: fatal },
        13..=15 => api(draw, node),
        16 => Strike::DeleteRoute { zone },
        17 => match draw.below(3) {
            0 => Strike::Foreign { zone, gateway: true },
            1 => Strike::Foreign { zone, gateway: false },
            _ => Strike::Misplace { zone, node },
        },
        18 => Strike::PowerOff { node: fatal },
        19 => Strike::HandOver { zone },
        _ => Strike::Panic { node: fatal },
    }
}

const fn node_that_may_die(node: usize, other: usize, spared: Option<usize>) -> usize {
    match spared {
        Some(spared) if spared == node => other,
        _ => node,
    }
}

/// Latency stays below the shortest time limit and answers are never older than EC2's lag: what is
/// beyond is beyond what natha promises under its timing assumption.
fn api(draw: &mut Draw, node: usize) -> Strike {
    let fault = draw.one_of(&[
        Fault::LatencyBefore { ms: 2_500 },
        Fault::LatencyAfter { ms: 2_500 },
        Fault::LatencyBefore { ms: 800 },
        Fault::Hang,
        Fault::Throttle,
        Fault::Deny,
        Fault::ServerError,
        Fault::Stale { ms: 1_500 },
        Fault::Stale { ms: 4_000 },
        Fault::LostReply,
        Fault::NoCapacity,
        Fault::Unreachable,
    ]);
    let action = draw.one_of(&[None, None, Some("Describe*"), Some("ReplaceRoute"), Some("St*")]);
    Strike::Api { node, action: action.map(str::to_owned), fault }
}

/// A node's name in the lab.
#[must_use]
pub(super) fn node_name(node: usize) -> String {
    format!("nat-{}", letter(node))
}

/// A private host's name in the lab.
#[must_use]
pub(super) fn host_name(zone: usize) -> String {
    format!("host-{}", letter(zone))
}

/// The letter of a node or zone.
#[must_use]
pub(super) fn letter(number: usize) -> char {
    char::from(b'a' + u8::try_from(number).unwrap_or_default())
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |node: &usize| node_name(*node);
        match self {
            Self::Panic { node } => write!(f, "{} panics", name(node)),
            Self::Freeze { node } => write!(f, "{} freezes", name(node)),
            Self::CutUplink { node } => write!(f, "{} loses its uplink", name(node)),
            Self::CutLink { node } => write!(f, "{} loses its link", name(node)),
            Self::Block { from, to, what } => {
                write!(f, "{what:?} from {} to {} is blocked", name(from), name(to))
            }
            Self::BlockBoth { from, to, what } => {
                write!(f, "{what:?} between {} and {} is blocked", name(from), name(to))
            }
            Self::Loss { node, percent } => write!(f, "{} loses {percent} %", name(node)),
            Self::KillMonitor { node } => write!(f, "{}'s monitor is dead", name(node)),
            Self::CrashMonitor { node } => write!(f, "{}'s monitor is killed", name(node)),
            Self::RestartMonitor { node } => write!(f, "{}'s monitor is restarted", name(node)),
            Self::Api { node, action, fault } => {
                let calls = action.as_deref().unwrap_or("every call");
                write!(f, "EC2 towards {}: {fault:?} on {calls}", name(node))
            }
            Self::DeleteRoute { zone } => write!(f, "a person deletes {}'s route", letter(*zone)),
            Self::Foreign { zone, gateway } => {
                let to = if *gateway { "the internet gateway" } else { "a private host" };
                write!(f, "a person leads {}'s route to {to}", letter(*zone))
            }
            Self::Misplace { zone, node } => {
                write!(f, "a person leads {}'s route to {}", letter(*zone), name(node))
            }
            Self::PowerOff { node } => write!(f, "a person stops {}", name(node)),
            Self::HandOver { zone } => write!(f, "an operator hands {} over", letter(*zone)),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, lasting) = (self.at.as_secs_f64(), self.lasting.as_secs_f64());
        write!(f, "+{at:.1} s for {lasting:.1} s: {}", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_storm_again_and_another_gives_another() {
        let pace = Pace::quick();
        let storms = |seed| (0..20).map(|cycle| storm(seed, cycle, 3, &pace)).collect::<Vec<_>>();
        assert_eq!(storms(7), storms(7));
        assert_ne!(storms(7), storms(8));
    }

    #[test]
    fn every_kind_of_strike_comes_and_each_ends_with_its_storm() {
        let pace = Pace::quick();
        let mut kinds = std::collections::BTreeSet::new();
        for cycle in 0..300 {
            for trouble in storm(1, cycle, 2, &pace) {
                assert!(trouble.at + trouble.lasting <= pace.storm, "{trouble}");
                let kind = serde_json::to_value(&trouble.what).unwrap()["strike"].clone();
                kinds.insert(kind.to_string());
            }
        }
        assert_eq!(kinds.len(), 16, "{kinds:?}");
    }

    #[test]
    fn a_spared_node_keeps_its_monitor() {
        let pace = Pace::quick();
        for cycle in 0..SPARED {
            for trouble in storm(3, cycle, 2, &pace) {
                let fatal = matches!(
                    trouble.what,
                    Strike::Panic { node: 0 }
                        | Strike::Freeze { node: 0 }
                        | Strike::CutLink { node: 0 }
                        | Strike::KillMonitor { node: 0 }
                        | Strike::CrashMonitor { node: 0 }
                        | Strike::RestartMonitor { node: 0 }
                        | Strike::PowerOff { node: 0 }
                );
                assert!(!fatal, "{trouble}");
            }
        }
    }
}
