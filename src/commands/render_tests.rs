//! The status page, compared as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::failover::{EventKind, GroupView, Latches, PeerView, View};
use crate::status::{
    Allowances, Counters, EgressStatus, FlowsReport, KEY_REASONS, LandingState, OwnerReport,
    ReadingAges,
};
use crate::types::{
    AllocationId, Evidence, Fault, GroupName, InstanceId, InstanceState, PowerReport, Roster,
    StopOrigin, Time,
};
use crate::wire::Rejected;

const A: &str = "i-0aaaaaaaaaaaaaaaa";
pub(in crate::commands) const B: &str = "i-0bbbbbbbbbbbbbbbb";

pub(in crate::commands) fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

fn member(text: &str, letter: char, last: u8) -> Member {
    Member {
        id: id(text),
        interface: format!("eni-{}", text.trim_start_matches("i-")).parse().unwrap(),
        address: std::net::Ipv4Addr::new(10, 0, last, 10),
        zone: Some(format!("eu-west-1{letter}").parse().unwrap()),
        name: Some(format!("nat-{letter}")),
        public: None,
        loses_public: false,
        landings: BTreeMap::new(),
    }
}

fn peer() -> PeerView {
    PeerView {
        verdict: Verdict::Alive,
        verdict_age: Duration::from_mins(192),
        heartbeat_age: Some(Duration::from_millis(42)),
        echo_age: Some(Duration::from_millis(642)),
        fitness: Some(Fitness::fit()),
        settings_differ: false,
        hears_me: true,
        power: None,
        power_age: None,
        repair: None,
    }
}

fn group(home: &str, holder: Option<&str>) -> GroupView {
    GroupView {
        home: Some(id(home)),
        goes_home: true,
        holder: holder.map(id),
        fallback: None,
        targets: BTreeMap::new(),
        read_age: Some(Duration::from_millis(4_200)),
        generation: 2,
        doing: None,
        copies_end: None,
    }
}

pub(in crate::commands) fn well() -> Report {
    let zone = |letter: char| -> GroupName { format!("eu-west-1{letter}").parse().unwrap() };
    Report {
        version: "1.2.3".to_owned(),
        pid: 7,
        cluster: "web".to_owned(),
        now: Time::from_millis(20_000_000),
        uptime: Duration::from_secs(11_523),
        roster: Roster { members: vec![member(A, 'a', 0), member(B, 'b', 1)], groups: Vec::new() },
        view: View {
            me: id(A),
            fitness: Fitness::fit(),
            peers: BTreeMap::from([(id(B), peer())]),
            groups: BTreeMap::from([
                (zone('a'), group(A, Some(A))),
                (zone('b'), group(B, Some(B))),
            ]),
            failing: BTreeSet::new(),
            latches: Latches::default(),
            timers: BTreeMap::new(),
        },
        versions: None,
        alerts: Vec::new(),
        allowances: BTreeMap::new(),
        egress: Vec::new(),
        ports: None,
        events: Vec::new(),
        counters: Counters::default(),
        lateness_max: Duration::ZERO,
        latch: None,
        drained: false,
        flows: FlowsReport::default(),
        ages: ReadingAges::default(),
    }
}

fn heir() -> HeirReport {
    HeirReport {
        state: "live".to_owned(),
        flows: 5_200,
        held: 5_187,
        lag: Some(Duration::from_millis(12)),
        overruns: 1,
        copies: Some(true),
        ..HeirReport::default()
    }
}

fn owner() -> OwnerReport {
    let inserted = [("exists", 3), ("new", 4_100)].map(|(name, count)| (name.to_owned(), count));
    OwnerReport {
        state: "the stream has ended: the peer has closed it".to_owned(),
        flows: 12,
        inserted: inserted.into(),
        ..OwnerReport::default()
    }
}

pub(in crate::commands) fn troubled() -> Report {
    let mut report = well();
    let peer = report.view.peers.get_mut(&id(B)).unwrap();
    peer.verdict = Verdict::Unreachable;
    peer.verdict_age = Duration::from_secs(71);
    peer.heartbeat_age = Some(Duration::from_secs(72));
    peer.echo_age = None;
    peer.hears_me = false;
    let state = Some(InstanceState::Running);
    let power =
        PowerReport { state, stop_origin: StopOrigin::Unknown, impaired: false, reason: None };
    peer.power = Some(power);
    peer.power_age = Some(Duration::from_secs(3));
    report.view.fitness = Fitness::unfit(Fault::Uplink);
    let lost = report.view.groups.get_mut(&"eu-west-1b".parse().unwrap()).unwrap();
    lost.holder = None;
    let target = RouteTarget::Other("igw-0123abcd".to_owned());
    lost.targets = BTreeMap::from([("rtb-0123abcd".to_owned(), Some(target))]);
    lost.doing = Some("left alone".to_owned());
    let exceeded = [("bw_in_allowance_exceeded", 0), ("pps_allowance_exceeded", 1_203)];
    let ena = Allowances {
        statistics: 94,
        exceeded: exceeded.map(|(name, packets)| (name.to_owned(), packets)).into(),
        conntrack_available: Some(136_812),
    };
    let other = Allowances { statistics: 3, ..Allowances::default() };
    report.allowances = [("ens5", ena), ("ens6", other)].map(|(k, v)| (k.to_owned(), v)).into();
    report.flows.heirs.insert(id(B), heir());
    report.flows.owners.insert(id(B), owner());
    report.events.push(Event {
        at: Time::from_millis(19_929_000),
        level: Level::Alert,
        kind: EventKind::Foreign,
        node: Some(id(B)),
        group: Some("eu-west-1b".parse().unwrap()),
        text: "the route points to igw-0123abcd".to_owned(),
        took: Some(Duration::from_millis(240)),
    });
    report
}

fn as_reviewed(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "../../tests/golden",
        prepend_module_to_snapshot => false,
    }, { insta::assert_snapshot!(name, text) });
}

#[test]
fn a_good_day() {
    as_reviewed("status_good_day", &report(&well(), false));
}

#[test]
fn a_bad_day() {
    as_reviewed("status_bad_day", &report(&troubled(), false));
}

/// Both nodes are fit, and neither has all evidence.
fn unproven() -> Report {
    let mut report = well();
    report.view.fitness = Fitness::unproven(Evidence::Transit);
    let peer = report.view.peers.get_mut(&id(B)).unwrap();
    peer.fitness = Some(Fitness { unproven: Evidence::ALL.into(), ..Fitness::fit() });
    report
}

#[test]
fn a_day_without_evidence() {
    as_reviewed("status_unproven", &report(&unproven(), false));
    let json = serde_json::to_value(unproven()).unwrap();
    assert_eq!(json["view"]["fitness"], serde_json::json!({"faults": [], "unproven": ["transit"]}));
}

/// A half-moved group with a resource of each kind.
fn mixed() -> Report {
    let mut report = well();
    let name: GroupName = "db".parse().unwrap();
    let address = |last| std::net::Ipv4Addr::new(10, 0, 0, last);
    let dns = |name: &str, public| Resource::Dns {
        zone: "Z1".parse().unwrap(),
        name: name.parse().unwrap(),
        ttl: 60,
        public,
    };
    let vip = |table: &str| Resource::Vip {
        table: table.parse().unwrap(),
        address: std::net::Ipv4Addr::new(192, 168, 9, 9),
    };
    let eip = Resource::Eip {
        allocation: "eipalloc-0123abcd".parse().unwrap(),
        address: std::net::Ipv4Addr::new(203, 0, 113, 7),
        on: Some(address(99)),
    };
    let resources = vec![
        vip("rtb-0123abc1"),
        vip("rtb-0123abc2"),
        Resource::PrivateIp { address: address(99) },
        eip,
        dns("a.example.com", false),
        dns("b.example.com", true),
        dns("c.example.com", false),
    ];
    let eni = |id: &str| Some(RouteTarget::Interface(id.parse().unwrap()));
    report.roster.members[1].public = Some(std::net::Ipv4Addr::new(198, 51, 100, 2));
    let leads = [
        eni("eni-0bbbbbbbbbbbbbbbb"),
        eni("eni-0123abcd"),
        eni("eni-0aaaaaaaaaaaaaaaa"),
        None,
        Some(RouteTarget::Address(std::net::Ipv4Addr::new(10, 0, 1, 10))),
        Some(RouteTarget::Address(std::net::Ipv4Addr::new(198, 51, 100, 2))),
        Some(RouteTarget::Other("the alias \u{1b}[2J".to_owned())),
    ];
    let mut view = group(A, None);
    view.targets = resources.iter().map(ToString::to_string).zip(leads).collect();
    view.doing = Some("taking it".to_owned());
    report.view.groups.insert(name.clone(), view);
    report.roster.groups.push(Group::new(name, Some(id(A)), resources));
    report
}

#[test]
fn every_resource_of_a_group_of_several_kinds_is_shown() {
    as_reviewed("status_resources", &report(&mixed(), false));
}

/// Two egress IPs: one that is here, and one on the other node.
fn with_egress() -> Report {
    let mut report = well();
    let name: GroupName = "a".parse().unwrap();
    let id_of = |n: u8| format!("eipalloc-0000000{n}").parse::<AllocationId>().unwrap();
    let address = |n: u8| std::net::Ipv4Addr::new(203, 0, 113, n);
    let egress = |n| Resource::EgressIp { allocation: id_of(n), address: address(n) };
    let landing = |node: u8, n: u8| std::net::Ipv4Addr::new(10, 0, node, 200 + n);
    for node in [0_u8, 1] {
        let member = &mut report.roster.members[usize::from(node)];
        member.landings = [1, 2].map(|n| (id_of(n), landing(node, n))).into();
    }
    let resources = vec![egress(1), egress(2), egress(3)];
    let mut view = group(A, None);
    let on = [(0, 1), (1, 2)]
        .map(|(node, n)| (egress(n).to_string(), Some(RouteTarget::Address(landing(node, n)))));
    view.targets = on.into_iter().chain([(egress(3).to_string(), None)]).collect();
    report.view.groups.insert(name.clone(), view);
    report.roster.groups.push(Group::new(name, Some(id(A)), resources));
    let since = report.now - Duration::from_secs(90);
    let state = LandingState {
        on_host: [landing(0, 1)].into(),
        read: Some(since),
        here: [(landing(0, 1), (since, EgressProof::Probe))].into(),
    };
    report.egress = EgressStatus::of(&report.roster, &report.view, Some(&state), report.now);
    report
}

#[test]
fn the_port_space_is_shown_once_it_is_half_full_or_was_too_small() {
    let mut report = well();
    let show = |report: &Report| super::report(report, false);
    report.ports = Some(PortUse { failures: 0, fullest: None });
    assert!(!show(&report).contains("PORT SPACE"));
    report.ports = Some(PortUse { failures: 3, fullest: None });
    assert!(show(&report).contains("CONNECTIONS WITHOUT A PORT"));
    report.ports = Some(PortUse {
        failures: 0,
        fullest: Some(PortSpace {
            protocol: "udp".to_owned(),
            address: std::net::Ipv4Addr::new(10, 0, 0, 10),
            destination: "203.0.113.10:53".parse().unwrap(),
            used: 40_000,
            of: 64_512,
        }),
    });
    let shown = show(&report);
    for part in ["udp 10.0.0.10", "203.0.113.10:53", "40000 of 64512"] {
        assert!(shown.contains(part), "{shown}");
    }
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn a_stream_says_whether_packets_are_copied_or_can_be() {
    let cell = |copies, copying| super::copies(&HeirReport { copies, copying, ..heir() });
    assert_eq!([cell(Some(true), true), cell(Some(true), false)], ["now", "yes"]);
    assert_eq!([cell(Some(false), false), cell(None, false)], ["no answer", "-"]);
    let mut report = troubled();
    assert!(!super::report(&report, false).contains(" now "));
    report.flows.heirs.get_mut(&id(B)).unwrap().copying = true;
    assert!(super::report(&report, false).contains(" now "));
}

#[test]
fn versions_are_shown_only_while_they_differ() {
    let shown = |versions: Option<BTreeMap<InstanceId, String>>| {
        let text = report(&Report { versions, ..well() }, false);
        let rows = text.lines().take_while(|line| !line.starts_with("GROUP"));
        rows.filter_map(|row| row.split_whitespace().next_back().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let of_b = |version: &str| Some(BTreeMap::from([(id(B), version.to_owned())]));
    assert_eq!(shown(None), shown(of_b("1.2.3")), "an earlier monitor knows no versions");
    assert!(!shown(None).contains(&"VERSION".to_owned()));
    assert_eq!(shown(of_b("1.3.0"))[1..], ["VERSION", "1.2.3", "1.3.0"]);
    assert_eq!(shown(Some(BTreeMap::new()))[1..], ["VERSION", "1.2.3", "earlier"]);
    let mut unmet = Report { versions: Some(BTreeMap::new()), ..well() };
    unmet.view.peers.get_mut(&id(B)).unwrap().heartbeat_age = None;
    assert!(!unmet.versions_differ(), "a peer that was never heard has no version");
    let differ = Report { versions: of_b("1.3.0"), ..well() };
    assert_eq!(differ.findings(), well().findings(), "planned work does not wait for it");
}

#[test]
fn egress_ips_are_shown_with_where_they_are_and_what_is_here_for_them() {
    as_reviewed("status_egress", &report(&with_egress(), false));
    let json = serde_json::to_value(with_egress()).unwrap();
    assert_eq!(
        json["egress"][0],
        serde_json::json!({
            "group": "a",
            "allocation": "eipalloc-00000001",
            "address": "203.0.113.1",
            "holder": A,
            "arrival": {"here_ms": 90_000, "proof": "probe"},
            "landing": "10.0.0.201",
            "landing_on_host": true,
            "landing_age_ms": 90_000,
        })
    );
    let text = serde_json::to_string(&with_egress()).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), with_egress());
}

#[test]
fn json_has_every_resource_and_comes_back_as_it_was() {
    let text = serde_json::to_string_pretty(&mixed()).unwrap();
    as_reviewed("status_resources_json", &text);
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), mixed());
}

#[test]
fn a_peer_with_other_settings_is_a_finding() {
    let mut report = well();
    report.view.peers.values_mut().for_each(|peer| peer.settings_differ = true);
    let findings = report.findings();
    assert!(findings.iter().any(|text| text.contains("has different settings")), "{findings:?}");
}

#[test]
fn a_service_that_fails_at_the_holder_is_a_finding() {
    let mut report = well();
    report.view.failing = report.view.groups.keys().cloned().collect();
    // A peer holds the other group, and only that peer's own check counts for it.
    let findings = report.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let part = "held by this node, but its service check fails here";
    assert!(findings[0].contains(part) && findings[0].contains("1a"), "{findings:?}");
}

#[test]
fn a_group_away_from_home_is_a_finding_only_if_it_goes_back_automatically() {
    for goes_home in [true, false] {
        let mut report = well();
        for group in report.view.groups.values_mut() {
            let away = report.view.peers.keys().find(|node| Some(*node) != group.home.as_ref());
            group.holder = Some(away.unwrap_or(&report.view.me).clone());
            group.goes_home = goes_home;
        }
        let findings = report.findings();
        assert_eq!(findings.iter().any(|text| text.contains("its home is")), goes_home);
        assert_eq!(findings.is_empty(), !goes_home, "{findings:?}");
    }
}

#[test]
fn colours_only_where_asked_for() {
    assert!(!report(&troubled(), false).contains('\u{1b}'));
    assert!(report(&troubled(), true).contains("\u{1b}[31mNeeds attention:\u{1b}[0m"));
}

#[test]
fn different_keys_are_named_while_a_peer_is_not_heard() {
    let keys = [Rejected::Untagged, Rejected::Unverifiable, Rejected::BadTag];
    assert_eq!(keys.map(Rejected::name), KEY_REASONS);
    let mut report = well();
    report.counters.peers.count_rejected("bad-tag", 1);
    assert!(report.findings().is_empty(), "any host can send forged packets");
    for peer in report.view.peers.values_mut() {
        peer.verdict = Verdict::Unmet;
    }
    let findings = report.findings();
    assert!(findings.iter().any(|one| one.contains("heartbeat.key_file")), "{findings:?}");
}
