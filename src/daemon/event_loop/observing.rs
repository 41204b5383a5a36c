//! Copies for the history and the notices. Where a queue is full they are dropped: nothing here
//! waits.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::EventLoop;
use crate::daemon::history::Observation;
use crate::daemon::inbox::Note;
use crate::failover::{Action, Input, Outcome};
use crate::history::AlertChange;
use crate::status::{EgressProof, LandingState};
use crate::types::{InstanceId, Time};

/// What the observers last got, so that they get only changes.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Whether this node is fit, and the peers that are alive.
    alive: (bool, Vec<InstanceId>),
    proven: BTreeSet<Ipv4Addr>,
}

impl EventLoop {
    /// Gives the observers the members that are alive and fit, if they have changed.
    pub(super) fn tell_alive(&mut self) {
        let is_fit = self.machine.fitness().is_fit();
        let (was_fit, before) = &self.state.observed.alive;
        if is_fit == *was_fit && self.machine.living_peers().eq(before) {
            return;
        }
        let peers: Vec<InstanceId> = self.machine.living_peers().cloned().collect();
        let me = self.machine.members().next().filter(|_| is_fit).map(|me| me.id.clone());
        self.observers.tell(&Observation::Alive(me.into_iter().chain(peers.clone()).collect()));
        self.state.observed.alive = (is_fit, peers);
    }

    /// Gives the observers the end of a call that changes something.
    pub(super) fn tell_input(&mut self, input: &Input, now: Time) {
        let Input::Done { id, outcome } = input else { return };
        if matches!(outcome, Outcome::Written { .. } | Outcome::Expired) {
            self.observers.tell(&Observation::Ended(*id, outcome.clone(), now));
        }
    }

    /// Gives the observers what another thread has found out.
    pub(super) fn tell_note(&mut self, note: &Note, now: Time) {
        match note {
            Note::Event(event) => self.observers.tell(&Observation::Event(event.clone())),
            Note::Input(Input::Roster { roster }) => {
                self.observers.tell(&Observation::Roster(roster.clone().into()));
            }
            Note::Landings(found) => self.tell_landings(found, now),
            _ => {}
        }
    }

    /// Raises an alert about this host, in the status and for the observers, or ends it if there is
    /// no text.
    pub(super) fn set_alert(&mut self, name: &'static str, text: Option<String>, now: Time) {
        let change = AlertChange { name: name.to_owned(), text: text.clone() };
        self.observers.tell(&Observation::Alert(change, now));
        match text {
            Some(text) => drop(self.state.alerts.insert(name, text)),
            None => drop(self.state.alerts.remove(name)),
        }
    }

    fn tell_landings(&mut self, found: &LandingState, now: Time) {
        let proven = found.here.iter().filter(|(_, (_, proof))| *proof == EgressProof::Probe);
        let proven: BTreeSet<Ipv4Addr> = proven.map(|(landing, _)| *landing).collect();
        if proven == self.state.observed.proven {
            return;
        }
        self.state.observed.proven.clone_from(&proven);
        self.observers.tell(&Observation::Proven(proven, now));
    }
}

/// What the observers get of an action once it is performed.
pub(super) fn observed(action: &Action, now: Time) -> Option<Observation> {
    match action {
        Action::Report { event } => Some(Observation::Event(event.clone())),
        Action::WriteRoute { .. }
        | Action::Assign { .. }
        | Action::Stop { .. }
        | Action::Start { .. } => Some(Observation::Began(action.clone(), now)),
        _ => None,
    }
}
