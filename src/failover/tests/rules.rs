//! What no simulated run may ever do, whatever is staged: checked on every change.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cloud::{Api, Mutation};
use super::sim::{Sim, eni, id, table};
use crate::failover::{Action, ActionId, Input, Outcome};
use crate::types::{InstanceState, Time};

/// How long a node must have been well before a stop of it is wrong whatever was seen: less than
/// `repair.after`, within which a node that is well shows it.
const SURELY_WELL: Duration = Duration::from_secs(45);
/// How long a route must have led to a node before its stop is wrong: the oldest read that a stop
/// relies on, EC2's lag, and the time limit of the call.
const SURELY_SERVING: Duration = Duration::from_secs(15);
/// How long two nodes must have been well and connected before a theft between them is wrong.
const SURELY_CALM: Duration = Duration::from_secs(20);

/// What the rules know of one node.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) frozen_at: Option<Time>,
    /// It was paused and has read no route since.
    blind: bool,
    first_read: Option<ActionId>,
    pub(super) leaving: bool,
    /// Since when it has been well and its API has worked.
    well_since: Option<Time>,
    /// When it last could not hear each other node, or not be heard, properly.
    trouble: BTreeMap<usize, Time>,
    /// Since when its own table has led where it leads.
    table_since: Time,
    table_led_to: Option<usize>,
}

impl Watch {
    /// Notes that a pause has ended.
    pub(super) fn go_blind(&mut self) {
        self.blind = true;
        self.first_read = None;
    }

    /// Notes that the first read after a pause has come in.
    pub(super) fn note_input(&mut self, input: &Input) {
        if let Input::Done { id, outcome: Outcome::Routes { result: Ok(_) } } = input
            && self.first_read == Some(*id)
        {
            self.blind = false;
        }
    }
}

impl Sim {
    /// Whether everything in node `n` works.
    pub(super) fn is_well(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let fit = node.machine.as_ref().is_some_and(|machine| machine.fitness().is_fit());
        fit && node.kernel
            && !node.frozen
            && node.api == Api::Works
            && node.power == InstanceState::Running
    }

    fn is_calm(&self, n: usize) -> bool {
        let since = self.nodes[n].watch.well_since;
        since.is_some_and(|since| self.now.since(since) >= SURELY_CALM)
    }

    /// Takes down how things are.
    pub(super) fn watch(&mut self) {
        let now = self.now;
        for n in 0..self.nodes.len() {
            let (well, led_to) = (self.is_well(n), self.holder(n));
            let quiet =
                |a: usize, b: usize| self.deaf.contains(&(a, b)) || self.loss.contains_key(&(a, b));
            let troubled: Vec<usize> =
                (0..self.nodes.len()).filter(|m| quiet(n, *m) || quiet(*m, n)).collect();
            let watch = &mut self.nodes[n].watch;
            watch.well_since = if well { watch.well_since.or(Some(now)) } else { None };
            if watch.table_led_to != led_to {
                (watch.table_led_to, watch.table_since) = (led_to, now);
            }
            watch.trouble.extend(troubled.into_iter().map(|m| (m, now)));
        }
    }

    /// Judges what a machine has just decided.
    pub(super) fn check_sent(&mut self, by: usize, action: &Action) {
        if let Action::ReadRoutes { id, .. } = action {
            self.nodes[by].watch.first_read = Some(*id);
            return;
        }
        let takes = match action {
            Action::WriteRoute { write, .. } => write.interface == eni(by),
            Action::Stop { .. } => true,
            Action::Start { .. } => false,
            _ => return,
        };
        if !self.strict {
            return;
        }
        let label = &self.label;
        let node = &self.nodes[by];
        assert!(!node.watch.blind, "{label}: {by} did not read after its pause: {action:?}");
        let fit = node.machine.as_ref().is_some_and(|machine| machine.fitness().is_fit());
        assert!(fit || !takes, "{label}: {by} is unfit: {action:?}");
        if let Action::WriteRoute { write, .. } = action {
            let of = (0..self.nodes.len()).find(|n| table(*n) == write.table).unwrap();
            self.check_theft(by, of, takes);
        }
    }

    /// A live holder is never robbed.
    fn check_theft(&self, by: usize, of: usize, takes: bool) {
        let Some(holder) = self.holder(of).filter(|holder| takes && *holder != by) else { return };
        let trouble = self.nodes[by].watch.trouble.get(&holder).copied().unwrap_or_default();
        let settled = self.now.since(self.nodes[of].watch.table_since) >= SURELY_CALM;
        let connected = self.now.since(trouble) >= SURELY_CALM;
        let calm = self.is_calm(by) && self.is_calm(holder) && connected && settled;
        let leaving = self.nodes[holder].watch.leaving;
        assert!(!calm || leaving, "{}: at {:?} {by} robs {holder}", self.label, self.now);
    }

    /// Judges what EC2 is about to do.
    pub(super) fn check_applied(&self, by: usize, mutation: &Mutation) {
        let Mutation::Stop(node) = mutation else { return };
        if !self.strict {
            return;
        }
        let (n, label) = (self.index(node), &self.label);
        let victim = &self.nodes[n];
        assert_ne!(by, n, "{label}: {} stops itself", id(n));
        let well_for = victim.watch.well_since.map(|since| self.now.since(since));
        assert!(well_for < Some(SURELY_WELL), "{label}: {by} stops {n}, well for {well_for:?}");
        for of in 0..self.nodes.len() {
            let serves = self.holder(of) == Some(n) && victim.kernel && !victim.frozen;
            let since = self.now.since(self.nodes[of].watch.table_since);
            assert!(
                !serves || since < SURELY_SERVING,
                "{label}: {by} stops {n}, which has served table {of} for {since:?}"
            );
        }
        let power = self.nodes[by].power;
        assert_eq!(power, InstanceState::Running, "{label}: {by}, itself {power}, stops {n}");
    }
}

/// Tells the end of the story where a test fails: what each node said, and what EC2 did.
impl Drop for Sim {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let told = (0..self.nodes.len()).flat_map(|n| {
            let events = self.nodes[n].events.iter();
            events.map(move |event| (event.at, format!("node {n} says: {}", event.text)))
        });
        let done = self
            .done
            .iter()
            .map(|done| (done.at, format!("EC2 does for node {}: {:?}", done.by, done.what)));
        let mut story: Vec<(Time, String)> = told.chain(done).collect();
        story.sort();
        let shown = story.len().saturating_sub(80);
        for (at, what) in &story[shown..] {
            eprintln!("{:>9} ms  {what}", at.since_boot().as_millis());
        }
        eprintln!("{:>9} ms  the end of {}", self.now.since_boot().as_millis(), self.label);
    }
}
