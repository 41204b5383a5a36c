//! The last changes of a monitor that runs.

use std::collections::VecDeque;

use super::change::Change;
use super::fact::{Fact, Line};
use super::ledger::{Ledger, note_late_proof};
use crate::types::Roster;

/// Changes that are kept once they have ended.
const KEPT: usize = 20;

/// The last changes that the lines of one node amount to. It holds a bounded number of them.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    ledger: Ledger,
    /// The first to end comes first.
    ended: VecDeque<Change>,
}

impl Recent {
    /// Takes in the next line.
    pub fn add(&mut self, line: &Line) {
        if let Fact::Proof(proof) = &line.fact {
            note_late_proof(self.ended.make_contiguous(), proof, line.at);
        }
        self.ended.extend(self.ledger.add(line));
        while self.ended.len() > KEPT {
            self.ended.pop_front();
        }
    }

    /// Forgets the open changes of groups and nodes that have left the cluster.
    pub fn enrol(&mut self, roster: &Roster) {
        self.ledger.enrol(roster);
    }

    /// All of them in the order in which they were decided, the open ones included.
    #[must_use]
    pub fn changes(&self) -> Vec<&Change> {
        let mut all: Vec<&Change> = self.ended.iter().chain(self.ledger.open()).collect();
        all.sort_by_key(|change| change.serial);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::failover::{Event, EventKind, Level};
    use crate::history::{ChangeResult, FORMAT, Phase, Proof, Run};
    use crate::types::Time;

    fn line(at_ms: u64, fact: Fact) -> Line {
        Line { wall_ms: at_ms, at: Time::from_millis(at_ms), fact }
    }

    fn run() -> Line {
        let (natha, cluster, boot) = ("0.1.0".to_owned(), "blue".to_owned(), "one".to_owned());
        let (node, names) = ("i-0000000a".parse().unwrap(), BTreeMap::new());
        let run = Run { format: FORMAT, natha, cluster, node, boot, names, continued: false };
        line(0, Fact::Run(run))
    }

    fn event(at_ms: u64, kind: EventKind, took_ms: Option<u64>) -> Line {
        let event = Event {
            at: Time::from_millis(at_ms),
            level: Level::Warning,
            kind,
            node: Some("i-0000000b".parse().unwrap()),
            group: Some("a".parse().unwrap()),
            text: format!("at {at_ms}"),
            took: took_ms.map(Duration::from_millis),
        };
        line(at_ms, Fact::Event(event))
    }

    #[test]
    fn a_change_is_there_from_its_begin_and_gets_phases_after_its_end() {
        let mut recent = Recent::default();
        recent.add(&run());
        recent.add(&event(1_000, EventKind::TakeoverBegun, None));
        assert_eq!(recent.changes()[0].result, ChangeResult::UnderWay);
        recent.add(&event(1_500, EventKind::TakeoverDone, Some(500)));
        let proof = Proof { address: Ipv4Addr::LOCALHOST, group: Some("a".parse().unwrap()) };
        recent.add(&line(1_700, Fact::Proof(proof)));
        let [change] = recent.changes()[..] else { panic!("{recent:?}") };
        assert_eq!(change.result, ChangeResult::Done);
        let phases = change.phases.iter().map(|one| (one.phase, one.after.as_millis()));
        let wanted = [(Phase::Decided, 0), (Phase::Confirmed, 500), (Phase::Effective, 700)];
        assert_eq!(phases.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn the_oldest_changes_are_forgotten() {
        let mut recent = Recent::default();
        recent.add(&run());
        for n in 0..KEPT as u64 + 5 {
            recent.add(&event(n * 1_000, EventKind::TakeoverBegun, None));
        }
        let changes = recent.changes();
        assert_eq!(changes.len(), KEPT + 1, "one is open");
        assert_eq!(changes[0].reason, "at 4000");
        assert_eq!(changes[KEPT].reason, "at 24000");
    }
}
