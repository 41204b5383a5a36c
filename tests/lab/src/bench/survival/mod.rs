//! Which connections survive a move of their group, side by side for each way to keep connections.

pub mod table;

use anyhow::{Context, Result};

use super::figures::Figures;
use super::flows::slow_effects;
use super::{Bench, stats};
use crate::applications::Application;
use crate::meter::mixed::{Kind, Report};
use crate::survival::{Move, Staged, Tier, Trial};

/// The figures of one tier and one move.
macro_rules! figures {
    ($tier:literal, $event:literal) => {
        [
            concat!("survival.", $tier, ".", $event, ".idle_ratio"),
            concat!("survival.", $tier, ".", $event, ".busy_ratio"),
            concat!("survival.", $tier, ".", $event, ".server_first_ratio"),
            concat!("survival.", $tier, ".", $event, ".download_ratio"),
            concat!("survival.", $tier, ".", $event, ".udp_ratio"),
            concat!("survival.", $tier, ".", $event, ".changed_port_ratio"),
            concat!("survival.", $tier, ".", $event, ".application_ratio"),
            concat!("survival.", $tier, ".", $event, ".stall_ms.median"),
            concat!("survival.", $tier, ".", $event, ".stall_ms.max"),
            concat!("survival.", $tier, ".", $event, ".new_stall_ms"),
        ]
    };
}

/// How many figures there are of one tier and one move, and how many of them are shares.
const FIGURES: usize = 10;
const SHARES: usize = 7;

/// The figures of a tier, by move: in the order of [`Move::ALL`].
type Names = [[&'static str; FIGURES]; Move::ALL.len()];

/// The figures of [`Tier::Nothing`].
pub(super) const NOTHING: &Names = &[
    figures!("nothing", "hand_over"),
    figures!("nothing", "hand_back"),
    figures!("nothing", "hard_kill"),
];
/// The figures of [`Tier::EgressIp`].
pub(super) const EGRESS_IP: &Names = &[
    figures!("egress_ip", "hand_over"),
    figures!("egress_ip", "hand_back"),
    figures!("egress_ip", "hard_kill"),
];
/// The figures of [`Tier::Replication`].
pub(super) const REPLICATION: &Names = &[
    figures!("replication", "hand_over"),
    figures!("replication", "hand_back"),
    figures!("replication", "hard_kill"),
];
/// The figures of [`Tier::Conntrackd`].
pub(super) const CONNTRACKD: &Names = &[
    figures!("conntrackd", "hand_over"),
    figures!("conntrackd", "hand_back"),
    figures!("conntrackd", "hard_kill"),
];

/// The figures of a tier.
const fn of(tier: Tier) -> &'static Names {
    match tier {
        Tier::Nothing => NOTHING,
        Tier::EgressIp => EGRESS_IP,
        Tier::Replication => REPLICATION,
        Tier::Conntrackd => CONNTRACKD,
    }
}

/// The names of all of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    Tier::ALL.into_iter().flat_map(|tier| of(tier).as_flattened().iter().copied())
}

pub(super) fn nothing(bench: &Bench<'_>) -> Result<Figures> {
    measure(bench, Tier::Nothing)
}

pub(super) fn egress_ip(bench: &Bench<'_>) -> Result<Figures> {
    measure(bench, Tier::EgressIp)
}

pub(super) fn replication(bench: &Bench<'_>) -> Result<Figures> {
    measure(bench, Tier::Replication)
}

pub(super) fn conntrackd(bench: &Bench<'_>) -> Result<Figures> {
    measure(bench, Tier::Conntrackd)
}

fn measure(bench: &Bench<'_>, tier: Tier) -> Result<Figures> {
    let (natha, flows) = (&bench.options.natha, bench.scale.flows);
    let mut trial = Trial::start(tier, natha, slow_effects(), flows)?;
    let mut figures = Figures::new();
    for (event, names) in Move::ALL.into_iter().zip(of(tier)) {
        let staged = trial.stage(event).with_context(|| format!("{event:?}"))?;
        let (broken, all) = (staged.load.broken(), staged.load.flows());
        let applications = &staged.applications;
        Bench::say(&format!(
            "{tier:?}, {event:?}: {broken} of {all} connections broken, sessions of \
             {applications:?} went on"
        ));
        figures.extend(names.iter().copied().zip(values(&staged)));
    }
    Ok(figures)
}

/// The figures of a move, in the order of their names.
fn values(staged: &Staged) -> [f64; FIGURES] {
    let (kept, changed) = (&staged.load.kept, &staged.load.changed);
    let of_kind = |kind: Kind| {
        let all = kept.kinds.get(&kind).map_or(0, |share| share.flows);
        share(kept.alive(kind), all)
    };
    let [idle, busy, server_first, download, udp] = Kind::ALL.map(of_kind);
    let others = share(changed.flows() - changed.broken(), changed.flows());
    let applications = share(staged.applications.len(), Application::ALL.len());
    let stalls = [kept.stall.p50_ms, kept.stall.max_ms].map(|ms| stats::rounded(ms, 0));
    let [median, longest] = if has_progress(kept) { stalls } else { [f64::NAN; 2] };
    let newcomers = kept.newcomers.as_ref().filter(|all| all.tried > all.failed);
    let new = newcomers.map_or(f64::NAN, |all| stats::rounded(all.stall_ms, 0));
    [idle, busy, server_first, download, udp, others, applications, median, longest, new]
}

/// Whether a connection lives that is not idle, and whose stall was measured.
fn has_progress(report: &Report) -> bool {
    Kind::ALL.into_iter().any(|kind| kind != Kind::Idle && report.alive(kind) > 0)
}

/// A share, never rounded up to all.
fn share(some: usize, all: usize) -> f64 {
    if all == 0 {
        return f64::NAN;
    }
    (stats::count(some) / stats::count(all) * 1e3).floor() / 1e3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::egress::Ended;
    use crate::meter::mixed::{Newcomers, Share, Stalls};

    fn report(alive: usize) -> Report {
        let stall = Stalls { p50_ms: 12.4, p99_ms: 20.0, max_ms: 30.6 };
        let share = Share { flows: 1_000, alive, stall, ..Share::default() };
        Report {
            kinds: Kind::ALL.map(|kind| (kind, share.clone())).into(),
            stall,
            newcomers: Some(Newcomers { tried: 9, failed: 1, stall_ms: 4.6 }),
            seen: BTreeSet::new(),
        }
    }

    #[test]
    fn shares_and_stalls_have_their_places() {
        let load = Ended { kept: report(999), changed: report(500) };
        let staged = Staged { load, applications: Application::ALL.into() };
        let expected = [0.999, 0.999, 0.999, 0.999, 0.999, 0.5, 1.0, 12.0, 31.0, 5.0];
        assert!(values(&staged).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!((share(99_999, 100_000) - 0.999).abs() < 1e-9, "not all");
    }

    #[test]
    fn where_nothing_lives_no_stall_is_made_up() {
        let load = Ended { kept: report(0), changed: report(0) };
        let values = values(&Staged { load, applications: Vec::new() });
        assert!(values[..SHARES].iter().all(|value| value.abs() < 1e-9), "{values:?}");
        assert!(values[SHARES].is_nan() && values[SHARES + 1].is_nan(), "{values:?}");
        assert!((values[SHARES + 2] - 5.0).abs() < 1e-9, "new connections are another matter");
        assert!(share(0, 0).is_nan());
    }

    #[test]
    fn each_name_is_of_its_tier_and_move() {
        let tiers = ["nothing", "egress_ip", "replication", "conntrackd"];
        let moves = ["hand_over", "hand_back", "hard_kill"];
        for (tier, tier_name) in Tier::ALL.into_iter().zip(tiers) {
            for (names, move_name) in of(tier).iter().zip(moves) {
                let beginning = format!("survival.{tier_name}.{move_name}.");
                assert!(names.iter().all(|name| name.starts_with(&beginning)), "{names:?}");
                let shares = names.iter().take_while(|name| name.ends_with("_ratio"));
                assert_eq!(shares.count(), SHARES, "{names:?}");
            }
        }
        assert_eq!(names().count(), Tier::ALL.len() * Move::ALL.len() * FIGURES);
    }
}
