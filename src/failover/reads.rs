//! When EC2 is asked, and what its answers mean.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::machine::{About, Machine};
use super::peer::{Peer, words};
use super::retry::backoff;
use super::slot::{Change, Sight};
use super::{Action, ActionId, EventKind, Level, Routes, Verdict};
use crate::types::{
    CloudFault, GroupName, InstanceId, InstanceState, PowerReport, Resource, RouteTableId,
    RouteTarget, StopOrigin, Time,
};

/// Pace of reads while a peer is not well or a group is not at rest.
const ATTENTIVE: Duration = Duration::from_secs(2);
/// The least time between two reads of the same thing.
const HURRIED: Duration = Duration::from_millis(100);
/// A read that has not come back after this long is given up.
const GIVE_UP: Duration = Duration::from_secs(15);

/// A kind of read: at most one of it is under way, and failures back off.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Line {
    pending: Option<(ActionId, Time)>,
    last: Option<Time>,
    failures: u32,
    not_before: Time,
    /// Whether the failure was told.
    told: bool,
}

impl Line {
    /// Whether to read now, the last read being allowed to be `pace` old.
    fn is_due(&self, now: Time, pace: Duration) -> bool {
        let free = self.pending.is_none_or(|(_, asked)| now.since(asked) >= GIVE_UP);
        free && now >= self.not_before && self.last.is_none_or(|last| now.since(last) >= pace)
    }

    fn asked(&mut self, id: ActionId, now: Time) {
        self.pending = Some((id, now));
        self.last = Some(now);
    }

    /// When the read with this id was asked for, if it is the one that is waited for.
    fn take(&mut self, id: ActionId) -> Option<Time> {
        let (_, asked) = self.pending.filter(|(pending, _)| *pending == id)?;
        self.pending = None;
        Some(asked)
    }
}

/// All reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Reads {
    routes: Line,
    power: BTreeMap<InstanceId, Line>,
    /// What EC2 said of this node itself, and when it was asked.
    pub(super) own_power: Option<(PowerReport, Time)>,
    hurried: bool,
    /// Whether the read under way was hurried: if it fails, so is the next.
    urgent: bool,
}

impl Reads {
    /// Asks for the routes to be read as soon as it is decent.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Shows every time in it to `visit`.
    pub(super) fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self { routes, power, own_power, hurried: _, urgent: _ } = self;
        for Line { pending, last, failures: _, not_before, told: _ } in
            power.values_mut().chain([routes])
        {
            visit(not_before);
            let pending = pending.as_mut().map(|(_, asked)| asked);
            pending.into_iter().chain(last).for_each(&mut *visit);
        }
        if let Some((_, asked)) = own_power {
            visit(asked);
        }
    }

    /// Shows the id of every read under way to `visit`.
    pub(super) fn each_id(&mut self, visit: &mut dyn FnMut(&mut ActionId)) {
        let lines = self.power.values_mut().chain([&mut self.routes]);
        lines.filter_map(|line| line.pending.as_mut()).for_each(|(id, _)| visit(id));
    }

    /// Shows every count of failures in a row to `visit`.
    pub(super) fn each_failures(&mut self, visit: &mut dyn FnMut(&mut u32)) {
        let lines = self.power.values_mut().chain([&mut self.routes]);
        lines.for_each(|line| visit(&mut line.failures));
    }

    /// Drops every read under way and everything known from reads.
    pub(super) fn forget(&mut self) {
        self.routes.pending = None;
        self.power.clear();
        self.own_power = None;
        self.hurried = true;
    }
}

impl Machine {
    /// Asks for what is due.
    pub(super) fn read(&mut self, now: Time) {
        self.read_routes(now);
        let mut due: BTreeMap<InstanceId, Duration> = self
            .peers
            .iter()
            .filter(|(id, peer)| {
                !matches!(peer.verdict, Verdict::Alive | Verdict::Sick)
                    || self.repairs.has_stopped(id)
            })
            .map(|(id, peer)| (id.clone(), self.pace_for(peer)))
            .collect();
        if let Some(pace) = due.values().min().copied() {
            due.insert(self.me.id.clone(), pace);
        }
        for (node, pace) in due {
            if !self.reads.power.entry(node.clone()).or_default().is_due(now, pace) {
                continue;
            }
            let id = self.new_id();
            self.reads.power.entry(node.clone()).or_default().asked(id, now);
            self.push(Action::ReadPower { id, node });
        }
    }

    fn read_routes(&mut self, now: Time) {
        let pace = if self.reads.hurried {
            HURRIED
        } else if self.groups.values().any(|group| group.moving.is_some()) {
            ATTENTIVE.min(self.numbers.reread)
        } else {
            let paces = self.peers.values().map(|peer| self.pace_for(peer));
            paces.min().unwrap_or(self.numbers.reread)
        };
        if !self.reads.routes.is_due(now, pace) {
            return;
        }
        let tables: BTreeSet<RouteTableId> = self
            .groups
            .values()
            .flat_map(|group| &group.slots)
            .map(|slot| match &slot.resource {
                Resource::DefaultRoute { table, .. } => table.clone(),
            })
            .collect();
        if tables.is_empty() {
            return;
        }
        self.reads.urgent = std::mem::take(&mut self.reads.hurried);
        let id = self.new_id();
        self.reads.routes.asked(id, now);
        self.push(Action::ReadRoutes { id, tables: tables.into_iter().collect() });
    }

    /// How often EC2 is asked while a peer is as it is. One that is gone, that left, or that is
    /// stopped and not natha's to start can stay so for days, and API calls are shared with
    /// everything else in the account.
    fn pace_for(&self, peer: &Peer) -> Duration {
        let attentive = ATTENTIVE.min(self.numbers.reread);
        match peer.verdict {
            Verdict::Alive if self.repairs.has_stopped(&peer.member.id) => attentive,
            Verdict::Alive | Verdict::Gone | Verdict::Left => self.numbers.reread,
            Verdict::Down if self.rests_stopped(peer) => self.numbers.reread,
            _ => attentive,
        }
    }

    /// Whether nothing will be done about a stopped peer.
    fn rests_stopped(&self, peer: &Peer) -> bool {
        let stopped = peer.power_since_heard().is_some_and(|power| {
            power.state == Some(InstanceState::Stopped) && power.stop_origin == StopOrigin::User
        });
        stopped && !self.repairs.has_stopped(&peer.member.id)
    }

    pub(super) fn routes_read(
        &mut self,
        id: ActionId,
        result: Result<BTreeMap<RouteTableId, Routes>, CloudFault>,
        now: Time,
    ) {
        let Some(asked) = self.reads.routes.take(id) else { return };
        let tables = match result {
            Ok(tables) => tables,
            Err(fault) => return self.routes_unread(&fault, now),
        };
        if self.reads.routes.told {
            let text = "the routes can be read again".to_owned();
            self.report(now, Level::Info, EventKind::ApiFailed, About::text(text));
        }
        let last = self.reads.routes.last;
        self.reads.routes = Line { last, ..Line::default() };
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        for name in names {
            let slots = self.groups.get(&name).map_or(0, |group| group.slots.len());
            for at in 0..slots {
                self.route_seen(&name, at, &tables, asked);
            }
        }
    }

    fn routes_unread(&mut self, fault: &CloudFault, now: Time) {
        let noise = self.noise.next();
        self.reads.hurried |= self.reads.urgent;
        let line = &mut self.reads.routes;
        line.failures += 1;
        let wait = backoff(fault.kind, line.failures, noise);
        line.not_before = now + wait;
        if line.told {
            return;
        }
        line.told = true;
        let text = format!("{fault}; nothing is changed for it, next try in {}", words(wait));
        self.report(now, Level::Warning, EventKind::ApiFailed, About::text(text));
    }

    fn route_seen(
        &mut self,
        name: &GroupName,
        at: usize,
        tables: &BTreeMap<RouteTableId, Routes>,
        asked: Time,
    ) {
        let settle = self.numbers.read_valid;
        let Some(group) = self.groups.get_mut(name) else { return };
        let slot = &mut group.slots[at];
        let Resource::DefaultRoute { table, cidr } = &slot.resource;
        let sight = match tables.get(table) {
            None => Sight::NoTable,
            Some(routes) => routes.0.get(cidr).cloned().map_or(Sight::NoRoute, Sight::Route),
        };
        // A write that is being answered while this read was under way settles on its own.
        if slot.pending.is_some() {
            return;
        }
        slot.retry_at = slot.retry_at.filter(|retry| *retry > asked);
        let Change::Moved(before) = slot.observe(sight.clone(), asked, settle) else { return };
        if before.is_some() {
            self.note_deed(&sight, asked);
        }
    }

    /// A lost peer that moved a route to itself is alive.
    fn note_deed(&mut self, sight: &Sight, asked: Time) {
        let Sight::Route(entry) = sight else { return };
        let RouteTarget::Interface(interface) = &entry.target else { return };
        let doer = self.peers.values_mut().find(|peer| peer.member.interface == *interface);
        if let Some(peer) = doer.filter(|peer| peer.lost_since.is_some_and(|lost| asked > lost)) {
            peer.deeds += 1;
            peer.deed_at = Some(asked);
        }
    }

    pub(super) fn power_read(
        &mut self,
        id: ActionId,
        result: Result<PowerReport, CloudFault>,
        now: Time,
    ) {
        let found = self.reads.power.iter_mut().find_map(|(node, line)| {
            let asked = line.take(id)?;
            Some((node.clone(), asked))
        });
        let Some((node, asked)) = found else { return };
        let noise = self.noise.next();
        let Some(line) = self.reads.power.get_mut(&node) else { return };
        let report = match result {
            Ok(report) => report,
            Err(fault) => {
                line.failures += 1;
                line.not_before = now + backoff(fault.kind, line.failures, noise);
                return;
            }
        };
        line.failures = 0;
        if node == self.me.id {
            self.reads.own_power = Some((report, asked));
        } else if let Some(peer) = self.peers.get_mut(&node) {
            peer.power = Some((report, asked));
        }
    }
}
