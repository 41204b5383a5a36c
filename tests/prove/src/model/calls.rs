//! Calls on their way to EC2, and what it does with them.

use std::collections::BTreeMap;

use natha::failover::{ActionId, Outcome, Routes};
use natha::types::{CloudFault, CloudFaultKind, InstanceState, RouteWriteVerb};

use super::bounds::{LIMIT, NOW, PENDING, STOPPING};
use super::cloud::{Power, Stopper, Target, failure};
use super::fault::{Api, Half};
use super::judge::STOPS;
use super::names::told_as;
use super::node::{Ask, Awaited, Change};
use super::world::{Held, SILENCE, World};

impl World {
    /// Sends what node `n` decided before: a host that is paused sends nothing.
    pub(super) fn send_calls(&mut self, n: usize) {
        if self.nodes[n].frozen || self.nodes[n].machine.is_none() {
            return;
        }
        for call in std::mem::take(&mut self.nodes[n].outbox) {
            if call.not_after.is_some_and(|limit| NOW > limit) {
                self.answer(n, call.id, Outcome::Expired, 0);
                continue;
            }
            match &call.ask {
                Ask::ReadRoutes => self.read_routes(n, call.id),
                Ask::ReadHolders => self.read_holders(n, call.id),
                Ask::ReadPower(node) => self.read_power(n, call.id, *node),
                _ => self.change(n, call.id, call.ask),
            }
        }
    }

    fn answer(&mut self, n: usize, id: ActionId, outcome: Outcome, left: u8) {
        self.nodes[n].awaited.push(Awaited { left, id, outcome });
    }

    /// The failure that a call of node `n` ends in, and when; none if it is carried out.
    fn obstacle(&self, n: usize) -> Option<(CloudFault, u8)> {
        match self.nodes[n].api {
            Api::Refuses => Some((failure(CloudFaultKind::Throttled), 0)),
            Api::Hangs | Api::LosesReplies => Some((failure(SILENCE), LIMIT)),
            Api::Works | Api::Delays | Api::Repeats | Api::RefusesHalf(_) | Api::DelaysHalf(_) => {
                None
            }
        }
    }

    fn read_routes(&mut self, n: usize, id: ActionId) {
        let (result, left) = if let Some((fault, left)) = self.obstacle(n) {
            (Err(fault), left)
        } else {
            let seen = self.cloud.read(self.is_stale(Some(Half::Routes)));
            let read = |t: usize| {
                let entry = seen.route(t, told_as);
                let resource = self.resource(t);
                let (table, cidr) = resource.route()?;
                let routes = entry.map(|entry| (cidr, entry)).into_iter().collect();
                Some((table.clone(), Routes(routes)))
            };
            let tables: BTreeMap<_, _> = (0..seen.routes.len()).filter_map(read).collect();
            (Ok(tables), 0)
        };
        self.answer(n, id, Outcome::Routes { result }, left);
    }

    fn read_holders(&mut self, n: usize, id: ActionId) {
        let (result, left) = if let Some((fault, left)) = self.obstacle(n) {
            (Err(fault), left)
        } else {
            let seen = self.cloud.read(self.is_stale(Some(Half::Address)));
            let all = (0..seen.routes.len()).filter(|t| self.is_address(*t));
            let read =
                |t: usize| (self.resource(t), seen.holder(t, |n| self.address_told_as(t, n)));
            (Ok(all.map(read).collect()), 0)
        };
        self.answer(n, id, Outcome::Holders { result }, left);
    }

    fn read_power(&mut self, n: usize, id: ActionId, node: usize) {
        let (result, left) = match self.obstacle(n) {
            Some((fault, left)) => (Err(fault), left),
            None => (Ok(self.cloud.read(self.is_stale(None)).power_report(node)), 0),
        };
        // An outcome does not say of whom it is: the onlooker notes it here.
        if result.is_ok() {
            self.nodes[n].notes.power_read[node] = Some(1);
        }
        self.answer(n, id, Outcome::Power { result }, left);
    }

    fn change(&mut self, n: usize, id: ActionId, ask: Ask) {
        if matches!(ask, Ask::Stop(_)) && self.nodes[n].api != Api::Refuses {
            let notes = &mut self.nodes[n].notes;
            notes.stops = (notes.stops + 1).min(STOPS);
        }
        if matches!(ask, Ask::Stop(_)) && self.is_broken(super::fault::Fault::Overdue) {
            self.held.push(Held { left: u8::MAX, by: n, ask });
            let result = Err(failure(SILENCE));
            return self.answer(n, id, Outcome::Written { result }, LIMIT);
        }
        let (result, left) = match self.nodes[n].api.toward(self.half_of(&ask)) {
            Api::Works | Api::RefusesHalf(_) | Api::DelaysHalf(_) => (self.commit(n, &ask), 0),
            Api::Refuses => (Err(failure(CloudFaultKind::Throttled)), 0),
            Api::Hangs => (Err(failure(SILENCE)), LIMIT),
            Api::LosesReplies => {
                let _ = self.commit(n, &ask);
                (Err(failure(SILENCE)), LIMIT)
            }
            Api::Delays => {
                self.held.push(Held { left: LIMIT, by: n, ask });
                (Err(failure(SILENCE)), LIMIT)
            }
            Api::Repeats => {
                let result = self.commit(n, &ask);
                self.held.push(Held { left: LIMIT, by: n, ask });
                (result, 0)
            }
        };
        self.answer(n, id, Outcome::Written { result }, left);
    }

    /// Carries out what was held up until now.
    pub(super) fn carry_out_held(&mut self) {
        for mut held in std::mem::take(&mut self.held) {
            if held.left == 0 {
                self.is_late = true;
                let _ = self.commit(held.by, &held.ask);
                self.is_late = false;
                continue;
            }
            if held.left < u8::MAX {
                held.left -= 1;
            }
            self.held.push(held);
        }
    }

    /// What EC2 does with a change.
    fn commit(&mut self, by: usize, ask: &Ask) -> Result<(), CloudFault> {
        self.judge_change(by, ask);
        match ask {
            Ask::Write(Change { what, to, verb }) => {
                if self.is_address(*what) && self.is_landless(*to) {
                    return Err(failure(CloudFaultKind::NotFound));
                }
                let absent = self.cloud.now.routes[*what] == Target::Nowhere;
                match (verb, absent) {
                    (Some(RouteWriteVerb::Create), false) => {
                        return Err(failure(CloudFaultKind::Exists));
                    }
                    (Some(RouteWriteVerb::Replace), true) => {
                        return Err(failure(CloudFaultKind::NotFound));
                    }
                    _ => {}
                }
                self.writes = self.writes.saturating_add(1);
                self.quiet = 0;
                self.lead(*what, Target::Node(*to));
                Ok(())
            }
            Ask::Stop(node) => {
                self.stop(*node, Stopper::Natha(by));
                Ok(())
            }
            Ask::Start(node) => self.start(*node),
            Ask::ReadRoutes | Ask::ReadHolders | Ask::ReadPower(_) => Ok(()),
        }
    }

    pub(super) fn stop(&mut self, node: usize, by: Stopper) {
        let power = &mut self.cloud.now.power[node];
        if matches!(power.state, InstanceState::Running | InstanceState::Pending) {
            *power = Power {
                state: InstanceState::Stopping,
                left: STOPPING,
                by: Some(by),
                ..Power::RUNNING
            };
        }
    }

    pub(super) fn start(&mut self, node: usize) -> Result<(), CloudFault> {
        let power = &mut self.cloud.now.power[node];
        match power.state {
            InstanceState::Stopped => {
                *power = Power {
                    state: InstanceState::Pending,
                    left: PENDING,
                    by: power.by,
                    ..Power::RUNNING
                };
                Ok(())
            }
            InstanceState::Running | InstanceState::Pending => Ok(()),
            _ => Err(failure(CloudFaultKind::State)),
        }
    }
}
