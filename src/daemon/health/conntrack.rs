//! Watches how full the kernel's table of tracked connections is. What comes beyond its limit is
//! dropped, on any node that would take the load over as well: so this alerts and moves nothing.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::daemon::alerts::Alert;
use crate::kernel::sysctl;
use crate::plan::SysctlKey;

/// Time between two looks: two reads of a file each.
const EVERY: Duration = Duration::from_secs(2);

/// Looks for as long as the runtime lives. From `percent` of the limit on the alert stands, until
/// a tenth of that is free again.
pub(crate) async fn watch(percent: u32, mut alert: Alert) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        // Where connections are not tracked there is nothing to fill.
        let (Some(tracked), Some(limit)) =
            (number("nf_conntrack_count"), number("nf_conntrack_max"))
        else {
            continue;
        };
        let text = complaint(tracked, limit, percent, alert.stands());
        alert.set(text).await;
    }
}

fn number(name: &str) -> Option<u64> {
    let key = SysctlKey::new(&format!("net/netfilter/{name}"));
    sysctl::read(&key).ok().flatten().map(|reading| reading.value)
}

/// What is wrong with so many tracked connections, where the alert stands already or does not.
fn complaint(tracked: u64, limit: u64, percent: u32, stands: bool) -> Option<String> {
    // In thousandths of the limit: nine tenths of the threshold while the alert stands.
    let threshold = u64::from(percent) * if stands { 9 } else { 10 };
    let full = tracked.saturating_mul(1000) >= limit.saturating_mul(threshold);
    (full && limit > 0).then(|| {
        format!(
            "{tracked} of at most {limit} connections are tracked: what comes beyond that is \
             dropped; raise host.conntrack_max, shorten host.established_timeout, or spread the \
             private subnets over more nodes"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alert_begins_at_the_threshold_and_ends_well_below_it() {
        for (tracked, stands, wanted) in
            [(899, false, false), (900, false, true), (811, true, true), (809, true, false)]
        {
            assert_eq!(complaint(tracked, 1000, 90, stands).is_some(), wanted, "{tracked}");
        }
    }

    #[test]
    fn a_table_without_a_limit_is_never_full() {
        assert_eq!(complaint(5, 0, 90, false), None);
    }

    #[test]
    fn the_text_tells_both_numbers_and_what_to_do() {
        let text = complaint(950, 1000, 90, false).unwrap();
        assert!(text.starts_with("950 of at most 1000") && text.contains("host.conntrack_max"));
    }
}
