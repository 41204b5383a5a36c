//! Dumps, insertions and removals.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::decode;
use super::encode::{self, Kind};
use crate::flows::{Entry, Inserted, Protocol, Tuple, Usage};

/// The kernel normally answers within milliseconds.
const LIMIT: Duration = Duration::from_secs(5);
/// Requests that are sent at once: up to 60 KiB, which fits in the default send buffer.
const BATCH: usize = 256;
/// Room for the answers to a batch, and for the messages of a dump that wait.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The kernel sends at most 32 KiB of a dump at once.
const MAX_DATAGRAM: usize = 64 << 10;

/// A connection that no host has: its addresses are those of documentation (RFC 5737).
const NO_CONNECTION: Tuple = Tuple {
    protocol: Protocol::Udp,
    source: Ipv4Addr::new(192, 0, 2, 1),
    destination: Ipv4Addr::new(192, 0, 2, 2),
    source_port: 9,
    destination_port: 9,
};

/// Why the kernel's table of connections could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    /// No netlink socket.
    #[error("cannot open a netlink socket for connection tracking; CAP_NET_ADMIN is needed")]
    Open(#[source] io::Error),
    /// The socket fails.
    #[error("cannot exchange messages with the kernel's connection tracking")]
    Socket(#[source] io::Error),
    /// The kernel refuses.
    #[error(
        "the kernel's connection tracking refuses to {what}; CAP_NET_ADMIN and the module \
         nf_conntrack_netlink are needed"
    )]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The kernel's reason.
        #[source]
        error: io::Error,
    },
    /// The kernel does not answer.
    #[error("the kernel's connection tracking did not answer within {} s", LIMIT.as_secs())]
    TimedOut,
}

/// A connection to the kernel's connection tracking. Its calls block while the kernel works: some
/// 5 ms for 1,000 connections.
#[derive(Debug)]
pub struct Requests {
    socket: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Requests {
    /// Opens one, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn open() -> Result<Self, ConntrackError> {
        let socket = open().map_err(|error| ConntrackError::Open(error.into()))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; MAX_DATAGRAM].into() })
    }

    /// Calls `found` with each connection whose source is translated.
    ///
    /// # Errors
    /// If the dump is not complete.
    pub fn dump(&mut self, mut found: impl FnMut(Entry)) -> Result<(), ConntrackError> {
        self.list(|attributes| {
            if let Some(entry) = decode::entry(attributes) {
                found(entry);
            }
        })
    }

    /// The same, with what the kernel has counted of each: nothing without `nf_conntrack_acct`.
    ///
    /// # Errors
    /// If the dump is not complete.
    pub fn dump_usage(
        &mut self,
        mut found: impl FnMut(Entry, Option<Usage>),
    ) -> Result<(), ConntrackError> {
        self.list(|attributes| {
            if let Some(entry) = decode::entry(attributes) {
                found(entry, decode::usage(attributes));
            }
        })
    }

    /// Calls `found` with each connection.
    fn list(&mut self, mut found: impl FnMut(&[ConntrackAttribute])) -> Result<(), ConntrackError> {
        let mut out = Vec::new();
        let sequence = self.put(&mut out, Kind::Get, NLM_F_DUMP, |_| ());
        self.send(&out)?;
        loop {
            let mut end = None;
            self.receive(|message| {
                if message.header.sequence_number != sequence {
                    return;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => end = Some(Ok(())),
                    NetlinkPayload::Error(error) => end = Some(Err(error.to_io())),
                    payload => {
                        if let Some(attributes) = attributes_of(payload) {
                            found(&attributes);
                        }
                    }
                }
            })?;
            if let Some(end) = end {
                let refused = |error| ConntrackError::Refused { what: "list connections", error };
                return end.map_err(refused);
            }
        }
    }

    /// Inserts connections, in this order, and returns what became of each.
    ///
    /// # Errors
    /// If the socket fails. Some of the connections may have been inserted.
    pub fn insert(&mut self, entries: &[Entry]) -> Result<Vec<Inserted>, ConntrackError> {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let answers = self.batches(Kind::New, flags, entries.iter(), encode::insertion)?;
        let mut results: Vec<Inserted> =
            answers.iter().map(|answer| result_of(answer.error)).collect();
        // The kernel says the same of the connection itself and of one that is in its way.
        let doubtful: Vec<usize> =
            (0..results.len()).filter(|place| results[*place] == Inserted::PortTaken).collect();
        let asked = doubtful.iter().map(|place| &entries[*place].flow.tuple);
        let answers = self.batches(Kind::Get, 0, asked, encode::named)?;
        for (place, answer) in doubtful.iter().zip(answers) {
            if answer.entry.is_some_and(|found| is_translated_alike(&found, &entries[*place])) {
                results[*place] = Inserted::Exists;
            }
        }
        Ok(results)
    }

    /// Like [`Self::insert`], but removes connections by the same landing addresses that are in the
    /// way, also the same ones. Where the egress IP is not here yet, they are left from the last
    /// time that it was: their ports have been given to others since, or the kernel has not seen
    /// what they have sent and received meanwhile, and would find their packets outside of the TCP
    /// window.
    ///
    /// # Errors
    /// As for [`Self::insert`], [`Self::dump`] and [`Self::remove`].
    pub fn insert_over(&mut self, entries: &[Entry]) -> Result<Vec<Inserted>, ConntrackError> {
        let mut results = self.insert(entries)?;
        let is_stale = |result| matches!(result, Inserted::PortTaken | Inserted::Exists);
        let stale: Vec<usize> =
            (0..results.len()).filter(|place| is_stale(results[*place])).collect();
        let blocked: Vec<Entry> = stale.iter().map(|place| entries[*place]).collect();
        if blocked.is_empty() || self.make_room(&blocked)? == 0 {
            return Ok(results);
        }
        for (place, result) in stale.into_iter().zip(self.insert(&blocked)?) {
            results[place] = result;
        }
        Ok(results)
    }

    /// Removes the connections whose port at their landing address these need, and those of the
    /// same hosts and ports that have another port there. Those of other protocols than TCP are
    /// removed whatever their address: a packet has opened them anew since. Returns how many there
    /// were.
    fn make_room(&mut self, blocked: &[Entry]) -> Result<usize, ConntrackError> {
        let answered = |entry: &Entry| {
            let Tuple { protocol, destination, destination_port, .. } = entry.flow.tuple;
            let port = entry.flow.translated_port;
            (protocol, entry.landing, port, destination, destination_port)
        };
        let ports: HashSet<_> = blocked.iter().map(answered).collect();
        let landing = |entry: &Entry| {
            let is_tcp = entry.flow.tuple.protocol == Protocol::Tcp;
            is_tcp.then_some(entry.landing)
        };
        let tuples: HashSet<(Tuple, Option<Ipv4Addr>)> =
            blocked.iter().map(|entry| (entry.flow.tuple, landing(entry))).collect();
        let mut in_the_way = Vec::new();
        self.dump(|entry| {
            let named = (entry.flow.tuple, landing(&entry));
            if ports.contains(&answered(&entry)) || tuples.contains(&named) {
                in_the_way.push(entry.flow.tuple);
            }
        })?;
        self.remove(&in_the_way)
    }

    /// Removes connections, and returns how many there were.
    ///
    /// # Errors
    /// If the socket fails, or the kernel refuses a removal. Some of the connections may have been
    /// removed.
    pub fn remove(&mut self, tuples: &[Tuple]) -> Result<usize, ConntrackError> {
        let mut removed = 0;
        for answer in self.batches(Kind::Delete, 0, tuples.iter(), encode::named)? {
            removed += usize::from(was_there(answer.error, "remove a connection")?);
        }
        Ok(removed)
    }

    /// Removes the connections whose source is translated to this address, and returns how many
    /// there were.
    ///
    /// # Errors
    /// If the dump is not complete, or as for [`Self::remove`].
    pub fn remove_of(&mut self, landing: Ipv4Addr) -> Result<usize, ConntrackError> {
        let mut tuples = Vec::new();
        self.dump(|entry| {
            if entry.landing == landing {
                tuples.push(entry.flow.tuple);
            }
        })?;
        self.remove(&tuples)
    }

    /// Asks for a connection that no host has.
    ///
    /// # Errors
    /// If the kernel answers no such requests, because it lacks `nf_conntrack_netlink` or this
    /// process the right to ask.
    pub fn probe(&mut self) -> Result<(), ConntrackError> {
        self.find(&NO_CONNECTION).map(drop)
    }

    /// The connection with this tuple, if there is one and its source is translated.
    ///
    /// # Errors
    /// If the socket fails, or the kernel refuses.
    pub fn find(&mut self, tuple: &Tuple) -> Result<Option<Entry>, ConntrackError> {
        let mut found = None;
        for answer in self.batches(Kind::Get, 0, [tuple].into_iter(), encode::named)? {
            was_there(answer.error, "show a connection")?;
            found = answer.entry;
        }
        Ok(found)
    }

    /// Sends a request about each of these, many at once, and returns the kernel's answer to each.
    /// The kernel carries them out in this order, and reports each failure. Only the last one of a
    /// batch asks for an acknowledgement: with one for each, an insertion takes a third longer.
    fn batches<'a, T: 'a>(
        &mut self,
        kind: Kind,
        flags: u16,
        about: impl Iterator<Item = &'a T>,
        attributes: impl Fn(&mut Vec<u8>, &T),
    ) -> Result<Vec<Answer>, ConntrackError> {
        let mut answers = Vec::new();
        let mut about = about.peekable();
        let mut out = Vec::new();
        while about.peek().is_some() {
            out.clear();
            let first = self.sequence.wrapping_add(1);
            let mut count = 0;
            while count < BATCH
                && let Some(one) = about.next()
            {
                count += 1;
                let is_last = count == BATCH || about.peek().is_none();
                let flags = if is_last { NLM_F_ACK } else { 0 } | flags;
                self.put(&mut out, kind, flags, |out| attributes(out, one));
            }
            self.send(&out)?;
            answers.extend(self.answers(first, count)?);
        }
        Ok(answers)
    }

    /// The answers to `count` requests, the first of which has this sequence number. The last one
    /// ends them.
    fn answers(&mut self, first: u32, count: usize) -> Result<Vec<Answer>, ConntrackError> {
        let mut answers: Vec<Answer> =
            std::iter::repeat_with(Answer::default).take(count).collect();
        let mut is_complete = false;
        while !is_complete {
            self.receive(|message| {
                let place = message.header.sequence_number.wrapping_sub(first);
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                let Some(answer) = answers.get_mut(place) else { return };
                match message.payload {
                    NetlinkPayload::Error(error) => {
                        answer.error = errno_of(error.raw_code());
                        is_complete |= place + 1 == count;
                    }
                    payload => answer.entry = entry_of(payload).or(answer.entry),
                }
            })?;
        }
        Ok(answers)
    }

    /// Appends a request, and returns its sequence number.
    fn put(
        &mut self,
        out: &mut Vec<u8>,
        kind: Kind,
        flags: u16,
        attributes: impl FnOnce(&mut Vec<u8>),
    ) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        encode::request(out, kind, NLM_F_REQUEST | flags, self.sequence, attributes);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> Result<(), ConntrackError> {
        let sent = send(self.socket.as_raw_fd(), bytes, MsgFlags::empty());
        sent.map(drop).map_err(|error| ConntrackError::Socket(error.into()))
    }

    /// Waits for a datagram, and calls `each` with its messages.
    fn receive(
        &mut self,
        mut each: impl FnMut(NetlinkMessage<NetfilterMessage>),
    ) -> Result<(), ConntrackError> {
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => break length,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(ConntrackError::TimedOut),
                Err(error) => return Err(ConntrackError::Socket(error.into())),
            }
        };
        let mut rest = self.buffer.get(..length).unwrap_or_default();
        while let Some(size) = rest.first_chunk().map(|head| u32::from_ne_bytes(*head)) {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let Some(bytes) = rest.get(..size).filter(|_| size > 0) else { break };
            if let Ok(message) = NetlinkMessage::deserialize(bytes) {
                each(message);
            }
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The kernel's answer to a request.
#[derive(Debug, Default)]
struct Answer {
    /// The connection that was asked for.
    entry: Option<Entry>,
    /// Why the kernel did not do it.
    error: Option<Errno>,
}

fn is_translated_alike(one: &Entry, other: &Entry) -> bool {
    (one.landing, one.flow.translated_port) == (other.landing, other.flow.translated_port)
}

/// Whether there was such a connection.
fn was_there(error: Option<Errno>, what: &'static str) -> Result<bool, ConntrackError> {
    match error {
        None => Ok(true),
        Some(Errno::ENOENT) => Ok(false),
        Some(errno) => Err(ConntrackError::Refused { what, error: errno.into() }),
    }
}

fn open() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let protocol = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    let limit = TimeVal::new(LIMIT.as_secs().try_into().unwrap_or(i64::MAX), 0);
    setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
    Ok(socket)
}

fn entry_of(payload: NetlinkPayload<NetfilterMessage>) -> Option<Entry> {
    decode::entry(&attributes_of(payload)?)
}

/// What a message says of a connection.
fn attributes_of(payload: NetlinkPayload<NetfilterMessage>) -> Option<Vec<ConntrackAttribute>> {
    let NetlinkPayload::InnerMessage(message) = payload else { return None };
    match message.inner {
        NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) => Some(attributes),
        _ => None,
    }
}

/// An acknowledgement, or a negative error number.
fn errno_of(code: i32) -> Option<Errno> {
    (code != 0).then(|| Errno::from_raw(code.saturating_neg()))
}

fn result_of(error: Option<Errno>) -> Inserted {
    match error {
        None => Inserted::New,
        Some(Errno::EEXIST) => Inserted::PortTaken,
        Some(Errno::ENOMEM | Errno::ENFILE | Errno::ENOSPC) => Inserted::TableFull,
        Some(_) => Inserted::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insertion_that_fails_has_a_reason() {
        for (error, inserted) in [
            (None, Inserted::New),
            (Some(Errno::EEXIST), Inserted::PortTaken),
            (Some(Errno::ENOMEM), Inserted::TableFull),
            (Some(Errno::EBUSY), Inserted::Other),
        ] {
            assert_eq!(result_of(error), inserted);
        }
    }
}
