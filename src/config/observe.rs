//! Settings that follow from others: defaults that depend on the groups, and `observe`.

use super::group::{ServiceCheck, ServiceProbe};
use super::group_modes::Local;
use super::settings::Settings;

/// Sets defaults that depend on the groups, unless `is_given` says that the setting is given.
///
/// By default natha stops and starts peers only if they are NATs, whose clients have no other way
/// out. Other nodes may be in the middle of writing to their disks, so the operator must enable it.
/// And only a NAT needs the internet in order to serve.
pub(super) fn fill(settings: &mut Settings, is_given: impl Fn(&str) -> bool) {
    if !is_given("repair.enabled") {
        settings.timing.repair.enabled = settings.moves_default_routes();
    }
    if !is_given("uplink.targets") && !settings.is_nat() {
        settings.uplink.targets.clear();
    }
    if settings.observe {
        follow(settings);
    }
}

/// Makes every group follow its address. No peer is stopped and no group is handed back: other
/// software decides.
fn follow(settings: &mut Settings) {
    settings.timing.repair.enabled = false;
    settings.timing.hand_back.enabled = false;
    for group in &mut settings.groups {
        let check = group.check.get_or_insert(ServiceCheck::of(ServiceProbe::Address));
        check.probe = ServiceProbe::Address;
        group.local = Local::Off;
        group.hand_back = None;
    }
}
