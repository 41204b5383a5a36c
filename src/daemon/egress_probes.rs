//! The probes by egress IPs: echo requests from their landing addresses.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::peers::{EchoMark, PeerSocket};
use crate::failover::EgressIp;
use crate::types::Time;

/// Replies read in one round.
const MAX_DRAIN: usize = 64;

/// An egress IP that EC2 shows here and that no probe has proven yet.
pub(super) struct Coming {
    pub(super) ip: EgressIp,
    pub(super) since: Time,
    /// None until its landing address is on this host.
    pub(super) socket: Option<PeerSocket>,
}

/// Echo requests by landing addresses.
pub(super) struct Probes {
    pub(super) targets: Vec<Ipv4Addr>,
    pub(super) mark: EchoMark,
    pub(super) sequence: u16,
}

impl Probes {
    pub(super) fn ask(&self, socket: &PeerSocket) {
        let request = self.mark.request(self.sequence);
        for target in &self.targets {
            // A request that cannot be sent gets no reply, which is what counts.
            let _ = socket.send(&request, SocketAddrV4::new(*target, 0));
        }
    }

    pub(super) fn is_answered(&self, socket: &mut PeerSocket, now: Time) -> bool {
        let mut answered = false;
        socket.drain(now, MAX_DRAIN, |datagram| {
            let asked = self.targets.contains(datagram.from.ip());
            answered |= asked && self.mark.is_reply(datagram.bytes);
        });
        answered
    }
}
