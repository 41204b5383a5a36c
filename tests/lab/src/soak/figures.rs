//! The figures of a soak.

use std::collections::BTreeMap;

use super::cycle::Soak;

/// Figures by name.
pub type Figures = BTreeMap<&'static str, f64>;

/// How the figures of several labs become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Sum,
    Most,
}

const ALL: [(&str, Join); 22] = [
    ("soak.minutes", Join::Sum),
    ("soak.cycles", Join::Sum),
    ("soak.faults", Join::Sum),
    ("soak.violations", Join::Sum),
    ("soak.takeovers", Join::Sum),
    ("soak.repairs", Join::Sum),
    ("soak.hand_backs", Join::Sum),
    ("soak.orders", Join::Sum),
    ("soak.helped", Join::Sum),
    ("soak.pings_sent", Join::Sum),
    ("soak.pings_lost", Join::Sum),
    ("soak.flows_opened", Join::Sum),
    ("soak.flows_broken", Join::Sum),
    ("soak.calls", Join::Sum),
    ("soak.stalls", Join::Sum),
    ("soak.changes_a_minute.max", Join::Most),
    ("soak.home_s.max", Join::Most),
    ("soak.rss_mib", Join::Most),
    ("soak.rss_growth_mib", Join::Most),
    ("soak.rss_growth_over_minutes", Join::Most),
    ("soak.fd_growth", Join::Most),
    ("soak.thread_growth", Join::Most),
];

/// The names of all figures.
pub const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        names[at] = ALL[at].0;
        at += 1;
    }
    names
};

/// The figures of one lab.
pub(super) fn of(soak: &Soak<'_>, minutes: f64) -> Figures {
    let counts = soak.watch.observer.counts();
    let growth = soak.census.growth();
    let tally = soak.tally;
    let many = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let size = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let change = |count: i64| f64::from(i32::try_from(count).unwrap_or(i32::MAX));
    let rounded = |value: f64, places: i32| {
        let scale = 10_f64.powi(places);
        (value * scale).round() / scale
    };
    Figures::from([
        ("soak.minutes", rounded(minutes, 1)),
        ("soak.cycles", many(tally.cycles)),
        ("soak.faults", many(tally.faults)),
        ("soak.violations", size(soak.watch.observer.violations().len())),
        ("soak.takeovers", many(counts.takeovers)),
        ("soak.repairs", many(counts.repairs)),
        ("soak.hand_backs", many(counts.hand_backs)),
        ("soak.orders", many(tally.orders)),
        ("soak.helped", many(tally.helped)),
        ("soak.pings_sent", many(counts.sent)),
        ("soak.pings_lost", many(counts.lost)),
        ("soak.flows_opened", size(tally.flows)),
        ("soak.flows_broken", size(tally.broken)),
        ("soak.calls", many(counts.calls)),
        ("soak.stalls", many(counts.stalls)),
        ("soak.changes_a_minute.max", size(counts.busiest_minute)),
        ("soak.home_s.max", rounded(tally.home.as_secs_f64(), 1)),
        ("soak.rss_mib", rounded(soak.census.rss_mib(), 1)),
        ("soak.rss_growth_mib", rounded(growth.rss_mib, 2)),
        ("soak.rss_growth_over_minutes", rounded(growth.over.as_secs_f64() / 60.0, 1)),
        ("soak.fd_growth", change(growth.descriptors)),
        ("soak.thread_growth", change(growth.threads)),
    ])
}

/// The figures of several labs as one.
pub(super) fn together(labs: &[Figures]) -> Figures {
    let one = |(name, join): &(&'static str, Join)| {
        let values = labs.iter().filter_map(|figures| figures.get(name)).copied();
        let value = match join {
            Join::Sum => values.reduce(|all, one| all + one),
            Join::Most => values.reduce(f64::max),
        };
        Some((*name, value?))
    };
    ALL.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_the_worst_growth_counts() {
        let lab = |faults, growth| {
            Figures::from([("soak.faults", faults), ("soak.rss_growth_mib", growth)])
        };
        let all = together(&[lab(3.0, 0.5), lab(4.0, 0.25)]);
        assert_eq!(all, lab(7.0, 0.5));
        assert!(together(&[]).is_empty());
    }
}
