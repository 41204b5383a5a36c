//! When AWS is read, and what its answers mean.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::group::Groups;
use super::known::Known;
use super::outbox::{About, Outbox};
use super::peer::words;
use super::retry::backoff;
use super::share::Share;
use super::slot::{Observed, Slot};
use super::{Action, ActionId, EventKind, Level, Routes};
use crate::types::{
    CloudFault, InstanceId, Location, Member, PowerReport, Resource, ResourceKind, RouteEntry,
    RouteTableId, Time,
};

/// The least time between two reads of the same thing.
const HURRIED: Duration = Duration::from_millis(100);
/// The same for DNS records: Route 53 lets a whole account make 5 requests a second.
const HURRIED_SLOW: Duration = Duration::from_secs(1);
/// A read that has not come back after this long is given up.
const GIVE_UP: Duration = Duration::from_secs(15);

/// A kind of read: at most one of it is under way, and failures back off.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct ReadState {
    pending: Option<(ActionId, Time)>,
    last: Option<Time>,
    failures: u32,
    not_before: Time,
    /// Whether the failure was reported.
    reported: bool,
    /// Whether to read as soon as the minimum read interval allows.
    hurried: bool,
    /// Whether the read under way was hurried: if it fails, so is the next.
    urgent: bool,
}

impl ReadState {
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
    kinds: BTreeMap<ResourceKind, ReadState>,
    power: BTreeMap<InstanceId, ReadState>,
}

impl Reads {
    /// Takes in which kinds of resources there are.
    pub(super) fn know(&mut self, kinds: &BTreeSet<ResourceKind>) {
        self.kinds.retain(|kind, _| kinds.contains(kind));
        for kind in kinds {
            self.kinds.entry(*kind).or_default();
        }
    }

    /// Requests that all resources be read as soon as the minimum read interval allows.
    pub(super) fn hurry(&mut self) {
        for state in self.kinds.values_mut() {
            state.hurried = true;
        }
    }

    /// The same for the resources of one kind.
    pub(super) fn hurry_for(&mut self, kind: ResourceKind) {
        if let Some(state) = self.kinds.get_mut(&kind) {
            state.hurried = true;
        }
    }

    /// Shows every time in it to `visit`.
    pub(super) fn each_time(&mut self, visit: &mut dyn FnMut(&mut Time)) {
        let Self { kinds, power } = self;
        for state in power.values_mut().chain(kinds.values_mut()) {
            let ReadState {
                pending,
                last,
                failures: _,
                not_before,
                reported: _,
                hurried: _,
                urgent: _,
            } = state;
            visit(not_before);
            let pending = pending.as_mut().map(|(_, asked)| asked);
            pending.into_iter().chain(last).for_each(&mut *visit);
        }
    }

    /// Shows the id of every read under way to `visit`.
    pub(super) fn each_id(&mut self, visit: &mut dyn FnMut(&mut ActionId)) {
        let states = self.power.values_mut().chain(self.kinds.values_mut());
        states.filter_map(|state| state.pending.as_mut()).for_each(|(id, _)| visit(id));
    }

    /// Shows every count of failures in a row to `visit`.
    pub(super) fn each_failures(&mut self, visit: &mut dyn FnMut(&mut u32)) {
        let states = self.power.values_mut().chain(self.kinds.values_mut());
        states.for_each(|state| visit(&mut state.failures));
    }

    /// Drops every read under way: what it shows may be from before a pause.
    pub(super) fn forget(&mut self) {
        for state in self.kinds.values_mut() {
            state.pending = None;
        }
        self.power.clear();
        self.hurry();
    }
}

impl Reads {
    /// Sends the reads that are due.
    pub(super) fn advance(&mut self, known: &Known, groups: &Groups, out: &mut Outbox, now: Time) {
        let share = Share::of(known, groups, now);
        let pace = share.resources(self.kinds.len());
        for (kind, state) in &mut self.kinds {
            read_kind(*kind, state, pace, groups, out, now);
        }
        let own = share.own_power().map(|pace| (&known.me.id, pace));
        for (node, pace) in share.powers().chain(own) {
            let state = self.power.entry(node.clone()).or_default();
            if state.is_due(now, pace) {
                let id = out.new_id();
                state.asked(id, now);
                out.push(Action::ReadPower { id, node: node.clone() });
            }
        }
    }

    /// Takes in a read of route tables.
    pub(super) fn take_routes(
        &mut self,
        id: ActionId,
        result: Result<BTreeMap<RouteTableId, Routes>, CloudFault>,
        known: &mut Known,
        groups: &mut Groups,
        out: &mut Outbox,
        now: Time,
    ) {
        let Some((kind, asked, tables)) = self.finish(id, result, out, now) else { return };
        let locate = |resource: &Resource| {
            let (table, cidr) = resource.route()?;
            Some(match tables.get(table) {
                None => Location::Absent,
                Some(routes) => routes.0.get(&cidr).cloned().map_or(Location::Vacant, Location::At),
            })
        };
        observe_all(kind, asked, locate, known, groups);
    }

    /// Takes in a read of resources other than routes.
    pub(super) fn take_holders(
        &mut self,
        id: ActionId,
        result: Result<Vec<(Resource, Location)>, CloudFault>,
        known: &mut Known,
        groups: &mut Groups,
        out: &mut Outbox,
        now: Time,
    ) {
        let Some((kind, asked, found)) = self.finish(id, result, out, now) else { return };
        // A pending change of this node stays unconfirmed.
        let locate = |resource: &Resource| {
            let (_, location) = found.iter().find(|(read, _)| read == resource)?;
            (*location != Location::Pending).then(|| location.clone().map(RouteEntry::active))
        };
        observe_all(kind, asked, locate, known, groups);
    }

    /// Ends the read of a kind's resources that this id belongs to: which kind, when it was
    /// requested and what it showed; none if nothing waits for it or it failed.
    fn finish<T>(
        &mut self,
        id: ActionId,
        result: Result<T, CloudFault>,
        out: &mut Outbox,
        now: Time,
    ) -> Option<(ResourceKind, Time, T)> {
        let mut states = self.kinds.iter_mut();
        let (kind, asked, state) =
            states.find_map(|(kind, state)| Some((*kind, state.take(id)?, state)))?;
        match result {
            Ok(found) => {
                let reported = state.reported;
                *state =
                    ReadState { last: state.last, hurried: state.hurried, ..ReadState::default() };
                if reported {
                    let text = format!("the {kind} can be read again");
                    out.report(now, Level::Info, EventKind::ApiFailed, About::text(text));
                }
                Some((kind, asked, found))
            }
            Err(fault) => {
                read_failed(state, &fault, out, now);
                None
            }
        }
    }

    /// Takes in a read of one node's power state.
    pub(super) fn take_power(
        &mut self,
        id: ActionId,
        result: Result<PowerReport, CloudFault>,
        known: &mut Known,
        out: &mut Outbox,
        now: Time,
    ) {
        let mut states = self.power.iter_mut();
        let found = states.find_map(|(node, state)| Some((node, state.take(id)?, state)));
        let Some((node, asked, state)) = found else { return };
        let jitter = out.jitter();
        let report = match result {
            Ok(report) => report,
            Err(fault) => {
                state.failures += 1;
                state.not_before = now + backoff(fault.kind, state.failures, jitter);
                return;
            }
        };
        state.failures = 0;
        known.note_power(node, report, asked);
    }
}

/// Reads all resources of one kind, where that is due: one call for each kind, so that a failure
/// of one API does not keep this node from reading what another API has.
fn read_kind(
    kind: ResourceKind,
    state: &mut ReadState,
    pace: Duration,
    groups: &Groups,
    out: &mut Outbox,
    now: Time,
) {
    let pace = match (state.hurried, kind.confirms_slowly()) {
        (true, true) => HURRIED_SLOW,
        (true, false) => HURRIED,
        (false, _) => pace,
    };
    if !state.is_due(now, pace) {
        return;
    }
    let slots = groups.values().flat_map(|group| &group.slots);
    let wanted: BTreeSet<Resource> =
        slots.map(|slot| slot.resource.clone()).filter(|one| one.kind() == kind).collect();
    let id = out.new_id();
    state.urgent = std::mem::take(&mut state.hurried);
    state.asked(id, now);
    out.push(if kind.is_route() {
        let tables = wanted.iter().filter_map(Resource::route).map(|(table, _)| table);
        let tables: BTreeSet<RouteTableId> = tables.cloned().collect();
        Action::ReadRoutes { id, tables: tables.into_iter().collect() }
    } else {
        Action::ReadHolders { id, resources: wanted.into_iter().collect() }
    });
}

fn read_failed(state: &mut ReadState, fault: &CloudFault, out: &mut Outbox, now: Time) {
    let jitter = out.jitter();
    state.hurried |= state.urgent;
    state.failures += 1;
    let wait = backoff(fault.kind, state.failures, jitter);
    state.not_before = now + wait;
    if state.reported {
        return;
    }
    state.reported = true;
    let text = format!("{fault}; nothing is changed because of it; next try in {}", words(wait));
    out.report(now, Level::Warning, EventKind::ApiFailed, About::text(text));
}

/// Takes in what a read of a kind showed that was requested at `asked`; `locate` finds a resource
/// in it.
fn observe_all(
    kind: ResourceKind,
    asked: Time,
    locate: impl Fn(&Resource) -> Option<Location<RouteEntry>>,
    known: &mut Known,
    groups: &mut Groups,
) {
    let slots = groups.values_mut().flat_map(|group| &mut group.slots);
    for slot in slots.filter(|slot| slot.resource.kind() == kind) {
        if let Some(location) = locate(&slot.resource) {
            observe(slot, location, asked, known);
        }
    }
}

/// Takes in where a read that was requested at `asked` found a resource.
fn observe(slot: &mut Slot, location: Location<RouteEntry>, asked: Time, known: &mut Known) {
    // The outcome of a write under way tells more than a read that ran at the same time.
    if slot.pending.is_some() {
        return;
    }
    slot.retry_at = slot.retry_at.filter(|retry| *retry > asked);
    let known_at = slot.known_at();
    let observed = slot.observe(location.clone(), asked, known.timing.read_valid);
    let (Observed::Moved(Some(_)), Some(known_at)) = (observed, known_at) else { return };
    if slot.resource.follows_another() {
        return;
    }
    if let Location::At(entry) = location {
        let resource = &slot.resource;
        let is_there = |member: &Member| resource.target(member).as_ref() == Some(&entry.target);
        known.note_move_while_lost(is_there, known_at);
    }
}
