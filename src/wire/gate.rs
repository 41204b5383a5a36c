//! Admission of received datagrams: checks the packet, its source address and its session.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{Encoded, Packet, Rejected, Sender, Sessions};
use crate::types::{Beat, InstanceId, Time};

/// Maximum tags checked per turn of the loop for packets outside the confirmed sessions. Enough for
/// every peer to start a session, and few enough that a flood of forged packets costs almost no
/// CPU.
const TAGS_A_TURN: u32 = 64;

/// Nodes that are not members and that are remembered until they are asked for: as many as a
/// cluster has members, however many ids a flood of packets names.
const MAX_STRANGERS: usize = 16;

/// Admits valid packets of members, and gives the reason for rejecting others.
#[derive(Debug, Clone)]
pub struct PacketGate {
    me: InstanceId,
    sender: Sender,
    sessions: Sessions,
    members: BTreeMap<InstanceId, Ipv4Addr>,
    /// Senders of valid packets that are not members.
    strangers: BTreeSet<InstanceId>,
    tags_left: u32,
}

impl PacketGate {
    /// A gate for node `me`, without members yet.
    #[must_use]
    pub fn new(me: InstanceId, sender: Sender) -> Self {
        let sessions = Sessions::new(me.clone(), sender.session());
        let (members, strangers) = (BTreeMap::new(), BTreeSet::new());
        Self { me, sender, sessions, members, strangers, tags_left: TAGS_A_TURN }
    }

    /// Replaces the members and their addresses. Ignores `me`, and forgets the sessions of nodes
    /// that are no longer members.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = (InstanceId, Ipv4Addr)>) {
        self.members = members.into_iter().filter(|(id, _)| *id != self.me).collect();
        self.sessions.retain(|id| self.members.contains_key(id));
    }

    /// The address of a peer.
    #[must_use]
    pub fn address(&self, peer: &InstanceId) -> Option<Ipv4Addr> {
        self.members.get(peer).copied()
    }

    /// The peer with this address.
    #[must_use]
    pub fn peer_at(&self, address: Ipv4Addr) -> Option<&InstanceId> {
        self.members.iter().find(|(_, at)| **at == address).map(|(id, _)| id)
    }

    /// Encodes the next packet for a peer; `None` if it is not a member.
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

    /// The nodes whose valid packets were rejected since the last call because they are not
    /// members: the list of members may be incomplete. At most 16. In a cluster without a key,
    /// anyone can make this name a node.
    pub fn take_strangers(&mut self) -> BTreeSet<InstanceId> {
        std::mem::take(&mut self.strangers)
    }

    /// Starts a new turn of the loop, which resets the limit on tag checks.
    pub fn begin_turn(&mut self) {
        self.tags_left = TAGS_A_TURN;
    }

    /// Checks a datagram from this address that the kernel received at `at`.
    ///
    /// # Errors
    /// The first check that failed.
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
            if self.strangers.len() < MAX_STRANGERS {
                self.strangers.insert(packet.from);
            }
            return Err(Rejected::UnknownSender);
        }
        self.sessions.accept(&mut packet, at)?;
        Ok(packet)
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
