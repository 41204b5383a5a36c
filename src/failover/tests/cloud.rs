//! The simulated cluster's EC2.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sim::{Sim, What, eni};
use crate::failover::{ActionId, Outcome, Routes};
use crate::types::{
    CloudFault, CloudFaultKind, InstanceId, InstanceState, PowerReport, RouteEntry, RouteTableId,
    RouteTarget, RouteWrite, StopOrigin, Time,
};

/// The time limit of a call.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// How the API treats one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    Works,
    /// Every call is refused.
    Fails(CloudFaultKind),
    /// No call gets through, and none is answered.
    Hangs,
    /// Writes take effect and are answered with silence.
    LosesReplies,
    /// Writes take effect at any time within their limit, and are answered with silence.
    Delays,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mutation {
    Route(RouteWrite),
    Stop(InstanceId),
    Start(InstanceId),
}

/// A mutation that EC2 accepted.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) at: Time,
    pub(super) by: usize,
    pub(super) what: Mutation,
}

/// What EC2 knew from some moment on.
pub(super) struct Snapshot {
    at: Time,
    routes: BTreeMap<RouteTableId, Option<RouteTarget>>,
    power: Vec<(InstanceState, StopOrigin)>,
}

impl Sim {
    pub(super) fn stops(&self) -> Vec<&Done> {
        self.done.iter().filter(|done| matches!(done.what, Mutation::Stop(_))).collect()
    }

    pub(super) fn writes_since(&self, since: Time) -> usize {
        self.done.iter().filter(|done| done.at >= since).count()
    }

    /// Puts a route somewhere, as a person or a straggling request would.
    pub(super) fn set_route(&mut self, table: RouteTableId, target: Option<RouteTarget>) {
        self.routes.insert(table, target);
        self.photograph();
    }

    /// Keeps what EC2 knows now, for reads that lag.
    pub(super) fn photograph(&mut self) {
        let old = self.now - Duration::from_secs(30);
        while self.past.len() > 1 && self.past[1].at < old {
            self.past.pop_front();
        }
        self.past.push_back(Snapshot {
            at: self.now,
            routes: self.routes.clone(),
            power: self.nodes.iter().map(|node| (node.power, node.origin)).collect(),
        });
    }

    /// What a read begun now shows.
    fn seen(&mut self) -> (BTreeMap<RouteTableId, Option<RouteTarget>>, Vec<Power>) {
        let most = u64::try_from(self.read_lag.as_millis()).unwrap();
        let lag = Duration::from_millis(self.noise.next() % (most + 1));
        let at = self.now - lag;
        if lag.is_zero() {
            self.photograph();
        }
        let then = self.past.iter().rev().find(|one| one.at <= at).or(self.past.front()).unwrap();
        (then.routes.clone(), then.power.clone())
    }

    /// Sends a change on its way.
    pub(super) fn send(&mut self, by: usize, id: ActionId, mutation: Mutation) {
        let session = self.session_of(by);
        if self.hold_stops && matches!(mutation, Mutation::Stop(_)) {
            return self.held.push((by, mutation));
        }
        let silence = Outcome::Written { result: Err(fault(CloudFaultKind::Unknown)) };
        let wait = match self.nodes[by].api {
            Api::Hangs => {
                return self.schedule(LIMIT, What::Outcome(by, session, id, silence));
            }
            Api::Delays => {
                self.schedule(LIMIT, What::Outcome(by, session, id, silence));
                Duration::from_millis(self.noise.next() % 5_000)
            }
            _ => self.latency / 2,
        };
        self.schedule(wait, What::Apply(by, session, id, mutation));
    }

    pub(super) fn apply(&mut self, by: usize, session: u64, id: ActionId, mutation: Mutation) {
        let result = match self.nodes[by].api {
            Api::Hangs => return,
            Api::Fails(kind) => Err(fault(kind)),
            Api::Delays => {
                let _ = self.commit(by, mutation);
                return;
            }
            Api::Works => self.commit(by, mutation),
            Api::LosesReplies => {
                let _ = self.commit(by, mutation);
                Err(fault(CloudFaultKind::Unknown))
            }
        };
        let outcome = Outcome::Written { result };
        self.schedule(self.latency / 2, What::Outcome(by, session, id, outcome));
    }

    /// What EC2 does with a change.
    pub(super) fn commit(&mut self, by: usize, mutation: Mutation) -> Result<(), CloudFault> {
        self.check_applied(by, &mutation);
        match &mutation {
            Mutation::Route(write) => {
                let target = RouteTarget::Interface(write.interface.clone());
                self.routes.insert(write.table.clone(), Some(target));
            }
            Mutation::Stop(node) => {
                let n = self.index(node);
                if matches!(self.nodes[n].power, InstanceState::Running | InstanceState::Pending) {
                    self.nodes[n].power = InstanceState::Stopping;
                    self.nodes[n].origin = StopOrigin::User;
                    self.schedule(Duration::from_secs(20), What::Power(n, InstanceState::Stopped));
                }
            }
            Mutation::Start(node) => {
                let n = self.index(node);
                match self.nodes[n].power {
                    InstanceState::Stopped => {
                        self.nodes[n].power = InstanceState::Pending;
                        let after = Duration::from_secs(15);
                        self.schedule(after, What::Power(n, InstanceState::Running));
                    }
                    InstanceState::Running | InstanceState::Pending => {}
                    _ => return Err(fault(CloudFaultKind::State)),
                }
            }
        }
        self.done.push(Done { at: self.now, by, what: mutation });
        self.photograph();
        Ok(())
    }

    /// The fault that a read by this node ends in, and when.
    fn read_fault(&self, by: usize) -> Option<(CloudFault, Duration)> {
        match self.nodes[by].api {
            Api::Hangs => Some((fault(CloudFaultKind::Unknown), LIMIT)),
            Api::Fails(kind) => Some((fault(kind), self.latency)),
            _ => None,
        }
    }

    pub(super) fn read_routes(&mut self, by: usize, id: ActionId, tables: &[RouteTableId]) {
        self.reads += 1;
        let (result, after) = if let Some((fault, after)) = self.read_fault(by) {
            (Err(fault), after)
        } else {
            let (routes, power) = self.seen();
            let read = |table: &RouteTableId| (table.clone(), listed(table, &routes, &power));
            (Ok(tables.iter().map(read).collect()), self.latency)
        };
        let session = self.session_of(by);
        self.schedule(after, What::Outcome(by, session, id, Outcome::Routes { result }));
    }

    pub(super) fn read_power(&mut self, by: usize, id: ActionId, node: &InstanceId) {
        self.reads += 1;
        let n = self.index(node);
        let (result, after) = if let Some((fault, after)) = self.read_fault(by) {
            (Err(fault), after)
        } else {
            let (_, power) = self.seen();
            let (state, stop_origin) = power[n];
            let report = PowerReport { state: Some(state), stop_origin, impaired: false };
            (Ok(report), self.latency)
        };
        let session = self.session_of(by);
        self.schedule(after, What::Outcome(by, session, id, Outcome::Power { result }));
    }
}

type Power = (InstanceState, StopOrigin);

fn listed(
    table: &RouteTableId,
    routes: &BTreeMap<RouteTableId, Option<RouteTarget>>,
    power: &[Power],
) -> Routes {
    let target = routes.get(table).cloned().flatten();
    let blackhole = power.iter().enumerate().any(|(n, (state, _))| {
        target == Some(RouteTarget::Interface(eni(n))) && *state == InstanceState::Stopped
    });
    let entry = target.map(|target| RouteEntry { target, blackhole });
    Routes(entry.map(|entry| ("0.0.0.0/0".parse().unwrap(), entry)).into_iter().collect())
}

fn fault(kind: CloudFaultKind) -> CloudFault {
    CloudFault { kind, call: "Call".to_owned(), message: "staged".to_owned() }
}
