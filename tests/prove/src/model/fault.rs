//! What can be broken, and how.

use std::fmt;

/// One of the two halves of a group that is not only of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Half {
    /// Its routes.
    Routes,
    /// Its address.
    Address,
}

impl Half {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Routes, Self::Address];
}

/// How the EC2 API treats one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Api {
    /// Calls are carried out and answered.
    Works,
    /// Every call is refused.
    Refuses,
    /// No call gets through, and none is answered.
    Hangs,
    /// Changes take effect, and nothing is answered.
    LosesReplies,
    /// Changes take effect when their time limit is over, and nothing is answered.
    Delays,
    /// Changes take effect and are answered, and take effect once more at their time limit.
    Repeats,
    /// Changes of one half of a group are refused.
    RefusesHalf(Half),
    /// Changes of one half of a group take effect when their time limit is over, and are not
    /// answered.
    DelaysHalf(Half),
}

impl Api {
    /// How it treats a call about one half of a group, or about anything else.
    pub(super) fn toward(self, half: Option<Half>) -> Self {
        match self {
            Self::RefusesHalf(one) if half == Some(one) => Self::Refuses,
            Self::DelaysHalf(one) if half == Some(one) => Self::Delays,
            Self::RefusesHalf(_) | Self::DelaysHalf(_) => Self::Works,
            _ => self,
        }
    }

    /// Whether one half of a group can be written and anything can be read.
    pub(super) fn writes(self, half: Half) -> bool {
        matches!(self, Self::Works | Self::RefusesHalf(_)) && self.toward(Some(half)) == Self::Works
    }
}

/// Where a person leads a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Led {
    /// To a node.
    To(usize),
    /// Out of the cluster.
    Out,
    /// The route is deleted.
    Nowhere,
}

/// One thing that goes wrong, or that a person does. Nodes and tables go by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A node's kernel stands still for good; EC2 goes on calling it `running`.
    Crash(usize),
    /// A node's monitor is killed and started again at once.
    Restart(usize),
    /// A node's monitor is killed; mended by its restart.
    Kill(usize),
    /// Nothing in a node runs for a while.
    Freeze(usize),
    /// A node's uplink is lost, and with it the API.
    Unfit(usize),
    /// No probe of a node is answered, though it forwards and reaches the API.
    NoProbe(usize),
    /// No probe of any node is answered. This node notices first, at the beginning and at the end.
    Blip(usize),
    /// A node's monitor restarts on a host that has not proven yet that packets pass it.
    Unproven(usize),
    /// Heartbeats from one node to another are lost.
    Deaf(usize, usize),
    /// Nothing passes between two nodes.
    Cut(usize, usize),
    /// Echo between two nodes is blocked.
    NoEcho(usize, usize),
    /// Heartbeats from one node to another come late.
    Slow(usize, usize),
    /// The API treats a node badly.
    Api(usize, Api),
    /// Reads show what EC2 was a while ago.
    Stale,
    /// Reads of one half of a group do.
    HalfStale(Half),
    /// A node has no landing address.
    Landless(usize),
    /// The service of a group, which goes by the number of its home, fails on a node.
    Service(usize, usize),
    /// A person changes where a resource leads.
    Led(usize, Led),
    /// A person drains a node; mended by the same person, who has it take part again.
    Drain(usize),
    /// A person stops a node; mended by the same person's start.
    UserStop(usize),
    /// The lists that the first node reads lack the second.
    Unlisted(usize, usize),
    /// EC2 holds back every stop for as long as this lasts, past every time limit.
    Overdue,
}

impl Fault {
    /// Whether it is over at once, so that nothing is left to mend.
    #[must_use]
    pub const fn is_momentary(self) -> bool {
        matches!(self, Self::Crash(_) | Self::Restart(_) | Self::Led(..))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(n) => write!(f, "node {n} crashes"),
            Self::Restart(n) => write!(f, "the monitor of node {n} restarts"),
            Self::Kill(n) => write!(f, "the monitor of node {n} is killed"),
            Self::Freeze(n) => write!(f, "node {n} is paused"),
            Self::Unfit(n) => write!(f, "node {n} loses its uplink"),
            Self::NoProbe(n) => write!(f, "no probe of node {n} is answered"),
            Self::Blip(n) => write!(f, "no probe is answered, and node {n} notices first"),
            Self::Unproven(n) => write!(f, "node {n} boots, and nothing has passed it yet"),
            Self::Deaf(from, to) => write!(f, "node {to} does not hear node {from}"),
            Self::Cut(a, b) => write!(f, "nodes {a} and {b} are cut off from each other"),
            Self::NoEcho(a, b) => write!(f, "echo is blocked between nodes {a} and {b}"),
            Self::Slow(from, to) => write!(f, "node {to} hears node {from} late"),
            Self::Api(n, api) => write!(f, "the API of node {n}: {api:?}"),
            Self::Stale => write!(f, "reads are stale"),
            Self::HalfStale(half) => write!(f, "reads are stale: {half:?}"),
            Self::Landless(n) => write!(f, "node {n} loses its landing addresses"),
            Self::Led(table, Led::To(n)) => write!(f, "a person leads table {table} to node {n}"),
            Self::Led(table, Led::Out) => write!(f, "a person leads table {table} elsewhere"),
            Self::Led(table, Led::Nowhere) => write!(f, "a person deletes the route of {table}"),
            Self::Service(n, group) => write!(f, "the service of g{group} fails on node {n}"),
            Self::Drain(n) => write!(f, "a person drains node {n}"),
            Self::UserStop(n) => write!(f, "a person stops node {n}"),
            Self::Unlisted(n, of) => write!(f, "the lists of node {n} lack node {of}"),
            Self::Overdue => write!(f, "stops are held up on their way"),
        }
    }
}
