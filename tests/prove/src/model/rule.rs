//! What must hold in every state.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often each rule had something to judge: a rule that never had holds for no reason.
static TRIED: [AtomicU64; Rule::ALL.len()] = [const { AtomicU64::new(0) }; Rule::ALL.len()];

/// The rules, named after the invariants of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Two nodes do not stop each other.
    MutualStop,
    /// A node that serves is not stopped.
    StopServing,
    /// A node that has been well is not stopped.
    StopWell,
    /// A node that has just been heard is not stopped.
    StopHeard,
    /// An unfit node stops no node, and takes only from the dead.
    Unfit,
    /// No node takes a group from a live, fit holder.
    Robbed,
    /// A foreign target is left alone.
    Foreign,
    /// A route is pointed only to a node that can serve, as far as its peers could know.
    WrongTarget,
    /// A missing answer or an error permits nothing.
    Unknown,
    /// After a pause, nothing is changed before it is read.
    Blind,
    /// Every change but a takeover's first follows a fresh read.
    Unread,
    /// A home gets its group back only once it has been well.
    EarlyHandBack,
    /// natha starts only what it or EC2 stopped, or what shut itself down.
    UnaskedStart,
    /// Stops are capped.
    TooManyStops,
    /// Route writes come to an end.
    WriteStorm,
    /// A sole survivor serves everything.
    Unserved,
    /// Everything comes to rest, at home.
    NoRest,
    /// What was stopped is started again.
    LeftStopped,
    /// A heartbeat is never held up.
    HeldUp,
    /// natha reports what it leaves alone.
    Untold,
    /// A group goes only to a node that can serve it.
    Unserving,
    /// The kinds of a group are taken in order.
    Order,
    /// The node that has part of a group takes a gap in it.
    Divided,
    /// A group comes together at one node.
    Apart,
    /// A host carries the addresses of what it holds, and no others.
    Local,
    /// What fails on all nodes alike moves nothing.
    Shared,
    /// A proven node gives nothing to an unproven one.
    Unproven,
    /// Nothing is taken from a healthy node because it was never heard.
    Stranger,
    /// A restart of a monitor moves nothing.
    Restarted,
    /// What has died is not called alive.
    Undead,
    /// An egress IP goes only to a landing address.
    Landing,
    /// The halves of a group with an egress IP are taken over side by side.
    SideBySide,
    /// A host translates to the egress IPs that its node has, and to no others.
    Translation,
    /// A host is ready for an egress IP before it comes.
    Guard,
    /// A drained node leaves nothing behind.
    Behind,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 35] = [
        Self::MutualStop,
        Self::StopServing,
        Self::StopWell,
        Self::StopHeard,
        Self::Unfit,
        Self::Robbed,
        Self::Foreign,
        Self::WrongTarget,
        Self::Unknown,
        Self::Blind,
        Self::Unread,
        Self::EarlyHandBack,
        Self::UnaskedStart,
        Self::TooManyStops,
        Self::WriteStorm,
        Self::Unserved,
        Self::NoRest,
        Self::LeftStopped,
        Self::HeldUp,
        Self::Untold,
        Self::Unserving,
        Self::Order,
        Self::Divided,
        Self::Apart,
        Self::Local,
        Self::Shared,
        Self::Unproven,
        Self::Stranger,
        Self::Restarted,
        Self::Undead,
        Self::Landing,
        Self::SideBySide,
        Self::Translation,
        Self::Guard,
        Self::Behind,
    ];

    /// Its name: the invariant's number, and a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MutualStop => "S1 mutual stop",
            Self::StopServing => "S2 stop of a serving node",
            Self::StopWell => "S2 stop of a well node",
            Self::StopHeard => "S2 stop of a node just heard",
            Self::Unfit => "S2, S3 unfit actor",
            Self::Robbed => "S3 robbed holder",
            Self::Foreign => "S4 foreign target",
            Self::WrongTarget => "S4 wrong target",
            Self::Unknown => "S5 unknown taken for known",
            Self::Blind => "S6 blind after a pause",
            Self::Unread => "S6 change without a read",
            Self::EarlyHandBack => "S7 early hand-back",
            Self::UnaskedStart => "S12 unasked start",
            Self::TooManyStops => "S12 too many stops",
            Self::WriteStorm => "S12 storm of writes",
            Self::Unserved => "L1 unserved",
            Self::NoRest => "L2, L3 no rest at home",
            Self::LeftStopped => "L5 left stopped",
            Self::HeldUp => "L6 heartbeat held up",
            Self::Untold => "L7 untold",
            Self::Unserving => "S3 node that cannot serve",
            Self::Order => "L4 order of kinds",
            Self::Divided => "L4 divided group",
            Self::Apart => "L4 group apart",
            Self::Local => "S9 addresses of a host",
            Self::Shared => "S3 shared fault",
            Self::Unproven => "S3 unproven receiver",
            Self::Stranger => "S3 stranger",
            Self::Restarted => "S3 restart",
            Self::Undead => "S2 dead taken for alive",
            Self::Landing => "S4 no landing address",
            Self::SideBySide => "L4 side by side",
            Self::Translation => "S10 translation",
            Self::Guard => "S11 guard",
            Self::Behind => "L4 left behind",
        }
    }

    /// What it says.
    #[must_use]
    pub const fn statement(self) -> &'static str {
        match self {
            Self::MutualStop => {
                "EC2 never accepts a stop of A by B while it is stopping B at A's request, and \
                 natha never has every node stopped"
            }
            Self::StopServing => {
                "EC2 accepts no stop of a node that forwards if a route has pointed to it for \
                 longer than the maximum age of the read behind a stop, EC2's lag and a call's \
                 time limit together"
            }
            Self::StopWell => {
                "EC2 accepts no stop of a node that has been healthy, with a working API, for the \
                 whole of repair.after"
            }
            Self::StopHeard => {
                "no node requests a stop of a node whose heartbeat or echo has reached it within \
                 the detection time"
            }
            Self::Unfit => {
                "a node that finds itself unfit stops no node; it takes a route only if its probes \
                 found all its faults, from a node that it has lost and that has not been healthy \
                 all along"
            }
            Self::Robbed => {
                "no node takes a route from a live, fit holder that it has been connected to and \
                 that has held the route for a while, unless the holder is leaving"
            }
            Self::Foreign => {
                "no node writes a route that a person pointed outside the cluster, once a read \
                 could show that"
            }
            Self::WrongTarget => {
                "a node points a route to itself, or gives it to a peer whose heartbeats reached \
                 it within the detection time, or within twice that if a third node may vouch for \
                 the peer"
            }
            Self::Unknown => {
                "a stop or a start follows successful reads, within read_valid, of the routes and \
                 of the state of both nodes; an error is not an answer"
            }
            Self::Blind => {
                "after a pause longer than the detection time, a successful read of the routes \
                 comes before any change"
            }
            Self::Unread => {
                "every route write except the first of a takeover follows a read of that route \
                 requested within read_valid"
            }
            Self::EarlyHandBack => {
                "a node hands a group back only to a home whose monitor has run, fit, for at least \
                 hand_back.hold, less the detection time after a pause of the giver; a drained \
                 node cannot wait"
            }
            Self::UnaskedStart | Self::TooManyStops | Self::WriteStorm => self.of_limits(),
            Self::Unserving | Self::Order | Self::Divided | Self::Apart | Self::Local => {
                self.of_groups()
            }
            Self::Shared | Self::Unproven => self.of_probes(),
            Self::Stranger | Self::Restarted | Self::Undead => self.of_verdicts(),
            Self::Landing | Self::SideBySide | Self::Translation | Self::Guard => self.of_egress(),
            Self::Behind => self.of_drains(),
            Self::Unserved | Self::NoRest | Self::LeftStopped | Self::HeldUp | Self::Untold => {
                self.promise()
            }
        }
    }

    /// The rules about what natha does at most.
    const fn of_limits(self) -> &'static str {
        match self {
            Self::UnaskedStart => {
                "natha starts only an instance that natha or EC2 stopped, or that shut itself \
                 down; never one that a person stopped"
            }
            Self::TooManyStops => {
                "one run of a monitor stops at most repair.max_per_hour times; what EC2 refused \
                 does not count"
            }
            Self::WriteStorm => {
                "while nothing breaks and nothing is repaired, route writes end after a handful"
            }
            _ => self.statement(),
        }
    }

    /// The rules about groups of several kinds, and about those with a service check.
    const fn of_groups(self) -> &'static str {
        match self {
            Self::Unserving => {
                "no node takes a group whose service check fails on it, and no node is given a \
                 group that its heartbeats say it cannot serve"
            }
            Self::Order => {
                "in a takeover, an Elastic IP moves only once no route of its group points to the \
                 failed node, or a write has failed"
            }
            Self::Divided => {
                "a node without a part of a group takes an unassigned part only if, as far as it \
                 knows, no live node that serves the group has another part, or that node has let \
                 its time pass"
            }
            Self::Apart => {
                "while all nodes are healthy and hear each other, two of them do not hold parts of \
                 one group for long"
            }
            Self::Local => {
                "while all nodes are healthy and hear each other, a host carries the addresses of \
                 a group that has pointed to it for a while, but not of one that has pointed \
                 elsewhere; a host carries them before a group is handed to it on purpose"
            }
            _ => self.statement(),
        }
    }

    /// The rules about what nodes find out by probes.
    const fn of_probes(self) -> &'static str {
        match self {
            Self::Shared => {
                "a fault that probes find on all nodes, within the time for which a node waits \
                 whether it shares it, moves no route"
            }
            Self::Unproven => {
                "no node that is proven gives a route to a node whose heartbeats say that it is \
                 not, unless the giver is drained"
            }
            _ => self.statement(),
        }
    }

    /// The rules about what nodes conclude of each other.
    const fn of_verdicts(self) -> &'static str {
        match self {
            Self::Stranger => {
                "no node takes a route of another home from a healthy node that it has had no \
                 heartbeat or echo from since its host booted"
            }
            Self::Undead => {
                "a node that has crashed, and asked for no change shortly before, is not called \
                 alive or partitioned once its last heartbeats are old, unless a person points a \
                 route to it"
            }
            Self::Restarted => {
                "in a cluster at rest, restarts of monitors move no route from a live node"
            }
            _ => self.statement(),
        }
    }

    /// The rules about egress IPs.
    const fn of_egress(self) -> &'static str {
        match self {
            Self::Landing => {
                "natha asks EC2 to move an egress IP only to a landing address of its receiver"
            }
            Self::SideBySide => {
                "a node that takes over a route and an egress IP of a group asks for both in one \
                 turn"
            }
            Self::Translation => {
                "a node that has been healthy for a while translates to an egress IP that has been \
                 associated with it for a while, and to none that has been elsewhere"
            }
            Self::Guard => {
                "when EC2 accepts an egress IP, or the first part of its group in a planned move, \
                 the host of its receiver holds back what would be translated anew, unless the \
                 receiver of a planned move could not be told"
            }
            _ => self.statement(),
        }
    }

    /// The rule about planned work.
    const fn of_drains(self) -> &'static str {
        match self {
            Self::Behind => {
                "when a drained node has left, nothing points to it that another node, alive to it \
                 and healthy for a while, could have been given"
            }
            _ => self.statement(),
        }
    }

    /// The liveness rules: what must happen.
    const fn promise(self) -> &'static str {
        match self {
            Self::Unserved => {
                "when only one node has been healthy, apart from what probes tell, for longer than \
                 detection, grace, first contact and a call take together, every resource of the \
                 cluster points to it, but for what EC2 refuses to move to it, unless it is drained"
            }
            Self::NoRest => {
                "from every state, once nothing is broken, every group returns home, and then \
                 natha writes nothing"
            }
            Self::LeftStopped => {
                "from every state, once nothing is broken, every node that natha stopped runs \
                 again, or an alert stands"
            }
            Self::HeldUp => {
                "a running monitor sends a heartbeat to every peer in every interval, whatever its \
                 calls do"
            }
            Self::Untold => {
                "a route that points outside the cluster raises an alert while a fit node can read \
                 it"
            }
            _ => self.statement(),
        }
    }

    /// Notes that it has something to judge.
    pub(super) fn try_it(self) {
        TRIED[self.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// How often each had, since this was last asked.
    pub(super) fn tried() -> Vec<u64> {
        TRIED.iter().map(|tried| tried.swap(0, Ordering::Relaxed)).collect()
    }

    /// Its place in [`Rule::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
