//! When EC2 is asked, and what its answers mean.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::machine::{About, Machine};
use super::peer::{Peer, words};
use super::retry::backoff;
use super::slot::Observed;
use super::{Action, ActionId, EventKind, Level, Routes, Verdict};
use crate::types::{
    CloudFault, GroupName, InstanceId, InstanceState, Location, PowerReport, Resource,
    ResourceKind, RouteEntry, RouteTableId, StopOrigin, Time,
};

/// Pace of reads while a peer is not well or a group is not at rest.
const ATTENTIVE: Duration = Duration::from_secs(2);
/// The least time between two reads of the same thing.
const HURRIED: Duration = Duration::from_millis(100);
/// The same for DNS records: Route 53 lets a whole account make 5 requests a second.
const HURRIED_DNS: Duration = Duration::from_secs(1);
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
    /// Whether to read as soon as it is decent.
    hurried: bool,
    /// Whether the read under way was hurried: if it fails, so is the next.
    urgent: bool,
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
    /// One for each kind of resource that there is.
    kinds: BTreeMap<ResourceKind, Line>,
    power: BTreeMap<InstanceId, Line>,
    /// What EC2 said of this node itself, and when it was asked.
    pub(super) own_power: Option<(PowerReport, Time)>,
}

impl Reads {
    /// Takes in which kinds of resources there are.
    pub(super) fn know(&mut self, kinds: &BTreeSet<ResourceKind>) {
        self.kinds.retain(|kind, _| kinds.contains(kind));
        for kind in kinds {
            self.kinds.entry(*kind).or_default();
        }
    }

    /// Asks for all resources to be read as soon as it is decent.
    pub(super) fn hurry(&mut self) {
        for line in self.kinds.values_mut() {
            line.hurried = true;
        }
    }

    /// The same for those of one kind.
    pub(super) fn hurry_for(&mut self, kind: ResourceKind) {
        if let Some(line) = self.kinds.get_mut(&kind) {
            line.hurried = true;
        }
    }

    /// Shows every time in it to `visit`.
    pub(super) fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self { kinds, power, own_power } = self;
        for line in power.values_mut().chain(kinds.values_mut()) {
            let Line { pending, last, failures: _, not_before, told: _, hurried: _, urgent: _ } =
                line;
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
        let lines = self.power.values_mut().chain(self.kinds.values_mut());
        lines.filter_map(|line| line.pending.as_mut()).for_each(|(id, _)| visit(id));
    }

    /// Shows every count of failures in a row to `visit`.
    pub(super) fn each_failures(&mut self, visit: &mut dyn FnMut(&mut u32)) {
        let lines = self.power.values_mut().chain(self.kinds.values_mut());
        lines.for_each(|line| visit(&mut line.failures));
    }

    /// Drops every read under way and everything known from reads.
    pub(super) fn forget(&mut self) {
        for line in self.kinds.values_mut() {
            line.pending = None;
        }
        self.power.clear();
        self.own_power = None;
        self.hurry();
    }
}

impl Machine {
    /// Asks for what is due.
    pub(super) fn read(&mut self, now: Time) {
        let kinds: Vec<ResourceKind> = self.reads.kinds.keys().copied().collect();
        for kind in kinds {
            self.read_kind(kind, now);
        }
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

    /// Reads all resources of one kind, where that is due: one call each, so that one API's
    /// trouble keeps nobody from reading what another API has.
    fn read_kind(&mut self, kind: ResourceKind, now: Time) {
        let Some(line) = self.reads.kinds.get(&kind) else { return };
        let pace = match kind {
            ResourceKind::Dns if line.hurried => HURRIED_DNS,
            _ if line.hurried => HURRIED,
            _ => self.pace(),
        };
        if !line.is_due(now, pace) {
            return;
        }
        let slots = self.groups.values().flat_map(|group| &group.slots);
        let wanted: BTreeSet<Resource> =
            slots.map(|slot| slot.resource.clone()).filter(|one| one.kind() == kind).collect();
        let id = self.new_id();
        if let Some(line) = self.reads.kinds.get_mut(&kind) {
            line.urgent = std::mem::take(&mut line.hurried);
            line.asked(id, now);
        }
        self.push(if kind == ResourceKind::Route {
            let tables = wanted.iter().filter_map(Resource::route).map(|(table, _)| table);
            let tables: BTreeSet<RouteTableId> = tables.cloned().collect();
            Action::ReadRoutes { id, tables: tables.into_iter().collect() }
        } else {
            Action::ReadHolders { id, resources: wanted.into_iter().collect() }
        });
    }

    /// How often resources are read where nothing hurries.
    fn pace(&self) -> Duration {
        if self.groups.values().any(|group| group.moving.is_some()) {
            return ATTENTIVE.min(self.numbers.reread);
        }
        let paces = self.peers.values().map(|peer| self.pace_for(peer));
        paces.min().unwrap_or(self.numbers.reread)
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
        let look = |resource: &Resource, tables: &BTreeMap<RouteTableId, Routes>| {
            let (table, cidr) = resource.route()?;
            Some(match tables.get(table) {
                None => Location::Absent,
                Some(routes) => routes.0.get(&cidr).cloned().map_or(Location::Vacant, Location::At),
            })
        };
        self.kind_read(id, result, look, now);
    }

    pub(super) fn holders_read(
        &mut self,
        id: ActionId,
        result: Result<Vec<(Resource, Location)>, CloudFault>,
        now: Time,
    ) {
        // A pending change of this node stays unconfirmed.
        let look = |resource: &Resource, seen: &Vec<(Resource, Location)>| {
            let (_, seen) = seen.iter().find(|(read, _)| read == resource)?;
            (*seen != Location::Pending).then(|| seen.clone().map(RouteEntry::active))
        };
        self.kind_read(id, result, look, now);
    }

    /// Takes in a read of all resources of one kind, in which `look` finds one of them.
    fn kind_read<T>(
        &mut self,
        id: ActionId,
        result: Result<T, CloudFault>,
        look: impl Fn(&Resource, &T) -> Option<Location<RouteEntry>>,
        now: Time,
    ) {
        let mut lines = self.reads.kinds.iter_mut();
        let found = lines.find_map(|(kind, line)| Some((*kind, line.take(id)?)));
        let Some((kind, asked)) = found else { return };
        let seen = match result {
            Ok(seen) => seen,
            Err(fault) => return self.kind_unread(kind, &fault, now),
        };
        if let Some(line) = self.reads.kinds.get_mut(&kind) {
            let told = line.told;
            *line = Line { last: line.last, hurried: line.hurried, ..Line::default() };
            if told {
                let text = format!("the {kind} can be read again");
                self.report(now, Level::Info, EventKind::ApiFailed, About::text(text));
            }
        }
        let names: Vec<GroupName> = self.groups.keys().cloned().collect();
        for name in names {
            let slots = self.groups.get(&name).map_or(0, |group| group.slots.len());
            for at in 0..slots {
                let slot = self.groups.get(&name).map(|group| &group.slots[at]);
                let resource = slot.map(|slot| &slot.resource).filter(|one| one.kind() == kind);
                if let Some(location) = resource.and_then(|resource| look(resource, &seen)) {
                    self.resource_seen(&name, at, &location, asked);
                }
            }
        }
    }

    fn kind_unread(&mut self, kind: ResourceKind, fault: &CloudFault, now: Time) {
        let noise = self.noise.next();
        let Some(line) = self.reads.kinds.get_mut(&kind) else { return };
        line.hurried |= line.urgent;
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

    fn resource_seen(
        &mut self,
        name: &GroupName,
        at: usize,
        location: &Location<RouteEntry>,
        asked: Time,
    ) {
        let settle = self.numbers.read_valid;
        let Some(group) = self.groups.get_mut(name) else { return };
        let slot = &mut group.slots[at];
        // A write that is being answered while this read was under way settles on its own.
        if slot.pending.is_some() {
            return;
        }
        slot.retry_at = slot.retry_at.filter(|retry| *retry > asked);
        let resource = slot.resource.clone();
        let observed = slot.observe(location.clone(), asked, settle);
        let Observed::Moved(before) = observed else { return };
        if before.is_some() {
            self.note_deed(&resource, location, asked);
        }
    }

    /// A lost peer that moved a resource to itself is alive. An Elastic IP follows the private IP
    /// that it is on without a request of its own.
    fn note_deed(&mut self, resource: &Resource, location: &Location<RouteEntry>, asked: Time) {
        if matches!(resource, Resource::Eip { on: Some(_), .. }) {
            return;
        }
        let Location::At(entry) = location else { return };
        let mut peers = self.peers.values_mut();
        let doer = peers.find(|peer| resource.target(&peer.member).as_ref() == Some(&entry.target));
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
