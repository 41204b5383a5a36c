//! Watches how full the kernel's connection tracking table is. Connections above its limit are
//! dropped, and would be on any node that took over the load: this raises an alert and triggers no
//! failover.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::daemon::alerts::Alert;
use crate::kernel::sysctl;
use crate::plan::SysctlKey;

/// Time between two checks, each of which reads two files.
const EVERY: Duration = Duration::from_secs(2);

/// The kernel's counters, one row for each processor. The first row has their names.
const STATISTICS: &str = "/proc/net/stat/nf_conntrack";
/// The column that is no counter of the processor: how many connections there are in all.
const ENTRIES: &str = "entries";

/// Runs for as long as the runtime lives. The alert is raised at `percent` of the limit and cleared
/// below nine tenths of that.
pub(crate) async fn watch(percent: u32, mut alert: Alert) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        // The files are missing while connections are not tracked.
        let (Some(tracked), Some(limit)) =
            (number("nf_conntrack_count"), number("nf_conntrack_max"))
        else {
            continue;
        };
        let text = complaint(tracked, limit, percent, alert.is_raised());
        alert.set(text).await;
    }
}

/// One of the kernel's numbers about connection tracking; none while connections are not tracked.
pub(crate) fn number(name: &str) -> Option<u64> {
    let key = SysctlKey::new(&format!("net/netfilter/{name}"));
    sysctl::read(&key).ok().flatten().map(|reading| reading.value)
}

/// The kernel's counters by name, the sums over all processors; none while connections are not
/// tracked.
pub(crate) fn statistics() -> Option<BTreeMap<String, u64>> {
    sums(&std::fs::read_to_string(STATISTICS).ok()?)
}

fn sums(rows: &str) -> Option<BTreeMap<String, u64>> {
    let mut rows = rows.lines();
    let names: Vec<&str> = rows.next()?.split_whitespace().collect();
    let mut sums = BTreeMap::new();
    for row in rows {
        for (name, number) in names.iter().zip(row.split_whitespace()) {
            let sum: &mut u64 = sums.entry((*name).to_owned()).or_default();
            *sum = sum.saturating_add(u64::from_str_radix(number, 16).ok()?);
        }
    }
    sums.remove(ENTRIES);
    Some(sums)
}

/// The alert's text, if `tracked` is too many. `raised`: whether the alert is raised already.
fn complaint(tracked: u64, limit: u64, percent: u32, raised: bool) -> Option<String> {
    // In thousandths of the limit: nine tenths of the threshold while the alert is raised.
    let threshold = u64::from(percent) * if raised { 9 } else { 10 };
    let full = tracked.saturating_mul(1000) >= limit.saturating_mul(threshold);
    (full && limit > 0).then(|| {
        format!(
            "{tracked} of at most {limit} connections are tracked; new connections above the limit \
             are dropped: raise host.conntrack_max, shorten host.established_timeout, or spread \
             the private subnets over more nodes"
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
    fn counters_of_all_processors_are_added_up() {
        let text = "entries insert insert_failed drop\n00000001 00000000 0000000a 00000001\n\
                    00000001 00000000 00000006 00000000\n";
        let wanted = [("drop", 1), ("insert", 0), ("insert_failed", 16)];
        let wanted = wanted.map(|(name, sum)| (name.to_owned(), sum));
        assert_eq!(sums(text), Some(BTreeMap::from(wanted)));
        assert_eq!(sums("entries insert\n00000001 what\n"), None);
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
