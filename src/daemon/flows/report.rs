//! The state of the streams, for the status.

use std::time::Duration;

use super::insert::by_result;
use super::shared::{Held, Link, Shared};
use crate::daemon::relay::CopyState;
use crate::status::{FlowsReport, HeirReport, OwnerReport};
use crate::types::{InstanceId, Time};

/// A stream that is not open for so long is an alert: a monitor that restarts takes less.
const PATIENCE: Duration = Duration::from_secs(15);
/// A peer with a stream that does not answer through the tunnel for so long is an alert.
const SILENT: Duration = Duration::from_mins(1);

/// The whole report. `copies`: what is copied for planned moves; none if natha copies nothing.
pub(super) fn report(shared: &Shared, copies: Option<&CopyState>, now: Time) -> FlowsReport {
    let links = shared.links.borrow();
    let held = shared.held.borrow();
    let heirs =
        links.iter().map(|(id, link)| (id.clone(), with_copies(heir(link), id, copies, now)));
    FlowsReport {
        heirs: heirs.collect(),
        owners: held.iter().map(|(id, held)| (id.clone(), owner(held, now))).collect(),
        strangers: shared.strangers.get(),
        copies: copies.map(|state| state.copied),
    }
}

/// Adds whether packets are copied between this node and the heir.
fn with_copies(
    report: HeirReport,
    id: &InstanceId,
    copies: Option<&CopyState>,
    now: Time,
) -> HeirReport {
    let Some(state) = copies else { return report };
    let heard = state.heard.get(id);
    HeirReport {
        copying: state.active.contains(id),
        copies_answer_age: heard.map(|heard| now.since(*heard)),
        ..report
    }
}

/// What keeps connections from being replicated, if that lasts.
pub(super) fn complaint(shared: &Shared, now: Time) -> Option<String> {
    let links = shared.links.borrow();
    let broken = links.iter().filter_map(|(id, link)| {
        let (reason, since) = link.fault.as_ref()?;
        (now.since(*since) >= PATIENCE).then(|| format!("to {id}: {reason}"))
    });
    let faults = shared.faults.borrow();
    let all: Vec<String> = faults.values().cloned().chain(broken).collect();
    (!all.is_empty()).then(|| format!("connections are not replicated: {}", all.join("; ")))
}

/// What keeps packets from being copied during a planned move, if that lasts.
pub(super) fn uncopied(shared: &Shared, now: Time) -> Option<String> {
    let links = shared.links.borrow();
    let is_silent = |link: &Link| link.silent.is_some_and(|since| now.since(since) >= SILENT);
    let silent = links.iter().filter(|(_, link)| is_silent(link));
    let all: Vec<String> = silent.map(|(id, _)| id.to_string()).collect();
    let port = shared.identity.replicate.relay_port;
    (!all.is_empty()).then(|| {
        format!(
            "packets cannot be copied during planned moves to {}: no answer through UDP port \
             {port} for {} s; let the security groups pass it",
            all.join(", "),
            SILENT.as_secs()
        )
    })
}

fn heir(link: &Link) -> HeirReport {
    let sender = &link.sender;
    let counts = sender.counts();
    let progress = sender.progress();
    let state = match &link.fault {
        Some((reason, _)) => reason.clone(),
        None if sender.is_live() => "live".to_owned(),
        None if progress.is_some() => "resync".to_owned(),
        None => "connecting".to_owned(),
    };
    HeirReport {
        state,
        flows: wide(sender.flows()),
        held: progress.map_or(0, |progress| progress.held),
        waiting: wide(sender.waiting()),
        lag: progress.map(|progress| progress.lag),
        lags: sender.lags().clone(),
        records: counts.records,
        removals: counts.removals,
        octets: counts.octets,
        resyncs: counts.resyncs,
        overruns: counts.overruns,
        overflows: counts.overflows,
        no_room: counts.no_room,
        too_short: counts.too_short,
        copies: link.answers,
        copying: false,
        copies_answer_age: None,
    }
}

fn owner(held: &Held, now: Time) -> OwnerReport {
    let counts = held.replica.counts();
    let state = match &held.state {
        Ok(()) if held.replica.is_in_resync() => "resync".to_owned(),
        Ok(()) => "live".to_owned(),
        Err(reason) => reason.clone(),
    };
    OwnerReport {
        state,
        flows: wide(held.replica.len()),
        heard_age: held.heard.map(|heard| now.since(heard)),
        resyncs: counts.resyncs,
        no_room: counts.no_room,
        inserted: by_result(&counts.inserted)
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
