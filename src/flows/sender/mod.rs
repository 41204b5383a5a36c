//! The owner's end: from the kernel's news to frames for one heir. Pure.

mod budget;
mod lags;
mod shown;
mod table;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::REFRESH;
use super::channel::{Channel, OVERHEAD};
use super::fault::StreamFault;
use super::flow::{Change, Entry, Record, Stage, Tuple};
use super::message::{MAX_ITEMS, Message, RECORD_LEN, TUPLE_LEN};
use crate::types::{EgressId, Time};

use budget::Budget;
pub use budget::Rate;
pub use lags::LagCounts;
use lags::Lags;
use table::{Noted, Table};

/// While nothing else is sent, the owner says so this often, and the heir answers.
const POSITION_EVERY: Duration = Duration::from_secs(1);
/// A frame has this many records at least if so many wait: a limited rate is not spent on headers.
const FRAME_LEAST: usize = 24;
/// Between a resync that cannot go on and the next dump.
const RESYNC_PAUSE: Duration = Duration::from_secs(1);

/// The limits of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderLimits {
    /// Most connections that are replicated; further ones are counted.
    pub max_flows: usize,
    /// Most changes that wait. With more, all waiting changes are dropped, and a resync follows.
    pub max_waiting: usize,
    /// A new connection is sent when it is this old.
    pub min_age: Duration,
    /// How much is sent.
    pub rate: Rate,
}

/// What a sender has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderCounts {
    /// Records sent.
    pub records: u64,
    /// Removals sent.
    pub removals: u64,
    /// Changes of connections that waited already, so that only the latest state was sent.
    pub coalesced: u64,
    /// Connections that ended before they were old enough to be sent.
    pub too_short: u64,
    /// Changes of connections beyond `max_flows`.
    pub no_room: u64,
    /// How often more than `max_waiting` changes waited.
    pub overflows: u64,
    /// How often the kernel had no room for its news.
    pub overruns: u64,
    /// Resyncs begun.
    pub resyncs: u64,
    /// Bytes sent.
    pub octets: u64,
}

/// How far the heir is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// When the heir's last answer arrived.
    pub heard: Time,
    /// From the oldest change in the acknowledged frame to the arrival of the answer.
    pub lag: Duration,
    /// How many of the owner's connections the heir holds.
    pub held: u32,
}

/// How much of the kernel's table the heir knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// Not enough: a dump must begin, not before this time.
    Behind(Time),
    /// The dump is being read.
    Dumping,
    /// The connections before this place are those of the dump.
    Filling(u64),
    /// All but what waits. The next look, for what the kernel does not announce, begins then.
    Live(Time),
    /// As before, and that look is under way.
    Looking,
}

#[derive(Debug)]
struct Stream {
    channel: Channel,
    greeted: bool,
    sync: Sync,
    /// Whether the beginning of the resync was sent.
    announced: bool,
    /// Records and removals since then.
    sent_in_resync: (u32, u32),
    last_sent: Time,
    progress: Option<Progress>,
}

/// The owner's end of the stream to one heir. It never blocks: what cannot be sent waits here, in
/// bounded memory.
#[derive(Debug)]
pub struct Sender {
    limits: SenderLimits,
    landings: BTreeMap<Ipv4Addr, EgressId>,
    table: Table,
    budget: Budget,
    stream: Option<Stream>,
    lags: Lags,
    counts: SenderCounts,
}

impl Sender {
    /// A sender without a stream.
    #[must_use]
    pub fn new(limits: SenderLimits, now: Time) -> Self {
        Self {
            limits,
            landings: BTreeMap::new(),
            table: Table::new(limits.max_flows, limits.min_age),
            budget: Budget::new(limits.rate, now),
            stream: None,
            lags: Lags::default(),
            counts: SenderCounts::default(),
        }
    }

    /// The landing addresses of the egress IPs that this node has now. A change causes a resync.
    pub fn serve(&mut self, landings: BTreeMap<Ipv4Addr, EgressId>, now: Time) {
        if self.landings != landings {
            self.landings = landings;
            self.start_over(now);
        }
    }

    /// How much traffic the node forwards, in octets a second.
    pub fn traffic(&mut self, octets_per_second: u64) {
        self.budget.traffic(octets_per_second);
    }

    /// A stream to the heir is open. Everything is sent anew.
    pub fn open(&mut self, channel: Channel, now: Time) {
        self.table.clear();
        self.lags.forget();
        self.stream = Some(Stream {
            channel,
            greeted: false,
            sync: Sync::Behind(now),
            announced: false,
            sent_in_resync: (0, 0),
            last_sent: now,
            progress: None,
        });
    }

    /// The stream is closed.
    pub fn close(&mut self) {
        self.table.clear();
        self.lags.forget();
        self.stream = None;
    }

    /// Whether a dump is needed now: to begin, after an overrun, and from time to time because the
    /// kernel does not announce that a timeout was extended.
    #[must_use]
    pub fn wants_dump(&self, now: Time) -> bool {
        let open = self.stream.as_ref().filter(|stream| stream.channel.peer().is_some());
        open.is_some_and(|stream| match stream.sync {
            Sync::Behind(from) | Sync::Live(from) => from <= now,
            _ => false,
        })
    }

    /// A dump begins. Changes that the kernel announces while it runs are to be given to
    /// [`Self::change`] as always.
    pub fn begin_dump(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        match stream.sync {
            Sync::Behind(_) => {
                self.table.clear();
                stream.sync = Sync::Dumping;
                stream.announced = false;
                self.counts.resyncs += 1;
            }
            Sync::Live(_) => stream.sync = Sync::Looking,
            _ => return,
        }
        self.table.begin_dump();
    }

    /// One connection of a dump.
    pub fn dumped(&mut self, entry: &Entry, now: Time) {
        let is_dumping = |stream: &Stream| matches!(stream.sync, Sync::Dumping | Sync::Looking);
        if !self.stream.as_ref().is_some_and(is_dumping) {
            return;
        }
        let kept = |record: &Record| record.flow.stage() == Stage::Replicated;
        if let Some(record) = self.record(entry).filter(kept) {
            let noted = self.table.dumped(record, now, true);
            self.count(noted, now);
        }
    }

    /// The dump is complete.
    pub fn end_dump(&mut self, now: Time) {
        let Some(stream) = &mut self.stream else { return };
        match stream.sync {
            Sync::Dumping => {
                self.table.end_dump(now);
                stream.sync = Sync::Filling(self.table.next_place());
            }
            Sync::Looking => {
                self.table.end_dump(now);
                stream.sync = Sync::Live(now + REFRESH);
            }
            _ => {}
        }
    }

    /// The dump has failed. Another one is wanted after a moment.
    pub fn fail_dump(&mut self, now: Time) {
        let Some(stream) = &mut self.stream else { return };
        match stream.sync {
            Sync::Dumping => self.start_over(now + RESYNC_PAUSE),
            Sync::Looking => stream.sync = Sync::Live(now + RESYNC_PAUSE),
            _ => {}
        }
    }

    /// News of the kernel.
    pub fn change(&mut self, change: &Change, now: Time) {
        match change {
            Change::Seen(entry) => self.seen(entry, now),
            Change::Gone(tuple) => self.gone(tuple, now),
            Change::Overrun => {
                self.counts.overruns += 1;
                self.missed(now);
            }
        }
    }

    /// News of the kernel were missed. Everything is sent anew after a moment.
    pub fn missed(&mut self, now: Time) {
        self.start_over(now + RESYNC_PAUSE);
    }

    fn seen(&mut self, entry: &Entry, now: Time) {
        let behind = |stream: &Stream| matches!(stream.sync, Sync::Behind(_));
        if self.stream.as_ref().is_none_or(behind) {
            return;
        }
        let Some(record) = self.record(entry) else { return };
        match record.flow.stage() {
            Stage::Opening if record.flow.tcp.is_none() => self.table.note_stateless(record),
            Stage::Opening => {}
            Stage::Ended => self.gone(&entry.flow.tuple, now),
            Stage::Replicated => {
                let noted = self.table.note(record, now, false);
                self.count(noted, now);
            }
        }
    }

    fn gone(&mut self, tuple: &Tuple, now: Time) {
        if self.table.remove(tuple, now) {
            self.counts.too_short += 1;
        }
        self.check_overflow(now);
    }

    fn count(&mut self, noted: Noted, now: Time) {
        match noted {
            Noted::Coalesced => self.counts.coalesced += 1,
            Noted::NoRoom => self.counts.no_room += 1,
            Noted::Queued => self.check_overflow(now),
            Noted::Young | Noted::Unchanged => {}
        }
    }

    /// During a resync as many may wait as there are connections.
    fn check_overflow(&mut self, now: Time) {
        let is_live = |stream: &Stream| matches!(stream.sync, Sync::Live(_) | Sync::Looking);
        if self.stream.as_ref().is_some_and(is_live)
            && self.table.waiting() > self.limits.max_waiting
        {
            self.counts.overflows += 1;
            self.start_over(now + RESYNC_PAUSE);
        }
    }

    /// Drops what waits; a dump is wanted from `from` on.
    fn start_over(&mut self, from: Time) {
        self.table.clear();
        if let Some(stream) = &mut self.stream {
            stream.sync = Sync::Behind(from);
        }
    }

    /// The record of a connection that is translated to a landing address of this node. The node's
    /// own connections from that address are none of a group's.
    fn record(&self, entry: &Entry) -> Option<Record> {
        let egress = *self.landings.get(&entry.landing)?;
        let is_own = entry.flow.tuple.source == entry.landing;
        (!is_own).then(|| Record { egress, flow: self.table.completed(&entry.flow) })
    }

    /// Takes in what the heir has sent.
    ///
    /// # Errors
    /// Close the stream, after sending what [`Self::refusal`] returns.
    pub fn receive(&mut self, bytes: &[u8], now: Time) -> Result<(), StreamFault> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.channel.feed(bytes);
        while let Some(frame) = stream.channel.next_frame()? {
            match frame.message {
                Message::Hello(_) => {}
                Message::Ack { sequence, oldest, held } => {
                    self.lags.acknowledged(sequence, now);
                    let lag = now.since(oldest);
                    stream.progress = Some(Progress { heard: now, lag, held });
                }
                _ => return Err(StreamFault::Unexpected),
            }
        }
        Ok(())
    }

    /// What to send before the stream is closed after an error.
    #[must_use]
    pub fn refusal(&mut self) -> Option<Vec<u8>> {
        self.stream.as_mut()?.channel.refusal()
    }

    /// What is to be sent now, about `room` octets at most; less than 2 KiB may be too little for
    /// anything. Call it again when the socket has room, after news, and at [`Self::due`].
    #[must_use]
    pub fn output(&mut self, now: Time, room: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.fill(&mut out, now, room);
        self.counts.octets += u64::try_from(out.len()).unwrap_or(u64::MAX);
        self.budget.spend(out.len());
        out
    }

    fn fill(&mut self, out: &mut Vec<u8>, now: Time, room: usize) {
        self.table.ripen(now);
        let room = room.min(self.budget.available(now));
        let Some(stream) = &mut self.stream else { return };
        if !stream.greeted {
            stream.greeted = true;
            out.extend(stream.channel.hello());
        }
        if stream.channel.peer().is_none() {
            return;
        }
        // A dump that is not complete can still fail, and no resync has begun then.
        if !matches!(stream.sync, Sync::Behind(_) | Sync::Dumping) {
            let (table, counts, lags) = (&mut self.table, &mut self.counts, &mut self.lags);
            stream.send_changes(table, counts, lags, out, room, now);
        }
        // A large table may take longer to read than the heir waits for a frame.
        if now.since(stream.last_sent) >= POSITION_EVERY {
            stream.send(out, &Message::Position { oldest: now }, now);
        }
    }

    /// When [`Self::output`] or [`Self::wants_dump`] has something without further news. If that is
    /// past, the socket's room is what output waits for.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        let stream = self.stream.as_ref()?;
        stream.channel.peer()?;
        let position = stream.last_sent + POSITION_EVERY;
        let sync = match stream.sync {
            Sync::Behind(from) => return Some(from.min(position)),
            Sync::Live(from) => Some(from),
            Sync::Dumping => return Some(position),
            Sync::Filling(_) | Sync::Looking => None,
        };
        let least = frame_least(self.table.waiting());
        let waiting = (least > 0).then(|| self.budget.ready(least));
        let others = [sync, waiting, self.table.next_ripe()];
        Some(others.into_iter().flatten().fold(position, Time::min))
    }
}

/// The size of the smallest frame to send while this many changes wait.
fn frame_least(waiting: usize) -> usize {
    if waiting == 0 { 0 } else { OVERHEAD + waiting.min(FRAME_LEAST) * RECORD_LEN }
}

impl Stream {
    /// Returns the frame's sequence number.
    fn send(&mut self, out: &mut Vec<u8>, message: &Message, now: Time) -> u64 {
        self.last_sent = now;
        self.channel.send(out, message)
    }

    /// Sends what waits, and where a resync begins and ends.
    fn send_changes(
        &mut self,
        table: &mut Table,
        counts: &mut SenderCounts,
        lags: &mut Lags,
        out: &mut Vec<u8>,
        room: usize,
        now: Time,
    ) {
        if let Sync::Filling(_) = self.sync
            && !self.announced
        {
            self.announced = true;
            self.sent_in_resync = (0, 0);
            let count = u32::try_from(table.records_waiting()).unwrap_or(u32::MAX);
            self.send(out, &Message::ResyncBegin { count }, now);
        }
        while self.send_next(table, counts, lags, out, room, now) {}
        if let Sync::Filling(place) = self.sync
            && !table.waits_before(place)
        {
            let (records, removals) = self.sent_in_resync;
            self.send(out, &Message::ResyncEnd { records, removals }, now);
            self.sync = Sync::Live(now + REFRESH);
        }
    }

    /// Sends one frame of what waits, removals first: a removed connection's tuple may be in use
    /// again. Returns whether it did.
    fn send_next(
        &mut self,
        table: &mut Table,
        counts: &mut SenderCounts,
        lags: &mut Lags,
        out: &mut Vec<u8>,
        room: usize,
        now: Time,
    ) -> bool {
        let least = frame_least(table.waiting());
        let left = room.saturating_sub(out.len());
        if left < least || least == 0 {
            return false;
        }
        let left = left - OVERHEAD;
        let items = |length: usize| (left / length).min(MAX_ITEMS);
        if let Some((oldest, tuples)) = table.take_removals(items(TUPLE_LEN)) {
            let count = u32::try_from(tuples.len()).unwrap_or(u32::MAX);
            self.sent_in_resync.1 = self.sent_in_resync.1.wrapping_add(count);
            counts.removals += u64::from(count);
            let sequence = self.send(out, &Message::Removals { oldest, tuples }, now);
            lags.sent(sequence, oldest, count.into());
            return true;
        }
        let Some((oldest, records)) = table.take_records(items(RECORD_LEN), now) else {
            return false;
        };
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        self.sent_in_resync.0 = self.sent_in_resync.0.wrapping_add(count);
        counts.records += u64::from(count);
        let sequence = self.send(out, &Message::Records { oldest, records }, now);
        lags.sent(sequence, oldest, count.into());
        true
    }
}
