//! Every figure that can be measured: its name with its unit, what it means, and its budget.

use std::collections::BTreeMap;
use std::fmt;

use super::survival;

/// What was measured, by name.
pub(super) type Figures = BTreeMap<&'static str, f64>;

/// A figure that can be measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    /// Its dotted name; the unit, or what is counted, is in it.
    pub(super) name: &'static str,
    /// What it means, for the table.
    pub(super) meaning: &'static str,
    /// What was promised; none where nothing was.
    pub(super) budget: Option<Budget>,
}

/// What was promised of a figure.
#[derive(Debug, Clone, Copy)]
pub(super) enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    /// Whether a value keeps it.
    pub(super) fn allows(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(to, "≤ {most}"),
            Self::AtLeast(least) => write!(to, "≥ {least}"),
        }
    }
}

const fn free(name: &'static str, meaning: &'static str) -> Figure {
    Figure { name, meaning, budget: None }
}

const fn within(name: &'static str, budget: f64, meaning: &'static str) -> Figure {
    Figure { name, meaning, budget: Some(Budget::AtMost(budget)) }
}

const fn at_least(name: &'static str, budget: f64, meaning: &'static str) -> Figure {
    Figure { name, meaning, budget: Some(Budget::AtLeast(budget)) }
}

/// All of them but those of [`survival`], which have a table of their own, in the order of the
/// table.
pub(super) const ALL: [Figure; 133] = [
    within(
        "hard_kill.api50.outage_ms.median",
        600.0,
        "kernel panic, API calls of 50 ms: a private host's outage",
    ),
    within("hard_kill.api50.outage_ms.max", 1000.0, "the worst of them"),
    free(
        "hard_kill.api300_prop1000.outage_ms.median",
        "the same with API calls of 300 ms, and 1 s from a route's change to its effect",
    ),
    free("hard_kill.api300_prop1000.outage_ms.max", "the worst of them"),
    free(
        "hard_kill.api300_prop1000_eip3000.outage_ms.median",
        "likewise with an egress IP, 3 s from its move to its effect, and replication: the outage \
         of pings, which are one connection and wait for the egress IP",
    ),
    free("hard_kill.api300_prop1000_eip3000.outage_ms.max", "the worst of them"),
    free(
        "hard_kill.api300_prop1000_eip3000.new_outage_ms.median",
        "the outage of new connections, which leave by the survivor's own address meanwhile",
    ),
    free("hard_kill.api300_prop1000_eip3000.new_outage_ms.max", "the worst of them"),
    free(
        "yardstick.api50.outage_ms.median",
        "kernel panic, API calls of 50 ms, under the 2013 algorithm",
    ),
    free("yardstick.api50.outage_ms.max", "the worst of them"),
    free(
        "hard_kill.ratio_to_yardstick",
        "natha's median outage divided by the 2013 algorithm's, API calls of 50 ms",
    ),
    free("frozen.outage_ms.median", "a node that stands still for 20 s: a private host's outage"),
    free("frozen.outage_ms.max", "the worst of them"),
    within(
        "frozen.writes_before_reread",
        0.0,
        "changes that a node made after it was thawed and before it had read the routes again",
    ),
    free("uplink_lost.outage_ms.median", "a node that loses its uplink: a private host's outage"),
    free("uplink_lost.outage_ms.max", "the worst of them"),
    within(
        "flush.outage_ms.median",
        1000.0,
        "`nft flush ruleset` on a NAT: a private host's outage",
    ),
    free("flush.outage_ms.max", "the worst of them"),
    within(
        "foreign_drop.outage_ms.median",
        2000.0,
        "another program's table that drops what a NAT forwards: a private host's outage",
    ),
    free("foreign_drop.outage_ms.max", "the worst of them"),
    within(
        "conntrack_full.outage_ms.median",
        2500.0,
        "a NAT's connection table that is full: the outage of new connections",
    ),
    free("conntrack_full.outage_ms.max", "the worst of them"),
    within("restart.moves", 0.0, "both monitors restarted, one after the other: changes of routes"),
    within("upgrade.moves", 0.0, "likewise, the program replaced before"),
    within(
        "shared_blip.moves",
        0.0,
        "six times both nodes lose their uplink for 3 s: changes of routes",
    ),
    free(
        "boot_without_api.s_to_forwarding",
        "both nodes boot while calls to EC2 hang: from the boot to the first packet forwarded",
    ),
    within(
        "daemon_killed.pings_lost",
        0.0,
        "the monitor killed, its routes taken after the grace, the monitor back",
    ),
    within("daemon_killed.stops", 0.0, "instances stopped meanwhile"),
    within("icmp_blocked.natha.stops", 0.0, "ICMP blocked between two healthy nodes: stops"),
    within("icmp_blocked.natha.pings_lost", 0.0, "pings of both private hosts lost meanwhile"),
    free("icmp_blocked.yardstick.stops", "ICMP blocked, under the 2013 algorithm: stops"),
    free("icmp_blocked.yardstick.pings_lost", "pings of both private hosts lost meanwhile"),
    within("heartbeat_blocked.natha.stops", 0.0, "the heartbeats' port blocked: stops"),
    within("heartbeat_blocked.natha.pings_lost", 0.0, "pings of both private hosts lost meanwhile"),
    within("both_blocked.natha.stops", 0.0, "ICMP and heartbeats blocked: stops"),
    within("both_blocked.natha.pings_lost", 0.0, "pings of both private hosts lost meanwhile"),
    within(
        "hand_back.pings_lost",
        0.0,
        "of 1,000 pings, 10 ms apart, around a hand-back: the most that were lost",
    ),
    free(
        "vip.outage_ms.median",
        "kernel panic, API calls of 50 ms: a client's outage of a virtual IP in another zone",
    ),
    free("vip.outage_ms.max", "the worst of them"),
    free("private_ip.outage_ms.median", "likewise of a secondary private IP in the same subnet"),
    free("private_ip.outage_ms.max", "the worst of them"),
    free("eip.outage_ms.median", "likewise of an Elastic IP, for a client in the internet"),
    free("eip.outage_ms.max", "the worst of them"),
    free(
        "dns.outage_ms.median",
        "likewise of a name with a TTL of 1 s, of which name servers know a change after 1 s",
    ),
    free("dns.outage_ms.max", "the worst of them"),
    free(
        "keepalived_natha.outage_ms.median",
        "likewise of a virtual IP that keepalived (one advertisement a second) decides about",
    ),
    free("keepalived_natha.outage_ms.max", "the worst of them"),
    at_least(
        "flows.survived_ratio",
        1.0,
        "connections by an egress IP, replicated, that survive a kernel panic, divided by all",
    ),
    within(
        "flows.planned_broken",
        0.0,
        "connections broken by a hand-back after a boot, a hand-over and a hand-back, under load",
    ),
    within(
        "flows.bandwidth_ratio",
        0.1,
        "octets sent to the heir, divided by those that the owner's interface receives",
    ),
    free("flows.transfer_mib", "one download over three kernel panics and hand-backs"),
    within("flows.transfer_broken", 0.0, "1 if it ended early or has another checksum"),
    within(
        "identity.foreign_packets",
        0.0,
        "packets of a strict group from another address than its own, over boots and moves",
    ),
    free(
        "flows.new1000.lag_ms.p50",
        "entries created in the owner's kernel, 1,000 a second: from a change to the heir's \
         acknowledgement: the median",
    ),
    free("flows.new1000.lag_ms.p99", "the 99th percentile"),
    free("flows.new1000.owner_cpu_percent", "of one core, by the owner's monitor meanwhile"),
    free("flows.new1000.heir_cpu_percent", "by the heir's"),
    free("flows.new1000.resyncs", "how often everything was sent anew meanwhile"),
    free("flows.new5000.lag_ms.p50", "likewise at 5,000 a second: the median"),
    within("flows.new5000.lag_ms.p99", 50.0, "the 99th percentile"),
    free("flows.new5000.owner_cpu_percent", "of one core, by the owner's monitor meanwhile"),
    free("flows.new5000.heir_cpu_percent", "by the heir's"),
    free("flows.new5000.resyncs", "how often everything was sent anew meanwhile"),
    free("flows.new20000.lag_ms.p50", "likewise at 20,000 a second: the median"),
    free("flows.new20000.lag_ms.p99", "the 99th percentile"),
    free("flows.new20000.owner_cpu_percent", "of one core, by the owner's monitor meanwhile"),
    free("flows.new20000.heir_cpu_percent", "by the heir's"),
    free("flows.new20000.resyncs", "how often everything was sent anew meanwhile"),
    free(
        "flows.entries10000.commit_ms",
        "the owner of 10,000 entries dies: from the heir's decision to the end of its insertions",
    ),
    free("flows.entries50000.commit_ms", "likewise of 50,000"),
    free("flows.entries200000.commit_ms", "likewise of 200,000"),
    free("flows.entries200000.owner_rss_mib", "memory of the owner's monitor with these"),
    free("flows.entries200000.heir_rss_mib", "of the heir's"),
    free(
        "flows.entries0.new_outage_ms",
        "the owner of few entries dies, API call 300 ms: outage of new connections, the median",
    ),
    free("flows.entries50000.new_outage_ms", "likewise with 50,000 entries"),
    within("flows.entries50000.added_ms", 200.0, "by how much that is longer"),
    free(
        "conntrackd.new1000.owner_cpu_percent",
        "conntrackd in place of natha's replication, 1,000 entries a second: of one core, by it at \
         the owner",
    ),
    free("conntrackd.new1000.heir_cpu_percent", "at the heir"),
    free("conntrackd.new5000.owner_cpu_percent", "likewise at 5,000 a second, at the owner"),
    free("conntrackd.new5000.heir_cpu_percent", "at the heir"),
    free("conntrackd.new20000.owner_cpu_percent", "likewise at 20,000 a second, at the owner"),
    free("conntrackd.new20000.heir_cpu_percent", "at the heir"),
    free("conntrackd.entries200000.owner_rss_mib", "memory of conntrackd with 200,000 entries"),
    free("conntrackd.entries200000.heir_rss_mib", "at the heir"),
    within("monitor.rss_mib", 30.0, "memory of an idle monitor"),
    within("monitor.cpu_percent", 1.0, "of one core, by an idle monitor"),
    within(
        "monitor.start_ms",
        100.0,
        "from exec to the first heartbeat at the peer, API calls without latency: median",
    ),
    free("monitor.start_ms.max", "the longest of them"),
    within(
        "setup.unchanged_ms",
        150.0,
        "`natha setup` on a host that is as planned, API calls without latency: median",
    ),
    free("setup.unchanged_ms.max", "the longest of them"),
    free("binary.mib", "the release binary"),
    free("package.program_mib", "the static program of the packages, x86_64"),
    free("package.deb_mib", "its .deb, compressed"),
    free(
        "tables1.takeover_ms",
        "the holder of one route table dies, API calls of 50 ms: from its death to the change",
    ),
    free("tables50.takeover_ms", "likewise of 50 tables, to the last change"),
    free("tables100.takeover_ms", "likewise of 100, of which EC2 lets 50 change at once"),
    free("tables200.takeover_ms", "likewise of 200"),
    within(
        "tables200.ratio_to_bucket",
        1.1,
        "from the first of these 200 changes to the last, divided by what EC2's token bucket \
         allows, 30 s",
    ),
    free("nodes2.rest.cpu_percent", "two nodes at rest: of one core, by each monitor on average"),
    free("nodes2.rest.packets_per_s", "packets that each sends and receives, probes included"),
    free("nodes2.rest.ec2_calls_per_s", "EC2 calls of both together"),
    free("nodes2.zone_lost.cpu_percent", "the same in the minute after one of them died"),
    free("nodes2.zone_lost.packets_per_s", "likewise"),
    free("nodes2.zone_lost.ec2_calls_per_s", "likewise"),
    free("nodes8.rest.cpu_percent", "eight nodes at rest, each the home of a table: likewise"),
    free("nodes8.rest.packets_per_s", "likewise"),
    free("nodes8.rest.ec2_calls_per_s", "EC2 calls of all together"),
    free("nodes8.zone_lost.cpu_percent", "the same in the minute after a zone with two died"),
    free("nodes8.zone_lost.packets_per_s", "likewise"),
    free("nodes8.zone_lost.ec2_calls_per_s", "likewise"),
    free("nodes16.rest.cpu_percent", "sixteen nodes at rest, each the home of a table: likewise"),
    free("nodes16.rest.packets_per_s", "likewise"),
    free("nodes16.rest.ec2_calls_per_s", "EC2 calls of all together"),
    free("nodes16.zone_lost.cpu_percent", "the same in the minute after a zone with five died"),
    free("nodes16.zone_lost.packets_per_s", "likewise"),
    free("nodes16.zone_lost.ec2_calls_per_s", "likewise"),
    within(
        "nodes16.ec2_calls_per_s",
        5.0,
        "the larger one of the two figures of sixteen nodes: EC2 calls of all together",
    ),
    free(
        "dataplane.ratio_to_bare",
        "one TCP flow through three namespaces, no offloads: natha's table, divided by a bare \
         `masquerade` table",
    ),
    free("dataplane.ratio_to_iptables", "likewise, divided by iptables MASQUERADE"),
    free(
        "dataplane.new_connections_ratio_to_bare",
        "likewise of connections opened and closed in a second, divided by a bare table",
    ),
    free("soak.minutes", "random faults on a cluster of two and one of three: minutes, added up"),
    free("soak.cycles", "times that faults came, were mended, and the cluster found back"),
    free("soak.faults", "faults, up to ten at the same time"),
    within("soak.violations", 0.0, "rules broken, as judged by packets and EC2's calls alone"),
    free("soak.takeovers", "routes taken by a node from another one"),
    free("soak.repairs", "nodes stopped and started by a peer"),
    free("soak.hand_backs", "routes given by a node to another one"),
    free("soak.pings_sent", "pings of the private hosts, 10 ms apart"),
    free("soak.pings_lost", "of them lost, all while something was wrong"),
    within("soak.rss_growth_mib", 4.0, "memory that a monitor gained since it was warm: the most"),
    free("soak.rss_growth_over_minutes", "the longest time over which that was watched"),
    within("soak.fd_growth", 8.0, "descriptors gained likewise"),
    within("soak.thread_growth", 8.0, "threads gained likewise"),
];

/// What other scripts measure and `scripts/bench` adds: in the tables only.
pub(super) const ADDED: [Figure; 6] = [
    within(
        "detection.false_takeovers_per_1000h",
        0.0,
        "simulated: takeovers from a live node by the default settings, with 2 % of packets lost, \
         50 ms of jitter and pauses of 200 ms (the weather `promised` of evidence/heartbeat.md)",
    ),
    free(
        "image.delta_mib",
        "what natha's image has on disk besides a plain Debian, packages included",
    ),
    free(
        "boot.container_to_first_heartbeat_s",
        "the image as a container: from its first process to the first heartbeat",
    ),
    free(
        "boot.vm_to_first_heartbeat_s",
        "the image as a virtual machine, its processor emulated: from the kernel's start likewise",
    ),
    within(
        "systemd.security_score",
        2.0,
        "how exposed the monitor is, as `systemd-analyze security` judges it: 10 is the worst",
    ),
    free(
        "flowtable.throughput_ratio",
        "one TCP flow through that machine with `setup --flowtable`, divided by without: medians",
    ),
];

/// The names of all figures that can be measured here.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|figure| figure.name).chain(survival::names())
}

/// The figures that `only` asks for, each entry a figure's name or the beginning of some up to a
/// dot, less those that `without` names in the same way; all of them where `only` is empty.
///
/// # Errors
/// With the entries that match nothing.
pub(super) fn wanted(
    only: &[String],
    without: &[String],
) -> Result<Vec<&'static str>, Vec<String>> {
    let entries = || only.iter().chain(without);
    let unknown: Vec<_> =
        entries().filter(|entry| !names().any(|name| asks_for(entry, name))).cloned().collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let is_wanted = |name: &&str| {
        (only.is_empty() || only.iter().any(|entry| asks_for(entry, name)))
            && !without.iter().any(|entry| asks_for(entry, name))
    };
    Ok(names().filter(is_wanted).collect())
}

/// Whether an entry is a figure's name or its beginning up to a dot.
fn asks_for(entry: &str, name: &str) -> bool {
    name.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The figure with this name.
#[must_use]
pub(super) fn named(name: &str) -> Option<&'static Figure> {
    ALL.iter().chain(&ADDED).find(|figure| figure.name == name)
}

/// The figures that are over their budget: a line each.
#[must_use]
pub(super) fn over_budget(figures: &Figures) -> Vec<String> {
    let over = figures.iter().filter_map(|(name, value)| {
        let budget = named(name)?.budget.filter(|budget| !budget.allows(*value))?;
        Some(format!("{name} is {value}, its budget is {budget}"))
    });
    over.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|&entry| entry.to_owned()).collect()
    }

    #[test]
    fn names_are_unique_and_say_what_is_measured() {
        let all = || names().chain(ADDED.iter().map(|figure| figure.name));
        let names: std::collections::BTreeSet<_> = all().collect();
        assert_eq!(names.len(), all().count());
        let units = [
            "_ms",
            "_s",
            ".s_",
            "_mib",
            ".mib",
            "_percent",
            "_lost",
            ".stops",
            ".writes",
            "ratio",
            "soak.",
            "_score",
            ".moves",
            "_per_s",
            "_per_1000h",
            "_broken",
            "_packets",
            ".resyncs",
        ];
        for name in names {
            assert!(units.iter().any(|unit| name.contains(unit)), "{name}");
        }
    }

    #[test]
    fn a_beginning_asks_for_all_that_share_it() {
        let entries = only(&["daemon_killed", "setup.unchanged_ms.max"]);
        let found = wanted(&entries, &[]).unwrap();
        assert_eq!(
            found,
            ["daemon_killed.pings_lost", "daemon_killed.stops", "setup.unchanged_ms.max"]
        );
        assert_eq!(wanted(&[], &[]).unwrap().len(), names().count());
        assert_eq!(wanted(&[], &entries).unwrap().len(), names().count() - 3);
        assert_eq!(
            wanted(&entries, &only(&["daemon_killed"])).unwrap(),
            ["setup.unchanged_ms.max"]
        );
    }

    #[test]
    fn what_matches_nothing_is_named() {
        let entries = only(&["hard_kil", "frozen", "daemon_killed.stop"]);
        assert_eq!(wanted(&entries, &[]).unwrap_err(), ["hard_kil", "daemon_killed.stop"]);
        assert_eq!(wanted(&[], &entries).unwrap_err(), ["hard_kil", "daemon_killed.stop"]);
    }

    #[test]
    fn a_figure_at_its_budget_is_within_it() {
        let at = Figures::from([("monitor.rss_mib", 30.0), ("binary.mib", 99.0)]);
        assert!(over_budget(&at).is_empty());
        let over = Figures::from([("daemon_killed.stops", 1.0)]);
        assert_eq!(over_budget(&over), ["daemon_killed.stops is 1, its budget is ≤ 0"]);
        let at = Figures::from([("flows.survived_ratio", 1.0)]);
        assert!(over_budget(&at).is_empty());
        let under = Figures::from([("flows.survived_ratio", 0.99)]);
        assert_eq!(over_budget(&under), ["flows.survived_ratio is 0.99, its budget is ≥ 1"]);
    }
}
