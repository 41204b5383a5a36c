//! What no simulated run may ever do, whatever is staged: checked on every change.

use std::collections::BTreeMap;
use std::time::Duration;

use natha::config::Failover;
use natha::failover::{Action, ActionId, Input, Outcome};
use natha::types::{InstanceState, Time};

use super::cluster::Sim;
use super::ec2::{Api, Mutation};
use super::names::table;

/// How long a node must have been well before a stop of it is wrong whatever was seen: less than
/// `repair.after`, within which a node that is well shows it.
const SURELY_WELL: Duration = Duration::from_secs(45);
/// How long a route must have led to a node before its stop is wrong: the oldest read that a stop
/// relies on, EC2's lag, and the time limit of the call.
const SURELY_SERVING: Duration = Duration::from_secs(15);
/// How long two nodes must have been well and connected before a theft between them is wrong.
const SURELY_CALM: Duration = Duration::from_secs(20);

/// The most jitter with which two nodes count as connected.
const CALM_JITTER: Duration = Duration::from_millis(60);

/// What the rules know of one node.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    paused_at: Option<Time>,
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
    /// Whether its monitor was asked to leave.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Notes that a pause begins.
    pub(super) fn pause(&mut self, now: Time) {
        self.paused_at = self.paused_at.or(Some(now));
    }

    /// Notes that a pause has ended, of the node or of its monitor.
    pub(super) fn resume(&mut self, now: Time, numbers: &Failover) {
        let paused_at = self.paused_at.take();
        if paused_at.is_some_and(|at| now.since(at) > numbers.detection()) {
            self.blind = true;
            self.first_read = None;
        }
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
            && node.runs()
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
        let shaky = self.jitter > CALM_JITTER;
        for n in 0..self.nodes.len() {
            let (well, led_to) = (self.is_well(n), self.holder(n));
            let quiet = |a: usize, b: usize| {
                let pair = (a, b);
                shaky
                    || self.deaf.contains(&pair)
                    || self.loss.contains_key(&pair)
                    || self.bursts.contains_key(&pair)
            };
            let troubled: Vec<usize> = (0..self.nodes.len())
                .filter(|m| n != *m && (quiet(n, *m) || quiet(*m, n)))
                .collect();
            let watch = &mut self.nodes[n].watch;
            watch.well_since = if well { watch.well_since.or(Some(now)) } else { None };
            if watch.table_led_to != led_to {
                (watch.table_led_to, watch.table_since) = (led_to, now);
            }
            watch.trouble.extend(troubled.into_iter().map(|m| (m, now)));
        }
    }

    /// Notes a broken rule.
    fn breach(&mut self, rule: &str) {
        assert!(self.tolerant, "{}: {rule}", self.label);
        self.breaches.push(format!("at {} ms: {rule}", self.now.since_boot().as_millis()));
    }

    /// Judges what a machine has just decided.
    pub(super) fn check_sent(&mut self, by: usize, action: &Action) {
        if let Action::ReadRoutes { id, .. } = action {
            self.nodes[by].watch.first_read = Some(*id);
            return;
        }
        let takes = match action {
            Action::WriteRoute { write, .. } => write.interface == self.enis[by],
            Action::Stop { .. } => true,
            Action::Start { .. } => false,
            _ => return,
        };
        let node = &self.nodes[by];
        if node.watch.blind {
            self.breach(&format!("node {by} did not read after its pause: {action:?}"));
        }
        let node = &self.nodes[by];
        let fit = node.machine.as_ref().is_some_and(|machine| machine.fitness().is_fit());
        if takes && !fit {
            self.breach(&format!("node {by} is unfit: {action:?}"));
        }
        if let Action::WriteRoute { write, .. } = action
            && takes
            && let Some(of) = (0..self.nodes.len()).find(|n| table(*n) == write.table)
            && let Some(holder) = self.holder(of).filter(|holder| *holder != by)
            && self.is_theft(by, of, holder)
        {
            self.breach(&format!("node {by} robs node {holder}"));
        }
    }

    /// A live holder is never robbed.
    fn is_theft(&self, by: usize, of: usize, holder: usize) -> bool {
        let trouble = self.nodes[by].watch.trouble.get(&holder).copied().unwrap_or_default();
        let settled = self.now.since(self.nodes[of].watch.table_since) >= SURELY_CALM;
        let connected = self.now.since(trouble) >= SURELY_CALM;
        let calm = self.is_calm(by) && self.is_calm(holder) && connected && settled;
        calm && !self.nodes[holder].watch.leaving
    }

    /// Judges what EC2 is about to do.
    pub(super) fn check_applied(&mut self, by: usize, mutation: &Mutation) {
        let Mutation::Stop(node) = mutation else { return };
        let n = self.index(node);
        if by == n {
            self.breach(&format!("node {n} stops itself"));
        }
        let well_for = self.nodes[n].watch.well_since.map(|since| self.now.since(since));
        if well_for >= Some(SURELY_WELL) {
            self.breach(&format!("node {by} stops node {n}, well for {well_for:?}"));
        }
        for of in 0..self.nodes.len() {
            let serves = self.holder(of) == Some(n) && self.nodes[n].forwards();
            let since = self.now.since(self.nodes[of].watch.table_since);
            if serves && since >= SURELY_SERVING {
                self.breach(&format!(
                    "node {by} stops node {n}, which has served table {of} for {since:?}"
                ));
            }
        }
        let power = self.nodes[by].power;
        if power != InstanceState::Running {
            self.breach(&format!("node {by}, itself {power}, stops node {n}"));
        }
    }
}
