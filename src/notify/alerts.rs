//! From facts to alerts: which fact begins one, which one ends it, and who reports it.

use std::time::Duration;

use crate::failover::{Event, EventKind, FALLBACK_REFUSED, Level};
use crate::history::AlertChange;
use crate::status::kind_name;
use crate::types::InstanceId;

/// How long an alert must last before it is sent.
const SETTLE: Duration = Duration::from_secs(5);
/// The same for what is usual for a short time: reads that EC2 fails without any consequence, and a
/// node that is drained before it reboots.
const SETTLE_LONG: Duration = Duration::from_mins(1);

/// What the alert about failing reads has in place of a group or node, in its key.
pub(super) const READS: &str = "reads";
/// What an alert about neither a group nor another node has in its key.
pub(super) const THIS_NODE: &str = "this-node";
/// How the alerts about undelivered notices begin. They reach people by other ways than this one.
const OWN_DELIVERY: &str = "notify";
/// The alert about a node that was drained.
const DRAINED: &str = "drain";
/// The alerts that all members raise alike: all of them look at the same tags, and all of them obey
/// a latch.
const SHARED_ALERTS: [&str; 2] = ["cluster", "latch"];

/// Who reports an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// The node that has it.
    Own,
    /// All members have it, but for the node that it is about: the first of them reports it.
    Shared(Option<InstanceId>),
}

/// What a fact does to an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// It begins, or its text changes.
    Begin {
        key: String,
        level: Level,
        text: String,
        scope: Scope,
        /// How long it must last.
        settle: Duration,
    },
    /// Something happened that has no end.
    Once { key: String, level: Level, text: String },
    /// It ends.
    End { key: String },
}

/// What an alert about this host does.
pub(super) fn of_host(alert: &AlertChange) -> Option<Effect> {
    if alert.name.starts_with(OWN_DELIVERY) {
        return None;
    }
    let key = format!("host/{}", alert.name);
    let Some(text) = alert.text.clone() else { return Some(Effect::End { key }) };
    let is_shared = SHARED_ALERTS.contains(&alert.name.as_str());
    let scope = if is_shared { Scope::Shared(None) } else { Scope::Own };
    let settle = if alert.name == DRAINED { SETTLE_LONG } else { SETTLE };
    Some(Effect::Begin { key, level: Level::Warning, text, scope, settle })
}

/// What an event does. Begins and ends of changes are reported as changes.
pub(super) fn of_event(event: &Event) -> Vec<Effect> {
    let about = about(event);
    match event.kind {
        EventKind::Verdict => of_verdict(event),
        EventKind::Fitness if event.level == Level::Info => vec![end("fitness")],
        EventKind::Fitness => vec![begin("fitness", event, Scope::Own, SETTLE)],
        EventKind::Foreign if event.level == Level::Info => vec![end(&format!("foreign/{about}"))],
        EventKind::Foreign => {
            vec![begin(&format!("foreign/{about}"), event, Scope::Shared(None), SETTLE)]
        }
        EventKind::Fallback => of_fallback(event, &about),
        EventKind::RepairBlocked if event.level == Level::Alert => {
            let scope = Scope::Shared(event.node.clone());
            vec![begin(&format!("repair/{about}"), event, scope, SETTLE)]
        }
        EventKind::RepairDone => {
            vec![end(&format!("repair/{about}")), end(&format!("api/{about}"))]
        }
        EventKind::ApiFailed => of_call(event, &about),
        EventKind::TakeoverDone
        | EventKind::TakeoverFailed
        | EventKind::HandOverDone
        | EventKind::HandOverDropped => vec![end(&format!("api/{about}"))],
        EventKind::Drift if event.took.is_some() => vec![end(&format!("api/{about}"))],
        EventKind::RepairStop | EventKind::Drift => Vec::new(),
        kind if event.level == Level::Alert => {
            let key = format!("event/{}/{about}", kind_name(kind));
            vec![Effect::Once { key, level: event.level, text: event.text.clone() }]
        }
        _ => Vec::new(),
    }
}

fn of_verdict(event: &Event) -> Vec<Effect> {
    let Some(node) = &event.node else { return Vec::new() };
    if !event.text.contains(" (was ") {
        // A remark about a peer, without a change of the verdict.
        let key = format!("event/verdict/{node}");
        let once = Effect::Once { key, level: event.level, text: event.text.clone() };
        return if event.level == Level::Alert { vec![once] } else { Vec::new() };
    }
    if event.level == Level::Info {
        return ["node", "repair", "api"].map(|what| end(&format!("{what}/{node}"))).into();
    }
    // The others may hear a partitioned peer: then each node that does not has to say so.
    let is_own = event.text.starts_with("partitioned");
    let scope = if is_own { Scope::Own } else { Scope::Shared(Some(node.clone())) };
    vec![begin(&format!("node/{node}"), event, scope, SETTLE)]
}

/// The alert lasts while a route is at the fallback. What is written there is reported as changes.
fn of_fallback(event: &Event, about: &str) -> Vec<Effect> {
    let key = format!("fallback/{about}");
    match event.level {
        Level::Alert if event.text.starts_with(FALLBACK_REFUSED) => {
            let key = format!("event/{key}");
            vec![Effect::Once { key, level: event.level, text: event.text.clone() }]
        }
        Level::Alert => vec![begin(&key, event, Scope::Shared(None), SETTLE)],
        Level::Info if event.took.is_none() => vec![end(&key)],
        Level::Info | Level::Warning => Vec::new(),
    }
}

fn of_call(event: &Event, about: &str) -> Vec<Effect> {
    let is_read = event.node.is_none() && event.group.is_none();
    match (is_read, event.level) {
        (true, Level::Info) => vec![end(&format!("api/{READS}"))],
        (true, _) => vec![begin(&format!("api/{READS}"), event, Scope::Own, SETTLE_LONG)],
        (false, Level::Alert) => vec![begin(&format!("api/{about}"), event, Scope::Own, SETTLE)],
        (false, _) => Vec::new(),
    }
}

fn begin(key: &str, event: &Event, scope: Scope, settle: Duration) -> Effect {
    let (key, text) = (key.to_owned(), event.text.clone());
    Effect::Begin { key, level: event.level, text, scope, settle }
}

fn end(key: &str) -> Effect {
    Effect::End { key: key.to_owned() }
}

/// The group or the node of an event.
fn about(event: &Event) -> String {
    let group = event.group.as_ref().map(ToString::to_string);
    let node = || event.node.as_ref().map(ToString::to_string);
    group.or_else(node).unwrap_or_else(|| THIS_NODE.to_owned())
}
