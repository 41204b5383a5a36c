//! Whether this process may change the network.

use std::fs;

/// `CAP_NET_ADMIN`, by its number in `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;

/// Whether this process has `CAP_NET_ADMIN`. True if that cannot be read: a change that is not
/// allowed then fails.
#[must_use]
pub(crate) fn may_change_the_network() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return true };
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    effective.is_none_or(|mask| mask >> CAP_NET_ADMIN & 1 == 1)
}
