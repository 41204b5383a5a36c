//! Checks operators' commands before they reach the machine.

use crate::failover::{Command, Verdict, View};
use crate::types::{GroupName, InstanceId, Roster, display_duration};

/// Refuses a command that the machine would ignore, with the reason.
pub(super) fn check(command: &Command, view: &View, roster: &Roster) -> Result<(), String> {
    let (group, to) = match command {
        Command::HandOver { group, to } => (group, to),
        Command::Unlatch => return check_unlatch(view, roster),
        Command::Leave | Command::Stay | Command::Restart | Command::Latch { .. } => return Ok(()),
    };
    let Some(found) = view.groups.get(group) else {
        let known: Vec<&str> = view.groups.keys().map(GroupName::as_str).collect();
        return Err(format!("there is no group {group}; there are: {}", known.join(", ")));
    };
    match &found.holder {
        Some(holder) if *holder == view.me => {}
        Some(holder) => {
            return Err(format!(
                "group {group} is held by {}, and only its holder can hand it over: run this \
                 command there",
                roster.node_name(holder)
            ));
        }
        None => return Err(format!("group {group} is not held by a single node now")),
    }
    if let Some(left) = found.copies_end {
        return Err(format!(
            "group {group} cannot be handed over now: the last planned move to this node takes \
             effect for another {}; run the command again then",
            display_duration(left)
        ));
    }
    match to {
        Some(to) if *to == view.me => Err(format!("this node already holds group {group}")),
        Some(to) if !view.peers.contains_key(to) => Err(format!("{to} is not a peer of this node")),
        to => check_receivers(group, to.as_ref(), view, roster),
    }
}

/// Refuses a hand-over if the receiver, or without one every peer, is not alive.
fn check_receivers(
    group: &GroupName,
    to: Option<&InstanceId>,
    view: &View,
    roster: &Roster,
) -> Result<(), String> {
    let candidates = || view.peers.iter().filter(|(id, _)| to.is_none_or(|to| to == *id));
    if candidates().any(|(_, peer)| peer.verdict == Verdict::Alive) {
        return Ok(());
    }
    let why = candidates()
        .map(|(id, peer)| format!("{} is {}", roster.node_name(id), peer.verdict.name()))
        .collect::<Vec<_>>();
    let why = if why.is_empty() { "this node has no peers".to_owned() } else { why.join(", ") };
    Err(format!("group {group} cannot be handed over now: {why}"))
}

/// Refuses to end a latch that a peer has as long as the peer is heard: its next heartbeat would
/// bring it back.
fn check_unlatch(view: &View, roster: &Roster) -> Result<(), String> {
    let is_heard = |node: &&InstanceId| {
        let verdict = view.peers.get(*node).map(|peer| peer.verdict);
        matches!(verdict, Some(Verdict::Alive | Verdict::Sick | Verdict::Leaving))
    };
    let heard = view.latches.peers.iter().find(is_heard);
    match heard {
        _ if !view.latches.is_latched() => Err("this node is not latched".to_owned()),
        Some(node) if !view.latches.here => Err(format!(
            "the latch is on {}, which is heard: run this command there",
            roster.node_name(node)
        )),
        _ => Ok(()),
    }
}
