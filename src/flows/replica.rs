//! The heir's copy of one owner's connections. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::HEIR_EXTRA;
use super::fault::StreamFault;
use super::flow::{Entry, Flow, Inserted, Protocol, Record, TcpState, Tuple};
use super::message::{BootId, Message};
use crate::types::{EgressId, Time};

/// The shortest timeout of an inserted connection. The kernel announces no packets that merely
/// extend a timeout, so that a connection may have more time left than the owner has said.
const INSERTED_TIMEOUT_MIN: u64 = 10;

/// How often connections whose time is up are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// One connection.
#[derive(Debug, Clone, Copy)]
struct Held {
    egress: EgressId,
    flow: Flow,
    received: Time,
    /// The last resync that has shown it, or during which it was received.
    resync: u32,
}

impl Held {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.flow.timeout_s.into())
    }

    /// Longer than the owner's timer runs, so that a repetition of the record is in time.
    fn until(&self) -> Time {
        self.received + self.timeout() + HEIR_EXTRA
    }
}

/// What a replica has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaCounts {
    /// Records received.
    pub records: u64,
    /// Removals received.
    pub removals: u64,
    /// Records of connections for which there was no room.
    pub no_room: u64,
    /// Connections whose time was up.
    pub expired: u64,
    /// Connections that a resync did not show any more.
    pub not_repeated: u64,
    /// Connections dropped because the owner's host had booted since.
    pub rebooted: u64,
    /// Resyncs completed.
    pub resyncs: u64,
    /// What became of the insertions into the kernel's table.
    pub inserted: InsertedCounts,
}

/// Insertions by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InsertedCounts {
    /// See [`Inserted::New`].
    pub new: u64,
    /// See [`Inserted::Exists`].
    pub exists: u64,
    /// See [`Inserted::PortTaken`].
    pub port_taken: u64,
    /// See [`Inserted::TableFull`].
    pub table_full: u64,
    /// See [`Inserted::Other`].
    pub other: u64,
}

impl InsertedCounts {
    /// Counts one.
    pub fn add(&mut self, result: Inserted) {
        let count = match result {
            Inserted::New => &mut self.new,
            Inserted::Exists => &mut self.exists,
            Inserted::PortTaken => &mut self.port_taken,
            Inserted::TableFull => &mut self.table_full,
            Inserted::Other => &mut self.other,
        };
        *count += 1;
    }
}

/// A resync that is under way.
#[derive(Debug, Clone, Copy)]
struct Resync {
    records: u32,
    removals: u32,
}

/// The connections of one owner.
#[derive(Debug)]
pub struct Replica {
    max_flows: usize,
    boot: Option<BootId>,
    flows: BTreeMap<Tuple, Held>,
    resync: Option<Resync>,
    /// Whether the stream has shown all connections of the owner since it began.
    is_complete: bool,
    /// When the last resync ended.
    shown: Option<Time>,
    /// Counts resyncs.
    number: u32,
    swept: Time,
    counts: ReplicaCounts,
}

impl Replica {
    /// An empty one, which holds this many connections at most.
    #[must_use]
    pub fn new(max_flows: usize) -> Self {
        Self {
            max_flows,
            boot: None,
            flows: BTreeMap::new(),
            resync: None,
            is_complete: false,
            shown: None,
            number: 0,
            swept: Time::default(),
            counts: ReplicaCounts::default(),
        }
    }

    /// A stream from the owner begins, whose host has booted as `boot`. A host that has booted
    /// since has none of its connections any more.
    pub fn begin(&mut self, boot: BootId) {
        self.resync = None;
        self.is_complete = false;
        if self.boot.replace(boot).is_some_and(|before| before != boot) {
            self.counts.rebooted += wide(self.flows.len());
            self.flows.clear();
        }
    }

    /// Takes in a message of the owner.
    ///
    /// # Errors
    /// If an owner sends no such message, or a resync is not complete.
    pub fn apply(&mut self, message: &Message, now: Time) -> Result<(), StreamFault> {
        self.age(now);
        match message {
            Message::ResyncBegin { .. } => {
                self.number = self.number.wrapping_add(1);
                self.resync = Some(Resync { records: 0, removals: 0 });
            }
            Message::Records { records, .. } => {
                if let Some(resync) = &mut self.resync {
                    resync.records = resync.records.wrapping_add(narrow(records.len()));
                }
                for record in records {
                    self.put(record, now);
                }
            }
            Message::Removals { tuples, .. } => {
                if let Some(resync) = &mut self.resync {
                    resync.removals = resync.removals.wrapping_add(narrow(tuples.len()));
                }
                self.counts.removals += wide(tuples.len());
                for tuple in tuples {
                    self.flows.remove(tuple);
                }
            }
            Message::ResyncEnd { records, removals } => {
                self.end_resync(*records, *removals, now)?;
            }
            Message::Position { .. } => {}
            Message::Hello(_) | Message::Refused(_) | Message::Ack { .. } => {
                return Err(StreamFault::Unexpected);
            }
        }
        Ok(())
    }

    fn put(&mut self, record: &Record, now: Time) {
        self.counts.records += 1;
        let tuple = record.flow.tuple;
        if self.flows.len() >= self.max_flows && !self.flows.contains_key(&tuple) {
            self.counts.no_room += 1;
            return;
        }
        let Record { egress, flow } = *record;
        self.flows.insert(tuple, Held { egress, flow, received: now, resync: self.number });
    }

    fn end_resync(&mut self, records: u32, removals: u32, now: Time) -> Result<(), StreamFault> {
        let resync = self.resync.take().ok_or(StreamFault::Unexpected)?;
        if (resync.records, resync.removals) != (records, removals) {
            return Err(StreamFault::Miscounted);
        }
        let before = self.flows.len();
        let number = self.number;
        self.flows.retain(|_, held| held.resync == number);
        self.counts.not_repeated += wide(before - self.flows.len());
        self.counts.resyncs += 1;
        self.is_complete = true;
        self.shown = Some(now);
        Ok(())
    }

    /// Drops connections whose time is up, once a second at most.
    pub fn age(&mut self, now: Time) {
        if now.since(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        let before = self.flows.len();
        self.flows.retain(|_, held| now < held.until());
        self.counts.expired += wide(before - self.flows.len());
    }

    /// What to insert into the kernel's table when this node has `egress` at its own landing
    /// address, in this order: what would be missed most comes first.
    #[must_use]
    pub fn injection(&self, egress: EgressId, landing: Ipv4Addr, now: Time) -> Vec<Entry> {
        self.injection_since(egress, landing, Time::default(), now)
    }

    /// The same, of what was received at or after `since` alone: while a living owner gives the
    /// egress IP to this node, it goes on sending.
    #[must_use]
    pub fn injection_since(
        &self,
        egress: EgressId,
        landing: Ipv4Addr,
        since: Time,
        now: Time,
    ) -> Vec<Entry> {
        let held = self.flows.values();
        let held = held
            .filter(|held| held.egress == egress && held.received >= since && now < held.until());
        let mut entries: Vec<Entry> = held
            .map(|held| {
                let passed = now.since(held.received).as_secs();
                let left = u64::from(held.flow.timeout_s).saturating_sub(passed);
                let timeout_s = narrow_u64(left.max(INSERTED_TIMEOUT_MIN));
                Entry { landing, flow: Flow { timeout_s, ..held.flow } }
            })
            .collect();
        entries.sort_by_key(|entry| (rank(&entry.flow), entry.flow.tuple));
        entries
    }

    /// What became of insertions.
    pub fn inserted(&mut self, results: impl IntoIterator<Item = Inserted>) {
        results.into_iter().for_each(|result| self.counts.inserted.add(result));
    }

    /// Forgets the connections of an egress IP: this node has it now, and its own kernel has
    /// them.
    pub fn forget(&mut self, egress: EgressId) {
        self.flows.retain(|_, held| held.egress != egress);
    }

    /// How many connections it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether a resync is under way, or the first one of a stream has not begun. What is held
    /// meanwhile may include connections that are no more, and lack others.
    #[must_use]
    pub fn is_in_resync(&self) -> bool {
        self.resync.is_some() || !self.is_complete
    }

    /// When the last resync ended. Of two nodes that both take themselves for the owner of an
    /// egress IP, the one that got it last has shown its connections last.
    #[must_use]
    pub fn shown(&self) -> Option<Time> {
        self.shown
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> ReplicaCounts {
        self.counts
    }

    /// Every connection, as received.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.flows.values().map(|held| Record { egress: held.egress, flow: held.flow })
    }
}

/// The place of a connection in the order of insertion.
fn rank(flow: &Flow) -> u8 {
    let is_open = flow.tcp.is_some_and(|tcp| tcp.state == TcpState::Established);
    match flow.tuple.protocol {
        Protocol::Tcp if is_open && flow.assured => 0,
        _ if flow.assured => 1,
        _ if flow.seen_reply => 2,
        _ => 3,
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn narrow_u64(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
