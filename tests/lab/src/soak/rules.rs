//! The rules.

use std::collections::VecDeque;
use std::time::Duration;

use super::facts::Phase;
use super::model::{Stopper, Target, param};
use super::observer::{Observer, Rule};
use crate::ec2::CallRecord;

/// The most changes of routes and power that a node tries within a minute. Two nodes that are cut
/// off from each other move each route to and fro a handful of times, and a call that fails is
/// repeated with growing pauses: three tables, each written every three seconds or so.
const CHANGES_A_MINUTE: usize = 60;
/// The most calls of a node within a second: what a busy takeover needs, and far below what EC2
/// allows.
const CALLS_A_SECOND: usize = 25;
/// What natha may call besides Describe: routes, repair, and what `natha setup` does to its own
/// interface.
const CALLS: [&str; 5] = [
    "CreateRoute",
    "ReplaceRoute",
    "StartInstances",
    "StopInstances",
    "ModifyNetworkInterfaceAttribute",
];
/// Pings lost in a row, at rest, that are put down to a machine that stood still at that moment.
const STALL: Duration = Duration::from_secs(2);

impl Observer {
    pub(super) fn judge_stop(&mut self, by: usize, victim: usize, now: Duration) {
        let names = format!("{} stops {}", self.name(by), self.name(victim));
        let well = self.model.well_for(victim, now);
        if well >= self.pace.surely_well() {
            let text = format!("{names}, which has been well for {} s", well.as_secs());
            self.violated(Rule::WellStopped, now, text);
        }
        let open = self.model.connected_for(by, victim, now);
        let answers = self.model.reachable_for(victim, now).min(open);
        let heard = answers.min(self.model.reachable_for(by, now));
        if heard >= self.pace.surely_well() {
            let text = format!("{names}, which has answered it for {} s", heard.as_secs());
            self.violated(Rule::WellStopped, now, text);
        }
        let serving = self.model.serves_since(victim).map(|since| now.saturating_sub(since));
        if serving.is_some_and(|serving| serving >= self.pace.surely_serving()) {
            let seconds = serving.unwrap_or_default().as_secs();
            let text = format!("{names}, which a route has led to for {seconds} s");
            self.violated(Rule::ServingStopped, now, text);
        }
        if let Some((since, _)) = self.model.nodes[by].stopped
            && now.saturating_sub(since) >= self.pace.surely_serving()
        {
            let text = format!("{names}, though it is itself stopped");
            self.violated(Rule::StoppedStops, now, text);
        }
        self.judge_last(victim, now, &names);
    }

    fn judge_last(&mut self, victim: usize, now: Duration, names: &str) {
        let others = || (0..self.model.nodes.len()).filter(|node| *node != victim);
        let by_natha =
            |node: usize| matches!(self.model.nodes[node].stopped, Some((_, Stopper::Natha)));
        let all_stopped = others().all(by_natha);
        let works = |node: usize| self.model.nodes[node].forwards();
        let last =
            works(victim) && self.model.serves_since(victim).is_some() && !others().any(works);
        if all_stopped {
            let text = format!("{names}, and now natha has stopped every NAT");
            self.violated(Rule::LastNat, now, text);
        }
        if last {
            let text = format!("{names}, the last one that forwards and that a route leads to");
            self.violated(Rule::LastNat, now, text);
        }
    }

    pub(super) fn judge_start(&mut self, by: usize, call: &CallRecord) {
        let Some(node) = param(call, "InstanceId.1").and_then(|id| self.model.cast.node(id)) else {
            let text = format!("{} starts what is no member: {}", self.name(by), call.params);
            return self.violated(Rule::NotItsOwn, call.at, text);
        };
        if matches!(self.model.nodes[node].stopped, Some((_, Stopper::Person))) {
            let text = format!("{} starts {}, stopped by a person", self.name(by), self.name(node));
            self.violated(Rule::PersonsStop, call.at, text);
        }
    }

    /// Whether a change is of the kind, and of the things, that are natha's to change.
    pub(super) fn judge_scope(&mut self, by: usize, call: &CallRecord) {
        let own = match &*call.action {
            "CreateRoute" | "ReplaceRoute" => {
                let table = param(call, "RouteTableId").and_then(|id| self.model.cast.zone(id));
                let to = param(call, "NetworkInterfaceId").and_then(|id| self.model.cast.node(id));
                let everywhere = param(call, "DestinationCidrBlock") == Some("0.0.0.0/0");
                table.is_some() && to.is_some() && everywhere
            }
            "ModifyNetworkInterfaceAttribute" => {
                let id = param(call, "NetworkInterfaceId");
                id.and_then(|id| self.model.cast.node(id)) == Some(by)
            }
            action => CALLS.contains(&action),
        };
        if !own {
            let text = format!("{} calls {} {}", self.name(by), call.action, call.params);
            self.violated(Rule::NotItsOwn, call.at, text);
        }
    }

    /// Whether a route may be written by this node now. Called before the write is carried out.
    pub(super) fn judge_write(&mut self, by: usize, call: &CallRecord) {
        let now = call.at;
        let Some(zone) = param(call, "RouteTableId").and_then(|id| self.model.cast.zone(id)) else {
            return;
        };
        let table = &self.model.tables[zone];
        let settled = now.saturating_sub(table.since);
        let what = format!("{} writes {}'s route", self.name(by), super::schedule::letter(zone));
        match table.target {
            Target::Foreign if settled >= self.pace.surely_serving() => {
                let text = format!("{what}, which a person led elsewhere");
                self.violated(Rule::ForeignTaken, now, text);
            }
            Target::Node(holder) if holder != by => self.judge_theft(by, holder, zone, now),
            _ => {}
        }
        if self.phase.0 == Phase::Rest && self.settled_for(now) >= Duration::from_secs(1) {
            self.violated(Rule::NoRest, now, format!("{what} though nothing is wrong"));
        }
    }

    fn judge_theft(&mut self, by: usize, holder: usize, zone: usize, now: Duration) {
        let table = &self.model.tables[zone];
        let ordered = table.ordered.map_or(now, |ordered| now.saturating_sub(ordered));
        let calm = [
            now.saturating_sub(table.since),
            self.model.well_for(by, now),
            self.model.well_for(holder, now),
            self.model.connected_for(by, holder, now),
            self.stalled.map_or(now, |stalled| now.saturating_sub(stalled)),
            ordered,
        ];
        let calm = calm.into_iter().min().unwrap_or_default();
        if calm >= self.pace.surely_calm() {
            let (by, holder) = (self.name(by), self.name(holder));
            let zone = super::schedule::letter(zone);
            let seconds = calm.as_secs();
            let text = format!("{by} robs {holder} of {zone}, after {seconds} s of calm");
            self.violated(Rule::Robbed, now, text);
        }
    }

    /// For how long the present phase has lasted.
    fn settled_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.phase.1)
    }

    pub(super) fn judge_rate(&mut self, by: usize, call: &CallRecord) {
        let now = call.at;
        let within = |times: &mut VecDeque<Duration>, span: Duration| {
            times.push_back(now);
            while times.front().is_some_and(|first| *first + span < now) {
                times.pop_front();
            }
            times.len()
        };
        let calls = within(&mut self.calls[by], Duration::from_secs(1));
        if calls > CALLS_A_SECOND {
            let text = format!("{} made {calls} calls within a second", self.name(by));
            self.violated(Rule::TooMany, now, text);
        }
        if call.action.starts_with("Describe") {
            return;
        }
        let changes = within(&mut self.changes[by], Duration::from_mins(1));
        self.counts.busiest_minute = self.counts.busiest_minute.max(changes);
        if changes > CHANGES_A_MINUTE {
            let text = format!("{} tried {changes} changes within a minute", self.name(by));
            self.violated(Rule::TooMany, now, text);
        }
    }

    pub(super) fn see_ping(&mut self, zone: usize, answered: bool, now: Duration) {
        let table = &mut self.model.tables[zone];
        table.sent += 1;
        if answered {
            table.answered = now;
            return;
        }
        table.lost += 1;
        let resting = matches!(self.phase.0, Phase::Rest | Phase::Order);
        let stalled = self.stalled.is_some_and(|at| now.saturating_sub(at) < STALL);
        if resting && !stalled {
            let host = super::schedule::host_name(zone);
            let text = format!("{host} lost a ping while nothing was wrong");
            self.violated(Rule::LostAtRest, now, text);
        }
        self.judge_service(zone, now);
    }

    /// While the same node is well, no private host stays unserved.
    fn judge_service(&mut self, zone: usize, now: Duration) {
        let table = &self.model.tables[zone];
        if table.target == Target::Foreign {
            return;
        }
        let silent = now.saturating_sub(table.answered.max(table.touched));
        let dead_end = match table.target {
            Target::Node(holder) => !self.model.nodes[holder].is_on() && table.looks_alive(),
            _ => false,
        };
        let bound = if dead_end { self.pace.dead_end() } else { self.pace.served_again() };
        let nodes = 0..self.model.nodes.len();
        let able = nodes.map(|node| self.able_for(node, table.target, now)).max();
        let able = able.unwrap_or_default();
        if silent >= bound && able >= bound {
            let host = super::schedule::host_name(zone);
            let text = format!(
                "{host} has not been served for {} s, though a node has been well for {} s",
                silent.as_secs(),
                able.as_secs()
            );
            self.violated(Rule::Unserved, now, text);
        }
    }

    /// For how long a node could have served a route that leads there. A holder that runs and
    /// cannot be heard may be alive: natha does not take from it what it may well serve.
    fn able_for(&self, node: usize, target: Target, now: Duration) -> Duration {
        let well = self.model.well_for(node, now);
        match target {
            Target::Node(holder) if holder != node && self.model.nodes[holder].is_on() => {
                well.min(self.model.connected_for(node, holder, now))
            }
            _ => well,
        }
    }
}
