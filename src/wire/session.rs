//! Replay detection: one session per peer with an increasing sequence. Pure.
//!
//! A tag proves that a member made the packet at some time, but not when. Within a session the
//! increasing sequence shows that a packet is new. A new session needs a handshake. Without one, an
//! attacker could replay old packets to a monitor that has just started and knows no sequence yet:
//!
//! ```text
//!   A (session a, just started)                     B (session b)
//!   beat: session a, hears no peer       ──────▶    a is new and does not acknowledge b:
//!                                                   remembered as a candidate, otherwise ignored
//!   b is new and acknowledges a:         ◀──────    beat: session b, hears A in session a
//!   confirmed, accepted
//!   beat: session a, hears B in b        ──────▶    a now acknowledges b: confirmed, accepted
//! ```
//!
//! A session is accepted only after it has acknowledged the random session number of this run of
//! the monitor, which no earlier packet can contain. While a candidate waits, the confirmed session
//! stays valid, so a replay changes only a counter and adds one line to the reply.
//!
//! Of two sessions that have both acknowledged this run, the one confirmed later replaces the
//! other. This goes wrong in one case: a packet of an earlier session was delayed in the network
//! and arrives only now. It must not make this node ignore the current session, because the peer
//! would then be considered dead. A replaced session therefore returns once it continues: with two
//! packets in a row that are newer than all its earlier ones.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Packet, Rejected};
use crate::types::{Beat, Hears, InstanceId, SessionId, Time};

/// Maximum candidates per peer. A new one replaces the one heard least recently.
const MAX_CANDIDATES: usize = 4;

/// How long a candidate is acknowledged after it was last heard.
const CANDIDATE_LIFE: Duration = Duration::from_secs(10);

/// Maximum replaced sessions remembered per peer. To replay an older one, an attacker would need
/// this many restarts of the peer within one run of this monitor.
const MAX_RETIRED: usize = 1024;

/// The sessions of all peers.
#[derive(Debug, Clone)]
pub struct Sessions {
    me: InstanceId,
    session: SessionId,
    peers: BTreeMap<InstanceId, PeerSessions>,
}

#[derive(Debug, Clone, Default)]
struct PeerSessions {
    confirmed: Option<Confirmed>,
    candidates: Vec<Candidate>,
    retired: VecDeque<Confirmed>,
    /// The session of the last packet, if it was a new packet of a replaced session.
    returning: Option<SessionId>,
}

#[derive(Debug, Clone)]
struct Confirmed {
    session: SessionId,
    highest: u64,
}

#[derive(Debug, Clone)]
struct Candidate {
    session: SessionId,
    highest: u64,
    heard: Time,
}

impl Sessions {
    /// For node `me`, whose monitor runs as `session`.
    #[must_use]
    pub fn new(me: InstanceId, session: SessionId) -> Self {
        Self { me, session, peers: BTreeMap::new() }
    }

    /// Forgets nodes that are no longer members.
    pub fn retain(&mut self, is_member: impl Fn(&InstanceId) -> bool) {
        self.peers.retain(|id, _| is_member(id));
    }

    /// Checks an authentic packet of a member that the kernel received at `at`.
    ///
    /// Also removes from the beat the lines about earlier sessions of this node, so that the
    /// remaining one is about this run of the monitor.
    ///
    /// # Errors
    /// [`Rejected::Myself`], [`Rejected::Replayed`] or [`Rejected::Unconfirmed`].
    pub fn accept(&mut self, packet: &mut Packet, at: Time) -> Result<(), Rejected> {
        if packet.from == self.me {
            return Err(Rejected::Myself);
        }
        let acknowledged = self.take_acknowledgement(&mut packet.beat);
        self.peers.entry(packet.from.clone()).or_default().accept(packet, acknowledged, at)
    }

    /// Whether a sequence number of this session is new; `None` if this is not the confirmed
    /// session of any peer.
    pub(super) fn is_new(&self, session: SessionId, sequence: u64) -> Option<bool> {
        let mut confirmed = self.peers.values().filter_map(|peer| peer.confirmed.as_ref());
        let known = confirmed.find(|one| one.session == session);
        known.map(|one| sequence > one.highest)
    }

    /// Adds to a beat for `to` an acknowledgement of each of that peer's candidate sessions.
    pub fn acknowledge(&mut self, to: &InstanceId, beat: &mut Beat, now: Time) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        peer.candidates.retain(|one| now.since(one.heard) <= CANDIDATE_LIFE);
        beat.hears.extend(peer.candidates.iter().map(|one| Hears {
            node: to.clone(),
            session: one.session,
            age_ms: u16::try_from(now.since(one.heard).as_millis()).unwrap_or(u16::MAX),
            failed: false,
            stopped: false,
        }));
    }

    /// Removes the lines about other sessions of this node. Returns whether a line about the
    /// current session remains; there is never more than one.
    fn take_acknowledgement(&self, beat: &mut Beat) -> bool {
        let mut found = false;
        beat.hears.retain(|one| {
            if one.node != self.me {
                return true;
            }
            let current = one.session == self.session && !found;
            found |= current;
            current
        });
        found
    }
}

impl PeerSessions {
    fn accept(&mut self, packet: &Packet, acknowledged: bool, at: Time) -> Result<(), Rejected> {
        if let Some(confirmed) = &mut self.confirmed
            && confirmed.session == packet.session
        {
            if packet.sequence <= confirmed.highest {
                return Err(Rejected::Replayed);
            }
            confirmed.highest = packet.sequence;
            self.returning = None;
            return Ok(());
        }
        if let Some(place) = self.retired.iter().position(|one| one.session == packet.session) {
            return self.go_on(place, packet, acknowledged);
        }
        if acknowledged { self.confirm(packet) } else { self.remember(packet, at) }
    }

    /// Checks a packet of the replaced session at index `place`.
    fn go_on(&mut self, place: usize, packet: &Packet, acknowledged: bool) -> Result<(), Rejected> {
        let old = self.retired.get_mut(place).filter(|old| packet.sequence > old.highest);
        let Some(old) = old.filter(|_| acknowledged) else { return Err(Rejected::Replayed) };
        old.highest = packet.sequence;
        if self.returning.replace(packet.session) != Some(packet.session) {
            return Err(Rejected::Replayed);
        }
        self.returning = None;
        self.retired.remove(place);
        self.confirm(packet)
    }

    fn confirm(&mut self, packet: &Packet) -> Result<(), Rejected> {
        let candidate = self.candidates.iter().find(|one| one.session == packet.session);
        if candidate.is_some_and(|one| packet.sequence <= one.highest) {
            return Err(Rejected::Replayed);
        }
        let replaced =
            self.confirmed.replace(Confirmed { session: packet.session, highest: packet.sequence });
        if let Some(old) = replaced {
            if self.retired.len() == MAX_RETIRED {
                self.retired.pop_front();
            }
            self.retired.push_back(old);
        }
        self.candidates.retain(|one| one.session != packet.session);
        Ok(())
    }

    fn remember(&mut self, packet: &Packet, at: Time) -> Result<(), Rejected> {
        if let Some(known) = self.candidates.iter_mut().find(|one| one.session == packet.session) {
            if packet.sequence <= known.highest {
                return Err(Rejected::Replayed);
            }
            known.highest = packet.sequence;
            known.heard = at;
            return Err(Rejected::Unconfirmed);
        }
        if self.candidates.len() == MAX_CANDIDATES {
            self.candidates.sort_by_key(|one| one.heard);
            self.candidates.remove(0);
        }
        self.candidates.push(Candidate {
            session: packet.session,
            highest: packet.sequence,
            heard: at,
        });
        Err(Rejected::Unconfirmed)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
