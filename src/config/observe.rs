//! What follows from other settings: defaults that depend on the groups, and `observe`.

use super::group::{Check, Local, ServiceProbe};
use super::settings::Settings;

/// Sets what nobody has given and what the groups tell. `is_given` tells whether a setting is
/// given.
///
/// Stopping and starting a peer is for NATs, whose clients have no other way out. Whatever else a
/// node serves may be in the middle of writing to its disks, so there somebody has to ask for it.
/// And only a NAT must reach the internet in order to serve.
pub(super) fn fill(settings: &mut Settings, is_given: impl Fn(&str) -> bool) {
    if !is_given("repair.enabled") {
        settings.failover.repair.enabled = settings.moves_default_routes();
    }
    if !is_given("uplink.targets") && !settings.is_nat() {
        settings.uplink.targets.clear();
    }
    if settings.observe {
        follow(settings);
    }
}

/// Makes every group follow its address. Nobody is stopped and nothing goes back by itself: the one
/// that decides is elsewhere.
fn follow(settings: &mut Settings) {
    settings.failover.repair.enabled = false;
    settings.failover.hand_back.enabled = false;
    for group in &mut settings.groups {
        let check = group.check.get_or_insert(Check::of(ServiceProbe::Address));
        check.probe = ServiceProbe::Address;
        group.local = Local::Off;
        group.hand_back = None;
    }
}
