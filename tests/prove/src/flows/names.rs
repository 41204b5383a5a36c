//! Who is who: nodes and egress IPs go by number.

use std::net::Ipv4Addr;

use natha::types::EgressId;

use crate::sim::allocation;

/// How many egress IPs there are.
pub(super) const EGRESS_IPS: usize = 2;

fn byte(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

/// The id of egress IP `e`.
pub(super) fn egress(e: usize) -> EgressId {
    EgressId::from(&allocation(e))
}

/// The number of an egress IP.
pub(super) fn number(id: EgressId) -> Option<usize> {
    (0..EGRESS_IPS).find(|e| egress(*e) == id)
}

/// The landing address of node `n` for egress IP `e`.
pub(super) fn landing(n: usize, e: usize) -> Ipv4Addr {
    [10, 0, byte(1 + n), byte(10 + e)].into()
}

/// The primary address of node `n`.
pub(super) fn primary(n: usize) -> Ipv4Addr {
    [10, 0, byte(1 + n), 4].into()
}

/// One of the private hosts that egress IP `e` is for.
pub(super) fn host(e: usize, which: u64) -> Ipv4Addr {
    [10, 1, byte(e), u8::try_from(which).unwrap_or(u8::MAX)].into()
}

/// Whether egress IP `e` is for this address.
pub(super) fn is_host_of(e: usize, address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    [a, b, c] == [10, 1, byte(e)]
}
