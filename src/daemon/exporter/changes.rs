//! The last changes of this node, for the page.

use std::rc::Rc;

use serde::Serialize;
use tokio::sync::mpsc;

use super::Exporter;
use crate::daemon::clock;
use crate::daemon::history::{Observation, lines_of};
use crate::history::{Change, Fact, Line, PhaseAt, Recent, Run, Scribe};
use crate::types::{InstanceId, Time, millis};

/// The last changes since the monitor started.
#[derive(Debug)]
pub(in crate::daemon) struct Changes {
    recent: Recent,
    scribe: Scribe,
}

/// A change, as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct ShownChange {
    kind: &'static str,
    headline: String,
    reason: String,
    result: &'static str,
    /// When its first phase was.
    #[serde(rename = "at_ms", with = "millis::time")]
    at: Time,
    phases: Vec<PhaseAt>,
}

impl Changes {
    /// Of a monitor that starts now.
    pub(in crate::daemon) fn new(run: Run, scribe: Scribe) -> Self {
        let at = clock::now();
        let mut recent = Recent::default();
        recent.add(&Line { wall_ms: clock::wall_ms_at(at), at, fact: Fact::Run(run) });
        Self { recent, scribe }
    }

    fn take(&mut self, observation: Observation) {
        if let Observation::Roster(roster) = &observation {
            self.recent.enrol(roster);
        }
        for line in lines_of(&mut self.scribe, observation) {
            self.recent.add(&line);
        }
    }

    /// The newest first; `name` gives the name of a node.
    pub(super) fn shown(&self, name: impl Fn(&InstanceId) -> String) -> Vec<ShownChange> {
        let changes = self.recent.changes().into_iter().rev();
        changes.map(|change| shown(change, &name)).collect()
    }
}

fn shown(change: &Change, name: impl Fn(&InstanceId) -> String) -> ShownChange {
    ShownChange {
        kind: change.kind.name(),
        headline: change.headline(name),
        reason: change.reason.clone(),
        result: change.result.name(),
        at: change.at,
        phases: change.phases.clone(),
    }
}

/// Follows what the event loop sees and does, until it ends.
pub(super) async fn follow(exporter: Rc<Exporter>, mut observed: mpsc::Receiver<Observation>) {
    while let Some(observation) = observed.recv().await {
        exporter.changes.borrow_mut().take(observation);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::failover::{Event, EventKind, Level};
    use crate::history::FORMAT;
    use crate::types::Roster;

    /// Those of a monitor that has just started.
    pub(in crate::daemon::exporter) fn changes() -> Changes {
        let node: InstanceId = "i-0000000a".parse().unwrap();
        let (natha, cluster, boot) = ("0.1.0".to_owned(), "blue".to_owned(), "one".to_owned());
        let scribe = Scribe::new(node.clone(), Roster::default());
        let (format, names, continued) = (FORMAT, BTreeMap::new(), false);
        Changes::new(Run { format, natha, cluster, node, boot, names, continued }, scribe)
    }

    #[test]
    fn a_change_is_shown_with_its_reason_and_phases_and_the_newest_first() {
        let mut changes = changes();
        let mut tell = |at_ms: u64, kind, group: &str, took| {
            changes.take(Observation::Event(Event {
                at: Time::from_millis(at_ms),
                level: Level::Warning,
                kind,
                node: Some("i-0000000b".parse().unwrap()),
                group: Some(group.parse().unwrap()),
                text: "taking it over (from i-0000000b to i-0000000a): it is silent".to_owned(),
                took,
            }));
        };
        tell(1_000, EventKind::TakeoverBegun, "a", None);
        tell(1_800, EventKind::TakeoverDone, "a", Some(Duration::from_millis(800)));
        tell(2_000, EventKind::TakeoverBegun, "b", None);
        let name = |id: &InstanceId| format!("nat-{}", id.as_str().chars().last().unwrap());
        let shown = serde_json::to_value(changes.shown(name)).unwrap();
        let headline = shown[0]["headline"].as_str().unwrap();
        assert_eq!(headline, "nat-a takes group b over from nat-b: under way");
        for (field, wanted) in
            [("kind", "takeover"), ("reason", "it is silent"), ("result", "done")]
        {
            assert_eq!(shown[1][field], wanted);
        }
        let phases = serde_json::json!([
            {"phase": "decided", "after_ms": 0}, {"phase": "confirmed", "after_ms": 800}
        ]);
        assert_eq!(shown[1]["phases"], phases);
        assert_eq!(shown[1]["at_ms"], 1_000);
    }
}
