//! The state of the machine, as text.

use std::time::Duration;

use super::names::{Names, counted, span};
use crate::failover::{GroupView, Machine, PeerView};
use crate::record::Header;
use crate::types::{InstanceId, Time, Zone};

/// The recorded node and its cluster.
pub(super) fn opening(header: &Header, names: &Names) -> String {
    let by = (&header.natha, names.node(&header.me), &header.me);
    let begun = header.wall.as_ref().map_or(String::new(), |wall| format!(", starting {wall}"));
    let mut lines = vec![format!("Recorded by natha {} on {} ({}){begun}.", by.0, by.1, by.2)];
    lines.extend(header.why.clone());
    for member in &header.roster.members {
        let (name, id, interface) = (names.node(&member.id), &member.id, &member.interface);
        let zone = member.zone.as_ref().map_or("no zone", Zone::as_str);
        lines.push(format!("  {name}: {id}, {interface}, {}, {zone}", member.address));
    }
    for group in &header.roster.groups {
        let home = group.home.as_ref().map_or("none".to_owned(), |home| names.node(home));
        let resources = counted(group.resources.len() as u64, "resource", "resources");
        lines.push(format!("  group {}: home {home}, {resources}", group.name));
    }
    if !header.stopped.is_empty() {
        let stopped = names.nodes(&header.stopped);
        lines.push(format!("  stopped by an earlier run of the monitor: {stopped}"));
    }
    lines.join("\n") + "\n"
}

/// What the machine knows, and its timers.
pub(super) fn lines(machine: &Machine, now: Time, names: &Names) -> Vec<String> {
    let view = machine.view(now);
    let mut lines = vec![format!("this node: {}", view.fitness)];
    lines.extend(view.peers.iter().map(|(id, peer)| peer_words(id, peer, names)));
    lines.extend(view.groups.iter().map(|(name, group)| {
        let words = group_words(group, names);
        format!("group {name}: {words}")
    }));
    for (timer, left) in &view.timers {
        lines.push(format!("{}: in {}", names.within(timer), span(*left)));
    }
    let next = machine.next_deadline().since(now);
    lines.push(format!("next deadline: in {:.1} ms", next.as_secs_f64() * 1e3));
    lines
}

fn peer_words(id: &InstanceId, peer: &PeerView, names: &Names) -> String {
    let ago = |age: Option<Duration>| match age {
        Some(age) => span(age) + " ago",
        None => "never".to_owned(),
    };
    let mut text = format!(
        "{}: {} for {}, heartbeat {}, echo {}, {}",
        names.node(id),
        peer.verdict.name(),
        span(peer.verdict_age),
        ago(peer.heartbeat_age),
        ago(peer.echo_age),
        if peer.hears_me { "hears this node" } else { "does not hear this node" },
    );
    if let (Some(power), Some(age)) = (&peer.power, peer.power_age) {
        let state = power.state.map_or("unknown".to_owned(), |state| state.to_string());
        text = text + ", EC2 reported " + &state + " " + &span(age) + " ago";
    }
    if peer.settings_differ {
        text.push_str(", has different settings");
    }
    if let Some(repair) = &peer.repair {
        text = text + ", repair: " + repair;
    }
    text
}

fn group_words(group: &GroupView, names: &Names) -> String {
    let holder = group.holder.as_ref().map_or("no node".to_owned(), |id| names.node(id));
    let read =
        group.read_age.map_or("never read".to_owned(), |age| format!("read {} ago", span(age)));
    let mut text = format!("held by {holder}, {read}, generation {}", group.generation);
    if let Some(doing) = &group.doing {
        text = text + ", " + &names.within(doing);
    }
    text
}
