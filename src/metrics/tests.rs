//! Every metric has a value where its source has one, and names keep the conventions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::Value;

use super::*;
use crate::failover::{Event, EventKind, Level, Verdict};
use crate::flows::{Entry, Flow, Protocol, Tuple, Usage};
use crate::plan::{Passing, Tally};
use crate::status::{
    Allowances, CopiesReport, EgressArrival, EgressProof, EgressStatus, HeirReport, OwnerReport,
    PacketCount, PortSpace, PortUse, ReadingAges,
};
use crate::types::{Fitness, InstanceId, InstanceState, PowerReport, SessionId, StopOrigin, Time};

const AGE: Duration = Duration::from_millis(250);

/// A status as the program prints it.
fn plain() -> Report {
    let golden = include_str!("../../tests/golden/status_resources_json.snap");
    let (_, json) = golden.split_once("\n---\n").unwrap();
    serde_json::from_str(json).unwrap()
}

fn peer(report: &Report) -> InstanceId {
    report.view.peers.keys().next().unwrap().clone()
}

/// The same, with something of everything.
fn full() -> Report {
    let mut report = plain();
    let id = peer(&report);
    let node = report.view.me.clone();
    let view = report.view.peers.get_mut(&id).unwrap();
    view.power = Some(PowerReport {
        state: Some(InstanceState::Running),
        stop_origin: StopOrigin::Unknown,
        impaired: false,
        reason: None,
    });
    view.power_age = Some(AGE);
    report.versions = Some(BTreeMap::from([(id.clone(), "1.3.0".to_owned())]));
    for group in report.view.groups.values_mut() {
        (group.holder, group.home, group.goes_home) =
            (Some(node.clone()), Some(node.clone()), true);
    }
    report.egress = vec![EgressStatus {
        group: "db".parse().unwrap(),
        allocation: "eipalloc-0123abcd".parse().unwrap(),
        address: Ipv4Addr::new(203, 0, 113, 7),
        holder: Some(node),
        arrival: Some(EgressArrival { here: AGE, proof: EgressProof::Probe }),
        landing: Some(Ipv4Addr::new(10, 0, 0, 20)),
        landing_on_host: Some(true),
        landing_age: Some(AGE),
    }];
    let destination = "203.0.113.10:443".parse().unwrap();
    let address = Ipv4Addr::new(10, 0, 0, 10);
    let protocol = "tcp".to_owned();
    let fullest = Some(PortSpace { protocol, address, destination, used: 40_000, of: 64_512 });
    report.ports = Some(PortUse { failures: 3, fullest });
    let heir = HeirReport {
        state: "live".to_owned(),
        lag: Some(AGE),
        copies: Some(true),
        copying: true,
        copies_answer_age: Some(AGE),
        ..HeirReport::default()
    };
    report.flows.heirs.insert(id.clone(), heir);
    let count = |packets| PacketCount { packets, bytes: packets * 100 };
    report.flows.copies = Some(CopiesReport { made: count(8), sent_on: count(6) });
    let checks = report.view.groups.keys().map(|name| (name.to_string(), AGE)).collect();
    let (discovery, flows, ports) = (Some(AGE), Some(AGE), Some(AGE));
    report.ages = ReadingAges { discovery, flows, ports, checks };
    let inserted = BTreeMap::from([("new".to_owned(), 5)]);
    let owner = OwnerReport { heard_age: Some(AGE), inserted, ..OwnerReport::default() };
    report.flows.owners.insert(id.clone(), owner);
    report.counters.count_call("ReplaceRoute", "outcome unknown");
    report.counters.peers.count_rejected("bad-tag", 2);
    let meters = &mut report.counters.meters;
    meters.call("ReplaceRoute", AGE);
    meters.lateness.observe(AGE);
    meters.alerts.insert("conntrack".to_owned());
    for ms in [1_000, 1_090] {
        let interval = Duration::from_millis(90);
        meters.beat(&id, SessionId(1), Time::from_millis(ms), interval);
    }
    let at = Time::from_millis(19_000_000);
    let text = String::new();
    let kind = EventKind::TakeoverBegun;
    let node = Some(id);
    let begun = Event { at, level: Level::Warning, kind, node, group: None, text, took: None };
    meters.event(&begun, Some(Verdict::Unreachable));
    report
}

fn host() -> HostReading {
    let names = ["found", "invalid", "ignore", "insert", "insert_failed", "drop", "early_drop"];
    let statistics = names.into_iter().chain(["search_restart"]);
    let statistics = statistics.map(|name| (name.to_owned(), 1)).collect();
    let tally = |packets| Tally { packets, bytes: packets * 100 };
    let exceeded = BTreeMap::from([("pps_allowance_exceeded".to_owned(), 2)]);
    let allowances = Allowances { statistics: 9, exceeded, conntrack_available: Some(7) };
    HostReading {
        conntrack: Some(ConntrackReading { entries: 10, limit: 100, statistics }),
        passing: Some(Passing {
            to_uplink: tally(5),
            from_uplink: tally(7),
            new_flows: tally(2),
            dropped: tally(1),
            idle_resets: tally(4),
        }),
        links: BTreeMap::from([("ens5".to_owned(), LinkReading::default())]),
        peak: Some(Peak { bytes: 1_000, packets: 10 }),
        allowances: BTreeMap::from([("ens5".to_owned(), allowances)]),
        addresses: BTreeMap::from([("db".parse().unwrap(), true)]),
        memory: Some(1 << 20),
        open_files: Some(30),
    }
}

fn talkers() -> TopTalkers {
    let tuple = Tuple {
        protocol: Protocol::Udp,
        source: Ipv4Addr::new(10, 0, 1, 5),
        destination: Ipv4Addr::new(203, 0, 113, 9),
        source_port: 5_000,
        destination_port: 53,
    };
    let flow = Flow {
        tuple,
        translated_port: 5_000,
        seen_reply: true,
        assured: true,
        tcp: None,
        timeout_s: 30,
        mark: 0,
    };
    let mut talkers = Talkers::new(5);
    talkers.listing().end(true);
    let mut listing = talkers.listing();
    let landing = Ipv4Addr::new(10, 0, 0, 1);
    listing.count(&Entry { landing, flow }, Usage { sent: 80, received: 900 });
    listing.end(true);
    talkers.top()
}

fn page() -> Page {
    let (report, host, talkers) = (full(), host(), talkers());
    let talkers = Some((&talkers, AGE));
    Moment { report: (&report, AGE), host: (&host, AGE), talkers }.page()
}

#[test]
fn every_metric_has_a_value_where_its_source_has_one() {
    let told: BTreeSet<&str> = page().names().collect();
    let known: BTreeSet<&str> = all().map(|metric| metric.name).collect();
    assert_eq!(told, known);
    assert_eq!(known.len(), all().count(), "a name stands for one metric");
}

#[test]
fn names_keep_the_conventions_of_prometheus() {
    for Metric { name, kind, unit, help, labels, .. } in all() {
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let base = name.strip_suffix("_total").unwrap_or(name);
        for unit_of_name in ["seconds", "bytes"] {
            let is_named = base.ends_with(&format!("_{unit_of_name}"));
            assert!(!is_named || *unit == unit_of_name, "{name} in {unit}");
        }
        assert!(help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        let is_plain = |text: &&str| text.chars().all(|c| c == '_' || c.is_ascii_lowercase());
        assert!(is_plain(name) && labels.iter().all(is_plain), "{name}");
    }
}

/// A gauge without an age is one itself.
#[test]
fn every_gauge_names_its_age() {
    let named: BTreeSet<&str> =
        all().flat_map(|metric| metric.ages.iter().map(|age| age.name)).collect();
    for Metric { name, kind, labels, ages, .. } in all() {
        let is_age = name.ends_with("_age_seconds") || named.contains(name);
        let wants = *kind == Kind::Gauge && !is_age;
        assert_eq!(!ages.is_empty(), wants, "{name}: give a gauge an age with `aged`");
        for age in *ages {
            assert_eq!((age.kind, age.unit), (Kind::Gauge, "seconds"), "{} of {name}", age.name);
            let is_shared = |label: &&str| labels.contains(label);
            assert!(age.labels.iter().all(is_shared), "{} of {name}", age.name);
        }
    }
}

/// The labels of a line of metrics, by name.
fn labels(line: &str) -> BTreeMap<String, String> {
    let (series, _) = line.rsplit_once(' ').unwrap();
    let inside = series.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}'));
    let pairs = inside.into_iter().flat_map(|inside| inside.split("\","));
    let pairs = pairs.filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

#[test]
fn every_gauge_that_has_a_value_has_an_age() {
    let lines = lines();
    let of = |name: &str| -> Vec<BTreeMap<String, String>> {
        let is_it = |line: &&String| line.split(['{', ' ']).next() == Some(name);
        lines.iter().filter(is_it).map(|line| labels(line)).collect()
    };
    for metric in all() {
        for series in of(metric.name) {
            let is_part = |part: &BTreeMap<String, String>| {
                part.iter().all(|(name, value)| series.get(name) == Some(value))
            };
            for age in metric.ages {
                assert!(of(age.name).iter().any(is_part), "{} of {series:?}", age.name);
            }
        }
    }
}

fn lines() -> Vec<String> {
    page().into_text().unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_values_are_those_of_the_readings() {
    let lines = lines();
    for wanted in [
        "natha_peer_info{peer=\"i-0bbbbbbbbbbbbbbbb\",name=\"nat-b\",version=\"1.3.0\"} 1",
        "natha_takeovers_total{reason=\"unreachable\"} 1",
        "natha_takeovers_total{reason=\"sick\"} 0",
        "natha_events_total{kind=\"takeover-begun\"} 1",
        "natha_last_event_age_seconds{kind=\"takeover-begun\"} 1000.0",
        "natha_api_calls_total{action=\"ReplaceRoute\",result=\"outcome-unknown\"} 1",
        "natha_bytes_out_to_destination_total 500",
        "natha_packets_in_from_destination_total 7",
        "natha_source_bytes_total{host=\"10.0.1.5\",direction=\"in\"} 900",
        "natha_destination_connections_total{host=\"203.0.113.9\"} 1",
        "natha_ena_allowance_exceeded_total\
         {interface=\"ens5\",allowance=\"pps_allowance_exceeded\"} 2",
        "natha_group_route_match{group=\"db\"} 1",
        "natha_report_age_seconds 0.25",
        "natha_copies_made_packets_total 8",
        "natha_copies_sent_on_bytes_total 600",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}\nin\n{}", lines.join("\n"));
    }
}

#[test]
fn no_series_is_there_twice() {
    let lines = lines();
    let series = lines.iter().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = series.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(distinct.len(), names.len());
}

#[test]
fn what_is_not_known_has_no_value() {
    let mut report = plain();
    let id = peer(&report);
    report.view.peers.get_mut(&id).unwrap().heartbeat_age = None;
    for group in report.view.groups.values_mut() {
        (group.holder, group.read_age) = (None, None);
    }
    let host = HostReading::default();
    let page = Moment { report: (&report, AGE), host: (&host, AGE), talkers: None }.page();
    let told: BTreeSet<&str> = page.names().collect();
    for absent in [
        "natha_peer_heartbeat_age_seconds",
        "natha_group_holder",
        "natha_group_route_match",
        "natha_bytes_out_to_destination_total",
        "natha_source_bytes_total",
        "node_nf_conntrack_entries",
        "natha_group_check_failing",
        "natha_copies_ready",
        "natha_copies_made_packets_total",
    ] {
        assert!(!told.contains(absent), "{absent}");
    }
}

#[test]
fn a_node_is_ready_while_it_is_proven_and_answers_for_what_it_holds() {
    let (mut report, mut host) = (full(), host());
    assert_eq!(unready(&report, &host), Vec::<String>::new());
    host.addresses.insert("db".parse().unwrap(), false);
    report.view.failing.insert("db".parse().unwrap());
    report.drained = true;
    report.view.fitness = Fitness::unproven(crate::types::Evidence::Transit);
    let reasons = unready(&report, &host);
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    for part in ["transit unproven", "drained", "addresses of group db", "check of group db"] {
        assert!(reasons.iter().any(|reason| reason.contains(part)), "{part}: {reasons:?}");
    }
}

fn tally_more(tally: Tally, bytes: u64) -> Tally {
    Tally { bytes: tally.bytes + bytes, ..tally }
}

#[test]
fn cloudwatch_gets_what_was_added_in_the_minute_and_a_list_of_it() {
    let (report, mut host) = (full(), host());
    let mut embedded = Embedded::default();
    let at = Duration::from_secs(1_700_000_000);
    assert_eq!(embedded.line(&report, &host, at), None, "nothing to compare with");
    let passing = host.passing.as_mut().unwrap();
    passing.to_uplink.bytes += 4_000;
    // The table was loaded anew.
    passing.from_uplink.packets = 2;
    let line = embedded.line(&report, &host, at).unwrap();
    assert!(!line.contains('\n'));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_000_u64);
    assert_eq!(line["BytesOutToDestination"], 4_000);
    assert_eq!(line["PacketsInFromDestination"], 2);
    assert_eq!(line["ActiveConnectionCount"], 10);
    assert_eq!(line["ErrorPortAllocation"], 0);
    // A counter that cannot be read for a minute is made up for in the next.
    let passing = host.passing.take().unwrap();
    let silent: Value = serde_json::from_str(&embedded.line(&report, &host, at).unwrap()).unwrap();
    assert_eq!(silent["BytesOutToDestination"], 0);
    host.passing = Some(Passing { to_uplink: tally_more(passing.to_uplink, 70), ..passing });
    let made_up: Value = serde_json::from_str(&embedded.line(&report, &host, at).unwrap()).unwrap();
    assert_eq!(made_up["BytesOutToDestination"], 70);
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    let listed = directive["Metrics"].as_array().unwrap();
    assert!(listed.len() <= 100, "CloudWatch takes no more in one directive");
    for metric in listed {
        let name = metric["Name"].as_str().unwrap();
        assert!(line[name].is_u64(), "{name}");
    }
    for dimension in directive["Dimensions"][0].as_array().unwrap() {
        assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
    }
}
