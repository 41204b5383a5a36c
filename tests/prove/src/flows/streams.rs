//! The streams between owners and heirs: TCP on a network that stalls, breaks, and is attacked.

use std::collections::VecDeque;
use std::time::Duration;

use natha::flows::{Channel, Hello, Nonce, Receiver, Role, Sender, StreamFault};
use natha::types::Time;

use crate::sim::{Noise, id};

use super::world::{Pair, World};

/// Octets that are made at once for the socket, and that may be under way.
const ROOM: usize = 64 << 10;
/// A stream without an answer, or without a frame, for so long is closed.
const SILENCE: Duration = Duration::from_secs(15);
/// The shortest and the longest pause before an owner calls again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(4));
/// Frames of a stream that an attacker has recorded.
const RECORDED: usize = 16;
/// The cluster's name, as a digest.
const CLUSTER: u64 = 7;

/// One direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// When each piece arrives.
    pieces: VecDeque<(Duration, Vec<u8>)>,
    /// Whole frames that were sent before.
    recorded: VecDeque<Vec<u8>>,
}

impl Pipe {
    fn octets(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Sends whole frames. They arrive in two pieces, after all that was sent before.
    fn send(&mut self, frames: Vec<u8>, now: Duration, latency: Duration, noise: &mut Noise) {
        if frames.is_empty() {
            return;
        }
        let cut = usize::try_from(noise.draw()).unwrap_or_default() % frames.len();
        let (first, second) = frames.split_at(cut);
        for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
            let arrives = now + noise.up_to(latency);
            let last = self.pieces.back().map_or(Duration::ZERO, |(at, _)| *at);
            self.pieces.push_back((arrives.max(last), piece.to_vec()));
        }
        self.recorded.push_back(frames);
        if self.recorded.len() > RECORDED {
            self.recorded.pop_front();
        }
    }

    fn receive(&mut self, now: Duration) -> Option<Vec<u8>> {
        let (at, _) = self.pieces.front()?;
        if *at > now {
            return None;
        }
        self.pieces.pop_front().map(|(_, piece)| piece)
    }

    /// Changes a bit of what is under way. Says whether there was anything.
    pub(super) fn damage(&mut self, noise: &mut Noise) -> bool {
        let which = usize::try_from(noise.draw()).unwrap_or_default();
        let Some(place) = which.checked_rem(self.pieces.len()) else { return false };
        let (_, piece) = &mut self.pieces[place];
        let octet = which % piece.len();
        piece[octet] ^= 1 << noise.below(8);
        true
    }

    /// Frames of before arrive once more. Says whether there were any.
    pub(super) fn replay(&mut self, now: Duration, noise: &mut Noise) -> bool {
        let which = usize::try_from(noise.draw()).unwrap_or_default();
        let Some(place) = which.checked_rem(self.recorded.len()) else { return false };
        let last = self.pieces.back().map_or(now, |(at, _)| *at);
        self.pieces.push_back((last, self.recorded[place].clone()));
        true
    }
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) to_heir: Pipe,
    pub(super) to_owner: Pipe,
    /// When it was opened, by the clocks of the owner and of the heir.
    opened: (Time, Time),
    /// The owner's monitor, or its host, has ended.
    pub(super) is_orphaned: bool,
    /// A bit was changed: a frame may be longer for the receiver than for the sender, and the
    /// receiver waits for the rest.
    pub(super) is_damaged: bool,
}

/// Which end of a stream has found a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Owner,
    Heir,
}

impl World {
    /// Every owner with each of its heirs.
    pub(super) fn pairs(&self) -> Vec<Pair> {
        let all = 0..self.nodes.len();
        let of = |owner: usize| all.clone().filter(move |heir| *heir != owner);
        all.clone().flat_map(|owner| of(owner).map(move |heir| (owner, heir))).collect()
    }

    /// One turn of both ends of a stream.
    pub(super) fn turn_stream(&mut self, pair: Pair) {
        if self.streams.get(&pair).is_none_or(|stream| stream.is_orphaned) {
            self.call(pair);
        }
        self.send(pair);
        self.arrive_at_heir(pair);
        self.arrive_at_owner(pair);
        self.end_silent(pair);
    }

    /// The owner calls the heir, if it is time for that and both can be reached.
    fn call(&mut self, pair: Pair) {
        let (owner, heir) = pair;
        let is_time = self.calls.get(&pair).is_none_or(|at| *at <= self.now);
        let is_open = !self.is_stalled(owner, heir) && !self.is_stalled(heir, owner);
        if !is_time || !is_open || !self.nodes[owner].runs() || !self.nodes[heir].runs() {
            return;
        }
        let sending = self.channel(owner, Role::Owner, heir);
        let receiving = self.channel(heir, Role::Heir, owner);
        let opened = (self.clock(owner), self.clock(heir));
        if let Some(monitor) = &mut self.nodes[owner].monitor
            && let Some(sender) = monitor.senders.get_mut(&heir)
        {
            sender.open(sending, opened.0);
        }
        if let Some(monitor) = &mut self.nodes[heir].monitor {
            monitor.receivers.insert(owner, Receiver::new(receiving));
        }
        let (to_heir, to_owner) = (Pipe::default(), Pipe::default());
        let stream = Stream { to_heir, to_owner, opened, is_orphaned: false, is_damaged: false };
        self.streams.insert(pair, stream);
    }

    fn channel(&mut self, n: usize, role: Role, peer: usize) -> Channel {
        let mut nonce = [0; Nonce::LEN];
        let (first, second) = nonce.split_at_mut(8);
        first.copy_from_slice(&self.noise.draw().to_be_bytes());
        second.copy_from_slice(&self.noise.draw().to_be_bytes());
        let node = &self.nodes[n];
        let hello = Hello {
            role,
            node: id(n),
            boot: node.boot_id(),
            cluster: CLUSTER,
            settings: node.settings,
            nonce: Nonce(nonce),
        };
        Channel::new(hello, Some(id(peer)), node.keys())
    }

    /// Both ends send what they have.
    fn send(&mut self, pair: Pair) {
        let (owner, heir) = pair;
        let clock = self.clock(owner);
        let Self { streams, nodes, noise, now, latency, .. } = self;
        let Some(stream) = streams.get_mut(&pair) else { return };
        if !stream.is_orphaned
            && stream.to_heir.octets() < ROOM
            && let Some(monitor) = &mut nodes[owner].monitor
            && let Some(sender) = monitor.senders.get_mut(&heir)
        {
            stream.to_heir.send(sender.output(clock, ROOM), *now, *latency, noise);
        }
        if let Some(monitor) = &mut nodes[heir].monitor
            && let Some(receiver) = monitor.receivers.get_mut(&owner)
        {
            stream.to_owner.send(receiver.output(), *now, *latency, noise);
        }
    }

    fn arrive_at_heir(&mut self, pair: Pair) {
        let (owner, heir) = pair;
        let now = self.clock(heir);
        while !self.is_stalled(owner, heir) {
            let Some(stream) = self.streams.get_mut(&pair) else { return };
            let Some(bytes) = stream.to_heir.receive(self.now) else {
                if stream.is_orphaned && stream.to_heir.is_empty() {
                    self.close(pair);
                }
                return;
            };
            let monitor = self.nodes[heir].monitor.as_mut();
            let Some(monitor) = monitor.filter(|one| one.receivers.contains_key(&owner)) else {
                return self.close(pair);
            };
            if let Err(fault) = monitor.take(owner, &bytes, now) {
                return self.end(pair, End::Heir, fault);
            }
            self.judge_taken(pair);
        }
    }

    fn arrive_at_owner(&mut self, pair: Pair) {
        let (owner, heir) = pair;
        let now = self.clock(owner);
        while !self.is_stalled(heir, owner) {
            let Some(stream) = self.streams.get_mut(&pair) else { return };
            let Some(bytes) = stream.to_owner.receive(self.now) else { return };
            let is_orphaned = stream.is_orphaned;
            let sender = self.nodes[owner].monitor.as_mut();
            let sender = sender.and_then(|monitor| monitor.senders.get_mut(&heir));
            let Some(sender) = sender.filter(|_| !is_orphaned) else { return };
            if let Err(fault) = sender.receive(&bytes, now) {
                return self.end(pair, End::Owner, fault);
            }
        }
    }

    /// One end has found a fault: it says why it refuses the other, and closes the stream.
    fn end(&mut self, pair: Pair, end: End, fault: StreamFault) {
        let (owner, heir) = pair;
        *self.tried.faults.entry(format!("{fault:?}")).or_default() += 1;
        let (at_owner, at_heir) = (self.clock(owner), self.clock(heir));
        if end == End::Heir {
            let monitor = self.nodes[heir].monitor.as_mut();
            let receiver = monitor.and_then(|monitor| monitor.receivers.get_mut(&owner));
            let said = receiver.and_then(Receiver::refusal).unwrap_or_default();
            if let Some(monitor) = &mut self.nodes[owner].monitor
                && let Some(sender) = monitor.senders.get_mut(&heir)
            {
                // Whatever it makes of that, the stream ends.
                let _ = sender.receive(&said, at_owner);
            }
        } else {
            let monitor = self.nodes[owner].monitor.as_mut();
            let sender = monitor.and_then(|monitor| monitor.senders.get_mut(&heir));
            let said = sender.and_then(Sender::refusal).unwrap_or_default();
            if let Some(monitor) = &mut self.nodes[heir].monitor {
                let _ = monitor.take(owner, &said, at_heir);
            }
        }
        self.close(pair);
    }

    /// Both ends are closed, and the owner calls again after a pause.
    pub(super) fn close(&mut self, pair: Pair) {
        let (owner, heir) = pair;
        let Some(stream) = self.streams.remove(&pair) else { return };
        if let Some(monitor) = &mut self.nodes[owner].monitor
            && let Some(sender) = monitor.senders.get_mut(&heir)
            && !stream.is_orphaned
        {
            sender.close();
        }
        if let Some(monitor) = &mut self.nodes[heir].monitor {
            monitor.close(owner);
        }
        let pause = RETRY.0 + self.noise.up_to(RETRY.1.saturating_sub(RETRY.0));
        self.calls.insert(pair, self.now + pause);
    }

    /// An end that has heard nothing for long closes the stream.
    fn end_silent(&mut self, pair: Pair) {
        let (owner, heir) = pair;
        let Some(stream) = self.streams.get(&pair) else { return };
        let (called, taken) = stream.opened;
        let is_silent = |now: Time, heard: Option<Time>, opened: Time| {
            now.since(heard.unwrap_or(opened).max(opened)) > SILENCE
        };
        let sender = self.nodes[owner].monitor.as_ref();
        let sender = sender.and_then(|monitor| monitor.senders.get(&heir));
        let answered = sender.and_then(|sender| Some(sender.progress()?.heard));
        let receiver = self.nodes[heir].monitor.as_ref();
        let receiver = receiver.and_then(|monitor| monitor.receivers.get(&owner));
        let heard = receiver.and_then(Receiver::heard);
        let is_unanswered = !stream.is_orphaned && is_silent(self.clock(owner), answered, called);
        if is_unanswered || is_silent(self.clock(heir), heard, taken) {
            self.close(pair);
        }
    }
}
