//! What the owner knows of its connections, and what waits to be sent to one heir.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::flows::flow::{Flow, Record, Tuple};
use crate::flows::{HEIR_EXTRA, REFRESH};
use crate::types::Time;

/// One connection.
#[derive(Debug)]
struct Tracked {
    record: Record,
    /// When the kernel said so.
    seen: Time,
    /// When the oldest change happened that waits to be sent.
    changed: Time,
    /// Its place in the queue, if it waits.
    place: Option<u64>,
    /// When it is old enough to be sent, while it is not.
    young_until: Option<Time>,
    /// When the heir forgets it; none before it was sent.
    heir_until: Option<Time>,
    /// The last dump that has shown it, or that was running when it last changed.
    dump: u32,
}

/// A change of what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// It waits to be sent now.
    Queued,
    /// It waited already, and only the latest state will be sent.
    Coalesced,
    /// It waits until it is old enough.
    Young,
    /// The heir knows all that matters.
    Unchanged,
    /// There is no room for another connection.
    NoRoom,
}

/// All connections that one heir has or is to have. A connection that is sent waits once, however
/// often it changes; so what waits is bounded by the number of connections.
#[derive(Debug)]
pub(super) struct Table {
    max_flows: usize,
    min_age: Duration,
    flows: BTreeMap<Tuple, Tracked>,
    /// What waits, by its place.
    waiting: BTreeMap<u64, Tuple>,
    next_place: u64,
    /// Connections that the heir has and that are no more, and since when.
    removals: VecDeque<(Tuple, Time)>,
    young: BTreeSet<(Time, Tuple)>,
    dump: u32,
    /// What was removed since the current dump began: the dump may still show it.
    removed_in_dump: Option<BTreeSet<Tuple>>,
    /// News since then of TCP connections whose state is not known: the dump has that.
    stateless: BTreeMap<Tuple, Record>,
}

impl Table {
    pub(super) fn new(max_flows: usize, min_age: Duration) -> Self {
        Self {
            max_flows,
            min_age,
            flows: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_place: 0,
            removals: VecDeque::new(),
            young: BTreeSet::new(),
            dump: 0,
            removed_in_dump: None,
            stateless: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Records and removals that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.removals.len()
    }

    pub(super) fn records_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The place that the next connection in the queue gets: those before it wait already.
    pub(super) fn next_place(&self) -> u64 {
        self.next_place
    }

    /// Whether a connection with a place before this one waits.
    pub(super) fn waits_before(&self, place: u64) -> bool {
        self.waiting.first_key_value().is_some_and(|(first, _)| *first < place)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.max_flows, self.min_age);
    }

    /// The connection with the TCP state that was last known, if the kernel did not say it this
    /// time.
    pub(super) fn completed(&self, flow: &Flow) -> Flow {
        let known = self.flows.get(&flow.tuple).and_then(|known| known.record.flow.tcp);
        Flow { tcp: flow.tcp.or(known), ..*flow }
    }

    /// A dump begins. What it does not show, and what does not change meanwhile, is no more.
    pub(super) fn begin_dump(&mut self) {
        self.dump = self.dump.wrapping_add(1);
        self.removed_in_dump = Some(BTreeSet::new());
        self.stateless.clear();
    }

    /// The dump is complete.
    pub(super) fn end_dump(&mut self, now: Time) {
        self.removed_in_dump = None;
        self.stateless.clear();
        let dump = self.dump;
        let missing = self.flows.iter().filter(|(_, one)| one.dump != dump);
        let missing: Vec<Tuple> = missing.map(|(tuple, _)| *tuple).collect();
        for tuple in missing {
            self.remove(&tuple, now);
        }
    }

    /// The kernel has shown a connection in a dump.
    pub(super) fn dumped(&mut self, record: Record, now: Time, of_any_age: bool) -> Noted {
        let removed = self.removed_in_dump.as_ref();
        let known = self.flows.get(&record.flow.tuple);
        // What the kernel has announced since the dump began is later than what the dump shows.
        if removed.is_some_and(|removed| removed.contains(&record.flow.tuple))
            || known.is_some_and(|known| known.dump == self.dump)
        {
            return Noted::Unchanged;
        }
        let record = match self.stateless.remove(&record.flow.tuple) {
            Some(newer) => Record { flow: Flow { tcp: record.flow.tcp, ..newer.flow }, ..newer },
            None => record,
        };
        self.note(record, now, of_any_age)
    }

    /// The kernel has announced a TCP connection without its state, which is not known either. If a
    /// dump is running, it will show the state, and perhaps the rest as it was before.
    pub(super) fn note_stateless(&mut self, record: Record) {
        if self.removed_in_dump.is_some() {
            self.stateless.insert(record.flow.tuple, record);
        }
    }

    /// The kernel has announced a connection. `of_any_age`: it need not wait until it is old
    /// enough.
    pub(super) fn note(&mut self, record: Record, now: Time, of_any_age: bool) -> Noted {
        let tuple = record.flow.tuple;
        if !self.flows.contains_key(&tuple) {
            if self.flows.len() >= self.max_flows {
                return Noted::NoRoom;
            }
            return self.add(record, now, of_any_age);
        }
        let dump = self.dump;
        let Some(known) = self.flows.get_mut(&tuple) else { return Noted::NoRoom };
        known.dump = dump;
        let is_same = known.record.egress == record.egress
            && known.record.flow.is_same_but_for_timeout(&record.flow);
        known.record = record;
        known.seen = now;
        if known.place.is_some() {
            return if is_same { Noted::Unchanged } else { Noted::Coalesced };
        }
        if known.young_until.is_some() {
            return Noted::Young;
        }
        if is_same && !outlives(known.heir_until, &record.flow, now) {
            return Noted::Unchanged;
        }
        known.changed = now;
        self.queue(tuple);
        Noted::Queued
    }

    fn add(&mut self, record: Record, now: Time, of_any_age: bool) -> Noted {
        let tuple = record.flow.tuple;
        let is_young = !of_any_age && !self.min_age.is_zero();
        let young_until = is_young.then_some(now + self.min_age);
        let dump = self.dump;
        let tracked = Tracked {
            record,
            seen: now,
            changed: now,
            place: None,
            young_until,
            heir_until: None,
            dump,
        };
        self.flows.insert(tuple, tracked);
        let Some(until) = young_until else {
            self.queue(tuple);
            return Noted::Queued;
        };
        self.young.insert((until, tuple));
        Noted::Young
    }

    fn queue(&mut self, tuple: Tuple) {
        let Some(tracked) = self.flows.get_mut(&tuple) else { return };
        tracked.place = Some(self.next_place);
        self.waiting.insert(self.next_place, tuple);
        self.next_place += 1;
    }

    /// Queues what has become old enough. Returns how many.
    pub(super) fn ripen(&mut self, now: Time) -> u64 {
        let mut ripe = 0;
        while let Some((until, tuple)) = self.young.first().copied().filter(|(at, _)| *at <= now) {
            self.young.remove(&(until, tuple));
            if let Some(tracked) = self.flows.get_mut(&tuple) {
                tracked.young_until = None;
                tracked.changed = until;
                self.queue(tuple);
                ripe += 1;
            }
        }
        ripe
    }

    /// When the next connection becomes old enough.
    pub(super) fn next_ripe(&self) -> Option<Time> {
        self.young.first().map(|(until, _)| *until)
    }

    /// A connection is no more. Returns whether it was never sent because it was too young.
    pub(super) fn remove(&mut self, tuple: &Tuple, now: Time) -> bool {
        if let Some(removed) = &mut self.removed_in_dump {
            removed.insert(*tuple);
            self.stateless.remove(tuple);
        }
        let Some(tracked) = self.flows.remove(tuple) else { return false };
        if let Some(place) = tracked.place {
            self.waiting.remove(&place);
        }
        if let Some(until) = tracked.young_until {
            self.young.remove(&(until, *tuple));
        }
        if tracked.heir_until.is_some() {
            self.removals.push_back((*tuple, now));
        }
        tracked.young_until.is_some()
    }

    /// Takes up to `count` removals off the queue, with the time of the oldest.
    pub(super) fn take_removals(&mut self, count: usize) -> Option<(Time, Vec<Tuple>)> {
        let oldest = self.removals.front()?.1;
        let count = count.min(self.removals.len());
        Some((oldest, self.removals.drain(..count).map(|(tuple, _)| tuple).collect()))
    }

    /// Takes up to `count` connections off the queue, with the time of the oldest change among
    /// them. Their timeouts are as of now.
    pub(super) fn take_records(&mut self, count: usize, now: Time) -> Option<(Time, Vec<Record>)> {
        let mut oldest = now;
        let mut records = Vec::new();
        while records.len() < count {
            let Some((_, tuple)) = self.waiting.pop_first() else { break };
            let Some(tracked) = self.flows.get_mut(&tuple) else { continue };
            tracked.place = None;
            oldest = oldest.min(tracked.changed);
            let passed = now.since(tracked.seen).as_secs();
            let mut record = tracked.record;
            let left = u64::from(record.flow.timeout_s).saturating_sub(passed);
            record.flow.timeout_s = u32::try_from(left).unwrap_or_default();
            tracked.heir_until = Some(forgotten_at(&record.flow, now));
            records.push(record);
        }
        (!records.is_empty()).then_some((oldest, records))
    }
}

/// When the heir forgets a connection that it learns of now.
fn forgotten_at(flow: &Flow, now: Time) -> Time {
    now + Duration::from_secs(flow.timeout_s.into()) + HEIR_EXTRA
}

/// Whether the heir would forget the connection before the owner's next look but one, although the
/// kernel now keeps it for longer.
fn outlives(heir_until: Option<Time>, flow: &Flow, now: Time) -> bool {
    let Some(until) = heir_until else { return true };
    until < now + REFRESH + REFRESH && until < forgotten_at(flow, now)
}
