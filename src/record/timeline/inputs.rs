//! The news in an input, as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::actions::CallsInFlight;
use super::names::{Names, span};
use super::routine::Routine;
use crate::failover::{ActionId, Command, Input, Outcome, Routes};
use crate::record::Header;
use crate::types::{
    Beat, Claim, CloudFault, CloudFaultKind, Evidence, Fitness, GroupName, InstanceId, Location,
    PowerReport, Resource, Roster, RouteEntry, RouteTableId, SessionId, StopOrigin, Time,
    printable,
};

/// How an input appears in the timeline.
pub(super) enum Significance {
    /// A line for each of these texts.
    Notable(Vec<String>),
    /// Counted.
    Routine(Routine),
}

impl Significance {
    fn of(texts: Vec<String>, otherwise: Routine) -> Self {
        if texts.is_empty() { Self::Routine(otherwise) } else { Self::Notable(texts) }
    }
}

/// Each route as it was last read; none if it did not exist.
type ObservedRoutes = BTreeMap<(RouteTableId, Ipv4Net), Option<RouteEntry>>;

/// What the node has learned from the inputs so far.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    me: InstanceId,
    session: SessionId,
    detection: Duration,
    roster: Roster,
    beats: BTreeMap<InstanceId, (SessionId, Beat, Time)>,
    echoes: BTreeMap<InstanceId, Time>,
    fitness: Fitness,
    power: BTreeMap<InstanceId, PowerReport>,
    routes: ObservedRoutes,
    holders: BTreeMap<Resource, Location>,
    failing: Option<BTreeSet<GroupName>>,
    /// The last failure of each kind of call.
    faults: BTreeMap<String, CloudFaultKind>,
}

impl Observed {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            me: header.me.clone(),
            session: header.session,
            detection: header.timing.detection(),
            roster: header.roster.clone(),
            beats: BTreeMap::new(),
            echoes: BTreeMap::new(),
            fitness: header.fitness.clone(),
            power: BTreeMap::new(),
            routes: BTreeMap::new(),
            holders: BTreeMap::new(),
            failing: None,
            faults: BTreeMap::new(),
        }
    }

    /// Updates this with an input.
    pub(super) fn learn(
        &mut self,
        input: &Input,
        now: Time,
        names: &mut Names,
        in_flight: &mut CallsInFlight,
    ) -> Significance {
        match input {
            Input::Beat { from, session, beat, at } => {
                let texts = self.beat(from, *session, beat, *at, names);
                self.beats.insert(from.clone(), (*session, beat.clone(), *at));
                Significance::of(texts, Routine::Heard(from.clone()))
            }
            Input::Echo { from, at } => {
                let before = self.echoes.insert(from.clone(), *at);
                let gap = before.map(|before| at.since(before));
                let text = match gap {
                    None => Some(format!("{} answers echo requests", names.node(from))),
                    Some(gap) if gap > Duration::from_secs(3) => Some(format!(
                        "{} answers echo requests again, after {}",
                        names.node(from),
                        span(gap)
                    )),
                    Some(_) => None,
                };
                Significance::of(text.into_iter().collect(), Routine::Answered(from.clone()))
            }
            Input::Fitness { fitness } => {
                let is_new = self.fitness != *fitness;
                self.fitness = fitness.clone();
                let text =
                    is_new.then(|| format!("the health checks of this host report: {fitness}"));
                Significance::of(text.into_iter().collect(), Routine::SameFitness)
            }
            Input::Answered { evidence, sent } => {
                let kind = match evidence {
                    Evidence::Uplink => "the uplink",
                    Evidence::Transit => "the forward path",
                };
                let age = span(now.since(*sent));
                Significance::Notable(vec![format!(
                    "a probe of {kind} is answered; it was sent {age} ago"
                )])
            }
            Input::ServiceChecks { failing } => {
                let is_new = self.failing.as_ref() != Some(failing);
                self.failing = Some(failing.clone());
                let names: Vec<&str> = failing.iter().map(GroupName::as_str).collect();
                let text = match names.as_slice() {
                    [] => "all service checks pass".to_owned(),
                    names => format!("service checks fail for {}", names.join(", ")),
                };
                let texts = is_new.then_some(text);
                Significance::of(texts.into_iter().collect(), Routine::SameFitness)
            }
            Input::Roster { roster } => {
                names.learn(roster);
                let texts = self.roster(roster, names);
                Significance::of(texts, Routine::SameRoster)
            }
            Input::Done { id, outcome } => self.done(*id, outcome, now, names, in_flight),
            Input::Command { command } => {
                Significance::Notable(vec![command_words(command, names)])
            }
        }
    }

    fn beat(
        &self,
        from: &InstanceId,
        session: SessionId,
        beat: &Beat,
        at: Time,
        names: &Names,
    ) -> Vec<String> {
        let name = names.node(from);
        let Some((old_session, old, heard)) = self.beats.get(from) else {
            return vec![format!("first heartbeat from {name}: {}", condition(beat))];
        };
        let gap = at.since(*heard);
        let mut texts = Vec::new();
        if gap >= self.detection {
            texts.push(format!(
                "heartbeats from {name} again, after {}: {}",
                span(gap),
                condition(beat)
            ));
        }
        if *old_session != session {
            texts.push(format!("{name}'s monitor has restarted: {}", condition(beat)));
        } else if old.fitness != beat.fitness
            || old.leaving != beat.leaving
            || old.restarting != beat.restarting
        {
            texts.push(format!("{name} reports: {}", condition(beat)));
        }
        if old.settings_digest != beat.settings_digest {
            texts.push(format!("{name} has changed settings"));
        }
        if old.unfit_for != beat.unfit_for {
            let groups: Vec<&str> = beat.unfit_for.iter().map(GroupName::as_str).collect();
            let what = if groups.is_empty() { "none".to_owned() } else { groups.join(", ") };
            texts.push(format!("{name} reports failing service checks: {what}"));
        }
        if old.holds != beat.holds {
            let claim = |claim: &Claim| match &claim.to {
                None => format!("{} ({})", claim.group, claim.generation),
                Some(to) => {
                    let to = names.node(to);
                    format!("{} ({}, about to be handed to {to})", claim.group, claim.generation)
                }
            };
            let claims: Vec<String> = beat.holds.iter().map(claim).collect();
            let what = if claims.is_empty() { "nothing".to_owned() } else { claims.join(", ") };
            texts.push(format!("{name} reports that it holds {what}"));
        }
        texts.extend(self.hearing(&name, old, beat, names));
        texts
    }

    /// What has changed in the sender's list of the nodes that it hears.
    fn hearing(&self, name: &str, old: &Beat, new: &Beat, names: &Names) -> Vec<String> {
        let hears_me = |beat: &Beat| {
            let mine = beat.hears.iter().find(|h| h.node == self.me && h.session == self.session);
            mine.is_some_and(|h| h.age().is_some_and(|age| age < self.detection))
        };
        let mut texts = Vec::new();
        match (hears_me(old), hears_me(new)) {
            (false, true) => texts.push(format!("{name} hears this node")),
            (true, false) => texts.push(format!("{name} no longer hears this node")),
            _ => {}
        }
        for hears in &new.hears {
            let failed = old.hears.iter().any(|h| h.node == hears.node && h.failed);
            if failed != hears.failed {
                let verb = if hears.failed { "considers" } else { "no longer considers" };
                texts.push(format!("{name} {verb} {} failed", names.node(&hears.node)));
            }
        }
        texts
    }

    fn roster(&mut self, roster: &Roster, names: &Names) -> Vec<String> {
        let old = std::mem::replace(&mut self.roster, roster.clone());
        if old == *roster {
            return Vec::new();
        }
        let mut texts = Vec::new();
        for member in roster.members.iter().filter(|member| old.member(&member.id).is_none()) {
            texts.push(format!("new member in the roster: {}", names.node(&member.id)));
        }
        for member in old.members.iter().filter(|member| roster.member(&member.id).is_none()) {
            texts.push(format!("{} has left the roster", names.node(&member.id)));
        }
        if old.groups != roster.groups {
            let groups: Vec<String> = roster.groups.iter().map(|g| g.name.to_string()).collect();
            texts.push(format!("the groups have changed: {}", groups.join(", ")));
        }
        if texts.is_empty() {
            texts.push("details of the roster have changed".to_owned());
        }
        texts
    }

    fn done(
        &mut self,
        id: ActionId,
        outcome: &Outcome,
        now: Time,
        names: &Names,
        in_flight: &mut CallsInFlight,
    ) -> Significance {
        let Some(call) = in_flight.end(id) else {
            let text = format!("result of unknown call #{}", id.0);
            return Significance::Notable(vec![text]);
        };
        let took = span(now.since(call.at));
        let what = names.within(&call.what);
        let fault = match outcome {
            Outcome::Expired => {
                let text = format!("#{} was too late and was not sent: {what}", id.0);
                return Significance::Notable(vec![text]);
            }
            Outcome::Routes { result: Ok(tables) } => {
                self.faults.remove("routes");
                let texts = self.read(tables, names);
                return Significance::of(texts, Routine::NothingNew);
            }
            Outcome::Holders { result: Ok(seen) } => {
                self.faults.remove("holders");
                let texts = self.holders(seen, names);
                return Significance::of(texts, Routine::NothingNew);
            }
            Outcome::Power { result: Ok(report) } => {
                self.faults.remove("power");
                let texts = self.powered(call.node.as_ref(), report, names);
                return Significance::of(texts, Routine::NothingNew);
            }
            Outcome::Written { result: Ok(()) } => {
                let text = format!("#{} was accepted after {took}: {what}", id.0);
                return Significance::Notable(vec![text]);
            }
            Outcome::Routes { result: Err(fault) } => ("routes", fault),
            Outcome::Holders { result: Err(fault) } => ("holders", fault),
            Outcome::Power { result: Err(fault) } => ("power", fault),
            Outcome::Written { result: Err(fault) } => ("write", fault),
        };
        self.failed(fault, &format!("#{} failed after {took}: {what}", id.0))
    }

    fn failed(&mut self, (call, fault): (&str, &CloudFault), what: &str) -> Significance {
        let before = self.faults.insert(call.to_owned(), fault.kind);
        if before == Some(fault.kind) && call != "write" {
            return Significance::Routine(Routine::FailedAgain);
        }
        Significance::Notable(vec![format!("{what}: {}: {}", fault.kind, fault.message)])
    }

    /// The cluster's routes that have changed since they were last read.
    fn read(&mut self, tables: &BTreeMap<RouteTableId, Routes>, names: &Names) -> Vec<String> {
        let mut texts = Vec::new();
        let resources = self.roster.groups.iter().flat_map(|group| {
            group.resources.iter().map(|resource| (group.name.clone(), resource.clone()))
        });
        for (group, resource) in resources {
            let Some((table, cidr)) = resource.route() else { continue };
            let Some(routes) = tables.get(table) else { continue };
            let entry = routes.0.get(&cidr).cloned();
            let before = self.routes.insert((table.clone(), cidr), entry.clone());
            if before.as_ref() == Some(&entry) {
                continue;
            }
            let to = names.route(entry.as_ref());
            texts.push(match before {
                None => format!("group {group}: {cidr} of {table} points to {to}"),
                Some(before) => {
                    let from = names.route(before.as_ref());
                    format!("group {group}: {cidr} of {table} now points to {to} (before: {from})")
                }
            });
        }
        texts
    }

    /// The resources whose holder has changed since they were last read.
    fn holders(&mut self, seen: &[(Resource, Location)], names: &Names) -> Vec<String> {
        let mut texts = Vec::new();
        for (resource, now) in seen {
            let before = self.holders.insert(resource.clone(), now.clone());
            if before.as_ref() == Some(now) {
                continue;
            }
            let to = names.holder(now);
            texts.push(match before {
                None => format!("{resource} is held by {to}"),
                Some(before) => {
                    format!("{resource} is now held by {to} (before: {})", names.holder(&before))
                }
            });
        }
        texts
    }

    fn powered(
        &mut self,
        node: Option<&InstanceId>,
        report: &PowerReport,
        names: &Names,
    ) -> Vec<String> {
        let Some(node) = node else { return Vec::new() };
        if self.power.insert(node.clone(), report.clone()).as_ref() == Some(report) {
            return Vec::new();
        }
        let name = names.node(node);
        let mut text = match report.state {
            Some(state) => format!("EC2 reports {name} as {state}"),
            None => format!("EC2 does not know {name}"),
        };
        match report.stop_origin {
            StopOrigin::User => text.push_str(" (by an API call)"),
            StopOrigin::Guest => text.push_str(" (by a shutdown inside the guest)"),
            StopOrigin::Service => text.push_str(" (by EC2)"),
            StopOrigin::Unknown => {}
        }
        if report.impaired {
            text.push_str(", impaired");
        }
        if let Some(reason) = &report.reason {
            let _ = write!(text, ": {reason}");
        }
        vec![text]
    }
}

/// The sender's condition according to its heartbeat.
fn condition(beat: &Beat) -> String {
    let leaving = if beat.leaving { ", leaving" } else { "" };
    let restarting = if beat.restarting { ", its monitor restarts" } else { "" };
    let latched = if beat.latched { ", latched" } else { "" };
    format!("{}{leaving}{restarting}{latched}", beat.fitness)
}

fn command_words(command: &Command, names: &Names) -> String {
    match command {
        Command::Leave => "this node was asked to leave".to_owned(),
        Command::Stay => "this node was asked to take part again".to_owned(),
        Command::Latch { by, reason } => {
            format!("{} latched the cluster: {}", printable(by), printable(reason))
        }
        Command::Unlatch => "this node was asked to end its latch".to_owned(),
        Command::Restart => "this monitor was asked to end, and to keep its groups".to_owned(),
        Command::HandOver { group, to: Some(to) } => {
            format!("this node was asked to hand group {group} to {}", names.node(to))
        }
        Command::HandOver { group, to: None } => {
            format!("this node was asked to hand group {group} to the best peer")
        }
    }
}
