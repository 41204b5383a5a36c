//! What was seen, in words.

use super::facts::{Cast, Seen};
use super::schedule::{letter, node_name};
use crate::daemon::shared::Happening;
use crate::ec2::{CallRecord, Principal};

/// A line about what was seen; none for what comes all the time.
pub(super) fn told(seen: &Seen, cast: &Cast) -> Option<String> {
    Some(match seen {
        Seen::Call(call) => return call_told(call, cast),
        Seen::Event(event) => return event_told(event),
        Seen::Ping(..) => return None,
        Seen::Api(node, works) => {
            let how = if *works { "properly" } else { "badly" };
            format!("EC2 treats {} {how}", node_name(*node))
        }
        Seen::Monitor(node, alone) => {
            let how = if *alone { "left alone" } else { "interfered with" };
            format!("{}'s monitor is {how}", node_name(*node))
        }
        Seen::Order(zone) => format!("an operator orders {} away", letter(*zone)),
        Seen::Phase(phase) => format!("-- {phase:?}"),
        Seen::Stall(lasting) => format!("the machine stood still for {} ms", lasting.as_millis()),
    })
}

fn call_told(call: &CallRecord, cast: &Cast) -> Option<String> {
    let who = match &call.principal {
        Principal::Operator => "a person".to_owned(),
        Principal::Instance(id) => match cast.node(id) {
            Some(node) => node_name(node),
            None => return None,
        },
    };
    if call.action.starts_with("Describe") && call.error.is_none() {
        return None;
    }
    let params: Vec<String> = call
        .params
        .split(' ')
        .filter_map(|pair| pair.split_once('='))
        .map(|(_, value)| named(value, cast))
        .collect();
    let error = call.error.as_ref().map(|code| format!(": {code}")).unwrap_or_default();
    let unanswered = if call.unanswered { ", unanswered" } else { "" };
    Some(format!("{who} calls {} {}{error}{unanswered}", call.action, params.join(" ")))
}

fn named(id: &str, cast: &Cast) -> String {
    if let Some(node) = cast.node(id) {
        return node_name(node);
    }
    cast.zone(id).map_or_else(|| id.to_owned(), |zone| format!("table-{}", letter(zone)))
}

fn event_told(event: &Happening) -> Option<String> {
    Some(match event {
        // The call that did it is told already, and packets follow at once.
        Happening::Route(_) | Happening::RouteRemoved(_) => return None,
        Happening::Power { host, power, boot } => format!("{host} is {power:?} (boot {boot})"),
        Happening::Faults(faults) => {
            let text = serde_json::to_string(faults).unwrap_or_default();
            format!("the network's faults: {text}")
        }
        Happening::Killed { host, process, count } => format!("{host}: {count} {process} killed"),
        Happening::Problem { text } => format!("the lab: {text}"),
    })
}
