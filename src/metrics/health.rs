//! Whether this node is ready to serve.

use super::host::HostReading;
use crate::status::Report;

/// Why this node is not ready, one sentence each; empty if it is ready: it is fit, its datapath is
/// proven, it was not drained, and the host answers for what it holds.
#[must_use]
pub fn unready(report: &Report, host: &HostReading) -> Vec<String> {
    let view = &report.view;
    let mut reasons = Vec::new();
    if !view.fitness.is_proven() {
        reasons.push(format!("this node is not fit and proven: {}", view.fitness));
    }
    if report.drained {
        reasons.push("this node is drained".to_owned());
    }
    for (group, matches) in &host.addresses {
        if !matches {
            reasons.push(format!("this host does not have the addresses of group {group} as due"));
        }
    }
    let held = view.groups.iter().filter(|(_, group)| group.holder.as_ref() == Some(&view.me));
    for (name, _) in held.filter(|(name, _)| view.failing.contains(*name)) {
        reasons.push(format!("the service check of group {name} fails, and this node holds it"));
    }
    reasons
}
