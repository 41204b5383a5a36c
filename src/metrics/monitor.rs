//! What the monitor's report says, as metrics.

use std::collections::BTreeSet;

use serde::Serialize;

use super::catalogue as of;
use super::page::Page;
use crate::failover::{EventKind, GroupView, PeerView, Verdict, View};
use crate::status::{
    CopiesReport, Counters, EgressProof, HeirReport, Histogram, Meters, OwnerReport, Report,
    kind_name, label,
};
use crate::types::{Evidence, Fault, Fitness, GroupName, InstanceId};

/// The phases that have a value from the start, even without a measurement.
const PHASES: [&str; 4] = ["detection", "hand-over-done", "repair-done", "takeover-done"];

/// Adds everything that the report says. It was made at `report.now`.
pub(super) fn add(page: &mut Page, report: &Report) {
    node(page, report);
    for (id, peer) in &report.view.peers {
        add_peer(page, [id.as_str(), &report.node_name(id)], peer);
    }
    for (id, version) in report.versions.iter().flatten() {
        page.put(&of::PEER_INFO, &[id.as_str(), &report.node_name(id), version], true);
    }
    for (name, group) in &report.view.groups {
        add_group(page, report, name, group);
    }
    egress(page, report);
    counters(page, &report.counters);
    meters(page, &report.counters.meters, report);
    page.put(&of::LATENESS_MAX, &[], report.lateness_max);
    page.put_if(&of::FLOWS_AGE, &[], report.ages.flows);
    for (id, heir) in &report.flows.heirs {
        replication(page, [id.as_str(), &report.node_name(id)], heir);
    }
    for (id, owner) in &report.flows.owners {
        replica(page, [id.as_str(), &report.node_name(id)], owner);
    }
    if let Some(copied) = &report.flows.copies {
        copies(page, copied);
    }
    ports(page, report);
}

fn node(page: &mut Page, report: &Report) {
    let View { me, fitness, .. } = &report.view;
    page.put(&of::BUILD, &[&report.version], true);
    let zone = report.roster.member(me).and_then(|member| member.zone.as_ref());
    let zone = zone.map(ToString::to_string).unwrap_or_default();
    let name = report.node_name(me);
    page.put(&of::NODE, &[&report.cluster, me.as_str(), &name, &zone], true);
    page.put(&of::UPTIME, &[], report.uptime);
    page.put_if(&of::DISCOVERY_AGE, &[], report.ages.discovery);
    page.put(&of::FIT, &[], fitness.is_fit());
    page.put(&of::DATAPATH, &[], fitness.is_proven());
    // Before the first change it is as old as the monitor.
    let changed = report.counters.meters.events.get(kind_name(EventKind::Fitness));
    let age = changed.map_or(report.uptime, |event| report.now.since(event.last));
    page.put(&of::FITNESS_AGE, &[], age);
    faults(page, fitness);
    page.put(&of::DRAINED, &[], report.drained);
    page.put(&of::ALERTS, &[], wide(report.alerts.len()));
    for alert in &report.counters.meters.alerts {
        page.put(&of::ALERT, &[alert], true);
    }
}

fn faults(page: &mut Page, fitness: &Fitness) {
    for fault in Fault::ALL {
        page.put(&of::FAULT, &[&name_of(&fault)], fitness.faults.contains(&fault));
    }
    for evidence in Evidence::ALL {
        page.put(&of::UNPROVEN, &[&name_of(&evidence)], fitness.unproven.contains(&evidence));
    }
}

fn add_peer(page: &mut Page, peer: [&str; 2], view: &PeerView) {
    let [id, name] = peer;
    page.put(&of::VERDICT, &[id, name, &label(view.verdict)], true);
    page.put(&of::VERDICT_AGE, &peer, view.verdict_age);
    page.put_if(&of::HEARTBEAT_AGE, &peer, view.heartbeat_age);
    page.put_if(&of::ECHO_AGE, &peer, view.echo_age);
    page.put_if(&of::PEER_FIT, &peer, view.fitness.as_ref().map(Fitness::is_fit));
    page.put_if(&of::PEER_PROVEN, &peer, view.fitness.as_ref().map(Fitness::is_proven));
    page.put(&of::HEARS_ME, &peer, view.hears_me);
    page.put(&of::SETTINGS_DIFFER, &peer, view.settings_differ);
    if let Some(power) = &view.power {
        let state = power.state.map_or_else(|| "unknown".to_owned(), |state| name_of(&state));
        page.put(&of::POWER, &[id, name, &state], true);
    }
    page.put_if(&of::POWER_AGE, &peer, view.power_age);
}

fn add_group(page: &mut Page, report: &Report, name: &GroupName, group: &GroupView) {
    let one = [name.as_str()];
    let holder = group.holder.as_ref();
    if let Some(holder) = holder {
        let shown = report.node_name(holder);
        page.put(&of::HOLDER, &[name.as_str(), holder.as_str(), &shown], true);
    }
    page.put(&of::HELD, &one, holder == Some(&report.view.me));
    let home = group.home.as_ref().filter(|_| group.goes_home);
    page.put_if(&of::AT_HOME, &one, home.map(|home| holder == Some(home)));
    page.put(&of::AT_FALLBACK, &one, group.fallback.is_some());
    page.put_if(&of::ROUTE_MATCH, &one, group.read_age.map(|_| holder.is_some()));
    page.put_if(&of::READ_AGE, &one, group.read_age);
    page.put(&of::GENERATION, &one, u64::from(group.generation));
    page.put(&of::MOVING, &one, group.doing.is_some());
    let check_age = report.ages.checks.get(name.as_str()).copied();
    let failing = report.view.failing.contains(name);
    page.put_if(&of::CHECK_FAILING, &one, check_age.map(|_| failing));
    page.put_if(&of::CHECK_AGE, &one, check_age);
}

fn egress(page: &mut Page, report: &Report) {
    for ip in &report.egress {
        let address = ip.address.to_string();
        let labels = [ip.group.as_str(), ip.allocation.as_str(), &address];
        page.put(&of::EGRESS_HERE, &labels, ip.arrival.is_some());
        let proven = ip.arrival.map(|arrival| arrival.proof == EgressProof::Probe);
        page.put_if(&of::EGRESS_PROVEN, &labels, proven);
        page.put_if(&of::EGRESS_AGE, &labels, ip.arrival.map(|arrival| arrival.here));
        page.put_if(&of::LANDING, &labels, ip.landing_on_host);
        page.put_if(&of::LANDING_AGE, &labels, ip.landing_age);
    }
}

fn counters(page: &mut Page, counters: &Counters) {
    for (action, results) in &counters.calls {
        for (result, count) in results {
            page.put(&of::CALLS, &[action, &result.replace(' ', "-")], *count);
        }
    }
    page.put(&of::LINES, &[], counters.log_lines_dropped);
    let peers = &counters.peers;
    for (metric, count) in [
        (&of::BEATS_SENT, peers.beats_sent),
        (&of::BEATS_RECEIVED, peers.beats_received),
        (&of::ECHOES_SENT, peers.echoes_sent),
        (&of::ECHOES_RECEIVED, peers.echoes_received),
        (&of::SEND_FAILURES, peers.send_failures),
        (&of::CLAIMS, peers.claims_omitted),
    ] {
        page.put(metric, &[], count);
    }
    for (reason, count) in &peers.rejected {
        page.put(&of::REJECTED, &[reason], *count);
    }
}

/// What a rule watches has a value from the start: Prometheus sees no increase in the first value
/// of a counter.
fn meters(page: &mut Page, meters: &Meters, report: &Report) {
    for kind in EventKind::ALL.map(kind_name) {
        let event = meters.events.get(kind);
        page.put(&of::EVENTS, &[kind], event.map_or(0, |event| event.count));
        let age = event.map(|event| report.now.since(event.last));
        page.put_if(&of::EVENT_AGE, &[kind], age);
    }
    let verdicts = Verdict::ALL.map(label);
    let others = ["removed", "vacant"].map(str::to_owned);
    let reasons: BTreeSet<String> = verdicts.into_iter().chain(others).collect();
    for reason in reasons {
        let count = meters.takeovers.get(&reason).copied().unwrap_or_default();
        page.put(&of::TAKEOVERS, &[&reason], count);
    }
    let measured = meters.phases.keys().map(String::as_str);
    let phases: BTreeSet<&str> = PHASES.into_iter().chain(measured).collect();
    let nothing = Histogram::default();
    for phase in phases {
        page.put(&of::PHASE, &[phase], meters.phases.get(phase).unwrap_or(&nothing));
    }
    for (action, took) in &meters.calls {
        page.put(&of::CALL, &[action], took);
    }
    page.put(&of::LATENESS, &[], &meters.lateness);
    let is_peer = |id: &InstanceId| report.view.peers.contains_key(id);
    for (id, known) in meters.heartbeats.iter().filter(|(id, _)| is_peer(id)) {
        let peer = [id.as_str(), &report.node_name(id)];
        page.put(&of::MISSED, &peer, known.missed);
        page.put(&of::GAP, &peer, &known.gaps);
        page.put(&of::JITTER, &peer, &known.jitter);
    }
}

fn replication(page: &mut Page, peer: [&str; 2], heir: &HeirReport) {
    let [id, name] = peer;
    page.put(&of::LIVE, &peer, heir.state == "live");
    page.put(&of::REPLICATED, &peer, heir.flows);
    page.put(&of::PEER_HOLDS, &peer, u64::from(heir.held));
    page.put(&of::WAITING, &peer, heir.waiting);
    page.put_if(&of::LAG, &peer, heir.lag);
    page.put(&of::SENT, &peer, heir.octets);
    page.put(&of::RESYNCS, &peer, heir.resyncs);
    for (reason, count) in [
        ("overrun", heir.overruns),
        ("overflow", heir.overflows),
        ("no-room", heir.no_room),
        ("too-short", heir.too_short),
    ] {
        page.put(&of::UNREPLICATED, &[id, name, reason], count);
    }
    page.put_if(&of::COPIES_READY, &peer, heir.copies);
    page.put_if(&of::COPIES_ANSWER_AGE, &peer, heir.copies_answer_age);
    page.put_if(&of::COPIES_ACTIVE, &peer, heir.copies.map(|_| heir.copying));
}

fn copies(page: &mut Page, copied: &CopiesReport) {
    let CopiesReport { made, sent_on } = copied;
    for (metric, count) in [
        (&of::COPIES_MADE, made.packets),
        (&of::COPIES_MADE_BYTES, made.bytes),
        (&of::COPIES_SENT_ON, sent_on.packets),
        (&of::COPIES_SENT_ON_BYTES, sent_on.bytes),
    ] {
        page.put(metric, &[], count);
    }
}

fn replica(page: &mut Page, peer: [&str; 2], owner: &OwnerReport) {
    let [id, name] = peer;
    page.put(&of::REPLICA, &peer, owner.flows);
    page.put_if(&of::REPLICA_AGE, &peer, owner.heard_age);
    for (result, count) in &owner.inserted {
        page.put(&of::INSERTED, &[id, name, result], *count);
    }
}

fn ports(page: &mut Page, report: &Report) {
    let Some(ports) = &report.ports else { return };
    page.put(&of::PORT_ERRORS, &[], ports.failures);
    page.put_if(&of::PORTS_AGE, &[], report.ages.ports);
    if let Some(space) = &ports.fullest {
        let (address, destination) = (space.address.to_string(), space.destination.to_string());
        let labels = [space.protocol.as_str(), &address, &destination];
        page.put(&of::PORTS_USED, &labels, u64::from(space.used));
        page.put(&of::PORTS_LIMIT, &labels, u64::from(space.of));
    }
}

/// The name that serde gives a variant without fields.
fn name_of(variant: &impl Serialize) -> String {
    let name = serde_json::to_value(variant).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
