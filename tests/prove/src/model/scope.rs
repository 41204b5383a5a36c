//! What the adversary may do in one run of the checker.

use super::fault::{Api, Fault, Half, Led};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the same words as in `Fault` and `Api`")]
pub enum Kind {
    Crash,
    Restart,
    Kill,
    Freeze,
    Unfit,
    Deaf,
    Cut,
    NoEcho,
    Slow,
    Refuses,
    Hangs,
    LosesReplies,
    Delays,
    Repeats,
    Stale,
    Led,
    UserStop,
    Overdue,
    Service,
    NoProbe,
    Blip,
    Unproven,
    Unlisted,
    HalfRefused,
    HalfDelayed,
    HalfStale,
    Landless,
    Drain,
}

impl Kind {
    /// Every kind that the rules hold under.
    pub const ALLOWED: [Self; 17] = [
        Self::Crash,
        Self::Restart,
        Self::Kill,
        Self::Freeze,
        Self::Unfit,
        Self::Deaf,
        Self::Cut,
        Self::NoEcho,
        Self::Slow,
        Self::Refuses,
        Self::Hangs,
        Self::LosesReplies,
        Self::Delays,
        Self::Repeats,
        Self::Stale,
        Self::Led,
        Self::UserStop,
    ];

    /// The kinds that are about probes alone.
    pub(super) const PROBES: [Self; 3] = [Self::NoProbe, Self::Blip, Self::Unproven];

    /// The kinds that are about groups of a route and an egress IP.
    pub(super) const EGRESS: [Self; 4] =
        [Self::HalfRefused, Self::HalfDelayed, Self::HalfStale, Self::Landless];

    /// Every fault of this kind among so many nodes, groups and resources.
    pub(super) fn faults(self, nodes: usize, groups: usize, parts: usize) -> Vec<Fault> {
        let each = |make: fn(usize) -> Fault| (0..nodes).map(make).collect();
        let api = |api| (0..nodes).map(|n| Fault::Api(n, api)).collect();
        let halves = |make: fn(Half) -> Api| {
            let of = |n| Half::ALL.map(|half| Fault::Api(n, make(half)));
            (0..nodes).flat_map(of).collect()
        };
        let pairs = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
        match self {
            Self::Crash => each(Fault::Crash),
            Self::Restart => each(Fault::Restart),
            Self::Kill => each(Fault::Kill),
            Self::Freeze => each(Fault::Freeze),
            Self::Unfit => each(Fault::Unfit),
            Self::NoProbe => each(Fault::NoProbe),
            Self::Blip => each(Fault::Blip),
            Self::Unproven => each(Fault::Unproven),
            Self::UserStop => each(Fault::UserStop),
            Self::Deaf => pairs.filter(|(a, b)| a != b).map(|(a, b)| Fault::Deaf(a, b)).collect(),
            Self::Slow => pairs.filter(|(a, b)| a != b).map(|(a, b)| Fault::Slow(a, b)).collect(),
            Self::Cut => pairs.filter(|(a, b)| a < b).map(|(a, b)| Fault::Cut(a, b)).collect(),
            Self::NoEcho => {
                pairs.filter(|(a, b)| a < b).map(|(a, b)| Fault::NoEcho(a, b)).collect()
            }
            Self::Refuses => api(Api::Refuses),
            Self::Hangs => api(Api::Hangs),
            Self::LosesReplies => api(Api::LosesReplies),
            Self::Delays => api(Api::Delays),
            Self::Repeats => api(Api::Repeats),
            Self::HalfRefused => halves(Api::RefusesHalf),
            Self::HalfDelayed => halves(Api::DelaysHalf),
            Self::HalfStale => Half::ALL.map(Fault::HalfStale).to_vec(),
            Self::Landless => each(Fault::Landless),
            Self::Drain => each(Fault::Drain),
            Self::Unlisted => {
                pairs.filter(|(a, b)| a != b).map(|(a, b)| Fault::Unlisted(a, b)).collect()
            }
            Self::Stale => vec![Fault::Stale],
            Self::Overdue => vec![Fault::Overdue],
            Self::Service => (0..nodes)
                .flat_map(|n| (0..groups).map(move |group| Fault::Service(n, group)))
                .collect(),
            Self::Led => (0..parts)
                .flat_map(|table| {
                    let to = (0..nodes).map(Led::To).chain([Led::Out, Led::Nowhere]);
                    to.map(move |led| Fault::Led(table, led))
                })
                .collect(),
        }
    }
}

/// What the groups of a run are, besides default routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each adds something of its own to a group")]
pub struct Pattern {
    /// The routes are those of virtual IPs, which hosts carry, and each group has an Elastic IP.
    pub eip: bool,
    /// The routes are default routes, and each group has an egress IP, whose connections are
    /// replicated.
    pub egress: bool,
    /// A service check tells who can hold a group.
    pub checked: bool,
    /// There is one group alone, whose home is the first node.
    pub single: bool,
}

impl Pattern {
    /// Whether each group has an address besides its routes.
    pub(super) fn has_address(self) -> bool {
        self.eip || self.egress
    }

    /// How many resources a group has that has so many routes. The last one is the address.
    pub(super) fn parts(self, tables: usize) -> usize {
        tables + usize::from(self.has_address())
    }
}

/// One run's bounds.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Its name.
    pub name: &'static str,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many tables each node's home group has.
    pub tables: usize,
    /// What more its groups are.
    pub pattern: Pattern,
    /// What may go wrong.
    pub kinds: Vec<Kind>,
    /// How many things may go wrong in one schedule. Mending is free.
    pub strikes: u8,
    /// For how many seconds a fault lasts, one of these, or none for any time.
    pub lasts: Option<Vec<u8>>,
    /// Whether the monitors start at the beginning, all at once, with the routes in every
    /// position; otherwise the cluster is at rest.
    pub booting: bool,
}

impl Scope {
    /// How many resources there are in all. Number `t` is of the home group of node
    /// `t / pattern.parts(tables)`.
    #[must_use]
    pub fn all_parts(&self) -> usize {
        self.groups() * self.pattern.parts(self.tables)
    }

    /// Whether reads may show the past.
    pub(super) fn lags(&self) -> bool {
        self.kinds.iter().any(|kind| matches!(kind, Kind::Stale | Kind::HalfStale))
    }

    /// How many groups there are. Number `n` has its home at node `n`.
    pub(super) fn groups(&self) -> usize {
        if self.pattern.single { 1 } else { self.nodes }
    }

    /// Everything that may go wrong.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let (groups, parts) = (self.groups(), self.all_parts());
        self.kinds.iter().flat_map(|kind| kind.faults(self.nodes, groups, parts)).collect()
    }
}
