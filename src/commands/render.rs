//! The status as text. Pure.

use std::fmt::Write;
use std::time::Duration;

use comfy_table::{Table, presets};

use crate::failover::{Event, Level, Verdict};
use crate::status::{EgressProof, HeirReport, PortSpace, PortUse, Report, kind_name};
use crate::types::{
    Fitness, Group, InstanceId, Member, Resource, RouteTarget, display_duration, printable,
};

/// Number of recent events shown.
const EVENTS: usize = 10;
/// Target of a resource that no node holds.
const UNASSIGNED: &str = "none";
/// An empty cell.
const NOTHING: &str = "-";

/// The whole report.
pub(super) fn report(report: &Report, colours: bool) -> String {
    let mut out = headline(report) + "\n\n";
    for section in sections(report, EVENTS) {
        push_table(&mut out, &section.table);
    }
    let findings = report.findings();
    if findings.is_empty() {
        let _ = writeln!(out, "{}", paint("All is well.", GREEN, colours));
    } else {
        let _ = writeln!(out, "{}", paint("Needs attention:", RED, colours));
        for finding in findings {
            let _ = writeln!(out, "- {finding}");
        }
    }
    out
}

/// The first line of the report.
pub(super) fn headline(report: &Report) -> String {
    let me = &report.view.me;
    format!(
        "natha {}, cluster {}, up {}. This node: {} ({me}), {}.",
        report.version,
        report.cluster,
        display_duration(report.uptime),
        report.node_name(me),
        report.view.fitness,
    )
}

/// One table of the report.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) table: Table,
    /// How each row looks, where rows differ in that.
    pub(super) marks: Vec<Mark>,
}

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Plain,
    Good,
    Bad,
}

/// The tables of the report that have rows, with so many of the latest events.
pub(super) fn sections(report: &Report, events: usize) -> Vec<Section> {
    let marks_of_nodes = report.roster.members.iter().map(|member| mark(report, member)).collect();
    let shown = report.events.iter().skip(report.events.len().saturating_sub(events));
    let marks_of_events = shown.clone().map(|event| match event.level {
        Level::Info => Mark::Plain,
        Level::Warning | Level::Alert => Mark::Bad,
    });
    let plain = |table: Table| Section { table, marks: Vec::new() };
    let mut sections =
        vec![Section { table: nodes(report), marks: marks_of_nodes }, plain(groups(report))];
    sections.extend(resources(report).map(plain));
    sections.extend((!report.egress.is_empty()).then(|| plain(egress(report))));
    sections.extend(report.ports.as_ref().and_then(ports).map(plain));
    sections.extend((!report.allowances.is_empty()).then(|| plain(allowances(report))));
    sections.extend((!report.flows.is_empty()).then(|| plain(flows(report))));
    if !report.events.is_empty() {
        let marks = marks_of_events.collect();
        sections.push(Section { table: changes(report, shown), marks });
    }
    sections
}

fn mark(report: &Report, member: &Member) -> Mark {
    let fitness = if member.id == report.view.me {
        Some(&report.view.fitness)
    } else {
        let peer = report.view.peers.get(&member.id);
        peer.filter(|peer| peer.verdict == Verdict::Alive).and_then(|peer| peer.fitness.as_ref())
    };
    if fitness.is_some_and(Fitness::is_proven) { Mark::Good } else { Mark::Bad }
}

pub(super) const RED: u8 = 31;
pub(super) const GREEN: u8 = 32;

/// The text in a colour of the terminal.
pub(super) fn paint(text: &str, colour: u8, colours: bool) -> String {
    if colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn nodes(report: &Report) -> Table {
    let mut header = vec![
        "NODE",
        "ZONE",
        "ADDRESS",
        "VERDICT",
        "SINCE",
        "HEARTBEAT",
        "ECHO",
        "HEARS THIS NODE",
        "EC2",
    ];
    let differ = report.versions_differ();
    header.extend(differ.then_some("VERSION"));
    let mut table = table(&header);
    for member in &report.roster.members {
        let mut row = node(report, member);
        row.extend(differ.then(|| version(report, &member.id)));
        table.add_row(row);
    }
    table
}

/// What a node runs, as far as its heartbeats say it.
fn version(report: &Report, id: &InstanceId) -> String {
    if *id == report.view.me {
        return report.own_version();
    }
    match report.peer_versions().and_then(|versions| versions.get(id).copied()) {
        Some(Some(version)) => version.to_owned(),
        Some(None) => "earlier".to_owned(),
        None => NOTHING.to_owned(),
    }
}

fn node(report: &Report, member: &Member) -> Vec<String> {
    let zone = member.zone.as_ref().map_or(NOTHING, |zone| zone.as_str());
    let mut row = vec![report.node_name(&member.id), zone.to_owned(), member.address.to_string()];
    if member.id == report.view.me {
        row.push(format!("this node, {}", report.view.fitness));
        row.resize(9, NOTHING.to_owned());
        return row;
    }
    let Some(peer) = report.view.peers.get(&member.id) else {
        row.resize(9, NOTHING.to_owned());
        return row;
    };
    let unproven = peer.fitness.as_ref().filter(|fitness| !fitness.is_proven());
    let verdict = peer.verdict.name();
    row.push(unproven.map_or_else(|| verdict.to_owned(), |why| format!("{verdict}: {why}")));
    row.push(display_duration(peer.verdict_age));
    row.push(age(peer.heartbeat_age));
    row.push(age(peer.echo_age));
    row.push(if peer.hears_me { "yes" } else { "no" }.to_owned());
    row.push(peer.power.as_ref().zip(peer.power_age).map_or_else(
        || NOTHING.to_owned(),
        |(power, age)| {
            let state = power.state.map_or_else(|| "unknown".to_owned(), |one| one.to_string());
            format!("{state}, {} ago", display_duration(age))
        },
    ));
    row
}

fn groups(report: &Report) -> Table {
    let header = ["GROUP", "HOME", "HOLDER", "MOVES", "LAST READ", "ACTIVITY"];
    let mut table = table(&header);
    for (name, group) in &report.view.groups {
        let home = group.home.as_ref().map(|id| report.node_name(id));
        let holder = match (&group.holder, &group.fallback) {
            (Some(id), _) => report.node_name(id),
            (None, Some(gateway)) => format!("{gateway} (fallback)"),
            (None, None) => targets(report, group.targets.values()),
        };
        table.add_row([
            name.to_string(),
            home.unwrap_or_else(|| "any".to_owned()),
            holder,
            group.generation.to_string(),
            group
                .read_age
                .map_or_else(|| "never".to_owned(), |age| format!("{} ago", display_duration(age))),
            group.doing.clone().unwrap_or_else(|| NOTHING.to_owned()),
        ]);
    }
    table
}

/// Each resource and its target. `None` if there are only default routes: there may be hundreds,
/// and the groups' table already shows who holds them.
fn resources(report: &Report) -> Option<Table> {
    let is_shown = |group: &&Group| {
        let plain = |one: &Resource| matches!(one, Resource::DefaultRoute { .. });
        !group.resources.iter().all(plain)
    };
    let groups: Vec<&Group> = report.roster.groups.iter().filter(is_shown).collect();
    if groups.is_empty() {
        return None;
    }
    let mut table = table(&["RESOURCE", "KIND", "GROUP", "TARGET"]);
    for group in groups {
        let view = report.view.groups.get(&group.name);
        for resource in &group.resources {
            let target = view.and_then(|view| view.targets.get(&resource.to_string()));
            let shown = target
                .map_or_else(|| "unknown".to_owned(), |one| target_name(report, one.as_ref()));
            let kind = resource.name_of_kind().to_owned();
            table.add_row([resource.to_string(), kind, group.name.to_string(), shown]);
        }
    }
    Some(table)
}

/// The fullest port space; none while nothing is to be said of it.
fn ports(ports: &PortUse) -> Option<Table> {
    if ports.fullest.is_none() && ports.failures == 0 {
        return None;
    }
    let mut table =
        table(&["FULLEST PORT SPACE", "TO", "PORTS IN USE", "CONNECTIONS WITHOUT A PORT"]);
    let failures = ports.failures.to_string();
    table.add_row(match &ports.fullest {
        Some(PortSpace { protocol, address, destination, used, of }) => [
            format!("{protocol} {address}"),
            destination.to_string(),
            format!("{used} of {of}"),
            failures,
        ],
        None => [NOTHING.to_owned(), NOTHING.to_owned(), NOTHING.to_owned(), failures],
    });
    Some(table)
}

/// Where each egress IP is, and what this node has for it.
fn egress(report: &Report) -> Table {
    let mut table =
        table(&["EGRESS IP", "GROUP", "ON", "HERE FOR", "ARRIVED", "LANDING ADDRESS HERE"]);
    for one in &report.egress {
        let holder = one.holder.as_ref().map(|id| report.node_name(id));
        let arrived = one.arrival.map(|arrival| match arrival.proof {
            EgressProof::None => "not yet",
            EgressProof::Probe => "yes, by a probe",
            EgressProof::Time => "assumed, no probe was answered",
        });
        let landing = match (one.landing, one.landing_on_host) {
            (None, _) => "none".to_owned(),
            (Some(landing), Some(false)) => format!("{landing}, not on this host"),
            (Some(landing), _) => landing.to_string(),
        };
        table.add_row([
            one.address.to_string(),
            one.group.to_string(),
            holder.unwrap_or_else(|| UNASSIGNED.to_owned()),
            one.arrival.map_or_else(|| NOTHING.to_owned(), |it| display_duration(it.here)),
            arrived.unwrap_or(NOTHING).to_owned(),
            landing,
        ]);
    }
    table
}

/// The member that a target belongs to, else the target itself.
fn target_name(report: &Report, target: Option<&RouteTarget>) -> String {
    let Some(target) = target else { return UNASSIGNED.to_owned() };
    let is_its = |member: &&Member| match target {
        RouteTarget::Interface(id) => member.interface == *id,
        RouteTarget::Address(address) => {
            member.address == *address
                || member.public == Some(*address)
                || member.landings.values().any(|landing| landing == address)
        }
        RouteTarget::Other(_) => false,
    };
    let member = report.roster.members.iter().find(is_its);
    // A DNS record's value is not natha's own text.
    member.map_or_else(|| printable(&target.to_string()), |member| report.node_name(&member.id))
}

/// The targets of a group that no single node holds.
fn targets<'a>(report: &Report, targets: impl Iterator<Item = &'a Option<RouteTarget>>) -> String {
    let mut all: Vec<String> = targets.map(|one| target_name(report, one.as_ref())).collect();
    all.sort();
    all.dedup();
    if all.is_empty() { "unknown".to_owned() } else { all.join(", ") }
}

/// What EC2 dropped or delayed at each interface, by allowance.
fn allowances(report: &Report) -> Table {
    let mut table = table(&["INTERFACE", "EXCEEDED ALLOWANCES OF EC2", "CONNECTIONS LEFT"]);
    for (link, counted) in &report.allowances {
        let exceeded: Vec<String> = counted
            .exceeded
            .iter()
            .filter(|(_, packets)| **packets > 0)
            .map(|(name, packets)| {
                let name = name.trim_end_matches("_allowance_exceeded");
                format!("{name}: {packets} packets")
            })
            .collect();
        let exceeded = match (counted.are_counted(), exceeded.is_empty()) {
            (false, _) => "not offered by this driver".to_owned(),
            (true, true) => "none".to_owned(),
            (true, false) => exceeded.join(", "),
        };
        let left = counted.conntrack_available;
        let left = left.map_or_else(|| NOTHING.to_owned(), |left| left.to_string());
        table.add_row([link.clone(), exceeded, left]);
    }
    table
}

/// The streams of replicated connections.
fn flows(report: &Report) -> Table {
    let mut table = table(&["CONNECTIONS", "STREAM", "HELD", "LAG", "COPIES", "LOST", "INSERTED"]);
    for (id, heir) in &report.flows.heirs {
        let lost =
            [("overruns", heir.overruns), ("overflows", heir.overflows), ("no room", heir.no_room)];
        table.add_row([
            format!("to {}", report.node_name(id)),
            heir.state.clone(),
            format!("{} of {}", heir.held, heir.flows),
            heir.lag.map_or_else(|| NOTHING.to_owned(), display_duration),
            copies(heir).to_owned(),
            counts(lost.into_iter()),
            NOTHING.to_owned(),
        ]);
    }
    for (id, owner) in &report.flows.owners {
        let inserted = owner.inserted.iter().map(|(name, count)| (name.as_str(), *count));
        table.add_row([
            format!("from {}", report.node_name(id)),
            owner.state.clone(),
            owner.flows.to_string(),
            NOTHING.to_owned(),
            NOTHING.to_owned(),
            counts([("no room", owner.no_room)].into_iter()),
            counts(inserted),
        ]);
    }
    table
}

/// Whether packets are or can be copied to the heir.
const fn copies(heir: &HeirReport) -> &'static str {
    match heir.copies {
        _ if heir.copying => "now",
        Some(true) => "yes",
        Some(false) => "no answer",
        None => NOTHING,
    }
}

/// Those that are not zero.
fn counts<'a>(all: impl Iterator<Item = (&'a str, u64)>) -> String {
    let some: Vec<String> = all
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name}: {count}"))
        .collect();
    if some.is_empty() { NOTHING.to_owned() } else { some.join(", ") }
}

fn changes<'a>(report: &Report, events: impl Iterator<Item = &'a Event>) -> Table {
    let mut table = table(&["CHANGE", "LEVEL", "KIND", "OF", "TOOK", "DETAILS"]);
    for event in events {
        table.add_row(change(report, event));
    }
    table
}

fn change(report: &Report, event: &Event) -> [String; 6] {
    let level = match event.level {
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Alert => "ALERT",
    };
    let node = event.node.as_ref().map(|id| report.node_name(id));
    let about = [node, event.group.as_ref().map(ToString::to_string)];
    let about: Vec<String> = about.into_iter().flatten().collect();
    let about = if about.is_empty() { NOTHING.to_owned() } else { about.join(" ") };
    [
        format!("{} ago", display_duration(report.now.since(event.at))),
        level.to_owned(),
        kind_name(event.kind).to_owned(),
        about,
        event.took.map_or_else(|| NOTHING.to_owned(), display_duration),
        event.text.clone(),
    ]
}

/// An empty table without lines.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Appends a table, and an empty line.
pub(super) fn push_table(out: &mut String, table: &Table) {
    for line in table.lines() {
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

fn age(age: Option<Duration>) -> String {
    age.map_or_else(|| "never".to_owned(), |age| format!("{} ago", display_duration(age)))
}

#[cfg(test)]
#[path = "render_tests.rs"]
pub(super) mod tests;
