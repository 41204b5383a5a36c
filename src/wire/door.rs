//! The way of a datagram from the network to the decision core: packet, address and session.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{Encoded, Packet, Rejected, Sender, Sessions};
use crate::types::{Beat, InstanceId, Time};

/// Tags checked in one turn of packets that belong to no session in force: enough for every peer
/// to begin one, and little enough that a flood of forged packets costs next to nothing.
const TAGS_A_TURN: u32 = 64;

/// Lets in what counts, and says why the rest does not.
#[derive(Debug, Clone)]
pub struct Door {
    me: InstanceId,
    sender: Sender,
    sessions: Sessions,
    members: BTreeMap<InstanceId, Ipv4Addr>,
    tags_left: u32,
}

impl Door {
    /// For node `me`, which knows no peer yet.
    #[must_use]
    pub fn new(me: InstanceId, sender: Sender) -> Self {
        let sessions = Sessions::new(me.clone(), sender.session());
        Self { me, sender, sessions, members: BTreeMap::new(), tags_left: TAGS_A_TURN }
    }

    /// Takes over who the peers are and where; `me` among them is left out.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = (InstanceId, Ipv4Addr)>) {
        self.members = members.into_iter().filter(|(id, _)| *id != self.me).collect();
        self.sessions.retain(|id| self.members.contains_key(id));
    }

    /// Where a peer is.
    #[must_use]
    pub fn address(&self, peer: &InstanceId) -> Option<Ipv4Addr> {
        self.members.get(peer).copied()
    }

    /// The peer at this address.
    #[must_use]
    pub fn peer_at(&self, address: Ipv4Addr) -> Option<&InstanceId> {
        self.members.iter().find(|(_, at)| **at == address).map(|(id, _)| id)
    }

    /// The next packet for a peer, at `now`. None if it is no member.
    pub fn next_packet(
        &mut self,
        to: &InstanceId,
        mut beat: Beat,
        now: Time,
    ) -> Option<(Encoded, Ipv4Addr)> {
        let address = self.address(to)?;
        self.sessions.acknowledge(to, &mut beat, now);
        Some((self.sender.encode(&beat), address))
    }

    /// A new turn begins: packets of unknown sessions are looked at again.
    pub fn begin_turn(&mut self) {
        self.tags_left = TAGS_A_TURN;
    }

    /// Judges a datagram that came from this address and that the kernel received at `at`.
    ///
    /// # Errors
    /// Says which check failed first.
    pub fn admit(&mut self, datagram: &[u8], from: Ipv4Addr, at: Time) -> Result<Packet, Rejected> {
        let (sessions, tags_left) = (&self.sessions, &mut self.tags_left);
        let mut packet = self.sender.decode_if(datagram, |session, sequence| {
            match sessions.is_new(session, sequence) {
                Some(true) => Ok(()),
                Some(false) => Err(Rejected::Replayed),
                None if *tags_left == 0 => Err(Rejected::Unchecked),
                None => {
                    *tags_left -= 1;
                    Ok(())
                }
            }
        })?;
        let member = self.members.get(&packet.from);
        if !self.sender.authenticates() && member.is_some_and(|address| *address != from) {
            return Err(Rejected::WrongAddress);
        }
        if packet.from == self.me {
            return Err(Rejected::Myself);
        }
        if member.is_none() {
            return Err(Rejected::UnknownSender);
        }
        self.sessions.accept(&mut packet, at)?;
        Ok(packet)
    }
}

#[cfg(test)]
#[path = "door_tests.rs"]
mod tests;
