//! As much of EC2 as the machines see.

use natha::types::{
    CloudFault, CloudFaultKind, InstanceState, Location, PowerReport, RouteEntry, RouteTarget,
    StopOrigin,
};

use super::bounds::LAG;

/// Where a resource leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Node(usize),
    Out,
    Nowhere,
}

/// Who stopped an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stopper {
    Natha(usize),
    /// A person; `calm` if the node had been well for so long that nobody could take that stop
    /// for natha's own, whose outcome it may not know.
    User {
        calm: bool,
    },
}

/// The power of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Power {
    pub(super) state: InstanceState,
    /// Ticks until it changes by itself; 0 if it does not.
    pub(super) left: u8,
    pub(super) by: Option<Stopper>,
    /// Ticks for which its guest has not answered EC2's status check.
    pub(super) silent: u8,
}

/// After how many ticks of silence EC2 calls an instance impaired.
const IMPAIRED: u8 = 12;

impl Power {
    pub(super) const RUNNING: Self =
        Self { state: InstanceState::Running, left: 0, by: None, silent: 0 };

    /// Another tick in which the guest `answers`, or not.
    pub(super) fn check(&mut self, answers: bool) {
        let counts = self.state == InstanceState::Running && !answers;
        self.silent = if counts { (self.silent + 1).min(IMPAIRED) } else { 0 };
    }

    fn report(self) -> PowerReport {
        PowerReport {
            state: Some(self.state),
            // EC2 gives one reason for every call of StopInstances, natha's or a person's.
            stop_origin: if self.by.is_some() { StopOrigin::User } else { StopOrigin::Unknown },
            impaired: self.silent == IMPAIRED,
            reason: None,
        }
    }
}

/// What EC2 knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Knowledge {
    pub(super) routes: Vec<Target>,
    pub(super) power: Vec<Power>,
}

impl Knowledge {
    pub(super) fn power_report(&self, node: usize) -> PowerReport {
        self.power[node].report()
    }

    /// What a read shows of a table's route; none where there is none.
    pub(super) fn route(
        &self,
        table: usize,
        interface: impl Fn(usize) -> RouteTarget,
    ) -> Option<RouteEntry> {
        match self.routes[table] {
            Target::Nowhere => None,
            Target::Out => {
                let target = RouteTarget::Other("igw-00000001".to_owned());
                Some(RouteEntry { target, blackhole: false })
            }
            Target::Node(node) => {
                let blackhole = self.power[node].state == InstanceState::Stopped;
                Some(RouteEntry { target: interface(node), blackhole })
            }
        }
    }
}

impl Knowledge {
    /// What a read shows of an address.
    pub(super) fn holder(&self, at: usize, interface: impl Fn(usize) -> RouteTarget) -> Location {
        match self.routes[at] {
            Target::Nowhere => Location::Vacant,
            Target::Out => Location::At(RouteTarget::Other("eni-0f0f0f0f".to_owned())),
            Target::Node(node) => Location::At(interface(node)),
        }
    }
}

/// EC2, and what it knew in the last ticks, oldest first. The past is kept only where reads may
/// lag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Cloud {
    pub(super) now: Knowledge,
    past: Option<Vec<Knowledge>>,
}

impl Cloud {
    pub(super) fn new(now: Knowledge, lags: bool) -> Self {
        let past = lags.then(|| vec![now.clone(); usize::from(LAG)]);
        Self { now, past }
    }

    /// What a read shows, `stale` or not.
    pub(super) fn read(&self, stale: bool) -> &Knowledge {
        match &self.past {
            Some(past) if stale => &past[0],
            _ => &self.now,
        }
    }

    /// Lets a tick pass.
    pub(super) fn remember(&mut self) {
        if let Some(past) = &mut self.past {
            past.remove(0);
            past.push(self.now.clone());
        }
    }
}

pub(super) fn failure(kind: CloudFaultKind) -> CloudFault {
    CloudFault { kind, call: "Call".to_owned(), message: "staged".to_owned() }
}
