//! Actions and the reasons for them, as text.

use std::collections::BTreeMap;

use super::EntryKind;
use super::names::{Names, span};
use super::routine::Routine;
use crate::failover::{Action, ActionId, Event, GroupView, Level, View};
use crate::record::Replay;
use crate::types::{
    Assignment, InstanceId, Resource, RouteTableId, RouteWrite, RouteWriteVerb, Time,
};

/// A call to EC2 or to the disk that has not ended yet.
#[derive(Debug, Clone)]
pub(super) struct StartedCall {
    pub(super) at: Time,
    pub(super) what: String,
    /// The node whose power state it reads.
    pub(super) node: Option<InstanceId>,
}

/// The calls that have not ended yet. Each ends in exactly one outcome, which removes it.
#[derive(Debug, Clone, Default)]
pub(super) struct CallsInFlight(BTreeMap<ActionId, StartedCall>);

impl CallsInFlight {
    /// Adds an action, if it is such a call.
    pub(super) fn start(&mut self, action: &Action, at: Time, names: &Names) {
        let node = match action {
            Action::ReadPower { node, .. } => Some(node.clone()),
            _ => None,
        };
        if let (Some(id), Some(what)) = (action.id(), call(action, names)) {
            self.0.insert(id, StartedCall { at, what, node });
        }
    }

    /// Removes a call that has ended.
    pub(super) fn end(&mut self, id: ActionId) -> Option<StartedCall> {
        self.0.remove(&id)
    }
}

/// A call to EC2 or to the disk, as text.
pub(super) fn call(action: &Action, names: &Names) -> Option<String> {
    Some(match action {
        Action::ReadRoutes { tables, .. } => {
            let tables: Vec<&str> = tables.iter().map(RouteTableId::as_str).collect();
            format!("read the routes of {}", tables.join(", "))
        }
        Action::ReadHolders { resources, .. } => {
            let resources: Vec<String> = resources.iter().map(ToString::to_string).collect();
            format!("read the holders of {}", resources.join(", "))
        }
        Action::ReadPower { node, .. } => format!("read the power state of {}", names.node(node)),
        Action::WriteRoute { write, .. } => {
            let RouteWrite { verb, table, cidr, via } = write;
            let to = names.target(&via.target());
            match verb {
                RouteWriteVerb::Replace => format!("point {cidr} of {table} to {to}"),
                RouteWriteVerb::Create => format!("create {cidr} of {table}, pointing to {to}"),
            }
        }
        Action::Assign { assignment, .. } => {
            let Assignment { resource, interface, .. } = assignment;
            format!("move {resource} to {}", names.interface(interface))
        }
        Action::Stop { node, force: false, .. } => format!("stop {}", names.node(node)),
        Action::Stop { node, force: true, .. } => format!("force-stop {}", names.node(node)),
        Action::Start { node, .. } => format!("start {}", names.node(node)),
        Action::Remember { stopped, .. } => {
            format!("save the peers that natha stopped: {}", names.nodes(stopped))
        }
        _ => return None,
    })
}

/// The counter of a routine action; none for an action that gets a line of its own.
pub(super) fn routine(action: &Action) -> Option<Routine> {
    match action {
        Action::SendBeat { to, .. } => Some(Routine::Sent(to.clone())),
        Action::SendEcho { to } => Some(Routine::Asked(to.clone())),
        Action::ReadRoutes { .. } | Action::ReadHolders { .. } | Action::ReadPower { .. } => {
            Some(Routine::Read)
        }
        _ => None,
    }
}

/// An action as a line of the timeline. `all` are the actions of the same turn.
pub(super) fn describe(
    action: &Action,
    all: &[Action],
    now: Time,
    replay: &Replay,
    names: &Names,
) -> (EntryKind, String) {
    let text = match action {
        Action::Report { event } => return (EntryKind::Event, event_words(event, names)),
        Action::MayExit => "everything has been handed over; the monitor may exit".to_owned(),
        Action::Probe => {
            "send a round of probes at once, to see whether this host shares the fault".to_owned()
        }
        Action::SendBeat { to, .. } => format!("heartbeat to {}", names.node(to)),
        Action::SendEcho { to } => format!("echo request to {}", names.node(to)),
        _ => {
            let id = action.id().unwrap_or(ActionId(0)).0;
            let what = call(action, names).unwrap_or_default();
            let limit = limit_of(action).map_or(String::new(), |not_after| {
                format!(", to be sent within {}", span(not_after.since(now)))
            });
            format!("#{id} {what}{limit}{}", reason(action, all, now, replay, names))
        }
    };
    (EntryKind::Action, text)
}

fn limit_of(action: &Action) -> Option<Time> {
    match action {
        Action::WriteRoute { not_after, .. }
        | Action::Assign { not_after, .. }
        | Action::Stop { not_after, .. }
        | Action::Start { not_after, .. } => Some(*not_after),
        _ => None,
    }
}

/// The resources that a write may be for, by their names in the status: a route belongs to a
/// default route or to a virtual IP.
fn written(action: &Action) -> Vec<String> {
    match action {
        Action::WriteRoute { write: RouteWrite { table, cidr, .. }, .. } => {
            let (table, cidr) = (table.clone(), *cidr);
            let vip = Resource::Vip { table: table.clone(), address: cidr.addr() };
            vec![Resource::DefaultRoute { table, cidr }.to_string(), vip.to_string()]
        }
        Action::Assign { assignment, .. } => vec![assignment.resource.to_string()],
        _ => Vec::new(),
    }
}

/// The reason: what the node is doing with the group or peer. Empty if an event of the same turn
/// says it already.
fn reason(action: &Action, all: &[Action], now: Time, replay: &Replay, names: &Names) -> String {
    let reported = |test: &dyn Fn(&Event) -> bool| {
        all.iter().any(|action| matches!(action, Action::Report { event } if test(event)))
    };
    let doing = match action {
        Action::WriteRoute { .. } | Action::Assign { .. } => {
            let written = written(action);
            let View { groups, .. } = replay.machine().view(now);
            let of = |(_, group): &(_, GroupView)| {
                written.iter().any(|resource| group.targets.contains_key(resource))
            };
            let Some((name, group)) = groups.into_iter().find(of) else { return String::new() };
            if reported(&|event| event.group.as_ref() == Some(&name)) {
                return String::new();
            }
            let doing = group.doing.map(|doing| names.within(&doing));
            doing.map(|doing| format!("group {name}: {doing}"))
        }
        Action::Stop { node, .. } | Action::Start { node, .. } => {
            if reported(&|event| event.node.as_ref() == Some(node)) {
                return String::new();
            }
            let view = replay.machine().view(now);
            view.peers.get(node).and_then(|peer| peer.repair.clone())
        }
        _ => None,
    };
    doing.map_or(String::new(), |doing| format!(" ({doing})"))
}

fn event_words(event: &Event, names: &Names) -> String {
    let level = match event.level {
        Level::Info => "",
        Level::Warning => "warning: ",
        Level::Alert => "alert: ",
    };
    let node = event.node.as_ref().map(|id| names.node(id));
    let group = event.group.as_ref().map(|group| format!("group {group}"));
    let about: Vec<String> = group.into_iter().chain(node).collect();
    let about = if about.is_empty() { String::new() } else { about.join(", ") + ": " };
    let took = event.took.map_or(String::new(), |took| format!(" (took {})", span(took)));
    format!("{level}{about}{}{took}", names.within(&event.text))
}
