//! A host's connection tracking, as far as replication sees it.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use natha::flows::{Change, Entry, Flow, Inserted, Protocol, Tuple};
use natha::types::Time;

/// One connection in the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    entry: Entry,
    /// When it is forgotten unless a packet comes.
    until: Time,
}

/// The table of translated connections, and the kernel's news of it.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    rows: BTreeMap<Tuple, Row>,
    /// What was announced and not read yet.
    news: Vec<Change>,
    /// It has no room for its news.
    is_full: bool,
    /// Some news were lost: the next reader gets [`Change::Overrun`].
    has_lost: bool,
}

impl Kernel {
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.rows.values().map(|row| &row.entry)
    }

    pub(super) fn has(&self, tuple: &Tuple) -> bool {
        self.rows.contains_key(tuple)
    }

    /// Whether everything was read that it has announced, and nothing was lost.
    pub(super) fn is_quiet(&self) -> bool {
        self.news.is_empty() && !self.is_full && !self.has_lost
    }

    /// A packet opens or changes a connection. News have the TCP state only where that has changed.
    pub(super) fn put(&mut self, entry: Entry, now: Time) {
        let until = now + Duration::from_secs(entry.flow.timeout_s.into());
        let before = self.rows.insert(entry.flow.tuple, Row { entry, until });
        let is_same = before.is_some_and(|before| before.entry.flow.tcp == entry.flow.tcp);
        let tcp = entry.flow.tcp.filter(|_| !is_same);
        self.announce(Change::Seen(Entry { flow: Flow { tcp, ..entry.flow }, ..entry }));
    }

    /// A packet merely extends the timeout of a connection, which is not announced.
    pub(super) fn extend(&mut self, tuple: &Tuple, now: Time) {
        if let Some(row) = self.rows.get_mut(tuple) {
            row.until = now + Duration::from_secs(row.entry.flow.timeout_s.into());
        }
    }

    pub(super) fn remove(&mut self, tuple: &Tuple) {
        if self.rows.remove(tuple).is_some() {
            self.announce(Change::Gone(*tuple));
        }
    }

    /// Removes what is translated to this address.
    pub(super) fn remove_of(&mut self, landing: Ipv4Addr) {
        self.remove_where(|row| row.entry.landing == landing);
    }

    /// Forgets what no packet has come for.
    pub(super) fn expire(&mut self, now: Time) {
        self.remove_where(|row| row.until <= now);
    }

    fn remove_where(&mut self, is_gone: impl Fn(&Row) -> bool) {
        let gone: Vec<Tuple> =
            self.rows.iter().filter(|(_, row)| is_gone(row)).map(|(tuple, _)| *tuple).collect();
        for tuple in &gone {
            self.remove(tuple);
        }
    }

    fn announce(&mut self, change: Change) {
        if self.is_full {
            self.has_lost = true;
        } else {
            self.news.push(change);
        }
    }

    /// From now on it has no room for news, or has it again.
    pub(super) fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// What was announced since the last call. What was lost before counts first.
    pub(super) fn take_news(&mut self) -> Vec<Change> {
        let lost = std::mem::take(&mut self.has_lost).then_some(Change::Overrun);
        lost.into_iter().chain(self.news.drain(..)).collect()
    }

    /// The whole table, with the timeouts that are left.
    pub(super) fn dump(&self, now: Time) -> VecDeque<Entry> {
        let shown = |row: &Row| {
            let left = row.until.since(now).as_secs();
            let timeout_s = u32::try_from(left).unwrap_or(u32::MAX);
            Entry { flow: Flow { timeout_s, ..row.entry.flow }, ..row.entry }
        };
        self.rows.values().map(shown).collect()
    }

    /// Inserts connections. One that is in the way has the same tuple, or the port after
    /// translation; with `over`, it makes room if it is by the same address.
    pub(super) fn insert(&mut self, entries: &[Entry], over: bool, now: Time) -> Vec<Inserted> {
        entries.iter().map(|entry| self.insert_one(entry, over, now)).collect()
    }

    fn insert_one(&mut self, entry: &Entry, over: bool, now: Time) -> Inserted {
        if over {
            for tuple in self.in_the_way(entry) {
                if self.rows[&tuple].entry.landing == entry.landing {
                    self.remove(&tuple);
                }
            }
        }
        match self.in_the_way(entry).as_slice() {
            [] => {
                self.put(*entry, now);
                Inserted::New
            }
            [tuple] if self.is_alike(tuple, entry) => Inserted::Exists,
            _ => Inserted::PortTaken,
        }
    }

    /// Whether the connection with this tuple is the same as `entry`, translated alike.
    fn is_alike(&self, tuple: &Tuple, entry: &Entry) -> bool {
        let is_same = |row: &Row| {
            let port = row.entry.flow.translated_port;
            row.entry.landing == entry.landing && port == entry.flow.translated_port
        };
        *tuple == entry.flow.tuple && self.rows.get(tuple).is_some_and(is_same)
    }

    /// The connections that have the tuple or the translated port of this one.
    fn in_the_way(&self, entry: &Entry) -> Vec<Tuple> {
        let rows = self.rows.iter();
        let blocking = rows.filter(|(tuple, row)| {
            **tuple == entry.flow.tuple || answered(&row.entry) == answered(entry)
        });
        blocking.map(|(tuple, _)| *tuple).collect()
    }

    /// Whether no connection has the translated port of this one.
    pub(super) fn is_free_for(&self, entry: &Entry) -> bool {
        self.in_the_way(entry).is_empty()
    }
}

/// What identifies a connection to the other side.
fn answered(entry: &Entry) -> (Protocol, Ipv4Addr, u16, Ipv4Addr, u16) {
    let Tuple { protocol, destination, destination_port, .. } = entry.flow.tuple;
    let port = entry.flow.translated_port;
    (protocol, entry.landing, port, destination, destination_port)
}
